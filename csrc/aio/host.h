/* aio/host.h - the loop's host: the C task that runs its callbacks.
 *
 * Owns: nothing; the host is embedded in its loop.
 * Threads: runner thread only.   Python code run here: arbitrary.
 */
#ifndef TAC_AIO_HOST_H
#define TAC_AIO_HOST_H

#include "aio/loop.h"

/* Put the host into the loop's nursery. */
void tac_host_start(TacLoop *loop);

/* Before a turn inside of `task`'s step: if that is a host, let the turn go on
 * with what is left of its batch.  Python code: none. */
void tac_host_requeue(struct tac_task *task);

/* Make `home` (a loop, borrowed; NULL: none) the thread's running loop: what
 * runner->enter_home is for a runner with loops.  0, or -1. */
int tac_host_enter_home(TacRunner *runner, PyObject *home);

/* The open loop of this runner that the context has as `current_loop`: what
 * runner->find_home is for a runner with loops.  Python code: none. */
int tac_host_find_home(TacRunner *runner, PyObject *context, PyObject **home);

/* The asyncio Task that is being stepped in the runner's home, as an eager one
 * is in a Trio task's step: what runner->find_inner is. */
struct tac_task *tac_host_find_inner(TacRunner *runner);

#endif
