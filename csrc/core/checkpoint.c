/* core/checkpoint.c - checkpoint and its relatives, and sleep.
 *
 * checkpoint: a schedule point first, then a cancel point (R10).  Only when
 * a cancel is pending by then does it wait a second time, for the cancel to
 * be delivered the usual way.
 */
#include "core/checkpoint.h"

#include "core/run.h"
#include "core/scope.h"

#include <math.h>

bool
tac_checkpoint_is_cancelled(TacTask *task)
{
    TacRunner *runner = task->base.runner;
    return task->base.scope->effectively_cancelled
           || (runner->ki_pending && task == runner->main_task);
}

static enum tac_trap_step
checkpoint_begin(TacTrap *trap, TacTask *task)
{
    return TAC_TRAP_YIELD;
}

/* After the schedule point; a second time never comes, for the wait ends
 * with an error. */
enum tac_trap_step
tac_checkpoint_resume(TacTrap *trap, TacTask *task)
{
    task->cancel_points++;
    return tac_checkpoint_is_cancelled(task) ? TAC_TRAP_WAIT : TAC_TRAP_DONE;
}

const struct tac_trap_ops tac_checkpoint_ops = {
    .name = "checkpoint",
    .begin = checkpoint_begin,
    .resume = tac_checkpoint_resume,
    .yields_elsewhere = true,
};

static enum tac_trap_step
checkpoint_if_cancelled_begin(TacTrap *trap, TacTask *task)
{
    if (tac_checkpoint_is_cancelled(task)) {
        return TAC_TRAP_YIELD;
    }
    task->cancel_points++;
    return TAC_TRAP_DONE;
}

const struct tac_trap_ops tac_checkpoint_if_cancelled_ops = {
    .name = "checkpoint_if_cancelled",
    .begin = checkpoint_if_cancelled_begin,
    .resume = tac_checkpoint_resume,
};

const struct tac_trap_ops tac_cancel_shielded_checkpoint_ops = {
    .name = "cancel_shielded_checkpoint",
    .begin = checkpoint_begin,
};

/* Sleeping ---------------------------------------------------------------- */

static void
sleep_unlink(TacTrap *trap)
{
    if (trap->task != NULL && trap->task->base.runner != NULL) {
        tac_timer_disarm(trap->task->base.runner, &trap->timer);
    }
}

static int
sleep_on_timer(struct tac_timer *timer)
{
    TacTrap *trap = tac_list_entry(timer, TacTrap, timer);
    return tac_task_reschedule(trap->task, NULL, NULL);
}

static enum tac_trap_step
sleep_till(TacTrap *trap, TacTask *task, double deadline)
{
    trap->timer.fire = sleep_on_timer;
    trap->phase = 1;
    return tac_timer_arm(task->base.runner, &trap->timer, deadline) < 0
               ? TAC_TRAP_ERROR
               : TAC_TRAP_WAIT;
}

static enum tac_trap_step
sleep_bad(const char *message)
{
    PyErr_SetString(PyExc_ValueError, message);
    return TAC_TRAP_ERROR;
}

static enum tac_trap_step
sleep_begin(TacTrap *trap, TacTask *task)
{
    double now;
    if (isnan(trap->number)) {
        return sleep_bad("deadline must not be NaN"); /* as Trio's says */
    }
    if (trap->number < 0) {
        return sleep_bad("`seconds` must be non-negative");
    }
    if (trap->number == 0) {
        return TAC_TRAP_YIELD;
    }
    if (tac_runner_time(task->base.runner, &now) < 0) {
        return TAC_TRAP_ERROR;
    }
    return sleep_till(trap, task, now + trap->number);
}

/* phase 0: it was sleep(0), a checkpoint. */
static enum tac_trap_step
sleep_resume(TacTrap *trap, TacTask *task)
{
    return trap->phase == 0 ? tac_checkpoint_resume(trap, task)
                            : TAC_TRAP_DONE;
}

const struct tac_trap_ops tac_sleep_ops = {
    .name = "sleep",
    .begin = sleep_begin,
    .resume = sleep_resume,
    .unlink = sleep_unlink,
};

static enum tac_trap_step
sleep_until_begin(TacTrap *trap, TacTask *task)
{
    if (isnan(trap->number)) {
        return sleep_bad("deadline must not be NaN");
    }
    return sleep_till(trap, task, trap->number);
}

const struct tac_trap_ops tac_sleep_until_ops = {
    .name = "sleep_until",
    .begin = sleep_until_begin,
    .unlink = sleep_unlink,
};

static enum tac_trap_step
sleep_forever_begin(TacTrap *trap, TacTask *task)
{
    return TAC_TRAP_WAIT;
}

static enum tac_trap_step
sleep_forever_resume(TacTrap *trap, TacTask *task)
{
    PyErr_SetString(PyExc_RuntimeError,
                    "Should never have been rescheduled!");
    return TAC_TRAP_ERROR;
}

const struct tac_trap_ops tac_sleep_forever_ops = {
    .name = "sleep_forever",
    .begin = sleep_forever_begin,
    .resume = sleep_forever_resume,
};
