/* aio/host.c - the loop's host: the C task that runs its callbacks.
 *
 * One step is one batch: exactly the items that were in the ring when the
 * step began, as asyncio promises.  What a callback schedules runs in the
 * next turn, after the kernel had its say.  Only where an item starts a task
 * that is to begin in its turn, the batch is several steps with the task's
 * first one in between.
 */
#include "aio/host.h"

#include "aio/handle.h"
#include "aio/own_clock.h"
#include "aio/scoped.h"
#include "base/clock.h"
#include "base/compat.h"
#include "core/trap.h"

#include <stddef.h>

static TacLoop *
host_loop(struct tac_task *task)
{
    return tac_list_entry(task, TacLoop, host);
}

int
tac_host_enter_home(TacRunner *runner, PyObject *home)
{
    TacState *state = runner->state;
    PyObject *old = runner->home;
    runner->home = Py_XNewRef(home);
    Py_XDECREF(old);
    /* Looked up at every switch: tests and debuggers replace it. */
    PyObject *set = PyObject_GetAttr(state->aio_events,
                                     state->str__set_running_loop);
    if (set == NULL) {
        return -1;
    }
    PyObject *result =
        PyObject_CallOneArg(set, home == NULL ? Py_None : home);
    Py_DECREF(set);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int
tac_host_find_home(TacRunner *runner, PyObject *context, PyObject **home)
{
    TacState *state = runner->state;
    *home = NULL;
    int there = PyContext_CheckExact(context)
                    ? PySequence_Contains(context, state->hook_current_loop)
                    : 0;
    if (there <= 0) {
        return there;
    }
    PyObject *found = PyObject_GetItem(context, state->hook_current_loop);
    if (found == NULL) {
        return -1;
    }
    if (PyObject_TypeCheck(found, state->loop_type)
        && !((TacLoop *)found)->closed && ((TacLoop *)found)->runner == runner)
    {
        *home = found;
        return 0;
    }
    Py_DECREF(found);
    return 0;
}

/* One item ---------------------------------------------------------------- */

/* An error of a Task's step that is none of its coroutine's. */
static int
host_report_step(TacLoop *loop, const struct tac_ring_item *item)
{
    PyObject *exc = PyErr_GetRaisedException();
    TacHandle *handle = tac_handle_new(loop, item->object, &item->arg,
                                       item->arg != NULL, item->context);
    PyErr_SetRaisedException(exc);
    if (handle == NULL) {
        return -1;
    }
    int rc = tac_handle_report((PyObject *)handle, loop->state);
    Py_DECREF(handle);
    return rc;
}

static int
host_run_step(TacLoop *loop, const struct tac_ring_item *item)
{
    if (PyContext_Enter(item->context) < 0) {
        return host_report_step(loop, item);
    }
    PyObject *args[2] = {NULL, item->arg}; /* borrowed */
    size_t nargs = (item->arg != NULL) | PY_VECTORCALL_ARGUMENTS_OFFSET;
    PyObject *result =
        PyObject_Vectorcall(item->object, args + 1, nargs, NULL);
    if (result != NULL) {
        Py_DECREF(result);
        return PyContext_Exit(item->context);
    }
    PyObject *exc = PyErr_GetRaisedException();
    (void)PyContext_Exit(item->context);
    PyErr_SetRaisedException(exc);
    return host_report_step(loop, item);
}

static int
host_run_foreign(TacLoop *loop, PyObject *handle)
{
    PyObject *cancelled =
        PyObject_GetAttr(handle, loop->state->str__cancelled);
    int skip = cancelled == NULL ? -1 : PyObject_IsTrue(cancelled);
    Py_XDECREF(cancelled);
    if (skip != 0) {
        return skip < 0 ? -1 : 0;
    }
    PyObject *result =
        PyObject_CallMethodNoArgs(handle, loop->state->str__run);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int
host_run_item(TacLoop *loop, const struct tac_ring_item *item)
{
    switch (item->kind) {
    case TAC_RING_HANDLE:
        return tac_handle_run((TacHandle *)item->object);
    case TAC_RING_STEP:
        return host_run_step(loop, item);
    case TAC_RING_FOREIGN:
        return host_run_foreign(loop, item->object);
    case TAC_RING_NATIVE:
        return item->fn(item->object);
    }
    return 0;
}

/* Debug mode -------------------------------------------------------------- */

static int
host_warn_if_slow(TacLoop *loop, PyObject *handle, double seconds)
{
    TacState *state = loop->state;
    PyObject *limit = PyObject_GetAttr((PyObject *)loop,
                                       state->str_slow_callback_duration);
    PyObject *took = limit == NULL ? NULL : PyFloat_FromDouble(seconds);
    int slow = took == NULL ? -1 : PyObject_RichCompareBool(took, limit, Py_GE);
    Py_XDECREF(took);
    Py_XDECREF(limit);
    if (slow <= 0 || state->hook_slow_callback == NULL) {
        return slow < 0 ? -1 : 0;
    }
    PyObject *result = PyObject_CallFunction(state->hook_slow_callback, "Od",
                                             handle, seconds);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* The system's time, unless the loop has its own. */
static int
host_now(TacLoop *loop, double *now_s)
{
    if (tac_own_clock_is_set(loop)) {
        return tac_own_clock_now(loop, now_s);
    }
    *now_s = tac_clock_now_s();
    return 0;
}

static int
host_set_current_handle(TacLoop *loop, PyObject *handle)
{
    return PyObject_SetAttr((PyObject *)loop,
                            loop->state->str__current_handle, handle);
}

/* The handle that asyncio would have run in place of a C function, to be
 * named only.  Returns: new ref | NULL+exc. */
static PyObject *
host_stand_in(TacLoop *loop, const struct tac_ring_item *item)
{
    PyObject *method = PyObject_GetAttrString(item->object, item->method);
    if (method == NULL) {
        return NULL;
    }
    TacHandle *handle = tac_handle_new(loop, method, NULL, 0, NULL);
    Py_DECREF(method);
    return (PyObject *)handle;
}

/* Run an item under the eyes of debug mode: the loop names its `handle`
 * meanwhile, and what takes long is logged. */
static int
host_watch_handle(TacLoop *loop, const struct tac_ring_item *item,
                  PyObject *handle)
{
    if (host_set_current_handle(loop, handle) < 0) {
        return -1;
    }
    double began_s = 0, ended_s = 0;
    if (host_now(loop, &began_s) < 0) {
        return -1;
    }
    int rc = host_run_item(loop, item);
    if (rc == 0) {
        rc = host_now(loop, &ended_s);
    }
    if (rc == 0) {
        rc = host_warn_if_slow(loop, handle, ended_s - began_s);
    }
    PyObject *exc = PyErr_GetRaisedException();
    if (host_set_current_handle(loop, Py_None) < 0) {
        rc = -1;
    }
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
    }
    return rc;
}

static int
host_watch_native(TacLoop *loop, const struct tac_ring_item *item)
{
    PyObject *handle = host_stand_in(loop, item);
    if (handle == NULL) {
        return -1;
    }
    int rc = host_watch_handle(loop, item, handle);
    PyObject *exc = PyErr_GetRaisedException();
    Py_DECREF(handle);
    PyErr_SetRaisedException(exc);
    return rc;
}

static int
host_watch_item(TacLoop *loop, const struct tac_ring_item *item)
{
    switch (item->kind) {
    case TAC_RING_HANDLE:
        return ((TacHandle *)item->object)->cancelled
                   ? 0
                   : host_watch_handle(loop, item, item->object);
    case TAC_RING_FOREIGN:
        return host_watch_handle(loop, item, item->object);
    case TAC_RING_NATIVE:
        if (item->method != NULL) {
            return host_watch_native(loop, item);
        }
        break;
    case TAC_RING_STEP: /* scheduled before debug mode was switched on */
        break;
    }
    return host_run_item(loop, item);
}

/* The batch --------------------------------------------------------------- */

/* Whose method an item calls.  Returns: new ref, or NULL, no exception set. */
static PyObject *
host_item_self(TacLoop *loop, const struct tac_ring_item *item)
{
    PyObject *callback = item->object;
    if (item->kind == TAC_RING_HANDLE) { /* debug mode, Tasks in Python */
        callback = ((TacHandle *)callback)->callback;
    }
    PyObject *name = loop->state->str___self__;
    PyObject *self =
        callback == NULL ? NULL : PyObject_GetAttr(callback, name);
    if (self == NULL) {
        PyErr_Clear();
    }
    return self;
}

/* The asyncio Task whose step an item is.  Returns: as above. */
static PyObject *
host_item_task(TacLoop *loop, const struct tac_ring_item *item)
{
    PyObject *task = host_item_self(loop, item);
    if (task != NULL
        && (loop->state->aio_task_type == NULL
            || !PyObject_TypeCheck(task, loop->state->aio_task_type)))
    {
        Py_CLEAR(task); /* some other builtin or bound method */
    }
    return task;
}

static bool
host_is_awaited(TacLoop *loop, PyObject *task)
{
    struct tac_list *head = &loop->waits;
    for (struct tac_list *n = head->next; n != head; n = n->next) {
        if (tac_list_entry(n, TacTrap, node)->first == task) {
            return true;
        }
    }
    return false;
}

/* Into the nursery that the loop was opened in.  `task`: whose step raised it,
 * or NULL. */
static int
host_raise_inside(TacLoop *loop, PyObject *task, PyObject *exc)
{
    int rc = tac_nursery_add_exc(loop->errors, exc, NULL);
    /* Or the Task would report it a second time when it dies. */
    if (task != NULL
        && PyObject_SetAttrString(task, "_log_traceback", Py_False) < 0) {
        PyErr_Clear(); /* a subclass may refuse */
    }
    return rc;
}

/* SystemExit, KeyboardInterrupt, or an error of an exception handler: it
 * leaves run_forever, or the block of open_loop(), unless a Trio task waits
 * for the Task that raised it: then it is that Task's result. */
static int
host_raise(TacLoop *loop, const struct tac_ring_item *item)
{
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *task = host_item_task(loop, item);
    int rc = 0;
    if (task != NULL && host_is_awaited(loop, task)) {
        Py_DECREF(exc);
    }
    else if (loop->errors != NULL) {
        rc = host_raise_inside(loop, task, exc);
        Py_DECREF(exc);
    }
    else {
        loop->runner->raised = true;
        PyErr_SetRaisedException(exc);
        rc = -1;
    }
    Py_XDECREF(task);
    return rc;
}

/* Throw the cancels that are due after an item, before the next one. */
static int
host_check_scopes(TacLoop *loop, const struct tac_ring_item *item)
{
    PyObject *self = host_item_self(loop, item);
    int rc = tac_scoped_check_all(loop, self);
    Py_XDECREF(self);
    return rc;
}

static int
host_run_batch(TacLoop *loop)
{
    TacRunner *runner = loop->runner;
    size_t left = loop->batch_left != 0 ? loop->batch_left : loop->ring.len;
    loop->batch_left = 0;
    if (tac_scoped_is_due(&loop->scoped)
        && tac_scoped_check_all(loop, NULL) < 0)
    {
        return -1;
    }
    while (left-- != 0 && loop->ring.len != 0 && !loop->halted) {
        struct tac_ring_item item = tac_ring_pop(&loop->ring);
        int rc = loop->debug ? host_watch_item(loop, &item)
                             : host_run_item(loop, &item);
        if (rc < 0) {
            rc = host_raise(loop, &item);
        }
        if (rc == 0 && tac_scoped_is_due(&loop->scoped)) {
            rc = host_check_scopes(loop, &item);
        }
        if (rc < 0) {
            PyObject *exc = PyErr_GetRaisedException();
            tac_ring_item_drop(&item);
            PyErr_SetRaisedException(exc);
            return -1;
        }
        tac_ring_item_drop(&item);
        if (!tac_list_is_empty(&runner->at_once)) {
            loop->batch_left = left;
            break;
        }
    }
    return 0;
}

static int
host_step(struct tac_task *task)
{
    TacLoop *loop = (TacLoop *)Py_NewRef(host_loop(task));
    TacRunner *runner = task->runner;
    int rc = 0;
    if (runner->home != (PyObject *)loop) {
        rc = tac_host_enter_home(runner, (PyObject *)loop);
    }
    if (rc == 0) {
        tac_freelist_expect(&loop->state->free_handles, loop->ring.len);
        rc = host_run_batch(loop);
    }
    if (rc == 0) { /* a callback may have patched time() */
        rc = tac_own_clock_check(loop);
    }
    if (loop->ring.len == 0) {
        tac_ring_trim(&loop->ring);
    }
    else if (task->runner != NULL && !loop->halted) {
        tac_task_make_runnable(task);
        if (loop->batch_left != 0) {
            tac_task_step_next(task);
        }
    }
    Py_DECREF(loop);
    return rc;
}

/* The species ------------------------------------------------------------- */

/* Only the loop's end ends its host: the nursery's tasks may still need it
 * to unwind. */
static int
host_cancel(struct tac_task *task, const struct tac_cause *cause)
{
    return 0;
}

static PyObject *
host_owner(struct tac_task *task)
{
    return (PyObject *)host_loop(task);
}

static PyObject *
host_object(struct tac_task *task)
{
    return tac_native_task(host_loop(task)->state, task);
}

/* The asyncio Task that is being stepped, as scopes know it: borrowed, or
 * NULL, with an exception or without. */
static struct tac_task *
host_find_inner(TacLoop *loop)
{
    TacScoped *scoped = tac_scoped_current(loop);
    return scoped == NULL ? NULL : &scoped->base;
}

struct tac_task *
tac_host_find_inner(TacRunner *runner)
{
    return host_find_inner((TacLoop *)runner->home);
}

static struct tac_task *
host_inner(struct tac_task *task)
{
    struct tac_task *inner = host_find_inner(host_loop(task));
    if (inner == NULL && !PyErr_Occurred()) {
        PyErr_SetString(PyExc_RuntimeError,
                        "cancel scopes are for code in a Task, not for the "
                        "loop's callbacks");
    }
    return inner;
}

static const struct tac_task_ops host_ops = {
    .name = "<asyncio event loop>",
    .inner = host_inner,
    .library = offsetof(TacState, str_asyncio),
    .step = host_step,
    .cancel = host_cancel,
    .owner = host_owner,
    .object = host_object,
    .await_error =
        "must be called from async context: this is asyncio-flavoured code, "
        "which calls a Trio-flavoured function by "
        "'await trio_as_aio(fn)(...)' or 'await loop.run_trio(fn, ...)'",
};

void
tac_host_requeue(struct tac_task *task)
{
    if (task->ops != &host_ops) {
        return;
    }
    const TacLoop *loop = host_loop(task);
    if (loop->ring.len != 0 && !loop->halted) {
        tac_task_make_runnable(task);
    }
}

void
tac_host_start(TacLoop *loop)
{
    tac_ctask_start(&loop->host, &host_ops, loop->runner, loop->nursery);
}
