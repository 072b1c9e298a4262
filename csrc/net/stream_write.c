/* net/stream_write.c - what a protocol writes, to the kernel. */
#include "net/stream.h"

#include "base/compat.h"

#include <errno.h>
#include <sys/socket.h>

#define WRITE_IOV_MAX 64
/* More than that is sent at once: the kernel would not take it in one go. */
#define WRITE_FLUSH_BYTES (64 * 1024)
/* From here on the GIL is let go around a send: less is copied in a tenth of
 * a millisecond, and a thread that takes the GIL may keep it for five. */
#define WRITE_LONG_BYTES (512 * 1024)

/* asyncio's words of the running version. */
#if PY_VERSION_HEX >= 0x030E0000
#define WRITE_WRONG_TYPE                                                    \
    "data argument must be a bytes, bytearray, or memoryview object, not "  \
    "%R"
#else
#define WRITE_WRONG_TYPE "data argument must be a bytes-like object, not %R"
#endif

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

/* Sending ----------------------------------------------------------------- */

static Py_ssize_t
write_vector(int fd, struct iovec *iov, int count)
{
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)count};
    return count == 1
               ? send(fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL)
               : sendmsg(fd, &message, MSG_NOSIGNAL);
}

static Py_ssize_t
write_vector_unlocked(int fd, struct iovec *iov, int count)
{
    Py_ssize_t sent;
    int error;
    Py_BEGIN_ALLOW_THREADS
    sent = write_vector(fd, iov, count);
    error = errno;
    Py_END_ALLOW_THREADS
    errno = error;
    return sent;
}

/* Bytes that the kernel took; 0: none for now; -1 with an exception.  Whose
 * bytes they are sees to it that they stay: see WRITE_LONG_BYTES. */
static Py_ssize_t
write_send(TacStream *s, struct iovec *iov, int count, Py_ssize_t size)
{
    int fd = tac_transport_fd(&s->base);
    Py_ssize_t sent = -1;
    if (fd >= 0) {
        sent = size < WRITE_LONG_BYTES
                   ? write_vector(fd, iov, count)
                   : write_vector_unlocked(fd, iov, count);
    }
    if (sent >= 0) {
        return sent;
    }
    tac_transport_see_signals();
    if (PyErr_Occurred()) {
        return -1;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return 0;
    }
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

/* Does the queue begin with these bytes?  Who has the GIL while it is let go,
 * or a signal handler, may have dropped them, or sent some. */
static bool
write_begins_with(const TacStream *s, const struct iovec *bytes)
{
    struct iovec now;
    return tac_outbuf_peek(&s->out, &now, 1) == 1
           && now.iov_base == bytes->iov_base;
}

/* Send the oldest bytes; whatever others do to the transport meanwhile, these
 * stay.  As write_send. */
static Py_ssize_t
write_send_oldest(TacStream *s, struct iovec *iov, int count, Py_ssize_t size)
{
    if (size < WRITE_LONG_BYTES) {
        return write_send(s, iov, count, size);
    }
    PyObject *held[WRITE_IOV_MAX];
    tac_outbuf_hold(&s->out, held, count);
    Py_ssize_t sent = write_send(s, iov, count, size);
    for (int i = 0; i < count; i++) {
        Py_DECREF(held[i]);
    }
    return sent;
}

/* Send what the kernel takes of the queue.  0, or -1 with an exception. */
static int
write_drain(TacStream *s)
{
    struct iovec iov[WRITE_IOV_MAX];
    while (!tac_outbuf_is_empty(&s->out)) {
        int count = tac_outbuf_peek(&s->out, iov, WRITE_IOV_MAX);
        Py_ssize_t size = 0;
        for (int i = 0; i < count; i++) {
            size += (Py_ssize_t)iov[i].iov_len;
        }
        Py_ssize_t sent = write_send_oldest(s, iov, count, size);
        if (sent < 0) {
            return -1;
        }
        if (!write_begins_with(s, iov)) {
            break;
        }
        tac_outbuf_consume(&s->out, s->base.state, sent);
        if (sent < size) {
            break;
        }
    }
    return 0;
}

static int
write_failed(TacStream *s)
{
    tac_outbuf_clear(&s->out);
    return tac_transport_fatal(&s->base,
                               "Fatal write error on socket transport");
}

/* What is left waits for the kernel. */
static int
write_wait(TacStream *s)
{
    if (tac_outbuf_is_empty(&s->out) || tac_transport_writes(&s->base)
        || !tac_list_is_linked(&s->base.member.node))
    {
        return 0;
    }
    int fd = tac_transport_fd(&s->base);
    if (fd < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return write_failed(s);
    }
    tac_transport_arm(&s->base, fd, TAC_WATCH_WRITE);
    return 0;
}

/* Send what waits for no event, or let it wait for one. */
static int
write_flush(TacStream *s)
{
    tac_transport_drop_flush(&s->base);
    if (tac_transport_writes(&s->base) || tac_outbuf_is_empty(&s->out)) {
        return 0;
    }
    return write_drain(s) < 0 ? write_failed(s) : write_wait(s);
}

int
tac_stream_on_flush(TacTransport *t)
{
    return write_flush((TacStream *)t);
}

/* A writable socket ------------------------------------------------------- */

static int
write_shutdown(TacStream *s)
{
    int fd = tac_transport_fd(&s->base);
    if (fd < 0 || shutdown(fd, SHUT_WR) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return 0;
}

static int
write_set_waiter(TacStream *s, PyObject *name, PyObject *value)
{
    PyObject *waiter = Py_XNewRef(s->empty_waiter);
    if (waiter == NULL) {
        return 0;
    }
    PyObject *result = PyObject_CallMethodOneArg(waiter, name, value);
    Py_DECREF(waiter);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* All is sent: what waited for that? */
static int
write_all_sent(TacStream *s)
{
    tac_transport_disarm(&s->base, TAC_WATCH_WRITE);
    if (write_set_waiter(s, s->base.state->str_set_result, Py_None) < 0) {
        return tac_transport_report(&s->base, "Exception in callback");
    }
    if (s->base.closing && s->base.conn_lost == 0) {
        s->base.conn_lost++;
        return tac_transport_schedule_lost(&s->base, NULL);
    }
    if (s->eof && write_shutdown(s) < 0) {
        return tac_transport_report(&s->base, "Exception in callback");
    }
    return 0;
}

int
tac_stream_on_writable(TacTransport *t)
{
    TacStream *s = (TacStream *)t;
    if (write_drain(s) < 0) {
        if (s->empty_waiter != NULL) {
            PyObject *exc = PyErr_GetRaisedException();
            int told =
                write_set_waiter(s, s->base.state->str_set_exception, exc);
            if (told < 0) {
                PyErr_WriteUnraisable(s->base.transport);
            }
            PyErr_SetRaisedException(exc);
        }
        return write_failed(s);
    }
    if (tac_transport_maybe_resume(&s->base) < 0) { /* may write again */
        return -1;
    }
    return tac_outbuf_is_empty(&s->out) && s->base.conn_lost == 0
               ? write_all_sent(s)
               : 0;
}

/* Writing ----------------------------------------------------------------- */

/* May it be written to?  1; 0: no, in silence; -1 with an exception. */
static int
write_check(TacStream *s, const char *method, const char *verb)
{
    if (s->eof) {
        PyErr_Format(PyExc_RuntimeError,
                     "Cannot call %s() after write_eof()", method);
        return -1;
    }
    if (s->empty_waiter != NULL) {
        PyErr_Format(PyExc_RuntimeError,
                     "unable to %s; sendfile is in progress", verb);
        return -1;
    }
    return 1;
}

/* Queue, sending at once what is too much to be copied.  The data is not
 * empty. */
static int
write_queue_buffer(TacStream *s, PyObject *data)
{
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    Py_ssize_t sent = 0;
    int rc = 0;
    if (view.len >= WRITE_FLUSH_BYTES && tac_outbuf_is_empty(&s->out)) {
        struct iovec iov = {view.buf, (size_t)view.len};
        sent = write_send(s, &iov, 1, view.len);
    }
    if (sent < 0) {
        rc = -1;
    }
    else if (sent < view.len && s->base.conn_lost == 0) {
        rc = tac_outbuf_push_copy(&s->out, s->base.state,
                                  (char *)view.buf + sent, view.len - sent);
    }
    PyBuffer_Release(&view);
    if (rc == 0 && sent != 0) { /* the rest cannot be sent now */
        rc = write_wait(s);
    }
    return rc;
}

static int
write_queue(TacStream *s, PyObject *data)
{
    if (PyBytes_CheckExact(data)) {
        return tac_outbuf_push(&s->out, Py_NewRef(data));
    }
    return write_queue_buffer(s, data);
}

/* After something was queued: when is it sent? */
static int
write_settle(TacStream *s)
{
    if (!tac_transport_writes(&s->base) && !tac_outbuf_is_empty(&s->out)
        && (s->out.size >= WRITE_FLUSH_BYTES
            || s->out.size > s->base.high_bytes
            || !tac_transport_defer_flush(&s->base))
        && write_flush(s) < 0)
    {
        return -1;
    }
    tac_transport_update_held(&s->base);
    return s->out.size > s->base.high_bytes
               ? tac_transport_maybe_pause(&s->base)
               : 0;
}

static Py_ssize_t
write_length(PyObject *data)
{
    if (PyBytes_Check(data)) {
        return PyBytes_GET_SIZE(data);
    }
    if (PyByteArray_Check(data)) {
        return PyByteArray_GET_SIZE(data);
    }
    return PyObject_Length(data); /* of a memoryview that was released: -1 */
}

static int
write_check_type(PyObject *data)
{
    if (PyBytes_Check(data) || PyByteArray_Check(data)
        || PyMemoryView_Check(data))
    {
        return 0;
    }
    PyObject *name = PyType_GetName(Py_TYPE(data));
    if (name != NULL) {
        PyErr_Format(PyExc_TypeError, WRITE_WRONG_TYPE, name);
        Py_DECREF(name);
    }
    return -1;
}

int
tac_stream_write(TacStream *s, PyObject *data)
{
    if (write_check_type(data) < 0 || write_check(s, "write", "write") < 0) {
        return -1;
    }
    Py_ssize_t len = write_length(data);
    if (len <= 0) {
        return len < 0 ? -1 : 0;
    }
    if (s->base.conn_lost != 0 || s->base.loop == NULL) {
        return tac_transport_write_in_vain(&s->base);
    }
    Py_INCREF(s);
    int rc = write_queue(s, data);
    rc = rc < 0 ? write_failed(s) : write_settle(s);
    Py_DECREF(s);
    return rc;
}

#if PY_VERSION_HEX < 0x030C0000

/* Up to 3.11, asyncio joins them. */
int
tac_stream_writelines(TacStream *s, PyObject *list)
{
    PyObject *empty = PyBytes_FromStringAndSize(NULL, 0);
    PyObject *joined =
        empty == NULL ? NULL : PyObject_CallMethod(empty, "join", "(O)", list);
    Py_XDECREF(empty);
    int rc = joined == NULL ? -1 : tac_stream_write(s, joined);
    Py_XDECREF(joined);
    return rc;
}

#else

/* The pieces as bytes and memoryviews.  From 3.14 on, what is false in any
 * way is left out, of whatever type.  Returns: new ref | NULL+exc. */
static PyObject *
write_pieces(PyObject *list)
{
    PyObject *items = PySequence_List(list); /* a snapshot: code may run */
    for (Py_ssize_t i = 0; items != NULL && i < PyList_GET_SIZE(items); i++) {
        PyObject *data = PyList_GET_ITEM(items, i);
        if (PyBytes_CheckExact(data)) {
            continue;
        }
        int wanted = 1;
#if PY_VERSION_HEX >= 0x030E0000
        wanted = PyObject_IsTrue(data);
#endif
        PyObject *piece = NULL;
        if (wanted > 0) {
            piece = PyMemoryView_FromObject(data);
        }
        else if (wanted == 0) {
            piece = PyBytes_FromStringAndSize(NULL, 0);
        }
        if (piece == NULL || PyList_SetItem(items, i, piece) < 0) {
            Py_CLEAR(items);
        }
    }
    return items;
}

/* Queue all of them, or none.  0, or -1 with an exception. */
static int
write_queue_all(TacStream *s, PyObject *list)
{
    PyObject *items = write_pieces(list);
    if (items == NULL) {
        return -1;
    }
    int rc = 0;
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(items); i++) {
        PyObject *data = PyList_GET_ITEM(items, i);
        Py_ssize_t len = write_length(data);
        if (len < 0) {
            rc = -1;
        }
        else if (len != 0 && write_queue(s, data) < 0) {
            rc = write_failed(s);
            break;
        }
    }
    Py_DECREF(items);
    return rc;
}

int
tac_stream_writelines(TacStream *s, PyObject *list)
{
    if (write_check(s, "writelines", "writelines") < 0) {
        return -1;
    }
    int any = PyObject_IsTrue(list);
    if (any <= 0) {
        return any;
    }
    if (s->base.conn_lost != 0 || s->base.loop == NULL) {
        return tac_transport_write_in_vain(&s->base);
    }
    Py_INCREF(s);
    int rc = write_queue_all(s, list);
    if (rc == 0 && s->base.conn_lost == 0) {
        rc = write_settle(s);
    }
    Py_DECREF(s);
    return rc;
}

#endif

int
tac_stream_write_eof(TacStream *s)
{
    if (s->base.closing || s->eof || tac_transport_flush(&s->base) < 0) {
        return PyErr_Occurred() ? -1 : 0;
    }
    if (s->base.closing) {
        return 0; /* by an error of that */
    }
    s->eof = true;
    return tac_outbuf_is_empty(&s->out) ? write_shutdown(s) : 0;
}
