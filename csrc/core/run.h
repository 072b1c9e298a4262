/* core/run.h - the runner: one scheduler, its turn, and what it owns.
 *
 *   turn:  begin (how long to wait) -> poll
 *          -> finish (what is ready, queued calls, deadlines, the batch)
 *
 * In guest mode a host loop calls the two halves and waits in between; else
 * tac_runner_drive does all of it.  A runner is PAUSED whenever
 * no drive is going on: its tasks stay parked, and the next drive goes on.
 *
 *   I1  state->runner_key is this runner exactly while it is driven.
 *   I2  `current` is non-NULL exactly while a task's step is going on.
 *   I3  what became runnable in a batch runs in the next turn, or is at_once.
 *
 * Owns: live coroutine tasks (a reference each), the poller, the heap's
 *     array, clock, instruments, queues, the module.
 * Threads: runner thread only, but for tac_runner_wake (any).
 * Python code run here: arbitrary, unless said.
 */
#ifndef TAC_CORE_RUN_H
#define TAC_CORE_RUN_H

#include "base/heap.h"
#include "base/list.h"
#include "core/deadline.h"
#include "core/entryq.h"
#include "core/instrument.h"
#include "core/iowait.h"
#include "core/pace.h"
#include "core/task.h"
#include "poll/poller.h"

/* How a turn or a drive ended. */
enum tac_turn {
    TAC_TURN_ERROR = -1,  /* an error of the run loop: exception set */
    TAC_TURN_RAISED = -2, /* a task asked to leave the drive by raising */
    TAC_TURN_OK = 0,
};

enum tac_idle { TAC_IDLE_NONE, TAC_IDLE_WAITER, TAC_IDLE_AUTOJUMP };

typedef struct TacRunner {
    PyObject_HEAD
    TacState *state;
    PyObject *module; /* owned: keeps the state */
    struct tac_list state_node; /* in state->runners */

    /* the turn */
    struct tac_list run_queue; /* of tac_task.run_node */
    struct tac_list batch;     /* of the same: what is left of this turn's.
                                * Not on the C stack: greenlets move that */
    struct tac_list at_once;   /* of the same: due right after this step */
    struct tac_list deferred;  /* of the same, for ops->batch_end: empty out of
                                * a batch */
    struct tac_task *current;  /* borrowed: the running task (I2) */
    double wait_s;             /* how long this turn may wait */
    enum tac_idle primed;      /* what its wait, if it is quiet, sets off */
    struct tac_heap deadlines;
    struct tac_poller poller;
    struct tac_pace pace; /* when to ask the kernel while work is ready */
    uint64_t random;    /* state of the scheduler's coin */
    bool driven;        /* I1 */
    bool in_turns;      /* inside tac_runner_drive */
    bool in_batch;      /* the steps of a batch are going on */
    bool stop;          /* leave the drive after this turn */
    bool raised;        /* a step left with TAC_TURN_RAISED */
    bool closed;
    bool deterministic; /* batches in the order of spawning, then shuffled */
    bool broken; /* somebody replaced the run queue by something else */
    bool is_guest; /* a host loop drives the turns' halves */
    bool host_waits; /* a guest's: nothing is scheduled till the wait ends */
    bool orphan; /* a guest's that ended in another thread than it began in */
    unsigned long thread; /* where it was driven or attached last */

    /* time */
    PyObject *clock; /* owned; NULL: the system clock, read in C */
    PyObject *system_clock; /* owned or NULL: what is shown for it */
    double autojump_threshold_s; /* of real idle time; inf: never */
    Py_ssize_t clock_holds;      /* work elsewhere that forbids a jump */
    struct tac_list timelines;   /* of tac_timeline.node */
    uint64_t timeline_pass;      /* how often they were asked */

    /* tasks */
    struct tac_list tasks; /* of tac_task.runner_node */
    Py_ssize_t task_count;
    TacTask *init_task; /* borrowed: in tasks; NULL after its exit */
    TacTask *main_task; /* owned */
    PyObject *main_value, *main_error; /* owned: main's outcome */
    struct TacNursery *system_nursery; /* owned */
    PyObject *system_context;          /* owned */
    bool strict;  /* default of strict_exception_groups */

    /* parts with files of their own */
    struct tac_entryq entryq;
    struct tac_iowait iowait;
    struct tac_instruments instruments;
    struct tac_list idle_waiters; /* of TacTrap.node, by (cushion, task) */
    PyObject *locals;             /* owned dict {RunVar: value} */
    PyObject *trio_token;         /* owned or NULL */
    bool ki_pending;

    /* What sniffio was told last since the runner was entered, as a task's
     * ops say it, 0: nothing; and what it had been told before, owned. */
    size_t library;
    PyObject *outer_library;
    PyObject *library_dict; /* owned while `library` is not 0 */

    /* The loop that the thread is in: opaque to the core.  When a task
     * with another home steps, `enter_home` is called first; NULL: nobody
     * cares.  0, or -1 with an exception. */
    PyObject *home; /* owned or NULL */
    int (*enter_home)(struct TacRunner *runner, PyObject *home);
    /* Of a task that has none of its own, by its context: *home is a new
     * ref or NULL.  0, or -1 with an exception. */
    int (*find_home)(struct TacRunner *runner, PyObject *context,
                     PyObject **home);
    /* The inner task (see tac_task_ops) that runs there, though the step is a
     * Trio task's: borrowed, or NULL, with an exception or without. */
    struct tac_task *(*find_inner)(struct TacRunner *runner);

    PyObject *dict;
    PyObject *weakrefs;
} TacRunner;

/* Run turns until the runner is stopped (`stop` set by a task or callback)
 * or has no tasks left.  At least one turn is run. */
enum tac_turn tac_runner_drive(TacRunner *runner);

/* One turn, which waits `limit_s` seconds at most.  The runner must be
 * entered. */
enum tac_turn tac_runner_turn(TacRunner *runner, double limit_s);

/* Put what a task's ops->batch_end does off to the end of the batch that is
 * going on, so that it is done once for all that the batch's steps asked for;
 * no-op when it is already.  False: there is no batch, so do it at once. */
static inline bool
tac_runner_defer(TacRunner *runner, struct tac_task *task)
{
    if (runner->in_batch && !tac_list_is_linked(&task->run_node)) {
        tac_list_append(&runner->deferred, &task->run_node);
    }
    return runner->in_batch;
}

/* What a turn inside of a step puts aside. */
struct tac_nested {
    TacRunner *running;       /* borrowed: the thread's, or NULL */
    struct tac_task *current; /* borrowed: whose step it is */
    size_t library;
    bool raised;
};

/* Make a runner that is driven ready for turns inside of the step that is
 * going on, and undo that.  They run what was left of the outer turn's batch
 * too; the task below them on the stack is in no queue, so that it is not
 * stepped, unless it asks for that.  0, or -1 with an exception: the runner
 * is in no step, in another thread, or a guest. */
int tac_runner_nest(TacRunner *runner, struct tac_nested *outer);
int tac_runner_unnest(TacRunner *runner, const struct tac_nested *outer);

/* A turn's halves, for a host that waits in between (guest mode).  The first
 * sets `wait_s`; 0, or -1 with an exception.  `events`: whether the wait ended
 * because of anything but its time. */
int tac_run_begin_turn(TacRunner *runner);
enum tac_turn tac_run_finish_turn(TacRunner *runner, bool events);

/* Something happened between the two that cannot wait so long: end the
 * host's wait. */
static inline void
tac_runner_poke(TacRunner *runner)
{
    if (runner->host_waits) {
        runner->host_waits = false;
        tac_poller_wake(&runner->poller);
    }
}

/* Make the runner the thread's own, or give the thread back.  A guest's is
 * entered for each half of a turn only; what the thread has in between is its
 * host's affair (see Runner.attach). */
int tac_runner_enter(TacRunner *runner, TacRunner **previous);
void tac_runner_leave(TacRunner *runner, TacRunner *previous);

/* The thread's runner, borrowed, or NULL. */
static inline TacRunner *
tac_running(TacState *state)
{
    TacRunner *runner = PyThread_tss_get(&state->runner_key);
    return runner != NULL && runner->orphan ? NULL : runner;
}

/* The same, for who asks where it is: the child that a step has forked is in
 * no run, till it goes on with this one. */
static inline TacRunner *
tac_running_here(TacState *state)
{
    TacRunner *runner = tac_running(state);
    return runner != NULL && runner->poller.forked ? NULL : runner;
}

/* Is this thread in a task's step, and not in one that runs code of another
 * flavour? */
static inline bool
tac_in_trio_task(TacState *state)
{
    TacRunner *runner = tac_running_here(state);
    struct tac_task *task = runner == NULL ? NULL : runner->current;
    return task != NULL && task->ops->await_error == NULL;
}

/* In the child of a fork: let all runners go their own way.  Who made the
 * child counts as being in no run till the next poll, and may run another.
 * Python code run here: dealloc only. */
void tac_runner_after_fork(TacState *state);

/* Whether `runner` (NULL: none) may act on what is another's, NULL: nobody's:
 * its own, or that of a guest and its host, which share the thread. */
static inline bool
tac_runner_may_touch(const TacRunner *runner, const TacRunner *other)
{
    return other == runner || other == NULL
           || (runner != NULL && other->thread == runner->thread
               && (other->driven || other->is_guest));
}

/* The running runner, borrowed; or NULL with RuntimeError "must be called
 * from async context". */
TacRunner *tac_runner_current(TacState *state);

/* The runner's time, in seconds.  0, or -1 with an exception.  Python code:
 * a custom clock's. */
int tac_runner_time(TacRunner *runner, double *now_s);

/* End the runner's current or next wait.  Any thread. */
void tac_runner_wake(TacRunner *runner);

/* For the functions of the same names.  Returns: new ref | NULL+exc. */
PyObject *tac_runner_spawn_system_task(TacRunner *runner,
                                       PyObject *const *args,
                                       Py_ssize_t nargs, PyObject *kwnames);
PyObject *tac_runner_statistics(TacRunner *runner);
PyObject *tac_runner_clock(TacRunner *runner);
PyObject *tac_runner_trio_token(TacRunner *runner);
PyObject *tac_runner_reschedule(TacRunner *runner, PyObject *task,
                                PyObject *outcome);

int tac_run_add_types(PyObject *module, TacState *state);

#endif
