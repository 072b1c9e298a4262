/* core/lock.c - Lock and StrictFIFOLock: held by one task at a time.
 *
 * Both are the same but for their names.  Tasks wait in a ParkingLot of its
 * own type, which Python code sees: a Condition moves those it has notified
 * there, so whoever is woken in that lot has been made the owner before.
 *
 *   I1  owner set => it is a breaker of the lot, until it exits.
 *   I2  tasks that came by acquire() are in the lot only while there is an
 *       owner.  One that has exited stays the owner: the lock is broken.
 */
#include "core/lock.h"

#include "base/args.h"
#include "base/asyncfn.h"
#include "base/compat.h"
#include "base/errors.h"
#include "core/attempt.h"
#include "core/breaker.h"
#include "core/run.h"

#include <structmember.h>

typedef struct {
    PyObject_HEAD
    TacState *state;    /* borrowed: the type holds the module */
    TacParkingLot *lot; /* owned; never NULL */
    TacTask *owner;     /* owned or NULL */
    struct tac_breaker breaker; /* the owner's: I1 */
    PyObject *weakrefs;
} TacLock;

/* Taking ------------------------------------------------------------------ */

/* For a lock that has no owner; steals the task. */
static void
lock_own(TacLock *lock, TacTask *task)
{
    lock->owner = task;
    tac_breaker_link(lock->state, &lock->breaker, task, lock->lot);
}

static void
lock_disown(TacLock *lock)
{
    tac_breaker_unlink(&lock->breaker);
    Py_CLEAR(lock->owner);
}

/* Make a task the owner.  1, 0: that would block, or -1 with an exception. */
static int
lock_try(TacLock *lock, TacTask *task)
{
    if (lock->owner == task) {
        PyErr_SetString(PyExc_RuntimeError,
                        "attempt to re-acquire an already held Lock");
        return -1;
    }
    if (lock->owner != NULL || lock->lot->count != 0) {
        return 0;
    }
    lock_own(lock, (TacTask *)Py_NewRef(task));
    return 1;
}

/* The error for a lock whose owner has exited, as if raised "from None".
 * Returns: new ref, never NULL. */
static PyObject *
lock_broken_error(TacLock *lock)
{
    PyErr_Format(lock->state->exc_BrokenResourceError,
                 "Owner of this lock exited without releasing: %S",
                 lock->owner == NULL ? Py_None : (PyObject *)lock->owner);
    PyObject *error = PyErr_GetRaisedException();
    PyException_SetCause(error, NULL);
    return error;
}

/* The trap's `first` is the lot, `second` the lock. */
static enum tac_trap_step
lock_attempt(TacTrap *trap, TacTask *task)
{
    TacLock *lock = (TacLock *)trap->second;
    int taken = lock_try(lock, task);
    if (taken != 0) {
        return taken < 0 ? TAC_TRAP_ERROR : TAC_TRAP_DONE;
    }
    if (lock->lot->broken_by != NULL) {
        PyObject *error = lock_broken_error(lock);
        tac_err_raise(error);
        Py_DECREF(error);
        return TAC_TRAP_ERROR;
    }
    return tac_parking_join(trap, task);
}

static enum tac_trap_step
lock_acquire_begin(TacTrap *trap, TacTask *task)
{
    return tac_attempt_begin(trap, task, lock_attempt);
}

static enum tac_trap_step
lock_acquire_resume(TacTrap *trap, TacTask *task)
{
    return tac_attempt_resume(trap, task, lock_attempt);
}

static PyObject *
lock_acquire_fail(TacTrap *trap, PyObject *error)
{
    TacLock *lock = (TacLock *)trap->second;
    if (!PyErr_GivenExceptionMatches(error,
                                     lock->state->exc_BrokenResourceError))
    {
        return error;
    }
    Py_DECREF(error);
    return lock_broken_error(lock);
}

static const struct tac_trap_ops lock_acquire_ops = {
    .name = "Lock.acquire",
    .begin = lock_acquire_begin,
    .resume = lock_acquire_resume,
    .fail = lock_acquire_fail,
    .unlink = tac_parking_unlink,
};

PyDoc_STRVAR(lock_acquire_doc,
"acquire($self, /)\n--\n\n"
"Take the lock, waiting until it is free.\n\n"
"Checkpoint: yes.  Raises: RuntimeError if the task holds it already;\n"
"BrokenResourceError if the task that held it exited without releasing it;\n"
"Cancelled.");

static PyObject *
lock_acquire(TacLock *lock, PyObject *noargs)
{
    return (PyObject *)tac_trap_new(lock->state, &lock_acquire_ops,
                                    (PyObject *)lock->lot, (PyObject *)lock);
}

PyDoc_STRVAR(lock_acquire_nowait_doc,
"acquire_nowait($self, /)\n--\n\n"
"Take the lock without waiting.\n\n"
"Checkpoint: no.  Raises: WouldBlock if another task holds it; RuntimeError\n"
"if the running task does.");

static PyObject *
lock_acquire_nowait(TacLock *lock, PyObject *noargs)
{
    TacTask *task = tac_task_current(lock->state);
    int taken = task == NULL ? -1 : lock_try(lock, task);
    if (taken > 0) {
        Py_RETURN_NONE;
    }
    if (taken == 0) {
        PyErr_SetNone(lock->state->exc_WouldBlock);
    }
    return NULL;
}

/* Giving back ------------------------------------------------------------- */

/* Hand the lock to the task that waits longest, or leave it free. */
static int
lock_give(TacLock *lock, TacTask *task)
{
    TacTask *woken;
    if (task != lock->owner) {
        PyErr_SetString(PyExc_RuntimeError,
                        "can't release a Lock you don't own");
        return -1;
    }
    TacTrap *next = tac_parking_first(lock->lot);
    if (next != NULL && tac_task_check_run(next->task) < 0) {
        return -1;
    }
    /* Somebody may have undone I1 himself. */
    if (!tac_breaker_is_linked(&lock->breaker)
        && tac_breaker_remove(task, lock->lot) < 0)
    {
        return -1;
    }
    lock_disown(lock);
    if (next == NULL) {
        return 0;
    }
    lock_own(lock, (TacTask *)Py_NewRef(next->task));
    int rc = tac_parking_wake_first(lock->lot, &woken);
    Py_XDECREF(woken);
    return rc;
}

PyDoc_STRVAR(lock_release_doc,
"release($self, /)\n--\n\n"
"Give the lock to the task that waits longest, or leave it free.\n\n"
"Checkpoint: no.  Raises: RuntimeError if the running task does not hold it."
);

static PyObject *
lock_release(TacLock *lock, PyObject *noargs)
{
    TacTask *task = tac_task_current(lock->state);
    if (task == NULL || lock_give(lock, task) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static enum tac_trap_step
lock_aexit_begin(TacTrap *trap, TacTask *task)
{
    return lock_give((TacLock *)trap->first, task) < 0 ? TAC_TRAP_ERROR
                                                       : TAC_TRAP_DONE;
}

static const struct tac_trap_ops lock_aexit_ops = {
    .name = "Lock.__aexit__",
    .begin = lock_aexit_begin,
};

static PyObject *
lock_aexit(TacLock *lock, PyObject *const *args, Py_ssize_t nargs)
{
    if (tac_args_exit("__aexit__", nargs) < 0) {
        return NULL;
    }
    return (PyObject *)tac_trap_new(lock->state, &lock_aexit_ops,
                                    (PyObject *)lock, NULL);
}

/* The object -------------------------------------------------------------- */

static PyObject *
lock_locked(TacLock *lock, PyObject *noargs)
{
    return PyBool_FromLong(lock->owner != NULL);
}

static PyObject *
lock_get_owner(TacLock *lock, void *closure)
{
    return Py_NewRef(lock->owner == NULL ? Py_None : (PyObject *)lock->owner);
}

static PyObject *
lock_statistics(TacLock *lock, PyObject *noargs)
{
    return PyObject_CallFunction(
        lock->state->hook_lock_statistics, "OOn",
        lock->owner == NULL ? Py_False : Py_True,
        lock->owner == NULL ? Py_None : (PyObject *)lock->owner,
        lock->lot->count);
}

static PyObject *
lock_tp_repr(TacLock *lock)
{
    PyObject *name = PyObject_GetAttr((PyObject *)Py_TYPE(lock),
                                      lock->state->str___name__);
    if (name == NULL) {
        return NULL;
    }
    PyObject *repr =
        lock->owner == NULL
            ? PyUnicode_FromFormat("<unlocked %S object at %p>", name, lock)
            : PyUnicode_FromFormat("<locked %S object at %p with %zd waiters>",
                                   name, lock, lock->lot->count);
    Py_DECREF(name);
    return repr;
}

static PyObject *
lock_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs && PyDict_GET_SIZE(kwargs))) {
        PyErr_Format(PyExc_TypeError, "%s() takes no arguments",
                     strrchr(type->tp_name, '.') + 1);
        return NULL;
    }
    TacState *state = tac_state_of_type(type);
    TacLock *lock = state == NULL ? NULL : (TacLock *)type->tp_alloc(type, 0);
    if (lock != NULL) {
        lock->state = state;
        lock->lot = tac_parking_new(state);
        if (lock->lot == NULL) {
            Py_CLEAR(lock);
        }
    }
    return (PyObject *)lock;
}

static int
lock_tp_traverse(TacLock *lock, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(lock));
    Py_VISIT(lock->lot);
    Py_VISIT(lock->owner);
    return 0;
}

/* The lot stays: its methods use it, and it leads to no cycle but by tasks
 * that broke it, which it clears itself. */
static int
lock_tp_clear(TacLock *lock)
{
    lock_disown(lock);
    return 0;
}

static void
lock_tp_dealloc(TacLock *lock)
{
    PyTypeObject *type = Py_TYPE(lock);
    PyObject_GC_UnTrack(lock);
    if (lock->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)lock);
    }
    (void)lock_tp_clear(lock);
    Py_CLEAR(lock->lot);
    type->tp_free(lock);
    Py_DECREF(type);
}

static PyMethodDef lock_methods[] = {
    {"locked", (PyCFunction)lock_locked, METH_NOARGS,
     "locked($self, /)\n--\n\n"
     "Whether somebody holds the lock.  Checkpoint: no."},
    {"acquire_nowait", (PyCFunction)lock_acquire_nowait, METH_NOARGS,
     lock_acquire_nowait_doc},
    {"acquire", (PyCFunction)lock_acquire, METH_NOARGS, lock_acquire_doc},
    {"release", (PyCFunction)lock_release, METH_NOARGS, lock_release_doc},
    {"statistics", (PyCFunction)lock_statistics, METH_NOARGS,
     "statistics($self, /)\n--\n\n"
     "An object with `locked`, `owner` and `tasks_waiting`."},
    {"__aenter__", (PyCFunction)lock_acquire, METH_NOARGS,
     "__aenter__($self, /)\n--\n\nAs acquire()."},
    {"__aexit__", (PyCFunction)(void (*)(void))lock_aexit, METH_FASTCALL,
     "__aexit__($self, exc_type, exc, traceback, /)\n--\n\nAs release()."},
    {NULL},
};

static PyGetSetDef lock_getset[] = {
    {"_owner", (getter)lock_get_owner, NULL, NULL},
    {NULL},
};

static PyMemberDef lock_members[] = {
    {"_lot", T_OBJECT, offsetof(TacLock, lot), READONLY},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TacLock, weakrefs), READONLY},
    {NULL},
};

PyDoc_STRVAR(lock_doc,
"Lock()\n--\n\n"
"A lock that one task holds at a time, and that only this task can release.\n"
"\n"
"``async with lock:`` holds it during the block; it waits at entry, not at\n"
"exit.  A task that takes a lock which it holds already gets an error.  If a\n"
"task exits while it holds the lock, then everybody who waits for it, or\n"
"waits for it later, gets BrokenResourceError.");

PyDoc_STRVAR(strict_lock_doc,
"StrictFIFOLock()\n--\n\n"
"A Lock that promises to be taken in the order in which tasks began to wait.\n"
"\n"
"Today every Lock behaves like that.  Code that relies on the order, say\n"
"because it sends messages in the sequence in which they were made, states\n"
"so by using this class.");

static PyType_Slot lock_slots[] = {
    {Py_tp_doc, (void *)lock_doc},
    {Py_tp_new, lock_tp_new},
    {Py_tp_traverse, lock_tp_traverse},
    {Py_tp_clear, lock_tp_clear},
    {Py_tp_dealloc, lock_tp_dealloc},
    {Py_tp_repr, lock_tp_repr},
    {Py_tp_methods, lock_methods},
    {Py_tp_getset, lock_getset},
    {Py_tp_members, lock_members},
    {0, NULL},
};

static PyType_Slot strict_lock_slots[] = {
    {Py_tp_doc, (void *)strict_lock_doc},
    {Py_tp_new, lock_tp_new},
    {Py_tp_traverse, lock_tp_traverse},
    {Py_tp_clear, lock_tp_clear},
    {Py_tp_dealloc, lock_tp_dealloc},
    {Py_tp_repr, lock_tp_repr},
    {Py_tp_methods, lock_methods},
    {Py_tp_getset, lock_getset},
    {Py_tp_members, lock_members},
    {0, NULL},
};

static PyType_Spec lock_spec = {
    .name = "trio_asyncio_c.Lock",
    .basicsize = sizeof(TacLock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = lock_slots,
};

static PyType_Spec strict_lock_spec = {
    .name = "trio_asyncio_c.StrictFIFOLock",
    .basicsize = sizeof(TacLock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = strict_lock_slots,
};

static int
lock_add_type(PyObject *module, TacState *state, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    int rc = type == NULL || tac_asyncfn_replace(type, state, "acquire") < 0
                 ? -1
                 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return rc;
}

int
tac_lock_add_types(PyObject *module, TacState *state)
{
    if (lock_add_type(module, state, &lock_spec) < 0) {
        return -1;
    }
    return lock_add_type(module, state, &strict_lock_spec);
}
