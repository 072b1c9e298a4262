/* aio/executor.c - run_in_executor(None, ...) on the core's worker threads.
 *
 *   QUEUED --start--> RUNNING (in a worker) --push--> FINISHED (in the ring)
 *
 * A job whose Future was cancelled while it was QUEUED never runs; one whose
 * Future was cancelled while it ran is finished unheard, as a thread cannot
 * be interrupted.
 */
#include "aio/executor.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/gate.h"
#include "core/threads.h"

#include <unistd.h>

typedef struct TacExecutorJob {
    PyObject_HEAD
    struct tac_task task;  /* started while RUNNING */
    struct tac_list node;  /* in loop->jobs while QUEUED, which owns us;
                              in loop->running while RUNNING */
    TacLoop *loop;         /* owned */
    PyObject *future;      /* owned */
    PyObject *fn;          /* owned till it was called */
    PyObject *args;        /* owned tuple */
    PyObject *value;       /* owned; the outcome */
    PyObject *error;       /* owned; the outcome */
} TacExecutorJob;

/* The C task -------------------------------------------------------------- */

static TacExecutorJob *
executor_job_of(struct tac_task *task)
{
    return tac_list_entry(task, TacExecutorJob, task);
}

static int
executor_step(struct tac_task *task)
{
    return 0; /* never runnable: its end comes through the ring */
}

static int
executor_cancel(struct tac_task *task, const struct tac_cause *cause)
{
    return 0; /* a thread cannot be cancelled */
}

static PyObject *
executor_owner(struct tac_task *task)
{
    return (PyObject *)executor_job_of(task);
}

static PyObject *
executor_object(struct tac_task *task)
{
    return tac_native_task(executor_job_of(task)->loop->state, task);
}

static const struct tac_task_ops executor_ops = {
    .name = "<asyncio executor job>",
    .step = executor_step,
    .cancel = executor_cancel,
    .owner = executor_owner,
    .object = executor_object,
};

/* In the worker ----------------------------------------------------------- */

static int executor_finish(PyObject *owner);

static void
executor_run_job(TacExecutorJob *job)
{
    job->value = PyObject_CallObject(job->fn, job->args);
    if (job->value == NULL) {
        job->error = PyErr_GetRaisedException();
    }
    /* What the call held dies here, in the thread that used it. */
    Py_CLEAR(job->fn);
    Py_CLEAR(job->args);
}

/* Is nobody left to hear of jobs? */
static bool
executor_is_unheard(const TacLoop *loop)
{
    return loop->closed || loop->host.runner == NULL;
}

/* Is the Future done?  1, 0, or -1 with an exception. */
static int
executor_is_done(TacExecutorJob *job)
{
    PyObject *done = PyObject_CallMethodNoArgs(job->future,
                                               job->loop->state->str_done);
    int is_done = done == NULL ? -1 : PyObject_IsTrue(done);
    Py_XDECREF(done);
    return is_done;
}

/* Run what a closed loop has left behind. */
static void
executor_run_rest(TacLoop *loop)
{
    struct tac_list *node;
    while (executor_is_unheard(loop)
           && (node = tac_list_pop_front(&loop->jobs)) != NULL)
    {
        TacExecutorJob *job = tac_list_entry(node, TacExecutorJob, node);
        int done = executor_is_done(job);
        if (done < 0) {
            PyErr_WriteUnraisable((PyObject *)job);
        }
        else if (!done) {
            executor_run_job(job);
        }
        Py_DECREF(job); /* the list's */
    }
}

/* Jobs of another process, of which this one is a fork, never end here. */
static void
executor_check_process(TacState *state)
{
    long pid = (long)getpid();
    if (state->executor_pid != pid) {
        state->executor_pid = pid;
        state->executor_busy = 0;
        state->executor_gate = NULL;
    }
}

static void
executor_begin_work(TacLoop *loop)
{
    executor_check_process(loop->state);
    loop->state->executor_busy++;
    loop->jobs_busy++;
}

static void
executor_end_work(TacLoop *loop)
{
    TacState *state = loop->state;
    loop->jobs_busy--;
    executor_check_process(state);
    if (--state->executor_busy == 0 && state->executor_gate != NULL) {
        struct tac_gate *gate = state->executor_gate;
        state->executor_gate = NULL;
        tac_gate_open(gate);
    }
}

static void
executor_work(PyObject *owner)
{
    TacExecutorJob *job = (TacExecutorJob *)owner;
    TacLoop *loop = (TacLoop *)Py_NewRef(job->loop);
    executor_run_job(job);
    if (executor_is_unheard(loop)) {
        executor_run_rest(loop);
    }
    else if (tac_loop_push_threadsafe(loop, executor_finish, owner) < 0) {
        PyErr_WriteUnraisable(owner);
    }
    executor_end_work(loop);
    Py_DECREF(loop);
}

static void
executor_work_off(PyObject *owner)
{
    TacLoop *loop = (TacLoop *)owner;
    executor_run_rest(loop);
    executor_end_work(loop);
}

/* Have a worker run `fn`.  0, or -1 with an exception. */
static int
executor_start_worker(TacLoop *loop, tac_job_fn fn, PyObject *owner)
{
    executor_begin_work(loop);
    if (tac_threads_start(loop->state, fn, owner) < 0) {
        executor_end_work(loop);
        return -1;
    }
    return 0;
}

/* In the loop ------------------------------------------------------------- */

static int
executor_start(TacExecutorJob *job)
{
    TacLoop *loop = job->loop;
    if (executor_start_worker(loop, executor_work, (PyObject *)job) < 0) {
        return -1;
    }
    loop->jobs_running++;
    loop->runner->clock_holds++;
    tac_list_append(&loop->running, &job->node);
    tac_ctask_start(&job->task, &executor_ops, loop->runner, loop->nursery);
    return 0;
}

/* What a Future cannot hold, or asyncio has another class for, is converted
 * by the standard library's own rules; StopIteration would end the coroutine
 * that awaits it. */
static int
executor_convert_error(TacExecutorJob *job)
{
    PyObject *error = job->error;
    PyObject *converted = NULL;
    if (PyErr_GivenExceptionMatches(error, PyExc_StopIteration)) {
        converted = PyObject_CallFunction(
            PyExc_RuntimeError, "s",
            "StopIteration interacts badly with generators and cannot be "
            "raised into a Future");
        if (converted != NULL) {
            PyException_SetCause(converted, Py_NewRef(error));
            PyException_SetContext(converted, Py_NewRef(error));
        }
    }
    else {
        PyObject *futures = PyImport_ImportModule("asyncio.futures");
        if (futures != NULL) {
            converted = PyObject_CallMethod(futures, "_convert_future_exc",
                                            "O", error);
            Py_DECREF(futures);
        }
    }
    if (converted == NULL) {
        return -1;
    }
    Py_SETREF(job->error, converted);
    return 0;
}

static int
executor_resolve(TacExecutorJob *job)
{
    TacState *state = job->loop->state;
    int done = executor_is_done(job);
    if (done != 0) {
        return done < 0 ? -1 : 0;
    }
    if (job->error != NULL && executor_convert_error(job) < 0) {
        return -1;
    }
    PyObject *result =
        job->error == NULL
            ? PyObject_CallMethodOneArg(job->future, state->str_set_result,
                                        job->value)
            : PyObject_CallMethodOneArg(
                  job->future, state->str_set_exception, job->error);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Give the free thread to the next job that somebody still waits for. */
static int
executor_start_next(TacLoop *loop)
{
    while (loop->jobs_running < loop->jobs_limit) {
        struct tac_list *node = tac_list_pop_front(&loop->jobs);
        if (node == NULL) {
            return 0;
        }
        TacExecutorJob *job = tac_list_entry(node, TacExecutorJob, node);
        int rc = executor_is_done(job);
        if (rc == 0) {
            rc = executor_start(job);
        }
        Py_DECREF(job); /* the list's; a worker has its own */
        if (rc < 0) {
            return -1;
        }
    }
    return 0;
}

static int
executor_tell_waiter(TacLoop *loop)
{
    PyObject *waiter = loop->jobs_waiter;
    if (waiter == NULL || tac_executor_count(loop) != 0) {
        return 0;
    }
    loop->jobs_waiter = NULL;
    PyObject *result = PyObject_CallMethodOneArg(
        waiter, loop->state->str_set_result, Py_None);
    if (result == NULL) {
        PyErr_Clear(); /* it was cancelled */
    }
    Py_XDECREF(result);
    Py_DECREF(waiter);
    return 0;
}

static int
executor_finish(PyObject *owner)
{
    TacExecutorJob *job = (TacExecutorJob *)owner;
    TacLoop *loop = job->loop;
    loop->jobs_running--;
    loop->runner->clock_holds--;
    tac_list_unlink(&job->node);
    int rc = tac_ctask_exit(&job->task, NULL);
    if (rc == 0) {
        rc = executor_resolve(job);
    }
    Py_CLEAR(job->value);
    Py_CLEAR(job->error);
    Py_CLEAR(job->future);
    if (rc == 0) {
        rc = executor_start_next(loop);
    }
    return rc == 0 ? executor_tell_waiter(loop) : rc;
}

/* The methods ------------------------------------------------------------- */

static TacExecutorJob *
executor_job_new(TacLoop *loop, PyObject *fn, PyObject *const *args,
                 Py_ssize_t nargs)
{
    PyTypeObject *type = loop->state->executor_job_type;
    TacExecutorJob *job = (TacExecutorJob *)type->tp_alloc(type, 0);
    if (job == NULL) {
        return NULL;
    }
    job->loop = (TacLoop *)Py_NewRef(loop);
    job->fn = Py_NewRef(fn);
    job->args = PyTuple_New(nargs);
    job->future = PyObject_CallMethodNoArgs((PyObject *)loop,
                                            loop->state->str_create_future);
    if (job->args == NULL || job->future == NULL) {
        Py_DECREF(job);
        return NULL;
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        PyTuple_SET_ITEM(job->args, i, Py_NewRef(args[i]));
    }
    return job;
}

static PyObject *
executor_submit(TacLoop *loop, PyObject *fn, PyObject *const *args,
                Py_ssize_t nargs)
{
    TacExecutorJob *job = executor_job_new(loop, fn, args, nargs);
    if (job == NULL || tac_loop_check_open(loop) < 0) {
        Py_XDECREF(job); /* create_future() can have closed the loop */
        return NULL;
    }
    PyObject *future = Py_NewRef(job->future);
    if (loop->jobs_running >= loop->jobs_limit) {
        tac_list_append(&loop->jobs, &job->node); /* takes the reference */
        return future;
    }
    if (executor_start(job) < 0) {
        Py_CLEAR(future);
    }
    Py_DECREF(job);
    return future;
}

/* Is the default executor wanted, and is it ours?  1, 0, or -1 with an
 * exception. */
static int
executor_is_ours(TacLoop *loop, PyObject *executor)
{
    if (executor != Py_None) {
        return 0;
    }
    PyObject *own =
        PyObject_GetAttrString((PyObject *)loop, "_default_executor");
    PyObject *checked = NULL;
    if (own != NULL) {
        checked = PyObject_CallMethod((PyObject *)loop,
                                      "_check_default_executor", NULL);
    }
    int ours = checked == NULL ? -1 : own == Py_None;
    Py_XDECREF(checked);
    Py_XDECREF(own);
    return ours;
}

/* Call the loop's method for executors that are not the C one. */
static PyObject *
executor_run_other(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *general =
        PyObject_GetAttrString((PyObject *)loop, "_run_in_other_executor");
    PyObject *future =
        general == NULL ? NULL
                        : PyObject_Vectorcall(general, args, nargs, NULL);
    Py_XDECREF(general);
    return future;
}

/* `args`: the executor, the function, and its arguments. */
static PyObject *
executor_run(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs)
{
    if (tac_loop_check_open(loop) < 0) {
        return NULL;
    }
    int ours = executor_is_ours(loop, args[0]);
    if (ours <= 0) {
        return ours < 0 ? NULL : executor_run_other(loop, args, nargs);
    }
    if (loop->debug) {
        PyObject *done = PyObject_CallMethod(
            (PyObject *)loop, "_check_callback", "Os", args[1],
            "run_in_executor");
        if (done == NULL) {
            return NULL;
        }
        Py_DECREF(done);
    }
    return executor_submit(loop, args[1], args + 2, nargs - 2);
}

/* Sort the keywords: `bound` gets the executor and the function (borrowed),
 * `own` the function's (owned dict, or NULL).  0, or -1. */
static int
executor_sort_names(PyObject *const *values, PyObject *kwnames,
                    PyObject *bound[2], PyObject **own)
{
    static const char *const names[] = {"executor", "func"};
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        int which = 0;
        while (which < 2
               && PyUnicode_CompareWithASCIIString(name, names[which]) != 0)
        {
            which++;
        }
        if (which < 2 && bound[which] != NULL) {
            PyErr_Format(PyExc_TypeError,
                         "run_in_executor() got multiple values for "
                         "argument '%U'",
                         name);
            return -1;
        }
        if (which < 2) {
            bound[which] = values[i];
            continue;
        }
        if (*own == NULL) {
            *own = PyDict_New();
        }
        if (*own == NULL || PyDict_SetItem(*own, name, values[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Executor and function may be given by name, and the function has keywords
 * of its own; or something is missing. */
static PyObject *
executor_run_named(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    PyObject *bound[2] = {nargs > 0 ? args[0] : NULL,
                          nargs > 1 ? args[1] : NULL};
    PyObject *own = NULL, *partial = NULL, *packed = NULL, *future = NULL;
    if (kwnames != NULL
        && executor_sort_names(args + nargs, kwnames, bound, &own) < 0)
    {
        goto done;
    }
    if (bound[0] == NULL || bound[1] == NULL) {
        PyErr_Format(PyExc_TypeError,
                     "run_in_executor() missing required argument '%s'",
                     bound[0] == NULL ? "executor" : "func");
        goto done;
    }
    partial = own == NULL ? Py_NewRef(bound[1])
                          : tac_args_partial(bound[1], own);
    Py_ssize_t rest = nargs > 2 ? nargs - 2 : 0;
    packed = PyTuple_New(2 + rest);
    if (partial == NULL || packed == NULL) {
        goto done;
    }
    PyTuple_SET_ITEM(packed, 0, Py_NewRef(bound[0]));
    PyTuple_SET_ITEM(packed, 1, Py_NewRef(partial));
    for (Py_ssize_t i = 0; i < rest; i++) {
        PyTuple_SET_ITEM(packed, 2 + i, Py_NewRef(args[2 + i]));
    }
    future = executor_run(loop, &PyTuple_GET_ITEM(packed, 0), 2 + rest);
done:
    Py_XDECREF(packed);
    Py_XDECREF(partial);
    Py_XDECREF(own);
    return future;
}

PyObject *
tac_executor_run(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    return nargs < 2 || kwnames != NULL
               ? executor_run_named(loop, args, nargs, kwnames)
               : executor_run(loop, args, nargs);
}

PyObject *
tac_executor_when_done(TacLoop *loop, PyObject *future)
{
    Py_XSETREF(loop->jobs_waiter, Py_NewRef(future));
    if (executor_tell_waiter(loop) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

Py_ssize_t
tac_executor_count(const TacLoop *loop)
{
    Py_ssize_t count = loop->jobs_running;
    const struct tac_list *head = &loop->jobs;
    for (const struct tac_list *n = head->next; n != head; n = n->next) {
        count++;
    }
    return count;
}

int
tac_executor_leave_behind(TacLoop *loop)
{
    if (tac_list_is_empty(&loop->jobs) || loop->jobs_busy != 0) {
        return 0;
    }
    return executor_start_worker(loop, executor_work_off, (PyObject *)loop);
}

void
tac_executor_drop_all(TacLoop *loop)
{
    struct tac_list *node;
    while (loop->jobs_busy == 0
           && (node = tac_list_pop_front(&loop->jobs)) != NULL) {
        Py_DECREF(tac_list_entry(node, TacExecutorJob, node));
    }
    while ((node = tac_list_pop_front(&loop->running)) != NULL) {
        TacExecutorJob *job = tac_list_entry(node, TacExecutorJob, node);
        loop->runner->clock_holds--;
        if (tac_ctask_exit(&job->task, NULL) < 0) {
            PyErr_WriteUnraisable((PyObject *)loop);
        }
    }
    loop->jobs_running = 0;
}

int
tac_executor_traverse_all(TacLoop *loop, visitproc visit, void *arg)
{
    struct tac_list *head = &loop->jobs;
    for (struct tac_list *n = head->next; n != NULL && n != head; n = n->next)
    {
        Py_VISIT((PyObject *)tac_list_entry(n, TacExecutorJob, node));
    }
    return 0;
}

/* The Python type --------------------------------------------------------- */

static int
executor_tp_traverse(TacExecutorJob *job, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(job));
    Py_VISIT((PyObject *)job->loop);
    Py_VISIT(job->future);
    Py_VISIT(job->fn);
    Py_VISIT(job->args);
    Py_VISIT(job->value);
    Py_VISIT(job->error);
    return 0;
}

static int
executor_tp_clear(TacExecutorJob *job)
{
    Py_CLEAR(job->future);
    Py_CLEAR(job->fn);
    Py_CLEAR(job->args);
    Py_CLEAR(job->value);
    Py_CLEAR(job->error);
    return 0;
}

static void
executor_tp_dealloc(TacExecutorJob *job)
{
    PyTypeObject *type = Py_TYPE(job);
    PyObject_GC_UnTrack(job);
    tac_list_unlink(&job->node);
    tac_ctask_unlink(&job->task);
    (void)executor_tp_clear(job);
    Py_CLEAR(job->loop);
    type->tp_free(job);
    Py_DECREF(type);
}

PyDoc_STRVAR(executor_doc, "A call that run_in_executor() is doing.");

static PyType_Slot executor_slots[] = {
    {Py_tp_doc, (void *)executor_doc},
    {Py_tp_traverse, executor_tp_traverse},
    {Py_tp_clear, executor_tp_clear},
    {Py_tp_dealloc, executor_tp_dealloc},
    {0, NULL},
};

static PyType_Spec executor_spec = {
    .name = "trio_asyncio_c._core.ExecutorJob",
    .basicsize = sizeof(TacExecutorJob),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = executor_slots,
};

/* Module function: what the interpreter's exit waits for. */
static PyObject *
executor_wait_jobs(PyObject *module, PyObject *noargs)
{
    TacState *state = tac_state_of_module(module);
    for (;;) {
        executor_check_process(state);
        if (state->executor_busy == 0) {
            Py_RETURN_NONE;
        }
        if (state->executor_gate == NULL) {
            state->executor_gate = tac_gate_new();
        }
        if (state->executor_gate == NULL
            || (!tac_gate_pass(state->executor_gate)
                && PyErr_CheckSignals() < 0))
        {
            return NULL;
        }
    }
}

static PyMethodDef executor_functions[] = {
    {"wait_executor_jobs", executor_wait_jobs, METH_NOARGS,
     "wait_executor_jobs($module, /)\n--\n\n"
     "Block until no run_in_executor(None, ...) job of this process is in a\n"
     "thread."},
    {NULL},
};

int
tac_executor_add_types(PyObject *module, TacState *state)
{
    state->executor_job_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &executor_spec, NULL);
    if (state->executor_job_type == NULL) {
        return -1;
    }
    return PyModule_AddFunctions(module, executor_functions);
}
