/* core/scope.h - cancel scopes, and the tree by which cancellation spreads.
 *
 * A scope is entered once; from then on it is a node of the tree: it has a
 * parent, children and member tasks (those whose innermost scope it is).
 * `effectively_cancelled` is cached and recalculated down the tree whenever
 * its inputs change, iteratively and only where the state changes.
 *
 *   I1  linked in parent->children  =>  holds a reference to the parent.
 *   I2  task->scope == S  <=>  the task is linked in S->tasks.
 *   I3  the timer is armed iff active, not cancelled, deadline finite.
 *   I4  active <=> between enter and close ("has a cancel status").
 *
 * Owns: its parent (a reference).  Children and tasks are borrowed: each of
 *     them holds a reference to this scope.
 * Threads: runner thread only.
 * Python code run here: arbitrary (abort functions, clocks), unless said.
 */
#ifndef TAC_CORE_SCOPE_H
#define TAC_CORE_SCOPE_H

#include "core/deadline.h"
#include "core/task.h"

/* What the errors for improper nesting end with. */
#define TAC_MISNESTING_ADVICE \
    "\nThis is most likely a bug in the code that uses cancel scopes and "   \
    "nurseries: from now on the run's state is unreliable.\n"                \
    "Usual causes: a generator that yields inside a cancel scope or "        \
    "nursery without being a context manager; __enter__ and __exit__ "       \
    "called by hand; an ExitStack that closes scopes in another order than " \
    "they were opened in; parts of one coroutine driven in different tasks."

typedef struct TacScope {
    PyObject_HEAD
    TacState *state;               /* borrowed: the type holds the module */
    struct TacRunner *runner;      /* owned while active; else NULL */
    struct TacScope *parent;       /* owned */
    struct TacScope *caller;       /* owned: whose deadline counts here too,
                                      though its cancels come another way */
    struct tac_list sibling_node;  /* in parent->children (I1) */
    struct tac_list children;      /* of sibling_node */
    struct tac_list tasks;         /* of tac_task.status_node (I2) */
    struct tac_timer timer;        /* I3 */
    double deadline;               /* seconds, the runner's clock; or inf */
    double relative_deadline;      /* seconds; inf once entered */
    PyObject *reason; /* owned (source, reason, source_task) or NULL */
    PyObject *weakrefs;
    bool entered;
    bool active; /* I4 */
    bool cancel_called;
    bool shield;
    bool effectively_cancelled;
    bool abandoned; /* by misnesting */
    bool cancelled_caught;
    bool foreign; /* its reason is what the other flavour said */
    bool raises;  /* TooSlowError where a Cancelled ends here */
    /* Of an inner task (see ops->inner) that entered it: how many cancels were
     * thrown into that for this scope and count there still, and how many of
     * others' counted at the entry. */
    int thrown, others_before;
} TacScope;

/* A new scope, no deadline.  Returns: new ref | NULL+exc. */
TacScope *tac_scope_new(TacState *state);

/* Enter for a task (NULL: for none, as a branch under `parent`).  0, or -1
 * with an exception. */
int tac_scope_enter(TacScope *scope, struct tac_task *task);

/* Open as a branch under `parent` that no task has entered: the base of
 * tasks that can be cancelled on their own. */
int tac_scope_open_branch(TacScope *scope, struct TacRunner *runner,
                          TacScope *parent);

/* Exit in `task`, which may be NULL for a branch.  `*exc` (owned, or NULL)
 * is what leaves the block, and what remains of it after.  0, or -1 with an
 * exception for an error of the loop itself. */
int tac_scope_close(TacScope *scope, struct tac_task *task, PyObject **exc);

/* The same without anybody leaving it: its task has ended inside. */
int tac_scope_abandon(TacScope *scope);

/* Whether a cancel from above the scope reaches it.  Python code: none. */
bool tac_scope_sees_parent_cancelled(const TacScope *scope);

/* Cancel; no-op when already.  `reason`: borrowed, may be NULL. */
int tac_scope_cancel(TacScope *scope, PyObject *reason);

/* Make the reason tuple.  All borrowed C strings or objects, NULL: None. */
PyObject *tac_scope_reason(PyObject *source, PyObject *reason,
                           PyObject *source_task);

/* Bring `effectively_cancelled` up to date here and below. */
int tac_scope_recalculate(TacScope *scope);

/* Cancel the scope if its deadline has passed.  0, or -1 with RuntimeError
 * outside of a run. */
int tac_scope_check_deadline(TacScope *scope);

/* Hang the scope under another parent (or none) and recalculate. */
int tac_scope_set_parent(TacScope *scope, TacScope *parent);

/* Whether `other` is this scope or lies inside of it. */
bool tac_scope_encloses(const TacScope *scope, const TacScope *other);

/* -inf when cancelled, else the earliest deadline up to a shield, callers'
 * included.
 * Python code: none. */
double tac_scope_effective_deadline(const TacScope *scope);

/* `with` leaves with `remaining` (owned, or NULL) in place of `exc`: returns
 * True, False, or NULL with `remaining` raised, its __context__ kept. */
PyObject *tac_scope_exit_value(PyObject *exc, PyObject *remaining);

/* Leave the block with an error (borrowed, or NULL), as __exit__() does: in
 * the running task.  Returns: True, False, or NULL+exc. */
PyObject *tac_scope_exit(TacScope *scope, PyObject *exc);

/* 0, or -1 with TypeError where a shield is no bool. */
int tac_scope_check_shield(PyObject *value);

/* A view of the scope's place in the tree (NULL: None), for introspection.
 * Returns: new ref | NULL+exc. */
PyObject *tac_cancel_status(TacScope *scope);

int tac_cancel_status_add_types(PyObject *module, TacState *state);
int tac_scope_add_types(PyObject *module, TacState *state);

#endif
