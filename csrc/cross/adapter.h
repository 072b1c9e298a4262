/* cross/adapter.h - what the adapters aio_as_trio and trio_as_aio call by.
 *
 * The two types here are bases of Python's classes, which have all that is not
 * done once a crossing: other forms than calls, names, errors.  A call of a
 * plain function that goes to the current loop is that loop's run_asyncio()
 * or run_trio(); for every other the class's method _call() is called.
 *
 * What asks for the doc string or the module of an adapter gets those of what
 * it wraps, unless they were set.
 *
 * Owns: what it wraps; the loop, or None.
 * Threads: any that hold the GIL.   Python code run here: arbitrary.
 */
#ifndef TAC_CROSS_ADAPTER_H
#define TAC_CROSS_ADAPTER_H

#include "state.h"

/* Adds the types AioAsTrio and TrioAsAio. */
int tac_adapter_add_types(PyObject *module, TacState *state);

#endif
