/* net/stream.h - stream transports: TCP and Unix sockets.
 *
 * Two objects a connection.  The transport, which programs see, is of a type
 * that is made at run time from the standard library's own class, so that
 * everything cold is that class's code of the running version; its one slot
 * holds the Stream, which has all of the state and is seen by nobody.
 *
 *   NEW --begin--> READING <--pause, resume--> PAUSED
 *                     |                          |
 *             close   |   eof, abort, an error   |
 *                     v                          v
 *                  CLOSING --all is sent, or dropped--> LOST
 *
 *   I1  `conn_lost` != 0  <=>  connection_lost() was called or is scheduled;
 *       neither watch is armed then, and nothing waits to be sent.
 *   I2  `held`  <=>  a watch is armed or a flush is put off: then the loop
 *       owns a reference to the transport, as a reader's handle would.
 *   I3  the writer is armed  =>  bytes wait for the kernel to take them; new
 *       ones wait behind them.  Else what waits, waits for the flush.
 *
 * What a turn writes is sent at the end of its batch, in one system call.
 * What programs can observe is as if write() had sent it: it is flushed
 * before whatever asks how much is left, or shuts down, and at once if it is
 * much, or if no batch is going on.
 *
 * Owns: the fd (the socket object, once there is one), protocol, server.
 * Threads: the loop's.   Python code run here: arbitrary, unless said.
 */
#ifndef TAC_NET_STREAM_H
#define TAC_NET_STREAM_H

#include "aio/loop.h"
#include "net/outbuf.h"
#include "poll/poller.h"

#include <netinet/in.h>

typedef struct TacStream {
    PyObject_HEAD
    TacState *state;        /* borrowed: the type holds the module */
    TacLoop *loop;          /* owned; NULL once it is all over */
    PyObject *transport;    /* borrowed: its slot owns us; owned while `held`;
                               NULL: it is gone */
    PyObject *protocol;     /* owned; NULL once lost */
    PyObject *server;       /* owned or NULL */
    PyObject *sock;         /* owned: a socket.socket; NULL: none was asked
                               for yet, and `fd` is ours, or it is closed */
    PyObject *context;      /* owned: what the events' callbacks run in */
    PyObject *given_context; /* owned or NULL: for all callbacks instead */
    PyObject *empty_waiter; /* owned: sendfile's Future, or NULL */
    PyObject *high, *low;   /* owned: the water marks as they were given */
    Py_ssize_t high_bytes, low_bytes; /* the same, for comparing */
    struct tac_watch reader, writer;
    struct tac_loop_member member;
    struct tac_deferred flush;
    struct tac_task task;
    struct tac_outbuf out;
    struct sockaddr_in6 peer; /* as accept() gave it; see `peer_len` */
    socklen_t peer_len;       /* 0: ask the socket */
    int fd;                   /* -1 once closed */
    int shown_fd;             /* the same, also afterwards */
    int expected;             /* bytes of the last read; 0: few */
    unsigned conn_lost;       /* I1; counts the writes in vain after that */
    bool held;                /* I2 */
    bool closing;
    bool paused;              /* by pause_reading() */
    bool protocol_paused;     /* was told to pause_writing() */
    bool eof;                 /* write_eof() was called */
    bool buffered;            /* the protocol is a BufferedProtocol */
    bool feeds;               /* it is a StreamReaderProtocol */
    bool read_queued;         /* an item for it is in the ring */
    bool write_queued;
} TacStream;

/* The stream of a transport, borrowed; NULL: it has none, which only a
 * constructor that was never called leaves behind. */
static inline TacStream *
tac_stream_of(TacState *state, PyObject *transport)
{
    PyObject *stream =
        *(PyObject **)((char *)transport + state->stream_offset);
    return stream != NULL && Py_IS_TYPE(stream, state->stream_type)
               ? (TacStream *)stream
               : NULL;
}

/* Living (stream.c) */

/* What a new stream is made of; all borrowed, but for `fd`. */
struct tac_stream_spec {
    TacLoop *loop;
    PyObject *protocol;
    PyObject *waiter;  /* or NULL: a Future to resolve when it has begun */
    PyObject *server;  /* or NULL */
    PyObject *sock;    /* or NULL */
    PyObject *context; /* or NULL */
    int fd;            /* stolen, also on failure, if `sock` is NULL */
};

/* Fill a transport and let it begin.  0, or -1 with an exception. */
int tac_stream_start(TacState *state, PyObject *transport,
                     const struct tac_stream_spec *spec);

/* Let the reader be armed exactly if the program wants to read. */
int tac_stream_read_more(TacStream *stream);
void tac_stream_read_no_more(TacStream *stream);

/* See to I2.  Python code: dealloc of the transport. */
void tac_stream_update_held(TacStream *stream);

/* The fd to use now; or -1, with errno EBADF. */
int tac_stream_fd(const TacStream *stream);

/* As transport.close(), _force_close(exc) (NULL: abort), and _fatal_error()
 * for the raised exception, which is cleared.  0, or -1 with an exception. */
int tac_stream_close(TacStream *stream);
int tac_stream_force_close(TacStream *stream, PyObject *exc);
int tac_stream_fatal(TacStream *stream, const char *message);

/* Tell the loop of an exception that the protocol's method raised, unless it
 * is one that ends a run.  0, or -1 with that. */
int tac_stream_report(TacStream *stream, const char *message);

/* As transport._call_connection_lost(exc). */
int tac_stream_lose(TacStream *stream, PyObject *exc);

/* Call a method of the protocol, `arg` may be NULL.  Returns: new ref |
 * NULL+exc. */
PyObject *tac_stream_call_protocol(TacStream *stream, PyObject *name,
                                   PyObject *arg);

/* loop.call_soon(callback, arg), in the given context if there is one. */
int tac_stream_call_soon(TacStream *stream, PyObject *callback,
                         PyObject *arg);

/* Reading (stream_read.c): the watch's function. */
void tac_stream_on_readable(struct tac_watch *watch, int error);

/* Writing (stream_write.c) */
void tac_stream_on_writable(struct tac_watch *watch, int error);

/* What the end of the batch does. */
void tac_stream_on_flush(struct tac_deferred *deferred);

/* Send what waits for the end of the batch.  0, or -1 with an exception. */
int tac_stream_flush(TacStream *stream);

/* As the methods of these names.  0, or -1 with an exception. */
int tac_stream_write(TacStream *stream, PyObject *data);
int tac_stream_writelines(TacStream *stream, PyObject *list);
int tac_stream_write_eof(TacStream *stream);

/* Tell the protocol to pause or to resume writing, if it is time to. */
int tac_stream_maybe_pause(TacStream *stream);
int tac_stream_maybe_resume(TacStream *stream);

/* Run a ring item's function in a context (borrowed), or in a copy of it if
 * it is being used below on the stack.  As the function. */
typedef int (*tac_stream_fn)(TacStream *stream);
int tac_stream_run_in(TacStream *stream, PyObject *context,
                      tac_stream_fn fn);

int tac_stream_add_types(PyObject *module, TacState *state);

#endif
