/* base/args.c - binding of vectorcall arguments. */
#include "base/args.h"

static Py_ssize_t
args_find_name(const struct tac_params *params, PyObject *name)
{
    for (Py_ssize_t i = 0; params->names[i] != NULL; i++) {
        if (PyUnicode_CompareWithASCIIString(name, params->names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

int
tac_args_bind_keywords(const struct tac_params *params, PyObject *const *args,
                       Py_ssize_t nargs, PyObject *kwnames,
                       PyObject **values)
{
    Py_ssize_t count = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t k = 0; k < count; k++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, k);
        Py_ssize_t i = args_find_name(params, name);
        if (i < 0) {
            PyErr_Format(PyExc_TypeError,
                         "%s() got an unexpected keyword argument '%U'",
                         params->function, name);
            return -1;
        }
        if (i < params->positional && i < nargs) {
            PyErr_Format(PyExc_TypeError,
                         "%s() got multiple values for argument '%U'",
                         params->function, name);
            return -1;
        }
        values[i] = args[nargs + k];
    }
    return 0;
}

int
tac_args_bind(const struct tac_params *params, PyObject *const *args,
              Py_ssize_t nargs, PyObject *kwnames, PyObject **values)
{
    if (nargs > params->positional) {
        PyErr_Format(PyExc_TypeError,
                     "%s() takes %zd positional argument%s but %zd %s given",
                     params->function, params->positional,
                     params->positional == 1 ? "" : "s", nargs,
                     nargs == 1 ? "was" : "were");
        return -1;
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        values[i] = args[i];
    }
    if (tac_args_bind_keywords(params, args, nargs, kwnames, values) < 0) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < params->required; i++) {
        if (values[i] == NULL) {
            PyErr_Format(PyExc_TypeError,
                         "%s() missing required argument: '%s'",
                         params->function, params->names[i]);
            return -1;
        }
    }
    return 0;
}

int
tac_args_double(PyObject *obj, double *value)
{
    double number = PyFloat_AsDouble(obj);
    if (number == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    *value = number;
    return 0;
}

int
tac_args_fd(PyObject *obj)
{
    return PyObject_AsFileDescriptor(obj);
}

int
tac_args_exit(const char *function, Py_ssize_t nargs)
{
    if (nargs != 3) {
        PyErr_Format(PyExc_TypeError,
                     "%s() takes 3 arguments but %zd were given", function,
                     nargs);
        return -1;
    }
    return 0;
}

PyObject *
tac_args_partial(PyObject *callable, PyObject *kwargs)
{
    PyObject *functools = PyImport_ImportModule("functools");
    PyObject *type = functools == NULL
                         ? NULL
                         : PyObject_GetAttrString(functools, "partial");
    PyObject *bound =
        type == NULL ? NULL
                     : PyObject_VectorcallDict(type, &callable, 1, kwargs);
    Py_XDECREF(type);
    Py_XDECREF(functools);
    return bound;
}
