/* aio/scope_watch.c - a cancel scope that is open before anybody enters it. */
#include "aio/scope_watch.h"

#include "aio/loop.h"
#include "base/compat.h"
#include "core/scope.h"

#include <stddef.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    TacState *state;      /* borrowed: the type holds the module */
    struct tac_task base; /* in the scope (I1) */
    TacScope *scope;      /* owned */
    TacLoop *loop;        /* owned */
    PyObject *callback;   /* owned; NULL: stopped */
    bool entered;         /* a Task has: its exit closes the scope */
} TacScopeWatch;

static TacScopeWatch *
watch_of_base(struct tac_task *base)
{
    return tac_list_entry(base, TacScopeWatch, base);
}

/* The species ------------------------------------------------------------- */

static int
watch_step(struct tac_task *base)
{
    return 0; /* it is in no queue */
}

/* Once: what is cancelled stays so. */
static int
watch_cancel(struct tac_task *base, const struct tac_cause *cause)
{
    TacScopeWatch *watch = watch_of_base(base);
    base->abortable = false;
    if (watch->callback == NULL || watch->loop->host.runner == NULL) {
        return 0;
    }
    PyObject *context = PyContext_CopyCurrent();
    if (context == NULL) {
        return -1;
    }
    return tac_loop_push(watch->loop, (struct tac_ring_item){
        .kind = TAC_RING_STEP,
        .object = Py_NewRef(watch->callback),
        .context = context,
    });
}

static PyObject *
watch_owner(struct tac_task *base)
{
    return (PyObject *)watch_of_base(base);
}

static PyObject *
watch_object(struct tac_task *base)
{
    return tac_native_task(watch_of_base(base)->state, base);
}

static const struct tac_task_ops watch_ops = {
    .name = "<cancel scope of a Scope>",
    .library = offsetof(TacState, str_asyncio),
    .step = watch_step,
    .cancel = watch_cancel,
    .owner = watch_owner,
    .object = watch_object,
};

/* Opening, entering, closing ---------------------------------------------- */

static int
watch_start(TacScopeWatch *watch, TacScope *parent)
{
    TacRunner *runner = watch->loop->runner;
    if (tac_scope_open_branch(watch->scope, runner, parent) < 0) {
        return -1;
    }
    watch->base.ops = &watch_ops;
    watch->base.runner = runner;
    watch->base.abortable = true;
    return tac_task_activate(&watch->base, watch->scope);
}

PyObject *
tac_scope_watch_open(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs)
{
    TacState *state = loop->state;
    if (nargs != 3 || !Py_IS_TYPE(args[0], state->scope_type)
        || (args[1] != Py_None && !Py_IS_TYPE(args[1], state->scope_type)))
    {
        PyErr_SetString(PyExc_TypeError,
                        "_open_scope() takes a CancelScope, its parent or "
                        "None, and a callback");
        return NULL;
    }
    if (tac_loop_check_open(loop) < 0) {
        return NULL;
    }
    PyTypeObject *type = state->scope_watch_type;
    TacScopeWatch *watch = (TacScopeWatch *)type->tp_alloc(type, 0);
    if (watch == NULL) {
        return NULL;
    }
    watch->state = state;
    watch->scope = (TacScope *)Py_NewRef(args[0]);
    watch->loop = (TacLoop *)Py_NewRef(loop);
    watch->callback = Py_NewRef(args[2]);
    TacScope *parent = args[1] == Py_None ? NULL : (TacScope *)args[1];
    if (watch_start(watch, parent) < 0) {
        Py_CLEAR(watch);
    }
    return (PyObject *)watch;
}

/* May the Task be put into the scope?  0, or -1 with RuntimeError. */
static int
watch_check_entry(TacScopeWatch *watch, struct tac_task *task)
{
    const char *error = NULL;
    if (watch->entered || !watch->scope->active) {
        error = "the scope was entered before";
    }
    else if (task->runner != watch->scope->runner) {
        error = "the scope is of another loop";
    }
    else if (tac_scope_encloses(watch->scope, task->scope)) {
        error = "a task of the scope cannot enter it";
    }
    if (error == NULL) {
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError, error);
    return -1;
}

PyDoc_STRVAR(watch_enter_doc,
"enter($self, /)\n--\n\n"
"Put the running Task into the scope, and that where the Task is.\n\n"
"It is left by the CancelScope's own exit.\n"
"Raises: RuntimeError for a Task that is in there already.");

static PyObject *
watch_enter(TacScopeWatch *watch, PyObject *noargs)
{
    struct tac_task *task = tac_task_in_scopes(watch->state);
    if (task == NULL || watch_check_entry(watch, task) < 0) {
        return NULL;
    }
    TacScope *scope = watch->scope;
    if ((task->ops->enter_scope != NULL
         && task->ops->enter_scope(task, scope) < 0)
        || tac_scope_set_parent(scope, task->scope) < 0
        || tac_scope_recalculate(scope) < 0
        || tac_task_activate(task, scope) < 0)
    {
        return NULL;
    }
    watch->entered = true;
    Py_RETURN_NONE;
}

static void
watch_stop(TacScopeWatch *watch)
{
    tac_ctask_unlink(&watch->base);
    Py_CLEAR(watch->callback);
}

PyDoc_STRVAR(watch_close_doc,
"close($self, /)\n--\n\n"
"Watch no more, and close the scope unless a Task has entered it.\n\n"
"Idempotent.");

static PyObject *
watch_close(TacScopeWatch *watch, PyObject *noargs)
{
    watch_stop(watch);
    if (watch->entered || !watch->scope->active) {
        Py_RETURN_NONE;
    }
    PyObject *remaining = NULL;
    int rc = tac_scope_close(watch->scope, NULL, &remaining);
    Py_XDECREF(remaining);
    if (rc < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* The type ---------------------------------------------------------------- */

static int
watch_tp_traverse(TacScopeWatch *watch, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(watch));
    Py_VISIT(watch->scope);
    Py_VISIT(watch->base.scope);
    Py_VISIT(watch->loop);
    Py_VISIT(watch->callback);
    return 0;
}

static int
watch_tp_clear(TacScopeWatch *watch)
{
    watch_stop(watch);
    Py_CLEAR(watch->loop);
    return 0;
}

static void
watch_tp_dealloc(TacScopeWatch *watch)
{
    PyTypeObject *type = Py_TYPE(watch);
    PyObject_GC_UnTrack(watch);
    (void)watch_tp_clear(watch);
    Py_CLEAR(watch->scope);
    type->tp_free(watch);
    Py_DECREF(type);
}

static PyMethodDef watch_methods[] = {
    {"enter", (PyCFunction)watch_enter, METH_NOARGS, watch_enter_doc},
    {"close", (PyCFunction)watch_close, METH_NOARGS, watch_close_doc},
    {NULL},
};

static PyMemberDef watch_members[] = {
    {"entered", T_BOOL, offsetof(TacScopeWatch, entered), READONLY,
     "Whether a Task has entered the scope."},
    {NULL},
};

static PyType_Slot watch_slots[] = {
    {Py_tp_doc, "A CancelScope that is open, and tells of its cancel."},
    {Py_tp_traverse, watch_tp_traverse},
    {Py_tp_clear, watch_tp_clear},
    {Py_tp_dealloc, watch_tp_dealloc},
    {Py_tp_methods, watch_methods},
    {Py_tp_members, watch_members},
    {0, NULL},
};

static PyType_Spec watch_spec = {
    .name = "trio_asyncio_c._core.ScopeWatch",
    .basicsize = sizeof(TacScopeWatch),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = watch_slots,
};

int
tac_scope_watch_add_types(PyObject *module, TacState *state)
{
    state->scope_watch_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &watch_spec, NULL);
    return state->scope_watch_type == NULL
               ? -1
               : PyModule_AddType(module, state->scope_watch_type);
}
