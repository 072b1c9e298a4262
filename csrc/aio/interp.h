/* aio/interp.h - what the loop knows of the interpreter's own asyncio.
 *
 * CPython's Tasks and Futures in C schedule their steps and callbacks by
 * call_soon with a tuple of keyword names that only they have.  They drop the
 * handle that they get, so for them none is made.  It is learnt from a Task
 * when the package is imported; under another Task implementation nothing is
 * recognised, and everything goes the general way.
 *
 * Owns: references in the state.   Threads: any that hold the GIL.
 * Python code run here: none after learning.
 */
#ifndef TAC_AIO_INTERP_H
#define TAC_AIO_INTERP_H

#include "state.h"

/* Learn from what an asyncio Task passes to call_soon: its step, and the names
 * of the keywords (NULL: none).  0, or -1 with an exception. */
int tac_interp_learn(TacState *state, PyObject *step, PyObject *kwnames);

#endif
