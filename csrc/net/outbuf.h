/* net/outbuf.h - bytes that a transport has accepted and not sent yet.
 *
 * A queue of bytes objects: those that write() got as bytes are kept, all else
 * is copied, for its owner may change it.  As a rule there is one at a time,
 * and an idle transport has none: memory for a queue is there only while there
 * are several.
 *
 * Owns: the bytes objects, and the queue.
 * Threads: the loop's.   Python code run here: none (bytes have no finalizer).
 */
#ifndef TAC_NET_OUTBUF_H
#define TAC_NET_OUTBUF_H

#include "state.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct tac_outbuf {
    uintptr_t word;  /* 0: empty; odd: a pointer to the one bytes object; else
                        to a queue (outbuf.c) */
    Py_ssize_t size; /* bytes that are left, of all */
};

static inline bool
tac_outbuf_is_empty(const struct tac_outbuf *out)
{
    return out->word == 0;
}

/* Append a bytes object that is not empty (stolen, also on failure).  0, or
 * -1 with MemoryError. */
int tac_outbuf_push(struct tac_outbuf *out, PyObject *bytes);

/* Append a copy.  0, or -1 with MemoryError. */
int tac_outbuf_push_copy(struct tac_outbuf *out, TacState *state,
                         const char *data, Py_ssize_t size);

/* Describe the oldest bytes for a vectored send; returns how many of `max`
 * entries were filled. */
int tac_outbuf_peek(const struct tac_outbuf *out, struct iovec *iov, int max);

/* Take a reference to each of the oldest `count` objects, which are there. */
void tac_outbuf_hold(const struct tac_outbuf *out, PyObject **held, int count);

/* Drop the oldest `size` bytes: they were sent.  It is not empty. */
void tac_outbuf_consume(struct tac_outbuf *out, TacState *state,
                        Py_ssize_t size);

/* Drop all. */
void tac_outbuf_clear(struct tac_outbuf *out);

/* A list of what is left.  Returns: new ref | NULL+exc. */
PyObject *tac_outbuf_list(const struct tac_outbuf *out);

#endif
