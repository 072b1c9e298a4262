/* net/stream.c - what begins and ends with a stream transport alone. */
#include "net/stream.h"

#include "base/compat.h"
#include "net/address.h"
#include "net/server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

static int
stream_leave_server(TacStream *s)
{
    PyObject *server = s->server;
    if (server == NULL) {
        return 0;
    }
    s->server = NULL;
    int rc = tac_server_detach(s->base.state, server, s->base.transport);
    Py_DECREF(server);
    return rc;
}

/* A native sendfile() waits for the socket alone, which will say nothing any
 * more once it is closed. */
static int
stream_losing(TacTransport *t)
{
    PyObject *sending = ((TacStream *)t)->sending;
    if (sending == NULL) {
        return 0;
    }
    Py_INCREF(sending);
    PyObject *result =
        PyObject_CallMethodNoArgs(sending, t->state->str_cancel);
    Py_DECREF(sending);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Any other waits for bytes to be sent that will not be. */
static int
stream_fail_empty_waiter(TacStream *s)
{
    if (s->empty_waiter == NULL || s->sending != NULL) {
        return 0;
    }
    PyObject *exc = PyObject_CallFunction(PyExc_ConnectionError, "s",
                                          "Connection is closed by peer");
    PyObject *result =
        exc == NULL ? NULL
                    : PyObject_CallMethodOneArg(
                        s->empty_waiter, s->base.state->str_set_exception,
                        exc);
    Py_XDECREF(exc);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static void
stream_lost(TacTransport *t, PyObject **error)
{
    TacStream *s = (TacStream *)t;
    tac_transport_next_error(error, stream_leave_server(s));
    tac_transport_next_error(error, stream_fail_empty_waiter(s));
}

static void
stream_drop(TacTransport *t)
{
    tac_outbuf_clear(&((TacStream *)t)->out);
}

static void
stream_free(TacTransport *t)
{
    tac_address_forget(&((TacStream *)t)->peer);
    tac_address_forget(&((TacStream *)t)->own);
}

static int
stream_traverse(TacTransport *t, visitproc visit, void *arg)
{
    const TacStream *s = (TacStream *)t;
    Py_VISIT(s->server);
    Py_VISIT(s->empty_waiter);
    Py_VISIT(s->sending);
    return 0;
}

static void
stream_clear(TacTransport *t)
{
    TacStream *s = (TacStream *)t;
    Py_CLEAR(s->server);
    Py_CLEAR(s->empty_waiter);
    Py_CLEAR(s->sending);
}

static Py_ssize_t
stream_size(const TacTransport *t)
{
    return ((const TacStream *)t)->out.size;
}

static int
stream_set_protocol(TacTransport *t, PyObject *protocol)
{
    int buffered =
        PyObject_IsInstance(protocol, t->state->aio_buffered_protocol);
    if (buffered < 0) {
        return -1;
    }
    ((TacStream *)t)->buffered = buffered;
    ((TacStream *)t)->feeds =
        Py_IS_TYPE(protocol, t->state->aio_reader_protocol_type);
    return 0;
}

/* The addresses of a socket that nobody asked for, which a closed one could
 * not tell.  1 if they are kept, 0 if not. */
static int
stream_keep_names(TacTransport *t)
{
    TacStream *s = (TacStream *)t;
    if (t->sock != NULL || !tac_address_is_kept(&s->peer)
        || tac_address_is_kept(&s->own))
    {
        return 0;
    }
    struct sockaddr_storage name;
    struct sockaddr *address = (struct sockaddr *)&name;
    socklen_t len = sizeof(name);
    return getsockname(t->fd, address, &len) == 0
           && tac_address_is_known(address)
           && tac_address_keep(&s->own, address, len);
}

#if PY_VERSION_HEX >= 0x030C0000
#define STREAM_WRITE_METHOD "_write_sendmsg"
#else
#define STREAM_WRITE_METHOD "_write_ready"
#endif

static const struct tac_transport_kind stream_kind = {
    .name = "StreamTransport",
    .made = TAC_MADE_STREAM,
    .read = tac_stream_on_readable,
    .write = tac_stream_on_writable,
    .write_method = STREAM_WRITE_METHOD,
    .flush = tac_stream_on_flush,
    .drop = stream_drop,
    .free = stream_free,
    .traverse = stream_traverse,
    .clear = stream_clear,
    .size = stream_size,
    .losing = stream_losing,
    .lost = stream_lost,
    .set_protocol = stream_set_protocol,
    .keep_names = stream_keep_names,
    .read_error = "Fatal read error on socket transport",
};

/* By family and kind, not by `proto`: that of an inherited listener is 0, and
 * then each answer in two pieces would wait for the peer's delayed ACK. */
static void
stream_set_nodelay(int fd, int family)
{
    int on = 1;
    if (family == AF_UNSPEC) {
        struct sockaddr_storage name;
        socklen_t len = sizeof(name);
        if (getsockname(fd, (struct sockaddr *)&name, &len) == 0) {
            family = name.ss_family;
        }
    }
    if (family == AF_INET || family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
}

static int
stream_begin(TacStream *s, const struct tac_transport_spec *spec)
{
    if (tac_transport_enter(&s->base, spec->protocol) < 0
        || tac_transport_enter_table(&s->base) < 0
        || (s->server != NULL
            && tac_server_attach(s->base.state, s->server,
                                 s->base.transport)
                   < 0))
    {
        return -1;
    }
    stream_set_nodelay(s->base.fd, spec->family);
    return tac_transport_begin(&s->base, spec->waiter);
}

int
tac_stream_start(TacState *state, PyObject *transport,
                 const struct tac_transport_spec *spec)
{
    TacStream *s = (TacStream *)tac_transport_new(
        state->stream_type, transport, &stream_kind, state, spec);
    if (s == NULL) {
        return -1;
    }
    s->server = Py_XNewRef(spec->server);
    if (stream_begin(s, spec) < 0) {
        tac_transport_undo(&s->base);
        return -1;
    }
    return 0;
}

PyObject *
tac_stream_allocate(TacState *state)
{
    PyTypeObject *type = state->stream_transport_type;
    return type->tp_alloc(type, 0);
}

int
tac_stream_keep_peer(PyObject *transport, const struct sockaddr *peer,
                     socklen_t len)
{
    TacStream *s = (TacStream *)tac_transport_of(transport);
    if (len != 0 && tac_address_is_known(peer)
        && !tac_address_keep(&s->peer, peer, len))
    {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}
