/* net/spare.h - memory of received bytes, used again for the next ones.
 *
 * What a stream receives is often dropped before the next read, or goes out
 * by another and is dropped then.  malloc has no quick way for its size, so a
 * few of such objects are kept: those to which nobody else has a reference.
 *
 * Owns: the objects.   Threads: any that hold the GIL.
 * Python code run here: none (bytes have no finalizer).
 */
#ifndef TAC_NET_SPARE_H
#define TAC_NET_SPARE_H

#include "state.h"

/* A bytes object of that size, its contents undefined, which the caller fills
 * before anybody sees it.  Returns: new ref | NULL with MemoryError. */
PyObject *tac_spare_take(TacState *state, Py_ssize_t size);

/* The same with contents. */
PyObject *tac_spare_take_copy(TacState *state, const char *data,
                              Py_ssize_t size);

/* Drop a reference to a bytes object (exactly that), and keep the object if
 * it was the last. */
void tac_spare_give(TacState *state, PyObject *bytes);

/* Free what is kept. */
void tac_spare_clear(TacState *state);

#endif
