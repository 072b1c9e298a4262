/* net/stream.c - the life of a stream transport: begin, hold, close, lose. */
#include "net/stream.h"

#include "base/compat.h"
#include "net/address.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

/* The C task -------------------------------------------------------------- */

static TacStream *
stream_of_task(struct tac_task *task)
{
    return tac_list_entry(task, TacStream, task);
}

static int
stream_step(struct tac_task *task)
{
    return 0; /* never runnable: events go to the ring directly */
}

/* Tasks that are being cancelled may need the connection to unwind: only its
 * owner or the loop's end ends it. */
static int
stream_cancel(struct tac_task *task, const struct tac_cause *cause)
{
    return 0;
}

static PyObject *
stream_owner(struct tac_task *task)
{
    return (PyObject *)stream_of_task(task);
}

static PyObject *
stream_object(struct tac_task *task)
{
    return tac_native_task(stream_of_task(task)->state, task);
}

static const struct tac_task_ops stream_task_ops = {
    .name = "<asyncio stream transport>",
    .step = stream_step,
    .cancel = stream_cancel,
    .owner = stream_owner,
    .object = stream_object,
};

/* The member of the loop -------------------------------------------------- */

static TacStream *
stream_of_member(struct tac_loop_member *member)
{
    return tac_list_entry(member, TacStream, member);
}

static int
stream_member_traverse(struct tac_loop_member *member, visitproc visit,
                       void *arg)
{
    TacStream *s = stream_of_member(member);
    if (s->held) {
        Py_VISIT(s->transport);
    }
    return 0;
}

static void
stream_disarm(struct tac_watch *watch)
{
    if (watch->poller != NULL && tac_poller_is_open(watch->poller)) {
        tac_watch_disarm(watch); /* a crashed run's is not open */
    }
}

static void
stream_member_drop(struct tac_loop_member *member)
{
    TacStream *s = stream_of_member(member);
    tac_list_unlink(&member->node);
    stream_disarm(&s->reader);
    stream_disarm(&s->writer);
    tac_list_unlink(&s->flush.node);
    tac_ctask_unlink(&s->task);
    tac_stream_update_held(s);
}

static const struct tac_member_ops stream_member_ops = {
    .traverse = stream_member_traverse,
    .drop = stream_member_drop,
};

void
tac_stream_update_held(TacStream *s)
{
    bool hold = tac_list_is_linked(&s->member.node)
                && (tac_watch_is_armed(&s->reader)
                    || tac_watch_is_armed(&s->writer)
                    || tac_list_is_linked(&s->flush.node));
    if (hold == s->held || s->transport == NULL) {
        return;
    }
    s->held = hold;
    if (hold) {
        Py_INCREF(s->transport);
    }
    else {
        Py_DECREF(s->transport); /* may be the end of us */
    }
}

/* Calls ------------------------------------------------------------------- */

PyObject *
tac_stream_call_protocol(TacStream *s, PyObject *name, PyObject *arg)
{
    PyObject *protocol = Py_XNewRef(s->protocol);
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
tac_stream_call_soon(TacStream *s, PyObject *callback, PyObject *arg)
{
    if (s->loop == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the transport is closed");
        return -1;
    }
    PyObject *args[] = {(PyObject *)s->loop, callback, arg,
                        s->given_context};
    Py_ssize_t nargs = 3;
    if (arg == NULL) {
        nargs = 2;
        args[2] = s->given_context;
    }
    PyObject *result = PyObject_VectorcallMethod(
        s->state->str_call_soon, args,
        (size_t)nargs | PY_VECTORCALL_ARGUMENTS_OFFSET,
        s->given_context == NULL ? NULL : s->state->context_kwnames);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int
tac_stream_report(TacStream *s, const char *message)
{
    if (PyErr_ExceptionMatches(PyExc_SystemExit)
        || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)
        || s->loop == NULL)
    {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *context = Py_BuildValue(
        "{sssOsOsO}", "message", message, "exception", exc, "transport",
        s->transport == NULL ? Py_None : s->transport, "protocol",
        s->protocol == NULL ? Py_None : s->protocol);
    PyObject *result = NULL;
    if (context != NULL) {
        result = PyObject_CallMethodOneArg(
            (PyObject *)s->loop, s->state->str_call_exception_handler,
            context);
        Py_DECREF(context);
    }
    Py_DECREF(exc);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int
tac_stream_run_in(TacStream *s, PyObject *context, tac_stream_fn fn)
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
    Py_INCREF(s);
    int rc = fn(s);
    PyObject *exc = PyErr_GetRaisedException();
    (void)PyContext_Exit(context);
    Py_DECREF(context);
    Py_DECREF(s);
    PyErr_SetRaisedException(exc);
    return rc;
}

/* Beginning --------------------------------------------------------------- */

int
tac_stream_fd(const TacStream *s)
{
    int fd = s->fd;
    if (s->sock != NULL) { /* somebody may have closed it */
        fd = *(int *)((char *)s->sock + s->state->socket_fd_offset);
    }
    if (fd < 0) {
        errno = EBADF;
    }
    return fd;
}

int
tac_stream_read_more(TacStream *s)
{
    if (s->closing || s->paused || s->conn_lost
        || !tac_list_is_linked(&s->member.node)
        || tac_watch_is_armed(&s->reader))
    {
        return 0;
    }
    PyObject *context = s->given_context != NULL
                            ? Py_NewRef(s->given_context)
                            : PyContext_CopyCurrent();
    if (context == NULL) {
        return -1;
    }
    Py_XSETREF(s->context, context);
    int fd = tac_stream_fd(s);
    if (fd < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    tac_watch_arm(&s->reader, fd, TAC_WATCH_READ);
    tac_stream_update_held(s);
    return 0;
}

void
tac_stream_read_no_more(TacStream *s)
{
    stream_disarm(&s->reader);
    tac_stream_update_held(s);
}

/* By the ring, right after connection_made(). */
static int
stream_begin_reading(TacStream *s)
{
    if (tac_stream_read_more(s) == 0) {
        return 0;
    }
    return tac_stream_fatal(s, "Fatal read error on socket transport");
}

static int
stream_on_begin(PyObject *transport)
{
    TacState *state = tac_state_of_type(Py_TYPE(transport));
    TacStream *s = state == NULL ? NULL : tac_stream_of(state, transport);
    return s == NULL || s->context == NULL
               ? 0
               : tac_stream_run_in(s, s->context, stream_begin_reading);
}

/* By family and kind, not by `proto`: that of an inherited listener is 0, and
 * then each answer in two pieces would wait for the peer's delayed ACK. */
static void
stream_set_nodelay(int fd)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);
    int on = 1;
    if (getsockname(fd, (struct sockaddr *)&name, &len) == 0
        && (name.ss_family == AF_INET || name.ss_family == AF_INET6))
    {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
}

/* loop._transports[fd] = transport */
static int
stream_enter_table(TacStream *s)
{
    PyObject *table =
        PyObject_GetAttr((PyObject *)s->loop, s->state->str__transports);
    PyObject *fd = table == NULL ? NULL : PyLong_FromLong(s->fd);
    int rc = fd == NULL ? -1 : PyObject_SetItem(table, fd, s->transport);
    Py_XDECREF(fd);
    Py_XDECREF(table);
    return rc;
}

static int
stream_call_server(TacStream *s, PyObject *server, PyObject *name)
{
    PyObject *args[] = {server, s->transport};
    size_t nargs = s->state->server_takes_transport ? 2 : 1;
    PyObject *result = PyObject_VectorcallMethod(
        name, args, nargs | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int
stream_schedule_begin(TacStream *s, PyObject *waiter)
{
    TacState *state = s->state;
    PyObject *made = PyObject_GetAttr(s->protocol, state->str_connection_made);
    if (made == NULL) {
        return -1;
    }
    int rc = tac_stream_call_soon(s, made, s->transport);
    Py_DECREF(made);
    if (rc < 0 || tac_loop_push_native(s->loop, stream_on_begin, s->transport)
                      < 0)
    {
        return -1;
    }
    if (waiter == NULL) {
        return 0;
    }
    PyObject *args[] = {(PyObject *)s->loop, state->aio_set_result, waiter,
                        Py_None, s->given_context};
    PyObject *result = PyObject_VectorcallMethod(
        state->str_call_soon, args, 4 | PY_VECTORCALL_ARGUMENTS_OFFSET,
        s->given_context == NULL ? NULL : state->context_kwnames);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static TacStream *
stream_new(TacState *state, PyObject *transport,
           const struct tac_stream_spec *spec)
{
    TacStream *s =
        (TacStream *)state->stream_type->tp_alloc(state->stream_type, 0);
    if (s == NULL) {
        if (spec->sock == NULL) {
            (void)close(spec->fd);
        }
        return NULL;
    }
    struct tac_poller *poller = &spec->loop->runner->poller;
    state->counts.transports++;
    s->state = state;
    s->loop = (TacLoop *)Py_NewRef(spec->loop);
    s->transport = transport;
    s->server = Py_XNewRef(spec->server);
    s->sock = Py_XNewRef(spec->sock);
    s->given_context = Py_XNewRef(spec->context);
    s->fd = s->shown_fd = spec->fd;
    s->high_bytes = 64 * 1024;
    s->low_bytes = 16 * 1024;
    s->flush.run = tac_stream_on_flush;
    s->member.ops = &stream_member_ops;
    tac_watch_init(&s->reader, poller, tac_stream_on_readable);
    tac_watch_init(&s->writer, poller, tac_stream_on_writable);
    return s;
}

/* A transport that could not begin is closed without a word. */
static void
stream_undo(TacStream *s)
{
    PyObject *exc = PyErr_GetRaisedException();
    s->conn_lost = 1;
    s->closing = true;
    stream_member_drop(&s->member);
    if (s->sock == NULL && s->fd >= 0) {
        (void)close(s->fd);
    }
    s->fd = -1;
    Py_CLEAR(s->sock); /* the caller closes it */
    Py_CLEAR(s->server);
    PyErr_SetRaisedException(exc);
}

int
tac_stream_start(TacState *state, PyObject *transport,
                 const struct tac_stream_spec *spec)
{
    TacStream *s = stream_new(state, transport, spec);
    if (s == NULL) {
        return -1;
    }
    PyObject **slot =
        (PyObject **)((char *)transport + state->stream_offset);
    Py_XSETREF(*slot, (PyObject *)s); /* takes the reference */
    if (tac_loop_check_open(s->loop) < 0) {
        stream_undo(s);
        return -1;
    }
    tac_list_append(&s->loop->members, &s->member.node);
    tac_ctask_start(&s->task, &stream_task_ops, s->loop->runner,
                    s->loop->nursery);
    s->context = s->given_context != NULL ? Py_NewRef(s->given_context)
                                          : PyContext_CopyCurrent();
    PyObject *result = PyObject_CallMethodOneArg(
        transport, state->str_set_protocol, spec->protocol);
    Py_XDECREF(result);
    if (s->context == NULL || result == NULL || stream_enter_table(s) < 0
        || (s->server != NULL
            && stream_call_server(s, s->server, state->str__attach) < 0))
    {
        stream_undo(s);
        return -1;
    }
    stream_set_nodelay(s->fd);
    if (stream_schedule_begin(s, spec->waiter) < 0) {
        stream_undo(s);
        return -1;
    }
    return 0;
}

/* Ending ------------------------------------------------------------------ */

/* connection_lost() comes by the ring, never inside of what caused it. */
static int
stream_schedule_lost(TacStream *s, PyObject *exc)
{
    PyObject *lost =
        PyObject_GetAttr(s->transport, s->state->str__call_connection_lost);
    if (lost == NULL) {
        return -1;
    }
    int rc = tac_stream_call_soon(s, lost, exc == NULL ? Py_None : exc);
    Py_DECREF(lost);
    return rc;
}

static void
stream_stop(TacStream *s)
{
    stream_disarm(&s->reader);
    stream_disarm(&s->writer);
    tac_list_unlink(&s->flush.node);
    tac_outbuf_clear(&s->out);
}

int
tac_stream_close(TacStream *s)
{
    if (s->closing || tac_stream_flush(s) < 0) {
        return s->closing ? 0 : -1;
    }
    if (s->closing) { /* by an error of that */
        return 0;
    }
    s->closing = true;
    stream_disarm(&s->reader);
    int rc = 0;
    if (tac_outbuf_is_empty(&s->out)) {
        s->conn_lost++;
        stream_disarm(&s->writer);
        rc = stream_schedule_lost(s, NULL);
    }
    tac_stream_update_held(s);
    return rc;
}

int
tac_stream_force_close(TacStream *s, PyObject *exc)
{
    if (s->conn_lost != 0) {
        return 0;
    }
    s->closing = true;
    s->conn_lost++;
    stream_stop(s);
    int rc = stream_schedule_lost(s, exc);
    tac_stream_update_held(s);
    return rc;
}

int
tac_stream_fatal(TacStream *s, const char *message)
{
    if (PyErr_ExceptionMatches(PyExc_SystemExit)
        || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
    {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    if (s->loop == NULL || s->transport == NULL) {
        Py_DECREF(exc);
        return 0;
    }
    PyObject *result = PyObject_CallMethod(s->transport, "_fatal_error", "Os",
                                           exc, message);
    Py_XDECREF(result);
    Py_DECREF(exc);
    return result == NULL ? -1 : 0;
}

static int
stream_close_socket(TacStream *s)
{
    PyObject *sock = s->sock;
    int fd = s->fd;
    s->sock = NULL;
    s->fd = -1;
    if (sock == NULL) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return 0;
    }
    PyObject *result =
        PyObject_CallMethodNoArgs(sock, s->state->str_close);
    Py_DECREF(sock);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int
stream_leave_server(TacStream *s)
{
    PyObject *server = s->server;
    if (server == NULL) {
        return 0;
    }
    s->server = NULL;
    int rc = stream_call_server(s, server, s->state->str__detach);
    Py_DECREF(server);
    return rc;
}

/* A sendfile() waits for bytes to be sent that will not be. */
static int
stream_fail_empty_waiter(TacStream *s)
{
    if (s->empty_waiter == NULL) {
        return 0;
    }
    PyObject *exc = PyObject_CallFunction(PyExc_ConnectionError, "s",
                                          "Connection is closed by peer");
    PyObject *result =
        exc == NULL ? NULL
                    : PyObject_CallMethodOneArg(
                        s->empty_waiter, s->state->str_set_exception, exc);
    Py_XDECREF(exc);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* What get_extra_info() is asked afterwards. */
static int
stream_keep_names(TacStream *s)
{
    PyObject *result =
        PyObject_CallMethod(s->transport, "_keep_names", NULL);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* The later ones of several errors are chained by the earlier ones. */
static void
stream_next_error(PyObject **exc, int rc)
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
tac_stream_lose(TacStream *s, PyObject *exc)
{
    if (s->loop == NULL) {
        return 0;
    }
    s->closing = true;
    s->conn_lost += s->conn_lost == 0;
    stream_stop(s);
    PyObject *error = NULL;
    stream_next_error(&error, stream_keep_names(s));
    PyObject *result =
        tac_stream_call_protocol(s, s->state->str_connection_lost, exc);
    stream_next_error(&error, result == NULL ? -1 : 0);
    Py_XDECREF(result);
    stream_next_error(&error, stream_close_socket(s));
    Py_CLEAR(s->protocol);
    tac_list_unlink(&s->member.node);
    stream_next_error(&error, tac_ctask_exit(&s->task, NULL));
    Py_CLEAR(s->loop);
    stream_next_error(&error, stream_leave_server(s));
    stream_next_error(&error, stream_fail_empty_waiter(s));
    Py_CLEAR(s->context);
    tac_stream_update_held(s);
    PyErr_SetRaisedException(error);
    return error == NULL ? 0 : -1;
}
