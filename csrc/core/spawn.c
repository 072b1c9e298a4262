/* core/spawn.c - making tasks: from an async function to a runnable task.
 *
 * The usual case, a plain `async def` function, is called directly: calling
 * it runs none of its body.  Everything else (partials, sync functions that
 * return awaitables, mistakes such as passing a coroutine) goes through a
 * Python helper that words the errors, called in the new task's context.
 */
#include "base/asyncfn.h"
#include "base/compat.h"
#include "core/nursery.h"
#include "core/run.h"
#include "core/scope.h"
#include "core/task.h"
#include "core/trap.h"

static inline bool
spawn_is_async_def(PyObject *fn)
{
    if (!PyFunction_Check(fn)) {
        return false;
    }
    PyCodeObject *code = (PyCodeObject *)PyFunction_GET_CODE(fn);
    return (code->co_flags & CO_COROUTINE) != 0;
}

/* hook(fn, *args, **kwargs): the helper takes what it shall call first. */
static PyObject *
spawn_call_hook(PyObject *hook, const struct tac_spawn *how)
{
    Py_ssize_t keywords =
        how->kwnames == NULL ? 0 : PyTuple_GET_SIZE(how->kwnames);
    Py_ssize_t total = how->nargs + keywords;
    PyObject **args = PyMem_New(PyObject *, total + 1);
    if (args == NULL) {
        return PyErr_NoMemory();
    }
    args[0] = how->fn;
    for (Py_ssize_t i = 0; i < total; i++) {
        args[i + 1] = how->args[i];
    }
    PyObject *coro = PyObject_Vectorcall(hook, args, how->nargs + 1,
                                         how->kwnames);
    PyMem_Free(args);
    return coro;
}

/* Is it an async function in C of our own, whose awaitable does nothing
 * before it is awaited? */
static bool
spawn_is_trap_maker(TacState *state, PyObject *fn)
{
    return Py_IS_TYPE(fn, state->async_function_type)
           && tac_asyncfn_is_builtin(fn);
}

/* Steals `coro`, which may be NULL+exc.  Returns: new ref | NULL+exc. */
static PyObject *
spawn_wrap(TacState *state, PyObject *coro)
{
    if (coro == NULL || PyCoro_CheckExact(coro)) {
        return coro;
    }
    /* A C awaitable, a Cython coroutine, ...: introspection wants frames. */
    tac_trap_adopt(state, coro);
    PyObject *wrapped = PyObject_CallOneArg(state->hook_wrap_awaitable, coro);
    Py_DECREF(coro);
    return wrapped;
}

/* The coroutine of the new task, made in its context. */
static PyObject *
spawn_coroutine(TacState *state, const struct tac_spawn *how,
                PyObject *context)
{
    if (spawn_is_async_def(how->fn)) {
        return PyObject_Vectorcall(how->fn, how->args, how->nargs,
                                   how->kwnames);
    }
    if (spawn_is_trap_maker(state, how->fn)) {
        return spawn_wrap(state, PyObject_Vectorcall(how->fn, how->args,
                                                     how->nargs,
                                                     how->kwnames));
    }
    if (PyContext_Enter(context) < 0) {
        return NULL;
    }
    PyObject *coro = spawn_call_hook(state->hook_coroutine_or_error, how);
    PyObject *error = coro == NULL ? PyErr_GetRaisedException() : NULL;
    if (PyContext_Exit(context) < 0) {
        Py_CLEAR(coro);
        Py_XDECREF(error);
        return NULL;
    }
    if (error != NULL) {
        PyErr_SetRaisedException(error);
        return NULL;
    }
    return spawn_wrap(state, coro);
}

static PyObject *
spawn_context(TacRunner *runner, const struct tac_spawn *how)
{
    if (how->context != NULL) {
        if (!PyContext_CheckExact(how->context)) {
            PyErr_Format(PyExc_TypeError,
                         "context must be a contextvars.Context, not %.200s",
                         Py_TYPE(how->context)->tp_name);
            return NULL;
        }
        return Py_NewRef(how->context);
    }
    return how->system ? PyContext_Copy(runner->system_context)
                       : PyContext_CopyCurrent();
}

static PyObject *
spawn_home(TacRunner *runner, const struct tac_spawn *how)
{
    if (how->home != NULL) {
        return Py_NewRef(how->home);
    }
    struct tac_task *current = runner->current;
    return current == NULL || !tac_task_is_coroutine(current)
               ? NULL
               : Py_XNewRef(tac_task_of(current)->home);
}

/* A function's name can be looked up when somebody asks; of anything else
 * only now is known what it says, and whether it can say it. */
static PyObject *
spawn_name(TacState *state, const struct tac_spawn *how)
{
    PyObject *source =
        how->name != NULL && how->name != Py_None ? how->name : how->fn;
    if (PyFunction_Check(source) || PyMethod_Check(source)
        || PyCFunction_Check(source) || PyUnicode_Check(source)
        || Py_IS_TYPE(source, state->async_function_type))
    {
        return Py_NewRef(source);
    }
    return tac_task_make_name(state, source);
}

/* Put the task where it belongs; from here on it is the runner's. */
static int
spawn_link(TacRunner *runner, TacTask *task, const struct tac_spawn *how)
{
    task->base.runner = runner;
    task->counter = ++runner->state->next_task_counter;
    tac_list_append(&runner->tasks, &task->base.runner_node);
    Py_INCREF(task);
    runner->task_count++;
    if (how->nursery == NULL) {
        return 0;
    }
    task->base.parent_nursery = (TacNursery *)Py_NewRef(how->nursery);
    tac_list_append(&how->nursery->children, &task->base.sibling_node);
    return tac_task_activate(&task->base, how->scope != NULL
                                              ? how->scope
                                              : how->nursery->scope);
}

static int
spawn_start(TacRunner *runner, TacTask *task, const struct tac_spawn *how)
{
    if (spawn_link(runner, task, how) < 0) {
        return -1;
    }
    if (tac_instruments_has(&runner->instruments, TAC_HOOK_TASK_SPAWNED)) {
        tac_instruments_call_task(runner, TAC_HOOK_TASK_SPAWNED, &task->base);
    }
    return tac_task_reschedule(task, NULL, NULL);
}

/* A coroutine that will not run after all: closed, or it would warn of never
 * having been awaited. */
static void
spawn_discard(PyObject *coro)
{
    if (coro == NULL) {
        return;
    }
    PyObject *error = PyErr_GetRaisedException();
    PyObject *closed = PyObject_CallMethod(coro, "close", NULL);
    if (closed == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(closed);
    Py_DECREF(coro);
    PyErr_SetRaisedException(error);
}

TacTask *
tac_task_spawn(TacRunner *runner, const struct tac_spawn *how)
{
    TacState *state = runner->state;
    if (how->nursery != NULL && how->nursery->closed) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Nursery is closed to new arrivals");
        return NULL;
    }
    PyObject *context = spawn_context(runner, how);
    PyObject *coro = NULL, *name = NULL;
    TacTask *task = NULL;
    if (context != NULL) {
        coro = spawn_coroutine(state, how, context);
    }
    if (coro != NULL) {
        name = spawn_name(state, how);
    }
    if (name != NULL) {
        task = tac_task_new(state);
    }
    if (task == NULL) {
        spawn_discard(coro);
        Py_XDECREF(name);
        Py_XDECREF(context);
        return NULL;
    }
    task->coro = coro;
    task->context = context;
    task->name = name;
    task->ki_protected = how->system;
    task->on_exit = how->on_exit;
    task->exit_data = Py_XNewRef(how->exit_data);
    task->home = spawn_home(runner, how);
    if (spawn_start(runner, task, how) < 0) {
        Py_CLEAR(task);
    }
    return task;
}
