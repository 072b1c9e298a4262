/* net/datagram_send.c - what a protocol sends, to the kernel. */
#include "net/datagram.h"

#include "base/compat.h"
#include "net/mmsg.h"
#include "net/spare.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

/* Larger ones gain nothing by waiting for others. */
#define SEND_GATHER_BYTES 2048
/* How many wait at most. */
#define SEND_GATHER_MOST 64

/* Addresses --------------------------------------------------------------- */

/* Exact text in ASCII; or NULL. */
static const char *
send_text(PyObject *text, Py_ssize_t *len)
{
    if (!PyUnicode_CheckExact(text) || !PyUnicode_IS_COMPACT_ASCII(text)) {
        return NULL;
    }
    *len = PyUnicode_GET_LENGTH(text);
    const char *chars = PyUnicode_DATA(text);
    return memchr(chars, '\0', (size_t)*len) == NULL ? chars : NULL;
}

/* An exact int in 0..most; or -1. */
static long
send_number(PyObject *addr, Py_ssize_t i, unsigned long most)
{
    if (i >= PyTuple_GET_SIZE(addr)) {
        return 0;
    }
    PyObject *number = PyTuple_GET_ITEM(addr, i);
    int overflow = 1;
    long value = PyLong_CheckExact(number)
                     ? PyLong_AsLongAndOverflow(number, &overflow)
                     : -1;
    return overflow == 0 && value >= 0 && (unsigned long)value <= most
               ? value
               : -1;
}

static int
send_resolve_ip(int family, PyObject *addr, struct tac_datagram_name *name)
{
    Py_ssize_t len;
    if (!PyTuple_CheckExact(addr) || PyTuple_GET_SIZE(addr) < 2
        || PyTuple_GET_SIZE(addr) > (family == AF_INET ? 2 : 4))
    {
        return 0;
    }
    const char *host = send_text(PyTuple_GET_ITEM(addr, 0), &len);
    long port = send_number(addr, 1, 65535);
    if (host == NULL || port < 0) {
        return 0;
    }
    if (family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)&name->storage;
        *in = (struct sockaddr_in){
            .sin_family = AF_INET,
            .sin_port = htons((uint16_t)port),
        };
        name->len = sizeof(*in);
        return inet_pton(AF_INET, host, &in->sin_addr) == 1;
    }
    long flow = send_number(addr, 2, 0xfffff);
    long scope = send_number(addr, 3, 0xffffffff);
    if (flow < 0 || scope < 0) {
        return 0;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&name->storage;
    *in6 = (struct sockaddr_in6){
        .sin6_family = AF_INET6,
        .sin6_port = htons((uint16_t)port),
        .sin6_flowinfo = htonl((uint32_t)flow),
        .sin6_scope_id = (uint32_t)scope,
    };
    name->len = sizeof(*in6);
    return inet_pton(AF_INET6, host, &in6->sin6_addr) == 1;
}

static int
send_resolve_unix(PyObject *addr, struct tac_datagram_name *name)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&name->storage;
    Py_ssize_t len;
    const char *path = send_text(addr, &len);
    if (path == NULL || len == 0 || (size_t)len >= sizeof(un->sun_path)) {
        return 0;
    }
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, (size_t)len + 1);
    name->len =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len + 1);
    return 1;
}

int
tac_datagram_resolve(const TacDatagram *d, PyObject *addr,
                     struct tac_datagram_name *name)
{
    if (addr == d->known && d->known_name.len != 0) {
        memcpy(&name->storage, &d->known_name.storage, d->known_name.len);
        name->len = d->known_name.len;
        return 1;
    }
    switch (addr == NULL ? AF_UNSPEC : d->family) {
    case AF_INET:
    case AF_INET6:
        return send_resolve_ip(d->family, addr, name);
    case AF_UNIX:
        return send_resolve_unix(addr, name);
    default:
        return 0;
    }
}

/* Sending one ------------------------------------------------------------- */

/* By the socket object, which knows what is out of the ordinary.  As
 * send_one(). */
static int
send_by_object(TacDatagram *d, PyObject *data, PyObject *addr)
{
    PyObject *sock = Py_XNewRef(d->base.sock);
    if (sock == NULL) {
        errno = EBADF;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    PyObject *args[] = {sock, data, addr == NULL ? Py_None : addr};
    PyObject *result = PyObject_VectorcallMethod(
        d->base.state->str_sendto, args, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET,
        NULL);
    Py_DECREF(sock);
    if (result != NULL) {
        Py_DECREF(result);
        return 1;
    }
    if (PyErr_ExceptionMatches(PyExc_BlockingIOError)
        || PyErr_ExceptionMatches(PyExc_InterruptedError))
    {
        PyErr_Clear();
        return 0;
    }
    return -1;
}

/* With a name of length 0: to the peer. */
static int
send_by_name(TacDatagram *d, PyObject *data,
             const struct tac_datagram_name *name)
{
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    int fd = tac_transport_fd(&d->base);
    const struct sockaddr *to =
        name->len == 0 ? NULL : (const struct sockaddr *)&name->storage;
    Py_ssize_t sent = -1;
    if (fd >= 0) {
        sent = sendto(fd, view.buf, (size_t)view.len, MSG_NOSIGNAL, to,
                      name->len);
    }
    if (sent < 0) {
        tac_transport_see_signals();
    }
    int error = errno;
    PyBuffer_Release(&view);
    if (sent >= 0) {
        return 1;
    }
    if (PyErr_Occurred()) {
        return -1;
    }
    if (error == EAGAIN || error == EWOULDBLOCK) {
        return 0;
    }
    errno = error;
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

/* 1: sent; 0: the kernel takes none for now; -1 with an exception. */
static int
send_one(TacDatagram *d, PyObject *data, PyObject *addr)
{
    struct tac_datagram_name name;
    name.len = 0;
    if (!d->connected) {
        if (!tac_datagram_resolve(d, addr, &name)) {
            return send_by_object(d, data, addr);
        }
        if (PySys_Audit("socket.sendto", "OO",
                        d->base.sock == NULL ? Py_None : d->base.sock, addr)
            < 0)
        {
            return -1;
        }
    }
    return send_by_name(d, data, &name);
}

/* The oldest; as send_one().  What runs meanwhile may empty the queue. */
static int
send_first(TacDatagram *d)
{
    struct tac_datagram first = d->out.items[d->out.head];
    Py_INCREF(first.data);
    Py_XINCREF(first.addr);
    int rc = send_one(d, first.data, first.addr);
    Py_DECREF(first.data);
    Py_XDECREF(first.addr);
    return rc;
}

/* Sending several --------------------------------------------------------- */

/* How many of the oldest were sent, 0: none for now; or -1 with an
 * exception. */
static int
send_many(TacDatagram *d)
{
    struct mmsghdr messages[TAC_DATAGRAM_BATCH];
    struct iovec iov[TAC_DATAGRAM_BATCH];
    struct tac_datagram_name names[TAC_DATAGRAM_BATCH]; /* if need be */
    int count = 0, fd = tac_transport_fd(&d->base);
    while (count < TAC_DATAGRAM_BATCH && count < d->out.len) {
        struct tac_datagram *datagram = &d->out.items[d->out.head + count];
        void *name = &datagram->name.storage;
        socklen_t len = datagram->name.len;
        if (len == 0) {
            if (!tac_datagram_resolve(d, datagram->addr, &names[count])) {
                break;
            }
            name = &names[count].storage;
            len = names[count].len;
        }
        iov[count].iov_base = PyBytes_AS_STRING(datagram->data);
        iov[count].iov_len = (size_t)PyBytes_GET_SIZE(datagram->data);
        messages[count].msg_hdr = (struct msghdr){
            .msg_name = name,
            .msg_namelen = len,
            .msg_iov = &iov[count],
            .msg_iovlen = 1,
        };
        count++;
    }
    int sent = -1;
    if (count == 0) {
        return send_first(d);
    }
    if (fd >= 0) {
        sent = tac_sendmmsg(fd, messages, count);
    }
    if (sent < 0) {
        tac_transport_see_signals();
    }
    if (sent < 0 && !PyErr_Occurred()) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return 0;
        }
        PyErr_SetFromErrno(PyExc_OSError);
    }
    return sent;
}

/* The same of what waits, whatever the socket: one by one where each could
 * have an error of its own. */
static int
send_next(TacDatagram *d)
{
    return d->connected || d->family == AF_UNIX ? send_first(d)
                                                : send_many(d);
}

static void
send_forget(TacDatagram *d, int count)
{
    for (; count > 0 && d->out.len != 0; count--) {
        struct tac_datagram datagram = tac_datagram_pop(&d->out);
        tac_spare_give(d->base.state, datagram.data);
        Py_XDECREF(datagram.addr);
    }
}

/* What is left waits for the kernel. */
static int
send_wait(TacDatagram *d)
{
    TacTransport *t = &d->base;
    if (d->out.len == 0 || tac_transport_writes(t)) {
        return 0;
    }
    int fd = tac_transport_fd(t);
    if (t->conn_lost != 0 || fd < 0
        || !tac_list_is_linked(&t->member.node)) {
        tac_datagram_clear_queue(&d->out); /* nobody will ask for it */
        return 0;
    }
    tac_transport_arm(t, fd, TAC_WATCH_WRITE);
    tac_transport_update_held(t);
    return 0;
}

/* What waited for the end of the batch ------------------------------------ */

static int
send_tell_errors(TacTransport *t)
{
    TacDatagram *d = (TacDatagram *)t;
    PyObject *errors = d->errors;
    d->errors = NULL;
    int rc = 0;
    for (Py_ssize_t i = 0; errors != NULL && i < PyList_GET_SIZE(errors);
         i++) {
        if (t->protocol == NULL || rc < 0) {
            break;
        }
        PyObject *exc = Py_NewRef(PyList_GET_ITEM(errors, i));
        PyErr_SetRaisedException(exc);
        rc = tac_datagram_tell_error(
            d, "Fatal write error on datagram transport");
        if (rc < 0) {
            rc = tac_transport_report_callback(t, "sendto");
        }
    }
    Py_XDECREF(errors);
    return rc;
}

static int
send_on_errors(PyObject *transport)
{
    TacTransport *t = tac_transport_of(transport);
    return t == NULL || t->context == NULL
               ? 0
               : tac_transport_run_in(t, t->context, send_tell_errors);
}

/* Keep what is raised; the ring tells the protocol.  0, or -1 with another
 * exception. */
static int
send_keep_error(TacDatagram *d)
{
    PyObject *exc = PyErr_GetRaisedException();
    int rc = 0;
    if (d->errors == NULL) {
        d->errors = PyList_New(0);
        rc = d->errors == NULL || d->base.transport == NULL
                     || d->base.loop == NULL
                 ? -1
                 : tac_loop_push_native(d->base.loop, send_on_errors,
                                        d->base.transport, "_read_ready");
    }
    if (rc == 0) {
        rc = PyList_Append(d->errors, exc);
    }
    Py_DECREF(exc);
    return rc;
}

int
tac_datagram_on_flush(TacTransport *t)
{
    TacDatagram *d = (TacDatagram *)t;
    tac_transport_drop_flush(t);
    if (tac_transport_writes(t)) {
        return 0;
    }
    while (d->out.len != 0) {
        int sent = send_next(d);
        if (sent == 0) {
            return send_wait(d);
        }
        if (sent < 0 && send_keep_error(d) < 0) {
            return -1;
        }
        send_forget(d, sent < 0 ? 1 : sent);
    }
    return 0;
}

/* A writable socket ------------------------------------------------------- */

int
tac_datagram_on_writable(TacTransport *t)
{
    TacDatagram *d = (TacDatagram *)t;
    while (d->out.len != 0) {
        int sent = send_next(d);
        if (sent == 0) {
            break;
        }
        send_forget(d, sent < 0 ? 1 : sent);
        if (sent < 0) { /* and no more in this event */
            int rc = tac_datagram_tell_error(
                d, "Fatal write error on datagram transport");
            return rc < 0
                       ? tac_transport_report_callback(t, "_sendto_ready")
                       : 0;
        }
    }
    if (tac_transport_maybe_resume(t) < 0) { /* may send again */
        return -1;
    }
    if (d->out.len != 0) {
        return 0;
    }
    tac_transport_disarm(t, TAC_WATCH_WRITE);
    if (!t->closing || t->conn_lost != 0) {
        return 0;
    }
    return tac_transport_lose_at_once(t, "_sendto_ready");
}

/* sendto() ---------------------------------------------------------------- */

static int
send_check_type(PyObject *data)
{
    if (PyBytes_Check(data) || PyByteArray_Check(data)
        || PyMemoryView_Check(data))
    {
        return 0;
    }
    PyObject *name = PyType_GetName(Py_TYPE(data));
    if (name != NULL) {
        PyErr_Format(PyExc_TypeError,
                     "data argument must be a bytes-like object, not %R",
                     name);
        Py_DECREF(name);
    }
    return -1;
}

/* The address to send to, NULL: the peer.  0, or -1 with an exception. */
static int
send_check_address(TacDatagram *d, PyObject **addr)
{
    if (d->address == NULL) {
        return 0;
    }
    if (*addr != Py_None && *addr != d->address) {
        PyObject *allowed = PyTuple_Pack(2, Py_None, d->address);
        int is_allowed =
            allowed == NULL ? -1 : PySequence_Contains(allowed, *addr);
        Py_XDECREF(allowed);
        if (is_allowed == 0) {
            PyErr_Format(PyExc_ValueError,
                         "Invalid address: must be None or %S", d->address);
        }
        if (is_allowed <= 0) {
            return -1;
        }
    }
    *addr = d->address;
    return 0;
}

/* Append to what waits; `name` (or NULL) is what `addr` is.  0, or -1 with
 * an exception. */
static int
send_queue(TacDatagram *d, PyObject *data, PyObject *addr,
           const struct tac_datagram_name *name)
{
    struct tac_datagram datagram = {
        .data = PyBytes_CheckExact(data) ? Py_NewRef(data)
                                         : PyBytes_FromObject(data),
    };
    if (datagram.data == NULL) {
        return -1;
    }
    datagram.addr = Py_XNewRef(addr);
    if (name != NULL && name->len <= sizeof(datagram.name.storage)) {
        datagram.name.len = name->len;
        memcpy(&datagram.name.storage, &name->storage, name->len);
    }
    return tac_datagram_push(&d->out, &datagram);
}

/* May it wait for the end of the batch?  Another one was sent in it then,
 * and its address is known to be good. */
static bool
send_may_gather(TacDatagram *d, PyObject *data, PyObject *addr,
                struct tac_datagram_name *name)
{
    return tac_transport_has_flush(&d->base) && PyBytes_CheckExact(data)
           && PyBytes_GET_SIZE(data) <= SEND_GATHER_BYTES
           && d->base.conn_lost == 0 && tac_datagram_resolve(d, addr, name);
}

static int
send_gather(TacDatagram *d, PyObject *data, PyObject *addr,
            const struct tac_datagram_name *name)
{
    TacTransport *t = &d->base;
    if (PySys_Audit("socket.sendto", "OO",
                    t->sock == NULL ? Py_None : t->sock, addr)
            < 0
        || send_queue(d, data, addr, name) < 0)
    {
        return tac_datagram_tell_error(
            d, "Fatal write error on datagram transport");
    }
    if (d->out.len >= SEND_GATHER_MOST || d->out.size > t->high_bytes) {
        return tac_transport_flush(t) < 0 ? -1 : tac_transport_maybe_pause(t);
    }
    return 0;
}

static int
send_now(TacDatagram *d, PyObject *data, PyObject *addr)
{
    TacTransport *t = &d->base;
    int sent = d->out.len != 0 ? 0 : send_one(d, data, addr);
    if (sent < 0) {
        if (PyErr_ExceptionMatches(PyExc_SystemExit)
            || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        {
            return -1;
        }
        return tac_datagram_tell_error(
            d, "Fatal write error on datagram transport");
    }
    if (sent == 0) {
        if (send_queue(d, data, addr, NULL) < 0 || send_wait(d) < 0) {
            return -1;
        }
        return tac_transport_maybe_pause(t);
    }
    if (!d->connected && d->family != AF_UNIX
        && tac_transport_defer_flush(t))
    {
        tac_transport_update_held(t);
    }
    return 0;
}

int
tac_datagram_sendto(TacDatagram *d, PyObject *data, PyObject *addr)
{
    TacTransport *t = &d->base;
    if (send_check_type(data) < 0) {
        return -1;
    }
    if (PY_VERSION_HEX < 0x030D0000) { /* those that are empty are not sent */
        int any = PyObject_IsTrue(data);
        if (any <= 0) {
            return any;
        }
    }
    if (send_check_address(d, &addr) < 0) {
        return -1;
    }
    if (t->conn_lost != 0 && d->address != NULL) {
        return tac_transport_write_in_vain(t);
    }
    if (t->loop == NULL) { /* it is over: what asyncio has to say to that */
        PyObject *result = PyObject_CallFunctionObjArgs(
            t->state->aio_sendto, t->transport, data, addr, NULL);
        Py_XDECREF(result);
        return result == NULL ? -1 : 0;
    }
    PyObject *to = d->connected ? NULL : addr;
    Py_INCREF(d);
    struct tac_datagram_name name;
    int rc;
    if (send_may_gather(d, data, to, &name)) {
        rc = send_gather(d, data, to, &name);
    }
    else {
        rc = tac_transport_flush(t);
        if (rc == 0) {
            rc = send_now(d, data, to);
        }
    }
    Py_DECREF(d);
    return rc;
}
