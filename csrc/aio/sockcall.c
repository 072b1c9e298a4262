/* aio/sockcall.c - SockCall: the coroutine and the Future in one. */
#include "aio/sockcall.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/coro.h"

static int sockcall_on_ready(struct tac_sock_wait *wait);

PyObject *
tac_sockcall_new(TacLoop *loop, const struct tac_sock_ops *ops,
                 PyObject *const *args, Py_ssize_t nargs)
{
    TacState *state = loop->state;
    TacSockCall *call = (TacSockCall *)tac_freelist_pop(
        &state->free_sock_calls, state->sock_call_type);
    if (call == NULL) {
        call = PyObject_GC_New(TacSockCall, state->sock_call_type);
        if (call == NULL) {
            return NULL;
        }
    }
    memset((char *)call + sizeof(PyObject), 0,
           sizeof(TacSockCall) - sizeof(PyObject));
    call->ops = ops;
    call->loop = (TacLoop *)Py_NewRef(loop);
    call->wait.owner = (PyObject *)call;
    call->wait.ready = sockcall_on_ready;
    call->sock = Py_NewRef(args[0]);
    call->first = nargs > 1 ? Py_NewRef(args[1]) : NULL;
    call->second = nargs > 2 ? Py_NewRef(args[2]) : NULL;
    state->counts.sock_calls++;
    PyObject_GC_Track(call);
    return (PyObject *)call;
}

static void
sockcall_clear(TacSockCall *call)
{
    if (tac_sockwait_end(&call->wait)) {
        Py_DECREF(call);
    }
    Py_CLEAR(call->sock);
    Py_CLEAR(call->first);
    Py_CLEAR(call->second);
    Py_CLEAR(call->inner);
    Py_CLEAR(call->result);
    Py_CLEAR(call->callback);
    Py_CLEAR(call->context);
    Py_CLEAR(call->more);
    Py_CLEAR(call->message);
    PyBuffer_Release(&call->view);
}

/* No link and no cycle may be left between a call that has ended, its Task
 * and an error. */
static void
sockcall_finish(TacSockCall *call)
{
    call->life = TAC_SOCKCALL_FINISHED;
    sockcall_clear(call);
}

/* Waking ------------------------------------------------------------------ */

/* In the ring: queue all callbacks, for there is not exactly one. */
static int
sockcall_run_callbacks(PyObject *owner)
{
    TacSockCall *call = (TacSockCall *)owner;
    PyObject *more = call->more;
    Py_ssize_t count = more == NULL ? 0 : PyList_GET_SIZE(more);
    call->more = NULL;
    int rc = 0;
    for (Py_ssize_t i = 0; rc == 0 && i < count; i++) {
        PyObject *pair = PyList_GET_ITEM(more, i);
        struct tac_ring_item item = {
            .object = Py_NewRef(PyTuple_GET_ITEM(pair, 0)),
            .context = Py_NewRef(PyTuple_GET_ITEM(pair, 1)),
            .arg = Py_NewRef(owner),
            .kind = TAC_RING_STEP,
        };
        rc = tac_loop_push(call->loop, item);
    }
    Py_XDECREF(more);
    return rc;
}

/* Queue what runs when the wait has ended.  Steals a reference to the call.
 * 0, or -1 out of memory, no exception set and nothing stolen.  No Python
 * code. */
static int
sockcall_schedule(TacSockCall *call)
{
    TacLoop *loop = call->loop;
    bool one = call->callback != NULL && call->more == NULL;
    struct tac_ring_item step = {
        .object = call->callback,
        .context = call->context,
        .arg = (PyObject *)call,
        .kind = TAC_RING_STEP,
    };
    struct tac_ring_item native = {
        .object = (PyObject *)call,
        .fn = sockcall_run_callbacks,
        .kind = TAC_RING_NATIVE,
    };
    if (tac_ring_push(&loop->ring, one ? &step : &native) < 0) {
        return -1;
    }
    if (one) {
        call->callback = call->context = NULL;
    }
    if (!loop->halted) {
        tac_task_make_runnable(&loop->host);
    }
    return 0;
}

static int
sockcall_on_ready(struct tac_sock_wait *wait)
{
    TacSockCall *call = (TacSockCall *)wait->owner;
    if (sockcall_schedule(call) < 0) {
        return -1;
    }
    call->life = TAC_SOCKCALL_FIRED;
    return 0;
}

/* Waiting ----------------------------------------------------------------- */

/* Is a method of the loop still the C one?  1, 0, or -1 with an exception. */
static int
sockcall_is_own_method(TacLoop *loop, PyObject *name)
{
    PyObject *method = PyObject_GetAttr((PyObject *)loop, name);
    if (method == NULL) {
        return -1;
    }
    int own = PyCFunction_CheckExact(method)
              && PyCFunction_GET_SELF(method) == (PyObject *)loop;
    Py_DECREF(method);
    return own;
}

/* "File descriptor ... is used by transport ...": asked of the inherited
 * method, if there may be a transport with that number. */
static int
sockcall_check_transport(TacLoop *loop, int fd)
{
    TacState *state = loop->state;
    if (tac_member_is_free(loop, fd)) {
        return 0;
    }
    PyObject *number = PyLong_FromLong(fd);
    PyObject *done = number == NULL
                         ? NULL
                         : PyObject_CallMethodOneArg(
                               (PyObject *)loop,
                               state->str__ensure_fd_no_transport, number);
    Py_XDECREF(number);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int
sockcall_check_thread(TacLoop *loop)
{
    if (loop->runner->in_turns && tac_running(loop->state) != loop->runner) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Non-thread-safe operation invoked on an event loop "
                        "other than the current one");
        return -1;
    }
    return 0;
}

/* Wait for the socket.  What the loop's _add_reader() would refuse is refused
 * here in its order. */
static enum tac_sock_step
sockcall_wait(TacSockCall *call)
{
    TacLoop *loop = call->loop;
    bool reading = call->ops->events == TAC_WATCH_READ;
    int own = sockcall_is_own_method(
        loop, reading ? loop->state->str__add_reader
                      : loop->state->str__add_writer);
    if (own <= 0) {
        return own < 0 ? TAC_SOCK_ERROR : call->ops->inherit(call);
    }
    if (sockcall_check_transport(loop, call->fd) < 0
        || tac_loop_check_open(loop) < 0 || sockcall_check_thread(loop) < 0
        || tac_sockwait_begin(
               reading ? &loop->sock_readers : &loop->sock_writers,
               &loop->runner->poller, call->fd, call->ops->events,
               &call->wait)
               < 0)
    {
        return TAC_SOCK_ERROR;
    }
    call->life = TAC_SOCKCALL_WAITING;
    call->blocking = true;
    return TAC_SOCK_AGAIN;
}

/* Running ----------------------------------------------------------------- */

static PySendResult
sockcall_end(TacSockCall *call, enum tac_sock_step step, PyObject **result)
{
    if (step != TAC_SOCK_ERROR) {
        *result = call->result == NULL ? Py_NewRef(Py_None) : call->result;
        call->result = NULL;
        sockcall_finish(call);
        return PYGEN_RETURN;
    }
    *result = NULL;
    PyObject *exc = PyErr_GetRaisedException();
    sockcall_finish(call);
    PyErr_SetRaisedException(exc);
    return PYGEN_ERROR;
}

/* What `inner` has answered: its value is in `result`. */
static enum tac_sock_step
sockcall_take_inner(TacSockCall *call, PySendResult sent)
{
    if (sent == PYGEN_NEXT) {
        call->life = TAC_SOCKCALL_INNER;
        return TAC_SOCK_AGAIN;
    }
    if (sent == PYGEN_ERROR) {
        return TAC_SOCK_ERROR;
    }
    Py_CLEAR(call->inner);
    return call->inherited ? TAC_SOCK_DONE : call->ops->inner_done(call);
}

static enum tac_sock_step
sockcall_send_inner(TacSockCall *call, PyObject *value)
{
    Py_CLEAR(call->result);
    PySendResult sent = PyIter_Send(call->inner, value, &call->result);
    return sockcall_take_inner(call, sent);
}

/* Do what an attempt or a coroutine has answered. */
static PySendResult
sockcall_do(TacSockCall *call, enum tac_sock_step step, PyObject **result)
{
    /* Each turn of this gets nearer to an end: an attempt leads to a wait, a
     * wait at most to an inner coroutine. */
    while (step == TAC_SOCK_INNER
           || (step == TAC_SOCK_AGAIN && call->life == TAC_SOCKCALL_RUNNING))
    {
        step = step == TAC_SOCK_INNER ? sockcall_send_inner(call, Py_None)
                                      : sockcall_wait(call);
    }
    if (step != TAC_SOCK_AGAIN) {
        return sockcall_end(call, step, result);
    }
    if (call->life == TAC_SOCKCALL_INNER) {
        *result = call->result;
        call->result = NULL;
    }
    else {
        *result = Py_NewRef(call);
    }
    return PYGEN_NEXT;
}

static void
sockcall_raise_cancelled(TacSockCall *call)
{
    PyObject *type = call->loop->state->aio_cancelled_error;
    PyObject *exc = call->message == NULL
                        ? PyObject_CallNoArgs(type)
                        : PyObject_CallOneArg(type, call->message);
    if (exc != NULL) {
        PyErr_SetObject(type, exc);
        Py_DECREF(exc);
    }
}

static enum tac_sock_step
sockcall_resume(TacSockCall *call, PyObject *value)
{
    enum tac_sock_life life = call->life;
    call->life = TAC_SOCKCALL_RUNNING;
    switch (life) {
    case TAC_SOCKCALL_NEW:
        return call->ops->begin(call);
    case TAC_SOCKCALL_FIRED:
        return call->ops->attempt(call);
    case TAC_SOCKCALL_INNER:
        return sockcall_send_inner(call, value);
    case TAC_SOCKCALL_CANCELLED:
        sockcall_raise_cancelled(call);
        return TAC_SOCK_ERROR;
    default:
        PyErr_SetString(PyExc_RuntimeError,
                        "await wasn't used with future");
        return TAC_SOCK_ERROR;
    }
}

/* Errors that leave the call as it is.  0, or -1 with an exception. */
static int
sockcall_check_resumable(TacSockCall *call)
{
    if (call->life == TAC_SOCKCALL_FINISHED) {
        PyErr_SetString(PyExc_RuntimeError,
                        "cannot reuse already awaited coroutine");
        return -1;
    }
    if (call->life == TAC_SOCKCALL_RUNNING) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return -1;
    }
    return 0;
}

static PySendResult
sockcall_am_send(TacSockCall *call, PyObject *value, PyObject **result)
{
    *result = NULL;
    if (sockcall_check_resumable(call) < 0) {
        return PYGEN_ERROR;
    }
    Py_INCREF(call);
    PySendResult sent =
        sockcall_do(call, sockcall_resume(call, value), result);
    Py_DECREF(call);
    return sent;
}

static PyObject *
sockcall_tp_iternext(TacSockCall *call)
{
    PyObject *result;
    PySendResult sent = sockcall_am_send(call, Py_None, &result);
    return tac_coro_sent(sent, result, true);
}

static PyObject *
sockcall_send(TacSockCall *call, PyObject *value)
{
    PyObject *result;
    if (call->life == TAC_SOCKCALL_NEW && value != Py_None) {
        PyErr_SetString(PyExc_TypeError, "can't send non-None value to a "
                                         "just-started coroutine");
        return NULL;
    }
    PySendResult sent = sockcall_am_send(call, value, &result);
    return tac_coro_sent(sent, result, false);
}

/* Throw into `inner`. */
static enum tac_sock_step
sockcall_throw_inner(TacSockCall *call, PyObject *exc)
{
    call->life = TAC_SOCKCALL_RUNNING;
    Py_CLEAR(call->result);
    PyObject *yielded = PyObject_CallMethodOneArg(
        call->inner, call->loop->state->str_throw, exc);
    if (yielded != NULL) {
        call->result = yielded;
        return sockcall_take_inner(call, PYGEN_NEXT);
    }
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return TAC_SOCK_ERROR;
    }
    PyObject *stop = PyErr_GetRaisedException();
    call->result = PyObject_GetAttr(stop, call->loop->state->str_value);
    Py_DECREF(stop);
    return sockcall_take_inner(call, call->result == NULL ? PYGEN_ERROR
                                                          : PYGEN_RETURN);
}

/* Raise an exception in the awaiter. */
static enum tac_sock_step
sockcall_throw_here(PyObject *exc)
{
    PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
    return TAC_SOCK_ERROR;
}

static PyObject *
sockcall_throw(TacSockCall *call, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *exc = tac_coro_thrown(args, nargs);
    if (exc == NULL || sockcall_check_resumable(call) < 0) {
        Py_XDECREF(exc);
        return NULL;
    }
    PyObject *result;
    Py_INCREF(call);
    enum tac_sock_step step = call->life == TAC_SOCKCALL_INNER
                                  ? sockcall_throw_inner(call, exc)
                                  : sockcall_throw_here(exc);
    PySendResult sent = sockcall_do(call, step, &result);
    Py_DECREF(call);
    Py_DECREF(exc);
    return tac_coro_sent(sent, result, false);
}

static PyObject *
sockcall_close(TacSockCall *call, PyObject *noargs)
{
    if (call->life == TAC_SOCKCALL_RUNNING
        && sockcall_check_resumable(call) < 0) {
        return NULL;
    }
    PyObject *inner = call->inner;
    call->inner = NULL;
    Py_INCREF(call);
    sockcall_finish(call);
    Py_DECREF(call);
    PyObject *closed =
        inner == NULL ? Py_NewRef(Py_None)
                      : PyObject_CallMethod(inner, "close", NULL);
    Py_XDECREF(inner);
    return closed;
}

/* As a Future ------------------------------------------------------------- */

/* A callback that is not the only one, or comes too late for that. */
static int
sockcall_add_another(TacSockCall *call, PyObject *fn, PyObject *context)
{
    if (call->life != TAC_SOCKCALL_WAITING) {
        struct tac_ring_item item = {
            .object = Py_NewRef(fn),
            .context = Py_NewRef(context),
            .arg = Py_NewRef(call),
            .kind = TAC_RING_STEP,
        };
        return tac_loop_push(call->loop, item);
    }
    if (call->more == NULL) {
        call->more = call->callback == NULL
                         ? PyList_New(0)
                         : Py_BuildValue("[(OO)]", call->callback,
                                         call->context);
        if (call->more == NULL) {
            return -1;
        }
        Py_CLEAR(call->callback);
        Py_CLEAR(call->context);
    }
    PyObject *pair = PyTuple_Pack(2, fn, context);
    int rc = pair == NULL ? -1 : PyList_Append(call->more, pair);
    Py_XDECREF(pair);
    return rc;
}

static PyObject *
sockcall_add_done_callback(TacSockCall *call, PyObject *const *args,
                           Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"fn", "context", NULL};
    static const struct tac_params params = {"add_done_callback", 1, 1,
                                             names};
    PyObject *bound[2] = {NULL, Py_None};
    if (tac_args_bind(&params, args, nargs, kwnames, bound) < 0
        || tac_loop_check_open(call->loop) < 0)
    {
        return NULL;
    }
    PyObject *context = bound[1] == Py_None ? PyContext_CopyCurrent()
                                            : Py_NewRef(bound[1]);
    if (context == NULL) {
        return NULL;
    }
    int rc = 0;
    if (call->life == TAC_SOCKCALL_WAITING && call->callback == NULL
        && call->more == NULL)
    {
        call->callback = Py_NewRef(bound[0]);
        call->context = Py_NewRef(context);
    }
    else {
        rc = sockcall_add_another(call, bound[0], context);
    }
    Py_DECREF(context);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

/* Of the list of callbacks; compared as Futures do. */
static Py_ssize_t
sockcall_remove_from_list(TacSockCall *call, PyObject *fn)
{
    PyObject *kept = PyList_New(0);
    Py_ssize_t removed = 0;
    for (Py_ssize_t i = 0;
         kept != NULL && call->more != NULL && i < PyList_GET_SIZE(call->more);
         i++)
    {
        PyObject *pair = Py_NewRef(PyList_GET_ITEM(call->more, i));
        int same =
            PyObject_RichCompareBool(PyTuple_GET_ITEM(pair, 0), fn, Py_EQ);
        if (same < 0 || (same == 0 && PyList_Append(kept, pair) < 0)) {
            Py_CLEAR(kept);
        }
        removed += same > 0;
        Py_DECREF(pair);
    }
    if (kept == NULL) {
        return -1;
    }
    Py_XSETREF(call->more, kept);
    return removed;
}

static PyObject *
sockcall_remove_done_callback(TacSockCall *call, PyObject *fn)
{
    if (call->more != NULL) {
        Py_ssize_t removed = sockcall_remove_from_list(call, fn);
        return removed < 0 ? NULL : PyLong_FromSsize_t(removed);
    }
    if (call->callback == NULL) {
        return PyLong_FromLong(0);
    }
    PyObject *callback = Py_NewRef(call->callback);
    int same = PyObject_RichCompareBool(callback, fn, Py_EQ);
    if (same > 0 && call->callback == callback) {
        Py_CLEAR(call->callback);
        Py_CLEAR(call->context);
    }
    Py_DECREF(callback);
    return same < 0 ? NULL : PyLong_FromLong(same);
}

/* End the wait at once; the Task is told of it by its callback. */
static PyObject *
sockcall_cancel(TacSockCall *call, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    static const char *const names[] = {"msg", NULL};
    static const struct tac_params params = {"cancel", 1, 0, names};
    PyObject *message = Py_None;
    if (tac_args_bind(&params, args, nargs, kwnames, &message) < 0) {
        return NULL;
    }
    if (call->life != TAC_SOCKCALL_WAITING) {
        Py_RETURN_FALSE;
    }
    if (tac_loop_check_open(call->loop) < 0) {
        return NULL;
    }
    Py_INCREF(call);
    if (sockcall_schedule(call) < 0) {
        Py_DECREF(call);
        return PyErr_NoMemory();
    }
    call->life = TAC_SOCKCALL_CANCELLED;
    call->message = message == Py_None ? NULL : Py_NewRef(message);
    if (tac_sockwait_end(&call->wait)) {
        Py_DECREF(call);
    }
    Py_RETURN_TRUE;
}

static PyObject *
sockcall_cancelled(TacSockCall *call, PyObject *noargs)
{
    return PyBool_FromLong(call->life == TAC_SOCKCALL_CANCELLED);
}

static PyObject *
sockcall_done(TacSockCall *call, PyObject *noargs)
{
    return PyBool_FromLong(call->life != TAC_SOCKCALL_WAITING);
}

/* None: the wait has ended, and what the socket gives is taken when the
 * coroutine is resumed. */
static PyObject *
sockcall_result(TacSockCall *call, PyObject *noargs)
{
    if (call->life == TAC_SOCKCALL_CANCELLED) {
        sockcall_raise_cancelled(call);
        return NULL;
    }
    if (call->life == TAC_SOCKCALL_WAITING) {
        PyObject *exceptions = PyImport_ImportModule("asyncio.exceptions");
        PyObject *type =
            exceptions == NULL
                ? NULL
                : PyObject_GetAttrString(exceptions, "InvalidStateError");
        if (type != NULL) {
            PyErr_SetString(type, "Result is not set.");
        }
        Py_XDECREF(type);
        Py_XDECREF(exceptions);
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
sockcall_get_loop(TacSockCall *call, PyObject *noargs)
{
    return Py_NewRef(call->loop);
}

/* None where it is no Future (I3): asyncio asks this to tell coroutines from
 * Futures. */
static PyObject *
sockcall_get_blocking(TacSockCall *call, void *closure)
{
    switch (call->life) {
    case TAC_SOCKCALL_WAITING:
    case TAC_SOCKCALL_FIRED:
    case TAC_SOCKCALL_CANCELLED:
        return PyBool_FromLong(call->blocking);
    default:
        Py_RETURN_NONE;
    }
}

static int
sockcall_set_blocking(TacSockCall *call, PyObject *value, void *closure)
{
    int blocking = value == NULL ? 0 : PyObject_IsTrue(value);
    if (blocking >= 0) {
        call->blocking = blocking;
    }
    return blocking < 0 ? -1 : 0;
}

/* The object -------------------------------------------------------------- */

static PyObject *
sockcall_am_await(PyObject *call)
{
    return Py_NewRef(call);
}

static PyObject *
sockcall_py_await(PyObject *call, PyObject *noargs)
{
    return Py_NewRef(call);
}

static PyObject *
sockcall_get_name(TacSockCall *call, void *closure)
{
    return PyUnicode_FromString(call->ops->name);
}

static PyObject *
sockcall_get_qualname(TacSockCall *call, void *closure)
{
    return PyUnicode_FromString(call->ops->qualname);
}

static PyObject *
sockcall_tp_repr(TacSockCall *call)
{
    static const char *const lives[] = {
        "not started", "running", "waiting", "ready",
        "cancelled",   "waiting", "done",
    };
    return PyUnicode_FromFormat("<coroutine object %s at %p, %s>",
                                call->ops->qualname, call,
                                lives[call->life]);
}

static int
sockcall_tp_traverse(TacSockCall *call, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(call));
    Py_VISIT((PyObject *)call->loop);
    Py_VISIT(call->sock);
    Py_VISIT(call->first);
    Py_VISIT(call->second);
    Py_VISIT(call->inner);
    Py_VISIT(call->result);
    Py_VISIT(call->callback);
    Py_VISIT(call->context);
    Py_VISIT(call->more);
    Py_VISIT(call->message);
    Py_VISIT(call->view.obj);
    return 0;
}

/* The loop stays: it is what tells where the state and the tables are. */
static int
sockcall_tp_clear(TacSockCall *call)
{
    sockcall_clear(call);
    return 0;
}

static void
sockcall_tp_finalize(TacSockCall *call)
{
    if (call->life == TAC_SOCKCALL_NEW) {
        call->life = TAC_SOCKCALL_FINISHED;
        tac_coro_warn_never_awaited((PyObject *)call, call->ops->qualname);
    }
}

static void
sockcall_tp_dealloc(TacSockCall *call)
{
    /* The GC marks a finalized object for good, so it is not reused. */
    bool reusable = call->life != TAC_SOCKCALL_NEW
                    && !PyObject_GC_IsFinalized((PyObject *)call);
    if (call->life == TAC_SOCKCALL_NEW
        && PyObject_CallFinalizerFromDealloc((PyObject *)call) < 0) {
        return; /* resurrected by the warning's handler */
    }
    TacState *state = call->loop->state;
    PyTypeObject *type = Py_TYPE(call);
    PyObject_GC_UnTrack(call);
    sockcall_clear(call);
    Py_CLEAR(call->loop);
    state->counts.sock_calls--;
    if (!reusable
        || !tac_freelist_push(&state->free_sock_calls, state->sock_call_type,
                              (PyObject *)call))
    {
        PyObject_GC_Del(call);
    }
    Py_DECREF(type);
}

#define FAST_METHOD(name, fn, flags, doc) \
    {name, (PyCFunction)(void (*)(void))fn, METH_FASTCALL | flags, doc}

static PyMethodDef sockcall_methods[] = {
    {"send", (PyCFunction)sockcall_send, METH_O,
     "send($self, value, /)\n--\n\nResume; only None may be sent at first."},
    FAST_METHOD("throw", sockcall_throw, 0,
     "throw($self, exc, /)\n--\n\nGive the wait up and raise `exc`."),
    {"close", (PyCFunction)sockcall_close, METH_NOARGS,
     "close($self, /)\n--\n\nGive the wait up."},
    {"__await__", sockcall_py_await, METH_NOARGS,
     "__await__($self, /)\n--\n\nReturn an iterator to be used in await."},
    FAST_METHOD("add_done_callback", sockcall_add_done_callback,
     METH_KEYWORDS,
     "add_done_callback($self, fn, *, context=None)\n--\n\n"
     "Run fn(self) when the wait has ended."),
    {"remove_done_callback", (PyCFunction)sockcall_remove_done_callback,
     METH_O,
     "remove_done_callback($self, fn, /)\n--\n\n"
     "Forget a callback; returns how many were equal to it."},
    FAST_METHOD("cancel", sockcall_cancel, METH_KEYWORDS,
     "cancel($self, msg=None)\n--\n\n"
     "End the wait with CancelledError; returns whether there was one."),
    {"cancelled", (PyCFunction)sockcall_cancelled, METH_NOARGS,
     "cancelled($self, /)\n--\n\nWhether the wait was cancelled."},
    {"done", (PyCFunction)sockcall_done, METH_NOARGS,
     "done($self, /)\n--\n\nWhether the wait has ended."},
    {"result", (PyCFunction)sockcall_result, METH_NOARGS,
     "result($self, /)\n--\n\nNone, when the wait has ended."},
    {"exception", (PyCFunction)sockcall_result, METH_NOARGS,
     "exception($self, /)\n--\n\nNone, when the wait has ended."},
    {"get_loop", (PyCFunction)sockcall_get_loop, METH_NOARGS,
     "get_loop($self, /)\n--\n\nThe loop that the call is of."},
    {NULL},
};
#undef FAST_METHOD

static PyGetSetDef sockcall_getset[] = {
    {"__name__", (getter)sockcall_get_name, NULL, NULL},
    {"__qualname__", (getter)sockcall_get_qualname, NULL, NULL},
    {"_asyncio_future_blocking", (getter)sockcall_get_blocking,
     (setter)sockcall_set_blocking,
     "Whether a Task is to wait for it; None: it is no Future."},
    {NULL},
};

PyDoc_STRVAR(sockcall_doc,
"What sock_recv() and its like return: await it.");

static PyType_Slot sockcall_slots[] = {
    {Py_tp_doc, (void *)sockcall_doc},
    {Py_tp_traverse, sockcall_tp_traverse},
    {Py_tp_clear, sockcall_tp_clear},
    {Py_tp_finalize, sockcall_tp_finalize},
    {Py_tp_dealloc, sockcall_tp_dealloc},
    {Py_tp_repr, sockcall_tp_repr},
    {Py_tp_iter, sockcall_am_await},
    {Py_tp_iternext, sockcall_tp_iternext},
    {Py_am_await, sockcall_am_await},
    {Py_am_send, sockcall_am_send},
    {Py_tp_methods, sockcall_methods},
    {Py_tp_getset, sockcall_getset},
    {0, NULL},
};

static PyType_Spec sockcall_spec = {
    .name = "trio_asyncio_c._core.SockCall",
    .basicsize = sizeof(TacSockCall),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = sockcall_slots,
};

int
tac_sockcall_add_types(PyObject *module, TacState *state)
{
    state->sock_call_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &sockcall_spec, NULL);
    return state->sock_call_type == NULL ? -1 : 0;
}
