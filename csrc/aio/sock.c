/* aio/sock.c - the loop's sock_recv(), sock_sendall() and their like.
 *
 * What is done once a packet asks the kernel directly, without the exception
 * that a socket's method raises when it would block.  The GIL is let go only
 * around what may take long: a socket that does not block answers sooner than
 * another thread could give the GIL back.
 */
#include "aio/sock.h"

#include "aio/sockcall.h"
#include "base/asyncfn.h"
#include "base/compat.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define SOCK_STACK_BYTES 16384 /* received on the stack, then copied */
#define SOCK_LONG_BYTES (512 * 1024) /* from here on the GIL is let go */

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

/* X(name): the methods of _socket.socket in state->socket_methods, in this
 * order; then come their names. */
#define SOCK_METHODS(X) \
    X(fileno) X(gettimeout) X(family) X(recv) X(recv_into) X(recvfrom) \
    X(recvfrom_into) X(send)

enum sock_method {
#define X(name) SOCK_METHOD_##name,
    SOCK_METHODS(X)
#undef X
    SOCK_METHOD_COUNT,
};

static const char *const sock_method_names[] = {
#define X(name) #name,
    SOCK_METHODS(X)
#undef X
};

static PyObject *
sock_method(TacState *state, enum sock_method method)
{
    return PyTuple_GET_ITEM(state->socket_methods, method);
}

/* Asking the socket ------------------------------------------------------- */

/* The fd, also in call->fd; or -1 with OSError. */
static int
sock_fd(TacSockCall *call)
{
    PyObject *fileno = sock_method(call->loop->state, SOCK_METHOD_fileno);
    PyObject *number = PyObject_Vectorcall(fileno, &call->sock, 1, NULL);
    long fd = number == NULL ? -1 : PyLong_AsLong(number);
    Py_XDECREF(number);
    if (fd < 0 && !PyErr_Occurred()) {
        errno = EBADF;
        PyErr_SetFromErrno(PyExc_OSError);
    }
    call->fd = fd < 0 ? -1 : (int)fd;
    return call->fd;
}

static int
sock_can_block(TacSockCall *call)
{
    PyObject *gettimeout =
        sock_method(call->loop->state, SOCK_METHOD_gettimeout);
    PyObject *timeout = PyObject_Vectorcall(gettimeout, &call->sock, 1, NULL);
    if (timeout == NULL) {
        return -1;
    }
    int can_block = !PyFloat_CheckExact(timeout)
                    || PyFloat_AS_DOUBLE(timeout) != 0.;
    Py_DECREF(timeout);
    return can_block;
}

/* Is a method of socket.socket another than that of its base class? */
static int
sock_is_replaced(TacState *state, enum sock_method method)
{
    PyObject *own = sock_method(state, method);
    PyObject *name = PyTuple_GET_ITEM(state->socket_methods,
                                      SOCK_METHOD_COUNT + (int)method);
    PyObject *found = PyObject_GetAttr((PyObject *)state->socket_type, name);
    Py_XDECREF(found);
    return found == NULL ? -1 : found != own;
}

/* What a system call that failed has to say, by errno or by the exception of
 * a signal handler. */
static enum tac_sock_step
sock_failed(void)
{
    if (PyErr_Occurred()) {
        return TAC_SOCK_ERROR;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return TAC_SOCK_AGAIN;
    }
    PyErr_SetFromErrno(PyExc_OSError);
    return TAC_SOCK_ERROR;
}

/* What a method of the socket has returned (stolen), or raised. */
static enum tac_sock_step
sock_take(TacSockCall *call, PyObject *value)
{
    call->result = value;
    if (value != NULL) {
        return TAC_SOCK_DONE;
    }
    if (!PyErr_ExceptionMatches(PyExc_BlockingIOError)
        && !PyErr_ExceptionMatches(PyExc_InterruptedError))
    {
        return TAC_SOCK_ERROR;
    }
    PyErr_Clear();
    return sock_fd(call) < 0 ? TAC_SOCK_ERROR : TAC_SOCK_AGAIN;
}

/* The inherited methods --------------------------------------------------- */

static PyObject *
sock_call_inherited(TacLoop *loop, const char *name, PyObject *const *args,
                    Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *super = PyObject_CallFunctionObjArgs(
        (PyObject *)&PySuper_Type, (PyObject *)loop->state->loop_type,
        (PyObject *)loop, NULL);
    PyObject *method =
        super == NULL ? NULL : PyObject_GetAttrString(super, name);
    PyObject *result =
        method == NULL ? NULL
                       : PyObject_Vectorcall(method, args, nargs, kwnames);
    Py_XDECREF(method);
    Py_XDECREF(super);
    return result;
}

/* Let an awaitable (stolen, or NULL with an exception) go on in the place of
 * the call. */
static enum tac_sock_step
sock_await(TacSockCall *call, PyObject *awaitable)
{
    if (awaitable == NULL) {
        return TAC_SOCK_ERROR;
    }
    if (!PyCoro_CheckExact(awaitable)) {
        PyAsyncMethods *methods = Py_TYPE(awaitable)->tp_as_async;
        if (methods == NULL || methods->am_await == NULL) {
            PyErr_Format(PyExc_TypeError,
                         "object %.200s can't be used in 'await' expression",
                         Py_TYPE(awaitable)->tp_name);
            Py_DECREF(awaitable);
            return TAC_SOCK_ERROR;
        }
        Py_SETREF(awaitable, methods->am_await(awaitable));
    }
    call->inner = awaitable;
    return awaitable == NULL ? TAC_SOCK_ERROR : TAC_SOCK_INNER;
}

static enum tac_sock_step
sock_inherit(TacSockCall *call)
{
    PyObject *args[] = {call->sock, call->first, call->second}; /* borrowed */
    Py_ssize_t nargs = 1 + (call->first != NULL) + (call->second != NULL);
    call->inherited = true;
    return sock_await(call, sock_call_inherited(call->loop, call->ops->name,
                                                args, nargs, NULL));
}

/* Is the call for C to answer?  `method`: the one that it stands for. */
static int
sock_is_plain(TacSockCall *call, enum sock_method method)
{
    if (call->loop->debug) {
        return 0;
    }
    int can_block = sock_can_block(call);
    if (can_block != 0) {
        return can_block < 0 ? -1 : 0;
    }
    int replaced = sock_is_replaced(call->loop->state, method);
    return replaced < 0 ? -1 : !replaced;
}

/* The first step: an attempt, or the inherited method. */
static enum tac_sock_step
sock_begin(TacSockCall *call, enum sock_method method)
{
    int plain = sock_is_plain(call, method);
    if (plain < 0) {
        return TAC_SOCK_ERROR;
    }
    return plain ? call->ops->attempt(call) : sock_inherit(call);
}

/* Receiving --------------------------------------------------------------- */

/* Where a packet came from; `len` 0: not asked for, or not known. */
struct sock_origin {
    struct sockaddr_storage address;
    socklen_t len;
};

/* Receive into memory.  How many bytes, or -1: see sock_failed. */
static Py_ssize_t
sock_receive(int fd, void *bytes, size_t len, struct sock_origin *origin)
{
    Py_ssize_t received;
    struct sockaddr *address =
        origin == NULL ? NULL : (struct sockaddr *)&origin->address;
    socklen_t *address_len = origin == NULL ? NULL : &origin->len;
    do {
        if (origin != NULL) {
            origin->len = sizeof(origin->address);
        }
        if (len < SOCK_LONG_BYTES) {
            received = recvfrom(fd, bytes, len, 0, address, address_len);
        }
        else {
            Py_BEGIN_ALLOW_THREADS
            received = recvfrom(fd, bytes, len, 0, address, address_len);
            Py_END_ALLOW_THREADS
        }
    } while (received < 0 && errno == EINTR && PyErr_CheckSignals() == 0);
    return received;
}

/* Receive a bytes object of at most call->count bytes.  Returns: new ref |
 * NULL: see sock_failed. */
static PyObject *
sock_receive_bytes(TacSockCall *call, struct sock_origin *origin)
{
    char stack[SOCK_STACK_BYTES];
    if (call->count <= SOCK_STACK_BYTES) {
        Py_ssize_t received =
            sock_receive(call->fd, stack, call->count, origin);
        return received < 0 ? NULL
                            : PyBytes_FromStringAndSize(stack, received);
    }
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, call->count);
    if (bytes == NULL) {
        return NULL;
    }
    Py_ssize_t received = sock_receive(call->fd, PyBytes_AS_STRING(bytes),
                                       call->count, origin);
    if (received < 0) {
        int error = errno;
        Py_DECREF(bytes);
        errno = error;
        return NULL;
    }
    if (received != call->count) {
        (void)_PyBytes_Resize(&bytes, received);
    }
    return bytes;
}

/* The number of bytes to receive, in call->count.  False: what it is, or
 * what is wrong with it, is for the inherited method to find out. */
static bool
sock_read_size(TacSockCall *call)
{
    if (!PyLong_CheckExact(call->first)) {
        return false;
    }
    call->count = PyLong_AsSsize_t(call->first);
    if (call->count > 0 && call->count <= INT_MAX) {
        return true;
    }
    PyErr_Clear();
    return false;
}

static enum tac_sock_step
sock_recv_attempt(TacSockCall *call)
{
    if (sock_fd(call) < 0) {
        return TAC_SOCK_ERROR;
    }
    call->result = sock_receive_bytes(call, NULL);
    return call->result == NULL ? sock_failed() : TAC_SOCK_DONE;
}

static enum tac_sock_step
sock_recv_begin(TacSockCall *call)
{
    return sock_read_size(call) ? sock_begin(call, SOCK_METHOD_recv)
                                : sock_inherit(call);
}

static enum tac_sock_step
sock_recv_into_attempt(TacSockCall *call)
{
    Py_buffer view;
    if (PyObject_GetBuffer(call->first, &view, PyBUF_WRITABLE) < 0) {
        PyErr_Clear();
        return sock_inherit(call);
    }
    Py_ssize_t received = 0; /* into no memory nothing is received */
    if (view.len != 0) {
        received = sock_fd(call) < 0
                       ? -1
                       : sock_receive(call->fd, view.buf, view.len, NULL);
    }
    enum tac_sock_step step =
        received < 0 ? sock_failed() : TAC_SOCK_DONE;
    PyBuffer_Release(&view);
    if (step == TAC_SOCK_DONE) {
        call->result = PyLong_FromSsize_t(received);
        return call->result == NULL ? TAC_SOCK_ERROR : TAC_SOCK_DONE;
    }
    return step;
}

static enum tac_sock_step
sock_recv_into_begin(TacSockCall *call)
{
    return sock_begin(call, SOCK_METHOD_recv_into);
}

/* Datagrams --------------------------------------------------------------- */

/* Of which family is the socket?  -1 with an exception. */
static int
sock_family(TacSockCall *call)
{
    PyObject *family = sock_method(call->loop->state, SOCK_METHOD_family);
    PyObject *number = Py_TYPE(family)->tp_descr_get(
        family, call->sock, (PyObject *)Py_TYPE(call->sock));
    long value = number == NULL ? -1 : PyLong_AsLong(number);
    Py_XDECREF(number);
    return (int)value;
}

/* An IP address as Python has it.  Returns: new ref | NULL+exc. */
static PyObject *
sock_origin_address(const struct sock_origin *origin)
{
    char host[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_in *v4 = (const void *)&origin->address;
    const struct sockaddr_in6 *v6 = (const void *)&origin->address;
    if (origin->len == 0) {
        Py_RETURN_NONE;
    }
    if (origin->address.ss_family == AF_INET) {
        (void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        return Py_BuildValue("(si)", host, (int)ntohs(v4->sin_port));
    }
    (void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
    return Py_BuildValue("(siII)", host, (int)ntohs(v6->sin6_port),
                         (unsigned int)ntohl(v6->sin6_flowinfo),
                         (unsigned int)v6->sin6_scope_id);
}

/* Make the result (value, address) of a value, which is stolen. */
static enum tac_sock_step
sock_with_address(TacSockCall *call, PyObject *value,
                  const struct sock_origin *origin)
{
    PyObject *address = value == NULL ? NULL : sock_origin_address(origin);
    if (address != NULL) {
        call->result = PyTuple_Pack(2, value, address);
    }
    Py_XDECREF(address);
    Py_XDECREF(value);
    return call->result == NULL ? TAC_SOCK_ERROR : TAC_SOCK_DONE;
}

/* Only addresses of IP are simple. */
static bool
sock_is_ip(int family)
{
    return family == AF_INET || family == AF_INET6;
}

static enum tac_sock_step
sock_recvfrom_attempt(TacSockCall *call)
{
    int family = sock_family(call);
    if (family < 0) {
        return TAC_SOCK_ERROR;
    }
    if (!sock_is_ip(family)) {
        PyObject *name = call->loop->state->str_recvfrom;
        return sock_take(call, PyObject_CallMethodOneArg(call->sock, name,
                                                         call->first));
    }
    if (sock_fd(call) < 0) {
        return TAC_SOCK_ERROR;
    }
    struct sock_origin origin;
    PyObject *bytes = sock_receive_bytes(call, &origin);
    return bytes == NULL ? sock_failed()
                         : sock_with_address(call, bytes, &origin);
}

static enum tac_sock_step
sock_recvfrom_begin(TacSockCall *call)
{
    return sock_read_size(call) ? sock_begin(call, SOCK_METHOD_recvfrom)
                                : sock_inherit(call);
}

static enum tac_sock_step
sock_recvfrom_into_attempt(TacSockCall *call)
{
    Py_buffer view;
    int family = sock_family(call);
    if (family < 0) {
        return TAC_SOCK_ERROR;
    }
    if (!sock_is_ip(family)
        || PyObject_GetBuffer(call->first, &view, PyBUF_WRITABLE) < 0)
    {
        PyErr_Clear();
        return sock_inherit(call);
    }
    struct sock_origin origin;
    Py_ssize_t len = call->count == 0 ? view.len : call->count;
    enum tac_sock_step step = TAC_SOCK_INNER;
    Py_ssize_t received = -1;
    if (len != 0 && len <= view.len) {
        received = sock_fd(call) < 0
                       ? -1
                       : sock_receive(call->fd, view.buf, len, &origin);
        step = received < 0 ? sock_failed() : TAC_SOCK_DONE;
    }
    PyBuffer_Release(&view);
    if (step == TAC_SOCK_DONE) {
        return sock_with_address(call, PyLong_FromSsize_t(received), &origin);
    }
    return step == TAC_SOCK_INNER ? sock_inherit(call) : step;
}

static enum tac_sock_step
sock_recvfrom_into_begin(TacSockCall *call)
{
    if (call->second != NULL) {
        call->count = PyLong_CheckExact(call->second)
                          ? PyLong_AsSsize_t(call->second)
                          : -1;
    }
    if (call->count < 0) {
        PyErr_Clear();
        return sock_inherit(call);
    }
    return sock_begin(call, SOCK_METHOD_recvfrom_into);
}

static enum tac_sock_step
sock_sendto_attempt(TacSockCall *call)
{
    PyObject *args[] = {call->sock, call->first, call->second}; /* borrowed */
    return sock_take(call, PyObject_VectorcallMethod(
                               call->loop->state->str_sendto, args, 3, NULL));
}

/* Its method is looked up, so it may be a replaced one. */
static enum tac_sock_step
sock_method_begin(TacSockCall *call)
{
    return sock_begin(call, SOCK_METHOD_fileno);
}

/* Sending ----------------------------------------------------------------- */

/* How many bytes were sent, or -1: see sock_failed. */
static Py_ssize_t
sock_send(int fd, const char *bytes, size_t len)
{
    Py_ssize_t sent;
    do {
        if (len < SOCK_LONG_BYTES) {
            sent = send(fd, bytes, len, MSG_NOSIGNAL);
        }
        else {
            Py_BEGIN_ALLOW_THREADS
            sent = send(fd, bytes, len, MSG_NOSIGNAL);
            Py_END_ALLOW_THREADS
        }
    } while (sent < 0 && errno == EINTR && PyErr_CheckSignals() == 0);
    return sent;
}

/* The data stay locked from the first attempt to the last. */
static enum tac_sock_step
sock_sendall_attempt(TacSockCall *call)
{
    if (call->view.obj == NULL
        && PyObject_GetBuffer(call->first, &call->view, PyBUF_SIMPLE) < 0)
    {
        return TAC_SOCK_ERROR;
    }
    if (sock_fd(call) < 0) {
        return TAC_SOCK_ERROR;
    }
    Py_ssize_t left = call->view.len - call->count;
    Py_ssize_t sent =
        sock_send(call->fd, (char *)call->view.buf + call->count, left);
    if (sent < 0) {
        enum tac_sock_step step = sock_failed();
        return step == TAC_SOCK_AGAIN && left == 0 ? TAC_SOCK_DONE : step;
    }
    call->count += sent;
    return sent == left ? TAC_SOCK_DONE : TAC_SOCK_AGAIN;
}

static enum tac_sock_step
sock_sendall_begin(TacSockCall *call)
{
    return sock_begin(call, SOCK_METHOD_send);
}

/* The inherited method gets what is not sent yet. */
static enum tac_sock_step
sock_sendall_inherit(TacSockCall *call)
{
    if (call->count != 0) {
        PyObject *view = PyMemoryView_FromObject(call->first);
        PyObject *bytes =
            view == NULL ? NULL
                         : PyObject_CallMethod(view, "cast", "s", "B");
        PyObject *left =
            bytes == NULL
                ? NULL
                : PySequence_GetSlice(bytes, call->count, call->view.len);
        Py_XDECREF(bytes);
        Py_XDECREF(view);
        if (left == NULL) {
            return TAC_SOCK_ERROR;
        }
        Py_SETREF(call->first, left);
    }
    return sock_inherit(call);
}

/* Connections ------------------------------------------------------------- */

static enum tac_sock_step
sock_accept_attempt(TacSockCall *call)
{
    TacState *state = call->loop->state;
    enum tac_sock_step step = sock_take(
        call, PyObject_CallMethodNoArgs(call->sock, state->str_accept));
    if (step != TAC_SOCK_DONE) {
        return step;
    }
    PyObject *conn = PySequence_GetItem(call->result, 0);
    PyObject *set = conn == NULL
                        ? NULL
                        : PyObject_CallMethodOneArg(
                              conn, state->str_setblocking, Py_False);
    Py_XDECREF(set);
    Py_XDECREF(conn);
    return set == NULL ? TAC_SOCK_ERROR : TAC_SOCK_DONE;
}

static enum tac_sock_step
sock_connect_now(TacSockCall *call)
{
    PyObject *connected = PyObject_CallMethodOneArg(
        call->sock, call->loop->state->str_connect, call->first);
    return sock_take(call, connected);
}

/* The address is resolved: take the first one. */
static enum tac_sock_step
sock_connect_resolved(TacSockCall *call)
{
    PyObject *info = PySequence_GetItem(call->result, 0);
    PyObject *address = info == NULL ? NULL : PySequence_GetItem(info, 4);
    Py_XDECREF(info);
    Py_CLEAR(call->result);
    if (address == NULL) {
        return TAC_SOCK_ERROR;
    }
    Py_SETREF(call->first, address);
    return sock_connect_now(call);
}

/* self._ensure_resolved(address, family=, type=, proto=, loop=self) */
static enum tac_sock_step
sock_connect_resolve(TacSockCall *call)
{
    TacState *state = call->loop->state;
    PyObject *method = PyObject_GetAttr((PyObject *)call->loop,
                                        state->str__ensure_resolved);
    PyObject *args = PyTuple_Pack(1, call->first);
    PyObject *kwargs = PyDict_New();
    PyObject *const names[] = {state->str_family, state->str_type,
                               state->str_proto};
    int rc = method == NULL || args == NULL || kwargs == NULL
                 ? -1
                 : PyDict_SetItemString(kwargs, "loop",
                                        (PyObject *)call->loop);
    for (size_t i = 0; rc == 0 && i < 3; i++) {
        PyObject *value = PyObject_GetAttr(call->sock, names[i]);
        rc = value == NULL ? -1 : PyDict_SetItem(kwargs, names[i], value);
        Py_XDECREF(value);
    }
    PyObject *resolving = rc < 0 ? NULL : PyObject_Call(method, args, kwargs);
    Py_XDECREF(kwargs);
    Py_XDECREF(args);
    Py_XDECREF(method);
    return sock_await(call, resolving);
}

static enum tac_sock_step
sock_connect_begin(TacSockCall *call)
{
    int plain = sock_is_plain(call, SOCK_METHOD_fileno);
    int family = plain < 0 ? -1 : sock_family(call);
    if (family < 0) {
        return TAC_SOCK_ERROR;
    }
    if (!plain) {
        return sock_inherit(call);
    }
    return sock_is_ip(family) ? sock_connect_resolve(call)
                              : sock_connect_now(call);
}

/* How the attempt to connect ended. */
static enum tac_sock_step
sock_connect_attempt(TacSockCall *call)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (sock_fd(call) < 0) {
        return TAC_SOCK_ERROR;
    }
    if (getsockopt(call->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0) {
        return sock_failed();
    }
    if (error == 0) {
        return TAC_SOCK_DONE;
    }
    PyObject *exc = NULL;
    PyObject *text =
        PyUnicode_FromFormat("Connect call failed %S", call->first);
    if (text != NULL) {
        exc = PyObject_CallFunction(PyExc_OSError, "iN", error, text);
    }
    if (exc != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
        Py_DECREF(exc);
    }
    return sock_take(call, NULL);
}

/* The attempt was begun by somebody else. */
static enum tac_sock_step
sock_connected_begin(TacSockCall *call)
{
    return sock_fd(call) < 0 ? TAC_SOCK_ERROR : TAC_SOCK_AGAIN;
}

/* The methods ------------------------------------------------------------- */

static PyObject *
sock_call(TacLoop *loop, const struct tac_sock_ops *ops, Py_ssize_t least,
          Py_ssize_t most, PyObject *const *args, Py_ssize_t nargs,
          PyObject *kwnames)
{
    PyTypeObject *type = loop->state->socket_type;
    if (kwnames == NULL && nargs >= least && nargs <= most
        && type != NULL && Py_IS_TYPE(args[0], type)) {
        return tac_sockcall_new(loop, ops, args, nargs);
    }
    return sock_call_inherited(loop, ops->name, args, nargs, kwnames);
}

/* A method of the loop; the socket is among its `least` to `most`
 * arguments. */
#define SOCK_CALL(method, least, most)                                     \
    static PyObject *sock_##method(TacLoop *loop, PyObject *const *args,   \
                                   Py_ssize_t nargs, PyObject *kwnames)    \
    {                                                                      \
        return sock_call(loop, &sock_##method##_ops, least, most, args,    \
                         nargs, kwnames);                                  \
    }

static const struct tac_sock_ops sock_recv_ops = {
    .name = "sock_recv",
    .qualname = "EventLoop.sock_recv",
    .events = TAC_WATCH_READ,
    .begin = sock_recv_begin,
    .attempt = sock_recv_attempt,
    .inherit = sock_inherit,
};

static const struct tac_sock_ops sock_recv_into_ops = {
    .name = "sock_recv_into",
    .qualname = "EventLoop.sock_recv_into",
    .events = TAC_WATCH_READ,
    .begin = sock_recv_into_begin,
    .attempt = sock_recv_into_attempt,
    .inherit = sock_inherit,
};

static const struct tac_sock_ops sock_recvfrom_ops = {
    .name = "sock_recvfrom",
    .qualname = "EventLoop.sock_recvfrom",
    .events = TAC_WATCH_READ,
    .begin = sock_recvfrom_begin,
    .attempt = sock_recvfrom_attempt,
    .inherit = sock_inherit,
};

static const struct tac_sock_ops sock_recvfrom_into_ops = {
    .name = "sock_recvfrom_into",
    .qualname = "EventLoop.sock_recvfrom_into",
    .events = TAC_WATCH_READ,
    .begin = sock_recvfrom_into_begin,
    .attempt = sock_recvfrom_into_attempt,
    .inherit = sock_inherit,
};

static const struct tac_sock_ops sock_sendall_ops = {
    .name = "sock_sendall",
    .qualname = "EventLoop.sock_sendall",
    .events = TAC_WATCH_WRITE,
    .begin = sock_sendall_begin,
    .attempt = sock_sendall_attempt,
    .inherit = sock_sendall_inherit,
};

static const struct tac_sock_ops sock_sendto_ops = {
    .name = "sock_sendto",
    .qualname = "EventLoop.sock_sendto",
    .events = TAC_WATCH_WRITE,
    .begin = sock_method_begin,
    .attempt = sock_sendto_attempt,
    .inherit = sock_inherit,
};

static const struct tac_sock_ops sock_connect_ops = {
    .name = "sock_connect",
    .qualname = "EventLoop.sock_connect",
    .events = TAC_WATCH_WRITE,
    .begin = sock_connect_begin,
    .attempt = sock_connect_attempt,
    .inner_done = sock_connect_resolved,
    .inherit = sock_inherit,
};

static const struct tac_sock_ops sock_connected_ops = {
    .name = "sock_connect", /* which goes on with what was begun, too */
    .qualname = "EventLoop._sock_connected",
    .events = TAC_WATCH_WRITE,
    .begin = sock_connected_begin,
    .attempt = sock_connect_attempt,
    .inherit = sock_inherit,
};

static const struct tac_sock_ops sock_accept_ops = {
    .name = "sock_accept",
    .qualname = "EventLoop.sock_accept",
    .events = TAC_WATCH_READ,
    .begin = sock_method_begin,
    .attempt = sock_accept_attempt,
    .inherit = sock_inherit,
};

SOCK_CALL(recv, 2, 2)
SOCK_CALL(recv_into, 2, 2)
SOCK_CALL(recvfrom, 2, 2)
SOCK_CALL(recvfrom_into, 2, 3)
SOCK_CALL(sendall, 2, 2)
SOCK_CALL(sendto, 3, 3)
SOCK_CALL(connect, 2, 2)
SOCK_CALL(connected, 2, 2)
SOCK_CALL(accept, 1, 1)
#undef SOCK_CALL

/* All of them want a non-blocking socket, and raise OSError for what the
 * kernel says, TypeError for an ssl.SSLSocket, ValueError in debug mode for a
 * socket that can block, RuntimeError when a transport has it. */
#define SOCK_DOC(name, arguments, text)                                    \
    "sock_" name "($self, " arguments ")\n--\n\n" text                      \
    "\n\nsock: a non-blocking socket.\nRaises OSError; TypeError for an "  \
    "ssl.SSLSocket; RuntimeError when\na transport has the socket.\n"      \
    "Flavor: asyncio. Thread-safe: no."
#define SOCK_DEF(method, arguments, text)                                  \
    {"sock_" #method, (PyCFunction)(void (*)(void))sock_##method,          \
     METH_FASTCALL | METH_KEYWORDS, SOCK_DOC(#method, arguments, text)}

static PyMethodDef sock_methods[] = {
    {"_sock_connected", (PyCFunction)(void (*)(void))sock_connected,
     METH_FASTCALL | METH_KEYWORDS,
     "_sock_connected($self, sock, address)\n--\n\n"
     "Wait until a connection that was begun is made."},
    SOCK_DEF(recv, "sock, n",
     "Receive at most `n` bytes; b\"\" at the end of the stream."),
    SOCK_DEF(recv_into, "sock, buf",
     "Receive into a writable buffer; returns how many bytes."),
    SOCK_DEF(recvfrom, "sock, bufsize",
     "Receive a packet of at most `bufsize` bytes; returns\n"
     "(bytes, address)."),
    SOCK_DEF(recvfrom_into, "sock, buf, nbytes=0",
     "Receive a packet into a writable buffer, at most `nbytes` (0: all of\n"
     "it); returns (number of bytes, address)."),
    SOCK_DEF(sendall, "sock, data",
     "Send all of a bytes-like object."),
    SOCK_DEF(sendto, "sock, data, address",
     "Send one packet to `address`; returns how many bytes were sent."),
    SOCK_DEF(connect, "sock, address",
     "Connect to `address`; a host name is resolved first."),
    SOCK_DEF(accept, "sock",
     "Accept a connection; returns (socket, address). The socket is\n"
     "non-blocking."),
    {NULL},
};
#undef SOCK_DEF
#undef SOCK_DOC

/* Module function: which class is the standard library's socket. */
static PyObject *
sock_learn_socket(PyObject *module, PyObject *type)
{
    TacState *state = tac_state_of_module(module);
    PyObject *methods = PyTuple_New(2 * SOCK_METHOD_COUNT);
    PyObject *base =
        methods == NULL ? NULL : PyObject_GetAttrString(type, "__base__");
    for (int i = 0; base != NULL && i < SOCK_METHOD_COUNT; i++) {
        PyObject *name = PyUnicode_InternFromString(sock_method_names[i]);
        PyObject *method = name == NULL ? NULL : PyObject_GetAttr(base, name);
        PyTuple_SET_ITEM(methods, i, method);
        PyTuple_SET_ITEM(methods, SOCK_METHOD_COUNT + i, name);
        if (method == NULL) {
            Py_CLEAR(base);
        }
    }
    if (base == NULL) {
        Py_XDECREF(methods);
        return NULL;
    }
    Py_DECREF(base);
    Py_XSETREF(state->socket_methods, methods);
    Py_XSETREF(state->socket_type, (PyTypeObject *)Py_NewRef(type));
    Py_RETURN_NONE;
}

static PyMethodDef sock_functions[] = {
    {"learn_socket", sock_learn_socket, METH_O,
     "learn_socket($module, type, /)\n--\n\n"
     "Learn which class the standard library's sockets are of."},
    {NULL},
};

int
tac_sock_add_methods(PyObject *module, TacState *state)
{
    PyTypeObject *type = state->loop_type;
    for (PyMethodDef *def = sock_methods; def->ml_name != NULL; def++) {
        PyObject *method = PyDescr_NewMethod(type, def);
        int rc = method == NULL
                     ? -1
                     : PyObject_SetAttrString((PyObject *)type, def->ml_name,
                                              method);
        Py_XDECREF(method);
        if (rc < 0
            || tac_asyncfn_replace((PyObject *)type, state, def->ml_name) < 0)
        {
            return -1;
        }
    }
    return PyModule_AddFunctions(module, sock_functions);
}

#undef SOCK_METHODS
#undef SOCK_STACK_BYTES
#undef SOCK_LONG_BYTES
