/* core/nursery_type.c - Nursery and its manager as Python sees them. */
#include "base/args.h"
#include "base/asyncfn.h"
#include "base/compat.h"
#include "base/errors.h"
#include "core/nursery.h"
#include "core/run.h"
#include "core/start.h"

#include <structmember.h>

/* The context manager ----------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    TacState *state;     /* borrowed: the type holds the module */
    TacNursery *nursery; /* owned; NULL before entry */
    bool strict;
} TacNurseryManager;

static enum tac_trap_step
manager_enter_begin(TacTrap *trap, TacTask *task)
{
    TacNurseryManager *manager = (TacNurseryManager *)trap->first;
    TacNursery *nursery =
        tac_nursery_open(trap->state, task, manager->strict);
    if (nursery == NULL) {
        return TAC_TRAP_ERROR;
    }
    Py_XSETREF(manager->nursery, (TacNursery *)Py_NewRef(nursery));
    trap->result = (PyObject *)nursery;
    return TAC_TRAP_DONE;
}

static const struct tac_trap_ops manager_enter_ops = {
    .name = "NurseryManager.__aenter__",
    .begin = manager_enter_begin,
};

/* first: the nursery; second: what left the body, or NULL. */
static enum tac_trap_step
manager_exit_begin(TacTrap *trap, TacTask *task)
{
    return tac_nursery_exit_enter((TacNursery *)trap->first, trap->second);
}

/* Raise the exception that is set once more, out of a frame: C has none, and
 * the traceback is to say where the error left the nursery.  Tools take it
 * that one does: pytest 8 fails if all frames of a group are hidden ones. */
static void
manager_add_frame(TacState *state)
{
    if (state->hook_raise_in_aexit == NULL) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *never = PyObject_CallOneArg(state->hook_raise_in_aexit, exc);
    Py_DECREF(exc);
    Py_XDECREF(never);
}

static enum tac_trap_step
manager_exit_resume(TacTrap *trap, TacTask *task)
{
    PyObject *remaining;
    TacNursery *nursery = (TacNursery *)trap->first;
    if (tac_nursery_exit_leave(nursery, &remaining) < 0) {
        Py_XDECREF(remaining);
        return TAC_TRAP_ERROR;
    }
    PyObject *value = tac_scope_exit_value(trap->second, remaining);
    if (value == NULL) {
        manager_add_frame(trap->state);
        return TAC_TRAP_ERROR;
    }
    Py_XSETREF(trap->result, value);
    return TAC_TRAP_DONE;
}

static enum tac_abort
manager_exit_abort(TacTrap *trap, TacTask *task,
                   const struct tac_cause *cause)
{
    return tac_nursery_exit_abort((TacNursery *)trap->first, task, cause);
}

static const struct tac_trap_ops manager_exit_ops = {
    .name = "NurseryManager.__aexit__",
    .begin = manager_exit_begin,
    .resume = manager_exit_resume,
    .abort = manager_exit_abort,
};

static PyObject *
manager_aenter(TacNurseryManager *manager, PyObject *noargs)
{
    return (PyObject *)tac_trap_new(manager->state, &manager_enter_ops,
                                    (PyObject *)manager, NULL);
}

static PyObject *
manager_aexit(TacNurseryManager *manager, PyObject *const *args,
              Py_ssize_t nargs)
{
    if (nargs != 3 || manager->nursery == NULL) {
        PyErr_SetString(
            nargs != 3 ? PyExc_TypeError : PyExc_RuntimeError,
            nargs != 3 ? "__aexit__() takes 3 arguments"
                       : "the nursery manager has not been entered");
        return NULL;
    }
    return (PyObject *)tac_trap_new(manager->state, &manager_exit_ops,
                                    (PyObject *)manager->nursery,
                                    args[1] == Py_None ? NULL : args[1]);
}

static PyObject *
manager_enter(TacNurseryManager *manager, PyObject *noargs)
{
    PyErr_SetString(PyExc_RuntimeError,
                    "use 'async with open_nursery(...)', not 'with "
                    "open_nursery(...)'");
    return NULL;
}

static PyObject *
manager_exit(TacNurseryManager *manager, PyObject *args)
{
    PyErr_SetString(PyExc_AssertionError,
                    "Never called, but should be defined");
    return NULL;
}

static int
manager_tp_traverse(TacNurseryManager *manager, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(manager));
    Py_VISIT(manager->nursery);
    return 0;
}

static int
manager_tp_clear(TacNurseryManager *manager)
{
    Py_CLEAR(manager->nursery);
    return 0;
}

static void
manager_tp_dealloc(TacNurseryManager *manager)
{
    PyTypeObject *type = Py_TYPE(manager);
    PyObject_GC_UnTrack(manager);
    (void)manager_tp_clear(manager);
    type->tp_free(manager);
    Py_DECREF(type);
}

static PyMethodDef manager_methods[] = {
    {"__aenter__", (PyCFunction)manager_aenter, METH_NOARGS,
     "__aenter__($self, /)\n--\n\nOpen the nursery.  Checkpoint: no."},
    {"__aexit__", (PyCFunction)(void (*)(void))manager_aexit, METH_FASTCALL,
     "__aexit__($self, exc_type, exc, traceback, /)\n--\n\n"
     "Wait for the children.  A schedule point, not a cancel point."},
    {"__enter__", (PyCFunction)manager_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)manager_exit, METH_VARARGS, NULL},
    {NULL},
};

static PyObject *
manager_get_scope(TacNurseryManager *manager, void *closure)
{
    return Py_NewRef(manager->nursery == NULL
                         ? Py_None
                         : (PyObject *)manager->nursery->scope);
}

static PyGetSetDef manager_getset[] = {
    {"_scope", (getter)manager_get_scope, NULL, NULL},
    {NULL},
};

static PyMemberDef manager_members[] = {
    {"_nursery", T_OBJECT, offsetof(TacNurseryManager, nursery), READONLY},
    {"strict_exception_groups", T_BOOL, offsetof(TacNurseryManager, strict),
     READONLY},
    {NULL},
};

PyDoc_STRVAR(manager_doc, "What open_nursery() returns: use 'async with'.");

static PyType_Slot manager_slots[] = {
    {Py_tp_doc, (void *)manager_doc},
    {Py_tp_traverse, manager_tp_traverse},
    {Py_tp_clear, manager_tp_clear},
    {Py_tp_dealloc, manager_tp_dealloc},
    {Py_tp_methods, manager_methods},
    {Py_tp_members, manager_members},
    {Py_tp_getset, manager_getset},
    {0, NULL},
};

static PyType_Spec manager_spec = {
    .name = "trio_asyncio_c.NurseryManager",
    .basicsize = sizeof(TacNurseryManager),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = manager_slots,
};

PyObject *
tac_nursery_manager_new(TacState *state, bool strict)
{
    PyTypeObject *type = state->nursery_manager_type;
    TacNurseryManager *manager =
        (TacNurseryManager *)type->tp_alloc(type, 0);
    if (manager != NULL) {
        manager->state = state;
        manager->strict = strict;
    }
    return (PyObject *)manager;
}

/* The nursery ------------------------------------------------------------- */

static int
nursery_tp_traverse(TacNursery *nursery, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(nursery));
    Py_VISIT(nursery->parent_task);
    Py_VISIT(nursery->scope);
    Py_VISIT(nursery->pending_excs);
    Py_VISIT(nursery->dict);
    return 0;
}

static int
nursery_tp_clear(TacNursery *nursery)
{
    Py_CLEAR(nursery->parent_task);
    Py_CLEAR(nursery->scope);
    Py_CLEAR(nursery->pending_excs);
    Py_CLEAR(nursery->dict);
    return 0;
}

static void
nursery_tp_dealloc(TacNursery *nursery)
{
    PyTypeObject *type = Py_TYPE(nursery);
    PyObject_GC_UnTrack(nursery);
    if (nursery->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)nursery);
    }
    (void)nursery_tp_clear(nursery);
    nursery->state->counts.nurseries--;
    type->tp_free(nursery);
    Py_DECREF(type);
}

static const char *const nursery_start_names[] = {"async_fn", "name", NULL};
static const struct tac_params nursery_start_soon_params = {
    "start_soon", 1, 1, nursery_start_names};
static const struct tac_params nursery_start_params = {
    "start", 1, 1, nursery_start_names};

/* Both methods take (async_fn, *args, name=None): `values` gets the function
 * and the name; `*args`, `*nargs` become what is to be passed on. */
static int
nursery_bind(const struct tac_params *params, PyObject *const **args,
             Py_ssize_t *nargs, PyObject *kwnames, PyObject **values)
{
    if (kwnames != NULL
        && tac_args_bind_keywords(params, *args, *nargs, kwnames, values) < 0)
    {
        return -1;
    }
    if (*nargs > 0) {
        values[0] = (*args)[0];
        (*args)++;
        (*nargs)--;
    }
    if (values[0] == NULL) {
        PyErr_Format(PyExc_TypeError,
                     "%s() missing 1 required positional argument: "
                     "'async_fn'",
                     params->function);
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(nursery_start_soon_doc,
"start_soon($self, async_fn, *args, name=None)\n--\n\n"
"Spawn a child task that runs ``async_fn(*args)``, and return at once.\n\n"
"name: a str, or what to take the task's name from.\n"
"Raises: RuntimeError once the nursery is closed; TypeError when async_fn is\n"
"no async function.  Checkpoint: no.  Thread-safe: no.");

static PyObject *
nursery_start_soon(TacNursery *nursery, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *values[2] = {NULL, NULL};
    TacRunner *runner = tac_runner_current(nursery->state);
    if (runner == NULL
        || nursery_bind(&nursery_start_soon_params, &args, &nargs, kwnames,
                        values) < 0)
    {
        return NULL;
    }
    TacRunner *owner = nursery->parent_task->base.runner;
    if (!nursery->closed && !tac_runner_may_touch(runner, owner)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the nursery belongs to another run");
        return NULL;
    }
    struct tac_spawn how = {.fn = values[0],
                            .args = args,
                            .nargs = nargs,
                            .name = values[1],
                            .nursery = nursery};
    TacTask *task = tac_task_spawn(owner == NULL ? runner : owner, &how);
    if (task == NULL) {
        return NULL;
    }
    Py_DECREF(task);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(nursery_start_doc,
"start($self, async_fn, *args, name=None)\n--\n\n"
"Spawn a child task and wait until it calls ``task_status.started()``.\n\n"
"Returns: an awaitable of the value given to started().\n"
"Raises: the child's error if it ends before; RuntimeError if it ends without\n"
"calling started(), or when the nursery is closed.  Checkpoint: yes.");

static PyObject *
nursery_start(TacNursery *nursery, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    PyObject *values[2] = {NULL, NULL};
    if (nursery_bind(&nursery_start_params, &args, &nargs, kwnames, values)
        < 0)
    {
        return NULL;
    }
    return tac_start_new(nursery, values[0], args, nargs, values[1]);
}

static PyObject *
nursery_get_children(TacNursery *nursery, void *closure)
{
    PyObject *tasks = PySet_New(NULL);
    struct tac_list *head = &nursery->children;
    for (struct tac_list *n = head->next; tasks != NULL && n != head;
         n = n->next)
    {
        struct tac_task *task =
            tac_list_entry(n, struct tac_task, sibling_node);
        PyObject *face = task->ops->object(task);
        if (face == NULL || PySet_Add(tasks, face) < 0) {
            Py_CLEAR(tasks);
        }
        Py_XDECREF(face);
    }
    return tasks;
}

static PyObject *
nursery_get_child_tasks(TacNursery *nursery, void *closure)
{
    PyObject *tasks = nursery_get_children(nursery, closure);
    PyObject *frozen = tasks == NULL ? NULL : PyFrozenSet_New(tasks);
    Py_XDECREF(tasks);
    return frozen;
}

static PyObject *
nursery_get_cancel_status(TacNursery *nursery, void *closure)
{
    return tac_cancel_status(nursery->scope);
}

static PyMethodDef nursery_methods[] = {
    {"start_soon", (PyCFunction)(void (*)(void))nursery_start_soon,
     METH_FASTCALL | METH_KEYWORDS, nursery_start_soon_doc},
    {"start", (PyCFunction)(void (*)(void))nursery_start,
     METH_FASTCALL | METH_KEYWORDS, nursery_start_doc},
    {NULL},
};

static PyGetSetDef nursery_getset[] = {
    {"child_tasks", (getter)nursery_get_child_tasks, NULL,
     "A frozenset of the tasks that live in the nursery now."},
    {"_children", (getter)nursery_get_children, NULL, NULL},
    {"_cancel_status", (getter)nursery_get_cancel_status, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL},
    {NULL},
};

static PyMemberDef nursery_members[] = {
    {"cancel_scope", T_OBJECT, offsetof(TacNursery, scope), READONLY,
     "The CancelScope around the body and all children."},
    {"parent_task", T_OBJECT, offsetof(TacNursery, parent_task), READONLY,
     "The task that opened the nursery."},
    {"_parent_task", T_OBJECT, offsetof(TacNursery, parent_task), READONLY},
    {"_pending_excs", T_OBJECT_EX, offsetof(TacNursery, pending_excs), 0},
    {"_pending_starts", T_PYSSIZET, offsetof(TacNursery, pending_starts),
     READONLY},
    {"_closed", T_BOOL, offsetof(TacNursery, closed), READONLY},
    {"_nested_child_running", T_BOOL, offsetof(TacNursery, body_running),
     READONLY},
    {"_parent_waiting_in_aexit", T_BOOL,
     offsetof(TacNursery, parent_waiting), READONLY},
    {"_strict_exception_groups", T_BOOL, offsetof(TacNursery, strict),
     READONLY},
    {"__dictoffset__", T_PYSSIZET, offsetof(TacNursery, dict), READONLY},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TacNursery, weakrefs),
     READONLY},
    {NULL},
};

PyDoc_STRVAR(nursery_doc,
"A place for tasks to live in; made by open_nursery() only.");

static PyType_Slot nursery_slots[] = {
    {Py_tp_new, tac_err_no_constructor},
    {Py_tp_doc, (void *)nursery_doc},
    {Py_tp_traverse, nursery_tp_traverse},
    {Py_tp_clear, nursery_tp_clear},
    {Py_tp_dealloc, nursery_tp_dealloc},
    {Py_tp_methods, nursery_methods},
    {Py_tp_getset, nursery_getset},
    {Py_tp_members, nursery_members},
    {0, NULL},
};

static PyType_Spec nursery_spec = {
    .name = "trio_asyncio_c.Nursery",
    .basicsize = sizeof(TacNursery),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = nursery_slots,
};

int
tac_nursery_add_types(PyObject *module, TacState *state)
{
    state->nursery_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &nursery_spec, NULL);
    if (state->nursery_type == NULL
        || tac_asyncfn_replace((PyObject *)state->nursery_type, state,
                               "start")
               < 0
        || PyModule_AddType(module, state->nursery_type) < 0)
    {
        return -1;
    }
    state->nursery_manager_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &manager_spec, NULL);
    if (state->nursery_manager_type == NULL) {
        return -1;
    }
    if (PyModule_AddStringConstant(module, "_NONSTRICT_NOTE",
                                   TAC_NURSERY_NONSTRICT_NOTE)
        < 0)
    {
        return -1;
    }
    return PyModule_AddType(module, state->nursery_manager_type);
}
