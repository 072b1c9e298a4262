/* aio/ring.c - the ready queue of one asyncio loop. */
#include "aio/ring.h"

#include "aio/handle.h"

#include <string.h>

enum {
    RING_FIRST_CAPACITY = 64,
    RING_KEPT_CAPACITY = 1 << 14, /* half a megabyte */
};

int
tac_ring_grow(struct tac_ring *ring)
{
    size_t capacity =
        ring->capacity == 0 ? RING_FIRST_CAPACITY : ring->capacity * 2;
    struct tac_ring_item *items = PyMem_New(struct tac_ring_item, capacity);
    if (items == NULL) {
        return -1;
    }
    size_t tail = ring->capacity - ring->head; /* items up to the wrap */
    if (tail > ring->len) {
        tail = ring->len;
    }
    if (ring->len != 0) {
        memcpy(items, ring->items + ring->head, tail * sizeof(*items));
        memcpy(items + tail, ring->items, (ring->len - tail) * sizeof(*items));
    }
    PyMem_Free(ring->items);
    ring->items = items;
    ring->head = 0;
    ring->capacity = capacity;
    return 0;
}

void
tac_ring_item_drop(struct tac_ring_item *item)
{
    if (item->kind == TAC_RING_STEP) {
        Py_DECREF(item->context);
        Py_XDECREF(item->arg);
    }
    else if (item->kind == TAC_RING_HANDLE && Py_REFCNT(item->object) > 1) {
        tac_handle_track((TacHandle *)item->object);
    }
    Py_DECREF(item->object);
}

void
tac_ring_track(struct tac_ring *ring)
{
    for (size_t i = 0; i < ring->len; i++) {
        struct tac_ring_item *item =
            &ring->items[(ring->head + i) & (ring->capacity - 1)];
        if (item->kind == TAC_RING_HANDLE) {
            tac_handle_track((TacHandle *)item->object);
        }
    }
}

void
tac_ring_trim(struct tac_ring *ring)
{
    if (ring->len == 0 && ring->capacity > RING_KEPT_CAPACITY) {
        PyMem_Free(ring->items);
        *ring = (struct tac_ring){0};
    }
}

void
tac_ring_clear(struct tac_ring *ring)
{
    /* Detach first: releasing an item can run code that pushes. */
    struct tac_ring old = *ring;
    *ring = (struct tac_ring){0};
    while (old.len != 0) {
        struct tac_ring_item item = tac_ring_pop(&old);
        tac_ring_item_drop(&item);
    }
    PyMem_Free(old.items);
}

int
tac_ring_traverse(struct tac_ring *ring, visitproc visit, void *arg)
{
    for (size_t i = 0; i < ring->len; i++) {
        struct tac_ring_item *item =
            &ring->items[(ring->head + i) & (ring->capacity - 1)];
        Py_VISIT(item->object);
        if (item->kind == TAC_RING_STEP) {
            Py_VISIT(item->context);
            Py_VISIT(item->arg);
        }
    }
    return 0;
}
