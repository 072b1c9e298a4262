/* net/transport.h - what the transports of all kinds share.
 *
 * Two objects a transport.  The one that programs see is of a type that is
 * made at run time from the standard library's own class, so that everything
 * cold is that class's code of the running version; its one slot holds the
 * other, which has all of the state, is seen by nobody, and begins with a
 * TacTransport.
 *
 *   NEW --begin--> READING <--pause, resume--> PAUSED
 *                     |                          |
 *             close   |   eof, abort, an error   |
 *                     v                          v
 *                  CLOSING --all is sent, or dropped--> LOST
 *
 *   I1  `conn_lost` != 0  <=>  connection_lost() was called or is scheduled;
 *       the watch is not armed then, and nothing waits to be sent.
 *   I2  `held`  <=>  the watch is armed or a flush is put off: then the loop
 *       owns a reference to the transport, as a reader's handle would.
 *   I3  it is armed for writing  =>  something waits for the kernel to take
 *       it; what is new waits behind that.  Else what waits, waits for the
 *       flush.
 *
 * What a turn writes is sent at the end of its batch, in one system call, a
 * stream's answer at the end of the callback that was told of what it read.
 * What programs can observe is as if it had been sent at once: it is flushed
 * before whatever asks how much is left, or shuts down, and at once if it is
 * much, or if no batch is going on.
 *
 * Owns: the fd (the object that has it, once there is one), protocol.
 * Threads: the loop's.   Python code run here: arbitrary, unless said.
 */
#ifndef TAC_NET_TRANSPORT_H
#define TAC_NET_TRANSPORT_H

#include "net/transport_kind.h"
#include "poll/poller.h"

#define TAC_TRANSPORT_READ_BYTES (256 * 1024) /* at most, as asyncio */

struct TacTransport {
    PyObject_HEAD
    TacState *state;        /* borrowed: the type holds the module */
    const struct tac_transport_kind *kind;
    TacLoop *loop;          /* owned; NULL once it is all over */
    PyObject *transport;    /* borrowed: its slot owns us; owned while `held`;
                               NULL: it is gone */
    PyObject *protocol;     /* owned; NULL once lost */
    PyObject *sock;         /* owned: a socket.socket; NULL: none was asked
                               for yet, and `fd` is ours, or it is closed */
    PyObject *context;      /* owned: what the events' callbacks run in */
    PyObject *odd_marks;    /* owned or NULL: a pair of the water marks as
                               they were given; None: an int, see below */
    Py_ssize_t high_bytes, low_bytes; /* the same, for comparing */
    struct tac_watch watch; /* of `fd`, for both directions */
    struct tac_loop_member member;
    struct tac_task task; /* never runnable, so that it can put a flush off */
    int fd;                 /* -1 once closed */
    int shown_fd;           /* the same, also afterwards */
    unsigned conn_lost;     /* I1; counts the writes in vain after that */
    bool closing;
    bool paused;             /* by pause_reading() */
    bool protocol_paused;    /* was told to pause_writing() */
    bool held : 1;           /* I2 */
    bool context_given : 1;  /* `context` was, for all callbacks */
    bool read_queued : 1;    /* an item for it is in the ring */
    bool write_queued : 1;
};

/* The slot of an object that programs see: its last member, and there are no
 * subclasses. */
static inline TacTransport **
tac_transport_slot(PyObject *transport)
{
    Py_ssize_t offset =
        Py_TYPE(transport)->tp_basicsize - (Py_ssize_t)sizeof(PyObject *);
    return (TacTransport **)((char *)transport + offset);
}

/* What is in it, borrowed; NULL: nothing, which only a constructor that was
 * never called leaves behind. */
static inline TacTransport *
tac_transport_of(PyObject *transport)
{
    return *tac_transport_slot(transport);
}

/* Living ------------------------------------------------------------------ */

/* A new one in the slot of `transport`, borrowed, with the members here set;
 * or NULL with MemoryError, or RuntimeError if the loop is closed.  Python
 * code: none. */
TacTransport *tac_transport_new(PyTypeObject *type, PyObject *transport,
                                const struct tac_transport_kind *kind,
                                TacState *state,
                                const struct tac_transport_spec *spec);

/* Enter it into the loop.  0, or -1 with an exception. */
int tac_transport_enter(TacTransport *t, PyObject *protocol);

/* Enter it into loop._transports.  0, or -1 with an exception. */
int tac_transport_enter_table(TacTransport *t);

/* Have connection_made() called, then reading begin, then `waiter` (or NULL)
 * resolved.  0, or -1 with an exception. */
int tac_transport_begin(TacTransport *t, PyObject *waiter);

/* One that could not begin is closed without a word; what is raised stays. */
void tac_transport_undo(TacTransport *t);

/* Is it armed for reading, for writing? */
static inline bool
tac_transport_reads(const TacTransport *t)
{
    return (tac_watch_events(&t->watch) & TAC_WATCH_READ) != 0;
}

static inline bool
tac_transport_writes(const TacTransport *t)
{
    return (tac_watch_events(&t->watch) & TAC_WATCH_WRITE) != 0;
}

/* Arm it for one more event, also where it is for that already; for some less,
 * also where the run has crashed.  Python code: none. */
void tac_transport_arm(TacTransport *t, int fd, enum tac_watch_events event);
void tac_transport_disarm(TacTransport *t, int events);

#define TAC_TRANSPORT_BOTH (TAC_WATCH_READ | TAC_WATCH_WRITE)

/* Let it be armed for reading exactly if the program wants to read. */
int tac_transport_read_more(TacTransport *t);
void tac_transport_read_no_more(TacTransport *t);

/* Have `kind->read` run by the ring, unless it is going to be.  0, or -1. */
int tac_transport_queue_read(TacTransport *t);

/* See to I2.  Python code: dealloc of the transport. */
void tac_transport_update_held(TacTransport *t);

/* The fd to use now; or -1, with errno EBADF. */
int tac_transport_fd(const TacTransport *t);

/* After a system call for a transport has failed.  One that was interrupted is
 * not made again: the handlers of signals, which run here, may have closed the
 * fd, or dropped the bytes that it was about.  It counts as EAGAIN, so that
 * the next event sees what is left to do; or an exception is set. */
void tac_transport_see_signals(void);

static inline bool
tac_transport_has_flush(const TacTransport *t)
{
    return tac_list_is_linked(&t->task.run_node);
}

/* Put a flush off to the end of the batch; false: there is none. */
static inline bool
tac_transport_defer_flush(TacTransport *t)
{
    return tac_runner_defer(t->loop->runner, &t->task);
}

static inline void
tac_transport_drop_flush(TacTransport *t)
{
    tac_list_unlink(&t->task.run_node);
}

/* Send what waits for the end of the batch.  0, or -1 with an exception. */
int tac_transport_flush(TacTransport *t);

/* Ending ------------------------------------------------------------------ */

/* As transport.close(), _force_close(exc) (NULL: abort), and _fatal_error()
 * for the raised exception, which is cleared.  0, or -1 with an exception. */
int tac_transport_close(TacTransport *t);
int tac_transport_force_close(TacTransport *t, PyObject *exc);
int tac_transport_fatal(TacTransport *t, const char *message);

/* Call _call_connection_lost(None) at once: an event has sent all that a closed
 * transport had.  An error is told as one of that event's `callback`. */
int tac_transport_lose_at_once(TacTransport *t, const char *callback);

/* Have connection_lost() called by the ring.  0, or -1 with an exception. */
int tac_transport_schedule_lost(TacTransport *t, PyObject *exc);

/* As transport._call_connection_lost(exc). */
int tac_transport_lose(TacTransport *t, PyObject *exc);

/* After `rc` < 0: keep what is raised in `error`, if that is the first. */
void tac_transport_next_error(PyObject **error, int rc);

/* Calls ------------------------------------------------------------------- */

/* Tell the loop of an exception that the protocol's method raised, unless it
 * is one that ends a run.  0, or -1 with that. */
int tac_transport_report(TacTransport *t, const char *message);

/* Call a method of the protocol, `arg` may be NULL.  Returns: new ref |
 * NULL+exc. */
PyObject *tac_transport_call_protocol(TacTransport *t, PyObject *name,
                                      PyObject *arg);

/* loop.call_soon(callback, arg), in the given context if there is one. */
int tac_transport_call_soon(TacTransport *t, PyObject *callback,
                            PyObject *arg);

/* Run a ring item's function in a context (borrowed), or in a copy of it if
 * it is being used below on the stack.  As the function. */
int tac_transport_run_in(TacTransport *t, PyObject *context,
                         tac_transport_fn fn);

/* Tell the loop of an exception out of an event's callback, which asyncio
 * calls `method`, unless it is one that ends a run.  0, or -1 with that. */
int tac_transport_report_callback(TacTransport *t, const char *method);

/* Log, in debug mode, what happens to a transport; that its peer closed it.
 * 0, or -1 with an exception. */
int tac_transport_log(TacTransport *t, const char *what);
int tac_transport_log_closed(TacTransport *t);

/* A buffer of TAC_TRANSPORT_READ_BYTES that all share: in use between two
 * lines of C only, so a turn inside of a callback may use it too.  Or NULL
 * with MemoryError.  Python code: none. */
char *tac_transport_read_buffer(TacState *state);

/* Tell the protocol to pause or to resume writing, if it is time to. */
int tac_transport_maybe_pause(TacTransport *t);
int tac_transport_maybe_resume(TacTransport *t);

/* One more write after the connection was lost.  0, or -1 with an
 * exception. */
int tac_transport_write_in_vain(TacTransport *t);

#endif
