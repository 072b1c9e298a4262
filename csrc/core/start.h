/* core/start.h - nursery.start(): spawn a task and wait till it has started.
 *
 * Owns: see start.c.   Threads: runner thread only.
 * Python code run here: arbitrary.
 */
#ifndef TAC_CORE_START_H
#define TAC_CORE_START_H

#include "core/nursery.h"

/* The awaitable of nursery.start(fn, *args).  All borrowed; `name` may be
 * NULL.  Returns: new ref | NULL+exc. */
PyObject *tac_start_new(TacNursery *nursery, PyObject *fn,
                        PyObject *const *args, Py_ssize_t nargs,
                        PyObject *name);

int tac_start_add_types(PyObject *module, TacState *state);

#endif
