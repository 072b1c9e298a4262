/* core/channel.h - memory channels: queues between the tasks of one run.
 *
 * All clones of both ends share one TacChannel.
 *
 *   C1  while a receiver waits, the buffer is empty and no sender waits.
 *   C2  while a sender waits, the buffer is full.
 *   C3  a trap is in `senders` or `receivers` of the channel iff it is in
 *       `waits` of its end, and that end is its `first`.
 *
 * A value is handed to a waiting task directly: a task that is cancelled
 * while it waits has either got its value, and is not cancelled any more, or
 * has not changed the channel.
 *
 * Owns: the channel owns what is in its buffer; an end owns the channel.
 * Threads: runner thread only.
 * Python code run here: instruments, by rescheduling; dealloc.
 */
#ifndef TAC_CORE_CHANNEL_H
#define TAC_CORE_CHANNEL_H

#include "base/fifo.h"
#include "core/trap.h"

/* One side's queue of waiting tasks. */
struct tac_channel_waits {
    struct tac_list traps; /* of TacTrap.node, oldest first */
    Py_ssize_t count;
};

typedef struct {
    PyObject_HEAD
    TacState *state;    /* borrowed: the types hold the module */
    PyObject *max_size; /* owned: as it was given */
    Py_ssize_t limit;   /* the same; PY_SSIZE_T_MAX: none */
    struct tac_fifo buffer;
    Py_ssize_t peak; /* of the buffer's length */
    struct tac_channel_waits senders;
    struct tac_channel_waits receivers;
    Py_ssize_t open_senders;
    Py_ssize_t open_receivers;
} TacChannel;

/* A MemorySendChannel or a MemoryReceiveChannel. */
typedef struct {
    PyObject_HEAD
    TacChannel *channel;   /* owned; never NULL */
    struct tac_list waits; /* of TacTrap.mate: who waits at this clone */
    bool is_sender;
    bool closed;
    PyObject *dict;
    PyObject *weakrefs;
} TacChannelEnd;

/* 1: done, 0: that would block, or -1 with an exception.  `*value`: new ref
 * where it is done. */
int tac_channel_try_send(TacChannelEnd *end, PyObject *value);
int tac_channel_try_receive(TacChannelEnd *end, PyObject **value);

/* Idempotent.  0, or -1 with an exception. */
int tac_channel_close(TacChannelEnd *end);

/* first: the end; second: send's value. */
extern const struct tac_trap_ops tac_channel_send_ops;
extern const struct tac_trap_ops tac_channel_receive_ops;
extern const struct tac_trap_ops tac_channel_next_ops;
extern const struct tac_trap_ops tac_channel_aclose_ops;

int tac_channel_add_types(PyObject *module, TacState *state);

#endif
