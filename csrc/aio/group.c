/* aio/group.c - what a TaskGroup does once a task. */
#include "aio/group.h"

#include "aio/loop.h"
#include "base/args.h"
#include "base/compat.h"

#include <stddef.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    TacState *state;      /* borrowed: the type holds the module */
    TacLoop *loop;        /* owned from entry to exit (I1) */
    TacScope *scope;      /* owned: born in it are the Tasks */
    TacScope *background; /* owned: a branch of it, or NULL: not needed yet */
    PyObject *tasks;      /* owned: a set (I2) */
    PyObject *host;       /* owned from entry to exit: the Task it is in */
    PyObject *on_done;    /* owned likewise: its method _task_done */
    PyObject *context;    /* owned likewise: that of all these callbacks */
    PyObject *waiter;     /* owned: the Future of whoever leaves; or NULL */
    PyObject *wrap;       /* owned: what limits coroutines; or NULL */
    PyObject *link;       /* owned: future_add_to_awaited_by; or NULL */
    PyObject *unlink;     /* owned: its opposite; or NULL */
    PyObject *kwnames;    /* owned: ("name",) */
    bool entered, exiting;
} TacGroup;

/* A new Task ---------------------------------------------------------------- */

static void
group_close_coro(TacState *state, PyObject *coro)
{
    PyObject *error = PyErr_GetRaisedException(), *result = NULL, *close;
    if (PyObject_GetOptionalAttr(coro, state->str_close, &close) > 0) {
        result = PyObject_CallNoArgs(close);
        Py_DECREF(close);
    }
    if (result == NULL && PyErr_Occurred()) {
        PyErr_WriteUnraisable(coro);
    }
    Py_XDECREF(result);
    PyErr_SetRaisedException(error);
}

/* 0, or -1 with RuntimeError where the group takes no Task. */
static int
group_check_open(TacGroup *group, bool while_cancelled)
{
    const char *problem = NULL;
    if (!group->entered) {
        problem = "TaskGroup %R has not been entered";
    }
    else if (group->loop == NULL
             || (group->exiting && PySet_GET_SIZE(group->tasks) == 0)) {
        problem = "TaskGroup %R is finished";
    }
    else if (group->scope->cancel_called && !while_cancelled) {
        problem = "TaskGroup %R is shutting down";
    }
    if (problem != NULL) {
        PyErr_Format(PyExc_RuntimeError, problem, group);
    }
    return problem == NULL ? 0 : -1;
}

/* Its Task is the group's from now on, which is told of its end. */
static int
group_take(TacGroup *group, PyObject *task, PyObject *on_done,
           PyObject *context)
{
    if (PySet_Add(group->tasks, task) < 0) {
        return -1;
    }
    if (group->link != NULL && group->host != NULL) {
        PyObject *both[2] = {task, group->host};
        PyObject *linked = PyObject_Vectorcall(group->link, both, 2, NULL);
        if (linked == NULL) {
            return -1;
        }
        Py_DECREF(linked);
    }
    /* With a context, or each gets a copy of one. */
    PyObject *args[3] = {task, on_done, context};
    PyObject *added =
        PyObject_VectorcallMethod(group->state->str_add_done_callback, args,
                                  2, group->state->context_kwnames);
    Py_XDECREF(added);
    return added == NULL ? -1 : 0;
}

static PyObject *
group_call_create(TacLoop *loop, TacScope *scope, PyObject *coro,
                  PyObject *const *values, PyObject *kwnames)
{
    Py_ssize_t count = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    PyObject *few[4], **call = few;
    if (count > 2) {
        call = PyMem_New(PyObject *, count + 2);
        if (call == NULL) {
            return PyErr_NoMemory();
        }
    }
    call[0] = (PyObject *)scope;
    call[1] = coro;
    for (Py_ssize_t i = 0; i < count; i++) {
        call[i + 2] = values[i];
    }
    PyObject *task = tac_scoped_create_task(loop, call, 2, kwnames);
    if (call != few) {
        PyMem_Free(call);
    }
    return task;
}

/* Start a coroutine with the keyword arguments of create_task(); all borrowed.
 * Returns: new ref | NULL+exc. */
static PyObject *
group_create(TacGroup *group, TacScope *scope, PyObject *coro,
             PyObject *const *values, PyObject *kwnames, PyObject *on_done)
{
    /* An eager Task runs now, and may do anything to the group. */
    TacLoop *loop = (TacLoop *)Py_NewRef(group->loop);
    PyObject *context = Py_NewRef(group->context);
    Py_INCREF(scope);
    Py_INCREF(on_done);
    PyObject *task = group_call_create(loop, scope, coro, values, kwnames);
    if (task != NULL && group_take(group, task, on_done, context) < 0) {
        Py_CLEAR(task);
    }
    Py_DECREF(on_done);
    Py_DECREF(scope);
    Py_DECREF(context);
    Py_DECREF(loop);
    return task;
}

/* The same within the limit, if there is one. */
static PyObject *
group_create_limited(TacGroup *group, TacScope *scope, PyObject *coro,
                     PyObject *const *values, PyObject *kwnames,
                     PyObject *on_done)
{
    if (group->wrap == NULL || scope == group->background) {
        return group_create(group, scope, coro, values, kwnames, on_done);
    }
    PyObject *limited = PyObject_CallOneArg(group->wrap, coro);
    PyObject *task =
        limited == NULL
            ? NULL
            : group_create(group, scope, limited, values, kwnames, on_done);
    Py_XDECREF(limited);
    return task;
}

/* Name a Task after its function, or its coroutine. */
static int
group_name_after(TacState *state, PyObject *task, PyObject *fn,
                 PyObject *coro)
{
    PyObject *key = state->str___qualname__, *name = NULL;
    int found = fn == NULL ? 0 : PyObject_GetOptionalAttr(fn, key, &name);
    if (found == 0) {
        found = PyObject_GetOptionalAttr(coro, key, &name);
    }
    if (found <= 0) {
        return found;
    }
    PyObject *done =
        PyObject_CallMethodOneArg(task, state->str_set_name, name);
    Py_DECREF(name);
    if (done == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear(); /* some factory's own Future */
        return 0;
    }
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* The same of fn(), or of a coroutine alone (NULL), with a name or None.  It is
 * named when it is there: that costs less than an argument more. */
static PyObject *
group_create_named(TacGroup *group, TacScope *scope, PyObject *fn,
                   PyObject *coro, PyObject *name, PyObject *on_done)
{
    PyObject *kwnames = name == Py_None ? NULL : group->kwnames;
    PyObject *task =
        group_create_limited(group, scope, coro, &name, kwnames, on_done);
    if (task != NULL && kwnames == NULL
        && group_name_after(group->state, task, fn, coro) < 0)
    {
        Py_CLEAR(task);
    }
    return task;
}

static bool
group_is_named(TacState *state, PyObject *const *values, PyObject *kwnames)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject *key = PyTuple_GET_ITEM(kwnames, i);
        if (key == state->str_name
            || PyUnicode_Compare(key, state->str_name) == 0) {
            return values[i] != Py_None;
        }
    }
    return false;
}

/* The same with what the caller gave. */
static PyObject *
group_create_given(TacGroup *group, TacScope *scope, PyObject *coro,
                   PyObject *const *values, PyObject *kwnames)
{
    PyObject *task = group_create_limited(group, scope, coro, values,
                                          kwnames, group->on_done);
    if (task != NULL && !group_is_named(group->state, values, kwnames)
        && group_name_after(group->state, task, NULL, coro) < 0)
    {
        Py_CLEAR(task);
    }
    return task;
}

static PyObject *
group_create_in(TacGroup *group, TacScope *scope, PyObject *const *args,
                PyObject *kwnames)
{
    if (kwnames == NULL || PyTuple_GET_SIZE(kwnames) == 0) {
        return group_create_named(group, scope, NULL, args[0], Py_None,
                                  group->on_done);
    }
    return group_create_given(group, scope, args[0], args + 1, kwnames);
}

static int
group_check_coro(const char *method, Py_ssize_t nargs)
{
    if (nargs == 1) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError,
                 "%s() takes exactly one positional argument (%zd given)",
                 method, nargs);
    return -1;
}

PyDoc_STRVAR(group_create_task_doc,
"create_task($self, coro, *, name=None, context=None, **kwargs)\n--\n\n"
"Return a new asyncio Task that runs `coro` as a child of the group.\n\n"
"name: None: that of the coroutine; context and kwargs: as\n"
"asyncio.create_task() takes them.\n"
"Raises RuntimeError, and closes the coroutine, when the group has not been\n"
"entered, is finished or cancelled.\n"
"Flavor: asyncio. Checkpoint: no. Thread-safe: no.");

static PyObject *
group_create_task(TacGroup *group, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    if (group_check_coro("create_task", nargs) < 0) {
        return NULL;
    }
    if (group_check_open(group, false) < 0) {
        group_close_coro(group->state, args[0]);
        return NULL;
    }
    return group_create_in(group, group->scope, args, kwnames);
}

static int
group_need_background(TacGroup *group)
{
    if (group->background != NULL) {
        return 0;
    }
    TacScope *branch = tac_scope_new(group->state);
    if (branch == NULL
        || tac_scope_open_branch(branch, group->loop->runner, group->scope)
               < 0
        || (group->exiting && tac_scope_cancel(branch, NULL) < 0))
    {
        Py_XDECREF(branch);
        return -1;
    }
    group->background = branch;
    return 0;
}

PyDoc_STRVAR(group_create_background_task_doc,
"create_background_task($self, coro, *, name=None, context=None, **kwargs)\n"
"--\n\n"
"Return a new asyncio Task that is cancelled when the block of the group\n"
"ends, and does not count for its limit; otherwise as create_task().");

static PyObject *
group_create_background_task(TacGroup *group, PyObject *const *args,
                             Py_ssize_t nargs, PyObject *kwnames)
{
    if (group_check_coro("create_background_task", nargs) < 0) {
        return NULL;
    }
    if (group_check_open(group, false) < 0) {
        group_close_coro(group->state, args[0]);
        return NULL;
    }
    if (group_need_background(group) < 0) {
        return NULL;
    }
    return group_create_in(group, group->background, args, kwnames);
}

static const char *const group_start_names[] = {"name", NULL};
static const struct tac_params group_start_params = {"start_soon", 0, 0,
                                                     group_start_names};

PyDoc_STRVAR(group_start_soon_doc,
"start_soon($self, fn, /, *args, name=None)\n--\n\n"
"Run the async function fn(*args) as a child of the group.\n\n"
"name: of the Task; None: that of the function.\n"
"In a group that is cancelled the child runs to where it first blocks.\n"
"Raises RuntimeError when the group has not been entered, or is finished.\n"
"Flavor: asyncio. Checkpoint: no. Thread-safe: no.");

static PyObject *
group_start_soon(TacGroup *group, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    PyObject *name = Py_None;
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "start_soon() missing 1 required "
                                         "positional argument: 'fn'");
        return NULL;
    }
    if (tac_args_bind_keywords(&group_start_params, args, nargs, kwnames,
                               &name)
            < 0
        || group_check_open(group, true) < 0)
    {
        return NULL;
    }
    PyObject *coro = PyObject_Vectorcall(args[0], args + 1, nargs - 1, NULL);
    if (coro == NULL) {
        return NULL;
    }
    PyObject *task = NULL;
    if (group_check_open(group, true) < 0) { /* fn() may do anything */
        group_close_coro(group->state, coro);
    }
    else {
        task = group_create_named(group, group->scope, args[0], coro, name,
                                  group->on_done);
    }
    Py_DECREF(coro);
    Py_XDECREF(task);
    return task == NULL ? NULL : Py_NewRef(Py_None);
}

/* _start(scope, fn, coro, name, on_done): for start(), in another scope. */
static PyObject *
group_start(TacGroup *group, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 5 || !Py_IS_TYPE(args[0], group->state->scope_type)) {
        PyErr_SetString(PyExc_TypeError, "_start() takes a CancelScope, a "
                                         "function, its coroutine, a name "
                                         "and a callback");
        return NULL;
    }
    if (group_check_open(group, true) < 0) {
        group_close_coro(group->state, args[2]);
        return NULL;
    }
    return group_create_named(group, (TacScope *)args[0], args[1], args[2],
                              args[3], args[4]);
}

static PyObject *
group_py_check_open(TacGroup *group, PyObject *noargs)
{
    return group_check_open(group, true) < 0 ? NULL : Py_NewRef(Py_None);
}

/* The end of a Task -------------------------------------------------------- */

static int
group_ask(PyObject *object, PyObject *method)
{
    PyObject *answer = PyObject_CallMethodNoArgs(object, method);
    int truth = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return truth;
}

/* The last one has ended: whoever leaves the group may go on. */
static int
group_wake(TacGroup *group)
{
    PyObject *waiter = Py_XNewRef(group->waiter);
    if (waiter == NULL) {
        return 0;
    }
    int rc = group_ask(waiter, group->state->str_done);
    if (rc == 0) {
        PyObject *set = PyObject_CallMethodOneArg(
            waiter, group->state->str_set_result, Py_None);
        Py_XDECREF(set);
        rc = set == NULL ? -1 : 0;
    }
    Py_DECREF(waiter);
    return rc < 0 ? -1 : 0;
}

/* One that was cancelled on its own is nobody's error.  Not to be told by what
 * exception() raises: the first to see that takes its message away from who
 * awaits the child. */
static int
group_look_for_error(TacGroup *group, PyObject *task)
{
    TacState *state = group->state;
    int cancelled = group_ask(task, state->str_cancelled);
    if (cancelled != 0) {
        return cancelled < 0 ? -1 : 0;
    }
    PyObject *exc = PyObject_CallMethodNoArgs(task, state->str_exception);
    if (exc == NULL || exc == Py_None) {
        Py_XDECREF(exc);
        return exc == NULL ? -1 : 0;
    }
    PyObject *args[3] = {(PyObject *)group, task, exc};
    PyObject *told = PyObject_VectorcallMethod(
        state->str__task_failed, args, 3, NULL);
    Py_DECREF(exc);
    Py_XDECREF(told);
    return told == NULL ? -1 : 0;
}

static int
group_forget(TacGroup *group, PyObject *task)
{
    TacScoped *scoped =
        group->loop == NULL ? NULL : tac_scoped_find(group->loop, task);
    if (scoped != NULL) {
        tac_scoped_drop(scoped);
    }
    if (group->unlink != NULL && group->host != NULL) {
        PyObject *both[2] = {task, group->host};
        PyObject *done = PyObject_Vectorcall(group->unlink, both, 2, NULL);
        if (done == NULL) {
            return -1;
        }
        Py_DECREF(done);
    }
    if (PySet_Discard(group->tasks, task) < 0) {
        return -1;
    }
    return PySet_GET_SIZE(group->tasks) == 0 ? group_wake(group) : 0;
}

static PyObject *
group_py_forget(TacGroup *group, PyObject *task)
{
    return group_forget(group, task) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
group_task_done(TacGroup *group, PyObject *task)
{
    if (group_forget(group, task) < 0
        || group_look_for_error(group, task) < 0)
    {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Entry and exit, as far as they are here ---------------------------------- */

static int
group_clear_run(TacGroup *group)
{
    Py_CLEAR(group->loop);
    Py_CLEAR(group->host);
    Py_CLEAR(group->on_done);
    Py_CLEAR(group->context);
    Py_CLEAR(group->waiter);
    return 0;
}

/* _begin(loop, host): the scope has been entered. */
static PyObject *
group_begin(TacGroup *group, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2 || !PyObject_TypeCheck(args[0], group->state->loop_type)) {
        PyErr_SetString(PyExc_TypeError,
                        "_begin() takes a loop of ours and a Task");
        return NULL;
    }
    PyObject *on_done =
        PyObject_GetAttr((PyObject *)group, group->state->str__task_done);
    PyObject *context = on_done == NULL ? NULL : PyContext_CopyCurrent();
    if (context == NULL) {
        Py_XDECREF(on_done);
        return NULL;
    }
    Py_XSETREF(group->on_done, on_done);
    Py_XSETREF(group->context, context);
    Py_XSETREF(group->loop, (TacLoop *)Py_NewRef(args[0]));
    Py_XSETREF(group->host, Py_NewRef(args[1]));
    group->entered = true;
    Py_RETURN_NONE;
}

/* _leave(): the block has ended.  Whether Tasks are left. */
static PyObject *
group_leave(TacGroup *group, PyObject *noargs)
{
    group->exiting = true;
    if (group->background != NULL
        && tac_scope_cancel(group->background, NULL) < 0)
    {
        return NULL;
    }
    return PyBool_FromLong(PySet_GET_SIZE(group->tasks) != 0);
}

static PyObject *
group_end(TacGroup *group, PyObject *noargs)
{
    TacScope *branch = group->background;
    group->background = NULL;
    (void)group_clear_run(group);
    PyObject *exc = NULL;
    int rc = branch == NULL ? 0 : tac_scope_close(branch, NULL, &exc);
    Py_XDECREF(branch);
    Py_XDECREF(exc);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

/* How many cancels of others the host got inside. */
static PyObject *
group_others(TacGroup *group, PyObject *noargs)
{
    TacScoped *scoped = group->loop == NULL
                            ? NULL
                            : tac_scoped_find(group->loop, group->host);
    int others = scoped == NULL
                     ? group->scope->others_before
                     : tac_scoped_others(scoped, group->host);
    return others < 0
               ? NULL
               : PyLong_FromLong(others - group->scope->others_before);
}

/* The type ----------------------------------------------------------------- */

static PyObject *
group_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    TacState *state = tac_state_of_type(type);
    TacGroup *group =
        state == NULL ? NULL : (TacGroup *)type->tp_alloc(type, 0);
    if (group == NULL) {
        return NULL;
    }
    group->state = state;
    group->scope = tac_scope_new(state);
    group->tasks = PySet_New(NULL);
    group->kwnames = PyTuple_Pack(1, state->str_name);
    if (group->scope == NULL || group->tasks == NULL
        || group->kwnames == NULL) {
        Py_CLEAR(group);
    }
    return (PyObject *)group;
}

static int
group_tp_traverse(TacGroup *group, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(group));
    Py_VISIT((PyObject *)group->loop);
    Py_VISIT((PyObject *)group->scope);
    Py_VISIT((PyObject *)group->background);
    Py_VISIT(group->tasks);
    Py_VISIT(group->host);
    Py_VISIT(group->on_done);
    Py_VISIT(group->context);
    Py_VISIT(group->waiter);
    Py_VISIT(group->wrap);
    Py_VISIT(group->link);
    Py_VISIT(group->unlink);
    return 0;
}

static int
group_tp_clear(TacGroup *group)
{
    (void)group_clear_run(group);
    Py_CLEAR(group->background);
    Py_CLEAR(group->wrap);
    Py_CLEAR(group->link);
    Py_CLEAR(group->unlink);
    return 0;
}

static void
group_tp_dealloc(TacGroup *group)
{
    PyTypeObject *type = Py_TYPE(group);
    PyObject_GC_UnTrack(group);
    (void)group_tp_clear(group);
    Py_CLEAR(group->scope);
    Py_CLEAR(group->tasks);
    Py_CLEAR(group->kwnames);
    type->tp_free(group);
    Py_DECREF(type);
}

#define FAST_METHOD(name, fn, doc)                  \
    {                                               \
        name, (PyCFunction)(void (*)(void))fn,      \
            METH_FASTCALL | METH_KEYWORDS, doc      \
    }

static PyMethodDef group_methods[] = {
    FAST_METHOD("create_task", group_create_task, group_create_task_doc),
    FAST_METHOD("create_background_task", group_create_background_task,
                group_create_background_task_doc),
    FAST_METHOD("start_soon", group_start_soon, group_start_soon_doc),
    {"_task_done", (PyCFunction)group_task_done, METH_O,
     "_task_done($self, task, /)\n--\n\nA Task of the group has ended."},
    {"_forget", (PyCFunction)group_py_forget, METH_O,
     "_forget($self, task, /)\n--\n\nThe same, whatever it ended with."},
    {"_check_open", (PyCFunction)group_py_check_open, METH_NOARGS,
     "_check_open($self, /)\n--\n\n"
     "Raise RuntimeError where the group takes no Tasks."},
    {"_start", (PyCFunction)(void (*)(void))group_start, METH_FASTCALL,
     "_start($self, scope, fn, coro, name, on_done, /)\n--\n\n"
     "Return a Task of the group that is born in another scope."},
    {"_begin", (PyCFunction)(void (*)(void))group_begin, METH_FASTCALL,
     "_begin($self, loop, host, /)\n--\n\n"
     "The scope has been entered, in a Task of the loop."},
    {"_leave", (PyCFunction)group_leave, METH_NOARGS,
     "_leave($self, /)\n--\n\n"
     "Cancel background Tasks; whether any Tasks are left."},
    {"_end", (PyCFunction)group_end, METH_NOARGS,
     "_end($self, /)\n--\n\nAll Tasks have ended."},
    {"_others_inside", (PyCFunction)group_others, METH_NOARGS,
     "_others_inside($self, /)\n--\n\n"
     "How many cancels of the host since the entry were no scope's."},
    {NULL},
};
#undef FAST_METHOD

static PyMemberDef group_members[] = {
    {"cancel_scope", T_OBJECT, offsetof(TacGroup, scope), READONLY,
     "The CancelScope of the block and of all Tasks."},
    {"_loop", T_OBJECT, offsetof(TacGroup, loop), READONLY},
    {"_tasks", T_OBJECT, offsetof(TacGroup, tasks), READONLY},
    {"_parent_task", T_OBJECT, offsetof(TacGroup, host), READONLY},
    {"_entered", T_BOOL, offsetof(TacGroup, entered), READONLY},
    {"_exiting", T_BOOL, offsetof(TacGroup, exiting), READONLY},
    {"_waiter", T_OBJECT, offsetof(TacGroup, waiter), 0},
    {"_wrap", T_OBJECT, offsetof(TacGroup, wrap), 0},
    {"_link", T_OBJECT, offsetof(TacGroup, link), 0},
    {"_unlink", T_OBJECT, offsetof(TacGroup, unlink), 0},
    {NULL},
};

PyDoc_STRVAR(group_doc,
"The C half of a task group; see trio_asyncio_c.TaskGroup.");

static PyType_Slot group_slots[] = {
    {Py_tp_doc, (void *)group_doc},
    {Py_tp_new, group_tp_new},
    {Py_tp_traverse, group_tp_traverse},
    {Py_tp_clear, group_tp_clear},
    {Py_tp_dealloc, group_tp_dealloc},
    {Py_tp_methods, group_methods},
    {Py_tp_members, group_members},
    {0, NULL},
};

static PyType_Spec group_spec = {
    .name = "trio_asyncio_c._core.TaskGroupCore",
    .basicsize = sizeof(TacGroup),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = group_slots,
};

int
tac_group_add_types(PyObject *module, TacState *state)
{
    state->group_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &group_spec, NULL);
    if (state->group_type == NULL) {
        return -1;
    }
    return PyModule_AddType(module, state->group_type);
}
