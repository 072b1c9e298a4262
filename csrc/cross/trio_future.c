/* cross/trio_future.c - the Future of a Trio task, and run_trio.
 *
 * The type is made at run time, as a subclass of the running interpreter's
 * own Future in C, with the call behind the base's fields: one object a call.
 */
#include "cross/cross.h"
#include "cross/trio_call.h"

#include "aio/create.h"
#include "base/args.h"
#include "base/compat.h"

/* Behind the fields of the base. */
struct trio_future {
    PyObject *message; /* owned or NULL: what a cancel says */
    struct tac_trio_call call; /* the last: see tac_trio_call_of */
};

static inline struct trio_future *
trio_future_of(PyObject *self)
{
    Py_ssize_t size = Py_TYPE(self)->tp_basicsize;
    return (struct trio_future *)((char *)self + size) - 1;
}

/* Cancelling -------------------------------------------------------------- */

/* The base's cancel(): the Future is cancelled now. */
static PyObject *
trio_future_be_cancelled(PyObject *self)
{
    struct trio_future *future = trio_future_of(self);
    TacState *state = future->call.loop->state;
    PyObject *cancel =
        PyObject_GetAttr((PyObject *)Py_TYPE(self)->tp_base,
                         state->str_cancel);
    if (cancel == NULL) {
        return NULL;
    }
    PyObject *message =
        Py_NewRef(future->message == NULL ? Py_None : future->message);
    PyObject *args[] = {self, message};
    PyObject *result = PyObject_Vectorcall(cancel, args, 2, NULL);
    Py_DECREF(message);
    Py_DECREF(cancel);
    return result;
}

static int
trio_future_is_done(PyObject *self, TacState *state)
{
    PyObject *done = PyObject_CallMethodNoArgs(self, state->str_done);
    int is_done = done == NULL ? -1 : PyObject_IsTrue(done);
    Py_XDECREF(done);
    return is_done;
}

static const char *const trio_future_cancel_names[] = {"msg", NULL};
static const struct tac_params trio_future_cancel_params = {
    .function = "cancel",
    .positional = 1,
    .required = 0,
    .names = trio_future_cancel_names,
};

static PyObject *
trio_future_cancel(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    struct trio_future *future = trio_future_of(self);
    PyObject *message = Py_None;
    if (tac_args_bind(&trio_future_cancel_params, args, nargs, kwnames,
                      &message)
        < 0)
    {
        return NULL;
    }
    int is_done = trio_future_is_done(self, future->call.loop->state);
    if (is_done != 0) {
        return is_done < 0 ? NULL : Py_NewRef(Py_False);
    }
    Py_XSETREF(future->message, Py_NewRef(message));
    PyObject *words[] = {self, message};
    PyObject *why = PyObject_Vectorcall(
        future->call.loop->state->hook_crossing_reason, words, 2, NULL);
    int told = why == NULL ? -1 : tac_trio_call_cancel(&future->call, why);
    Py_XDECREF(why);
    if (told != 0) {
        return told < 0 ? NULL : Py_NewRef(Py_True);
    }
    return trio_future_be_cancelled(self);
}

static PyObject *
trio_future_call_cancelled(PyObject *self, PyObject *noargs)
{
    return trio_future_be_cancelled(self);
}

/* Making ------------------------------------------------------------------ */

/* `args`: the positional ones, then the values of the keywords. */
static int
trio_future_set_arguments(struct tac_trio_call *call, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t keywords = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    call->args = PyTuple_New(nargs + keywords);
    if (call->args == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < nargs + keywords; i++) {
        PyTuple_SET_ITEM(call->args, i, Py_NewRef(args[i]));
    }
    call->kwnames = keywords == 0 ? NULL : Py_NewRef(kwnames);
    return 0;
}

static int
trio_future_init(PyObject *self, TacLoop *loop)
{
    PyObject *kwargs = tac_create_kwargs(loop);
    PyObject *noargs = kwargs == NULL ? NULL : PyTuple_New(0);
    int rc = noargs == NULL ? -1
                            : Py_TYPE(self)->tp_init(self, noargs, kwargs);
    Py_XDECREF(noargs);
    return rc;
}

/* `context`: borrowed; NULL: a copy of the caller's. */
static PyObject *
trio_future_start(TacLoop *loop, PyObject *context, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *kwnames)
{
    if (tac_loop_check_running(loop) < 0) {
        return NULL;
    }
    PyTypeObject *type = loop->state->trio_future_type;
    PyObject *future = type->tp_alloc(type, 0);
    if (future == NULL) {
        return NULL;
    }
    struct tac_trio_call *call = tac_trio_call_of(future);
    call->loop = (TacLoop *)Py_NewRef(loop);
    call->fn = Py_NewRef(args[0]);
    call->caller = (TacScope *)Py_XNewRef(tac_scoped_here(loop));
    call->context = Py_XNewRef(context);
    if (trio_future_set_arguments(call, args + 1, nargs - 1, kwnames) < 0
        || trio_future_init(future, loop) < 0
        || tac_trio_call_queue(future) < 0) {
        Py_CLEAR(future);
    }
    return future;
}

static PyObject *
trio_future_run(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "run_trio() missing 1 required "
                                         "positional argument: 'fn'");
        return NULL;
    }
    return trio_future_start((TacLoop *)self, NULL, args, nargs, kwnames);
}

static PyObject *
trio_future_run_in(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    if (nargs < 2 || !PyContext_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError,
                        "_run_trio_in() takes a context and a function");
        return NULL;
    }
    return trio_future_start((TacLoop *)self, args[0], args + 1, nargs - 1,
                             kwnames);
}

/* The type ---------------------------------------------------------------- */

static int
trio_future_tp_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct trio_future *future = trio_future_of(self);
    int rc = Py_TYPE(self)->tp_base->tp_traverse(self, visit, arg);
    if (rc != 0) {
        return rc;
    }
    Py_VISIT(future->message);
    return tac_trio_call_traverse(&future->call, visit, arg);
}

static int
trio_future_tp_clear(PyObject *self)
{
    struct trio_future *future = trio_future_of(self);
    Py_CLEAR(future->message);
    tac_trio_call_clear(&future->call);
    return Py_TYPE(self)->tp_base->tp_clear(self);
}

static void
trio_future_tp_dealloc(PyObject *self)
{
    struct trio_future *future = trio_future_of(self);
    /* The base's tells of an exception that nobody has retrieved. */
    if (PyObject_CallFinalizerFromDealloc(self) < 0) {
        return;
    }
    PyObject_GC_UnTrack(self);
    Py_CLEAR(future->message);
    tac_trio_call_clear(&future->call);
    Py_CLEAR(future->call.loop);
    Py_TYPE(self)->tp_base->tp_dealloc(self); /* lets go of the type, too */
}

#define FAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef trio_future_methods[] = {
    {"cancel", FAST(trio_future_cancel), METH_FASTCALL | METH_KEYWORDS,
     "cancel($self, /, msg=None)\n--\n\n"
     "Cancel the Trio task.\n\n"
     "Returns False if the Future is done already; otherwise True, although\n"
     "the task may yet end with a value or an error."},
    {"_call_cancelled", trio_future_call_cancelled, METH_NOARGS,
     "_call_cancelled($self, /)\n--\n\n"
     "Hear that the task has ended by a cancel."},
    {NULL},
};

static PyMethodDef trio_future_run_in_method = {
    "_run_trio_in", FAST(trio_future_run_in), METH_FASTCALL | METH_KEYWORDS,
    "_run_trio_in($self, context, fn, /, *args, **kwargs)\n--\n\n"
    "Do as run_trio, but in `context` and not in a copy of the caller's.",
};

/* As the Future of gather() has it. */
static PyObject *
trio_future_get_cancel_requested(PyObject *self, void *closure)
{
    return PyBool_FromLong(trio_future_of(self)->call.cancel_called);
}

static PyGetSetDef trio_future_getset[] = {
    {"_cancel_requested", trio_future_get_cancel_requested, NULL,
     "Whether cancel() was called."},
    {NULL},
};

static PyMethodDef trio_future_run_method = {
    "run_trio", FAST(trio_future_run), METH_FASTCALL | METH_KEYWORDS,
    "run_trio($self, fn, /, *args, **kwargs)\n--\n\n"
    "Start a Trio-flavoured function as a task and return a Future of its\n"
    "outcome.\n\n"
    "The task starts in the order of callbacks, in the next turn at the\n"
    "earliest. Cancelling the Future cancels the task; the Future is done\n"
    "when the task has ended, and cancelled only if it ended by that.\n\n"
    "fn: the async function; called with args and kwargs, in a copy of the\n"
    "caller's context.\n"
    "Raises RuntimeError when the loop is closed or stopped.\n"
    "Flavor: sync. Thread-safe: no.",
};

#undef FAST

PyDoc_STRVAR(trio_future_doc,
"The Future of a Trio task: a cancel goes to the task, and is told of when\n"
"that has ended.");

static PyType_Slot trio_future_slots[] = {
    {Py_tp_doc, (void *)trio_future_doc},
    {Py_tp_traverse, trio_future_tp_traverse},
    {Py_tp_clear, trio_future_tp_clear},
    {Py_tp_dealloc, trio_future_tp_dealloc},
    {Py_tp_methods, trio_future_methods},
    {Py_tp_getset, trio_future_getset},
    {0, NULL},
};

/* asyncio first: the C half that is imported before it keeps Tasks of its own,
 * which asyncio.current_task() does not see. */
static PyTypeObject *
trio_future_base(void)
{
    PyObject *asyncio = PyImport_ImportModule("asyncio");
    PyObject *module =
        asyncio == NULL ? NULL : PyImport_ImportModule("_asyncio");
    Py_XDECREF(asyncio);
    PyObject *base =
        module == NULL ? NULL : PyObject_GetAttrString(module, "Future");
    Py_XDECREF(module);
    if (base != NULL && !PyType_Check(base)) {
        PyErr_SetString(PyExc_TypeError, "_asyncio.Future is no class");
        Py_CLEAR(base);
    }
    return (PyTypeObject *)base;
}

static PyTypeObject *
trio_future_make_type(PyObject *module, PyTypeObject *base)
{
    PyType_Spec spec = {
        .name = "trio_asyncio_c._core.TrioFuture",
        .basicsize = (int)(base->tp_basicsize + sizeof(struct trio_future)),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
                 | Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .slots = trio_future_slots,
    };
    return (PyTypeObject *)PyType_FromModuleAndSpec(module, &spec,
                                                    (PyObject *)base);
}

/* A method of the loop, whose type is of a layer below. */
static int
trio_future_add_method(TacState *state, PyMethodDef *def)
{
    PyObject *method = PyDescr_NewMethod(state->loop_type, def);
    int rc = method == NULL
                 ? -1
                 : PyObject_SetAttrString((PyObject *)state->loop_type,
                                          def->ml_name, method);
    Py_XDECREF(method);
    return rc;
}

/* The base's methods that each call needs. */
static int
trio_future_learn(TacState *state)
{
    PyObject *base = (PyObject *)state->trio_future_type->tp_base;
    state->aio_future_done = PyObject_GetAttr(base, state->str_done);
    state->aio_future_set_result =
        PyObject_GetAttr(base, state->str_set_result);
    return state->aio_future_done == NULL
                   || state->aio_future_set_result == NULL
               ? -1
               : 0;
}

int
tac_trio_future_add_types(PyObject *module, TacState *state)
{
    PyTypeObject *base = trio_future_base();
    if (base == NULL) {
        return -1;
    }
    state->trio_future_type = trio_future_make_type(module, base);
    Py_DECREF(base);
    if (state->trio_future_type == NULL
        || trio_future_learn(state) < 0
        || PyModule_AddType(module, state->trio_future_type) < 0) {
        return -1;
    }
    return trio_future_add_method(state, &trio_future_run_method) < 0
               ? -1
               : trio_future_add_method(state, &trio_future_run_in_method);
}
