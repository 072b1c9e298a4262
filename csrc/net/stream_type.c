/* net/stream_type.c - the types Stream and StreamTransport. */
#include "net/stream.h"

#include "base/args.h"
#include "base/compat.h"
#include "net/transport_type.h"

static TacStream *
stream_get(PyObject *transport)
{
    return (TacStream *)tac_transport_get(transport);
}

/* The constructor --------------------------------------------------------- */

static const char *const stream_names[] = {
    "loop", "sock", "protocol", "waiter", "extra", "server", "context", NULL};

static int
stream_tp_init(PyObject *transport, PyObject *args, PyObject *kwargs)
{
    TacState *state = tac_state_of_type(Py_TYPE(transport));
    PyObject *loop, *sock, *protocol, *waiter = Py_None, *extra = Py_None;
    PyObject *server = Py_None, *context = Py_None;
    if (state == NULL
        || !PyArg_ParseTupleAndKeywords(
            args, kwargs, "O!O!O|OOOO:StreamTransport",
            (char **)stream_names, state->loop_type, &loop,
            state->socket_type, &sock, &protocol, &waiter, &extra, &server,
            &context)) {
        return -1;
    }
    int rc = tac_transport_init(transport, state, extra);
    int fd = rc < 0 ? -1 : tac_args_fd(sock);
    if (fd < 0) {
        return -1;
    }
    struct tac_transport_spec spec = {
        .loop = (TacLoop *)loop,
        .protocol = protocol,
        .waiter = tac_transport_or_null(waiter),
        .server = tac_transport_or_null(server),
        .sock = sock,
        .context = tac_transport_or_null(context),
        .fd = fd,
    };
    return tac_stream_start(state, transport, &spec);
}

/* The methods ------------------------------------------------------------- */

static PyObject *
stream_write(PyObject *transport, PyObject *data)
{
    TacStream *s = stream_get(transport);
    return s == NULL ? NULL : tac_transport_result(tac_stream_write(s, data));
}

static PyObject *
stream_writelines(PyObject *transport, PyObject *list)
{
    TacStream *s = stream_get(transport);
    return s == NULL
               ? NULL
               : tac_transport_result(tac_stream_writelines(s, list));
}

static PyObject *
stream_write_eof(PyObject *transport, PyObject *noargs)
{
    TacStream *s = stream_get(transport);
    return s == NULL ? NULL : tac_transport_result(tac_stream_write_eof(s));
}

static PyObject *
stream_own_address(PyObject *transport, PyObject *noargs)
{
    TacStream *s = stream_get(transport);
    if (s == NULL) {
        return NULL;
    }
    if (tac_address_is_kept(&s->own)) {
        return tac_address_kept_object(&s->own);
    }
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);
    int fd = tac_transport_fd(&s->base);
    if (fd < 0 || getsockname(fd, (struct sockaddr *)&name, &len) < 0
        || !tac_address_is_known((struct sockaddr *)&name))
    {
        Py_RETURN_NONE;
    }
    return tac_address_object((struct sockaddr *)&name, len);
}

/* What accept() or connect() said; None: the socket has to be asked. */
static PyObject *
stream_peer_address(PyObject *transport, PyObject *noargs)
{
    TacStream *s = stream_get(transport);
    if (s == NULL) {
        return NULL;
    }
    return tac_address_kept_object(&s->peer);
}

static PyObject *
stream_read_ready(PyObject *transport, PyObject *noargs)
{
    TacStream *s = stream_get(transport);
    if (s == NULL) {
        return NULL;
    }
    if (s->base.conn_lost != 0) {
        Py_RETURN_NONE;
    }
    Py_INCREF(s);
    int rc = tac_stream_on_readable(&s->base);
    Py_DECREF(s);
    return tac_transport_result(rc);
}

static PyMethodDef stream_methods[] = {
    {"write", stream_write, METH_O,
     "write($self, data, /)\n--\n\n"
     "Send bytes, in the order of the calls, without waiting.\n\n"
     "data: bytes, bytearray or memoryview; it may be changed afterwards.\n"
     "Raises TypeError for anything else, RuntimeError after write_eof().\n"
     "Flavor: sync. Thread-safe: no."},
    {"writelines", stream_writelines, METH_O,
     "writelines($self, list_of_data, /)\n--\n\n"
     "Send several pieces of bytes, as write() sends one."},
    {"write_eof", stream_write_eof, METH_NOARGS,
     "write_eof($self, /)\n--\n\n"
     "Close the writing half, after what was written is sent."},
    TAC_TRANSPORT_METHODS,
    TAC_TRANSPORT_READ_METHODS,
    TAC_TRANSPORT_WRITE_METHODS,
    TAC_TRANSPORT_SOCKET_METHODS,
    {"_read_ready", stream_read_ready, METH_NOARGS,
     "_read_ready($self, /)\n--\n\n"
     "Read what there is, if anything, and give it to the protocol."},
    {"_peer_address", stream_peer_address, METH_NOARGS,
     "_peer_address($self, /)\n--\n\n"
     "The peer's address as far as it is known, or None."},
    {"_own_address", stream_own_address, METH_NOARGS,
     "_own_address($self, /)\n--\n\n"
     "The socket's own address, or None."},
    {NULL},
};

/* The attributes that the standard library shares with us ------------------- */

/* Set one of the object members; None and deletion: none. */
static int
stream_set_object(PyObject *transport, PyObject *value, void *closure)
{
    TacStream *s = stream_get(transport);
    if (s == NULL) {
        return -1;
    }
    PyObject **member = (PyObject **)((char *)s + (size_t)closure);
    Py_XSETREF(*member,
               value == NULL || value == Py_None ? NULL : Py_NewRef(value));
    return 0;
}

/* What asyncio has there once the transport is closed, or from 3.14 on once
 * the connection is lost: nothing.  Its tests look. */
static PyObject *
stream_get_read_ready(PyObject *transport, void *closure)
{
    TacStream *s = stream_get(transport);
    if (s == NULL) {
        return NULL;
    }
    bool over = PY_VERSION_HEX >= 0x030E0000 ? s->base.loop == NULL
                                             : s->base.closing;
    if (over) {
        Py_RETURN_NONE;
    }
    return PyObject_GetAttrString(transport, "_read_ready");
}

static PyObject *
stream_get_buffer(PyObject *transport, void *closure)
{
    TacStream *s = stream_get(transport);
    if (s == NULL || tac_transport_flush(&s->base) < 0) {
        return NULL;
    }
    return tac_outbuf_list(&s->out);
}

static PyGetSetDef stream_getset[] = {
    TAC_TRANSPORT_GETSET,
    TAC_TRANSPORT_READ_GETSET,
    TAC_TRANSPORT_SOCKET_GETSET,
    TAC_TRANSPORT_OBJECT("_server", TacStream, server,
                         "The server, or None."),
    {"_empty_waiter", tac_transport_get_object, stream_set_object,
     "The Future that waits until all is sent, or None.",
     (void *)offsetof(TacStream, empty_waiter)},
    {"_sending", tac_transport_get_object, stream_set_object,
     "The Task that the kernel sends a file for, or None.",
     (void *)offsetof(TacStream, sending)},
    {"_read_ready_cb", stream_get_read_ready, NULL,
     "What reads, or None."},
    {"_buffer", stream_get_buffer, NULL, "What waits to be sent, as a list."},
    TAC_TRANSPORT_FLAG("_eof", TacStream, eof, NULL,
                       "Whether write_eof() was called."),
    {NULL},
};

/* The type StreamTransport -------------------------------------------------- */

PyDoc_STRVAR(stream_transport_doc,
"A TCP or Unix stream transport of a trio_asyncio_c.EventLoop.");

/* Where socket objects keep their number: looked at, not assumed. */
static int
stream_find_socket_fd(TacState *state, PyObject *sock)
{
    int fd = tac_args_fd(sock);
    if (fd < 0) {
        return -1;
    }
    Py_ssize_t offset = sizeof(PyObject);
    PyTypeObject *type = state->socket_type->tp_base;
    if (type->tp_basicsize < offset + (Py_ssize_t)sizeof(int)
        || *(int *)((char *)sock + offset) != fd)
    {
        PyErr_SetString(PyExc_RuntimeError,
                        "socket objects of this interpreter are not known");
        return -1;
    }
    state->socket_fd_offset = offset;
    return 0;
}

PyDoc_STRVAR(stream_make_doc,
"_make_stream_transport(base, buffered_protocol, set_result,\n"
"                       server_takes_transport, socket, /)\n--\n\n"
"Make the type of stream transports; called once.\n\n"
"base: a subclass of the standard library's one. buffered_protocol:\n"
"asyncio.BufferedProtocol. set_result: what resolves a waiter.\n"
"server_takes_transport: whether Server._attach() does. socket: any that is\n"
"open. Raises RuntimeError when the interpreter's classes are not known.");

static PyObject *
stream_make(PyObject *module, PyObject *args)
{
    TacState *state = tac_state_of_module(module);
    PyObject *base, *buffered_protocol, *set_result, *sock;
    int takes_transport;
    if (!PyArg_ParseTuple(args, "O!OOpO!:_make_stream_transport",
                          &PyType_Type, &base, &buffered_protocol,
                          &set_result, &takes_transport, state->socket_type,
                          &sock)
        || stream_find_socket_fd(state, sock) < 0)
    {
        return NULL;
    }
    if (state->stream_transport_type != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "it is made once");
        return NULL;
    }
    PyTypeObject *type = tac_transport_make_type(
        module, (PyTypeObject *)base, "trio_asyncio_c._core.StreamTransport",
        stream_transport_doc, stream_tp_init, stream_methods, stream_getset);
    if (type == NULL) {
        return NULL;
    }
    state->server_takes_transport = takes_transport;
    Py_XSETREF(state->aio_buffered_protocol, Py_NewRef(buffered_protocol));
    Py_XSETREF(state->aio_set_result, Py_NewRef(set_result));
    state->stream_transport_type = type;
    return Py_NewRef(type);
}

/* The type Stream ----------------------------------------------------------- */

static PyMethodDef stream_functions[] = {
    {"_make_stream_transport", stream_make, METH_VARARGS, stream_make_doc},
    {NULL},
};

int
tac_stream_add_types(PyObject *module, TacState *state)
{
    state->stream_type = tac_transport_make_state_type(
        module, "trio_asyncio_c._core.Stream",
        "What a stream transport has in C.", sizeof(TacStream),
        stream_functions);
    return state->stream_type == NULL ? -1 : 0;
}
