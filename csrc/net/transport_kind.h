/* net/transport_kind.h - what makes a transport one of TCP, UDP or a pipe.
 *
 * The functions that net/transport.h calls for what its transports do not
 * share, and what a new one is made of.
 *
 * Owns: nothing; a kind is static.
 * Threads: the loop's.   Python code run here: arbitrary, unless said.
 */
#ifndef TAC_NET_TRANSPORT_KIND_H
#define TAC_NET_TRANSPORT_KIND_H

#include "aio/loop.h"

typedef struct TacTransport TacTransport;

/* 0, or -1 with an exception. */
typedef int (*tac_transport_fn)(TacTransport *t);

struct tac_transport_kind {
    const char *name;       /* of the type, in messages */
    enum tac_made made;     /* what it is counted as */
    tac_transport_fn read;  /* the fd can be read from */
    tac_transport_fn write; /* it can be written to, and is armed for that */
    tac_transport_fn flush; /* send what waits for the end of the batch */
    tac_transport_fn resumed; /* reading was, after a pause; or NULL */
    /* Forget what waits to be sent or to be told.  Python code: none. */
    void (*drop)(TacTransport *t);
    /* The transport dies: free what else it has.  Python code: none. */
    void (*free)(TacTransport *t); /* or NULL */
    /* What the kind's own members own, as tp_traverse and tp_clear. */
    int (*traverse)(TacTransport *t, visitproc visit, void *arg); /* or NULL */
    void (*clear)(TacTransport *t);                               /* or NULL */
    /* How much waits to be sent, as flow control counts; 0: nothing. */
    Py_ssize_t (*size)(const TacTransport *t);
    /* Before connection_lost() is scheduled.  0, or -1 with an exception. */
    tac_transport_fn losing; /* or NULL */
    /* After connection_lost(), the last of several errors in `error`. */
    void (*lost)(TacTransport *t, PyObject **error); /* or NULL */
    /* Before the protocol is replaced.  0, or -1 with an exception. */
    int (*set_protocol)(TacTransport *t, PyObject *protocol); /* or NULL */
    /* Keep the socket's addresses before it is closed.  1, 0: the method
     * _keep_names() has to. */
    tac_transport_fn keep_names; /* or NULL */
    const char *read_error; /* the message of _fatal_error() */
    const char *write_method; /* the base class's that `write` stands for */
    bool is_pipe;           /* `sock` is any object; it has no names */
};

/* What a new transport is made of; all borrowed, but for `fd`. */
struct tac_transport_spec {
    TacLoop *loop;
    PyObject *protocol;
    PyObject *waiter;  /* or NULL: a Future to resolve when it has begun */
    PyObject *server;  /* or NULL; streams only */
    PyObject *sock;    /* or NULL */
    PyObject *context; /* or NULL */
    int fd;            /* stolen, also on failure, if `sock` is NULL */
    int family;        /* AF_UNSPEC: not known */
};

#endif
