/* cross/callee_context.c - the context variables that a callee sees. */
#include "cross/callee_context.h"

/* Set current_loop in a context, unless it is this loop there.  0 or -1. */
static int
callee_context_set_loop(PyObject *context, TacLoop *loop)
{
    PyObject *var = loop->state->hook_current_loop;
    PyObject *found = NULL;
    if (var == NULL || PyContextVar_Get(var, NULL, &found) < 0) {
        return var == NULL ? 0 : -1;
    }
    Py_XDECREF(found);
    if (found == (PyObject *)loop) {
        return 0;
    }
    if (PyContext_Enter(context) < 0) {
        return -1;
    }
    PyObject *token = PyContextVar_Set(var, (PyObject *)loop);
    Py_XDECREF(token);
    return PyContext_Exit(context) < 0 || token == NULL ? -1 : 0;
}

PyObject *
tac_callee_context_new(TacLoop *loop)
{
    PyObject *context = PyContext_CopyCurrent();
    if (context != NULL && callee_context_set_loop(context, loop) < 0) {
        Py_CLEAR(context);
    }
    return context;
}
