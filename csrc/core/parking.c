/* core/parking.c - ParkingLot: a fair FIFO wait queue of tasks.
 *
 * Strictly first come, first served; moving tasks between lots keeps their
 * order.  The lot is the whole of what locks and channels are built on.
 *
 *   I1  a trap in `parked` has the lot as its `first`, and its task's
 *       custom_sleep_data is the lot.
 */
#include "core/parking.h"

#include "base/args.h"
#include "base/asyncfn.h"
#include "base/compat.h"
#include "core/run.h"

#include <math.h>
#include <structmember.h>

static TacParkingLot *
parking_lot_of(TacTrap *trap)
{
    return (TacParkingLot *)trap->first;
}

/* The trap ---------------------------------------------------------------- */

static void
parking_link(TacParkingLot *lot, TacTrap *trap)
{
    tac_list_append(&lot->parked, &trap->node);
    lot->count++;
}

void
tac_parking_unlink(TacTrap *trap)
{
    if (tac_list_is_linked(&trap->node)) {
        tac_list_unlink(&trap->node);
        parking_lot_of(trap)->count--;
    }
}

enum tac_trap_step
tac_parking_join(TacTrap *trap, TacTask *task)
{
    TacParkingLot *lot = parking_lot_of(trap);
    parking_link(lot, trap);
    Py_XSETREF(task->custom_sleep_data, Py_NewRef(lot));
    return TAC_TRAP_WAIT;
}

enum tac_trap_step
tac_parking_park(TacTrap *trap, TacTask *task)
{
    TacParkingLot *lot = parking_lot_of(trap);
    if (lot->broken_by != NULL) {
        PyErr_Format(lot->state->exc_BrokenResourceError,
                     "Attempted to park in parking lot broken by %R",
                     lot->broken_by);
        return TAC_TRAP_ERROR;
    }
    return tac_parking_join(trap, task);
}

static const struct tac_trap_ops parking_ops = {
    .name = "ParkingLot.park",
    .begin = tac_parking_park,
    .unlink = tac_parking_unlink,
};

/* Waking and moving ------------------------------------------------------- */

static int
parking_read_count(TacParkingLot *lot, PyObject *obj, Py_ssize_t *count)
{
    *count = 1;
    if (obj == NULL) {
        return 0;
    }
    if (PyFloat_Check(obj)) {
        if (!isinf(PyFloat_AS_DOUBLE(obj))) {
            PyErr_SetString(PyExc_ValueError,
                            "Cannot pop a non-integer number of tasks.");
            return -1;
        }
        *count = lot->count;
        return 0;
    }
    *count = PyNumber_AsSsize_t(obj, NULL);
    return *count == -1 && PyErr_Occurred() ? -1 : 0;
}

TacTrap *
tac_parking_first(TacParkingLot *lot)
{
    return tac_list_is_empty(&lot->parked)
               ? NULL
               : tac_list_entry(lot->parked.next, TacTrap, node);
}

int
tac_parking_wake_first(TacParkingLot *lot, TacTask **task)
{
    *task = NULL;
    TacTrap *trap = tac_parking_first(lot);
    if (trap == NULL) {
        return 0;
    }
    if (tac_task_check_run(trap->task) < 0) {
        return -1;
    }
    *task = (TacTask *)Py_NewRef(trap->task);
    tac_parking_unlink(trap);
    if (tac_task_reschedule(*task, NULL, NULL) < 0) {
        Py_CLEAR(*task);
        return -1;
    }
    return 0;
}

static PyObject *
parking_unpark_some(TacParkingLot *lot, Py_ssize_t count)
{
    PyObject *tasks = PyList_New(0);
    TacTask *task;
    while (tasks != NULL && count-- > 0) {
        if (tac_parking_wake_first(lot, &task) < 0) {
            Py_CLEAR(tasks);
        }
        else if (task == NULL) {
            break;
        }
        else if (PyList_Append(tasks, (PyObject *)task) < 0) {
            Py_CLEAR(tasks);
        }
        Py_XDECREF(task);
    }
    return tasks;
}

static int
parking_repark_some(TacParkingLot *lot, PyObject *new_lot, Py_ssize_t count)
{
    if (Py_TYPE(new_lot) != Py_TYPE(lot)
        && !PyObject_TypeCheck(new_lot, lot->state->parking_lot_type))
    {
        PyErr_SetString(PyExc_TypeError, "new_lot must be a ParkingLot");
        return -1;
    }
    TacTrap *trap;
    while (count-- > 0 && (trap = tac_parking_first(lot)) != NULL) {
        tac_parking_unlink(trap);
        Py_SETREF(trap->first, Py_NewRef(new_lot));
        parking_link((TacParkingLot *)new_lot, trap);
        Py_XSETREF(trap->task->custom_sleep_data, Py_NewRef(new_lot));
    }
    return 0;
}

static const char *const count_names[] = {"count", NULL};
static const struct tac_params unpark_params = {"unpark", 0, 0, count_names};
static const char *const repark_names[] = {"new_lot", "count", NULL};
static const struct tac_params repark_params = {"repark", 1, 1, repark_names};

PyDoc_STRVAR(lot_park_doc,
"park($self, /)\n--\n\n"
"Wait until unpark() wakes the task.\n\n"
"Checkpoint: yes.  Raises: BrokenResourceError when the lot is broken.");

static PyObject *
lot_park(TacParkingLot *lot, PyObject *noargs)
{
    return (PyObject *)tac_trap_new(lot->state, &parking_ops, (PyObject *)lot,
                                    NULL);
}

PyDoc_STRVAR(lot_unpark_doc,
"unpark($self, /, *, count=1)\n--\n\n"
"Wake the `count` oldest tasks (inf: all) and return them as a list.\n\n"
"Checkpoint: no.  Raises: ValueError for a float that is not inf.");

static PyObject *
lot_unpark(TacParkingLot *lot, PyObject *const *args, Py_ssize_t nargs,
           PyObject *kwnames)
{
    PyObject *obj = NULL;
    Py_ssize_t count;
    if (tac_args_bind(&unpark_params, args, nargs, kwnames, &obj) < 0
        || parking_read_count(lot, obj, &count) < 0)
    {
        return NULL;
    }
    return parking_unpark_some(lot, count);
}

static PyObject *
lot_unpark_all(TacParkingLot *lot, PyObject *noargs)
{
    return parking_unpark_some(lot, lot->count);
}

PyDoc_STRVAR(lot_repark_doc,
"repark($self, /, new_lot, *, count=1)\n--\n\n"
"Move the `count` oldest tasks (inf: all) to another lot, in order, without\n"
"waking them.  Checkpoint: no.");

static PyObject *
lot_repark(TacParkingLot *lot, PyObject *const *args, Py_ssize_t nargs,
           PyObject *kwnames)
{
    PyObject *values[2] = {NULL, NULL};
    Py_ssize_t count;
    if (tac_args_bind(&repark_params, args, nargs, kwnames, values) < 0
        || parking_read_count(lot, values[1], &count) < 0
        || parking_repark_some(lot, values[0], count) < 0)
    {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
lot_repark_all(TacParkingLot *lot, PyObject *new_lot)
{
    if (parking_repark_some(lot, new_lot, lot->count) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Breaking ---------------------------------------------------------------- */

int
tac_parking_break(TacParkingLot *lot, PyObject *task)
{
    if (lot->broken_by != NULL) {
        return PyList_Append(lot->broken_by, task);
    }
    lot->broken_by = PyList_New(0);
    if (lot->broken_by == NULL || PyList_Append(lot->broken_by, task) < 0) {
        return -1;
    }
    TacTrap *trap;
    while ((trap = tac_parking_first(lot)) != NULL) {
        PyErr_Format(lot->state->exc_BrokenResourceError,
                     "Parking lot broken by %R", task);
        PyObject *error = PyErr_GetRaisedException();
        tac_parking_unlink(trap);
        if (tac_task_reschedule(trap->task, NULL, error) < 0) {
            return -1;
        }
    }
    return 0;
}

static const char *const break_names[] = {"task", NULL};
static const struct tac_params break_params = {"break_lot", 1, 0,
                                               break_names};

PyDoc_STRVAR(lot_break_doc,
"break_lot($self, /, task=None)\n--\n\n"
"Wake all parked tasks with BrokenResourceError, and refuse new ones.\n\n"
"task: who is to blame; None: the running task.  Checkpoint: no.");

static PyObject *
lot_break_lot(TacParkingLot *lot, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    PyObject *task = NULL;
    if (tac_args_bind(&break_params, args, nargs, kwnames, &task) < 0) {
        return NULL;
    }
    if (task == NULL || task == Py_None) {
        task = (PyObject *)tac_task_current(lot->state);
        if (task == NULL) {
            return NULL;
        }
    }
    if (tac_parking_break(lot, task) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* The object -------------------------------------------------------------- */

static PyObject *
lot_statistics(TacParkingLot *lot, PyObject *noargs)
{
    return PyObject_CallFunction(lot->state->hook_parking_statistics, "n",
                                 lot->count);
}

static Py_ssize_t
lot_length(TacParkingLot *lot)
{
    return lot->count;
}

static int
lot_bool(TacParkingLot *lot)
{
    return lot_length(lot) != 0;
}

static PyObject *
lot_get_broken_by(TacParkingLot *lot, void *closure)
{
    return lot->broken_by == NULL ? PyList_New(0) : Py_NewRef(lot->broken_by);
}

static TacParkingLot *
lot_alloc(TacState *state, PyTypeObject *type)
{
    TacParkingLot *lot = (TacParkingLot *)type->tp_alloc(type, 0);
    if (lot != NULL) {
        lot->state = state;
        tac_list_init(&lot->parked);
    }
    return lot;
}

static PyObject *
lot_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    TacState *state = tac_state_of_type(type);
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs && PyDict_GET_SIZE(kwargs))) {
        PyErr_SetString(PyExc_TypeError, "ParkingLot() takes no arguments");
        return NULL;
    }
    return state == NULL ? NULL : (PyObject *)lot_alloc(state, type);
}

TacParkingLot *
tac_parking_new(TacState *state)
{
    return lot_alloc(state, state->parking_lot_type);
}

static int
lot_tp_traverse(TacParkingLot *lot, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(lot));
    Py_VISIT(lot->broken_by);
    return 0;
}

static int
lot_tp_clear(TacParkingLot *lot)
{
    Py_CLEAR(lot->broken_by);
    return 0;
}

static void
lot_tp_dealloc(TacParkingLot *lot)
{
    PyTypeObject *type = Py_TYPE(lot);
    PyObject_GC_UnTrack(lot);
    if (lot->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)lot);
    }
    (void)lot_tp_clear(lot);
    type->tp_free(lot);
    Py_DECREF(type);
}

static PyMethodDef lot_methods[] = {
    {"park", (PyCFunction)lot_park, METH_NOARGS, lot_park_doc},
    {"unpark", (PyCFunction)(void (*)(void))lot_unpark,
     METH_FASTCALL | METH_KEYWORDS, lot_unpark_doc},
    {"unpark_all", (PyCFunction)lot_unpark_all, METH_NOARGS,
     "unpark_all($self, /)\n--\n\nWake all tasks; returns them."},
    {"repark", (PyCFunction)(void (*)(void))lot_repark,
     METH_FASTCALL | METH_KEYWORDS, lot_repark_doc},
    {"repark_all", (PyCFunction)lot_repark_all, METH_O,
     "repark_all($self, new_lot, /)\n--\n\nMove all tasks to another lot."},
    {"break_lot", (PyCFunction)(void (*)(void))lot_break_lot,
     METH_FASTCALL | METH_KEYWORDS, lot_break_doc},
    {"statistics", (PyCFunction)lot_statistics, METH_NOARGS,
     "statistics($self, /)\n--\n\n"
     "An object with `tasks_waiting`, the number of parked tasks."},
    {NULL},
};

static PyGetSetDef lot_getset[] = {
    {"broken_by", (getter)lot_get_broken_by, NULL,
     "The tasks that broke the lot; empty while it is whole."},
    {NULL},
};

static PyMemberDef lot_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TacParkingLot, weakrefs),
     READONLY},
    {NULL},
};

PyDoc_STRVAR(lot_doc,
"ParkingLot()\n--\n\n"
"A fair wait queue of tasks: first parked, first woken.");

static PyType_Slot lot_slots[] = {
    {Py_tp_doc, (void *)lot_doc},
    {Py_tp_new, lot_tp_new},
    {Py_tp_traverse, lot_tp_traverse},
    {Py_tp_clear, lot_tp_clear},
    {Py_tp_dealloc, lot_tp_dealloc},
    {Py_mp_length, lot_length},
    {Py_nb_bool, lot_bool},
    {Py_tp_methods, lot_methods},
    {Py_tp_getset, lot_getset},
    {Py_tp_members, lot_members},
    {0, NULL},
};

static PyType_Spec lot_spec = {
    .name = "trio_asyncio_c.ParkingLot",
    .basicsize = sizeof(TacParkingLot),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = lot_slots,
};

int
tac_parking_add_types(PyObject *module, TacState *state)
{
    state->parking_lot_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &lot_spec, NULL);
    if (state->parking_lot_type == NULL
        || tac_asyncfn_replace((PyObject *)state->parking_lot_type, state,
                               "park")
               < 0)
    {
        return -1;
    }
    return PyModule_AddType(module, state->parking_lot_type);
}
