/* core/context.h - the thread's runner and task, for code that swaps them.
 *
 * Trio keeps both in a thread-local object that libraries which nest runs, or
 * switch greenlets inside of them, save, clear and restore.
 *
 * Owns: nothing.   Threads: any; each sees its own.
 * Python code run here: none.
 */
#ifndef TAC_CORE_CONTEXT_H
#define TAC_CORE_CONTEXT_H

#include "state.h"

int tac_context_add_functions(PyObject *module, TacState *state);

#endif
