/* aio/call.h - call_soon, call_soon_threadsafe, call_later, call_at.
 *
 * Methods of LoopCore, as FASTCALL | KEYWORDS functions.
 * Threads: the loop's; tac_call_soon_threadsafe: any.
 * Python code run here: none but for debug mode's checks.
 */
#ifndef TAC_AIO_CALL_H
#define TAC_AIO_CALL_H

#include "aio/loop.h"

PyObject *tac_call_soon(TacLoop *loop, PyObject *const *args,
                        Py_ssize_t nargs, PyObject *kwnames);
PyObject *tac_call_soon_threadsafe(TacLoop *loop, PyObject *const *args,
                                   Py_ssize_t nargs, PyObject *kwnames);
PyObject *tac_call_later(TacLoop *loop, PyObject *const *args,
                         Py_ssize_t nargs, PyObject *kwnames);
PyObject *tac_call_at(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames);

/* loop.call_soon(...), with args and nargs as of PyObject_VectorcallMethod,
 * for work that was begun: a limit of the loop's queue does not refuse it.  0,
 * or -1 with an exception.  Python code run here: an override of call_soon. */
int tac_call_soon_of_loop(TacState *state, PyObject *const *args,
                          size_t nargs, PyObject *kwnames);

/* _add_callback(handle): queue a handle that somebody else made. */
PyObject *tac_call_add_callback(TacLoop *loop, PyObject *handle);

#endif
