/* net/transport_type.c - what the types of all transports share. */
#include "net/transport_type.h"

#include "base/compat.h"

#include <structmember.h>
#include <unistd.h>

TacTransport *
tac_transport_get(PyObject *self)
{
    TacTransport *t = tac_transport_of(self);
    if (t == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the transport was not initialised");
    }
    return t;
}

PyObject *
tac_transport_result(int rc)
{
    if (rc < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

int
tac_transport_init(PyObject *self, TacState *state, PyObject *extra)
{
    if (tac_transport_of(self) != NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "a transport cannot be initialised again");
        return -1;
    }
    PyObject *dict = extra == Py_None ? PyDict_New() : Py_NewRef(extra);
    int rc =
        dict == NULL ? -1 : PyObject_SetAttr(self, state->str__extra, dict);
    Py_XDECREF(dict);
    return rc;
}

/* The methods ------------------------------------------------------------- */

PyObject *
tac_transport_py_close(PyObject *self, PyObject *noargs)
{
    TacTransport *t = tac_transport_get(self);
    if (t == NULL) {
        return NULL;
    }
    Py_INCREF(t);
    int rc = tac_transport_close(t);
    Py_DECREF(t);
    return tac_transport_result(rc);
}

PyObject *
tac_transport_py_force_close(PyObject *self, PyObject *exc)
{
    TacTransport *t = tac_transport_get(self);
    if (t == NULL) {
        return NULL;
    }
    Py_INCREF(t);
    int rc = tac_transport_flush(t);
    if (rc == 0) {
        rc = tac_transport_force_close(t, tac_transport_or_null(exc));
    }
    Py_DECREF(t);
    return tac_transport_result(rc);
}

PyObject *
tac_transport_py_lost(PyObject *self, PyObject *exc)
{
    TacTransport *t = tac_transport_get(self);
    if (t == NULL) {
        return NULL;
    }
    Py_INCREF(t);
    int rc = tac_transport_lose(t, exc);
    Py_DECREF(t);
    return tac_transport_result(rc);
}

PyObject *
tac_transport_py_is_closing(PyObject *self, PyObject *noargs)
{
    TacTransport *t = tac_transport_get(self);
    return t == NULL ? NULL : PyBool_FromLong(t->closing);
}

PyObject *
tac_transport_py_is_reading(PyObject *self, PyObject *noargs)
{
    TacTransport *t = tac_transport_get(self);
    return t == NULL ? NULL : PyBool_FromLong(!t->closing && !t->paused);
}

PyObject *
tac_transport_py_pause_reading(PyObject *self, PyObject *noargs)
{
    TacTransport *t = tac_transport_get(self);
    if (t == NULL) {
        return NULL;
    }
    if (t->closing || t->paused || t->loop == NULL) {
        Py_RETURN_NONE;
    }
    t->paused = true;
    tac_transport_read_no_more(t);
    return tac_transport_result(tac_transport_log(t, "pauses reading"));
}

PyObject *
tac_transport_py_resume_reading(PyObject *self, PyObject *noargs)
{
    TacTransport *t = tac_transport_get(self);
    if (t == NULL) {
        return NULL;
    }
    if (t->closing || !t->paused || t->loop == NULL) {
        Py_RETURN_NONE;
    }
    if (tac_loop_check_open(t->loop) < 0) {
        return NULL;
    }
    t->paused = false;
    if (tac_transport_read_more(t) < 0
        || (t->kind->resumed != NULL && t->kind->resumed(t) < 0)) {
        return NULL;
    }
    return tac_transport_result(tac_transport_log(t, "resumes reading"));
}

static int
transport_change_protocol(TacTransport *t, PyObject *protocol)
{
    if (t->kind->set_protocol != NULL
        && t->kind->set_protocol(t, protocol) < 0) {
        return -1;
    }
    Py_XSETREF(t->protocol, Py_NewRef(protocol));
    return 0;
}

PyObject *
tac_transport_py_set_protocol(PyObject *self, PyObject *protocol)
{
    TacTransport *t = tac_transport_get(self);
    return t == NULL ? NULL
                     : tac_transport_result(
                         transport_change_protocol(t, protocol));
}

PyObject *
tac_transport_py_get_protocol(PyObject *self, PyObject *noargs)
{
    return tac_transport_get_protocol(self, NULL);
}

PyObject *
tac_transport_py_get_size(PyObject *self, PyObject *noargs)
{
    TacTransport *t = tac_transport_get(self);
    if (t == NULL || tac_transport_flush(t) < 0) {
        return NULL;
    }
    return PyLong_FromSsize_t(t->kind->size(t));
}

PyObject *
tac_transport_py_maybe_pause(PyObject *self, PyObject *noargs)
{
    TacTransport *t = tac_transport_get(self);
    return t == NULL ? NULL
                     : tac_transport_result(tac_transport_maybe_pause(t));
}

PyObject *
tac_transport_py_maybe_resume(PyObject *self, PyObject *noargs)
{
    TacTransport *t = tac_transport_get(self);
    return t == NULL ? NULL
                     : tac_transport_result(tac_transport_maybe_resume(t));
}

/* The attributes ---------------------------------------------------------- */

PyObject *
tac_transport_get_object(PyObject *self, void *closure)
{
    TacTransport *t = tac_transport_get(self);
    if (t == NULL) {
        return NULL;
    }
    PyObject *value = *(PyObject **)((char *)t + (size_t)closure);
    return Py_NewRef(value == NULL ? Py_None : value);
}

PyObject *
tac_transport_get_protocol(PyObject *self, void *closure)
{
    TacTransport *t = tac_transport_get(self);
    if (t == NULL) {
        return NULL;
    }
    return Py_NewRef(t->protocol == NULL ? Py_None : t->protocol);
}

int
tac_transport_set_protocol(PyObject *self, PyObject *value, void *closure)
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError,
                        "a transport's protocol cannot be deleted");
        return -1;
    }
    TacTransport *t = tac_transport_get(self);
    return t == NULL ? -1 : transport_change_protocol(t, value);
}

/* The socket object that a stream does without until it is asked for. */
static int
transport_make_sock(TacTransport *t)
{
    TacState *state = t->state;
    PyObject *kwargs = Py_BuildValue("{si}", "fileno", t->fd);
    PyObject *noargs = PyTuple_New(0);
    PyObject *sock = kwargs == NULL || noargs == NULL
                         ? NULL
                         : PyObject_Call((PyObject *)state->socket_type,
                                         noargs, kwargs);
    Py_XDECREF(noargs);
    Py_XDECREF(kwargs);
    if (sock == NULL) {
        return -1;
    }
    PyObject *result = PyObject_CallMethodOneArg(
        sock, state->str_setblocking, Py_False);
    if (result == NULL) {
        Py_DECREF(sock); /* which closes it */
        t->fd = -1;
        return -1;
    }
    Py_DECREF(result);
    t->sock = sock;
    return 0;
}

PyObject *
tac_transport_get_sock(PyObject *self, void *closure)
{
    TacTransport *t = tac_transport_of(self);
    if (t == NULL || (t->sock == NULL && t->fd < 0)) {
        /* Also for a destructor, if the constructor did not get far. */
        Py_RETURN_NONE;
    }
    if (t->sock == NULL && transport_make_sock(t) < 0) {
        return NULL;
    }
    return Py_NewRef(t->sock);
}

PyObject *
tac_transport_get_fd(PyObject *self, void *closure)
{
    TacTransport *t = tac_transport_get(self);
    return t == NULL ? NULL : PyLong_FromLong(t->shown_fd);
}

PyObject *
tac_transport_get_conn_lost(PyObject *self, void *closure)
{
    TacTransport *t = tac_transport_get(self);
    return t == NULL ? NULL : PyLong_FromUnsignedLong(t->conn_lost);
}

static bool *
transport_flag(TacTransport *t, void *closure)
{
    return (bool *)((char *)t + (size_t)closure);
}

PyObject *
tac_transport_get_flag(PyObject *self, void *closure)
{
    TacTransport *t = tac_transport_get(self);
    return t == NULL ? NULL : PyBool_FromLong(*transport_flag(t, closure));
}

int
tac_transport_set_flag(PyObject *self, PyObject *value, void *closure)
{
    TacTransport *t = tac_transport_get(self);
    int flag = t == NULL || value == NULL ? -1 : PyObject_IsTrue(value);
    if (flag < 0) {
        if (t != NULL && value == NULL) {
            PyErr_SetString(PyExc_AttributeError,
                            "a transport's flag cannot be deleted");
        }
        return -1;
    }
    *transport_flag(t, closure) = flag;
    return 0;
}

/* The water marks: any number, as the standard library's, which compares them
 * with a count of bytes.  The closure says whether it is the high one. */
static PyObject *
transport_odd_mark(const TacTransport *t, const void *closure)
{
    return t->odd_marks == NULL
               ? Py_None
               : PyTuple_GET_ITEM(t->odd_marks, closure == NULL);
}

/* As a count of bytes.  1; 0: it is none, but compares as that does; -1 with
 * an exception. */
static int
transport_mark_bytes(PyObject *mark, Py_ssize_t *bytes)
{
    if (PyLong_CheckExact(mark)) {
        *bytes = PyLong_AsSsize_t(mark);
        if (*bytes != -1 || !PyErr_Occurred()) {
            return 1;
        }
        PyErr_Clear();
    }
    double number = PyFloat_AsDouble(mark);
    if (number == -1.0 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) {
            return -1;
        }
        PyErr_Clear();
        number = Py_HUGE_VAL;
    }
    if (number < 0) {
        *bytes = -1; /* no size is as small */
    }
    else {
        *bytes = number < (double)PY_SSIZE_T_MAX ? (Py_ssize_t)number
                                                 : PY_SSIZE_T_MAX;
    }
    return 0;
}

/* What is no count of bytes itself is shown again as it is (None: is one). */
static int
transport_keep_odd_mark(TacTransport *t, PyObject *mark, const void *closure)
{
    PyObject *other = transport_odd_mark(t, closure != NULL ? NULL : t);
    PyObject *marks = NULL;
    if (mark != Py_None || other != Py_None) {
        marks = closure != NULL ? PyTuple_Pack(2, mark, other)
                                : PyTuple_Pack(2, other, mark);
        if (marks == NULL) {
            return -1;
        }
    }
    Py_XSETREF(t->odd_marks, marks);
    return 0;
}

PyObject *
tac_transport_get_mark(PyObject *self, void *closure)
{
    TacTransport *t = tac_transport_get(self);
    if (t == NULL) {
        return NULL;
    }
    PyObject *mark = transport_odd_mark(t, closure);
    if (mark != Py_None) {
        return Py_NewRef(mark);
    }
    return PyLong_FromSsize_t(closure != NULL ? t->high_bytes
                                              : t->low_bytes);
}

int
tac_transport_set_mark(PyObject *self, PyObject *value, void *closure)
{
    TacTransport *t = tac_transport_get(self);
    if (t == NULL || value == NULL) {
        if (t != NULL) {
            PyErr_SetString(PyExc_AttributeError,
                            "a transport's water mark cannot be deleted");
        }
        return -1;
    }
    Py_ssize_t bytes;
    int plain = transport_mark_bytes(value, &bytes);
    if (plain < 0
        || transport_keep_odd_mark(t, plain ? Py_None : value, closure) < 0)
    {
        return -1;
    }
    *(closure != NULL ? &t->high_bytes : &t->low_bytes) = bytes;
    return 0;
}

/* The types --------------------------------------------------------------- */

PyTypeObject *
tac_transport_make_type(PyObject *module, PyTypeObject *base,
                        const char *name, const char *doc, initproc init,
                        PyMethodDef *methods, PyGetSetDef *getset)
{
    PyMemberDef members[] = {
        {"_slot", T_OBJECT_EX, base->tp_basicsize, 0, NULL},
        {NULL},
    };
    PyType_Slot slots[] = {
        {Py_tp_doc, (void *)doc},
        {Py_tp_init, init},
        {Py_tp_methods, methods},
        {Py_tp_getset, getset},
        {Py_tp_members, members},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = name,
        .basicsize = (int)(base->tp_basicsize + sizeof(PyObject *)),
        .flags = Py_TPFLAGS_DEFAULT,
        .slots = slots,
    };
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &spec, (PyObject *)base);
    /* The slot is for C only. */
    if (type != NULL
        && PyObject_DelAttrString((PyObject *)type, "_slot") < 0) {
        Py_CLEAR(type);
    }
    return type;
}

/* The types of the hidden objects ----------------------------------------- */

static int
transport_tp_traverse(TacTransport *t, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(t));
    Py_VISIT((PyObject *)t->loop);
    Py_VISIT(t->protocol);
    Py_VISIT(t->sock);
    Py_VISIT(t->context);
    Py_VISIT(t->odd_marks);
    Py_VISIT((PyObject *)t->task.parent_nursery);
    Py_VISIT((PyObject *)t->task.scope);
    return t->kind == NULL || t->kind->traverse == NULL
               ? 0
               : t->kind->traverse(t, visit, arg);
}

static int
transport_tp_clear(TacTransport *t)
{
    if (tac_list_is_linked(&t->member.node)) {
        t->member.ops->drop(&t->member);
    }
    t->transport = NULL;
    Py_CLEAR(t->loop);
    Py_CLEAR(t->protocol);
    if (t->sock != NULL) {
        t->fd = -1; /* it was the object's to close */
        Py_CLEAR(t->sock);
    }
    Py_CLEAR(t->context);
    Py_CLEAR(t->odd_marks);
    if (t->kind->clear != NULL) {
        t->kind->clear(t);
    }
    return 0;
}

static void
transport_tp_dealloc(TacTransport *t)
{
    PyTypeObject *type = Py_TYPE(t);
    PyObject_GC_UnTrack(t);
    (void)transport_tp_clear(t);
    if (t->fd >= 0 && !t->kind->is_pipe) { /* no object has it */
        (void)close(t->fd);
    }
    t->kind->drop(t);
    if (t->kind->free != NULL) {
        t->kind->free(t);
    }
    t->state->counts.transports--;
    type->tp_free(t);
    Py_DECREF(type);
}

PyTypeObject *
tac_transport_make_state_type(PyObject *module, const char *name,
                              const char *doc, Py_ssize_t size,
                              PyMethodDef *functions)
{
    PyType_Slot slots[] = {
        {Py_tp_doc, (void *)doc},
        {Py_tp_traverse, transport_tp_traverse},
        {Py_tp_clear, transport_tp_clear},
        {Py_tp_dealloc, transport_tp_dealloc},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = name,
        .basicsize = (int)size,
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
                 | Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .slots = slots,
    };
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    if (type != NULL && PyModule_AddFunctions(module, functions) < 0) {
        Py_CLEAR(type);
    }
    return (PyTypeObject *)type;
}
