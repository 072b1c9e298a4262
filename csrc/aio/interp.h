/* aio/interp.h - what the loop knows of the interpreter's own asyncio.
 *
 * CPython's C Tasks schedule their steps by call_soon with an object of a
 * private type, and their wake-ups with a builtin method, both with a tuple of
 * keyword names that only they have.  They drop the handle that they get, so
 * for them none is made.  All of it is learnt from a Task when the package is
 * imported; under another Task implementation nothing is recognised, and
 * everything goes the general way.
 *
 * Owns: references in the state.   Threads: any that hold the GIL.
 * Python code run here: none after learning.
 */
#ifndef TAC_AIO_INTERP_H
#define TAC_AIO_INTERP_H

#include "state.h"

#include <stdbool.h>
#include <string.h>

/* Learn from what an asyncio Task passes to call_soon: its step, and the names
 * of the keywords (NULL: none).  0, or -1 with an exception. */
int tac_interp_learn(TacState *state, PyObject *step, PyObject *kwnames);

/* Is `callback` a C Task's wake-up?  Slow way of the check below. */
bool tac_interp_is_new_wakeup(TacState *state, PyObject *callback);

/* Is `callback` a C Task's next step, or what wakes a Trio task, whose handle
 * nobody keeps? */
static inline bool
tac_interp_is_task_step(TacState *state, PyObject *callback)
{
    if (Py_TYPE(callback) == state->aio_step_type
        || Py_TYPE(callback) == state->waiter_type
        || (PyObject *)Py_TYPE(callback) == state->hook_aio_entry)
    {
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
