/* cross/cross.h - the two crossings between Trio-flavoured and
 * asyncio-flavoured code.
 *
 *   run_trio.c     asyncio code starts a Trio task
 *   trio_future.c  and gets a Future of it
 *   wait_future.c  a Trio task waits for an asyncio Future
 *   aio_start.c    which may be a Task that is begun for it
 *   aio_call.c     and calls a function
 *   run_asyncio.c  which is what run_asyncio does
 *
 * In both directions a cancel of the caller is delivered to the callee and
 * then waited for; it is reported only if the callee ended by it.
 *
 * Threads: runner thread only.   Python code run here: arbitrary.
 */
#ifndef TAC_CROSS_CROSS_H
#define TAC_CROSS_CROSS_H

#include "state.h"

/* Adds the type TrioCall. */
int tac_run_trio_add_types(PyObject *module, TacState *state);

/* Adds the type TrioFuture, and the loop's method run_trio. */
int tac_trio_future_add_types(PyObject *module, TacState *state);

/* Adds the loop's method run_asyncio. */
int tac_run_asyncio_add_types(PyObject *module, TacState *state);

#endif
