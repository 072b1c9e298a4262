/* base/vec.h - a short-lived vector of pointers, on the stack while small.
 *
 * For snapshots and work lists: what is iterated may change under the
 * iteration, because Python code runs between two items.
 *
 * Owns: its overflow array; the items are the caller's.
 * Threads: any.   Python code run here: none.
 */
#ifndef TAC_BASE_VEC_H
#define TAC_BASE_VEC_H

#include <Python.h>

#include <stdlib.h>
#include <string.h>

#define TAC_VEC_INLINE 16

struct tac_vec {
    void **items;
    size_t len;
    size_t capacity;
    void *inline_items[TAC_VEC_INLINE];
};

static inline void
tac_vec_init(struct tac_vec *vec)
{
    vec->items = vec->inline_items;
    vec->len = 0;
    vec->capacity = TAC_VEC_INLINE;
}

static inline void
tac_vec_fini(struct tac_vec *vec)
{
    if (vec->items != vec->inline_items) {
        free(vec->items);
    }
}

/* Returns 0, or -1 when out of memory (no exception set). */
static inline int
tac_vec_push(struct tac_vec *vec, void *item)
{
    if (vec->len == vec->capacity) {
        size_t size = vec->capacity * 2 * sizeof(void *);
        void **items = vec->items == vec->inline_items
                           ? malloc(size)
                           : realloc(vec->items, size);
        if (items == NULL) {
            return -1;
        }
        if (vec->items == vec->inline_items) {
            memcpy(items, vec->inline_items, sizeof(vec->inline_items));
        }
        vec->items = items;
        vec->capacity *= 2;
    }
    vec->items[vec->len++] = item;
    return 0;
}

#endif
