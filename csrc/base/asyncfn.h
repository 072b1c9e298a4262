/* base/asyncfn.h - AsyncFunction: async functions that are written in C.
 *
 * A builtin function that returns an awaitable does not look like an async
 * function.  This wrapper does: inspect.iscoroutinefunction() knows its mark
 * (from 3.12 on; Python code puts it there), inspect.signature() follows its
 * __wrapped__, and its names can be set, as those of a Python function.  What
 * it calls can be replaced as well.
 *
 * Owns: the builtin function and a dict of attributes.
 * Threads: any with the GIL.
 * Python code run here: the function's.
 */
#ifndef TAC_BASE_ASYNCFN_H
#define TAC_BASE_ASYNCFN_H

#include "state.h"

#include <stdbool.h>

/* Put an AsyncFunction in the place of a builtin function of a module, or of
 * a method of a mutable type.  0, or -1 with an exception. */
int tac_asyncfn_replace(PyObject *owner, TacState *state, const char *name);

/* The same for several methods of a class; `names` ends with NULL. */
int tac_asyncfn_replace_all(PyTypeObject *owner, TacState *state,
                            const char *const *names);

/* Does an AsyncFunction still call the builtin function that it was made for?
 * Python code: none. */
bool tac_asyncfn_is_builtin(PyObject *async_fn);

int tac_asyncfn_add_types(PyObject *module, TacState *state);

#endif
