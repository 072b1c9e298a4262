/* core/runvar.h - RunVar: variables that belong to a run.
 *
 * Owns: nothing; the values are the runner's.
 * Threads: runner thread only.   Python code run here: dealloc only.
 */
#ifndef TAC_CORE_RUNVAR_H
#define TAC_CORE_RUNVAR_H

#include "state.h"

int tac_runvar_add_types(PyObject *module, TacState *state);

#endif
