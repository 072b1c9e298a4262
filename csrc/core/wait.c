/* core/wait.c - wait_task_rescheduled and the detaching of coroutines.
 *
 * The callable that an abort function gets, raise_cancel, must raise even if
 * it is called long after: it keeps the reason that was current when the
 * cancel was delivered.
 */
#include "core/wait.h"

#include "base/compat.h"
#include "base/errors.h"
#include "core/run.h"

/* raise_cancel ------------------------------------------------------------ */

typedef struct {
    PyObject_HEAD
    TacRunner *runner; /* owned */
    PyObject *reason;  /* owned or NULL */
    bool is_ki;
} TacRaiseCancel;

static PyObject *
raise_cancel_new(TacRunner *runner, const struct tac_cause *cause)
{
    PyTypeObject *type = runner->state->raise_cancel_type;
    TacRaiseCancel *self = (TacRaiseCancel *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->runner = (TacRunner *)Py_NewRef(runner);
        self->reason = Py_XNewRef(cause->reason);
        self->is_ki = cause->is_ki;
    }
    return (PyObject *)self;
}

static PyObject *
raise_cancel_tp_call(TacRaiseCancel *self, PyObject *args, PyObject *kwargs)
{
    if (self->runner == NULL || PyTuple_GET_SIZE(args) != 0
        || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0))
    {
        PyErr_SetString(PyExc_TypeError, "raise_cancel() takes no arguments");
        return NULL;
    }
    struct tac_cause cause = {self->is_ki, self->reason};
    PyObject *exc = tac_cause_exception(self->runner, &cause);
    if (exc != NULL) {
        tac_err_raise(exc);
        Py_DECREF(exc);
    }
    return NULL;
}

static int
raise_cancel_tp_traverse(TacRaiseCancel *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->runner);
    Py_VISIT(self->reason);
    return 0;
}

static int
raise_cancel_tp_clear(TacRaiseCancel *self)
{
    Py_CLEAR(self->runner);
    Py_CLEAR(self->reason);
    return 0;
}

static void
raise_cancel_tp_dealloc(TacRaiseCancel *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)raise_cancel_tp_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot raise_cancel_slots[] = {
    {Py_tp_doc, "Raises the Cancelled or KeyboardInterrupt that an abort "
                "function was called for."},
    {Py_tp_call, raise_cancel_tp_call},
    {Py_tp_traverse, raise_cancel_tp_traverse},
    {Py_tp_clear, raise_cancel_tp_clear},
    {Py_tp_dealloc, raise_cancel_tp_dealloc},
    {0, NULL},
};

static PyType_Spec raise_cancel_spec = {
    .name = "trio_asyncio_c._core.raise_cancel",
    .basicsize = sizeof(TacRaiseCancel),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = raise_cancel_slots,
};

/* wait_task_rescheduled --------------------------------------------------- */

static enum tac_trap_step
wait_begin(TacTrap *trap, TacTask *task)
{
    return TAC_TRAP_WAIT;
}

static enum tac_abort
wait_read_answer(TacState *state, PyObject *answer)
{
    if (answer == state->abort_succeeded) {
        return TAC_ABORT_SUCCEEDED;
    }
    if (answer == state->abort_failed) {
        return TAC_ABORT_FAILED;
    }
    PyErr_SetString(state->exc_TrioInternalError,
                    "abort function must return Abort enum");
    return TAC_ABORT_ERROR;
}

/* The abort function may run on the stack of the task that cancels, so it
 * goes through a Python trampoline that protects it from Ctrl-C. */
static enum tac_abort
wait_abort(TacTrap *trap, TacTask *task, const struct tac_cause *cause)
{
    TacState *state = trap->state;
    PyObject *abort_fn = Py_NewRef(trap->first);
    PyObject *raise_cancel = raise_cancel_new(task->base.runner, cause);
    enum tac_abort result = TAC_ABORT_ERROR;
    if (raise_cancel != NULL) {
        PyObject *args[2] = {abort_fn, raise_cancel};
        PyObject *answer =
            PyObject_Vectorcall(state->hook_call_protected, args, 2, NULL);
        if (answer != NULL) {
            result = wait_read_answer(state, answer);
            Py_DECREF(answer);
        }
        Py_DECREF(raise_cancel);
    }
    Py_DECREF(abort_fn);
    return result;
}

const struct tac_trap_ops tac_wait_task_rescheduled_ops = {
    .name = "wait_task_rescheduled",
    .begin = wait_begin,
    .abort = wait_abort,
};

TacTrap *
tac_wait_foreign_new(TacState *state, TacTask *task, PyObject *abort_func)
{
    TacTrap *trap = tac_trap_new(state, &tac_wait_task_rescheduled_ops,
                                 abort_func, NULL);
    if (trap != NULL) {
        trap->life = TAC_TRAP_WAITING;
        trap->task = (TacTask *)Py_NewRef(task);
    }
    return trap;
}

/* Detaching --------------------------------------------------------------- */

int
tac_outcome_read(TacState *state, PyObject *outcome, PyObject **value,
                 PyObject **error)
{
    *value = *error = NULL;
    if (PyObject_GetOptionalAttr(outcome, state->str_error, error) < 0) {
        return -1;
    }
    if (*error != NULL) {
        if (PyExceptionInstance_Check(*error)) {
            return 0;
        }
        Py_CLEAR(*error);
    }
    else if (PyObject_GetOptionalAttr(outcome, state->str_value, value) < 0) {
        return -1;
    }
    if (*value == NULL) {
        PyErr_Format(PyExc_TypeError,
                     "an outcome (Value or Error) is needed, not %.200s",
                     Py_TYPE(outcome)->tp_name);
        return -1;
    }
    return 0;
}

static enum tac_trap_step
detach_temporarily_begin(TacTrap *trap, TacTask *task)
{
    trap->raw = true;
    return TAC_TRAP_WAIT;
}

const struct tac_trap_ops tac_temporarily_detach_ops = {
    .name = "temporarily_detach_coroutine_object",
    .begin = detach_temporarily_begin,
    .abort = wait_abort,
};

/* The step finds the outcome as the task's resume value: the task ends with
 * it, and the coroutine is somebody else's from then on. */
static enum tac_trap_step
detach_permanently_begin(TacTrap *trap, TacTask *task)
{
    if (!tac_list_is_empty(&task->child_nurseries)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "can't permanently detach a coroutine object with "
                        "open nurseries");
        return TAC_TRAP_ERROR;
    }
    PyObject *value, *error;
    if (tac_outcome_read(trap->state, trap->first, &value, &error) < 0) {
        return TAC_TRAP_ERROR;
    }
    Py_XSETREF(task->resume_value, value);
    Py_XSETREF(task->resume_error, error);
    trap->raw = true;
    return TAC_TRAP_DETACH;
}

const struct tac_trap_ops tac_permanently_detach_ops = {
    .name = "permanently_detach_coroutine_object",
    .begin = detach_permanently_begin,
};

/* Begun while a foreign runner drives the coroutine; the runner's own next
 * step resumes it. */
static enum tac_trap_step
reattach_begin(TacTrap *trap, TacTask *task)
{
    PyObject *running =
        PyObject_GetAttr(task->coro, trap->state->str_cr_running);
    int is_running = running == NULL ? -1 : PyObject_IsTrue(running);
    Py_XDECREF(running);
    if (is_running < 0) {
        return TAC_TRAP_ERROR;
    }
    if (!is_running) {
        PyErr_SetString(PyExc_RuntimeError,
                        "given task does not match calling coroutine");
        return TAC_TRAP_ERROR;
    }
    if (tac_task_reschedule(task, NULL, NULL) < 0) {
        return TAC_TRAP_ERROR;
    }
    Py_XSETREF(trap->result, Py_NewRef(trap->second));
    return TAC_TRAP_RAW;
}

static enum tac_trap_step
reattach_resume(TacTrap *trap, TacTask *task)
{
    Py_CLEAR(trap->result);
    return TAC_TRAP_DONE;
}

const struct tac_trap_ops tac_reattach_ops = {
    .name = "reattach_detached_coroutine_object",
    .begin = reattach_begin,
    .resume = reattach_resume,
    .names_task = true,
};

int
tac_wait_add_types(PyObject *module, TacState *state)
{
    state->raise_cancel_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &raise_cancel_spec, NULL);
    return state->raise_cancel_type == NULL ? -1 : 0;
}
