/* core/api.h - the core's functions, as Python calls them.
 *
 * Owns: nothing.   Threads: runner thread only.
 * Python code run here: see each function's docstring.
 */
#ifndef TAC_CORE_API_H
#define TAC_CORE_API_H

#include "state.h"

int tac_api_add_functions(PyObject *module, TacState *state);

#endif
