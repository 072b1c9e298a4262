/* base/fifo.c - a queue of Python objects, first in, first out. */
#include "base/fifo.h"

#define FIFO_MIN_CAPACITY 8
/* A larger array is given back when the queue becomes empty. */
#define FIFO_KEPT_CAPACITY 1024

static Py_ssize_t
fifo_index(const struct tac_fifo *fifo, Py_ssize_t nth)
{
    return (fifo->head + nth) & (fifo->capacity - 1);
}

static int
fifo_grow(struct tac_fifo *fifo)
{
    Py_ssize_t capacity =
        fifo->capacity == 0 ? FIFO_MIN_CAPACITY : fifo->capacity * 2;
    PyObject **items = PyMem_New(PyObject *, capacity);
    if (items == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < fifo->len; i++) {
        items[i] = fifo->items[fifo_index(fifo, i)];
    }
    PyMem_Free(fifo->items);
    fifo->items = items;
    fifo->head = 0;
    fifo->capacity = capacity;
    return 0;
}

int
tac_fifo_push(struct tac_fifo *fifo, PyObject *item)
{
    if (fifo->len == fifo->capacity && fifo_grow(fifo) < 0) {
        return -1;
    }
    fifo->items[fifo_index(fifo, fifo->len)] = Py_NewRef(item);
    fifo->len++;
    return 0;
}

static void
fifo_free(struct tac_fifo *fifo)
{
    PyMem_Free(fifo->items);
    memset(fifo, 0, sizeof(*fifo));
}

PyObject *
tac_fifo_pop(struct tac_fifo *fifo)
{
    PyObject *item = fifo->items[fifo->head];
    fifo->head = fifo_index(fifo, 1);
    fifo->len--;
    if (fifo->len == 0 && fifo->capacity > FIFO_KEPT_CAPACITY) {
        fifo_free(fifo);
    }
    return item;
}

/* The items' finalizers may use the queue again. */
void
tac_fifo_clear(struct tac_fifo *fifo)
{
    struct tac_fifo old = *fifo;
    memset(fifo, 0, sizeof(*fifo));
    while (old.len > 0) {
        Py_DECREF(old.items[old.head]);
        old.head = fifo_index(&old, 1);
        old.len--;
    }
    fifo_free(&old);
}

PyObject *
tac_fifo_list(const struct tac_fifo *fifo)
{
    PyObject *list = PyList_New(fifo->len);
    for (Py_ssize_t i = 0; list != NULL && i < fifo->len; i++) {
        PyList_SET_ITEM(list, i,
                        Py_NewRef(fifo->items[fifo_index(fifo, i)]));
    }
    return list;
}

int
tac_fifo_traverse(const struct tac_fifo *fifo, visitproc visit, void *arg)
{
    for (Py_ssize_t i = 0; i < fifo->len; i++) {
        Py_VISIT(fifo->items[fifo_index(fifo, i)]);
    }
    return 0;
}
