/* core/cancel_status.c - the "cancel status" of Trio's private interface.
 *
 * Trio keeps a scope and its node in the tree in two objects, and libraries
 * read the second; here they are one, and this is a view of it.
 */
#include "base/compat.h"
#include "core/scope.h"

#include <structmember.h>

typedef struct {
    PyObject_HEAD
    TacScope *scope; /* owned; never NULL before GC's clear */
} TacCancelStatus;

PyObject *
tac_cancel_status(TacScope *scope)
{
    if (scope == NULL) {
        Py_RETURN_NONE;
    }
    PyTypeObject *type = scope->state->cancel_status_type;
    TacCancelStatus *status = (TacCancelStatus *)type->tp_alloc(type, 0);
    if (status != NULL) {
        status->scope = (TacScope *)Py_NewRef(scope);
    }
    return (PyObject *)status;
}

static PyObject *
cstatus_get_effectively_cancelled(TacCancelStatus *status, void *closure)
{
    return PyBool_FromLong(status->scope->effectively_cancelled);
}

static PyObject *
cstatus_get_abandoned(TacCancelStatus *status, void *closure)
{
    return PyBool_FromLong(status->scope->abandoned);
}

static PyObject *
cstatus_get_parent(TacCancelStatus *status, void *closure)
{
    return tac_cancel_status(status->scope->parent);
}

static int
cstatus_set_parent(TacCancelStatus *status, PyObject *value, void *closure)
{
    TacScope *parent = NULL;
    if (value != NULL && value != Py_None) {
        if (Py_TYPE(value) != Py_TYPE(status)) {
            PyErr_SetString(PyExc_TypeError,
                            "parent must be a CancelStatus or None");
            return -1;
        }
        parent = ((TacCancelStatus *)value)->scope;
        if (tac_scope_encloses(status->scope, parent)) {
            PyErr_SetString(PyExc_ValueError,
                            "a cancel status cannot be inside of itself");
            return -1;
        }
    }
    return tac_scope_set_parent(status->scope, parent);
}

static PyObject *
cstatus_encloses(TacCancelStatus *status, PyObject *other)
{
    if (other == Py_None) {
        Py_RETURN_FALSE;
    }
    if (Py_TYPE(other) != Py_TYPE(status)) {
        PyErr_SetString(PyExc_TypeError,
                        "a CancelStatus or None is needed");
        return NULL;
    }
    return PyBool_FromLong(tac_scope_encloses(
        status->scope, ((TacCancelStatus *)other)->scope));
}

static PyObject *
cstatus_recalculate(TacCancelStatus *status, PyObject *noargs)
{
    if (tac_scope_recalculate(status->scope) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* The scope leaves the tree without any task's leaving it. */
static PyObject *
cstatus_close(TacCancelStatus *status, PyObject *noargs)
{
    PyObject *remaining = NULL;
    if (!status->scope->active) {
        Py_RETURN_NONE;
    }
    int rc = tac_scope_close(status->scope, NULL, &remaining);
    Py_XDECREF(remaining);
    if (rc < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
cstatus_freeze(PyObject *set)
{
    PyObject *frozen = set == NULL ? NULL : PyFrozenSet_New(set);
    Py_XDECREF(set);
    return frozen;
}

static PyObject *
cstatus_add(PyObject *set, PyObject *item)
{
    if (set != NULL && (item == NULL || PySet_Add(set, item) < 0)) {
        Py_CLEAR(set);
    }
    Py_XDECREF(item);
    return set;
}

static PyObject *
cstatus_get_children(TacCancelStatus *status, void *closure)
{
    struct tac_list *head = &status->scope->children;
    PyObject *set = PySet_New(NULL);
    for (struct tac_list *n = head->next; set != NULL && n != head;
         n = n->next) {
        set = cstatus_add(
            set, tac_cancel_status(tac_list_entry(n, TacScope, sibling_node)));
    }
    return cstatus_freeze(set);
}

static PyObject *
cstatus_get_tasks(TacCancelStatus *status, void *closure)
{
    struct tac_list *head = &status->scope->tasks;
    PyObject *set = PySet_New(NULL);
    for (struct tac_list *n = head->next; set != NULL && n != head;
         n = n->next) {
        struct tac_task *task =
            tac_list_entry(n, struct tac_task, status_node);
        set = cstatus_add(set, task->ops->object(task));
    }
    return cstatus_freeze(set);
}

static PyObject *
cstatus_effective_deadline(TacCancelStatus *status, PyObject *noargs)
{
    return PyFloat_FromDouble(tac_scope_effective_deadline(status->scope));
}

static PyObject *
cstatus_tp_richcompare(TacCancelStatus *status, PyObject *other, int op)
{
    if ((op != Py_EQ && op != Py_NE) || Py_TYPE(other) != Py_TYPE(status)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    bool same = status->scope == ((TacCancelStatus *)other)->scope;
    return PyBool_FromLong(same == (op == Py_EQ));
}

static Py_hash_t
cstatus_tp_hash(TacCancelStatus *status)
{
    Py_hash_t hash = (Py_hash_t)((uintptr_t)status->scope >> 4);
    return hash == -1 ? -2 : hash;
}

static int
cancel_status_tp_traverse(TacCancelStatus *status, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(status));
    Py_VISIT(status->scope);
    return 0;
}

static void
cancel_status_tp_dealloc(TacCancelStatus *status)
{
    PyTypeObject *type = Py_TYPE(status);
    PyObject_GC_UnTrack(status);
    Py_CLEAR(status->scope);
    type->tp_free(status);
    Py_DECREF(type);
}

static PyMethodDef cancel_status_methods[] = {
    {"effective_deadline", (PyCFunction)cstatus_effective_deadline,
     METH_NOARGS,
     "effective_deadline($self, /)\n--\n\n"
     "The earliest deadline up to a shield; -inf when cancelled."},
    {"encloses", (PyCFunction)cstatus_encloses, METH_O,
     "encloses($self, other, /)\n--\n\n"
     "Whether `other` is this status or below it."},
    {"recalculate", (PyCFunction)cstatus_recalculate, METH_NOARGS,
     "recalculate($self, /)\n--\n\n"
     "Bring effectively_cancelled up to date, here and below."},
    {"close", (PyCFunction)cstatus_close, METH_NOARGS,
     "close($self, /)\n--\n\n"
     "Leave the tree; what is still inside is abandoned and cancelled."},
    {NULL},
};

static PyGetSetDef cancel_status_getset[] = {
    {"effectively_cancelled", (getter)cstatus_get_effectively_cancelled, NULL,
     "Whether this scope or a visible one around it is cancelled."},
    {"abandoned_by_misnesting", (getter)cstatus_get_abandoned, NULL, NULL},
    {"parent", (getter)cstatus_get_parent, (setter)cstatus_set_parent,
     "The status around it, or None; setting it moves the scope."},
    {"_parent", (getter)cstatus_get_parent, NULL, NULL},
    {"children", (getter)cstatus_get_children, NULL, NULL},
    {"_children", (getter)cstatus_get_children, NULL, NULL},
    {"tasks", (getter)cstatus_get_tasks, NULL, NULL},
    {"_tasks", (getter)cstatus_get_tasks, NULL, NULL},
    {NULL},
};

static PyMemberDef cancel_status_members[] = {
    {"_scope", T_OBJECT, offsetof(TacCancelStatus, scope), READONLY,
     "The CancelScope."},
    {NULL},
};

static PyType_Slot cancel_status_slots[] = {
    {Py_tp_doc, "A cancel scope's place in the tree, for introspection."},
    {Py_tp_richcompare, cstatus_tp_richcompare},
    {Py_tp_hash, cstatus_tp_hash},
    {Py_tp_traverse, cancel_status_tp_traverse},
    {Py_tp_dealloc, cancel_status_tp_dealloc},
    {Py_tp_methods, cancel_status_methods},
    {Py_tp_getset, cancel_status_getset},
    {Py_tp_members, cancel_status_members},
    {0, NULL},
};

static PyType_Spec cancel_status_spec = {
    .name = "trio_asyncio_c._core.CancelStatus",
    .basicsize = sizeof(TacCancelStatus),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = cancel_status_slots,
};

int
tac_cancel_status_add_types(PyObject *module, TacState *state)
{
    state->cancel_status_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &cancel_status_spec, NULL);
    return state->cancel_status_type == NULL
               ? -1
               : PyModule_AddType(module, state->cancel_status_type);
}
