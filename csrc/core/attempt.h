/* core/attempt.h - traps that try first and wait only if that fails.
 *
 * acquire(), send(), receive(): a cancel point, then the attempt.  If it
 * succeeds, a schedule point follows, which cannot be cancelled any more; if
 * it has to wait, it links the trap somewhere, and whoever wakes the task has
 * done the rest.
 *
 * Owns: nothing; the trap's `phase` is the attempt's.
 * Threads: runner thread only.
 * Python code run here: the attempt's.
 */
#ifndef TAC_CORE_ATTEMPT_H
#define TAC_CORE_ATTEMPT_H

#include "core/trap.h"

enum tac_attempt_phase {
    TAC_ATTEMPT_CANCELLED = 1, /* yielded at the cancel point */
    TAC_ATTEMPT_SUCCEEDED,     /* yielded after success */
    TAC_ATTEMPT_WAITS,
};

/* Answers TAC_TRAP_DONE, TAC_TRAP_WAIT or TAC_TRAP_ERROR.  A result is kept
 * somewhere else than in trap->result till the end. */
typedef enum tac_trap_step (*tac_attempt_fn)(TacTrap *trap, TacTask *task);

/* The `begin` and `resume` of such a trap. */
enum tac_trap_step tac_attempt_begin(TacTrap *trap, TacTask *task,
                                     tac_attempt_fn attempt);
enum tac_trap_step tac_attempt_resume(TacTrap *trap, TacTask *task,
                                      tac_attempt_fn attempt);

#endif
