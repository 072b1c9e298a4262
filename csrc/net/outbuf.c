/* net/outbuf.c - bytes that a transport has accepted and not sent yet. */
#include "net/outbuf.h"

#include "net/spare.h"

#include <string.h>

/* The array is a queue that moves to the front when it reaches the end: it is
 * empty after most turns, and then begins there anyway. */
static int
outbuf_reserve(struct tac_outbuf *out)
{
    if (out->head + out->len < out->capacity) {
        return 0;
    }
    if (out->head > out->len) {
        memmove(out->items, out->items + out->head,
                (size_t)out->len * sizeof(PyObject *));
        out->head = 0;
        return 0;
    }
    Py_ssize_t capacity = out->capacity == 0 ? 4 : out->capacity * 2;
    PyObject **items = PyMem_Realloc(
        out->items, (size_t)capacity * sizeof(PyObject *));
    if (items == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    out->items = items;
    out->capacity = capacity;
    return 0;
}

int
tac_outbuf_push(struct tac_outbuf *out, PyObject *bytes)
{
    if (outbuf_reserve(out) < 0) {
        Py_DECREF(bytes);
        return -1;
    }
    out->items[out->head + out->len] = bytes;
    out->len++;
    out->size += PyBytes_GET_SIZE(bytes);
    return 0;
}

int
tac_outbuf_push_copy(struct tac_outbuf *out, TacState *state,
                     const char *data, Py_ssize_t size)
{
    PyObject *bytes = tac_spare_take_copy(state, data, size);
    return bytes == NULL ? -1 : tac_outbuf_push(out, bytes);
}

int
tac_outbuf_peek(const struct tac_outbuf *out, struct iovec *iov, int max)
{
    int count = 0;
    Py_ssize_t skip = out->sent;
    for (; count < max && count < out->len; count++) {
        PyObject *bytes = out->items[out->head + count];
        iov[count].iov_base = PyBytes_AS_STRING(bytes) + skip;
        iov[count].iov_len = (size_t)(PyBytes_GET_SIZE(bytes) - skip);
        skip = 0;
    }
    return count;
}

void
tac_outbuf_consume(struct tac_outbuf *out, TacState *state, Py_ssize_t size)
{
    out->size -= size;
    size += out->sent;
    while (out->len != 0) {
        PyObject *bytes = out->items[out->head];
        if (PyBytes_GET_SIZE(bytes) > size) {
            break;
        }
        size -= PyBytes_GET_SIZE(bytes);
        out->head++;
        out->len--;
        tac_spare_give(state, bytes);
    }
    out->sent = size;
    if (out->len == 0) {
        out->head = 0;
    }
}

void
tac_outbuf_clear(struct tac_outbuf *out)
{
    for (Py_ssize_t i = 0; i < out->len; i++) {
        Py_DECREF(out->items[out->head + i]);
    }
    PyMem_Free(out->items);
    *out = (struct tac_outbuf){0};
}

PyObject *
tac_outbuf_list(const struct tac_outbuf *out)
{
    PyObject *list = PyList_New(0);
    Py_ssize_t skip = out->sent;
    for (Py_ssize_t i = 0; list != NULL && i < out->len; i++) {
        PyObject *bytes = out->items[out->head + i];
        PyObject *rest = PyBytes_FromStringAndSize(
            PyBytes_AS_STRING(bytes) + skip, PyBytes_GET_SIZE(bytes) - skip);
        if (rest == NULL || PyList_Append(list, rest) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(rest);
        skip = 0;
    }
    return list;
}
