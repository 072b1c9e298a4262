/* cross/aio_call.c - the coroutine of the Task that a crossing makes. */
#include "cross/aio_call.h"

#include "base/compat.h"
#include "base/coro.h"
#include "base/errors.h"

#include <stdbool.h>

enum aio_call_life { AIO_CALL_NEW, AIO_CALL_CALLED, AIO_CALL_DONE };

typedef struct {
    PyObject_HEAD
    TacState *state;   /* borrowed: the type holds the module */
    PyObject *fn;      /* owned: it has the name; or the iterator */
    PyObject *args;    /* owned while NEW; positional, then keyword values;
                          NULL then, too: an item is asked for */
    PyObject *kwnames; /* owned while NEW; or NULL */
    PyObject *coro;    /* owned from CALLED on, also when it has ended */
    enum aio_call_life life;
    bool running;
} TacAioCall;

static TacAioCall *
aio_call_alloc(TacState *state, PyObject *fn)
{
    PyTypeObject *type = state->aio_call_type;
    TacAioCall *call = (TacAioCall *)type->tp_alloc(type, 0);
    if (call != NULL) {
        call->state = state;
        call->fn = Py_NewRef(fn);
    }
    return call;
}

PyObject *
tac_aio_call_new(TacState *state, PyObject *fn, PyObject *const *args,
                 Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t keywords = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    TacAioCall *call = aio_call_alloc(state, fn);
    if (call == NULL) {
        return NULL;
    }
    call->args = PyTuple_New(nargs + keywords);
    if (call->args == NULL) {
        Py_DECREF(call);
        return NULL;
    }
    for (Py_ssize_t i = 0; i < nargs + keywords; i++) {
        PyTuple_SET_ITEM(call->args, i, Py_NewRef(args[i]));
    }
    call->kwnames = keywords == 0 ? NULL : Py_NewRef(kwnames);
    return (PyObject *)call;
}

PyObject *
tac_aio_call_new_anext(TacState *state, PyObject *iterator)
{
    return (PyObject *)aio_call_alloc(state, iterator);
}

/* Running ----------------------------------------------------------------- */

static void
aio_call_finish(TacAioCall *call)
{
    call->life = AIO_CALL_DONE;
    Py_CLEAR(call->args);
    Py_CLEAR(call->kwnames);
}

/* 0, or -1 with an exception: it runs already, or no more. */
static int
aio_call_check(const TacAioCall *call)
{
    if (call->running) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return -1;
    }
    if (call->life == AIO_CALL_DONE) {
        PyErr_SetString(PyExc_RuntimeError,
                        "cannot reuse already awaited coroutine");
        return -1;
    }
    return 0;
}

/* A StopIteration would read as a return value; a coroutine makes this of
 * it. */
static void
aio_call_replace_stop(void)
{
    if (PyErr_ExceptionMatches(PyExc_StopIteration)) {
        tac_err_wrap(PyExc_RuntimeError, "coroutine raised StopIteration");
    }
}

static PyObject *
aio_call_fn(TacAioCall *call)
{
    PyObject *args = call->args, *kwnames = call->kwnames;
    Py_ssize_t keywords = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    call->args = NULL;
    call->kwnames = NULL;
    PyObject *made = PyObject_Vectorcall(
        call->fn, &PyTuple_GET_ITEM(args, 0),
        (size_t)(PyTuple_GET_SIZE(args) - keywords), kwnames);
    Py_DECREF(args);
    Py_XDECREF(kwnames);
    return made;
}

static PyObject *
aio_call_anext(TacAioCall *call)
{
    PyTypeObject *type = Py_TYPE(call->fn);
    if (type->tp_as_async == NULL || type->tp_as_async->am_anext == NULL) {
        PyErr_Format(PyExc_TypeError,
                     "'%.200s' object is not an async iterator",
                     type->tp_name);
        return NULL;
    }
    return type->tp_as_async->am_anext(call->fn);
}

/* Can it be driven as it is?  What somebody else has may have begun, which is
 * an error.  Python code: none. */
static bool
aio_call_can_drive(TacAioCall *call, PyObject *made, bool is_item)
{
    return Py_REFCNT(made) == 1
           && (PyCoro_CheckExact(made)
               || (is_item && PyAsyncGen_CheckExact(call->fn)));
}

/* Call the function; what it returns is the coroutine, or gets one around
 * it, which words the errors of what cannot be awaited.  0 or -1. */
static int
aio_call_start(TacAioCall *call)
{
    bool is_item = call->args == NULL;
    call->life = AIO_CALL_CALLED;
    PyObject *made = is_item ? aio_call_anext(call) : aio_call_fn(call);
    if (made == NULL) {
        aio_call_replace_stop();
        return -1;
    }
    call->coro = made;
    if (!aio_call_can_drive(call, made, is_item)) {
        call->coro =
            PyObject_CallOneArg(call->state->hook_wrap_awaitable, made);
        Py_DECREF(made);
    }
    return call->coro == NULL ? -1 : 0;
}

static PySendResult
aio_call_am_send(TacAioCall *call, PyObject *value, PyObject **result)
{
    *result = NULL;
    if (aio_call_check(call) < 0) {
        return PYGEN_ERROR;
    }
    if (call->life == AIO_CALL_NEW && value != Py_None) {
        PyErr_SetString(PyExc_TypeError, "can't send non-None value to a "
                                         "just-started coroutine");
        return PYGEN_ERROR;
    }
    PySendResult sent = PYGEN_ERROR;
    Py_INCREF(call);
    call->running = true;
    if (call->life == AIO_CALL_CALLED || aio_call_start(call) == 0) {
        sent = PyIter_Send(call->coro, value, result);
    }
    call->running = false;
    if (sent != PYGEN_NEXT) {
        aio_call_finish(call);
    }
    Py_DECREF(call);
    return sent;
}

static PyObject *
aio_call_send_value(TacAioCall *call, PyObject *value, bool bare_return)
{
    PyObject *result;
    PySendResult sent = aio_call_am_send(call, value, &result);
    return tac_coro_sent(sent, result, bare_return);
}

static PyObject *
aio_call_send(TacAioCall *call, PyObject *value)
{
    return aio_call_send_value(call, value, false);
}

static PyObject *
aio_call_tp_iternext(TacAioCall *call)
{
    return aio_call_send_value(call, Py_None, true);
}

/* Call a method of the coroutine that is ours as long as it runs. */
static PyObject *
aio_call_delegate(TacAioCall *call, PyObject *method, PyObject *const *args,
                  Py_ssize_t nargs)
{
    PyObject *values[4] = {call->coro}; /* borrowed */
    for (Py_ssize_t i = 0; i < nargs; i++) {
        values[i + 1] = args[i];
    }
    call->running = true;
    PyObject *result = PyObject_VectorcallMethod(method, values,
                                                 (size_t)(nargs + 1), NULL);
    call->running = false;
    return result;
}

static PyObject *
aio_call_throw(TacAioCall *call, PyObject *const *args, Py_ssize_t nargs)
{
    if (aio_call_check(call) < 0) {
        return NULL;
    }
    PyObject *exc = tac_coro_thrown(args, nargs), *result = NULL;
    if (exc == NULL) {
        return NULL;
    }
    Py_INCREF(call);
    if (call->life == AIO_CALL_CALLED) {
        result = aio_call_delegate(call, call->state->str_throw, args, nargs);
    }
    else {
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
        aio_call_replace_stop();
    }
    if (result == NULL) {
        aio_call_finish(call);
    }
    Py_DECREF(call);
    Py_DECREF(exc);
    return result;
}

static PyObject *
aio_call_close(TacAioCall *call, PyObject *noargs)
{
    if (call->life == AIO_CALL_DONE) {
        Py_RETURN_NONE;
    }
    if (aio_call_check(call) < 0) {
        return NULL;
    }
    PyObject *closed = Py_None;
    Py_INCREF(call);
    if (call->life == AIO_CALL_CALLED) {
        closed = aio_call_delegate(call, call->state->str_close, NULL, 0);
    }
    aio_call_finish(call);
    Py_DECREF(call);
    return closed == Py_None ? Py_NewRef(Py_None) : closed;
}

static PyObject *
aio_call_am_await(TacAioCall *call)
{
    return Py_NewRef(call);
}

static PyObject *
aio_call_await(TacAioCall *call, PyObject *noargs)
{
    return Py_NewRef(call);
}

/* Introspection ----------------------------------------------------------- */

/* The closure is the attribute's name. */
static PyObject *
aio_call_get_of_fn(TacAioCall *call, void *closure)
{
    return PyObject_GetAttrString(call->fn, closure);
}

/* Of what stands in the coroutine's place: an async generator has the same
 * attributes by another prefix. */
static PyObject *
aio_call_get_of_coro(TacAioCall *call, void *closure)
{
    const char *name = closure;
    if (call->coro == NULL) {
        PyErr_SetString(PyExc_AttributeError, name);
        return NULL;
    }
    if (!PyAsyncGen_CheckExact(call->fn)) {
        return PyObject_GetAttrString(call->coro, name);
    }
    char of_generator[16];
    PyOS_snprintf(of_generator, sizeof(of_generator), "ag%s", name + 2);
    return PyObject_GetAttrString(call->fn, of_generator);
}

/* The object -------------------------------------------------------------- */

static int
aio_call_tp_traverse(TacAioCall *call, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(call));
    Py_VISIT(call->fn);
    Py_VISIT(call->args);
    Py_VISIT(call->kwnames);
    Py_VISIT(call->coro);
    return 0;
}

static int
aio_call_tp_clear(TacAioCall *call)
{
    call->life = AIO_CALL_DONE;
    Py_CLEAR(call->args);
    Py_CLEAR(call->kwnames);
    Py_CLEAR(call->coro);
    return 0;
}

static void
aio_call_tp_dealloc(TacAioCall *call)
{
    PyTypeObject *type = Py_TYPE(call);
    PyObject_GC_UnTrack(call);
    (void)aio_call_tp_clear(call);
    Py_CLEAR(call->fn);
    type->tp_free(call);
    Py_DECREF(type);
}

static PyMethodDef aio_call_methods[] = {
    {"send", (PyCFunction)aio_call_send, METH_O,
     "send($self, value, /)\n--\n\nResume; only None may be sent at first."},
    {"throw", (PyCFunction)(void (*)(void))aio_call_throw, METH_FASTCALL,
     "throw($self, exc, /)\n--\n\nRaise `exc` where it waits."},
    {"close", (PyCFunction)aio_call_close, METH_NOARGS,
     "close($self, /)\n--\n\nEnd it."},
    {"__await__", (PyCFunction)aio_call_await, METH_NOARGS,
     "__await__($self, /)\n--\n\nReturn an iterator to be used in await."},
    {NULL},
};

#define OF_CORO(name) {name, (getter)aio_call_get_of_coro, NULL, NULL, name}

static PyGetSetDef aio_call_getset[] = {
    {"__name__", (getter)aio_call_get_of_fn, NULL, NULL, "__name__"},
    {"__qualname__", (getter)aio_call_get_of_fn, NULL, NULL, "__qualname__"},
    OF_CORO("cr_await"),
    OF_CORO("cr_code"),
    OF_CORO("cr_frame"),
    OF_CORO("cr_origin"),
    OF_CORO("cr_running"),
    OF_CORO("cr_suspended"),
    {NULL},
};

#undef OF_CORO

PyDoc_STRVAR(aio_call_doc,
"The coroutine of a Task that run_asyncio has made.");

static PyType_Slot aio_call_slots[] = {
    {Py_tp_doc, (void *)aio_call_doc},
    {Py_tp_traverse, aio_call_tp_traverse},
    {Py_tp_clear, aio_call_tp_clear},
    {Py_tp_dealloc, aio_call_tp_dealloc},
    {Py_tp_iter, aio_call_am_await},
    {Py_tp_iternext, aio_call_tp_iternext},
    {Py_am_await, aio_call_am_await},
    {Py_am_send, aio_call_am_send},
    {Py_tp_methods, aio_call_methods},
    {Py_tp_getset, aio_call_getset},
    {0, NULL},
};

static PyType_Spec aio_call_spec = {
    .name = "trio_asyncio_c._core.AioCall",
    .basicsize = sizeof(TacAioCall),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = aio_call_slots,
};

int
tac_aio_call_add_types(PyObject *module, TacState *state)
{
    state->aio_call_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &aio_call_spec, NULL);
    return state->aio_call_type == NULL ? -1 : 0;
}
