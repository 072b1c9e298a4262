/* aio/timer.c - TimerHandle: a handle that the runner's heap makes ready. */
#include "aio/timer.h"

#include "aio/own_clock.h"
#include "base/compat.h"

#include <structmember.h>

static TacTimerHandle *
timer_of(struct tac_timer *timer)
{
    return tac_list_entry(timer, TacTimerHandle, timer);
}

/* Leave heap and list.  The list's reference goes to the caller. */
static bool
timer_unlink(TacTimerHandle *handle)
{
    if (!tac_list_is_linked(&handle->node)) {
        return false;
    }
    tac_list_unlink(&handle->node);
    tac_own_clock_disarm(handle->base.loop, &handle->timer);
    return true;
}

/* Due: the list's reference becomes the ring item's. */
static int
timer_fire(struct tac_timer *timer)
{
    TacTimerHandle *handle = timer_of(timer);
    tac_list_unlink(&handle->node);
    struct tac_ring_item item = {
        .object = (PyObject *)handle,
        .kind = TAC_RING_HANDLE,
    };
    return tac_loop_push(handle->base.loop, item);
}

static int
timer_arm(TacTimerHandle *handle, TacLoop *loop)
{
    /* Making the handle can run code, which may have closed the loop. */
    if (tac_loop_check_open(loop) < 0
        || tac_own_clock_arm(loop, &handle->timer, handle->when_s) < 0)
    {
        return -1;
    }
    tac_list_append(&loop->timers, &handle->node);
    Py_INCREF(handle);
    return 0;
}

TacTimerHandle *
tac_timer_new(TacLoop *loop, double when_s, PyObject *callback,
              PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    PyTypeObject *type = loop->state->timer_handle_type;
    TacTimerHandle *handle = (TacTimerHandle *)type->tp_alloc(type, 0);
    if (handle == NULL) {
        return NULL;
    }
    loop->state->counts.handles++;
    handle->base.tracked = true; /* tp_alloc does */
    handle->timer.fire = timer_fire;
    handle->when_s = when_s;
    if (tac_handle_init(&handle->base, loop, callback, args, nargs, context)
            < 0
        || timer_arm(handle, loop) < 0)
    {
        Py_DECREF(handle);
        return NULL;
    }
    return handle;
}

void
tac_timer_drop_all(TacLoop *loop)
{
    while (!tac_list_is_empty(&loop->timers)) {
        TacTimerHandle *handle =
            tac_list_entry(loop->timers.next, TacTimerHandle, node);
        (void)timer_unlink(handle);
        Py_DECREF(handle);
    }
}

int
tac_timer_traverse_all(TacLoop *loop, visitproc visit, void *arg)
{
    struct tac_list *head = &loop->timers;
    for (struct tac_list *n = head->next; n != NULL && n != head; n = n->next)
    {
        Py_VISIT((PyObject *)tac_list_entry(n, TacTimerHandle, node));
    }
    return 0;
}

/* The Python type --------------------------------------------------------- */

static void
timer_tp_dealloc(TacTimerHandle *handle)
{
    PyTypeObject *type = Py_TYPE(handle);
    TacState *state = PyType_GetModuleState(type);
    PyObject_GC_UnTrack(handle);
    if (handle->base.weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)handle);
    }
    (void)tac_handle_clear(&handle->base);
    Py_CLEAR(handle->base.loop);
    if (state != NULL) {
        state->counts.handles--;
    }
    type->tp_free(handle);
    Py_DECREF(type);
}

static PyObject *
timer_cancel(TacTimerHandle *handle, PyObject *noargs)
{
    bool linked = timer_unlink(handle);
    int rc = tac_handle_cancel(&handle->base);
    if (linked) {
        Py_DECREF(handle);
    }
    if (rc < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
timer_when(TacTimerHandle *handle, PyObject *noargs)
{
    return PyFloat_FromDouble(handle->when_s);
}

static PyObject *
timer_repr_info(TacTimerHandle *handle, PyObject *noargs)
{
    PyObject *info = tac_handle_repr_info(&handle->base);
    PyObject *when = PyFloat_FromDouble(handle->when_s);
    PyObject *word =
        when == NULL ? NULL : PyUnicode_FromFormat("when=%R", when);
    if (info == NULL || word == NULL
        || PyList_Insert(info, handle->base.cancelled ? 2 : 1, word) < 0)
    {
        Py_CLEAR(info);
    }
    Py_XDECREF(word);
    Py_XDECREF(when);
    return info;
}

/* Both are held meanwhile: an __eq__ may cancel the handles they are of. */
static int
timer_object_equal(PyObject *left, PyObject *right)
{
    if (left == NULL || right == NULL) {
        return left == right;
    }
    Py_INCREF(left);
    Py_INCREF(right);
    int equal = PyObject_RichCompareBool(left, right, Py_EQ);
    Py_DECREF(right);
    Py_DECREF(left);
    return equal;
}

/* 1, 0, or -1 with an exception. */
static int
timer_equal(TacTimerHandle *left, TacTimerHandle *right)
{
    if (left->when_s != right->when_s
        || left->base.cancelled != right->base.cancelled)
    {
        return 0;
    }
    int same = timer_object_equal(left->base.callback, right->base.callback);
    return same == 1 ? timer_object_equal(left->base.args, right->base.args)
                     : same;
}

/* asyncio's order: by time, and for <= and >= also equal handles. */
static PyObject *
timer_tp_richcompare(PyObject *self, PyObject *other, int op)
{
    if (Py_TYPE(self) != Py_TYPE(other)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    TacTimerHandle *left = (TacTimerHandle *)self;
    TacTimerHandle *right = (TacTimerHandle *)other;
    bool less = left->when_s < right->when_s;
    bool more = left->when_s > right->when_s;
    if (op == Py_LT || (op == Py_LE && less)) {
        return PyBool_FromLong(less);
    }
    if (op == Py_GT || (op == Py_GE && more)) {
        return PyBool_FromLong(more);
    }
    int equal = timer_equal(left, right);
    if (equal < 0) {
        return NULL;
    }
    return PyBool_FromLong(op == Py_NE ? !equal : equal);
}

static Py_hash_t
timer_tp_hash(TacTimerHandle *handle)
{
    PyObject *when = PyFloat_FromDouble(handle->when_s);
    if (when == NULL) {
        return -1;
    }
    Py_hash_t hash = PyObject_Hash(when);
    Py_DECREF(when);
    return hash;
}

static PyObject *
timer_get_scheduled(TacTimerHandle *handle, void *closure)
{
    return PyBool_FromLong(tac_list_is_linked(&handle->node));
}

static PyObject *
timer_get_class(TacTimerHandle *handle, void *closure)
{
    return tac_handle_get_class(&handle->base, "TimerHandle");
}

static PyMethodDef timer_methods[] = {
    {"cancel", (PyCFunction)timer_cancel, METH_NOARGS,
     "cancel($self, /)\n--\n\n"
     "Keep the callback from running, and drop it and its arguments.\n\n"
     "Idempotent. Thread-safe: no."},
    {"when", (PyCFunction)timer_when, METH_NOARGS,
     "when($self, /)\n--\n\n"
     "When the callback is due, in seconds of loop.time()."},
    {"_repr_info", (PyCFunction)timer_repr_info, METH_NOARGS,
     "_repr_info($self, /)\n--\n\nThe words of the repr."},
    {NULL},
};

static PyMemberDef timer_members[] = {
    {"_when", T_DOUBLE, offsetof(TacTimerHandle, when_s), READONLY,
     "When the callback is due, in seconds of loop.time()."},
    {NULL},
};

static PyGetSetDef timer_getset[] = {
    {"_scheduled", (getter)timer_get_scheduled, NULL,
     "Whether it still waits for its time."},
    {"__class__", (getter)timer_get_class, NULL,
     "asyncio.TimerHandle, for isinstance."},
    {NULL},
};

PyDoc_STRVAR(timer_doc,
"What call_later and call_at return: a handle with a time, ordered by it.");

static PyType_Slot timer_slots[] = {
    {Py_tp_doc, (void *)timer_doc},
    {Py_tp_traverse, tac_handle_traverse},
    {Py_tp_clear, tac_handle_clear},
    {Py_tp_dealloc, timer_tp_dealloc},
    {Py_tp_richcompare, timer_tp_richcompare},
    {Py_tp_hash, timer_tp_hash},
    {Py_tp_methods, timer_methods},
    {Py_tp_members, timer_members},
    {Py_tp_getset, timer_getset},
    {0, NULL},
};

static PyType_Spec timer_spec = {
    .name = "trio_asyncio_c.TimerHandle",
    .basicsize = sizeof(TacTimerHandle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = timer_slots,
};

int
tac_timer_add_types(PyObject *module, TacState *state)
{
    state->timer_handle_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &timer_spec, (PyObject *)state->handle_type);
    if (state->timer_handle_type == NULL) {
        return -1;
    }
    return PyModule_AddType(module, state->timer_handle_type);
}
