/* net/tls_direct.c - OpenSSL driven directly, on the interpreter's own
 * libssl and its own SSL objects.
 *
 * Nothing of OpenSSL is linked or included: the functions are looked up in
 * what the loaded _ssl module is linked with, so they are the very ones that
 * made the SSL object; their few prototypes are public and stable since 1.1.1.
 *
 * Where the SSL pointer is in a _ssl._SSLSocket is learnt by its neighbour,
 * the pointer to the context object, and then proved on several objects:
 * OpenSSL's own notion of the context and of the object that the SSL belongs
 * to must agree with Python's, and bytes put into each MemoryBIO must be seen
 * through it. Whatever does not agree means: not to be had. Each later object
 * is asked for its owner again.
 *
 * The SSL gets BIOs of ours after the handshake. Reading goes through no copy
 * but OpenSSL's: ciphertext is read from the buffer that it arrived in. An
 * operation of Python's, the shutdown say, uses the same BIOs, but without
 * the GIL, so what it writes goes into plain memory, the spill.
 *
 * An operation that fails is done once more through Python, which finds the
 * reason where OpenSSL left it and raises what it always raises.
 */
#include "base/compat.h"
#include "net/tls.h"

#include <dlfcn.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* OpenSSL's, by their documentation. */
#define DIRECT_SSL_ERROR_WANT_READ 2
#define DIRECT_SSL_ERROR_WANT_WRITE 3
#define DIRECT_SSL_ERROR_ZERO_RETURN 6
#define DIRECT_BIO_TYPE_SOURCE_SINK 0x0400
#define DIRECT_BIO_CTRL_FLUSH 11
#define DIRECT_BIO_CTRL_PENDING 10
#define DIRECT_BIO_RETRY_FLAGS 0x0f
#define DIRECT_BIO_RETRY_READ 0x09

#define DIRECT_RECORD_LEN 16384
/* What a record adds: header, IV, padding and MAC of the worst cipher. */
#define DIRECT_RECORD_EXTRA 128
/* Plaintext is read into the stack first up to here. */
#define DIRECT_STACK_LEN (DIRECT_RECORD_LEN + 4096)

/* X(result, name, arguments) */
#define DIRECT_FUNCTIONS(X)                                            \
    X(int, SSL_read_ex, (void *, void *, size_t, size_t *))            \
    X(int, SSL_write_ex, (void *, const void *, size_t, size_t *))     \
    X(int, SSL_get_error, (const void *, int))                         \
    X(void *, SSL_get_ex_data, (const void *, int))                    \
    X(void *, SSL_get_SSL_CTX, (const void *))                         \
    X(void *, SSL_get_rbio, (const void *))                            \
    X(void *, SSL_get_wbio, (const void *))                            \
    X(void, SSL_set_bio, (void *, void *, void *))                     \
    X(void, ERR_clear_error, (void))                                   \
    X(void *, BIO_new, (const void *))                                 \
    X(int, BIO_free, (void *))                                         \
    X(int, BIO_up_ref, (void *))                                       \
    X(size_t, BIO_ctrl_pending, (void *))                              \
    X(void, BIO_set_data, (void *, void *))                            \
    X(void, BIO_set_init, (void *, int))                               \
    X(int, BIO_get_new_index, (void))                                  \
    X(void *, BIO_meth_new, (int, const char *))                       \
    X(int, BIO_meth_set_read, (void *, int (*)(void *, char *, int)))  \
    X(int, BIO_meth_set_write,                                         \
      (void *, int (*)(void *, const char *, int)))                    \
    X(int, BIO_meth_set_ctrl,                                          \
      (void *, long (*)(void *, int, long, void *)))                   \
    X(const char *, OpenSSL_version, (int))

struct tac_openssl {
    size_t ssl_offset; /* of the SSL pointer in a _ssl._SSLSocket */
    void *bio_method;  /* never freed: an SSL object can outlive all of us */
#define X(result, name, arguments) result(*name) arguments;
    DIRECT_FUNCTIONS(X)
#undef X
};

/* What a BIO's methods call; they are given nothing but the BIO. */
struct direct_bio_calls {
    void *(*get_data)(void *);
    void (*set_flags)(void *, int);
    void (*clear_flags)(void *, int);
};
static struct direct_bio_calls direct_bio; /* cstyle: mutable: the addresses
    of one shared library's functions, the same for all interpreters */

/* The BIOs; called with or without the GIL -------------------------------- */

static TacTls *
direct_bio_owner(void *bio)
{
    return (TacTls *)direct_bio.get_data(bio);
}

static int
direct_bio_read(void *bio, char *buf, int len)
{
    TacTls *tls = direct_bio_owner(bio);
    direct_bio.clear_flags(bio, DIRECT_BIO_RETRY_FLAGS);
    if (tls == NULL || tls->direct.in_len == 0 || len <= 0) {
        direct_bio.set_flags(bio, DIRECT_BIO_RETRY_READ);
        return -1;
    }
    struct tac_tls_direct *d = &tls->direct;
    size_t count = (size_t)len < d->in_len ? (size_t)len : d->in_len;
    memcpy(buf, d->in, count);
    d->in += count;
    d->in_len -= count;
    return (int)count;
}

/* Make room for `len` more bytes in the object that is sent next; only with
 * the GIL. 0, or -1 with an exception. */
static int
direct_reserve(struct tac_tls_direct *d, size_t len)
{
    size_t need = d->out_len + len;
    if (d->out == NULL) {
        d->out = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)need);
        return d->out == NULL ? -1 : 0;
    }
    size_t room = (size_t)PyBytes_GET_SIZE(d->out);
    if (need <= room) {
        return 0;
    }
    size_t wanted = need < 2 * room ? 2 * room : need;
    /* Not by _PyBytes_Resize: a failure there would lose what is written. */
    PyObject *larger = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)wanted);
    if (larger == NULL) {
        return -1;
    }
    memcpy(PyBytes_AS_STRING(larger), PyBytes_AS_STRING(d->out), d->out_len);
    Py_SETREF(d->out, larger);
    return 0;
}

static int
direct_bio_spill(struct tac_tls_direct *d, const char *data, size_t len)
{
    char *spill = PyMem_RawRealloc(d->spill, d->spill_len + len);
    if (spill == NULL) {
        return -1;
    }
    memcpy(spill + d->spill_len, data, len);
    d->spill = spill;
    d->spill_len += len;
    return 0;
}

static int
direct_bio_write(void *bio, const char *data, int len)
{
    TacTls *tls = direct_bio_owner(bio);
    direct_bio.clear_flags(bio, DIRECT_BIO_RETRY_FLAGS);
    if (tls == NULL || len <= 0) {
        return len; /* nobody would send it */
    }
    struct tac_tls_direct *d = &tls->direct;
    size_t count = (size_t)len;
    if (!d->has_gil) {
        if (direct_bio_spill(d, data, count) < 0) {
            return -1;
        }
        return len;
    }
    if (direct_reserve(d, count) < 0) {
        PyErr_Clear();
        d->no_memory = true;
        return -1;
    }
    memcpy(PyBytes_AS_STRING(d->out) + d->out_len, data, count);
    d->out_len += count;
    return len;
}

static long
direct_bio_ctrl(void *bio, int command, long number, void *pointer)
{
    TacTls *tls = direct_bio_owner(bio);
    switch (command) {
    case DIRECT_BIO_CTRL_FLUSH:
        return 1;
    case DIRECT_BIO_CTRL_PENDING:
        return tls == NULL ? 0 : (long)tls->direct.in_len;
    default:
        return 0;
    }
}

/* Binding ----------------------------------------------------------------- */

static void *
direct_read_pointer(const void *object, size_t offset)
{
    void *value;
    memcpy(&value, (const char *)object + offset, sizeof(value));
    return value;
}

static void *
direct_bio_new(struct tac_openssl *lib, TacTls *tls)
{
    void *bio = lib->BIO_new(lib->bio_method);
    if (bio != NULL) {
        lib->BIO_set_data(bio, tls);
        lib->BIO_set_init(bio, 1);
    }
    return bio;
}

static void
direct_bio_free(struct tac_openssl *lib, void *bio)
{
    if (bio != NULL) {
        lib->BIO_set_data(bio, NULL);
        lib->BIO_free(bio);
    }
}

/* Move what is in a MemoryBIO out of it, after a handshake. Returns: new
 * ref | NULL, no exception set. */
static PyObject *
direct_empty_bio(TacTls *tls, PyObject *bio)
{
    PyObject *data = PyObject_CallMethodNoArgs(bio, tls->module->str_read);
    if (data == NULL) {
        PyErr_Clear();
    }
    return data;
}

static bool
direct_take_over(TacTls *tls, void *ssl, PyObject *in, PyObject *out)
{
    struct tac_openssl *lib = tls->module->openssl;
    struct tac_tls_direct *d = &tls->direct;
    size_t in_len = (size_t)PyBytes_GET_SIZE(in);
    if (in_len > 0) {
        d->stash = PyMem_RawMalloc(in_len);
        if (d->stash == NULL) {
            return false;
        }
        memcpy(d->stash, PyBytes_AS_STRING(in), in_len);
    }
    d->rbio = direct_bio_new(lib, tls);
    d->wbio = direct_bio_new(lib, tls);
    if (d->rbio == NULL || d->wbio == NULL) {
        return false;
    }
    d->in = d->stash;
    d->in_len = in_len;
    if (PyBytes_GET_SIZE(out) > 0) {
        d->out = Py_NewRef(out);
        d->out_len = (size_t)PyBytes_GET_SIZE(out);
    }
    lib->BIO_up_ref(d->rbio);
    lib->BIO_up_ref(d->wbio);
    lib->SSL_set_bio(ssl, d->rbio, d->wbio);
    d->ssl = ssl;
    return true;
}

/* Give the MemoryBIO back what was taken out of it. */
static void
direct_refill_bio(PyObject *bio, PyObject *data)
{
    PyObject *count = PyObject_CallMethod(bio, "write", "O", data);
    if (count == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(count);
}

void
tac_tls_direct_bind(TacTls *tls)
{
    struct tac_openssl *lib = tls->module->openssl;
    void *ssl = direct_read_pointer(tls->raw, lib->ssl_offset);
    if (ssl == NULL || lib->SSL_get_ex_data(ssl, 0) != (void *)tls->raw) {
        return;
    }
    PyObject *in = direct_empty_bio(tls, tls->incoming);
    PyObject *out = in == NULL ? NULL : direct_empty_bio(tls, tls->outgoing);
    if (in != NULL && out != NULL && direct_take_over(tls, ssl, in, out)) {
        Py_DECREF(in);
        Py_DECREF(out);
        return;
    }
    if (in != NULL) {
        direct_refill_bio(tls->incoming, in);
    }
    if (out != NULL) {
        direct_refill_bio(tls->outgoing, out);
    }
    Py_XDECREF(in);
    Py_XDECREF(out);
    tac_tls_direct_unbind(tls);
}

void
tac_tls_direct_unbind(TacTls *tls)
{
    struct tac_tls_direct *d = &tls->direct;
    struct tac_tls_direct was = *d;
    memset(d, 0, sizeof(*d));
    if (was.rbio != NULL || was.wbio != NULL) {
        struct tac_openssl *lib = tls->module->openssl;
        direct_bio_free(lib, was.rbio);
        direct_bio_free(lib, was.wbio);
    }
    PyMem_RawFree(was.stash);
    PyMem_RawFree(was.spill);
    Py_XDECREF(was.out);
}

/* Ciphertext -------------------------------------------------------------- */

int
tac_tls_direct_feed(TacTls *tls, const char *data, size_t len)
{
    struct tac_tls_direct *d = &tls->direct;
    if (d->in_len == 0) {
        PyMem_RawFree(d->stash);
        d->stash = NULL;
        d->in = data;
        d->in_len = len;
        return 0;
    }
    char *stash = PyMem_RawMalloc(d->in_len + len);
    if (stash == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(stash, d->in, d->in_len);
    memcpy(stash + d->in_len, data, len);
    PyMem_RawFree(d->stash);
    d->stash = stash;
    d->in = stash;
    d->in_len += len;
    return 0;
}

int
tac_tls_direct_settle(TacTls *tls)
{
    struct tac_tls_direct *d = &tls->direct;
    if (d->in_len == 0) {
        PyMem_RawFree(d->stash);
        d->stash = NULL;
        d->in = NULL;
        return 0;
    }
    if (d->stash != NULL) {
        return 0; /* what is left is in it */
    }
    d->stash = PyMem_RawMalloc(d->in_len);
    if (d->stash == NULL) {
        d->in = NULL;
        d->in_len = 0;
        PyErr_NoMemory();
        return -1;
    }
    memcpy(d->stash, d->in, d->in_len);
    d->in = d->stash;
    return 0;
}

/* Move what Python's operations wrote behind what ours wrote. */
static int
direct_merge_spill(struct tac_tls_direct *d)
{
    if (d->spill_len == 0) {
        return 0;
    }
    if (direct_reserve(d, d->spill_len) < 0) {
        return -1;
    }
    memcpy(PyBytes_AS_STRING(d->out) + d->out_len, d->spill, d->spill_len);
    d->out_len += d->spill_len;
    PyMem_RawFree(d->spill);
    d->spill = NULL;
    d->spill_len = 0;
    return 0;
}

PyObject *
tac_tls_direct_take(TacTls *tls)
{
    struct tac_tls_direct *d = &tls->direct;
    if (direct_merge_spill(d) < 0) {
        return NULL;
    }
    PyObject *out = d->out;
    size_t len = d->out_len;
    d->out = NULL;
    d->out_len = 0;
    if (out == NULL) {
        return PyBytes_FromStringAndSize(NULL, 0);
    }
    if (len != (size_t)PyBytes_GET_SIZE(out)) {
        (void)_PyBytes_Resize(&out, (Py_ssize_t)len);
    }
    return out;
}

/* Reading and writing ----------------------------------------------------- */

/* Have Python do what OpenSSL refused: it raises the reason. */
static enum tac_tls_result
direct_hand_over(TacTls *tls, PyObject *raw, PyObject *method, PyObject *arg,
                 size_t *done, char *buf)
{
    if (arg == NULL) {
        return TAC_TLS_ERROR;
    }
    PyObject *args[] = {raw, arg};
    PyObject *result = PyObject_VectorcallMethod(
        method, args, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    Py_DECREF(arg);
    if (result == NULL) {
        if (PyErr_ExceptionMatches(tls->module->ssl_again)) {
            PyErr_Clear();
            return TAC_TLS_AGAIN;
        }
        return TAC_TLS_ERROR;
    }
    enum tac_tls_result outcome = TAC_TLS_DONE;
    if (buf != NULL && PyBytes_GET_SIZE(result) == 0) {
        outcome = TAC_TLS_EOF;
    }
    else {
        *done = 1;
        if (buf != NULL) {
            *buf = *PyBytes_AS_STRING(result);
        }
    }
    Py_DECREF(result);
    return outcome;
}

static enum tac_tls_result
direct_classify(int error)
{
    switch (error) {
    case DIRECT_SSL_ERROR_WANT_READ:
    case DIRECT_SSL_ERROR_WANT_WRITE:
        return TAC_TLS_AGAIN;
    case DIRECT_SSL_ERROR_ZERO_RETURN:
        return TAC_TLS_EOF;
    default:
        return TAC_TLS_ERROR;
    }
}

static enum tac_tls_result
direct_no_memory(struct tac_tls_direct *d)
{
    d->no_memory = false;
    PyErr_NoMemory();
    return TAC_TLS_ERROR;
}

/* DONE: *got bytes, of one record. */
static enum tac_tls_result
direct_read_some(TacTls *tls, char *buf, size_t len, size_t *got)
{
    struct tac_openssl *lib = tls->module->openssl;
    struct tac_tls_direct *d = &tls->direct;
    PyObject *raw = Py_NewRef(tls->raw);
    *got = 0;
    void *ssl = d->ssl; /* what runs in there can let go of it */
    d->has_gil = true;
    int rc = lib->SSL_read_ex(ssl, buf, len, got);
    d->has_gil = false;
    enum tac_tls_result result =
        rc > 0 ? TAC_TLS_DONE : direct_classify(lib->SSL_get_error(ssl, rc));
    if (result == TAC_TLS_ERROR) {
        result = d->no_memory
                     ? direct_no_memory(d)
                     : direct_hand_over(tls, raw, tls->module->str_read,
                                        PyLong_FromLong(1), got, buf);
    }
    Py_DECREF(raw);
    return result;
}

/* Clear what other users of OpenSSL in this thread left behind, which would
 * pass for a failure of ours. */
static int
direct_begin(TacTls *tls)
{
    tls->module->openssl->ERR_clear_error();
    return direct_merge_spill(&tls->direct);
}

static bool
direct_is_drained(struct tac_tls_direct *d, size_t got, size_t asked)
{
    return d->in_len == 0 && got < asked && asked >= DIRECT_RECORD_LEN;
}

enum tac_tls_result
tac_tls_direct_read_into(TacTls *tls, char *buf, size_t len, size_t *got)
{
    struct tac_tls_direct *d = &tls->direct;
    *got = 0;
    if (direct_begin(tls) < 0) {
        return TAC_TLS_ERROR;
    }
    while (*got < len && d->ssl != NULL) {
        size_t count, asked = len - *got;
        enum tac_tls_result result =
            direct_read_some(tls, buf + *got, asked, &count);
        *got += count;
        if (result != TAC_TLS_DONE) {
            return result;
        }
        if (direct_is_drained(d, count, asked)) {
            return TAC_TLS_AGAIN;
        }
    }
    return *got == len ? TAC_TLS_DONE : TAC_TLS_AGAIN;
}

/* Read into a bytes object, made larger as need be. *data as read_all's. */
static enum tac_tls_result
direct_read_bytes(TacTls *tls, PyObject **data)
{
    struct tac_tls_direct *d = &tls->direct;
    size_t len = 0, room = d->in_len + DIRECT_RECORD_LEN;
    PyObject *all = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)room);
    enum tac_tls_result result = all == NULL ? TAC_TLS_ERROR : TAC_TLS_DONE;
    while (result == TAC_TLS_DONE) {
        size_t count;
        result = tac_tls_direct_read_into(
            tls, PyBytes_AS_STRING(all) + len, room - len, &count);
        len += count;
        if (result == TAC_TLS_DONE) { /* full: there may be more */
            room += room / 2;
            if (_PyBytes_Resize(&all, (Py_ssize_t)room) < 0) {
                result = TAC_TLS_ERROR;
            }
        }
    }
    if (result == TAC_TLS_ERROR || len == 0) {
        Py_XDECREF(all);
        return result == TAC_TLS_AGAIN ? TAC_TLS_DONE : result;
    }
    if (_PyBytes_Resize(&all, (Py_ssize_t)len) < 0) {
        return TAC_TLS_ERROR;
    }
    *data = all;
    return result == TAC_TLS_AGAIN ? TAC_TLS_DONE : result;
}

enum tac_tls_result
tac_tls_direct_read_all(TacTls *tls, PyObject **data)
{
    char buf[DIRECT_STACK_LEN];
    size_t got;
    *data = NULL;
    if (tls->direct.in_len > DIRECT_STACK_LEN - DIRECT_RECORD_LEN) {
        return direct_read_bytes(tls, data);
    }
    enum tac_tls_result result =
        tac_tls_direct_read_into(tls, buf, sizeof(buf), &got);
    if (result != TAC_TLS_ERROR && got > 0) {
        *data = PyBytes_FromStringAndSize(buf, (Py_ssize_t)got);
        if (*data == NULL) {
            return TAC_TLS_ERROR;
        }
    }
    return result == TAC_TLS_AGAIN ? TAC_TLS_DONE : result;
}

static enum tac_tls_result
direct_write_some(TacTls *tls, const char *data, size_t len, size_t *count)
{
    struct tac_openssl *lib = tls->module->openssl;
    struct tac_tls_direct *d = &tls->direct;
    PyObject *raw = Py_NewRef(tls->raw);
    *count = 0;
    void *ssl = d->ssl; /* what runs in there can let go of it */
    d->has_gil = true;
    int rc = lib->SSL_write_ex(ssl, data, len, count);
    d->has_gil = false;
    enum tac_tls_result result =
        rc > 0 ? TAC_TLS_DONE : direct_classify(lib->SSL_get_error(ssl, rc));
    if (result != TAC_TLS_DONE && result != TAC_TLS_AGAIN) {
        result =
            d->no_memory
                ? direct_no_memory(d)
                : direct_hand_over(tls, raw, tls->module->str_write,
                                   PyBytes_FromStringAndSize(data, 1), count,
                                   NULL);
    }
    Py_DECREF(raw);
    return result;
}

enum tac_tls_result
tac_tls_direct_write(TacTls *tls, const char *data, size_t len,
                     size_t *written)
{
    struct tac_tls_direct *d = &tls->direct;
    size_t records = len / DIRECT_RECORD_LEN + 1;
    *written = 0;
    if (direct_begin(tls) < 0
        || direct_reserve(d, len + records * DIRECT_RECORD_EXTRA) < 0)
    {
        return TAC_TLS_ERROR;
    }
    while (*written < len) {
        if (d->ssl == NULL) { /* let go of meanwhile */
            return TAC_TLS_AGAIN;
        }
        size_t count;
        enum tac_tls_result result = direct_write_some(
            tls, data + *written, len - *written, &count);
        *written += count;
        if (result != TAC_TLS_DONE) {
            return result;
        }
    }
    return TAC_TLS_DONE;
}

/* Finding the library ----------------------------------------------------- */

/* Find a function of the library, as one of the pointers in a struct. */
static bool
direct_look_up(void *library, const char *name, void *function)
{
    void *address = dlsym(library, name);
    memcpy(function, &address, sizeof(address));
    return address != NULL;
}

static bool
direct_look_up_all(void *library, struct tac_openssl *lib,
                   struct direct_bio_calls *calls)
{
#define X(result, name, arguments)                        \
    if (!direct_look_up(library, #name, &lib->name)) {    \
        return false;                                     \
    }
    DIRECT_FUNCTIONS(X)
#undef X
    return direct_look_up(library, "BIO_get_data", &calls->get_data)
           && direct_look_up(library, "BIO_set_flags", &calls->set_flags)
           && direct_look_up(library, "BIO_clear_flags",
                             &calls->clear_flags);
}

/* May `len` bytes be read at an address? The kernel is asked, which answers
 * EFAULT where a program would get a signal. */
static bool
direct_is_readable(const void *address, size_t len)
{
    int fds[2];
    if (address == NULL || pipe(fds) < 0) {
        return false;
    }
    bool readable = write(fds[1], address, len) == (ssize_t)len;
    close(fds[0]);
    close(fds[1]);
    return readable;
}

/* Where in a raw object the word before a pointer to its context is; 0: at
 * no place, or at several. */
static size_t
direct_find_offset(PyObject *context, PyObject *raw)
{
    size_t word = sizeof(void *), found = 0;
    size_t size = (size_t)Py_TYPE(raw)->tp_basicsize;
    for (size_t at = sizeof(PyObject) + word; at + word <= size; at += word) {
        if (direct_read_pointer(raw, at) != (void *)context) {
            continue;
        }
        if (found != 0) {
            return 0;
        }
        found = at - word;
    }
    return found;
}

/* Is what is seen in a MemoryBIO seen through the SSL as well? */
static bool
direct_proves_bio(struct tac_openssl *lib, void *bio, PyObject *memory)
{
    static const char probe[] = "0123456789";
    if (bio == NULL || lib->BIO_ctrl_pending(bio) != 0) {
        return false;
    }
    bool same = true;
    for (Py_ssize_t len = 1; same && len < 10; len += 4) {
        PyObject *bytes = PyBytes_FromStringAndSize(probe, len);
        PyObject *count =
            bytes == NULL ? NULL
                          : PyObject_CallMethod(memory, "write", "O", bytes);
        Py_XDECREF(bytes);
        same = count != NULL && lib->BIO_ctrl_pending(bio) == (size_t)len;
        PyObject *back = PyObject_CallMethod(memory, "read", NULL);
        same = same && back != NULL && PyBytes_Check(back)
               && PyBytes_GET_SIZE(back) == len
               && lib->BIO_ctrl_pending(bio) == 0;
        Py_XDECREF(count);
        Py_XDECREF(back);
    }
    PyErr_Clear();
    return same;
}

static bool
direct_proves_sample(struct tac_openssl *lib, PyObject *sample)
{
    PyObject *context = PyTuple_GET_ITEM(sample, 0);
    PyObject *raw = PyTuple_GET_ITEM(sample, 1);
    size_t offset = direct_find_offset(context, raw);
    if (offset == 0 || (lib->ssl_offset != 0 && offset != lib->ssl_offset)) {
        return false;
    }
    lib->ssl_offset = offset;
    void *ssl = direct_read_pointer(raw, offset);
    void *ctx = direct_read_pointer(context, sizeof(PyObject));
    if ((size_t)ssl % sizeof(void *) != 0 || !direct_is_readable(ssl, 64)
        || lib->SSL_get_SSL_CTX(ssl) != ctx
        || lib->SSL_get_ex_data(ssl, 0) != (void *)raw)
    {
        return false;
    }
    return direct_proves_bio(lib, lib->SSL_get_rbio(ssl),
                             PyTuple_GET_ITEM(sample, 2))
           && direct_proves_bio(lib, lib->SSL_get_wbio(ssl),
                                PyTuple_GET_ITEM(sample, 3));
}

static bool
direct_make_method(struct tac_openssl *lib)
{
    int index = lib->BIO_get_new_index();
    lib->bio_method =
        index < 0 ? NULL
                  : lib->BIO_meth_new(index | DIRECT_BIO_TYPE_SOURCE_SINK,
                                      "trio_asyncio_c");
    return lib->bio_method != NULL
           && lib->BIO_meth_set_read(lib->bio_method, direct_bio_read)
           && lib->BIO_meth_set_write(lib->bio_method, direct_bio_write)
           && lib->BIO_meth_set_ctrl(lib->bio_method, direct_bio_ctrl);
}

static bool
direct_probe_library(void *library, const char *version, PyObject *samples,
                     struct tac_openssl *lib)
{
    struct direct_bio_calls calls;
    if (!direct_look_up_all(library, lib, &calls)
        || strcmp(lib->OpenSSL_version(0), version) != 0)
    {
        return false;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(samples); i++) {
        if (!direct_proves_sample(lib, PyTuple_GET_ITEM(samples, i))) {
            return false;
        }
    }
    if (lib->ssl_offset == 0 || !direct_make_method(lib)) {
        return false;
    }
    direct_bio = calls;
    return true;
}

int
tac_tls_direct_probe(PyObject *path, PyObject *version, PyObject *samples,
                     struct tac_openssl **found)
{
    *found = NULL;
    PyObject *encoded;
    const char *text = PyUnicode_AsUTF8(version);
    if (text == NULL || !PyUnicode_FSConverter(path, &encoded)) {
        return -1;
    }
    void *library =
        dlopen(PyBytes_AS_STRING(encoded), RTLD_NOLOAD | RTLD_LAZY);
    Py_DECREF(encoded);
    if (library == NULL) {
        return 0;
    }
    struct tac_openssl *lib = PyMem_Calloc(1, sizeof(*lib));
    bool usable = lib != NULL
                  && direct_probe_library(library, text, samples, lib);
    dlclose(library); /* it stays: the interpreter has it loaded */
    if (!usable) {
        bool no_memory = lib == NULL;
        PyMem_Free(lib);
        if (no_memory) {
            PyErr_NoMemory();
            return -1;
        }
        return 0;
    }
    *found = lib;
    return 0;
}
