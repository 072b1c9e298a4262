/* aio/loop.h - the C half of the asyncio event loop: type LoopCore.
 *
 * A loop lives in a nursery of a runner.  Its callbacks are items of a ring,
 * which one C task, the host, runs in batches: what is in the ring when the
 * host's step begins.  A push makes the host runnable.
 *
 *   NEW --attach--> OPEN --dismantle--> CLOSED
 *                   ^   \
 *         resume    |    halt             (a loop inside a run, stopped)
 *                   HALTED
 *
 *   I1  the host is linked in the nursery  <=>  the loop is OPEN or HALTED.
 *   I2  OPEN, outside of the host's step: the ring has items  =>  the host
 *       is in the run queue.
 *   I3  the running loop of the thread is runner->home, for as long as the
 *       runner is driven.
 *
 * Owns: the runner, the nursery, the ring's items, fd watches, waits for
 *     sockets, armed timers (one reference each), queued executor jobs, and
 *     what its members say.
 * Threads: the runner's, but for what says otherwise.
 * Python code run here: arbitrary, unless said.
 */
#ifndef TAC_AIO_LOOP_H
#define TAC_AIO_LOOP_H

#include "aio/member.h"
#include "aio/reader.h"
#include "aio/ring.h"
#include "aio/scoped.h"
#include "aio/sockwait.h"
#include "core/nursery.h"
#include "core/run.h"
#include "core/task.h"

typedef struct TacLoop {
    PyObject_HEAD
    TacState *state;     /* borrowed: the type holds the module */
    TacRunner *runner;   /* owned from attach; kept after close for time() */
    TacNursery *nursery; /* owned from attach to dismantle: of C tasks */
    TacNursery *calls;   /* owned likewise: of Trio tasks started from here */
    TacNursery *errors;  /* owned: told of what leaves a batch; NULL: the
                            drive raises it, for this loop owns its runner */
    struct tac_task host;
    struct tac_ring ring;
    size_t batch_left; /* of the ring's items, those of the host's batch while
                          that gives way to a task; else 0 */
    Py_ssize_t queue_limit; /* with more items than it in the ring, what would
                               add work is refused: see check_room */
    struct tac_fd_table readers, writers;
    struct tac_sock_table sock_readers, sock_writers; /* of TacSockCall */
    struct tac_list timers; /* of TacTimerHandle.node, the armed ones */
    /* If time() is not the runner's: see own_clock.h. */
    struct tac_timeline timeline; /* linked: it is not */
    struct tac_heap own_timers;   /* the armed ones then */
    PyObject *base_time;       /* owned: asyncio's time(), if patched */
    unsigned int time_version; /* of the type when time() was looked up */
    unsigned int create_version; /* of that when create_task() was ours */
    double resolution_s;       /* timers due within it fire early */
    double usual_resolution_s; /* as the constructor set it; 0: not yet */
    struct tac_list members; /* of tac_loop_member.node: transports */
    uintptr_t *by_fd; /* owned: pointers to those of sockets; odd: it is not
                         in loop._transports yet; or NULL */
    int by_fd_len;
    struct tac_list waits;  /* of TacTrap.node: Trio code waiting here */
    struct tac_scoped_tasks scoped; /* Tasks in cancel scopes */
    struct tac_list jobs;    /* of TacExecutorJob.node, waiting for a thread */
    struct tac_list running; /* of the same, borrowed: their workers' */
    Py_ssize_t jobs_running;
    Py_ssize_t jobs_busy;   /* workers in a job; those that ended it, but were
                               not heard yet, are in jobs_running only */
    Py_ssize_t jobs_limit;  /* threads at a time */
    PyObject *jobs_waiter;  /* owned: a Future to resolve when none is left */
    PyObject *task_factory; /* owned or NULL */
    PyObject *create_kwargs; /* owned: {"loop": this}, or NULL */
    PyObject *begun_kwargs;  /* owned: those of a Task that begins at once;
                                NULL while it is made */
    PyObject *done_future;   /* owned: one of asyncio's, with None; or NULL */
    PyObject *resolving;     /* borrowed: the Future of a call into Trio that
                                gets its value just now; or NULL */
    PyObject *thread_id;    /* owned or NULL: the thread of run_forever */
    bool debug;
    bool closed;
    bool stopping;
    bool halted;
    bool ending; /* takes no more crossings; callbacks run still */
} TacLoop;

/* -1 with "Event loop is closed", if that is why a push failed, else with
 * MemoryError. */
int tac_loop_refuse(TacLoop *loop);

/* The same, for an item whose references are dropped. */
int tac_loop_push_failed(TacLoop *loop, struct tac_ring_item *item);

static inline void
tac_loop_run_pushed(TacLoop *loop)
{
    if (!loop->halted && !tac_list_is_linked(&loop->host.run_node)) {
        tac_task_make_runnable(&loop->host);
    }
}

/* Push an item, stealing its references, and see to its being run.  0, or
 * -1 with an exception (the references are dropped).  Any thread with the
 * GIL.  Python code: none but for that. */
static inline int
tac_loop_push(TacLoop *loop, struct tac_ring_item item)
{
    if (loop->host.runner == NULL || tac_ring_push(&loop->ring, &item) < 0) {
        return tac_loop_push_failed(loop, &item);
    }
    tac_loop_run_pushed(loop);
    return 0;
}

/* The same with a handle of ours (borrowed). */
static inline int
tac_loop_push_handle(TacLoop *loop, PyObject *handle)
{
    if (loop->host.runner == NULL
        || tac_ring_push_handle(&loop->ring, handle) < 0)
    {
        return tac_loop_refuse(loop);
    }
    Py_INCREF(handle);
    tac_loop_run_pushed(loop);
    return 0;
}

/* The same with a callback, its argument or NULL, and its context (borrowed). */
static inline int
tac_loop_push_step(TacLoop *loop, PyObject *callback, PyObject *arg,
                   PyObject *context)
{
    if (loop->host.runner == NULL
        || tac_ring_push_step(&loop->ring, callback, arg, context) < 0)
    {
        return tac_loop_refuse(loop);
    }
    Py_INCREF(callback);
    Py_XINCREF(arg);
    Py_INCREF(context);
    tac_loop_run_pushed(loop);
    return 0;
}

/* The same with a C function, its owner (borrowed), and the owner's method
 * that it stands for, if it may run code of programs (else NULL). */
int tac_loop_push_native(TacLoop *loop, tac_ring_fn fn, PyObject *owner,
                         const char *method);

/* The same, without a method, from a thread other than the loop's. */
int tac_loop_push_threadsafe(TacLoop *loop, tac_ring_fn fn, PyObject *owner);

/* 0, or -1 with "Event loop is closed". */
int tac_loop_check_open(TacLoop *loop);

/* 0, or -1 with RuntimeError if the loop can take no crossing: it is closed,
 * or stopped. */
int tac_loop_check_running(TacLoop *loop);

/* -1 with WouldBlock. */
int tac_loop_refuse_work(TacLoop *loop);

/* 0, or -1 with WouldBlock if the loop has a limit for its queue, and more
 * than that is in it.  For what begins some work; what goes on with it, or
 * ends it, is never refused, for somebody waits for that. */
static inline int
tac_loop_check_room(TacLoop *loop)
{
    return (Py_ssize_t)loop->ring.len <= loop->queue_limit
               ? 0
               : tac_loop_refuse_work(loop);
}

/* The runner's time, in seconds.  0, or -1 with an exception. */
int tac_loop_time(TacLoop *loop, double *now_s);

int tac_loop_add_types(PyObject *module, TacState *state);

#endif
