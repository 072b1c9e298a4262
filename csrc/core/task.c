/* core/task.c - tasks: scheduling, cancellation, the step, the exit.
 *
 * Spawning is in spawn.c, the Python type in task_type.c, C tasks in
 * ctask.c.  The struct's states are drawn in task.h.
 *
 * A step never nests: the runner's `current` is set around it, and nothing
 * that runs in a step can run another step of the same runner.
 */
#include "core/task.h"

#include "base/compat.h"
#include "base/errors.h"
#include "core/breaker.h"
#include "core/nursery.h"
#include "core/run.h"
#include "core/scope.h"
#include "core/trap.h"
#include "core/wait.h"

#include <stddef.h>

TacTask *
tac_task_current(TacState *state)
{
    TacRunner *runner = tac_running(state);
    struct tac_task *task = runner == NULL ? NULL : runner->current;
    if (task != NULL && tac_task_is_coroutine(task)) {
        return tac_task_of(task);
    }
    PyErr_SetString(PyExc_RuntimeError,
                    task != NULL && task->ops->await_error != NULL
                        ? task->ops->await_error
                        : "must be called from async context");
    return NULL;
}

/* In no run at all: there may be more to say of where that is.  Raises. */
static void
task_raise_outside(TacState *state)
{
    PyObject *result = state->hook_check_outside == NULL
                           ? Py_NewRef(Py_None)
                           : PyObject_CallNoArgs(state->hook_check_outside);
    if (result != NULL) {
        (void)tac_task_current(state);
    }
    Py_XDECREF(result);
}

struct tac_task *
tac_task_in_scopes(TacState *state)
{
    TacRunner *runner = tac_running(state);
    if (runner == NULL) {
        task_raise_outside(state);
        return NULL;
    }
    struct tac_task *current = runner->current;
    if (current != NULL && current->ops->inner != NULL) {
        return current->ops->inner(current);
    }
    if (current != NULL && runner->home != NULL && runner->find_inner != NULL)
    {
        struct tac_task *inner = runner->find_inner(runner);
        if (inner != NULL || PyErr_Occurred()) {
            return inner;
        }
    }
    TacTask *task = tac_task_current(state);
    return task == NULL ? NULL : &task->base;
}

/* Scheduling -------------------------------------------------------------- */

void
tac_task_make_runnable(struct tac_task *task)
{
    if (!tac_list_is_linked(&task->run_node)) {
        task->abortable = false;
        tac_list_append(&task->runner->run_queue, &task->run_node);
        tac_runner_poke(task->runner);
    }
}

void
tac_task_step_next(struct tac_task *task)
{
    tac_list_unlink(&task->run_node);
    tac_list_append(&task->runner->at_once, &task->run_node);
}

int
tac_task_check_run(TacTask *task)
{
    TacRunner *runner = task->base.runner;
    if (runner == NULL || (!runner->driven && !runner->is_guest)) {
        return 0;
    }
    TacRunner *running = tac_running(runner->state);
    if (tac_runner_may_touch(running, runner)) {
        return 0;
    }
    if (running == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "must be called from async context");
    }
    else {
        PyErr_Format(PyExc_RuntimeError, "%R belongs to another run", task);
    }
    return -1;
}

int
tac_task_reschedule(TacTask *task, PyObject *value, PyObject *error)
{
    TacRunner *runner = task->base.runner;
    if (runner == NULL || tac_list_is_linked(&task->base.run_node)
        || task->resumed)
    {
        PyErr_Format(PyExc_AssertionError,
                     runner == NULL
                         ? "%R has exited and cannot be rescheduled"
                         : "%R was rescheduled twice",
                     task);
        Py_XDECREF(value);
        Py_XDECREF(error);
        return -1;
    }
    task->resumed = true;
    Py_XSETREF(task->resume_value, value);
    Py_XSETREF(task->resume_error, error);
    Py_CLEAR(task->custom_sleep_data);
    tac_task_make_runnable(&task->base);
    if (tac_instruments_has(&runner->instruments, TAC_HOOK_TASK_SCHEDULED)) {
        tac_instruments_call_task(runner, TAC_HOOK_TASK_SCHEDULED,
                                  &task->base);
    }
    return 0;
}

/* Cancellation ------------------------------------------------------------ */

PyObject *
tac_cause_exception(TacRunner *runner, const struct tac_cause *cause)
{
    TacState *state = runner->state;
    if (cause->is_ki) {
        runner->ki_pending = false;
        return PyObject_CallNoArgs(PyExc_KeyboardInterrupt);
    }
    PyObject *args[3] = {state->str_unknown, state->str_misnesting, Py_None};
    if (cause->reason != NULL) {
        for (int i = 0; i < 3; i++) {
            args[i] = PyTuple_GET_ITEM(cause->reason, i);
        }
    }
    return PyObject_Vectorcall(state->cancelled_create, args, 0,
                               state->cancelled_kwnames);
}

/* One attempt a park: whatever comes of it, the next needs a new park (R13).
 * Only an abort function that raises leaves the task as it was. */
static int
task_abort(struct tac_task *base, const struct tac_cause *cause)
{
    TacTask *task = tac_task_of(base);
    TacRunner *runner = base->runner;
    TacTrap *trap = (TacTrap *)Py_XNewRef(task->trap);
    enum tac_abort answer = TAC_ABORT_SUCCEEDED;
    if (trap != NULL && trap->ops->abort != NULL) {
        answer = trap->ops->abort(trap, task, cause);
    }
    else if (trap != NULL) {
        tac_trap_unlink(trap);
    }
    Py_XDECREF(trap);
    if (answer == TAC_ABORT_ERROR) {
        return -1;
    }
    base->abortable = false;
    if (answer == TAC_ABORT_FAILED) {
        return 0;
    }
    PyObject *error = tac_cause_exception(runner, cause);
    return error == NULL ? -1 : tac_task_reschedule(task, NULL, error);
}

int
tac_task_deliver_cancel(struct tac_task *task)
{
    if (!task->abortable || task->scope == NULL
        || !task->scope->effectively_cancelled)
    {
        return 0;
    }
    struct tac_cause cause = {false, Py_XNewRef(task->scope->reason)};
    int rc = task->ops->cancel(task, &cause);
    Py_XDECREF(cause.reason);
    return rc;
}

int
tac_task_deliver_ki(TacTask *task)
{
    if (!task->base.abortable) {
        return 0;
    }
    struct tac_cause cause = {true, NULL};
    return task->base.ops->cancel(&task->base, &cause);
}

int
tac_task_activate(struct tac_task *task, TacScope *scope)
{
    TacScope *old = task->scope;
    if (scope != NULL) {
        Py_INCREF(scope);
    }
    tac_list_unlink(&task->status_node);
    task->scope = scope;
    if (scope != NULL) {
        tac_list_append(&scope->tasks, &task->status_node);
    }
    Py_XDECREF(old);
    return scope != NULL && scope->effectively_cancelled
               ? tac_task_deliver_cancel(task)
               : 0;
}

/* The step ---------------------------------------------------------------- */

static PySendResult
task_throw(TacTask *task, PyObject *coro, PyObject **result)
{
    PyObject *error = task->resume_error;
    task->resume_error = NULL;
    task->throws = false;
    *result = PyObject_CallMethodOneArg(
        coro, task->base.runner->state->str_throw, error);
    Py_DECREF(error);
    if (*result != NULL) {
        return PYGEN_NEXT;
    }
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return PYGEN_ERROR;
    }
    PyObject *stop = PyErr_GetRaisedException();
    *result = PyObject_GetAttr(stop, task->base.runner->state->str_value);
    Py_DECREF(stop);
    return *result == NULL ? PYGEN_ERROR : PYGEN_RETURN;
}

/* A trap that is no C awaitable gets the outcome itself, and unwraps it. */
static PySendResult
task_send_outcome(TacTask *task, PyObject *coro, PyObject **result)
{
    PyObject *value = task->resume_value, *error = task->resume_error;
    task->resume_value = task->resume_error = NULL;
    task->sends_outcome = false;
    Py_CLEAR(task->trap);
    PyObject *outcome = PyObject_CallFunctionObjArgs(
        task->base.runner->state->hook_outcome,
        value == NULL ? Py_None : value, error == NULL ? Py_None : error,
        NULL);
    Py_XDECREF(value);
    Py_XDECREF(error);
    if (outcome == NULL) {
        return PYGEN_ERROR;
    }
    PySendResult sent = PyIter_Send(coro, outcome, result);
    Py_DECREF(outcome);
    return sent;
}

static inline PySendResult
task_send(TacTask *task, PyObject *coro, PyObject **result)
{
    if (task->throws) {
        return task_throw(task, coro, result);
    }
    if (task->sends_outcome) {
        return task_send_outcome(task, coro, result);
    }
    return PyIter_Send(coro, Py_None, result);
}

/* Resume the coroutine in its context.  Both are read anew at every step and
 * held across it, for user code may replace them meanwhile. */
static PySendResult
task_resume(TacTask *task, PyObject **result)
{
    PyObject *context = Py_NewRef(task->context);
    PySendResult sent = PYGEN_ERROR;
    *result = NULL;
    if (PyContext_Enter(context) == 0) {
        PyObject *coro = Py_NewRef(task->coro);
        sent = task_send(task, coro, result);
        Py_DECREF(coro);
        PyObject *error = sent == PYGEN_ERROR ? PyErr_GetRaisedException()
                                              : NULL;
        if (PyContext_Exit(context) < 0) {
            Py_CLEAR(*result);
            Py_XDECREF(error);
            sent = PYGEN_ERROR;
        }
        else if (error != NULL) {
            PyErr_SetRaisedException(error);
        }
    }
    Py_DECREF(context);
    return sent;
}

static int
task_park(TacTask *task)
{
    TacRunner *runner = task->base.runner;
    task->cancel_points++;
    task->base.abortable = true;
    /* A keyboard interrupt is outside of all scopes, so it comes first. */
    if (runner->ki_pending && task == runner->main_task
        && tac_task_deliver_ki(task) < 0)
    {
        return -1;
    }
    return tac_task_deliver_cancel(&task->base);
}

static int
task_detach(TacTask *task)
{
    PyObject *value = task->resume_value, *error = task->resume_error;
    task->resume_value = task->resume_error = NULL;
    if (value == NULL && error == NULL) {
        value = Py_NewRef(Py_None);
    }
    int rc = tac_task_exit(task, value, error);
    Py_XDECREF(value);
    Py_XDECREF(error);
    return rc;
}

/* Do as a trap of somebody else's says: `kind` is an enum tac_park, `arg` an
 * abort function or a final outcome. */
static int
task_foreign_trap(TacTask *task, int kind, PyObject *arg)
{
    TacState *state = task->base.runner->state;
    task->sends_outcome = true;
    switch (kind) {
    case TAC_PARK_YIELD:
        return tac_task_reschedule(task, NULL, NULL);
    case TAC_PARK_DETACH:
        if (tac_outcome_read(state, arg, &task->resume_value,
                             &task->resume_error)
            < 0)
        {
            return -1;
        }
        return task_detach(task);
    default:
        Py_XSETREF(task->trap, tac_wait_foreign_new(state, task, arg));
        return task->trap == NULL ? -1 : task_park(task);
    }
}

/* The coroutine yielded what is no trap of ours.  A hook says what it is: a
 * (kind, argument) for a trap that is written in Python, or an error for a
 * foreign await.  The error goes in by throw(), for it is the foreign
 * awaitable that must see it. */
static int
task_foreign_yield(TacTask *task, PyObject *message)
{
    PyObject *answer = PyObject_CallOneArg(
        task->base.runner->state->hook_foreign_yield, message);
    if (answer == NULL) {
        return -1;
    }
    if (PyExceptionInstance_Check(answer)) {
        task->throws = true;
        return tac_task_reschedule(task, NULL, answer);
    }
    int kind;
    PyObject *arg;
    int rc = PyArg_ParseTuple(answer, "iO", &kind, &arg)
                 ? task_foreign_trap(task, kind, arg)
                 : -1;
    Py_DECREF(answer);
    return rc;
}

static int
task_handle_yield(TacTask *task, PyObject *message)
{
    enum tac_park park = task->park;
    task->park = TAC_PARK_NONE;
    if (task->broken) {
        PyErr_Format(PyExc_TypeError,
                     "the statistics of %R were replaced by something that "
                     "is no int",
                     task);
        return -1;
    }
    task->schedule_points++;
    if (message != task->base.runner->state->marker) {
        return task_foreign_yield(task, message);
    }
    switch (park) {
    case TAC_PARK_WAIT:
        return task_park(task);
    case TAC_PARK_YIELD:
        return tac_task_reschedule(task, NULL, NULL);
    case TAC_PARK_DETACH:
        return task_detach(task);
    default:
        return task_foreign_yield(task, message);
    }
}

static int
task_step_body(TacTask *task)
{
    PyObject *result;
    task->resumed = false;
    PySendResult sent = task_resume(task, &result);
    if (sent == PYGEN_NEXT) {
        int rc = task_handle_yield(task, result);
        Py_DECREF(result);
        return rc;
    }
    PyObject *error = sent == PYGEN_ERROR ? PyErr_GetRaisedException() : NULL;
    int rc = tac_task_exit(task, result, error);
    Py_XDECREF(result);
    Py_XDECREF(error);
    return rc;
}

/* For a task without a home of its own, in a runner that has loops. */
static int
task_enter_found_home(TacTask *task)
{
    TacRunner *runner = task->base.runner;
    PyObject *home;
    int rc = runner->find_home(runner, task->context, &home);
    if (rc == 0 && home != runner->home) {
        rc = runner->enter_home(runner, home);
    }
    Py_XDECREF(home);
    return rc;
}

static int
task_enter_home(TacTask *task)
{
    TacRunner *runner = task->base.runner;
    PyObject *home = task->home;
    if (runner->enter_home == NULL) {
        return 0;
    }
    if (home == NULL) {
        return task_enter_found_home(task);
    }
    return home == runner->home ? 0 : runner->enter_home(runner, home);
}

static int
task_step(struct tac_task *base)
{
    TacTask *task = tac_task_of(base);
    return task_enter_home(task) < 0 ? -1 : task_step_body(task);
}

/* The exit (R28) ---------------------------------------------------------- */

static int
task_abandon_nursery(TacTask *task, TacNursery *nursery)
{
    TacState *state = task->base.runner->state;
    PyObject *who = tac_task_repr(&task->base);
    PyObject *text = PyUnicode_FromString(
        "Parent Task exited prematurely, abandoning this nursery without "
        "exiting it properly.");
    PyObject *reason = who == NULL || text == NULL
                           ? NULL
                           : tac_scope_reason(state->str_nursery, text, who);
    int rc = reason == NULL ? -1 : tac_scope_cancel(nursery->scope, reason);
    nursery->closed = true;
    Py_XDECREF(who);
    Py_XDECREF(text);
    Py_XDECREF(reason);
    return rc;
}

static int
task_abandon_nurseries(TacTask *task)
{
    struct tac_list *head = &task->child_nurseries;
    for (struct tac_list *n = head->next; n != head;) {
        TacNursery *nursery = tac_list_entry(n, TacNursery, task_node);
        Py_INCREF(nursery);
        int rc = task_abandon_nursery(task, nursery);
        n = tac_list_is_linked(n) ? n->next : head;
        Py_DECREF(nursery);
        if (rc < 0) {
            return -1;
        }
    }
    return 0;
}

/* The error of a task that left scopes or nurseries open, or NULL. */
static PyObject *
task_misnesting_error(TacTask *task, PyObject *own_error)
{
    TacScope *scope = task->base.scope;
    bool nursery = !tac_list_is_empty(&task->child_nurseries);
    if (!nursery
        && !(scope != NULL && scope->abandoned && scope->parent == NULL)) {
        return NULL;
    }
    const char *what = nursery ? "Nursery" : "Cancel scope";
    PyErr_Format(PyExc_RuntimeError,
                 "%s stack corrupted: %s surrounding %R was closed before "
                 "the task exited" TAC_MISNESTING_ADVICE,
                 what, what, task);
    PyObject *error = PyErr_GetRaisedException();
    tac_err_set_context(error, own_error);
    return error;
}

/* What only a running task needs is dropped now, so that nothing lives
 * longer because somebody keeps the Task. */
static void
task_drop_state(TacTask *task)
{
    Py_CLEAR(task->trap);
    Py_CLEAR(task->resume_value);
    Py_CLEAR(task->resume_error);
    Py_CLEAR(task->home);
    task->base.abortable = false;
    tac_list_unlink(&task->base.run_node);
}

static int
task_exit_init(TacRunner *runner, PyObject *exc)
{
    runner->init_task = NULL;
    if (exc != NULL) {
        tac_err_restore(Py_NewRef(exc));
        return -1;
    }
    if (runner->task_count != 0) {
        PyErr_SetString(runner->state->exc_TrioInternalError,
                        "the init task exited before its children");
        return -1;
    }
    return 0;
}

static int
task_report(TacRunner *runner, TacTask *task, PyObject *value, PyObject *exc)
{
    if (task == runner->init_task) {
        return task_exit_init(runner, exc);
    }
    if (task == runner->main_task) {
        Py_XSETREF(runner->main_value, Py_XNewRef(value));
        Py_XSETREF(runner->main_error, Py_XNewRef(exc));
        exc = NULL;
    }
    else if (task->on_exit != NULL) {
        if (task->on_exit(task, value, exc) < 0) {
            return -1;
        }
        exc = NULL;
    }
    return tac_nursery_child_finished(task->base.parent_nursery, &task->base,
                                      exc);
}

int
tac_task_exit(TacTask *task, PyObject *value, PyObject *exc)
{
    TacRunner *runner = task->base.runner;
    int rc = -1;
    Py_XINCREF(exc);
    if (task_abandon_nurseries(task) < 0
        || tac_breaker_task_exited(task) < 0) {
        goto done;
    }
    PyObject *misnested = task_misnesting_error(task, exc);
    if (misnested != NULL) {
        Py_XSETREF(exc, misnested);
        value = NULL;
    }
    task_drop_state(task);
    if (tac_task_activate(&task->base, NULL) < 0) {
        goto done;
    }
    tac_list_unlink(&task->base.runner_node);
    tac_list_unlink(&task->base.sibling_node);
    runner->task_count--;
    rc = task_report(runner, task, value, exc);
    if (rc == 0
        && tac_instruments_has(&runner->instruments, TAC_HOOK_TASK_EXITED)) {
        tac_instruments_call_task(runner, TAC_HOOK_TASK_EXITED, &task->base);
    }
    task->base.runner = NULL;
    Py_CLEAR(task->exit_data);
    Py_DECREF(task); /* the runner's reference */
done:
    Py_XDECREF(exc);
    return rc;
}

/* The species ------------------------------------------------------------- */

static PyObject *
task_owner(struct tac_task *base)
{
    return (PyObject *)tac_task_of(base);
}

static PyObject *
task_object(struct tac_task *base)
{
    return Py_NewRef(tac_task_of(base));
}

const struct tac_task_ops tac_coroutine_task_ops = {
    .name = "Task",
    .step = task_step,
    .cancel = task_abort,
    .owner = task_owner,
    .object = task_object,
    .library = offsetof(TacState, str_trio),
};

bool
tac_task_is_coroutine(const struct tac_task *task)
{
    return task->ops == &tac_coroutine_task_ops;
}
