/* core/trap.h - the C awaitables: checkpoint, sleep, park, wait_readable, ...
 *
 * One type for all of them; what differs is a table of functions.  A trap is
 * resumed with None always: the value or error travels in the task, and the
 * trap picks it up in its tp_iternext or am_send.  Errors raised there keep
 * sys.exc_info() of nested coroutines intact, which coro.throw() does not.
 *
 *   NEW --first resume--> WAITING --...--> DONE
 *   dropped while NEW: RuntimeWarning "coroutine '...' was never awaited".
 *
 * Owns: `first`, `second`, `result`.  `node` and `timer` are linked in what
 *     is waited for; `unlink` takes them out.
 * Threads: runner thread only.   Python code run here: arbitrary.
 */
#ifndef TAC_CORE_TRAP_H
#define TAC_CORE_TRAP_H

#include "base/heap.h"
#include "core/deadline.h"
#include "core/task.h"

struct TacTrap;

/* What a begin or resume function answers. */
enum tac_trap_step {
    TAC_TRAP_ERROR = -1, /* exception set: it is raised in the awaiter */
    TAC_TRAP_DONE,       /* the await returns trap->result */
    TAC_TRAP_WAIT,       /* yield, TAC_PARK_WAIT */
    TAC_TRAP_YIELD,      /* yield, TAC_PARK_YIELD */
    TAC_TRAP_DETACH,     /* yield, TAC_PARK_DETACH */
    TAC_TRAP_RAW,        /* yield trap->result itself, to a foreign runner */
};

struct tac_trap_ops {
    const char *name; /* for the warning and the repr */
    enum tac_trap_step (*begin)(struct TacTrap *trap, TacTask *task);
    /* After a wake-up without an error; NULL: done, with the task's value. */
    enum tac_trap_step (*resume)(struct TacTrap *trap, TacTask *task);
    /* What is raised in the place of an error, cancels included, that the
     * task was woken with.  Steals it; returns a new ref, never NULL, with no
     * exception set.  NULL: raise it as it is. */
    PyObject *(*fail)(struct TacTrap *trap, PyObject *error);
    /* NULL: unlink, and succeed. */
    enum tac_abort (*abort)(struct TacTrap *trap, TacTask *task,
                            const struct tac_cause *cause);
    /* Leave what it is linked in; idempotent, may be NULL.  No Python. */
    void (*unlink)(struct TacTrap *trap);
    /* `first` is the task, whoever awaits: for a coroutine that a foreign
     * runner drives. */
    bool names_task;
    /* What RuntimeError says where no task can wait; NULL: the usual. */
    const char *no_task_error;
    /* Where code of another flavour awaits it, it yields once, and that is
     * all; a cancel is then the affair of who runs that. */
    bool yields_elsewhere;
};

enum tac_trap_state { TAC_TRAP_NEW, TAC_TRAP_WAITING, TAC_TRAP_FINISHED };

typedef struct TacTrap {
    PyObject_HEAD
    const struct tac_trap_ops *ops;
    TacState *state;      /* borrowed: the type holds the module */
    TacTask *task;        /* owned while WAITING; NULL: it has yielded
                             elsewhere */
    struct tac_list node; /* in the lot, fd or list waited for */
    union {
        struct tac_timer timer;
        struct tac_list mate; /* among the waits at one end of a channel */
    };
    PyObject *first, *second; /* owned; each kind says what for */
    PyObject *result;         /* owned; what the await returns */
    union {
        double number;
        void *place; /* what it waits in, borrowed */
    };
    int fd;
    uint8_t phase; /* each kind's own count of its steps */
    uint8_t life;  /* enum tac_trap_state */
    bool raw;      /* a foreign runner may resume it with a value */
    bool adopted;  /* no warning if it is never awaited */
} TacTrap;

/* A new trap of a kind.  `first`, `second`: borrowed or NULL.
 * Returns: new ref | NULL+exc. */
TacTrap *tac_trap_new(TacState *state, const struct tac_trap_ops *ops,
                      PyObject *first, PyObject *second);

/* An awaitable that a task has been made of: it is not forgotten any more,
 * whatever becomes of the task.  Any object may be given. */
void tac_trap_adopt(TacState *state, PyObject *awaitable);

/* Leave whatever it is linked in. */
void tac_trap_unlink(TacTrap *trap);

int tac_trap_add_types(PyObject *module, TacState *state);

#endif
