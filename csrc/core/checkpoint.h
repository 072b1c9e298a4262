/* core/checkpoint.h - the traps that wait for nothing but the scheduler.
 *
 * Owns: nothing.   Threads: runner thread only.
 * Python code run here: none of their own.
 */
#ifndef TAC_CORE_CHECKPOINT_H
#define TAC_CORE_CHECKPOINT_H

#include "core/trap.h"

extern const struct tac_trap_ops tac_checkpoint_ops;
extern const struct tac_trap_ops tac_checkpoint_if_cancelled_ops;
extern const struct tac_trap_ops tac_cancel_shielded_checkpoint_ops;

/* number: seconds (sleep) or a deadline (sleep_until). */
extern const struct tac_trap_ops tac_sleep_ops;
extern const struct tac_trap_ops tac_sleep_until_ops;
extern const struct tac_trap_ops tac_sleep_forever_ops;

#endif
