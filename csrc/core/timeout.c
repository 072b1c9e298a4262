/* core/timeout.c - cancel scopes made for a timeout.
 *
 * move_on_*() are scopes with a deadline, fail_*() the same with an error at
 * the end of a block that was cut short.
 */
#include "core/timeout.h"

#include "base/args.h"
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

/* Let a scope (stolen, or NULL) end a block with an error. */
static PyObject *
fail_with(TacScope *scope)
{
    if (scope != NULL) {
        scope->raises = true;
    }
    return (PyObject *)scope;
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
    return fail_with(timeout_scope(tac_state_of_module(module),
                                   &fail_at_params, false, args, nargs,
                                   kwnames));
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
    return fail_with(timeout_scope(tac_state_of_module(module),
                                   &fail_after_params, true, args, nargs,
                                   kwnames));
}

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
tac_timeout_add_functions(PyObject *module, TacState *state)
{
    return PyModule_AddFunctions(module, timeout_functions);
}
