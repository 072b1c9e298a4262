/* net/listener.c - Listener: what a server's listening socket runs. */
#include "net/listener.h"

#include "base/args.h"
#include "base/compat.h"
#include "net/connect.h"
#include "net/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <structmember.h>
#include <unistd.h>

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    TacState *state;
    TacLoop *loop;
    PyObject *factory;
    PyObject *sock;
    PyObject *server;   /* or NULL */
    PyObject *fallback; /* the inherited accept loop */
    PyObject *begin;    /* NULL, or what is called with each connection */
    PyObject *context;  /* NULL, or what each connection has a copy of */
    long backlog;
} TacListener;

/* One connection ------------------------------------------------------------ */

/* A connection that came to nothing.  asyncio is silent about it, but in debug
 * mode; what ends a run, ends it. */
static int
listener_failed(TacListener *listener, PyObject *protocol,
                PyObject *transport)
{
    if (PyErr_ExceptionMatches(PyExc_SystemExit)
        || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
    {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *hook = listener->state->hook_report_accept;
    if (!listener->loop->debug || hook == NULL) {
        Py_DECREF(exc);
        return 0;
    }
    PyObject *result = PyObject_CallFunctionObjArgs(
        hook, (PyObject *)listener->loop, exc,
        protocol == NULL ? Py_None : protocol,
        transport == NULL ? Py_None : transport, NULL);
    Py_DECREF(exc);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Hand a connection (the fd is stolen) to a function, which is to run the rest
 * in a context of its own if there is one to copy.  0, or -1 with an
 * exception. */
static int
listener_hand_over(TacListener *listener, int fd,
                   const struct sockaddr *peer, socklen_t len)
{
    PyObject *conn = tac_connect_accepted(listener->state, fd, peer, len);
    PyObject *context = listener->context == NULL
                            ? Py_NewRef(Py_None)
                            : PyContext_Copy(listener->context);
    PyObject *begin = Py_NewRef(listener->begin);
    PyObject *result =
        conn == NULL || context == NULL
            ? NULL
            : PyObject_CallFunctionObjArgs(begin, conn, context, NULL);
    Py_DECREF(begin);
    Py_XDECREF(context);
    Py_XDECREF(conn);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Make a connection of `fd` (stolen), in the current context, which is
 * `context`.  0, or -1 with an exception that ends the run. */
static int
listener_connect(TacListener *listener, int fd, const struct sockaddr *peer,
                 socklen_t len, PyObject *context)
{
    PyObject *protocol = PyObject_CallNoArgs(listener->factory);
    PyObject *transport =
        protocol == NULL ? NULL : tac_stream_allocate(listener->state);
    int rc = -1;
    if (transport == NULL) {
        (void)close(fd);
    }
    else {
        struct tac_transport_spec spec = {
            .loop = listener->loop,
            .protocol = protocol,
            .server = listener->server,
            .context = listener->context == NULL ? NULL : context,
            .fd = fd,
            .family = peer->sa_family,
        };
        rc = tac_stream_start(listener->state, transport, &spec);
        if (rc == 0) {
            rc = tac_stream_keep_peer(transport, peer, len);
        }
    }
    if (rc < 0) {
        rc = listener_failed(listener, protocol, transport);
    }
    Py_XDECREF(transport);
    Py_XDECREF(protocol);
    return rc;
}

/* The same in a context of its own, as asyncio has a Task for it: what the
 * factory sets stays with the connection. */
static int
listener_connect_in_copy(TacListener *listener, int fd,
                         const struct sockaddr *peer, socklen_t len)
{
    PyObject *context = listener->context == NULL
                            ? PyContext_CopyCurrent()
                            : PyContext_Copy(listener->context);
    if (context == NULL || PyContext_Enter(context) < 0) {
        Py_XDECREF(context);
        (void)close(fd);
        return -1;
    }
    int rc = listener_connect(listener, fd, peer, len, context);
    PyObject *exc = PyErr_GetRaisedException();
    (void)PyContext_Exit(context);
    Py_DECREF(context);
    PyErr_SetRaisedException(exc);
    return rc;
}

/* Accepting ----------------------------------------------------------------- */

static int
listener_accept(int fd, struct sockaddr *peer, socklen_t *len)
{
#if defined(__linux__) || defined(__FreeBSD__)
    return accept4(fd, peer, len, SOCK_NONBLOCK | SOCK_CLOEXEC);
#else
    int conn = accept(fd, peer, len);
    if (conn >= 0
        && (fcntl(conn, F_SETFL, O_NONBLOCK) < 0
            || fcntl(conn, F_SETFD, FD_CLOEXEC) < 0))
    {
        int error = errno;
        (void)close(conn);
        errno = error;
        return -1;
    }
    return conn;
#endif
}

/* Accept one.  1, 0 when there is none for now, -1 with an exception; -2 for
 * an error that the inherited code is to say something about. */
static int
listener_accept_one(TacListener *listener)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    int fd = *(int *)((char *)listener->sock
                      + listener->state->socket_fd_offset);
    if (fd < 0) {
        return 0; /* closed by a callback of ours */
    }
    int conn = listener_accept(fd, (struct sockaddr *)&peer, &len);
    if (conn >= 0) {
        int rc = (listener->begin != NULL ? listener_hand_over
                                          : listener_connect_in_copy)(
            listener, conn, (struct sockaddr *)&peer, len);
        return rc < 0 ? -1 : 1;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
        return 0;
    }
    if (errno == ECONNABORTED) {
        return PY_VERSION_HEX >= 0x030E0000; /* 3.14 goes on */
    }
    return -2;
}

static PyObject *
listener_vectorcall(PyObject *self, PyObject *const *args, size_t nargsf,
                    PyObject *kwnames)
{
    TacListener *listener = (TacListener *)self;
    if (PyVectorcall_NARGS(nargsf) != 0 || kwnames != NULL) {
        PyErr_SetString(PyExc_TypeError, "a Listener takes no arguments");
        return NULL;
    }
    if (listener->fallback == NULL) { /* the collector took it apart */
        Py_RETURN_NONE;
    }
    if (listener->loop->debug) {
        return PyObject_CallNoArgs(listener->fallback);
    }
    for (long left = listener->backlog; left > 0; left--) {
        switch (listener_accept_one(listener)) {
        case 1:
            continue;
        case 0:
            Py_RETURN_NONE;
        case -1:
            return NULL;
        default:
            return PyObject_CallNoArgs(listener->fallback);
        }
    }
    Py_RETURN_NONE;
}

/* The Python type ----------------------------------------------------------- */

static PyObject *
listener_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    TacState *state = PyType_GetModuleState(type);
    PyObject *loop, *factory, *sock, *server, *fallback;
    PyObject *begin = Py_None, *context = Py_None;
    long backlog;
    static const char *const names[] = {
        "loop", "factory", "sock", "server", "backlog", "fallback", "begin",
        "context", NULL};
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "O!OO!OlO|OO:Listener", (char **)names,
            state->loop_type, &loop, &factory, state->socket_type, &sock,
            &server, &backlog, &fallback, &begin, &context)) {
        return NULL;
    }
    if (context != Py_None && !PyContext_CheckExact(context)) {
        PyErr_SetString(PyExc_TypeError,
                        "context: a contextvars.Context or None");
        return NULL;
    }
    if (state->stream_transport_type == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "there is no type of stream transports");
        return NULL;
    }
    TacListener *listener = (TacListener *)type->tp_alloc(type, 0);
    if (listener == NULL) {
        return NULL;
    }
    listener->vectorcall = listener_vectorcall;
    listener->state = state;
    listener->loop = (TacLoop *)Py_NewRef(loop);
    listener->factory = Py_NewRef(factory);
    listener->sock = Py_NewRef(sock);
    listener->server = server == Py_None ? NULL : Py_NewRef(server);
    listener->fallback = Py_NewRef(fallback);
    listener->begin = begin == Py_None ? NULL : Py_NewRef(begin);
    listener->context = context == Py_None ? NULL : Py_NewRef(context);
    listener->backlog = backlog + (PY_VERSION_HEX >= 0x030E0000);
    return (PyObject *)listener;
}

static int
listener_tp_traverse(TacListener *listener, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(listener));
    Py_VISIT((PyObject *)listener->loop);
    Py_VISIT(listener->factory);
    Py_VISIT(listener->sock);
    Py_VISIT(listener->server);
    Py_VISIT(listener->fallback);
    Py_VISIT(listener->begin);
    Py_VISIT(listener->context);
    return 0;
}

static int
listener_tp_clear(TacListener *listener)
{
    Py_CLEAR(listener->factory);
    Py_CLEAR(listener->server);
    Py_CLEAR(listener->fallback);
    Py_CLEAR(listener->begin);
    Py_CLEAR(listener->context);
    return 0;
}

static void
listener_tp_dealloc(TacListener *listener)
{
    PyTypeObject *type = Py_TYPE(listener);
    PyObject_GC_UnTrack(listener);
    (void)listener_tp_clear(listener);
    Py_CLEAR(listener->loop);
    Py_CLEAR(listener->sock);
    type->tp_free(listener);
    Py_DECREF(type);
}

PyDoc_STRVAR(listener_doc,
"Listener(loop, factory, sock, server, backlog, fallback, begin=None,\n"
"         context=None)\n"
"--\n\n"
"Called without arguments when `sock` can accept; fallback: what does so for\n"
"all that is out of the ordinary. context: a copy of it is each connection's.\n"
"begin: called with a Connecting and that copy, or None, for each connection,\n"
"which becomes a transport else.");

static PyMemberDef listener_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(TacListener, vectorcall),
     READONLY, NULL},
    {NULL},
};

static PyType_Slot listener_slots[] = {
    {Py_tp_doc, (void *)listener_doc},
    {Py_tp_new, listener_tp_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, listener_members},
    {Py_tp_traverse, listener_tp_traverse},
    {Py_tp_clear, listener_tp_clear},
    {Py_tp_dealloc, listener_tp_dealloc},
    {0, NULL},
};

static PyType_Spec listener_spec = {
    .name = "trio_asyncio_c._core.Listener",
    .basicsize = sizeof(TacListener),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = listener_slots,
};

int
tac_listener_add_types(PyObject *module, TacState *state)
{
    state->listener_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &listener_spec, NULL);
    return state->listener_type == NULL
               ? -1
               : PyModule_AddType(module, state->listener_type);
}
