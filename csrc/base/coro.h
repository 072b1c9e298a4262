/* base/coro.h - what every coroutine type written in C needs.
 *
 * Threads: any that hold the GIL.   Python code run here: arbitrary.
 */
#ifndef TAC_BASE_CORO_H
#define TAC_BASE_CORO_H

#include <Python.h>
#include <stdbool.h>

/* The exception that throw(exc) or, as older code has it, throw(type[, value[,
 * traceback]]) asks for, with its traceback.  Returns: new ref | NULL+exc. */
PyObject *tac_coro_thrown(PyObject *const *args, Py_ssize_t nargs);

/* For iteration and send methods: turn what am_send has answered into a
 * result or a StopIteration.  Steals `value`.  `bare_return`: a None is
 * returned as NULL with no exception set, as tp_iternext may. */
PyObject *tac_coro_sent(PySendResult sent, PyObject *value, bool bare_return);

/* RuntimeWarning "coroutine '...' was never awaited", for finalizers; the
 * raised exception is kept.  Not after Ctrl-C: an interrupt that hits between
 * the call and its await is no forgotten await. */
void tac_coro_warn_never_awaited(PyObject *coro, const char *name);

#endif
