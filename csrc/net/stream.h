/* net/stream.h - stream transports: TCP and Unix sockets.
 *
 * See net/transport.h, of which this is one kind.
 *
 * Owns: the bytes that wait to be sent, the server.
 * Threads: the loop's.   Python code run here: arbitrary, unless said.
 */
#ifndef TAC_NET_STREAM_H
#define TAC_NET_STREAM_H

#include "net/address.h"
#include "net/outbuf.h"
#include "net/transport.h"

typedef struct TacStream {
    TacTransport base;
    PyObject *server;         /* owned or NULL */
    PyObject *empty_waiter;   /* owned: sendfile's Future, or NULL */
    PyObject *sending;        /* owned: the Task of a native one, or NULL */
    struct tac_outbuf out;
    struct tac_address peer;  /* where it is connected to; else ask the
                                 socket */
    struct tac_address own;   /* kept when the socket is closed; likewise */
    int expected;             /* bytes of the last read; 0: few */
    bool eof;                 /* write_eof() was called */
    bool buffered;            /* the protocol is a BufferedProtocol */
    bool feeds;               /* it is a StreamReaderProtocol */
} TacStream;

/* Fill a transport and let it begin.  0, or -1 with an exception. */
int tac_stream_start(TacState *state, PyObject *transport,
                     const struct tac_transport_spec *spec);

/* A transport with nothing in it.  Returns: new ref | NULL with
 * MemoryError. */
PyObject *tac_stream_allocate(TacState *state);

/* Note what a started transport is connected to.  0, or -1 with
 * MemoryError. */
int tac_stream_keep_peer(PyObject *transport, const struct sockaddr *peer,
                         socklen_t len);

/* Reading (stream_read.c), the event. */
int tac_stream_on_readable(TacTransport *t);

/* Writing (stream_write.c), the event and the end of the batch. */
int tac_stream_on_writable(TacTransport *t);
int tac_stream_on_flush(TacTransport *t);

/* As the methods of these names.  0, or -1 with an exception. */
int tac_stream_write(TacStream *s, PyObject *data);
int tac_stream_writelines(TacStream *s, PyObject *list);
int tac_stream_write_eof(TacStream *s);

int tac_stream_add_types(PyObject *module, TacState *state);

#endif
