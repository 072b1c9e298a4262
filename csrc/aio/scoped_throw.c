/* aio/scoped_throw.c - asyncio Tasks in cancel scopes: throwing a cancel.
 *
 * At each block once, as long as a scope that it is in is cancelled: that is
 * Trio's level-triggered cancellation by means of asyncio's edges.  A Task
 * that refuses is asked again after a while, more and more rarely, so that it
 * costs next to nothing:
 *
 *   it catches, and blocks again   FREE_THROWS at once, then after 1 ms, 2 ms,
 *                                  4 ms and so on to 1 s
 *   it goes on with the same wait  after 1, 2, 4, 8, 16 s, then each 30 s
 *   its Future refuses cancel()    never: asyncio throws when that is done
 *   its own cancel() was replaced, never: at the next block, as with a shield
 *   and keeps it till later        of the core's
 */
#include "aio/scoped.h"

#include "aio/loop.h"
#include "base/compat.h"

#include <math.h>

#define FREE_THROWS 32
#define FIRST_PAUSE_S 0.001
#define LONGEST_PAUSE_S 1.0
#define FIRST_RETRY_S 1.0
#define DOUBLED_RETRIES 5 /* up to 16 s */
#define LONG_RETRY_S 30.0

/* What its Task does: asyncio's private attributes, which its C Tasks and
 * those in Python have. */
struct scoped_view {
    PyObject *task;   /* owned */
    PyObject *waiter; /* owned: the Future that it waits for; or NULL */
    bool done;
    bool running;
    bool blind;        /* the class names no waiter: it may be past that */
    bool cancel_waits; /* one is to be thrown in its next step */
    bool woken;        /* the Future is done, the Task not stepped since */
};

void
tac_scoped_check_soon(TacScoped *scoped)
{
    TacLoop *loop = scoped->loop;
    if (loop == NULL || tac_list_is_linked(&scoped->check_node)) {
        return;
    }
    tac_list_append(&loop->scoped.checks, &scoped->check_node);
    /* Within the host's step that is done when the callback is through. */
    if (loop->host.runner != NULL && !loop->halted
        && loop->runner->current != &loop->host)
    {
        tac_task_make_runnable(&loop->host);
    }
}

int
tac_scoped_on_retry(struct tac_timer *timer)
{
    TacScoped *scoped = tac_list_entry(timer, TacScoped, retry);
    scoped->retry_due = true;
    tac_scoped_check_soon(scoped);
    return 0;
}

/* Looking ----------------------------------------------------------------- */

/* The truth of an attribute, or of what the method of that name says; where it
 * is missing: `otherwise`.  -1 with an exception. */
static int
scoped_ask(PyObject *object, PyObject *name, bool is_method, int otherwise)
{
    PyObject *answer;
    int there = PyObject_GetOptionalAttr(object, name, &answer);
    if (there <= 0) {
        return there < 0 ? -1 : otherwise;
    }
    if (is_method) {
        Py_SETREF(answer, PyObject_CallNoArgs(answer));
        if (answer == NULL) {
            return -1;
        }
    }
    int truth = PyObject_IsTrue(answer);
    Py_DECREF(answer);
    return truth;
}

/* Is its coroutine in the middle of a step, and was it begun at all? */
static int
scoped_look_at_coro(TacScoped *scoped, struct scoped_view *view)
{
    TacState *state = scoped->state;
    PyObject *coro = PyObject_CallMethodNoArgs(view->task,
                                               state->str_get_coro);
    if (coro == NULL) {
        return -1;
    }
    int running = coro == Py_None
                      ? 0
                      : scoped_ask(coro, state->str_cr_running, false, 0);
    int suspended = 1;
    if (running == 0 && !scoped->has_stepped) {
        suspended = scoped_ask(coro, state->str_cr_suspended, false, 1);
    }
    Py_DECREF(coro);
    if (running < 0 || suspended < 0) {
        return -1;
    }
    view->running = running;
    scoped->has_stepped |= running || suspended;
    return 0;
}

/* What it waits for, if it does. */
static int
scoped_look_at_waiter(TacScoped *scoped, struct scoped_view *view)
{
    TacState *state = scoped->state;
    int there = PyObject_GetOptionalAttr(view->task, state->str__fut_waiter,
                                         &view->waiter);
    if (there < 0) {
        return -1;
    }
    view->blind = there == 0;
    if (view->waiter == Py_None) {
        Py_CLEAR(view->waiter);
    }
    int woken = view->waiter == NULL
                    ? 0
                    : scoped_ask(view->waiter, state->str_done, true, 0);
    view->woken = woken > 0;
    return woken < 0 ? -1 : 0;
}

static int
scoped_look_at_cancel(TacScoped *scoped, struct scoped_view *view)
{
    int waits = scoped_ask(view->task, scoped->state->str__must_cancel, false,
                           0);
    view->cancel_waits = waits > 0;
    return waits < 0 ? -1 : 0;
}

static void
scoped_view_fini(struct scoped_view *view)
{
    Py_CLEAR(view->task);
    Py_CLEAR(view->waiter);
}

static int
scoped_look(TacScoped *scoped, struct scoped_view *view)
{
    *view = (struct scoped_view){.task = tac_scoped_task(scoped)};
    if (view->task == NULL) {
        view->done = true;
        return 0;
    }
    if (scoped_look_at_waiter(scoped, view) < 0) {
        return -1;
    }
    if (view->waiter != NULL && !view->woken) {
        scoped->has_stepped = true; /* nor is it running: that has no waiter */
        return scoped_look_at_cancel(scoped, view);
    }
    int done = scoped_ask(view->task, scoped->state->str_done, true, 0);
    if (done != 0) {
        view->done = true;
        return done < 0 ? -1 : 0;
    }
    if (scoped_look_at_coro(scoped, view) < 0) {
        return -1;
    }
    return view->running ? 0 : scoped_look_at_cancel(scoped, view);
}

/* Throwing ---------------------------------------------------------------- */

/* The outermost cancelled scope that reaches it: where the cancel will end.
 * NULL if there is none that counts. */
static TacScope *
scoped_find_catcher(const TacScoped *scoped)
{
    TacScope *catcher = NULL, *scope = scoped->base.scope;
    if (scope == NULL || !scope->effectively_cancelled
        || (scope == scoped->birth && !scoped->by_birth
            && !scoped->birth_due))
    {
        return NULL;
    }
    for (; scope != NULL; scope = scope->parent) {
        if (scope->cancel_called || scope->abandoned) {
            catcher = scope;
        }
        if (scope->shield) {
            break;
        }
    }
    return catcher;
}

bool
tac_scoped_has_entered(const TacScoped *scoped, const TacScope *scope)
{
    const TacScope *s = scoped->base.scope;
    while (s != NULL && s != scoped->birth && s != scope) {
        s = s->parent;
    }
    return s == scope && scope != NULL && scope != scoped->birth;
}

void
tac_scoped_end_episode(TacScoped *scoped)
{
    scoped->episode_others = -1;
    scoped->thrown = 0;
    scoped->retries = 0;
    scoped->thrown_at = 0;
    scoped->retry_due = false;
    scoped->warned = false;
    if (scoped->base.runner != NULL) {
        tac_timer_disarm(scoped->base.runner, &scoped->retry);
    }
}

static int
scoped_warn(TacScoped *scoped, PyObject *task, TacScope *catcher)
{
    PyObject *args[2] = {task, (PyObject *)catcher};
    PyObject *result = PyObject_Vectorcall(
        scoped->state->hook_log_refusal, args, 2, NULL);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Does its uncancel() belong to somebody else?  `method` is the attribute. */
static bool
scoped_is_replaced(PyObject *task, PyObject *method)
{
    PyObject *self = PyCFunction_Check(method) ? PyCFunction_GET_SELF(method)
                     : PyMethod_Check(method)  ? PyMethod_GET_SELF(method)
                                               : NULL;
    return self != task;
}

/* Was a cancel that the Task said to have taken not counted by its class, but
 * kept by what somebody has put in the place of the Task's own methods, as
 * shields of aiotools' do?  It would come after that, for a scope that may
 * have been left by then; so it is taken back.  -1 with an exception. */
static int
scoped_is_kept_back(const TacState *state, PyObject *task, int counted_before)
{
    int counted = tac_scoped_counted(state, task);
    if (counted != counted_before) {
        return counted < 0 ? -1 : 0;
    }
    PyObject *uncancel = PyObject_GetAttr(task, state->str_uncancel);
    if (uncancel == NULL) {
        return -1;
    }
    int kept = scoped_is_replaced(task, uncancel);
    if (kept) {
        PyObject *left = PyObject_CallNoArgs(uncancel);
        kept = left == NULL ? -1 : 1;
        Py_XDECREF(left);
    }
    Py_DECREF(uncancel);
    return kept;
}

static void
scoped_forget_throw(TacScoped *scoped, TacScope *catcher, bool entered)
{
    scoped->own--;
    catcher->thrown -= entered;
    if (scoped->own == 0) {
        scoped->episode_others = -1; /* it has not begun */
    }
}

/* 1 if it had an effect, 0 if it was kept back; -1 with an exception. */
static int
scoped_throw(TacScoped *scoped, PyObject *task, TacScope *catcher)
{
    TacLoop *loop = scoped->loop;
    int counted = tac_scoped_counted(loop->state, task);
    PyObject *message =
        counted < 0 ? NULL
                    : PyObject_CallOneArg(loop->state->hook_cancel_message,
                                          (PyObject *)catcher);
    if (message == NULL) {
        return -1;
    }
    bool entered = tac_scoped_has_entered(scoped, catcher);
    /* First, for cancel() may run code that looks. */
    scoped->own++;
    catcher->thrown += entered;
    scoped->thrown++;
    scoped->thrown_at = scoped->wait;
    scoped->birth_due = scoped->birth_due && entered;
    loop->scoped.thrown++;
    PyObject *told =
        PyObject_CallMethodOneArg(task, loop->state->str_cancel, message);
    Py_DECREF(message);
    int taken = told == NULL ? -1 : PyObject_IsTrue(told);
    Py_XDECREF(told);
    int kept = taken <= 0 ? taken
                          : scoped_is_kept_back(scoped->state, task, counted);
    if (taken == 0 || kept > 0) { /* it was done, or does not come */
        scoped_forget_throw(scoped, catcher, entered);
    }
    if (kept > 0) {
        scoped->thrown -= scoped->thrown > 0;
        loop->scoped.thrown--;
    }
    return kept < 0 ? -1 : !kept;
}

/* Unless the loop has dropped it meanwhile. */
static int
scoped_arm(TacScoped *scoped, double at_s)
{
    return scoped->loop == NULL
               ? 0
               : tac_timer_arm(scoped->loop->runner, &scoped->retry, at_s);
}

/* Does what it waits for have the cancel in a way of its own? */
static bool
scoped_waits_for_ours(TacScoped *scoped, PyObject *waiter)
{
    if (Py_IS_TYPE(waiter, scoped->state->trio_future_type)) {
        return true;
    }
    if (tac_births_scope(scoped->loop, waiter) != NULL) {
        return true;
    }
    TacScoped *other = tac_scoped_find(scoped->loop, waiter);
    return other != NULL && other->birth != NULL && other->by_birth;
}

/* It has been told, and waits for the same still: till when? */
static int
scoped_arm_retry(TacScoped *scoped, struct scoped_view *view, double now_s)
{
    if (view->woken || view->cancel_waits
        || (view->waiter == NULL ? !view->blind
                                 : scoped_waits_for_ours(scoped, view->waiter)))
    {
        return 0;
    }
    double pause_s = scoped->retries < DOUBLED_RETRIES
                         ? ldexp(FIRST_RETRY_S, (int)scoped->retries)
                         : LONG_RETRY_S;
    return scoped_arm(scoped, now_s + pause_s);
}

/* Seconds till the next throw is allowed; 0: now. */
static double
scoped_pause(const TacScoped *scoped, double now_s)
{
    if (scoped->thrown < FREE_THROWS) {
        return 0;
    }
    unsigned doubled = scoped->thrown - FREE_THROWS;
    double pause_s =
        doubled < 10 ? ldexp(FIRST_PAUSE_S, (int)doubled) : LONGEST_PAUSE_S;
    return Py_MAX(scoped->thrown_s + pause_s - now_s, 0);
}

/* Throw, and see whether that had an effect. */
static int
scoped_throw_now(TacScoped *scoped, struct scoped_view *view,
                 TacScope *catcher, double now_s)
{
    bool again = scoped->thrown_at == scoped->wait;
    if (again) {
        scoped->retries++;
    }
    else {
        scoped->retries = 0;
    }
    bool warn = scoped->retries == 2 || scoped->thrown >= FREE_THROWS;
    warn = warn && !scoped->warned;
    scoped->warned |= warn;
    scoped->thrown_s = now_s;
    if (warn && scoped_warn(scoped, view->task, catcher) < 0) {
        return -1;
    }
    int had_effect = scoped_throw(scoped, view->task, catcher);
    if (had_effect <= 0) {
        return had_effect;
    }
    Py_CLEAR(view->waiter);
    if (scoped_look_at_waiter(scoped, view) < 0
        || scoped_look_at_cancel(scoped, view) < 0)
    {
        return -1;
    }
    return scoped->loop == NULL ? 0 : scoped_arm_retry(scoped, view, now_s);
}

/* Others have cancelled what it waits for, a Task say, and that is not through
 * yet: their cancel is still to come.  -1 with an exception. */
static int
scoped_wait_has_cancel(TacScoped *scoped, PyObject *waiter)
{
    TacState *state = scoped->state;
    if (waiter == NULL) {
        return 0;
    }
    int has = scoped_ask(waiter, state->str__cancel_requested, false, 0);
    return has == 0 ? scoped_ask(waiter, state->str_cancelling, true, 0) : has;
}

/* Others' cancel has come, and the Task is at its cleanup from that.  -1 with
 * an exception. */
static int
scoped_is_unwinding(TacScoped *scoped, PyObject *task)
{
    PyObject *is =
        PyObject_CallOneArg(scoped->state->hook_is_unwinding, task);
    int truth = is == NULL ? -1 : PyObject_IsTrue(is);
    Py_XDECREF(is);
    return truth;
}

/* Begin an episode, where others' cancels count too; 1 if that is put off,
 * till one has come that is on its way: ours would take its place.  One of
 * others' that is not through counts as if it came in the episode. */
static int
scoped_begin_beside(TacScoped *scoped, struct scoped_view *view, int others)
{
    int has = scoped_wait_has_cancel(scoped, view->waiter);
    if (has > 0 && scoped->thrown_at != scoped->wait) {
        scoped->thrown_at = scoped->wait;
        return 1;
    }
    int unwinds = has < 0 ? -1 : scoped_is_unwinding(scoped, view->task);
    if (unwinds < 0) {
        return -1;
    }
    scoped->episode_others = others - (has || unwinds);
    return 0;
}

/* Before a throw.  As above. */
static int
scoped_weigh_others(TacScoped *scoped, struct scoped_view *view)
{
    int others = tac_scoped_others(scoped, view->task);
    if (others < 0) {
        return -1;
    }
    if (scoped->episode_others < 0) {
        if (others > 0) {
            return scoped_begin_beside(scoped, view, others);
        }
        scoped->episode_others = 0;
    }
    /* What theirs said may be lost with the next error: it is kept. */
    return others > scoped->episode_others
               ? Py_MIN(scoped_is_unwinding(scoped, view->task), 0)
               : 0;
}

static int
scoped_check_blocked(TacScoped *scoped, struct scoped_view *view,
                     TacScope *catcher, bool retry_due)
{
    double now_s;
    if (scoped->thrown_at == scoped->wait && !retry_due) {
        return 0;
    }
    if (tac_loop_time(scoped->loop, &now_s) < 0) {
        return -1;
    }
    double pause_s = scoped->thrown_at == scoped->wait
                         ? 0
                         : scoped_pause(scoped, now_s);
    if (pause_s > 0) {
        return scoped_arm(scoped, now_s + pause_s);
    }
    int put_off = scoped_weigh_others(scoped, view);
    if (put_off != 0) {
        return put_off < 0 ? -1 : scoped_arm_retry(scoped, view, now_s);
    }
    return scoped->loop == NULL
               ? 0
               : scoped_throw_now(scoped, view, catcher, now_s);
}

/* Of a Task that has begun. */
static bool
scoped_view_is_blocked(const struct scoped_view *view)
{
    return !view->running && !view->woken && !view->cancel_waits;
}

/* The raised exception, which is none of the Task's: somebody else's class
 * does not do as asyncio's.  0, or -1 with one that ends the run. */
static int
scoped_report(PyObject *task)
{
    if (PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_WriteUnraisable(task);
        return 0;
    }
    return -1;
}

int
tac_scoped_check(TacScoped *scoped)
{
    bool retry_due = scoped->retry_due;
    scoped->retry_due = false;
    TacScope *catcher = scoped_find_catcher(scoped);
    if (catcher == NULL) {
        tac_list_unlink(&scoped->hit_node);
        tac_timer_disarm(scoped->base.runner, &scoped->retry);
        return 0;
    }
    if (!tac_list_is_linked(&scoped->hit_node)) {
        tac_list_append(&scoped->loop->scoped.hit, &scoped->hit_node);
        scoped->wait++;
    }
    Py_INCREF(scoped);
    Py_INCREF(catcher);
    struct scoped_view view;
    int rc = scoped_look(scoped, &view);
    if (rc == 0 && view.done) {
        tac_scoped_drop(scoped);
    }
    else if (rc == 0 && scoped->loop != NULL && scoped_view_is_blocked(&view)
             && scoped->has_stepped)
    {
        rc = scoped_check_blocked(scoped, &view, catcher, retry_due);
    }
    if (rc < 0) {
        rc = scoped_report(view.task);
    }
    scoped_view_fini(&view);
    Py_DECREF(catcher);
    Py_DECREF(scoped);
    return rc;
}

/* What may be a Task has made a step. */
static int
scoped_check_stepped(TacLoop *loop, PyObject *task)
{
    TacScoped *scoped = tac_scoped_find(loop, task);
    if (scoped == NULL || !tac_list_is_linked(&scoped->hit_node)) {
        return 0;
    }
    scoped->wait++;
    return tac_scoped_check(scoped);
}

int
tac_scoped_check_all(TacLoop *loop, PyObject *stepped)
{
    int rc = stepped == NULL ? 0 : scoped_check_stepped(loop, stepped);
    struct tac_list *node;
    while (rc == 0
           && (node = tac_list_pop_front(&loop->scoped.checks)) != NULL)
    {
        TacScoped *scoped = tac_list_entry(node, TacScoped, check_node);
        scoped->base.abortable = true;
        rc = tac_scoped_check(scoped);
    }
    return rc;
}
