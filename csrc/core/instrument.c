/* core/instrument.c - instruments: user code that watches the scheduler. */
#include "core/instrument.h"

#include "base/compat.h"
#include "base/errors.h"
#include "core/run.h"

static const char *const instrument_hook_names[TAC_HOOK_COUNT] = {
    "before_run",       "after_run",       "task_spawned",
    "task_scheduled",   "before_task_step", "after_task_step",
    "task_exited",      "before_io_wait",  "after_io_wait",
};

void
tac_instruments_fini(struct tac_instruments *instruments)
{
    Py_CLEAR(instruments->all);
    for (int i = 0; i < TAC_HOOK_COUNT; i++) {
        Py_CLEAR(instruments->hooks[i]);
    }
}

int
tac_instruments_traverse(struct tac_instruments *instruments,
                         visitproc visit, void *arg)
{
    Py_VISIT(instruments->all);
    for (int i = 0; i < TAC_HOOK_COUNT; i++) {
        Py_VISIT(instruments->hooks[i]);
    }
    return 0;
}

/* A method counts as defined unless it is the abstract base's own, ours or
 * Trio's: that one is marked by its module. */
static int
instrument_defines(PyObject *instrument, const char *name, PyObject **method)
{
    *method = NULL;
    PyObject *str = PyUnicode_FromString(name);
    if (str == NULL) {
        return -1;
    }
    int rc = PyObject_GetOptionalAttr(instrument, str, method);
    Py_DECREF(str);
    if (rc <= 0) {
        return rc;
    }
    PyObject *func = PyMethod_Check(*method) ? PyMethod_GET_FUNCTION(*method)
                                             : *method;
    PyObject *module = PyObject_GetAttrString(func, "__module__");
    bool abstract = module != NULL && PyUnicode_Check(module)
                    && (PyUnicode_CompareWithASCIIString(
                            module, "trio_asyncio_c.abc") == 0
                        || PyUnicode_CompareWithASCIIString(
                               module, "trio.abc") == 0);
    PyErr_Clear();
    Py_XDECREF(module);
    if (abstract) {
        Py_CLEAR(*method);
    }
    return !abstract;
}

PyObject *
tac_instruments_as_dict(const struct tac_instruments *instruments)
{
    PyObject *result = PyDict_New(), *all = NULL;
    if (result != NULL) {
        all = instruments->all == NULL ? PyDict_New()
                                       : PyDict_Copy(instruments->all);
    }
    int rc = all == NULL ? -1 : PyDict_SetItemString(result, "_all", all);
    Py_XDECREF(all);
    for (int i = 0; rc == 0 && i < TAC_HOOK_COUNT; i++) {
        if (instruments->hooks[i] != NULL) {
            PyObject *hook = PyDict_Copy(instruments->hooks[i]);
            rc = hook == NULL ? -1
                              : PyDict_SetItemString(
                                  result, instrument_hook_names[i], hook);
            Py_XDECREF(hook);
        }
    }
    if (rc < 0) {
        Py_CLEAR(result);
    }
    return result;
}

static int
instrument_add_hook(struct tac_instruments *instruments, int hook,
                    PyObject *instrument, PyObject *method)
{
    if (instruments->hooks[hook] == NULL) {
        instruments->hooks[hook] = PyDict_New();
    }
    return instruments->hooks[hook] == NULL
               ? -1
               : PyDict_SetItem(instruments->hooks[hook], instrument, method);
}

static void
instrument_forget(struct tac_instruments *instruments, PyObject *instrument)
{
    for (int i = 0; i < TAC_HOOK_COUNT; i++) {
        PyObject *hook = instruments->hooks[i];
        if (hook == NULL) {
            continue;
        }
        if (PyDict_DelItem(hook, instrument) < 0) {
            PyErr_Clear(); /* does not define this one */
        }
        if (PyDict_GET_SIZE(hook) == 0) {
            Py_CLEAR(instruments->hooks[i]);
        }
    }
}

int
tac_instruments_add(TacRunner *runner, PyObject *instrument)
{
    struct tac_instruments *instruments = &runner->instruments;
    if (instruments->all == NULL) {
        instruments->all = PyDict_New();
        if (instruments->all == NULL) {
            return -1;
        }
    }
    int present = PyDict_Contains(instruments->all, instrument);
    if (present != 0) {
        return present < 0 ? -1 : 0;
    }
    if (PyDict_SetItem(instruments->all, instrument, Py_None) < 0) {
        return -1;
    }
    for (int i = 0; i < TAC_HOOK_COUNT; i++) {
        PyObject *method;
        int defined =
            instrument_defines(instrument, instrument_hook_names[i], &method);
        if (defined > 0) {
            defined = instrument_add_hook(instruments, i, instrument, method);
        }
        Py_XDECREF(method);
        if (defined < 0) {
            PyObject *error = PyErr_GetRaisedException();
            (void)PyDict_DelItem(instruments->all, instrument);
            instrument_forget(instruments, instrument);
            PyErr_SetRaisedException(error);
            return -1;
        }
    }
    return 0;
}

int
tac_instruments_remove(TacRunner *runner, PyObject *instrument)
{
    struct tac_instruments *instruments = &runner->instruments;
    if (instruments->all == NULL) {
        PyErr_SetObject(PyExc_KeyError, instrument);
        return -1;
    }
    if (PyDict_DelItem(instruments->all, instrument) < 0) {
        return -1;
    }
    instrument_forget(instruments, instrument);
    return 0;
}

/* The instrument raised: it is removed, and the error logged. */
static void
instrument_discard(TacRunner *runner, PyObject *instrument, int hook)
{
    PyObject *error = PyErr_GetRaisedException();
    if (tac_instruments_remove(runner, instrument) < 0) {
        PyErr_Clear(); /* it removed itself before it raised */
    }
    PyObject *done = PyObject_CallFunction(
        runner->state->hook_log_instrument_error, "OOs", instrument, error,
        instrument_hook_names[hook]);
    if (done == NULL) {
        tac_err_report(instrument);
    }
    Py_XDECREF(done);
    Py_DECREF(error);
}

void
tac_instruments_call(TacRunner *runner, enum tac_hook hook, PyObject *arg)
{
    /* The list may change while it is called: a snapshot. */
    PyObject *raised = PyErr_GetRaisedException();
    PyObject *items = PyDict_Items(runner->instruments.hooks[hook]);
    for (Py_ssize_t i = 0; items != NULL && i < PyList_GET_SIZE(items); i++) {
        PyObject *item = PyList_GET_ITEM(items, i);
        PyObject *result = PyObject_Vectorcall(
            PyTuple_GET_ITEM(item, 1), &arg, arg == NULL ? 0 : 1, NULL);
        if (result == NULL) {
            instrument_discard(runner, PyTuple_GET_ITEM(item, 0), hook);
        }
        Py_XDECREF(result);
    }
    Py_XDECREF(items);
    PyErr_SetRaisedException(raised);
}

void
tac_instruments_call_task(TacRunner *runner, enum tac_hook hook,
                          struct tac_task *task)
{
    PyObject *face = task->ops->object(task);
    if (face == NULL) {
        PyErr_Clear();
        return;
    }
    tac_instruments_call(runner, hook, face);
    Py_DECREF(face);
}
