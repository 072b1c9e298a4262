/* aio/sockcall.h - SockCall: what sock_recv() and its like return.
 *
 * A coroutine in C that, when it has to wait, yields itself as the Future that
 * a Task waits for.  So a ready socket is one wake-up of the Task, and no
 * object is made but this one.
 *
 *   NEW --begin--> RUNNING --must wait--> WAITING --ready--> FIRED
 *                   |   ^                    \--cancel()--> CANCELLED
 *                   |   \--resumed-- FIRED, INNER
 *                   |--goes on elsewhere--> INNER
 *                   \--> FINISHED (from any state, by throw() or close())
 *
 *   I1  linked in a table of the loop  =>  WAITING.  (Not the reverse: a
 *       closed loop has let go of it.)
 *   I2  INNER  =>  `inner` is the coroutine that is awaited in its place.
 *   I3  before the first wait and after the end it is no Future:
 *       _asyncio_future_blocking is None.
 *
 * What the call does is tried again by the Task's own step: data that a
 * cancelled Task would not get stays in the socket.
 *
 * Owns: the socket and arguments, till it has ended; the loop.
 * Threads: the loop's.   Python code run here: arbitrary.
 */
#ifndef TAC_AIO_SOCKCALL_H
#define TAC_AIO_SOCKCALL_H

#include "aio/loop.h"

struct TacSockCall;

/* What an attempt answers. */
enum tac_sock_step {
    TAC_SOCK_ERROR = -1, /* exception set */
    TAC_SOCK_DONE,       /* with the call's `result`; NULL: None */
    TAC_SOCK_AGAIN,      /* when the socket is ready */
    TAC_SOCK_INNER,      /* `inner` goes on in its place */
};

struct tac_sock_ops {
    const char *name;     /* the loop's method */
    const char *qualname; /* for the warning and the repr */
    enum tac_watch_events events;
    /* The first step, and those after a wait. */
    enum tac_sock_step (*begin)(struct TacSockCall *call);
    enum tac_sock_step (*attempt)(struct TacSockCall *call);
    /* What follows `inner`, unless `inherited`; its value is in `result`. */
    enum tac_sock_step (*inner_done)(struct TacSockCall *call);
    /* The waiting has to be done by the inherited code, since somebody
     * replaced the loop's _add_reader or _add_writer. */
    enum tac_sock_step (*inherit)(struct TacSockCall *call);
};

enum tac_sock_life {
    TAC_SOCKCALL_NEW,
    TAC_SOCKCALL_RUNNING,
    TAC_SOCKCALL_WAITING,
    TAC_SOCKCALL_FIRED,
    TAC_SOCKCALL_CANCELLED,
    TAC_SOCKCALL_INNER,
    TAC_SOCKCALL_FINISHED,
};

typedef struct TacSockCall {
    PyObject_HEAD
    const struct tac_sock_ops *ops;
    TacLoop *loop;           /* owned */
    struct tac_sock_wait wait;
    PyObject *sock;          /* owned: a socket.socket */
    PyObject *first, *second; /* owned or NULL: the other arguments */
    PyObject *inner;         /* owned (I2) */
    PyObject *result;        /* owned */
    PyObject *callback;      /* owned: the waiting Task's wake-up */
    PyObject *context;       /* owned: that goes with it */
    PyObject *more;          /* owned list of (callback, context), or NULL */
    PyObject *message;       /* owned or NULL: of cancel() */
    Py_buffer view;          /* sock_sendall: the data; obj NULL: not yet */
    Py_ssize_t count;        /* bytes that are sent, or to be received */
    int fd;                  /* of the last attempt */
    uint8_t life;            /* enum tac_sock_life */
    bool blocking;           /* _asyncio_future_blocking */
    bool inherited;          /* `inner` does all that is left to do */
} TacSockCall;

/* A new call.  `args`: borrowed; the socket and at most two more.
 * Returns: new ref | NULL+exc. */
PyObject *tac_sockcall_new(TacLoop *loop, const struct tac_sock_ops *ops,
                           PyObject *const *args, Py_ssize_t nargs);

int tac_sockcall_add_types(PyObject *module, TacState *state);

#endif
