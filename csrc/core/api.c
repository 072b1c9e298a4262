/* core/api.c - the core's functions, as Python calls them. */
#include "core/api.h"

#include "base/args.h"
#include "base/asyncfn.h"
#include "base/compat.h"
#include "core/checkpoint.h"
#include "core/idle.h"
#include "core/iotraps.h"
#include "core/nursery.h"
#include "core/run.h"
#include "core/scope.h"
#include "core/trap.h"
#include "core/wait.h"

#include <math.h>

/* The one argument of a function, given by position or by name; borrowed.
 * NULL with TypeError otherwise. */
static PyObject *
api_one(const char *function, const char *name, PyObject *const *args,
        Py_ssize_t nargs, PyObject *kwnames)
{
    if (nargs == 1 && kwnames == NULL) {
        return args[0];
    }
    const char *const names[] = {name, NULL};
    const struct tac_params params = {function, 1, 1, names};
    PyObject *value = NULL;
    return tac_args_bind(&params, args, nargs, kwnames, &value) < 0 ? NULL
                                                                     : value;
}

/* Awaitables -------------------------------------------------------------- */

static PyObject *
api_trap(PyObject *module, const struct tac_trap_ops *ops, PyObject *first)
{
    return (PyObject *)tac_trap_new(tac_state_of_module(module), ops, first,
                                    NULL);
}

static PyObject *
api_number_trap(PyObject *module, const struct tac_trap_ops *ops,
                PyObject *arg)
{
    double number;
    if (tac_args_double(arg, &number) < 0) {
        return NULL;
    }
    TacTrap *trap =
        tac_trap_new(tac_state_of_module(module), ops, NULL, NULL);
    if (trap != NULL) {
        trap->number = number;
    }
    return (PyObject *)trap;
}

PyDoc_STRVAR(api_checkpoint_doc,
"checkpoint()\n--\n\n"
"Let other tasks run, and take a pending cancel.\n\n"
"In code of another flavour that the run knows, an await that blocks: a cancel\n"
"scope's cancel is raised there.\n"
"Checkpoint: yes.  Raises: Cancelled.");

static PyObject *
api_checkpoint(PyObject *module, PyObject *noargs)
{
    return api_trap(module, &tac_checkpoint_ops, NULL);
}

PyDoc_STRVAR(api_checkpoint_if_cancelled_doc,
"checkpoint_if_cancelled()\n--\n\n"
"Take a pending cancel; without one go on at once.\n\n"
"Checkpoint: a cancel point only.  Raises: Cancelled.");

static PyObject *
api_checkpoint_if_cancelled(PyObject *module, PyObject *noargs)
{
    return api_trap(module, &tac_checkpoint_if_cancelled_ops, NULL);
}

PyDoc_STRVAR(api_cancel_shielded_checkpoint_doc,
"cancel_shielded_checkpoint()\n--\n\n"
"Let other tasks run.  Checkpoint: a schedule point only.");

static PyObject *
api_cancel_shielded_checkpoint(PyObject *module, PyObject *noargs)
{
    return api_trap(module, &tac_cancel_shielded_checkpoint_ops, NULL);
}

PyDoc_STRVAR(api_sleep_doc,
"sleep(seconds)\n--\n\n"
"Wait for a time: float seconds of the run's clock; 0 is a checkpoint.\n\n"
"Checkpoint: yes.  Raises: ValueError when negative or NaN; Cancelled.");

static const char *const sleep_names[] = {"seconds", NULL};
static const struct tac_params sleep_params = {"sleep", 1, 1, sleep_names};

static PyObject *
api_sleep(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
          PyObject *kwnames)
{
    PyObject *seconds = NULL;
    if (tac_args_bind(&sleep_params, args, nargs, kwnames, &seconds) < 0) {
        return NULL;
    }
    return api_number_trap(module, &tac_sleep_ops, seconds);
}

PyDoc_STRVAR(api_sleep_until_doc,
"sleep_until(deadline)\n--\n\n"
"Wait until the run's clock says `deadline` (float seconds).\n\n"
"Checkpoint: yes.  Raises: ValueError for NaN; Cancelled.");

static PyObject *
api_sleep_until(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    static const char *const names[] = {"deadline", NULL};
    static const struct tac_params params = {"sleep_until", 1, 1, names};
    PyObject *deadline = NULL;
    if (tac_args_bind(&params, args, nargs, kwnames, &deadline) < 0) {
        return NULL;
    }
    return api_number_trap(module, &tac_sleep_until_ops, deadline);
}

PyDoc_STRVAR(api_sleep_forever_doc,
"sleep_forever()\n--\n\n"
"Wait until cancelled.  Checkpoint: yes.  Raises: Cancelled.");

static PyObject *
api_sleep_forever(PyObject *module, PyObject *noargs)
{
    return api_trap(module, &tac_sleep_forever_ops, NULL);
}

PyDoc_STRVAR(api_wait_readable_doc,
"wait_readable(fd)\n--\n\n"
"Wait until a read from `fd` (int, or with fileno()) would not block.\n\n"
"Checkpoint: yes.  Raises: BusyResourceError when a task waits for it\n"
"already; ClosedResourceError by notify_closing(); OSError for an fd that is\n"
"closed or cannot be waited for; Cancelled.");

static PyObject *
api_wait_readable(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    PyObject *fd = api_one("wait_readable", "fd", args, nargs, kwnames);
    return fd == NULL ? NULL : api_trap(module, &tac_wait_readable_ops, fd);
}

PyDoc_STRVAR(api_wait_writable_doc,
"wait_writable(fd)\n--\n\n"
"Wait until a write to `fd` would not block; see wait_readable().");

static PyObject *
api_wait_writable(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    PyObject *fd = api_one("wait_writable", "fd", args, nargs, kwnames);
    return fd == NULL ? NULL : api_trap(module, &tac_wait_writable_ops, fd);
}

PyDoc_STRVAR(api_wait_task_rescheduled_doc,
"wait_task_rescheduled(abort_func)\n--\n\n"
"Put the running task to sleep until reschedule() is called for it.\n\n"
"abort_func(raise_cancel) is called at most once, to end the wait early; it\n"
"returns Abort.SUCCEEDED, or Abort.FAILED for: the wait goes on.\n"
"Checkpoint: yes.  Raises: what the task is rescheduled with; Cancelled.");

static PyObject *
api_wait_task_rescheduled(PyObject *module, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *abort_func =
        api_one("wait_task_rescheduled", "abort_func", args, nargs, kwnames);
    return abort_func == NULL
               ? NULL
               : api_trap(module, &tac_wait_task_rescheduled_ops, abort_func);
}

PyDoc_STRVAR(api_wait_all_tasks_blocked_doc,
"wait_all_tasks_blocked(cushion=0.0)\n--\n\n"
"Wait until nothing has been runnable for `cushion` seconds of real time.\n\n"
"Checkpoint: yes.  Raises: Cancelled.");

static PyObject *
api_wait_all_tasks_blocked(PyObject *module, PyObject *const *args,
                           Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"cushion", NULL};
    static const struct tac_params params = {"wait_all_tasks_blocked", 1, 0,
                                             names};
    PyObject *cushion = NULL;
    if (tac_args_bind(&params, args, nargs, kwnames, &cushion) < 0) {
        return NULL;
    }
    if (cushion == NULL) {
        return api_trap(module, &tac_idle_ops, NULL);
    }
    return api_number_trap(module, &tac_idle_ops, cushion);
}

PyDoc_STRVAR(api_temporarily_detach_doc,
"temporarily_detach_coroutine_object(abort_func)\n--\n\n"
"Lend the running coroutine to another runner; returns what that one sends.\n"
"The task stays, blocked, until the coroutine is reattached.");

static PyObject *
api_temporarily_detach(PyObject *module, PyObject *const *args,
                       Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *abort_func = api_one("temporarily_detach_coroutine_object",
                                  "abort_func", args, nargs, kwnames);
    return abort_func == NULL
               ? NULL
               : api_trap(module, &tac_temporarily_detach_ops, abort_func);
}

PyDoc_STRVAR(api_permanently_detach_doc,
"permanently_detach_coroutine_object(final_outcome)\n--\n\n"
"Give the running coroutine away; its task ends with `final_outcome`.\n\n"
"Raises: RuntimeError while the task has nurseries open.");

static PyObject *
api_permanently_detach(PyObject *module, PyObject *const *args,
                       Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *outcome = api_one("permanently_detach_coroutine_object",
                               "final_outcome", args, nargs, kwnames);
    return outcome == NULL
               ? NULL
               : api_trap(module, &tac_permanently_detach_ops, outcome);
}

PyDoc_STRVAR(api_reattach_doc,
"reattach_detached_coroutine_object(task, yield_value)\n--\n\n"
"End a temporary detachment: yield `yield_value` to the other runner a last\n"
"time and go on as `task`.  Raises: RuntimeError when the running coroutine\n"
"is not the task's.");

static PyObject *
api_reattach(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames)
{
    static const char *const names[] = {"task", "yield_value", NULL};
    static const struct tac_params params = {
        "reattach_detached_coroutine_object", 2, 2, names};
    PyObject *values[2] = {NULL, NULL};
    if (tac_args_bind(&params, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    return (PyObject *)tac_trap_new(tac_state_of_module(module),
                                    &tac_reattach_ops, values[0], values[1]);
}

/* Plain functions --------------------------------------------------------- */

PyDoc_STRVAR(api_reschedule_doc,
"reschedule(task, next_send=...)\n--\n\n"
"Make a sleeping task runnable, with an outcome (an object with ``error`` or\n"
"``value``) that its wait_task_rescheduled() returns or raises; None if there\n"
"is none.\n\n"
"Raises: AssertionError when it is runnable already.  Checkpoint: no.");

static PyObject *
api_reschedule(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    static const char *const names[] = {"task", "next_send", NULL};
    static const struct tac_params params = {"reschedule", 2, 1, names};
    TacState *state = tac_state_of_module(module);
    PyObject *values[2] = {NULL, NULL};
    TacRunner *runner = tac_runner_current(state);
    if (runner == NULL
        || tac_args_bind(&params, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    return tac_runner_reschedule(runner, values[0], values[1]);
}

PyDoc_STRVAR(api_notify_closing_doc,
"notify_closing(fd)\n--\n\n"
"Wake the tasks that wait for `fd` with ClosedResourceError, before it is\n"
"closed.  An fd that nobody waits for is ignored.  Checkpoint: no.");

static PyObject *
api_notify_closing(PyObject *module, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *arg = api_one("notify_closing", "fd", args, nargs, kwnames);
    TacRunner *runner = tac_runner_current(tac_state_of_module(module));
    if (arg == NULL || runner == NULL) {
        return NULL;
    }
    long fd = PyLong_Check(arg) ? PyLong_AsLong(arg) : tac_args_fd(arg);
    if (fd == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (tac_iowait_notify_closing(runner, (int)fd) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(api_open_nursery_doc,
"open_nursery(strict_exception_groups=None)\n--\n\n"
"A context manager for ``async with`` that gives a Nursery.\n\n"
"strict_exception_groups: False to let single errors out bare; None: as the\n"
"run was started.  Leaving the block is a schedule point.\n"
"Raises: an exception group of the errors of the body and the children.");

static int
api_warn_nonstrict(TacState *state)
{
    PyObject *done =
        PyObject_CallFunction(state->hook_warn_nonstrict, "s",
                              "open_nursery");
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static PyObject *
api_open_nursery(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    static const char *const names[] = {"strict_exception_groups", NULL};
    static const struct tac_params params = {"open_nursery", 1, 0, names};
    TacState *state = tac_state_of_module(module);
    PyObject *strict = NULL;
    TacRunner *runner = tac_runner_current(state);
    if (runner == NULL
        || tac_args_bind(&params, args, nargs, kwnames, &strict) < 0) {
        return NULL;
    }
    int is_strict = runner->strict;
    if (strict != NULL && strict != Py_None) {
        is_strict = PyObject_IsTrue(strict);
        if (is_strict < 0
            || (is_strict == 0 && api_warn_nonstrict(state) < 0)) {
            return NULL;
        }
    }
    return tac_nursery_manager_new(state, is_strict);
}

/* The runner of who asks where it is, borrowed; or NULL with RuntimeError. */
static TacRunner *
api_runner_here(PyObject *module)
{
    TacRunner *runner = tac_running_here(tac_state_of_module(module));
    if (runner == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "must be called from async context");
    }
    return runner;
}

static PyObject *
api_task_of(TacRunner *runner)
{
    if (runner != NULL && runner->current != NULL) {
        return runner->current->ops->object(runner->current);
    }
    PyErr_SetString(PyExc_RuntimeError, "must be called from async context");
    return NULL;
}

PyDoc_STRVAR(api_current_task_doc,
"current_task()\n--\n\n"
"The running Task.  Raises: RuntimeError outside of one, and in the child of\n"
"a fork: the run that it was made in is its parent's.");

static PyObject *
api_current_task(PyObject *module, PyObject *noargs)
{
    return api_task_of(tac_running_here(tac_state_of_module(module)));
}

PyDoc_STRVAR(api_entered_task_doc,
"entered_task()\n--\n\n"
"The Task in whose step this thread is, also in the child of a fork, which\n"
"may unwind it.  Raises: RuntimeError outside of one.");

static PyObject *
api_entered_task(PyObject *module, PyObject *noargs)
{
    return api_task_of(tac_running(tac_state_of_module(module)));
}

PyDoc_STRVAR(api_current_runner_doc,
"current_runner()\n--\n\n"
"The Runner that this thread runs.  Raises: RuntimeError when there is none.");

static PyObject *
api_current_runner(PyObject *module, PyObject *noargs)
{
    return Py_XNewRef(tac_runner_current(tac_state_of_module(module)));
}

PyDoc_STRVAR(api_current_time_doc,
"current_time()\n--\n\n"
"The run's time in float seconds; time.monotonic() with the system's clock.\n"
"Raises: RuntimeError outside of a run.");

static PyObject *
api_current_time(PyObject *module, PyObject *noargs)
{
    double now;
    TacRunner *runner = api_runner_here(module);
    if (runner == NULL || tac_runner_time(runner, &now) < 0) {
        return NULL;
    }
    return PyFloat_FromDouble(now);
}

PyDoc_STRVAR(api_current_clock_doc,
"current_clock()\n--\n\nThe run's clock.");

static PyObject *
api_current_clock(PyObject *module, PyObject *noargs)
{
    TacRunner *runner = api_runner_here(module);
    return runner == NULL ? NULL : tac_runner_clock(runner);
}

PyDoc_STRVAR(api_current_root_task_doc,
"current_root_task()\n--\n\nThe root of the run's task tree, or None.");

static PyObject *
api_current_root_task(PyObject *module, PyObject *noargs)
{
    TacRunner *runner = api_runner_here(module);
    if (runner == NULL) {
        return NULL;
    }
    return Py_NewRef(runner->init_task == NULL
                         ? Py_None
                         : (PyObject *)runner->init_task);
}

PyDoc_STRVAR(api_current_effective_deadline_doc,
"current_effective_deadline()\n--\n\n"
"When the running task, of either flavour, will be cancelled, as far as its\n"
"scopes say; inf: never; -inf: it is.");

static PyObject *
api_current_effective_deadline(PyObject *module, PyObject *noargs)
{
    struct tac_task *task = tac_task_in_scopes(tac_state_of_module(module));
    if (task == NULL) {
        return NULL;
    }
    return PyFloat_FromDouble(tac_scope_effective_deadline(task->scope));
}

PyDoc_STRVAR(api_current_statistics_doc,
"current_statistics()\n--\n\nA RunStatistics of this run, now.");

static PyObject *
api_current_statistics(PyObject *module, PyObject *noargs)
{
    TacRunner *runner = api_runner_here(module);
    return runner == NULL ? NULL : tac_runner_statistics(runner);
}

PyDoc_STRVAR(api_current_trio_token_doc,
"current_trio_token()\n--\n\n"
"This run's TrioToken, the way in from other threads.");

static PyObject *
api_current_trio_token(PyObject *module, PyObject *noargs)
{
    TacRunner *runner = api_runner_here(module);
    return runner == NULL ? NULL : tac_runner_trio_token(runner);
}

PyDoc_STRVAR(api_in_trio_run_doc,
"in_trio_run()\n--\n\nWhether this thread is in a run.");

static PyObject *
api_in_trio_run(PyObject *module, PyObject *noargs)
{
    TacRunner *runner = tac_running_here(tac_state_of_module(module));
    return PyBool_FromLong(runner != NULL);
}

PyDoc_STRVAR(api_in_trio_task_doc,
"in_trio_task()\n--\n\n"
"Whether this thread is in a task's step, and not in one that runs code of\n"
"another flavour.");

static PyObject *
api_in_trio_task(PyObject *module, PyObject *noargs)
{
    return PyBool_FromLong(tac_in_trio_task(tac_state_of_module(module)));
}

PyDoc_STRVAR(api_spawn_system_task_doc,
"spawn_system_task(async_fn, /, *args, name=None, context=None)\n--\n\n"
"Spawn a task in the run's system nursery: cancelled when the main task has\n"
"ended, protected from Ctrl-C, and its error ends the run.\n\n"
"context: a contextvars.Context; None: a copy of the run's own.\n"
"Returns: the Task.  Checkpoint: no.");

static PyObject *
api_spawn_system_task(PyObject *module, PyObject *const *args,
                      Py_ssize_t nargs, PyObject *kwnames)
{
    TacRunner *runner = api_runner_here(module);
    return runner == NULL ? NULL
                          : tac_runner_spawn_system_task(runner, args, nargs,
                                                         kwnames);
}

PyDoc_STRVAR(api_add_instrument_doc,
"add_instrument(instrument)\n--\n\n"
"Let an instrument watch the run from now on; no-op when it does.");

static PyObject *
api_add_instrument(PyObject *module, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *instrument =
        api_one("add_instrument", "instrument", args, nargs, kwnames);
    TacRunner *runner = api_runner_here(module);
    if (instrument == NULL || runner == NULL
        || tac_instruments_add(runner, instrument) < 0)
    {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(api_remove_instrument_doc,
"remove_instrument(instrument)\n--\n\n"
"Stop an instrument.  Raises: KeyError when it does not watch.");

static PyObject *
api_remove_instrument(PyObject *module, PyObject *const *args,
                      Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *instrument =
        api_one("remove_instrument", "instrument", args, nargs, kwnames);
    TacRunner *runner = api_runner_here(module);
    if (instrument == NULL || runner == NULL
        || tac_instruments_remove(runner, instrument) < 0)
    {
        return NULL;
    }
    Py_RETURN_NONE;
}

#define API_FAST(fn) (PyCFunction)(void (*)(void))fn
#define API_KW (METH_FASTCALL | METH_KEYWORDS)

static PyMethodDef api_functions[] = {
    {"checkpoint", api_checkpoint, METH_NOARGS, api_checkpoint_doc},
    {"checkpoint_if_cancelled", api_checkpoint_if_cancelled, METH_NOARGS,
     api_checkpoint_if_cancelled_doc},
    {"cancel_shielded_checkpoint", api_cancel_shielded_checkpoint,
     METH_NOARGS, api_cancel_shielded_checkpoint_doc},
    {"sleep", API_FAST(api_sleep), API_KW, api_sleep_doc},
    {"sleep_until", API_FAST(api_sleep_until), API_KW, api_sleep_until_doc},
    {"sleep_forever", api_sleep_forever, METH_NOARGS, api_sleep_forever_doc},
    {"wait_readable", API_FAST(api_wait_readable), API_KW,
     api_wait_readable_doc},
    {"wait_writable", API_FAST(api_wait_writable), API_KW,
     api_wait_writable_doc},
    {"notify_closing", API_FAST(api_notify_closing), API_KW,
     api_notify_closing_doc},
    {"wait_task_rescheduled", API_FAST(api_wait_task_rescheduled), API_KW,
     api_wait_task_rescheduled_doc},
    {"wait_all_tasks_blocked", API_FAST(api_wait_all_tasks_blocked), API_KW,
     api_wait_all_tasks_blocked_doc},
    {"temporarily_detach_coroutine_object", API_FAST(api_temporarily_detach),
     API_KW,
     api_temporarily_detach_doc},
    {"permanently_detach_coroutine_object", API_FAST(api_permanently_detach),
     API_KW,
     api_permanently_detach_doc},
    {"reattach_detached_coroutine_object", API_FAST(api_reattach), API_KW,
     api_reattach_doc},
    {"reschedule", API_FAST(api_reschedule), API_KW, api_reschedule_doc},
    {"open_nursery", API_FAST(api_open_nursery), API_KW,
     api_open_nursery_doc},
    {"current_task", api_current_task, METH_NOARGS, api_current_task_doc},
    {"entered_task", api_entered_task, METH_NOARGS, api_entered_task_doc},
    {"current_runner", api_current_runner, METH_NOARGS,
     api_current_runner_doc},
    {"current_time", api_current_time, METH_NOARGS, api_current_time_doc},
    {"current_clock", api_current_clock, METH_NOARGS, api_current_clock_doc},
    {"current_root_task", api_current_root_task, METH_NOARGS,
     api_current_root_task_doc},
    {"current_effective_deadline", api_current_effective_deadline,
     METH_NOARGS, api_current_effective_deadline_doc},
    {"current_statistics", api_current_statistics, METH_NOARGS,
     api_current_statistics_doc},
    {"current_trio_token", api_current_trio_token, METH_NOARGS,
     api_current_trio_token_doc},
    {"in_trio_run", api_in_trio_run, METH_NOARGS, api_in_trio_run_doc},
    {"in_trio_task", api_in_trio_task, METH_NOARGS, api_in_trio_task_doc},
    {"spawn_system_task", API_FAST(api_spawn_system_task), API_KW,
     api_spawn_system_task_doc},
    {"add_instrument", API_FAST(api_add_instrument), API_KW,
     api_add_instrument_doc},
    {"remove_instrument", API_FAST(api_remove_instrument), API_KW,
     api_remove_instrument_doc},
    {NULL},
};

#undef API_FAST
#undef API_KW

static const char *const api_async_functions[] = {
    "checkpoint",
    "checkpoint_if_cancelled",
    "cancel_shielded_checkpoint",
    "sleep",
    "sleep_until",
    "sleep_forever",
    "wait_readable",
    "wait_writable",
    "wait_task_rescheduled",
    "wait_all_tasks_blocked",
    "temporarily_detach_coroutine_object",
    "permanently_detach_coroutine_object",
    "reattach_detached_coroutine_object",
};

int
tac_api_add_functions(PyObject *module, TacState *state)
{
    if (PyModule_AddFunctions(module, api_functions) < 0) {
        return -1;
    }
    size_t count =
        sizeof(api_async_functions) / sizeof(api_async_functions[0]);
    for (size_t i = 0; i < count; i++) {
        if (tac_asyncfn_replace(module, state, api_async_functions[i]) < 0) {
            return -1;
        }
    }
    return 0;
}
