/* aio/scoped.c - asyncio Tasks in cancel scopes: which they are. */
#include "aio/scoped.h"

#include "aio/loop.h"
#include "base/compat.h"
#include "core/trap.h"

#include <stddef.h>

static const struct tac_task_ops scoped_ops;

void
tac_scoped_init(TacLoop *loop)
{
    tac_list_init(&loop->scoped.checks);
    tac_list_init(&loop->scoped.hit);
}

static TacScoped *
scoped_of_base(struct tac_task *base)
{
    return tac_list_entry(base, TacScoped, base);
}

PyObject *
tac_scoped_task(TacScoped *scoped)
{
    PyObject *task = NULL;
    if (scoped->task_ref != NULL) {
        (void)PyWeakref_GetRef(scoped->task_ref, &task); /* it is one */
    }
    return task;
}

TacScoped *
tac_scoped_find(TacLoop *loop, PyObject *task)
{
    TacScoped *scoped = tac_ptrmap_get(&loop->scoped.tasks, task);
    if (scoped == NULL) {
        return NULL;
    }
    const PyWeakReference *ref = (PyWeakReference *)scoped->task_ref;
    return ref != NULL && ref->wr_object == task ? scoped : NULL;
}

/* Making ------------------------------------------------------------------ */

static int
scoped_put(TacScoped *scoped, TacLoop *loop, PyObject *task)
{
    scoped->task_ref = PyWeakref_NewRef(task, (PyObject *)scoped);
    if (scoped->task_ref == NULL) {
        return -1;
    }
    /* Whose address it was, if any, has gone without a word. */
    TacScoped *gone = tac_ptrmap_get(&loop->scoped.tasks, task);
    if (gone != NULL) {
        tac_scoped_drop(gone);
    }
    if (tac_ptrmap_put(&loop->scoped.tasks, task, scoped) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    scoped->loop = loop;
    scoped->key = task;
    return 0;
}

/* Returns: borrowed, for the map owns it | NULL+exc. */
static TacScoped *
scoped_new(TacLoop *loop, PyObject *task)
{
    PyTypeObject *type = loop->state->scoped_type;
    TacScoped *scoped = (TacScoped *)type->tp_alloc(type, 0);
    if (scoped == NULL) {
        return NULL;
    }
    scoped->state = loop->state;
    scoped->base.ops = &scoped_ops;
    scoped->base.runner = loop->runner;
    scoped->base.abortable = true;
    scoped->retry.fire = tac_scoped_on_retry;
    scoped->episode_others = -1;
    if (scoped_put(scoped, loop, task) < 0) {
        scoped->base.runner = NULL;
        Py_DECREF(scoped);
        return NULL;
    }
    return scoped;
}

static int
scoped_set_birth(TacScoped *scoped, TacScope *scope, bool by_birth)
{
    scoped->birth = (TacScope *)Py_NewRef(scope);
    scoped->by_birth = by_birth;
    return tac_task_activate(&scoped->base, scope);
}

/* Is it the Task that is just being made, which runs before whoever makes it
 * has seen it?  -1 with an exception. */
static int
scoped_is_offered(TacLoop *loop, PyObject *task)
{
    if (loop->scoped.offered == NULL) {
        return 0;
    }
    PyObject *coro =
        PyObject_CallMethodNoArgs(task, loop->state->str_get_coro);
    int is = coro == loop->scoped.offered;
    Py_XDECREF(coro);
    return coro == NULL ? -1 : is;
}

/* The scope of the Trio task that has called a Task, borrowed, or NULL. */
static TacScope *
scoped_calling_scope(TacLoop *loop, PyObject *task)
{
    const TacTrap *wait = tac_ptrmap_get(&loop->scoped.calls, task);
    return wait == NULL || wait->task == NULL ? NULL : wait->task->base.scope;
}

/* The scope that a Task without a TacScoped is in: borrowed, or NULL.  Returns
 * 1 if it was born there, 0 if not, or -1 with an exception. */
static int
scoped_find_outer(TacLoop *loop, PyObject *task, TacScope **outer)
{
    *outer = tac_births_scope(loop, task);
    if (*outer != NULL) {
        return 1;
    }
    int offered = scoped_is_offered(loop, task);
    if (offered >= 0) {
        *outer = offered ? loop->scoped.offer
                         : scoped_calling_scope(loop, task);
    }
    return offered;
}

TacScoped *
tac_scoped_of(TacLoop *loop, PyObject *task)
{
    TacScoped *scoped = tac_scoped_find(loop, task);
    if (scoped != NULL) {
        return scoped;
    }
    TacScope *birth;
    int by_birth = scoped_find_outer(loop, task, &birth);
    Py_XINCREF(birth); /* making one may run a collection */
    if (by_birth >= 0 && (scoped = scoped_new(loop, task)) != NULL) {
        (void)tac_births_take(loop, task);
        if (birth != NULL && scoped_set_birth(scoped, birth, by_birth) < 0) {
            scoped = NULL;
        }
    }
    Py_XDECREF(birth);
    return scoped;
}

/* Returns: new ref, also of None | NULL+exc. */
static PyObject *
scoped_current_task(TacLoop *loop)
{
    TacState *state = loop->state;
    if (state->aio_current_tasks == NULL) {
        return PyObject_CallOneArg(state->aio_current_task, (PyObject *)loop);
    }
    PyObject *task;
    int there = PyDict_GetItemRef(state->aio_current_tasks, (PyObject *)loop,
                                  &task);
    return there == 0 ? Py_NewRef(Py_None) : task;
}

TacScoped *
tac_scoped_current(TacLoop *loop)
{
    PyObject *task = scoped_current_task(loop);
    TacScoped *scoped =
        task == NULL || task == Py_None ? NULL : tac_scoped_of(loop, task);
    Py_XDECREF(task); /* it runs */
    return scoped;
}

/* Being born in a scope --------------------------------------------------- */

int
tac_scoped_adopt(TacLoop *loop, PyObject *task, TacScope *scope)
{
    /* Who it is need not be asked for by its coroutine, which is gone if it has
     * ended in its first step: CPython 3.12.1 crashes then. */
    TacScoped *scoped = tac_scoped_find(loop, task);
    if (scoped == NULL && (scoped = scoped_new(loop, task)) == NULL) {
        return -1;
    }
    if (scoped->birth != NULL) {
        return 0; /* it ran before, and is in there already */
    }
    return scoped_set_birth(scoped, scope, true);
}

/* loop.create_task(coro, **keywords). */
static PyObject *
scoped_call_create(TacLoop *loop, PyObject *coro, PyObject *const *values,
                   PyObject *kwnames)
{
    Py_ssize_t keywords = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    PyObject *few[6], **call = few;
    if (keywords + 2 > (Py_ssize_t)Py_ARRAY_LENGTH(few)) {
        call = PyMem_New(PyObject *, keywords + 2);
        if (call == NULL) {
            return PyErr_NoMemory();
        }
    }
    call[0] = (PyObject *)loop;
    call[1] = coro;
    for (Py_ssize_t i = 0; i < keywords; i++) {
        call[i + 2] = values[i];
    }
    PyObject *task = PyObject_VectorcallMethod(loop->state->str_create_task,
                                               call, 2, kwnames);
    if (call != few) {
        PyMem_Free(call);
    }
    return task;
}

PyObject *
tac_scoped_create(TacLoop *loop, TacScope *scope, PyObject *coro,
                  PyObject *const *values, PyObject *kwnames)
{
    TacScope *outer_offer = loop->scoped.offer;
    PyObject *outer_offered = loop->scoped.offered;
    loop->scoped.offered = coro;
    loop->scoped.offer = scope;
    PyObject *task = scoped_call_create(loop, coro, values, kwnames);
    loop->scoped.offered = outer_offered;
    loop->scoped.offer = outer_offer;
    if (task != NULL && tac_loop_check_open(loop) < 0) {
        Py_CLEAR(task);
    }
    return task;
}

PyObject *
tac_scoped_create_task(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    if (nargs != 2 || !Py_IS_TYPE(args[0], loop->state->scope_type)) {
        PyErr_SetString(PyExc_TypeError, "_create_task_in() takes a "
                                         "CancelScope and a coroutine");
        return NULL;
    }
    TacScope *scope = (TacScope *)args[0];
    PyObject *task = tac_scoped_create(loop, scope, args[1], args + 2,
                                       kwnames);
    if (task != NULL && tac_scoped_adopt(loop, task, scope) < 0) {
        Py_CLEAR(task);
    }
    return task;
}

/* Hang what it has entered, or itself, under another birth scope. */
static int
scoped_move_birth(TacScoped *scoped, TacScope *scope)
{
    TacScope *outmost = NULL, *old = scoped->birth;
    for (TacScope *s = scoped->base.scope; s != old; s = s->parent) {
        outmost = s;
    }
    scoped->birth = (TacScope *)Py_NewRef(scope);
    int rc = outmost == NULL ? tac_task_activate(&scoped->base, scope)
                             : tac_scope_set_parent(outmost, scope);
    Py_DECREF(old);
    return rc;
}

PyObject *
tac_scoped_move_task(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2 || !Py_IS_TYPE(args[1], loop->state->scope_type)) {
        PyErr_SetString(PyExc_TypeError,
                        "_move_task() takes a Task and a CancelScope");
        return NULL;
    }
    TacScoped *scoped = tac_scoped_find(loop, args[0]);
    if (scoped != NULL && scoped->birth != NULL
        && scoped_move_birth(scoped, (TacScope *)args[1]) < 0)
    {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Being called from Trio -------------------------------------------------- */

int
tac_scoped_begin_call(TacLoop *loop, PyObject *task, void *wait)
{
    return tac_ptrmap_put(&loop->scoped.calls, task, wait);
}

/* The caller's scope is not its any more; what it has entered stays. */
static int
scoped_leave_birth(TacScoped *scoped)
{
    TacScope *outmost = NULL, *birth = scoped->birth;
    for (TacScope *s = scoped->base.scope; s != NULL && s != birth;
         s = s->parent)
    {
        outmost = s;
    }
    scoped->birth = NULL;
    int rc = outmost == NULL ? tac_task_activate(&scoped->base, NULL)
                             : tac_scope_set_parent(outmost, NULL);
    Py_DECREF(birth);
    return rc;
}

void
tac_scoped_end_call(TacLoop *loop, PyObject *task, void *wait)
{
    if (tac_ptrmap_get(&loop->scoped.calls, task) != wait) {
        return;
    }
    (void)tac_ptrmap_take(&loop->scoped.calls, task);
    TacScoped *scoped = tac_scoped_find(loop, task);
    if (scoped != NULL && scoped->birth != NULL && !scoped->by_birth
        && scoped_leave_birth(scoped) < 0)
    {
        PyErr_WriteUnraisable(task);
    }
}

bool
tac_scoped_cancel_call(TacLoop *loop, PyObject *task)
{
    TacScoped *scoped = tac_scoped_find(loop, task);
    if (scoped == NULL || scoped->birth == NULL || scoped->by_birth) {
        return false;
    }
    scoped->birth_due = true;
    tac_scoped_check_soon(scoped);
    return true;
}

TacScope *
tac_scoped_here(TacLoop *loop)
{
    if (loop->scoped.tasks.len == 0 && loop->scoped.calls.len == 0
        && loop->scoped.births.len == 0 && loop->scoped.offered == NULL)
    {
        return NULL;
    }
    PyObject *task = scoped_current_task(loop);
    if (task == NULL) {
        PyErr_Clear(); /* no Task */
        return NULL;
    }
    TacScoped *scoped = tac_scoped_find(loop, task);
    TacScope *scope = scoped == NULL ? NULL : scoped->base.scope;
    if (scoped == NULL && scoped_find_outer(loop, task, &scope) < 0) {
        PyErr_Clear();
    }
    Py_DECREF(task);
    return scope;
}

/* The end ----------------------------------------------------------------- */

/* What it has entered and not left. */
static void
scoped_abandon_scopes(TacScoped *scoped)
{
    TacScope *scope = (TacScope *)Py_XNewRef(scoped->base.scope);
    while (scope != NULL && scope != scoped->birth) {
        TacScope *parent = (TacScope *)Py_XNewRef(scope->parent);
        tac_list_unlink(&scoped->base.status_node);
        if (tac_scope_abandon(scope) < 0) {
            PyErr_WriteUnraisable((PyObject *)scope);
        }
        Py_DECREF(scope);
        scope = parent;
    }
    Py_XDECREF(scope);
}

/* The references, and whatever it is linked in. */
static void
scoped_release(TacScoped *scoped)
{
    if (scoped->base.runner != NULL) {
        tac_timer_disarm(scoped->base.runner, &scoped->retry);
    }
    tac_list_unlink(&scoped->check_node);
    tac_list_unlink(&scoped->hit_node);
    scoped->loop = NULL;
    tac_ctask_unlink(&scoped->base);
    Py_CLEAR(scoped->birth);
    Py_CLEAR(scoped->task_ref);
}

void
tac_scoped_drop(TacScoped *scoped)
{
    TacLoop *loop = scoped->loop;
    if (loop == NULL) {
        return;
    }
    PyObject *error = PyErr_GetRaisedException();
    Py_INCREF(scoped);
    if (tac_ptrmap_get(&loop->scoped.tasks, scoped->key) == scoped) {
        (void)tac_ptrmap_take(&loop->scoped.tasks, scoped->key);
        Py_DECREF(scoped);
    }
    scoped_abandon_scopes(scoped);
    scoped_release(scoped);
    Py_DECREF(scoped);
    PyErr_SetRaisedException(error);
}

void
tac_scoped_drop_all(TacLoop *loop)
{
    for (;;) {
        TacScoped *scoped = tac_ptrmap_take_any(&loop->scoped.tasks);
        if (scoped == NULL) {
            break;
        }
        tac_scoped_drop(scoped);
        Py_DECREF(scoped);
    }
    while (tac_ptrmap_take_any(&loop->scoped.births) != NULL
           || tac_ptrmap_take_any(&loop->scoped.calls) != NULL)
    {
    }
}

int
tac_scoped_traverse(TacLoop *loop, visitproc visit, void *arg)
{
    const struct tac_ptrmap *map = &loop->scoped.tasks;
    for (size_t i = 0; i < map->capacity; i++) {
        Py_VISIT((PyObject *)map->slots[i].value);
    }
    return 0;
}

/* The species ------------------------------------------------------------- */

static int
scoped_step(struct tac_task *base)
{
    return 0; /* it is in no queue: its Task steps */
}

static int
scoped_cancel(struct tac_task *base, const struct tac_cause *cause)
{
    tac_scoped_check_soon(scoped_of_base(base));
    return 0;
}

static PyObject *
scoped_owner(struct tac_task *base)
{
    return (PyObject *)scoped_of_base(base);
}

/* What is shown of it is its Task. */
static PyObject *
scoped_object(struct tac_task *base)
{
    PyObject *task = tac_scoped_task(scoped_of_base(base));
    return task == NULL ? Py_NewRef(Py_None) : task;
}

static const struct tac_task_ops scoped_ops = {
    .name = "<asyncio Task>",
    .library = offsetof(TacState, str_asyncio),
    .step = scoped_step,
    .cancel = scoped_cancel,
    .owner = scoped_owner,
    .object = scoped_object,
    .enter_scope = tac_scoped_enter_scope,
    .catch_scope = tac_scoped_catch_scope,
};

/* The type ---------------------------------------------------------------- */

/* Its Task has gone: what the weak reference calls. */
static PyObject *
scoped_tp_call(TacScoped *scoped, PyObject *args, PyObject *kwargs)
{
    tac_scoped_drop(scoped);
    Py_RETURN_NONE;
}

static int
scoped_tp_traverse(TacScoped *scoped, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(scoped));
    Py_VISIT(scoped->task_ref);
    Py_VISIT(scoped->birth);
    Py_VISIT(scoped->base.scope);
    return 0;
}

static int
scoped_tp_clear(TacScoped *scoped)
{
    scoped_release(scoped);
    return 0;
}

static void
scoped_tp_dealloc(TacScoped *scoped)
{
    PyTypeObject *type = Py_TYPE(scoped);
    PyObject_GC_UnTrack(scoped);
    scoped_release(scoped);
    type->tp_free(scoped);
    Py_DECREF(type);
}

static PyType_Slot scoped_slots[] = {
    {Py_tp_doc, "An asyncio Task's place among the cancel scopes."},
    {Py_tp_call, scoped_tp_call},
    {Py_tp_traverse, scoped_tp_traverse},
    {Py_tp_clear, scoped_tp_clear},
    {Py_tp_dealloc, scoped_tp_dealloc},
    {0, NULL},
};

static PyType_Spec scoped_spec = {
    .name = "trio_asyncio_c._core.ScopedTask",
    .basicsize = sizeof(TacScoped),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = scoped_slots,
};

int
tac_scoped_add_types(PyObject *module, TacState *state)
{
    state->scoped_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &scoped_spec, NULL);
    return state->scoped_type == NULL ? -1 : 0;
}
