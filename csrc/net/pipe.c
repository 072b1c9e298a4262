/* net/pipe.c - pipe transports: from the fd and to it. */
#include "net/pipe.h"

#include "base/compat.h"
#include "net/spare.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PIPE_COPY_BYTES (32 * 1024)  /* less is cheaper to copy than to fit */
#define PIPE_IOV_MAX 64
/* More than that is sent at once, without the GIL. */
#define PIPE_FLUSH_BYTES (64 * 1024)
/* Writes in vain before each is warned of; asyncio's constant. */
#define PIPE_LOST_THRESHOLD 5

/* Ending ------------------------------------------------------------------ */

int
tac_pipe_close(TacPipe *p, PyObject *exc)
{
    TacTransport *t = &p->base;
    if (t->conn_lost != 0 || t->loop == NULL) {
        return 0; /* once is enough */
    }
    t->closing = true;
    t->conn_lost = 1;
    tac_transport_disarm(t, TAC_TRANSPORT_BOTH);
    tac_transport_drop_flush(t);
    tac_outbuf_clear(&p->out);
    int rc = tac_transport_schedule_lost(t, exc);
    tac_transport_update_held(t);
    return rc;
}

/* Reading ----------------------------------------------------------------- */

/* -1, and errno, or an exception of a signal handler. */
static Py_ssize_t
pipe_read_some(TacPipe *p, char *buffer, Py_ssize_t size)
{
    Py_ssize_t got = read(p->base.fd, buffer, (size_t)size);
    if (got < 0) {
        tac_transport_see_signals();
    }
    return got;
}

/* What there is: a small amount through the shared buffer, from who sends
 * much into the object itself.  Returns: new ref | NULL, and `got`, and errno
 * or an exception. */
static PyObject *
pipe_read_bytes(TacPipe *p, Py_ssize_t *got)
{
    *got = -1;
    if (p->expected == 0) {
        char *buffer = tac_transport_read_buffer(p->base.state);
        if (buffer == NULL) {
            return NULL;
        }
        *got = pipe_read_some(p, buffer, TAC_TRANSPORT_READ_BYTES);
        return *got > 0 ? tac_spare_take_copy(p->base.state, buffer, *got)
                        : NULL;
    }
    PyObject *data = tac_spare_take(p->base.state, p->expected);
    if (data == NULL) {
        return NULL;
    }
    *got = pipe_read_some(p, PyBytes_AS_STRING(data), p->expected);
    if (*got <= 0) {
        int error = errno;
        Py_CLEAR(data);
        errno = error;
    }
    else if (*got < p->expected) {
        (void)_PyBytes_Resize(&data, *got); /* NULL on failure */
    }
    return data;
}

static void
pipe_expect(TacPipe *p, Py_ssize_t got)
{
    if (got < PIPE_COPY_BYTES) {
        p->expected = 0;
    }
    else if (got == p->expected && got <= TAC_TRANSPORT_READ_BYTES / 2) {
        p->expected = (int)got * 2; /* there may have been more */
    }
    else {
        p->expected = (int)got;
    }
}

static int
pipe_on_eof(TacTransport *t)
{
    if (tac_transport_log_closed(t) < 0) {
        return -1;
    }
    PyObject *protocol = t->protocol == NULL ? Py_None : t->protocol;
    PyObject *eof = PyObject_GetAttr(protocol, t->state->str_eof_received);
    t->closing = true;
    tac_transport_disarm(t, TAC_WATCH_READ);
    int rc = eof == NULL ? -1 : tac_transport_call_soon(t, eof, NULL);
    Py_XDECREF(eof);
    if (rc == 0) {
        rc = tac_pipe_close((TacPipe *)t, NULL);
    }
    tac_transport_update_held(t);
    return rc < 0 ? tac_transport_report_callback(t, "_read_ready") : 0;
}

static int
pipe_on_readable(TacTransport *t)
{
    TacPipe *p = (TacPipe *)t;
    Py_ssize_t got;
    PyObject *data = pipe_read_bytes(p, &got);
    if (data == NULL && got == 0) {
        return pipe_on_eof(t);
    }
    if (data == NULL) {
        if (!PyErr_Occurred()) {
            if (errno == EAGAIN || errno == EWOULDBLOCK) {
                return 0;
            }
            PyErr_SetFromErrno(PyExc_OSError);
        }
        return tac_transport_fatal(t, t->kind->read_error);
    }
    pipe_expect(p, got);
    PyObject *result =
        tac_transport_call_protocol(t, t->state->str_data_received, data);
    tac_spare_give(t->state, data);
    if (result == NULL) {
        return tac_transport_report_callback(t, "_read_ready");
    }
    Py_DECREF(result);
    return 0;
}

/* Writing ----------------------------------------------------------------- */

/* The peer is gone, or a peer that only reads has sent something. */
static int
pipe_on_peer_gone(TacTransport *t)
{
    TacPipe *p = (TacPipe *)t;
    if (tac_transport_log_closed(t) < 0 || tac_transport_flush(t) < 0) {
        return -1;
    }
    if (tac_outbuf_is_empty(&p->out)) {
        return tac_pipe_close(p, NULL);
    }
    PyObject *exc = PyObject_CallNoArgs(PyExc_BrokenPipeError);
    int rc = exc == NULL ? -1 : tac_pipe_close(p, exc);
    Py_XDECREF(exc);
    return rc;
}

/* Bytes that the kernel took; 0: none for now; -1 with an exception. */
static Py_ssize_t
pipe_write_vector(TacPipe *p, const struct iovec *iov, int count,
                  Py_ssize_t size)
{
    Py_ssize_t sent;
    int fd = p->base.fd;
    if (size < PIPE_FLUSH_BYTES) {
        sent = writev(fd, iov, count);
    }
    else {
        int error;
        Py_BEGIN_ALLOW_THREADS
        sent = writev(fd, iov, count);
        error = errno;
        Py_END_ALLOW_THREADS
        errno = error;
    }
    if (sent >= 0) {
        return sent;
    }
    tac_transport_see_signals();
    if (!PyErr_Occurred()) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return 0;
        }
        PyErr_SetFromErrno(PyExc_OSError);
    }
    return -1;
}

/* Write what the kernel takes of the queue.  0, or -1 with an exception. */
static int
pipe_drain(TacPipe *p)
{
    struct iovec iov[PIPE_IOV_MAX];
    while (!tac_outbuf_is_empty(&p->out)) {
        int count = tac_outbuf_peek(&p->out, iov, PIPE_IOV_MAX);
        Py_ssize_t size = 0;
        for (int i = 0; i < count; i++) {
            size += (Py_ssize_t)iov[i].iov_len;
        }
        Py_ssize_t sent = pipe_write_vector(p, iov, count, size);
        if (sent < 0) {
            return -1;
        }
        if (tac_outbuf_is_empty(&p->out)) {
            break; /* another thread had the GIL, and closed it */
        }
        tac_outbuf_consume(&p->out, p->base.state, sent);
        if (sent < size) {
            break;
        }
    }
    return 0;
}

static int
pipe_write_failed(TacPipe *p)
{
    tac_outbuf_clear(&p->out);
    tac_transport_disarm(&p->base, TAC_WATCH_WRITE);
    p->vain++;
    return tac_transport_fatal(&p->base,
                               "Fatal write error on pipe transport");
}

static void
pipe_wait(TacPipe *p)
{
    TacTransport *t = &p->base;
    if (!tac_outbuf_is_empty(&p->out) && !tac_transport_writes(t)
        && tac_list_is_linked(&t->member.node))
    {
        tac_transport_arm(t, t->fd, TAC_WATCH_WRITE);
    }
}

static int
pipe_on_flush(TacTransport *t)
{
    TacPipe *p = (TacPipe *)t;
    tac_transport_drop_flush(t);
    if (tac_transport_writes(t) || tac_outbuf_is_empty(&p->out)) {
        return 0;
    }
    if (pipe_drain(p) < 0) {
        return pipe_write_failed(p);
    }
    pipe_wait(p);
    return 0;
}

static int
pipe_on_writable(TacTransport *t)
{
    TacPipe *p = (TacPipe *)t;
    if (pipe_drain(p) < 0) {
        return pipe_write_failed(p);
    }
    if (!tac_outbuf_is_empty(&p->out)) {
        return 0;
    }
    tac_transport_disarm(t, TAC_WATCH_WRITE);
    if (tac_transport_maybe_resume(t) < 0) { /* may write again */
        return -1;
    }
    if (!t->closing || t->conn_lost != 0) {
        return 0;
    }
    tac_transport_disarm(t, TAC_WATCH_READ);
    return tac_transport_lose_at_once(t, "_write_ready");
}

/* A write after the end.  0, or -1 with an exception. */
static int
pipe_write_in_vain(TacPipe *p)
{
    PyObject *hook = p->base.state->hook_log_lost_pipe;
    if (p->vain++ < PIPE_LOST_THRESHOLD || hook == NULL) {
        return 0;
    }
    PyObject *result = PyObject_CallNoArgs(hook);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Queue what is not empty; what is much is sent first. */
static int
pipe_queue(TacPipe *p, PyObject *data)
{
    if (PyBytes_CheckExact(data)) {
        return tac_outbuf_push(&p->out, Py_NewRef(data));
    }
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    Py_ssize_t sent = 0;
    int rc = 0;
    if (view.len >= PIPE_FLUSH_BYTES && tac_outbuf_is_empty(&p->out)) {
        struct iovec iov = {view.buf, (size_t)view.len};
        sent = pipe_write_vector(p, &iov, 1, view.len);
    }
    if (sent < 0) {
        rc = -1;
    }
    else if (sent < view.len && p->base.conn_lost == 0) {
        rc = tac_outbuf_push_copy(&p->out, p->base.state,
                                  (char *)view.buf + sent, view.len - sent);
    }
    PyBuffer_Release(&view);
    if (rc == 0 && sent != 0) { /* the rest cannot be sent now */
        pipe_wait(p);
    }
    return rc;
}

/* After something was queued: when is it sent?  The first of a turn at once,
 * so that its error is known at once; what follows it, when the turn ends. */
static int
pipe_settle(TacPipe *p)
{
    TacTransport *t = &p->base;
    if (!tac_transport_writes(t)
        && (p->out.size >= PIPE_FLUSH_BYTES || p->out.size > t->high_bytes
            || !tac_transport_has_flush(t)))
    {
        if (pipe_on_flush(t) < 0) {
            return -1;
        }
        if (t->loop != NULL && t->conn_lost == 0) {
            (void)tac_transport_defer_flush(t);
        }
    }
    tac_transport_update_held(t);
    return p->out.size > t->high_bytes ? tac_transport_maybe_pause(t) : 0;
}

int
tac_pipe_write(TacPipe *p, PyObject *data)
{
    if (!PyBytes_Check(data) && !PyByteArray_Check(data)
        && !PyMemoryView_Check(data))
    {
        PyErr_Format(PyExc_AssertionError, "%R", data);
        return -1;
    }
    int any = PyObject_IsTrue(data);
    if (any <= 0) {
        return any;
    }
    if (p->base.closing || p->base.loop == NULL) {
        return pipe_write_in_vain(p);
    }
    Py_INCREF(p);
    int rc = pipe_queue(p, data);
    rc = rc < 0 ? pipe_write_failed(p) : pipe_settle(p);
    Py_DECREF(p);
    return rc;
}

int
tac_pipe_write_eof(TacPipe *p)
{
    TacTransport *t = &p->base;
    if (t->closing || tac_transport_flush(t) < 0) {
        return PyErr_Occurred() ? -1 : 0;
    }
    if (t->closing) {
        return 0; /* by an error of that */
    }
    if (tac_outbuf_is_empty(&p->out)) {
        return tac_pipe_close(p, NULL);
    }
    t->closing = true;
    return 0;
}

/* The kinds --------------------------------------------------------------- */

static void
pipe_drop(TacTransport *t)
{
    tac_outbuf_clear(&((TacPipe *)t)->out);
}

static Py_ssize_t
pipe_size(const TacTransport *t)
{
    return ((const TacPipe *)t)->out.size;
}

static const struct tac_transport_kind pipe_read_kind = {
    .name = "ReadPipeTransport",
    .made = TAC_MADE_READ_PIPE,
    .read = pipe_on_readable,
    .flush = pipe_on_flush,
    .drop = pipe_drop,
    .size = pipe_size,
    .read_error = "Fatal read error on pipe transport",
    .is_pipe = true,
};

static const struct tac_transport_kind pipe_write_kind = {
    .name = "WritePipeTransport",
    .made = TAC_MADE_WRITE_PIPE,
    .read = pipe_on_peer_gone,
    .write = pipe_on_writable,
    .write_method = "_write_ready",
    .flush = pipe_on_flush,
    .drop = pipe_drop,
    .size = pipe_size,
    .read_error = "Fatal read error on pipe transport",
    .is_pipe = true,
};

/* Does the kernel tell a writer, by an event for reading, that nobody reads
 * any more? */
static bool
pipe_tells_of_peer(int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0) {
        return false;
    }
    if (S_ISSOCK(status.st_mode)) {
        return true;
    }
#if defined(_AIX)
    return false;
#elif defined(__APPLE__) || defined(__sun)
    return S_ISFIFO(status.st_mode) && status.st_nlink == 0;
#else
    return S_ISFIFO(status.st_mode);
#endif
}

static int
pipe_set_non_blocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0
        || (!(flags & O_NONBLOCK)
            && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
    {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return 0;
}

int
tac_pipe_start(TacState *state, PyObject *transport,
               const struct tac_transport_spec *spec, bool writes)
{
    if (pipe_set_non_blocking(spec->fd) < 0) {
        return -1;
    }
    TacTransport *t = tac_transport_new(
        state->pipe_type, transport,
        writes ? &pipe_write_kind : &pipe_read_kind, state, spec);
    if (t == NULL) {
        return -1;
    }
    t->paused = writes && !pipe_tells_of_peer(spec->fd);
    if (tac_transport_enter(t, spec->protocol) < 0
        || tac_transport_begin(t, spec->waiter) < 0)
    {
        tac_transport_undo(t);
        return -1;
    }
    return 0;
}
