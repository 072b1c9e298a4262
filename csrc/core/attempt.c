/* core/attempt.c - traps that try first and wait only if that fails. */
#include "core/attempt.h"

#include "core/checkpoint.h"

static enum tac_trap_step
attempt_now(TacTrap *trap, TacTask *task, tac_attempt_fn attempt)
{
    enum tac_trap_step step = attempt(trap, task);
    if (step == TAC_TRAP_DONE) {
        trap->phase = TAC_ATTEMPT_SUCCEEDED;
        return TAC_TRAP_YIELD;
    }
    trap->phase = TAC_ATTEMPT_WAITS;
    return step;
}

enum tac_trap_step
tac_attempt_begin(TacTrap *trap, TacTask *task, tac_attempt_fn attempt)
{
    if (tac_checkpoint_is_cancelled(task)) {
        trap->phase = TAC_ATTEMPT_CANCELLED;
        return TAC_TRAP_YIELD;
    }
    task->cancel_points++;
    return attempt_now(trap, task, attempt);
}

/* A cancel that was pending at the beginning may be gone by now: somebody
 * else has shielded the scope. */
enum tac_trap_step
tac_attempt_resume(TacTrap *trap, TacTask *task, tac_attempt_fn attempt)
{
    if (trap->phase != TAC_ATTEMPT_CANCELLED) {
        return TAC_TRAP_DONE;
    }
    enum tac_trap_step step = tac_checkpoint_resume(trap, task);
    return step == TAC_TRAP_DONE ? attempt_now(trap, task, attempt) : step;
}
