/* net/server.c - see server.h. */
#include "net/server.h"

#include "base/compat.h"

static int
server_call(TacState *state, PyObject *server, PyObject *name,
            PyObject *transport)
{
    PyObject *args[] = {server, transport};
    size_t nargs = state->server_takes_transport ? 2 : 1;
    PyObject *result = PyObject_VectorcallMethod(
        name, args, nargs | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Is it the standard library's server, with this method still its own? */
static bool
server_is_plain(TacState *state, PyObject *server, PyObject *name,
                PyObject *method)
{
    PyTypeObject *type = state->aio_server_type;
    if (type == NULL || !Py_IS_TYPE(server, type)) {
        return false;
    }
    PyObject *now = PyObject_GetAttr((PyObject *)type, name);
    Py_XDECREF(now);
    return now == method;
}

/* Does it still listen?  It has somebody to wake, else. */
static bool
server_has_sockets(TacState *state, PyObject *server)
{
    PyObject *sockets = PyObject_GetAttr(server, state->str__sockets);
    Py_XDECREF(sockets);
    return sockets != NULL && sockets != Py_None;
}

/* Is nothing left to be done for those that died while somebody iterated? */
static bool
server_is_settled(TacState *state, PyObject *clients)
{
    PyObject *pending =
        PyObject_GetAttr(clients, state->str__pending_removals);
    if (pending == NULL) { /* a version without it */
        PyErr_Clear();
        return true;
    }
    bool settled = PyList_Check(pending) && PyList_GET_SIZE(pending) == 0;
    Py_DECREF(pending);
    return settled;
}

/* The set of weak references that the method `name` would change.  Returns:
 * new ref, or NULL, no exception, where the method has to do it; `clients`
 * (out) likewise. */
static PyObject *
server_set(TacState *state, PyObject *server, PyObject *name,
           PyObject *method, PyObject **clients)
{
    *clients = NULL;
    PyObject *weakset = NULL, *set = NULL;
    if (server_is_plain(state, server, name, method)
        && server_has_sockets(state, server))
    {
        weakset = PyObject_GetAttr(server, state->str__clients);
    }
    if (weakset != NULL && Py_IS_TYPE(weakset, state->aio_weakset_type)
        && server_is_settled(state, weakset))
    {
        set = PyObject_GetAttr(weakset, state->str_data);
    }
    if (set != NULL && PySet_CheckExact(set)) {
        *clients = weakset;
        return set;
    }
    PyErr_Clear();
    Py_XDECREF(set);
    Py_XDECREF(weakset);
    return NULL;
}

int
tac_server_attach(TacState *state, PyObject *server, PyObject *transport)
{
    PyObject *clients;
    PyObject *set = server_set(state, server, state->str__attach,
                               state->aio_server_attach, &clients);
    if (set == NULL) {
        return server_call(state, server, state->str__attach, transport);
    }
    PyObject *remove = PyObject_GetAttr(clients, state->str__remove);
    PyObject *ref =
        remove == NULL ? NULL : PyWeakref_NewRef(transport, remove);
    int rc = ref == NULL ? -1 : PySet_Add(set, ref);
    Py_XDECREF(ref);
    Py_XDECREF(remove);
    Py_DECREF(clients);
    Py_DECREF(set);
    return rc;
}

int
tac_server_detach(TacState *state, PyObject *server, PyObject *transport)
{
    PyObject *clients;
    PyObject *set = server_set(state, server, state->str__detach,
                               state->aio_server_detach, &clients);
    if (set == NULL) {
        return server_call(state, server, state->str__detach, transport);
    }
    PyObject *ref = PyWeakref_NewRef(transport, NULL);
    int rc = ref == NULL ? -1 : PySet_Discard(set, ref);
    Py_XDECREF(ref);
    Py_DECREF(clients);
    Py_DECREF(set);
    return rc < 0 ? -1 : 0;
}

PyDoc_STRVAR(server_learn_doc,
"_learn_server($module, server, weakset, /)\n--\n\n"
"Learn asyncio's Server, which keeps its transports in a WeakSet.");

static PyObject *
server_learn(PyObject *module, PyObject *args)
{
    TacState *state = tac_state_of_module(module);
    PyObject *server, *weakset;
    if (!PyArg_ParseTuple(args, "O!O!:_learn_server", &PyType_Type, &server,
                          &PyType_Type, &weakset))
    {
        return NULL;
    }
    PyObject *attach = PyObject_GetAttr(server, state->str__attach);
    PyObject *detach =
        attach == NULL ? NULL : PyObject_GetAttr(server, state->str__detach);
    if (detach == NULL) {
        Py_XDECREF(attach);
        return NULL;
    }
    Py_XSETREF(state->aio_server_attach, attach);
    Py_XSETREF(state->aio_server_detach, detach);
    Py_XSETREF(state->aio_server_type, (PyTypeObject *)Py_NewRef(server));
    Py_XSETREF(state->aio_weakset_type, (PyTypeObject *)Py_NewRef(weakset));
    Py_RETURN_NONE;
}

static PyMethodDef server_functions[] = {
    {"_learn_server", server_learn, METH_VARARGS, server_learn_doc},
    {NULL},
};

int
tac_server_add_functions(PyObject *module, TacState *state)
{
    return PyModule_AddFunctions(module, server_functions);
}
