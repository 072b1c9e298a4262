/* aio/call.c - call_soon, call_soon_threadsafe, call_later, call_at. */
#include "aio/call.h"

#include "aio/handle.h"
#include "aio/interp.h"
#include "aio/timer.h"
#include "base/args.h"

#include <math.h>

/* Arguments: `fixed` parameters by position, the callback the last of them;
 * the rest is the callback's. */
struct call_args {
    const char *method;
    PyObject *const *fixed;
    PyObject *callback;
    PyObject *const *rest;
    Py_ssize_t rest_len;
    PyObject *context; /* borrowed or NULL */
};

static int
call_parse_context(struct call_args *call, TacState *state,
                   PyObject *const *values, PyObject *kwnames)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        if (name != state->str_context
            && PyUnicode_Compare(name, state->str_context) != 0)
        {
            PyErr_Format(PyExc_TypeError,
                         "%s() got an unexpected keyword argument '%U'",
                         call->method, name);
            return -1;
        }
        call->context = values[i] == Py_None ? NULL : values[i];
    }
    if (call->context != NULL && !PyContext_CheckExact(call->context)) {
        PyErr_Format(PyExc_TypeError,
                     "%s() needs a contextvars.Context as context, not "
                     "%.200s",
                     call->method, Py_TYPE(call->context)->tp_name);
        return -1;
    }
    return 0;
}

static int
call_parse(struct call_args *call, TacLoop *loop, Py_ssize_t fixed,
           PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (nargs < fixed) {
        PyErr_Format(PyExc_TypeError,
                     "%s() missing %zd required positional argument%s",
                     call->method, fixed - nargs,
                     fixed - nargs == 1 ? "" : "s");
        return -1;
    }
    call->fixed = args;
    call->callback = args[fixed - 1];
    call->rest = args + fixed;
    call->rest_len = nargs - fixed;
    call->context = NULL;
    if (kwnames == NULL) {
        return 0;
    }
    return call_parse_context(call, loop->state, args + nargs, kwnames);
}

/* Debug mode: asyncio's own checks of thread and callback. */
static int
call_check(TacLoop *loop, const struct call_args *call, bool check_thread)
{
    PyObject *self = (PyObject *)loop;
    TacState *state = loop->state;
    if (check_thread) {
        PyObject *done =
            PyObject_CallMethodNoArgs(self, state->str__check_thread);
        if (done == NULL) {
            return -1;
        }
        Py_DECREF(done);
    }
    PyObject *method = PyUnicode_FromString(call->method);
    if (method == NULL) {
        return -1;
    }
    PyObject *done = PyObject_CallMethodObjArgs(
        self, state->str__check_callback, call->callback, method, NULL);
    Py_DECREF(method);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* The item takes the references, the caller gets one to the handle. */
static PyObject *
call_push_handle(TacLoop *loop, const struct call_args *call)
{
    TacHandle *handle = tac_handle_new(loop, call->callback, call->rest,
                                       call->rest_len, call->context);
    if (handle == NULL) {
        return NULL;
    }
    struct tac_ring_item item = {
        .object = Py_NewRef(handle),
        .kind = TAC_RING_HANDLE,
    };
    if (tac_loop_push(loop, item) < 0) {
        Py_CLEAR(handle);
    }
    return (PyObject *)handle;
}

/* A Task's step: nobody keeps the handle, so there is none. */
static PyObject *
call_push_step(TacLoop *loop, const struct call_args *call)
{
    PyObject *context = call->context == NULL ? PyContext_CopyCurrent()
                                              : Py_NewRef(call->context);
    if (context == NULL) {
        return NULL;
    }
    struct tac_ring_item item = {
        .object = Py_NewRef(call->callback),
        .context = context,
        .arg = call->rest_len == 0 ? NULL : Py_NewRef(call->rest[0]),
        .kind = TAC_RING_STEP,
    };
    if (tac_loop_push(loop, item) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyObject *
tac_call_soon(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    struct call_args call = {.method = "call_soon"};
    if (call_parse(&call, loop, 1, args, nargs, kwnames) < 0
        || tac_loop_check_open(loop) < 0) {
        return NULL;
    }
    if (loop->debug) {
        if (call_check(loop, &call, true) < 0) {
            return NULL;
        }
    }
    else if (tac_interp_is_task_step(loop->state, call.callback)
             && call.rest_len <= 1)
    {
        return call_push_step(loop, &call);
    }
    return call_push_handle(loop, &call);
}

#if PY_VERSION_HEX >= 0x030E0000 /* 3.14: cancel() of these takes a lock */
static PyObject *
call_new_threadsafe(TacLoop *loop, const struct call_args *call)
{
    PyObject *type = PyObject_GetAttrString(loop->state->aio_events,
                                            "_ThreadSafeHandle");
    PyObject *rest = PyTuple_New(call->rest_len);
    PyObject *handle = NULL;
    if (type != NULL && rest != NULL) {
        for (Py_ssize_t i = 0; i < call->rest_len; i++) {
            PyTuple_SET_ITEM(rest, i, Py_NewRef(call->rest[i]));
        }
        handle = PyObject_CallFunctionObjArgs(
            type, call->callback, rest, (PyObject *)loop,
            call->context == NULL ? Py_None : call->context, NULL);
    }
    Py_XDECREF(rest);
    Py_XDECREF(type);
    return handle;
}

static PyObject *
call_push_threadsafe(TacLoop *loop, const struct call_args *call)
{
    PyObject *handle = call_new_threadsafe(loop, call);
    if (handle == NULL) {
        return NULL;
    }
    struct tac_ring_item item = {
        .object = Py_NewRef(handle),
        .kind = TAC_RING_FOREIGN,
    };
    if (tac_loop_push(loop, item) < 0) {
        Py_CLEAR(handle);
    }
    return handle;
}
#else
static PyObject *
call_push_threadsafe(TacLoop *loop, const struct call_args *call)
{
    return call_push_handle(loop, call);
}
#endif

PyObject *
tac_call_soon_threadsafe(TacLoop *loop, PyObject *const *args,
                         Py_ssize_t nargs, PyObject *kwnames)
{
    struct call_args call = {.method = "call_soon_threadsafe"};
    if (call_parse(&call, loop, 1, args, nargs, kwnames) < 0
        || tac_loop_check_open(loop) < 0
        || (loop->debug && call_check(loop, &call, false) < 0))
    {
        return NULL;
    }
    PyObject *handle = call_push_threadsafe(loop, &call);
    if (handle != NULL) {
        tac_runner_wake(loop->runner);
    }
    return handle;
}

static PyObject *
call_arm(TacLoop *loop, const struct call_args *call, double when_s)
{
    if (isnan(when_s)) {
        PyErr_Format(PyExc_ValueError,
                     "%s() needs a time, not NaN (not a number)",
                     call->method);
        return NULL;
    }
    if (tac_loop_check_open(loop) < 0
        || (loop->debug && call_check(loop, call, true) < 0))
    {
        return NULL;
    }
    return (PyObject *)tac_timer_new(loop, when_s, call->callback,
                                     call->rest, call->rest_len,
                                     call->context);
}

PyObject *
tac_call_later(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    struct call_args call = {.method = "call_later"};
    double delay_s, now_s;
    if (call_parse(&call, loop, 2, args, nargs, kwnames) < 0) {
        return NULL;
    }
    if (call.fixed[0] == Py_None) {
        PyErr_SetString(PyExc_TypeError, "delay must not be None");
        return NULL;
    }
    if (tac_args_double(call.fixed[0], &delay_s) < 0
        || tac_loop_time(loop, &now_s) < 0) {
        return NULL;
    }
    return call_arm(loop, &call, now_s + delay_s);
}

PyObject *
tac_call_at(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs,
            PyObject *kwnames)
{
    struct call_args call = {.method = "call_at"};
    double when_s;
    if (call_parse(&call, loop, 2, args, nargs, kwnames) < 0) {
        return NULL;
    }
    if (call.fixed[0] == Py_None) {
        PyErr_SetString(PyExc_TypeError, "when cannot be None");
        return NULL;
    }
    if (tac_args_double(call.fixed[0], &when_s) < 0) {
        return NULL;
    }
    return call_arm(loop, &call, when_s);
}

PyObject *
tac_call_add_callback(TacLoop *loop, PyObject *handle)
{
    bool ours = tac_handle_check(loop->state, handle);
    if (loop->closed || (ours && ((TacHandle *)handle)->cancelled)) {
        Py_RETURN_NONE;
    }
    struct tac_ring_item item = {
        .object = Py_NewRef(handle),
        .kind = ours ? TAC_RING_HANDLE : TAC_RING_FOREIGN,
    };
    if (tac_loop_push(loop, item) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}
