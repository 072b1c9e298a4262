/* core/threads.c - a cache of worker threads.
 *
 * Each worker is a Python thread (so that threading and debuggers know it)
 * that runs worker_main below.  A worker is handed its job by releasing the
 * lock that it waits for; all else is guarded by the GIL.
 *
 *   I1  a worker is in state->idle_workers iff it has no job and waits.
 */
#include "core/threads.h"

#include "base/compat.h"
#include "base/errors.h"

#include <stdbool.h>
#include <structmember.h>
#if defined(__linux__)
#include <sys/prctl.h>
#elif defined(__APPLE__)
#include <pthread.h>
#endif

#define THREADS_IDLE_TIMEOUT_US 10000000 /* 10 s */

typedef struct {
    PyObject_HEAD
    TacState *state;         /* borrowed: the type holds the module */
    PyThread_type_lock lock; /* owned; released to hand over a job */
    tac_job_fn run;          /* the job; NULL: idle */
    PyObject *owner;         /* owned: of the job */
    PyObject *thread;        /* owned: what hook_new_thread returned */
} TacWorker;

static TacWorker *
worker_new(TacState *state)
{
    PyTypeObject *type = state->worker_type;
    TacWorker *worker = (TacWorker *)type->tp_alloc(type, 0);
    if (worker == NULL) {
        return NULL;
    }
    worker->state = state;
    worker->lock = PyThread_allocate_lock();
    if (worker->lock == NULL) {
        Py_DECREF(worker);
        PyErr_NoMemory();
        return NULL;
    }
    PyThread_acquire_lock(worker->lock, WAIT_LOCK);
    return worker;
}

static bool
worker_wait(TacWorker *worker, PY_TIMEOUT_T timeout_us)
{
    PyLockStatus status;
    Py_BEGIN_ALLOW_THREADS
    status = PyThread_acquire_lock_timed(worker->lock, timeout_us, 0);
    Py_END_ALLOW_THREADS
    return status == PY_LOCK_ACQUIRED;
}

/* True if the worker was idle; then nobody can hand it a job any more. */
static bool
worker_retire(TacWorker *worker)
{
    PyObject *idle = worker->state->idle_workers;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(idle); i++) {
        if (PyList_GET_ITEM(idle, i) == (PyObject *)worker) {
            if (PyList_SetSlice(idle, i, i + 1, NULL) < 0) {
                PyErr_Clear();
            }
            return true;
        }
    }
    return false;
}

static void
worker_set_idle(TacWorker *worker)
{
    if (PyList_Append(worker->state->idle_workers, (PyObject *)worker) < 0) {
        PyErr_Clear(); /* it ends at its time-out */
    }
}

static void
worker_run_job(TacWorker *worker)
{
    tac_job_fn run = worker->run;
    PyObject *owner = worker->owner;
    worker->run = NULL;
    worker->owner = NULL;
    run(owner);
    if (PyErr_Occurred()) {
        tac_err_report(owner);
    }
    Py_DECREF(owner);
}

static PyObject *
worker_main(TacWorker *worker, PyObject *noargs)
{
    for (;;) {
        if (!worker_wait(worker, THREADS_IDLE_TIMEOUT_US)) {
            if (worker_retire(worker) || worker->run == NULL) {
                Py_RETURN_NONE;
            }
            (void)worker_wait(worker, -1); /* a job came just now */
        }
        if (worker->run == NULL) {
            Py_RETURN_NONE;
        }
        worker_run_job(worker);
        if (worker->state->workers_retired) {
            Py_RETURN_NONE;
        }
        worker_set_idle(worker);
    }
}

static TacWorker *
worker_take_idle(TacState *state)
{
    Py_ssize_t count = PyList_GET_SIZE(state->idle_workers);
    if (count == 0) {
        return NULL;
    }
    PyObject *worker =
        Py_NewRef(PyList_GET_ITEM(state->idle_workers, count - 1));
    if (PyList_SetSlice(state->idle_workers, count - 1, count, NULL) < 0) {
        Py_CLEAR(worker);
        PyErr_Clear();
    }
    return (TacWorker *)worker;
}

/* A new worker, with a thread that runs it. */
static TacWorker *
worker_launch(TacState *state)
{
    TacWorker *worker = worker_new(state);
    if (worker == NULL) {
        return NULL;
    }
    PyObject *main_fn = PyObject_GetAttrString((PyObject *)worker, "main");
    PyObject *thread =
        main_fn == NULL
            ? NULL
            : PyObject_CallOneArg(state->hook_new_thread, main_fn);
    Py_XDECREF(main_fn);
    if (thread == NULL) {
        Py_CLEAR(worker);
    }
    else {
        worker->thread = thread;
    }
    return worker;
}

int
tac_threads_start(TacState *state, tac_job_fn run, PyObject *owner)
{
    TacWorker *worker = worker_take_idle(state);
    if (worker == NULL) {
        worker = worker_launch(state);
    }
    if (worker == NULL) {
        return -1;
    }
    worker->run = run;
    worker->owner = Py_NewRef(owner);
    PyThread_release_lock(worker->lock);
    Py_DECREF(worker);
    return 0;
}

static void
worker_tp_dealloc(TacWorker *worker)
{
    PyTypeObject *type = Py_TYPE(worker);
    PyObject_GC_UnTrack(worker);
    Py_CLEAR(worker->owner);
    Py_CLEAR(worker->thread);
    if (worker->lock != NULL) {
        PyThread_release_lock(worker->lock);
        PyThread_free_lock(worker->lock);
    }
    type->tp_free(worker);
    Py_DECREF(type);
}

static int
worker_tp_traverse(TacWorker *worker, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(worker));
    Py_VISIT(worker->owner);
    Py_VISIT(worker->thread);
    return 0;
}

static PyMethodDef worker_methods[] = {
    {"main", (PyCFunction)worker_main, METH_NOARGS, NULL},
    {NULL},
};

static PyType_Slot worker_slots[] = {
    {Py_tp_doc, "A worker thread's side of the thread cache."},
    {Py_tp_dealloc, worker_tp_dealloc},
    {Py_tp_traverse, worker_tp_traverse},
    {Py_tp_methods, worker_methods},
    {0, NULL},
};

static PyType_Spec worker_spec = {
    .name = "trio_asyncio_c._core.Worker",
    .basicsize = sizeof(TacWorker),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = worker_slots,
};

/* start_thread_soon(fn, deliver, name=None) ------------------------------- */

/* owner: the tuple (fn, deliver, name). */
static void
threads_run_python(PyObject *owner)
{
    PyObject *run = PyTuple_GET_ITEM(owner, 3);
    PyObject *args[3];
    for (int i = 0; i < 3; i++) {
        args[i] = PyTuple_GET_ITEM(owner, i);
    }
    PyObject *result = PyObject_Vectorcall(run, args, 3, NULL);
    Py_XDECREF(result);
}

PyDoc_STRVAR(threads_start_doc,
"start_thread_soon(fn, deliver, name=None)\n--\n\n"
"Run ``fn()`` in a worker thread, then ``deliver(outcome)`` there.\n\n"
"name: a str for the thread meanwhile.  An error of deliver is reported to\n"
"sys.unraisablehook.  Checkpoint: no.  Thread-safe: yes.");

static PyObject *
threads_py_start(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = { /* cstyle: mutable: PyArg's type */
        "fn", "deliver", "name", NULL};
    TacState *state = tac_state_of_module(module);
    PyObject *fn, *deliver, *name = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|O:start_thread_soon",
                                     names, &fn, &deliver, &name))
    {
        return NULL;
    }
    PyObject *owner =
        PyTuple_Pack(4, fn, deliver, name, state->hook_run_in_thread);
    int rc = owner == NULL
                 ? -1
                 : tac_threads_start(state, threads_run_python, owner);
    Py_XDECREF(owner);
    if (rc < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(threads_end_idle_doc,
"_end_idle_workers()\n--\n\n"
"Let idle worker threads end now; returns a list of their Thread objects.");

static PyObject *
threads_end_idle(PyObject *module, PyObject *noargs)
{
    TacState *state = tac_state_of_module(module);
    PyObject *threads = PyList_New(0);
    TacWorker *worker;
    while (threads != NULL && (worker = worker_take_idle(state)) != NULL) {
        if (PyList_Append(threads, worker->thread) < 0) {
            Py_CLEAR(threads);
        }
        PyThread_release_lock(worker->lock); /* with no job */
        Py_DECREF(worker);
    }
    return threads;
}

PyDoc_STRVAR(threads_retire_doc,
"_retire_workers()\n--\n\n"
"Let idle worker threads end now, and the others with their jobs.");

static PyObject *
threads_retire(PyObject *module, PyObject *noargs)
{
    tac_state_of_module(module)->workers_retired = 1;
    PyObject *threads = threads_end_idle(module, NULL);
    if (threads == NULL) {
        return NULL;
    }
    Py_DECREF(threads);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(threads_set_os_name_doc,
"_set_os_thread_name(name, /)\n--\n\n"
"Name the calling thread for the operating system's tools; at most 15 bytes\n"
"of ASCII are kept, other characters become '?'.");

static PyObject *
threads_set_os_name(PyObject *module, PyObject *name)
{
    PyObject *bytes =
        PyUnicode_AsEncodedString(name, "ascii", "replace");
    if (bytes == NULL) {
        return NULL;
    }
    char short_name[16];
    PyOS_snprintf(short_name, sizeof(short_name), "%.15s",
                  PyBytes_AS_STRING(bytes));
    Py_DECREF(bytes);
#if defined(__linux__)
    (void)prctl(PR_SET_NAME, short_name, 0, 0, 0);
#elif defined(__APPLE__)
    (void)pthread_setname_np(short_name);
#endif
    Py_RETURN_NONE;
}

static PyMethodDef threads_functions[] = {
    {"_end_idle_workers", threads_end_idle, METH_NOARGS,
     threads_end_idle_doc},
    {"_retire_workers", threads_retire, METH_NOARGS, threads_retire_doc},
    {"_set_os_thread_name", threads_set_os_name, METH_O,
     threads_set_os_name_doc},
    {"start_thread_soon", (PyCFunction)(void (*)(void))threads_py_start,
     METH_VARARGS | METH_KEYWORDS, threads_start_doc},
    {NULL},
};

int
tac_threads_add_types(PyObject *module, TacState *state)
{
    state->worker_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &worker_spec, NULL);
    if (state->worker_type == NULL) {
        return -1;
    }
    return PyModule_AddFunctions(module, threads_functions);
}

#undef THREADS_IDLE_TIMEOUT_US
