/* cross/aio_iterator.c - the items of asyncio-flavoured iterators. */
#include "cross/aio_iterator.h"

#include "base/compat.h"
#include "cross/aio_call.h"
#include "cross/aio_start.h"
#include "cross/callee_context.h"

#include <stddef.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    TacLoop *loop;     /* owned */
    PyObject *inner;   /* owned */
    PyObject *context; /* owned; NULL before the first item */
} TacAioIterator;

static const struct tac_trap_ops aio_iterator_ops = {
    .name = "aio_as_trio",
    .begin = tac_aio_start_begin,
    .abort = tac_aio_start_abort,
    .unlink = tac_wait_future_unlink,
    .no_task_error =
        "aio_as_trio() must be called from async context: from a Trio "
        "task. In asyncio-flavoured code just await the function.",
};

/* Borrowed, or NULL+exc. */
static PyObject *
aio_iterator_context(TacAioIterator *self)
{
    if (self->context == NULL) {
        self->context = tac_callee_context_new(self->loop);
    }
    return self->context;
}

/* Have a coroutine (stolen, or NULL+exc) run in the context.
 * Returns: new ref | NULL+exc. */
static PyObject *
aio_iterator_run(TacAioIterator *self, PyObject *coro)
{
    TacTrap *trap = NULL;
    if (coro != NULL && aio_iterator_context(self) != NULL) {
        trap = tac_trap_new(self->loop->state, &aio_iterator_ops, coro,
                            (PyObject *)self->loop);
    }
    if (trap != NULL) {
        trap->result = Py_NewRef(self->context);
    }
    Py_XDECREF(coro);
    return (PyObject *)trap;
}

static PyObject *
aio_iterator_am_anext(TacAioIterator *self)
{
    return aio_iterator_run(
        self, tac_aio_call_new_anext(self->loop->state, self->inner));
}

static PyObject *
aio_iterator_call(TacAioIterator *self, PyObject *const *args,
                  Py_ssize_t nargs)
{
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "_call() takes a function");
        return NULL;
    }
    return aio_iterator_run(self, tac_aio_call_new(self->loop->state, args[0],
                                                   args + 1, nargs - 1, NULL));
}

static PyObject *
aio_iterator_get_context(TacAioIterator *self, void *closure)
{
    return Py_XNewRef(aio_iterator_context(self));
}

/* The object -------------------------------------------------------------- */

static PyObject *
aio_iterator_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    TacState *state = tac_state_of_type(type);
    PyObject *loop, *iterable;
    if (state == NULL
        || !PyArg_ParseTuple(args, "O!O:AioIterator", state->loop_type, &loop,
                             &iterable))
    {
        return NULL;
    }
    PyObject *inner =
        PyObject_CallMethodNoArgs(iterable, state->str___aiter__);
    TacAioIterator *self =
        inner == NULL ? NULL : (TacAioIterator *)type->tp_alloc(type, 0);
    if (self == NULL) {
        Py_XDECREF(inner);
        return NULL;
    }
    self->inner = inner;
    self->loop = (TacLoop *)Py_NewRef(loop);
    return (PyObject *)self;
}

static PyObject *
aio_iterator_am_aiter(PyObject *self)
{
    return Py_NewRef(self);
}

static int
aio_iterator_tp_traverse(TacAioIterator *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->inner);
    Py_VISIT(self->context);
    Py_VISIT((PyObject *)self->loop);
    return 0;
}

/* The iterator and its loop stay: an item may be asked for after that. */
static int
aio_iterator_tp_clear(TacAioIterator *self)
{
    Py_XSETREF(self->inner, Py_NewRef(Py_None));
    Py_CLEAR(self->context);
    return 0;
}

static void
aio_iterator_tp_dealloc(TacAioIterator *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->inner);
    Py_CLEAR(self->context);
    Py_CLEAR(self->loop);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef aio_iterator_methods[] = {
    {"_call", (PyCFunction)(void (*)(void))aio_iterator_call, METH_FASTCALL,
     "_call($self, fn, /, *args)\n--\n\n"
     "Call an asyncio-flavoured function as an item is asked for, and wait\n"
     "for it."},
    {NULL},
};

static PyMemberDef aio_iterator_members[] = {
    {"_inner", T_OBJECT, offsetof(TacAioIterator, inner), READONLY, NULL},
    {"_loop", T_OBJECT, offsetof(TacAioIterator, loop), READONLY, NULL},
    {NULL},
};

static PyGetSetDef aio_iterator_getset[] = {
    {"_context", (getter)aio_iterator_get_context, NULL, NULL, NULL},
    {NULL},
};

static PyType_Slot aio_iterator_slots[] = {
    {Py_tp_doc, "AioIterator(loop, iterable, /)\n--\n\n"
                "What Python's AsyncioIterator is made of."},
    {Py_tp_new, aio_iterator_tp_new},
    {Py_am_aiter, aio_iterator_am_aiter},
    {Py_am_anext, aio_iterator_am_anext},
    {Py_tp_traverse, aio_iterator_tp_traverse},
    {Py_tp_clear, aio_iterator_tp_clear},
    {Py_tp_dealloc, aio_iterator_tp_dealloc},
    {Py_tp_methods, aio_iterator_methods},
    {Py_tp_members, aio_iterator_members},
    {Py_tp_getset, aio_iterator_getset},
    {0, NULL},
};

static PyType_Spec aio_iterator_spec = {
    .name = "trio_asyncio_c._core.AioIterator",
    .basicsize = sizeof(TacAioIterator),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = aio_iterator_slots,
};

int
tac_aio_iterator_add_types(PyObject *module, TacState *state)
{
    PyObject *type =
        PyType_FromModuleAndSpec(module, &aio_iterator_spec, NULL);
    int rc = type == NULL ? -1
                          : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return rc;
}
