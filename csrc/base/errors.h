/* base/errors.h - saving, chaining and reporting raised exceptions.
 *
 * Threads: any that hold the GIL.
 * Python code run here: arbitrary (reporting calls sys.unraisablehook).
 */
#ifndef TAC_BASE_ERRORS_H
#define TAC_BASE_ERRORS_H

#include <Python.h>

/* Raise `exc` (borrowed) as a `raise` statement does: with the exception that
 * is being handled as its __context__.  A StopIteration is turned into
 * RuntimeError, for out of an awaitable it would read as a return value. */
void tac_err_raise(PyObject *exc);

/* Raise `exc` (steals the reference) exactly as it is: its context, cause and
 * traceback stay as they are. */
void tac_err_restore(PyObject *exc);

/* Set the StopIteration that makes an awaitable return `value` (borrowed).
 * NULL or None set nothing: a bare NULL means None. */
void tac_err_set_return(PyObject *value);

/* Raise a `type` with `message` and the raised exception as its __cause__
 * and __context__.  For what leaves the turn. */
void tac_err_wrap(PyObject *type, const char *message);

/* Set `exc.__context__` (both borrowed; context may be NULL). */
void tac_err_set_context(PyObject *exc, PyObject *context);

/* tp_new of a type that only the core makes instances of. */
PyObject *tac_err_no_constructor(PyTypeObject *type, PyObject *args,
                                 PyObject *kwargs);

/* Report the raised exception as one that cannot be raised further. */
void tac_err_report(PyObject *where);

#endif
