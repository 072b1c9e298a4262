/* core/timeout.h - cancel scopes made for a timeout: move_on_after and so on.
 *
 * Owns: nothing.   Threads: runner thread only.
 * Python code run here: arbitrary (abort functions), by leaving a scope.
 */
#ifndef TAC_CORE_TIMEOUT_H
#define TAC_CORE_TIMEOUT_H

#include "state.h"

int tac_timeout_add_functions(PyObject *module, TacState *state);

#endif
