/* cross/cross.h - the two crossings between Trio-flavoured and
 * asyncio-flavoured code.
 *
 *   run_trio.c     asyncio code starts a Trio task and gets a Future
 *   run_asyncio.c  a Trio task waits for an asyncio Future
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

/* Adds the function wait_future. */
int tac_run_asyncio_add_types(PyObject *module, TacState *state);

#endif
