/* net/transport_type.h - what the types of all transports share.
 *
 * A type is made at run time, from the standard library's class.  It has one
 * slot, which the inherited traverse, clear and dealloc see to.
 *
 * Owns: nothing.
 * Threads: the loop's.   Python code run here: arbitrary, unless said.
 */
#ifndef TAC_NET_TRANSPORT_TYPE_H
#define TAC_NET_TRANSPORT_TYPE_H

#include "net/transport.h"

/* The state of an object, borrowed; or NULL with RuntimeError. */
TacTransport *tac_transport_get(PyObject *transport);

/* None, or NULL if `rc` is -1. */
PyObject *tac_transport_result(int rc);

/* NULL for None. */
static inline PyObject *
tac_transport_or_null(PyObject *value)
{
    return value == Py_None ? NULL : value;
}

/* What a constructor does first: 0, or -1 with RuntimeError if it was called
 * before; the attribute _extra is set to `extra`, or a new dict for None. */
int tac_transport_init(PyObject *transport, TacState *state,
                       PyObject *extra);

/* The methods ------------------------------------------------------------- */

PyObject *tac_transport_py_close(PyObject *self, PyObject *noargs);
PyObject *tac_transport_py_force_close(PyObject *self, PyObject *exc);
PyObject *tac_transport_py_lost(PyObject *self, PyObject *exc);
PyObject *tac_transport_py_is_closing(PyObject *self, PyObject *noargs);
PyObject *tac_transport_py_is_reading(PyObject *self, PyObject *noargs);
PyObject *tac_transport_py_pause_reading(PyObject *self, PyObject *noargs);
PyObject *tac_transport_py_resume_reading(PyObject *self, PyObject *noargs);
PyObject *tac_transport_py_set_protocol(PyObject *self, PyObject *protocol);
PyObject *tac_transport_py_get_protocol(PyObject *self, PyObject *noargs);
PyObject *tac_transport_py_get_size(PyObject *self, PyObject *noargs);
PyObject *tac_transport_py_maybe_pause(PyObject *self, PyObject *noargs);
PyObject *tac_transport_py_maybe_resume(PyObject *self, PyObject *noargs);

/* Entries of a PyMethodDef table: of all transports, */
#define TAC_TRANSPORT_METHODS                                               \
    {"_call_connection_lost", tac_transport_py_lost, METH_O,                \
     "_call_connection_lost($self, exc, /)\n--\n\n"                         \
     "Tell the protocol, and close."},                                      \
    {"is_closing", tac_transport_py_is_closing, METH_NOARGS,                \
     "is_closing($self, /)\n--\n\n"                                         \
     "Whether the transport is closing or closed."},                        \
    {"set_protocol", tac_transport_py_set_protocol, METH_O,                 \
     "set_protocol($self, protocol, /)\n--\n\n"                             \
     "Give what is received to another protocol from now on."},             \
    {"get_protocol", tac_transport_py_get_protocol, METH_NOARGS,            \
     "get_protocol($self, /)\n--\n\nReturn the current protocol."}

/* of those that receive, */
#define TAC_TRANSPORT_READ_METHODS                                          \
    {"is_reading", tac_transport_py_is_reading, METH_NOARGS,                \
     "is_reading($self, /)\n--\n\nWhether the transport is receiving."},    \
    {"pause_reading", tac_transport_py_pause_reading, METH_NOARGS,          \
     "pause_reading($self, /)\n--\n\n"                                      \
     "Receive nothing until resume_reading(); idempotent."},                \
    {"resume_reading", tac_transport_py_resume_reading, METH_NOARGS,        \
     "resume_reading($self, /)\n--\n\nUndo pause_reading(); idempotent."}

/* of those that send, */
#define TAC_TRANSPORT_WRITE_METHODS                                         \
    {"get_write_buffer_size", tac_transport_py_get_size, METH_NOARGS,       \
     "get_write_buffer_size($self, /)\n--\n\n"                              \
     "How many bytes the kernel has not taken yet."},                       \
    {"_maybe_pause_protocol", tac_transport_py_maybe_pause, METH_NOARGS,    \
     "_maybe_pause_protocol($self, /)\n--\n\n"                              \
     "Call pause_writing() if too much waits to be sent."},                 \
    {"_maybe_resume_protocol", tac_transport_py_maybe_resume, METH_NOARGS,  \
     "_maybe_resume_protocol($self, /)\n--\n\n"                             \
     "Call resume_writing() if little waits to be sent."}

/* and of those of sockets. */
#define TAC_TRANSPORT_SOCKET_METHODS                                        \
    {"close", tac_transport_py_close, METH_NOARGS,                          \
     "close($self, /)\n--\n\n"                                              \
     "Read no more, send what was written, then close; idempotent."},       \
    {"_force_close", tac_transport_py_force_close, METH_O,                  \
     "_force_close($self, exc, /)\n--\n\n"                                  \
     "Close now; connection_lost() is told `exc`."}

/* The attributes that the standard library shares with us ----------------- */

PyObject *tac_transport_get_object(PyObject *self, void *closure);
PyObject *tac_transport_get_flag(PyObject *self, void *closure);
int tac_transport_set_flag(PyObject *self, PyObject *value, void *closure);
PyObject *tac_transport_get_protocol(PyObject *self, void *closure);
int tac_transport_set_protocol(PyObject *self, PyObject *value,
                               void *closure);
PyObject *tac_transport_get_sock(PyObject *self, void *closure);
PyObject *tac_transport_get_fd(PyObject *self, void *closure);
PyObject *tac_transport_get_conn_lost(PyObject *self, void *closure);
PyObject *tac_transport_get_mark(PyObject *self, void *closure);
int tac_transport_set_mark(PyObject *self, PyObject *value, void *closure);

/* An attribute that is a member of `type`: an object or NULL, a bool. */
#define TAC_TRANSPORT_OBJECT(name, type, member, doc)                       \
    {name, tac_transport_get_object, NULL, doc,                             \
     (void *)offsetof(type, member)}
#define TAC_TRANSPORT_FLAG(name, type, member, setter, doc)                 \
    {name, tac_transport_get_flag, setter, doc,                             \
     (void *)offsetof(type, member)}

/* Entries of a PyGetSetDef table: of all transports, */
#define TAC_TRANSPORT_GETSET                                                \
    TAC_TRANSPORT_OBJECT("_loop", TacTransport, loop,                       \
                         "The loop; None once it is all over."),            \
    {"_protocol", tac_transport_get_protocol, tac_transport_set_protocol,   \
     "The protocol; None once it was told of the end."},                    \
    TAC_TRANSPORT_FLAG("_closing", TacTransport, closing, NULL,             \
                       "Whether close() was called.")

/* of those that receive, */
#define TAC_TRANSPORT_READ_GETSET                                           \
    TAC_TRANSPORT_FLAG("_paused", TacTransport, paused, NULL,               \
                       "Whether pause_reading() was called last.")

/* of those that send, */
#define TAC_TRANSPORT_MARKS_GETSET                                          \
    {"_high_water", tac_transport_get_mark, tac_transport_set_mark,         \
     "pause_writing() is called above so many bytes.", (void *)1},          \
    {"_low_water", tac_transport_get_mark, tac_transport_set_mark,          \
     "resume_writing() is called at so many bytes.", NULL},                 \
    TAC_TRANSPORT_FLAG("_protocol_paused", TacTransport, protocol_paused,   \
                       tac_transport_set_flag,                              \
                       "Whether pause_writing() was called last.")

/* and of those of sockets, these included. */
#define TAC_TRANSPORT_SOCKET_GETSET                                         \
    TAC_TRANSPORT_MARKS_GETSET,                                             \
    {"_conn_lost", tac_transport_get_conn_lost, NULL,                       \
     "Not 0: connection_lost() was called or is scheduled."},               \
    {"_sock", tac_transport_get_sock, NULL,                                 \
     "The socket; None once it is closed."},                                \
    TAC_TRANSPORT_OBJECT("_made_sock", TacTransport, sock,                  \
                         "The socket if there is an object for it "         \
                         "already, or None."),                              \
    {"_sock_fd", tac_transport_get_fd, NULL,                                \
     "The socket's number, also afterwards."}

/* The types --------------------------------------------------------------- */

/* Make a type with the slot.  Returns: new ref | NULL+exc. */
PyTypeObject *tac_transport_make_type(PyObject *module, PyTypeObject *base,
                                      const char *name, const char *doc,
                                      initproc init, PyMethodDef *methods,
                                      PyGetSetDef *getset);

/* Make the type of the hidden objects, of so many bytes, and add functions to
 * the module: what makes the types that are seen.  Returns: new ref |
 * NULL+exc. */
PyTypeObject *tac_transport_make_state_type(PyObject *module,
                                            const char *name, const char *doc,
                                            Py_ssize_t size,
                                            PyMethodDef *functions);

#endif
