/* core/semaphore.c - Semaphore: a number that is never negative.
 *
 *   I1  tasks that came by acquire() are in the lot only while the value
 *       is 0.  Counting up wakes one of them instead, so that nobody who comes
 *       later can get ahead.
 */
#include "core/semaphore.h"

#include "base/args.h"
#include "base/asyncfn.h"
#include "core/attempt.h"
#include "core/parking.h"
#include "core/run.h"

#include <structmember.h>

typedef struct {
    PyObject_HEAD
    TacState *state;    /* borrowed: the type holds the module */
    TacParkingLot *lot; /* owned; never NULL */
    Py_ssize_t value;
    Py_ssize_t max_value; /* -1: none */
    PyObject *weakrefs;
} TacSemaphore;

/* Counting down ----------------------------------------------------------- */

/* The trap's `first` is the lot, `second` the semaphore. */
static enum tac_trap_step
semaphore_attempt(TacTrap *trap, TacTask *task)
{
    TacSemaphore *semaphore = (TacSemaphore *)trap->second;
    if (semaphore->value > 0) {
        semaphore->value--;
        return TAC_TRAP_DONE;
    }
    return tac_parking_park(trap, task);
}

static enum tac_trap_step
semaphore_acquire_begin(TacTrap *trap, TacTask *task)
{
    return tac_attempt_begin(trap, task, semaphore_attempt);
}

static enum tac_trap_step
semaphore_acquire_resume(TacTrap *trap, TacTask *task)
{
    return tac_attempt_resume(trap, task, semaphore_attempt);
}

static const struct tac_trap_ops semaphore_acquire_ops = {
    .name = "Semaphore.acquire",
    .begin = semaphore_acquire_begin,
    .resume = semaphore_acquire_resume,
    .unlink = tac_parking_unlink,
};

PyDoc_STRVAR(semaphore_acquire_doc,
"acquire($self, /)\n--\n\n"
"Count down, waiting until the value is above zero.\n\n"
"Checkpoint: yes.  Raises: Cancelled.");

static PyObject *
semaphore_acquire(TacSemaphore *semaphore, PyObject *noargs)
{
    return (PyObject *)tac_trap_new(
        semaphore->state, &semaphore_acquire_ops, (PyObject *)semaphore->lot,
        (PyObject *)semaphore);
}

PyDoc_STRVAR(semaphore_acquire_nowait_doc,
"acquire_nowait($self, /)\n--\n\n"
"Count down without waiting.\n\n"
"Checkpoint: no.  Raises: WouldBlock if the value is zero.");

static PyObject *
semaphore_acquire_nowait(TacSemaphore *semaphore, PyObject *noargs)
{
    if (semaphore->value == 0) {
        PyErr_SetNone(semaphore->state->exc_WouldBlock);
        return NULL;
    }
    semaphore->value--;
    Py_RETURN_NONE;
}

/* Counting up ------------------------------------------------------------- */

static int
semaphore_count_up(TacSemaphore *semaphore)
{
    if (semaphore->lot->count != 0) {
        TacTask *task;
        int rc = tac_parking_wake_first(semaphore->lot, &task);
        Py_XDECREF(task);
        return rc;
    }
    if (semaphore->value == semaphore->max_value
        || semaphore->value == PY_SSIZE_T_MAX)
    {
        PyErr_SetString(PyExc_ValueError,
                        "semaphore released too many times");
        return -1;
    }
    semaphore->value++;
    return 0;
}

PyDoc_STRVAR(semaphore_release_doc,
"release($self, /)\n--\n\n"
"Count up, or let the task that waits longest go on instead.\n\n"
"Checkpoint: no.  Raises: ValueError if the value is `max_value` already.");

static PyObject *
semaphore_release(TacSemaphore *semaphore, PyObject *noargs)
{
    if (semaphore_count_up(semaphore) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static enum tac_trap_step
semaphore_aexit_begin(TacTrap *trap, TacTask *task)
{
    return semaphore_count_up((TacSemaphore *)trap->first) < 0
               ? TAC_TRAP_ERROR
               : TAC_TRAP_DONE;
}

static const struct tac_trap_ops semaphore_aexit_ops = {
    .name = "Semaphore.__aexit__",
    .begin = semaphore_aexit_begin,
};

static PyObject *
semaphore_aexit(TacSemaphore *semaphore, PyObject *const *args,
                Py_ssize_t nargs)
{
    if (tac_args_exit("__aexit__", nargs) < 0) {
        return NULL;
    }
    return (PyObject *)tac_trap_new(semaphore->state, &semaphore_aexit_ops,
                                    (PyObject *)semaphore, NULL);
}

/* The object -------------------------------------------------------------- */

static PyObject *
semaphore_statistics(TacSemaphore *semaphore, PyObject *noargs)
{
    return PyObject_CallFunction(semaphore->state->hook_parking_statistics,
                                 "n", semaphore->lot->count);
}

static PyObject *
semaphore_get_max_value(TacSemaphore *semaphore, void *closure)
{
    if (semaphore->max_value < 0) {
        Py_RETURN_NONE;
    }
    return PyLong_FromSsize_t(semaphore->max_value);
}

static PyObject *
semaphore_tp_repr(TacSemaphore *semaphore)
{
    char limit[40] = "";
    if (semaphore->max_value >= 0) {
        PyOS_snprintf(limit, sizeof(limit), ", max_value=%zd",
                      semaphore->max_value);
    }
    return PyUnicode_FromFormat("<trio.Semaphore(%zd%s) at %p>",
                                semaphore->value, limit, semaphore);
}

static int
semaphore_read(PyObject *obj, const char *message, Py_ssize_t *value)
{
    if (!PyLong_Check(obj)) {
        PyErr_SetString(PyExc_TypeError, message);
        return -1;
    }
    *value = PyNumber_AsSsize_t(obj, PyExc_OverflowError);
    return *value == -1 && PyErr_Occurred() ? -1 : 0;
}

static int
semaphore_set_up(TacSemaphore *semaphore, PyObject *initial, PyObject *max)
{
    if (semaphore_read(initial, "initial_value must be an int",
                       &semaphore->value)
        < 0)
    {
        return -1;
    }
    if (semaphore->value < 0) {
        PyErr_SetString(PyExc_ValueError, "initial value must be >= 0");
        return -1;
    }
    semaphore->max_value = -1;
    if (max == Py_None) {
        return 0;
    }
    if (semaphore_read(max, "max_value must be None or an int",
                       &semaphore->max_value)
        < 0)
    {
        return -1;
    }
    if (semaphore->max_value < semaphore->value) {
        PyErr_SetString(PyExc_ValueError,
                        "max_values must be >= initial_value");
        return -1;
    }
    return 0;
}

static PyObject *
semaphore_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const char *const names[] = {"initial_value", "max_value", NULL};
    PyObject *initial, *max = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$O:Semaphore",
                                     (char **)names, &initial, &max))
    {
        return NULL;
    }
    TacState *state = tac_state_of_type(type);
    TacSemaphore *semaphore =
        state == NULL ? NULL : (TacSemaphore *)type->tp_alloc(type, 0);
    if (semaphore == NULL) {
        return NULL;
    }
    semaphore->state = state;
    semaphore->lot = tac_parking_new(state);
    if (semaphore->lot == NULL || semaphore_set_up(semaphore, initial, max) < 0)
    {
        Py_CLEAR(semaphore);
    }
    return (PyObject *)semaphore;
}

static int
semaphore_tp_traverse(TacSemaphore *semaphore, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(semaphore));
    Py_VISIT(semaphore->lot);
    return 0;
}

static void
semaphore_tp_dealloc(TacSemaphore *semaphore)
{
    PyTypeObject *type = Py_TYPE(semaphore);
    PyObject_GC_UnTrack(semaphore);
    if (semaphore->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)semaphore);
    }
    Py_CLEAR(semaphore->lot);
    type->tp_free(semaphore);
    Py_DECREF(type);
}

static PyMethodDef semaphore_methods[] = {
    {"acquire_nowait", (PyCFunction)semaphore_acquire_nowait, METH_NOARGS,
     semaphore_acquire_nowait_doc},
    {"acquire", (PyCFunction)semaphore_acquire, METH_NOARGS,
     semaphore_acquire_doc},
    {"release", (PyCFunction)semaphore_release, METH_NOARGS,
     semaphore_release_doc},
    {"statistics", (PyCFunction)semaphore_statistics, METH_NOARGS,
     "statistics($self, /)\n--\n\n"
     "An object with `tasks_waiting`, how many tasks are in acquire()."},
    {"__aenter__", (PyCFunction)semaphore_acquire, METH_NOARGS,
     "__aenter__($self, /)\n--\n\nAs acquire()."},
    {"__aexit__", (PyCFunction)(void (*)(void))semaphore_aexit,
     METH_FASTCALL,
     "__aexit__($self, exc_type, exc, traceback, /)\n--\n\nAs release()."},
    {NULL},
};

static PyGetSetDef semaphore_getset[] = {
    {"max_value", (getter)semaphore_get_max_value, NULL,
     "The largest number allowed, or None."},
    {NULL},
};

static PyMemberDef semaphore_members[] = {
    {"value", T_PYSSIZET, offsetof(TacSemaphore, value), READONLY,
     "The number as it stands."},
    {"_lot", T_OBJECT, offsetof(TacSemaphore, lot), READONLY},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TacSemaphore, weakrefs),
     READONLY},
    {NULL},
};

PyDoc_STRVAR(semaphore_doc,
"Semaphore(initial_value, *, max_value=None)\n--\n\n"
"A number that tasks count down and up again, and that is never negative:\n"
"counting down waits at zero.\n\n"
"``async with semaphore:`` counts down for the time of the block.  To limit\n"
"how many tasks do something at the same time, a CapacityLimiter is the\n"
"better choice.\n\n"
"initial_value: where to start; an int, not negative.\n"
"max_value: if given, a release() that would go beyond it is an error.\n"
"Raises: TypeError if one of them is no int; OverflowError if it does not\n"
"fit into a machine word; ValueError if initial_value is negative or above\n"
"max_value.");

static PyType_Slot semaphore_slots[] = {
    {Py_tp_doc, (void *)semaphore_doc},
    {Py_tp_new, semaphore_tp_new},
    {Py_tp_traverse, semaphore_tp_traverse},
    {Py_tp_dealloc, semaphore_tp_dealloc},
    {Py_tp_repr, semaphore_tp_repr},
    {Py_tp_methods, semaphore_methods},
    {Py_tp_getset, semaphore_getset},
    {Py_tp_members, semaphore_members},
    {0, NULL},
};

static PyType_Spec semaphore_spec = {
    .name = "trio_asyncio_c.Semaphore",
    .basicsize = sizeof(TacSemaphore),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = semaphore_slots,
};

int
tac_semaphore_add_types(PyObject *module, TacState *state)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &semaphore_spec, NULL);
    int rc = type == NULL || tac_asyncfn_replace(type, state, "acquire") < 0
                 ? -1
                 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return rc;
}
