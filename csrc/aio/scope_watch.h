/* aio/scope_watch.h - a cancel scope that is open before anybody enters it.
 *
 * traio's scopes have tasks before their block is entered, or have no block at
 * all, and are told when they are cancelled.  So such a CancelScope is opened
 * as a branch of the tree, with this in it: to the core a C task that never
 * steps, and hands its cancel to a callback.
 *
 *   I1  `callback` != NULL  <=>  it is in the scope.
 *
 * Owns: the scope, the loop, the callback.
 * Threads: the loop's.   Python code run here: arbitrary.
 */
#ifndef TAC_AIO_SCOPE_WATCH_H
#define TAC_AIO_SCOPE_WATCH_H

#include "state.h"

struct TacLoop;

/* A method of LoopCore: see there. */
PyObject *tac_scope_watch_open(struct TacLoop *loop, PyObject *const *args,
                               Py_ssize_t nargs);

int tac_scope_watch_add_types(PyObject *module, TacState *state);

#endif
