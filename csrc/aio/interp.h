/* aio/interp.h - what the loop knows of the interpreter's own asyncio.
 *
 * CPython's C Tasks schedule their steps by call_soon with an object of a
 * private type, and their wake-ups with a builtin method.  They drop the
 * handle that they get, so for them none is made.  Both are learnt from a
 * Task when the first loop is made; under another Task implementation
 * nothing is recognised, and everything goes the general way.
 *
 * Owns: references in the state.   Threads: any that hold the GIL.
 * Python code run here: none after learning.
 */
#ifndef TAC_AIO_INTERP_H
#define TAC_AIO_INTERP_H

#include "state.h"

#include <stdbool.h>
#include <string.h>

/* Learn from an asyncio Task's step callback, and the class of Futures that
 * are in C, or None.  0, or -1 with an exception. */
int tac_interp_learn(TacState *state, PyObject *task, PyObject *step,
                     PyObject *future_type);

/* Is `callback` a C Task's wake-up?  Slow way of the check below. */
bool tac_interp_is_new_wakeup(TacState *state, PyObject *callback);

/* Is `callback` a C Task's next step, whose handle nobody keeps? */
static inline bool
tac_interp_is_task_step(TacState *state, PyObject *callback)
{
    if (Py_TYPE(callback) == state->aio_step_type) {
        return true;
    }
    if (!PyCFunction_CheckExact(callback)) {
        return false;
    }
    const PyMethodDef *method = ((PyCFunctionObject *)callback)->m_ml;
    return method == state->aio_wakeup
           || (state->aio_wakeup == NULL
               && tac_interp_is_new_wakeup(state, callback));
}

#endif
