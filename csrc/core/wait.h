/* core/wait.h - wait_task_rescheduled and the detaching of coroutines.
 *
 * Owns: nothing.   Threads: runner thread only.
 * Python code run here: abort functions.
 */
#ifndef TAC_CORE_WAIT_H
#define TAC_CORE_WAIT_H

#include "core/trap.h"

/* first: the abort function. */
extern const struct tac_trap_ops tac_wait_task_rescheduled_ops;
extern const struct tac_trap_ops tac_temporarily_detach_ops;
/* first: the final outcome. */
extern const struct tac_trap_ops tac_permanently_detach_ops;
/* first: the task; second: what the foreign runner shall get. */
extern const struct tac_trap_ops tac_reattach_ops;

/* A wait_task_rescheduled that is begun already: for a task that yielded as
 * much by itself.  Returns: new ref | NULL+exc. */
TacTrap *tac_wait_foreign_new(TacState *state, struct TacTask *task,
                              PyObject *abort_func);

/* Read an outcome, ours or the outcome library's: `*value` or `*error` gets
 * a new reference.  0, or -1 with TypeError. */
int tac_outcome_read(TacState *state, PyObject *outcome, PyObject **value,
                     PyObject **error);

int tac_wait_add_types(PyObject *module, TacState *state);

#endif
