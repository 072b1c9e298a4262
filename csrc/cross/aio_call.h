/* cross/aio_call.h - the coroutine of the Task that run_asyncio makes.
 *
 * It calls the asyncio-flavoured function inside of the Task, so that its
 * synchronous part sees the Task too, and is from then on what the function
 * has returned; that is also what introspection finds in its place.
 *
 *   NEW --first resume--> CALLED --...--> DONE
 *   dropped while NEW: silently, for nothing of it was the user's.
 *
 * Owns: the function, for its name; the arguments while NEW; from then on
 *     the coroutine.
 * Threads: the loop's.   Python code run here: arbitrary.
 */
#ifndef TAC_CROSS_AIO_CALL_H
#define TAC_CROSS_AIO_CALL_H

#include "state.h"

/* A call of `fn` with vectorcall arguments, all borrowed.
 * Returns: new ref | NULL+exc. */
PyObject *tac_aio_call_new(TacState *state, PyObject *fn,
                           PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames);

int tac_aio_call_add_types(PyObject *module, TacState *state);

#endif
