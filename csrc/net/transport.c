/* net/transport.c - the life of a transport: begin, hold, close, lose. */
#include "net/transport.h"

#include "aio/call.h"
#include "base/compat.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* Writes in vain before each is warned of; asyncio's constant. */
#define TRANSPORT_LOST_THRESHOLD 5

/* The C task -------------------------------------------------------------- */

static TacTransport *
transport_of_task(struct tac_task *task)
{
    return tac_list_entry(task, TacTransport, task);
}

static int
transport_step(struct tac_task *task)
{
    return 0; /* never runnable: events go to the ring directly */
}

/* Tasks that are being cancelled may need the connection to unwind: only its
 * owner or the loop's end ends it. */
static int
transport_cancel(struct tac_task *task, const struct tac_cause *cause)
{
    return 0;
}

static PyObject *
transport_owner(struct tac_task *task)
{
    return (PyObject *)transport_of_task(task);
}

static PyObject *
transport_object(struct tac_task *task)
{
    return tac_native_task(transport_of_task(task)->state, task);
}

static void
transport_batch_end(struct tac_task *task)
{
    TacTransport *t = transport_of_task(task);
    Py_INCREF(t);
    if (t->kind->flush(t) < 0) {
        /* Of an exception handler: there is no callback to leave by. */
        PyErr_WriteUnraisable(t->transport);
    }
    tac_transport_update_held(t);
    Py_DECREF(t);
}

static const struct tac_task_ops transport_task_ops = {
    .name = "<asyncio transport>",
    .step = transport_step,
    .cancel = transport_cancel,
    .owner = transport_owner,
    .object = transport_object,
    .batch_end = transport_batch_end,
};

/* The member of the loop -------------------------------------------------- */

static TacTransport *
transport_of_member(struct tac_loop_member *member)
{
    return tac_list_entry(member, TacTransport, member);
}

static int
transport_member_traverse(struct tac_loop_member *member, visitproc visit,
                       void *arg)
{
    TacTransport *t = transport_of_member(member);
    if (t->held) {
        Py_VISIT(t->transport);
    }
    return 0;
}

void
tac_transport_arm(TacTransport *t, int fd, enum tac_watch_events event)
{
    tac_watch_arm(&t->watch, fd, tac_watch_events(&t->watch) | event);
}

void
tac_transport_disarm(TacTransport *t, int events)
{
    struct tac_watch *watch = &t->watch;
    struct tac_poller *poller = tac_watch_poller(watch);
    if (poller == NULL || !tac_poller_is_open(poller)) {
        return; /* a crashed run's is not open */
    }
    int armed = tac_watch_events(watch);
    int left = armed & ~events;
    if (left == 0) {
        tac_watch_disarm(watch);
    }
    else if (left != armed) {
        tac_watch_arm(watch, watch->io.fd, left);
    }
}

static void
transport_member_drop(struct tac_loop_member *member)
{
    TacTransport *t = transport_of_member(member);
    tac_list_unlink(&member->node);
    tac_member_leave(t->loop, member, t->shown_fd);
    tac_transport_disarm(t, TAC_TRANSPORT_BOTH);
    tac_transport_drop_flush(t);
    tac_ctask_unlink(&t->task);
    tac_transport_update_held(t);
}

static int
transport_member_watched(struct tac_loop_member *member, int *fd)
{
    const TacTransport *t = transport_of_member(member);
    *fd = t->shown_fd;
    return (tac_transport_reads(t) ? TAC_MEMBER_READS : 0)
           | (tac_transport_writes(t) ? TAC_MEMBER_WRITES : 0);
}

static bool
transport_member_is_closing(struct tac_loop_member *member)
{
    return transport_of_member(member)->closing;
}

static PyObject *
transport_member_object(struct tac_loop_member *member)
{
    return transport_of_member(member)->transport;
}

static const struct tac_member_ops transport_member_ops = {
    .watched = transport_member_watched,
    .traverse = transport_member_traverse,
    .drop = transport_member_drop,
    .is_closing = transport_member_is_closing,
    .object = transport_member_object,
};

void
tac_transport_update_held(TacTransport *t)
{
    bool hold = tac_list_is_linked(&t->member.node)
                && (tac_watch_is_armed(&t->watch)
                    || tac_transport_has_flush(t));
    if (hold == t->held || t->transport == NULL) {
        return;
    }
    t->held = hold;
    if (hold) {
        Py_INCREF(t->transport);
    }
    else {
        Py_DECREF(t->transport); /* may be the end of us */
    }
}

/* Calls ------------------------------------------------------------------- */

PyObject *
tac_transport_call_protocol(TacTransport *t, PyObject *name, PyObject *arg)
{
    PyObject *protocol = Py_XNewRef(t->protocol);
    if (protocol == NULL) { /* as a call of None's method */
        protocol = Py_NewRef(Py_None);
    }
    PyObject *args[] = {protocol, arg};
    size_t nargs = (arg == NULL ? 1 : 2) | PY_VECTORCALL_ARGUMENTS_OFFSET;
    PyObject *result = PyObject_VectorcallMethod(name, args, nargs, NULL);
    Py_DECREF(protocol);
    return result;
}

int
tac_transport_call_soon(TacTransport *t, PyObject *callback, PyObject *arg)
{
    if (t->loop == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the transport is closed");
        return -1;
    }
    PyObject *args[] = {(PyObject *)t->loop, callback, arg, t->context};
    Py_ssize_t nargs = 3;
    if (arg == NULL) {
        nargs = 2;
        args[2] = t->context;
    }
    return tac_call_soon_of_loop(
        t->state, args, (size_t)nargs | PY_VECTORCALL_ARGUMENTS_OFFSET,
        t->context_given ? t->state->context_kwnames : NULL);
}

int
tac_transport_report(TacTransport *t, const char *message)
{
    if (PyErr_ExceptionMatches(PyExc_SystemExit)
        || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)
        || t->loop == NULL)
    {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *context = Py_BuildValue(
        "{sssOsOsO}", "message", message, "exception", exc, "transport",
        t->transport == NULL ? Py_None : t->transport, "protocol",
        t->protocol == NULL ? Py_None : t->protocol);
    PyObject *result = NULL;
    if (context != NULL) {
        result = PyObject_CallMethodOneArg(
            (PyObject *)t->loop, t->state->str_call_exception_handler,
            context);
        Py_DECREF(context);
    }
    Py_DECREF(exc);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int
tac_transport_report_callback(TacTransport *t, const char *method)
{
    if (PyErr_ExceptionMatches(PyExc_SystemExit)
        || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)
        || t->loop == NULL)
    {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *message = PyUnicode_FromFormat("Exception in callback %s.%s()",
                                             t->kind->name, method);
    PyObject *context =
        message == NULL ? NULL
                        : Py_BuildValue("{sNsO}", "message", message,
                                        "exception", exc);
    PyObject *result =
        context == NULL
            ? NULL
            : PyObject_CallMethodOneArg(
                (PyObject *)t->loop, t->state->str_call_exception_handler,
                context);
    Py_XDECREF(context);
    Py_DECREF(exc);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int
tac_transport_log(TacTransport *t, const char *what)
{
    PyObject *hook = t->state->hook_log_transport;
    if (t->loop == NULL || !t->loop->debug || hook == NULL) {
        return 0;
    }
    PyObject *result = PyObject_CallFunction(hook, "Os", t->transport, what);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int
tac_transport_log_closed(TacTransport *t)
{
    PyObject *hook = t->state->hook_log_closed;
    if (t->loop == NULL || !t->loop->debug || hook == NULL) {
        return 0;
    }
    PyObject *result = PyObject_CallOneArg(hook, t->transport);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int
tac_transport_run_in(TacTransport *t, PyObject *context, tac_transport_fn fn)
{
    Py_INCREF(context);
    if (PyContext_Enter(context) < 0) {
        /* A turn inside of a callback of ours, which uses it. */
        PyErr_Clear();
        Py_SETREF(context, PyContext_Copy(context));
        if (context == NULL || PyContext_Enter(context) < 0) {
            Py_XDECREF(context);
            return -1;
        }
    }
    Py_INCREF(t);
    int rc = fn(t);
    PyObject *exc = rc < 0 ? PyErr_GetRaisedException() : NULL;
    (void)PyContext_Exit(context);
    Py_DECREF(context);
    Py_DECREF(t);
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
    }
    return rc;
}

/* glibc keeps as much free memory as the largest block was that it had from
 * the kernel by itself: else the objects of large messages are given back and
 * faulted in again, message by message. */
static void
transport_keep_heap(void)
{
    void *volatile block = malloc(1024 * 1024);
    free(block);
}

char *
tac_transport_read_buffer(TacState *state)
{
    if (state->read_buffer == NULL) {
        /* At the beginning of a page: to where malloc puts large blocks, some
         * processors copy half as fast. */
        state->read_buffer = aligned_alloc(4096, TAC_TRANSPORT_READ_BYTES);
        if (state->read_buffer == NULL) {
            PyErr_NoMemory();
        }
        transport_keep_heap();
    }
    return state->read_buffer;
}

/* Events ------------------------------------------------------------------ */

static int
transport_on_read_item(PyObject *transport)
{
    TacTransport *t = tac_transport_of(transport);
    if (t == NULL) {
        return 0; /* the collector has been there */
    }
    t->read_queued = false;
    if (!tac_transport_reads(t) || t->conn_lost != 0) {
        return 0; /* paused or closed meanwhile */
    }
    return tac_transport_run_in(t, t->context, t->kind->read);
}

static int
transport_on_write_item(PyObject *transport)
{
    TacTransport *t = tac_transport_of(transport);
    if (t == NULL) {
        return 0;
    }
    t->write_queued = false;
    if (!tac_transport_writes(t) || t->conn_lost != 0) {
        return 0;
    }
    Py_INCREF(t);
    int rc = tac_transport_run_in(t, t->context, t->kind->write);
    PyObject *exc = PyErr_GetRaisedException();
    tac_transport_update_held(t);
    Py_DECREF(t);
    PyErr_SetRaisedException(exc);
    return rc;
}

/* Queue an item; whether it is.  In a libev callback: no Python code.  Should
 * memory run out, the next poll reports the fd again. */
static bool
transport_on_event(TacTransport *t, tac_ring_fn fn, const char *method)
{
    struct tac_ring_item item = {
        .object = t->transport, /* armed: so it is held */
        .method = method,
        .fn = fn,
        .kind = TAC_RING_NATIVE,
    };
    TacLoop *loop = t->loop;
    if (tac_ring_push(&loop->ring, &item) < 0) {
        return false;
    }
    Py_INCREF(t->transport);
    if (!loop->halted) {
        tac_task_make_runnable(&loop->host);
    }
    return true;
}

/* An fd that was closed behind our back is silent until it is removed. */
static void
transport_on_ready(struct tac_watch *watch, int events, int error)
{
    TacTransport *t = tac_list_entry(watch, TacTransport, watch);
    if ((events & TAC_WATCH_READ) && !t->read_queued) {
        t->read_queued =
            transport_on_event(t, transport_on_read_item, "_read_ready");
    }
    if ((events & TAC_WATCH_WRITE) && !t->write_queued) {
        t->write_queued = transport_on_event(t, transport_on_write_item,
                                             t->kind->write_method);
    }
}

int
tac_transport_queue_read(TacTransport *t)
{
    if (t->read_queued) {
        return 0;
    }
    t->read_queued = true;
    return tac_loop_push_native(t->loop, transport_on_read_item, t->transport,
                                "_read_ready");
}

/* Writing ----------------------------------------------------------------- */

int
tac_transport_flush(TacTransport *t)
{
    if (!tac_transport_has_flush(t)) {
        return 0;
    }
    Py_INCREF(t);
    int rc = t->kind->flush(t);
    tac_transport_update_held(t);
    Py_DECREF(t);
    return rc;
}

static int
transport_tell(TacTransport *t, PyObject *name, const char *message)
{
    PyObject *result = tac_transport_call_protocol(t, name, NULL);
    if (result == NULL) {
        return tac_transport_report(t, message);
    }
    Py_DECREF(result);
    return 0;
}

int
tac_transport_maybe_pause(TacTransport *t)
{
    if (t->protocol_paused || t->kind->size(t) <= t->high_bytes
        || tac_transport_flush(t) < 0 || t->kind->size(t) <= t->high_bytes)
    {
        return PyErr_Occurred() ? -1 : 0;
    }
    t->protocol_paused = true;
    return transport_tell(t, t->state->str_pause_writing,
                          "protocol.pause_writing() failed");
}

int
tac_transport_maybe_resume(TacTransport *t)
{
    if (!t->protocol_paused || t->kind->size(t) > t->low_bytes) {
        return 0;
    }
    t->protocol_paused = false;
    return transport_tell(t, t->state->str_resume_writing,
                          "protocol.resume_writing() failed");
}

int
tac_transport_write_in_vain(TacTransport *t)
{
    PyObject *hook = t->state->hook_log_lost_write;
    if (t->conn_lost++ < TRANSPORT_LOST_THRESHOLD || hook == NULL) {
        return 0;
    }
    PyObject *result = PyObject_CallNoArgs(hook);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Beginning --------------------------------------------------------------- */

int
tac_transport_fd(const TacTransport *t)
{
    int fd = t->fd;
    if (t->sock != NULL && !t->kind->is_pipe) { /* it may be closed */
        fd = *(int *)((char *)t->sock + t->state->socket_fd_offset);
    }
    if (fd < 0) {
        errno = EBADF;
    }
    return fd;
}

void
tac_transport_see_signals(void)
{
    if (errno == EINTR && PyErr_CheckSignals() == 0) {
        errno = EAGAIN;
    }
}

static bool
transport_may_read(const TacTransport *t)
{
    return !t->closing && !t->paused && !t->conn_lost
           && tac_list_is_linked(&t->member.node)
           && !tac_transport_reads(t);
}

/* 0, or -1 with OSError. */
static int
transport_arm_reader(TacTransport *t)
{
    int fd = tac_transport_fd(t);
    if (fd < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    tac_transport_arm(t, fd, TAC_WATCH_READ);
    tac_transport_update_held(t);
    return 0;
}

int
tac_transport_read_more(TacTransport *t)
{
    if (!transport_may_read(t)) {
        return 0;
    }
    if (!t->context_given) {
        PyObject *context = PyContext_CopyCurrent();
        if (context == NULL) {
            return -1;
        }
        Py_XSETREF(t->context, context);
    }
    return transport_arm_reader(t);
}

void
tac_transport_read_no_more(TacTransport *t)
{
    tac_transport_disarm(t, TAC_WATCH_READ);
    tac_transport_update_held(t);
}

/* By the ring, right after connection_made(), in the context that the
 * transport was made with. */
static int
transport_begin_reading(TacTransport *t)
{
    if (!transport_may_read(t) || transport_arm_reader(t) == 0) {
        return 0;
    }
    return tac_transport_fatal(t, t->kind->read_error);
}

static int
transport_on_begin(PyObject *transport)
{
    TacTransport *t = tac_transport_of(transport);
    return t == NULL || t->context == NULL
               ? 0
               : tac_transport_run_in(t, t->context, transport_begin_reading);
}

int
tac_transport_enter_table(TacTransport *t)
{
    return tac_member_enter(t->loop, &t->member, t->fd);
}

int
tac_transport_begin(TacTransport *t, PyObject *waiter)
{
    TacState *state = t->state;
    PyObject *made = PyObject_GetAttr(t->protocol, state->str_connection_made);
    if (made == NULL) {
        return -1;
    }
    int rc = tac_transport_call_soon(t, made, t->transport);
    Py_DECREF(made);
    if (rc == 0) {
        rc = tac_loop_push_native(t->loop, transport_on_begin, t->transport,
                                  NULL);
    }
    if (rc < 0 || waiter == NULL) {
        return rc;
    }
    PyObject *args[] = {(PyObject *)t->loop, state->aio_set_result, waiter,
                        Py_None, t->context};
    return tac_call_soon_of_loop(
        state, args, 4 | PY_VECTORCALL_ARGUMENTS_OFFSET,
        t->context_given ? state->context_kwnames : NULL);
}

TacTransport *
tac_transport_new(PyTypeObject *type, PyObject *transport,
                  const struct tac_transport_kind *kind, TacState *state,
                  const struct tac_transport_spec *spec)
{
    /* Checked here, for a loop that was never initialised has no poller. */
    TacTransport *t = tac_loop_check_open(spec->loop) < 0
                          ? NULL
                          : (TacTransport *)type->tp_alloc(type, 0);
    if (t == NULL) {
        if (spec->sock == NULL) {
            (void)close(spec->fd);
        }
        return NULL;
    }
    state->counts.transports++;
    state->counts.made[kind->made]++;
    t->state = state;
    t->kind = kind;
    t->loop = (TacLoop *)Py_NewRef(spec->loop);
    t->transport = transport;
    t->sock = Py_XNewRef(spec->sock);
    t->context = Py_XNewRef(spec->context);
    t->context_given = spec->context != NULL;
    t->fd = t->shown_fd = spec->fd;
    t->high_bytes = 64 * 1024;
    t->low_bytes = 16 * 1024;
    t->member.ops = &transport_member_ops;
    tac_watch_init(&t->watch, &spec->loop->runner->poller,
                   transport_on_ready);
    TacTransport **slot = tac_transport_slot(transport);
    Py_XSETREF(*slot, t); /* takes the reference */
    return t;
}

int
tac_transport_enter(TacTransport *t, PyObject *protocol)
{
    tac_list_append(&t->loop->members, &t->member.node);
    tac_ctask_start(&t->task, &transport_task_ops, t->loop->runner,
                    t->loop->nursery);
    if (!t->context_given) {
        t->context = PyContext_CopyCurrent();
    }
    PyObject *result =
        t->context == NULL
            ? NULL
            : PyObject_CallMethodOneArg(
                t->transport, t->state->str_set_protocol, protocol);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

void
tac_transport_undo(TacTransport *t)
{
    PyObject *exc = PyErr_GetRaisedException();
    t->conn_lost = 1;
    t->closing = true;
    transport_member_drop(&t->member);
    if (t->sock == NULL && t->fd >= 0 && !t->kind->is_pipe) {
        (void)close(t->fd);
    }
    t->fd = -1;
    Py_CLEAR(t->sock); /* the caller closes it */
    PyErr_SetRaisedException(exc);
}

/* Ending ------------------------------------------------------------------ */

/* It comes by the ring, never inside of what caused it. */
int
tac_transport_schedule_lost(TacTransport *t, PyObject *exc)
{
    if (t->kind->losing != NULL && t->kind->losing(t) < 0) {
        return -1;
    }
    PyObject *lost =
        PyObject_GetAttr(t->transport, t->state->str__call_connection_lost);
    if (lost == NULL) {
        return -1;
    }
    int rc = tac_transport_call_soon(t, lost, exc == NULL ? Py_None : exc);
    Py_DECREF(lost);
    return rc;
}

int
tac_transport_lose_at_once(TacTransport *t, const char *callback)
{
    PyObject *result = PyObject_CallMethodOneArg(
        t->transport, t->state->str__call_connection_lost, Py_None);
    if (result == NULL) {
        return tac_transport_report_callback(t, callback);
    }
    Py_DECREF(result);
    return 0;
}

static void
transport_stop(TacTransport *t)
{
    tac_transport_disarm(t, TAC_TRANSPORT_BOTH);
    tac_transport_drop_flush(t);
    t->kind->drop(t);
}

int
tac_transport_close(TacTransport *t)
{
    if (t->closing || tac_transport_flush(t) < 0) {
        return t->closing ? 0 : -1;
    }
    if (t->closing) { /* by an error of that */
        return 0;
    }
    t->closing = true;
    tac_transport_disarm(t, TAC_WATCH_READ);
    int rc = 0;
    if (t->kind->size(t) == 0) {
        t->conn_lost++;
        tac_transport_disarm(t, TAC_WATCH_WRITE);
        rc = tac_transport_schedule_lost(t, NULL);
    }
    tac_transport_update_held(t);
    return rc;
}

int
tac_transport_force_close(TacTransport *t, PyObject *exc)
{
    if (t->conn_lost != 0) {
        return 0;
    }
    t->closing = true;
    t->conn_lost++;
    transport_stop(t);
    int rc = tac_transport_schedule_lost(t, exc);
    tac_transport_update_held(t);
    return rc;
}

int
tac_transport_fatal(TacTransport *t, const char *message)
{
    if (PyErr_ExceptionMatches(PyExc_SystemExit)
        || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
    {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    if (t->loop == NULL || t->transport == NULL) {
        Py_DECREF(exc);
        return 0;
    }
    PyObject *result = PyObject_CallMethod(t->transport, "_fatal_error", "Os",
                                           exc, message);
    Py_XDECREF(result);
    Py_DECREF(exc);
    return result == NULL ? -1 : 0;
}

static int
transport_close_socket(TacTransport *t)
{
    PyObject *sock = t->sock;
    int fd = t->fd;
    t->sock = NULL;
    t->fd = -1;
    if (sock == NULL) {
        if (fd >= 0 && !t->kind->is_pipe) {
            (void)close(fd);
        }
        return 0;
    }
    PyObject *result =
        PyObject_CallMethodNoArgs(sock, t->state->str_close);
    Py_DECREF(sock);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* What get_extra_info() is asked afterwards. */
static int
transport_keep_names(TacTransport *t)
{
    if (t->kind->is_pipe
        || (t->kind->keep_names != NULL && t->kind->keep_names(t))) {
        return 0;
    }
    PyObject *result =
        PyObject_CallMethod(t->transport, "_keep_names", NULL);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

void
tac_transport_next_error(PyObject **exc, int rc)
{
    if (rc == 0) {
        return;
    }
    PyObject *raised = PyErr_GetRaisedException();
    if (*exc == NULL) {
        *exc = raised;
    }
    else {
        PyErr_SetRaisedException(raised);
        PyErr_WriteUnraisable(NULL);
    }
}

int
tac_transport_lose(TacTransport *t, PyObject *exc)
{
    if (t->loop == NULL) {
        return 0;
    }
    t->closing = true;
    t->conn_lost += t->conn_lost == 0;
    transport_stop(t);
    PyObject *error = NULL;
    tac_transport_next_error(&error, transport_keep_names(t));
    PyObject *result =
        tac_transport_call_protocol(t, t->state->str_connection_lost, exc);
    tac_transport_next_error(&error, result == NULL ? -1 : 0);
    Py_XDECREF(result);
    if (t->loop == NULL) { /* the protocol has brought it about by itself */
        PyErr_SetRaisedException(error);
        return error == NULL ? 0 : -1;
    }
    tac_transport_next_error(&error, transport_close_socket(t));
    Py_CLEAR(t->protocol);
    tac_list_unlink(&t->member.node);
    tac_member_leave(t->loop, &t->member, t->shown_fd);
    tac_transport_next_error(&error, tac_ctask_exit(&t->task, NULL));
    Py_CLEAR(t->loop);
    if (t->kind->lost != NULL) {
        t->kind->lost(t, &error);
    }
    Py_CLEAR(t->context);
    tac_transport_update_held(t);
    PyErr_SetRaisedException(error);
    return error == NULL ? 0 : -1;
}
