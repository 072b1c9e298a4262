/* net/tls.c - type TlsCore: the paths that run once a packet.
 *
 * Each method here stands in for one of asyncio.sslproto.SSLProtocol with the
 * same outcome. Where its outcome is not the frequent one (a water mark is
 * crossed, the SSL object is somebody's own, plaintext waits for the end of a
 * renegotiation) the inherited method is called.
 */
#include "net/tls.h"

#include "aio/call.h"
#include "base/compat.h"
#include "base/errors.h"
#include "net/feed.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <structmember.h>

/* What the transport below reads at most at a time. */
#define TLS_BUFFER_LEN (128 * 1024)
/* Ciphertext held back inside of a call of the application, at most. */
#define TLS_DEFER_LEN (64 * 1024)
/* The plaintext of a record; smaller pieces are put together. */
#define TLS_RECORD_LEN 16384
#define TLS_SMALL_LEN 4096

/* Calls ------------------------------------------------------------------- */

int
tac_tls_call(TacTls *tls, const char *name, bool inherited, PyObject *arg)
{
    PyObject *owner =
        inherited ? tls->module->ssl_protocol : (PyObject *)tls;
    PyObject *method = PyObject_GetAttrString(owner, name);
    if (method == NULL) {
        return -1;
    }
    PyObject *result =
        inherited ? PyObject_CallFunctionObjArgs(method, tls, arg, NULL)
                  : PyObject_CallFunctionObjArgs(method, arg, NULL);
    Py_DECREF(method);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static PyObject *
tls_none(int rc)
{
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

/* Can the fast paths be used? -1 with an exception. */
static int
tls_is_plain(TacTls *tls)
{
    if (tls->bound != tls->sslobj && tac_tls_engine_bind(tls) < 0) {
        return -1;
    }
    return tls->raw != NULL;
}

/* Ciphertext out ---------------------------------------------------------- */

/* Send all ciphertext. 0, or -1 with an exception. */
static int
tls_send(TacTls *tls)
{
    PyObject *data = tac_tls_engine_take(tls);
    if (data == NULL) {
        return -1;
    }
    Py_ssize_t len = PyObject_Size(data);
    if (len <= 0 || tls->transport == NULL || tls->transport == Py_None) {
        Py_DECREF(data);
        return len < 0 ? -1 : 0;
    }
    PyObject *result = tac_tls_engine_call_write(tls, tls->transport, data);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Send what was held back, if anything. 0, or -1 with an exception. */
static int
tls_flush(TacTls *tls)
{
    if (tls->deferring == 0 || tls->ssl_writing_paused) {
        return 0;
    }
    return tls_send(tls);
}

static Py_ssize_t
tls_write_buffer_len(TacTls *tls)
{
    Py_ssize_t pending = tac_tls_engine_out_len(tls);
    return pending < 0 ? -1 : pending + tls->backlog_len;
}

/* Read a water mark. 0, or -1 if it is no int or a huge one. */
static int
tls_read_mark(PyObject *mark, Py_ssize_t *value)
{
    if (mark == NULL || !PyLong_CheckExact(mark)) {
        return -1;
    }
    *value = PyLong_AsSsize_t(mark);
    if (*value == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return -1;
    }
    return 0;
}

/* Does a size leave things as they are? The marks decide by their order. */
static bool
tls_is_between(Py_ssize_t len, PyObject *low, PyObject *high, bool paused)
{
    Py_ssize_t mark;
    if (tls_read_mark(paused ? low : high, &mark) < 0) {
        return false;
    }
    return paused ? len > mark : len < mark;
}

static int
tls_control_app_writing(TacTls *tls)
{
    Py_ssize_t len = tls_write_buffer_len(tls);
    if (len < 0) {
        return -1;
    }
    if (tls_is_between(len, tls->out_low, tls->out_high,
                       tls->app_writing_paused))
    {
        return 0;
    }
    return tac_tls_call(tls, "_control_app_writing", true, NULL);
}

static int
tls_control_ssl_reading(TacTls *tls)
{
    Py_ssize_t len = tac_tls_engine_in_len(tls);
    if (len < 0) {
        return -1;
    }
    if (tls_is_between(len, tls->in_low, tls->in_high,
                       tls->ssl_reading_paused))
    {
        return 0;
    }
    return tac_tls_call(tls, "_control_ssl_reading", true, NULL);
}

int
tac_tls_process_outgoing(TacTls *tls)
{
    if (!tls->ssl_writing_paused) {
        if (tls->deferring > 0) {
            Py_ssize_t len = tac_tls_engine_out_len(tls);
            if (len < TLS_DEFER_LEN) {
                return len < 0 ? -1 : 0;
            }
        }
        if (tls_send(tls) < 0) {
            return -1;
        }
    }
    return tls_control_app_writing(tls);
}

/* The raised exception ends the connection, unless it ends the run: it is
 * left raised then. 0, or -1 with an exception. */
static int
tls_fatal(TacTls *tls)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        PyObject *error = PyErr_GetRaisedException();
        if (tls_flush(tls) < 0) {
            PyErr_Clear();
        }
        PyErr_SetRaisedException(error);
        return -1;
    }
    PyObject *error = PyErr_GetRaisedException();
    PyObject *handled = PyErr_GetHandledException();
    PyErr_SetHandledException(error);
    PyObject *result =
        PyObject_CallMethod((PyObject *)tls, "_fatal_error", "Os", error,
                            "Fatal error on SSL protocol");
    PyErr_SetHandledException(handled);
    Py_XDECREF(handled);
    Py_DECREF(error);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Plaintext in ------------------------------------------------------------ */

static int
tls_end_reading(TacTls *tls)
{
    if (tac_tls_call(tls, "_call_eof_received", false, NULL) < 0) {
        return -1;
    }
    return tac_tls_call(tls, "_start_shutdown", false, NULL);
}

/* To asyncio's own StreamReader without a call in Python, else by the
 * protocol's method. */
static int
tls_deliver(TacTls *tls, PyObject *protocol, PyObject *data)
{
    TacState *st = tls->module;
    PyObject *reader = NULL;
    int fed = 0;
    if (Py_IS_TYPE(protocol, st->aio_reader_protocol_type)
        && PyBytes_CheckExact(data))
    {
        reader = tac_feed_reader(st, protocol);
    }
    if (reader != NULL) {
        fed = tac_feed(st, reader, PyBytes_AS_STRING(data),
                       PyBytes_GET_SIZE(data));
        Py_DECREF(reader);
    }
    if (fed != 0) {
        return fed < 0 ? -1 : 0;
    }
    PyObject *args[] = {protocol, data};
    PyObject *done =
        PyObject_VectorcallMethod(st->str_data_received, args,
                                  2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int
tls_read_copied(TacTls *tls)
{
    PyObject *data;
    enum tac_tls_result result = tac_tls_engine_read_all(tls, &data);
    if (result == TAC_TLS_ERROR) {
        return -1;
    }
    if (data != NULL) {
        PyObject *protocol =
            Py_NewRef(tls->app_protocol == NULL ? Py_None
                                                : tls->app_protocol);
        int rc = tls_deliver(tls, protocol, data);
        Py_DECREF(protocol);
        Py_DECREF(data);
        if (rc < 0) {
            return -1;
        }
    }
    return result == TAC_TLS_EOF ? tls_end_reading(tls) : 0;
}

/* Ask the protocol for a buffer. Returns: new ref | NULL+exc. */
static PyObject *
tls_ask_buffer(TacTls *tls)
{
    Py_ssize_t hint = tac_tls_engine_in_len(tls);
    if (hint < 0 || tls->app_get_buffer == NULL) {
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    }
    PyObject *get_buffer = Py_NewRef(tls->app_get_buffer);
    PyObject *buffer = PyObject_CallFunction(get_buffer, "n", hint);
    Py_DECREF(get_buffer);
    return buffer;
}

static int
tls_tell_buffer(TacTls *tls, size_t got)
{
    if (tls->app_buffer_updated == NULL) {
        return 0;
    }
    PyObject *updated = Py_NewRef(tls->app_buffer_updated);
    PyObject *done = PyObject_CallFunction(updated, "n", (Py_ssize_t)got);
    Py_DECREF(updated);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Read on in the next turn: a full buffer may not have been all. */
static int
tls_read_later(TacTls *tls)
{
    PyObject *method = PyObject_GetAttrString((PyObject *)tls, "_do_read");
    PyObject *loop = PyObject_GetAttrString((PyObject *)tls, "_loop");
    int rc = -1;
    if (method != NULL && loop != NULL) {
        PyObject *args[] = {loop, method};
        rc = tac_call_soon_of_loop(tls->module, args, 2, NULL);
    }
    Py_XDECREF(method);
    Py_XDECREF(loop);
    return rc;
}

static int
tls_read_buffered(TacTls *tls)
{
    PyObject *buffer = tls_ask_buffer(tls);
    if (buffer == NULL) {
        return -1;
    }
    size_t got = 0;
    enum tac_tls_result result = tac_tls_engine_read_into(tls, buffer, &got);
    Py_DECREF(buffer);
    if (result == TAC_TLS_ERROR
        || (result == TAC_TLS_DONE && tls_read_later(tls) < 0)
        || (got > 0 && tls_tell_buffer(tls, got) < 0))
    {
        return -1;
    }
    return result == TAC_TLS_EOF ? tls_end_reading(tls) : 0;
}

static int
tls_read_app_data(TacTls *tls)
{
    if (!tls->app_reading_paused) {
        tls->deferring++;
        int rc = tls->app_is_buffered ? tls_read_buffered(tls)
                                      : tls_read_copied(tls);
        if (rc < 0) {
            rc = tls_fatal(tls);
            tls->deferring--;
            return rc;
        }
        tls->deferring--;
        rc = tls->backlog_len > 0 ? tac_tls_call(tls, "_do_write", false, NULL)
                                  : tac_tls_process_outgoing(tls);
        if (rc < 0) {
            return tls_fatal(tls);
        }
    }
    return tls_control_ssl_reading(tls) < 0 ? tls_fatal(tls) : 0;
}

static int
tls_read(TacTls *tls)
{
    TacState *st = tls->module;
    if (tls->state != st->tls_wrapped && tls->state != st->tls_flushing) {
        return 0;
    }
    int plain = tls_is_plain(tls);
    if (plain < 0) {
        return tls_fatal(tls);
    }
    return plain ? tls_read_app_data(tls)
                 : tac_tls_call(tls, "_do_read", true, NULL);
}

PyDoc_STRVAR(tls_do_read_doc,
"_do_read($self, /)\n--\n\nDecrypt what has arrived, and deliver it.");

static PyObject *
tls_do_read(TacTls *tls, PyObject *noargs)
{
    Py_INCREF(tls);
    int rc = tls_read(tls);
    Py_DECREF(tls);
    return tls_none(rc);
}

/* Ciphertext in ----------------------------------------------------------- */

/* Get hold of memory for the transport below to read into. 0, or -1 with an
 * exception. */
static int
tls_take_buffer(TacTls *tls)
{
    TacState *st = tls->module;
    PyObject *buffer = st->tls_spare;
    st->tls_spare = NULL;
    if (buffer != NULL && PyByteArray_GET_SIZE(buffer) != TLS_BUFFER_LEN) {
        Py_CLEAR(buffer); /* somebody kept it, and changed it */
    }
    if (buffer == NULL) {
        buffer = PyByteArray_FromStringAndSize(NULL, TLS_BUFFER_LEN);
    }
    if (buffer == NULL
        || PyObject_GetBuffer(buffer, &tls->buffer_view, PyBUF_WRITABLE) < 0)
    {
        Py_XDECREF(buffer);
        return -1;
    }
    tls->buffer = buffer;
    return 0;
}

/* Give it back: idle connections have none. */
static void
tls_return_buffer(TacTls *tls)
{
    if (tls->buffer == NULL) {
        return;
    }
    TacState *st = tls->module;
    PyObject *buffer = tls->buffer;
    tls->buffer = NULL;
    PyBuffer_Release(&tls->buffer_view);
    if (st->tls_spare == NULL) {
        st->tls_spare = buffer;
        return;
    }
    Py_DECREF(buffer);
}

PyDoc_STRVAR(tls_get_buffer_doc,
"get_buffer($self, sizehint, /)\n--\n\n"
"For the transport below: where to put what it reads.");

static PyObject *
tls_get_buffer(TacTls *tls, PyObject *sizehint)
{
    if (tls->buffer == NULL && tls_take_buffer(tls) < 0) {
        return NULL;
    }
    return Py_NewRef(tls->buffer);
}

/* What the state asks for when ciphertext has arrived. */
static int
tls_advance(TacTls *tls)
{
    TacState *st = tls->module;
    if (tls->state == st->tls_wrapped) {
        return tls_read(tls);
    }
    if (tls->state == st->tls_handshake) {
        return tac_tls_call(tls, "_do_handshake", false, NULL);
    }
    if (tls->state == st->tls_flushing) {
        return tac_tls_call(tls, "_do_flush", false, NULL);
    }
    if (tls->state == st->tls_shutdown) {
        return tac_tls_call(tls, "_do_shutdown", false, NULL);
    }
    return 0;
}

/* Keep what was not decrypted, and give the buffer back, whatever is raised.
 * Returns rc, or -1. */
static int
tls_end_feeding(TacTls *tls, int rc)
{
    PyObject *error = PyErr_GetRaisedException();
    if (tac_tls_engine_settle(tls) < 0) {
        rc = -1;
        if (error != NULL) {
            PyErr_Clear();
        }
    }
    tls_return_buffer(tls);
    if (error != NULL) {
        PyErr_SetRaisedException(error);
    }
    return rc;
}

PyDoc_STRVAR(tls_buffer_updated_doc,
"buffer_updated($self, nbytes, /)\n--\n\n"
"For the transport below: so much was read into the buffer.");

static PyObject *
tls_buffer_updated(TacTls *tls, PyObject *nbytes)
{
    Py_ssize_t len = PyNumber_AsSsize_t(nbytes, PyExc_OverflowError);
    if (len == -1 && PyErr_Occurred()) {
        return NULL;
    }
    Py_ssize_t room = tls->buffer == NULL ? 0 : tls->buffer_view.len;
    len = len < 0 ? 0 : len > room ? room : len;
    Py_INCREF(tls);
    int rc = 0;
    if (len > 0) {
        rc = tac_tls_engine_feed(tls, tls->buffer_view.buf, (size_t)len);
    }
    if (rc == 0) {
        rc = tls_advance(tls);
    }
    rc = tls_end_feeding(tls, rc);
    Py_DECREF(tls);
    return tls_none(rc);
}

/* Plaintext out ----------------------------------------------------------- */

/* Can plaintext be encrypted now, with nothing waiting before it? -1 with an
 * exception. */
static int
tls_can_write(TacTls *tls)
{
    if (tls->state != tls->module->tls_wrapped || tls->backlog_len > 0) {
        return 0;
    }
    return tls_is_plain(tls);
}

/* Keep plaintext for later. */
static int
tls_keep(TacTls *tls, const char *data, size_t len)
{
    PyObject *rest = PyBytes_FromStringAndSize(data, (Py_ssize_t)len);
    if (rest == NULL) {
        return -1;
    }
    PyObject *backlog =
        PyObject_GetAttr((PyObject *)tls, tls->module->str__write_backlog);
    PyObject *done = backlog == NULL ? NULL
                                     : PyObject_CallMethod(
                                           backlog, "append", "O", rest);
    Py_XDECREF(backlog);
    Py_DECREF(rest);
    if (done == NULL) {
        return -1;
    }
    Py_DECREF(done);
    tls->backlog_len += (Py_ssize_t)len;
    return 0;
}

/* Encrypt, or keep what the engine will not take yet. */
static int
tls_encrypt(TacTls *tls, const char *data, size_t len)
{
    size_t written = 0;
    if (tls->backlog_len == 0) {
        enum tac_tls_result result =
            tac_tls_engine_write(tls, data, len, &written);
        if (result == TAC_TLS_ERROR) {
            return -1;
        }
    }
    return written == len ? 0 : tls_keep(tls, data + written, len - written);
}

/* With the inherited method, and a copy of what could change meanwhile. */
static int
tls_write_inherited(TacTls *tls, PyObject *data)
{
    PyObject *copy = PyBytes_CheckExact(data) ? Py_NewRef(data)
                                              : PyBytes_FromObject(data);
    PyObject *list = copy == NULL ? NULL : PyTuple_Pack(1, copy);
    Py_XDECREF(copy);
    if (list == NULL) {
        return -1;
    }
    int rc = tac_tls_call(tls, "_write_appdata", true, list);
    Py_DECREF(list);
    return rc;
}

static int
tls_write_view(TacTls *tls, PyObject *data)
{
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    int rc = tls_encrypt(tls, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return rc < 0 ? -1 : tac_tls_process_outgoing(tls);
}

int
tac_tls_write(TacTls *tls, PyObject *data)
{
    Py_INCREF(tls);
    int rc = tls_can_write(tls);
    if (rc == 0) {
        rc = tls_write_inherited(tls, data);
    }
    else if (rc < 0 || tls_write_view(tls, data) < 0) {
        rc = tls_fatal(tls);
    }
    else {
        rc = 0;
    }
    Py_DECREF(tls);
    return rc;
}

/* Writing many ------------------------------------------------------------ */

/* Small pieces of plaintext, put together to whole records. */
struct tls_pieces {
    TacTls *tls;
    size_t len;
    char data[TLS_RECORD_LEN];
};

static int
tls_pieces_flush(struct tls_pieces *pieces)
{
    size_t len = pieces->len;
    pieces->len = 0;
    return len == 0 ? 0 : tls_encrypt(pieces->tls, pieces->data, len);
}

static int
tls_pieces_add(struct tls_pieces *pieces, const char *data, size_t len)
{
    if (len > TLS_RECORD_LEN - pieces->len) {
        if (tls_pieces_flush(pieces) < 0) {
            return -1;
        }
    }
    if (len >= TLS_SMALL_LEN && pieces->len == 0) {
        return tls_encrypt(pieces->tls, data, len);
    }
    if (len > TLS_RECORD_LEN - pieces->len) {
        return tls_encrypt(pieces->tls, data, len);
    }
    memcpy(pieces->data + pieces->len, data, len);
    pieces->len += len;
    return 0;
}

static int
tls_write_pieces(TacTls *tls, PyObject *lines)
{
    struct tls_pieces pieces;
    pieces.tls = tls;
    pieces.len = 0;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(lines); i++) {
        PyObject *item = Py_NewRef(PySequence_Fast_GET_ITEM(lines, i));
        Py_buffer view;
        if (PyObject_GetBuffer(item, &view, PyBUF_SIMPLE) < 0) {
            Py_DECREF(item);
            return -1;
        }
        int rc = tls_pieces_add(&pieces, view.buf, (size_t)view.len);
        PyBuffer_Release(&view);
        Py_DECREF(item);
        if (rc < 0) {
            return -1;
        }
    }
    return tls_pieces_flush(&pieces) < 0 ? -1 : tac_tls_process_outgoing(tls);
}

/* Is it a list or tuple of nothing but bytes-like objects? */
static bool
tls_are_lines(PyObject *lines)
{
    if (!PyList_CheckExact(lines) && !PyTuple_CheckExact(lines)) {
        return false;
    }
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(lines); i++) {
        PyObject *item = PySequence_Fast_GET_ITEM(lines, i);
        if (!PyBytes_Check(item) && !PyByteArray_Check(item)
            && !PyMemoryView_Check(item))
        {
            return false;
        }
    }
    return true;
}

int
tac_tls_writelines(TacTls *tls, PyObject *lines)
{
    Py_INCREF(tls);
    int rc = tls_can_write(tls);
    if (rc < 0) {
        rc = tls_fatal(tls);
    }
    else if (rc == 0 || !tls_are_lines(lines)) {
        rc = tac_tls_call(tls, "_write_appdata", true, lines);
    }
    else {
        PyObject *kept = PySequence_Tuple(lines);
        rc = kept == NULL ? -1 : tls_write_pieces(tls, kept);
        Py_XDECREF(kept);
        if (rc < 0) {
            rc = tls_fatal(tls);
        }
    }
    Py_DECREF(tls);
    return rc;
}

/* The rest of the methods ------------------------------------------------- */

PyDoc_STRVAR(tls_process_outgoing_doc,
"_process_outgoing($self, /)\n--\n\n"
"Send ciphertext, unless the transport below has enough.");

static PyObject *
tls_process_outgoing_method(TacTls *tls, PyObject *noargs)
{
    return tls_none(tac_tls_process_outgoing(tls));
}

PyDoc_STRVAR(tls_flush_doc,
"_flush($self, /)\n--\n\n"
"Send what is held back while a method of the application's protocol runs.");

static PyObject *
tls_flush_method(TacTls *tls, PyObject *noargs)
{
    return tls_none(tls_flush(tls));
}

PyDoc_STRVAR(tls_detach_doc,
"_detach($self, /)\n--\n\n"
"Drop all buffers: the connection is lost.");

static PyObject *
tls_detach(TacTls *tls, PyObject *noargs)
{
    tac_tls_engine_unbind(tls);
    tls_return_buffer(tls);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(tls_write_buffer_doc,
"_get_write_buffer_size($self, /)\n--\n\n"
"How many bytes the transport below was not given yet.");

static PyObject *
tls_write_buffer_size(TacTls *tls, PyObject *noargs)
{
    Py_ssize_t len = tls_flush(tls) < 0 ? -1 : tls_write_buffer_len(tls);
    return len < 0 ? NULL : PyLong_FromSsize_t(len);
}

PyDoc_STRVAR(tls_read_buffer_doc,
"_get_read_buffer_size($self, /)\n--\n\n"
"How many bytes have arrived and are not decrypted yet.");

static PyObject *
tls_read_buffer_size(TacTls *tls, PyObject *noargs)
{
    Py_ssize_t len = tac_tls_engine_in_len(tls);
    return len < 0 ? NULL : PyLong_FromSsize_t(len);
}

/* The constructor of SSLProtocol makes a buffer of so many bytes: none are
 * needed. The other methods pass it to read(). */
static PyObject *
tls_get_max_size(TacTls *tls, void *closure)
{
    return PyLong_FromLong(tls->incoming == NULL ? 0 : TLS_BUFFER_LEN);
}

static PyObject *
tls_get_is_direct(TacTls *tls, void *closure)
{
    return PyBool_FromLong(tls->direct.ssl != NULL);
}

static PyObject *
tls_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    TacState *state = tac_state_of_type(type);
    TacTls *tls = state == NULL ? NULL : (TacTls *)type->tp_alloc(type, 0);
    if (tls == NULL) {
        return NULL;
    }
    tls->module = state;
    state->counts.tls++;
    state->counts.made[TAC_MADE_TLS]++;
    return (PyObject *)tls;
}

/* X(field): owned references, which are not freed while they are in use. */
#define TLS_REFERENCES(X)                                                   \
    X(loop) X(transport) X(app_transport) X(app_protocol) X(app_get_buffer) \
    X(app_buffer_updated) X(sslobj) X(incoming) X(outgoing) X(state)        \
    X(backlog) X(out_high) X(out_low) X(in_high) X(in_low)

static int
tls_tp_traverse(TacTls *tls, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(tls));
#define X(field) Py_VISIT(tls->field);
    TLS_REFERENCES(X)
#undef X
    Py_VISIT(tls->bound);
    Py_VISIT(tls->raw);
    Py_VISIT(tls->buffer);
    return 0;
}

static int
tls_tp_clear(TacTls *tls)
{
#define X(field) Py_CLEAR(tls->field);
    TLS_REFERENCES(X)
#undef X
    tac_tls_engine_unbind(tls);
    if (tls->buffer != NULL) {
        PyBuffer_Release(&tls->buffer_view);
        Py_CLEAR(tls->buffer);
    }
    return 0;
}

static void
tls_tp_dealloc(TacTls *tls)
{
    PyTypeObject *type = Py_TYPE(tls);
    PyObject_GC_UnTrack(tls);
    (void)tls_tp_clear(tls);
    tls->module->counts.tls--;
    type->tp_free(tls);
    Py_DECREF(type);
}

static PyMethodDef tls_methods[] = {
    {"get_buffer", (PyCFunction)tls_get_buffer, METH_O, tls_get_buffer_doc},
    {"buffer_updated", (PyCFunction)tls_buffer_updated, METH_O,
     tls_buffer_updated_doc},
    {"_do_read", (PyCFunction)tls_do_read, METH_NOARGS, tls_do_read_doc},
    {"_do_handshake", (PyCFunction)tac_tls_do_handshake, METH_NOARGS,
     "_do_handshake($self, /)\n--\n\n"
     "Take the handshake as far as what has arrived allows."},
    {"_set_state", (PyCFunction)tac_tls_set_state, METH_O,
     "_set_state($self, new_state, /)\n--\n\n"
     "Go on to another member of SSLProtocolState; RuntimeError if that\n"
     "cannot be."},
    {"_process_outgoing", (PyCFunction)tls_process_outgoing_method,
     METH_NOARGS, tls_process_outgoing_doc},
    {"_flush", (PyCFunction)tls_flush_method, METH_NOARGS, tls_flush_doc},
    {"_detach", (PyCFunction)tls_detach, METH_NOARGS, tls_detach_doc},
    {"_get_write_buffer_size", (PyCFunction)tls_write_buffer_size,
     METH_NOARGS, tls_write_buffer_doc},
    {"_get_read_buffer_size", (PyCFunction)tls_read_buffer_size, METH_NOARGS,
     tls_read_buffer_doc},
    {NULL},
};

#define TLS_OBJECT(name, field) \
    {name, T_OBJECT_EX, offsetof(TacTls, field), 0, NULL}
#define TLS_FLAG(name, field) {name, T_BOOL, offsetof(TacTls, field), 0, NULL}

/* The names are those of SSLProtocol. */
static PyMemberDef tls_members[] = {
    TLS_OBJECT("_loop", loop),
    TLS_OBJECT("_transport", transport),
    TLS_OBJECT("_app_transport", app_transport),
    TLS_OBJECT("_app_protocol", app_protocol),
    TLS_OBJECT("_app_protocol_get_buffer", app_get_buffer),
    TLS_OBJECT("_app_protocol_buffer_updated", app_buffer_updated),
    TLS_OBJECT("_sslobj", sslobj),
    TLS_OBJECT("_incoming", incoming),
    TLS_OBJECT("_outgoing", outgoing),
    TLS_OBJECT("_state", state),
    TLS_OBJECT("_write_backlog", backlog),
    TLS_OBJECT("_outgoing_high_water", out_high),
    TLS_OBJECT("_outgoing_low_water", out_low),
    TLS_OBJECT("_incoming_high_water", in_high),
    TLS_OBJECT("_incoming_low_water", in_low),
    {"_write_buffer_size", T_PYSSIZET, offsetof(TacTls, backlog_len), 0,
     NULL},
    TLS_FLAG("_app_protocol_is_buffer", app_is_buffered),
    TLS_FLAG("_app_reading_paused", app_reading_paused),
    TLS_FLAG("_app_writing_paused", app_writing_paused),
    TLS_FLAG("_ssl_reading_paused", ssl_reading_paused),
    TLS_FLAG("_ssl_writing_paused", ssl_writing_paused),
    {NULL},
};

#undef TLS_OBJECT
#undef TLS_FLAG

static PyGetSetDef tls_getset[] = {
    {"max_size", (getter)tls_get_max_size, NULL,
     "How many bytes are read at a time at most.", NULL},
    {"_is_direct", (getter)tls_get_is_direct, NULL,
     "Whether OpenSSL is driven directly.", NULL},
    {NULL},
};

PyDoc_STRVAR(tls_doc,
"The hot half of a TLS protocol; see trio_asyncio_c._tls.TlsProtocol.");

static PyType_Slot tls_slots[] = {
    {Py_tp_doc, (void *)tls_doc},
    {Py_tp_new, tls_tp_new},
    {Py_tp_traverse, tls_tp_traverse},
    {Py_tp_clear, tls_tp_clear},
    {Py_tp_dealloc, tls_tp_dealloc},
    {Py_tp_methods, tls_methods},
    {Py_tp_members, tls_members},
    {Py_tp_getset, tls_getset},
    {0, NULL},
};

static PyType_Spec tls_spec = {
    .name = "trio_asyncio_c._core.TlsCore",
    .basicsize = sizeof(TacTls),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = tls_slots,
};

int
tac_tls_add_types(PyObject *module, TacState *state)
{
    state->tls_use_direct = true;
    state->tls_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &tls_spec, NULL);
    if (state->tls_type == NULL) {
        return -1;
    }
    return PyModule_AddType(module, state->tls_type);
}
