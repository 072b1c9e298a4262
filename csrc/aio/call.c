/* aio/call.c - call_soon, call_soon_threadsafe, call_later, call_at. */
#include "aio/call.h"

#include "aio/create.h"
#include "aio/handle.h"
#include "aio/interp.h"
#include "aio/own_clock.h"
#include "aio/thread_handle.h"
#include "aio/timer.h"
#include "base/args.h"

#include <math.h>

/* The arguments of a method: a time, if it has one, and the callback, by
 * position or by name; then the callback's own.  All borrowed. */
struct call_args {
    const char *method;
    const char *time_name; /* NULL: the method takes no time */
    PyObject *time;
    PyObject *callback;
    PyObject *const *rest;
    Py_ssize_t rest_len;
    PyObject *context; /* NULL: a copy of the current one */
    PyObject *kwargs;  /* owned dict, or NULL: the callback's own keywords */
    PyObject *bound;   /* owned: the callback with them, or NULL */
};

static void
call_fini(struct call_args *call)
{
    Py_CLEAR(call->kwargs);
    Py_CLEAR(call->bound);
}

static int
call_add_keyword(struct call_args *call, PyObject *name, PyObject *value)
{
    if (call->kwargs == NULL) {
        call->kwargs = PyDict_New();
    }
    return call->kwargs == NULL
               ? -1
               : PyDict_SetItem(call->kwargs, name, value);
}

/* Let the callback have its own keywords. */
static int
call_bind_keywords(struct call_args *call)
{
    call->bound = tac_args_partial(call->callback, call->kwargs);
    if (call->bound == NULL) {
        return -1;
    }
    call->callback = call->bound;
    return 0;
}

static int
call_parse_keyword(struct call_args *call, TacState *state, PyObject *name,
                   PyObject *value)
{
    PyObject **target = NULL;
    if (name == state->str_context
        || PyUnicode_Compare(name, state->str_context) == 0)
    {
        call->context = value == Py_None ? NULL : value;
        return 0;
    }
    if (PyUnicode_CompareWithASCIIString(name, "callback") == 0) {
        target = &call->callback;
    }
    else if (call->time_name != NULL
             && PyUnicode_CompareWithASCIIString(name, call->time_name) == 0)
    {
        target = &call->time;
    }
    if (target == NULL) {
        return call_add_keyword(call, name, value);
    }
    if (*target != NULL) {
        PyErr_Format(PyExc_TypeError,
                     "%s() got multiple values for argument '%U'",
                     call->method, name);
        return -1;
    }
    *target = value;
    return 0;
}

static int
call_parse_keywords(struct call_args *call, TacState *state,
                    PyObject *const *values, PyObject *kwnames)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        if (call_parse_keyword(call, state, name, values[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

static void
call_missing(const struct call_args *call)
{
    const char *time = call->time == NULL ? call->time_name : NULL;
    if (time != NULL && call->callback == NULL) {
        PyErr_Format(PyExc_TypeError,
                     "%s() missing 2 required positional arguments: "
                     "'%s' and 'callback'",
                     call->method, time);
        return;
    }
    PyErr_Format(PyExc_TypeError,
                 "%s() missing 1 required positional argument: '%s'",
                 call->method, time != NULL ? time : "callback");
}

static int
call_parse(struct call_args *call, TacLoop *loop, PyObject *const *args,
           Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t used = 0;
    if (call->time_name != NULL && used < nargs) {
        call->time = args[used++];
    }
    if (used < nargs) {
        call->callback = args[used++];
    }
    call->rest = args + used;
    call->rest_len = nargs - used;
    if (kwnames != NULL
        && call_parse_keywords(call, loop->state, args + nargs, kwnames) < 0)
    {
        return -1;
    }
    bool no_time = call->time_name != NULL && call->time == NULL;
    if (no_time || call->callback == NULL) {
        call_missing(call);
        return -1;
    }
    return call->kwargs == NULL ? 0 : call_bind_keywords(call);
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
    /* asyncio's call_later is its call_at. */
    PyObject *method = PyUnicode_FromString(
        call->time_name == NULL ? call->method : "call_at");
    if (method == NULL) {
        return -1;
    }
    PyObject *done = PyObject_CallMethodObjArgs(
        self, state->str__check_callback, call->callback, method, NULL);
    Py_DECREF(method);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Push a new handle (stolen, or NULL with an exception), and return it. */
static inline PyObject *
call_push(TacLoop *loop, TacHandle *handle)
{
    if (handle != NULL && tac_loop_push_handle(loop, (PyObject *)handle) < 0)
    {
        Py_CLEAR(handle);
    }
    return (PyObject *)handle;
}

static PyObject *
call_push_handle(TacLoop *loop, const struct call_args *call)
{
    TacHandle *handle = tac_handle_new_untracked(
        loop, call->callback, call->rest, call->rest_len, call->context);
    if (handle != NULL && !loop->runner->in_turns) {
        tac_handle_track(handle);
    }
    return call_push(loop, handle);
}

/* What a callback gets in place of a Future.  A Task that wakes asks it for
 * the outcome, and if it is none of asyncio's own class by name, which costs
 * more than all else of the step; but of a value it only learns that it is
 * one: the coroutine has it from the Future.  Borrowed | NULL+exc. */
static inline PyObject *
call_tell_of(TacLoop *loop, PyObject *callback, PyObject *future)
{
    return future == loop->resolving
                   && tac_interp_is_wakeup(loop->state, callback)
               ? tac_create_done_future(loop)
               : future;
}

/* callback([future,] context=...): nobody keeps the handle, so there is
 * none. */
static PyObject *
call_push_step(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *arg = nargs == 1 ? NULL : call_tell_of(loop, args[0], args[1]);
    if (nargs != 1 && arg == NULL) {
        return NULL;
    }
    if (tac_loop_push_step(loop, args[0], arg, args[nargs]) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* What asyncio's C code calls for the steps of Tasks and for the callbacks of
 * Futures, always with the same tuple of names.  Python code that passes such
 * a call on, as an override of call_soon does, has another tuple, and may keep
 * the handle. */
static inline bool
call_is_of_futures(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    return kwnames == loop->state->aio_kwnames
           && (nargs == 1 || nargs == 2)
           && PyContext_CheckExact(args[nargs]) && !loop->debug
           && !loop->closed && loop->runner != NULL;
}

/* By far the most frequent case: no keywords, the loop is running. */
static inline bool
call_is_plain(TacLoop *loop, Py_ssize_t nargs, PyObject *kwnames)
{
    return kwnames == NULL && nargs != 0 && !loop->debug && !loop->closed
           && loop->runner != NULL && loop->runner->in_turns;
}

/* 0, or -1 with WouldBlock.  What Futures queue for those who wait for them has
 * their tuple of names. */
static inline int
call_check_room(TacLoop *loop, PyObject *kwnames)
{
    return kwnames != NULL && kwnames == loop->state->aio_kwnames
               ? 0
               : tac_loop_check_room(loop);
}

static PyObject *
call_push_running(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs)
{
    TacHandle *handle =
        tac_handle_new_untracked(loop, args[0], args + 1, nargs - 1, NULL);
    return call_push(loop, handle);
}

PyObject *
tac_call_soon(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    if (kwnames != NULL && call_is_of_futures(loop, args, nargs, kwnames)) {
        return call_push_step(loop, args, nargs);
    }
    if (call_check_room(loop, kwnames) < 0) {
        return NULL;
    }
    struct call_args call = {.method = "call_soon"};
    if (call_is_plain(loop, nargs, kwnames)) {
        return call_push_running(loop, args, nargs);
    }
    PyObject *handle = NULL;
    if (call_parse(&call, loop, args, nargs, kwnames) == 0
        && tac_loop_check_open(loop) == 0
        && (!loop->debug || call_check(loop, &call, true) == 0))
    {
        handle = call_push_handle(loop, &call);
    }
    call_fini(&call);
    return handle;
}

int
tac_call_soon_of_loop(TacState *state, PyObject *const *args, size_t nargs,
                      PyObject *kwnames)
{
    TacLoop *loop = PyObject_TypeCheck(args[0], state->loop_type)
                        ? (TacLoop *)args[0]
                        : NULL;
    Py_ssize_t limit = loop == NULL ? 0 : loop->queue_limit;
    if (loop != NULL) {
        loop->queue_limit = PY_SSIZE_T_MAX;
    }
    PyObject *handle =
        PyObject_VectorcallMethod(state->str_call_soon, args, nargs, kwnames);
    if (loop != NULL) {
        loop->queue_limit = limit;
    }
    Py_XDECREF(handle);
    return handle == NULL ? -1 : 0;
}

/* Handles of the kind that this interpreter's asyncio has for it. */
static inline TacHandle *
call_new_threadsafe(TacLoop *loop, PyObject *callback,
                    PyObject *const *args, Py_ssize_t nargs,
                    PyObject *context)
{
    return loop->state->aio_locks_handles
               ? tac_thread_handle_new(loop, callback, args, nargs, context)
               : tac_handle_new_untracked(loop, callback, args, nargs,
                                          context);
}

static TacHandle *
call_prepare_threadsafe(TacLoop *loop, PyObject *const *args,
                        Py_ssize_t nargs, PyObject *kwnames)
{
    struct call_args call = {.method = "call_soon_threadsafe"};
    TacHandle *handle = NULL;
    if (call_parse(&call, loop, args, nargs, kwnames) == 0
        && tac_loop_check_open(loop) == 0
        && (!loop->debug || call_check(loop, &call, false) == 0))
    {
        handle = call_new_threadsafe(loop, call.callback, call.rest,
                                     call.rest_len, call.context);
    }
    call_fini(&call);
    if (handle != NULL && !loop->runner->in_turns) {
        tac_handle_track(handle);
    }
    return handle;
}

PyObject *
tac_call_soon_threadsafe(TacLoop *loop, PyObject *const *args,
                         Py_ssize_t nargs, PyObject *kwnames)
{
    TacHandle *handle =
        call_is_plain(loop, nargs, kwnames)
            ? call_new_threadsafe(loop, args[0], args + 1, nargs - 1, NULL)
            : call_prepare_threadsafe(loop, args, nargs, kwnames);
    PyObject *pushed = call_push(loop, handle);
    /* What runs here is not waiting. */
    if (pushed != NULL && tac_running(loop->state) != loop->runner) {
        tac_runner_wake(loop->runner);
    }
    return pushed;
}

/* The call is stock asyncio's call_at, whose checks come when the time is
 * known.  0, or -1 with an exception. */
static int
call_check_timed(TacLoop *loop, const struct call_args *call)
{
    if (tac_loop_check_open(loop) < 0) {
        return -1;
    }
    return loop->debug ? call_check(loop, call, true) : 0;
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
    return (PyObject *)tac_timer_new(loop, when_s, call->callback,
                                     call->rest, call->rest_len,
                                     call->context);
}

/* now (stolen, or NULL with an exception) + delay, with the errors that
 * Python has for what it cannot add.  0, or -1 with an exception. */
static int
call_add_objects(PyObject *now, PyObject *delay, double *when_s)
{
    PyObject *when = now == NULL ? NULL : PyNumber_Add(now, delay);
    int rc = when == NULL ? -1 : tac_args_double(when, when_s);
    Py_XDECREF(when);
    Py_XDECREF(now);
    return rc;
}

/* loop.time() + delay.  0, or -1 with an exception. */
static int
call_add_delay(TacLoop *loop, PyObject *delay, double *when_s)
{
    double now_s, delay_s;
    if (tac_own_clock_is_set(loop)) {
        return call_add_objects(tac_own_clock_call(loop), delay, when_s);
    }
    if (tac_loop_time(loop, &now_s) < 0) {
        return -1;
    }
    if (!PyFloat_CheckExact(delay) && !PyLong_CheckExact(delay)) {
        return call_add_objects(PyFloat_FromDouble(now_s), delay, when_s);
    }
    if (tac_args_double(delay, &delay_s) < 0) {
        return -1;
    }
    *when_s = now_s + delay_s;
    return 0;
}

/* The arguments of call_later and call_at.  0, or -1 with an exception. */
static int
call_parse_timed(struct call_args *call, TacLoop *loop,
                 PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                 const char *none_message)
{
    if (call_parse(call, loop, args, nargs, kwnames) < 0) {
        return -1;
    }
    if (call->time == Py_None) {
        PyErr_SetString(PyExc_TypeError, none_message);
        return -1;
    }
    return tac_own_clock_check(loop);
}

PyObject *
tac_call_later(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    struct call_args call = {.method = "call_later", .time_name = "delay"};
    double when_s;
    PyObject *handle = NULL;
    if (call_parse_timed(&call, loop, args, nargs, kwnames,
                         "delay must not be None")
            == 0
        && call_add_delay(loop, call.time, &when_s) == 0
        && call_check_timed(loop, &call) == 0)
    {
        handle = call_arm(loop, &call, when_s);
    }
    call_fini(&call);
    return handle;
}

PyObject *
tac_call_at(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs,
            PyObject *kwnames)
{
    struct call_args call = {.method = "call_at", .time_name = "when"};
    double when_s;
    PyObject *handle = NULL;
    if (call_parse_timed(&call, loop, args, nargs, kwnames,
                         "when cannot be None")
            == 0
        && call_check_timed(loop, &call) == 0
        && tac_args_double(call.time, &when_s) == 0)
    {
        handle = call_arm(loop, &call, when_s);
    }
    call_fini(&call);
    return handle;
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
