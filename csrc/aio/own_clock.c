/* aio/own_clock.c - timers of a loop whose time() somebody replaced. */
#include "aio/own_clock.h"

#include "aio/timer.h"
#include "base/compat.h"

static TacLoop *
own_clock_loop(struct tac_timeline *line)
{
    return tac_list_entry(line, TacLoop, timeline);
}

/* Which heap ---------------------------------------------------------------- */

int
tac_own_clock_arm(TacLoop *loop, struct tac_timer *timer, double at)
{
    if (!tac_own_clock_is_set(loop)) {
        return tac_timer_arm(loop->runner, timer, at);
    }
    if (at == Py_HUGE_VAL) {
        return 0;
    }
    if (tac_heap_push(&loop->own_timers, &timer->node, at) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    tac_runner_poke(loop->runner);
    return 0;
}

void
tac_own_clock_disarm(TacLoop *loop, struct tac_timer *timer)
{
    if (tac_own_clock_is_set(loop)) {
        tac_heap_remove(&loop->own_timers, &timer->node);
    }
    else {
        tac_timer_disarm(loop->runner, timer);
    }
}

/* Move all armed timers, in the order in which they were armed.  One that
 * there is no memory for stays listed, but is never due. */
static int
own_clock_switch(TacLoop *loop, bool set)
{
    struct tac_heap *from =
        set ? &loop->runner->deadlines : &loop->own_timers;
    int rc = 0;
    if (set) {
        tac_timeline_link(loop->runner, &loop->timeline);
    }
    else {
        tac_timeline_unlink(&loop->timeline);
    }
    struct tac_list *head = &loop->timers;
    for (struct tac_list *n = head->next; n != head; n = n->next) {
        TacTimerHandle *handle = tac_list_entry(n, TacTimerHandle, node);
        tac_heap_remove(from, &handle->timer.node);
        if (tac_own_clock_arm(loop, &handle->timer, handle->when_s) < 0) {
            rc = -1;
        }
    }
    return rc;
}

/* Who tells the time -------------------------------------------------------- */

/* asyncio's own method is behind ours in the order of bases, but a patched
 * one is meant for all loops.  Not while asyncio is being learnt. */
static int
own_clock_find_base(TacLoop *loop)
{
    TacState *state = loop->state;
    if (state->aio_base_loop == NULL) {
        return 0;
    }
    PyObject *base = PyObject_GetAttr(state->aio_base_loop, state->str_time);
    if (base == NULL) {
        return -1;
    }
    if (base == state->aio_base_time) {
        Py_CLEAR(base);
    }
    Py_XSETREF(loop->base_time, base);
    return 0;
}

/* 1, 0, or -1 with an exception. */
static int
own_clock_is_wanted(TacLoop *loop)
{
    if (own_clock_find_base(loop) < 0) {
        return -1;
    }
    PyObject *method =
        PyObject_GetAttr((PyObject *)loop, loop->state->str_time);
    if (method == NULL) {
        return -1;
    }
    bool ours = PyCFunction_CheckExact(method)
                && PyCFunction_GET_SELF(method) == (PyObject *)loop
                && PyCFunction_GET_FUNCTION(method)
                       == (PyCFunction)tac_own_clock_time;
    Py_DECREF(method);
    return !ours || loop->base_time != NULL
           || loop->resolution_s != loop->usual_resolution_s;
}

int
tac_own_clock_update(TacLoop *loop)
{
    if (loop->runner == NULL || loop->closed) {
        return 0;
    }
    int wanted = own_clock_is_wanted(loop);
    if (wanted < 0) {
        return -1;
    }
    /* A tag of 0 is none: either there will be one or there are none left. */
    unsigned int version = Py_TYPE(loop)->tp_version_tag;
    loop->time_version = version != 0 ? version : TAC_NO_VERSION;
    return wanted == tac_own_clock_is_set(loop) || loop->closed
               ? 0
               : own_clock_switch(loop, wanted);
}

PyObject *
tac_own_clock_call(TacLoop *loop)
{
    return PyObject_CallMethodNoArgs((PyObject *)loop, loop->state->str_time);
}

int
tac_own_clock_now(TacLoop *loop, double *now_s)
{
    PyObject *now = tac_own_clock_call(loop);
    if (now == NULL) {
        return -1;
    }
    *now_s = PyFloat_AsDouble(now);
    Py_DECREF(now);
    return *now_s == -1.0 && PyErr_Occurred() ? -1 : 0;
}

/* The turn's questions ------------------------------------------------------ */

/* An error leaves run_forever, as on asyncio.  A loop inside a run goes back
 * to the run's clock, to be able to unwind, and the error leaves its block. */
static int
own_clock_fail(TacLoop *loop)
{
    if (loop->errors == NULL) {
        loop->runner->raised = true;
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    int rc = tac_nursery_add_exc(loop->errors, exc, NULL);
    Py_DECREF(exc);
    return rc < 0 ? rc : own_clock_switch(loop, false);
}

/* loop.time() in a turn.  1, 0 when there is nothing left to time, or -1. */
static int
own_clock_ask(TacLoop *loop, double *now_s)
{
    Py_INCREF(loop);
    int rc = tac_own_clock_now(loop, now_s);
    rc = rc < 0 ? own_clock_fail(loop) : tac_own_clock_is_set(loop);
    Py_DECREF(loop);
    return rc;
}

static int
own_clock_wait(struct tac_timeline *line, double *wait_s)
{
    TacLoop *loop = own_clock_loop(line);
    double now_s;
    if (tac_heap_peek(&loop->own_timers) == NULL) {
        return 0;
    }
    int rc = own_clock_ask(loop, &now_s);
    const struct tac_heap_item *first = tac_heap_peek(&loop->own_timers);
    if (rc <= 0 || first == NULL) {
        return rc;
    }
    double left_s = first->at - now_s;
    if (!(left_s > 0)) {
        left_s = 0;
    }
    if (left_s < *wait_s) {
        *wait_s = left_s;
    }
    return 0;
}

static Py_ssize_t
own_clock_expire(struct tac_timeline *line)
{
    TacLoop *loop = own_clock_loop(line);
    double now_s;
    int rc = own_clock_ask(loop, &now_s);
    if (rc <= 0) {
        return rc;
    }
    double end_s = now_s + loop->resolution_s;
    Py_ssize_t count = 0;
    const struct tac_heap_item *first;
    while ((first = tac_heap_peek(&loop->own_timers)) != NULL
           && !(first->at >= end_s))
    {
        struct tac_timer *timer =
            tac_list_entry(first->node, struct tac_timer, node);
        tac_heap_remove(&loop->own_timers, &timer->node);
        count++;
        if (timer->fire(timer) < 0) {
            return -1;
        }
    }
    return count;
}

/* The loop's life ----------------------------------------------------------- */

void
tac_own_clock_init(TacLoop *loop)
{
    loop->timeline.wait = own_clock_wait;
    loop->timeline.expire = own_clock_expire;
    loop->time_version = TAC_NO_VERSION;
}

void
tac_own_clock_fini(TacLoop *loop)
{
    tac_timeline_unlink(&loop->timeline);
    tac_heap_fini(&loop->own_timers);
    Py_CLEAR(loop->base_time);
}

int
tac_own_clock_on_attribute(TacLoop *loop, PyObject *name)
{
    if (name != loop->state->str_time
        && PyUnicode_CompareWithASCIIString(name, "time") != 0)
    {
        return 0;
    }
    return tac_own_clock_update(loop);
}

/* Methods and attributes ---------------------------------------------------- */

PyObject *
tac_own_clock_time(TacLoop *loop, PyObject *noargs)
{
    double now_s;
    if (tac_own_clock_check(loop) < 0) {
        return NULL;
    }
    if (loop->base_time != NULL) {
        PyObject *base = Py_NewRef(loop->base_time);
        PyObject *now = PyObject_CallOneArg(base, (PyObject *)loop);
        Py_DECREF(base);
        return now;
    }
    return tac_loop_time(loop, &now_s) < 0 ? NULL
                                           : PyFloat_FromDouble(now_s);
}

PyObject *
tac_own_clock_get_resolution(TacLoop *loop, void *closure)
{
    return PyFloat_FromDouble(loop->resolution_s);
}

/* The constructor sets it first: that is the clock's. */
int
tac_own_clock_set_resolution(TacLoop *loop, PyObject *value, void *closure)
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError,
                        "a loop's _clock_resolution cannot be deleted");
        return -1;
    }
    double resolution_s = PyFloat_AsDouble(value);
    if (resolution_s == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (loop->usual_resolution_s == 0) {
        loop->usual_resolution_s = resolution_s;
    }
    loop->resolution_s = resolution_s;
    return tac_own_clock_update(loop);
}
