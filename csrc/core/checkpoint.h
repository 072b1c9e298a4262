/* core/checkpoint.h - the traps that wait for nothing but the scheduler.
 *
 * Owns: nothing.   Threads: runner thread only.
 * Python code run here: none of their own.
 */
#ifndef TAC_CORE_CHECKPOINT_H
#define TAC_CORE_CHECKPOINT_H

#include "core/trap.h"

/* Whether the next cancel point of a task raises. */
bool tac_checkpoint_is_cancelled(TacTask *task);

/* Go on after the schedule point of a checkpoint, TAC_TRAP_YIELD: for traps
 * that end as one. */
enum tac_trap_step tac_checkpoint_resume(TacTrap *trap, TacTask *task);

extern const struct tac_trap_ops tac_checkpoint_ops;
extern const struct tac_trap_ops tac_checkpoint_if_cancelled_ops;
extern const struct tac_trap_ops tac_cancel_shielded_checkpoint_ops;

/* number: seconds (sleep) or a deadline (sleep_until). */
extern const struct tac_trap_ops tac_sleep_ops;
extern const struct tac_trap_ops tac_sleep_until_ops;
extern const struct tac_trap_ops tac_sleep_forever_ops;

#endif
