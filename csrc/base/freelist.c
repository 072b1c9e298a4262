/* base/freelist.c - unused objects of one type, kept for reuse. */
#include "base/freelist.h"

enum { FREELIST_QUIET = 1 << 12 };

void
tac_freelist_cut(struct tac_freelist *list, Py_ssize_t len)
{
    while (list->len > len) {
        PyObject *object = list->first;
        list->first = *tac_freelist_link(object);
        list->len--;
        PyObject_GC_Del(object);
    }
}

void
tac_freelist_expect_burst(struct tac_freelist *list, size_t batch)
{
    Py_ssize_t most = TAC_FREELIST_MOST;
    if ((Py_ssize_t)batch < list->limit / 4) {
        if (++list->quiet > FREELIST_QUIET) {
            list->limit = TAC_FREELIST_USUAL;
            tac_freelist_cut(list, list->limit);
        }
        return;
    }
    list->quiet = 0;
    if ((Py_ssize_t)batch > list->limit) {
        list->limit = (Py_ssize_t)batch < most ? (Py_ssize_t)batch : most;
    }
}
