/* net/tls_handshake.c - the steps of a TLS handshake.
 *
 * What there is to say of its outcome, good or bad, is asyncio's method, as is
 * all of it where the SSL object is not one that is known.
 */
#include "base/compat.h"
#include "net/tls.h"

/* The way that each connection takes is here; what else can be, and what can
 * not, the inherited method knows. */
PyObject *
tac_tls_set_state(TacTls *tls, PyObject *state)
{
    TacState *st = tls->module;
    if ((state == st->tls_wrapped && tls->state == st->tls_handshake)
        || (state == st->tls_flushing && tls->state == st->tls_wrapped)
        || (state == st->tls_shutdown && tls->state == st->tls_flushing))
    {
        Py_SETREF(tls->state, Py_NewRef(state));
        Py_RETURN_NONE;
    }
    if (tac_tls_call(tls, "_set_state", true, state) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* The exception that is raised: not enough data yet, a failure to be told, or
 * whatever else. */
static int
handshake_failed(TacTls *tls)
{
    TacState *st = tls->module;
    if (PyErr_ExceptionMatches(st->ssl_again)) {
        PyErr_Clear();
        return tac_tls_process_outgoing(tls);
    }
    if (!PyErr_ExceptionMatches(st->ssl_error)) {
        return -1;
    }
    PyObject *error = PyErr_GetRaisedException();
    int rc = tac_tls_call(tls, "_on_handshake_complete", false, error);
    Py_DECREF(error);
    return rc;
}

/* The SSL object inside of one of Python's.  Returns: new ref | NULL+exc;
 * NULL without: it is another object than is known. */
static PyObject *
handshake_raw_object(TacTls *tls)
{
    TacState *st = tls->module;
    if (tls->sslobj == NULL
        || (PyObject *)Py_TYPE(tls->sslobj) != st->ssl_object_type) {
        return NULL;
    }
    PyObject *raw = PyObject_GetAttr(tls->sslobj, st->str__sslobj);
    if (raw != NULL && (PyObject *)Py_TYPE(raw) != st->ssl_socket_type) {
        Py_CLEAR(raw);
    }
    return raw;
}

/* Is it a server's first step, before anything has arrived?  That would be
 * nothing but an exception.  -1 with an exception. */
static int
handshake_is_too_early(TacTls *tls)
{
    Py_ssize_t len = tac_tls_engine_in_len(tls);
    if (len != 0) {
        return len < 0 ? -1 : 0;
    }
    PyObject *side =
        PyObject_GetAttr((PyObject *)tls, tls->module->str__server_side);
    int early = side == NULL ? -1 : PyObject_IsTrue(side);
    Py_XDECREF(side);
    return early;
}

static int
handshake_step(TacTls *tls)
{
    TacState *st = tls->module;
    PyObject *raw = handshake_raw_object(tls);
    if (raw == NULL) {
        return PyErr_Occurred()
                   ? -1
                   : tac_tls_call(tls, "_do_handshake", true, NULL);
    }
    int early = handshake_is_too_early(tls);
    if (early != 0) {
        Py_DECREF(raw);
        return early < 0 ? -1 : 0;
    }
    PyObject *args[] = {raw};
    PyObject *done = PyObject_VectorcallMethod(
        st->str_do_handshake, args, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    Py_DECREF(raw);
    if (done == NULL) {
        return handshake_failed(tls);
    }
    Py_DECREF(done);
    return tac_tls_call(tls, "_on_handshake_complete", false, Py_None);
}

PyObject *
tac_tls_do_handshake(TacTls *tls, PyObject *noargs)
{
    Py_INCREF(tls);
    int rc = handshake_step(tls);
    Py_DECREF(tls);
    if (rc < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}
