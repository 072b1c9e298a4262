/* base/fdtable.h - arrays of pointers, by the number of a file descriptor.
 *
 * Owns: nothing; the array is its holder's.   Threads: the holder's.
 * Python code run here: none.
 */
#ifndef TAC_BASE_FDTABLE_H
#define TAC_BASE_FDTABLE_H

/* Make an array (stolen; NULL: none yet) of `*capacity` pointers long enough
 * for `fd`; what is new is NULL.  Returns the array, or NULL with MemoryError
 * and the old one as it was. */
void *tac_fdtable_grow(void *items, int *capacity, int fd);

#endif
