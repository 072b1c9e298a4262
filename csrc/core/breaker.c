/* core/breaker.c - tasks whose exit breaks a ParkingLot. */
#include "core/breaker.h"

/* Linking ----------------------------------------------------------------- */

void
tac_breaker_link(TacState *state, struct tac_breaker *breaker, TacTask *task,
                 TacParkingLot *lot)
{
    breaker->task = task;
    breaker->lot = lot;
    tac_list_append(&task->breakers, &breaker->task_node);
    tac_list_append(&state->breakers, &breaker->state_node);
}

void
tac_breaker_unlink(struct tac_breaker *breaker)
{
    tac_list_unlink(&breaker->task_node);
    tac_list_unlink(&breaker->state_node);
}

/* Unlink, and let go of what is owned. */
static void
breaker_drop(struct tac_breaker *breaker)
{
    tac_breaker_unlink(breaker);
    if (breaker->is_owned) {
        TacTask *task = breaker->task;
        TacParkingLot *lot = breaker->lot;
        PyMem_Free(breaker);
        Py_DECREF(task);
        Py_DECREF(lot);
    }
}

static int
breaker_add(TacState *state, TacTask *task, TacParkingLot *lot)
{
    if (task->base.runner == NULL) {
        PyErr_SetString(state->exc_BrokenResourceError,
                        "Attempted to add already exited task as lot "
                        "breaker.");
        return -1;
    }
    struct tac_breaker *breaker = PyMem_Calloc(1, sizeof(*breaker));
    if (breaker == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    breaker->is_owned = true;
    tac_breaker_link(state, breaker, (TacTask *)Py_NewRef(task),
                     (TacParkingLot *)Py_NewRef(lot));
    return 0;
}

int
tac_breaker_remove(TacTask *task, TacParkingLot *lot)
{
    struct tac_list *head = &task->breakers;
    for (struct tac_list *n = head->next; n != head; n = n->next) {
        struct tac_breaker *breaker =
            tac_list_entry(n, struct tac_breaker, task_node);
        if (breaker->lot == lot) {
            breaker_drop(breaker);
            return 0;
        }
    }
    PyErr_SetString(PyExc_RuntimeError,
                    "Attempted to remove task as breaker for a lot it is not "
                    "registered for");
    return -1;
}

int
tac_breaker_task_exited(TacTask *task)
{
    struct tac_list *head = &task->breakers;
    while (!tac_list_is_empty(head)) {
        struct tac_breaker *breaker =
            tac_list_entry(head->next, struct tac_breaker, task_node);
        TacParkingLot *lot = (TacParkingLot *)Py_NewRef(breaker->lot);
        breaker_drop(breaker);
        int rc = tac_parking_break(lot, (PyObject *)task);
        Py_DECREF(lot);
        if (rc < 0) {
            return -1;
        }
    }
    return 0;
}

/* The module's part ------------------------------------------------------- */

int
tac_breaker_traverse(TacState *state, visitproc visit, void *arg)
{
    struct tac_list *head = &state->breakers;
    if (head->next == NULL) {
        return 0; /* not set up yet */
    }
    for (struct tac_list *n = head->next; n != head; n = n->next) {
        struct tac_breaker *breaker =
            tac_list_entry(n, struct tac_breaker, state_node);
        if (breaker->is_owned) {
            Py_VISIT(breaker->task);
            Py_VISIT(breaker->lot);
        }
    }
    return 0;
}

void
tac_breaker_clear(TacState *state)
{
    struct tac_list *head = &state->breakers;
    while (head->next != NULL && !tac_list_is_empty(head)) {
        breaker_drop(
            tac_list_entry(head->next, struct tac_breaker, state_node));
    }
}

/* Add a breaker to the dict {Task: [ParkingLot]}. */
static int
breaker_list(PyObject *dict, struct tac_breaker *breaker)
{
    PyObject *lots =
        PyDict_GetItemWithError(dict, (PyObject *)breaker->task);
    if (lots != NULL) {
        return PyList_Append(lots, (PyObject *)breaker->lot);
    }
    if (PyErr_Occurred()) {
        return -1;
    }
    lots = Py_BuildValue("[O]", breaker->lot);
    int rc = lots == NULL
                 ? -1
                 : PyDict_SetItem(dict, (PyObject *)breaker->task, lots);
    Py_XDECREF(lots);
    return rc;
}

static PyObject *
breaker_list_all(PyObject *module, PyObject *noargs)
{
    struct tac_list *head = &tac_state_of_module(module)->breakers;
    PyObject *dict = PyDict_New();
    for (struct tac_list *n = head->next; dict != NULL && n != head;
         n = n->next)
    {
        if (breaker_list(dict,
                         tac_list_entry(n, struct tac_breaker, state_node))
            < 0)
        {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

static int
breaker_check_args(TacState *state, PyObject *const *args, Py_ssize_t nargs,
                   const char *name)
{
    if (nargs != 2 || !Py_IS_TYPE(args[0], state->task_type)
        || !PyObject_TypeCheck(args[1], state->parking_lot_type))
    {
        PyErr_Format(PyExc_TypeError, "%s() takes a Task and a ParkingLot",
                     name);
        return -1;
    }
    return 0;
}

static PyObject *
breaker_py_add(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    TacState *state = tac_state_of_module(module);
    if (breaker_check_args(state, args, nargs, "add_parking_lot_breaker") < 0
        || breaker_add(state, (TacTask *)args[0], (TacParkingLot *)args[1])
               < 0)
    {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
breaker_py_remove(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    TacState *state = tac_state_of_module(module);
    if (breaker_check_args(state, args, nargs, "remove_parking_lot_breaker")
            < 0
        || tac_breaker_remove((TacTask *)args[0], (TacParkingLot *)args[1])
               < 0)
    {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef breaker_functions[] = {
    {"add_parking_lot_breaker", (PyCFunction)(void (*)(void))breaker_py_add,
     METH_FASTCALL,
     "add_parking_lot_breaker($module, task, lot, /)\n--\n\n"
     "Break `lot` when `task` exits.  Raises: BrokenResourceError for a task\n"
     "that has exited.  Checkpoint: no."},
    {"remove_parking_lot_breaker",
     (PyCFunction)(void (*)(void))breaker_py_remove, METH_FASTCALL,
     "remove_parking_lot_breaker($module, task, lot, /)\n--\n\n"
     "Undo add_parking_lot_breaker().  Raises: RuntimeError if it was not\n"
     "called before.  Checkpoint: no."},
    {"_parking_lot_breakers", breaker_list_all, METH_NOARGS,
     "_parking_lot_breakers($module, /)\n--\n\n"
     "All breakers there are, as a new dict {Task: [ParkingLot]}."},
    {NULL},
};

int
tac_breaker_add_functions(PyObject *module, TacState *state)
{
    tac_list_init(&state->breakers);
    return PyModule_AddFunctions(module, breaker_functions);
}
