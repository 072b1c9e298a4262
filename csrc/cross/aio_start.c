/* cross/aio_start.c - Tasks that begin in their turn. */
#include "cross/aio_start.h"

#include "aio/create.h"
#include "aio/interp.h"
#include "base/compat.h"

enum aio_start_phase { AIO_START_TASK, AIO_START_QUEUED }; /* trap->phase */

/* loop.create_task(coro), with the context if one is given.
 * Returns: new ref | NULL+exc. */
static PyObject *
aio_start_create(TacState *state, PyObject *loop, PyObject *coro,
                 PyObject *context)
{
    PyObject *args[] = {loop, coro, context}; /* borrowed */
    PyObject *kwnames = context == NULL ? NULL : state->context_kwnames;
    PyObject *future = PyObject_VectorcallMethod(state->str_create_task, args,
                                                 2, kwnames);
    if (future != NULL && tac_wait_future_check(state, future) < 0) {
        Py_CLEAR(future);
    }
    return future;
}

/* Put a Task, or what a factory gives for one, in the coroutine's place.  0
 * or -1. */
static int
aio_start_make(TacTrap *trap)
{
    PyObject *coro = Py_NewRef(trap->first);
    PyObject *loop = trap->second, *context = trap->result;
    trap->second = NULL;
    trap->result = NULL;
    PyObject *future = aio_start_create(trap->state, loop, coro, context);
    if (future != NULL) {
        Py_XSETREF(trap->first, future);
        tac_wait_future_begin_call(trap, (TacLoop *)loop);
    }
    Py_DECREF(coro);
    Py_DECREF(loop);
    Py_XDECREF(context);
    return future == NULL ? -1 : 0;
}

int
tac_aio_start_settle(TacTrap *trap)
{
    if (trap->phase != AIO_START_QUEUED) {
        return 0;
    }
    trap->phase = AIO_START_TASK;
    if (aio_start_make(trap) < 0 || tac_wait_future_add_waiter(trap) < 0) {
        return -1;
    }
    return 1;
}

bool
tac_aio_start_drop(TacTrap *trap)
{
    if (trap->phase != AIO_START_QUEUED) {
        return false;
    }
    trap->phase = AIO_START_TASK;
    Py_CLEAR(trap->second);
    Py_CLEAR(trap->result);
    return true;
}

/* The turn ---------------------------------------------------------------- */

/* No Task, or none that waits: the raised exception is the outcome. */
static int
aio_start_failed(TacTrap *trap)
{
    return tac_wait_future_is_waiting(trap)
               ? tac_wait_future_fail(trap, PyErr_GetRaisedException())
               : -1;
}

/* Its first step is over: it has ended, or is to be waited for. */
static int
aio_start_begun(TacTrap *trap, PyObject *task)
{
    TacState *state = trap->state;
    PyObject *done = tac_interp_call_task(state, state->aio_done,
                                          state->str_done, &task, 1, NULL);
    int is_done = done == NULL ? -1 : PyObject_IsTrue(done);
    Py_XDECREF(done);
    if (is_done < 0 || !tac_wait_future_is_waiting(trap)) {
        return is_done < 0 ? -1 : 0;
    }
    return is_done ? tac_wait_future_wake(trap)
                   : tac_wait_future_add_waiter(trap);
}

/* The Task's constructor lets SystemExit and KeyboardInterrupt out as any
 * step does: they are the Task's outcome, if somebody waits for that. */
static int
aio_start_raised(TacTrap *trap, PyObject *task)
{
    PyObject *exc = PyErr_GetRaisedException();
    bool is_over = PyErr_GivenExceptionMatches(exc, PyExc_SystemExit)
                   || PyErr_GivenExceptionMatches(exc, PyExc_KeyboardInterrupt);
    if (is_over && tac_wait_future_is_waiting(trap)) {
        Py_DECREF(exc);
        return aio_start_begun(trap, task);
    }
    PyErr_SetRaisedException(exc);
    return aio_start_failed(trap);
}

static int
aio_start_step(TacTrap *trap, TacLoop *loop, PyObject *context)
{
    PyObject *task = tac_create_begun_new(loop);
    if (task == NULL) {
        return aio_start_failed(trap);
    }
    PyObject *coro = trap->first;
    trap->first = Py_NewRef(task); /* a cancel in that step goes to it */
    tac_wait_future_begin_call(trap, loop);
    int rc = tac_create_begun_init(loop, task, coro, context);
    Py_DECREF(coro);
    rc = rc < 0 ? aio_start_raised(trap, task) : aio_start_begun(trap, task);
    Py_DECREF(task);
    return rc;
}

/* The ring's item. */
static int
aio_start_turn(PyObject *owner)
{
    TacTrap *trap = (TacTrap *)owner;
    if (trap->phase != AIO_START_QUEUED || !tac_wait_future_is_waiting(trap)) {
        return 0; /* settled, or given up */
    }
    TacLoop *loop = (TacLoop *)trap->second;
    if (!tac_create_may_begin(loop)) {
        return tac_aio_start_settle(trap) < 0 ? aio_start_failed(trap) : 0;
    }
    PyObject *context = trap->result;
    trap->phase = AIO_START_TASK;
    trap->second = NULL;
    trap->result = NULL;
    int rc = aio_start_step(trap, loop, context);
    Py_DECREF(loop);
    Py_DECREF(context);
    return rc;
}

/* For the traps ----------------------------------------------------------- */

/* Of that loop's Task, or of whatever else stands in for one. */
static enum tac_trap_step
aio_start_wait(TacTrap *trap, TacTask *task, TacLoop *loop)
{
    return Py_IS_TYPE(trap->first, trap->state->aio_task_type)
               ? tac_wait_future_begin_on(trap, task, loop)
               : tac_wait_future_begin(trap, task);
}

static enum tac_trap_step
aio_start_queue(TacTrap *trap, TacLoop *loop)
{
    if (trap->result == NULL) {
        trap->result = PyContext_CopyCurrent();
    }
    if (trap->result == NULL
        || tac_loop_push_native(loop, aio_start_turn, (PyObject *)trap, NULL)
               < 0)
    {
        return TAC_TRAP_ERROR;
    }
    trap->phase = AIO_START_QUEUED;
    tac_list_append(&loop->waits, &trap->node);
    return TAC_TRAP_WAIT;
}

/* Make the Task at once, for asyncio to begin. */
static enum tac_trap_step
aio_start_begin_now(TacTrap *trap, TacTask *task)
{
    TacLoop *loop = (TacLoop *)Py_NewRef(trap->second);
    enum tac_trap_step step = TAC_TRAP_ERROR;
    if (tac_loop_check_running(loop) == 0 && aio_start_make(trap) == 0) {
        step = aio_start_wait(trap, task, loop);
    }
    Py_DECREF(loop);
    return step;
}

enum tac_trap_step
tac_aio_start_begin(TacTrap *trap, TacTask *task)
{
    TacLoop *loop = (TacLoop *)trap->second;
    /* Asked each time: somebody may have put a create_task() of his own there. */
    int can = tac_create_can_begin(loop);
    if (can < 0) {
        return TAC_TRAP_ERROR;
    }
    if (!can || loop->host.runner != task->base.runner || loop->halted
        || loop->ending)
    {
        return aio_start_begin_now(trap, task);
    }
    return tac_loop_check_room(loop) < 0 ? TAC_TRAP_ERROR
                                         : aio_start_queue(trap, loop);
}

enum tac_abort
tac_aio_start_abort(TacTrap *trap, TacTask *task,
                    const struct tac_cause *cause)
{
    if (tac_aio_start_settle(trap) >= 0) {
        return tac_wait_future_abort(trap, task, cause);
    }
    if (!tac_wait_future_is_waiting(trap)) {
        return TAC_ABORT_ERROR;
    }
    return aio_start_failed(trap) < 0 ? TAC_ABORT_ERROR : TAC_ABORT_FAILED;
}
