/* core/context.c - reading and replacing the thread's runner and task. */
#include "core/context.h"

#include "base/compat.h"
#include "core/run.h"

static PyObject *
context_get_runner(PyObject *module, PyObject *noargs)
{
    TacRunner *runner = tac_running(tac_state_of_module(module));
    return Py_NewRef(runner == NULL ? Py_None : (PyObject *)runner);
}

static PyObject *
context_get_task(PyObject *module, PyObject *noargs)
{
    TacRunner *runner = tac_running(tac_state_of_module(module));
    struct tac_task *task = runner == NULL ? NULL : runner->current;
    if (task == NULL || !tac_task_is_coroutine(task)) {
        Py_RETURN_NONE;
    }
    return Py_NewRef(tac_task_of(task));
}

/* The thread borrows its runner, so only one that somebody is driving, and
 * holds for that, can be given. */
static PyObject *
context_set_runner(PyObject *module, PyObject *value)
{
    TacState *state = tac_state_of_module(module);
    TacRunner *runner = NULL;
    if (value != Py_None) {
        if (!Py_IS_TYPE(value, state->runner_type)) {
            PyErr_Format(PyExc_TypeError, "a Runner is needed, not %.200s",
                         Py_TYPE(value)->tp_name);
            return NULL;
        }
        runner = (TacRunner *)value;
        if (!runner->driven && !runner->is_guest) {
            PyErr_SetString(PyExc_RuntimeError, "the runner is not running");
            return NULL;
        }
    }
    if (PyThread_tss_set(&state->runner_key, runner) != 0) {
        return PyErr_NoMemory();
    }
    Py_RETURN_NONE;
}

static PyObject *
context_set_task(PyObject *module, PyObject *value)
{
    TacState *state = tac_state_of_module(module);
    TacRunner *runner = tac_runner_current(state);
    struct tac_task *task = NULL;
    if (runner == NULL) {
        return NULL;
    }
    if (value != Py_None) {
        if (!Py_IS_TYPE(value, state->task_type)
            || ((TacTask *)value)->base.runner != runner)
        {
            PyErr_SetString(PyExc_TypeError,
                            "a live Task of the thread's runner is needed");
            return NULL;
        }
        task = &((TacTask *)value)->base;
    }
    runner->current = task;
    Py_RETURN_NONE;
}

static PyMethodDef context_functions[] = {
    {"_get_context_runner", context_get_runner, METH_NOARGS,
     "_get_context_runner()\n--\n\nThe thread's Runner, or None."},
    {"_get_context_task", context_get_task, METH_NOARGS,
     "_get_context_task()\n--\n\nThe running Task, or None."},
    {"_set_context_runner", context_set_runner, METH_O,
     "_set_context_runner(runner, /)\n--\n\n"
     "Replace the thread's Runner; None: none."},
    {"_set_context_task", context_set_task, METH_O,
     "_set_context_task(task, /)\n--\n\n"
     "Replace the running Task of the thread's Runner; None: none."},
    {NULL},
};

int
tac_context_add_functions(PyObject *module, TacState *state)
{
    return PyModule_AddFunctions(module, context_functions);
}
