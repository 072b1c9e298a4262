/* net/feed.c - bytes for an asyncio.StreamReader, without calls in Python. */
#include "net/feed.h"

#include "base/compat.h"

#include <string.h>

/* Is an object's method that of its class, as it was when we learnt it? */
static bool
feed_is_original(PyObject *object, PyObject *name, PyObject *original)
{
    PyObject *method = PyObject_GetAttr(object, name);
    bool same = method != NULL && PyMethod_Check(method)
                && PyMethod_GET_FUNCTION(method) == original;
    if (method == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(method);
    return same;
}

PyObject *
tac_feed_reader(TacState *state, PyObject *protocol)
{
    if (!feed_is_original(protocol, state->str_data_received,
                          state->aio_feed_data_received)) {
        return NULL;
    }
    PyObject *reference =
        PyObject_GetAttr(protocol, state->str__stream_reader_wr);
    PyObject *reader = NULL;
    if (reference != NULL && PyWeakref_CheckRefExact(reference)) {
        reader = PyObject_CallNoArgs(reference);
    }
    Py_XDECREF(reference);
    if (reader == NULL) {
        PyErr_Clear();
        return NULL;
    }
    if (!Py_IS_TYPE(reader, state->aio_reader_type)
        || !feed_is_original(reader, state->str_feed_data,
                             state->aio_feed_feed_data)
        || !feed_is_original(reader, state->str__wakeup_waiter,
                             state->aio_feed__wakeup_waiter))
    {
        Py_CLEAR(reader);
    }
    return reader;
}

/* Append to the reader's buffer; runs no code, so that the data can be in
 * memory that others use too.  As tac_feed. */
static int
feed_append(TacState *state, PyObject *reader, const char *data,
            Py_ssize_t size)
{
    PyObject *eof = PyObject_GetAttr(reader, state->str__eof);
    PyObject *buffer =
        eof == Py_False ? PyObject_GetAttr(reader, state->str__buffer) : NULL;
    int rc = 0;
    if (buffer != NULL && PyByteArray_CheckExact(buffer)) {
        Py_ssize_t used = PyByteArray_GET_SIZE(buffer);
        rc = PyByteArray_Resize(buffer, used + size) < 0 ? -1 : 1;
        if (rc > 0) {
            memcpy(PyByteArray_AS_STRING(buffer) + used, data, (size_t)size);
        }
    }
    else {
        PyErr_Clear(); /* the general way says what is wrong */
    }
    Py_XDECREF(eof);
    Py_XDECREF(buffer);
    return rc;
}

static int
feed_wake(TacState *state, PyObject *reader)
{
    PyObject *waiter = PyObject_GetAttr(reader, state->str__waiter);
    if (waiter == NULL || waiter == Py_None) {
        Py_XDECREF(waiter);
        return waiter == NULL ? -1 : 0;
    }
    int rc = PyObject_SetAttr(reader, state->str__waiter, Py_None);
    PyObject *cancelled =
        rc < 0 ? NULL
               : PyObject_CallMethodNoArgs(waiter, state->str_cancelled);
    int skip = cancelled == NULL ? -1 : PyObject_IsTrue(cancelled);
    PyObject *result =
        skip == 0 ? PyObject_CallMethodOneArg(waiter, state->str_set_result,
                                              Py_None)
                  : NULL;
    rc = skip < 0 || (skip == 0 && result == NULL) ? -1 : 0;
    Py_XDECREF(result);
    Py_XDECREF(cancelled);
    Py_DECREF(waiter);
    return rc;
}

/* Does the reader have more than twice its limit?  -1 with an exception. */
static int
feed_is_full(TacState *state, PyObject *reader)
{
    PyObject *buffer = PyObject_GetAttr(reader, state->str__buffer);
    PyObject *limit = PyObject_GetAttr(reader, state->str__limit);
    int full = -1;
    if (buffer != NULL && limit != NULL) {
        Py_ssize_t size = PyObject_Length(buffer);
        double most = PyFloat_AsDouble(limit);
        if (size >= 0 && !PyErr_Occurred()) {
            full = (double)size > 2 * most;
        }
    }
    Py_XDECREF(limit);
    Py_XDECREF(buffer);
    return full;
}

/* A reader with enough pauses its transport.  0, or -1 with an exception. */
static int
feed_pause(TacState *state, PyObject *reader)
{
    int full = feed_is_full(state, reader);
    if (full <= 0) {
        return full;
    }
    PyObject *transport = PyObject_GetAttr(reader, state->str__transport);
    PyObject *paused = PyObject_GetAttr(reader, state->str__paused);
    int is_paused = paused == NULL ? -1 : PyObject_IsTrue(paused);
    int rc = transport == NULL || is_paused < 0 ? -1 : 0;
    if (rc == 0 && transport != Py_None && !is_paused) {
        PyObject *result =
            PyObject_CallMethodNoArgs(transport, state->str_pause_reading);
        Py_XDECREF(result);
        rc = result == NULL
                 ? -1
                 : PyObject_SetAttr(reader, state->str__paused, Py_True);
    }
    Py_XDECREF(paused);
    Py_XDECREF(transport);
    return rc;
}

int
tac_feed(TacState *state, PyObject *reader, const char *data, Py_ssize_t size)
{
    int rc = feed_append(state, reader, data, size);
    if (rc > 0
        && (feed_wake(state, reader) < 0 || feed_pause(state, reader) < 0))
    {
        rc = -1;
    }
    return rc;
}

/* Learning ------------------------------------------------------------------ */

PyDoc_STRVAR(feed_learn_doc,
"_learn_streams(protocol, reader, /)\n--\n\n"
"Learn asyncio.StreamReaderProtocol and asyncio.StreamReader.");

static PyObject *
feed_learn(PyObject *module, PyObject *args)
{
    TacState *state = tac_state_of_module(module);
    PyObject *protocol, *reader;
    if (!PyArg_ParseTuple(args, "O!O!:_learn_streams", &PyType_Type,
                          &protocol, &PyType_Type, &reader)) {
        return NULL;
    }
    PyObject *received =
        PyObject_GetAttr(protocol, state->str_data_received);
    PyObject *feed = PyObject_GetAttr(reader, state->str_feed_data);
    PyObject *wakeup = PyObject_GetAttr(reader, state->str__wakeup_waiter);
    Py_XSETREF(state->aio_feed_data_received, received);
    Py_XSETREF(state->aio_feed_feed_data, feed);
    Py_XSETREF(state->aio_feed__wakeup_waiter, wakeup);
    if (received == NULL || feed == NULL || wakeup == NULL) {
        return NULL;
    }
    Py_XSETREF(state->aio_reader_protocol_type,
               (PyTypeObject *)Py_NewRef(protocol));
    Py_XSETREF(state->aio_reader_type, (PyTypeObject *)Py_NewRef(reader));
    Py_RETURN_NONE;
}

static PyMethodDef feed_functions[] = {
    {"_learn_streams", feed_learn, METH_VARARGS, feed_learn_doc},
    {NULL},
};

int
tac_feed_add_functions(PyObject *module, TacState *state)
{
    return PyModule_AddFunctions(module, feed_functions);
}
