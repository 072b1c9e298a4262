/* core/run_guest.c - guest mode: a turn's halves, called by a host. */
#include "core/run_guest.h"

#include "base/args.h"

/* The thread's slot borrows its runner.  A guest's is not held by anything
 * that runs, so the thread's dict holds it; from another thread, where the
 * garbage collector may close an abandoned run, that dict is out of reach. */
static int
guest_hold(TacRunner *runner, bool hold)
{
    PyObject *dict = PyThreadState_GetDict();
    PyObject *key = (PyObject *)runner->state->runner_type;
    if (dict == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return hold ? PyDict_SetItem(dict, key, (PyObject *)runner)
                : PyDict_DelItem(dict, key);
}

PyObject *
tac_guest_attach(TacRunner *runner, PyObject *noargs)
{
    if (tac_poller_open_outside(&runner->poller) < 0) {
        return NULL;
    }
    runner->is_guest = true;
    runner->thread = PyThread_get_thread_ident();
    if (guest_hold(runner, true) < 0) {
        return NULL;
    }
    if (tac_running(runner->state) == NULL /* else it is the host's own */
        && PyThread_tss_set(&runner->state->runner_key, runner) != 0)
    {
        return PyErr_NoMemory();
    }
    Py_RETURN_NONE;
}

PyObject *
tac_guest_detach(TacRunner *runner, PyObject *noargs)
{
    if (runner->thread != PyThread_get_thread_ident()) {
        runner->orphan = true;
        Py_RETURN_NONE;
    }
    if (PyThread_tss_get(&runner->state->runner_key) == runner) {
        (void)PyThread_tss_set(&runner->state->runner_key, NULL);
    }
    if (guest_hold(runner, false) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Whether this thread is a guest's host already. */
static PyObject *
guest_has_guest(PyObject *module, PyObject *noargs)
{
    TacState *state = tac_state_of_module(module);
    PyObject *dict = PyThreadState_GetDict();
    PyObject *guest =
        dict == NULL
            ? NULL
            : PyDict_GetItemWithError(dict, (PyObject *)state->runner_type);
    if (guest == NULL && PyErr_Occurred()) {
        return NULL;
    }
    const TacRunner *runner = (TacRunner *)guest;
    return PyBool_FromLong(runner != NULL && !runner->orphan
                           && !runner->poller.forked);
}

static PyMethodDef guest_functions[] = {
    {"_has_guest", guest_has_guest, METH_NOARGS,
     "_has_guest()\n--\n\nWhether this thread is a guest's host already."},
    {NULL},
};

int
tac_guest_add_functions(PyObject *module, TacState *state)
{
    return PyModule_AddFunctions(module, guest_functions);
}

PyObject *
tac_guest_begin_turn(TacRunner *runner, PyObject *noargs)
{
    if (tac_run_begin_turn(runner) < 0) {
        return NULL;
    }
    return PyFloat_FromDouble(runner->wait_s);
}

PyObject *
tac_guest_get_events(TacRunner *runner, PyObject *arg)
{
    double timeout_s;
    if (tac_args_double(arg, &timeout_s) < 0) {
        return NULL;
    }
    if (!tac_poller_is_open(&runner->poller)) {
        PyErr_SetString(runner->state->exc_RunFinishedError,
                        "run() has exited");
        return NULL;
    }
    if (timeout_s > 0) {
        if (!runner->is_guest) {
            PyErr_SetString(PyExc_RuntimeError,
                            "only a guest's wait is taken out of the turn");
            return NULL;
        }
        return PyBool_FromLong(
            tac_poller_wait_outside(&runner->poller, timeout_s));
    }
    tac_poller_poll(&runner->poller, 0);
    return PyBool_FromLong(runner->poller.events != 0);
}

PyObject *
tac_guest_finish_turn(TacRunner *runner, PyObject *arg)
{
    int events = PyObject_IsTrue(arg);
    if (events < 0) {
        return NULL;
    }
    /* What woke a thread's wait is still to be seen by libev. */
    tac_poller_poll(&runner->poller, 0);
    runner->in_turns = true;
    enum tac_turn turn =
        tac_run_finish_turn(runner, events || runner->poller.events != 0);
    runner->in_turns = runner->raised = false;
    if (turn != TAC_TURN_OK) {
        return NULL;
    }
    /* The thread is the host's again, and no loop's of ours. */
    if (runner->home != NULL && runner->enter_home != NULL
        && runner->enter_home(runner, NULL) < 0)
    {
        return NULL;
    }
    return PyBool_FromLong(runner->task_count != 0);
}

PyObject *
tac_guest_force_guest_tick_asap(TacRunner *runner, PyObject *noargs)
{
    tac_runner_poke(runner);
    Py_RETURN_NONE;
}
