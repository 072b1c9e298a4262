/* aio/interp.c - what the loop knows of the interpreter's own asyncio. */
#include "aio/interp.h"

#include "base/compat.h"

#include <string.h>

/* The C function that Task.cancelling() is, which needs no lookup then. */
static int
interp_learn_cancelling(TacState *state)
{
    PyObject *method = PyObject_GetAttr((PyObject *)state->aio_task_type,
                                        state->str_cancelling);
    if (method == NULL) {
        return -1;
    }
    state->aio_cancelling = NULL;
    if (Py_IS_TYPE(method, &PyMethodDescr_Type)
        && ((PyMethodDescrObject *)method)->d_method->ml_flags == METH_NOARGS)
    {
        state->aio_cancelling =
            ((PyMethodDescrObject *)method)->d_method->ml_meth;
    }
    Py_DECREF(method);
    return 0;
}

/* Those that are called for each Task. */
static int
interp_learn_methods(TacState *state)
{
    PyObject **methods[] = {&state->aio_add_done_callback,
                            &state->aio_cancelled, &state->aio_done,
                            &state->aio_exception, &state->aio_result,
                            &state->aio_set_name};
    PyObject *names[] = {state->str_add_done_callback, state->str_cancelled,
                         state->str_done, state->str_exception,
                         state->str_result, state->str_set_name};
    for (size_t i = 0; i < Py_ARRAY_LENGTH(methods); i++) {
        PyObject *method =
            PyObject_GetAttr((PyObject *)state->aio_task_type, names[i]);
        if (method == NULL) {
            return -1;
        }
        Py_XSETREF(*methods[i], method);
    }
    return 0;
}

static int
interp_learn_step(TacState *state, PyObject *step, PyObject *kwnames)
{
    /* A Task written in Python passes a bound method: nothing to learn. */
    if (strstr(Py_TYPE(step)->tp_name, "TaskStepMethWrapper") == NULL
        || kwnames == NULL)
    {
        return 0;
    }
    PyObject *task = PyObject_GetAttrString(step, "__self__");
    if (task == NULL) {
        return -1;
    }
    Py_XSETREF(state->aio_task_type,
               (PyTypeObject *)Py_NewRef((PyObject *)Py_TYPE(task)));
    Py_XSETREF(state->aio_kwnames, Py_NewRef(kwnames));
    Py_DECREF(task);
    return interp_learn_methods(state) < 0 ? -1
                                           : interp_learn_cancelling(state);
}

static int
interp_learn_time(TacState *state)
{
    PyObject *module = PyImport_ImportModule("asyncio.base_events");
    PyObject *base =
        module == NULL ? NULL
                       : PyObject_GetAttrString(module, "BaseEventLoop");
    PyObject *time =
        base == NULL ? NULL : PyObject_GetAttr(base, state->str_time);
    Py_XDECREF(module);
    if (time == NULL) {
        Py_XDECREF(base);
        return -1;
    }
    Py_XSETREF(state->aio_base_loop, base);
    Py_XSETREF(state->aio_base_time, time);
    return 0;
}

/* Who is the current Task: a function, and where there is one the dict. */
static int
interp_learn_current(TacState *state, PyObject *tasks)
{
    PyObject *function = PyObject_GetAttrString(tasks, "current_task");
    PyObject *dict = NULL;
    if (function == NULL) {
        return -1;
    }
    if (PY_VERSION_HEX < 0x030E0000) {
        dict = PyObject_GetAttrString(tasks, "_current_tasks");
        if (dict == NULL || !PyDict_CheckExact(dict)) {
            PyErr_Clear();
            Py_CLEAR(dict);
        }
    }
    Py_XSETREF(state->aio_current_task, function);
    Py_XSETREF(state->aio_current_tasks, dict);
    return 0;
}

/* What a module has by that name; NULL, no exception set, if it has not. */
static PyObject *
interp_get(PyObject *module, const char *name)
{
    PyObject *object = PyObject_GetAttrString(module, name);
    if (object == NULL) {
        PyErr_Clear();
    }
    return object;
}

/* The class of Futures that are in C, and the functions of the call graph, if
 * this interpreter has them. */
static void
interp_learn_futures(TacState *state, PyObject *futures)
{
    PyObject *type = interp_get(futures, "_CFuture");
    if (type != NULL && PyType_Check(type)) {
        Py_XSETREF(state->aio_future_type, (PyTypeObject *)Py_NewRef(type));
    }
    Py_XDECREF(type);
    Py_XSETREF(state->aio_add_awaited_by,
               interp_get(futures, "future_add_to_awaited_by"));
    Py_XSETREF(state->aio_discard_awaited_by,
               interp_get(futures, "future_discard_from_awaited_by"));
}

static int
interp_learn_modules(TacState *state)
{
    PyObject *events = PyImport_ImportModule("asyncio.events");
    PyObject *futures = PyImport_ImportModule("asyncio.futures");
    PyObject *tasks = PyImport_ImportModule("asyncio.tasks");
    int rc = -1;
    if (events != NULL && futures != NULL && tasks != NULL) {
        Py_XSETREF(state->aio_events, Py_NewRef(events));
        Py_XSETREF(state->aio_futures_dict,
                   Py_NewRef(PyModule_GetDict(futures)));
        Py_XSETREF(state->aio_tasks_dict, Py_NewRef(PyModule_GetDict(tasks)));
        state->aio_locks_handles =
            PyObject_HasAttrString(events, "_ThreadSafeHandle");
        interp_learn_futures(state, futures);
        rc = interp_learn_current(state, tasks);
    }
    Py_XDECREF(tasks);
    Py_XDECREF(futures);
    Py_XDECREF(events);
    return rc;
}

static int
interp_learn_exceptions(TacState *state)
{
    PyObject *exceptions = PyImport_ImportModule("asyncio.exceptions");
    if (exceptions == NULL) {
        return -1;
    }
    PyObject *cancelled =
        PyObject_GetAttrString(exceptions, "CancelledError");
    Py_DECREF(exceptions);
    if (cancelled == NULL) {
        return -1;
    }
    Py_XSETREF(state->aio_cancelled_error, cancelled);
    return 0;
}

int
tac_interp_learn(TacState *state, PyObject *step, PyObject *kwnames)
{
    if (interp_learn_modules(state) < 0
        || interp_learn_exceptions(state) < 0
        || interp_learn_time(state) < 0)
    {
        return -1;
    }
    return interp_learn_step(state, step, kwnames);
}

bool
tac_interp_is_wakeup(TacState *state, PyObject *callback)
{
    if (!PyCFunction_CheckExact(callback)) {
        return false;
    }
    PyObject *self = PyCFunction_GET_SELF(callback);
    const PyMethodDef *method = ((PyCFunctionObject *)callback)->m_ml;
    if (state->aio_wakeup == NULL && self != NULL
        && Py_IS_TYPE(self, state->aio_task_type)
        && strcmp(method->ml_name, "task_wakeup") == 0)
    {
        state->aio_wakeup = method;
    }
    return method == state->aio_wakeup;
}
