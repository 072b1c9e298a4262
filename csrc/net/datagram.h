/* net/datagram.h - datagram transports: UDP and Unix sockets.
 *
 * See net/transport.h, of which this is one kind.
 *
 * Several datagrams are received in one system call and wait in the inbox.
 * Each is told by itself, and whatever the protocol makes runnable by it runs
 * before the next one is told, as if each had been an event.
 *
 * A datagram is sent at once, so that its error comes out of sendto().  If a
 * turn sends more of them, small ones by a socket that is not connected wait
 * for the end of the batch and leave in one system call; their errors come by
 * the ring.  A connected socket is told of ICMP errors, which such a call
 * could swallow.
 *
 *   I4  the inbox is not empty  =>  its turn is in the ring, or reading is
 *       paused.
 *
 * Owns: the datagrams that wait, either way, and the addresses.
 * Threads: the loop's.   Python code run here: arbitrary, unless said.
 */
#ifndef TAC_NET_DATAGRAM_H
#define TAC_NET_DATAGRAM_H

#include "net/transport.h"

#include <netinet/in.h>

#define TAC_DATAGRAM_BATCH 16 /* how many a system call takes at most */

/* What flow control counts for each datagram beside its bytes. */
#if PY_VERSION_HEX >= 0x030D0000
#define TAC_DATAGRAM_HEADER 8
#else
#define TAC_DATAGRAM_HEADER 0
#endif

/* An address of a family that is known here, as the kernel wants it. */
struct tac_datagram_name {
    socklen_t len;
    struct sockaddr_storage storage;
};

/* The same if it is as short as an IP's. */
struct tac_datagram_ip {
    socklen_t len; /* 0: it is longer, or not known */
    struct sockaddr_in6 storage;
};

struct tac_datagram {
    PyObject *data; /* owned: bytes */
    PyObject *addr; /* owned; of one to be sent NULL: to the peer */
    struct tac_datagram_ip name; /* what `addr` is */
};

/* A queue: an array that moves to the front when it reaches the end. */
struct tac_datagram_queue {
    struct tac_datagram *items;
    Py_ssize_t head;
    Py_ssize_t len;
    Py_ssize_t capacity;
    Py_ssize_t size; /* of all, as flow control counts */
};

typedef struct TacDatagram {
    TacTransport base;
    PyObject *address; /* owned or NULL: the only one that sendto() takes */
    PyObject *errors;  /* owned or NULL: a list of those to be told */
    struct tac_datagram_queue in, out;
    PyObject *known;   /* owned or NULL: the sender of the datagram that */
    struct tac_datagram_ip known_name; /* was told last; its name */
    int family;
    int expected;      /* how many to ask the kernel for */
    bool connected;
} TacDatagram;

/* What a socket sends to `addr`.  1; 0: only a socket object can tell.
 * Python code: none. */
int tac_datagram_resolve(const TacDatagram *d, PyObject *addr,
                         struct tac_datagram_name *name);

/* Take the oldest; the references go to the caller. */
struct tac_datagram tac_datagram_pop(struct tac_datagram_queue *queue);

/* Append; the references are stolen, also on failure.  0, or -1 with
 * MemoryError. */
int tac_datagram_push(struct tac_datagram_queue *queue,
                      const struct tac_datagram *datagram);

/* Drop all, and the array.  Python code: dealloc of odd addresses. */
void tac_datagram_clear_queue(struct tac_datagram_queue *queue);

/* protocol.error_received(what is raised), unless that is no OSError, which
 * is fatal.  0, or -1 with what that raised. */
int tac_datagram_tell_error(TacDatagram *d, const char *message);

/* Receiving (datagram.c), sending (datagram_send.c): the events, and the end
 * of the batch. */
int tac_datagram_on_readable(TacTransport *t);
int tac_datagram_on_writable(TacTransport *t);
int tac_datagram_on_flush(TacTransport *t);

/* As the method.  0, or -1 with an exception. */
int tac_datagram_sendto(TacDatagram *d, PyObject *data, PyObject *addr);

/* Fill a transport and let it begin.  0, or -1 with an exception. */
int tac_datagram_start(TacState *state, PyObject *transport,
                       const struct tac_transport_spec *spec,
                       PyObject *address);

int tac_datagram_add_types(PyObject *module, TacState *state);

#endif
