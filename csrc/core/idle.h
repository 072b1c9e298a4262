/* core/idle.h - wait_all_tasks_blocked: tasks that wait for idleness.
 *
 * Owns: nothing; the waiters' traps are their tasks'.
 * Threads: runner thread only.
 * Python code run here: instruments, by rescheduling.
 */
#ifndef TAC_CORE_IDLE_H
#define TAC_CORE_IDLE_H

#include "core/trap.h"

struct TacRunner;

extern const struct tac_trap_ops tac_idle_ops;

/* The shortest cushion that is waited for, in seconds; false: none. */
bool tac_idle_shortest(struct TacRunner *runner, double *cushion_s);

/* Wake every waiter with exactly this cushion.  0, or -1 with an
 * exception. */
int tac_idle_wake(struct TacRunner *runner, double cushion_s);

#endif
