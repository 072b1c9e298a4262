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

#include <stdbool.h>

/* Learn from what an asyncio Task passes to call_soon: its step, and the names
 * of the keywords (NULL: none).  0, or -1 with an exception. */
int tac_interp_learn(TacState *state, PyObject *step, PyObject *kwnames);

/* Is it what wakes a C Task?  Python code: none. */
bool tac_interp_is_wakeup(TacState *state, PyObject *callback);

/* Call a method of an asyncio Task, args[0]: that of the interpreter's class
 * (`method`, NULL: not known) without a lookup, or the one of that name.
 * Returns: new ref | NULL+exc.  Python code: that method's. */
static inline PyObject *
tac_interp_call_task(TacState *state, PyObject *method, PyObject *name,
                     PyObject *const *args, size_t nargs, PyObject *kwnames)
{
    return method != NULL && Py_IS_TYPE(args[0], state->aio_task_type)
               ? PyObject_Vectorcall(method, args, nargs, kwnames)
               : PyObject_VectorcallMethod(name, args, nargs, kwnames);
}

#endif
