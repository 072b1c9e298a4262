/* core/scope.c - cancel scopes: the tree, its states, entering and leaving.
 *
 * A scope and its "cancel status" (Trio's word for the node of the tree) are
 * one object here, for a scope is entered only once: one allocation a scope.
 * After its close the node may live on while tasks are still in it: that is
 * misnesting, and the node is marked abandoned.
 *
 *   UNBOUND --enter--> ACTIVE --close--> EXITED
 *
 * The Python type is in scope_type.c.  Rules R11 to R22 of Trio's semantics.
 */
#include "core/scope.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/vec.h"
#include "core/run.h"

#include <math.h>

static int scope_on_deadline(struct tac_timer *timer);

/* Zeroed but for the head, and tracked. */
static TacScope *
scope_alloc(TacState *state)
{
    PyTypeObject *type = state->scope_type;
    TacScope *scope =
        (TacScope *)tac_freelist_pop(&state->free_scopes, type);
    if (scope == NULL) {
        return (TacScope *)type->tp_alloc(type, 0);
    }
    memset((char *)scope + sizeof(PyObject), 0,
           sizeof(TacScope) - sizeof(PyObject));
    PyObject_GC_Track(scope);
    return scope;
}

TacScope *
tac_scope_new(TacState *state)
{
    TacScope *scope = scope_alloc(state);
    if (scope == NULL) {
        return NULL;
    }
    scope->state = state;
    tac_list_init(&scope->children);
    tac_list_init(&scope->tasks);
    scope->timer.fire = scope_on_deadline;
    scope->deadline = Py_HUGE_VAL;
    scope->relative_deadline = Py_HUGE_VAL;
    state->counts.scopes++;
    return scope;
}

PyObject *
tac_scope_reason(PyObject *source, PyObject *reason, PyObject *source_task)
{
    return PyTuple_Pack(3, source, reason ? reason : Py_None,
                        source_task ? source_task : Py_None);
}

/* Keep I3. */
static int
scope_update_timer(TacScope *scope)
{
    if (scope->runner == NULL) {
        return 0;
    }
    bool wanted = scope->active && !scope->cancel_called;
    if (!wanted || scope->deadline == Py_HUGE_VAL) {
        tac_timer_disarm(scope->runner, &scope->timer);
        return 0;
    }
    return tac_timer_arm(scope->runner, &scope->timer, scope->deadline);
}

bool
tac_scope_sees_parent_cancelled(const TacScope *scope)
{
    return scope->parent != NULL && !scope->shield
           && scope->parent->effectively_cancelled;
}

/* A scope with a deadline in the past is cancelled as soon as somebody asks
 * (R12). */
int
tac_scope_check_deadline(TacScope *scope)
{
    double now;
    if (scope->cancel_called || scope->deadline == Py_HUGE_VAL
        || (scope->entered && !scope->active))
    {
        return 0;
    }
    TacRunner *runner = scope->runner != NULL
                            ? scope->runner
                            : tac_runner_current(scope->state);
    if (runner == NULL || tac_runner_time(runner, &now) < 0) {
        return -1;
    }
    if (now < scope->deadline) {
        return 0;
    }
    PyObject *reason =
        tac_scope_reason(scope->state->str_deadline, NULL, NULL);
    if (reason == NULL) {
        return -1;
    }
    int rc = tac_scope_cancel(scope, reason);
    Py_DECREF(reason);
    return rc;
}

/* Deliver to each member task.  An abort function may change the list, so
 * it is walked as a snapshot that keeps the tasks alive. */
static int
scope_deliver(TacScope *scope)
{
    struct tac_list *head = &scope->tasks;
    if (tac_list_is_empty(head)) {
        return 0;
    }
    struct tac_vec tasks;
    tac_vec_init(&tasks);
    int rc = 0;
    for (struct tac_list *n = head->next; n != head; n = n->next) {
        struct tac_task *task =
            tac_list_entry(n, struct tac_task, status_node);
        if (!task->abortable) {
            continue;
        }
        PyObject *owner = task->ops->owner(task);
        if (tac_vec_push(&tasks, task) < 0 || tac_vec_push(&tasks, owner) < 0)
        {
            PyErr_NoMemory();
            rc = -1;
            break;
        }
        Py_INCREF(owner);
    }
    for (size_t i = 0; i + 1 < tasks.len; i += 2) {
        if (rc == 0) {
            rc = tac_task_deliver_cancel(tasks.items[i]);
        }
        Py_DECREF((PyObject *)tasks.items[i + 1]);
    }
    tac_vec_fini(&tasks);
    return rc;
}

static int
scope_push_children(TacScope *scope, struct tac_vec *todo)
{
    struct tac_list *head = &scope->children;
    for (struct tac_list *n = head->next; n != head; n = n->next) {
        TacScope *child = tac_list_entry(n, TacScope, sibling_node);
        if (tac_vec_push(todo, child) < 0) {
            PyErr_NoMemory();
            return -1;
        }
        Py_INCREF(child);
    }
    return 0;
}

/* Bring one scope's cached state up to date; 1 when it changed. */
static int
scope_recalculate_one(TacScope *scope)
{
    if (tac_scope_check_deadline(scope) < 0) {
        return -1;
    }
    bool from_parent = tac_scope_sees_parent_cancelled(scope);
    bool cancelled = scope->cancel_called || from_parent;
    if (cancelled == scope->effectively_cancelled) {
        return 0;
    }
    if (scope->reason == NULL && from_parent) {
        scope->reason = Py_XNewRef(scope->parent->reason);
    }
    scope->effectively_cancelled = cancelled;
    if (cancelled && scope_deliver(scope) < 0) {
        return -1;
    }
    return 1;
}

/* Recalculate a scope and, where its state changed, what is below it: with
 * a work list, for trees are as deep as users make them. */
int
tac_scope_recalculate(TacScope *scope)
{
    struct tac_vec todo;
    tac_vec_init(&todo);
    int rc = 0;
    TacScope *current = (TacScope *)Py_NewRef(scope);
    for (;;) {
        if (rc == 0) {
            int changed = scope_recalculate_one(current);
            if (changed < 0
                || (changed > 0 && scope_push_children(current, &todo) < 0))
            {
                rc = -1;
            }
        }
        Py_DECREF(current);
        if (todo.len == 0) {
            break;
        }
        current = todo.items[--todo.len];
    }
    tac_vec_fini(&todo);
    return rc;
}

static void
scope_unlink_parent(TacScope *scope)
{
    tac_list_unlink(&scope->sibling_node);
    Py_CLEAR(scope->parent);
}

int
tac_scope_set_parent(TacScope *scope, TacScope *parent)
{
    if (parent != NULL) {
        Py_INCREF(parent);
    }
    scope_unlink_parent(scope);
    if (parent == NULL) {
        return 0;
    }
    scope->parent = parent;
    tac_list_append(&parent->children, &scope->sibling_node);
    return tac_scope_recalculate(scope);
}

/* A deadline in the past cancels before the scope is in the tree. */
static int
scope_make_deadline_absolute(TacScope *scope, TacRunner *runner)
{
    if (scope->relative_deadline == Py_HUGE_VAL
        && scope->deadline == Py_HUGE_VAL) {
        return 0;
    }
    double now;
    if (tac_runner_time(runner, &now) < 0) {
        return -1;
    }
    if (scope->relative_deadline != Py_HUGE_VAL) {
        scope->deadline = now + scope->relative_deadline;
        scope->relative_deadline = Py_HUGE_VAL;
    }
    if (now < scope->deadline || scope->cancel_called) {
        return 0;
    }
    if (scope->reason == NULL) {
        scope->reason =
            tac_scope_reason(scope->state->str_deadline, NULL, NULL);
        if (scope->reason == NULL) {
            return -1;
        }
    }
    scope->cancel_called = true;
    return 0;
}

static int
scope_open(TacScope *scope, TacRunner *runner, TacScope *parent)
{
    if (scope->entered) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Each CancelScope may only be used for a single "
                        "'with' block");
        return -1;
    }
    scope->entered = true;
    if (scope_make_deadline_absolute(scope, runner) < 0) {
        return -1;
    }
    scope->active = true;
    scope->runner = (TacRunner *)Py_NewRef(runner);
    if (scope_update_timer(scope) < 0) {
        return -1;
    }
    if (parent != NULL) {
        scope->parent = (TacScope *)Py_NewRef(parent);
        tac_list_append(&parent->children, &scope->sibling_node);
    }
    /* Nothing is below it yet, so its state is just computed. */
    bool from_parent = tac_scope_sees_parent_cancelled(scope);
    if (from_parent && scope->reason == NULL) {
        scope->reason = Py_XNewRef(parent->reason);
    }
    scope->effectively_cancelled = scope->cancel_called || from_parent;
    return 0;
}

int
tac_scope_open_branch(TacScope *scope, TacRunner *runner, TacScope *parent)
{
    return scope_open(scope, runner, parent);
}

int
tac_scope_enter(TacScope *scope, struct tac_task *task)
{
    if ((task->ops->enter_scope != NULL
         && task->ops->enter_scope(task, scope) < 0)
        || scope_open(scope, task->runner, task->scope) < 0)
    {
        return -1;
    }
    return tac_task_activate(task, scope);
}

int
tac_scope_cancel(TacScope *scope, PyObject *reason)
{
    if (scope->cancel_called) {
        return 0;
    }
    if (scope->reason == NULL) {
        scope->reason = Py_XNewRef(reason);
    }
    scope->cancel_called = true;
    (void)scope_update_timer(scope); /* disarms: cannot fail */
    return scope->active ? tac_scope_recalculate(scope) : 0;
}

static int
scope_on_deadline(struct tac_timer *timer)
{
    TacScope *scope = tac_list_entry(timer, TacScope, timer);
    Py_INCREF(scope);
    PyObject *reason =
        tac_scope_reason(scope->state->str_deadline, NULL, NULL);
    int rc = reason == NULL ? -1 : tac_scope_cancel(scope, reason);
    Py_XDECREF(reason);
    Py_DECREF(scope);
    return rc;
}

double
tac_scope_effective_deadline(const TacScope *scope)
{
    double earliest = Py_HUGE_VAL;
    for (; scope != NULL; scope = scope->parent) {
        if (scope->effectively_cancelled) {
            return -Py_HUGE_VAL;
        }
        if (scope->deadline < earliest) {
            earliest = scope->deadline;
        }
        if (scope->shield) {
            break;
        }
    }
    return earliest;
}

/* Closing: what of the error is this scope's ------------------------------ */

/* Take the Cancelled parts out of a group.  `*exc`: in owned, out owned or
 * NULL. */
static int
scope_split_group(TacScope *scope, PyObject **exc)
{
    TacState *state = scope->state;
    PyObject *pair = PyObject_CallMethodOneArg(*exc, state->str_split,
                                               state->exc_Cancelled);
    if (pair == NULL) {
        return -1;
    }
    if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2) {
        PyErr_Format(PyExc_TypeError,
                     "%.200s.split() must return a 2-tuple",
                     Py_TYPE(*exc)->tp_name);
        Py_DECREF(pair);
        return -1;
    }
    if (PyTuple_GET_ITEM(pair, 0) != Py_None) {
        scope->cancelled_caught = true;
    }
    PyObject *rest = PyTuple_GET_ITEM(pair, 1);
    PyObject *collapsed = NULL;
    int rc = 0;
    if (rest != Py_None) {
        collapsed = PyObject_CallOneArg(state->hook_collapse_group, rest);
        rc = collapsed == NULL ? -1 : 0;
    }
    Py_DECREF(pair);
    if (rc == 0) {
        Py_SETREF(*exc, collapsed);
    }
    return rc;
}

static int
scope_catch(TacScope *scope, PyObject **exc)
{
    PyObject *type = (PyObject *)Py_TYPE(*exc);
    if (PyType_IsSubtype((PyTypeObject *)type,
                         (PyTypeObject *)scope->state->exc_Cancelled))
    {
        scope->cancelled_caught = true;
        Py_CLEAR(*exc);
        return 0;
    }
    if (PyErr_GivenExceptionMatches(type, scope->state->exception_group)) {
        return scope_split_group(scope, exc);
    }
    return 0;
}

/* Replace `*exc` by a RuntimeError that has it as its context. */
static int
scope_corrupted(PyObject **exc, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    PyErr_FormatV(PyExc_RuntimeError, format, args);
    va_end(args);
    PyObject *error = PyErr_GetRaisedException();
    tac_err_set_context(error, *exc);
    Py_XSETREF(*exc, error);
    return 0;
}

bool
tac_scope_encloses(const TacScope *scope, const TacScope *other)
{
    for (; other != NULL; other = other->parent) {
        if (other == scope) {
            return true;
        }
    }
    return false;
}

static int
scope_exit_corrupted(TacScope *scope, struct tac_task *task, TacScope *inmost,
                     PyObject **exc)
{
    PyObject *face = task->ops->object(task);
    if (face == NULL) {
        return -1;
    }
    if (inmost == NULL) {
        scope_corrupted(exc,
                        "Cancel scope stack corrupted: attempted to exit %R "
                        "from unrelated %R" TAC_MISNESTING_ADVICE,
                        scope, face);
    }
    else {
        scope_corrupted(
            exc,
            "Cancel scope stack corrupted: attempted to exit %R in %R "
            "that's still within its child %R" TAC_MISNESTING_ADVICE,
            scope, face, inmost);
    }
    Py_DECREF(face);
    return 0;
}

/* Leave the scope that `task` is in; 1 when the exit is refused. */
static int
scope_leave(TacScope *scope, struct tac_task *task, PyObject **exc)
{
    TacScope *inmost = task->scope;
    if (inmost == scope) {
        return tac_task_activate(task, scope->parent);
    }
    if (scope->abandoned) {
        return 0;
    }
    if (!tac_scope_encloses(scope, inmost)) {
        int rc = scope_exit_corrupted(scope, task, NULL, exc);
        return rc < 0 ? -1 : 1;
    }
    if (scope_exit_corrupted(scope, task, inmost, exc) < 0) {
        return -1;
    }
    /* What was thrown for those inside is this one's to account for. */
    for (TacScope *inner = inmost; inner != scope; inner = inner->parent) {
        scope->thrown += inner->thrown;
        inner->thrown = 0;
    }
    return tac_task_activate(task, scope->parent);
}

static int
scope_mark_abandoned(TacScope *scope)
{
    struct tac_vec todo;
    tac_vec_init(&todo);
    int rc = tac_vec_push(&todo, scope);
    Py_INCREF(scope);
    while (rc == 0 && todo.len != 0) {
        TacScope *current = todo.items[--todo.len];
        current->abandoned = true;
        rc = scope_push_children(current, &todo);
        Py_DECREF(current);
    }
    while (todo.len != 0) {
        Py_DECREF((PyObject *)todo.items[--todo.len]);
    }
    tac_vec_fini(&todo);
    return rc;
}

/* Tasks or scopes that are still inside are cancelled: they were promised a
 * scope that is gone (R21). */
static int
scope_detach(TacScope *scope)
{
    scope_unlink_parent(scope);
    if (tac_list_is_empty(&scope->tasks)
        && tac_list_is_empty(&scope->children)) {
        return 0;
    }
    scope->effectively_cancelled = true;
    if (scope_mark_abandoned(scope) < 0 || scope_deliver(scope) < 0) {
        return -1;
    }
    struct tac_vec children;
    tac_vec_init(&children);
    int rc = scope_push_children(scope, &children);
    for (size_t i = 0; i < children.len; i++) {
        if (rc == 0) {
            rc = tac_scope_recalculate(children.items[i]);
        }
        Py_DECREF((PyObject *)children.items[i]);
    }
    tac_vec_fini(&children);
    return rc;
}

static int
scope_finish(TacScope *scope)
{
    int rc = scope_detach(scope);
    scope->active = false;
    (void)scope_update_timer(scope); /* disarms: cannot fail */
    Py_CLEAR(scope->runner);
    return rc;
}

int
tac_scope_abandon(TacScope *scope)
{
    scope->abandoned = true;
    return scope_finish(scope);
}

/* Take what ends at this scope out of an error. */
static int
scope_catch_for(TacScope *scope, struct tac_task *task, PyObject **exc)
{
    if (task != NULL && task->ops->catch_scope != NULL) {
        return task->ops->catch_scope(task, scope, exc);
    }
    bool ours = scope->effectively_cancelled
                && !tac_scope_sees_parent_cancelled(scope);
    bool stray = task != NULL && task->scope != scope && scope->abandoned;
    return *exc != NULL && (ours || stray) ? scope_catch(scope, exc) : 0;
}

int
tac_scope_close(TacScope *scope, struct tac_task *task, PyObject **exc)
{
    if (!scope->active) {
        return scope_corrupted(exc,
                               "Cancel scope stack corrupted: attempted to "
                               "exit %R which had already been exited",
                               scope);
    }
    if (task != NULL) {
        int refused = scope_leave(scope, task, exc);
        if (refused != 0) {
            return refused < 0 ? -1 : 0;
        }
    }
    if (scope_catch_for(scope, task, exc) < 0) {
        PyObject *error = PyErr_GetRaisedException();
        (void)scope_finish(scope);
        PyErr_SetRaisedException(error);
        return -1;
    }
    return scope_finish(scope);
}

PyObject *
tac_scope_exit_value(PyObject *exc, PyObject *remaining)
{
    if (remaining == NULL) {
        Py_RETURN_TRUE;
    }
    if (remaining == exc) {
        Py_DECREF(remaining);
        Py_RETURN_FALSE;
    }
    tac_err_restore(remaining);
    return NULL;
}
