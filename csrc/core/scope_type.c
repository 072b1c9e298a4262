/* core/scope_type.c - CancelScope as Python sees it. */
#include "base/args.h"
#include "base/compat.h"
#include "core/run.h"
#include "core/scope.h"

#include <math.h>
#include <structmember.h>

static const char *const scope_init_names[] = {
    "deadline", "relative_deadline", "shield", NULL};
static const struct tac_params scope_init_params = {
    "CancelScope", 1, 0, scope_init_names};

int
tac_scope_check_shield(PyObject *value)
{
    if (!PyBool_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "shield must be a bool");
        return -1;
    }
    return 0;
}

/* A deadline; None: there is none. */
static int
scope_read_deadline(PyObject *value, double *deadline)
{
    if (value == Py_None) {
        *deadline = Py_HUGE_VAL;
        return 0;
    }
    return tac_args_double(value, deadline);
}

static int
scope_set_up(TacScope *scope, PyObject *deadline, PyObject *relative,
             PyObject *shield)
{
    if ((relative && tac_args_double(relative, &scope->relative_deadline) < 0)
        || (deadline && scope_read_deadline(deadline, &scope->deadline) < 0)
        || (shield && tac_scope_check_shield(shield) < 0))
    {
        return -1;
    }
    scope->shield = shield == Py_True;
    const char *error = NULL;
    if (isnan(scope->deadline)) {
        error = "deadline must not be NaN";
    }
    else if (isnan(scope->relative_deadline)) {
        error = "relative deadline must not be NaN";
    }
    else if (scope->relative_deadline < 0) {
        error = "timeout must be non-negative";
    }
    else if (scope->relative_deadline != Py_HUGE_VAL
             && scope->deadline != Py_HUGE_VAL) {
        error = "Cannot specify both a deadline and a relative deadline";
    }
    if (error != NULL) {
        PyErr_SetString(PyExc_ValueError, error);
        return -1;
    }
    return 0;
}

static PyObject *
scope_vectorcall(PyObject *type, PyObject *const *args, size_t nargsf,
                 PyObject *kwnames)
{
    PyObject *values[3] = {NULL, NULL, NULL};
    if (tac_args_bind(&scope_init_params, args, PyVectorcall_NARGS(nargsf),
                      kwnames, values) < 0)
    {
        return NULL;
    }
    TacState *state = PyType_GetModuleState((PyTypeObject *)type);
    TacScope *scope = tac_scope_new(state);
    if (scope == NULL) {
        return NULL;
    }
    if (scope_set_up(scope, values[0], values[1], values[2]) < 0) {
        Py_DECREF(scope);
        return NULL;
    }
    return (PyObject *)scope;
}

/* For type.__call__ by way of object.__new__-style callers. */
static PyObject *
scope_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *values[3] = {NULL, NULL, NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$OO:CancelScope",
                                     (char **)scope_init_names, &values[0],
                                     &values[1], &values[2]))
    {
        return NULL;
    }
    TacScope *scope = tac_scope_new(PyType_GetModuleState(type));
    if (scope != NULL
        && scope_set_up(scope, values[0], values[1], values[2]) < 0)
    {
        Py_CLEAR(scope);
    }
    return (PyObject *)scope;
}

static int
scope_tp_traverse(TacScope *scope, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(scope));
    Py_VISIT(scope->runner);
    Py_VISIT(scope->parent);
    Py_VISIT(scope->reason);
    return 0;
}

static int
scope_tp_clear(TacScope *scope)
{
    if (scope->runner != NULL) {
        tac_timer_disarm(scope->runner, &scope->timer);
    }
    Py_CLEAR(scope->runner);
    tac_list_unlink(&scope->sibling_node);
    Py_CLEAR(scope->parent);
    Py_CLEAR(scope->reason);
    return 0;
}

static void
scope_tp_dealloc(TacScope *scope)
{
    PyTypeObject *type = Py_TYPE(scope);
    PyObject_GC_UnTrack(scope);
    Py_TRASHCAN_BEGIN(scope, scope_tp_dealloc)
    if (scope->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)scope);
    }
    (void)scope_tp_clear(scope);
    TacState *state = scope->state;
    state->counts.scopes--;
    if (!tac_freelist_push(&state->free_scopes, state->scope_type,
                           (PyObject *)scope))
    {
        type->tp_free(scope);
    }
    Py_DECREF(type);
    Py_TRASHCAN_END
}

static PyObject *
scope_tp_repr(TacScope *scope)
{
    const char *binding = scope->active    ? "active"
                          : scope->entered ? "exited"
                                           : "unbound";
    char state[80] = "";
    TacRunner *runner = tac_running(scope->state);
    double now;
    if (scope->cancel_called) {
        strcpy(state, ", cancelled");
    }
    else if (scope->deadline != Py_HUGE_VAL && runner != NULL) {
        if (tac_runner_time(runner, &now) < 0) {
            return NULL;
        }
        PyOS_snprintf(state, sizeof(state), ", deadline is %.2f seconds %s",
                      fabs(scope->deadline - now),
                      scope->deadline >= now ? "from now" : "ago");
    }
    PyObject *module = PyObject_GetAttr((PyObject *)Py_TYPE(scope),
                                        scope->state->str___module__);
    if (module == NULL) {
        return NULL;
    }
    PyObject *repr = PyUnicode_FromFormat("<%S.CancelScope at %p, %s%s>",
                                          module, scope, binding, state);
    Py_DECREF(module);
    return repr;
}

PyDoc_STRVAR(scope_enter_doc,
"__enter__($self, /)\n--\n\n"
"Enter the scope in the running task; once only.\n\n"
"Checkpoint: no.\n"
"Raises: RuntimeError on a second entry, or outside of a task.");

static PyObject *
scope_py_enter(TacScope *scope, PyObject *noargs)
{
    struct tac_task *task = tac_task_in_scopes(scope->state);
    if (task == NULL || tac_scope_enter(scope, task) < 0) {
        return NULL;
    }
    return Py_NewRef(scope);
}

PyDoc_STRVAR(scope_exit_doc,
"__exit__($self, exc_type, exc, traceback, /)\n--\n\n"
"Leave the scope; a Cancelled that is this scope's ends here.\n\n"
"Checkpoint: no.\n"
"Raises: RuntimeError when scopes are not properly nested.");

static PyObject *
scope_py_exit(TacScope *scope, PyObject *const *args, Py_ssize_t nargs)
{
    if (tac_args_exit("__exit__", nargs) < 0) {
        return NULL;
    }
    return tac_scope_exit(scope, args[1] == Py_None ? NULL : args[1]);
}

/* In place of an error that ended here; its cause is told where that is no
 * Cancelled of ours, which nobody is to see. */
static PyObject *
scope_raise_too_slow(TacScope *scope, PyObject *exc)
{
    TacState *state = scope->state;
    PyErr_SetNone(state->exc_TooSlowError);
    if (!PyErr_GivenExceptionMatches(exc, state->exc_Cancelled)
        && !PyErr_GivenExceptionMatches(exc, state->exception_group))
    {
        PyObject *error = PyErr_GetRaisedException();
        PyException_SetCause(error, Py_NewRef(exc));
        PyErr_SetRaisedException(error);
    }
    return NULL;
}

PyObject *
tac_scope_exit(TacScope *scope, PyObject *exc)
{
    struct tac_task *task = tac_task_in_scopes(scope->state);
    if (task == NULL) {
        return NULL;
    }
    PyObject *remaining = Py_XNewRef(exc), *answer = NULL;
    Py_INCREF(scope); /* the task's reference may have been the last */
    if (tac_scope_close(scope, task, &remaining) < 0) {
        Py_XDECREF(remaining);
    }
    else if (scope->raises && scope->cancelled_caught && remaining == NULL) {
        answer = scope_raise_too_slow(scope, exc);
    }
    else {
        answer = tac_scope_exit_value(exc, remaining);
    }
    Py_DECREF(scope);
    return answer;
}

static const char *const scope_cancel_names[] = {"reason", NULL};
static const struct tac_params scope_cancel_params = {"cancel", 1, 0,
                                                      scope_cancel_names};

PyDoc_STRVAR(scope_cancel_doc,
"cancel($self, /, reason=None)\n--\n\n"
"Cancel what runs in the scope; idempotent.\n\n"
"reason: a str that the Cancelled exceptions will show; the first counts.\n"
"Checkpoint: no.  Thread-safe: no.");

/* 0, or -1 with RuntimeError in a thread other than that of the run that the
 * scope is in, while that goes on. */
static int
scope_check_thread(TacScope *scope)
{
    if (scope->runner == NULL || !scope->runner->driven
        || scope->runner->thread == PyThread_get_thread_ident())
    {
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError,
                    "a cancel scope is not thread-safe: from another thread "
                    "use loop.call_soon_threadsafe(scope.cancel) or "
                    "trio.from_thread.run_sync(scope.cancel)");
    return -1;
}

static PyObject *
scope_py_cancel(TacScope *scope, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    PyObject *text = NULL, *source_task = NULL;
    if (tac_args_bind(&scope_cancel_params, args, nargs, kwnames, &text) < 0
        || scope_check_thread(scope) < 0)
    {
        return NULL;
    }
    if (scope->cancel_called) {
        Py_RETURN_NONE;
    }
    TacRunner *runner = tac_running(scope->state);
    if (runner != NULL && runner->current != NULL) {
        source_task = tac_task_repr(runner->current);
        if (source_task == NULL) {
            return NULL;
        }
    }
    PyObject *reason =
        tac_scope_reason(scope->state->str_explicit, text, source_task);
    Py_XDECREF(source_task);
    if (reason == NULL) {
        return NULL;
    }
    int rc = tac_scope_cancel(scope, reason);
    Py_DECREF(reason);
    if (rc < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* _cancel(reason), for the run's own reasons: a CancelReason, or None. */
static PyObject *
scope_py_cancel_for(TacScope *scope, PyObject *reason)
{
    if (reason != Py_None
        && !(PyTuple_Check(reason) && PyTuple_GET_SIZE(reason) == 3))
    {
        PyErr_Format(PyExc_TypeError, "a CancelReason is needed, not %.200s",
                     Py_TYPE(reason)->tp_name);
        return NULL;
    }
    if (tac_scope_cancel(scope, reason == Py_None ? NULL : reason) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* _close(exc): the exit as a function; what of the error remains is returned.
 * A wrong exit's RuntimeError is returned as well. */
static PyObject *
scope_py_close(TacScope *scope, PyObject *exc)
{
    struct tac_task *task = tac_task_in_scopes(scope->state);
    if (task == NULL) {
        return NULL;
    }
    PyObject *remaining = exc == Py_None ? NULL : Py_NewRef(exc);
    Py_INCREF(scope);
    int rc = tac_scope_close(scope, task, &remaining);
    Py_DECREF(scope);
    if (rc < 0) {
        Py_XDECREF(remaining);
        return NULL;
    }
    return remaining == NULL ? Py_NewRef(Py_None) : remaining;
}

static PyObject *
scope_get_cancel_reason(TacScope *scope, void *closure)
{
    PyObject *hook = scope->state->hook_cancel_reason;
    if (scope->reason == NULL) {
        Py_RETURN_NONE;
    }
    if (hook == NULL || !PyTuple_CheckExact(scope->reason)) {
        return Py_NewRef(scope->reason);
    }
    return PyObject_CallObject(hook, scope->reason);
}

static int
scope_no_delete(PyObject *value, const char *name)
{
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "cannot delete %s", name);
        return -1;
    }
    return 0;
}

static int
scope_now(TacScope *scope, double *now)
{
    TacRunner *runner = tac_runner_current(scope->state);
    return runner == NULL ? -1 : tac_runner_time(runner, now);
}

/* A changed deadline counts at once: the heap and, if it lies in the past,
 * whoever asks next. */
static int
scope_move_deadline(TacScope *scope, double deadline)
{
    scope->deadline = deadline;
    if (!scope->active || scope->cancel_called) {
        return 0;
    }
    return tac_timer_arm(scope->runner, &scope->timer, deadline);
}

static PyObject *
scope_get_deadline(TacScope *scope, void *closure)
{
    if (scope->relative_deadline != Py_HUGE_VAL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Unentered relative cancel scope does not have an "
                        "absolute deadline.");
        return NULL;
    }
    return PyFloat_FromDouble(scope->deadline);
}

static int
scope_set_deadline(TacScope *scope, PyObject *value, void *closure)
{
    double deadline;
    if (scope_no_delete(value, "deadline") < 0
        || scope_read_deadline(value, &deadline) < 0
        || scope_check_thread(scope) < 0)
    {
        return -1;
    }
    if (isnan(deadline)) {
        PyErr_SetString(PyExc_ValueError, "deadline must not be NaN");
        return -1;
    }
    if (scope->relative_deadline != Py_HUGE_VAL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Unentered relative cancel scope does not have an "
                        "absolute deadline.");
        return -1;
    }
    return scope_move_deadline(scope, deadline);
}

static int
scope_check_relative(TacScope *scope)
{
    if (!scope->entered && scope->deadline != Py_HUGE_VAL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Unentered non-relative cancel scope does not have "
                        "a relative deadline");
        return -1;
    }
    return 0;
}

static PyObject *
scope_get_relative_deadline(TacScope *scope, void *closure)
{
    double now;
    if (scope->entered) {
        if (scope_now(scope, &now) < 0) {
            return NULL;
        }
        return PyFloat_FromDouble(scope->deadline - now);
    }
    if (scope_check_relative(scope) < 0) {
        return NULL;
    }
    return PyFloat_FromDouble(scope->relative_deadline);
}

static int
scope_set_relative_deadline(TacScope *scope, PyObject *value, void *closure)
{
    double seconds, now;
    if (scope_no_delete(value, "relative_deadline") < 0
        || tac_args_double(value, &seconds) < 0) {
        return -1;
    }
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError,
                        "relative deadline must not be NaN");
        return -1;
    }
    if (seconds < 0) {
        PyErr_SetString(PyExc_ValueError,
                        "relative deadline must be non-negative");
        return -1;
    }
    if (scope->entered) {
        return scope_now(scope, &now) < 0
                   ? -1
                   : scope_move_deadline(scope, now + seconds);
    }
    if (scope_check_relative(scope) < 0) {
        return -1;
    }
    scope->relative_deadline = seconds;
    return 0;
}

static PyObject *
scope_get_is_relative(TacScope *scope, void *closure)
{
    if (scope->entered) {
        Py_RETURN_NONE;
    }
    return PyBool_FromLong(scope->relative_deadline != Py_HUGE_VAL);
}

static PyObject *
scope_get_shield(TacScope *scope, void *closure)
{
    return PyBool_FromLong(scope->shield);
}

static int
scope_set_shield(TacScope *scope, PyObject *value, void *closure)
{
    if (scope_no_delete(value, "shield") < 0
        || tac_scope_check_shield(value) < 0
        || scope_check_thread(scope) < 0)
    {
        return -1;
    }
    scope->shield = value == Py_True;
    return scope->active ? tac_scope_recalculate(scope) : 0;
}

static PyObject *
scope_get_cancel_called(TacScope *scope, void *closure)
{
    if (tac_scope_check_deadline(scope) < 0) {
        return NULL;
    }
    return PyBool_FromLong(scope->cancel_called);
}

static PyObject *
scope_get_cancel_status(TacScope *scope, void *closure)
{
    return tac_cancel_status(scope->active ? scope : NULL);
}

/* What the run's heap of deadlines has for this scope; inf: nothing. */
static PyObject *
scope_get_registered_deadline(TacScope *scope, void *closure)
{
    return PyFloat_FromDouble(tac_timer_is_armed(&scope->timer)
                                  ? scope->deadline
                                  : Py_HUGE_VAL);
}

static PyMethodDef scope_methods[] = {
    {"__enter__", (PyCFunction)scope_py_enter, METH_NOARGS, scope_enter_doc},
    {"__exit__", (PyCFunction)(void (*)(void))scope_py_exit, METH_FASTCALL,
     scope_exit_doc},
    {"cancel", (PyCFunction)(void (*)(void))scope_py_cancel,
     METH_FASTCALL | METH_KEYWORDS, scope_cancel_doc},
    {"_cancel", (PyCFunction)scope_py_cancel_for, METH_O,
     "_cancel($self, reason, /)\n--\n\nCancel for a CancelReason."},
    {"_close", (PyCFunction)scope_py_close, METH_O,
     "_close($self, exc, /)\n--\n\n"
     "Leave the scope; returns what remains of `exc`."},
    {NULL},
};

static PyGetSetDef scope_getset[] = {
    {"deadline", (getter)scope_get_deadline, (setter)scope_set_deadline,
     "When the scope is cancelled, in seconds of the run's clock; inf for "
     "never.  May be changed at any time."},
    {"relative_deadline", (getter)scope_get_relative_deadline,
     (setter)scope_set_relative_deadline,
     "Seconds from now, or before entry: from the entry."},
    {"is_relative", (getter)scope_get_is_relative, NULL,
     "True if made with a relative deadline, None once entered."},
    {"shield", (getter)scope_get_shield, (setter)scope_set_shield,
     "True: cancellation of enclosing scopes does not reach inside."},
    {"cancel_called", (getter)scope_get_cancel_called, NULL,
     "True once cancel() was called or the deadline has passed."},
    {"_cancel_status", (getter)scope_get_cancel_status, NULL, NULL},
    {"_cancel_reason", (getter)scope_get_cancel_reason, NULL, NULL},
    {"_registered_deadline", (getter)scope_get_registered_deadline, NULL,
     NULL},
    {NULL},
};

static PyMemberDef scope_members[] = {
    {"cancelled_caught", T_BOOL, offsetof(TacScope, cancelled_caught),
     READONLY, "True if the scope ended a Cancelled on its way out."},
    {"_has_been_entered", T_BOOL, offsetof(TacScope, entered), READONLY},
    {"_cancel_called", T_BOOL, offsetof(TacScope, cancel_called), READONLY},
    {"_shield", T_BOOL, offsetof(TacScope, shield), READONLY},
    {"_raise_on_cancel", T_BOOL, offsetof(TacScope, raises), 0,
     "Whether the exit raises TooSlowError where a cancel ends."},
    {"_deadline", T_DOUBLE, offsetof(TacScope, deadline), READONLY},
    {"_relative_deadline", T_DOUBLE, offsetof(TacScope, relative_deadline),
     READONLY},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TacScope, weakrefs),
     READONLY},
    {NULL},
};

PyDoc_STRVAR(scope_doc,
"CancelScope(deadline=inf, *, relative_deadline=inf, shield=False)\n--\n\n"
"A block of code that can be cancelled as a whole, in tasks of any flavour\n"
"that the run knows.\n\n"
"deadline: when it is cancelled, in seconds of the run's clock; None, as inf:\n"
"never.\n"
"relative_deadline: the same in seconds from the entry.\n"
"shield: keep out cancellation from enclosing scopes.\n"
"Raises: ValueError for NaN, negative or two deadlines; TypeError for a\n"
"shield that is no bool.  Checkpoint: no.  Thread-safe: no.");

static PyType_Slot scope_slots[] = {
    {Py_tp_doc, (void *)scope_doc},
    {Py_tp_new, scope_tp_new},
    {Py_tp_traverse, scope_tp_traverse},
    {Py_tp_clear, scope_tp_clear},
    {Py_tp_dealloc, scope_tp_dealloc},
    {Py_tp_repr, scope_tp_repr},
    {Py_tp_methods, scope_methods},
    {Py_tp_getset, scope_getset},
    {Py_tp_members, scope_members},
    {0, NULL},
};

static PyType_Spec scope_spec = {
    .name = "trio_asyncio_c.CancelScope",
    .basicsize = sizeof(TacScope),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = scope_slots,
};

int
tac_scope_add_types(PyObject *module, TacState *state)
{
    state->scope_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &scope_spec, NULL);
    if (state->scope_type == NULL) {
        return -1;
    }
    state->scope_type->tp_vectorcall = scope_vectorcall;
    return PyModule_AddType(module, state->scope_type);
}
