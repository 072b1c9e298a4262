/* cross/run_asyncio.c - run_asyncio, and what ends the waits of a loop. */
#include "cross/cross.h"

#include "aio/loop.h"
#include "base/asyncfn.h"
#include "base/compat.h"
#include "cross/aio_call.h"
#include "cross/aio_start.h"
#include "cross/wait_future.h"

/* run_asyncio ------------------------------------------------------------- */

static const struct tac_trap_ops run_asyncio_call_ops = {
    .name = "run_asyncio",
    .begin = tac_aio_start_begin,
    .abort = tac_aio_start_abort,
    .unlink = tac_wait_future_unlink,
    .no_task_error =
        "run_asyncio() must be called from async context: from a Trio task. "
        "In asyncio-flavoured code just await the function.",
};

/* What cannot be called may be an iterator or a context manager: its adapter.
 * Returns: new ref, None if it is neither | NULL+exc. */
static PyObject *
run_asyncio_adapt(TacState *state, PyObject *loop, PyObject *thing)
{
    PyObject *args[2] = {thing, loop}; /* borrowed */
    return PyObject_Vectorcall(state->hook_adapt_asyncio, args, 2, NULL);
}

static PyObject *
run_asyncio_call(PyObject *loop, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    TacState *state = ((TacLoop *)loop)->state;
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "run_asyncio() missing 1 required "
                                         "positional argument: 'fn'");
        return NULL;
    }
    if (nargs == 1 && kwnames == NULL && !PyCallable_Check(args[0])) {
        PyObject *adapter = run_asyncio_adapt(state, loop, args[0]);
        if (adapter != Py_None) {
            return adapter;
        }
        Py_DECREF(adapter);
    }
    PyObject *coro =
        tac_aio_call_new(state, args[0], args + 1, nargs - 1, kwnames);
    if (coro == NULL) {
        return NULL;
    }
    TacTrap *trap = tac_trap_new(state, &run_asyncio_call_ops, coro, loop);
    Py_DECREF(coro);
    return (PyObject *)trap;
}

static PyMethodDef run_asyncio_method = {
    "run_asyncio", (PyCFunction)(void (*)(void))run_asyncio_call,
    METH_FASTCALL | METH_KEYWORDS,
    "run_asyncio($self, fn, /, *args, **kwargs)\n--\n\n"
    "Call an asyncio-flavoured function in an asyncio Task of its own, and\n"
    "wait for it.\n\n"
    "An async iterator or context manager instead of the function: returns\n"
    "aio_as_trio(fn, loop=self).\n\n"
    "A cancel is passed on to the Task, once, and waited for; Cancelled is\n"
    "raised only if the Task ended by it.\n"
    "Raises RuntimeError when the loop is closed or stopped, or the caller\n"
    "is no Trio task. Flavor: trio. Checkpoint: yes.",
};

/* The end of the loop ----------------------------------------------------- */

/* Calls that have no Task yet get one.  0, or -1 with an exception. */
static int
run_asyncio_settle(TacLoop *loop)
{
    struct tac_list *head = &loop->waits, *node = head->next;
    while (node != head) {
        int made = tac_aio_start_settle(tac_list_entry(node, TacTrap, node));
        if (made < 0) {
            return -1;
        }
        /* That runs code, after which all is looked at again. */
        node = made ? head->next : node->next;
    }
    return 0;
}

/* What Trio code waits for.  Returns: new ref | NULL+exc. */
static PyObject *
run_asyncio_get_waits(PyObject *self, PyObject *noargs)
{
    struct tac_list *head = &((TacLoop *)self)->waits;
    if (run_asyncio_settle((TacLoop *)self) < 0) {
        return NULL;
    }
    PyObject *futures = PyList_New(0);
    for (struct tac_list *n = head->next; futures != NULL && n != head;
         n = n->next)
    {
        PyObject *future = tac_list_entry(n, TacTrap, node)->first;
        if (PyList_Append(futures, future) < 0) {
            Py_CLEAR(futures);
        }
    }
    return futures;
}

/* Have a wait fail whose Future will not call back: with the cancel that was
 * passed on to it, if there was one. */
static int
run_asyncio_fail(TacTrap *trap, const char *text)
{
    PyObject *error = Py_XNewRef(trap->second);
    if (error == NULL) {
        error = PyObject_CallFunction(PyExc_RuntimeError, "s", text);
    }
    if (error == NULL) {
        return -1;
    }
    return tac_wait_future_fail(trap, error);
}

/* Is the Future that it waits for done?  1, 0, or -1 with an exception. */
static int
run_asyncio_is_done(TacTrap *trap)
{
    if (tac_aio_start_drop(trap)) {
        return 0;
    }
    PyObject *done =
        PyObject_CallMethodNoArgs(trap->first, trap->state->str_done);
    int is_done = done == NULL ? -1 : PyObject_IsTrue(done);
    Py_XDECREF(done);
    return is_done;
}

/* End a wait: if its Future is done, with the outcome. */
static int
run_asyncio_end_wait(TacTrap *trap, const char *text)
{
    Py_INCREF(trap);
    int is_done = run_asyncio_is_done(trap);
    int rc = is_done < 0 ? -1 : 0;
    if (rc == 0 && tac_list_is_linked(&trap->node)) { /* still */
        rc = is_done ? tac_wait_future_wake(trap)
                     : run_asyncio_fail(trap, text);
    }
    Py_DECREF(trap);
    return rc;
}

static PyObject *
run_asyncio_end_waits(PyObject *self, PyObject *noargs)
{
    struct tac_list *head = &((TacLoop *)self)->waits;
    int rc = 0;
    while (rc == 0 && !tac_list_is_empty(head)) {
        rc = run_asyncio_end_wait(tac_list_entry(head->next, TacTrap, node),
                                  "Event loop is closed");
    }
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

/* Does the end of the loop's block wait for this task?  It does for the one
 * that opened it, and for those of the nurseries inside of the block. */
static bool
run_asyncio_is_inside(const TacLoop *loop, const TacTask *task)
{
    const TacTask *opener = loop->errors->parent_task;
    const TacNursery *nursery = NULL;
    while (task != opener && task->base.parent_nursery != NULL) {
        nursery = task->base.parent_nursery;
        task = nursery->parent_task;
    }
    if (task != opener || nursery == NULL) {
        return task == opener;
    }
    const struct tac_list *node = &loop->errors->task_node;
    while (node != &opener->child_nurseries && node != &nursery->task_node) {
        node = node->next; /* the inmost is the last */
    }
    return node == &nursery->task_node && nursery != loop->errors;
}

static TacTrap *
run_asyncio_find_inside(const TacLoop *loop)
{
    const struct tac_list *head = &loop->waits;
    for (struct tac_list *n = head->next; n != head; n = n->next) {
        TacTrap *trap = tac_list_entry(n, TacTrap, node);
        if (run_asyncio_is_inside(loop, trap->task)) {
            return trap;
        }
    }
    return NULL;
}

static PyObject *
run_asyncio_end_inner_waits(PyObject *self, PyObject *noargs)
{
    TacLoop *loop = (TacLoop *)self;
    int rc = 0;
    TacTrap *trap;
    while (rc == 0 && loop->errors != NULL
           && (trap = run_asyncio_find_inside(loop)) != NULL)
    {
        rc = run_asyncio_end_wait(trap, "Event loop is stopped");
    }
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef run_asyncio_loop_methods[] = {
    {"_get_waits", run_asyncio_get_waits, METH_NOARGS,
     "_get_waits($self, /)\n--\n\n"
     "Return the Futures that Trio code waits for."},
    {"_end_waits", run_asyncio_end_waits, METH_NOARGS,
     "_end_waits($self, /)\n--\n\n"
     "Have those waits end, in RuntimeError unless the Future is done."},
    {"_end_inner_waits", run_asyncio_end_inner_waits, METH_NOARGS,
     "_end_inner_waits($self, /)\n--\n\n"
     "Have those end likewise that the end of the loop's block waits for."},
    {NULL},
};

/* To the loop's type, which is of a layer below. */
static int
run_asyncio_add_method(TacState *state, PyMethodDef *def)
{
    PyObject *method = PyDescr_NewMethod(state->loop_type, def);
    int rc = method == NULL
                 ? -1
                 : PyObject_SetAttrString((PyObject *)state->loop_type,
                                          def->ml_name, method);
    Py_XDECREF(method);
    return rc;
}

static int
run_asyncio_add_methods(TacState *state)
{
    PyMethodDef *def = run_asyncio_loop_methods;
    while (def->ml_name != NULL && run_asyncio_add_method(state, def) == 0) {
        def++;
    }
    if (def->ml_name != NULL
        || run_asyncio_add_method(state, &run_asyncio_method) < 0)
    {
        return -1;
    }
    return tac_asyncfn_replace((PyObject *)state->loop_type, state,
                               run_asyncio_method.ml_name);
}

int
tac_run_asyncio_add_types(PyObject *module, TacState *state)
{
    return run_asyncio_add_methods(state);
}
