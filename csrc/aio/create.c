/* aio/create.c - create_future and create_task. */
#include "aio/create.h"

#include "aio/own_clock.h"
#include "base/compat.h"

/* Does `name` still stand for `type` in a module's dict?  Tests and others
 * put classes of their own there, at any time.  1, 0, or -1. */
static int
create_is_still(PyObject *module_dict, PyObject *name, PyTypeObject *type)
{
    if (type == NULL) {
        return 0;
    }
    PyObject *now = PyDict_GetItemWithError(module_dict, name);
    if (now == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    return now == (PyObject *)type;
}

PyObject *
tac_create_kwargs(TacLoop *loop)
{
    if (loop->create_kwargs == NULL) {
        loop->create_kwargs = PyDict_New();
        if (loop->create_kwargs != NULL
            && PyDict_SetItemString(loop->create_kwargs, "loop",
                                    (PyObject *)loop)
                   < 0)
        {
            Py_CLEAR(loop->create_kwargs);
        }
    }
    return loop->create_kwargs;
}

/* The same with what was given beside it, unless that is None, which is the
 * default of all.  Returns: new ref | NULL+exc. */
static PyObject *
create_more_kwargs(TacLoop *loop, PyObject *const *values, PyObject *kwnames)
{
    PyObject *shared = tac_create_kwargs(loop), *kwargs = Py_XNewRef(shared);
    Py_ssize_t count = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; kwargs != NULL && i < count; i++) {
        if (values[i] == Py_None) {
            continue;
        }
        if (kwargs == shared) {
            Py_SETREF(kwargs, PyDict_Copy(shared));
        }
        if (kwargs != NULL
            && PyDict_SetItem(kwargs, PyTuple_GET_ITEM(kwnames, i), values[i])
                   < 0)
        {
            Py_CLEAR(kwargs);
        }
    }
    return kwargs;
}

static PyObject *
create_call(TacLoop *loop, PyTypeObject *type, PyObject *const *args,
            Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *const *values = kwnames == NULL ? NULL : args + nargs;
    PyObject *kwargs = create_more_kwargs(loop, values, kwnames);
    PyObject *packed = kwargs == NULL ? NULL : PyTuple_New(nargs);
    PyObject *made = NULL;
    if (packed != NULL) {
        for (Py_ssize_t i = 0; i < nargs; i++) {
            PyTuple_SET_ITEM(packed, i, Py_NewRef(args[i]));
        }
        made = PyObject_Call((PyObject *)type, packed, kwargs);
    }
    Py_XDECREF(packed);
    Py_XDECREF(kwargs);
    return made;
}

PyObject *
tac_create_future(TacLoop *loop, PyObject *noargs)
{
    TacState *state = loop->state;
    int plain = create_is_still(state->aio_futures_dict, state->str_Future,
                                state->aio_future_type);
    if (plain < 0) {
        return NULL;
    }
    /* A closed loop makes Futures too, but must not come to own the dict. */
    if (plain && !loop->closed) {
        return create_call(loop, state->aio_future_type, NULL, 0, NULL);
    }
    return PyObject_CallMethodNoArgs((PyObject *)loop,
                                     state->str__create_other_future);
}

PyObject *
tac_create_done_future(TacLoop *loop)
{
    TacState *state = loop->state;
    if (loop->done_future != NULL) {
        return loop->done_future;
    }
    PyObject *future =
        create_call(loop, state->aio_future_type, NULL, 0, NULL);
    PyObject *args[2] = {future, Py_None};
    PyObject *set = future == NULL
                        ? NULL
                        : PyObject_VectorcallMethod(state->str_set_result,
                                                    args, 2, NULL);
    if (set != NULL) {
        loop->done_future = Py_NewRef(future);
    }
    Py_XDECREF(set);
    Py_XDECREF(future);
    return loop->done_future;
}

/* Are the keyword arguments such as the class takes, in each version that the
 * inherited method passes them on in? */
static bool
create_knows(TacState *state, PyObject *kwnames)
{
    Py_ssize_t count = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        if (name != state->str_name && name != state->str_context
            && (PY_VERSION_HEX < 0x030E0000
                || name != state->str_eager_start))
        {
            return false;
        }
    }
    return true;
}

PyObject *
tac_create_task(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    if (tac_loop_check_room(loop) < 0) {
        return NULL;
    }
    TacState *state = loop->state;
    bool has_factory =
        loop->task_factory != NULL && loop->task_factory != Py_None;
    int plain = 0;
    if (nargs == 1 && !has_factory && !loop->debug && !loop->closed
        && create_knows(state, kwnames))
    {
        plain = create_is_still(state->aio_tasks_dict, state->str_Task,
                                state->aio_task_type);
    }
    if (plain > 0) {
        return create_call(loop, state->aio_task_type, args, nargs, kwnames);
    }
    if (plain < 0) {
        return NULL;
    }
    PyObject *other = PyObject_GetAttr((PyObject *)loop,
                                       state->str__create_other_task);
    PyObject *task =
        other == NULL ? NULL
                      : PyObject_Vectorcall(other, args, nargs, kwnames);
    Py_XDECREF(other);
    return task;
}

/* Tasks that begin at once ------------------------------------------------ */

/* Is create_task() still the method here?  Known till the type changes, or the
 * loop gets an attribute of that name.  1, 0, or -1. */
static int
create_is_own(TacLoop *loop)
{
    unsigned int version = Py_TYPE(loop)->tp_version_tag;
    if (version != 0 && version == loop->create_version) {
        return 1;
    }
    PyObject *method = PyObject_GetAttr((PyObject *)loop,
                                        loop->state->str_create_task);
    if (method == NULL) {
        return -1;
    }
    int own = PyCFunction_CheckExact(method)
              && PyCFunction_GET_FUNCTION(method)
                     == (PyCFunction)(void (*)(void))tac_create_task;
    Py_DECREF(method);
    loop->create_version =
        own ? Py_TYPE(loop)->tp_version_tag : TAC_NO_VERSION;
    return own;
}

void
tac_create_on_attribute(TacLoop *loop, PyObject *name)
{
    if (name == loop->state->str_create_task
        || PyUnicode_CompareWithASCIIString(name, "create_task") == 0)
    {
        loop->create_version = TAC_NO_VERSION;
    }
}

bool
tac_create_may_begin(const TacLoop *loop)
{
    return !loop->debug && !loop->closed
           && (loop->task_factory == NULL || loop->task_factory == Py_None)
           && loop->thread_id != NULL && loop->thread_id != Py_None;
}

/* Before CPython 3.12.5 get_coro() of such a Task that has ended crashed
 * (gh-122332). */
static bool
create_may_begin_any(void)
{
    return Py_Version >= 0x030C0500;
}

int
tac_create_can_begin(TacLoop *loop)
{
    TacState *state = loop->state;
    if (!create_may_begin_any() || !tac_create_may_begin(loop)) {
        return 0;
    }
    int plain = create_is_still(state->aio_tasks_dict, state->str_Task,
                                state->aio_task_type);
    return plain <= 0 ? plain : create_is_own(loop);
}

PyObject *
tac_create_begun_new(TacLoop *loop)
{
    PyTypeObject *type = loop->state->aio_task_type;
    return type->tp_alloc(type, 0);
}

/* The keyword arguments of such a Task, but for the context.  The loop keeps
 * one dict of them, which is the caller's while it is used.
 * Returns: new ref | NULL+exc. */
static PyObject *
create_take_begun_kwargs(TacLoop *loop)
{
    PyObject *kwargs = loop->begun_kwargs;
    loop->begun_kwargs = NULL;
    if (kwargs == NULL) {
        kwargs = Py_BuildValue("{s:O,s:O}", "loop", loop, "eager_start",
                               Py_True);
    }
    return kwargs;
}

static int
create_give_begun_kwargs(TacLoop *loop, PyObject *kwargs)
{
    PyObject *exc = PyErr_GetRaisedException();
    int rc = PyDict_SetItem(kwargs, loop->state->str_context, Py_None);
    if (rc == 0 && loop->begun_kwargs == NULL && !loop->closed) {
        loop->begun_kwargs = Py_NewRef(kwargs);
    }
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
        rc = -1;
    }
    return rc;
}

int
tac_create_begun_init(TacLoop *loop, PyObject *task, PyObject *coro,
                      PyObject *context)
{
    PyObject *kwargs = create_take_begun_kwargs(loop);
    PyObject *args = kwargs == NULL ? NULL : PyTuple_Pack(1, coro);
    int rc = -1;
    if (args != NULL
        && PyDict_SetItem(kwargs, loop->state->str_context, context) == 0)
    {
        rc = Py_TYPE(task)->tp_init(task, args, kwargs);
        if (create_give_begun_kwargs(loop, kwargs) < 0) {
            rc = -1;
        }
    }
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    return rc;
}
