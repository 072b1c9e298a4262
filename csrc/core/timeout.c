/* core/timeout.c - cancel scopes made for a timeout.
 *
 * move_on_*() are scopes with a deadline.  fail_*() need one more thing, an
 * error at the end of a block that was cut short; that is a context manager
 * around the scope, for the scope itself has to be what the block gets.
 */
#include "core/timeout.h"

#include "base/args.h"
#include "core/run.h"
#include "core/scope.h"

#include <math.h>

/* Arguments --------------------------------------------------------------- */

static int
timeout_check_deadline(double deadline)
{
    if (isnan(deadline)) {
        PyErr_SetString(PyExc_ValueError, "deadline must not be NaN");
        return -1;
    }
    return 0;
}

static int
timeout_check_seconds(double seconds)
{
    if (!(seconds < 0 || isnan(seconds))) {
        return 0;
    }
    PyErr_SetString(PyExc_ValueError, seconds < 0
                                          ? "`seconds` must be non-negative"
                                          : "`seconds` must not be NaN");
    return -1;
}

/* The scope for one of the functions.  Returns: new ref | NULL+exc. */
static TacScope *
timeout_scope(TacState *state, const struct tac_params *params,
              bool is_relative, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    PyObject *values[2] = {NULL, Py_False};
    double number;
    if (tac_args_bind(params, args, nargs, kwnames, values) < 0
        || tac_args_double(values[0], &number) < 0
        || (is_relative ? timeout_check_seconds(number)
                        : timeout_check_deadline(number))
               < 0
        || tac_scope_check_shield(values[1]) < 0)
    {
        return NULL;
    }
    TacScope *scope = tac_scope_new(state);
    if (scope != NULL) {
        *(is_relative ? &scope->relative_deadline : &scope->deadline) =
            number;
        scope->shield = values[1] == Py_True;
    }
    return scope;
}

static const char *const timeout_at_names[] = {"deadline", "shield", NULL};
static const char *const timeout_after_names[] = {"seconds", "shield", NULL};

/* move_on ----------------------------------------------------------------- */

static const struct tac_params move_on_at_params = {"move_on_at", 1, 1,
                                                    timeout_at_names};
static const struct tac_params move_on_after_params = {"move_on_after", 1, 1,
                                                       timeout_after_names};

PyDoc_STRVAR(move_on_at_doc,
"move_on_at($module, /, deadline, *, shield=False)\n--\n\n"
"Make a cancel scope with a deadline: ``with move_on_at(deadline) as\n"
"scope: ...``.\n\n"
"When the time comes, the block is cancelled and the program goes on behind\n"
"it; ``scope.cancelled_caught`` tells.\n\n"
"deadline: a time of the run's clock, in seconds.\n"
"shield: keep out cancellation from enclosing scopes.\n"
"Checkpoint: no, neither at entry nor at exit.  Raises: ValueError for NaN.");

static PyObject *
timeout_move_on_at(PyObject *module, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames)
{
    return (PyObject *)timeout_scope(tac_state_of_module(module),
                                     &move_on_at_params, false, args, nargs,
                                     kwnames);
}

PyDoc_STRVAR(move_on_after_doc,
"move_on_after($module, /, seconds, *, shield=False)\n--\n\n"
"Make a cancel scope with a timeout: ``with move_on_after(seconds) as\n"
"scope: ...``.\n\n"
"As move_on_at(), with the deadline `seconds` after the block was entered,\n"
"not after the scope was made.\n\n"
"seconds: the timeout; may be infinite.\n"
"shield: keep out cancellation from enclosing scopes.\n"
"Checkpoint: no.  Raises: ValueError when negative or NaN.");

static PyObject *
timeout_move_on_after(PyObject *module, PyObject *const *args,
                      Py_ssize_t nargs, PyObject *kwnames)
{
    return (PyObject *)timeout_scope(tac_state_of_module(module),
                                     &move_on_after_params, true, args, nargs,
                                     kwnames);
}

/* fail -------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    TacScope *scope; /* owned; never NULL */
} TacFailScope;

static PyObject *
fail_new(TacState *state, TacScope *scope)
{
    if (scope == NULL) {
        return NULL;
    }
    PyTypeObject *type = state->fail_scope_type;
    TacFailScope *fail = (TacFailScope *)type->tp_alloc(type, 0);
    if (fail == NULL) {
        Py_DECREF(scope);
        return NULL;
    }
    fail->scope = scope;
    return (PyObject *)fail;
}

static const struct tac_params fail_at_params = {"fail_at", 1, 1,
                                                 timeout_at_names};
static const struct tac_params fail_after_params = {"fail_after", 1, 1,
                                                    timeout_after_names};

PyDoc_STRVAR(fail_at_doc,
"fail_at($module, /, deadline, *, shield=False)\n--\n\n"
"Put a deadline on a block: ``with fail_at(deadline) as scope: ...``.\n\n"
"As move_on_at(), but a block that the scope cancelled ends with an error,\n"
"TooSlowError.  That includes ``scope.cancel()``.\n\n"
"deadline: a time of the run's clock, in seconds.\n"
"shield: keep out cancellation from enclosing scopes.\n"
"Checkpoint: no.  Raises: ValueError for NaN.");

static PyObject *
timeout_fail_at(PyObject *module, PyObject *const *args,
                Py_ssize_t nargs, PyObject *kwnames)
{
    TacState *state = tac_state_of_module(module);
    return fail_new(state, timeout_scope(state, &fail_at_params, false, args,
                                         nargs, kwnames));
}

PyDoc_STRVAR(fail_after_doc,
"fail_after($module, /, seconds, *, shield=False)\n--\n\n"
"Put a timeout on a block: ``with fail_after(seconds) as scope: ...``.\n\n"
"As move_on_after(), but a block that the scope cancelled ends with an\n"
"error, TooSlowError.  That includes ``scope.cancel()``.\n\n"
"seconds: the timeout, counted from the entry; may be infinite.\n"
"shield: keep out cancellation from enclosing scopes.\n"
"Checkpoint: no.  Raises: ValueError when negative or NaN.");

static PyObject *
timeout_fail_after(PyObject *module, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames)
{
    TacState *state = tac_state_of_module(module);
    return fail_new(state, timeout_scope(state, &fail_after_params, true,
                                         args, nargs, kwnames));
}

static PyObject *
fail_enter(TacFailScope *fail, PyObject *noargs)
{
    TacScope *scope = fail->scope;
    TacTask *task = tac_task_current(scope->state);
    if (task == NULL || tac_scope_enter(scope, task) < 0) {
        return NULL;
    }
    return Py_NewRef(scope);
}

static PyObject *
fail_exit(TacFailScope *fail, PyObject *const *args, Py_ssize_t nargs)
{
    if (tac_args_exit("__exit__", nargs) < 0) {
        return NULL;
    }
    TacScope *scope = (TacScope *)Py_NewRef(fail->scope);
    PyObject *answer =
        tac_scope_exit(scope, args[1] == Py_None ? NULL : args[1]);
    if (answer != NULL && scope->cancelled_caught) {
        Py_CLEAR(answer);
        PyErr_SetNone(scope->state->exc_TooSlowError);
    }
    Py_DECREF(scope);
    return answer;
}

static int
fail_tp_traverse(TacFailScope *fail, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(fail));
    Py_VISIT(fail->scope);
    return 0;
}

static void
fail_tp_dealloc(TacFailScope *fail)
{
    PyTypeObject *type = Py_TYPE(fail);
    PyObject_GC_UnTrack(fail);
    Py_CLEAR(fail->scope);
    type->tp_free(fail);
    Py_DECREF(type);
}

static PyMethodDef fail_methods[] = {
    {"__enter__", (PyCFunction)fail_enter, METH_NOARGS,
     "__enter__($self, /)\n--\n\nEnter the cancel scope and return it."},
    {"__exit__", (PyCFunction)(void (*)(void))fail_exit, METH_FASTCALL,
     "__exit__($self, exc_type, exc, traceback, /)\n--\n\n"
     "Leave the cancel scope.  Raises: TooSlowError if it ended the block."},
    {NULL},
};

static PyType_Slot fail_slots[] = {
    {Py_tp_doc, "What fail_at() and fail_after() return: use it in `with`."},
    {Py_tp_traverse, fail_tp_traverse},
    {Py_tp_dealloc, fail_tp_dealloc},
    {Py_tp_methods, fail_methods},
    {0, NULL},
};

static PyType_Spec fail_spec = {
    .name = "trio_asyncio_c._core.FailScope",
    .basicsize = sizeof(TacFailScope),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = fail_slots,
};

/* ------------------------------------------------------------------------- */

#define TIMEOUT_FUNCTION(name)                               \
    {#name, (PyCFunction)(void (*)(void))timeout_##name,      \
     METH_FASTCALL | METH_KEYWORDS, name##_doc}

static PyMethodDef timeout_functions[] = {
    TIMEOUT_FUNCTION(move_on_at),
    TIMEOUT_FUNCTION(move_on_after),
    TIMEOUT_FUNCTION(fail_at),
    TIMEOUT_FUNCTION(fail_after),
    {NULL},
};

#undef TIMEOUT_FUNCTION

int
tac_timeout_add_types(PyObject *module, TacState *state)
{
    state->fail_scope_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &fail_spec, NULL);
    if (state->fail_scope_type == NULL) {
        return -1;
    }
    return PyModule_AddFunctions(module, timeout_functions);
}
