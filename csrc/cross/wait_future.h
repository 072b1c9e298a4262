/* cross/wait_future.h - a Trio task waits for an asyncio Future.
 *
 * The wait is a trap like the core's own.  A cancel is passed on to the
 * Future once, and the task stays parked until the Future is done: only if
 * that ended by cancellation, the task gets its own Cancelled.
 *
 * The functions are for traps whose `first` is the Future or, as soon as that
 * is made, becomes it; `second` is the exception of a cancel that was passed
 * on; `place` the loop whose Task was called, or NULL.
 *
 * Owns: nothing; a trap that waits is in loop->waits.
 * Threads: runner thread only.   Python code run here: arbitrary.
 */
#ifndef TAC_CROSS_WAIT_FUTURE_H
#define TAC_CROSS_WAIT_FUTURE_H

#include "aio/loop.h"
#include "core/trap.h"

#include <stdbool.h>

/* 0, or -1 with TypeError for what is no Future. */
int tac_wait_future_check(TacState *state, PyObject *future);

/* Begin to wait for the Future, of whatever loop. */
enum tac_trap_step tac_wait_future_begin(TacTrap *trap, TacTask *task);

/* The same for one of a loop of ours. */
enum tac_trap_step tac_wait_future_begin_on(TacTrap *trap, TacTask *task,
                                            TacLoop *loop);

/* The Future is a Task of the loop that was made for this wait alone: cancel
 * scopes that it enters are inside of those of the task that waits. */
void tac_wait_future_begin_call(TacTrap *trap, TacLoop *loop);

/* Have the trap woken when the Future is done.  0, or -1 with an exception. */
int tac_wait_future_add_waiter(TacTrap *trap);

/* Does the task still wait in this trap, and has nothing woken it?
 * Python code: none. */
bool tac_wait_future_is_waiting(const TacTrap *trap);

/* End a wait whose Future is done.  0, or -1 with an exception. */
int tac_wait_future_wake(TacTrap *trap);

/* End a wait whose Future will never call back, with an error (stolen).  0,
 * or -1 with an exception. */
int tac_wait_future_fail(TacTrap *trap, PyObject *error);

/* What the traps' ops need. */
enum tac_abort tac_wait_future_abort(TacTrap *trap, TacTask *task,
                                     const struct tac_cause *cause);
void tac_wait_future_unlink(TacTrap *trap);

/* Adds the function wait_future. */
int tac_wait_future_add_types(PyObject *module, TacState *state);

#endif
