/* core/run_view.c - a runner's attributes: for introspection, and those that
 * Trio's tests and other libraries set. */
#include "core/run_view.h"

#include "base/args.h"
#include "base/compat.h"
#include "core/nursery.h"

PyObject *
tac_runner_statistics(TacRunner *runner)
{
    double now = 0, next = tac_deadline_next(runner);
    if (next != Py_HUGE_VAL && tac_runner_time(runner, &now) < 0) {
        return NULL;
    }
    Py_ssize_t runnable = 0;
    struct tac_list *head = &runner->run_queue;
    for (struct tac_list *n = head->next; n != head; n = n->next) {
        runnable++;
    }
    /* The task behind run_sync_soon() waits for its wake-up by reading. */
    Py_ssize_t readers = runner->iowait.readers + runner->entryq.started;
    return PyObject_CallFunction(
        runner->state->hook_run_statistics, "nndnnns", runner->task_count,
        runnable, next - now, readers, runner->iowait.writers,
        tac_entryq_size(&runner->entryq),
        tac_poller_backend_name(&runner->poller));
}

static PyObject *
view_get_tasks(TacRunner *runner, void *closure)
{
    PyObject *tasks = PyList_New(0);
    struct tac_list *head = &runner->tasks;
    for (struct tac_list *n = head->next; tasks != NULL && n != head;
         n = n->next)
    {
        struct tac_task *task =
            tac_list_entry(n, struct tac_task, runner_node);
        PyObject *face = task->ops->object(task);
        if (face == NULL || PyList_Append(tasks, face) < 0) {
            Py_CLEAR(tasks);
        }
        Py_XDECREF(face);
    }
    return tasks;
}

PyObject *
tac_runner_trio_token(TacRunner *runner)
{
    if (runner->trio_token == NULL) {
        runner->trio_token = tac_trio_token_new(runner);
    }
    return Py_XNewRef(runner->trio_token);
}

PyObject *
tac_runner_clock(TacRunner *runner)
{
    if (runner->clock != NULL) {
        return Py_NewRef(runner->clock);
    }
    if (runner->system_clock == NULL) {
        runner->system_clock =
            PyObject_CallNoArgs(runner->state->hook_system_clock);
    }
    return Py_XNewRef(runner->system_clock);
}

static PyObject *
view_get_clock(TacRunner *runner, void *closure)
{
    return tac_runner_clock(runner);
}

static PyObject *
view_get_instruments(TacRunner *runner, void *closure)
{
    return tac_instruments_as_dict(&runner->instruments);
}

/* Takes any collection of instruments, or what the getter returned. */
static int
view_set_instruments(TacRunner *runner, PyObject *value, void *closure)
{
    PyObject *all = NULL;
    if (value != NULL && PyDict_Check(value)) {
        all = PyDict_GetItemString(value, "_all"); /* borrowed */
    }
    PyObject *list = PySequence_List(all != NULL     ? all
                                     : value != NULL ? value
                                                     : Py_None);
    if (list == NULL) {
        return -1;
    }
    tac_instruments_fini(&runner->instruments);
    int rc = 0;
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(list); i++) {
        rc = tac_instruments_add(runner, PyList_GET_ITEM(list, i));
    }
    Py_DECREF(list);
    return rc;
}

PyObject *
tac_run_view_init_task(TacRunner *runner)
{
    return Py_NewRef(runner->init_task == NULL
                         ? Py_None
                         : (PyObject *)runner->init_task);
}

static PyObject *
view_get_init_task(TacRunner *runner, void *closure)
{
    return tac_run_view_init_task(runner);
}

static int
view_set_system_nursery(TacRunner *runner, PyObject *value, void *closure)
{
    if (value != NULL && value != Py_None
        && !Py_IS_TYPE(value, runner->state->nursery_type))
    {
        PyErr_SetString(PyExc_TypeError, "system_nursery must be a Nursery");
        return -1;
    }
    Py_XSETREF(runner->system_nursery,
               value == Py_None ? NULL : (TacNursery *)Py_XNewRef(value));
    return 0;
}

static PyObject *
view_get_system_nursery(TacRunner *runner, void *closure)
{
    return Py_NewRef(runner->system_nursery == NULL
                         ? Py_None
                         : (PyObject *)runner->system_nursery);
}

static PyObject *
view_get_threshold(TacRunner *runner, void *closure)
{
    return PyFloat_FromDouble(runner->autojump_threshold_s);
}

static int
view_set_threshold(TacRunner *runner, PyObject *value, void *closure)
{
    double threshold_s;
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "cannot be deleted");
        return -1;
    }
    if (tac_args_double(value, &threshold_s) < 0) {
        return -1;
    }
    runner->autojump_threshold_s = threshold_s;
    tac_runner_poke(runner);
    return 0;
}

static PyObject *
view_get_tick_scheduled(TacRunner *runner, void *closure)
{
    return PyBool_FromLong(runner->is_guest && !runner->host_waits);
}

static int
view_set_tick_scheduled(TacRunner *runner, PyObject *value, void *closure)
{
    int scheduled = value == NULL ? 1 : PyObject_IsTrue(value);
    if (scheduled < 0) {
        return -1;
    }
    runner->host_waits = !scheduled;
    return 0;
}

static PyObject *
view_get_run_queue(TacRunner *runner, void *closure)
{
    PyObject *tasks = PyList_New(0);
    struct tac_list *head = &runner->run_queue;
    for (struct tac_list *n = head->next; tasks != NULL && n != head;
         n = n->next)
    {
        struct tac_task *task = tac_list_entry(n, struct tac_task, run_node);
        PyObject *face = task->ops->object(task);
        if (face == NULL || PyList_Append(tasks, face) < 0) {
            Py_CLEAR(tasks);
        }
        Py_XDECREF(face);
    }
    return tasks;
}

/* Trio's is a plain attribute, and its tests break the run loop by assigning
 * what is no queue: that is kept, as an error of the next turn. */
static int
view_set_run_queue(TacRunner *runner, PyObject *value, void *closure)
{
    runner->broken = value == NULL || !PyList_Check(value);
    return 0;
}

static PyObject *
view_get_entry_queue(TacRunner *runner, void *closure)
{
    return tac_runner_trio_token(runner);
}

static PyObject *
view_get_main_outcome(TacRunner *runner, void *closure)
{
    if (runner->main_value == NULL && runner->main_error == NULL) {
        Py_RETURN_NONE;
    }
    return PyObject_CallFunctionObjArgs(
        runner->state->hook_outcome,
        runner->main_value == NULL ? Py_None : runner->main_value,
        runner->main_error == NULL ? Py_None : runner->main_error, NULL);
}

PyGetSetDef tac_run_view_getset[] = {
    {"tasks", (getter)view_get_tasks, NULL, "A list of all live tasks."},
    {"clock", (getter)view_get_clock, NULL, "The run's clock."},
    {"instruments", (getter)view_get_instruments,
     (setter)view_set_instruments,
     "A dict {hook: {instrument: method}}; all instruments under '_all'."},
    {"init_task", (getter)view_get_init_task, NULL,
     "The root of the task tree."},
    {"system_nursery", (getter)view_get_system_nursery,
     (setter)view_set_system_nursery, "Where system tasks live."},
    {"clock_autojump_threshold", (getter)view_get_threshold,
     (setter)view_set_threshold,
     "Seconds of real idle time after which the clock may jump."},
    {"guest_tick_scheduled", (getter)view_get_tick_scheduled,
     (setter)view_set_tick_scheduled,
     "Whether a guest's host goes on by itself, and does not wait."},
    {"runq", (getter)view_get_run_queue, (setter)view_set_run_queue,
     "A list of the tasks that run in the next turn."},
    {"entry_queue", (getter)view_get_entry_queue, NULL,
     "What has run_sync_soon(): the run's TrioToken."},
    {"trio_token", (getter)view_get_entry_queue, NULL,
     "The run's TrioToken."},
    {"main_task_outcome", (getter)view_get_main_outcome, NULL,
     "The outcome of the main task, or None."},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL},
    {NULL},
};
