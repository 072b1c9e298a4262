/* net/stream_type.c - the types Stream and StreamTransport.
 *
 * StreamTransport is made at run time, from the standard library's class.  It
 * has one slot, which the inherited traverse, clear and dealloc see to.
 */
#include "net/stream.h"

#include "base/args.h"
#include "base/compat.h"
#include "net/address.h"

#include <structmember.h>
#include <unistd.h>

/* From a transport -------------------------------------------------------- */

static TacStream *
stream_get(PyObject *transport)
{
    TacState *state = tac_state_of_type(Py_TYPE(transport));
    TacStream *s = state == NULL ? NULL : tac_stream_of(state, transport);
    if (s == NULL && state != NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the transport was not initialised");
    }
    return s;
}

static PyObject *
stream_result(int rc)
{
    if (rc < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* The constructor --------------------------------------------------------- */

static const char *const stream_names[] = {
    "loop", "sock", "protocol", "waiter", "extra", "server", "context", NULL};

static PyObject *
stream_or_null(PyObject *value)
{
    return value == Py_None ? NULL : value;
}

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
    if (tac_stream_of(state, transport) != NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "a transport cannot be initialised again");
        return -1;
    }
    PyObject *dict = extra == Py_None ? PyDict_New() : Py_NewRef(extra);
    int rc = dict == NULL
                 ? -1
                 : PyObject_SetAttr(transport, state->str__extra, dict);
    Py_XDECREF(dict);
    int fd = rc < 0 ? -1 : tac_args_fd(sock);
    if (fd < 0) {
        return -1;
    }
    struct tac_stream_spec spec = {
        .loop = (TacLoop *)loop,
        .protocol = protocol,
        .waiter = stream_or_null(waiter),
        .server = stream_or_null(server),
        .sock = sock,
        .context = stream_or_null(context),
        .fd = fd,
    };
    return tac_stream_start(state, transport, &spec);
}

/* The methods ------------------------------------------------------------- */

static PyObject *
stream_write(PyObject *transport, PyObject *data)
{
    TacStream *s = stream_get(transport);
    return s == NULL ? NULL : stream_result(tac_stream_write(s, data));
}

static PyObject *
stream_writelines(PyObject *transport, PyObject *list)
{
    TacStream *s = stream_get(transport);
    return s == NULL ? NULL : stream_result(tac_stream_writelines(s, list));
}

static PyObject *
stream_write_eof(PyObject *transport, PyObject *noargs)
{
    TacStream *s = stream_get(transport);
    return s == NULL ? NULL : stream_result(tac_stream_write_eof(s));
}

static PyObject *
stream_close(PyObject *transport, PyObject *noargs)
{
    TacStream *s = stream_get(transport);
    if (s == NULL) {
        return NULL;
    }
    Py_INCREF(s);
    int rc = tac_stream_close(s);
    Py_DECREF(s);
    return stream_result(rc);
}

static PyObject *
stream_force_close(PyObject *transport, PyObject *exc)
{
    TacStream *s = stream_get(transport);
    if (s == NULL) {
        return NULL;
    }
    Py_INCREF(s);
    int rc = tac_stream_flush(s);
    if (rc == 0) {
        rc = tac_stream_force_close(s, stream_or_null(exc));
    }
    Py_DECREF(s);
    return stream_result(rc);
}

static PyObject *
stream_call_lost(PyObject *transport, PyObject *exc)
{
    TacStream *s = stream_get(transport);
    if (s == NULL) {
        return NULL;
    }
    Py_INCREF(s);
    int rc = tac_stream_lose(s, exc);
    Py_DECREF(s);
    return stream_result(rc);
}

static PyObject *
stream_is_closing(PyObject *transport, PyObject *noargs)
{
    TacStream *s = stream_get(transport);
    return s == NULL ? NULL : PyBool_FromLong(s->closing);
}

static PyObject *
stream_is_reading(PyObject *transport, PyObject *noargs)
{
    TacStream *s = stream_get(transport);
    return s == NULL ? NULL : PyBool_FromLong(!s->closing && !s->paused);
}

static PyObject *
stream_log(TacStream *s, const char *what)
{
    PyObject *hook = s->state->hook_log_transport;
    if (!s->loop->debug || hook == NULL) {
        Py_RETURN_NONE;
    }
    return PyObject_CallFunction(hook, "Os", s->transport, what);
}

static PyObject *
stream_pause_reading(PyObject *transport, PyObject *noargs)
{
    TacStream *s = stream_get(transport);
    if (s == NULL) {
        return NULL;
    }
    if (s->closing || s->paused || s->loop == NULL) {
        Py_RETURN_NONE;
    }
    s->paused = true;
    tac_stream_read_no_more(s);
    return stream_log(s, "pauses reading");
}

static PyObject *
stream_resume_reading(PyObject *transport, PyObject *noargs)
{
    TacStream *s = stream_get(transport);
    if (s == NULL) {
        return NULL;
    }
    if (s->closing || !s->paused || s->loop == NULL) {
        Py_RETURN_NONE;
    }
    if (tac_loop_check_open(s->loop) < 0) {
        return NULL;
    }
    s->paused = false;
    if (tac_stream_read_more(s) < 0) {
        return NULL;
    }
    return stream_log(s, "resumes reading");
}

static PyObject *
stream_set_protocol(PyObject *transport, PyObject *protocol)
{
    TacStream *s = stream_get(transport);
    if (s == NULL) {
        return NULL;
    }
    int buffered =
        PyObject_IsInstance(protocol, s->state->aio_buffered_protocol);
    if (buffered < 0) {
        return NULL;
    }
    s->buffered = buffered;
    s->feeds = Py_IS_TYPE(protocol, s->state->aio_reader_protocol_type);
    Py_XSETREF(s->protocol, Py_NewRef(protocol));
    Py_RETURN_NONE;
}

static PyObject *
stream_get_protocol(PyObject *transport, PyObject *noargs)
{
    TacStream *s = stream_get(transport);
    if (s == NULL) {
        return NULL;
    }
    return Py_NewRef(s->protocol == NULL ? Py_None : s->protocol);
}

static PyObject *
stream_get_write_buffer_size(PyObject *transport, PyObject *noargs)
{
    TacStream *s = stream_get(transport);
    if (s == NULL || tac_stream_flush(s) < 0) {
        return NULL;
    }
    return PyLong_FromSsize_t(s->out.size);
}

static PyObject *
stream_maybe_pause(PyObject *transport, PyObject *noargs)
{
    TacStream *s = stream_get(transport);
    return s == NULL ? NULL : stream_result(tac_stream_maybe_pause(s));
}

static PyObject *
stream_maybe_resume(PyObject *transport, PyObject *noargs)
{
    TacStream *s = stream_get(transport);
    return s == NULL ? NULL : stream_result(tac_stream_maybe_resume(s));
}

/* What accept() said; None: the socket has to be asked. */
static PyObject *
stream_peer_address(PyObject *transport, PyObject *noargs)
{
    TacStream *s = stream_get(transport);
    if (s == NULL) {
        return NULL;
    }
    const struct sockaddr *peer = (const struct sockaddr *)&s->peer;
    if (s->peer_len == 0 || !tac_address_is_known(peer)) {
        Py_RETURN_NONE;
    }
    return tac_address_object(peer, s->peer_len);
}

/* The socket's own name.  None if it has none, or is closed. */
static PyObject *
stream_own_address(PyObject *transport, PyObject *noargs)
{
    TacStream *s = stream_get(transport);
    if (s == NULL) {
        return NULL;
    }
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);
    int fd = tac_stream_fd(s);
    if (fd < 0 || getsockname(fd, (struct sockaddr *)&name, &len) < 0
        || !tac_address_is_known((struct sockaddr *)&name))
    {
        Py_RETURN_NONE;
    }
    return tac_address_object((struct sockaddr *)&name, len);
}

/* (reads, writes): whether the kernel is asked for events. */
static PyObject *
stream_watched(PyObject *transport, PyObject *noargs)
{
    TacStream *s = stream_get(transport);
    if (s == NULL) {
        return NULL;
    }
    return Py_BuildValue("OO",
                         tac_watch_is_armed(&s->reader) ? Py_True : Py_False,
                         tac_watch_is_armed(&s->writer) ? Py_True : Py_False);
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
    {"close", stream_close, METH_NOARGS,
     "close($self, /)\n--\n\n"
     "Read no more, send what was written, then close; idempotent."},
    {"_force_close", stream_force_close, METH_O,
     "_force_close($self, exc, /)\n--\n\n"
     "Close now; connection_lost() is told `exc`."},
    {"_call_connection_lost", stream_call_lost, METH_O,
     "_call_connection_lost($self, exc, /)\n--\n\n"
     "Tell the protocol, and close the socket."},
    {"is_closing", stream_is_closing, METH_NOARGS,
     "is_closing($self, /)\n--\n\n"
     "Whether the transport is closing or closed."},
    {"is_reading", stream_is_reading, METH_NOARGS,
     "is_reading($self, /)\n--\n\nWhether the transport is receiving."},
    {"pause_reading", stream_pause_reading, METH_NOARGS,
     "pause_reading($self, /)\n--\n\n"
     "Receive nothing until resume_reading(); idempotent."},
    {"resume_reading", stream_resume_reading, METH_NOARGS,
     "resume_reading($self, /)\n--\n\nUndo pause_reading(); idempotent."},
    {"set_protocol", stream_set_protocol, METH_O,
     "set_protocol($self, protocol, /)\n--\n\n"
     "Give what is received to another protocol from now on."},
    {"get_protocol", stream_get_protocol, METH_NOARGS,
     "get_protocol($self, /)\n--\n\nReturn the current protocol."},
    {"get_write_buffer_size", stream_get_write_buffer_size, METH_NOARGS,
     "get_write_buffer_size($self, /)\n--\n\n"
     "How many bytes the kernel has not taken yet."},
    {"_maybe_pause_protocol", stream_maybe_pause, METH_NOARGS,
     "_maybe_pause_protocol($self, /)\n--\n\n"
     "Call pause_writing() if too much waits to be sent."},
    {"_maybe_resume_protocol", stream_maybe_resume, METH_NOARGS,
     "_maybe_resume_protocol($self, /)\n--\n\n"
     "Call resume_writing() if little waits to be sent."},
    {"_peer_address", stream_peer_address, METH_NOARGS,
     "_peer_address($self, /)\n--\n\n"
     "The peer's address as accept() gave it, or None."},
    {"_own_address", stream_own_address, METH_NOARGS,
     "_own_address($self, /)\n--\n\n"
     "The socket's own address, or None."},
    {"_watched", stream_watched, METH_NOARGS,
     "_watched($self, /)\n--\n\n"
     "A pair: whether it waits for bytes, for room for bytes."},
    {NULL},
};

/* The attributes that the standard library shares with us ------------------- */

#define STREAM_OBJECT_GETTER(name, member)                       \
    static PyObject *stream_get_##name(PyObject *transport,      \
                                       void *closure)            \
    {                                                            \
        TacStream *s = stream_get(transport);                    \
        if (s == NULL) {                                         \
            return NULL;                                         \
        }                                                        \
        PyObject *value = (PyObject *)s->member;                 \
        return Py_NewRef(value == NULL ? Py_None : value);       \
    }

STREAM_OBJECT_GETTER(loop, loop)
STREAM_OBJECT_GETTER(server, server)
STREAM_OBJECT_GETTER(own_protocol, protocol)
STREAM_OBJECT_GETTER(empty_waiter, empty_waiter)
STREAM_OBJECT_GETTER(made_sock, sock)
#undef STREAM_OBJECT_GETTER

static int
stream_set_own_protocol(PyObject *transport, PyObject *value, void *closure)
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError,
                        "a transport's protocol cannot be deleted");
        return -1;
    }
    PyObject *result = stream_set_protocol(transport, value);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int
stream_set_empty_waiter(PyObject *transport, PyObject *value, void *closure)
{
    TacStream *s = stream_get(transport);
    if (s == NULL) {
        return -1;
    }
    Py_XSETREF(s->empty_waiter,
               value == NULL || value == Py_None ? NULL : Py_NewRef(value));
    return 0;
}

/* The socket object: made when it is first asked for. */
static PyObject *
stream_get_sock(PyObject *transport, void *closure)
{
    TacState *state = tac_state_of_type(Py_TYPE(transport));
    TacStream *s = state == NULL ? NULL : tac_stream_of(state, transport);
    if (s == NULL || (s->sock == NULL && s->fd < 0)) {
        /* Also for a destructor, if the constructor did not get far. */
        return state == NULL ? NULL : Py_NewRef(Py_None);
    }
    if (s->sock == NULL) {
        PyObject *kwargs = Py_BuildValue("{si}", "fileno", s->fd);
        PyObject *noargs = PyTuple_New(0);
        PyObject *sock = kwargs == NULL || noargs == NULL
                             ? NULL
                             : PyObject_Call((PyObject *)state->socket_type,
                                             noargs, kwargs);
        Py_XDECREF(noargs);
        Py_XDECREF(kwargs);
        PyObject *result =
            sock == NULL
                ? NULL
                : PyObject_CallMethodOneArg(sock, state->str_setblocking,
                                            Py_False);
        if (result == NULL) {
            Py_XDECREF(sock); /* which closes it */
            s->fd = sock == NULL ? s->fd : -1;
            return NULL;
        }
        Py_DECREF(result);
        s->sock = sock;
    }
    return Py_NewRef(s->sock);
}

static PyObject *
stream_get_fd(PyObject *transport, void *closure)
{
    TacStream *s = stream_get(transport);
    return s == NULL ? NULL : PyLong_FromLong(s->shown_fd);
}

static PyObject *
stream_get_buffer(PyObject *transport, void *closure)
{
    TacStream *s = stream_get(transport);
    if (s == NULL || tac_stream_flush(s) < 0) {
        return NULL;
    }
    return tac_outbuf_list(&s->out);
}

static PyObject *
stream_get_conn_lost(PyObject *transport, void *closure)
{
    TacStream *s = stream_get(transport);
    return s == NULL ? NULL : PyLong_FromUnsignedLong(s->conn_lost);
}

static bool *
stream_flag(TacStream *s, void *closure)
{
    return (bool *)((char *)s + (size_t)closure);
}

static PyObject *
stream_get_flag(PyObject *transport, void *closure)
{
    TacStream *s = stream_get(transport);
    return s == NULL ? NULL : PyBool_FromLong(*stream_flag(s, closure));
}

static int
stream_set_flag(PyObject *transport, PyObject *value, void *closure)
{
    TacStream *s = stream_get(transport);
    int flag = s == NULL || value == NULL ? -1 : PyObject_IsTrue(value);
    if (flag < 0) {
        if (s != NULL && value == NULL) {
            PyErr_SetString(PyExc_AttributeError,
                            "a transport's flag cannot be deleted");
        }
        return -1;
    }
    *stream_flag(s, closure) = flag;
    return 0;
}

/* The water marks: any number, as the standard library's, which compares them
 * with a count of bytes. */
struct stream_mark {
    size_t object, bytes; /* offsets in TacStream */
};

static const struct stream_mark stream_high = {offsetof(TacStream, high),
                                         offsetof(TacStream, high_bytes)};
static const struct stream_mark stream_low = {offsetof(TacStream, low),
                                        offsetof(TacStream, low_bytes)};

static PyObject *
stream_get_mark(PyObject *transport, void *closure)
{
    const struct stream_mark *mark = closure;
    TacStream *s = stream_get(transport);
    if (s == NULL) {
        return NULL;
    }
    PyObject *object = *(PyObject **)((char *)s + mark->object);
    if (object != NULL) {
        return Py_NewRef(object);
    }
    return PyLong_FromSsize_t(*(Py_ssize_t *)((char *)s + mark->bytes));
}

static int
stream_set_mark(PyObject *transport, PyObject *value, void *closure)
{
    const struct stream_mark *mark = closure;
    TacStream *s = stream_get(transport);
    if (s == NULL || value == NULL) {
        if (s != NULL) {
            PyErr_SetString(PyExc_AttributeError,
                            "a transport's water mark cannot be deleted");
        }
        return -1;
    }
    double bytes = PyFloat_AsDouble(value);
    if (bytes == -1.0 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) {
            return -1;
        }
        PyErr_Clear();
        bytes = Py_HUGE_VAL;
    }
    *(Py_ssize_t *)((char *)s + mark->bytes) =
        bytes < (double)PY_SSIZE_T_MAX ? (Py_ssize_t)bytes : PY_SSIZE_T_MAX;
    Py_XSETREF(*(PyObject **)((char *)s + mark->object), Py_NewRef(value));
    return 0;
}

#define STREAM_FLAG(name, member, setter, doc)              \
    {                                                       \
        name, stream_get_flag, setter, doc,                 \
            (void *)offsetof(TacStream, member)             \
    }

static PyGetSetDef stream_getset[] = {
    {"_loop", stream_get_loop, NULL, "The loop; None once it is all over."},
    {"_sock", stream_get_sock, NULL, "The socket; None once it is closed."},
    {"_made_sock", stream_get_made_sock, NULL,
     "The socket if there is an object for it already, or None."},
    {"_sock_fd", stream_get_fd, NULL, "The socket's number, also afterwards."},
    {"_server", stream_get_server, NULL, "The server, or None."},
    {"_protocol", stream_get_own_protocol, stream_set_own_protocol,
     "The protocol; None once it was told of the end."},
    {"_empty_waiter", stream_get_empty_waiter, stream_set_empty_waiter,
     "The Future that waits until all is sent, or None."},
    {"_buffer", stream_get_buffer, NULL, "What waits to be sent, as a list."},
    {"_conn_lost", stream_get_conn_lost, NULL,
     "Not 0: connection_lost() was called or is scheduled."},
    {"_high_water", stream_get_mark, stream_set_mark,
     "pause_writing() is called above so many bytes.", (void *)&stream_high},
    {"_low_water", stream_get_mark, stream_set_mark,
     "resume_writing() is called at so many bytes.", (void *)&stream_low},
    STREAM_FLAG("_protocol_paused", protocol_paused, stream_set_flag,
                "Whether pause_writing() was called last."),
    STREAM_FLAG("_closing", closing, NULL, "Whether close() was called."),
    STREAM_FLAG("_paused", paused, NULL,
                "Whether pause_reading() was called last."),
    STREAM_FLAG("_eof", eof, NULL, "Whether write_eof() was called."),
    {NULL},
};
#undef STREAM_FLAG

/* The type StreamTransport -------------------------------------------------- */

PyDoc_STRVAR(stream_transport_doc,
"A TCP or Unix stream transport of a trio_asyncio_c.EventLoop.");

static PyType_Slot stream_transport_slots[] = {
    {Py_tp_doc, (void *)stream_transport_doc},
    {Py_tp_init, stream_tp_init},
    {Py_tp_methods, stream_methods},
    {Py_tp_getset, stream_getset},
    {Py_tp_members, NULL}, /* filled in below */
    {0, NULL},
};

static PyTypeObject *
stream_make_type(PyObject *module, PyTypeObject *base)
{
    PyMemberDef members[] = {
        {"_stream", T_OBJECT_EX, base->tp_basicsize, 0, NULL},
        {NULL},
    };
    PyType_Slot slots[sizeof(stream_transport_slots)
                      / sizeof(stream_transport_slots[0])];
    memcpy(slots, stream_transport_slots, sizeof(slots));
    for (PyType_Slot *slot = slots; slot->slot != 0; slot++) {
        if (slot->slot == Py_tp_members) {
            slot->pfunc = members;
        }
    }
    PyType_Spec spec = {
        .name = "trio_asyncio_c._core.StreamTransport",
        .basicsize = (int)(base->tp_basicsize + sizeof(PyObject *)),
        .flags = Py_TPFLAGS_DEFAULT,
        .slots = slots,
    };
    return (PyTypeObject *)PyType_FromModuleAndSpec(module, &spec,
                                                    (PyObject *)base);
}

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
    PyTypeObject *type = stream_make_type(module, (PyTypeObject *)base);
    if (type == NULL) {
        return NULL;
    }
    /* The slot is for C only. */
    if (PyObject_DelAttrString((PyObject *)type, "_stream") < 0) {
        Py_DECREF(type);
        return NULL;
    }
    state->stream_offset = ((PyTypeObject *)base)->tp_basicsize;
    state->server_takes_transport = takes_transport;
    Py_XSETREF(state->aio_buffered_protocol, Py_NewRef(buffered_protocol));
    Py_XSETREF(state->aio_set_result, Py_NewRef(set_result));
    state->stream_transport_type = type;
    return Py_NewRef(type);
}

/* The type Stream ----------------------------------------------------------- */

static int
stream_tp_traverse(TacStream *s, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(s));
    Py_VISIT((PyObject *)s->loop);
    Py_VISIT(s->protocol);
    Py_VISIT(s->server);
    Py_VISIT(s->sock);
    Py_VISIT(s->context);
    Py_VISIT(s->given_context);
    Py_VISIT(s->empty_waiter);
    Py_VISIT(s->high);
    Py_VISIT(s->low);
    Py_VISIT((PyObject *)s->task.parent_nursery);
    Py_VISIT((PyObject *)s->task.scope);
    return 0;
}

static int
stream_tp_clear(TacStream *s)
{
    if (tac_list_is_linked(&s->member.node)) {
        s->member.ops->drop(&s->member);
    }
    s->transport = NULL;
    Py_CLEAR(s->loop);
    Py_CLEAR(s->protocol);
    Py_CLEAR(s->server);
    Py_CLEAR(s->sock);
    Py_CLEAR(s->context);
    Py_CLEAR(s->given_context);
    Py_CLEAR(s->empty_waiter);
    Py_CLEAR(s->high);
    Py_CLEAR(s->low);
    return 0;
}

static void
stream_tp_dealloc(TacStream *s)
{
    PyTypeObject *type = Py_TYPE(s);
    PyObject_GC_UnTrack(s);
    if (s->sock == NULL && s->fd >= 0) {
        (void)close(s->fd);
    }
    (void)stream_tp_clear(s);
    tac_outbuf_clear(&s->out);
    s->state->counts.transports--;
    type->tp_free(s);
    Py_DECREF(type);
}

PyDoc_STRVAR(stream_doc, "What a stream transport has in C.");

static PyType_Slot stream_slots[] = {
    {Py_tp_doc, (void *)stream_doc},
    {Py_tp_traverse, stream_tp_traverse},
    {Py_tp_clear, stream_tp_clear},
    {Py_tp_dealloc, stream_tp_dealloc},
    {0, NULL},
};

static PyType_Spec stream_spec = {
    .name = "trio_asyncio_c._core.Stream",
    .basicsize = sizeof(TacStream),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = stream_slots,
};

static PyMethodDef stream_functions[] = {
    {"_make_stream_transport", stream_make, METH_VARARGS, stream_make_doc},
    {NULL},
};

int
tac_stream_add_types(PyObject *module, TacState *state)
{
    state->stream_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &stream_spec, NULL);
    if (state->stream_type == NULL) {
        return -1;
    }
    return PyModule_AddFunctions(module, stream_functions);
}
