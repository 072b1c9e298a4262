/* aio/thread_handle.c - the handle of call_soon_threadsafe, from 3.14 on.
 *
 * The GIL makes every look at a handle that does not run atomic, so a lock is
 * made only for those who have to wait for one that does: the gate.
 *
 *   IDLE --run--> RUNNING --end of the outermost run--> IDLE, gate open
 *                  | ^
 *                  wait (from another thread): makes the gate
 *
 *   I1  gate != NULL  =>  depth != 0.
 * */
#include "aio/thread_handle.h"

#include "base/gate.h"

/* The handle -------------------------------------------------------------- */

/* Wait until no other thread runs the callback.  0, or -1 with an exception,
 * of a signal handler as a rule. */
static int
thread_handle_wait(TacThreadHandle *handle)
{
    while (handle->depth != 0
           && handle->thread != PyThread_get_thread_ident())
    {
        if (handle->gate == NULL) {
            handle->gate = tac_gate_new();
        }
        if (handle->gate == NULL
            || (!tac_gate_pass(handle->gate) && PyErr_CheckSignals() < 0))
        {
            return -1;
        }
    }
    return 0;
}

TacHandle *
tac_thread_handle_new(TacLoop *loop, PyObject *callback,
                      PyObject *const *args, Py_ssize_t nargs,
                      PyObject *context)
{
    TacState *state = loop->state;
    TacHandle *handle = tac_handle_alloc(state, state->thread_handle_type,
                                         &state->free_thread_handles);
    if (handle == NULL) {
        return NULL;
    }
    TacThreadHandle *locked = (TacThreadHandle *)handle;
    handle->locked = true;
    locked->depth = 0;
    locked->gate = NULL;
    if (tac_handle_init(handle, loop, callback, args, nargs, context) < 0) {
        Py_CLEAR(handle);
    }
    return handle;
}

int
tac_thread_handle_run(TacThreadHandle *handle)
{
    if (thread_handle_wait(handle) < 0) {
        return -1;
    }
    handle->thread = PyThread_get_thread_ident();
    handle->depth++;
    int rc = tac_handle_run_unlocked(&handle->base);
    handle->depth--;
    if (handle->depth == 0 && handle->gate != NULL) {
        struct tac_gate *gate = handle->gate;
        handle->gate = NULL;
        tac_gate_open(gate);
    }
    return rc;
}

/* The Python type --------------------------------------------------------- */

static PyObject *
thread_handle_cancel(TacThreadHandle *handle, PyObject *noargs)
{
    if (thread_handle_wait(handle) < 0
        || tac_handle_cancel(&handle->base) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
thread_handle_cancelled(TacThreadHandle *handle, PyObject *noargs)
{
    if (thread_handle_wait(handle) < 0) {
        return NULL;
    }
    return PyBool_FromLong(handle->base.cancelled);
}

static PyObject *
thread_handle_get_class(TacThreadHandle *handle, void *closure)
{
    return tac_handle_get_class(&handle->base, "_ThreadSafeHandle");
}

static PyMethodDef thread_handle_methods[] = {
    {"cancel", (PyCFunction)thread_handle_cancel, METH_NOARGS,
     "cancel($self, /)\n--\n\n"
     "Keep the callback from running, and drop it and its arguments.\n\n"
     "Waits for a callback that is running, unless it is called from that.\n"
     "Idempotent. Thread-safe: yes."},
    {"cancelled", (PyCFunction)thread_handle_cancelled, METH_NOARGS,
     "cancelled($self, /)\n--\n\n"
     "Whether cancel() was called.\n\n"
     "Waits for a callback that is running, unless it is called from that.\n"
     "Thread-safe: yes."},
    {NULL},
};

static PyGetSetDef thread_handle_getset[] = {
    {"__class__", (getter)thread_handle_get_class, NULL,
     "asyncio's own class, for isinstance."},
    {NULL},
};

PyDoc_STRVAR(thread_handle_doc,
"What call_soon_threadsafe returns from CPython 3.14 on: a handle that can be\n"
"cancelled from any thread.");

static PyType_Slot thread_handle_slots[] = {
    {Py_tp_doc, (void *)thread_handle_doc},
    {Py_tp_traverse, tac_handle_traverse},
    {Py_tp_clear, tac_handle_clear},
    {Py_tp_dealloc, tac_handle_dealloc},
    {Py_tp_methods, thread_handle_methods},
    {Py_tp_getset, thread_handle_getset},
    {0, NULL},
};

static PyType_Spec thread_handle_spec = {
    .name = "trio_asyncio_c.ThreadSafeHandle",
    .basicsize = sizeof(TacThreadHandle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = thread_handle_slots,
};

int
tac_thread_handle_add_types(PyObject *module, TacState *state)
{
    state->thread_handle_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &thread_handle_spec, (PyObject *)state->handle_type);
    if (state->thread_handle_type == NULL) {
        return -1;
    }
    return PyModule_AddType(module, state->thread_handle_type);
}
