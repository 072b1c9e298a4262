/* net/connect.c - type Connecting: see connect.h.
 *
 * Whatever is out of the ordinary is the inherited method's: names, zones,
 * spellings that are not the usual one, options, debug mode; a class or an
 * object that has another version of what the inherited method would call.
 */
#include "net/connect.h"

#include "base/compat.h"
#include "net/address.h"
#include "net/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <structmember.h>
#include <unistd.h>

typedef struct {
    PyObject_HEAD
    TacState *state; /* borrowed: the type holds the module */
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_storage storage;
    } address;           /* of the peer */
    socklen_t address_len;
    int fd;              /* owned; -1: somebody else's */
    char is_connected;
} TacConnecting;

/* What is for us ------------------------------------------------------------ */

/* Does the loop still have the methods that asyncio's would call?  -1 with an
 * exception. */
static int
connect_has_methods(TacState *state, PyObject *loop)
{
    PyObject *methods = state->aio_connect_methods;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(methods); i += 2) {
        PyObject *method =
            PyObject_GetAttr(loop, PyTuple_GET_ITEM(methods, i));
        if (method == NULL) {
            return -1;
        }
        bool same = PyMethod_Check(method)
                    && PyMethod_GET_SELF(method) == loop
                    && PyMethod_GET_FUNCTION(method)
                           == PyTuple_GET_ITEM(methods, i + 1);
        Py_DECREF(method);
        if (!same) {
            return 0;
        }
    }
    return 1;
}

/* Is what asyncio knows as socket.socket the standard library's, with its own
 * way to connect?  -1 with an exception. */
static int
connect_has_sockets(TacState *state)
{
    PyObject *type = (PyObject *)state->socket_type;
    PyObject *module = PyDict_GetItemWithError(state->aio_base_events_dict,
                                               state->str_socket);
    if (module == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    Py_INCREF(module);
    PyObject *now = PyObject_GetAttr(module, state->str_socket);
    Py_DECREF(module);
    Py_XDECREF(now);
    if (now != type) {
        return now == NULL ? -1 : 0;
    }
    PyObject *method = PyObject_GetAttr(type, state->str_connect);
    Py_XDECREF(method);
    return method == NULL ? -1 : method == state->socket_connect;
}

/* Is any option another than by default (0, None, False: one object each), or
 * none that asyncio has?  -1 with an exception. */
static int
connect_has_options(TacState *state, PyObject *options)
{
    PyObject *name, *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(options, &at, &name, &value)) {
        PyObject *known =
            PyDict_GetItemWithError(state->aio_connect_options, name);
        if (known != value) {
            return PyErr_Occurred() ? -1 : 1;
        }
    }
    return 0;
}

/* Is it a call for us?  1, 0, or -1 with an exception. */
static int
connect_is_plain(TacState *state, TacLoop *loop, PyObject *options)
{
    if (loop->debug || loop->closed || state->aio_connect_methods == NULL
        || state->stream_transport_type == NULL)
    {
        return 0;
    }
    int rc = PyDict_GET_SIZE(options) == 0
                 ? 0
                 : connect_has_options(state, options);
    if (rc != 0) {
        return rc < 0 ? -1 : 0;
    }
    rc = connect_has_sockets(state);
    return rc <= 0 ? rc : connect_has_methods(state, (PyObject *)loop);
}

/* A numeric address in its usual spelling, so that it reads in an error's
 * message as it was given. */
static bool
connect_read_host(TacConnecting *c, PyObject *host, int port)
{
    struct sockaddr_in *in = &c->address.in;
    struct sockaddr_in6 *in6 = &c->address.in6;
    char back[INET6_ADDRSTRLEN];
    Py_ssize_t len;
    const char *text = PyUnicode_AsUTF8AndSize(host, &len);
    if (text == NULL || len >= INET6_ADDRSTRLEN
        || strlen(text) != (size_t)len)
    {
        PyErr_Clear();
        return false;
    }
    if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        c->address_len = sizeof(*in);
        return in->sin_addr.s_addr != 0
               && inet_ntop(AF_INET, &in->sin_addr, back, sizeof(back))
               && strcmp(text, back) == 0;
    }
    memset(in6, 0, sizeof(*in6));
    if (inet_pton(AF_INET6, text, &in6->sin6_addr) != 1) {
        return false;
    }
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons((uint16_t)port);
    c->address_len = sizeof(*in6);
    return !IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr)
           && !IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr)
           && inet_ntop(AF_INET6, &in6->sin6_addr, back, sizeof(back))
           && strcmp(text, back) == 0;
}

/* Is it an address to connect to from here? */
static bool
connect_read_address(TacConnecting *c, PyObject *host, PyObject *port)
{
    if (!PyUnicode_CheckExact(host) || !PyLong_CheckExact(port)) {
        return false;
    }
    int overflow;
    long number = PyLong_AsLongAndOverflow(port, &overflow);
    return overflow == 0 && number > 0 && number < 65536
           && connect_read_host(c, host, (int)number);
}

/* Connecting ---------------------------------------------------------------- */

static PyObject *
connect_address(TacConnecting *c)
{
    if (!tac_address_is_known(&c->address.any)) {
        Py_RETURN_NONE;
    }
    return tac_address_object(&c->address.any, c->address_len);
}

/* For Py_BuildValue: only made if somebody audits. */
static PyObject *
connect_audited_address(void *c)
{
    return connect_address(c);
}

static int
connect_open(TacConnecting *c)
{
    int family = c->address.any.sa_family, type = SOCK_STREAM;
    if (PySys_Audit("socket.__new__", "Oiii", c, family, type, IPPROTO_TCP)
        < 0)
    {
        return -1;
    }
#ifdef SOCK_NONBLOCK
    c->fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
#else
    c->fd = socket(family, type, IPPROTO_TCP);
    if (c->fd >= 0
        && (fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0
            || fcntl(c->fd, F_SETFD, FD_CLOEXEC) < 0))
    {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
#endif
    if (c->fd < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return PySys_Audit("socket.connect", "OO&", c, connect_audited_address,
                       c);
}

/* As asyncio says it of a connection that was waited for. */
static int
connect_failed(TacConnecting *c, int error)
{
    PyObject *address = connect_address(c);
    PyObject *text =
        address == NULL
            ? NULL
            : PyUnicode_FromFormat("Connect call failed %S", address);
    Py_XDECREF(address);
    PyObject *exc =
        text == NULL
            ? NULL
            : PyObject_CallFunction(PyExc_OSError, "iN", error, text);
    if (exc != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
        Py_DECREF(exc);
    }
    return -1;
}

/* Ask the kernel to connect, and at once how that is going: to a socket of
 * the same machine it is over already.  0, or -1 with an exception. */
static int
connect_begin(TacConnecting *c)
{
    const struct sockaddr *address = &c->address.any;
    if (connect(c->fd, address, c->address_len) == 0) {
        c->is_connected = true;
        return 0;
    }
    if (errno != EINPROGRESS && errno != EINTR) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    if (connect(c->fd, address, c->address_len) == 0 || errno == EISCONN) {
        c->is_connected = true;
        return 0;
    }
    if (errno == EALREADY || errno == EINPROGRESS || errno == EINTR) {
        return 0;
    }
    return connect_failed(c, errno);
}

static TacConnecting *
connect_new(TacState *state, int fd)
{
    PyTypeObject *type = state->connecting_type;
    TacConnecting *c = (TacConnecting *)type->tp_alloc(type, 0);
    if (c != NULL) {
        c->state = state;
        c->fd = fd;
    }
    return c;
}

PyObject *
tac_connect_accepted(TacState *state, int fd, const struct sockaddr *peer,
                     socklen_t len)
{
    TacConnecting *c = connect_new(state, fd);
    if (c == NULL) {
        (void)close(fd);
        return NULL;
    }
    if (len > sizeof(c->address)) {
        len = sizeof(c->address);
    }
    memcpy(&c->address, peer, len);
    c->address_len = len;
    c->is_connected = true;
    return (PyObject *)c;
}

/* The functions ------------------------------------------------------------- */

PyDoc_STRVAR(connect_begin_doc,
"_begin_connect($module, loop, host, port, options, /)\n--\n\n"
"Begin to connect to a numeric address.\n\n"
"options: the other arguments of create_connection(). Returns a Connecting, or\n"
"None where the inherited method has to do it. Raises OSError.");

static PyObject *
connect_begin_function(PyObject *module, PyObject *const *args,
                       Py_ssize_t nargs)
{
    TacState *state = tac_state_of_module(module);
    if (nargs != 4 || !PyObject_TypeCheck(args[0], state->loop_type)
        || !PyDict_Check(args[3]))
    {
        PyErr_SetString(PyExc_TypeError,
                        "_begin_connect() needs a loop, a host, a port and a "
                        "dict");
        return NULL;
    }
    int plain = connect_is_plain(state, (TacLoop *)args[0], args[3]);
    if (plain <= 0) {
        return plain < 0 ? NULL : Py_NewRef(Py_None);
    }
    TacConnecting *c = connect_new(state, -1);
    if (c == NULL) {
        return NULL;
    }
    if (!connect_read_address(c, args[1], args[2])) {
        Py_DECREF(c);
        Py_RETURN_NONE;
    }
    if (connect_open(c) < 0 || connect_begin(c) < 0) {
        PyObject *exc = PyErr_GetRaisedException();
        Py_DECREF(c);
        PyErr_SetRaisedException(exc);
        return NULL;
    }
    return (PyObject *)c;
}

PyDoc_STRVAR(connect_transport_doc,
"_connected_transport($module, loop, connecting, protocol, waiter, server,\n"
"                     context, /)\n--\n\n"
"Return a stream transport of a connection that is made; once. waiter, server,\n"
"context: may be None.");

static PyObject *
connect_transport_function(PyObject *module, PyObject *const *args,
                           Py_ssize_t nargs)
{
    TacState *state = tac_state_of_module(module);
    if (nargs != 6 || !PyObject_TypeCheck(args[0], state->loop_type)
        || !Py_IS_TYPE(args[1], state->connecting_type)
        || !(args[5] == Py_None || PyContext_CheckExact(args[5])))
    {
        PyErr_SetString(PyExc_TypeError,
                        "_connected_transport() needs a loop, a Connecting, a "
                        "protocol, a Future, a server and a Context");
        return NULL;
    }
    TacConnecting *c = (TacConnecting *)args[1];
    if (c->fd < 0) {
        PyErr_SetString(PyExc_RuntimeError, "the connection is taken");
        return NULL;
    }
    PyObject *transport = tac_stream_allocate(state);
    if (transport == NULL) {
        return NULL;
    }
    struct sockaddr *address = &c->address.any;
    struct tac_transport_spec spec = {
        .loop = (TacLoop *)args[0],
        .protocol = args[2],
        .waiter = args[3] == Py_None ? NULL : args[3],
        .server = args[4] == Py_None ? NULL : args[4],
        .context = args[5] == Py_None ? NULL : args[5],
        .fd = c->fd,
        .family = address->sa_family,
    };
    c->fd = -1;
    if (tac_stream_start(state, transport, &spec) < 0
        || tac_stream_keep_peer(transport, address, c->address_len) < 0)
    {
        PyObject *exc = PyErr_GetRaisedException();
        Py_DECREF(transport);
        PyErr_SetRaisedException(exc);
        return NULL;
    }
    return transport;
}

PyDoc_STRVAR(connect_learn_doc,
"_learn_connect($module, methods, options, base_events, /)\n--\n\n"
"Learn what create_connection() is made of: a tuple of names and functions of\n"
"the loop, one after the other, a dict of its options' defaults, the dict of\n"
"the module asyncio.base_events.");

static PyObject *
connect_learn_function(PyObject *module, PyObject *args)
{
    TacState *state = tac_state_of_module(module);
    PyObject *methods, *options, *base_events;
    if (!PyArg_ParseTuple(args, "O!O!O!:_learn_connect", &PyTuple_Type,
                          &methods, &PyDict_Type, &options, &PyDict_Type,
                          &base_events))
    {
        return NULL;
    }
    PyObject *connect = PyObject_GetAttr((PyObject *)state->socket_type,
                                         state->str_connect);
    if (connect == NULL) {
        return NULL;
    }
    Py_XSETREF(state->socket_connect, connect);
    Py_XSETREF(state->aio_connect_methods, Py_NewRef(methods));
    Py_XSETREF(state->aio_connect_options, Py_NewRef(options));
    Py_XSETREF(state->aio_base_events_dict, Py_NewRef(base_events));
    Py_RETURN_NONE;
}

static PyMethodDef connect_functions[] = {
    {"_begin_connect", (PyCFunction)(void (*)(void))connect_begin_function,
     METH_FASTCALL, connect_begin_doc},
    {"_connected_transport",
     (PyCFunction)(void (*)(void))connect_transport_function, METH_FASTCALL,
     connect_transport_doc},
    {"_learn_connect", connect_learn_function, METH_VARARGS,
     connect_learn_doc},
    {NULL},
};

/* The type ------------------------------------------------------------------ */

PyDoc_STRVAR(connecting_detach_doc,
"detach($self, /)\n--\n\n"
"Return the socket's number, which is the caller's from now on.");

static PyObject *
connecting_detach(TacConnecting *c, PyObject *noargs)
{
    int fd = c->fd;
    c->fd = -1;
    return PyLong_FromLong(fd);
}

static PyObject *
connecting_get_address(TacConnecting *c, void *closure)
{
    return connect_address(c);
}

static void
connecting_tp_dealloc(TacConnecting *c)
{
    PyTypeObject *type = Py_TYPE(c);
    if (c->fd >= 0) {
        (void)close(c->fd);
    }
    type->tp_free(c);
    Py_DECREF(type);
}

PyDoc_STRVAR(connecting_doc,
"A TCP connection that was begun; closed with the object unless it is taken.");

static PyMethodDef connecting_methods[] = {
    {"detach", (PyCFunction)connecting_detach, METH_NOARGS,
     connecting_detach_doc},
    {NULL},
};

static PyGetSetDef connecting_getset[] = {
    {"address", (getter)connecting_get_address, NULL,
     "Where it leads to, as the socket module has it.", NULL},
    {NULL},
};

static PyMemberDef connecting_members[] = {
    {"is_connected", T_BOOL, offsetof(TacConnecting, is_connected), READONLY,
     "Whether the connection is made."},
    {NULL},
};

static PyType_Slot connecting_slots[] = {
    {Py_tp_doc, (void *)connecting_doc},
    {Py_tp_dealloc, connecting_tp_dealloc},
    {Py_tp_methods, connecting_methods},
    {Py_tp_getset, connecting_getset},
    {Py_tp_members, connecting_members},
    {0, NULL},
};

static PyType_Spec connecting_spec = {
    .name = "trio_asyncio_c._core.Connecting",
    .basicsize = sizeof(TacConnecting),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = connecting_slots,
};

int
tac_connect_add_types(PyObject *module, TacState *state)
{
    state->connecting_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &connecting_spec, NULL);
    if (state->connecting_type == NULL
        || PyModule_AddFunctions(module, connect_functions) < 0)
    {
        return -1;
    }
    return PyModule_AddType(module, state->connecting_type);
}
