/* base/heap.h - indexed 4-ary heap of timers, key (time, sequence).
 *
 * The nodes are embedded in what they serve; the heap holds one array of
 * (key, node) pairs, so a comparison touches no node.  Each node knows its
 * index, which makes removal O(log n) and leaves no stale entries behind.
 * Equal times come out in the order in which they went in.
 *
 * Most timers are time-outs that are removed soon.  So what comes in is put
 * behind the heap's items first, in no order (the young), and joins them only
 * when somebody asks for the earliest item: push and remove of a young node
 * are O(1), however many there are.
 *
 * Owns: the array.   Threads: runner thread only.
 * Python code run here: none.
 */
#ifndef TAC_BASE_HEAP_H
#define TAC_BASE_HEAP_H

#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

struct tac_heap_node {
    size_t index; /* 1 + position in the array; 0 = in no heap */
};

struct tac_heap_item {
    double at;    /* seconds */
    uint64_t seq; /* breaks ties: first in, first out */
    struct tac_heap_node *node; /* borrowed */
};

struct tac_heap {
    struct tac_heap_item *items; /* the heap, then the young */
    size_t len;
    size_t settled; /* how many of them are the heap */
    double young_at; /* no young item is earlier; if there is one */
    size_t capacity;
    uint64_t next_seq;
};

void tac_heap_fini(struct tac_heap *heap);

/* Add a node that is in no heap.  Returns 0, or -1 when out of memory (no
 * exception set). */
int tac_heap_push(struct tac_heap *heap, struct tac_heap_node *node,
                  double at);

/* Remove a node; no-op when it is in no heap.  Cannot fail. */
void tac_heap_remove(struct tac_heap *heap, struct tac_heap_node *node);

static inline bool
tac_heap_is_linked(const struct tac_heap_node *node)
{
    return node->index != 0;
}

static inline bool
tac_heap_is_empty(const struct tac_heap *heap)
{
    return heap->len == 0;
}

/* May there be an item at `at` or before?  False is certain; where a young
 * node was removed, true need not be. */
static inline bool
tac_heap_may_have(const struct tac_heap *heap, double at)
{
    return (heap->settled != 0 && heap->items[0].at <= at)
           || (heap->len != heap->settled && heap->young_at <= at);
}

/* The earliest item, valid until the next change, or NULL.  The young join
 * the heap. */
const struct tac_heap_item *tac_heap_peek(struct tac_heap *heap);

/* The same, of those that were in the heap when somebody last asked. */
static inline const struct tac_heap_item *
tac_heap_peek_settled(const struct tac_heap *heap)
{
    return heap->settled != 0 ? &heap->items[0] : NULL;
}

#endif
