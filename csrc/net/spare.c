/* net/spare.c - memory of received bytes, used again for the next ones. */
#include "net/spare.h"

#include <stdint.h>
#include <string.h>

enum {
    SPARE_MIN_BYTES = 480,        /* below, Python's own allocator is quick */
    SPARE_MAX_BYTES = 256 * 1024, /* no read gives more */
    SPARE_LARGE_BYTES = 16 * 1024,
    SPARE_PAGE_BYTES = 4096,
    SPARE_CLOSE_BYTES = 32,
    SPARE_TRIES = 4,
};

#if defined(TAC_DEBUG_CHECKS) || defined(TAC_SANITIZE)                        \
    || defined(Py_GIL_DISABLED) || defined(Py_REF_DEBUG)
#define SPARE_KEEP false /* it would hide a use after free */
#else
#define SPARE_KEEP true
#endif

/* One that nobody knows of gets another size, no more than it has room for. */
static PyObject *
spare_resize(PyObject *bytes, Py_ssize_t size)
{
    Py_SET_SIZE((PyVarObject *)bytes, size);
    _Py_COMP_DIAG_PUSH
    _Py_COMP_DIAG_IGNORE_DEPR_DECLS
    ((PyBytesObject *)bytes)->ob_shash = -1; /* none is known */
    _Py_COMP_DIAG_POP
    PyBytes_AS_STRING(bytes)[size] = '\0';
    return bytes;
}

/* The kernel's copies of large messages begin with a page.  To copy forward to
 * where an address is less than 32 bytes further into its page than that of
 * the source takes AMD's Zen 3 five times as long; so nothing large is received
 * there, nor sent from as little before the end of a page. */
static bool
spare_is_slow(PyObject *bytes, Py_ssize_t size)
{
    uintptr_t into_page =
        (uintptr_t)PyBytes_AS_STRING(bytes) % SPARE_PAGE_BYTES;
    return size >= SPARE_LARGE_BYTES && into_page != 0
           && (into_page < SPARE_CLOSE_BYTES
               || into_page > SPARE_PAGE_BYTES - SPARE_CLOSE_BYTES);
}

static PyObject *
spare_new(Py_ssize_t size)
{
    PyObject *slow[SPARE_TRIES];
    int count = 0;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, size);
    while (bytes != NULL && count < SPARE_TRIES && spare_is_slow(bytes, size)) {
        slow[count++] = bytes; /* held, so that the next one is elsewhere */
        bytes = PyBytes_FromStringAndSize(NULL, size);
    }
    while (count > 0) {
        Py_DECREF(slow[--count]);
    }
    return bytes;
}

PyObject *
tac_spare_take(TacState *state, Py_ssize_t size)
{
    for (int i = 0; i < TAC_SPARES; i++) {
        struct tac_spare *spare = &state->spares[i];
        Py_ssize_t room = spare->room;
        /* Whoever keeps it shall not keep much more than it asked for. */
        if (size <= room && size >= room - room / 4 && room != 0) {
            PyObject *bytes = spare->bytes;
            *spare = (struct tac_spare){0};
            return spare_resize(bytes, size);
        }
    }
    return spare_new(size);
}

PyObject *
tac_spare_take_copy(TacState *state, const char *data, Py_ssize_t size)
{
    if (size < SPARE_MIN_BYTES) {
        return PyBytes_FromStringAndSize(data, size);
    }
    PyObject *bytes = tac_spare_take(state, size);
    if (bytes != NULL) {
        memcpy(PyBytes_AS_STRING(bytes), data, (size_t)size);
    }
    return bytes;
}

void
tac_spare_give(TacState *state, PyObject *bytes)
{
    Py_ssize_t size = PyBytes_GET_SIZE(bytes);
    if (!SPARE_KEEP || Py_REFCNT(bytes) != 1 || size < SPARE_MIN_BYTES
        || size > SPARE_MAX_BYTES || state->stream_type == NULL
        || spare_is_slow(bytes, size))
    {
        Py_DECREF(bytes);
        return;
    }
    /* The first is free after most reads; else the oldest goes. */
    struct tac_spare *spares = state->spares;
    if (spares[0].bytes != NULL) {
        Py_XDECREF(spares[TAC_SPARES - 1].bytes);
        memmove(spares + 1, spares,
                (TAC_SPARES - 1) * sizeof(struct tac_spare));
    }
    spares[0] = (struct tac_spare){bytes, size};
}

void
tac_spare_clear(TacState *state)
{
    for (int i = 0; i < TAC_SPARES; i++) {
        Py_CLEAR(state->spares[i].bytes);
        state->spares[i].room = 0;
    }
}
