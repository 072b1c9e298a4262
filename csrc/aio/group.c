/* aio/group.c - what a TaskGroup does once a task. */
#include "aio/group.h"

#include "aio/births.h"
#include "aio/interp.h"
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
    PyObject *tasks;      /* owned: a dict with them as keys (I2) */
    tac_births births;    /* those of the scope, from entry to the last end */
    PyObject *host;       /* owned from entry to exit: the Task it is in */
    PyObject *on_done;    /* owned likewise: its method _task_done */
    PyObject *context;    /* owned likewise: that of all these callbacks */
    PyObject *waiter;     /* owned: the Future of whoever leaves; or NULL */
    PyObject *wrap;       /* owned: what limits coroutines; or NULL */
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
             || (group->exiting && PyDict_GET_SIZE(group->tasks) == 0)) {
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

/* Note, or forget, in asyncio's call graph who waits for the Task. */
static int
group_link(TacGroup *group, PyObject *link, PyObject *task)
{
    if (link == NULL || group->host == NULL) {
        return 0;
    }
    PyObject *both[2] = {task, group->host};
    PyObject *done = PyObject_Vectorcall(link, both, 2, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Be told of its end. */
static int
group_watch(TacGroup *group, PyObject *task, PyObject *on_done,
            PyObject *context)
{
    TacState *state = group->state;
    /* With a context, or each gets a copy of one. */
    PyObject *args[3] = {task, on_done, context};
    PyObject *added = tac_interp_call_task(
        state, state->aio_add_done_callback, state->str_add_done_callback,
        args, 2, state->context_kwnames);
    Py_XDECREF(added);
    return added == NULL ? -1 : 0;
}

static int
group_forget(TacGroup *group, PyObject *task)
{
    if (group->loop != NULL) {
        tac_births_end(group->loop, task);
    }
    int there = PyDict_Contains(group->tasks, task);
    return there <= 0 ? there : PyDict_DelItem(group->tasks, task);
}

/* The Task, born in a scope, is the group's from now on. */
static int
group_take(TacGroup *group, TacLoop *loop, TacScope *scope, PyObject *task,
           PyObject *on_done, PyObject *context)
{
    if (PyDict_SetItem(group->tasks, task, Py_None) < 0) {
        return -1;
    }
    bool here = scope == group->scope && group->births.base.runner != NULL;
    int rc = here ? tac_births_add(&group->births, task)
                  : tac_scoped_adopt(loop, task, scope);
    PyObject *link = group->state->aio_add_awaited_by;
    if (rc == 0 && group_link(group, link, task) == 0
        && group_watch(group, task, on_done, context) == 0)
    {
        return 0;
    }
    PyObject *error = PyErr_GetRaisedException();
    if (group_forget(group, task) < 0) {
        PyErr_WriteUnraisable(task);
    }
    PyErr_SetRaisedException(error);
    return -1;
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
    PyObject *task = tac_scoped_create(loop, scope, coro, values, kwnames);
    if (task != NULL
        && group_take(group, loop, scope, task, on_done, context) < 0)
    {
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
    PyObject *args[2] = {task, name};
    PyObject *done = tac_interp_call_task(
        state, state->aio_set_name, state->str_set_name, args, 2, NULL);
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
    PyObject *cancelled = tac_interp_call_task(
        state, state->aio_cancelled, state->str_cancelled, &task, 1, NULL);
    int was = cancelled == NULL ? -1 : PyObject_IsTrue(cancelled);
    Py_XDECREF(cancelled);
    if (was != 0) {
        return was < 0 ? -1 : 0;
    }
    PyObject *exc = tac_interp_call_task(
        state, state->aio_exception, state->str_exception, &task, 1, NULL);
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

/* None is left, and none will come: the scope has nobody of ours. */
static void
group_settle(TacGroup *group)
{
    if (group->exiting && PyDict_GET_SIZE(group->tasks) == 0) {
        tac_births_close(&group->births);
    }
}

static int
group_end_task(TacGroup *group, PyObject *task)
{
    if (group_link(group, group->state->aio_discard_awaited_by, task) < 0
        || group_forget(group, task) < 0)
    {
        return -1;
    }
    group_settle(group);
    return PyDict_GET_SIZE(group->tasks) == 0 ? group_wake(group) : 0;
}

static PyObject *
group_py_forget(TacGroup *group, PyObject *task)
{
    return group_end_task(group, task) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
group_task_done(TacGroup *group, PyObject *task)
{
    if (group_end_task(group, task) < 0
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
    tac_births_close(&group->births);
    Py_CLEAR(group->loop);
    Py_CLEAR(group->host);
    Py_CLEAR(group->on_done);
    Py_CLEAR(group->context);
    Py_CLEAR(group->waiter);
    return 0;
}

/* The callback of its Tasks, and the context of that. */
static int
group_make_callback(TacGroup *group)
{
    PyObject *on_done =
        PyObject_GetAttr((PyObject *)group, group->state->str__task_done);
    PyObject *context = on_done == NULL ? NULL : PyContext_CopyCurrent();
    if (context == NULL) {
        Py_XDECREF(on_done);
        return -1;
    }
    Py_XSETREF(group->on_done, on_done);
    Py_XSETREF(group->context, context);
    return 0;
}

static int
group_open(TacGroup *group, TacLoop *loop, TacScoped *host)
{
    PyObject *task = tac_scoped_task(host);
    if (task == NULL || group_make_callback(group) < 0
        || tac_scope_enter(group->scope, &host->base) < 0)
    {
        Py_XDECREF(task);
        return -1;
    }
    Py_XSETREF(group->loop, (TacLoop *)Py_NewRef(loop));
    Py_XSETREF(group->host, task);
    group->entered = true;
    return tac_births_open(&group->births, loop, group->scope,
                           (PyObject *)group, group->tasks);
}

/* _enter(): whether that was possible. */
static PyObject *
group_enter(TacGroup *group, PyObject *noargs)
{
    const TacRunner *runner = tac_running(group->state);
    PyObject *home = runner == NULL ? NULL : runner->home;
    if (group->entered || home == NULL
        || !PyObject_TypeCheck(home, group->state->loop_type))
    {
        Py_RETURN_FALSE;
    }
    TacScoped *host = tac_scoped_current((TacLoop *)home);
    if (host == NULL) {
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_False);
    }
    return group_open(group, (TacLoop *)home, host) < 0 ? NULL
                                                        : Py_NewRef(Py_True);
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
    group_settle(group);
    return PyBool_FromLong(PyDict_GET_SIZE(group->tasks) != 0);
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
    group->tasks = PyDict_New();
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
    return tac_births_traverse(&group->births, visit, arg);
}

static int
group_tp_clear(TacGroup *group)
{
    (void)group_clear_run(group);
    Py_CLEAR(group->background);
    Py_CLEAR(group->wrap);
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
    {"_enter", (PyCFunction)group_enter, METH_NOARGS,
     "_enter($self, /)\n--\n\n"
     "Enter the scope for the running Task; False where that cannot be."},
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
