/* base/fdtable.c - arrays of pointers, by the number of a file descriptor. */
#include "base/fdtable.h"

#include <Python.h>

enum { FDTABLE_FIRST_CAPACITY = 32 };

void *
tac_fdtable_grow(void *items, int *capacity, int fd)
{
    if (fd < *capacity) {
        return items;
    }
    int grown = *capacity == 0 ? FDTABLE_FIRST_CAPACITY : *capacity;
    while (grown <= fd) {
        grown *= 2;
    }
    void **longer = PyMem_Realloc(items, (size_t)grown * sizeof(*longer));
    if (longer == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    memset(longer + *capacity, 0,
           (size_t)(grown - *capacity) * sizeof(*longer));
    *capacity = grown;
    return longer;
}
