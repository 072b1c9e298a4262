/* aio/loop.c - type LoopCore: attaching, driving, dismantling.
 *
 * The Python half of the loop, trio_asyncio_c.EventLoop, derives from this
 * type first and from the standard library's selector loop second: what runs
 * once a callback is here, what runs once a loop or a connection is there.
 * The private attributes that the inherited code shares with us are data
 * descriptors over the struct.
 */
#include "aio/loop.h"

#include "aio/call.h"
#include "aio/create.h"
#include "aio/executor.h"
#include "aio/host.h"
#include "aio/interp.h"
#include "aio/own_clock.h"
#include "aio/scope_watch.h"
#include "aio/timer.h"
#include "base/clock.h"
#include "base/compat.h"

#include <structmember.h>

/* Pushing ----------------------------------------------------------------- */

int
tac_loop_refuse(TacLoop *loop)
{
    if (tac_loop_check_open(loop) == 0) {
        PyErr_NoMemory();
    }
    return -1;
}

int
tac_loop_push_failed(TacLoop *loop, struct tac_ring_item *item)
{
    int rc = tac_loop_refuse(loop);
    PyObject *exc = PyErr_GetRaisedException();
    tac_ring_item_drop(item); /* runs code */
    PyErr_SetRaisedException(exc);
    return rc;
}

int
tac_loop_push_native(TacLoop *loop, tac_ring_fn fn, PyObject *owner,
                     const char *method)
{
    struct tac_ring_item item = {
        .object = Py_NewRef(owner),
        .method = method,
        .fn = fn,
        .kind = TAC_RING_NATIVE,
    };
    return tac_loop_push(loop, item);
}

int
tac_loop_push_threadsafe(TacLoop *loop, tac_ring_fn fn, PyObject *owner)
{
    if (tac_loop_push_native(loop, fn, owner, NULL) < 0) {
        return -1;
    }
    tac_runner_wake(loop->runner);
    return 0;
}

int
tac_loop_check_open(TacLoop *loop)
{
    /* No host: closed, or never initialised. */
    if (loop->closed || loop->host.runner == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
        return -1;
    }
    return 0;
}

int
tac_loop_check_running(TacLoop *loop)
{
    if (tac_loop_check_open(loop) < 0) {
        return -1;
    }
    if (loop->ending) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
        return -1;
    }
    if (loop->halted) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is stopped");
        return -1;
    }
    return 0;
}

int
tac_loop_refuse_work(TacLoop *loop)
{
    PyErr_SetNone(loop->state->exc_WouldBlock);
    return -1;
}

int
tac_loop_time(TacLoop *loop, double *now_s)
{
    if (loop->runner != NULL) {
        return tac_runner_time(loop->runner, now_s);
    }
    *now_s = tac_clock_now_s();
    return 0;
}

/* Attaching and dismantling ----------------------------------------------- */

/* Is it an open nursery of a runner? */
static bool
loop_is_home(const TacState *state, PyObject *obj, const TacRunner *runner)
{
    if (!PyObject_TypeCheck(obj, state->nursery_type)) {
        return false;
    }
    const TacNursery *nursery = (TacNursery *)obj;
    return !nursery->closed && nursery->parent_task->base.runner == runner;
}

static PyObject *
loop_attach(TacLoop *loop, PyObject *args)
{
    PyObject *nursery, *calls, *errors = Py_None;
    PyTypeObject *type = loop->state->nursery_type;
    if (!PyArg_ParseTuple(args, "O!O!|O:_attach", type, &nursery, type,
                          &calls, &errors)) {
        return NULL;
    }
    TacRunner *runner = ((TacNursery *)nursery)->parent_task->base.runner;
    if (loop->runner != NULL || runner == NULL
        || !loop_is_home(loop->state, nursery, runner)
        || !loop_is_home(loop->state, calls, runner)
        || (errors != Py_None && !loop_is_home(loop->state, errors, runner)))
    {
        PyErr_SetString(PyExc_RuntimeError,
                        "a loop is attached once, to an open nursery");
        return NULL;
    }
    loop->runner = (TacRunner *)Py_NewRef(runner);
    loop->nursery = (TacNursery *)Py_NewRef(nursery);
    loop->calls = (TacNursery *)Py_NewRef(calls);
    if (errors != Py_None) {
        loop->errors = (TacNursery *)Py_NewRef(errors);
    }
    runner->enter_home = tac_host_enter_home;
    runner->find_home = tac_host_find_home;
    runner->find_inner = tac_host_find_inner;
    tac_host_start(loop);
    Py_RETURN_NONE;
}

static void
loop_drop_members(TacLoop *loop)
{
    while (!tac_list_is_empty(&loop->members)) {
        struct tac_loop_member *member = tac_list_entry(
            loop->members.next, struct tac_loop_member, node);
        member->ops->drop(member);
    }
}

static int
loop_traverse_members(TacLoop *loop, visitproc visit, void *arg)
{
    int rc = 0;
    struct tac_list *head = &loop->members;
    for (struct tac_list *n = head->next; rc == 0 && n != head; n = n->next) {
        struct tac_loop_member *member =
            tac_list_entry(n, struct tac_loop_member, node);
        rc = member->ops->traverse(member, visit, arg);
    }
    return rc;
}

static PyObject *
loop_member_watches(TacLoop *loop, PyObject *noargs)
{
    PyObject *list = PyList_New(0);
    struct tac_list *head = &loop->members;
    struct tac_list *n = head->next;
    for (; list != NULL && n != head; n = n->next) {
        struct tac_loop_member *member =
            tac_list_entry(n, struct tac_loop_member, node);
        int fd, events = member->ops->watched(member, &fd);
        PyObject *row = Py_BuildValue("(ii)", fd, events);
        if (row == NULL || PyList_Append(list, row) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(row);
    }
    return list;
}

/* Let go of everything that the loop started.  0, or -1 with an exception. */
static int
loop_dismantle(TacLoop *loop)
{
    loop->closed = true;
    loop_drop_members(loop);
    PyMem_Free(loop->by_fd);
    loop->by_fd = NULL;
    loop->by_fd_len = 0;
    tac_reader_drop_all(loop);
    tac_sockwait_drop_all(&loop->sock_readers);
    tac_sockwait_drop_all(&loop->sock_writers);
    tac_timer_drop_all(loop);
    tac_own_clock_fini(loop);
    tac_executor_drop_all(loop);
    tac_scoped_drop_all(loop);
    tac_ring_clear(&loop->ring);
    int rc = tac_ctask_exit(&loop->host, NULL);
    Py_CLEAR(loop->nursery);
    Py_CLEAR(loop->calls);
    Py_CLEAR(loop->errors);
    Py_CLEAR(loop->create_kwargs);
    Py_CLEAR(loop->done_future);
    Py_CLEAR(loop->begun_kwargs);
    return rc;
}

static PyObject *
loop_dismantle_method(TacLoop *loop, PyObject *noargs)
{
    if (loop->errors == NULL && tac_executor_leave_behind(loop) < 0) {
        PyErr_WriteUnraisable((PyObject *)loop); /* then they are dropped */
    }
    if (loop_dismantle(loop) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Driving ----------------------------------------------------------------- */

/* Be the runner's home meanwhile: who drives the loop has made it the thread's
 * running one. */
static enum tac_turn
loop_run_at_home(TacLoop *loop, bool one_turn, double limit_s)
{
    TacRunner *runner = loop->runner;
    PyObject *old_home = runner->home;
    runner->home = Py_NewRef(loop);
    enum tac_turn how = one_turn ? tac_runner_turn(runner, limit_s)
                                 : tac_runner_drive(runner);
    PyObject *exc = PyErr_GetRaisedException();
    if (runner->home != (PyObject *)loop
        && tac_host_enter_home(runner, (PyObject *)loop) < 0)
    {
        how = TAC_TURN_ERROR;
    }
    Py_XSETREF(runner->home, old_home);
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
    }
    return how;
}

static int
loop_run_entered(TacLoop *loop, bool one_turn, double limit_s)
{
    TacRunner *runner = loop->runner, *previous;
    if (tac_runner_enter(runner, &previous) < 0) {
        return -1;
    }
    int rc = tac_own_clock_update(loop);
    if (rc == 0) {
        runner->raised = false;
        runner->stop = loop->stopping;
        rc = loop_run_at_home(loop, one_turn, limit_s);
        runner->stop = false;
    }
    tac_ring_track(&loop->ring);
    tac_runner_leave(runner, previous);
    return rc;
}

/* A turn inside of a callback or a Trio task's step, for code that makes
 * loops re-entrant, and has seen to the Task that is the current one. */
static int
loop_run_nested(TacLoop *loop, double limit_s)
{
    struct tac_nested outer;
    if (tac_runner_nest(loop->runner, &outer) < 0) {
        return -1;
    }
    tac_host_requeue(outer.current);
    int rc = tac_own_clock_update(loop);
    if (rc == 0) {
        rc = loop_run_at_home(loop, true, limit_s);
    }
    PyObject *exc = PyErr_GetRaisedException();
    if (tac_runner_unnest(loop->runner, &outer) < 0) {
        rc = -1;
    }
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
    }
    return rc;
}

static PyObject *
loop_drive_method(TacLoop *loop, PyObject *noargs)
{
    if (tac_loop_check_open(loop) < 0) {
        return NULL;
    }
    Py_INCREF(loop);
    int rc = loop_run_entered(loop, false, Py_HUGE_VAL);
    Py_DECREF(loop);
    if (rc < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
loop_turn(TacLoop *loop, double limit_s)
{
    if (tac_loop_check_open(loop) < 0) {
        return NULL;
    }
    Py_INCREF(loop);
    int rc = loop->runner->driven ? loop_run_nested(loop, limit_s)
                                  : loop_run_entered(loop, true, limit_s);
    Py_DECREF(loop);
    if (rc < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
loop_run_once(TacLoop *loop, PyObject *noargs)
{
    return loop_turn(loop, Py_HUGE_VAL);
}

static PyObject *
loop_turn_method(TacLoop *loop, PyObject *timeout)
{
    double limit_s = Py_HUGE_VAL;
    if (timeout != Py_None) {
        limit_s = PyFloat_AsDouble(timeout);
        if (limit_s == -1.0 && PyErr_Occurred()) {
            return NULL;
        }
    }
    return loop_turn(loop, limit_s);
}

static void
loop_set_stop(TacLoop *loop, bool stopping)
{
    loop->stopping = stopping;
    if (loop->errors == NULL && loop->runner != NULL) {
        loop->runner->stop = stopping;
    }
}

static PyObject *
loop_stop(TacLoop *loop, PyObject *noargs)
{
    loop_set_stop(loop, true);
    Py_RETURN_NONE;
}

/* Halting: stop() of a loop inside a run ---------------------------------- */

static int
loop_halt_now(PyObject *owner)
{
    ((TacLoop *)owner)->halted = true;
    return 0;
}

static PyObject *
loop_halt(TacLoop *loop, PyObject *noargs)
{
    if (tac_loop_check_open(loop) < 0
        || tac_loop_push_native(loop, loop_halt_now, (PyObject *)loop, NULL)
               < 0)
    {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
loop_resume(TacLoop *loop, PyObject *noargs)
{
    if (tac_loop_check_open(loop) < 0) {
        return NULL;
    }
    loop->halted = false;
    if (loop->ring.len != 0 || tac_scoped_is_due(&loop->scoped)) {
        tac_task_make_runnable(&loop->host);
    }
    Py_RETURN_NONE;
}

/* Raise an exception out of the nursery that the loop was opened in. */
static PyObject *
loop_raise_out(TacLoop *loop, PyObject *exc)
{
    if (tac_loop_check_open(loop) < 0) {
        return NULL;
    }
    if (loop->errors == NULL || !PyExceptionInstance_Check(exc)) {
        PyErr_SetString(PyExc_TypeError,
                        "an exception and a loop inside a run are needed");
        return NULL;
    }
    if (tac_nursery_add_exc(loop->errors, exc, NULL) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Small methods ----------------------------------------------------------- */

static PyObject *
loop_get_debug(TacLoop *loop, PyObject *noargs)
{
    return PyBool_FromLong(loop->debug);
}

static PyObject *
loop_is_closed(TacLoop *loop, PyObject *noargs)
{
    return PyBool_FromLong(loop->closed);
}

static PyObject *
loop_is_running(TacLoop *loop, PyObject *noargs)
{
    return PyBool_FromLong(loop->thread_id != NULL
                           && loop->thread_id != Py_None);
}

/* Module function: which loop the running Trio task belongs to. */
static PyObject *
loop_set_task_home(PyObject *module, PyObject *home)
{
    TacState *state = tac_state_of_module(module);
    TacTask *task = tac_task_current(state);
    if (task == NULL) {
        return NULL;
    }
    if (home != Py_None && !PyObject_TypeCheck(home, state->loop_type)) {
        PyErr_SetString(PyExc_TypeError, "an event loop or None is needed");
        return NULL;
    }
    PyObject *old = task->home;
    task->home = home == Py_None ? NULL : Py_NewRef(home);
    if (tac_host_enter_home(task->base.runner, task->home) < 0) {
        Py_XDECREF(old);
        return NULL;
    }
    return old == NULL ? Py_NewRef(Py_None) : old;
}

/* Module function: the call_soon of a loop that only learns. */
static PyObject *
loop_learn_asyncio(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    if (nargs == 0) {
        PyErr_SetString(PyExc_TypeError,
                        "learn_asyncio() needs a Task's step");
        return NULL;
    }
    if (tac_interp_learn(tac_state_of_module(module), args[0], kwnames) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Attributes -------------------------------------------------------------- */

static int
loop_bool_value(PyObject *value)
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError,
                        "an event loop's flag cannot be deleted");
        return -1;
    }
    return PyObject_IsTrue(value);
}

static PyObject *
loop_get_debug_flag(TacLoop *loop, void *closure)
{
    return PyBool_FromLong(loop->debug);
}

static int
loop_set_debug_flag(TacLoop *loop, PyObject *value, void *closure)
{
    int flag = loop_bool_value(value);
    if (flag >= 0) {
        loop->debug = flag;
    }
    return flag < 0 ? -1 : 0;
}

static PyObject *
loop_get_closed_flag(TacLoop *loop, void *closure)
{
    return PyBool_FromLong(loop->closed);
}

static int
loop_set_closed_flag(TacLoop *loop, PyObject *value, void *closure)
{
    int flag = loop_bool_value(value);
    if (flag >= 0) {
        loop->closed = flag;
    }
    return flag < 0 ? -1 : 0;
}

static PyObject *
loop_get_stopping_flag(TacLoop *loop, void *closure)
{
    return PyBool_FromLong(loop->stopping);
}

static int
loop_set_stopping_flag(TacLoop *loop, PyObject *value, void *closure)
{
    int flag = loop_bool_value(value);
    if (flag >= 0) {
        loop_set_stop(loop, flag);
    }
    return flag < 0 ? -1 : 0;
}

static PyObject *
loop_get_halted(TacLoop *loop, void *closure)
{
    return PyBool_FromLong(loop->halted);
}

static PyObject *
loop_get_busy(TacLoop *loop, void *closure)
{
    return PyLong_FromSsize_t(loop->jobs_busy);
}

static PyObject *
loop_get_jobs(TacLoop *loop, void *closure)
{
    return PyLong_FromSsize_t(tac_executor_count(loop));
}

/* For those who expect what Trio does: cancel() has an effect before it
 * returns, and so before whatever is done next. */
static PyObject *
loop_throw_cancels(TacLoop *loop, PyObject *noargs)
{
    if (tac_scoped_check_all(loop, NULL) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* The Python type --------------------------------------------------------- */

static PyObject *
loop_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    TacState *state = tac_state_of_type(type);
    TacLoop *loop =
        state == NULL ? NULL : (TacLoop *)type->tp_alloc(type, 0);
    if (loop == NULL) {
        return NULL;
    }
    loop->state = state;
    loop->jobs_limit = 32;
    loop->queue_limit = PY_SSIZE_T_MAX;
    tac_list_init(&loop->members);
    tac_list_init(&loop->timers);
    tac_own_clock_init(loop);
    tac_list_init(&loop->waits);
    tac_scoped_init(loop);
    tac_list_init(&loop->jobs);
    tac_list_init(&loop->running);
    return (PyObject *)loop;
}

static int
loop_tp_traverse(TacLoop *loop, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(loop));
    Py_VISIT((PyObject *)loop->runner);
    Py_VISIT((PyObject *)loop->nursery);
    Py_VISIT((PyObject *)loop->calls);
    Py_VISIT((PyObject *)loop->errors);
    Py_VISIT((PyObject *)loop->host.parent_nursery);
    Py_VISIT((PyObject *)loop->host.scope);
    Py_VISIT(loop->jobs_waiter);
    Py_VISIT(loop->task_factory);
    Py_VISIT(loop->create_kwargs);
    Py_VISIT(loop->done_future);
    Py_VISIT(loop->begun_kwargs);
    Py_VISIT(loop->base_time);
    int rc = tac_ring_traverse(&loop->ring, visit, arg);
    if (rc == 0) {
        rc = tac_scoped_traverse(loop, visit, arg);
    }
    if (rc == 0) {
        rc = loop_traverse_members(loop, visit, arg);
    }
    if (rc == 0) {
        rc = tac_reader_traverse_all(loop, visit, arg);
    }
    if (rc == 0) {
        rc = tac_timer_traverse_all(loop, visit, arg);
    }
    if (rc == 0) {
        rc = tac_sockwait_traverse_all(&loop->sock_readers, visit, arg);
    }
    if (rc == 0) {
        rc = tac_sockwait_traverse_all(&loop->sock_writers, visit, arg);
    }
    return rc != 0 ? rc : tac_executor_traverse_all(loop, visit, arg);
}

static int
loop_tp_clear(TacLoop *loop)
{
    if (loop_dismantle(loop) < 0) {
        PyErr_WriteUnraisable(NULL);
    }
    Py_CLEAR(loop->runner);
    Py_CLEAR(loop->thread_id);
    Py_CLEAR(loop->jobs_waiter);
    Py_CLEAR(loop->task_factory);
    return 0;
}

static void
loop_tp_dealloc(TacLoop *loop)
{
    PyTypeObject *type = Py_TYPE(loop);
    PyObject_GC_UnTrack(loop);
    (void)loop_tp_clear(loop);
    type->tp_free(loop);
    Py_DECREF(type);
}

#define FAST_METHOD(name, fn, doc)                          \
    {                                                       \
        name, (PyCFunction)(void (*)(void))fn,              \
            METH_FASTCALL | METH_KEYWORDS, doc              \
    }

static PyMethodDef loop_methods[] = {
    FAST_METHOD("call_soon", tac_call_soon,
    "call_soon($self, callback, *args, context=None, **kwargs)"
    "\n--\n\n"
    "Run callback(*args, **kwargs) in the next turn, after what is queued already.\n\n"
    "context: the contextvars.Context to run it in; None: a copy of the\n"
    "current one. Returns a Handle.\n"
    "Raises RuntimeError when the loop is closed.\n"
    "Flavor: sync. Thread-safe: no, see call_soon_threadsafe."),
    FAST_METHOD("call_soon_threadsafe", tac_call_soon_threadsafe,
    "call_soon_threadsafe($self, callback, *args, context=None, **kwargs)"
    "\n--\n\n"
    "As call_soon, from any thread, and wake the loop if it sleeps.\n\n"
    "Keeps its place in the order of call_soon. Thread-safe: yes."),
    FAST_METHOD("call_later", tac_call_later,
    "call_later($self, delay, callback, *args, context=None, **kwargs)"
    "\n--\n\n"
    "Run callback(*args, **kwargs) after `delay` seconds.\n\n"
    "delay: int or float seconds; zero or less: in the next turn.\n"
    "Returns a TimerHandle. Equal times run in the order of the calls.\n"
    "Raises TypeError when delay is None, RuntimeError when the loop is\n"
    "closed. Flavor: sync. Thread-safe: no."),
    FAST_METHOD("call_at", tac_call_at,
    "call_at($self, when, callback, *args, context=None, **kwargs)"
    "\n--\n\n"
    "Run callback(*args, **kwargs) at `when`, in seconds of loop.time().\n\n"
    "Returns a TimerHandle. Otherwise as call_later."),
    FAST_METHOD("run_in_executor", tac_executor_run,
    "run_in_executor($self, executor, func, *args, **kwargs)"
    "\n--\n\n"
    "Run func(*args, **kwargs) in another thread and return a Future of its outcome.\n\n"
    "executor: a concurrent.futures.Executor, or None for the default one.\n"
    "Flavor: sync. Thread-safe: no."),
    FAST_METHOD("create_task", tac_create_task,
    "create_task($self, coro, **kwargs)\n--\n\n"
    "Return a new asyncio Task that runs `coro`.\n\n"
    "kwargs: name, context and, from CPython 3.14 on, eager_start, as\n"
    "asyncio.Task takes them; a task factory gets them all.\n"
    "Raises RuntimeError when the loop is closed, TypeError when `coro` is no\n"
    "coroutine. Flavor: sync. Thread-safe: no."),
    {"create_future", (PyCFunction)tac_create_future, METH_NOARGS,
     "create_future($self, /)\n--\n\n"
     "Return a new asyncio Future of this loop."},
    FAST_METHOD("_add_reader", tac_reader_add,
    "_add_reader($self, fd, callback, /, *args, context=None)\n--\n\n"
    "Run callback(*args) whenever fd can be read from; returns a Handle."),
    FAST_METHOD("_add_writer", tac_reader_add_writer,
    "_add_writer($self, fd, callback, /, *args, context=None)\n--\n\n"
    "Run callback(*args) whenever fd can be written to; returns a Handle."),
    {"_remove_reader", (PyCFunction)tac_reader_remove, METH_O,
     "_remove_reader($self, fd, /)\n--\n\n"
     "Stop watching; returns whether fd was watched."},
    {"_remove_writer", (PyCFunction)tac_reader_remove_writer, METH_O,
     "_remove_writer($self, fd, /)\n--\n\n"
     "Stop watching; returns whether fd was watched."},
    {"_fd_watches", (PyCFunction)tac_reader_list, METH_NOARGS,
     "_fd_watches($self, /)\n--\n\n"
     "List of (fd, file object, reader or None, writer or None)."},
    {"_member_watches", (PyCFunction)loop_member_watches, METH_NOARGS,
     "_member_watches($self, /)\n--\n\n"
     "List of (fd, selectors.EVENT_ mask) of the transports in C."},
    {"_ensure_fd_no_transport", (PyCFunction)tac_member_ensure_free, METH_O,
     "_ensure_fd_no_transport($self, fd, /)\n--\n\n"
     "Raise RuntimeError if a transport has the fd."},
    {"_new_transports", (PyCFunction)tac_member_take_new, METH_NOARGS,
     "_new_transports($self, /)\n--\n\n"
     "List of (fd, transport) of those that were not in it yet."},
    {"_add_callback", (PyCFunction)tac_call_add_callback, METH_O,
     "_add_callback($self, handle, /)\n--\n\nQueue a handle."},
    {"_attach", (PyCFunction)loop_attach, METH_VARARGS,
     "_attach($self, nursery, calls, errors=None, /)\n--\n\n"
     "Live in a nursery, with another (or the same) for the Trio tasks that\n"
     "asyncio code starts; a third is told of what callbacks let out, without\n"
     "it the drive raises that."},
    {"_dismantle", (PyCFunction)loop_dismantle_method, METH_NOARGS,
     "_dismantle($self, /)\n--\n\n"
     "Drop callbacks, timers and watches, and leave the nursery."},
    {"_drive", (PyCFunction)loop_drive_method, METH_NOARGS,
     "_drive($self, /)\n--\n\nRun turns until the loop is stopped."},
    {"_run_once", (PyCFunction)loop_run_once, METH_NOARGS,
     "_run_once($self, /)\n--\n\n"
     "Run one turn, also inside of a callback of the loop."},
    {"_turn", (PyCFunction)loop_turn_method, METH_O,
     "_turn($self, timeout, /)\n--\n\n"
     "The same, waiting `timeout` seconds at most; None: no limit."},
    {"_halt", (PyCFunction)loop_halt, METH_NOARGS,
     "_halt($self, /)\n--\n\n"
     "Run no more callbacks after those that are queued now."},
    {"_resume", (PyCFunction)loop_resume, METH_NOARGS,
     "_resume($self, /)\n--\n\nUndo _halt()."},
    {"_raise_out", (PyCFunction)loop_raise_out, METH_O,
     "_raise_out($self, exc, /)\n--\n\n"
     "Raise an exception out of open_loop()'s block, cancelling its body."},
    FAST_METHOD("_create_task_in", tac_scoped_create_task,
    "_create_task_in($self, scope, coro, /, **kwargs)\n--\n\n"
    "create_task() of a Task that is born in a CancelScope."),
    {"_move_task", (PyCFunction)(void (*)(void))tac_scoped_move_task,
     METH_FASTCALL,
     "_move_task($self, task, scope, /)\n--\n\n"
     "Move a Task that was born in a scope to another one."},
    {"_open_scope", (PyCFunction)(void (*)(void))tac_scope_watch_open,
     METH_FASTCALL,
     "_open_scope($self, scope, parent, callback, /)\n--\n\n"
     "Open a CancelScope that no Task has entered, under another or None; a\n"
     "callback is told of its cancel."},
    {"_throw_cancels", (PyCFunction)loop_throw_cancels, METH_NOARGS,
     "_throw_cancels($self, /)\n--\n\n"
     "Cancel Tasks in cancelled scopes now, not after the callback that runs."},
    {"_when_jobs_done", (PyCFunction)tac_executor_when_done, METH_O,
     "_when_jobs_done($self, future, /)\n--\n\n"
     "Resolve a Future when no executor job is left."},
    {"stop", (PyCFunction)loop_stop, METH_NOARGS,
     "stop($self, /)\n--\n\n"
     "Leave run_forever at the end of this turn, or of the next one.\n\n"
     "Flavor: sync. Thread-safe: no."},
    {"time", (PyCFunction)tac_own_clock_time, METH_NOARGS,
     "time($self, /)\n--\n\n"
     "The runner's clock, in float seconds: time.monotonic() by default."},
    {"get_debug", (PyCFunction)loop_get_debug, METH_NOARGS,
     "get_debug($self, /)\n--\n\nWhether debug mode is on."},
    {"is_closed", (PyCFunction)loop_is_closed, METH_NOARGS,
     "is_closed($self, /)\n--\n\nWhether the loop is closed."},
    {"is_running", (PyCFunction)loop_is_running, METH_NOARGS,
     "is_running($self, /)\n--\n\nWhether the loop is being run."},
    {NULL},
};
#undef FAST_METHOD

static PyMemberDef loop_members[] = {
    {"_task_factory", T_OBJECT, offsetof(TacLoop, task_factory), 0,
     "What makes the Tasks, or None."},
    {"_thread_id", T_OBJECT, offsetof(TacLoop, thread_id), 0,
     "The thread that runs the loop, or None."},
    {"_executor_limit", T_PYSSIZET, offsetof(TacLoop, jobs_limit), 0,
     "How many threads run_in_executor(None, ...) uses at most."},
    {"_queue_limit", T_PYSSIZET, offsetof(TacLoop, queue_limit), 0,
     "With more than this in its queue the loop takes no new work."},
    {"_ending", T_BOOL, offsetof(TacLoop, ending), 0,
     "Whether new crossings are refused, as by a closed loop."},
    {"_cancels_thrown", T_PYSSIZET, offsetof(TacLoop, scoped.thrown),
     READONLY, "How many cancels of scopes were thrown into Tasks."},
    {"_runner", T_OBJECT, offsetof(TacLoop, runner), READONLY,
     "The runner that the loop lives in, or None."},
    {"_nursery", T_OBJECT, offsetof(TacLoop, nursery), READONLY,
     "The nursery that the loop's own tasks live in, or None."},
    {"_calls", T_OBJECT, offsetof(TacLoop, calls), READONLY,
     "The nursery of Trio tasks that asyncio code starts, or None."},
    {NULL},
};

static PyGetSetDef loop_getset[] = {
    {"_debug", (getter)loop_get_debug_flag, (setter)loop_set_debug_flag,
     "Whether debug mode is on."},
    {"_closed", (getter)loop_get_closed_flag, (setter)loop_set_closed_flag,
     "Whether the loop is closed."},
    {"_stopping", (getter)loop_get_stopping_flag,
     (setter)loop_set_stopping_flag, "Whether run_forever is to return."},
    {"_clock_resolution", (getter)tac_own_clock_get_resolution,
     (setter)tac_own_clock_set_resolution,
     "Timers due within so many seconds run together."},
    {"_halted", (getter)loop_get_halted, NULL,
     "Whether callbacks are held back."},
    {"_executor_jobs", (getter)loop_get_jobs, NULL,
     "How many jobs run or wait for a thread."},
    {"_executor_busy", (getter)loop_get_busy, NULL,
     "How many threads are in a job, or just out of one."},
    {NULL},
};

PyDoc_STRVAR(loop_doc,
"The C half of an asyncio event loop; see trio_asyncio_c.EventLoop.");

/* What is set on a loop may be a method that C code calls itself. */
static int
loop_tp_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    TacLoop *loop = (TacLoop *)self;
    if (PyObject_GenericSetAttr(self, name, value) < 0) {
        return -1;
    }
    tac_create_on_attribute(loop, name);
    return tac_own_clock_on_attribute(loop, name);
}

static PyType_Slot loop_slots[] = {
    {Py_tp_doc, (void *)loop_doc},
    {Py_tp_new, loop_tp_new},
    {Py_tp_traverse, loop_tp_traverse},
    {Py_tp_clear, loop_tp_clear},
    {Py_tp_dealloc, loop_tp_dealloc},
    {Py_tp_setattro, loop_tp_setattro},
    {Py_tp_methods, loop_methods},
    {Py_tp_members, loop_members},
    {Py_tp_getset, loop_getset},
    {0, NULL},
};

static PyType_Spec loop_spec = {
    .name = "trio_asyncio_c._core.LoopCore",
    .basicsize = sizeof(TacLoop),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = loop_slots,
};

static PyMethodDef loop_functions[] = {
    {"set_task_home", loop_set_task_home, METH_O,
     "set_task_home($module, loop, /)\n--\n\n"
     "Make `loop` (or None) the running loop of the current Trio task and of\n"
     "the tasks that it spawns; returns the old one."},
    {"learn_asyncio", (PyCFunction)(void (*)(void))loop_learn_asyncio,
     METH_FASTCALL | METH_KEYWORDS,
     "learn_asyncio($module, step, /, *args, context=None)\n--\n\n"
     "Learn what an asyncio Task passes to call_soon, by being one."},
    {NULL},
};

int
tac_loop_add_types(PyObject *module, TacState *state)
{
    state->loop_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &loop_spec, NULL);
    if (state->loop_type == NULL
        || PyModule_AddFunctions(module, loop_functions) < 0) {
        return -1;
    }
    return PyModule_AddType(module, state->loop_type);
}
