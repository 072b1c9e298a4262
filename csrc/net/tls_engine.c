/* net/tls_engine.c - the engine that works everywhere: _ssl._SSLSocket's own
 * methods, over MemoryBIOs; and the choice between it and the direct one.
 *
 * A read that finds nothing costs an exception, as much as decrypting a
 * kilobyte does. One that got less than it asked for has come to the end of a
 * record; if the BIO is empty as well there is nothing to find, and no reason
 * to ask.
 */
#include "net/tls_engine.h"

#include "base/compat.h"
#include "net/tls.h"

/* The plaintext of a record, at most. */
#define ENGINE_RECORD_LEN 16384

static bool
engine_is_direct(TacTls *tls)
{
    return tls->direct.ssl != NULL;
}

/* Finding the raw object -------------------------------------------------- */

static bool
engine_is_plain(TacTls *tls)
{
    TacState *st = tls->module;
    return (PyObject *)Py_TYPE(tls->sslobj) == st->ssl_object_type
           && (PyObject *)Py_TYPE(tls->incoming) == st->memory_bio_type
           && (PyObject *)Py_TYPE(tls->outgoing) == st->memory_bio_type;
}

int
tac_tls_engine_bind(TacTls *tls)
{
    TacState *st = tls->module;
    tac_tls_engine_unbind(tls);
    if (tls->sslobj == NULL || tls->incoming == NULL
        || tls->outgoing == NULL || !engine_is_plain(tls))
    {
        tls->bound = Py_XNewRef(tls->sslobj);
        return 0;
    }
    PyObject *raw = PyObject_GetAttr(tls->sslobj, st->str__sslobj);
    if (raw == NULL) {
        return -1;
    }
    tls->bound = Py_NewRef(tls->sslobj);
    if ((PyObject *)Py_TYPE(raw) != st->ssl_socket_type) {
        Py_DECREF(raw);
        return 0;
    }
    tls->raw = raw;
    if (st->openssl != NULL && st->tls_use_direct) {
        tac_tls_direct_bind(tls);
    }
    return 0;
}

void
tac_tls_engine_unbind(TacTls *tls)
{
    tac_tls_direct_unbind(tls);
    Py_CLEAR(tls->raw);
    Py_CLEAR(tls->bound);
}

/* Results ----------------------------------------------------------------- */

/* After a call failed: AGAIN if it only lacks data from the peer. */
static enum tac_tls_result
engine_failed(TacTls *tls)
{
    if (PyErr_ExceptionMatches(tls->module->ssl_again)) {
        PyErr_Clear();
        return TAC_TLS_AGAIN;
    }
    return TAC_TLS_ERROR;
}

static Py_ssize_t
engine_pending(TacTls *tls, PyObject *bio)
{
    if (bio == NULL) {
        return 0;
    }
    PyObject *pending = PyObject_GetAttr(bio, tls->module->str_pending);
    Py_ssize_t count = pending == NULL ? -1 : PyLong_AsSsize_t(pending);
    Py_XDECREF(pending);
    return count;
}

/* Is there nothing more to read after `got` bytes of `asked`? -1 with an
 * exception. */
static int
engine_is_drained(TacTls *tls, size_t got, size_t asked)
{
    if (got == asked) {
        return 0;
    }
    Py_ssize_t pending = engine_pending(tls, tls->incoming);
    return pending < 0 ? -1 : pending == 0;
}

PyObject *
tac_tls_engine_call_write(TacTls *tls, PyObject *owner, PyObject *data)
{
    Py_INCREF(owner);
    PyObject *args[] = {owner, data};
    PyObject *result = PyObject_VectorcallMethod(
        tls->module->str_write, args, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET,
        NULL);
    Py_DECREF(owner);
    Py_DECREF(data);
    return result;
}

/* Ciphertext -------------------------------------------------------------- */

int
tac_tls_engine_feed(TacTls *tls, const char *data, size_t len)
{
    if (len == 0) {
        return 0;
    }
    if (engine_is_direct(tls)) {
        return tac_tls_direct_feed(tls, data, len);
    }
    /* Anything can stand in for the BIO, and keep what it is given. */
    bool plain = tls->incoming != NULL
                 && (PyObject *)Py_TYPE(tls->incoming)
                        == tls->module->memory_bio_type;
    PyObject *view =
        plain ? PyMemoryView_FromMemory((char *)data, (Py_ssize_t)len,
                                        PyBUF_READ)
              : PyBytes_FromStringAndSize(data, (Py_ssize_t)len);
    if (view == NULL || tls->incoming == NULL) {
        Py_XDECREF(view);
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *written = tac_tls_engine_call_write(tls, tls->incoming, view);
    Py_XDECREF(written);
    return written == NULL ? -1 : 0;
}

int
tac_tls_engine_settle(TacTls *tls)
{
    return engine_is_direct(tls) ? tac_tls_direct_settle(tls) : 0;
}

PyObject *
tac_tls_engine_take(TacTls *tls)
{
    if (engine_is_direct(tls)) {
        return tac_tls_direct_take(tls);
    }
    if (tls->outgoing == NULL) {
        return PyBytes_FromStringAndSize(NULL, 0);
    }
    PyObject *outgoing = Py_NewRef(tls->outgoing);
    PyObject *data =
        PyObject_CallMethodNoArgs(outgoing, tls->module->str_read);
    Py_DECREF(outgoing);
    return data;
}

Py_ssize_t
tac_tls_engine_out_len(TacTls *tls)
{
    if (engine_is_direct(tls)) {
        return (Py_ssize_t)(tls->direct.out_len + tls->direct.spill_len);
    }
    return engine_pending(tls, tls->outgoing);
}

Py_ssize_t
tac_tls_engine_in_len(TacTls *tls)
{
    if (engine_is_direct(tls)) {
        return (Py_ssize_t)tls->direct.in_len;
    }
    return engine_pending(tls, tls->incoming);
}

/* Reading ----------------------------------------------------------------- */

/* One record at most. *data: new ref on DONE, else NULL. */
static enum tac_tls_result
engine_read_record(TacTls *tls, PyObject *len, PyObject **data)
{
    PyObject *raw = Py_NewRef(tls->raw);
    PyObject *args[] = {raw, len};
    *data = PyObject_VectorcallMethod(
        tls->module->str_read, args, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET,
        NULL);
    Py_DECREF(raw);
    if (*data == NULL) {
        return engine_failed(tls);
    }
    if (PyBytes_GET_SIZE(*data) == 0) {
        Py_CLEAR(*data);
        return TAC_TLS_EOF;
    }
    return TAC_TLS_DONE;
}

/* Append to what was read: nothing, one bytes object, or a list of them. */
static int
engine_collect(PyObject **all, PyObject *data)
{
    if (*all == NULL) {
        *all = Py_NewRef(data);
        return 0;
    }
    if (PyBytes_CheckExact(*all)) {
        PyObject *list = PyList_New(1);
        if (list == NULL) {
            return -1;
        }
        PyList_SET_ITEM(list, 0, *all);
        *all = list;
    }
    return PyList_Append(*all, data);
}

static enum tac_tls_result
engine_read_records(TacTls *tls, PyObject *len, PyObject **all)
{
    while (tls->raw != NULL) {
        PyObject *data;
        enum tac_tls_result result = engine_read_record(tls, len, &data);
        if (result != TAC_TLS_DONE) {
            return result == TAC_TLS_AGAIN ? TAC_TLS_DONE : result;
        }
        size_t got = (size_t)PyBytes_GET_SIZE(data);
        int rc = engine_collect(all, data);
        Py_DECREF(data);
        if (rc == 0) {
            rc = engine_is_drained(tls, got, ENGINE_RECORD_LEN);
        }
        if (rc != 0) {
            return rc < 0 ? TAC_TLS_ERROR : TAC_TLS_DONE;
        }
    }
    return TAC_TLS_DONE;
}

enum tac_tls_result
tac_tls_engine_read_all(TacTls *tls, PyObject **data)
{
    *data = NULL;
    if (engine_is_direct(tls)) {
        return tac_tls_direct_read_all(tls, data);
    }
    PyObject *len = PyLong_FromLong(ENGINE_RECORD_LEN);
    PyObject *all = NULL;
    enum tac_tls_result result =
        len == NULL ? TAC_TLS_ERROR : engine_read_records(tls, len, &all);
    Py_XDECREF(len);
    if (result != TAC_TLS_ERROR && all != NULL && !PyBytes_CheckExact(all)) {
        PyObject *empty = PyBytes_FromStringAndSize(NULL, 0);
        *data = empty == NULL ? NULL
                              : PyObject_CallMethodOneArg(
                                    empty, tls->module->str_join, all);
        Py_XDECREF(empty);
        Py_DECREF(all);
        return *data == NULL ? TAC_TLS_ERROR : result;
    }
    if (result == TAC_TLS_ERROR) {
        Py_XDECREF(all);
        return result;
    }
    *data = all;
    return result;
}

/* Call raw.read() into a part of a buffer. */
static enum tac_tls_result
engine_read_part(TacTls *tls, PyObject *view, size_t offset, size_t len,
                 size_t *got)
{
    *got = 0;
    PyObject *part = PySequence_GetSlice(view, (Py_ssize_t)offset,
                                         (Py_ssize_t)(offset + len));
    PyObject *count = NULL;
    if (part != NULL) {
        PyObject *raw = Py_NewRef(tls->raw);
        count = PyObject_CallMethod(raw, "read", "nO", (Py_ssize_t)len, part);
        Py_DECREF(raw);
        Py_DECREF(part);
    }
    if (count == NULL) {
        return engine_failed(tls);
    }
    Py_ssize_t value = PyLong_AsSsize_t(count);
    Py_DECREF(count);
    if (value < 0) {
        return TAC_TLS_ERROR;
    }
    *got = (size_t)value;
    return value == 0 ? TAC_TLS_EOF : TAC_TLS_DONE;
}

static enum tac_tls_result
engine_fill_view(TacTls *tls, PyObject *view, size_t len, size_t *got)
{
    *got = 0;
    while (*got < len && tls->raw != NULL) {
        size_t count, asked = len - *got;
        enum tac_tls_result result =
            engine_read_part(tls, view, *got, asked, &count);
        *got += count;
        if (result != TAC_TLS_DONE) {
            return result;
        }
        /* A part of a record may be left if there was no room for it. */
        int drained = asked < ENGINE_RECORD_LEN
                          ? 0
                          : engine_is_drained(tls, count, asked);
        if (drained != 0) {
            return drained < 0 ? TAC_TLS_ERROR : TAC_TLS_AGAIN;
        }
    }
    return *got == len ? TAC_TLS_DONE : TAC_TLS_AGAIN;
}

/* A buffer that cannot be written to: in the words of the ssl module. */
static void
engine_refuse_buffer(TacTls *tls, PyObject *buffer)
{
    if (tls->raw == NULL) {
        return;
    }
    PyObject *error = PyErr_GetRaisedException();
    PyObject *count =
        PyObject_CallMethod(tls->raw, "read", "iO", 1, buffer);
    if (count != NULL) {
        Py_DECREF(count);
        PyErr_SetRaisedException(error);
        return;
    }
    Py_XDECREF(error);
}

enum tac_tls_result
tac_tls_engine_read_into(TacTls *tls, PyObject *buffer, size_t *got)
{
    Py_buffer view;
    enum tac_tls_result result = TAC_TLS_ERROR;
    *got = 0;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) < 0) {
        engine_refuse_buffer(tls, buffer);
        return result;
    }
    if (view.len == 0) { /* which the ssl module reads as an end, too */
        result = TAC_TLS_EOF;
    }
    else if (engine_is_direct(tls)) {
        result = tac_tls_direct_read_into(tls, view.buf, (size_t)view.len,
                                          got);
    }
    else {
        PyObject *bytes = PyMemoryView_FromBuffer(&view);
        if (bytes != NULL) {
            result = engine_fill_view(tls, bytes, (size_t)view.len, got);
            PyObject *released = PyObject_CallMethod(bytes, "release", NULL);
            if (released == NULL) {
                PyErr_Clear();
            }
            Py_XDECREF(released);
            Py_DECREF(bytes);
        }
    }
    PyBuffer_Release(&view);
    return result;
}

/* Writing ----------------------------------------------------------------- */

static enum tac_tls_result
engine_write_part(TacTls *tls, const char *data, size_t len, size_t *count)
{
    *count = 0;
    PyObject *view = PyMemoryView_FromMemory((char *)data, (Py_ssize_t)len,
                                             PyBUF_READ);
    if (view == NULL) {
        return TAC_TLS_ERROR;
    }
    PyObject *written = tac_tls_engine_call_write(tls, tls->raw, view);
    if (written == NULL) {
        return engine_failed(tls);
    }
    *count = PyLong_AsSize_t(written);
    Py_DECREF(written);
    return *count == (size_t)-1 ? TAC_TLS_ERROR : TAC_TLS_DONE;
}

enum tac_tls_result
tac_tls_engine_write(TacTls *tls, const char *data, size_t len,
                     size_t *written)
{
    *written = 0;
    if (engine_is_direct(tls)) {
        return tac_tls_direct_write(tls, data, len, written);
    }
    while (*written < len) {
        if (tls->raw == NULL) { /* let go of meanwhile */
            return TAC_TLS_AGAIN;
        }
        size_t count;
        enum tac_tls_result result =
            engine_write_part(tls, data + *written, len - *written, &count);
        if (result != TAC_TLS_DONE) {
            return result;
        }
        *written += count;
    }
    return TAC_TLS_DONE;
}
