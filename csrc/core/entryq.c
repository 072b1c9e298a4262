/* core/entryq.c - run_sync_soon and the task that runs the calls.
 *
 * Each pass is bounded by the queue's length at its start, so that a call
 * that queues itself again lets the others and the rest of the run go on.
 * A call that raises brings the run down, by way of a system task that
 * raises its error; the calls behind it still run.
 */
#include "core/entryq.h"

#include "base/args.h"
#include "base/compat.h"
#include "core/nursery.h"
#include "core/run.h"
#include "core/scope.h"

#include <structmember.h>

int
tac_entryq_init(struct tac_entryq *queue)
{
    queue->calls = PyList_New(0);
    queue->idempotent = PyDict_New();
    return queue->calls == NULL || queue->idempotent == NULL ? -1 : 0;
}

void
tac_entryq_fini(struct tac_entryq *queue)
{
    queue->waiter = NULL;
    Py_CLEAR(queue->calls);
    Py_CLEAR(queue->idempotent);
}

int
tac_entryq_traverse(struct tac_entryq *queue, visitproc visit, void *arg)
{
    Py_VISIT(queue->calls);
    Py_VISIT(queue->idempotent);
    return 0;
}

Py_ssize_t
tac_entryq_size(const struct tac_entryq *queue)
{
    if (queue->calls == NULL) {
        return 0;
    }
    return PyList_GET_SIZE(queue->calls) + PyDict_GET_SIZE(queue->idempotent);
}

static int
entryq_refuse(TacRunner *runner)
{
    PyErr_SetString(runner->state->exc_RunFinishedError, "run() has exited");
    return -1;
}

static int
entryq_push_idempotent(struct tac_entryq *queue, PyObject *call)
{
    PyObject *calls = Py_NewRef(queue->idempotent);
    queue->pushing++;
    int rc = PyDict_SetItem(calls, call, Py_None);
    queue->pushing--;
    Py_DECREF(calls);
    return rc;
}

int
tac_entryq_push(TacRunner *runner, PyObject *fn, PyObject *args,
                bool idempotent)
{
    struct tac_entryq *queue = &runner->entryq;
    /* Before the question whether the queue is closed: the collector may run
     * here, and with it Python code and other threads. */
    PyObject *call = PyTuple_Pack(2, fn, args);
    if (call == NULL) {
        return -1;
    }
    int rc;
    if (queue->closed || queue->calls == NULL) {
        rc = entryq_refuse(runner);
    }
    else if (idempotent) {
        rc = entryq_push_idempotent(queue, call);
    }
    else {
        rc = PyList_Append(queue->calls, call);
    }
    Py_DECREF(call);
    if (rc == 0 || queue->closed) {
        tac_runner_wake(runner);
    }
    return rc;
}

/* Closed, and nobody is between the question and the queue. */
static bool
entryq_is_finished(const struct tac_entryq *queue)
{
    return queue->closed && queue->pushing == 0
           && tac_entryq_size(queue) == 0;
}

int
tac_entryq_drain(TacRunner *runner)
{
    struct tac_entryq *queue = &runner->entryq;
    TacTrap *waiter = queue->waiter;
    if (waiter == NULL
        || (tac_entryq_size(queue) == 0 && !entryq_is_finished(queue))) {
        return 0;
    }
    queue->waiter = NULL;
    return tac_task_reschedule(waiter->task, NULL, NULL);
}

/* The task ---------------------------------------------------------------- */

/* Spawn a task that raises the error, where it brings the run down. */
static int
entryq_crash(TacTask *task, PyObject *error)
{
    TacRunner *runner = task->base.runner;
    TacNursery *nursery = runner->system_nursery;
    if (nursery == NULL || nursery->closed) {
        nursery = task->base.parent_nursery;
    }
    struct tac_spawn how = {.fn = runner->state->hook_raise_error,
                            .args = &error,
                            .nargs = 1,
                            .nursery = nursery,
                            .system = true};
    TacTask *crash = tac_task_spawn(runner, &how);
    Py_XDECREF(crash);
    return crash == NULL ? -1 : 0;
}

static int
entryq_run_call(TacTask *task, PyObject *call)
{
    PyObject *result = PyObject_CallObject(PyTuple_GET_ITEM(call, 0),
                                           PyTuple_GET_ITEM(call, 1));
    if (result != NULL) {
        Py_DECREF(result);
        return 0;
    }
    PyObject *error = PyErr_GetRaisedException();
    int rc = entryq_crash(task, error);
    Py_DECREF(error);
    return rc;
}

static int
entryq_run_calls(TacTask *task)
{
    struct tac_entryq *queue = &task->base.runner->entryq;
    PyObject *calls = queue->calls;
    PyObject *fresh = PyList_New(0);
    if (fresh == NULL) {
        return -1;
    }
    queue->calls = fresh; /* the pass is what was there before */
    int rc = 0;
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(calls); i++) {
        rc = entryq_run_call(task, PyList_GET_ITEM(calls, i));
    }
    Py_DECREF(calls);
    return rc;
}

static int
entryq_run_idempotent(TacTask *task)
{
    struct tac_entryq *queue = &task->base.runner->entryq;
    PyObject *calls = PyDict_Keys(queue->idempotent);
    if (calls == NULL) {
        return -1;
    }
    int rc = 0;
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(calls); i++) {
        PyObject *call = PyList_GET_ITEM(calls, i);
        rc = PyDict_DelItem(queue->idempotent, call);
        if (rc == 0) {
            rc = entryq_run_call(task, call);
        }
    }
    Py_DECREF(calls);
    return rc;
}

static int
entryq_run_pass(TacTask *task)
{
    int rc = entryq_run_calls(task);
    if (rc == 0 && PyDict_GET_SIZE(task->base.runner->entryq.idempotent) != 0)
    {
        rc = entryq_run_idempotent(task);
    }
    return rc;
}

static enum tac_trap_step
entryq_wait(TacTrap *trap, TacTask *task)
{
    struct tac_entryq *queue = &task->base.runner->entryq;
    queue->waiter = trap;
    if (tac_entryq_size(queue) != 0) {
        tac_runner_wake(task->base.runner);
    }
    return TAC_TRAP_WAIT;
}

static enum tac_trap_step
entryq_resume(TacTrap *trap, TacTask *task)
{
    struct tac_entryq *queue = &task->base.runner->entryq;
    /* When stopping, no new calls, or one that queues itself again would
     * never let the run end. */
    queue->closed = queue->stopping;
    if (entryq_run_pass(task) < 0) {
        return TAC_TRAP_ERROR;
    }
    if (!entryq_is_finished(queue)) {
        return entryq_wait(trap, task);
    }
    queue->started = false;
    return TAC_TRAP_DONE;
}

/* The run is over: what is queued still runs, then the task ends. */
static enum tac_abort
entryq_abort(TacTrap *trap, TacTask *task, const struct tac_cause *cause)
{
    struct tac_entryq *queue = &task->base.runner->entryq;
    if (queue->stopping) {
        return TAC_ABORT_FAILED; /* the drain wakes it */
    }
    queue->stopping = true;
    queue->waiter = NULL;
    return tac_task_reschedule(task, NULL, NULL) < 0 ? TAC_ABORT_ERROR
                                                     : TAC_ABORT_FAILED;
}

static void
entryq_unlink(TacTrap *trap)
{
    TacRunner *runner =
        trap->task == NULL ? NULL : trap->task->base.runner;
    if (runner != NULL && runner->entryq.waiter == trap) {
        runner->entryq.waiter = NULL;
    }
}

static const struct tac_trap_ops entryq_ops = {
    .name = "_run_queued_calls",
    .begin = entryq_wait,
    .resume = entryq_resume,
    .abort = entryq_abort,
    .unlink = entryq_unlink,
};

/* What the task's coroutine awaits; it returns when the run ends. */
static PyObject *
entryq_run_queued_calls(PyObject *module, PyObject *noargs)
{
    return (PyObject *)tac_trap_new(tac_state_of_module(module), &entryq_ops,
                                    NULL, NULL);
}

int
tac_entryq_start(TacRunner *runner, TacNursery *nursery)
{
    PyObject *name = PyUnicode_FromString("<TrioToken.run_sync_soon task>");
    if (name == NULL) {
        return -1;
    }
    struct tac_spawn how = {.fn = runner->state->hook_run_sync_soon_task,
                            .name = name,
                            .nursery = nursery,
                            .system = true};
    TacTask *task = tac_task_spawn(runner, &how);
    Py_DECREF(name);
    Py_XDECREF(task);
    runner->entryq.started = task != NULL;
    return task == NULL ? -1 : 0;
}

/* TrioToken --------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    TacRunner *runner; /* owned; NULL after GC's clear */
    PyObject *weakrefs;
} TacTrioToken;

PyObject *
tac_trio_token_new(TacRunner *runner)
{
    PyTypeObject *type = runner->state->trio_token_type;
    TacTrioToken *token = (TacTrioToken *)type->tp_alloc(type, 0);
    if (token != NULL) {
        token->runner = (TacRunner *)Py_NewRef(runner);
    }
    return (PyObject *)token;
}

static const char *const token_names[] = {"idempotent", NULL};
static const struct tac_params token_params = {"run_sync_soon", 0, 0,
                                               token_names};

PyDoc_STRVAR(token_run_sync_soon_doc,
"run_sync_soon($self, sync_fn, /, *args, idempotent=False)\n--\n\n"
"Run ``sync_fn(*args)`` in the run's thread soon, in order of the calls.\n\n"
"idempotent: True to drop the call while an equal one is queued.\n"
"Raises: RunFinishedError once the run has ended.  An error of sync_fn ends\n"
"the run with TrioInternalError.\n"
"Checkpoint: no.  Thread-safe: yes, and legal in signal handlers.");

static PyObject *
token_run_sync_soon(TacTrioToken *token, PyObject *const *args,
                    Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *flag = Py_False;
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError,
                        "run_sync_soon() missing 1 required positional "
                        "argument: 'sync_fn'");
        return NULL;
    }
    if (tac_args_bind_keywords(&token_params, args, nargs, kwnames, &flag)
        < 0)
    {
        return NULL;
    }
    int idempotent = PyObject_IsTrue(flag);
    PyObject *call_args = idempotent < 0 ? NULL : PyTuple_New(nargs - 1);
    if (call_args == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 1; i < nargs; i++) {
        PyTuple_SET_ITEM(call_args, i - 1, Py_NewRef(args[i]));
    }
    int rc = tac_entryq_push(token->runner, args[0], call_args, idempotent);
    Py_DECREF(call_args);
    if (rc < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static int
token_tp_traverse(TacTrioToken *token, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(token));
    Py_VISIT(token->runner);
    return 0;
}

static void
token_tp_dealloc(TacTrioToken *token)
{
    PyTypeObject *type = Py_TYPE(token);
    PyObject_GC_UnTrack(token);
    if (token->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)token);
    }
    Py_CLEAR(token->runner);
    type->tp_free(token);
    Py_DECREF(type);
}

static PyMethodDef token_methods[] = {
    {"run_sync_soon", (PyCFunction)(void (*)(void))token_run_sync_soon,
     METH_FASTCALL | METH_KEYWORDS, token_run_sync_soon_doc},
    {NULL},
};

static PyMemberDef token_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TacTrioToken, weakrefs),
     READONLY},
    {NULL},
};

static PyType_Slot token_slots[] = {
    {Py_tp_doc, "The way into a run from other threads and signal handlers; "
                "from current_trio_token()."},
    {Py_tp_traverse, token_tp_traverse},
    {Py_tp_dealloc, token_tp_dealloc},
    {Py_tp_methods, token_methods},
    {Py_tp_members, token_members},
    {0, NULL},
};

static PyType_Spec token_spec = {
    .name = "trio_asyncio_c.TrioToken",
    .basicsize = sizeof(TacTrioToken),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = token_slots,
};

static PyMethodDef entryq_functions[] = {
    {"_run_queued_calls", entryq_run_queued_calls, METH_NOARGS,
     "_run_queued_calls()\n--\n\n"
     "Run what run_sync_soon() queues, till the run ends."},
    {NULL},
};

int
tac_entryq_add_types(PyObject *module, TacState *state)
{
    state->trio_token_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &token_spec, NULL);
    if (state->trio_token_type == NULL) {
        return -1;
    }
    if (PyModule_AddFunctions(module, entryq_functions) < 0) {
        return -1;
    }
    return PyModule_AddType(module, state->trio_token_type);
}
