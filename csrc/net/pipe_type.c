/* net/pipe_type.c - the types Pipe, ReadPipeTransport, WritePipeTransport. */
#include "net/pipe.h"

#include "base/args.h"
#include "base/compat.h"
#include "net/transport_type.h"

static TacPipe *
pipe_get(PyObject *transport)
{
    return (TacPipe *)tac_transport_get(transport);
}

/* The constructors -------------------------------------------------------- */

static const char *const pipe_names[] = {"loop",   "pipe",  "protocol",
                                         "waiter", "extra", NULL};

static int
pipe_init(PyObject *transport, PyObject *args, PyObject *kwargs, bool writes)
{
    TacState *state = tac_state_of_type(Py_TYPE(transport));
    PyObject *loop, *pipe, *protocol, *waiter = Py_None, *extra = Py_None;
    if (state == NULL
        || !PyArg_ParseTupleAndKeywords(args, kwargs, "O!OO|OO:PipeTransport",
                                        (char **)pipe_names, state->loop_type,
                                        &loop, &pipe, &protocol, &waiter,
                                        &extra)
        || tac_transport_init(transport, state, extra) < 0)
    {
        return -1;
    }
    PyObject *known = PyObject_GetAttr(transport, state->str__extra);
    int rc = known == NULL ? -1
                           : PyMapping_SetItemString(known, "pipe", pipe);
    Py_XDECREF(known);
    int fd = rc < 0 ? -1 : tac_args_fd(pipe);
    if (fd < 0) {
        return -1;
    }
    struct tac_transport_spec spec = {
        .loop = (TacLoop *)loop,
        .protocol = protocol,
        .waiter = tac_transport_or_null(waiter),
        .sock = pipe,
        .fd = fd,
    };
    return tac_pipe_start(state, transport, &spec, writes);
}

static int
pipe_read_tp_init(PyObject *transport, PyObject *args, PyObject *kwargs)
{
    return pipe_init(transport, args, kwargs, false);
}

static int
pipe_write_tp_init(PyObject *transport, PyObject *args, PyObject *kwargs)
{
    return pipe_init(transport, args, kwargs, true);
}

/* The methods ------------------------------------------------------------- */

static PyObject *
pipe_write(PyObject *transport, PyObject *data)
{
    TacPipe *p = pipe_get(transport);
    return p == NULL ? NULL : tac_transport_result(tac_pipe_write(p, data));
}

/* What ends a write transport in order. */
static PyObject *
pipe_write_eof(PyObject *transport, PyObject *noargs)
{
    TacPipe *p = pipe_get(transport);
    if (p == NULL) {
        return NULL;
    }
    Py_INCREF(p);
    int rc = tac_pipe_write_eof(p);
    Py_DECREF(p);
    return tac_transport_result(rc);
}

static PyObject *
pipe_close_with(PyObject *transport, PyObject *exc)
{
    TacPipe *p = pipe_get(transport);
    if (p == NULL) {
        return NULL;
    }
    Py_INCREF(p);
    int rc = tac_transport_flush(&p->base);
    if (rc == 0) {
        rc = tac_pipe_close(p, tac_transport_or_null(exc));
    }
    Py_DECREF(p);
    return tac_transport_result(rc);
}

static PyObject *
pipe_close(PyObject *transport, PyObject *noargs)
{
    return pipe_close_with(transport, Py_None);
}

static PyMethodDef pipe_read_methods[] = {
    {"close", pipe_close, METH_NOARGS,
     "close($self, /)\n--\n\nRead no more, and close; idempotent."},
    {"_close", pipe_close_with, METH_O,
     "_close($self, exc, /)\n--\n\n"
     "Close now; connection_lost() is told `exc`."},
    TAC_TRANSPORT_METHODS,
    TAC_TRANSPORT_READ_METHODS,
    {NULL},
};

static PyMethodDef pipe_write_methods[] = {
    {"write", pipe_write, METH_O,
     "write($self, data, /)\n--\n\n"
     "Send bytes, in the order of the calls, without waiting.\n\n"
     "data: bytes, bytearray or memoryview; it may be changed afterwards.\n"
     "Raises AssertionError for anything else.\n"
     "Flavor: sync. Thread-safe: no."},
    {"write_eof", pipe_write_eof, METH_NOARGS,
     "write_eof($self, /)\n--\n\nClose, after what was written is sent."},
    {"close", pipe_write_eof, METH_NOARGS,
     "close($self, /)\n--\n\n"
     "Close, after what was written is sent; idempotent."},
    {"abort", pipe_close, METH_NOARGS,
     "abort($self, /)\n--\n\nClose now, whatever waits to be sent."},
    {"_close", pipe_close_with, METH_O,
     "_close($self, exc, /)\n--\n\n"
     "Close now; connection_lost() is told `exc`."},
    TAC_TRANSPORT_METHODS,
    TAC_TRANSPORT_WRITE_METHODS,
    {NULL},
};

/* The attributes that the standard library shares with us ----------------- */

static PyObject *
pipe_get_pipe(PyObject *transport, void *closure)
{
    /* Also for a destructor, if the constructor did not get far. */
    TacTransport *t = tac_transport_of(transport);
    return Py_NewRef(t == NULL || t->sock == NULL ? Py_None : t->sock);
}

/* None: it is somebody else's from now on. */
static int
pipe_set_pipe(PyObject *transport, PyObject *value, void *closure)
{
    TacTransport *t = tac_transport_get(transport);
    if (t == NULL) {
        return -1;
    }
    Py_XSETREF(t->sock, value == NULL || value == Py_None ? NULL
                                                          : Py_NewRef(value));
    return 0;
}

static PyObject *
pipe_get_buffer(PyObject *transport, void *closure)
{
    TacPipe *p = pipe_get(transport);
    if (p == NULL || tac_transport_flush(&p->base) < 0) {
        return NULL;
    }
    PyObject *list = tac_outbuf_list(&p->out);
    PyObject *empty = PyByteArray_FromStringAndSize(NULL, 0);
    PyObject *joined =
        list == NULL || empty == NULL
            ? NULL
            : PyObject_CallMethod(empty, "join", "O", list);
    Py_XDECREF(empty);
    Py_XDECREF(list);
    return joined;
}

static PyObject *
pipe_get_conn_lost(PyObject *transport, void *closure)
{
    TacPipe *p = pipe_get(transport);
    return p == NULL ? NULL : PyLong_FromUnsignedLong(p->vain);
}

#define PIPE_GETSET                                                         \
    TAC_TRANSPORT_GETSET,                                                   \
    {"_pipe", pipe_get_pipe, pipe_set_pipe,                                 \
     "The object that has the fd; None once it is closed."},                \
    {"_fileno", tac_transport_get_fd, NULL, "The fd, also afterwards."}

static PyGetSetDef pipe_read_getset[] = {
    PIPE_GETSET,
    TAC_TRANSPORT_READ_GETSET,
    {NULL},
};

static PyGetSetDef pipe_write_getset[] = {
    PIPE_GETSET,
    TAC_TRANSPORT_MARKS_GETSET,
    {"_conn_lost", pipe_get_conn_lost, NULL,
     "How many writes were in vain."},
    {"_buffer", pipe_get_buffer, NULL, "What waits to be sent."},
    {NULL},
};
#undef PIPE_GETSET

/* The types of transports -------------------------------------------------- */

PyDoc_STRVAR(pipe_read_doc,
"The transport of a pipe's reading end, of a trio_asyncio_c.EventLoop.");
PyDoc_STRVAR(pipe_write_doc,
"The transport of a pipe's writing end, of a trio_asyncio_c.EventLoop.");

PyDoc_STRVAR(pipe_make_doc,
"_make_pipe_transports(read_base, write_base, /)\n--\n\n"
"Make the types of pipe transports, and return them; called once, after that\n"
"of streams.  The bases: subclasses of the standard library's ones.");

static PyObject *
pipe_make(PyObject *module, PyObject *args)
{
    TacState *state = tac_state_of_module(module);
    PyTypeObject *read_base, *write_base;
    if (!PyArg_ParseTuple(args, "O!O!:_make_pipe_transports", &PyType_Type,
                          &read_base, &PyType_Type, &write_base)) {
        return NULL;
    }
    if (state->stream_transport_type == NULL
        || state->read_pipe_transport_type != NULL)
    {
        PyErr_SetString(PyExc_RuntimeError,
                        "they are made once, after that of streams");
        return NULL;
    }
    state->read_pipe_transport_type = tac_transport_make_type(
        module, read_base, "trio_asyncio_c._core.ReadPipeTransport",
        pipe_read_doc, pipe_read_tp_init, pipe_read_methods,
        pipe_read_getset);
    if (state->read_pipe_transport_type == NULL) {
        return NULL;
    }
    PyTypeObject *writer = tac_transport_make_type(
        module, write_base, "trio_asyncio_c._core.WritePipeTransport",
        pipe_write_doc, pipe_write_tp_init, pipe_write_methods,
        pipe_write_getset);
    Py_XSETREF(state->write_pipe_transport_type, writer);
    return writer == NULL
               ? NULL
               : PyTuple_Pack(2, state->read_pipe_transport_type, writer);
}

/* The type Pipe ----------------------------------------------------------- */

static PyMethodDef pipe_functions[] = {
    {"_make_pipe_transports", pipe_make, METH_VARARGS, pipe_make_doc},
    {NULL},
};

int
tac_pipe_add_types(PyObject *module, TacState *state)
{
    state->pipe_type = tac_transport_make_state_type(
        module, "trio_asyncio_c._core.Pipe",
        "What a pipe transport has in C.", sizeof(TacPipe),
        pipe_functions);
    return state->pipe_type == NULL ? -1 : 0;
}
