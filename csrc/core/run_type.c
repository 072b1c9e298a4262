/* core/run_type.c - Runner as Python sees it: for _run.py, which starts and
 * ends runs.  Its attributes are in run_view.c. */
#include "base/args.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/errors.h"
#include "core/nursery.h"
#include "core/run.h"
#include "core/run_guest.h"
#include "core/run_view.h"
#include "core/scope.h"
#include "core/trap.h"
#include "core/wait.h"

#include <structmember.h>

static int
runner_set_up(TacRunner *runner, PyObject *clock, PyObject *context,
              unsigned long long seed)
{
    PyObject *system_clock_type = runner->state->hook_system_clock;
    if ((PyObject *)Py_TYPE(clock) == system_clock_type) {
        runner->system_clock = Py_NewRef(clock);
    }
    else if (clock != Py_None) {
        runner->clock = Py_NewRef(clock);
    }
    runner->system_context = Py_NewRef(context);
    /* The generator must not start at zero. */
    runner->random = seed | 1;
    runner->autojump_threshold_s = Py_HUGE_VAL;
    runner->locals = PyDict_New();
    if (runner->locals == NULL || tac_entryq_init(&runner->entryq) < 0) {
        return -1;
    }
    return tac_poller_open(&runner->poller);
}

static PyObject *
runner_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = { /* cstyle: mutable: PyArg's type */
        "clock", "system_context", "seed", "strict",
                            NULL};
    PyObject *clock, *context;
    unsigned long long seed;
    int strict;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOKp:Runner", names,
                                     &clock, &context, &seed, &strict))
    {
        return NULL;
    }
    TacRunner *runner = (TacRunner *)type->tp_alloc(type, 0);
    if (runner == NULL) {
        return NULL;
    }
    runner->state = PyType_GetModuleState(type);
    runner->module = Py_NewRef(PyType_GetModule(type));
    runner->strict = strict;
    runner->state->counts.runners++;
    tac_list_append(&runner->state->runners, &runner->state_node);
    tac_list_init(&runner->run_queue);
    tac_list_init(&runner->batch);
    tac_list_init(&runner->at_once);
    tac_list_init(&runner->deferred);
    tac_list_init(&runner->tasks);
    tac_list_init(&runner->idle_waiters);
    tac_list_init(&runner->timelines);
    tac_iowait_init(&runner->iowait);
    if (runner_set_up(runner, clock, context, seed) < 0) {
        Py_CLEAR(runner);
    }
    return (PyObject *)runner;
}

static int
runner_visit_tasks(TacRunner *runner, visitproc visit, void *arg)
{
    struct tac_list *head = &runner->tasks;
    for (struct tac_list *n = head->next; n != NULL && n != head; n = n->next)
    {
        struct tac_task *task =
            tac_list_entry(n, struct tac_task, runner_node);
        if (tac_task_is_coroutine(task)) {
            Py_VISIT(tac_task_of(task));
        }
    }
    return 0;
}

static int
runner_tp_traverse(TacRunner *runner, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(runner));
    Py_VISIT(runner->module);
    Py_VISIT(runner->clock);
    Py_VISIT(runner->system_clock);
    Py_VISIT(runner->main_task);
    Py_VISIT(runner->main_value);
    Py_VISIT(runner->main_error);
    Py_VISIT(runner->system_nursery);
    Py_VISIT(runner->system_context);
    Py_VISIT(runner->locals);
    Py_VISIT(runner->trio_token);
    Py_VISIT(runner->home);
    Py_VISIT(runner->outer_library);
    Py_VISIT(runner->library_dict);
    Py_VISIT(runner->dict);
    int rc = tac_entryq_traverse(&runner->entryq, visit, arg);
    if (rc == 0) {
        rc = tac_instruments_traverse(&runner->instruments, visit, arg);
    }
    return rc == 0 ? runner_visit_tasks(runner, visit, arg) : rc;
}

/* Tasks that a run left behind when it was abandoned. */
static void
runner_drop_tasks(TacRunner *runner)
{
    struct tac_list *node;
    while ((node = runner->tasks.next) != NULL && node != &runner->tasks) {
        struct tac_task *base =
            tac_list_entry(node, struct tac_task, runner_node);
        if (!tac_task_is_coroutine(base)) {
            tac_ctask_unlink(base);
            continue;
        }
        TacTask *task = tac_task_of(base);
        tac_list_unlink(node);
        tac_list_unlink(&base->run_node);
        tac_list_unlink(&base->sibling_node);
        base->abortable = false;
        if (task->trap != NULL) {
            tac_trap_unlink(task->trap);
        }
        base->runner = NULL;
        runner->task_count--;
        Py_DECREF(task);
    }
}

/* Let every timer go that is still armed: their owners may live on. */
static void
runner_shut(TacRunner *runner)
{
    runner->closed = true;
    runner->entryq.closed = true;
    tac_heap_fini(&runner->deadlines);
    tac_iowait_fini(&runner->iowait);
    tac_poller_close(&runner->poller);
}

static int
runner_tp_clear(TacRunner *runner)
{
    if (runner->tasks.next != NULL) {
        runner_drop_tasks(runner);
    }
    runner->init_task = NULL;
    Py_CLEAR(runner->clock);
    Py_CLEAR(runner->system_clock);
    Py_CLEAR(runner->main_task);
    Py_CLEAR(runner->main_value);
    Py_CLEAR(runner->main_error);
    Py_CLEAR(runner->system_nursery);
    Py_CLEAR(runner->system_context);
    Py_CLEAR(runner->locals);
    Py_CLEAR(runner->trio_token);
    Py_CLEAR(runner->home);
    Py_CLEAR(runner->outer_library);
    Py_CLEAR(runner->library_dict);
    Py_CLEAR(runner->dict);
    tac_entryq_fini(&runner->entryq);
    tac_instruments_fini(&runner->instruments);
    return 0;
}

static void
runner_tp_dealloc(TacRunner *runner)
{
    PyTypeObject *type = Py_TYPE(runner);
    PyObject_GC_UnTrack(runner);
    if (runner->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)runner);
    }
    (void)runner_tp_clear(runner);
    runner_shut(runner);
    tac_list_unlink(&runner->state_node);
    runner->state->counts.runners--;
    Py_CLEAR(runner->module);
    type->tp_free(runner);
    Py_DECREF(type);
}

/* Methods ----------------------------------------------------------------- */

PyDoc_STRVAR(runner_drive_doc,
"drive($self, /)\n--\n\n"
"Run turns until a pause() or until no task is left.\n\n"
"Raises: TrioInternalError for an error of the run loop itself.");

static PyObject *
runner_drive(TacRunner *runner, PyObject *noargs)
{
    TacRunner *previous = NULL;
    bool inside = runner->driven && !runner->in_turns
                  && tac_running(runner->state) == runner;
    if (!inside && tac_runner_enter(runner, &previous) < 0) {
        return NULL;
    }
    enum tac_turn turn = tac_runner_drive(runner);
    PyObject *exc_type = runner->state->exc_TrioInternalError;
    if (turn == TAC_TURN_ERROR && !PyErr_ExceptionMatches(exc_type)) {
        tac_err_wrap(exc_type,
                     "internal error in Trio - please file a bug!");
    }
    if (!inside) {
        tac_runner_leave(runner, previous);
    }
    if (turn != TAC_TURN_OK) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(runner_enter_doc,
"call_inside($self, fn, /, *args)\n--\n\n"
"Call ``fn(*args)`` with this runner as the thread's own, outside of tasks.\n"
"It may call drive().");

static PyObject *
runner_call_inside(TacRunner *runner, PyObject *const *args, Py_ssize_t nargs)
{
    TacRunner *previous;
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "call_inside() needs a function");
        return NULL;
    }
    if (tac_runner_enter(runner, &previous) < 0) {
        return NULL;
    }
    PyObject *result =
        PyObject_Vectorcall(args[0], args + 1, nargs - 1, NULL);
    PyObject *error = result == NULL ? PyErr_GetRaisedException() : NULL;
    tac_runner_leave(runner, previous);
    if (error != NULL) {
        PyErr_SetRaisedException(error);
    }
    return result;
}

static PyObject *
runner_spawn(TacRunner *runner, PyObject *fn, PyObject *args, PyObject *name,
             PyObject *nursery, PyObject *context, bool system)
{
    if (nursery != Py_None
        && !Py_IS_TYPE(nursery, runner->state->nursery_type)) {
        PyErr_SetString(PyExc_TypeError, "nursery must be a Nursery");
        return NULL;
    }
    struct tac_spawn how = {
        .fn = fn,
        .args = &PyTuple_GET_ITEM(args, 0),
        .nargs = PyTuple_GET_SIZE(args),
        .name = name,
        .nursery = nursery == Py_None ? NULL : (TacNursery *)nursery,
        .context = context == Py_None ? NULL : context,
        .system = system};
    return (PyObject *)tac_task_spawn(runner, &how);
}

PyDoc_STRVAR(runner_spawn_init_doc,
"spawn_init($self, fn, args, /)\n--\n\n"
"Spawn the root of the task tree, which runs ``fn(*args)``.");

static PyObject *
runner_spawn_init(TacRunner *runner, PyObject *args)
{
    PyObject *fn, *fn_args;
    if (!PyArg_ParseTuple(args, "OO!:spawn_init", &fn, &PyTuple_Type,
                          &fn_args)) {
        return NULL;
    }
    PyObject *name = PyUnicode_FromString("<init>");
    PyObject *task = name == NULL ? NULL
                                  : runner_spawn(runner, fn, fn_args, name,
                                                 Py_None, Py_None, true);
    Py_XDECREF(name);
    runner->init_task = (TacTask *)task; /* borrowed: the tasks' list has it */
    return task;
}

/* As Trio's Runner has it. */
static PyObject *
runner_spawn_impl(TacRunner *runner, PyObject *args, PyObject *kwargs)
{
    static char *names[] = { /* cstyle: mutable: PyArg's type */
        "async_fn", "args", "nursery", "name", "system_task", "context",
        NULL};
    PyObject *fn, *fn_args, *nursery, *name, *context = Py_None;
    int system = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO!OO|$pO:spawn_impl",
                                     names, &fn, &PyTuple_Type, &fn_args,
                                     &nursery, &name, &system, &context))
    {
        return NULL;
    }
    return runner_spawn(runner, fn, fn_args, name, nursery, context, system);
}

PyDoc_STRVAR(runner_spawn_main_doc,
"spawn_main($self, fn, args, nursery, /)\n--\n\n"
"Spawn the main task, whose outcome is the run's.");

static PyObject *
runner_spawn_main(TacRunner *runner, PyObject *args)
{
    PyObject *fn, *fn_args, *nursery;
    if (!PyArg_ParseTuple(args, "OO!O:spawn_main", &fn, &PyTuple_Type,
                          &fn_args, &nursery)) {
        return NULL;
    }
    PyObject *task =
        runner_spawn(runner, fn, fn_args, NULL, nursery, Py_None, false);
    Py_XSETREF(runner->main_task, (TacTask *)Py_XNewRef(task));
    return task;
}

PyDoc_STRVAR(runner_fail_main_doc,
"fail_main($self, error, /)\n--\n\n"
"Let the run end with `error`: the main task could not be spawned.");

static PyObject *
runner_fail_main(TacRunner *runner, PyObject *error)
{
    Py_XSETREF(runner->main_error, Py_NewRef(error));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(runner_watch_signals_doc,
"watch_signals($self, fd, /)\n--\n\n"
"Let what signal.set_wakeup_fd() writes to the other end of this socket end\n"
"the run's wait.");

static PyObject *
runner_watch_signals(TacRunner *runner, PyObject *arg)
{
    int fd = tac_args_fd(arg);
    if (fd < 0) {
        return NULL;
    }
    tac_poller_watch_signals(&runner->poller, fd);
    Py_RETURN_NONE;
}

static PyObject *
runner_start_entry_queue(TacRunner *runner, PyObject *nursery)
{
    if (!Py_IS_TYPE(nursery, runner->state->nursery_type)) {
        PyErr_SetString(PyExc_TypeError, "nursery must be a Nursery");
        return NULL;
    }
    if (tac_entryq_start(runner, (TacNursery *)nursery) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyObject *
tac_runner_reschedule(TacRunner *runner, PyObject *task, PyObject *outcome)
{
    PyObject *value = NULL, *error = NULL;
    if (!Py_IS_TYPE(task, runner->state->task_type)) {
        PyErr_Format(PyExc_TypeError, "task must be a Task, not %.200s",
                     Py_TYPE(task)->tp_name);
        return NULL;
    }
    if (!tac_runner_may_touch(runner, ((TacTask *)task)->base.runner)) {
        PyErr_SetString(PyExc_AssertionError,
                        "the task belongs to another run");
        return NULL;
    }
    if (outcome != NULL
        && tac_outcome_read(runner->state, outcome, &value, &error) < 0) {
        return NULL;
    }
    if (tac_task_reschedule((TacTask *)task, value, error) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(runner_spawn_system_task_doc,
"spawn_system_task($self, async_fn, /, *args, name=None, context=None)\n--\n\n"
"As trio.lowlevel.spawn_system_task.");

static const char *const spawn_system_names[] = {"name", "context", NULL};
static const struct tac_params spawn_system_params = {
    "spawn_system_task", 0, 0, spawn_system_names};

PyObject *
tac_runner_spawn_system_task(TacRunner *runner, PyObject *const *args,
                             Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *values[2] = {NULL, Py_None};
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError,
                        "spawn_system_task() missing 1 required positional "
                        "argument: 'async_fn'");
        return NULL;
    }
    if (tac_args_bind_keywords(&spawn_system_params, args, nargs, kwnames,
                               values) < 0)
    {
        return NULL;
    }
    if (runner->system_nursery == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Nursery is closed to new arrivals");
        return NULL;
    }
    struct tac_spawn how = {
        .fn = args[0],
        .args = args + 1,
        .nargs = nargs - 1,
        .name = values[0],
        .nursery = runner->system_nursery,
        .context = values[1] == Py_None ? NULL : values[1],
        .system = true};
    return (PyObject *)tac_task_spawn(runner, &how);
}

static PyObject *
runner_spawn_system_task(TacRunner *runner, PyObject *const *args,
                         Py_ssize_t nargs, PyObject *kwnames)
{
    return tac_runner_spawn_system_task(runner, args, nargs, kwnames);
}

static PyObject *
runner_pause(TacRunner *runner, PyObject *noargs)
{
    runner->stop = true;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(runner_close_doc,
"close($self, /)\n--\n\n"
"End the run: release the poller and refuse run_sync_soon.  Idempotent.");

static PyObject *
runner_close(TacRunner *runner, PyObject *noargs)
{
    runner_shut(runner);
    Py_RETURN_NONE;
}

static PyObject *
runner_call_instruments(TacRunner *runner, PyObject *arg)
{
    long hook = PyLong_AsLong(arg);
    if (hook != TAC_HOOK_BEFORE_RUN && hook != TAC_HOOK_AFTER_RUN) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "0 (before_run) or 1 "
                                              "(after_run) is needed");
        }
        return NULL;
    }
    if (tac_instruments_has(&runner->instruments, (enum tac_hook)hook)) {
        tac_instruments_call(runner, (enum tac_hook)hook, NULL);
    }
    Py_RETURN_NONE;
}

static PyObject *
runner_add_instrument(TacRunner *runner, PyObject *instrument)
{
    if (tac_instruments_add(runner, instrument) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
runner_deliver_ki(TacRunner *runner, PyObject *noargs)
{
    if (runner->ki_pending && runner->main_task != NULL
        && runner->main_value == NULL && runner->main_error == NULL
        && tac_task_deliver_ki(runner->main_task) < 0)
    {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
runner_run_sync_soon(TacRunner *runner, PyObject *const *args,
                     Py_ssize_t nargs)
{
    PyObject *empty = nargs == 1 ? PyTuple_New(0) : NULL;
    if (empty == NULL) {
        if (nargs != 1) {
            PyErr_SetString(PyExc_TypeError, "run_sync_soon() takes a "
                                             "function");
        }
        return NULL;
    }
    int rc = tac_entryq_push(runner, args[0], empty, false);
    Py_DECREF(empty);
    if (rc < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
runner_reschedule(TacRunner *runner, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs < 1 || nargs > 2) {
        PyErr_SetString(PyExc_TypeError,
                        "reschedule() takes a task and an outcome");
        return NULL;
    }
    return tac_runner_reschedule(runner, args[0], nargs > 1 ? args[1] : NULL);
}

PyDoc_STRVAR(runner_get_outcome_doc,
"get_outcome($self, /)\n--\n\n"
"The main task's (value, error), or None before it has ended.");

static PyObject *
runner_get_outcome(TacRunner *runner, PyObject *noargs)
{
    if (runner->main_value == NULL && runner->main_error == NULL) {
        Py_RETURN_NONE;
    }
    return PyTuple_Pack(
        2, runner->main_value == NULL ? Py_None : runner->main_value,
        runner->main_error == NULL ? Py_None : runner->main_error);
}

/* Guest mode is in run_guest.c. */
PyDoc_STRVAR(runner_attach_doc,
"attach($self, /)\n--\n\n"
"Become a guest: make the thread's run this one, unless it has one, between\n"
"the turns as well, and let another thread wait.  Raises: OSError.");

PyDoc_STRVAR(runner_detach_doc,
"detach($self, /)\n--\n\nEnd what attach() has begun.  Idempotent.");

PyDoc_STRVAR(runner_begin_turn_doc,
"begin_turn($self, /)\n--\n\n"
"A turn's first half.  Returns: how long it may wait, in float seconds.");

PyDoc_STRVAR(runner_get_events_doc,
"get_events($self, timeout, /)\n--\n\n"
"Look for events, or wait for some at most `timeout` seconds.\n\n"
"Returns: a false value if there were none.\n"
"Thread-safe: a guest's wait (timeout > 0) may be in another thread.");

PyDoc_STRVAR(runner_finish_turn_doc,
"finish_turn($self, events, /)\n--\n\n"
"A turn's second half, `events` being what get_events() returned.\n\n"
"Returns: whether the run goes on.");

/* As the functions of the same names, whichever thread's run this is. */
static PyObject *
runner_current_time(TacRunner *runner, PyObject *noargs)
{
    double now_s;
    return tac_runner_time(runner, &now_s) < 0 ? NULL
                                               : PyFloat_FromDouble(now_s);
}

static PyObject *
runner_current_clock(TacRunner *runner, PyObject *noargs)
{
    return tac_runner_clock(runner);
}

static PyObject *
runner_current_root_task(TacRunner *runner, PyObject *noargs)
{
    return tac_run_view_init_task(runner);
}

static PyObject *
runner_current_statistics(TacRunner *runner, PyObject *noargs)
{
    return tac_runner_statistics(runner);
}

static PyObject *
runner_current_trio_token(TacRunner *runner, PyObject *noargs)
{
    return tac_runner_trio_token(runner);
}

static PyMethodDef runner_methods[] = {
    {"current_time", (PyCFunction)runner_current_time,
     METH_NOARGS,
     "current_time($self, /)\n--\n\nThe run's time."},
    {"current_clock", (PyCFunction)runner_current_clock,
     METH_NOARGS,
     "current_clock($self, /)\n--\n\nThe run's clock."},
    {"current_root_task", (PyCFunction)runner_current_root_task,
     METH_NOARGS,
     "current_root_task($self, /)\n--\n\nThe root of the task tree."},
    {"current_statistics", (PyCFunction)runner_current_statistics,
     METH_NOARGS,
     "current_statistics($self, /)\n--\n\nA RunStatistics of the run."},
    {"current_trio_token", (PyCFunction)runner_current_trio_token,
     METH_NOARGS,
     "current_trio_token($self, /)\n--\n\nThe run's TrioToken."},

    {"attach", (PyCFunction)tac_guest_attach, METH_NOARGS, runner_attach_doc},
    {"detach", (PyCFunction)tac_guest_detach, METH_NOARGS, runner_detach_doc},
    {"begin_turn", (PyCFunction)tac_guest_begin_turn, METH_NOARGS,
     runner_begin_turn_doc},
    {"get_events", (PyCFunction)tac_guest_get_events, METH_O,
     runner_get_events_doc},
    {"finish_turn", (PyCFunction)tac_guest_finish_turn, METH_O,
     runner_finish_turn_doc},
    {"force_guest_tick_asap", (PyCFunction)tac_guest_force_guest_tick_asap,
     METH_NOARGS,
     "force_guest_tick_asap($self, /)\n--\n\n"
     "End the wait of a guest's host, if it waits."},
    {"reschedule", (PyCFunction)(void (*)(void))runner_reschedule,
     METH_FASTCALL,
     "reschedule($self, task, next_send=None, /)\n--\n\n"
     "As trio.lowlevel.reschedule, whichever thread's run this is."},

    {"drive", (PyCFunction)runner_drive, METH_NOARGS, runner_drive_doc},
    {"call_inside", (PyCFunction)(void (*)(void))runner_call_inside,
     METH_FASTCALL, runner_enter_doc},
    {"spawn_init", (PyCFunction)runner_spawn_init, METH_VARARGS,
     runner_spawn_init_doc},
    {"spawn_main", (PyCFunction)runner_spawn_main, METH_VARARGS,
     runner_spawn_main_doc},
    {"spawn_impl", (PyCFunction)(void (*)(void))runner_spawn_impl,
     METH_VARARGS | METH_KEYWORDS,
     "spawn_impl($self, async_fn, args, nursery, name, *, "
     "system_task=False, context=None)\n--\n\n"
     "Spawn a task into any nursery."},
    {"fail_main", (PyCFunction)runner_fail_main, METH_O,
     runner_fail_main_doc},
    {"watch_signals", (PyCFunction)runner_watch_signals, METH_O,
     runner_watch_signals_doc},
    {"start_entry_queue", (PyCFunction)runner_start_entry_queue, METH_O,
     "start_entry_queue($self, nursery, /)\n--\n\n"
     "Start the task that runs what run_sync_soon() queues."},
    {"spawn_system_task",
     (PyCFunction)(void (*)(void))runner_spawn_system_task,
     METH_FASTCALL | METH_KEYWORDS, runner_spawn_system_task_doc},
    {"pause", (PyCFunction)runner_pause, METH_NOARGS,
     "pause($self, /)\n--\n\nLeave drive() after this turn."},
    {"close", (PyCFunction)runner_close, METH_NOARGS, runner_close_doc},
    {"call_instruments", (PyCFunction)runner_call_instruments, METH_O,
     "call_instruments($self, hook, /)\n--\n\n"
     "Call before_run (0) or after_run (1)."},
    {"add_instrument", (PyCFunction)runner_add_instrument, METH_O,
     "add_instrument($self, instrument, /)\n--\n\nAs trio.lowlevel's."},
    {"deliver_ki", (PyCFunction)runner_deliver_ki, METH_NOARGS,
     "deliver_ki($self, /)\n--\n\n"
     "Raise a pending KeyboardInterrupt in the main task if it waits."},
    {"run_sync_soon", (PyCFunction)(void (*)(void))runner_run_sync_soon,
     METH_FASTCALL,
     "run_sync_soon($self, fn, /)\n--\n\n"
     "As TrioToken.run_sync_soon.  Thread-safe: yes."},
    {"get_outcome", (PyCFunction)runner_get_outcome, METH_NOARGS,
     runner_get_outcome_doc},
    {NULL},
};

static PyMemberDef runner_members[] = {
    {"main_task", T_OBJECT, offsetof(TacRunner, main_task), READONLY,
     "The task that runs the function given to run()."},
    {"_locals", T_OBJECT, offsetof(TacRunner, locals), READONLY},
    {"system_context", T_OBJECT, offsetof(TacRunner, system_context),
     READONLY, "The context that system tasks get a copy of."},
    {"deterministic", T_BOOL, offsetof(TacRunner, deterministic), 0,
     "Let the order of tasks be a function of the seed alone."},
    {"clock_holds", T_PYSSIZET, offsetof(TacRunner, clock_holds), 0,
     "While it is not 0 the clock does not jump by itself."},
    {"ki_pending", T_BOOL, offsetof(TacRunner, ki_pending), 0,
     "A KeyboardInterrupt waits to be delivered."},
    {"strict_exception_groups", T_BOOL, offsetof(TacRunner, strict),
     READONLY},
    {"is_guest", T_BOOL, offsetof(TacRunner, is_guest), READONLY},
    {"is_running", T_BOOL, offsetof(TacRunner, driven), READONLY},
    {"closed", T_BOOL, offsetof(TacRunner, closed), READONLY},
    {"__dictoffset__", T_PYSSIZET, offsetof(TacRunner, dict), READONLY},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TacRunner, weakrefs),
     READONLY},
    {NULL},
};

PyDoc_STRVAR(runner_doc,
"Runner(clock, system_context, seed, strict)\n--\n\n"
"One scheduler.  clock: None for the system's.  seed: int for its coin.");

static PyType_Slot runner_slots[] = {
    {Py_tp_doc, (void *)runner_doc},
    {Py_tp_new, runner_tp_new},
    {Py_tp_traverse, runner_tp_traverse},
    {Py_tp_clear, runner_tp_clear},
    {Py_tp_dealloc, runner_tp_dealloc},
    {Py_tp_methods, runner_methods},
    {Py_tp_getset, tac_run_view_getset},
    {Py_tp_members, runner_members},
    {0, NULL},
};

static PyType_Spec runner_spec = {
    .name = "trio_asyncio_c._core.Runner",
    .basicsize = sizeof(TacRunner),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = runner_slots,
};

int
tac_run_add_types(PyObject *module, TacState *state)
{
    state->runner_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &runner_spec, NULL);
    if (state->runner_type == NULL) {
        return -1;
    }
    return PyModule_AddType(module, state->runner_type);
}
