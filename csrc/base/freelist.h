/* base/freelist.h - unused objects of one type, kept for reuse.
 *
 * For what lives for one await or one callback.  The objects are chained
 * through the word behind their head, so a list costs nothing by itself.  How
 * many it keeps is bounded; where bursts come again and again, it keeps
 * enough for the next one (tac_freelist_expect).
 *
 * Owns: the objects' memory; they are untracked, cleared, and have no
 *     references.
 * Threads: any that hold the GIL.   Python code run here: none.
 */
#ifndef TAC_BASE_FREELIST_H
#define TAC_BASE_FREELIST_H

#include <Python.h>

#include <stdbool.h>

#if defined(TAC_DEBUG_CHECKS) || defined(TAC_SANITIZE)
#define TAC_FREELIST_USUAL 0 /* it would hide a use after free */
#define TAC_FREELIST_MOST 0
#else
#define TAC_FREELIST_USUAL 1024
#define TAC_FREELIST_MOST (1 << 16)
#endif

struct tac_freelist {
    PyObject *first;
    Py_ssize_t len;
    Py_ssize_t limit;        /* how many are kept */
    unsigned quiet;          /* batches since the last burst */
};

static inline void
tac_freelist_init(struct tac_freelist *list)
{
    *list = (struct tac_freelist){.limit = TAC_FREELIST_USUAL};
}

static inline PyObject **
tac_freelist_link(PyObject *object)
{
    return (PyObject **)(object + 1);
}

/* Keep an object (steals) for reuse.  `type`: what the module's state holds
 * for it, NULL once the module is torn down.  False: it is the caller's to
 * free. */
static inline bool
tac_freelist_push(struct tac_freelist *list, PyTypeObject *type,
                  PyObject *object)
{
    if (type == NULL || list->len >= list->limit) {
        return false;
    }
    *tac_freelist_link(object) = list->first;
    list->first = object;
    list->len++;
    return true;
}

/* An object of the type with one reference, its fields undefined, or NULL.
 * What PyObject_Init does beyond this matters to builds that trace references
 * only. */
static inline PyObject *
tac_freelist_pop(struct tac_freelist *list, PyTypeObject *type)
{
    PyObject *object = list->first;
    if (object == NULL) {
        return NULL;
    }
    list->first = *tac_freelist_link(object);
    list->len--;
#if defined(Py_REF_DEBUG) || defined(Py_TRACE_REFS) || defined(Py_GIL_DISABLED)
    return PyObject_Init(object, type);
#else
    Py_INCREF(type);
    Py_SET_REFCNT(object, 1);
    return object;
#endif
}

/* Free what is kept beyond `len`.  Freeing an object asks its type, which
 * must be there yet. */
void tac_freelist_cut(struct tac_freelist *list, Py_ssize_t len);

/* As below, for a batch that is large or comes after one that was. */
void tac_freelist_expect_burst(struct tac_freelist *list, size_t batch);

/* So many objects are about to die: a burst of them is kept for the next one,
 * till some thousand batches have passed with none. */
static inline void
tac_freelist_expect(struct tac_freelist *list, size_t batch)
{
    if (batch > TAC_FREELIST_USUAL || list->limit > TAC_FREELIST_USUAL) {
        tac_freelist_expect_burst(list, batch);
    }
}

#endif
