/* core/task_type.c - Task as Python sees it. */
#include "base/compat.h"
#include "base/errors.h"
#include "core/nursery.h"
#include "core/run.h"
#include "core/scope.h"
#include "core/task.h"
#include "core/trap.h"
#include "core/wait.h"

#include <structmember.h>

TacTask *
tac_task_new(TacState *state)
{
    PyTypeObject *type = state->task_type;
    TacTask *task = (TacTask *)type->tp_alloc(type, 0);
    if (task == NULL) {
        return NULL;
    }
    task->base.ops = &tac_coroutine_task_ops;
    tac_list_init(&task->child_nurseries);
    tac_list_init(&task->breakers);
    state->counts.tasks++;
    return task;
}

static int
task_tp_traverse(TacTask *task, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(task));
    Py_VISIT(task->base.parent_nursery);
    Py_VISIT(task->base.scope);
    Py_VISIT(task->home);
    Py_VISIT(task->coro);
    Py_VISIT(task->context);
    Py_VISIT(task->name);
    Py_VISIT(task->custom_sleep_data);
    Py_VISIT(task->trap);
    Py_VISIT(task->resume_value);
    Py_VISIT(task->resume_error);
    Py_VISIT(task->eventual_parent);
    Py_VISIT(task->exit_data);
    struct tac_list *head = &task->child_nurseries;
    for (struct tac_list *n = head->next; n != head; n = n->next) {
        Py_VISIT(tac_list_entry(n, TacNursery, task_node));
    }
    return 0;
}

static int
task_tp_clear(TacTask *task)
{
    tac_list_unlink(&task->base.run_node);
    tac_list_unlink(&task->base.sibling_node);
    tac_list_unlink(&task->base.status_node);
    Py_CLEAR(task->base.parent_nursery);
    Py_CLEAR(task->base.scope);
    Py_CLEAR(task->home);
    Py_CLEAR(task->coro);
    Py_CLEAR(task->context);
    Py_CLEAR(task->name);
    Py_CLEAR(task->custom_sleep_data);
    Py_CLEAR(task->trap);
    Py_CLEAR(task->resume_value);
    Py_CLEAR(task->resume_error);
    Py_CLEAR(task->eventual_parent);
    Py_CLEAR(task->exit_data);
    struct tac_list *node;
    while ((node = tac_list_pop_front(&task->child_nurseries)) != NULL) {
        Py_DECREF(tac_list_entry(node, TacNursery, task_node));
    }
    return 0;
}

static void
task_tp_dealloc(TacTask *task)
{
    PyTypeObject *type = Py_TYPE(task);
    TacState *state = PyType_GetModuleState(type);
    PyObject_GC_UnTrack(task);
    Py_TRASHCAN_BEGIN(task, task_tp_dealloc)
    if (task->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)task);
    }
    (void)task_tp_clear(task);
    if (state != NULL) {
        state->counts.tasks--;
    }
    type->tp_free(task);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

/* What a partial is of; new ref. */
static PyObject *
task_unwrap_partial(TacState *state, PyObject *source)
{
    PyObject *func = NULL;
    if (strcmp(Py_TYPE(source)->tp_name, "functools.partial") == 0
        && PyObject_GetOptionalAttr(source, state->str_func, &func) < 0)
    {
        return NULL;
    }
    return func != NULL ? func : Py_NewRef(source);
}

/* "module.qualname", or its repr for what has no such names. */
static PyObject *
task_qualified_name(TacState *state, PyObject *source)
{
    PyObject *module, *qualname, *name = NULL;
    if (PyObject_GetOptionalAttr(source, state->str___module__, &module) < 0)
    {
        return NULL;
    }
    if (PyObject_GetOptionalAttr(source, state->str___qualname__, &qualname)
        >= 0)
    {
        name = module != NULL && qualname != NULL
                   ? PyUnicode_FromFormat("%S.%S", module, qualname)
                   : PyObject_Repr(source);
        Py_XDECREF(qualname);
    }
    Py_XDECREF(module);
    return name;
}

PyObject *
tac_task_make_name(TacState *state, PyObject *source)
{
    source = task_unwrap_partial(state, source);
    if (source == NULL) {
        return NULL;
    }
    PyObject *name = PyUnicode_Check(source)
                         ? Py_NewRef(source)
                         : task_qualified_name(state, source);
    Py_DECREF(source);
    return name;
}

static PyObject *
task_get_name(TacTask *task, void *closure)
{
    if (task->name == NULL) {
        return PyUnicode_FromString("");
    }
    if (!PyUnicode_Check(task->name)) {
        PyObject *name = tac_task_make_name(
            PyType_GetModuleState(Py_TYPE(task)), task->name);
        if (name == NULL) {
            return NULL;
        }
        Py_XSETREF(task->name, name);
    }
    return Py_NewRef(task->name);
}

static int
task_set_name(TacTask *task, PyObject *value, void *closure)
{
    if (value == NULL || !PyUnicode_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "a task's name must be a str");
        return -1;
    }
    Py_XSETREF(task->name, Py_NewRef(value));
    return 0;
}

static PyObject *
task_tp_repr(TacTask *task)
{
    PyObject *name = task_get_name(task, NULL);
    if (name == NULL) {
        return NULL;
    }
    PyObject *repr = PyUnicode_FromFormat("<Task %R at %p>", name, task);
    Py_DECREF(name);
    return repr;
}

PyObject *
tac_task_repr(struct tac_task *task)
{
    PyObject *face = task->ops->object(task);
    PyObject *repr = face == NULL ? NULL : PyObject_Repr(face);
    Py_XDECREF(face);
    return repr;
}

static PyObject *
task_get_parent_nursery(TacTask *task, void *closure)
{
    return Py_NewRef(task->base.parent_nursery == NULL
                         ? Py_None
                         : (PyObject *)task->base.parent_nursery);
}

static PyObject *
task_get_eventual_parent(TacTask *task, void *closure)
{
    return Py_NewRef(task->eventual_parent == NULL
                         ? Py_None
                         : (PyObject *)task->eventual_parent);
}

static PyObject *
task_get_child_nurseries(TacTask *task, void *closure)
{
    PyObject *list = PyList_New(0);
    struct tac_list *head = &task->child_nurseries;
    for (struct tac_list *n = head->next; list != NULL && n != head;
         n = n->next)
    {
        TacNursery *nursery = tac_list_entry(n, TacNursery, task_node);
        if (PyList_Append(list, (PyObject *)nursery) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

static PyObject *
task_get_runner(TacTask *task, void *closure)
{
    return Py_NewRef(task->base.runner == NULL
                         ? Py_None
                         : (PyObject *)task->base.runner);
}

static PyObject *
task_get_cancel_status(TacTask *task, void *closure)
{
    return tac_cancel_status(task->base.scope);
}

static int
task_set_context(TacTask *task, PyObject *value, void *closure)
{
    if (value == NULL || !PyContext_CheckExact(value)) {
        PyErr_SetString(PyExc_TypeError,
                        "a task's context must be a contextvars.Context");
        return -1;
    }
    Py_XSETREF(task->context, Py_NewRef(value));
    return 0;
}

static PyObject *
task_get_context(TacTask *task, void *closure)
{
    return Py_NewRef(task->context == NULL ? Py_None : task->context);
}

/* The statistics.  Trio's are plain attributes, and its tests break the run
 * loop by assigning what cannot be counted on: that is kept, as an error of
 * the task's next step. */
static int
task_set_points(TacTask *task, PyObject *value, unsigned long *points)
{
    unsigned long number = 0;
    if (value != NULL && PyLong_Check(value)) {
        number = PyLong_AsUnsignedLong(value);
        if (number == (unsigned long)-1 && PyErr_Occurred()) {
            return -1;
        }
    }
    else {
        task->broken = true;
    }
    *points = number;
    return 0;
}

static PyObject *
task_get_cancel_points(TacTask *task, void *closure)
{
    return PyLong_FromUnsignedLong(task->cancel_points);
}

static int
task_set_cancel_points(TacTask *task, PyObject *value, void *closure)
{
    return task_set_points(task, value, &task->cancel_points);
}

static PyObject *
task_get_schedule_points(TacTask *task, void *closure)
{
    return PyLong_FromUnsignedLong(task->schedule_points);
}

static int
task_set_schedule_points(TacTask *task, PyObject *value, void *closure)
{
    return task_set_points(task, value, &task->schedule_points);
}

/* The outcome that the task's next step gets, for debuggers; None unless it
 * was rescheduled; None for its first step, too. */
static PyObject *
task_get_next_send(TacTask *task, void *closure)
{
    TacState *state = PyType_GetModuleState(Py_TYPE(task));
    bool started = task->schedule_points != 0;
    if (!task->resumed || !started) {
        Py_RETURN_NONE;
    }
    return PyObject_CallFunctionObjArgs(
        state->hook_outcome,
        task->resume_value == NULL ? Py_None : task->resume_value,
        task->resume_error == NULL ? Py_None : task->resume_error, NULL);
}

static PyObject *
task_get_next_send_fn(TacTask *task, void *closure)
{
    if (!task->resumed || task->coro == NULL) {
        Py_RETURN_NONE;
    }
    return PyObject_GetAttrString(task->coro,
                                  task->throws ? "throw" : "send");
}

/* Of a wait that is written in Python; what C waits for needs none. */
static PyObject *
task_get_abort_func(TacTask *task, void *closure)
{
    bool python = task->base.abortable && task->trap != NULL
                  && task->trap->ops == &tac_wait_task_rescheduled_ops;
    return Py_NewRef(python ? task->trap->first : Py_None);
}

static PyObject *
task_iter_await_frames(TacTask *task, PyObject *noargs)
{
    TacState *state = PyType_GetModuleState(Py_TYPE(task));
    return PyObject_CallOneArg(state->hook_iter_await_frames,
                               task->coro == NULL ? Py_None : task->coro);
}

static PyMethodDef task_methods[] = {
    {"iter_await_frames", (PyCFunction)task_iter_await_frames, METH_NOARGS,
     "iter_await_frames($self, /)\n--\n\n"
     "Iterate over (frame, line number) of the task's await chain, from the\n"
     "outermost frame to where it waits."},
    {NULL},
};

static PyGetSetDef task_getset[] = {
    {"name", (getter)task_get_name, (setter)task_set_name,
     "A str that describes the task."},
    {"context", (getter)task_get_context, (setter)task_set_context,
     "The contextvars.Context that its steps run in."},
    {"parent_nursery", (getter)task_get_parent_nursery, NULL,
     "The nursery that the task lives in, or None."},
    {"eventual_parent_nursery", (getter)task_get_eventual_parent, NULL,
     "The nursery that it will move to when it calls started(), or None."},
    {"child_nurseries", (getter)task_get_child_nurseries, NULL,
     "The nurseries that the task has open, outermost first."},
    {"_parent_nursery", (getter)task_get_parent_nursery, NULL, NULL},
    {"_eventual_parent_nursery", (getter)task_get_eventual_parent, NULL,
     NULL},
    {"_child_nurseries", (getter)task_get_child_nurseries, NULL, NULL},
    {"_runner", (getter)task_get_runner, NULL, NULL},
    {"_cancel_status", (getter)task_get_cancel_status, NULL,
     "The place of the task's innermost cancel scope in the tree."},
    {"_cancel_points", (getter)task_get_cancel_points,
     (setter)task_set_cancel_points, NULL},
    {"_schedule_points", (getter)task_get_schedule_points,
     (setter)task_set_schedule_points, NULL},
    {"_next_send", (getter)task_get_next_send, NULL, NULL},
    {"_next_send_fn", (getter)task_get_next_send_fn, NULL, NULL},
    {"_abort_func", (getter)task_get_abort_func, NULL, NULL},
    {NULL},
};

static PyMemberDef task_members[] = {
    {"coro", T_OBJECT, offsetof(TacTask, coro), 0, "The task's coroutine."},
    {"custom_sleep_data", T_OBJECT, offsetof(TacTask, custom_sleep_data), 0,
     "For whoever put the task to sleep; None again when it wakes."},
    {"_counter", T_ULONGLONG, offsetof(TacTask, counter), READONLY, NULL},
    {"_ki_protected", T_BOOL, offsetof(TacTask, ki_protected), 0, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TacTask, weakrefs), READONLY},
    {NULL},
};

PyDoc_STRVAR(task_doc,
"A task: a coroutine that a nursery runs.\n\n"
"Made by start_soon(), start() and spawn_system_task() only.");

static PyType_Slot task_slots[] = {
    {Py_tp_new, tac_err_no_constructor},
    {Py_tp_doc, (void *)task_doc},
    {Py_tp_traverse, task_tp_traverse},
    {Py_tp_clear, task_tp_clear},
    {Py_tp_dealloc, task_tp_dealloc},
    {Py_tp_repr, task_tp_repr},
    {Py_tp_methods, task_methods},
    {Py_tp_getset, task_getset},
    {Py_tp_members, task_members},
    {0, NULL},
};

static PyType_Spec task_spec = {
    .name = "trio_asyncio_c.Task",
    .basicsize = sizeof(TacTask),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = task_slots,
};

int
tac_task_add_types(PyObject *module, TacState *state)
{
    state->task_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &task_spec, NULL);
    if (state->task_type == NULL) {
        return -1;
    }
    /* What a foreign yield can be taken for. */
    if (PyModule_AddIntConstant(module, "PARK_WAIT", TAC_PARK_WAIT) < 0
        || PyModule_AddIntConstant(module, "PARK_YIELD", TAC_PARK_YIELD) < 0
        || PyModule_AddIntConstant(module, "PARK_DETACH", TAC_PARK_DETACH)
               < 0)
    {
        return -1;
    }
    return PyModule_AddType(module, state->task_type);
}
