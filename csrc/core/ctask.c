/* core/ctask.c - C tasks: starting, ending, and their Python face.
 *
 * A C task has no Python object until somebody looks at it; then it gets a
 * NativeTask, which holds the C task's owner, so that the two can refer to
 * each other: the task's pointer to its face is cleared when that dies.
 */
#include "base/compat.h"
#include "core/nursery.h"
#include "core/run.h"
#include "core/scope.h"
#include "core/task.h"

#include <structmember.h>

typedef struct {
    PyObject_HEAD
    PyObject *owner;       /* owned: keeps `task` alive */
    struct tac_task *task; /* borrowed from owner */
    PyObject *weakrefs;
} TacNativeTask;

void
tac_ctask_start(struct tac_task *task, const struct tac_task_ops *ops,
                TacRunner *runner, TacNursery *nursery)
{
    task->ops = ops;
    task->runner = runner;
    task->abortable = false;
    tac_list_append(&runner->tasks, &task->runner_node);
    runner->task_count++;
    if (nursery != NULL) {
        task->parent_nursery = (TacNursery *)Py_NewRef(nursery);
        task->scope = (TacScope *)Py_NewRef(nursery->scope);
        tac_list_append(&nursery->children, &task->sibling_node);
        tac_list_append(&nursery->scope->tasks, &task->status_node);
    }
}

void
tac_ctask_unlink(struct tac_task *task)
{
    if (task->runner == NULL) {
        return;
    }
    if (tac_list_is_linked(&task->runner_node)) {
        tac_list_unlink(&task->runner_node);
        task->runner->task_count--;
    }
    tac_list_unlink(&task->run_node);
    tac_list_unlink(&task->sibling_node);
    tac_list_unlink(&task->status_node);
    task->abortable = false;
    task->runner = NULL;
    Py_CLEAR(task->scope);
    Py_CLEAR(task->parent_nursery);
}

int
tac_ctask_exit(struct tac_task *task, PyObject *exc)
{
    if (task->runner == NULL) {
        return 0;
    }
    TacNursery *nursery = task->parent_nursery;
    Py_XINCREF(nursery);
    TacRunner *runner = task->runner;
    PyObject *owner = Py_NewRef(task->ops->owner(task));
    int rc = 0;
    /* The face outlives the unlinking: for the hooks that follow. */
    PyObject *face =
        tac_instruments_has(&runner->instruments, TAC_HOOK_TASK_EXITED)
            ? task->ops->object(task)
            : NULL;
    tac_list_unlink(&task->sibling_node);
    if (nursery != NULL) {
        rc = tac_nursery_child_finished(nursery, task, exc);
    }
    tac_ctask_unlink(task);
    if (face != NULL) {
        tac_instruments_call(runner, TAC_HOOK_TASK_EXITED, face);
        Py_DECREF(face);
    }
    Py_DECREF(owner);
    Py_XDECREF(nursery);
    return rc;
}

/* The face ---------------------------------------------------------------- */

PyObject *
tac_native_task(TacState *state, struct tac_task *task)
{
    if (task->face != NULL) {
        return Py_NewRef(task->face);
    }
    PyTypeObject *type = state->native_task_type;
    TacNativeTask *face = (TacNativeTask *)type->tp_alloc(type, 0);
    if (face != NULL) {
        face->task = task;
        face->owner = Py_NewRef(task->ops->owner(task));
        task->face = (PyObject *)face;
    }
    return (PyObject *)face;
}

static int
native_tp_traverse(TacNativeTask *face, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(face));
    Py_VISIT(face->owner);
    return 0;
}

static int
native_tp_clear(TacNativeTask *face)
{
    if (face->task != NULL) {
        face->task->face = NULL;
        face->task = NULL;
    }
    Py_CLEAR(face->owner);
    return 0;
}

static void
native_tp_dealloc(TacNativeTask *face)
{
    PyTypeObject *type = Py_TYPE(face);
    PyObject_GC_UnTrack(face);
    if (face->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)face);
    }
    (void)native_tp_clear(face);
    type->tp_free(face);
    Py_DECREF(type);
}

static PyObject *
native_tp_repr(TacNativeTask *face)
{
    return PyUnicode_FromFormat(
        "<NativeTask '%s' at %p>",
        face->task == NULL ? "?" : face->task->ops->name, face->task);
}

static PyObject *
native_get_name(TacNativeTask *face, void *closure)
{
    return PyUnicode_FromString(face->task == NULL ? "?"
                                                   : face->task->ops->name);
}

static PyObject *
native_get_parent_nursery(TacNativeTask *face, void *closure)
{
    PyObject *nursery =
        face->task == NULL ? NULL : (PyObject *)face->task->parent_nursery;
    return Py_NewRef(nursery == NULL ? Py_None : nursery);
}

static PyObject *
native_get_child_nurseries(TacNativeTask *face, void *closure)
{
    return PyList_New(0);
}

static PyObject *
native_get_owner(TacNativeTask *face, void *closure)
{
    return Py_NewRef(face->owner == NULL ? Py_None : face->owner);
}

static PyObject *
native_get_none(TacNativeTask *face, void *closure)
{
    Py_RETURN_NONE;
}

static PyObject *
native_iter_await_frames(TacNativeTask *face, PyObject *noargs)
{
    PyObject *empty = PyTuple_New(0);
    PyObject *iterator = empty == NULL ? NULL : PyObject_GetIter(empty);
    Py_XDECREF(empty);
    return iterator;
}

static PyMethodDef native_methods[] = {
    {"iter_await_frames", (PyCFunction)native_iter_await_frames, METH_NOARGS,
     "iter_await_frames($self, /)\n--\n\n"
     "An empty iterator: a task in C awaits nothing."},
    {NULL},
};

static PyGetSetDef native_getset[] = {
    {"name", (getter)native_get_name, NULL, "What the task does."},
    {"parent_nursery", (getter)native_get_parent_nursery, NULL,
     "The nursery that it lives in, or None."},
    {"eventual_parent_nursery", (getter)native_get_none, NULL, "None."},
    {"child_nurseries", (getter)native_get_child_nurseries, NULL,
     "An empty list: a task in C opens no nurseries."},
    {"owner", (getter)native_get_owner, NULL,
     "The object that the task serves, such as an event loop."},
    {"coro", (getter)native_get_none, NULL, "None: there is no coroutine."},
    {NULL},
};

PyDoc_STRVAR(native_doc,
"A task that is written in C, as introspection shows it.");

static PyMemberDef native_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TacNativeTask, weakrefs),
     READONLY},
    {NULL},
};

static PyType_Slot native_slots[] = {
    {Py_tp_doc, (void *)native_doc},
    {Py_tp_traverse, native_tp_traverse},
    {Py_tp_clear, native_tp_clear},
    {Py_tp_dealloc, native_tp_dealloc},
    {Py_tp_repr, native_tp_repr},
    {Py_tp_methods, native_methods},
    {Py_tp_getset, native_getset},
    {Py_tp_members, native_members},
    {0, NULL},
};

static PyType_Spec native_spec = {
    .name = "trio_asyncio_c.NativeTask",
    .basicsize = sizeof(TacNativeTask),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = native_slots,
};

int
tac_ctask_add_types(PyObject *module, TacState *state)
{
    state->native_task_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &native_spec, NULL);
    if (state->native_task_type == NULL) {
        return -1;
    }
    return PyModule_AddType(module, state->native_task_type);
}
