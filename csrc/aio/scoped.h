/* aio/scoped.h - asyncio Tasks in cancel scopes.
 *
 * A Task that has entered a scope, or was born in one, is seen by the core as
 * a C task, TacScoped, that never steps: it is in the tree of scopes in the
 * Task's place, so cancels, shields and deadlines reach it as they do any
 * task.  Its Task then gets asyncio's CancelledError by Task.cancel() at each
 * block (where it waits for a Future that is pending, or has yielded), until
 * it has left the scope.
 *
 *   scoped.c        which Tasks these are
 *   births.c        which are not yet, for they have no need to
 *   scoped_throw.c  when a cancel is thrown, and thrown again
 *   scoped_catch.c  where it ends: whose count, whose error
 *
 * Words.  A cancel is *own* if it was thrown for a scope, *others'* if anybody
 * else called task.cancel(): Task.cancelling() is the sum of both.  An
 * *episode* is from the first own cancel to the exit of the scope that it was
 * for.  A *wait* is what the Task does between two of its steps.
 *
 *   I1  loop->scoped.tasks has every TacScoped, by its Task's address, which
 *       its weak reference says is still that Task's.
 *   I2  in `hit`  =>  its scope was cancelled when it was looked at last;
 *       only what is in there is looked at after each of its Task's steps.
 *   I3  own cancels are undone (Task.uncancel()) by the exit of the scope that
 *       they were thrown for, and never more than own ones.
 *
 * Owns: the map in the loop holds a reference to each.  It does not keep its
 *     Task alive.
 * Threads: the loop's.   Python code run here: arbitrary, unless said.
 */
#ifndef TAC_AIO_SCOPED_H
#define TAC_AIO_SCOPED_H

#include "aio/births.h"
#include "base/ptrmap.h"
#include "core/scope.h"

#include <stdint.h>

struct TacLoop;
struct tac_ring_item;

/* The loop's part. */
struct tac_scoped_tasks {
    struct tac_ptrmap tasks; /* of TacScoped, owned (I1) */
    struct tac_ptrmap births; /* of tac_births, borrowed: see births.h */
    struct tac_ptrmap calls; /* of TacTrap, borrowed: the wait of the Trio
                                task that has called, by the callee's Task */
    struct tac_list checks;  /* of check_node: to be looked at, and soon */
    struct tac_list hit;     /* of hit_node (I2) */
    PyObject *offered;       /* borrowed: the coroutine of a Task that is being
                                made, and may run before it is adopted */
    TacScope *offer;         /* borrowed: its birth scope; both NULL: no such */
    Py_ssize_t thrown;       /* own cancels, ever: for statistics */
};

typedef struct TacScoped {
    PyObject_HEAD
    TacState *state;      /* borrowed: the type holds the module */
    struct tac_task base; /* its scope: the innermost, or the birth's */
    struct TacLoop *loop; /* borrowed; NULL once it is dropped */
    const void *key;      /* the Task's address */
    PyObject *task_ref;   /* owned: a weak reference, which calls this */
    TacScope *birth;      /* owned: where it was born, or NULL */
    struct tac_list check_node, hit_node;
    struct tac_timer retry;     /* armed: it refuses to be cancelled */
    int own;                    /* own cancels not taken back */
    int episode_others;         /* others' at its begin; -1: no episode */
    unsigned thrown;            /* own cancels in the episode */
    unsigned retries;           /* of those, at one and the same wait */
    uint64_t wait;              /* the number of its wait, while it is hit */
    uint64_t thrown_at;         /* the wait that was cancelled last; 0: none */
    double thrown_s;            /* when, by the runner's clock */
    bool by_birth;   /* its birth scope is level-triggered as its own are; if
                        not, that is a Trio caller's, and counts once: */
    bool birth_due;  /* the caller has been cancelled, and it was not told */
    bool retry_due;
    bool warned;      /* of it, in the episode */
    bool has_stepped; /* its coroutine was begun */
} TacScoped;

void tac_scoped_init(struct TacLoop *loop);

/* Drop all: the loop ends. */
void tac_scoped_drop_all(struct TacLoop *loop);

int tac_scoped_traverse(struct TacLoop *loop, visitproc visit, void *arg);

/* The Task that runs now in a loop, as the core sees it: borrowed | NULL, with
 * an exception or, in a callback, without. */
TacScoped *tac_scoped_current(struct TacLoop *loop);

/* The one of a Task (borrowed), made if need be: borrowed | NULL+exc. */
TacScoped *tac_scoped_of(struct TacLoop *loop, PyObject *task);

/* The same, or NULL, if there is none.  Python code: none. */
TacScoped *tac_scoped_find(struct TacLoop *loop, PyObject *task);

/* Its Task: new ref, or NULL if that is gone, no exception set. */
PyObject *tac_scoped_task(TacScoped *scoped);

/* Let a Task be in the scope that it was born in, unless it is in there.  0, or
 * -1 with an exception. */
int tac_scoped_adopt(struct TacLoop *loop, PyObject *task, TacScope *scope);

/* loop.create_task(coro, **keywords) for a Task that is born in a scope, and
 * may run before the caller adopts it.  Returns: new ref | NULL+exc. */
PyObject *tac_scoped_create(struct TacLoop *loop, TacScope *scope,
                            PyObject *coro, PyObject *const *values,
                            PyObject *kwnames);

/* Its Task has ended: let its scopes and the Task go.  Cannot fail. */
void tac_scoped_drop(TacScoped *scoped);

/* Look at it once the callback that runs is through, or else in the host's
 * next step.  Python code: none. */
void tac_scoped_check_soon(TacScoped *scoped);

/* Throw a cancel into its Task if one is due.  0, or -1 with an exception that
 * leaves the batch. */
int tac_scoped_check(TacScoped *scoped);

/* Look at all that ask for it, and after a callback (NULL: none has run) at
 * the Task whose step it was, if the object of that method is one.  As tac_scoped_check. */
int tac_scoped_check_all(struct TacLoop *loop, PyObject *stepped);

static inline bool
tac_scoped_is_due(const struct tac_scoped_tasks *scoped)
{
    return !tac_list_is_empty(&scoped->checks)
           || !tac_list_is_empty(&scoped->hit);
}

/* What the timer for another throw does. */
int tac_scoped_on_retry(struct tac_timer *timer);

/* ops->enter_scope and ops->catch_scope. */
int tac_scoped_enter_scope(struct tac_task *task, TacScope *scope);
int tac_scoped_catch_scope(struct tac_task *task, TacScope *scope,
                           PyObject **exc);

/* How many cancels of others' count in its Task.  -1 with an exception. */
int tac_scoped_others(TacScoped *scoped, PyObject *task);

/* How many count by its class, whatever stands in the place of its own
 * methods.  -1 with an exception. */
int tac_scoped_counted(const TacState *state, PyObject *task);

/* Whether the Task has entered the scope.  Python code: none. */
bool tac_scoped_has_entered(const TacScoped *scoped, const TacScope *scope);

/* The episode is over.  Python code: none. */
void tac_scoped_end_episode(TacScoped *scoped);

/* A Trio task has called the Task and waits in `wait`; and does so no more.
 * -1: out of memory, no exception set.  Python code: none; abort functions. */
int tac_scoped_begin_call(struct TacLoop *loop, PyObject *task, void *wait);
void tac_scoped_end_call(struct TacLoop *loop, PyObject *task, void *wait);

/* That caller is cancelled.  True: the Task is in scopes, and hears of it in
 * its turn; false: it is the caller's to tell it. */
bool tac_scoped_cancel_call(struct TacLoop *loop, PyObject *task);

/* The scope that the loop's current Task is in, or called from: borrowed, NULL
 * if there is none.  Python code: what asyncio.current_task() runs. */
TacScope *tac_scoped_here(struct TacLoop *loop);

/* Methods of LoopCore: see there. */
PyObject *tac_scoped_create_task(struct TacLoop *loop, PyObject *const *args,
                                 Py_ssize_t nargs, PyObject *kwnames);
PyObject *tac_scoped_move_task(struct TacLoop *loop, PyObject *const *args,
                               Py_ssize_t nargs);

int tac_scoped_add_types(PyObject *module, TacState *state);

#endif
