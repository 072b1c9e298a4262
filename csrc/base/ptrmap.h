/* base/ptrmap.h - pointers by pointer: open addressing, linear probing.
 *
 * A removal moves what follows back, so there are no tombstones, and a map
 * that has emptied is as fast as a new one.
 *
 * Owns: its array; keys and values are the caller's.
 * Threads: whoever owns the map.   Python code run here: none.
 */
#ifndef TAC_BASE_PTRMAP_H
#define TAC_BASE_PTRMAP_H

#include <stddef.h>

struct tac_ptrmap_slot {
    const void *key; /* NULL: free */
    void *value;
};

struct tac_ptrmap {
    struct tac_ptrmap_slot *slots; /* NULL while nothing was put in */
    size_t len;
    size_t capacity; /* a power of two, or 0 */
};

/* The value, or NULL. */
void *tac_ptrmap_get(const struct tac_ptrmap *map, const void *key);

/* Put a value (not NULL) in, in place of an older one.  0, or -1 when out of
 * memory, no exception set. */
int tac_ptrmap_put(struct tac_ptrmap *map, const void *key, void *value);

/* Take a value out.  Returns it, or NULL if there was none. */
void *tac_ptrmap_take(struct tac_ptrmap *map, const void *key);

/* Any value, taken out; NULL if there is none: memory is given back then. */
void *tac_ptrmap_take_any(struct tac_ptrmap *map);

#endif
