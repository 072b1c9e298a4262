/* net/stream_read.c - a readable stream: to the protocol with what there is.
 *
 * One read an event, as programs expect of asyncio.  It goes into a buffer
 * that all streams share, and is copied once its size is known.  From a peer
 * that sends much, as much as last time goes straight into the object that
 * the protocol gets.
 */
#include "net/stream.h"

#include "base/compat.h"
#include "net/feed.h"
#include "net/spare.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define READ_COPY_BYTES (32 * 1024) /* less is cheaper to copy than to fit */
/* Once so much came into a protocol's buffer, the next may take long. */
#define READ_LONG_BYTES (512 * 1024)

/* -1, and errno.  The GIL is let go for reads that may take long: a socket
 * that does not block answers sooner than another thread gives it back. */
static Py_ssize_t
read_some(TacStream *s, struct iovec *iov, int count, bool may_take_long)
{
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)count};
    int fd = tac_transport_fd(&s->base);
    Py_ssize_t got = -1;
    if (fd < 0) {
        return -1;
    }
    if (!may_take_long) {
        got = count == 1 ? recv(fd, iov[0].iov_base, iov[0].iov_len, 0)
                         : recvmsg(fd, &message, 0);
    }
    else {
        int error;
        Py_BEGIN_ALLOW_THREADS
        got = recvmsg(fd, &message, 0);
        error = errno;
        Py_END_ALLOW_THREADS
        errno = error;
    }
    if (got < 0) {
        tac_transport_see_signals();
    }
    return got;
}

static int
read_failed(TacStream *s)
{
    if (!PyErr_Occurred()) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return 0;
        }
        PyErr_SetFromErrno(PyExc_OSError);
    }
    return tac_transport_fatal(&s->base,
                               "Fatal read error on socket transport");
}

static int
read_eof(TacStream *s)
{
    TacState *state = s->base.state;
    if (tac_transport_log(&s->base, "received EOF") < 0) {
        return -1;
    }
    PyObject *result =
        tac_transport_call_protocol(&s->base, state->str_eof_received, NULL);
    int keep_open = result == NULL ? -1 : PyObject_IsTrue(result);
    Py_XDECREF(result);
    if (keep_open < 0) {
        return tac_transport_fatal(
            &s->base, "Fatal error: protocol.eof_received() call failed.");
    }
    if (keep_open) {
        /* It may still write; the end would be reported again and again. */
        tac_transport_read_no_more(&s->base);
        return 0;
    }
    PyObject *closed =
        PyObject_CallMethodNoArgs(s->base.transport, state->str_close);
    Py_XDECREF(closed);
    return closed == NULL ? -1 : 0;
}

/* To data_received() -------------------------------------------------------- */

/* As read_some. */
static Py_ssize_t
read_shared(TacStream *s)
{
    char *buffer = tac_transport_read_buffer(s->base.state);
    if (buffer == NULL) {
        return -1;
    }
    struct iovec iov = {buffer, TAC_TRANSPORT_READ_BYTES};
    return read_some(s, &iov, 1, false);
}

/* What was more than expected is in the shared buffer. */
static PyObject *
read_joined(TacStream *s, PyObject *data, Py_ssize_t got)
{
    Py_ssize_t expected = PyBytes_GET_SIZE(data);
    PyObject *joined = PyBytes_FromStringAndSize(NULL, got);
    if (joined != NULL) {
        char *start = PyBytes_AS_STRING(joined);
        memcpy(start, PyBytes_AS_STRING(data), (size_t)expected);
        memcpy(start + expected, s->base.state->read_buffer,
               (size_t)(got - expected));
    }
    Py_DECREF(data);
    return joined;
}

/* As much as last time, into the object itself. */
static PyObject *
read_expected(TacStream *s, Py_ssize_t *got)
{
    char *buffer = tac_transport_read_buffer(s->base.state);
    PyObject *data =
        buffer == NULL ? NULL
                       : tac_spare_take(s->base.state, s->expected);
    *got = -1;
    if (data == NULL) {
        return NULL;
    }
    struct iovec iov[] = {
        {PyBytes_AS_STRING(data), (size_t)s->expected},
        {buffer, (size_t)(TAC_TRANSPORT_READ_BYTES - s->expected)},
    };
    int count = s->expected < TAC_TRANSPORT_READ_BYTES ? 2 : 1;
    *got = read_some(s, iov, count, false);
    if (*got <= 0) {
        int error = errno;
        tac_spare_give(s->base.state, data);
        errno = error;
        return NULL;
    }
    if (*got > s->expected) {
        return read_joined(s, data, *got);
    }
    if (*got < s->expected) {
        (void)_PyBytes_Resize(&data, *got); /* NULL on failure */
    }
    return data;
}

/* Steals `data`. */
static int
read_deliver(TacStream *s, PyObject *data)
{
    TacState *state = s->base.state;
    PyObject *result =
        tac_transport_call_protocol(&s->base, state->str_data_received, data);
    tac_spare_give(state, data);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* What is in the shared buffer: to the StreamReader (or NULL), or as an
 * object to a protocol that is not of the kind that is known. */
static int
read_deliver_shared(TacStream *s, PyObject *reader, Py_ssize_t got)
{
    TacState *state = s->base.state;
    int fed = reader == NULL
                  ? 0
                  : tac_feed(state, reader, state->read_buffer, got);
    if (fed != 0) {
        return fed < 0 ? -1 : 0;
    }
    PyObject *data = tac_spare_take_copy(state, state->read_buffer, got);
    return data == NULL ? -1 : read_deliver(s, data);
}

/* Read and deliver.  What read_some() returns if that is not positive; or 1,
 * and in `delivered` 0, or -1 with an exception. */
static Py_ssize_t
read_and_deliver(TacStream *s, PyObject *reader, int *delivered)
{
    Py_ssize_t got;
    if (s->expected == 0 || reader != NULL) {
        got = read_shared(s);
        if (got > 0) {
            s->expected = got >= READ_COPY_BYTES ? (int)got : 0;
            *delivered = read_deliver_shared(s, reader, got);
        }
        return got;
    }
    PyObject *data = read_expected(s, &got);
    if (got > 0) {
        s->expected = got >= READ_COPY_BYTES ? (int)got : 0;
        *delivered = data == NULL ? -1 : read_deliver(s, data);
    }
    return got;
}

static int
read_data(TacStream *s)
{
    int delivered = 0;
    /* Looked up first, for that may run code, and the buffer is shared. */
    PyObject *reader =
        s->feeds ? tac_feed_reader(s->base.state, s->base.protocol) : NULL;
    Py_ssize_t got = read_and_deliver(s, reader, &delivered);
    int error = errno;
    Py_XDECREF(reader);
    errno = error;
    if (got <= 0) {
        return got == 0 ? read_eof(s) : read_failed(s);
    }
    return delivered == 0
               ? 0
               : tac_transport_fatal(
                   &s->base, "Fatal error: protocol.data_received() call failed.");
}

/* To get_buffer() and buffer_updated() -------------------------------------- */

static PyObject *
read_get_buffer(TacStream *s)
{
    PyObject *hint = PyLong_FromLong(-1);
    PyObject *buffer =
        hint == NULL
            ? NULL
            : tac_transport_call_protocol(
                &s->base, s->base.state->str_get_buffer, hint);
    Py_XDECREF(hint);
    Py_ssize_t len = buffer == NULL ? -1 : PyObject_Length(buffer);
    if (len == 0) {
        PyErr_SetString(PyExc_RuntimeError,
                        "get_buffer() returned an empty buffer");
    }
    if (len <= 0) {
        Py_CLEAR(buffer);
    }
    return buffer;
}

/* No buffer to write to: let a socket's method find the words. */
static Py_ssize_t
read_refused(TacStream *s, PyObject *buffer)
{
    PyObject *sock = PyObject_GetAttrString(s->base.transport, "_sock");
    PyObject *result =
        sock == NULL ? NULL
                     : PyObject_CallMethod(sock, "recv_into", "(O)", buffer);
    Py_ssize_t got = result == NULL ? -1 : PyLong_AsSsize_t(result);
    Py_XDECREF(result);
    Py_XDECREF(sock);
    return got;
}

/* Receive into a buffer.  -1: read_failed() says what is to be done. */
static Py_ssize_t
read_into(TacStream *s, PyObject *buffer)
{
    Py_buffer view;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) < 0) {
        PyErr_Clear();
        return read_refused(s, buffer);
    }
    struct iovec iov = {view.buf, (size_t)view.len};
    Py_ssize_t got =
        read_some(s, &iov, 1, s->expected >= READ_LONG_BYTES);
    int error = errno;
    s->expected = got < READ_LONG_BYTES ? 0 : READ_LONG_BYTES;
    PyBuffer_Release(&view);
    errno = error;
    return got;
}

static int
read_buffered(TacStream *s)
{
    PyObject *buffer = read_get_buffer(s);
    if (buffer == NULL) {
        return tac_transport_fatal(
            &s->base, "Fatal error: protocol.get_buffer() call failed.");
    }
    Py_ssize_t got = read_into(s, buffer);
    int error = errno;
    Py_DECREF(buffer);
    errno = error;
    if (got <= 0) {
        return got == 0 ? read_eof(s) : read_failed(s);
    }
    PyObject *count = PyLong_FromSsize_t(got);
    PyObject *result =
        count == NULL
            ? NULL
            : tac_transport_call_protocol(
                &s->base, s->base.state->str_buffer_updated, count);
    Py_XDECREF(count);
    if (result == NULL) {
        return tac_transport_fatal(
            &s->base, "Fatal error: protocol.buffer_updated() call failed.");
    }
    Py_DECREF(result);
    return 0;
}

/* The event --------------------------------------------------------------- */

int
tac_stream_on_readable(TacTransport *t)
{
    TacStream *s = (TacStream *)t;
    int rc = s->buffered ? read_buffered(s) : read_data(s);
    /* An answer leaves while it is in the processor's caches, and before the
     * batch's other sockets are read. */
    return rc < 0 ? rc : tac_transport_flush(t);
}
