/* module.c - the extension module: its state, and each layer's types. */
#include "state.h"

#include "aio/executor.h"
#include "aio/group.h"
#include "aio/handle.h"
#include "aio/loop.h"
#include "aio/reader.h"
#include "aio/scope_watch.h"
#include "aio/scoped.h"
#include "aio/sock.h"
#include "aio/sockcall.h"
#include "aio/thread_handle.h"
#include "aio/timer.h"
#include "base/asyncfn.h"
#include "base/compat.h"
#include "core/api.h"
#include "core/breaker.h"
#include "core/channel.h"
#include "core/context.h"
#include "core/entryq.h"
#include "core/event.h"
#include "core/lock.h"
#include "core/nursery.h"
#include "core/parking.h"
#include "core/run.h"
#include "core/run_guest.h"
#include "core/runvar.h"
#include "core/scope.h"
#include "core/semaphore.h"
#include "core/start.h"
#include "core/task.h"
#include "core/threads.h"
#include "core/timeout.h"
#include "core/trap.h"
#include "core/wait.h"
#include "cross/adapter.h"
#include "cross/aio_call.h"
#include "cross/aio_entry.h"
#include "cross/aio_iterator.h"
#include "cross/cross.h"
#include "cross/wait_future.h"
#include "net/feed.h"
#include "net/connect.h"
#include "net/listener.h"
#include "net/datagram.h"
#include "net/pipe.h"
#include "net/spare.h"
#include "net/server.h"
#include "net/stream.h"
#include "net/tls.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* What Python supplies ---------------------------------------------------- */

static int
module_intern_strings(TacState *state)
{
#define X(name)                                              \
    state->str_##name = PyUnicode_InternFromString(#name);   \
    if (state->str_##name == NULL) {                         \
        return -1;                                           \
    }
    TAC_INTERNED(X)
#undef X
    return 0;
}

static int
module_take_exceptions(TacState *state)
{
    PyObject *module = PyImport_ImportModule("trio_asyncio_c._exceptions");
    if (module == NULL) {
        return -1;
    }
    int rc = -1;
    PyObject *abort = PyObject_GetAttrString(module, "Abort");
#define X(name)                                                   \
    state->exc_##name = PyObject_GetAttrString(module, #name);    \
    if (state->exc_##name == NULL) {                              \
        goto done;                                                \
    }
    TAC_EXCEPTIONS(X)
#undef X
    if (abort == NULL) {
        goto done;
    }
    state->abort_succeeded = PyObject_GetAttrString(abort, "SUCCEEDED");
    state->abort_failed = PyObject_GetAttrString(abort, "FAILED");
    state->cancelled_create =
        PyObject_GetAttrString(state->exc_Cancelled, "_create");
    rc = state->abort_succeeded == NULL || state->abort_failed == NULL
                 || state->cancelled_create == NULL
             ? -1
             : 0;
done:
    Py_XDECREF(abort);
    Py_DECREF(module);
    return rc;
}

static PyObject *
module_builtin(const char *name)
{
    PyObject *builtins = PyImport_ImportModule("builtins");
    PyObject *value =
        builtins == NULL ? NULL : PyObject_GetAttrString(builtins, name);
    Py_XDECREF(builtins);
    return value;
}

static int
module_make_objects(TacState *state)
{
    tac_freelist_init(&state->free_traps);
    tac_freelist_init(&state->free_scopes);
    tac_freelist_init(&state->free_handles);
    tac_freelist_init(&state->free_sock_calls);
    tac_freelist_init(&state->free_thread_handles);
    state->cancelled_kwnames =
        PyTuple_Pack(3, state->str_source, state->str_reason,
                     state->str_source_task);
    state->exception_group = module_builtin("BaseExceptionGroup");
    state->idle_workers = PyList_New(0);
    PyObject *object_type = (PyObject *)&PyBaseObject_Type;
    state->marker = PyObject_CallNoArgs(object_type);
    state->context_kwnames = PyTuple_Pack(1, state->str_context);
    state->empty_context = PyContext_New();
    if (state->context_kwnames == NULL || state->empty_context == NULL
        || state->cancelled_kwnames == NULL || state->exception_group == NULL
        || state->idle_workers == NULL
        || state->marker == NULL)
    {
        return -1;
    }
    if (PyThread_tss_create(&state->runner_key) != 0) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(module_set_hooks_doc,
"_set_hooks(**functions)\n--\n\n"
"Hand over what the core takes from Python, functions mostly; any subset.\n"
"None takes one back.");

static PyObject *
module_set_hooks(PyObject *module, PyObject *args, PyObject *kwargs)
{
    TacState *state = tac_state_of_module(module);
    PyObject *name, *value;
    Py_ssize_t pos = 0;
    if (PyTuple_GET_SIZE(args) != 0) {
        PyErr_SetString(PyExc_TypeError,
                        "_set_hooks() takes keyword arguments only");
        return NULL;
    }
    while (kwargs != NULL && PyDict_Next(kwargs, &pos, &name, &value)) {
#define X(hook)                                                   \
        if (PyUnicode_CompareWithASCIIString(name, #hook) == 0) { \
            Py_XSETREF(state->hook_##hook,                        \
                       value == Py_None ? NULL : Py_NewRef(value)); \
            continue;                                             \
        }
        TAC_HOOKS(X)
#undef X
        PyErr_Format(PyExc_TypeError, "_set_hooks() has no hook '%U'", name);
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(module_debug_counts_doc,
"_debug_counts()\n--\n\n"
"A dict of how many objects of each of the core's types are alive.");

static PyObject *
module_debug_counts(PyObject *module, PyObject *noargs)
{
    struct tac_counts *c = &tac_state_of_module(module)->counts;
    return Py_BuildValue("{snsnsnsnsnsnsnsnsnsn}", "runners", c->runners,
                         "tasks", c->tasks, "nurseries", c->nurseries, "scopes",
                         c->scopes, "traps", c->traps, "handles", c->handles,
                         "watches", c->watches, "sock_calls", c->sock_calls,
                         "transports", c->transports,
                         "tls", c->tls);
}

PyDoc_STRVAR(module_debug_made_doc,
"_debug_made()\n--\n\n"
"A dict of how many connections of each kind were ever made.");

static PyObject *
module_debug_made(PyObject *module, PyObject *noargs)
{
    Py_ssize_t *made = tac_state_of_module(module)->counts.made;
    return Py_BuildValue("{snsnsnsnsn}", "stream", made[TAC_MADE_STREAM],
                         "datagram", made[TAC_MADE_DATAGRAM], "read pipe",
                         made[TAC_MADE_READ_PIPE], "write pipe",
                         made[TAC_MADE_WRITE_PIPE], "TLS",
                         made[TAC_MADE_TLS]);
}

PyDoc_STRVAR(module_after_fork_doc,
"_after_fork_in_child()\n--\n\n"
"Let go of what is the parent's: epoll sets, wake-ups, worker threads.");

static PyObject *
module_after_fork(PyObject *module, PyObject *noargs)
{
    TacState *state = tac_state_of_module(module);
    tac_runner_after_fork(state);
    if (PyList_SetSlice(state->idle_workers, 0, PY_SSIZE_T_MAX, NULL) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef module_functions[] = {
    {"_set_hooks", (PyCFunction)(void (*)(void))module_set_hooks,
     METH_VARARGS | METH_KEYWORDS, module_set_hooks_doc},
    {"_debug_counts", module_debug_counts, METH_NOARGS,
     module_debug_counts_doc},
    {"_debug_made", module_debug_made, METH_NOARGS, module_debug_made_doc},
    {"_after_fork_in_child", module_after_fork, METH_NOARGS,
     module_after_fork_doc},
    {NULL},
};

/* Setting up and tearing down --------------------------------------------- */

typedef int (*module_add_fn)(PyObject *module, TacState *state);

/* From the bottom layer up. */
static const module_add_fn module_parts[] = {
    tac_asyncfn_add_types,
    tac_trap_add_types,
    tac_scope_add_types,
    tac_cancel_status_add_types,
    tac_task_add_types,
    tac_ctask_add_types,
    tac_nursery_add_types,
    tac_start_add_types,
    tac_wait_add_types,
    tac_parking_add_types,
    tac_breaker_add_functions,
    tac_event_add_types,
    tac_lock_add_types,
    tac_semaphore_add_types,
    tac_channel_add_types,
    tac_timeout_add_functions,
    tac_runvar_add_types,
    tac_entryq_add_types,
    tac_threads_add_types,
    tac_run_add_types,
    tac_guest_add_functions,
    tac_api_add_functions,
    tac_context_add_functions,
    tac_handle_add_types,
    tac_timer_add_types,
    tac_thread_handle_add_types,
    tac_reader_add_types,
    tac_executor_add_types,
    tac_loop_add_types,
    tac_scoped_add_types,
    tac_group_add_types,
    tac_scope_watch_add_types,
    tac_sockcall_add_types,
    tac_sock_add_methods,
    tac_stream_add_types,
    tac_server_add_functions,
    tac_listener_add_types,
    tac_connect_add_types,
    tac_feed_add_functions,
    tac_tls_add_types,
    tac_tls_add_functions,
    tac_datagram_add_types,
    tac_pipe_add_types,
    tac_run_trio_add_types,
    tac_trio_future_add_types,
    tac_adapter_add_types,
    tac_aio_call_add_types,
    tac_aio_iterator_add_types,
    tac_aio_entry_add_types,
    tac_wait_future_add_types,
    tac_run_asyncio_add_types,
};

static int
module_exec(PyObject *module)
{
    TacState *state = tac_state_of_module(module);
    state->runner_key = (Py_tss_t)Py_tss_NEEDS_INIT;
    tac_list_init(&state->runners);
    if (module_intern_strings(state) < 0
        || module_take_exceptions(state) < 0
        || module_make_objects(state) < 0)
    {
        return -1;
    }
    size_t count = sizeof(module_parts) / sizeof(module_parts[0]);
    for (size_t i = 0; i < count; i++) {
        if (module_parts[i](module, state) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Every owned reference of the state, by the lists in state.h. */
#define MODULE_REFERENCES(state, TYPE, OBJECT, EXC, STR, HOOK) \
    TAC_TYPES(TYPE)                                            \
    TAC_OBJECTS(OBJECT)                                        \
    TAC_EXCEPTIONS(EXC)                                        \
    TAC_INTERNED(STR)                                          \
    TAC_HOOKS(HOOK)

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    TacState *state = tac_state_of_module(module);
    if (state == NULL) {
        return 0;
    }
#define TYPE(name) Py_VISIT(state->name##_type);
#define OBJECT(name) Py_VISIT(state->name);
#define EXC(name) Py_VISIT(state->exc_##name);
#define STR(name) Py_VISIT(state->str_##name);
#define HOOK(name) Py_VISIT(state->hook_##name);
    MODULE_REFERENCES(state, TYPE, OBJECT, EXC, STR, HOOK)
#undef TYPE
#undef OBJECT
#undef EXC
#undef STR
#undef HOOK
    return tac_breaker_traverse(state, visit, arg);
}

static int
module_clear(PyObject *module)
{
    TacState *state = tac_state_of_module(module);
    if (state == NULL) {
        return 0;
    }
    /* While their types are there; what dies later is not kept. */
    tac_freelist_cut(&state->free_traps, 0);
    tac_freelist_cut(&state->free_scopes, 0);
    tac_freelist_cut(&state->free_handles, 0);
    tac_freelist_cut(&state->free_sock_calls, 0);
    tac_freelist_cut(&state->free_thread_handles, 0);
    tac_breaker_clear(state);
#define TYPE(name) Py_CLEAR(state->name##_type);
#define OBJECT(name) Py_CLEAR(state->name);
#define EXC(name) Py_CLEAR(state->exc_##name);
#define STR(name) Py_CLEAR(state->str_##name);
#define HOOK(name) Py_CLEAR(state->hook_##name);
    MODULE_REFERENCES(state, TYPE, OBJECT, EXC, STR, HOOK)
#undef TYPE
#undef OBJECT
#undef EXC
#undef STR
#undef HOOK
    tac_spare_clear(state);
    return 0;
}

#undef MODULE_REFERENCES

static void
module_free(void *module)
{
    TacState *state = tac_state_of_module((PyObject *)module);
    if (state == NULL) {
        return;
    }
    (void)module_clear((PyObject *)module);
    free(state->read_buffer);
    state->read_buffer = NULL;
    PyMem_Free(state->openssl);
    free(state->datagram_buffer);
    state->datagram_buffer = NULL;
    PyThread_tss_delete(&state->runner_key);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

PyDoc_STRVAR(module_doc,
"The scheduler and the event loop in C; private: use the package's names.");

struct PyModuleDef tac_module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "trio_asyncio_c._core",
    .m_doc = module_doc,
    .m_size = sizeof(TacState),
    .m_methods = module_functions,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&tac_module_def);
}
