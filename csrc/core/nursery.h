/* core/nursery.h - nurseries: where tasks live, and who hears of their end.
 *
 * A nursery closes when its body is done, it has no children and no start()
 * is pending.  Errors are collected in the order in which they arrive and
 * leave as one group when the parent task exits the block.
 *
 * Owns: parent task, scope, the list of errors.  Children are borrowed: each
 *     holds a reference to its nursery.
 * Threads: runner thread only.   Python code run here: arbitrary.
 */
#ifndef TAC_CORE_NURSERY_H
#define TAC_CORE_NURSERY_H

#include "core/scope.h"
#include "core/task.h"
#include "core/trap.h"

typedef struct TacNursery {
    PyObject_HEAD
    TacState *state;            /* borrowed: the type holds the module */
    TacTask *parent_task;       /* owned */
    TacScope *scope;            /* owned */
    struct tac_list task_node;  /* in parent_task->child_nurseries */
    struct tac_list children;   /* of tac_task.sibling_node */
    PyObject *pending_excs;     /* owned list; NULL once handed out */
    Py_ssize_t pending_starts;
    bool strict;
    bool body_running;
    bool parent_waiting; /* in its exit */
    bool closed;
    PyObject *dict;
    PyObject *weakrefs;
} TacNursery;

/* The note by which a group of a nursery that is not strict is known. */
extern const char TAC_NURSERY_NONSTRICT_NOTE[];

/* Open a nursery in the running task.  Returns: new ref | NULL+exc. */
TacNursery *tac_nursery_open(TacState *state, TacTask *task, bool strict);

/* Hear of a child's end (its sibling_node is unlinked by then).  `exc`:
 * borrowed, or NULL.  0, or -1 with an exception. */
int tac_nursery_child_finished(TacNursery *nursery, struct tac_task *child,
                               PyObject *exc);

/* Add an error (borrowed) and cancel with `reason` (borrowed or NULL). */
int tac_nursery_add_exc(TacNursery *nursery, PyObject *exc, PyObject *reason);

/* Close if nothing is left, and wake the parent that waits for it. */
int tac_nursery_check_closed(TacNursery *nursery);

/* The two halves of `async with`'s exit, for traps that contain one.
 * `enter`: the body ended with `exc` (borrowed or NULL); answers whether to
 * wait or to yield.  `leave`: after that; `*exc` (out, owned or NULL) is
 * what leaves the block. */
enum tac_trap_step tac_nursery_exit_enter(TacNursery *nursery, PyObject *exc);
int tac_nursery_exit_leave(TacNursery *nursery, PyObject **exc);
enum tac_abort tac_nursery_exit_abort(TacNursery *nursery, TacTask *task,
                                      const struct tac_cause *cause);

/* The context manager around one.  Returns: new ref | NULL+exc. */
PyObject *tac_nursery_manager_new(TacState *state, bool strict);

int tac_nursery_add_types(PyObject *module, TacState *state);

#endif
