/* aio/ring.h - the ready queue of one asyncio loop.
 *
 * A growing power-of-two array, first in, first out.  An item is one of a few
 * kinds, so that what is most frequent, a step of an asyncio Task, needs no
 * handle object at all.
 *
 * The GIL guards the ring: a push and a pop are plain C between two
 * bytecodes, so they are atomic for other threads and for signal handlers.
 * That is what makes call_soon_threadsafe keep its order with call_soon.
 *
 * Owns: the array and the references in its items.
 * Threads: any that hold the GIL.
 * Python code run here: dealloc only (clear), else none.
 */
#ifndef TAC_AIO_RING_H
#define TAC_AIO_RING_H

#include <Python.h>
#include <stddef.h>

enum tac_ring_kind {
    TAC_RING_HANDLE,  /* a handle of ours: run it unless it is cancelled */
    TAC_RING_FOREIGN, /* another handle object: call its _run() */
    TAC_RING_STEP,    /* a callable, with at most one argument, a context */
    TAC_RING_NATIVE,  /* a C function and the object that it serves */
};

/* What a NATIVE item does.  0, or -1 with an exception, which leaves the
 * batch as one out of a callback would not: for KeyboardInterrupt,
 * SystemExit and errors of the loop itself. */
typedef int (*tac_ring_fn)(PyObject *owner);

struct tac_ring_item {
    PyObject *object;  /* owned: handle, callable or the fn's owner */
    union {
        PyObject *context;  /* owned, STEP only */
        const char *method; /* NATIVE only: what of `object` debug mode says
                               is run, as asyncio calls it; NULL: it runs no
                               code of programs */
    };
    union {
        PyObject *arg;  /* owned or NULL, STEP only */
        tac_ring_fn fn; /* NATIVE only */
    };
    enum tac_ring_kind kind;
};

struct tac_ring {
    struct tac_ring_item *items;
    size_t head;     /* index of the oldest item */
    size_t len;
    size_t capacity; /* a power of two, or 0 */
};

/* Make room for at least one more item.  0, or -1 with no exception set. */
int tac_ring_grow(struct tac_ring *ring);

/* The slot of the next item, whose caller fills it and counts it in; NULL when
 * out of memory, no exception set. */
static inline struct tac_ring_item *
tac_ring_next(struct tac_ring *ring)
{
    if (ring->len == ring->capacity && tac_ring_grow(ring) < 0) {
        return NULL;
    }
    return &ring->items[(ring->head + ring->len) & (ring->capacity - 1)];
}

/* Append an item, stealing its references.  0, or -1 when out of memory, no
 * exception set and nothing stolen. */
static inline int
tac_ring_push(struct tac_ring *ring, const struct tac_ring_item *item)
{
    struct tac_ring_item *slot = tac_ring_next(ring);
    if (slot == NULL) {
        return -1;
    }
    *slot = *item;
    ring->len++;
    return 0;
}

/* The same with a handle of ours: written in place, for a whole item that is
 * copied right after it was made waits for those writes. */
static inline int
tac_ring_push_handle(struct tac_ring *ring, PyObject *handle)
{
    struct tac_ring_item *slot = tac_ring_next(ring);
    if (slot == NULL) {
        return -1;
    }
    slot->object = handle;
    slot->kind = TAC_RING_HANDLE;
    ring->len++;
    return 0;
}

/* And with a STEP.  `arg` may be NULL. */
static inline int
tac_ring_push_step(struct tac_ring *ring, PyObject *callback, PyObject *arg,
                   PyObject *context)
{
    struct tac_ring_item *slot = tac_ring_next(ring);
    if (slot == NULL) {
        return -1;
    }
    slot->object = callback;
    slot->context = context;
    slot->arg = arg;
    slot->kind = TAC_RING_STEP;
    ring->len++;
    return 0;
}

/* Take the oldest item out of a ring that has one; the references go to the
 * caller. */
static inline struct tac_ring_item
tac_ring_pop(struct tac_ring *ring)
{
    struct tac_ring_item item = ring->items[ring->head];
    ring->head = (ring->head + 1) & (ring->capacity - 1);
    ring->len--;
    return item;
}

/* Let the collector know all handles in the ring: the loop pauses. */
void tac_ring_track(struct tac_ring *ring);

/* Release an item's references. */
void tac_ring_item_drop(struct tac_ring_item *item);

/* Give the memory of an empty ring back that a burst made large. */
void tac_ring_trim(struct tac_ring *ring);

/* Drop all items and the array. */
void tac_ring_clear(struct tac_ring *ring);

int tac_ring_traverse(struct tac_ring *ring, visitproc visit, void *arg);

#endif
