/* core/entryq.c - run_sync_soon and the C task that runs the calls.
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

static TacRunner *
entryq_runner(struct tac_entryq *queue)
{
    return tac_list_entry(queue, TacRunner, entryq);
}

static struct tac_entryq *
entryq_of(struct tac_task *task)
{
    return tac_list_entry(task, struct tac_entryq, task);
}

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
    tac_ctask_unlink(&queue->task);
    Py_CLEAR(queue->calls);
    Py_CLEAR(queue->idempotent);
}

int
tac_entryq_traverse(struct tac_entryq *queue, visitproc visit, void *arg)
{
    Py_VISIT(queue->calls);
    Py_VISIT(queue->idempotent);
    Py_VISIT(queue->task.parent_nursery);
    Py_VISIT(queue->task.scope);
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

int
tac_entryq_push(TacRunner *runner, PyObject *fn, PyObject *args,
                bool idempotent)
{
    struct tac_entryq *queue = &runner->entryq;
    if (queue->closed || queue->calls == NULL) {
        PyErr_SetString(runner->state->exc_RunFinishedError,
                        "run() has exited");
        return -1;
    }
    PyObject *call = PyTuple_Pack(2, fn, args);
    if (call == NULL) {
        return -1;
    }
    int rc = idempotent ? PyDict_SetItem(queue->idempotent, call, Py_None)
                        : PyList_Append(queue->calls, call);
    Py_DECREF(call);
    if (rc == 0) {
        tac_runner_wake(runner);
    }
    return rc;
}

static void
entryq_schedule(TacRunner *runner)
{
    struct tac_task *task = &runner->entryq.task;
    if (tac_list_is_linked(&task->run_node)) {
        return;
    }
    tac_task_make_runnable(task);
    if (tac_instruments_has(&runner->instruments, TAC_HOOK_TASK_SCHEDULED)) {
        tac_instruments_call_task(runner, TAC_HOOK_TASK_SCHEDULED, task);
    }
}

void
tac_entryq_drain(TacRunner *runner)
{
    struct tac_entryq *queue = &runner->entryq;
    if (queue->started && tac_entryq_size(queue) != 0) {
        entryq_schedule(runner);
    }
}

/* The task ---------------------------------------------------------------- */

/* Spawn a task that raises the error, where it brings the run down. */
static int
entryq_crash(TacRunner *runner, PyObject *error)
{
    TacNursery *nursery = runner->system_nursery;
    if (nursery == NULL || nursery->closed) {
        nursery = runner->entryq.task.parent_nursery;
    }
    struct tac_spawn how = {.fn = runner->state->hook_raise_error,
                            .args = &error,
                            .nargs = 1,
                            .nursery = nursery,
                            .system = true};
    TacTask *task = tac_task_spawn(runner, &how);
    Py_XDECREF(task);
    return task == NULL ? -1 : 0;
}

static int
entryq_run_call(TacRunner *runner, PyObject *call)
{
    PyObject *result = PyObject_CallObject(PyTuple_GET_ITEM(call, 0),
                                           PyTuple_GET_ITEM(call, 1));
    if (result != NULL) {
        Py_DECREF(result);
        return 0;
    }
    PyObject *error = PyErr_GetRaisedException();
    int rc = entryq_crash(runner, error);
    Py_DECREF(error);
    return rc;
}

static int
entryq_run_calls(TacRunner *runner)
{
    struct tac_entryq *queue = &runner->entryq;
    PyObject *calls = queue->calls;
    PyObject *fresh = PyList_New(0);
    if (fresh == NULL) {
        return -1;
    }
    queue->calls = fresh; /* the pass is what was there before */
    int rc = 0;
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(calls); i++) {
        rc = entryq_run_call(runner, PyList_GET_ITEM(calls, i));
    }
    Py_DECREF(calls);
    return rc;
}

static int
entryq_run_idempotent(TacRunner *runner)
{
    struct tac_entryq *queue = &runner->entryq;
    PyObject *calls = PyDict_Keys(queue->idempotent);
    if (calls == NULL) {
        return -1;
    }
    int rc = 0;
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(calls); i++) {
        PyObject *call = PyList_GET_ITEM(calls, i);
        rc = PyDict_DelItem(queue->idempotent, call);
        if (rc == 0) {
            rc = entryq_run_call(runner, call);
        }
    }
    Py_DECREF(calls);
    return rc;
}

static int
entryq_run_pass(TacRunner *runner)
{
    struct tac_entryq *queue = &runner->entryq;
    PyObject *context = runner->system_context;
    if (PyContext_Enter(context) < 0) {
        return -1;
    }
    int rc = entryq_run_calls(runner);
    if (rc == 0 && PyDict_GET_SIZE(queue->idempotent) != 0) {
        rc = entryq_run_idempotent(runner);
    }
    PyObject *error = rc < 0 ? PyErr_GetRaisedException() : NULL;
    if (PyContext_Exit(context) < 0) {
        rc = -1;
    }
    if (error != NULL) {
        PyErr_SetRaisedException(error);
    }
    return rc;
}

static int
entryq_stop(TacRunner *runner)
{
    struct tac_entryq *queue = &runner->entryq;
    while (tac_entryq_size(queue) != 0) {
        if (entryq_run_pass(runner) < 0) {
            return -1;
        }
    }
    queue->started = false;
    queue->closed = true;
    return tac_ctask_exit(&queue->task, NULL);
}

static int
entryq_step_body(TacRunner *runner)
{
    struct tac_entryq *queue = &runner->entryq;
    if (queue->stopping) {
        return entryq_stop(runner);
    }
    if (entryq_run_pass(runner) < 0) {
        return -1;
    }
    if (tac_entryq_size(queue) != 0) {
        tac_runner_wake(runner);
    }
    queue->task.abortable = true;
    return tac_task_deliver_cancel(&queue->task);
}

static int
entryq_step(struct tac_task *task)
{
    TacRunner *runner = entryq_runner(entryq_of(task));
    if (runner->home != NULL && runner->enter_home != NULL
        && runner->enter_home(runner, NULL) < 0)
    {
        return -1;
    }
    return entryq_step_body(runner);
}

/* The run is over: what is queued still runs, then the task ends. */
static int
entryq_cancel(struct tac_task *task, const struct tac_cause *cause)
{
    entryq_of(task)->stopping = true;
    entryq_schedule(task->runner);
    return 0;
}

static PyObject *
entryq_owner(struct tac_task *task)
{
    return (PyObject *)entryq_runner(entryq_of(task));
}

static PyObject *
entryq_object(struct tac_task *task)
{
    return tac_native_task(entryq_runner(entryq_of(task))->state, task);
}

static const struct tac_task_ops entryq_ops = {
    .name = "<TrioToken.run_sync_soon task>",
    .step = entryq_step,
    .cancel = entryq_cancel,
    .owner = entryq_owner,
    .object = entryq_object,
    .library = "trio",
};

int
tac_entryq_start(TacRunner *runner, TacNursery *nursery)
{
    struct tac_entryq *queue = &runner->entryq;
    tac_ctask_start(&queue->task, &entryq_ops, runner, nursery);
    queue->started = true;
    if (tac_instruments_has(&runner->instruments, TAC_HOOK_TASK_SPAWNED)) {
        tac_instruments_call_task(runner, TAC_HOOK_TASK_SPAWNED,
                                  &queue->task);
    }
    entryq_schedule(runner);
    return 0;
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

int
tac_entryq_add_types(PyObject *module, TacState *state)
{
    state->trio_token_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &token_spec, NULL);
    if (state->trio_token_type == NULL) {
        return -1;
    }
    return PyModule_AddType(module, state->trio_token_type);
}
