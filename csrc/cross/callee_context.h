/* cross/callee_context.h - the context variables that a callee sees.
 *
 * Owns: nothing.   Threads: the loop's.
 * Python code run here: dealloc only.
 */
#ifndef TAC_CROSS_CALLEE_CONTEXT_H
#define TAC_CROSS_CALLEE_CONTEXT_H

#include "aio/loop.h"

/* A copy of the running code's context in which `loop` is current_loop.
 * Returns: new ref | NULL+exc. */
PyObject *tac_callee_context_new(TacLoop *loop);

#endif
