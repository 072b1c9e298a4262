/* cross/run_trio.c - the life of a call of a Trio function: see trio_call.h;
 * and the type TrioCall, which is such a call with a sink. */
#include "cross/cross.h"
#include "cross/callee_context.h"
#include "cross/trio_call.h"

#include "aio/handle.h"
#include "base/compat.h"

#include <structmember.h>

typedef struct {
    PyObject_HEAD
    struct tac_trio_call call;
} TacTrioCall;

/* The outcome ------------------------------------------------------------- */

/* A Future of ours gets its value. */
static PyObject *
run_trio_resolve(TacLoop *loop, PyObject *future, PyObject *value)
{
    PyObject *args[2] = {future, value}, *outer = loop->resolving;
    loop->resolving = future;
    PyObject *set = PyObject_Vectorcall(loop->state->aio_future_set_result,
                                        args, 2, NULL);
    loop->resolving = outer;
    return set;
}

static PyObject *
run_trio_set(TacLoop *loop, PyObject *sink, PyObject *method, PyObject *arg)
{
    TacState *state = loop->state;
    if (method == state->str_set_result
        && Py_IS_TYPE(sink, state->trio_future_type))
    {
        return run_trio_resolve(loop, sink, arg);
    }
    return arg == NULL ? PyObject_CallMethodNoArgs(sink, method)
                       : PyObject_CallMethodOneArg(sink, method, arg);
}

static PyObject *
run_trio_ask_if_done(TacState *state, PyObject *sink)
{
    return Py_IS_TYPE(sink, state->trio_future_type)
               ? PyObject_CallOneArg(state->aio_future_done, sink)
               : PyObject_CallMethodNoArgs(sink, state->str_done);
}

/* Tell the sink, which is let go of first. */
static int
run_trio_tell(PyObject *owner, PyObject *method, PyObject *arg)
{
    struct tac_trio_call *call = tac_trio_call_of(owner);
    PyObject *sink = call->sink == NULL ? Py_NewRef(owner) : call->sink;
    TacLoop *loop = call->loop;
    call->sink = NULL;
    call->life = TAC_TRIO_CALL_DONE;
    PyObject *done = run_trio_ask_if_done(loop->state, sink);
    int is_done = done == NULL ? -1 : PyObject_IsTrue(done);
    Py_XDECREF(done);
    PyObject *result = NULL;
    if (is_done > 0) { /* somebody else has resolved the Future */
        result = Py_NewRef(Py_None);
    }
    else if (is_done == 0) {
        result = run_trio_set(loop, sink, method, arg);
    }
    Py_DECREF(sink);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* A Future refuses StopIteration; a coroutine would have made this of it. */
static PyObject *
run_trio_storable(PyObject *exc)
{
    if (!PyErr_GivenExceptionMatches(exc, PyExc_StopIteration)) {
        return Py_NewRef(exc);
    }
    PyObject *error = PyObject_CallFunction(
        PyExc_RuntimeError, "s", "coroutine raised StopIteration");
    if (error != NULL) {
        PyException_SetCause(error, Py_NewRef(exc));
        PyException_SetContext(error, Py_NewRef(exc));
    }
    return error;
}

/* What of `exc` is not a Cancelled: those belong to scopes, and asyncio code
 * never sees them.  Returns: new ref, None if nothing is left | NULL+exc. */
static PyObject *
run_trio_without_cancelled(TacState *state, PyObject *exc)
{
    if (PyErr_GivenExceptionMatches(exc, state->exc_Cancelled)) {
        return Py_NewRef(Py_None);
    }
    if (!PyObject_TypeCheck(exc, (PyTypeObject *)state->exception_group)) {
        return run_trio_storable(exc);
    }
    PyObject *pair = PyObject_CallMethodOneArg(exc, state->str_split,
                                               state->exc_Cancelled);
    PyObject *rest = NULL;
    if (pair != NULL && PyTuple_Check(pair) && PyTuple_GET_SIZE(pair) == 2) {
        PyObject *cancelled = PyTuple_GET_ITEM(pair, 0);
        /* Untouched unless something was split off. */
        rest = Py_NewRef(cancelled == Py_None ? exc
                                              : PyTuple_GET_ITEM(pair, 1));
    }
    Py_XDECREF(pair);
    return rest;
}

static int
run_trio_tell_error(PyObject *owner, PyObject *exc)
{
    TacState *state = tac_trio_call_of(owner)->loop->state;
    PyObject *error = run_trio_without_cancelled(state, exc);
    if (error == NULL) {
        return -1;
    }
    int rc = error == Py_None
                 ? run_trio_tell(owner, state->str__call_cancelled, NULL)
                 : run_trio_tell(owner, state->str_set_exception, error);
    Py_DECREF(error);
    return rc;
}

/* The raised exception could not be brought to the sink: the loop's
 * exception handler is the last to hear of it. */
static int
run_trio_report(TacLoop *loop)
{
    if (PyErr_ExceptionMatches(PyExc_SystemExit)
        || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
    {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *context =
        Py_BuildValue("{s:s,s:O}", "message",
                      "The outcome of a Trio task could not be delivered",
                      "exception", exc);
    PyObject *result = NULL;
    if (context != NULL) {
        result = PyObject_CallMethodOneArg(
            (PyObject *)loop, loop->state->str_call_exception_handler,
            context);
    }
    Py_XDECREF(context);
    Py_DECREF(exc);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* The task's exit: its scope goes first, for a Cancelled of that one is no
 * error. */
static int
run_trio_on_exit(TacTask *task, PyObject *value, PyObject *exc)
{
    PyObject *owner = task->exit_data;
    struct tac_trio_call *call = tac_trio_call_of(owner);
    TacLoop *loop = call->loop;
    TacState *state = loop->state;
    PyObject *left = Py_XNewRef(exc);
    TacScope *scope = call->scope;
    call->scope = NULL;
    int rc = tac_scope_close(scope, NULL, &left);
    Py_DECREF(scope);
    if (rc == 0) {
        if (exc == NULL) {
            rc = run_trio_tell(owner, state->str_set_result, value);
        }
        else if (left == NULL) {
            rc = run_trio_tell(owner, state->str__call_cancelled, NULL);
        }
        else {
            rc = run_trio_tell_error(owner, left);
        }
        if (rc < 0) {
            rc = run_trio_report(loop);
        }
    }
    Py_XDECREF(left);
    return rc;
}

/* The start --------------------------------------------------------------- */

static int
run_trio_spawn(PyObject *owner)
{
    struct tac_trio_call *call = tac_trio_call_of(owner);
    TacLoop *loop = call->loop;
    Py_ssize_t keywords =
        call->kwnames == NULL ? 0 : PyTuple_GET_SIZE(call->kwnames);
    struct tac_spawn how = {
        .fn = call->fn,
        .args = &PyTuple_GET_ITEM(call->args, 0),
        .nargs = PyTuple_GET_SIZE(call->args) - keywords,
        .kwnames = call->kwnames,
        .context = call->context,
        .nursery = loop->calls,
        .scope = call->scope,
        .home = (PyObject *)loop,
        .on_exit = run_trio_on_exit,
        .exit_data = owner,
    };
    TacTask *task = tac_task_spawn(loop->runner, &how);
    if (task == NULL) {
        return -1;
    }
    /* It begins in its turn among the loop's callbacks, as they do. */
    tac_task_step_next(&task->base);
    Py_DECREF(task);
    /* The coroutine has them now; the Future may live on for long. */
    Py_CLEAR(call->fn);
    Py_CLEAR(call->args);
    Py_CLEAR(call->kwnames);
    Py_CLEAR(call->context);
    return 0;
}

/* The callee could not even be started; the raised exception is the
 * outcome. */
static int
run_trio_refused(PyObject *owner)
{
    struct tac_trio_call *call = tac_trio_call_of(owner);
    PyObject *exc = PyErr_GetRaisedException();
    int rc = 0;
    if (call->scope != NULL && call->scope->active) {
        PyObject *none = NULL;
        rc = tac_scope_close(call->scope, NULL, &none);
    }
    Py_CLEAR(call->scope);
    if (rc == 0) {
        rc = run_trio_tell_error(owner, exc);
    }
    Py_DECREF(exc);
    return rc;
}

/* The ring's item. */
static int
run_trio_start(PyObject *owner)
{
    struct tac_trio_call *call = tac_trio_call_of(owner);
    TacLoop *loop = call->loop;
    if (call->life != TAC_TRIO_CALL_QUEUED) {
        return 0;
    }
    if (call->cancel_called) {
        return run_trio_tell(owner, loop->state->str__call_cancelled, NULL);
    }
    call->life = TAC_TRIO_CALL_RUNNING;
    call->scope = tac_scope_new(loop->state);
    if (call->scope == NULL
        || tac_scope_open_branch(call->scope, loop->runner,
                                 loop->calls->scope) < 0
        || run_trio_spawn(owner) < 0)
    {
        return run_trio_refused(owner);
    }
    call->scope->caller = call->caller;
    call->caller = NULL;
    return 0;
}

/* For the owners ---------------------------------------------------------- */

/* In debug mode: asyncio's own check of the thread.  0 or -1. */
static int
run_trio_check_thread(TacLoop *loop)
{
    if (!loop->debug) {
        return 0;
    }
    PyObject *checked = PyObject_CallMethodNoArgs(
        (PyObject *)loop, loop->state->str__check_thread);
    Py_XDECREF(checked);
    return checked == NULL ? -1 : 0;
}

int
tac_trio_call_queue(PyObject *owner)
{
    struct tac_trio_call *call = tac_trio_call_of(owner);
    if (run_trio_check_thread(call->loop) < 0
        || tac_loop_check_room(call->loop) < 0)
    {
        return -1;
    }
    if (call->context == NULL) {
        call->context = tac_callee_context_new(call->loop);
    }
    if (call->context == NULL) {
        return -1;
    }
    return tac_loop_push_native(call->loop, run_trio_start, owner, NULL);
}

static int
run_trio_cancel_scope(struct tac_trio_call *call, PyObject *why)
{
    TacScope *scope = (TacScope *)Py_NewRef(call->scope);
    PyObject *reason =
        tac_scope_reason(call->loop->state->str_explicit, why, NULL);
    scope->foreign = scope->foreign || scope->reason == NULL;
    int rc = reason == NULL ? -1 : tac_scope_cancel(scope, reason);
    Py_XDECREF(reason);
    Py_DECREF(scope);
    return rc;
}

int
tac_trio_call_cancel(struct tac_trio_call *call, PyObject *why)
{
    if (!PyUnicode_Check(why)) {
        PyErr_Format(PyExc_TypeError, "the reason must be a str, not %.200s",
                     Py_TYPE(why)->tp_name);
        return -1;
    }
    if (call->life == TAC_TRIO_CALL_DONE) {
        return 0;
    }
    call->cancel_called = true;
    if (call->scope != NULL && call->scope->active
        && run_trio_cancel_scope(call, why) < 0) {
        return -1;
    }
    return 1;
}

int
tac_trio_call_traverse(struct tac_trio_call *call, visitproc visit, void *arg)
{
    Py_VISIT((PyObject *)call->loop);
    Py_VISIT(call->sink);
    Py_VISIT(call->fn);
    Py_VISIT(call->args);
    Py_VISIT(call->kwnames);
    Py_VISIT(call->context);
    Py_VISIT((PyObject *)call->caller);
    Py_VISIT((PyObject *)call->scope);
    return 0;
}

void
tac_trio_call_clear(struct tac_trio_call *call)
{
    Py_CLEAR(call->sink);
    Py_CLEAR(call->fn);
    Py_CLEAR(call->args);
    Py_CLEAR(call->kwnames);
    Py_CLEAR(call->context);
    Py_CLEAR(call->caller);
    Py_CLEAR(call->scope);
}

/* TrioCall ---------------------------------------------------------------- */

static int
run_trio_set_arguments(struct tac_trio_call *call, PyObject *args,
                       PyObject *kwargs)
{
    Py_ssize_t nargs = PyTuple_GET_SIZE(args);
    Py_ssize_t keywords = kwargs == NULL ? 0 : PyDict_GET_SIZE(kwargs);
    call->args = PyTuple_New(nargs + keywords);
    call->kwnames = keywords == 0 ? NULL : PyTuple_New(keywords);
    if (call->args == NULL || (keywords != 0 && call->kwnames == NULL)) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        PyTuple_SET_ITEM(call->args, i, Py_NewRef(PyTuple_GET_ITEM(args, i)));
    }
    PyObject *name, *value;
    Py_ssize_t pos = 0;
    for (Py_ssize_t i = 0; i < keywords; i++) {
        (void)PyDict_Next(kwargs, &pos, &name, &value);
        PyTuple_SET_ITEM(call->kwnames, i, Py_NewRef(name));
        PyTuple_SET_ITEM(call->args, nargs + i, Py_NewRef(value));
    }
    return 0;
}

static PyObject *
run_trio_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    TacState *state = PyType_GetModuleState(type);
    PyObject *loop, *sink, *fn, *fn_args, *fn_kwargs = NULL;
    if (!PyArg_ParseTuple(args, "O!OOO!|O!:TrioCall", state->loop_type,
                          &loop, &sink, &fn, &PyTuple_Type, &fn_args,
                          &PyDict_Type, &fn_kwargs)
        || tac_loop_check_open((TacLoop *)loop) < 0)
    {
        return NULL;
    }
    PyObject *self = type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    struct tac_trio_call *call = tac_trio_call_of(self);
    call->loop = (TacLoop *)Py_NewRef(loop);
    call->sink = Py_NewRef(sink);
    call->fn = Py_NewRef(fn);
    if (run_trio_set_arguments(call, fn_args, fn_kwargs) < 0
        || tac_trio_call_queue(self) < 0) {
        Py_CLEAR(self);
    }
    return self;
}

static int
run_trio_tp_traverse(TacTrioCall *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return tac_trio_call_traverse(&self->call, visit, arg);
}

static int
run_trio_tp_clear(TacTrioCall *self)
{
    tac_trio_call_clear(&self->call);
    return 0;
}

static void
run_trio_tp_dealloc(TacTrioCall *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    tac_trio_call_clear(&self->call);
    Py_CLEAR(self->call.loop);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Returns whether the cancel will be heard of: False once done. */
static PyObject *
run_trio_cancel(TacTrioCall *self, PyObject *why)
{
    int told = tac_trio_call_cancel(&self->call, why);
    return told < 0 ? NULL : PyBool_FromLong(told);
}

static PyMethodDef run_trio_methods[] = {
    {"cancel", (PyCFunction)run_trio_cancel, METH_O,
     "cancel($self, why, /)\n--\n\n"
     "Cancel the Trio task, or keep it from starting.\n\n"
     "why: a str, the reason that its Cancelled has; the first counts.\n"
     "Returns False if it has ended already. The outcome is told when it\n"
     "has ended. Flavor: sync. Thread-safe: no."},
    {NULL},
};

static PyMemberDef run_trio_members[] = {
    {"cancel_called", T_BOOL, offsetof(TacTrioCall, call.cancel_called),
     READONLY, "Whether cancel() was called."},
    {NULL},
};

PyDoc_STRVAR(run_trio_doc,
"TrioCall(loop, sink, fn, args, kwargs, /)\n--\n\n"
"A call of a Trio-flavoured function, queued at once.\n\n"
"sink: has done(), and hears of the outcome by set_result(value),\n"
"set_exception(exc) or _call_cancelled().");

static PyType_Slot run_trio_slots[] = {
    {Py_tp_doc, (void *)run_trio_doc},
    {Py_tp_new, run_trio_tp_new},
    {Py_tp_traverse, run_trio_tp_traverse},
    {Py_tp_clear, run_trio_tp_clear},
    {Py_tp_dealloc, run_trio_tp_dealloc},
    {Py_tp_methods, run_trio_methods},
    {Py_tp_members, run_trio_members},
    {0, NULL},
};

static PyType_Spec run_trio_spec = {
    .name = "trio_asyncio_c._core.TrioCall",
    .basicsize = sizeof(TacTrioCall),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = run_trio_slots,
};

int
tac_run_trio_add_types(PyObject *module, TacState *state)
{
    state->trio_call_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &run_trio_spec, NULL);
    if (state->trio_call_type == NULL) {
        return -1;
    }
    return PyModule_AddType(module, state->trio_call_type);
}
