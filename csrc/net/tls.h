/* net/tls.h - TLS between an application's protocol and the transport below.
 *
 * TlsCore is the hot half of an asyncio.sslproto.SSLProtocol: what runs once
 * a packet. Handshake, shutdown, time-outs and errors are the standard
 * library's own methods. Both see the same fields: the attributes that those
 * methods set are members of this struct.
 *
 *   ciphertext: transport below -> get_buffer(), buffer_updated() -> engine
 *   plaintext:  engine -> data_received() of the application's protocol
 *   and back:   SSLTransport.write() -> engine -> write() of the one below
 *
 *   I1  raw != NULL  =>  the fast paths may be used: bound == sslobj is an
 *       ssl.SSLObject itself, over ssl.MemoryBIOs. Else the inherited
 *       methods do all of it (a subclass, a mock).
 *   I2  buffer != NULL  =>  buffer_view is a view of it: nobody can resize
 *       the memory that the transport below reads into.
 *   I3  what was encrypted inside of a call of the application's protocol is
 *       sent when the call returns, when there is much of it, and before
 *       anything that would show it.
 *
 * Owns: what its fields say.
 * Threads: the loop's.   Python code run here: arbitrary.
 */
#ifndef TAC_NET_TLS_H
#define TAC_NET_TLS_H

#include "net/tls_engine.h"
#include "state.h"

typedef struct TacTls {
    PyObject_HEAD
    TacState *module; /* borrowed: the type holds the module */
    /* Attributes of SSLProtocol, owned or NULL. */
    PyObject *loop;
    PyObject *transport;
    PyObject *app_transport;
    PyObject *app_protocol;
    PyObject *app_get_buffer;     /* of a BufferedProtocol */
    PyObject *app_buffer_updated;
    PyObject *sslobj;
    PyObject *incoming;
    PyObject *outgoing;
    PyObject *state; /* a member of SSLProtocolState */
    PyObject *backlog; /* deque of plaintext that could not be encrypted yet */
    PyObject *out_high, *out_low, *in_high, *in_low; /* int, as a rule */
    Py_ssize_t backlog_len; /* bytes in it */
    char app_is_buffered;
    char app_reading_paused;
    char app_writing_paused;
    char ssl_reading_paused;
    char ssl_writing_paused;
    /* Our own. */
    PyObject *bound; /* owned: the sslobj that raw was looked for in */
    PyObject *raw;   /* owned: its _ssl._SSLSocket; NULL: see I1 */
    PyObject *buffer; /* owned bytearray, while the transport below has it */
    Py_buffer buffer_view;
    struct tac_tls_direct direct;
    unsigned int deferring; /* calls of the application's protocol */
} TacTls;

/* write() of the transport, of a bytes, bytearray or memoryview that is not
 * empty. 0, or -1 with an exception. */
int tac_tls_write(TacTls *tls, PyObject *data);

/* writelines() of the transport. 0, or -1 with an exception. */
int tac_tls_writelines(TacTls *tls, PyObject *lines);

/* self.name(arg), NULL: no argument; `inherited`: SSLProtocol's method.  0, or
 * -1 with an exception. */
int tac_tls_call(TacTls *tls, const char *name, bool inherited,
                 PyObject *arg);

/* As the methods of these names (tls_handshake.c has the last two). */
int tac_tls_process_outgoing(TacTls *tls);
PyObject *tac_tls_set_state(TacTls *tls, PyObject *state);
PyObject *tac_tls_do_handshake(TacTls *tls, PyObject *noargs);

/* The transport's type, for _tls_setup. Returns: new ref | NULL+exc. */
PyTypeObject *tac_tls_transport_type(PyObject *module, PyObject *base);

int tac_tls_add_types(PyObject *module, TacState *state);

/* The functions that _tls.py calls. */
int tac_tls_add_functions(PyObject *module, TacState *state);

#endif
