/* cross/wait_future.c - a Trio task waits for an asyncio Future. */
#include "cross/wait_future.h"

#include "aio/interp.h"
#include "base/compat.h"
#include "core/run.h"
#include "core/scope.h"

#include <structmember.h>

/* The Future's done callback: knows the trap that waits. */
typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    TacTrap *trap; /* owned; NULL once called */
} TacWaiter;

/* The end of the wait ----------------------------------------------------- */

/* Has the wait been ended, though the task has not gone on yet? */
static bool
wait_future_is_woken(const TacTask *task)
{
    return task->resumed || tac_list_is_linked(&task->base.run_node);
}

/* The Future was cancelled because we passed a cancel on: that is what the
 * task gets, with the asyncio side as its cause.  Steals `error`. */
static PyObject *
wait_future_swap_error(TacTrap *trap, PyObject *error)
{
    TacState *state = trap->state;
    if (trap->second == NULL
        || !PyErr_GivenExceptionMatches(error, state->aio_cancelled_error))
    {
        return error;
    }
    PyException_SetCause(trap->second, error);
    return Py_NewRef(trap->second);
}

/* A keyboard interrupt that the callee did not end by is still to come. */
static void
wait_future_keep_interrupt(TacTrap *trap, PyObject *error)
{
    if (trap->second != NULL && error != trap->second
        && PyErr_GivenExceptionMatches(trap->second, PyExc_KeyboardInterrupt))
    {
        trap->task->base.runner->ki_pending = true;
    }
}

int
tac_wait_future_wake(TacTrap *trap)
{
    PyObject *future = Py_NewRef(trap->first);
    TacState *state = trap->state;
    PyObject *value = tac_interp_call_task(
        state, state->aio_result, state->str_result, &future, 1, NULL);
    Py_DECREF(future);
    PyObject *error = NULL;
    if (value == NULL) {
        error = wait_future_swap_error(trap, PyErr_GetRaisedException());
    }
    wait_future_keep_interrupt(trap, error);
    tac_trap_unlink(trap);
    return tac_task_reschedule(trap->task, value, error);
}

int
tac_wait_future_fail(TacTrap *trap, PyObject *error)
{
    tac_trap_unlink(trap);
    return tac_task_reschedule(trap->task, NULL, error);
}

bool
tac_wait_future_is_waiting(const TacTrap *trap)
{
    return trap->life == TAC_TRAP_WAITING && trap->task != NULL
           && trap->task->trap == trap && trap->task->base.runner != NULL
           && !wait_future_is_woken(trap->task);
}

static PyObject *
wait_future_waiter_call(PyObject *self, PyObject *const *args, size_t nargsf,
                        PyObject *kwnames)
{
    TacWaiter *waiter = (TacWaiter *)self;
    if (PyVectorcall_NARGS(nargsf) != 1 || kwnames != NULL) {
        PyErr_SetString(PyExc_TypeError, "a done callback gets the Future");
        return NULL;
    }
    TacTrap *trap = waiter->trap;
    int rc = 0;
    if (trap == NULL) {
        Py_RETURN_NONE;
    }
    waiter->trap = NULL;
    /* Else it was given up: the task is gone. */
    if (tac_wait_future_is_waiting(trap)) {
        rc = tac_wait_future_wake(trap);
    }
    Py_DECREF(trap);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

/* The wait ---------------------------------------------------------------- */

int
tac_wait_future_add_waiter(TacTrap *trap)
{
    PyTypeObject *type = trap->state->waiter_type;
    TacWaiter *waiter = (TacWaiter *)type->tp_alloc(type, 0);
    if (waiter == NULL) {
        return -1;
    }
    waiter->vectorcall = wait_future_waiter_call;
    waiter->trap = (TacTrap *)Py_NewRef(trap);
    TacState *state = trap->state;
    /* With a context, or each gets a copy of one. */
    PyObject *args[3] = {trap->first, (PyObject *)waiter,
                         state->empty_context};
    PyObject *added = tac_interp_call_task(
        state, state->aio_add_done_callback, state->str_add_done_callback,
        args, 2, state->context_kwnames);
    if (added == NULL) {
        Py_CLEAR(waiter->trap);
    }
    Py_XDECREF(added);
    Py_DECREF(waiter);
    return added == NULL ? -1 : 0;
}

/* The Future's loop, borrowed from the Future, if it is one of ours. */
static int
wait_future_find_loop(TacTrap *trap, TacLoop **loop)
{
    PyObject *found = PyObject_CallMethodNoArgs(trap->first,
                                                trap->state->str_get_loop);
    *loop = NULL;
    if (found == NULL) {
        return -1;
    }
    if (PyObject_TypeCheck(found, trap->state->loop_type)) {
        *loop = (TacLoop *)found;
    }
    Py_DECREF(found);
    return 0;
}

/* Nobody would hear of the end of a Future whose loop runs no callbacks. */
static int
wait_future_check_loop(TacLoop *loop)
{
    if (loop == NULL) {
        return 0;
    }
    if (tac_loop_check_open(loop) < 0) {
        return -1;
    }
    if (loop->halted) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is stopped");
        return -1;
    }
    return 0;
}

enum tac_trap_step
tac_wait_future_begin_on(TacTrap *trap, TacTask *task, TacLoop *loop)
{
    if (wait_future_check_loop(loop) < 0
        || tac_wait_future_add_waiter(trap) < 0)
    {
        return TAC_TRAP_ERROR;
    }
    if (loop != NULL && loop->host.runner == task->base.runner) {
        tac_list_append(&loop->waits, &trap->node);
    }
    return TAC_TRAP_WAIT;
}

enum tac_trap_step
tac_wait_future_begin(TacTrap *trap, TacTask *task)
{
    TacLoop *loop;
    if (wait_future_find_loop(trap, &loop) < 0) {
        return TAC_TRAP_ERROR;
    }
    return tac_wait_future_begin_on(trap, task, loop);
}

/* The cancel, in words -------------------------------------------------------
 * The asyncio side has no scopes, so the message of its CancelledError is what
 * tells whose deadline it was. */

/* The scope, borrowed, that a cancel with this reason came from: scopes below
 * it share the very object.  NULL if that has gone meanwhile. */
static TacScope *
wait_future_find_scope(TacScope *scope, PyObject *reason)
{
    for (; scope != NULL; scope = scope->parent) {
        if (scope->cancel_called && scope->reason == reason) {
            return scope;
        }
    }
    return NULL;
}

/* What asyncio code above said when it cancelled a Trio callee in which this
 * wait is: borrowed, or NULL.  It goes on as it is, however many levels there
 * are. */
static PyObject *
wait_future_said_above(const TacScope *scope)
{
    if (scope == NULL || !scope->foreign || scope->reason == NULL) {
        return NULL;
    }
    PyObject *said = PyTuple_GET_ITEM(scope->reason, 1);
    return PyUnicode_Check(said) ? said : NULL;
}

static PyObject *
wait_future_message(TacTask *task, const struct tac_cause *cause,
                    PyObject *error)
{
    TacScope *scope =
        cause->is_ki
            ? NULL
            : wait_future_find_scope(task->base.scope, cause->reason);
    PyObject *said = wait_future_said_above(scope);
    if (said != NULL) {
        return Py_NewRef(said);
    }
    PyObject *who = tac_task_repr(&task->base);
    PyObject *message = NULL;
    if (who == NULL) {
        return NULL;
    }
    if (cause->is_ki) {
        message = PyUnicode_FromFormat("KeyboardInterrupt in %U", who);
    }
    else if (scope == NULL) {
        message = PyUnicode_FromFormat("%S, in %U", error, who);
    }
    else {
        message = PyUnicode_FromFormat("%S, by %R around %U", error, scope,
                                       who);
    }
    Py_DECREF(who);
    return message;
}

/* As asyncio's Tasks cancel what they wait for: by keyword. */
static PyObject *
wait_future_cancel_future(TacTrap *trap, PyObject *message)
{
    PyObject *names = Py_BuildValue("(s)", "msg");
    if (names == NULL) {
        return NULL;
    }
    PyObject *future = Py_NewRef(trap->first);
    PyObject *args[2] = {future, message};
    PyObject *told =
        PyObject_VectorcallMethod(trap->state->str_cancel, args, 1, names);
    Py_DECREF(future);
    Py_DECREF(names);
    return told;
}

/* The Future's cancel() has raised, as it does where the loop is closed: then
 * nobody will call back, so the wait ends in that. */
static enum tac_abort
wait_future_abort_failed(TacTrap *trap, TacTask *task)
{
    PyObject *error = PyErr_GetRaisedException();
    if (wait_future_is_woken(task)) {
        PyErr_SetRaisedException(error);
        PyErr_WriteUnraisable(trap->first); /* it had called back before */
        return TAC_ABORT_FAILED;
    }
    return tac_wait_future_fail(trap, error) < 0 ? TAC_ABORT_ERROR
                                                 : TAC_ABORT_FAILED;
}

/* The Task that was called has entered cancel scopes of its own: they see to
 * the cancel, each of its shields included. */
static bool
wait_future_is_in_scopes(TacTrap *trap)
{
    return trap->place != NULL
           && tac_scoped_cancel_call(trap->place, trap->first);
}

enum tac_abort
tac_wait_future_abort(TacTrap *trap, TacTask *task,
                      const struct tac_cause *cause)
{
    PyObject *error = tac_cause_exception(task->base.runner, cause);
    if (error == NULL) {
        return TAC_ABORT_ERROR;
    }
    PyObject *message = wait_future_message(task, cause, error);
    Py_XSETREF(trap->second, error);
    PyObject *told = NULL;
    if (message != NULL) {
        told = wait_future_is_in_scopes(trap)
                   ? Py_NewRef(Py_True)
                   : wait_future_cancel_future(trap, message);
    }
    Py_XDECREF(message);
    Py_XDECREF(told);
    return told == NULL ? wait_future_abort_failed(trap, task)
                        : TAC_ABORT_FAILED;
}

void
tac_wait_future_begin_call(TacTrap *trap, TacLoop *loop)
{
    if (tac_scoped_begin_call(loop, trap->first, trap) == 0) {
        trap->place = loop;
    }
}

void
tac_wait_future_unlink(TacTrap *trap)
{
    tac_list_unlink(&trap->node);
    if (trap->place != NULL) { /* the Future holds the loop */
        TacLoop *loop = trap->place;
        trap->place = NULL;
        tac_scoped_end_call(loop, trap->first, trap);
    }
}

static const struct tac_trap_ops wait_future_ops = {
    .name = "wait_future",
    .begin = tac_wait_future_begin,
    .abort = tac_wait_future_abort,
    .unlink = tac_wait_future_unlink,
};

int
tac_wait_future_check(TacState *state, PyObject *future)
{
    if (Py_IS_TYPE(future, state->aio_task_type)) {
        return 0;
    }
    PyObject *blocking = PyObject_GetAttr(
        (PyObject *)Py_TYPE(future), state->str__asyncio_future_blocking);
    if (blocking == NULL) {
        PyErr_Clear();
        PyErr_Format(PyExc_TypeError, "an asyncio Future is needed, not %R",
                     future);
        return -1;
    }
    Py_DECREF(blocking);
    return 0;
}

static PyObject *
wait_future_new(PyObject *module, PyObject *future)
{
    TacState *state = tac_state_of_module(module);
    if (tac_wait_future_check(state, future) < 0) {
        return NULL;
    }
    return (PyObject *)tac_trap_new(state, &wait_future_ops, future, NULL);
}

/* The waiter's type ------------------------------------------------------- */

static int
wait_future_waiter_traverse(TacWaiter *waiter, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(waiter));
    Py_VISIT((PyObject *)waiter->trap);
    return 0;
}

static int
wait_future_waiter_clear(TacWaiter *waiter)
{
    Py_CLEAR(waiter->trap);
    return 0;
}

static void
wait_future_waiter_dealloc(TacWaiter *waiter)
{
    PyTypeObject *type = Py_TYPE(waiter);
    PyObject_GC_UnTrack(waiter);
    (void)wait_future_waiter_clear(waiter);
    type->tp_free(waiter);
    Py_DECREF(type);
}

PyDoc_STRVAR(wait_future_waiter_doc,
"Wakes the Trio task that waits for a Future; its done callback.");

static PyMemberDef wait_future_waiter_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(TacWaiter, vectorcall),
     READONLY},
    {NULL},
};

static PyType_Slot wait_future_waiter_slots[] = {
    {Py_tp_doc, (void *)wait_future_waiter_doc},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, wait_future_waiter_members},
    {Py_tp_traverse, wait_future_waiter_traverse},
    {Py_tp_clear, wait_future_waiter_clear},
    {Py_tp_dealloc, wait_future_waiter_dealloc},
    {0, NULL},
};

static PyType_Spec wait_future_waiter_spec = {
    .name = "trio_asyncio_c._core.Waiter",
    .basicsize = sizeof(TacWaiter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_HAVE_VECTORCALL
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = wait_future_waiter_slots,
};

static PyMethodDef wait_future_functions[] = {
    {"wait_future", wait_future_new, METH_O,
     "wait_future($module, future, /)\n--\n\n"
     "Wait for an asyncio Future or Task and return its result.\n\n"
     "A cancel is passed on to the Future, once, and waited for: Cancelled\n"
     "is raised only if the Future ended by it.\n"
     "Checkpoint: yes. Flavor: trio. Raises: what the Future holds;\n"
     "Cancelled; TypeError for what is no Future. Thread-safe: no."},
    {NULL},
};

int
tac_wait_future_add_types(PyObject *module, TacState *state)
{
    state->waiter_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &wait_future_waiter_spec, NULL);
    return state->waiter_type == NULL
               ? -1
               : PyModule_AddFunctions(module, wait_future_functions);
}
