/* cross/aio_iterator.h - AioIterator: a Trio-flavoured iterator over an
 * asyncio-flavoured one.
 *
 * Each item is a crossing of its own, with a Task of its own; all of them
 * share one context, a copy of that of the first, so that the iterator reads
 * as if it ran in one task.
 *
 * Owns: the iterator, its loop, the context.
 * Threads: runner thread only.   Python code run here: arbitrary.
 */
#ifndef TAC_CROSS_AIO_ITERATOR_H
#define TAC_CROSS_AIO_ITERATOR_H

#include "state.h"

int tac_aio_iterator_add_types(PyObject *module, TacState *state);

#endif
