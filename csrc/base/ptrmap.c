/* base/ptrmap.c - pointers by pointer: open addressing, linear probing. */
#include "base/ptrmap.h"

#include <stdint.h>
#include <stdlib.h>

#define PTRMAP_FIRST 16

/* Multiplication by 2^64 / golden ratio spreads addresses, whose lowest bits
 * are alike (Knuth, The Art of Computer Programming 3, section 6.4). */
static size_t
ptrmap_home(const struct tac_ptrmap *map, const void *key)
{
    uint64_t hash = (uint64_t)(uintptr_t)key * UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(hash >> 32) & (map->capacity - 1);
}

/* Where the key is, or the free slot where it would be. */
static size_t
ptrmap_find(const struct tac_ptrmap *map, const void *key)
{
    size_t i = ptrmap_home(map, key);
    while (map->slots[i].key != NULL && map->slots[i].key != key) {
        i = (i + 1) & (map->capacity - 1);
    }
    return i;
}

void *
tac_ptrmap_get(const struct tac_ptrmap *map, const void *key)
{
    return map->len == 0 ? NULL : map->slots[ptrmap_find(map, key)].value;
}

static int
ptrmap_grow(struct tac_ptrmap *map)
{
    struct tac_ptrmap larger = {
        .len = map->len,
        .capacity = map->capacity == 0 ? PTRMAP_FIRST : map->capacity * 2,
    };
    larger.slots = calloc(larger.capacity, sizeof(*larger.slots));
    if (larger.slots == NULL) {
        return -1;
    }
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].key != NULL) {
            larger.slots[ptrmap_find(&larger, map->slots[i].key)] =
                map->slots[i];
        }
    }
    free(map->slots);
    *map = larger;
    return 0;
}

int
tac_ptrmap_put(struct tac_ptrmap *map, const void *key, void *value)
{
    /* Two thirds full at most: the probes stay short. */
    if ((map->len + 1) * 3 > map->capacity * 2 && ptrmap_grow(map) < 0) {
        return -1;
    }
    struct tac_ptrmap_slot *slot = &map->slots[ptrmap_find(map, key)];
    map->len += slot->key == NULL;
    slot->key = key;
    slot->value = value;
    return 0;
}

/* Close the gap at `gap`: what comes behind it may have been put there only
 * because its own place was taken. */
static void
ptrmap_close_gap(struct tac_ptrmap *map, size_t gap)
{
    size_t mask = map->capacity - 1;
    for (size_t i = (gap + 1) & mask; map->slots[i].key != NULL;
         i = (i + 1) & mask)
    {
        size_t home = ptrmap_home(map, map->slots[i].key);
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            map->slots[gap] = map->slots[i];
            gap = i;
        }
    }
    map->slots[gap] = (struct tac_ptrmap_slot){NULL, NULL};
}

void *
tac_ptrmap_take(struct tac_ptrmap *map, const void *key)
{
    if (map->len == 0) {
        return NULL;
    }
    size_t i = ptrmap_find(map, key);
    void *value = map->slots[i].value;
    if (value != NULL) {
        map->len--;
        ptrmap_close_gap(map, i);
    }
    return value;
}

void *
tac_ptrmap_take_any(struct tac_ptrmap *map)
{
    for (size_t i = 0; map->len != 0 && i < map->capacity; i++) {
        if (map->slots[i].key != NULL) {
            return tac_ptrmap_take(map, map->slots[i].key);
        }
    }
    free(map->slots);
    *map = (struct tac_ptrmap){NULL, 0, 0};
    return NULL;
}
