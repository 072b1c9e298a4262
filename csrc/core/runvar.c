/* core/runvar.c - RunVar: variables that belong to a run.
 *
 * The values are in the runner's dict, keyed by the variable itself.
 */
#include "core/runvar.h"

#include "base/args.h"
#include "base/compat.h"
#include "core/run.h"

#include <structmember.h>

typedef struct {
    PyObject_HEAD
    TacState *state; /* borrowed: the type holds the module */
    PyObject *name;  /* owned */
    PyObject *fallback; /* owned; NULL: none */
    PyObject *weakrefs;
} TacRunVar;

typedef struct {
    PyObject_HEAD
    TacRunVar *var;    /* owned */
    PyObject *locals;  /* owned: the runner's dict that was changed */
    PyObject *previous; /* owned; NULL: it was not set */
    bool used;
} TacRunVarToken;

static TacRunner *
runvar_runner(TacRunVar *var)
{
    TacRunner *runner = tac_running(var->state);
    if (runner == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Cannot be used outside of a run context");
    }
    return runner;
}

PyDoc_STRVAR(runvar_get_doc,
"get($self, /, default=...)\n--\n\n"
"The variable's value in this run, else `default`, else the default it was\n"
"made with.  Raises: LookupError when there is none of them; RuntimeError\n"
"outside of a run.");

static PyObject *
runvar_get(TacRunVar *var, PyObject *const *args, Py_ssize_t nargs,
           PyObject *kwnames)
{
    static const char *const names[] = {"default", NULL};
    static const struct tac_params params = {"get", 1, 0, names};
    PyObject *fallback = var->fallback;
    if (tac_args_bind(&params, args, nargs, kwnames, &fallback) < 0) {
        return NULL;
    }
    TacRunner *runner = runvar_runner(var);
    if (runner == NULL) {
        return NULL;
    }
    PyObject *value;
    if (PyDict_GetItemRef(runner->locals, (PyObject *)var, &value) != 0) {
        return value;
    }
    if (fallback != NULL) {
        return Py_NewRef(fallback);
    }
    PyErr_SetObject(PyExc_LookupError, (PyObject *)var);
    return NULL;
}

PyDoc_STRVAR(runvar_set_doc,
"set($self, value, /)\n--\n\n"
"Set the variable in this run; returns a token for reset().");

static PyObject *
runvar_set(TacRunVar *var, PyObject *value)
{
    TacRunner *runner = runvar_runner(var);
    if (runner == NULL) {
        return NULL;
    }
    PyTypeObject *type = var->state->run_var_token_type;
    TacRunVarToken *token = (TacRunVarToken *)type->tp_alloc(type, 0);
    if (token == NULL) {
        return NULL;
    }
    token->var = (TacRunVar *)Py_NewRef(var);
    token->locals = Py_NewRef(runner->locals);
    if (PyDict_GetItemRef(runner->locals, (PyObject *)var, &token->previous)
            < 0
        || PyDict_SetItem(runner->locals, (PyObject *)var, value) < 0)
    {
        Py_CLEAR(token);
    }
    return (PyObject *)token;
}

PyDoc_STRVAR(runvar_reset_doc,
"reset($self, token, /)\n--\n\n"
"Undo the set() that returned `token`.  Raises: ValueError for a token of\n"
"another variable or one that was used.");

static PyObject *
runvar_reset(TacRunVar *var, PyObject *arg)
{
    TacRunner *runner = runvar_runner(var);
    if (runner == NULL) {
        return NULL;
    }
    if (arg == Py_None || !Py_IS_TYPE(arg, var->state->run_var_token_type)) {
        PyErr_SetString(PyExc_TypeError, "token must not be none");
        return NULL;
    }
    TacRunVarToken *token = (TacRunVarToken *)arg;
    if (token->used) {
        PyErr_SetString(PyExc_ValueError, "token has already been used");
        return NULL;
    }
    if (token->var != var || token->locals != runner->locals) {
        PyErr_SetString(PyExc_ValueError, "token is not for us");
        return NULL;
    }
    int rc;
    if (token->previous != NULL) {
        rc = PyDict_SetItem(runner->locals, (PyObject *)var, token->previous);
    }
    else {
        rc = PyDict_DelItem(runner->locals, (PyObject *)var);
    }
    if (rc < 0) {
        return NULL;
    }
    token->used = true;
    Py_RETURN_NONE;
}

static PyObject *
runvar_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = { /* cstyle: mutable: PyArg's type */
        "name", "default", NULL};
    PyObject *name, *fallback = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:RunVar", names, &name,
                                     &fallback))
    {
        return NULL;
    }
    TacRunVar *var = (TacRunVar *)type->tp_alloc(type, 0);
    if (var != NULL) {
        var->state = PyType_GetModuleState(type);
        var->name = Py_NewRef(name);
        var->fallback = Py_XNewRef(fallback);
    }
    return (PyObject *)var;
}

static PyObject *
runvar_tp_repr(TacRunVar *var)
{
    return PyUnicode_FromFormat("<RunVar name=%R>", var->name);
}

static int
runvar_tp_traverse(TacRunVar *var, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(var));
    Py_VISIT(var->name);
    Py_VISIT(var->fallback);
    return 0;
}

static int
runvar_tp_clear(TacRunVar *var)
{
    Py_CLEAR(var->name);
    Py_CLEAR(var->fallback);
    return 0;
}

static void
runvar_tp_dealloc(TacRunVar *var)
{
    PyTypeObject *type = Py_TYPE(var);
    PyObject_GC_UnTrack(var);
    if (var->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)var);
    }
    (void)runvar_tp_clear(var);
    type->tp_free(var);
    Py_DECREF(type);
}

static PyMethodDef runvar_methods[] = {
    {"get", (PyCFunction)(void (*)(void))runvar_get,
     METH_FASTCALL | METH_KEYWORDS, runvar_get_doc},
    {"set", (PyCFunction)runvar_set, METH_O, runvar_set_doc},
    {"reset", (PyCFunction)runvar_reset, METH_O, runvar_reset_doc},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,
     "__class_getitem__($type, object, /)\n--\n\nFor use in annotations."},
    {NULL},
};

static PyMemberDef runvar_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TacRunVar, weakrefs),
     READONLY},
    {NULL},
};

PyDoc_STRVAR(runvar_doc,
"RunVar(name, default=...)\n--\n\n"
"A variable with one value a run, like a ContextVar has one a context.");

static PyType_Slot runvar_slots[] = {
    {Py_tp_doc, (void *)runvar_doc},
    {Py_tp_new, runvar_tp_new},
    {Py_tp_repr, runvar_tp_repr},
    {Py_tp_traverse, runvar_tp_traverse},
    {Py_tp_clear, runvar_tp_clear},
    {Py_tp_dealloc, runvar_tp_dealloc},
    {Py_tp_methods, runvar_methods},
    {Py_tp_members, runvar_members},
    {0, NULL},
};

static PyType_Spec runvar_spec = {
    .name = "trio_asyncio_c.RunVar",
    .basicsize = sizeof(TacRunVar),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = runvar_slots,
};

/* The token --------------------------------------------------------------- */

static int
runvar_token_tp_traverse(TacRunVarToken *token, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(token));
    Py_VISIT(token->var);
    Py_VISIT(token->locals);
    Py_VISIT(token->previous);
    return 0;
}

static int
runvar_token_tp_clear(TacRunVarToken *token)
{
    Py_CLEAR(token->var);
    Py_CLEAR(token->locals);
    Py_CLEAR(token->previous);
    return 0;
}

static void
runvar_token_tp_dealloc(TacRunVarToken *token)
{
    PyTypeObject *type = Py_TYPE(token);
    PyObject_GC_UnTrack(token);
    (void)runvar_token_tp_clear(token);
    type->tp_free(token);
    Py_DECREF(type);
}

static PyMethodDef runvar_token_methods[] = {
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,
     "__class_getitem__($type, object, /)\n--\n\nFor use in annotations."},
    {NULL},
};

static PyMemberDef runvar_token_members[] = {
    {"_var", T_OBJECT, offsetof(TacRunVarToken, var), READONLY,
     "The variable that was set."},
    {"previous_value", T_OBJECT_EX, offsetof(TacRunVarToken, previous),
     READONLY, "What it was set to before."},
    {"redeemed", T_BOOL, offsetof(TacRunVarToken, used), READONLY,
     "Whether reset() has been called with the token."},
    {NULL},
};

static PyType_Slot runvar_token_slots[] = {
    {Py_tp_doc, "What RunVar.set() returns, for RunVar.reset()."},
    {Py_tp_traverse, runvar_token_tp_traverse},
    {Py_tp_clear, runvar_token_tp_clear},
    {Py_tp_dealloc, runvar_token_tp_dealloc},
    {Py_tp_methods, runvar_token_methods},
    {Py_tp_members, runvar_token_members},
    {0, NULL},
};

static PyType_Spec runvar_token_spec = {
    .name = "trio_asyncio_c.RunVarToken",
    .basicsize = sizeof(TacRunVarToken),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = runvar_token_slots,
};

int
tac_runvar_add_types(PyObject *module, TacState *state)
{
    state->run_var_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &runvar_spec, NULL);
    state->run_var_token_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &runvar_token_spec, NULL);
    if (state->run_var_type == NULL || state->run_var_token_type == NULL
        || PyModule_AddType(module, state->run_var_type) < 0)
    {
        return -1;
    }
    return PyModule_AddType(module, state->run_var_token_type);
}
