/* net/datagram_type.c - the types Datagram and DatagramTransport. */
#include "net/datagram.h"

#include "base/args.h"
#include "base/compat.h"
#include "net/transport_type.h"

static TacDatagram *
datagram_get(PyObject *transport)
{
    return (TacDatagram *)tac_transport_get(transport);
}

/* The constructor --------------------------------------------------------- */

static const char *const datagram_names[] = {
    "loop", "sock", "protocol", "address", "waiter", "extra", NULL};

static int
datagram_tp_init(PyObject *transport, PyObject *args, PyObject *kwargs)
{
    TacState *state = tac_state_of_type(Py_TYPE(transport));
    PyObject *loop, *sock, *protocol, *address = Py_None;
    PyObject *waiter = Py_None, *extra = Py_None;
    if (state == NULL
        || !PyArg_ParseTupleAndKeywords(
            args, kwargs, "O!O!O|OOO:DatagramTransport",
            (char **)datagram_names, state->loop_type, &loop,
            state->socket_type, &sock, &protocol, &address, &waiter, &extra)
        || tac_transport_init(transport, state, extra) < 0)
    {
        return -1;
    }
    int has_address = PyObject_IsTrue(address);
    int fd = has_address < 0 ? -1 : tac_args_fd(sock);
    if (fd < 0) {
        return -1;
    }
    struct tac_transport_spec spec = {
        .loop = (TacLoop *)loop,
        .protocol = protocol,
        .waiter = tac_transport_or_null(waiter),
        .sock = sock,
        .fd = fd,
    };
    return tac_datagram_start(state, transport, &spec,
                              has_address ? address : NULL);
}

/* The methods ------------------------------------------------------------- */

static const char *const datagram_sendto_names[] = {"data", "addr", NULL};
static const struct tac_params datagram_sendto_params = {
    "sendto", 2, 1, datagram_sendto_names};

static PyObject *
datagram_sendto(PyObject *transport, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    TacDatagram *d = datagram_get(transport);
    PyObject *values[] = {NULL, Py_None};
    if (d == NULL
        || tac_args_bind(&datagram_sendto_params, args, nargs, kwnames,
                         values)
               < 0)
    {
        return NULL;
    }
    return tac_transport_result(tac_datagram_sendto(d, values[0],
                                                    values[1]));
}

static PyMethodDef datagram_methods[] = {
    {"sendto", (PyCFunction)(void (*)(void))datagram_sendto,
     METH_FASTCALL | METH_KEYWORDS,
     "sendto($self, data, addr=None)\n--\n\n"
     "Send a datagram, without waiting.\n\n"
     "data: bytes, bytearray or memoryview; it may be changed afterwards.\n"
     "addr: where to; None if the socket is connected, or the endpoint was\n"
     "made with a remote address. Raises TypeError for other data,\n"
     "ValueError for another address than that. An OSError goes to the\n"
     "protocol's error_received(). Flavor: sync. Thread-safe: no."},
    TAC_TRANSPORT_METHODS,
    TAC_TRANSPORT_READ_METHODS,
    TAC_TRANSPORT_WRITE_METHODS,
    TAC_TRANSPORT_SOCKET_METHODS,
    {NULL},
};

/* The attributes that the standard library shares with us ----------------- */

/* A list of pairs, as its deque has them. */
static PyObject *
datagram_get_buffer(PyObject *transport, void *closure)
{
    TacDatagram *d = datagram_get(transport);
    if (d == NULL || tac_transport_flush(&d->base) < 0) {
        return NULL;
    }
    PyObject *list = PyList_New(0);
    for (Py_ssize_t i = 0; list != NULL && i < d->out.len; i++) {
        const struct tac_datagram *datagram = &d->out.items[d->out.head + i];
        PyObject *pair = PyTuple_Pack(
            2, datagram->data,
            datagram->addr == NULL ? Py_None : datagram->addr);
        if (pair == NULL || PyList_Append(list, pair) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(pair);
    }
    return list;
}

static PyObject *
datagram_get_none(PyObject *transport, void *closure)
{
    Py_RETURN_NONE;
}

static PyGetSetDef datagram_getset[] = {
    TAC_TRANSPORT_GETSET,
    TAC_TRANSPORT_READ_GETSET,
    TAC_TRANSPORT_SOCKET_GETSET,
    TAC_TRANSPORT_OBJECT("_address", TacDatagram, address,
                         "The only address that sendto() takes, or None."),
    {"_buffer", datagram_get_buffer, NULL,
     "What waits to be sent, as a list of (data, address)."},
    {"_server", datagram_get_none, NULL, "None."},
    {NULL},
};

/* The type DatagramTransport ---------------------------------------------- */

PyDoc_STRVAR(datagram_transport_doc,
"A datagram transport of a trio_asyncio_c.EventLoop.");

PyDoc_STRVAR(datagram_make_doc,
"_make_datagram_transport(base, /)\n--\n\n"
"Make the type of datagram transports; called once, after that of streams.\n\n"
"base: a subclass of the standard library's one.");

static PyObject *
datagram_make(PyObject *module, PyObject *base)
{
    TacState *state = tac_state_of_module(module);
    if (!PyType_Check(base) || state->datagram_transport_type != NULL
        || state->stream_transport_type == NULL)
    {
        PyErr_SetString(PyExc_RuntimeError,
                        "it is made once, after that of streams");
        return NULL;
    }
    PyObject *sendto = PyObject_GetAttr(base, state->str_sendto);
    PyTypeObject *type =
        sendto == NULL
            ? NULL
            : tac_transport_make_type(
                module, (PyTypeObject *)base,
                "trio_asyncio_c._core.DatagramTransport",
                datagram_transport_doc, datagram_tp_init, datagram_methods,
                datagram_getset);
    if (type == NULL) {
        Py_XDECREF(sendto);
        return NULL;
    }
    Py_XSETREF(state->aio_sendto, sendto);
    state->datagram_transport_type = type;
    return Py_NewRef(type);
}

/* The type Datagram -------------------------------------------------------- */

static PyMethodDef datagram_functions[] = {
    {"_make_datagram_transport", datagram_make, METH_O, datagram_make_doc},
    {NULL},
};

int
tac_datagram_add_types(PyObject *module, TacState *state)
{
    state->datagram_type = tac_transport_make_state_type(
        module, "trio_asyncio_c._core.Datagram",
        "What a datagram transport has in C.", sizeof(TacDatagram),
        datagram_functions);
    return state->datagram_type == NULL ? -1 : 0;
}
