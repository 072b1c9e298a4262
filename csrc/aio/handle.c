/* aio/handle.c - Handle: a callback that is to run, and can be cancelled.
 *
 * Handles live for one turn as a rule, so unused ones are kept in a freelist
 * of the module's state.
 */
#include "aio/handle.h"

#include "aio/thread_handle.h"
#include "base/compat.h"

#include <structmember.h>

/* From so many callbacks in the queue on, those that come live long enough
 * for the collector to spend time on them. */
enum { HANDLE_BURST = 64 };

/* Making ------------------------------------------------------------------ */

/* The stack of the caller, as debug mode keeps it.  C adds no frame to it, so
 * its last entry is the line that scheduled the callback. */
static PyObject *
handle_extract_stack(void)
{
    PyObject *helpers = PyImport_ImportModule("asyncio.format_helpers");
    PyObject *frame = (PyObject *)PyEval_GetFrame(); /* borrowed */
    PyObject *stack = NULL;
    if (helpers != NULL) {
        stack = PyObject_CallMethod(helpers, "extract_stack", "O",
                                    frame == NULL ? Py_None : frame);
        Py_DECREF(helpers);
    }
    return stack;
}

static PyObject *
handle_pack_args(PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *packed = PyTuple_New(nargs);
    for (Py_ssize_t i = 0; packed != NULL && i < nargs; i++) {
        PyTuple_SET_ITEM(packed, i, Py_NewRef(args[i]));
    }
    return packed;
}

int
tac_handle_init(TacHandle *handle, TacLoop *loop, PyObject *callback,
                PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    handle->loop = (TacLoop *)Py_NewRef(loop);
    handle->callback = Py_NewRef(callback);
    if (nargs != 0) {
        handle->args = handle_pack_args(args, nargs);
        if (handle->args == NULL) {
            return -1;
        }
    }
    handle->context =
        context == NULL ? PyContext_CopyCurrent() : Py_NewRef(context);
    if (handle->context == NULL) {
        return -1;
    }
    if (loop->debug) {
        handle->source_traceback = handle_extract_stack();
        return handle->source_traceback == NULL ? -1 : 0;
    }
    return 0;
}

TacHandle *
tac_handle_alloc(TacState *state, PyTypeObject *type,
                 struct tac_freelist *unused)
{
    TacHandle *handle = (TacHandle *)tac_freelist_pop(unused, type);
    if (handle == NULL) {
        handle = PyObject_GC_New(TacHandle, type);
        if (handle == NULL) {
            return NULL;
        }
    }
    /* One by one: a memset of so little is a call of its own. */
    handle->loop = NULL;
    handle->callback = NULL;
    handle->args = NULL;
    handle->context = NULL;
    handle->source_traceback = NULL;
    handle->repr = NULL;
    handle->weakrefs = NULL;
    handle->cancelled = false;
    handle->tracked = false;
    handle->hides_context = false;
    handle->locked = false;
    state->counts.handles++;
    return handle;
}

/* Untrack the context of an untracked handle, a copy that nobody else has. */
static void
handle_hide_context(TacHandle *handle)
{
    if (PyObject_GC_IsTracked(handle->context)) {
        PyObject_GC_UnTrack(handle->context);
        handle->hides_context = true;
    }
}

/* Before anybody else gets hold of the context, and before it dies: it relies
 * on being tracked then. */
static void
handle_show_context(TacHandle *handle)
{
    if (handle->hides_context) {
        handle->hides_context = false;
        PyObject_GC_Track(handle->context);
    }
}

TacHandle *
tac_handle_new_untracked(TacLoop *loop, PyObject *callback,
                         PyObject *const *args, Py_ssize_t nargs,
                         PyObject *context)
{
    TacState *state = loop->state;
    TacHandle *handle =
        tac_handle_alloc(state, state->handle_type, &state->free_handles);
    if (handle == NULL) {
        return NULL;
    }
    if (tac_handle_init(handle, loop, callback, args, nargs, context) < 0) {
        Py_DECREF(handle);
        return NULL;
    }
    if (context == NULL && loop->ring.len >= HANDLE_BURST) {
        handle_hide_context(handle);
    }
    return handle;
}

TacHandle *
tac_handle_new(TacLoop *loop, PyObject *callback, PyObject *const *args,
               Py_ssize_t nargs, PyObject *context)
{
    TacHandle *handle =
        tac_handle_new_untracked(loop, callback, args, nargs, context);
    if (handle != NULL) {
        tac_handle_track(handle);
    }
    return handle;
}

void
tac_handle_track(TacHandle *handle)
{
    if (!handle->tracked) {
        handle->tracked = true;
        handle_show_context(handle);
        PyObject_GC_Track(handle);
    }
}

bool
tac_handle_check(TacState *state, PyObject *obj)
{
    return Py_TYPE(obj) == state->handle_type
           || Py_TYPE(obj) == state->timer_handle_type
           || Py_TYPE(obj) == state->thread_handle_type;
}

/* Running ----------------------------------------------------------------- */

int
tac_handle_report(PyObject *handle, TacState *state)
{
    if (PyErr_ExceptionMatches(PyExc_SystemExit)
        || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)
        || state->hook_handle_context == NULL)
    {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *outer = PyErr_GetHandledException();
    PyObject *args[2] = {handle, exc}; /* borrowed */
    /* As in an except clause: exception handlers ask sys.exc_info(). */
    PyErr_SetHandledException(exc);
    PyObject *result =
        PyObject_Vectorcall(state->hook_handle_context, args, 2, NULL);
    PyErr_SetHandledException(outer);
    Py_XDECREF(outer);
    Py_DECREF(exc);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static PyObject *
handle_call(PyObject *callback, PyObject *args)
{
    return args == NULL
               ? PyObject_CallNoArgs(callback)
               : PyObject_Vectorcall(callback, &PyTuple_GET_ITEM(args, 0),
                                     PyTuple_GET_SIZE(args), NULL);
}

/* Returns: new ref | NULL+exc. */
static PyObject *
handle_call_in_context(PyObject *context, PyObject *callback, PyObject *args)
{
    if (PyContext_Enter(context) < 0) {
        return NULL;
    }
    PyObject *result = handle_call(callback, args);
    PyObject *exc = result == NULL ? PyErr_GetRaisedException() : NULL;
    if (PyContext_Exit(context) < 0) {
        Py_CLEAR(result);
    }
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
    }
    return result;
}

/* asyncio takes whatever has a run() for a context, and reports what has
 * none when the callback is due.  Returns: new ref | NULL+exc. */
static PyObject *
handle_call_in_other(PyObject *context, PyObject *callback, PyObject *args)
{
    Py_ssize_t nargs = args == NULL ? 0 : PyTuple_GET_SIZE(args);
    PyObject *run = PyObject_GetAttrString(context, "run");
    PyObject *packed = run == NULL ? NULL : PyTuple_New(nargs + 1);
    PyObject *result = NULL;
    if (packed != NULL) {
        PyTuple_SET_ITEM(packed, 0, Py_NewRef(callback));
        for (Py_ssize_t i = 0; i < nargs; i++) {
            PyTuple_SET_ITEM(packed, i + 1,
                             Py_NewRef(PyTuple_GET_ITEM(args, i)));
        }
        result = PyObject_CallObject(run, packed);
    }
    Py_XDECREF(packed);
    Py_XDECREF(run);
    return result;
}

int
tac_handle_run(TacHandle *handle)
{
    return handle->locked ? tac_thread_handle_run((TacThreadHandle *)handle)
                          : tac_handle_run_unlocked(handle);
}

int
tac_handle_run_unlocked(TacHandle *handle)
{
    if (handle->cancelled || handle->callback == NULL) {
        return 0;
    }
    /* The callback may cancel its own handle, which drops these. */
    PyObject *callback = Py_NewRef(handle->callback);
    PyObject *args = Py_XNewRef(handle->args);
    PyObject *context = Py_NewRef(handle->context);
    TacState *state = handle->loop->state;
    PyObject *result =
        PyContext_CheckExact(context)
            ? handle_call_in_context(context, callback, args)
            : handle_call_in_other(context, callback, args);
    int rc = result == NULL ? tac_handle_report((PyObject *)handle, state)
                            : 0;
    Py_XDECREF(result);
    Py_DECREF(context);
    Py_XDECREF(args);
    Py_DECREF(callback);
    return rc;
}

int
tac_handle_cancel(TacHandle *handle)
{
    if (handle->cancelled) {
        return 0;
    }
    handle->cancelled = true;
    if (handle->loop != NULL && handle->loop->debug) {
        Py_XSETREF(handle->repr, PyObject_Repr((PyObject *)handle));
        if (handle->repr == NULL) {
            return -1;
        }
    }
    Py_CLEAR(handle->callback);
    Py_CLEAR(handle->args);
    return 0;
}

/* The Python type --------------------------------------------------------- */

int
tac_handle_traverse(TacHandle *handle, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(handle));
    Py_VISIT(handle->loop);
    Py_VISIT(handle->callback);
    Py_VISIT(handle->args);
    Py_VISIT(handle->context);
    Py_VISIT(handle->source_traceback);
    return 0;
}

/* The loop stays till dealloc: it still has us in its lists, and its own
 * clearing breaks every cycle through it. */
int
tac_handle_clear(TacHandle *handle)
{
    Py_CLEAR(handle->callback);
    Py_CLEAR(handle->args);
    handle_show_context(handle);
    Py_CLEAR(handle->context);
    Py_CLEAR(handle->source_traceback);
    Py_CLEAR(handle->repr);
    return 0;
}

/* Keep the memory for the next one.  False: it is the caller's to free. */
static bool
handle_keep(TacState *state, TacHandle *handle)
{
    PyObject *object = (PyObject *)handle;
    return handle->locked
               ? tac_freelist_push(&state->free_thread_handles,
                                   state->thread_handle_type, object)
               : tac_freelist_push(&state->free_handles, state->handle_type,
                                   object);
}

void
tac_handle_dealloc(TacHandle *handle)
{
    PyTypeObject *type = Py_TYPE(handle);
    /* The loop keeps the state: asking the type is a call. */
    TacState *state = handle->loop != NULL ? handle->loop->state
                                           : PyType_GetModuleState(type);
    /* No trashcan: a chain of handles goes through tuples, which have it. */
    if (handle->tracked) {
        PyObject_GC_UnTrack(handle);
    }
    if (handle->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)handle);
    }
    (void)tac_handle_clear(handle);
    Py_CLEAR(handle->loop);
    if (state != NULL) {
        state->counts.handles--;
    }
    if (state == NULL || !handle_keep(state, handle)) {
        PyObject_GC_Del(handle);
    }
    Py_DECREF(type);
}

PyObject *
tac_handle_repr_info(TacHandle *handle)
{
    TacState *state =
        handle->loop == NULL ? NULL : handle->loop->state;
    if (state == NULL || state->hook_format_source == NULL) {
        return PyList_New(0);
    }
    return PyObject_CallOneArg(state->hook_format_source, (PyObject *)handle);
}

static PyObject *
handle_repr_info(TacHandle *handle, PyObject *noargs)
{
    return tac_handle_repr_info(handle);
}

static PyObject *
handle_tp_repr(TacHandle *handle)
{
    if (handle->repr != NULL) {
        return Py_NewRef(handle->repr);
    }
    PyObject *info =
        PyObject_CallMethod((PyObject *)handle, "_repr_info", NULL);
    PyObject *space = PyUnicode_FromString(" ");
    PyObject *text =
        info == NULL || space == NULL ? NULL : PyUnicode_Join(space, info);
    PyObject *repr =
        text == NULL ? NULL : PyUnicode_FromFormat("<%U>", text);
    Py_XDECREF(text);
    Py_XDECREF(space);
    Py_XDECREF(info);
    return repr;
}

static PyObject *
handle_cancel(TacHandle *handle, PyObject *noargs)
{
    if (tac_handle_cancel(handle) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
handle_cancelled(TacHandle *handle, PyObject *noargs)
{
    return PyBool_FromLong(handle->cancelled);
}

static PyObject *
handle_get_context(TacHandle *handle, void *unused)
{
    handle_show_context(handle);
    return Py_NewRef(handle->context == NULL ? Py_None : handle->context);
}

static PyObject *
handle_run(TacHandle *handle, PyObject *noargs)
{
    if (tac_handle_run(handle) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
handle_get_args(TacHandle *handle, void *closure)
{
    if (handle->args != NULL) {
        return Py_NewRef(handle->args);
    }
    return handle->callback == NULL ? Py_NewRef(Py_None) : PyTuple_New(0);
}

PyObject *
tac_handle_get_class(TacHandle *handle, const char *name)
{
    PyObject *events =
        handle->loop == NULL ? NULL : handle->loop->state->aio_events;
    return events == NULL ? Py_NewRef((PyObject *)Py_TYPE(handle))
                          : PyObject_GetAttrString(events, name);
}

static PyObject *
handle_get_class(TacHandle *handle, void *closure)
{
    return tac_handle_get_class(handle, "Handle");
}

static PyObject *
handle_get_cancelled(TacHandle *handle, void *closure)
{
    return PyBool_FromLong(handle->cancelled);
}

static PyMethodDef handle_methods[] = {
    {"cancel", (PyCFunction)handle_cancel, METH_NOARGS,
     "cancel($self, /)\n--\n\n"
     "Keep the callback from running, and drop it and its arguments.\n\n"
     "Idempotent. Thread-safe: no."},
    {"cancelled", (PyCFunction)handle_cancelled, METH_NOARGS,
     "cancelled($self, /)\n--\n\nWhether cancel() was called."},
    {"get_context", (PyCFunction)handle_get_context, METH_NOARGS,
     "get_context($self, /)\n--\n\n"
     "The contextvars.Context that the callback runs in."},
    {"_run", (PyCFunction)handle_run, METH_NOARGS,
     "_run($self, /)\n--\n\nRun the callback now, in its context."},
    {"_repr_info", (PyCFunction)handle_repr_info, METH_NOARGS,
     "_repr_info($self, /)\n--\n\nThe words of the repr."},
    {NULL},
};

static PyMemberDef handle_members[] = {
    {"_callback", T_OBJECT, offsetof(TacHandle, callback), READONLY,
     "The callback; None once cancelled."},
    {"_loop", T_OBJECT, offsetof(TacHandle, loop), READONLY,
     "The loop that runs it."},
    {"_repr", T_OBJECT, offsetof(TacHandle, repr), READONLY,
     "In debug mode, what the repr was before cancel()."},
    {"_source_traceback", T_OBJECT, offsetof(TacHandle, source_traceback), 0,
     "In debug mode, the stack of who scheduled it; else None."},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TacHandle, weakrefs),
     READONLY},
    {NULL},
};

static PyGetSetDef handle_getset[] = {
    {"_args", (getter)handle_get_args, NULL,
     "The callback's arguments, a tuple; None once cancelled."},
    {"_context", (getter)handle_get_context, NULL,
     "The context that the callback runs in."},
    {"_cancelled", (getter)handle_get_cancelled, NULL,
     "Whether cancel() was called."},
    {"__class__", (getter)handle_get_class, NULL,
     "asyncio.Handle, for isinstance."},
    {NULL},
};

PyDoc_STRVAR(handle_doc,
"What call_soon and add_reader return: a callback that can be cancelled.");

static PyType_Slot handle_slots[] = {
    {Py_tp_doc, (void *)handle_doc},
    {Py_tp_traverse, tac_handle_traverse},
    {Py_tp_clear, tac_handle_clear},
    {Py_tp_dealloc, tac_handle_dealloc},
    {Py_tp_repr, handle_tp_repr},
    {Py_tp_methods, handle_methods},
    {Py_tp_members, handle_members},
    {Py_tp_getset, handle_getset},
    {0, NULL},
};

static PyType_Spec handle_spec = {
    .name = "trio_asyncio_c.Handle",
    .basicsize = sizeof(TacHandle),
    /* Immutable, or assigning __class__ would make it a subclass's, whose
     * dealloc does not know that the collector may not know the handle. */
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE
             | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = handle_slots,
};

int
tac_handle_add_types(PyObject *module, TacState *state)
{
    state->handle_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &handle_spec, NULL);
    if (state->handle_type == NULL) {
        return -1;
    }
    return PyModule_AddType(module, state->handle_type);
}
