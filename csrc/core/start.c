/* core/start.c - nursery.start() and task_status.started().
 *
 * start() runs the child in a nursery of its own, opened in the calling
 * task.  started() moves the child, with all that it spawned and all scopes
 * it opened, to the nursery that start() was called on; then the inner one
 * is empty, and start() returns.
 *
 *   start: open inner -> spawn into inner -> exit of inner -> value or error
 */
#include "core/start.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/vec.h"
#include "core/run.h"

#include <structmember.h>

/* The task_status object -------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    TacNursery *inner;  /* owned */
    TacNursery *target; /* owned */
    PyObject *value;    /* owned; NULL until started() */
    PyObject *call;     /* owned tuple (fn, *args), until spawned */
    PyObject *name;     /* owned or NULL */
    PyObject *dict;
} TacTaskStatus;

/* Detach everything first, so that no cancel is delivered while half of the
 * tree has moved; then attach. */
static int
start_collect(TacTaskStatus *status, struct tac_vec *tasks,
              struct tac_vec *scopes)
{
    TacNursery *inner = status->inner;
    struct tac_list *head = &inner->scope->tasks;
    for (struct tac_list *n = head->next; n != head; n = n->next) {
        struct tac_task *task =
            tac_list_entry(n, struct tac_task, status_node);
        if (task != &inner->parent_task->base
            && tac_vec_push(tasks, task) < 0) {
            return -1;
        }
    }
    head = &inner->scope->children;
    for (struct tac_list *n = head->next; n != head; n = n->next) {
        TacScope *scope = tac_list_entry(n, TacScope, sibling_node);
        if (tac_vec_push(scopes, Py_NewRef(scope)) < 0) {
            Py_DECREF(scope);
            return -1;
        }
    }
    return 0;
}

static void
start_move_children(TacTaskStatus *status)
{
    struct tac_list *node;
    while ((node = tac_list_pop_front(&status->inner->children)) != NULL) {
        struct tac_task *task =
            tac_list_entry(node, struct tac_task, sibling_node);
        Py_XSETREF(task->parent_nursery,
                   (TacNursery *)Py_NewRef(status->target));
        if (tac_task_is_coroutine(task)) {
            Py_CLEAR(tac_task_of(task)->eventual_parent);
        }
        tac_list_append(&status->target->children, node);
    }
}

static int
start_move_scopes(TacTaskStatus *status, struct tac_vec *tasks,
                  struct tac_vec *scopes)
{
    for (size_t i = 0; i < scopes->len; i++) {
        (void)tac_scope_set_parent(scopes->items[i], NULL);
    }
    for (size_t i = 0; i < tasks->len; i++) {
        (void)tac_task_activate(tasks->items[i], NULL);
    }
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < scopes->len; i++) {
        rc = tac_scope_set_parent(scopes->items[i], status->target->scope);
    }
    for (size_t i = 0; rc == 0 && i < tasks->len; i++) {
        rc = tac_task_activate(tasks->items[i], status->target->scope);
    }
    return rc;
}

static int
start_move(TacTaskStatus *status)
{
    struct tac_vec tasks, scopes;
    tac_vec_init(&tasks);
    tac_vec_init(&scopes);
    int rc = start_collect(status, &tasks, &scopes);
    if (rc < 0) {
        PyErr_NoMemory();
    }
    else {
        start_move_children(status);
        rc = start_move_scopes(status, &tasks, &scopes);
    }
    for (size_t i = 0; i < scopes.len; i++) {
        Py_DECREF((PyObject *)scopes.items[i]);
    }
    tac_vec_fini(&tasks);
    tac_vec_fini(&scopes);
    return rc < 0 ? -1 : tac_nursery_check_closed(status->inner);
}

static const char *const started_names[] = {"value", NULL};
static const struct tac_params started_params = {"started", 1, 0,
                                                 started_names};

PyDoc_STRVAR(status_started_doc,
"started($self, /, value=None)\n--\n\n"
"Tell the caller of start() that the task has started, with a value.\n\n"
"Raises: RuntimeError when called twice.  Checkpoint: no.");

static PyObject *
status_started(TacTaskStatus *status, PyObject *const *args,
               Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *value = Py_None;
    if (tac_args_bind(&started_params, args, nargs, kwnames, &value) < 0) {
        return NULL;
    }
    if (status->value != NULL || status->inner == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "called 'started' twice on the same task status");
        return NULL;
    }
    status->value = Py_NewRef(value);
    /* Cancelled meanwhile: the child stays where start() waits for it, and
     * the cancel gets out that way. */
    if (status->inner->scope->effectively_cancelled) {
        Py_RETURN_NONE;
    }
    if (status->target->closed) {
        PyErr_SetString(PyExc_AssertionError,
                        "the nursery closed while a start() was pending");
        return NULL;
    }
    if (start_move(status) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static int
status_tp_traverse(TacTaskStatus *status, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(status));
    Py_VISIT(status->inner);
    Py_VISIT(status->target);
    Py_VISIT(status->value);
    Py_VISIT(status->call);
    Py_VISIT(status->name);
    Py_VISIT(status->dict);
    return 0;
}

static int
status_tp_clear(TacTaskStatus *status)
{
    Py_CLEAR(status->inner);
    Py_CLEAR(status->target);
    Py_CLEAR(status->value);
    Py_CLEAR(status->call);
    Py_CLEAR(status->name);
    Py_CLEAR(status->dict);
    return 0;
}

static void
status_tp_dealloc(TacTaskStatus *status)
{
    PyTypeObject *type = Py_TYPE(status);
    PyObject_GC_UnTrack(status);
    (void)status_tp_clear(status);
    type->tp_free(status);
    Py_DECREF(type);
}

static PyObject *
status_tp_repr(TacTaskStatus *status)
{
    return PyUnicode_FromFormat("<Task status object at %p>", status);
}

static PyMethodDef status_methods[] = {
    {"started", (PyCFunction)(void (*)(void))status_started,
     METH_FASTCALL | METH_KEYWORDS, status_started_doc},
    {NULL},
};

static PyMemberDef status_members[] = {
    {"_old_nursery", T_OBJECT, offsetof(TacTaskStatus, inner), READONLY},
    {"_new_nursery", T_OBJECT, offsetof(TacTaskStatus, target), READONLY},
    {"__dictoffset__", T_PYSSIZET, offsetof(TacTaskStatus, dict), READONLY},
    {NULL},
};

static PyGetSetDef status_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL},
    {NULL},
};

PyDoc_STRVAR(status_doc, "What start() passes as ``task_status``.");

static PyType_Slot status_slots[] = {
    {Py_tp_doc, (void *)status_doc},
    {Py_tp_traverse, status_tp_traverse},
    {Py_tp_clear, status_tp_clear},
    {Py_tp_dealloc, status_tp_dealloc},
    {Py_tp_repr, status_tp_repr},
    {Py_tp_methods, status_methods},
    {Py_tp_members, status_members},
    {Py_tp_getset, status_getset},
    {0, NULL},
};

static PyType_Spec status_spec = {
    .name = "trio_asyncio_c._core.TaskStatus",
    .basicsize = sizeof(TacTaskStatus),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = status_slots,
};

/* start() ----------------------------------------------------------------- */

/* Call fn(*args, task_status=status) as a child of the inner nursery. */
static int
start_spawn(TacTaskStatus *status)
{
    TacState *state = status->target->state;
    Py_ssize_t nargs = PyTuple_GET_SIZE(status->call) - 1;
    PyObject **args = PyMem_New(PyObject *, nargs + 1);
    PyObject *kwnames = PyTuple_Pack(1, state->str_task_status);
    TacTask *task = NULL;
    if (args == NULL || kwnames == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        args[i] = PyTuple_GET_ITEM(status->call, i + 1);
    }
    args[nargs] = (PyObject *)status;
    struct tac_spawn how = {.fn = PyTuple_GET_ITEM(status->call, 0),
                            .args = args,
                            .nargs = nargs,
                            .kwnames = kwnames,
                            .name = status->name,
                            .nursery = status->inner};
    task = tac_task_spawn(status->target->parent_task->base.runner, &how);
    if (task != NULL) {
        Py_XSETREF(task->eventual_parent,
                   (TacNursery *)Py_NewRef(status->target));
    }
done:
    PyMem_Free(args);
    Py_XDECREF(kwnames);
    Py_CLEAR(status->call);
    Py_XDECREF(task);
    return task == NULL ? -1 : 0;
}

/* The last start() that a nursery waited for may let it close. */
static int
start_no_longer_pending(TacNursery *target)
{
    target->pending_starts--;
    return tac_nursery_check_closed(target);
}

/* first: the status; second: the error of a spawn that failed, or NULL. */
static enum tac_trap_step
start_begin(TacTrap *trap, TacTask *task)
{
    TacTaskStatus *status = (TacTaskStatus *)trap->first;
    if (status->target->closed) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Nursery is closed to new arrivals");
        return TAC_TRAP_ERROR;
    }
    status->inner = tac_nursery_open(trap->state, task, true);
    if (status->inner == NULL) {
        return TAC_TRAP_ERROR;
    }
    status->target->pending_starts++;
    if (start_spawn(status) < 0) {
        trap->second = PyErr_GetRaisedException();
    }
    return tac_nursery_exit_enter(status->inner, trap->second);
}

/* A group of one is the child's own error; more cannot be, unless somebody
 * spawned into the inner nursery. */
static void
start_raise(TacState *state, PyObject *exc)
{
    if (!PyErr_GivenExceptionMatches(exc, state->exception_group)) {
        tac_err_restore(Py_NewRef(exc));
        return;
    }
    PyObject *excs = PyObject_GetAttrString(exc, "exceptions");
    if (excs == NULL) {
        return;
    }
    if (PySequence_Size(excs) == 1) {
        PyObject *only = PySequence_GetItem(excs, 0);
        if (only != NULL) {
            tac_err_restore(only);
        }
    }
    else {
        tac_err_restore(Py_NewRef(exc));
        tac_err_wrap(state->exc_TrioInternalError,
                     "Internal nursery should not have multiple tasks. This "
                     "can be caused by the user managing to access the "
                     "\"old\" nursery in `task_status` and spawning tasks "
                     "in it.");
    }
    Py_DECREF(excs);
}

static enum tac_trap_step
start_finish(TacTrap *trap, TacTaskStatus *status)
{
    PyObject *remaining;
    if (tac_nursery_exit_leave(status->inner, &remaining) < 0) {
        Py_XDECREF(remaining);
        return TAC_TRAP_ERROR;
    }
    if (remaining != NULL) {
        start_raise(trap->state, remaining);
        Py_DECREF(remaining);
        return TAC_TRAP_ERROR;
    }
    if (status->value == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "child exited without calling task_status.started()");
        return TAC_TRAP_ERROR;
    }
    Py_XSETREF(trap->result, Py_NewRef(status->value));
    return TAC_TRAP_DONE;
}

static enum tac_trap_step
start_resume(TacTrap *trap, TacTask *task)
{
    TacTaskStatus *status = (TacTaskStatus *)trap->first;
    enum tac_trap_step step = start_finish(trap, status);
    PyObject *error = PyErr_GetRaisedException();
    if (start_no_longer_pending(status->target) < 0) {
        Py_XDECREF(error);
        return TAC_TRAP_ERROR;
    }
    PyErr_SetRaisedException(error);
    return step;
}

static enum tac_abort
start_abort(TacTrap *trap, TacTask *task, const struct tac_cause *cause)
{
    TacTaskStatus *status = (TacTaskStatus *)trap->first;
    return tac_nursery_exit_abort(status->inner, task, cause);
}

static const struct tac_trap_ops start_ops = {
    .name = "Nursery.start",
    .begin = start_begin,
    .resume = start_resume,
    .abort = start_abort,
};

PyObject *
tac_start_new(TacNursery *nursery, PyObject *fn, PyObject *const *args,
              Py_ssize_t nargs, PyObject *name)
{
    TacState *state = nursery->state;
    PyTypeObject *type = state->task_status_type;
    TacTaskStatus *status = (TacTaskStatus *)type->tp_alloc(type, 0);
    if (status == NULL) {
        return NULL;
    }
    PyObject *trap = NULL;
    status->target = (TacNursery *)Py_NewRef(nursery);
    status->name = Py_XNewRef(name);
    status->call = PyTuple_New(nargs + 1);
    if (status->call != NULL) {
        PyTuple_SET_ITEM(status->call, 0, Py_NewRef(fn));
        for (Py_ssize_t i = 0; i < nargs; i++) {
            PyTuple_SET_ITEM(status->call, i + 1, Py_NewRef(args[i]));
        }
        trap = (PyObject *)tac_trap_new(state, &start_ops,
                                        (PyObject *)status, NULL);
    }
    Py_DECREF(status);
    return trap;
}

int
tac_start_add_types(PyObject *module, TacState *state)
{
    state->task_status_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &status_spec, NULL);
    return state->task_status_type == NULL
               ? -1
               : PyModule_AddType(module, state->task_status_type);
}
