/* cross/aio_start.h - a Trio task has asyncio begin a Task, and waits for it.
 *
 * The Task is made when its turn among the loop's callbacks comes, and does
 * its first step there and then: one that ends in it was never known to
 * asyncio, which costs a set of weak references, and nobody has to be called
 * back.
 *
 *   QUEUED --turn--> its first step runs --> a wait for the Task, or the end
 *      \--settled--> a wait for a Task that is to begin, as asyncio makes it
 *
 * It is settled by whatever must find a Task there: a cancel, the end of the
 * loop.  Task factories, debug mode and CPython before 3.12.5 settle all at once.
 *
 * A trap begins with the coroutine as `first`, the loop as `second`, and the
 * context as `result`, or NULL: a copy of the caller's.
 *
 * Owns: nothing; the ring has the trap while it is QUEUED.
 * Threads: runner thread only.   Python code run here: arbitrary.
 */
#ifndef TAC_CROSS_AIO_START_H
#define TAC_CROSS_AIO_START_H

#include "cross/wait_future.h"

/* What the ops of such traps have for `begin`: to make the Task in its turn, or
 * at once, for asyncio to begin, where something is against it. */
enum tac_trap_step tac_aio_start_begin(TacTrap *trap, TacTask *task);

/* Make a QUEUED trap's Task, which asyncio begins.  1; 0 if it is not QUEUED,
 * as traps of other kinds never are; -1 with an exception. */
int tac_aio_start_settle(TacTrap *trap);

/* It is not to begin.  Returns whether the trap was QUEUED. */
bool tac_aio_start_drop(TacTrap *trap);

/* What the ops need beside tac_wait_future_unlink. */
enum tac_abort tac_aio_start_abort(TacTrap *trap, TacTask *task,
                                   const struct tac_cause *cause);

#endif
