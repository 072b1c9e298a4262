/* cross/run_asyncio.c - a Trio task waits for an asyncio Future, and
 * run_asyncio, which makes a Task first.
 *
 * The wait is a trap like the core's own.  A cancel is passed on to the
 * Future once, and the task stays parked until the Future is done: only if
 * that ended by cancellation, the task gets its own Cancelled.
 */
#include "cross/cross.h"

#include "aio/loop.h"
#include "base/asyncfn.h"
#include "base/compat.h"
#include "core/run.h"
#include "core/scope.h"
#include "core/trap.h"
#include "cross/aio_call.h"

#include <structmember.h>

/* The Future's done callback: knows the trap that waits.  The trap's `first`
 * is the Future, its `second` the exception of a cancel that was passed on. */
typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    TacTrap *trap; /* owned; NULL once called */
} TacWaiter;

/* The end of the wait ----------------------------------------------------- */

/* Has the wait been ended, though the task has not gone on yet? */
static bool
run_asyncio_is_woken(const TacTask *task)
{
    return task->resumed || tac_list_is_linked(&task->base.run_node);
}

/* The Future was cancelled because we passed a cancel on: that is what the
 * task gets, with the asyncio side as its cause.  Steals `error`. */
static PyObject *
run_asyncio_swap_error(TacTrap *trap, PyObject *error)
{
    TacState *state = trap->state;
    if (trap->second == NULL
        || !PyErr_GivenExceptionMatches(error, state->aio_cancelled_error))
    {
        return error;
    }
    PyException_SetCause(trap->second, error);
    return Py_NewRef(trap->second);
}

/* A keyboard interrupt that the callee did not end by is still to come. */
static void
run_asyncio_keep_interrupt(TacTrap *trap, PyObject *error)
{
    if (trap->second != NULL && error != trap->second
        && PyErr_GivenExceptionMatches(trap->second, PyExc_KeyboardInterrupt))
    {
        trap->task->base.runner->ki_pending = true;
    }
}

static PyObject *
run_asyncio_wake(TacTrap *trap, PyObject *future)
{
    PyObject *value = PyObject_CallMethodNoArgs(future,
                                                trap->state->str_result);
    PyObject *error = NULL;
    if (value == NULL) {
        error = run_asyncio_swap_error(trap, PyErr_GetRaisedException());
    }
    run_asyncio_keep_interrupt(trap, error);
    tac_trap_unlink(trap);
    if (tac_task_reschedule(trap->task, value, error) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
run_asyncio_waiter_call(PyObject *self, PyObject *const *args, size_t nargsf,
                        PyObject *kwnames)
{
    TacWaiter *waiter = (TacWaiter *)self;
    if (PyVectorcall_NARGS(nargsf) != 1 || kwnames != NULL) {
        PyErr_SetString(PyExc_TypeError, "a done callback gets the Future");
        return NULL;
    }
    PyObject *future = args[0];
    TacTrap *trap = waiter->trap;
    if (trap == NULL) {
        Py_RETURN_NONE;
    }
    waiter->trap = NULL;
    PyObject *result = NULL;
    if (trap->life == TAC_TRAP_WAITING && trap->task != NULL
        && trap->task->trap == trap && trap->task->base.runner != NULL
        && !run_asyncio_is_woken(trap->task))
    {
        result = run_asyncio_wake(trap, future);
    }
    else {
        result = Py_NewRef(Py_None); /* given up: the task is gone */
    }
    Py_DECREF(trap);
    return result;
}

/* The wait ---------------------------------------------------------------- */

static int
run_asyncio_add_waiter(TacTrap *trap)
{
    PyTypeObject *type = trap->state->waiter_type;
    TacWaiter *waiter = (TacWaiter *)type->tp_alloc(type, 0);
    if (waiter == NULL) {
        return -1;
    }
    waiter->vectorcall = run_asyncio_waiter_call;
    waiter->trap = (TacTrap *)Py_NewRef(trap);
    PyObject *added =
        PyObject_CallMethodOneArg(trap->first,
                                  trap->state->str_add_done_callback,
                                  (PyObject *)waiter);
    if (added == NULL) {
        Py_CLEAR(waiter->trap);
    }
    Py_XDECREF(added);
    Py_DECREF(waiter);
    return added == NULL ? -1 : 0;
}

/* The Future's loop, borrowed from the Future, if it is one of ours. */
static int
run_asyncio_find_loop(TacTrap *trap, TacLoop **loop)
{
    PyObject *found = PyObject_CallMethodNoArgs(trap->first,
                                                trap->state->str_get_loop);
    *loop = NULL;
    if (found == NULL) {
        return -1;
    }
    if (PyObject_TypeCheck(found, trap->state->loop_type)) {
        *loop = (TacLoop *)found;
    }
    Py_DECREF(found);
    return 0;
}

/* Nobody would hear of the end of a Future whose loop runs no callbacks. */
static int
run_asyncio_check_loop(TacLoop *loop)
{
    if (loop == NULL) {
        return 0;
    }
    if (tac_loop_check_open(loop) < 0) {
        return -1;
    }
    if (loop->halted) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is stopped");
        return -1;
    }
    return 0;
}

static enum tac_trap_step
run_asyncio_wait(TacTrap *trap, TacTask *task, TacLoop *loop)
{
    if (run_asyncio_check_loop(loop) < 0 || run_asyncio_add_waiter(trap) < 0) {
        return TAC_TRAP_ERROR;
    }
    if (loop != NULL && loop->host.runner == task->base.runner) {
        tac_list_append(&loop->waits, &trap->node);
    }
    return TAC_TRAP_WAIT;
}

static enum tac_trap_step
run_asyncio_begin(TacTrap *trap, TacTask *task)
{
    TacLoop *loop;
    if (run_asyncio_find_loop(trap, &loop) < 0) {
        return TAC_TRAP_ERROR;
    }
    return run_asyncio_wait(trap, task, loop);
}

/* The cancel, in words -------------------------------------------------------
 * The asyncio side has no scopes, so the message of its CancelledError is what
 * tells whose deadline it was. */

/* The scope, borrowed, that a cancel with this reason came from: scopes below
 * it share the very object.  NULL if that has gone meanwhile. */
static TacScope *
run_asyncio_find_scope(TacScope *scope, PyObject *reason)
{
    for (; scope != NULL; scope = scope->parent) {
        if (scope->cancel_called && scope->reason == reason) {
            return scope;
        }
    }
    return NULL;
}

/* What asyncio code above said when it cancelled a Trio callee in which this
 * wait is: borrowed, or NULL.  It goes on as it is, however many levels there
 * are. */
static PyObject *
run_asyncio_said_above(const TacScope *scope)
{
    if (scope == NULL || !scope->foreign || scope->reason == NULL) {
        return NULL;
    }
    PyObject *said = PyTuple_GET_ITEM(scope->reason, 1);
    return PyUnicode_Check(said) ? said : NULL;
}

static PyObject *
run_asyncio_message(TacTask *task, const struct tac_cause *cause,
                    PyObject *error)
{
    TacScope *scope =
        cause->is_ki
            ? NULL
            : run_asyncio_find_scope(task->base.scope, cause->reason);
    PyObject *said = run_asyncio_said_above(scope);
    if (said != NULL) {
        return Py_NewRef(said);
    }
    PyObject *who = tac_task_repr(&task->base);
    PyObject *message = NULL;
    if (who == NULL) {
        return NULL;
    }
    if (cause->is_ki) {
        message = PyUnicode_FromFormat("KeyboardInterrupt in %U", who);
    }
    else if (scope == NULL) {
        message = PyUnicode_FromFormat("%S, in %U", error, who);
    }
    else {
        message = PyUnicode_FromFormat("%S, by %R around %U", error, scope,
                                       who);
    }
    Py_DECREF(who);
    return message;
}

/* As asyncio's Tasks cancel what they wait for: by keyword. */
static PyObject *
run_asyncio_cancel_future(TacTrap *trap, PyObject *message)
{
    PyObject *names = Py_BuildValue("(s)", "msg");
    if (names == NULL) {
        return NULL;
    }
    PyObject *future = Py_NewRef(trap->first);
    PyObject *args[2] = {future, message};
    PyObject *told =
        PyObject_VectorcallMethod(trap->state->str_cancel, args, 1, names);
    Py_DECREF(future);
    Py_DECREF(names);
    return told;
}

/* The Future's cancel() has raised, as it does where the loop is closed: then
 * nobody will call back, so the wait ends in that. */
static enum tac_abort
run_asyncio_abort_failed(TacTrap *trap, TacTask *task)
{
    PyObject *error = PyErr_GetRaisedException();
    if (run_asyncio_is_woken(task)) {
        PyErr_SetRaisedException(error);
        PyErr_WriteUnraisable(trap->first); /* it had called back before */
        return TAC_ABORT_FAILED;
    }
    tac_trap_unlink(trap);
    return tac_task_reschedule(task, NULL, error) < 0 ? TAC_ABORT_ERROR
                                                      : TAC_ABORT_FAILED;
}

/* The Task that was called has entered cancel scopes of its own: they see to
 * the cancel, each of its shields included. */
static bool
run_asyncio_is_in_scopes(TacTrap *trap)
{
    return trap->place != NULL
           && tac_scoped_cancel_call(trap->place, trap->first);
}

static enum tac_abort
run_asyncio_abort(TacTrap *trap, TacTask *task, const struct tac_cause *cause)
{
    PyObject *error = tac_cause_exception(task->base.runner, cause);
    if (error == NULL) {
        return TAC_ABORT_ERROR;
    }
    PyObject *message = run_asyncio_message(task, cause, error);
    Py_XSETREF(trap->second, error);
    PyObject *told = NULL;
    if (message != NULL) {
        told = run_asyncio_is_in_scopes(trap)
                   ? Py_NewRef(Py_True)
                   : run_asyncio_cancel_future(trap, message);
    }
    Py_XDECREF(message);
    Py_XDECREF(told);
    return told == NULL ? run_asyncio_abort_failed(trap, task)
                        : TAC_ABORT_FAILED;
}

static void
run_asyncio_unlink(TacTrap *trap)
{
    tac_list_unlink(&trap->node);
    if (trap->place != NULL) { /* the Future holds the loop */
        TacLoop *loop = trap->place;
        trap->place = NULL;
        tac_scoped_end_call(loop, trap->first, trap);
    }
}

static const struct tac_trap_ops run_asyncio_ops = {
    .name = "wait_future",
    .begin = run_asyncio_begin,
    .abort = run_asyncio_abort,
    .unlink = run_asyncio_unlink,
};

/* 0, or -1 with TypeError for what is no Future. */
static int
run_asyncio_check(TacState *state, PyObject *future)
{
    if (Py_IS_TYPE(future, state->aio_task_type)) {
        return 0;
    }
    PyObject *blocking = PyObject_GetAttr(
        (PyObject *)Py_TYPE(future), state->str__asyncio_future_blocking);
    if (blocking == NULL) {
        PyErr_Clear();
        PyErr_Format(PyExc_TypeError, "an asyncio Future is needed, not %R",
                     future);
        return -1;
    }
    Py_DECREF(blocking);
    return 0;
}

static PyObject *
run_asyncio_wait_future(PyObject *module, PyObject *future)
{
    TacState *state = tac_state_of_module(module);
    if (run_asyncio_check(state, future) < 0) {
        return NULL;
    }
    return (PyObject *)tac_trap_new(state, &run_asyncio_ops, future, NULL);
}

/* run_asyncio ------------------------------------------------------------- */

/* NEW, `first` is the Task's coroutine and `second` the loop; from then on
 * both are those of a wait. */
static enum tac_trap_step
run_asyncio_call_begin(TacTrap *trap, TacTask *task)
{
    TacLoop *loop = (TacLoop *)trap->second;
    TacState *state = trap->state;
    enum tac_trap_step step = TAC_TRAP_ERROR;
    trap->second = NULL;
    if (tac_loop_check_running(loop) == 0) {
        PyObject *future = PyObject_CallMethodOneArg(
            (PyObject *)loop, state->str_create_task, trap->first);
        if (future != NULL && run_asyncio_check(state, future) == 0) {
            Py_SETREF(trap->first, Py_NewRef(future));
            step = Py_IS_TYPE(future, state->aio_task_type)
                       ? run_asyncio_wait(trap, task, loop)
                       : run_asyncio_begin(trap, task);
            if (step == TAC_TRAP_WAIT
                && tac_scoped_begin_call(loop, future, trap) == 0)
            {
                trap->place = loop;
            }
        }
        Py_XDECREF(future);
    }
    Py_DECREF(loop);
    return step;
}

static const struct tac_trap_ops run_asyncio_call_ops = {
    .name = "run_asyncio",
    .begin = run_asyncio_call_begin,
    .abort = run_asyncio_abort,
    .unlink = run_asyncio_unlink,
    .no_task_error =
        "run_asyncio() must be called from async context: from a Trio task. "
        "In asyncio-flavoured code just await the function.",
};

/* What cannot be called may be an iterator or a context manager: its adapter.
 * Returns: new ref, None if it is neither | NULL+exc. */
static PyObject *
run_asyncio_adapt(TacState *state, PyObject *loop, PyObject *thing)
{
    PyObject *args[2] = {thing, loop}; /* borrowed */
    return PyObject_Vectorcall(state->hook_adapt_asyncio, args, 2, NULL);
}

static PyObject *
run_asyncio_call(PyObject *loop, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    TacState *state = ((TacLoop *)loop)->state;
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "run_asyncio() missing 1 required "
                                         "positional argument: 'fn'");
        return NULL;
    }
    if (nargs == 1 && kwnames == NULL && !PyCallable_Check(args[0])) {
        PyObject *adapter = run_asyncio_adapt(state, loop, args[0]);
        if (adapter != Py_None) {
            return adapter;
        }
        Py_DECREF(adapter);
    }
    PyObject *coro =
        tac_aio_call_new(state, args[0], args + 1, nargs - 1, kwnames);
    if (coro == NULL) {
        return NULL;
    }
    TacTrap *trap = tac_trap_new(state, &run_asyncio_call_ops, coro, loop);
    Py_DECREF(coro);
    return (PyObject *)trap;
}

static PyMethodDef run_asyncio_method = {
    "run_asyncio", (PyCFunction)(void (*)(void))run_asyncio_call,
    METH_FASTCALL | METH_KEYWORDS,
    "run_asyncio($self, fn, /, *args, **kwargs)\n--\n\n"
    "Call an asyncio-flavoured function in an asyncio Task of its own, and\n"
    "wait for it.\n\n"
    "An async iterator or context manager instead of the function: returns\n"
    "aio_as_trio(fn, loop=self).\n\n"
    "A cancel is passed on to the Task, once, and waited for; Cancelled is\n"
    "raised only if the Task ended by it.\n"
    "Raises RuntimeError when the loop is closed or stopped, or the caller\n"
    "is no Trio task. Flavor: trio. Checkpoint: yes.",
};

/* The end of the loop ----------------------------------------------------- */

/* What Trio code waits for.  Returns: new ref | NULL+exc. */
static PyObject *
run_asyncio_get_waits(PyObject *self, PyObject *noargs)
{
    struct tac_list *head = &((TacLoop *)self)->waits;
    PyObject *futures = PyList_New(0);
    for (struct tac_list *n = head->next; futures != NULL && n != head;
         n = n->next)
    {
        PyObject *future = tac_list_entry(n, TacTrap, node)->first;
        if (PyList_Append(futures, future) < 0) {
            Py_CLEAR(futures);
        }
    }
    return futures;
}

/* Have a wait fail whose Future will never call back: with the cancel that
 * was passed on to it, if there was one. */
static int
run_asyncio_fail(TacTrap *trap)
{
    PyObject *error = Py_XNewRef(trap->second);
    if (error == NULL) {
        error = PyObject_CallFunction(PyExc_RuntimeError, "s",
                                      "Event loop is closed");
    }
    if (error == NULL) {
        return -1;
    }
    tac_trap_unlink(trap);
    return tac_task_reschedule(trap->task, NULL, error);
}

/* End the waits: of a Future that is done with its outcome. */
static PyObject *
run_asyncio_end_waits(PyObject *self, PyObject *noargs)
{
    TacLoop *loop = (TacLoop *)self;
    while (!tac_list_is_empty(&loop->waits)) {
        TacTrap *trap = tac_list_entry(loop->waits.next, TacTrap, node);
        Py_INCREF(trap);
        PyObject *done =
            PyObject_CallMethodNoArgs(trap->first, loop->state->str_done);
        int is_done = done == NULL ? -1 : PyObject_IsTrue(done);
        PyObject *told = NULL;
        Py_XDECREF(done);
        if (is_done > 0 && tac_list_is_linked(&trap->node)) {
            told = run_asyncio_wake(trap, trap->first);
        }
        else if (is_done == 0 && tac_list_is_linked(&trap->node)) {
            told = run_asyncio_fail(trap) < 0 ? NULL : Py_NewRef(Py_None);
        }
        else if (is_done >= 0) { /* done() has ended it */
            told = Py_NewRef(Py_None);
        }
        Py_DECREF(trap);
        Py_XDECREF(told);
        if (told == NULL) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

static PyMethodDef run_asyncio_loop_methods[] = {
    {"_get_waits", run_asyncio_get_waits, METH_NOARGS,
     "_get_waits($self, /)\n--\n\n"
     "Return the Futures that Trio code waits for."},
    {"_end_waits", run_asyncio_end_waits, METH_NOARGS,
     "_end_waits($self, /)\n--\n\n"
     "Have those waits end, in RuntimeError unless the Future is done."},
    {NULL},
};

/* To the loop's type, which is of a layer below. */
static int
run_asyncio_add_method(TacState *state, PyMethodDef *def)
{
    PyObject *method = PyDescr_NewMethod(state->loop_type, def);
    int rc = method == NULL
                 ? -1
                 : PyObject_SetAttrString((PyObject *)state->loop_type,
                                          def->ml_name, method);
    Py_XDECREF(method);
    return rc;
}

static int
run_asyncio_add_methods(TacState *state)
{
    PyMethodDef *def = run_asyncio_loop_methods;
    while (def->ml_name != NULL && run_asyncio_add_method(state, def) == 0) {
        def++;
    }
    if (def->ml_name != NULL
        || run_asyncio_add_method(state, &run_asyncio_method) < 0)
    {
        return -1;
    }
    return tac_asyncfn_replace((PyObject *)state->loop_type, state,
                               run_asyncio_method.ml_name);
}

/* The waiter's type ------------------------------------------------------- */

static int
run_asyncio_waiter_traverse(TacWaiter *waiter, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(waiter));
    Py_VISIT((PyObject *)waiter->trap);
    return 0;
}

static int
run_asyncio_waiter_clear(TacWaiter *waiter)
{
    Py_CLEAR(waiter->trap);
    return 0;
}

static void
run_asyncio_waiter_dealloc(TacWaiter *waiter)
{
    PyTypeObject *type = Py_TYPE(waiter);
    PyObject_GC_UnTrack(waiter);
    (void)run_asyncio_waiter_clear(waiter);
    type->tp_free(waiter);
    Py_DECREF(type);
}

PyDoc_STRVAR(run_asyncio_waiter_doc,
"Wakes the Trio task that waits for a Future; its done callback.");

static PyMemberDef run_asyncio_waiter_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(TacWaiter, vectorcall),
     READONLY},
    {NULL},
};

static PyType_Slot run_asyncio_waiter_slots[] = {
    {Py_tp_doc, (void *)run_asyncio_waiter_doc},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, run_asyncio_waiter_members},
    {Py_tp_traverse, run_asyncio_waiter_traverse},
    {Py_tp_clear, run_asyncio_waiter_clear},
    {Py_tp_dealloc, run_asyncio_waiter_dealloc},
    {0, NULL},
};

static PyType_Spec run_asyncio_waiter_spec = {
    .name = "trio_asyncio_c._core.Waiter",
    .basicsize = sizeof(TacWaiter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_HAVE_VECTORCALL
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = run_asyncio_waiter_slots,
};

static PyMethodDef run_asyncio_functions[] = {
    {"wait_future", run_asyncio_wait_future, METH_O,
     "wait_future($module, future, /)\n--\n\n"
     "Wait for an asyncio Future or Task and return its result.\n\n"
     "A cancel is passed on to the Future, once, and waited for: Cancelled\n"
     "is raised only if the Future ended by it.\n"
     "Checkpoint: yes. Flavor: trio. Raises: what the Future holds;\n"
     "Cancelled; TypeError for what is no Future. Thread-safe: no."},
    {NULL},
};

int
tac_run_asyncio_add_types(PyObject *module, TacState *state)
{
    state->waiter_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &run_asyncio_waiter_spec, NULL);
    if (state->waiter_type == NULL || run_asyncio_add_methods(state) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, run_asyncio_functions);
}
