/* cross/aio_entry.c - asyncio-flavoured managers in Trio-flavoured code. */
#include "cross/aio_entry.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/errors.h"
#include "core/scope.h"
#include "cross/callee_context.h"
#include "cross/wait_future.h"

#include <stddef.h>
#include <structmember.h>

enum aio_entry_life {
    AIO_ENTRY_ENTERING,
    AIO_ENTRY_INSIDE,
    AIO_ENTRY_LEAVING,
};

typedef struct TacAioEntry {
    PyObject_HEAD
    TacLoop *loop;       /* owned */
    PyObject *manager;   /* owned */
    TacTask *owner;      /* owned once begun: the Trio task */
    TacScope *scope;     /* owned: the body's */
    PyObject *task;      /* owned till it was left: the asyncio Task */
    PyObject *value;     /* owned: what it was entered with, till it is told */
    PyObject *outcome;   /* owned: what the manager is to leave with, or NULL */
    PyObject *cancelled; /* owned: a CancelledError out of the body, or NULL */
    TacTrap *trap;       /* owned: where the Trio task waits, or NULL */
    PyObject *wakeup;    /* owned: wakes the Task up, with its context; NULL */
    PyObject *context;   /* where it does not wait for the body's end */
    PyObject *watch;     /* owned: a ParkingLot for the owner's end, or NULL */
    PyObject *holder;    /* owned till it is in the list */
    struct TacAioEntry **slot; /* of the holder */
    struct TacAioEntry *next;  /* owned: the one before in that list */
    enum aio_entry_life life;
    bool blocking;  /* asyncio's mark of a Future that is awaited */
    bool begun;     /* the Task's first step has run */
    bool abandoned; /* nobody will leave the manager */
    bool given_up;  /* nobody waits for its being entered any more */
    bool task_over;
} TacAioEntry;

/* The Trio task's waits --------------------------------------------------- */

static enum tac_trap_step
aio_entry_wait(TacAioEntry *entry, TacTrap *trap, TacTask *task)
{
    Py_XSETREF(entry->trap, (TacTrap *)Py_NewRef(trap));
    if (entry->loop->host.runner == task->base.runner) {
        tac_list_append(&entry->loop->waits, &trap->node);
    }
    return TAC_TRAP_WAIT;
}

/* What it waited for has come.  0 or -1. */
static int
aio_entry_wake(TacAioEntry *entry)
{
    TacTrap *trap = entry->trap;
    int rc = 0;
    entry->trap = NULL;
    if (trap != NULL && tac_wait_future_is_waiting(trap)) {
        rc = tac_wait_future_wake(trap);
    }
    Py_XDECREF(trap);
    return rc;
}

/* loop.create_task(entry._serve(), context=...).  New ref, or NULL+exc. */
static PyObject *
aio_entry_create_task(TacAioEntry *entry)
{
    TacState *state = entry->loop->state;
    PyObject *task = NULL, *context = NULL;
    PyObject *name = PyObject_GetAttr((PyObject *)Py_TYPE(entry->manager),
                                      state->str___qualname__);
    PyObject *coro = name == NULL ? NULL
                                  : PyObject_CallMethodNoArgs(
                                      (PyObject *)entry, state->str__serve);
    if (coro != NULL
        && PyObject_SetAttr(coro, state->str___qualname__, name) == 0) {
        context = tac_callee_context_new(entry->loop);
    }
    if (context != NULL) {
        PyObject *args[] = {(PyObject *)entry->loop, coro, context};
        task = PyObject_VectorcallMethod(state->str_create_task, args, 2,
                                         state->context_kwnames);
    }
    Py_XDECREF(context);
    Py_XDECREF(coro);
    Py_XDECREF(name);
    return task;
}

static int
aio_entry_start(TacAioEntry *entry, TacTask *task)
{
    TacState *state = entry->loop->state;
    entry->scope = tac_scope_new(state);
    entry->owner = (TacTask *)Py_NewRef(task);
    entry->task = entry->scope == NULL ? NULL : aio_entry_create_task(entry);
    PyObject *added =
        entry->task == NULL
            ? NULL
            : PyObject_CallMethodOneArg(entry->task,
                                        state->str_add_done_callback,
                                        (PyObject *)entry);
    Py_XDECREF(added);
    return added == NULL ? -1 : 0;
}

/* Close a manager that is a coroutine as well, as a request of aiohttp is, so
 * that it does not warn.  The raised exception is kept. */
static void
aio_entry_close_unused(TacAioEntry *entry)
{
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *closed = PyObject_CallMethodNoArgs(
        (PyObject *)entry, entry->loop->state->str__close_unused);
    Py_XDECREF(closed);
    if (closed == NULL) {
        PyErr_WriteUnraisable((PyObject *)entry);
    }
    PyErr_SetRaisedException(exc);
}

static enum tac_trap_step
aio_entry_enter_begin(TacTrap *trap, TacTask *task)
{
    TacAioEntry *entry = (TacAioEntry *)trap->first;
    if (tac_loop_check_running(entry->loop) < 0
        || aio_entry_start(entry, task) < 0) {
        if (entry->task == NULL) {
            aio_entry_close_unused(entry);
        }
        return TAC_TRAP_ERROR;
    }
    return aio_entry_wait(entry, trap, task);
}

static enum tac_trap_step
aio_entry_enter_resume(TacTrap *trap, TacTask *task)
{
    TacAioEntry *entry = (TacAioEntry *)trap->first;
    if (tac_scope_enter(entry->scope, &task->base) < 0) {
        return TAC_TRAP_ERROR;
    }
    entry->next = *entry->slot;
    *entry->slot = (TacAioEntry *)Py_NewRef(entry);
    Py_CLEAR(entry->holder);
    return TAC_TRAP_DONE;
}

/* The loop was stopped meanwhile.  Its end has the Task go on, which is not to
 * wait for a body then. */
static void
aio_entry_give_up(TacAioEntry *entry)
{
    entry->given_up = true;
    PyObject *told = PyObject_CallMethodNoArgs(entry->task,
                                               entry->loop->state->str_cancel);
    if (told == NULL) {
        PyErr_WriteUnraisable(entry->task);
    }
    Py_XDECREF(told);
}

static PyObject *
aio_entry_enter_fail(TacTrap *trap, PyObject *error)
{
    TacAioEntry *entry = (TacAioEntry *)trap->first;
    if (entry->task != NULL && !entry->task_over && !entry->loop->closed) {
        aio_entry_give_up(entry);
    }
    Py_CLEAR(entry->task);
    if (!entry->begun) {
        aio_entry_close_unused(entry);
    }
    return error;
}

static const struct tac_trap_ops aio_entry_enter_ops = {
    .name = "__aenter__",
    .begin = aio_entry_enter_begin,
    .resume = aio_entry_enter_resume,
    .fail = aio_entry_enter_fail,
    .abort = tac_wait_future_abort,
    .unlink = tac_wait_future_unlink,
};

/* Have the Task go on.  0 or -1. */
static int
aio_entry_end_body(TacAioEntry *entry)
{
    PyObject *wakeup = entry->wakeup, *context = entry->context;
    entry->life = AIO_ENTRY_LEAVING;
    entry->wakeup = NULL;
    entry->context = NULL;
    if (wakeup == NULL) {
        return 0;
    }
    PyObject *args[] = {(PyObject *)entry->loop, wakeup, (PyObject *)entry,
                        context};
    PyObject *handle = PyObject_VectorcallMethod(
        entry->loop->state->str_call_soon, args, 3,
        entry->loop->state->aio_kwnames);
    Py_DECREF(wakeup);
    Py_DECREF(context);
    Py_XDECREF(handle);
    return handle == NULL ? -1 : 0;
}

static PyObject *aio_entry_result(TacAioEntry *entry, PyObject *noargs);

static enum tac_trap_step
aio_entry_leave_begin(TacTrap *trap, TacTask *task)
{
    TacAioEntry *entry = (TacAioEntry *)trap->first;
    /* Of a stopped loop, its end is what wakes the Task up. */
    if (aio_entry_end_body(entry) < 0
        || tac_loop_check_running(entry->loop) < 0) {
        return TAC_TRAP_ERROR;
    }
    if (!entry->task_over) {
        return aio_entry_wait(entry, trap, task);
    }
    trap->result = aio_entry_result(entry, NULL);
    return trap->result == NULL ? TAC_TRAP_ERROR
                                : trap->ops->resume(trap, task);
}

/* Errors that it left with have its frames in their tracebacks. */
static void
aio_entry_forget(TacAioEntry *entry)
{
    if (entry->task_over) {
        Py_CLEAR(entry->outcome);
        Py_CLEAR(entry->cancelled);
    }
    Py_CLEAR(entry->task);
}

static enum tac_trap_step
aio_entry_leave_resume(TacTrap *trap, TacTask *task)
{
    aio_entry_forget((TacAioEntry *)trap->first);
    return TAC_TRAP_DONE;
}

/* Of a body without an error, which cannot be suppressed.  None is false, too,
 * and needs no StopIteration to be returned. */
static enum tac_trap_step
aio_entry_leave_resume_plain(TacTrap *trap, TacTask *task)
{
    aio_entry_forget((TacAioEntry *)trap->first);
    Py_CLEAR(trap->result);
    return TAC_TRAP_DONE;
}

static PyObject *
aio_entry_leave_fail(TacTrap *trap, PyObject *error)
{
    aio_entry_forget((TacAioEntry *)trap->first);
    return error;
}

#define AIO_ENTRY_LEAVE_OPS(resumed)                                        \
    {                                                                       \
        .name = "__aexit__",                                                \
        .begin = aio_entry_leave_begin,                                     \
        .resume = resumed,                                                  \
        .fail = aio_entry_leave_fail,                                       \
        .abort = tac_wait_future_abort,                                     \
        .unlink = tac_wait_future_unlink,                                   \
    }

static const struct tac_trap_ops aio_entry_leave_ops =
    AIO_ENTRY_LEAVE_OPS(aio_entry_leave_resume);
static const struct tac_trap_ops aio_entry_leave_plain_ops =
    AIO_ENTRY_LEAVE_OPS(aio_entry_leave_resume_plain);

#undef AIO_ENTRY_LEAVE_OPS

/* For the adapter --------------------------------------------------------- */

PyObject *
tac_aio_entry_enter(TacLoop *loop, PyObject *manager, PyObject *holder,
                    TacAioEntry **slot)
{
    TacState *state = loop->state;
    PyTypeObject *type = (PyTypeObject *)state->hook_aio_entry;
    TacAioEntry *entry = (TacAioEntry *)type->tp_alloc(type, 0);
    if (entry == NULL) {
        return NULL;
    }
    entry->loop = (TacLoop *)Py_NewRef(loop);
    entry->manager = Py_NewRef(manager);
    entry->holder = Py_NewRef(holder);
    entry->slot = slot;
    TacTrap *trap = tac_trap_new(state, &aio_entry_enter_ops,
                                 (PyObject *)entry, NULL);
    Py_DECREF(entry);
    return (PyObject *)trap;
}

/* Out of the list: new ref, or NULL with RuntimeError. */
static TacAioEntry *
aio_entry_pop(TacState *state, TacAioEntry **slot)
{
    TacTask *task = tac_task_current(state);
    if (task == NULL) {
        return NULL;
    }
    while (*slot != NULL && (*slot)->owner != task) {
        slot = &(*slot)->next;
    }
    TacAioEntry *entry = *slot;
    if (entry == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this task has not entered the manager");
        return NULL;
    }
    *slot = entry->next;
    entry->next = NULL;
    return entry;
}

/* A body without an error, unless its scope makes one. */
static PyObject *
aio_entry_leave_plainly(TacAioEntry *entry)
{
    TacState *state = entry->loop->state;
    PyObject *rest = NULL;
    if (tac_scope_close(entry->scope, &entry->owner->base, &rest) < 0) {
        return NULL;
    }
    if (rest == NULL) {
        return (PyObject *)tac_trap_new(state, &aio_entry_leave_plain_ops,
                                        (PyObject *)entry, NULL);
    }
    PyObject *left = PyObject_CallMethodOneArg((PyObject *)entry,
                                               state->str__exit_with, rest);
    Py_DECREF(rest);
    return left;
}

PyObject *
tac_aio_entry_leave(TacState *state, TacAioEntry **slot, PyObject *error)
{
    TacAioEntry *entry = aio_entry_pop(state, slot);
    PyObject *left = NULL;
    if (entry == NULL) {
        return NULL;
    }
    if (error == NULL) {
        left = aio_entry_leave_plainly(entry);
    }
    else {
        left = PyObject_CallMethodOneArg((PyObject *)entry, state->str__exit,
                                         error);
    }
    Py_DECREF(entry);
    return left;
}

int
tac_aio_entries_traverse(TacAioEntry *first, visitproc visit, void *arg)
{
    Py_VISIT((PyObject *)first);
    return 0;
}

void
tac_aio_entries_clear(TacAioEntry **slot)
{
    TacAioEntry *entry = *slot;
    *slot = NULL;
    while (entry != NULL) {
        TacAioEntry *next = entry->next;
        entry->next = NULL;
        Py_DECREF(entry);
        entry = next;
    }
}

/* As the Task's Future ---------------------------------------------------- */

static PyObject *
aio_entry_inside(TacAioEntry *entry, PyObject *value)
{
    if (entry->given_up) {
        entry->life = AIO_ENTRY_LEAVING;
        PyObject *kind = entry->loop->state->aio_cancelled_error;
        Py_XSETREF(entry->outcome, PyObject_CallNoArgs(kind));
        return entry->outcome == NULL ? NULL : Py_NewRef((PyObject *)entry);
    }
    entry->life = AIO_ENTRY_INSIDE;
    Py_XSETREF(entry->value, Py_NewRef(value));
    return aio_entry_wake(entry) < 0 ? NULL : Py_NewRef(entry);
}

static PyObject *
aio_entry_tp_iternext(TacAioEntry *entry)
{
    if (entry->life == AIO_ENTRY_LEAVING) {
        return NULL;
    }
    entry->blocking = true;
    return Py_NewRef(entry);
}

static PyObject *
aio_entry_get_loop(TacAioEntry *entry, PyObject *noargs)
{
    return Py_NewRef((PyObject *)entry->loop);
}

/* The Task asks to be woken: add_done_callback(wakeup, context=...). */
static PyObject *
aio_entry_add_done_callback(TacAioEntry *entry, PyObject *const *args,
                            Py_ssize_t nargs, PyObject *kwnames)
{
    if (nargs != 1 || kwnames == NULL || PyTuple_GET_SIZE(kwnames) != 1) {
        PyErr_SetString(PyExc_TypeError,
                        "add_done_callback() takes a callback and a context");
        return NULL;
    }
    Py_XSETREF(entry->wakeup, Py_NewRef(args[0]));
    Py_XSETREF(entry->context, Py_NewRef(args[1]));
    if (entry->life == AIO_ENTRY_LEAVING && aio_entry_end_body(entry) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* A cancel of the Task, or of who waits for what it does. */

static PyObject *
aio_entry_cancel_body(TacAioEntry *entry, PyObject *message)
{
    TacState *state = entry->loop->state;
    PyObject *error =
        message == Py_None
            ? PyObject_CallNoArgs(state->aio_cancelled_error)
            : PyObject_CallOneArg(state->aio_cancelled_error, message);
    if (error == NULL) {
        return NULL;
    }
    Py_XSETREF(entry->cancelled, error);
    PyObject *told = PyObject_CallMethodNoArgs((PyObject *)entry,
                                               state->str__cancel_body);
    Py_XDECREF(told);
    return told == NULL ? NULL : Py_NewRef(Py_True);
}

/* In one turn, so that it finds the exit at an await; but not if the body's
 * error has told the Task of it: one cancel is one CancelledError in asyncio,
 * and its clean-up goes on after it. */
static PyObject *
aio_entry_cancel_exit(TacAioEntry *entry, PyObject *message)
{
    TacState *state = entry->loop->state;
    if (entry->outcome != NULL
        && PyErr_GivenExceptionMatches(entry->outcome,
                                       state->aio_cancelled_error))
    {
        Py_RETURN_TRUE;
    }
    PyObject *cancel = PyObject_GetAttr(entry->task, state->str_cancel);
    if (cancel == NULL) {
        return NULL;
    }
    PyObject *args[] = {(PyObject *)entry->loop, cancel, message};
    PyObject *handle =
        PyObject_VectorcallMethod(state->str_call_soon, args, 3, NULL);
    Py_DECREF(cancel);
    Py_XDECREF(handle);
    return handle == NULL ? NULL : Py_NewRef(Py_True);
}

static const char *const aio_entry_cancel_names[] = {"msg", NULL};
static const struct tac_params aio_entry_cancel_params = {
    .function = "cancel",
    .positional = 1,
    .required = 0,
    .names = aio_entry_cancel_names,
};

static PyObject *
aio_entry_cancel(TacAioEntry *entry, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    PyObject *message = Py_None;
    if (tac_args_bind(&aio_entry_cancel_params, args, nargs, kwnames,
                      &message)
        < 0)
    {
        return NULL;
    }
    if (entry->task == NULL || entry->task_over) {
        Py_RETURN_FALSE;
    }
    switch (entry->life) {
    case AIO_ENTRY_INSIDE:
        return aio_entry_cancel_body(entry, message);
    case AIO_ENTRY_LEAVING:
        return aio_entry_cancel_exit(entry, message);
    case AIO_ENTRY_ENTERING:
        break;
    }
    return PyObject_CallMethodOneArg(entry->task,
                                     entry->loop->state->str_cancel, message);
}

/* The owner is in no state to leave the manager: its Task does so by itself,
 * with the cancel that it was told of. */
static PyObject *
aio_entry_abandon(TacAioEntry *entry, PyObject *noargs)
{
    entry->abandoned = true;
    if (aio_entry_end_body(entry) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
aio_entry_get_is_left(TacAioEntry *entry, void *closure)
{
    return PyBool_FromLong(entry->life == AIO_ENTRY_LEAVING);
}

/* As the Trio task's Future ----------------------------------------------- */

static PyObject *
aio_entry_done(TacAioEntry *entry, PyObject *noargs)
{
    return PyBool_FromLong(entry->task_over);
}

/* What the Task did; an exception that it returned is none that a Task may
 * raise, for it would end the loop. */
static PyObject *
aio_entry_result(TacAioEntry *entry, PyObject *noargs)
{
    if (!entry->task_over || entry->task == NULL) {
        PyObject *value = entry->value;
        entry->value = NULL;
        return value == NULL ? Py_NewRef(Py_None) : value;
    }
    PyObject *result = PyObject_CallMethodNoArgs(
        entry->task, entry->loop->state->str_result);
    if (result != NULL && PyExceptionInstance_Check(result)) {
        PyErr_SetObject((PyObject *)Py_TYPE(result), result);
        Py_CLEAR(result);
    }
    return result;
}

/* The Task's done callback. */
static PyObject *
aio_entry_tp_call(TacAioEntry *entry, PyObject *args, PyObject *kwargs)
{
    entry->task_over = true;
    return aio_entry_wake(entry) < 0 ? NULL : Py_NewRef(Py_None);
}

/* For Python's half ------------------------------------------------------- */

static PyObject *
aio_entry_leave(TacAioEntry *entry, PyObject *outcome)
{
    Py_XSETREF(entry->outcome,
               outcome == Py_None ? NULL : Py_NewRef(outcome));
    return (PyObject *)tac_trap_new(entry->loop->state, &aio_entry_leave_ops,
                                    (PyObject *)entry, NULL);
}

static PyObject *
aio_entry_am_await(PyObject *self)
{
    return Py_NewRef(self);
}

static int
aio_entry_tp_traverse(TacAioEntry *entry, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(entry));
    Py_VISIT((PyObject *)entry->loop);
    Py_VISIT(entry->manager);
    Py_VISIT((PyObject *)entry->owner);
    Py_VISIT((PyObject *)entry->scope);
    Py_VISIT(entry->task);
    Py_VISIT(entry->value);
    Py_VISIT(entry->outcome);
    Py_VISIT(entry->cancelled);
    Py_VISIT((PyObject *)entry->trap);
    Py_VISIT(entry->wakeup);
    Py_VISIT(entry->context);
    Py_VISIT(entry->watch);
    Py_VISIT(entry->holder);
    Py_VISIT((PyObject *)entry->next);
    return 0;
}

/* All but the loop and the manager, which go last. */
static int
aio_entry_tp_clear(TacAioEntry *entry)
{
    Py_CLEAR(entry->owner);
    Py_CLEAR(entry->scope);
    Py_CLEAR(entry->task);
    Py_CLEAR(entry->value);
    Py_CLEAR(entry->outcome);
    Py_CLEAR(entry->cancelled);
    Py_CLEAR(entry->trap);
    Py_CLEAR(entry->wakeup);
    Py_CLEAR(entry->context);
    Py_CLEAR(entry->watch);
    Py_CLEAR(entry->holder);
    tac_aio_entries_clear(&entry->next);
    return 0;
}

static void
aio_entry_tp_dealloc(TacAioEntry *entry)
{
    PyTypeObject *type = Py_TYPE(entry);
    PyObject_GC_UnTrack(entry);
    (void)aio_entry_tp_clear(entry);
    Py_CLEAR(entry->manager);
    Py_CLEAR(entry->loop);
    type->tp_free(entry);
    Py_DECREF(type);
}

#define FAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef aio_entry_methods[] = {
    {"_inside", (PyCFunction)aio_entry_inside, METH_O,
     "_inside($self, value, /)\n--\n\n"
     "Tell what the manager was entered with; await what is returned for the\n"
     "end of the body."},
    {"_leave", (PyCFunction)aio_entry_leave, METH_O,
     "_leave($self, outcome, /)\n--\n\n"
     "Have the manager left with the body's error, or None; await whether\n"
     "nothing is to be raised."},
    {"_abandon", (PyCFunction)aio_entry_abandon, METH_NOARGS,
     "_abandon($self, /)\n--\n\n"
     "Have the manager left by its Task, for nobody else will."},
    {"get_loop", (PyCFunction)aio_entry_get_loop, METH_NOARGS,
     "get_loop($self, /)\n--\n\nAs of a Future."},
    {"add_done_callback", FAST(aio_entry_add_done_callback),
     METH_FASTCALL | METH_KEYWORDS,
     "add_done_callback($self, callback, /, *, context)\n--\n\n"
     "As of a Future, for the Task."},
    {"cancel", FAST(aio_entry_cancel), METH_FASTCALL | METH_KEYWORDS,
     "cancel($self, /, msg=None)\n--\n\nAs of a Future."},
    {"done", (PyCFunction)aio_entry_done, METH_NOARGS,
     "done($self, /)\n--\n\nAs of a Future."},
    {"result", (PyCFunction)aio_entry_result, METH_NOARGS,
     "result($self, /)\n--\n\nAs of a Future."},
    {NULL},
};

#undef FAST

static PyMemberDef aio_entry_members[] = {
    {"_loop", T_OBJECT, offsetof(TacAioEntry, loop), READONLY, NULL},
    {"_manager", T_OBJECT, offsetof(TacAioEntry, manager), READONLY, NULL},
    {"_owner", T_OBJECT, offsetof(TacAioEntry, owner), READONLY, NULL},
    {"_watch", T_OBJECT, offsetof(TacAioEntry, watch), 0, NULL},
    {"_abandoned", T_BOOL, offsetof(TacAioEntry, abandoned), READONLY, NULL},
    {"_scope", T_OBJECT, offsetof(TacAioEntry, scope), READONLY, NULL},
    {"_outcome", T_OBJECT, offsetof(TacAioEntry, outcome), READONLY, NULL},
    {"_cancelled", T_OBJECT, offsetof(TacAioEntry, cancelled), READONLY,
     NULL},
    {"_begun", T_BOOL, offsetof(TacAioEntry, begun), 0, NULL},
    {"_asyncio_future_blocking", T_BOOL, offsetof(TacAioEntry, blocking), 0,
     NULL},
    {NULL},
};

static PyGetSetDef aio_entry_getset[] = {
    {"_is_left", (getter)aio_entry_get_is_left, NULL, NULL, NULL},
    {NULL},
};

static PyType_Slot aio_entry_slots[] = {
    {Py_tp_doc, "What Python's AsyncioEntry is made of."},
    {Py_tp_new, tac_err_no_constructor},
    {Py_tp_call, aio_entry_tp_call},
    {Py_am_await, aio_entry_am_await},
    {Py_tp_iter, aio_entry_am_await},
    {Py_tp_iternext, aio_entry_tp_iternext},
    {Py_tp_traverse, aio_entry_tp_traverse},
    {Py_tp_clear, aio_entry_tp_clear},
    {Py_tp_dealloc, aio_entry_tp_dealloc},
    {Py_tp_methods, aio_entry_methods},
    {Py_tp_members, aio_entry_members},
    {Py_tp_getset, aio_entry_getset},
    {0, NULL},
};

static PyType_Spec aio_entry_spec = {
    .name = "trio_asyncio_c._core.AioEntry",
    .basicsize = sizeof(TacAioEntry),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = aio_entry_slots,
};

int
tac_aio_entry_add_types(PyObject *module, TacState *state)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &aio_entry_spec, NULL);
    int rc = type == NULL ? -1
                          : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return rc;
}
