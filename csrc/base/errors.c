/* base/errors.c - saving, chaining and reporting raised exceptions. */
#include "base/errors.h"

#include "base/compat.h"

static void
errors_raise_stop_iteration(PyObject *exc)
{
    PyErr_SetString(PyExc_RuntimeError, "coroutine raised StopIteration");
    PyObject *error = PyErr_GetRaisedException();
    PyException_SetCause(error, Py_NewRef(exc));
    PyException_SetContext(error, Py_NewRef(exc));
    PyErr_SetRaisedException(error);
}

void
tac_err_raise(PyObject *exc)
{
    if (PyErr_GivenExceptionMatches(exc, PyExc_StopIteration)) {
        errors_raise_stop_iteration(exc);
        return;
    }
    PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
}

void
tac_err_restore(PyObject *exc)
{
    PyErr_SetRaisedException(exc);
}

void
tac_err_set_return(PyObject *value)
{
    if (value == NULL || value == Py_None) {
        return;
    }
    if (!PyTuple_Check(value) && !PyExceptionInstance_Check(value)) {
        PyErr_SetObject(PyExc_StopIteration, value);
        return;
    }
    /* Given a tuple or an exception, PyErr_SetObject would take it for the
     * arguments, or for the exception itself. */
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, value);
    if (stop != NULL) {
        PyErr_SetObject(PyExc_StopIteration, stop);
        Py_DECREF(stop);
    }
}

void
tac_err_wrap(PyObject *type, const char *message)
{
    PyObject *cause = PyErr_GetRaisedException();
    PyErr_SetString(type, message);
    if (cause == NULL) {
        return;
    }
    PyObject *error = PyErr_GetRaisedException();
    PyException_SetCause(error, Py_NewRef(cause));
    PyException_SetContext(error, cause);
    PyErr_SetRaisedException(error);
}

void
tac_err_set_context(PyObject *exc, PyObject *context)
{
    if (exc != context) {
        PyException_SetContext(exc, Py_XNewRef(context));
    }
}

void
tac_err_report(PyObject *where)
{
    PyErr_WriteUnraisable(where);
}

PyObject *
tac_err_no_constructor(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *module = PyObject_GetAttrString((PyObject *)type, "__module__");
    PyObject *name = PyObject_GetAttrString((PyObject *)type, "__qualname__");
    if (module != NULL && name != NULL) {
        PyErr_Format(PyExc_TypeError, "%S.%S has no public constructor",
                     module, name);
    }
    Py_XDECREF(module);
    Py_XDECREF(name);
    return NULL;
}
