/* net/outbuf.c - bytes that a transport has accepted and not sent yet. */
#include "net/outbuf.h"

#include "net/spare.h"

#include <stdint.h>
#include <string.h>

#define QUEUE_USUAL 4 /* items that a new one has room for */

/* Several bytes objects.  It moves to the front when it reaches the end. */
struct outbuf_queue {
    Py_ssize_t head; /* index of the oldest */
    Py_ssize_t len;  /* how many there are; at least one */
    Py_ssize_t capacity;
    Py_ssize_t sent; /* bytes of the oldest that are gone */
    PyObject *items[]; /* owned */
};

/* The one bytes object; or NULL: there are none, or several. */
static inline PyObject *
outbuf_only(const struct tac_outbuf *out)
{
    return out->word & 1 ? (PyObject *)(out->word - 1) : NULL;
}

/* Several, unless there is only one; or NULL. */
static inline struct outbuf_queue *
outbuf_queue(const struct tac_outbuf *out)
{
    return (struct outbuf_queue *)out->word;
}

static struct outbuf_queue *
queue_resize(struct outbuf_queue *queue, Py_ssize_t capacity)
{
    queue = PyMem_Realloc(queue, sizeof(*queue)
                                     + (size_t)capacity * sizeof(PyObject *));
    if (queue == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    queue->capacity = capacity;
    return queue;
}

/* A queue of the one that there was. */
static struct outbuf_queue *
queue_begin(const struct tac_outbuf *out, PyObject *only)
{
    struct outbuf_queue *queue = queue_resize(NULL, QUEUE_USUAL);
    if (queue != NULL) {
        queue->head = 0;
        queue->len = 1;
        queue->sent = PyBytes_GET_SIZE(only) - out->size;
        queue->items[0] = only;
    }
    return queue;
}

/* Make room for one more; or NULL with MemoryError. */
static struct outbuf_queue *
outbuf_reserve(struct tac_outbuf *out)
{
    PyObject *only = outbuf_only(out);
    struct outbuf_queue *queue = outbuf_queue(out);
    if (only != NULL) {
        queue = queue_begin(out, only);
    }
    else if (queue->head + queue->len < queue->capacity) {
        return queue;
    }
    else if (queue->head > queue->len) {
        memmove(queue->items, queue->items + queue->head,
                (size_t)queue->len * sizeof(PyObject *));
        queue->head = 0;
        return queue;
    }
    else {
        queue = queue_resize(queue, queue->capacity * 2);
    }
    if (queue != NULL) {
        out->word = (uintptr_t)queue;
    }
    return queue;
}

int
tac_outbuf_push(struct tac_outbuf *out, PyObject *bytes)
{
    if (tac_outbuf_is_empty(out)) {
        out->word = (uintptr_t)bytes | 1;
    }
    else {
        struct outbuf_queue *queue = outbuf_reserve(out);
        if (queue == NULL) {
            Py_DECREF(bytes);
            return -1;
        }
        queue->items[queue->head + queue->len] = bytes;
        queue->len++;
    }
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
    PyObject *only = outbuf_only(out);
    if (only != NULL) {
        iov[0].iov_base = PyBytes_AS_STRING(only)
                          + (PyBytes_GET_SIZE(only) - out->size);
        iov[0].iov_len = (size_t)out->size;
        return 1;
    }
    const struct outbuf_queue *queue = outbuf_queue(out);
    if (queue == NULL) {
        return 0;
    }
    int count = 0;
    Py_ssize_t skip = queue->sent;
    for (; count < max && count < queue->len; count++) {
        PyObject *bytes = queue->items[queue->head + count];
        iov[count].iov_base = PyBytes_AS_STRING(bytes) + skip;
        iov[count].iov_len = (size_t)(PyBytes_GET_SIZE(bytes) - skip);
        skip = 0;
    }
    return count;
}

void
tac_outbuf_hold(const struct tac_outbuf *out, PyObject **held, int count)
{
    PyObject *only = outbuf_only(out);
    const struct outbuf_queue *queue = outbuf_queue(out);
    for (int i = 0; i < count; i++) {
        held[i] = Py_NewRef(only != NULL ? only
                                         : queue->items[queue->head + i]);
    }
}

static void
outbuf_consume_queue(struct tac_outbuf *out, TacState *state, Py_ssize_t size)
{
    struct outbuf_queue *queue = outbuf_queue(out);
    size += queue->sent;
    while (queue->len != 0) {
        PyObject *bytes = queue->items[queue->head];
        if (PyBytes_GET_SIZE(bytes) > size) {
            break;
        }
        size -= PyBytes_GET_SIZE(bytes);
        queue->head++;
        queue->len--;
        tac_spare_give(state, bytes);
    }
    queue->sent = size;
    if (queue->len == 0) {
        out->word = 0;
        PyMem_Free(queue);
    }
}

void
tac_outbuf_consume(struct tac_outbuf *out, TacState *state, Py_ssize_t size)
{
    PyObject *only = outbuf_only(out);
    out->size -= size;
    if (only == NULL) {
        outbuf_consume_queue(out, state, size);
    }
    else if (out->size == 0) {
        out->word = 0;
        tac_spare_give(state, only);
    }
}

void
tac_outbuf_clear(struct tac_outbuf *out)
{
    PyObject *only = outbuf_only(out);
    struct outbuf_queue *queue = outbuf_queue(out);
    *out = (struct tac_outbuf){0};
    if (only != NULL) {
        Py_DECREF(only);
    }
    else if (queue != NULL) {
        for (Py_ssize_t i = 0; i < queue->len; i++) {
            Py_DECREF(queue->items[queue->head + i]);
        }
        PyMem_Free(queue);
    }
}

/* By way of what would be sent next: all that there is. */
static int
outbuf_count(const struct tac_outbuf *out)
{
    return outbuf_only(out) != NULL ? 1
           : tac_outbuf_is_empty(out)
               ? 0
               : (int)outbuf_queue(out)->len;
}

PyObject *
tac_outbuf_list(const struct tac_outbuf *out)
{
    int count = outbuf_count(out);
    struct iovec *iov = PyMem_New(struct iovec, count);
    PyObject *list = iov == NULL ? PyErr_NoMemory() : PyList_New(0);
    if (list != NULL) {
        (void)tac_outbuf_peek(out, iov, count);
    }
    for (int i = 0; list != NULL && i < count; i++) {
        PyObject *rest = PyBytes_FromStringAndSize(
            iov[i].iov_base, (Py_ssize_t)iov[i].iov_len);
        if (rest == NULL || PyList_Append(list, rest) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(rest);
    }
    PyMem_Free(iov);
    return list;
}
