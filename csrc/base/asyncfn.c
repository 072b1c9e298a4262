/* base/asyncfn.c - AsyncFunction: a callable with a Python function's face. */
#include "base/asyncfn.h"

#include "base/compat.h"

#include <structmember.h>

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *function; /* owned builtin */
    PyObject *dict;
    PyObject *weakrefs;
} TacAsyncFunction;

static PyObject *
asyncfn_vectorcall(PyObject *self, PyObject *const *args, size_t nargsf,
                   PyObject *kwnames)
{
    /* May be replaced while it is called. */
    PyObject *function = Py_NewRef(((TacAsyncFunction *)self)->function);
    PyObject *result = PyObject_Vectorcall(function, args, nargsf, kwnames);
    Py_DECREF(function);
    return result;
}

/* The builtin's own, as attributes that can be set. */
static int
asyncfn_copy_names(TacAsyncFunction *async_fn, PyObject *module)
{
    static const char *const names[] = {"__name__", "__qualname__",
                                        "__module__", "__doc__"};
    async_fn->dict = PyDict_New();
    if (async_fn->dict == NULL) {
        return -1;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        PyObject *value =
            PyObject_GetAttrString(async_fn->function, names[i]);
        if (value == NULL) {
            PyErr_Clear(); /* a method's __module__ is its class's */
            value = Py_NewRef(module);
        }
        int rc = PyDict_SetItemString(async_fn->dict, names[i], value);
        Py_DECREF(value);
        if (rc < 0) {
            return -1;
        }
    }
    return PyDict_SetItemString(async_fn->dict, "__wrapped__",
                                async_fn->function);
}

int
tac_asyncfn_replace(PyObject *owner, TacState *state, const char *name)
{
    PyTypeObject *type = state->async_function_type;
    PyObject *function = PyObject_GetAttrString(owner, name);
    PyObject *module = PyObject_GetAttrString(
        owner, PyModule_Check(owner) ? "__name__" : "__module__");
    TacAsyncFunction *async_fn =
        function == NULL || module == NULL
            ? NULL
            : (TacAsyncFunction *)type->tp_alloc(type, 0);
    int rc = -1;
    if (async_fn != NULL) {
        async_fn->vectorcall = asyncfn_vectorcall;
        async_fn->function = Py_NewRef(function);
        rc = asyncfn_copy_names(async_fn, module);
    }
    if (rc == 0) {
        rc = PyObject_SetAttrString(owner, name, (PyObject *)async_fn);
    }
    Py_XDECREF(async_fn);
    Py_XDECREF(module);
    Py_XDECREF(function);
    return rc;
}

int
tac_asyncfn_replace_all(PyTypeObject *owner, TacState *state,
                        const char *const *names)
{
    for (; *names != NULL; names++) {
        if (tac_asyncfn_replace((PyObject *)owner, state, *names) < 0) {
            return -1;
        }
    }
    return 0;
}

bool
tac_asyncfn_is_builtin(PyObject *async_fn)
{
    return PyCFunction_CheckExact(((TacAsyncFunction *)async_fn)->function);
}

static int
asyncfn_tp_traverse(TacAsyncFunction *async_fn, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(async_fn));
    Py_VISIT(async_fn->function);
    Py_VISIT(async_fn->dict);
    return 0;
}

static int
asyncfn_tp_clear(TacAsyncFunction *async_fn)
{
    Py_CLEAR(async_fn->dict);
    return 0;
}

static void
asyncfn_tp_dealloc(TacAsyncFunction *async_fn)
{
    PyTypeObject *type = Py_TYPE(async_fn);
    PyObject_GC_UnTrack(async_fn);
    if (async_fn->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)async_fn);
    }
    Py_XDECREF(async_fn->function);
    (void)asyncfn_tp_clear(async_fn);
    type->tp_free(async_fn);
    Py_DECREF(type);
}

static PyObject *
asyncfn_tp_repr(TacAsyncFunction *async_fn)
{
    PyObject *name = PyObject_GetAttrString((PyObject *)async_fn,
                                            "__qualname__");
    PyObject *repr =
        name == NULL ? NULL : PyUnicode_FromFormat("<async function %S>", name);
    Py_XDECREF(name);
    return repr;
}

static PyObject *
asyncfn_get_function(TacAsyncFunction *async_fn, void *closure)
{
    return Py_NewRef(async_fn->function);
}

static int
asyncfn_set_function(TacAsyncFunction *async_fn, PyObject *value,
                     void *closure)
{
    if (value == NULL || !PyCallable_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "a callable is needed");
        return -1;
    }
    Py_SETREF(async_fn->function, Py_NewRef(value));
    return 0;
}

/* By name, as functions are pickled. */
static PyObject *
asyncfn_reduce(TacAsyncFunction *async_fn, PyObject *noargs)
{
    return PyObject_GetAttrString((PyObject *)async_fn, "__qualname__");
}

static PyObject *
asyncfn_tp_descr_get(PyObject *self, PyObject *object, PyObject *type)
{
    return object == NULL || object == Py_None ? Py_NewRef(self)
                                               : PyMethod_New(self, object);
}

static PyMethodDef asyncfn_methods[] = {
    {"__reduce__", (PyCFunction)asyncfn_reduce, METH_NOARGS, NULL},
    {NULL},
};

static PyGetSetDef asyncfn_getset[] = {
    {"_function", (getter)asyncfn_get_function,
     (setter)asyncfn_set_function,
     "What is called: the builtin function, or another in its place."},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL},
    {NULL},
};

static PyMemberDef asyncfn_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET,
     offsetof(TacAsyncFunction, vectorcall), READONLY},
    {"__dictoffset__", T_PYSSIZET, offsetof(TacAsyncFunction, dict),
     READONLY},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TacAsyncFunction, weakrefs),
     READONLY},
    {NULL},
};

static PyType_Slot asyncfn_slots[] = {
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_traverse, asyncfn_tp_traverse},
    {Py_tp_clear, asyncfn_tp_clear},
    {Py_tp_dealloc, asyncfn_tp_dealloc},
    {Py_tp_repr, asyncfn_tp_repr},
    {Py_tp_descr_get, asyncfn_tp_descr_get},
    {Py_tp_methods, asyncfn_methods},
    {Py_tp_getset, asyncfn_getset},
    {Py_tp_members, asyncfn_members},
    {0, NULL},
};

static PyType_Spec asyncfn_spec = {
    .name = "trio_asyncio_c._core.AsyncFunction",
    .basicsize = sizeof(TacAsyncFunction),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = asyncfn_slots,
};

int
tac_asyncfn_add_types(PyObject *module, TacState *state)
{
    state->async_function_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &asyncfn_spec, NULL);
    if (state->async_function_type == NULL) {
        return -1;
    }
    return PyModule_AddType(module, state->async_function_type);
}
