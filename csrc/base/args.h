/* base/args.h - binding of vectorcall arguments, table driven.
 *
 * Threads: any that hold the GIL.
 * Python code run here: none (keyword names are compared as exact strings).
 */
#ifndef TAC_BASE_ARGS_H
#define TAC_BASE_ARGS_H

#include <Python.h>

/* One function's parameters.  The first `positional` names may be given by
 * position or by name, the rest by name only; `required` of the positional
 * ones must be given. */
struct tac_params {
    const char *function;
    Py_ssize_t positional;
    Py_ssize_t required;
    const char *const *names; /* ends with NULL */
};

/* Bind arguments to `values` (one borrowed reference a name; what is not
 * given stays as the caller set it).  Returns 0, or -1 with TypeError. */
int tac_args_bind(const struct tac_params *params, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *kwnames, PyObject **values);

/* Bind only the keyword arguments, for functions that take *args as well. */
int tac_args_bind_keywords(const struct tac_params *params,
                           PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames, PyObject **values);

/* Read a number as a C double.  Returns 0, or -1 with TypeError. */
int tac_args_double(PyObject *obj, double *value);

/* Read a file descriptor from an int or an object with fileno(), with the
 * errors of PyObject_AsFileDescriptor.  Returns it, or -1 with an
 * exception.  Python code run here: arbitrary (fileno). */
int tac_args_fd(PyObject *obj);

/* functools.partial(callable, **kwargs).  Returns: new ref | NULL+exc. */
PyObject *tac_args_partial(PyObject *callable, PyObject *kwargs);

/* Check how many arguments an __exit__() or __aexit__() got.  Returns 0, or
 * -1 with TypeError. */
int tac_args_exit(const char *function, Py_ssize_t nargs);

#endif
