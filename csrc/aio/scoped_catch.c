/* aio/scoped_catch.c - asyncio Tasks in cancel scopes: where a cancel ends.
 *
 * A scope that is left takes its own cancels back, and ends a CancelledError
 * if that stands for these alone.  Which it does is told by counts: an
 * exception may stand for an own cancel and one of others' (asyncio throws
 * one for both), and neither of the two may get lost.
 */
#include "aio/scoped.h"

#include "aio/loop.h"
#include "base/compat.h"

/* What is to be done with a CancelledError. */
enum scoped_verdict {
    SCOPED_OURS,     /* it ends here */
    SCOPED_OTHERS,   /* it goes on, as somebody else's */
    SCOPED_BY_CHAIN, /* that depends on what the error was raised in */
};

static TacScoped *
scoped_of_task(struct tac_task *base)
{
    return tac_list_entry(base, TacScoped, base);
}

/* Counts ------------------------------------------------------------------ */

/* The int that a method has returned (stolen, or NULL).  -1 with an
 * exception. */
static int
scoped_count(PyObject *count)
{
    int number = count == NULL ? -1 : (int)PyLong_AsLong(count);
    Py_XDECREF(count);
    return number;
}

/* Is it one of asyncio's own in C, whose count can be had without a call? */
static bool
scoped_is_plain(const TacState *state, PyObject *task)
{
    return Py_IS_TYPE(task, state->aio_task_type)
           && state->aio_cancelling != NULL;
}

static int
scoped_cancelling(const TacState *state, PyObject *task)
{
    return scoped_count(
        scoped_is_plain(state, task)
            ? state->aio_cancelling(task, NULL)
            : PyObject_CallMethodNoArgs(task, state->str_cancelling));
}

int
tac_scoped_counted(const TacState *state, PyObject *task)
{
    return scoped_count(
        scoped_is_plain(state, task)
            ? state->aio_cancelling(task, NULL)
            : PyObject_CallMethodOneArg((PyObject *)Py_TYPE(task),
                                        state->str_cancelling, task));
}

int
tac_scoped_others(TacScoped *scoped, PyObject *task)
{
    int all = scoped_cancelling(scoped->state, task);
    return all < 0 ? -1 : Py_MAX(all - scoped->own, 0);
}

/* Take `count` own cancels back; those that somebody has taken back in our
 * place are not taken from others'. */
static int
scoped_take_back(TacScoped *scoped, PyObject *task, int count, int others)
{
    TacState *state = scoped->state;
    for (int i = 0; i < count; i++) {
        int all = scoped_cancelling(state, task);
        if (all < 0
            || (all > others
                && scoped_count(PyObject_CallMethodNoArgs(
                       task, state->str_uncancel)) < 0))
        {
            return -1;
        }
    }
    scoped->own -= count;
    return 0;
}

int
tac_scoped_enter_scope(struct tac_task *base, TacScope *scope)
{
    TacScoped *scoped = scoped_of_task(base);
    PyObject *task = tac_scoped_task(scoped);
    int others = task == NULL ? 0 : tac_scoped_others(scoped, task);
    Py_XDECREF(task);
    scope->thrown = 0;
    scope->others_before = others;
    return others < 0 ? -1 : 0;
}

/* Whose error ------------------------------------------------------------- */

static enum scoped_verdict
scoped_judge(const TacScope *scope, int others, int episode_others,
             bool cancel_waits)
{
    int surplus = others - scope->others_before;
    if (surplus <= 0) {
        return SCOPED_OURS;
    }
    if (surplus == 1 && cancel_waits) {
        return SCOPED_OURS; /* theirs is thrown at the next await */
    }
    if (others > episode_others) {
        return SCOPED_OTHERS;
    }
    return SCOPED_BY_CHAIN;
}

/* Have Python say what is left of an error: a group is split, an error of
 * others' gets their message.  `*exc`: in owned, out owned or NULL. */
static int
scoped_sort_out(TacScope *scope, PyObject *task, enum scoped_verdict verdict,
                PyObject **exc)
{
    PyObject *args[3] = {*exc, task, PyLong_FromLong(verdict)};
    if (args[2] == NULL) {
        return -1;
    }
    PyObject *answer =
        PyObject_Vectorcall(scope->state->hook_end_cancel, args, 3, NULL);
    Py_DECREF(args[2]);
    PyObject *rest;
    int caught;
    if (answer == NULL || !PyArg_ParseTuple(answer, "Op", &rest, &caught)) {
        Py_XDECREF(answer);
        return -1;
    }
    scope->cancelled_caught |= caught != 0;
    Py_SETREF(*exc, rest == Py_None ? NULL : Py_NewRef(rest));
    Py_DECREF(answer);
    return 0;
}

static int
scoped_end_cancel(TacScope *scope, PyObject *task, enum scoped_verdict verdict,
                  PyObject **exc)
{
    TacState *state = scope->state;
    bool plain =
        PyErr_GivenExceptionMatches(*exc, state->aio_cancelled_error);
    if (!plain && !PyErr_GivenExceptionMatches(*exc, state->exception_group))
    {
        return 0;
    }
    if (plain && verdict == SCOPED_OURS) {
        scope->cancelled_caught = true;
        Py_CLEAR(*exc);
        return 0;
    }
    return scoped_sort_out(scope, task, verdict, exc);
}

static int
scoped_judge_and_end(TacScope *scope, PyObject *task, int others,
                     int episode_others, PyObject **exc)
{
    TacState *state = scope->state;
    PyObject *waits = PyObject_GetAttr(task, state->str__must_cancel);
    int cancel_waits = waits == NULL ? -1 : PyObject_IsTrue(waits);
    Py_XDECREF(waits);
    if (cancel_waits < 0) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear(); /* not asyncio's own class */
    }
    return scoped_end_cancel(
        scope, task,
        scoped_judge(scope, others, episode_others, cancel_waits > 0), exc);
}

/* Leaving ----------------------------------------------------------------- */

/* A scope further out is cancelled too, so the cancel ends there, and so do
 * the counts; those that are for a scope which the Task was born in stay. */
static void
scoped_hand_out(TacScoped *scoped, TacScope *scope)
{
    TacScope *outer = NULL, *s = scope->parent;
    for (; s != NULL && s != scoped->birth; s = s->parent) {
        if (s->cancel_called || s->abandoned) {
            outer = s;
        }
        if (s->shield) {
            break;
        }
    }
    bool at_birth = s != NULL && s == scoped->birth;
    if (outer != NULL && !(at_birth && s->effectively_cancelled)) {
        outer->thrown += scope->thrown;
    }
    scope->thrown = 0;
}

/* A scope that was left only now, after one around it.  What was thrown for it
 * was accounted for there; the error of it ends here, if that is no other
 * scope's. */
static int
scoped_catch_stray(TacScoped *scoped, TacScope *scope, PyObject **exc)
{
    const TacScope *now_in = scoped->base.scope;
    PyObject *task = tac_scoped_task(scoped);
    if (*exc == NULL || task == NULL
        || (now_in != NULL && now_in->effectively_cancelled))
    {
        Py_XDECREF(task);
        return 0;
    }
    int rc = scoped_end_cancel(scope, task, SCOPED_BY_CHAIN, exc);
    Py_DECREF(task);
    return rc;
}

/* An inner scope is left in the cleanup of an outer one, whose episode is not
 * over: what counted at its begin is still of use. */
static void
scoped_end_inner_episode(TacScoped *scoped)
{
    int others = scoped->episode_others;
    const TacScope *s = scoped->base.scope;
    while (s != NULL && s != scoped->birth && s->thrown == 0) {
        s = s->parent;
    }
    tac_scoped_end_episode(scoped);
    if (s != NULL && s != scoped->birth) {
        scoped->episode_others = others;
    }
}

int
tac_scoped_catch_scope(struct tac_task *base, TacScope *scope, PyObject **exc)
{
    TacScoped *scoped = scoped_of_task(base);
    if (scope->abandoned && scope->thrown == 0) {
        return scoped_catch_stray(scoped, scope, exc);
    }
    if (tac_scope_sees_parent_cancelled(scope)) {
        scoped_hand_out(scoped, scope);
        return 0;
    }
    int thrown = scope->thrown, episode_others = scoped->episode_others;
    scope->thrown = 0;
    if (thrown == 0) {
        return 0;
    }
    PyObject *task = tac_scoped_task(scoped);
    int others = task == NULL ? -1 : tac_scoped_others(scoped, task);
    int rc = -1;
    if (others >= 0) {
        rc = scoped_take_back(scoped, task, thrown, others);
        scoped_end_inner_episode(scoped);
    }
    if (rc == 0 && *exc != NULL && scope->effectively_cancelled) {
        rc = scoped_judge_and_end(scope, task, others, episode_others, exc);
    }
    Py_XDECREF(task);
    return rc;
}
