/* core/event.c - Event: something that happens once.
 *
 * An event is made for each time that something happens, so it has to be
 * cheap: a flag and a list, and no part of the garbage collector's work, for
 * it owns nothing.
 *
 *   I1  a trap in `waits` has the event as its `first`.
 *   I2  is_set => `waits` is empty, or set() is about to empty it.
 */
#include "core/event.h"

#include "base/asyncfn.h"
#include "core/checkpoint.h"
#include "core/run.h"

#include <structmember.h>

typedef struct {
    PyObject_HEAD
    TacState *state;       /* borrowed: the type holds the module */
    struct tac_list waits; /* of TacTrap.node, oldest first */
    Py_ssize_t count;
    PyObject *weakrefs;
    bool is_set;
} TacEvent;

/* Waiting ----------------------------------------------------------------- */

enum event_phase { EVENT_WAITS, EVENT_CHECKPOINT };

static void
event_unlink(TacTrap *trap)
{
    if (tac_list_is_linked(&trap->node)) {
        tac_list_unlink(&trap->node);
        ((TacEvent *)trap->first)->count--;
    }
}

static enum tac_trap_step
event_wait_begin(TacTrap *trap, TacTask *task)
{
    TacEvent *event = (TacEvent *)trap->first;
    if (event->is_set) {
        trap->phase = EVENT_CHECKPOINT;
        return TAC_TRAP_YIELD;
    }
    tac_list_append(&event->waits, &trap->node);
    event->count++;
    return TAC_TRAP_WAIT;
}

static enum tac_trap_step
event_wait_resume(TacTrap *trap, TacTask *task)
{
    return trap->phase == EVENT_CHECKPOINT ? tac_checkpoint_resume(trap, task)
                                           : TAC_TRAP_DONE;
}

static const struct tac_trap_ops event_wait_ops = {
    .name = "Event.wait",
    .begin = event_wait_begin,
    .resume = event_wait_resume,
    .unlink = event_unlink,
};

PyDoc_STRVAR(event_wait_doc,
"wait($self, /)\n--\n\n"
"Wait until the event has happened.\n\n"
"Checkpoint: yes, even if it has happened already.  Raises: Cancelled.");

static PyObject *
event_wait(TacEvent *event, PyObject *noargs)
{
    return (PyObject *)tac_trap_new(event->state, &event_wait_ops,
                                    (PyObject *)event, NULL);
}

/* Happening --------------------------------------------------------------- */

static TacTrap *
event_first(TacEvent *event)
{
    return tac_list_is_empty(&event->waits)
               ? NULL
               : tac_list_entry(event->waits.next, TacTrap, node);
}

PyDoc_STRVAR(event_set_doc,
"set($self, /)\n--\n\n"
"Let the event happen, and wake all tasks that wait for it; once it has\n"
"happened, do nothing.\n\n"
"Checkpoint: no.\n"
"Raises: RuntimeError where tasks of another run wait for it.");

static PyObject *
event_set(TacEvent *event, PyObject *noargs)
{
    TacTrap *trap = event_first(event);
    if (trap != NULL && tac_task_check_run(trap->task) < 0) {
        return NULL;
    }
    event->is_set = true;
    while ((trap = event_first(event)) != NULL) {
        event_unlink(trap);
        if (tac_task_reschedule(trap->task, NULL, NULL) < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

static PyObject *
event_is_set(TacEvent *event, PyObject *noargs)
{
    return PyBool_FromLong(event->is_set);
}

static PyObject *
event_statistics(TacEvent *event, PyObject *noargs)
{
    return PyObject_CallFunction(event->state->hook_event_statistics, "n",
                                 event->count);
}

/* The object -------------------------------------------------------------- */

static int
event_bool(PyObject *self)
{
    PyErr_SetString(PyExc_NotImplementedError,
                    "Trio events cannot be treated as bools; consider using "
                    "`event.is_set()` instead.");
    return -1;
}

static PyObject *
event_new(PyTypeObject *type, TacState *state)
{
    TacEvent *event =
        state == NULL ? NULL : (TacEvent *)type->tp_alloc(type, 0);
    if (event != NULL) {
        event->state = state;
        tac_list_init(&event->waits);
    }
    return (PyObject *)event;
}

static PyObject *
event_no_arguments(void)
{
    PyErr_SetString(PyExc_TypeError, "Event() takes no arguments");
    return NULL;
}

static PyObject *
event_vectorcall(PyObject *type, PyObject *const *args, size_t nargsf,
                 PyObject *kwnames)
{
    if (PyVectorcall_NARGS(nargsf) != 0
        || (kwnames != NULL && PyTuple_GET_SIZE(kwnames) != 0))
    {
        return event_no_arguments();
    }
    return event_new((PyTypeObject *)type,
                     PyType_GetModuleState((PyTypeObject *)type));
}

static PyObject *
event_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs && PyDict_GET_SIZE(kwargs))) {
        return event_no_arguments();
    }
    return event_new(type, tac_state_of_type(type));
}

static void
event_tp_dealloc(TacEvent *event)
{
    PyTypeObject *type = Py_TYPE(event);
    if (event->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)event);
    }
    type->tp_free(event);
    Py_DECREF(type);
}

static PyMethodDef event_methods[] = {
    {"is_set", (PyCFunction)event_is_set, METH_NOARGS,
     "is_set($self, /)\n--\n\n"
     "Whether the event has happened.  Checkpoint: no."},
    {"set", (PyCFunction)event_set, METH_NOARGS, event_set_doc},
    {"wait", (PyCFunction)event_wait, METH_NOARGS, event_wait_doc},
    {"statistics", (PyCFunction)event_statistics, METH_NOARGS,
     "statistics($self, /)\n--\n\n"
     "An object with `tasks_waiting`, how many tasks are in wait()."},
    {NULL},
};

static PyMemberDef event_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TacEvent, weakrefs),
     READONLY},
    {NULL},
};

PyDoc_STRVAR(event_doc,
"Event()\n--\n\n"
"Something that happens once, and that tasks can wait for.\n\n"
"It cannot be taken back: for a series of events make a new one each time,\n"
"which is cheap, or use a memory channel.");

static PyType_Slot event_slots[] = {
    {Py_tp_doc, (void *)event_doc},
    {Py_tp_new, event_tp_new},
    {Py_tp_dealloc, event_tp_dealloc},
    {Py_nb_bool, event_bool},
    {Py_tp_methods, event_methods},
    {Py_tp_members, event_members},
    {0, NULL},
};

static PyType_Spec event_spec = {
    .name = "trio_asyncio_c.Event",
    .basicsize = sizeof(TacEvent),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = event_slots,
};

int
tac_event_add_types(PyObject *module, TacState *state)
{
    state->event_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &event_spec, NULL);
    if (state->event_type == NULL
        || tac_asyncfn_replace((PyObject *)state->event_type, state, "wait")
               < 0)
    {
        return -1;
    }
    state->event_type->tp_vectorcall = event_vectorcall;
    return PyModule_AddType(module, state->event_type);
}
