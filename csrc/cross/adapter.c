/* cross/adapter.c - calls by aio_as_trio and trio_as_aio. */
#include "cross/adapter.h"

#include "base/args.h"
#include "base/compat.h"
#include "core/run.h"
#include "cross/aio_entry.h"

#include <stdbool.h>
#include <stddef.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    TacState *state;   /* borrowed: the type holds the module */
    PyObject *wrapped; /* owned */
    PyObject *loop;    /* owned; None: the current one at each use */
    struct TacAioEntry *entered; /* owned: each entry is one of its own, for
                                    a lock may be shared */
    bool doc_set, module_set;
} TacAdapter;

/* Which loop ---------------------------------------------------------------- */

/* What asyncio runs in this thread, if it is one of ours.  0, or -1 with an
 * exception; `loop`: new ref | NULL. */
static int
adapter_find_running(TacState *state, PyObject **loop)
{
    PyObject *get =
        PyObject_GetAttr(state->aio_events, state->str__get_running_loop);
    PyObject *found = get == NULL ? NULL : PyObject_CallNoArgs(get);
    Py_XDECREF(get);
    *loop = NULL;
    if (found == NULL) {
        return -1;
    }
    if (PyObject_TypeCheck(found, state->loop_type)) {
        *loop = found;
        return 0;
    }
    Py_DECREF(found);
    return 0;
}

/* What current_loop.get() returns.  0, or -1 with an exception; `loop`: new
 * ref | NULL. */
static int
adapter_find_current(TacState *state, PyObject **loop)
{
    *loop = NULL;
    if (state->aio_events == NULL || state->hook_current_loop == NULL) {
        return 0; /* there was no loop yet */
    }
    if (!tac_in_trio_task(state)
        && (adapter_find_running(state, loop) < 0 || *loop != NULL))
    {
        return *loop == NULL ? -1 : 0;
    }
    if (PyContextVar_Get(state->hook_current_loop, NULL, loop) < 0) {
        return -1;
    }
    if (*loop == Py_None) {
        Py_CLEAR(*loop);
    }
    return 0;
}

/* Calling ------------------------------------------------------------------- */

/* Is it a function that makes an awaitable, if it does what it is for, and no
 * async generator?  Python code: none. */
static bool
adapter_is_plain(TacState *state, PyObject *wrapped)
{
    if (PyMethod_Check(wrapped)) {
        wrapped = PyMethod_GET_FUNCTION(wrapped);
    }
    if (PyFunction_Check(wrapped)) {
        PyCodeObject *code = (PyCodeObject *)PyFunction_GET_CODE(wrapped);
        return !(code->co_flags & CO_ASYNC_GENERATOR);
    }
    return Py_IS_TYPE(wrapped, state->async_function_type);
}

#define ADAPTER_FEW 8 /* arguments, for which there is room on the stack */

/* owner.name(first, *args, **kwargs) */
static PyObject *
adapter_call_with(PyObject *owner, PyObject *name, PyObject *first,
                  PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    Py_ssize_t count =
        nargs + (kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames));
    PyObject *few[ADAPTER_FEW + 2], **values = few;
    if (count > ADAPTER_FEW) {
        values = PyMem_New(PyObject *, count + 2);
        if (values == NULL) {
            return PyErr_NoMemory();
        }
    }
    values[0] = owner;
    values[1] = first;
    for (Py_ssize_t i = 0; i < count; i++) {
        values[i + 2] = args[i];
    }
    PyObject *result = PyObject_VectorcallMethod(
        name, values, (size_t)(nargs + 2), kwnames);
    if (values != few) {
        PyMem_Free(values);
    }
    return result;
}

/* self._call(*args, **kwargs), which knows all forms */
static PyObject *
adapter_call_slowly(TacAdapter *adapter, PyObject *const *args,
                    size_t nargsf, PyObject *kwnames)
{
    PyObject *call =
        PyObject_GetAttr((PyObject *)adapter, adapter->state->str__call);
    PyObject *result =
        call == NULL ? NULL
                     : PyObject_Vectorcall(call, args, nargsf, kwnames);
    Py_XDECREF(call);
    return result;
}

static PyObject *
adapter_call(TacAdapter *adapter, PyObject *name, PyObject *const *args,
             size_t nargsf, PyObject *kwnames)
{
    PyObject *loop = NULL;
    if (adapter_is_plain(adapter->state, adapter->wrapped)
        && adapter_find_current(adapter->state, &loop) < 0)
    {
        return NULL;
    }
    PyObject *result;
    if (loop != NULL && (adapter->loop == Py_None || adapter->loop == loop)) {
        PyObject *wrapped = Py_NewRef(adapter->wrapped);
        result =
            adapter_call_with(loop, name, wrapped, args, nargsf, kwnames);
        Py_DECREF(wrapped);
    }
    else {
        result = adapter_call_slowly(adapter, args, nargsf, kwnames);
    }
    Py_XDECREF(loop);
    return result;
}

static PyObject *
adapter_call_asyncio(PyObject *self, PyObject *const *args, size_t nargsf,
                     PyObject *kwnames)
{
    TacAdapter *adapter = (TacAdapter *)self;
    return adapter_call(adapter, adapter->state->str_run_asyncio, args,
                        nargsf, kwnames);
}

static PyObject *
adapter_call_trio(PyObject *self, PyObject *const *args, size_t nargsf,
                  PyObject *kwnames)
{
    TacAdapter *adapter = (TacAdapter *)self;
    return adapter_call(adapter, adapter->state->str_run_trio, args, nargsf,
                        kwnames);
}

/* Context managers ---------------------------------------------------------- */

/* Can the manager be entered here and now?  1, 0, or -1 with an exception;
 * `loop`: new ref, if it can. */
static int
adapter_can_enter(TacAdapter *adapter, PyObject **loop)
{
    TacState *state = adapter->state;
    PyObject *method;
    if (PyObject_GetOptionalAttr((PyObject *)Py_TYPE(adapter->wrapped),
                                 state->str___aenter__, &method)
        < 0)
    {
        return -1;
    }
    Py_XDECREF(method);
    if (method == NULL || !tac_in_trio_task(state)) {
        return 0;
    }
    if (adapter->loop != Py_None) {
        *loop = Py_NewRef(adapter->loop);
    }
    else if (adapter_find_current(state, loop) < 0) {
        return -1;
    }
    if (*loop != NULL && PyObject_TypeCheck(*loop, state->loop_type)
        && tac_loop_check_running((TacLoop *)*loop) == 0)
    {
        return 1;
    }
    PyErr_Clear(); /* Python's half words the errors */
    Py_CLEAR(*loop);
    return 0;
}

static PyObject *
adapter_enter(TacAdapter *adapter, PyObject *loop)
{
    if (!PyObject_TypeCheck(loop, adapter->state->loop_type)) {
        PyErr_SetString(PyExc_TypeError, "_enter() takes a loop");
        return NULL;
    }
    return tac_aio_entry_enter((TacLoop *)loop, adapter->wrapped,
                               (PyObject *)adapter, &adapter->entered);
}

static PyObject *
adapter_aenter(TacAdapter *adapter, PyObject *noargs)
{
    PyObject *loop = NULL;
    int can = adapter_can_enter(adapter, &loop);
    if (can <= 0) {
        return can < 0 ? NULL
                       : PyObject_CallMethodNoArgs(
                           (PyObject *)adapter,
                           adapter->state->str__enter_slowly);
    }
    PyObject *entering = adapter_enter(adapter, loop);
    Py_DECREF(loop);
    return entering;
}

static PyObject *
adapter_aexit(TacAdapter *adapter, PyObject *const *args, Py_ssize_t nargs)
{
    if (tac_args_exit("__aexit__", nargs) < 0) {
        return NULL;
    }
    return tac_aio_entry_leave(adapter->state, &adapter->entered,
                               args[1] == Py_None ? NULL : args[1]);
}

static PyMethodDef adapter_aio_as_trio_methods[] = {
    {"__aenter__", (PyCFunction)adapter_aenter, METH_NOARGS,
     "__aenter__($self, /)\n--\n\nEnter the manager, in a Task of its own."},
    {"__aexit__", (PyCFunction)(void (*)(void))adapter_aexit, METH_FASTCALL,
     "__aexit__($self, exc_type, exc, traceback, /)\n--\n\n"
     "Have that Task leave it."},
    {"_enter", (PyCFunction)adapter_enter, METH_O,
     "_enter($self, loop, /)\n--\n\nEnter the manager on a given loop."},
    {NULL},
};

static PyMethodDef adapter_no_methods[] = {{NULL}}; /* Python's half has them */

/* The object ---------------------------------------------------------------- */

static PyObject *
adapter_new(PyTypeObject *type, PyObject *args, PyObject *kwargs,
            vectorcallfunc call)
{
    static const char *const names[] = {"wrapped", "loop", NULL};
    PyObject *wrapped, *loop = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O", (char **)names,
                                     &wrapped, &loop)) {
        return NULL;
    }
    TacState *state = tac_state_of_type(type);
    TacAdapter *adapter =
        state == NULL ? NULL : (TacAdapter *)type->tp_alloc(type, 0);
    if (adapter == NULL) {
        return NULL;
    }
    adapter->vectorcall = call;
    adapter->state = state;
    adapter->wrapped = Py_NewRef(wrapped);
    adapter->loop = Py_NewRef(loop);
    return (PyObject *)adapter;
}

static PyObject *
adapter_new_aio_as_trio(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    return adapter_new(type, args, kwargs, adapter_call_asyncio);
}

static PyObject *
adapter_new_trio_as_aio(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    return adapter_new(type, args, kwargs, adapter_call_trio);
}

/* The flag of an attribute that the wrapped object's stands in for, or NULL.
 * The names in code are interned. */
static bool *
adapter_face_flag(TacAdapter *adapter, PyObject *name)
{
    if (name == adapter->state->str___doc__) {
        return &adapter->doc_set;
    }
    return name == adapter->state->str___module__ ? &adapter->module_set
                                                  : NULL;
}

static PyObject *
adapter_tp_getattro(PyObject *self, PyObject *name)
{
    TacAdapter *adapter = (TacAdapter *)self;
    bool *is_set = adapter_face_flag(adapter, name);
    if (is_set == NULL || *is_set || !PyCallable_Check(adapter->wrapped)) {
        return PyObject_GenericGetAttr(self, name);
    }
    PyObject *value = PyObject_GetAttr(adapter->wrapped, name);
    if (value == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        value = Py_NewRef(Py_None);
    }
    return value;
}

static int
adapter_tp_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    bool *is_set = adapter_face_flag((TacAdapter *)self, name);
    if (PyObject_GenericSetAttr(self, name, value) < 0) {
        return -1;
    }
    if (is_set != NULL) {
        *is_set = value != NULL;
    }
    return 0;
}

/* As a function: bound to an instance, itself for the class. */
static PyObject *
adapter_tp_descr_get(PyObject *self, PyObject *obj, PyObject *type)
{
    return obj == NULL || obj == Py_None ? Py_NewRef(self)
                                         : PyMethod_New(self, obj);
}

static int
adapter_tp_traverse(TacAdapter *adapter, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(adapter));
    Py_VISIT(adapter->wrapped);
    Py_VISIT(adapter->loop);
    return tac_aio_entries_traverse(adapter->entered, visit, arg);
}

/* What it wraps and its loop stay objects: a call may come after that. */
static int
adapter_tp_clear(TacAdapter *adapter)
{
    Py_XSETREF(adapter->wrapped, Py_NewRef(Py_None));
    Py_XSETREF(adapter->loop, Py_NewRef(Py_None));
    tac_aio_entries_clear(&adapter->entered);
    return 0;
}

static void
adapter_tp_dealloc(TacAdapter *adapter)
{
    PyTypeObject *type = Py_TYPE(adapter);
    PyObject_GC_UnTrack(adapter);
    Py_CLEAR(adapter->wrapped);
    Py_CLEAR(adapter->loop);
    tac_aio_entries_clear(&adapter->entered);
    type->tp_free(adapter);
    Py_DECREF(type);
}

static PyMemberDef adapter_members[] = {
    {"_wrapped", T_OBJECT, offsetof(TacAdapter, wrapped), READONLY, NULL},
    {"_loop", T_OBJECT, offsetof(TacAdapter, loop), READONLY, NULL},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(TacAdapter, vectorcall),
     READONLY, NULL},
    {NULL},
};

#define ADAPTER_SLOTS(name, make, methods)                                  \
    {                                                                       \
        {Py_tp_doc, name "(wrapped, loop=None)\n--\n\n"                     \
                         "What the adapter of Python is made of."},           \
        {Py_tp_new, make},                                                  \
        {Py_tp_call, PyVectorcall_Call},                                    \
        {Py_tp_getattro, adapter_tp_getattro},                              \
        {Py_tp_setattro, adapter_tp_setattro},                              \
        {Py_tp_descr_get, adapter_tp_descr_get},                            \
        {Py_tp_traverse, adapter_tp_traverse},                              \
        {Py_tp_clear, adapter_tp_clear},                                    \
        {Py_tp_dealloc, adapter_tp_dealloc},                                \
        {Py_tp_methods, methods},                                           \
        {Py_tp_members, adapter_members},                                   \
        {0, NULL},                                                          \
    }

static PyType_Slot adapter_aio_as_trio_slots[] =
    ADAPTER_SLOTS("AioAsTrio", adapter_new_aio_as_trio,
                  adapter_aio_as_trio_methods);
static PyType_Slot adapter_trio_as_aio_slots[] =
    ADAPTER_SLOTS("TrioAsAio", adapter_new_trio_as_aio,
                  adapter_no_methods);

#undef ADAPTER_SLOTS

#define ADAPTER_FLAGS                                                       \
    (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL   \
     | Py_TPFLAGS_BASETYPE)

static PyType_Spec adapter_aio_as_trio_spec = {
    .name = "trio_asyncio_c._core.AioAsTrio",
    .basicsize = sizeof(TacAdapter),
    .flags = ADAPTER_FLAGS,
    .slots = adapter_aio_as_trio_slots,
};

static PyType_Spec adapter_trio_as_aio_spec = {
    .name = "trio_asyncio_c._core.TrioAsAio",
    .basicsize = sizeof(TacAdapter),
    .flags = ADAPTER_FLAGS,
    .slots = adapter_trio_as_aio_slots,
};

static int
adapter_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **type)
{
    *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    return *type == NULL ? -1 : PyModule_AddType(module, *type);
}

int
tac_adapter_add_types(PyObject *module, TacState *state)
{
    return adapter_add_type(module, &adapter_aio_as_trio_spec,
                            &state->aio_as_trio_type) < 0
                   || adapter_add_type(module, &adapter_trio_as_aio_spec,
                                       &state->trio_as_aio_type) < 0
               ? -1
               : 0;
}
