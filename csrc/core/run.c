/* core/run.c - the turn, phase by phase, and the drive that repeats it.
 *
 * Why the phases are in this order: I/O before deadlines, so that a result
 * that arrived in time wins over a deadline that expires in the same turn;
 * both before the batch, so that nothing that became ready waits a turn.
 *
 * Why the kernel is not asked every turn: a system call a turn is most of
 * what a chain of callbacks costs.  While work is ready it is asked once in
 * TAC_PACE_INTERVAL_NS (Go's and Tokio's schedulers do the like), measured in
 * time and not in turns, so that long steps delay nobody.
 *
 * The Python type is in run_type.c.
 */
#include "core/run.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/vec.h"
#include "core/idle.h"
#include "core/nursery.h"

#include <stdlib.h>

#define RUN_MAX_TIMEOUT_S TAC_POLLER_LONG_S

TacRunner *
tac_runner_current(TacState *state)
{
    TacRunner *runner = tac_running(state);
    if (runner == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "must be called from async context");
    }
    return runner;
}

/* Learn what sniffio was told before, and where to tell it: this thread's part
 * of its thread-local object. */
static int
run_find_library(TacRunner *runner)
{
    TacState *state = runner->state;
    PyObject *local = state->hook_library_local;
    PyObject *previous = PyObject_GetAttr(local, state->str_name);
    PyObject *dict =
        previous == NULL ? NULL : PyObject_GetAttrString(local, "__dict__");
    if (dict == NULL) {
        Py_XDECREF(previous);
        return -1;
    }
    Py_XSETREF(runner->outer_library, previous);
    Py_XSETREF(runner->library_dict, dict);
    return 0;
}

/* Tell sniffio, where it is installed, whose code runs from now on. */
static int
run_enter_library(TacRunner *runner, size_t library)
{
    TacState *state = runner->state;
    if (runner->library == 0 && run_find_library(runner) < 0) {
        return -1;
    }
    PyObject *name = *(PyObject **)((char *)state + library);
    if (PyDict_SetItem(runner->library_dict, state->str_name, name) < 0) {
        return -1;
    }
    runner->library = library;
    return 0;
}

static void
run_leave_library(TacRunner *runner)
{
    if (runner->library == 0) {
        return;
    }
    PyObject *raised = PyErr_GetRaisedException();
    if (PyDict_SetItem(runner->library_dict, runner->state->str_name,
                       runner->outer_library)
        < 0)
    {
        tac_err_report((PyObject *)runner);
    }
    Py_CLEAR(runner->outer_library);
    Py_CLEAR(runner->library_dict);
    runner->library = 0;
    PyErr_SetRaisedException(raised);
}

int
tac_runner_enter(TacRunner *runner, TacRunner **previous)
{
    if (runner->driven) {
        PyErr_SetString(PyExc_RuntimeError, "the runner is running already");
        return -1;
    }
    if (runner->closed) {
        PyErr_SetString(PyExc_RuntimeError, "the runner is closed");
        return -1;
    }
    *previous = tac_running(runner->state);
    if (PyThread_tss_set(&runner->state->runner_key, runner) != 0) {
        PyErr_NoMemory();
        return -1;
    }
    Py_INCREF(runner);
    runner->driven = true;
    runner->thread = PyThread_get_thread_ident();
    return 0;
}

void
tac_runner_leave(TacRunner *runner, TacRunner *previous)
{
    run_leave_library(runner);
    /* Setting a value that was set before needs no memory. */
    (void)PyThread_tss_set(&runner->state->runner_key, previous);
    runner->driven = false;
    Py_DECREF(runner);
}

void
tac_runner_wake(TacRunner *runner)
{
    tac_poller_wake(&runner->poller);
}

void
tac_runner_after_fork(TacState *state)
{
    struct tac_list *head = &state->runners;
    for (struct tac_list *n = head->prev; n != head; n = n->prev) {
        TacRunner *runner = tac_list_entry(n, TacRunner, state_node);
        tac_poller_after_fork(&runner->poller);
        /* The thread has forgotten its loop; who steps next enters its own. */
        Py_CLEAR(runner->home);
        run_leave_library(runner); /* the inner ones first */
    }
}

/* A turn inside of a step ------------------------------------------------- */

static int
run_set_running(TacRunner *runner, TacRunner *current)
{
    if (PyThread_tss_set(&runner->state->runner_key, current) != 0) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

int
tac_runner_nest(TacRunner *runner, struct tac_nested *outer)
{
    if (!runner->driven || runner->current == NULL || runner->is_guest
        || runner->thread != PyThread_get_thread_ident())
    {
        PyErr_SetString(PyExc_RuntimeError, "the runner is running already");
        return -1;
    }
    outer->running = tac_running(runner->state);
    if (run_set_running(runner, runner) < 0) {
        return -1;
    }
    outer->current = runner->current;
    outer->library = runner->library;
    outer->raised = runner->raised;
    runner->current = NULL;
    runner->raised = false;
    /* Else only the outer turn could go on with them, and it waits for us. */
    tac_list_splice_front(&runner->run_queue, &runner->batch);
    tac_list_splice_front(&runner->run_queue, &runner->at_once);
    return 0;
}

int
tac_runner_unnest(TacRunner *runner, const struct tac_nested *outer)
{
    runner->current = outer->current;
    runner->raised = outer->raised;
    (void)run_set_running(runner, outer->running); /* was set before */
    if (outer->library == 0 || outer->library == runner->library) {
        return 0;
    }
    return run_enter_library(runner, outer->library);
}

/* Time -------------------------------------------------------------------- */

static int
run_call_clock(TacRunner *runner, PyObject *method, PyObject *arg,
               double *value)
{
    PyObject *result =
        arg == NULL ? PyObject_CallMethodNoArgs(runner->clock, method)
                    : PyObject_CallMethodOneArg(runner->clock, method, arg);
    if (result == NULL) {
        return -1;
    }
    *value = PyFloat_AsDouble(result);
    Py_DECREF(result);
    return *value == -1.0 && PyErr_Occurred() ? -1 : 0;
}

int
tac_runner_time(TacRunner *runner, double *now_s)
{
    if (runner->clock == NULL) {
        *now_s = tac_clock_now_s();
        return 0;
    }
    return run_call_clock(runner, runner->state->str_current_time, NULL,
                          now_s);
}

static int
run_sleep_time(TacRunner *runner, double deadline, double *sleep_s)
{
    if (runner->clock == NULL) {
        *sleep_s = deadline == Py_HUGE_VAL ? Py_HUGE_VAL
                                           : deadline - tac_clock_now_s();
        return 0;
    }
    PyObject *arg = PyFloat_FromDouble(deadline);
    int rc = arg == NULL
                 ? -1
                 : run_call_clock(runner,
                                  runner->state->str_deadline_to_sleep_time,
                                  arg, sleep_s);
    Py_XDECREF(arg);
    return rc;
}

/* The wait's length ------------------------------------------------------------ */

static inline bool
run_has_work(const TacRunner *runner)
{
    return !tac_list_is_empty(&runner->run_queue);
}

static int
run_set_wait(TacRunner *runner, double limit_s)
{
    double timeout = 0;
    runner->primed = TAC_IDLE_NONE;
    if (!run_has_work(runner) && !runner->stop
        && (run_sleep_time(runner, tac_deadline_next(runner), &timeout) < 0
            || tac_timeline_wait_all(runner, &timeout) < 0))
    {
        return -1;
    }
    /* A clock's code may have made work. */
    if (!(timeout > 0) || run_has_work(runner)) {
        timeout = 0;
    }
    else if (timeout > limit_s) {
        timeout = limit_s;
    }
    double cushion;
    if (tac_idle_shortest(runner, &cushion)) {
        if (cushion < timeout) {
            timeout = cushion;
            runner->primed = TAC_IDLE_WAITER;
        }
    }
    else if (runner->autojump_threshold_s < timeout
             && runner->clock_holds == 0)
    {
        timeout = runner->autojump_threshold_s;
        runner->primed = TAC_IDLE_AUTOJUMP;
    }
    runner->wait_s = timeout;
    return 0;
}

/* poll -------------------------------------------------------------------- */

static void
run_io_hook(TacRunner *runner, enum tac_hook hook)
{
    if (!tac_instruments_has(&runner->instruments, hook)) {
        return;
    }
    PyObject *arg = PyFloat_FromDouble(runner->wait_s);
    if (arg == NULL) {
        PyErr_Clear();
        return;
    }
    tac_instruments_call(runner, hook, arg);
    Py_DECREF(arg);
}

/* Whether this turn may go without asking the kernel. */
static inline bool
run_may_skip_poll(TacRunner *runner)
{
    return run_has_work(runner) && tac_pace_is_fresh(&runner->pace)
           && !runner->stop && runner->clock == NULL
           && tac_list_is_empty(&runner->timelines)
           && !runner->poller.forked
           && !tac_instruments_has(&runner->instruments,
                                   TAC_HOOK_BEFORE_IO_WAIT)
           && !tac_instruments_has(&runner->instruments,
                                   TAC_HOOK_AFTER_IO_WAIT);
}

static int
run_poll(TacRunner *runner)
{
    tac_poller_poll(&runner->poller, runner->wait_s);
    tac_pace_polled(&runner->pace, tac_clock_now_ns());
    if (runner->wait_s > 0 && PyErr_CheckSignals() < 0) {
        runner->raised = true;
        return -1;
    }
    return 0;
}

/* expire_deadlines and what an idle turn does ----------------------------- */

static Py_ssize_t
run_expire_deadlines(TacRunner *runner)
{
    double now_s;
    if (tac_heap_is_empty(&runner->deadlines)) {
        return 0;
    }
    return tac_runner_time(runner, &now_s) < 0
               ? -1
               : tac_deadline_expire(runner, now_s);
}

static Py_ssize_t
run_expire_timelines(TacRunner *runner)
{
    return tac_list_is_empty(&runner->timelines)
               ? 0
               : tac_timeline_expire_all(runner);
}

static int
run_idle(TacRunner *runner)
{
    if (runner->primed == TAC_IDLE_NONE || run_has_work(runner)) {
        return 0;
    }
    if (runner->primed == TAC_IDLE_WAITER) {
        return tac_idle_wake(runner, runner->wait_s);
    }
    PyObject *done = PyObject_CallMethodNoArgs(runner->clock,
                                               runner->state->str__autojump);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* The batch --------------------------------------------------------------- */

/* xorshift64*, drawn for batches of two and more: Trio promises no order, and
 * shows that it does not. */
static inline uint64_t
run_random(TacRunner *runner)
{
    uint64_t x = runner->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    runner->random = x;
    return x * UINT64_C(2685821657736338717);
}

/* Coroutine tasks by age; C tasks, which have none, before them. */
static int
run_compare_age(const void *left, const void *right)
{
    unsigned long long ages[2] = {0, 0};
    struct tac_task *const tasks[2] = {*(struct tac_task *const *)left,
                                       *(struct tac_task *const *)right};
    for (int i = 0; i < 2; i++) {
        if (tac_task_is_coroutine(tasks[i])) {
            ages[i] = tac_task_of(tasks[i])->counter;
        }
    }
    return ages[0] < ages[1] ? -1 : ages[0] > ages[1];
}

/* Tell the instruments of a step; the task's face is kept for the end of the
 * step, when the task may be no more. */
static PyObject *
run_step_face(TacRunner *runner, struct tac_task *task)
{
    PyObject *face = task->ops->object(task);
    if (face == NULL) {
        PyErr_Clear();
    }
    else if (tac_instruments_has(&runner->instruments,
                                 TAC_HOOK_BEFORE_TASK_STEP)) {
        tac_instruments_call(runner, TAC_HOOK_BEFORE_TASK_STEP, face);
    }
    return face;
}

static enum tac_turn
run_step(TacRunner *runner, struct tac_task *task)
{
    struct tac_instruments *instruments = &runner->instruments;
    PyObject *face = NULL;
    /* An exit drops the runner's reference. */
    PyObject *held = tac_task_is_coroutine(task)
                         ? Py_NewRef(tac_task_of(task))
                         : NULL;
    if (task->ops->library != runner->library
        && runner->state->hook_library_local != NULL
        && run_enter_library(runner, task->ops->library) < 0)
    {
        Py_XDECREF(held);
        return TAC_TURN_ERROR;
    }
    runner->current = task;
    if (tac_instruments_has(instruments, TAC_HOOK_BEFORE_TASK_STEP)
        || tac_instruments_has(instruments, TAC_HOOK_AFTER_TASK_STEP))
    {
        face = run_step_face(runner, task);
    }
    int rc = task->ops->step(task);
    if (rc == 0
        && tac_instruments_has(instruments, TAC_HOOK_AFTER_TASK_STEP)
        && (face != NULL || held != NULL))
    {
        tac_instruments_call(runner, TAC_HOOK_AFTER_TASK_STEP,
                             face != NULL ? face : held);
    }
    Py_XDECREF(face);
    Py_XDECREF(held);
    runner->current = NULL;
    if (rc == 0) {
        return TAC_TURN_OK;
    }
    return runner->raised ? TAC_TURN_RAISED : TAC_TURN_ERROR;
}

/* A step, and those that it asks for right after it. */
static inline enum tac_turn
run_step_and_next(TacRunner *runner, struct tac_list *node)
{
    enum tac_turn turn;
    do {
        turn = run_step(runner,
                        tac_list_entry(node, struct tac_task, run_node));
        node = turn == TAC_TURN_OK ? tac_list_pop_front(&runner->at_once)
                                   : NULL;
    } while (node != NULL);
    return turn;
}

/* Tests want the order to be a function of the seed: by age, then shuffled. */
static int
run_sort_batch(TacRunner *runner)
{
    struct tac_vec tasks;
    tac_vec_init(&tasks);
    struct tac_list *node;
    int rc = 0;
    while (rc == 0 && (node = tac_list_pop_front(&runner->batch)) != NULL) {
        rc = tac_vec_push(&tasks,
                          tac_list_entry(node, struct tac_task, run_node));
    }
    if (rc < 0) {
        tac_list_append(&runner->batch, node);
        PyErr_NoMemory();
    }
    qsort(tasks.items, tasks.len, sizeof(tasks.items[0]), run_compare_age);
    for (size_t left = tasks.len; left > 0; left--) {
        size_t i = (size_t)(run_random(runner) % left);
        struct tac_task *task = tasks.items[i];
        tasks.items[i] = tasks.items[left - 1];
        tac_list_append(&runner->batch, &task->run_node);
    }
    tac_vec_fini(&tasks);
    return rc;
}

static enum tac_turn
run_steps(TacRunner *runner)
{
    struct tac_list *first = runner->run_queue.next;
    if (first->next == &runner->run_queue) { /* a batch of one, or of none */
        if (first == &runner->run_queue) {
            return TAC_TURN_OK;
        }
        tac_list_unlink(first);
        return run_step_and_next(runner, first);
    }
    struct tac_list *batch = &runner->batch;
    tac_list_splice_front(batch, &runner->run_queue);
    if (runner->deterministic && run_sort_batch(runner) < 0) {
        return TAC_TURN_ERROR;
    }
    bool from_front = run_random(runner) >> 63;
    enum tac_turn turn = TAC_TURN_OK;
    while (turn == TAC_TURN_OK) {
        struct tac_list *node = from_front ? tac_list_pop_front(batch)
                                           : tac_list_pop_back(batch);
        if (node == NULL) {
            break;
        }
        turn = run_step_and_next(runner, node);
    }
    /* After an early end the rest of the batch is due in the next turn. */
    tac_list_splice_front(&runner->run_queue, batch);
    return turn;
}

static void
run_deferred(TacRunner *runner)
{
    PyObject *exc = PyErr_GetRaisedException(); /* of an early end */
    struct tac_list *node;
    while ((node = tac_list_pop_front(&runner->deferred)) != NULL) {
        struct tac_task *task =
            tac_list_entry(node, struct tac_task, run_node);
        task->ops->batch_end(task);
    }
    PyErr_SetRaisedException(exc);
}

static enum tac_turn
run_batch(TacRunner *runner)
{
    bool outer = runner->in_batch; /* of a turn that this one is inside of */
    runner->in_batch = true;
    enum tac_turn turn = run_steps(runner);
    tac_list_splice_front(&runner->run_queue, &runner->at_once);
    runner->in_batch = outer;
    if (!tac_list_is_empty(&runner->deferred)) {
        run_deferred(runner);
    }
    return turn;
}

/* The turn ---------------------------------------------------------------- */

static int
run_begin_turn(TacRunner *runner, double limit_s)
{
    if (runner->broken) {
        PyErr_SetString(PyExc_TypeError, "the run queue was replaced by "
                                         "something that is no list");
        return -1;
    }
    if (run_set_wait(runner, limit_s) < 0) {
        return -1;
    }
    run_io_hook(runner, TAC_HOOK_BEFORE_IO_WAIT);
    return 0;
}

int
tac_run_begin_turn(TacRunner *runner)
{
    return run_begin_turn(runner, RUN_MAX_TIMEOUT_S);
}

enum tac_turn
tac_run_finish_turn(TacRunner *runner, bool events)
{
    if (tac_iowait_deliver(runner) < 0) {
        return TAC_TURN_ERROR;
    }
    run_io_hook(runner, TAC_HOOK_AFTER_IO_WAIT);
    if (tac_entryq_drain(runner) < 0) {
        return TAC_TURN_ERROR;
    }
    Py_ssize_t expired = run_expire_deadlines(runner);
    Py_ssize_t by_other_clocks =
        expired < 0 ? -1 : run_expire_timelines(runner);
    if (by_other_clocks < 0) {
        return TAC_TURN_ERROR;
    }
    if (expired == 0 && by_other_clocks == 0 && !events
        && run_idle(runner) < 0)
    {
        return TAC_TURN_ERROR;
    }
    return run_batch(runner);
}

static inline enum tac_turn
run_turn(TacRunner *runner, double limit_s)
{
    if (run_may_skip_poll(runner)) {
        if (tac_entryq_drain(runner) < 0
            || run_expire_deadlines(runner) < 0) {
            return TAC_TURN_ERROR;
        }
        return run_batch(runner);
    }
    if (run_begin_turn(runner, limit_s) < 0) {
        return TAC_TURN_ERROR;
    }
    if (run_poll(runner) < 0) {
        return runner->raised ? TAC_TURN_RAISED : TAC_TURN_ERROR;
    }
    return tac_run_finish_turn(runner, runner->poller.events != 0);
}

enum tac_turn
tac_runner_turn(TacRunner *runner, double limit_s)
{
    if (!(limit_s < RUN_MAX_TIMEOUT_S)) {
        limit_s = RUN_MAX_TIMEOUT_S;
    }
    return run_turn(runner, limit_s > 0 ? limit_s : 0);
}

enum tac_turn
tac_runner_drive(TacRunner *runner)
{
    enum tac_turn turn;
    runner->raised = false;
    runner->in_turns = true;
    do {
        turn = run_turn(runner, RUN_MAX_TIMEOUT_S);
    } while (turn == TAC_TURN_OK && !runner->stop && runner->task_count != 0);
    runner->in_turns = false;
    runner->stop = false;
    runner->raised = false;
    return turn;
}

#undef RUN_MAX_TIMEOUT_S
