/* core/nursery.c - nurseries: opening, children, errors, the exit.
 *
 * The Python types are in nursery_type.c, start() in start.c.
 *
 *   I1  closed  =>  !body_running, no children, no pending starts, or the
 *       parent task exited without leaving the block.
 *   I2  parent_waiting  =>  the parent task is parked in the exit.
 *   I3  linked in parent_task->child_nurseries from open to the exit's end.
 */
#include "core/nursery.h"

#include "base/compat.h"
#include "base/errors.h"
#include "core/run.h"

TacNursery *
tac_nursery_open(TacState *state, TacTask *task, bool strict)
{
    PyTypeObject *type = state->nursery_type;
    TacNursery *nursery = (TacNursery *)type->tp_alloc(type, 0);
    if (nursery == NULL) {
        return NULL;
    }
    state->counts.nurseries++;
    nursery->state = state;
    tac_list_init(&nursery->children);
    nursery->strict = strict;
    nursery->body_running = true;
    nursery->parent_task = (TacTask *)Py_NewRef(task);
    nursery->pending_excs = PyList_New(0);
    nursery->scope = tac_scope_new(state);
    if (nursery->pending_excs == NULL || nursery->scope == NULL
        || tac_scope_enter(nursery->scope, &task->base) < 0)
    {
        Py_DECREF(nursery);
        return NULL;
    }
    tac_list_append(&task->child_nurseries, &nursery->task_node);
    Py_INCREF(nursery); /* the parent task's list */
    return nursery;
}

int
tac_nursery_add_exc(TacNursery *nursery, PyObject *exc, PyObject *reason)
{
    if (nursery->pending_excs == NULL) {
        nursery->pending_excs = PyList_New(0);
    }
    if (nursery->pending_excs == NULL
        || PyList_Append(nursery->pending_excs, exc) < 0)
    {
        return -1;
    }
    return tac_scope_cancel(nursery->scope, reason);
}

/* "{what} raised exception {exc!r}"; an exception whose repr fails must not
 * bring the run down. */
static PyObject *
nursery_reason_text(const char *what, PyObject *exc)
{
    PyObject *repr = PyObject_Repr(exc);
    if (repr == NULL) {
        PyErr_Clear();
        repr = PyUnicode_FromFormat("<%s with a failing repr>",
                                    Py_TYPE(exc)->tp_name);
    }
    if (repr == NULL) {
        return NULL;
    }
    PyObject *text = PyUnicode_FromFormat("%s raised exception %U", what,
                                          repr);
    Py_DECREF(repr);
    return text;
}

static int
nursery_add_failure(TacNursery *nursery, struct tac_task *who,
                    const char *what, PyObject *exc)
{
    int rc = -1;
    PyObject *reason = NULL;
    PyObject *text = nursery_reason_text(what, exc);
    PyObject *task = text == NULL ? NULL : tac_task_repr(who);
    if (task != NULL) {
        reason = tac_scope_reason(nursery->state->str_nursery, text, task);
    }
    if (reason != NULL) {
        rc = tac_nursery_add_exc(nursery, exc, reason);
    }
    Py_XDECREF(reason);
    Py_XDECREF(task);
    Py_XDECREF(text);
    return rc;
}

int
tac_nursery_check_closed(TacNursery *nursery)
{
    if (nursery->body_running || nursery->pending_starts != 0
        || !tac_list_is_empty(&nursery->children))
    {
        return 0;
    }
    nursery->closed = true;
    if (!nursery->parent_waiting) {
        return 0;
    }
    nursery->parent_waiting = false;
    return tac_task_reschedule(nursery->parent_task, NULL, NULL);
}

int
tac_nursery_child_finished(TacNursery *nursery, struct tac_task *child,
                           PyObject *exc)
{
    if (nursery->closed && nursery->pending_excs == NULL) {
        return 0; /* abandoned, and its errors were handed out long ago */
    }
    if (exc != NULL
        && nursery_add_failure(nursery, child, "child task", exc) < 0) {
        return -1;
    }
    return tac_nursery_check_closed(nursery);
}

/* The exit ---------------------------------------------------------------- */

enum tac_trap_step
tac_nursery_exit_enter(TacNursery *nursery, PyObject *exc)
{
    if (exc != NULL
        && nursery_add_failure(nursery, &nursery->parent_task->base,
                               "Code block inside nursery contextmanager",
                               exc) < 0)
    {
        return TAC_TRAP_ERROR;
    }
    nursery->body_running = false;
    if (tac_nursery_check_closed(nursery) < 0) {
        return TAC_TRAP_ERROR;
    }
    /* With nothing to wait for it is still a schedule point, and no cancel
     * point, just like the other case. */
    if (nursery->closed) {
        return TAC_TRAP_YIELD;
    }
    nursery->parent_waiting = true;
    return TAC_TRAP_WAIT;
}

/* A cancel has reached the children by way of the scope, so it is dropped
 * here; a keyboard interrupt would be lost, so it joins the errors. */
enum tac_abort
tac_nursery_exit_abort(TacNursery *nursery, TacTask *task,
                       const struct tac_cause *cause)
{
    if (!cause->is_ki) {
        return TAC_ABORT_FAILED;
    }
    TacState *state = nursery->state;
    PyObject *who = tac_task_repr(&task->base);
    PyObject *reason =
        who == NULL ? NULL
                    : tac_scope_reason(state->str_KeyboardInterrupt, NULL,
                                       who);
    PyObject *exc = reason == NULL
                        ? NULL
                        : tac_cause_exception(task->base.runner, cause);
    int rc = exc == NULL ? -1 : tac_nursery_add_exc(nursery, exc, reason);
    Py_XDECREF(exc);
    Py_XDECREF(reason);
    Py_XDECREF(who);
    return rc < 0 ? TAC_ABORT_ERROR : TAC_ABORT_FAILED;
}

const char TAC_NURSERY_NONSTRICT_NOTE[] =
    "This is a \"loose\" ExceptionGroup, and may be collapsed by Trio if it only "
    "contains one exception. Learn how to avoid this error message and "
    "propagate the exception group by setting strict_exception_groups=True.";

static PyObject *
nursery_make_group(TacNursery *nursery, PyObject *excs)
{
    TacState *state = nursery->state;
    if (!nursery->strict && PyList_GET_SIZE(excs) == 1) {
        return Py_NewRef(PyList_GET_ITEM(excs, 0));
    }
    PyObject *group = PyObject_CallFunction(
        state->exception_group, "sO", "Exceptions from Trio nursery", excs);
    if (group == NULL || nursery->strict) {
        return group;
    }
    PyObject *note = PyUnicode_FromString(TAC_NURSERY_NONSTRICT_NOTE);
    PyObject *done =
        note == NULL
            ? NULL
            : PyObject_CallMethodOneArg(group, state->str_add_note, note);
    Py_XDECREF(note);
    if (done == NULL) {
        Py_CLEAR(group);
    }
    Py_XDECREF(done);
    return group;
}

static int
nursery_pop(TacNursery *nursery)
{
    struct tac_list *last = nursery->parent_task->child_nurseries.prev;
    if (last == &nursery->task_node) {
        tac_list_unlink(&nursery->task_node);
        Py_DECREF(nursery);
        return 0;
    }
    if (last != &nursery->parent_task->child_nurseries) {
        TacNursery *other = tac_list_entry(last, TacNursery, task_node);
        tac_list_unlink(last);
        Py_DECREF(other);
    }
    PyErr_SetString(PyExc_AssertionError, "Nursery misnesting detected!");
    return -1;
}

int
tac_nursery_exit_leave(TacNursery *nursery, PyObject **exc)
{
    *exc = NULL;
    if (nursery_pop(nursery) < 0) {
        return -1;
    }
    /* Handed out, not kept: an error must not live on in the nursery. */
    PyObject *excs = nursery->pending_excs;
    nursery->pending_excs = NULL;
    if (excs != NULL && PyList_GET_SIZE(excs) != 0) {
        *exc = nursery_make_group(nursery, excs);
        Py_DECREF(excs);
        if (*exc == NULL) {
            return -1;
        }
    }
    else {
        /* With no error the (empty) list stays: see child_finished. */
        nursery->pending_excs = excs;
    }
    return tac_scope_close(nursery->scope, &nursery->parent_task->base, exc);
}
