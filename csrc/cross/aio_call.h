/* cross/aio_call.h - the coroutine of the Task that a crossing makes.
 *
 * It calls the asyncio-flavoured function, or asks the iterator for an item,
 * inside of the Task, so that its synchronous part sees the Task too, and is
 * from then on what that has returned; which is also what introspection finds
 * in its place, or the generator of the item.
 *
 *   NEW --first resume--> CALLED --...--> DONE
 *   dropped while NEW: silently, for nothing of it was the user's.
 *
 * Owns: the function or iterator, for its name; the arguments while NEW;
 *     from then on the coroutine.
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

/* A call of anext(iterator), borrowed.  Returns: new ref | NULL+exc. */
PyObject *tac_aio_call_new_anext(TacState *state, PyObject *iterator);

int tac_aio_call_add_types(PyObject *module, TacState *state);

#endif
