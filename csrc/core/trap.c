/* core/trap.c - the C awaitables' common part: the coroutine protocol.
 *
 * Both am_send (3.11 awaits by it) and tp_iternext (3.12 and later, for
 * None) are there, and the methods send, throw, close and __await__ as well,
 * so that a trap counts as a collections.abc.Coroutine and code that drives
 * coroutines by hand can drive it.
 */
#include "core/trap.h"

#include "base/compat.h"
#include "base/coro.h"
#include "base/errors.h"
#include "core/run.h"

#include <structmember.h>

TacTrap *
tac_trap_new(TacState *state, const struct tac_trap_ops *ops, PyObject *first,
             PyObject *second)
{
    TacTrap *trap =
        (TacTrap *)tac_freelist_pop(&state->free_traps, state->trap_type);
    if (trap == NULL) {
        trap = PyObject_GC_New(TacTrap, state->trap_type);
        if (trap == NULL) {
            return NULL;
        }
    }
    memset((char *)trap + sizeof(PyObject), 0,
           sizeof(TacTrap) - sizeof(PyObject));
    trap->ops = ops;
    trap->state = state;
    trap->first = Py_XNewRef(first);
    trap->second = Py_XNewRef(second);
    state->counts.traps++;
    PyObject_GC_Track(trap);
    return trap;
}

void
tac_trap_adopt(TacState *state, PyObject *awaitable)
{
    if (Py_IS_TYPE(awaitable, state->trap_type)) {
        ((TacTrap *)awaitable)->adopted = true;
    }
}

void
tac_trap_unlink(TacTrap *trap)
{
    if (trap->ops->unlink != NULL) {
        trap->ops->unlink(trap);
    }
}

/* Running ----------------------------------------------------------------- */

/* No link and no cycle may be left between a finished trap, what it waited
 * for, its task and an error. */
static void
trap_finish(TacTrap *trap)
{
    tac_trap_unlink(trap);
    trap->life = TAC_TRAP_FINISHED;
    Py_CLEAR(trap->task);
    Py_CLEAR(trap->first);
    Py_CLEAR(trap->second);
}

static PySendResult
trap_yield(TacTrap *trap, TacTask *task, enum tac_park park,
           PyObject **result)
{
    task->park = park;
    if (task->trap != trap) {
        Py_XSETREF(task->trap, (TacTrap *)Py_NewRef(trap));
    }
    *result = Py_NewRef(trap->state->marker);
    return PYGEN_NEXT;
}

static PySendResult
trap_return(TacTrap *trap, PyObject **result)
{
    *result = trap->result == NULL ? Py_NewRef(Py_None) : trap->result;
    trap->result = NULL;
    trap_finish(trap);
    return PYGEN_RETURN;
}

/* Do what a begin or resume function has answered. */
static PySendResult
trap_do(TacTrap *trap, TacTask *task, enum tac_trap_step step,
        PyObject **result)
{
    switch (step) {
    case TAC_TRAP_DONE:
        return trap_return(trap, result);
    case TAC_TRAP_WAIT:
        return trap_yield(trap, task, TAC_PARK_WAIT, result);
    case TAC_TRAP_YIELD:
        return trap_yield(trap, task, TAC_PARK_YIELD, result);
    case TAC_TRAP_DETACH:
        return trap_yield(trap, task, TAC_PARK_DETACH, result);
    case TAC_TRAP_RAW:
        *result = trap->result == NULL ? Py_NewRef(Py_None) : trap->result;
        trap->result = NULL;
        return PYGEN_NEXT;
    default:
        trap_finish(trap);
        return PYGEN_ERROR;
    }
}

/* The task that waits: the running one, unless the trap names it. */
static TacTask *
trap_task(TacTrap *trap)
{
    if (!trap->ops->names_task) {
        TacTask *task = tac_task_current(trap->state);
        if (task == NULL && trap->ops->no_task_error != NULL) {
            PyErr_SetString(PyExc_RuntimeError, trap->ops->no_task_error);
        }
        return task;
    }
    if (!Py_IS_TYPE(trap->first, trap->state->task_type)) {
        PyErr_Format(PyExc_TypeError, "%s() takes a Task, not %.200s",
                     trap->ops->name, Py_TYPE(trap->first)->tp_name);
        return NULL;
    }
    return (TacTask *)trap->first;
}

/* Is it awaited by code of an inner task (see tac_task_ops)? */
static bool
trap_is_elsewhere(const TacTrap *trap)
{
    TacRunner *runner = tac_running(trap->state);
    return runner != NULL && runner->current != NULL
           && runner->current->ops->inner != NULL;
}

static PySendResult
trap_begin(TacTrap *trap, PyObject **result)
{
    if (trap->ops->yields_elsewhere && trap_is_elsewhere(trap)) {
        trap->life = TAC_TRAP_WAITING;
        return trap_do(trap, NULL, TAC_TRAP_RAW, result);
    }
    TacTask *task = trap_task(trap);
    if (task == NULL) {
        trap->life = TAC_TRAP_FINISHED;
        return PYGEN_ERROR;
    }
    trap->life = TAC_TRAP_WAITING;
    trap->task = (TacTask *)Py_NewRef(task);
    return trap_do(trap, task, trap->ops->begin(trap, task), result);
}

/* Wake up: take what the task was rescheduled with.  The task lets go of us
 * first; the awaiting frame holds us. */
static PySendResult
trap_wake(TacTrap *trap, PyObject **result)
{
    TacTask *task = trap->task; /* held by the trap till it finishes */
    PyObject *error = task->resume_error;
    task->resume_error = NULL;
    if (error != NULL) {
        if (task->trap == trap) {
            Py_CLEAR(task->trap);
        }
        if (trap->ops->fail != NULL) {
            error = trap->ops->fail(trap, error);
        }
        trap_finish(trap);
        tac_err_raise(error);
        Py_DECREF(error);
        return PYGEN_ERROR;
    }
    Py_XSETREF(trap->result, task->resume_value);
    task->resume_value = NULL;
    enum tac_trap_step step = TAC_TRAP_DONE;
    if (trap->ops->resume != NULL) {
        step = trap->ops->resume(trap, task);
    }
    if (step != TAC_TRAP_WAIT && step != TAC_TRAP_YIELD
        && task->trap == trap)
    {
        Py_CLEAR(task->trap);
    }
    return trap_do(trap, task, step, result);
}

static PySendResult
trap_am_send(TacTrap *trap, PyObject *value, PyObject **result)
{
    PySendResult sent;
    *result = NULL;
    Py_INCREF(trap);
    if (trap->life == TAC_TRAP_NEW) {
        sent = trap_begin(trap, result);
    }
    else if (trap->life == TAC_TRAP_FINISHED) {
        PyErr_Format(PyExc_RuntimeError,
                     "cannot reuse already awaited coroutine '%s'",
                     trap->ops->name);
        sent = PYGEN_ERROR;
    }
    else if (trap->task == NULL) {
        sent = trap_return(trap, result);
    }
    else if (trap->raw
             && (trap->task->base.runner == NULL || value != Py_None
                 || trap->task->base.runner->current != &trap->task->base)) {
        /* A foreign runner drives the coroutine: its value is the result. */
        if (trap->task->trap == trap) {
            Py_CLEAR(trap->task->trap);
        }
        Py_XSETREF(trap->result, Py_NewRef(value));
        sent = trap_return(trap, result);
    }
    else {
        sent = trap_wake(trap, result);
    }
    Py_DECREF(trap);
    return sent;
}

static PyObject *
trap_send_value(TacTrap *trap, PyObject *value, bool bare_return)
{
    PyObject *result;
    PySendResult sent = trap_am_send(trap, value, &result);
    return tac_coro_sent(sent, result, bare_return);
}

static PyObject *
trap_tp_iternext(TacTrap *trap)
{
    return trap_send_value(trap, Py_None, true);
}

static PyObject *
trap_send(TacTrap *trap, PyObject *value)
{
    if (trap->life == TAC_TRAP_NEW && value != Py_None) {
        PyErr_SetString(PyExc_TypeError, "can't send non-None value to a "
                                         "just-started coroutine");
        return NULL;
    }
    return trap_send_value(trap, value, false);
}

/* Someone drives the coroutine by hand: the wait is given up.  A parked task
 * stays abortable: whoever wakes it will find its coroutine ended. */
static void
trap_give_up(TacTrap *trap)
{
    TacTask *task = trap->task;
    if (task != NULL && task->trap == trap) {
        Py_CLEAR(task->trap);
    }
    trap_finish(trap);
}

static PyObject *
trap_throw(TacTrap *trap, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *exc = tac_coro_thrown(args, nargs);
    if (exc == NULL) {
        return NULL;
    }
    Py_INCREF(trap);
    trap_give_up(trap);
    Py_DECREF(trap);
    PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
    Py_DECREF(exc);
    return NULL;
}

static PyObject *
trap_close(TacTrap *trap, PyObject *noargs)
{
    Py_INCREF(trap);
    trap_give_up(trap);
    Py_DECREF(trap);
    Py_RETURN_NONE;
}

static PyObject *
trap_am_await(TacTrap *trap)
{
    return Py_NewRef(trap);
}

static PyObject *
trap_py_await(TacTrap *trap, PyObject *noargs)
{
    return Py_NewRef(trap);
}

/* The object -------------------------------------------------------------- */

static int
trap_tp_traverse(TacTrap *trap, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(trap));
    Py_VISIT(trap->task);
    Py_VISIT(trap->first);
    Py_VISIT(trap->second);
    Py_VISIT(trap->result);
    return 0;
}

static int
trap_tp_clear(TacTrap *trap)
{
    tac_trap_unlink(trap);
    Py_CLEAR(trap->task);
    Py_CLEAR(trap->first);
    Py_CLEAR(trap->second);
    Py_CLEAR(trap->result);
    return 0;
}

static void
trap_tp_finalize(TacTrap *trap)
{
    if (trap->life != TAC_TRAP_NEW) {
        return;
    }
    trap->life = TAC_TRAP_FINISHED;
    if (!trap->adopted) {
        tac_coro_warn_never_awaited((PyObject *)trap, trap->ops->name);
    }
}

static void
trap_tp_dealloc(TacTrap *trap)
{
    /* The GC marks a finalized object for good, so it is not reused. */
    bool reusable = trap->life != TAC_TRAP_NEW
                    && !PyObject_GC_IsFinalized((PyObject *)trap);
    if (trap->life == TAC_TRAP_NEW
        && PyObject_CallFinalizerFromDealloc((PyObject *)trap) < 0) {
        return; /* resurrected by the warning's handler */
    }
    TacState *state = trap->state;
    PyTypeObject *type = Py_TYPE(trap);
    PyObject_GC_UnTrack(trap);
    (void)trap_tp_clear(trap);
    state->counts.traps--;
    if (!reusable
        || !tac_freelist_push(&state->free_traps, state->trap_type,
                              (PyObject *)trap))
    {
        PyObject_GC_Del(trap);
    }
    Py_DECREF(type);
}

static PyObject *
trap_tp_repr(TacTrap *trap)
{
    static const char *const lives[] = {"not started", "waiting", "done"};
    return PyUnicode_FromFormat("<coroutine object %s at %p, %s>",
                                trap->ops->name, trap, lives[trap->life]);
}

static PyObject *
trap_get_name(TacTrap *trap, void *closure)
{
    return PyUnicode_FromString(trap->ops->name);
}

static PyMethodDef trap_methods[] = {
    {"send", (PyCFunction)trap_send, METH_O,
     "send($self, value, /)\n--\n\nResume; only None may be sent at first."},
    {"throw", (PyCFunction)(void (*)(void))trap_throw, METH_FASTCALL,
     "throw($self, exc, /)\n--\n\nGive the wait up and raise `exc`."},
    {"close", (PyCFunction)trap_close, METH_NOARGS,
     "close($self, /)\n--\n\nGive the wait up."},
    {"__await__", (PyCFunction)trap_py_await, METH_NOARGS,
     "__await__($self, /)\n--\n\nReturn an iterator to be used in await."},
    {NULL},
};

static PyGetSetDef trap_getset[] = {
    {"__name__", (getter)trap_get_name, NULL, NULL},
    {"__qualname__", (getter)trap_get_name, NULL, NULL},
    {NULL},
};

PyDoc_STRVAR(trap_doc,
"What an async function written in C returns: await it.");

static PyType_Slot trap_slots[] = {
    {Py_tp_doc, (void *)trap_doc},
    {Py_tp_traverse, trap_tp_traverse},
    {Py_tp_clear, trap_tp_clear},
    {Py_tp_finalize, trap_tp_finalize},
    {Py_tp_dealloc, trap_tp_dealloc},
    {Py_tp_repr, trap_tp_repr},
    {Py_tp_iter, trap_am_await},
    {Py_tp_iternext, trap_tp_iternext},
    {Py_am_await, trap_am_await},
    {Py_am_send, trap_am_send},
    {Py_tp_methods, trap_methods},
    {Py_tp_getset, trap_getset},
    {0, NULL},
};

static PyType_Spec trap_spec = {
    .name = "trio_asyncio_c._core.Trap",
    .basicsize = sizeof(TacTrap),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = trap_slots,
};

int
tac_trap_add_types(PyObject *module, TacState *state)
{
    state->trap_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &trap_spec, NULL);
    return state->trap_type == NULL
               ? -1
               : PyModule_AddType(module, state->trap_type);
}
