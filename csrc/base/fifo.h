/* base/fifo.h - a queue of Python objects, first in, first out.
 *
 * A power-of-two array that grows, and shrinks when a burst is over.
 *
 * Owns: the array and the references in it.
 * Threads: any that hold the GIL.
 * Python code run here: dealloc only (clear), else none.
 */
#ifndef TAC_BASE_FIFO_H
#define TAC_BASE_FIFO_H

#include <Python.h>

struct tac_fifo {
    PyObject **items;
    Py_ssize_t head; /* index of the oldest item */
    Py_ssize_t len;
    Py_ssize_t capacity; /* a power of two, or 0 */
};

/* Append an item (takes a reference of its own).  0, or -1 with MemoryError.
 */
int tac_fifo_push(struct tac_fifo *fifo, PyObject *item);

/* Take the oldest item out of a queue that has one.  Returns: new ref. */
PyObject *tac_fifo_pop(struct tac_fifo *fifo);

/* Drop all items and the array. */
void tac_fifo_clear(struct tac_fifo *fifo);

/* The items, oldest first, as a list.  Returns: new ref | NULL+exc. */
PyObject *tac_fifo_list(const struct tac_fifo *fifo);

int tac_fifo_traverse(const struct tac_fifo *fifo, visitproc visit,
                      void *arg);

#endif
