/* base/coro.c - what every coroutine type written in C needs. */
#include "base/coro.h"

#include "base/compat.h"
#include "base/errors.h"

static PyObject *
coro_make_thrown(PyObject *type, PyObject *value)
{
    if (PyExceptionInstance_Check(type)) {
        return Py_NewRef(type);
    }
    if (value != NULL && PyExceptionInstance_Check(value)) {
        return Py_NewRef(value);
    }
    if (PyExceptionClass_Check(type)) {
        return value == NULL ? PyObject_CallNoArgs(type)
                             : PyObject_CallOneArg(type, value);
    }
    PyErr_SetString(PyExc_TypeError,
                    "exceptions must be classes or instances deriving "
                    "from BaseException");
    return NULL;
}

PyObject *
tac_coro_thrown(PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs < 1 || nargs > 3) {
        PyErr_Format(PyExc_TypeError,
                     "throw expected 1 to 3 arguments, got %zd", nargs);
        return NULL;
    }
    PyObject *value = nargs > 1 && args[1] != Py_None ? args[1] : NULL;
    PyObject *exc = coro_make_thrown(args[0], value);
    if (exc != NULL && nargs > 2 && PyTraceBack_Check(args[2])) {
        (void)PyException_SetTraceback(exc, args[2]);
    }
    return exc;
}

PyObject *
tac_coro_sent(PySendResult sent, PyObject *value, bool bare_return)
{
    if (sent != PYGEN_RETURN) {
        return value;
    }
    if (value == Py_None && !bare_return) {
        PyErr_SetNone(PyExc_StopIteration);
    }
    else {
        tac_err_set_return(value);
    }
    Py_DECREF(value);
    return NULL;
}

static void
coro_warn(PyObject *coro, const char *name)
{
    PyObject *raised = PyErr_GetRaisedException();
    if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                         "coroutine '%s' was never awaited", name)
        < 0)
    {
        tac_err_report(coro);
    }
    PyErr_SetRaisedException(raised);
}

void
tac_coro_warn_never_awaited(PyObject *coro, const char *name)
{
    if (!PyErr_Occurred()
        || !PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
    {
        coro_warn(coro, name);
    }
}
