/* aio/interp.c - what the loop knows of the interpreter's own asyncio. */
#include "aio/interp.h"

#include "base/compat.h"

static int
interp_learn_task(TacState *state, PyObject *task, PyObject *step)
{
    /* A Task written in Python passes a bound method: nothing to learn. */
    if (strstr(Py_TYPE(step)->tp_name, "TaskStepMethWrapper") == NULL) {
        return 0;
    }
    Py_XSETREF(state->aio_step_type,
               (PyTypeObject *)Py_NewRef((PyObject *)Py_TYPE(step)));
    Py_XSETREF(state->aio_task_type,
               (PyTypeObject *)Py_NewRef((PyObject *)Py_TYPE(task)));
    return 0;
}

int
tac_interp_learn(TacState *state, PyObject *task, PyObject *step)
{
    PyObject *events = PyImport_ImportModule("asyncio.events");
    PyObject *exceptions = PyImport_ImportModule("asyncio.exceptions");
    PyObject *cancelled =
        exceptions == NULL
            ? NULL
            : PyObject_GetAttrString(exceptions, "CancelledError");
    int rc = -1;
    if (events != NULL && cancelled != NULL) {
        Py_XSETREF(state->aio_events, Py_NewRef(events));
        Py_XSETREF(state->aio_cancelled_error, Py_NewRef(cancelled));
        rc = interp_learn_task(state, task, step);
    }
    Py_XDECREF(cancelled);
    Py_XDECREF(exceptions);
    Py_XDECREF(events);
    return rc;
}

bool
tac_interp_is_new_wakeup(TacState *state, PyObject *callback)
{
    PyObject *self = PyCFunction_GET_SELF(callback);
    const PyMethodDef *method = ((PyCFunctionObject *)callback)->m_ml;
    if (state->aio_task_type == NULL || self == NULL
        || !PyObject_TypeCheck(self, state->aio_task_type)
        || strcmp(method->ml_name, "task_wakeup") != 0)
    {
        return false;
    }
    state->aio_wakeup = method;
    return true;
}
