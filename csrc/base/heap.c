/* base/heap.c - indexed 4-ary heap of timers.
 *
 * Four children a node halve the depth of a binary heap and keep siblings in
 * one or two cache lines (24 bytes an item); libev does the same.
 *
 *   I1  items[i].node->index == i + 1 for every i < len.
 *   I2  items[parent(i)] <= items[i] by (at, seq) for every i < settled.
 *   I3  items[i].at >= young_at for every i >= settled.
 */
#include "base/heap.h"

#include <stdlib.h>

#define HEAP_ARITY 4
#define HEAP_MIN_CAPACITY 16

static inline bool
heap_is_before(const struct tac_heap_item *a, const struct tac_heap_item *b)
{
    return a->at < b->at || (a->at == b->at && a->seq < b->seq);
}

static inline void
heap_put(struct tac_heap *heap, size_t i, struct tac_heap_item item)
{
    heap->items[i] = item;
    item.node->index = i + 1;
}

static void
heap_sift_up(struct tac_heap *heap, size_t i, struct tac_heap_item item)
{
    while (i > 0) {
        size_t parent = (i - 1) / HEAP_ARITY;
        if (!heap_is_before(&item, &heap->items[parent])) {
            break;
        }
        heap_put(heap, i, heap->items[parent]);
        i = parent;
    }
    heap_put(heap, i, item);
}

static void
heap_sift_down(struct tac_heap *heap, size_t i, struct tac_heap_item item)
{
    for (;;) {
        size_t first = i * HEAP_ARITY + 1;
        if (first >= heap->settled) {
            break;
        }
        size_t end = first + HEAP_ARITY < heap->settled ? first + HEAP_ARITY
                                                        : heap->settled;
        size_t best = first;
        for (size_t c = first + 1; c < end; c++) {
            if (heap_is_before(&heap->items[c], &heap->items[best])) {
                best = c;
            }
        }
        if (!heap_is_before(&heap->items[best], &item)) {
            break;
        }
        heap_put(heap, i, heap->items[best]);
        i = best;
    }
    heap_put(heap, i, item);
}

static int
heap_grow(struct tac_heap *heap)
{
    size_t capacity = heap->capacity ? heap->capacity * 2 : HEAP_MIN_CAPACITY;
    struct tac_heap_item *items =
        realloc(heap->items, capacity * sizeof(*items));
    if (items == NULL) {
        return -1;
    }
    heap->items = items;
    heap->capacity = capacity;
    return 0;
}

/* Give memory back once three quarters of it are unused. */
static void
heap_shrink(struct tac_heap *heap)
{
    size_t capacity = heap->capacity / 2;
    if (capacity < HEAP_MIN_CAPACITY || heap->len > capacity / 2) {
        return;
    }
    struct tac_heap_item *items =
        realloc(heap->items, capacity * sizeof(*items));
    if (items != NULL) {
        heap->items = items;
        heap->capacity = capacity;
    }
}

void
tac_heap_fini(struct tac_heap *heap)
{
    for (size_t i = 0; i < heap->len; i++) {
        heap->items[i].node->index = 0;
    }
    free(heap->items);
    heap->items = NULL;
    heap->len = heap->settled = heap->capacity = 0;
}

int
tac_heap_push(struct tac_heap *heap, struct tac_heap_node *node, double at)
{
    if (heap->len == heap->capacity && heap_grow(heap) < 0) {
        return -1;
    }
    if (heap->len == heap->settled || at < heap->young_at) {
        heap->young_at = at;
    }
    struct tac_heap_item item = {at, heap->next_seq++, node};
    heap_put(heap, heap->len++, item);
    return 0;
}

const struct tac_heap_item *
tac_heap_peek(struct tac_heap *heap)
{
    while (heap->settled < heap->len) {
        size_t i = heap->settled++;
        heap_sift_up(heap, i, heap->items[i]);
    }
    return tac_heap_peek_settled(heap);
}

/* Take item i out of the heap; its last item takes the place. */
static void
heap_remove_settled(struct tac_heap *heap, size_t i)
{
    struct tac_heap_item last = heap->items[--heap->settled];
    if (i == heap->settled) {
        return;
    }
    if (i > 0 && heap_is_before(&last, &heap->items[(i - 1) / HEAP_ARITY])) {
        heap_sift_up(heap, i, last);
    }
    else {
        heap_sift_down(heap, i, last);
    }
}

void
tac_heap_remove(struct tac_heap *heap, struct tac_heap_node *node)
{
    if (node->index == 0) {
        return;
    }
    size_t hole = node->index - 1;
    node->index = 0;
    if (hole < heap->settled) {
        heap_remove_settled(heap, hole);
        hole = heap->settled;
    }
    /* The young close up: they have no order. */
    if (hole != --heap->len) {
        heap_put(heap, hole, heap->items[heap->len]);
    }
    heap_shrink(heap);
}

#undef HEAP_ARITY
#undef HEAP_MIN_CAPACITY
