/* core/task.h - tasks: what the run queue holds and the tree is made of.
 *
 * Two species share `struct tac_task`:
 *   coroutine tasks  a Python object (type Task) around a coroutine;
 *   C tasks          a step function, embedded in what it serves, with a
 *                    Python object (type NativeTask) only while looked at.
 * Both are parked, woken, cancelled and listed alike.
 *
 *   NEW --spawn--> RUNNABLE --step--> RUNNING --trap--> PARKED
 *                      ^                 |                |
 *                      |                 v                |
 *                      |               EXITED             |
 *                      +------- reschedule, abort --------+
 *
 *   I1  a task is in the run queue iff it is RUNNABLE (run_node linked; that
 *       of a C task that is never runnable: see tac_runner_defer).
 *   I2  an exited task is in no list, and its runner is NULL.
 *   I3  a cancel is delivered at most once a park: `abortable` is true from
 *       the park until the first delivery or the wake-up.
 *
 * Owns: the runner's list holds one reference to each live coroutine task;
 *     a C task lives as long as its owner object, which unlinks it.
 * Threads: runner thread only.
 * Python code run here: arbitrary, unless said.
 */
#ifndef TAC_CORE_TASK_H
#define TAC_CORE_TASK_H

#include "base/list.h"
#include "state.h"

#include <stdbool.h>

struct TacRunner;
struct TacNursery;
struct TacScope;
struct TacTask;
struct tac_task;

/* Why a wait is aborted: a cancel scope's reason or a keyboard interrupt. */
struct tac_cause {
    bool is_ki;
    PyObject *reason; /* borrowed: (source, reason, source_task), or NULL */
};

enum tac_abort {
    TAC_ABORT_ERROR = -1, /* exception set */
    TAC_ABORT_FAILED = 0, /* the wait goes on */
    TAC_ABORT_SUCCEEDED = 1,
};

struct tac_task_ops {
    /* What the species calls itself in reprs. */
    const char *name;
    /* Run one step.  0, or -1 with an exception for an error of the run
     * loop itself (never for one of the task's own). */
    int (*step)(struct tac_task *task);
    /* Deliver a cause to a parked task.  0, or -1 as above. */
    int (*cancel)(struct tac_task *task, const struct tac_cause *cause);
    /* The object that keeps the struct alive, borrowed. */
    PyObject *(*owner)(struct tac_task *task);
    /* Its Python face.  Returns: new ref | NULL+exc. */
    PyObject *(*object)(struct tac_task *task);
    /* Do what it has put off to the end of a batch; NULL: it never does.  A
     * task with it is never runnable.  Cannot fail. */
    void (*batch_end)(struct tac_task *task);
    /* The library whose flavour the steps are of, for sniffio: where TacState
     * has its name; 0: none. */
    size_t library;
    /* The error for awaiting a Trio-flavoured function while this C task
     * runs; NULL: the usual text. */
    const char *await_error;
    /* Of a C task whose code has tasks of its own: the one that runs now,
     * borrowed, for it to enter and leave scopes; or NULL with an exception.
     * NULL: the code is the task's, and enters none. */
    struct tac_task *(*inner)(struct tac_task *task);
    /* What such an inner task has besides, both NULL for others: a scope is
     * about to be entered; 0, or -1 with an exception. */
    int (*enter_scope)(struct tac_task *task, struct TacScope *scope);
    /* It was left, and the task is in its parent: take out of `*exc` (owned,
     * or NULL) what ends here; 0, or -1 as above. */
    int (*catch_scope)(struct tac_task *task, struct TacScope *scope,
                       PyObject **exc);
};

struct tac_task {
    struct tac_list run_node;     /* linked iff RUNNABLE, or put off (I1) */
    struct tac_list runner_node;  /* in runner->tasks till exit */
    struct tac_list sibling_node; /* in parent_nursery->children */
    struct tac_list status_node;  /* in scope->tasks */
    const struct tac_task_ops *ops;
    struct TacRunner *runner;          /* borrowed; NULL after exit (I2) */
    struct TacNursery *parent_nursery; /* owned; NULL for init */
    struct TacScope *scope; /* owned: the innermost cancel scope */
    PyObject *face; /* borrowed: a C task's NativeTask, while it lives */
    bool abortable; /* I3 */
};

/* What a coroutine task does between two steps. */
enum tac_park {
    TAC_PARK_NONE = 0,    /* not at a trap */
    TAC_PARK_WAIT,        /* until rescheduled; can be cancelled */
    TAC_PARK_YIELD,       /* runs again next turn; cannot be cancelled */
    TAC_PARK_DETACH,      /* the coroutine leaves; the task exits */
};

/* Called in place of telling the nursery of a task's outcome.  `value` and
 * `exc`: one is non-NULL, both borrowed.  0, or -1 with an exception. */
typedef int (*tac_exit_fn)(struct TacTask *task, PyObject *value,
                           PyObject *exc);

typedef struct TacTask {
    PyObject_HEAD
    struct tac_task base;
    PyObject *coro;    /* owned; may be replaced by user code between steps */
    PyObject *context; /* owned; may be replaced, read anew at every step */
    PyObject *name;    /* owned; a str, or what it will be made of */
    PyObject *home; /* owned, opaque to the core: see runner->enter_home */
    PyObject *custom_sleep_data; /* owned or NULL */
    struct TacTrap *trap; /* owned: what is awaited, from its begin */
    PyObject *resume_value; /* owned; what the next step gets; NULL = None */
    PyObject *resume_error; /* owned; raised in the next step instead */
    struct TacNursery *eventual_parent; /* owned; while start() goes on */
    struct tac_list child_nurseries; /* of TacNursery.task_node, inmost last */
    struct tac_list breakers; /* of struct tac_breaker.task_node */
    tac_exit_fn on_exit; /* NULL: the nursery is told */
    PyObject *exit_data; /* owned; for on_exit */
    unsigned long long counter;  /* order of spawning */
    unsigned long cancel_points; /* statistics for the checkpoint tests */
    unsigned long schedule_points;
    enum tac_park park;
    bool throws;       /* resume_error goes in by coro.throw() */
    bool sends_outcome; /* the result goes in as an outcome: the coroutine
                         * awaits somebody's own trap */
    bool resumed;      /* rescheduled, so the next resume is the runner's */
    bool ki_protected; /* where no frame says otherwise */
    bool broken;       /* its statistics are: the next step fails */
    PyObject *weakrefs;
} TacTask;

static inline TacTask *
tac_task_of(struct tac_task *base)
{
    return tac_list_entry(base, TacTask, base);
}

extern const struct tac_task_ops tac_coroutine_task_ops;

bool tac_task_is_coroutine(const struct tac_task *task);

/* The running coroutine task, borrowed; or NULL with RuntimeError "must be
 * called from async context". */
TacTask *tac_task_current(TacState *state);

/* The running task of either species, borrowed, of which a scope is entered
 * and left; or NULL with RuntimeError.  Python code: what the species runs to
 * know it. */
struct tac_task *tac_task_in_scopes(TacState *state);

/* How a task is spawned. */
struct tac_spawn {
    PyObject *fn;             /* borrowed */
    PyObject *const *args;    /* borrowed; positional, then keyword values */
    Py_ssize_t nargs;         /* positional ones */
    PyObject *kwnames;        /* borrowed or NULL */
    PyObject *name;           /* borrowed or NULL */
    PyObject *context;        /* borrowed; NULL: a copy of the current one */
    struct TacNursery *nursery; /* borrowed; NULL only for init */
    struct TacScope *scope; /* borrowed; NULL: the nursery's */
    PyObject *home;         /* borrowed or NULL: the running task's */
    bool system;            /* protected from KI, the runner's context */
    tac_exit_fn on_exit;
    PyObject *exit_data; /* borrowed or NULL */
};

/* Returns: new ref | NULL+exc. */
TacTask *tac_task_spawn(struct TacRunner *runner, const struct tac_spawn *how);

/* Make a parked task runnable with a result (steals `value` and `error`; at
 * most one non-NULL).  0, or -1 with AssertionError when it already is. */
int tac_task_reschedule(TacTask *task, PyObject *value, PyObject *error);

/* Whether the running code may wake a task that waits: its run is paused, or
 * tac_runner_may_touch().  0, or -1 with RuntimeError. */
int tac_task_check_run(TacTask *task);

/* Make a task of either species runnable; no-op when it is.  Cannot fail,
 * and calls no hooks: for C tasks. */
void tac_task_make_runnable(struct tac_task *task);

/* From a step that is going on: have a task that is runnable, or may be, step
 * right after it, behind those that this was said of before, and before the
 * rest of the batch.  Cannot fail. */
void tac_task_step_next(struct tac_task *task);

/* Deliver a cancel that is pending for a task, if it can take one now.
 * 0, or -1 with an exception. */
int tac_task_deliver_cancel(struct tac_task *task);

/* The same for a pending keyboard interrupt. */
int tac_task_deliver_ki(TacTask *task);

/* Put a task into `scope` (borrowed; NULL: none) and deliver what is pending
 * there.  0, or -1 with an exception. */
int tac_task_activate(struct tac_task *task, struct TacScope *scope);

/* End a coroutine task with an outcome (borrowed, one non-NULL).  Its order
 * of events is rule R28 of the contract.  0, or -1 for a loop error. */
int tac_task_exit(TacTask *task, PyObject *value, PyObject *exc);

/* A new coroutine task, in no list yet.  Returns: new ref | NULL+exc. */
TacTask *tac_task_new(TacState *state);

/* Put a C task into a nursery (NULL: under none) and the runner's list. */
void tac_ctask_start(struct tac_task *task, const struct tac_task_ops *ops,
                     struct TacRunner *runner, struct TacNursery *nursery);

/* Take it out again; idempotent.  The nursery may close.  `exc` (borrowed,
 * or NULL) is its error.  0, or -1 with an exception. */
int tac_ctask_exit(struct tac_task *task, PyObject *exc);

/* The same where nothing may run or fail, as in a dealloc: the nursery is
 * not told. */
void tac_ctask_unlink(struct tac_task *task);

/* The NativeTask of a C task: what most species' `object` is.
 * Returns: new ref | NULL+exc. */
PyObject *tac_native_task(TacState *state, struct tac_task *task);

/* The name that a task takes from a str, a function or anything else
 * (borrowed).  Returns: new ref | NULL+exc. */
PyObject *tac_task_make_name(TacState *state, PyObject *source);

/* repr(task) for a reason text.  Returns: new ref | NULL+exc. */
PyObject *tac_task_repr(struct tac_task *task);

/* Make the exception that a cause stands for.  Returns: new ref | NULL. */
PyObject *tac_cause_exception(struct TacRunner *runner,
                              const struct tac_cause *cause);

int tac_task_add_types(PyObject *module, TacState *state);
int tac_ctask_add_types(PyObject *module, TacState *state);

#endif
