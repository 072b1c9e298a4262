/* core/idle.c - wait_all_tasks_blocked.
 *
 * The waiters are few (tests use this), so a list kept in order of their
 * cushions will do.
 */
#include "core/idle.h"

#include "core/run.h"

static void
idle_unlink(TacTrap *trap)
{
    tac_list_unlink(&trap->node);
}

/* number: the cushion in seconds of real time. */
static enum tac_trap_step
idle_begin(TacTrap *trap, TacTask *task)
{
    struct tac_list *head = &task->base.runner->idle_waiters;
    struct tac_list *n = head->next;
    while (n != head
           && tac_list_entry(n, TacTrap, node)->number <= trap->number) {
        n = n->next;
    }
    tac_list_append(n, &trap->node); /* before n */
    return TAC_TRAP_WAIT;
}

const struct tac_trap_ops tac_idle_ops = {
    .name = "wait_all_tasks_blocked",
    .begin = idle_begin,
    .unlink = idle_unlink,
};

bool
tac_idle_shortest(TacRunner *runner, double *cushion_s)
{
    struct tac_list *head = &runner->idle_waiters;
    if (tac_list_is_empty(head)) {
        return false;
    }
    *cushion_s = tac_list_entry(head->next, TacTrap, node)->number;
    return true;
}

int
tac_idle_wake(TacRunner *runner, double cushion_s)
{
    double shortest;
    while (tac_idle_shortest(runner, &shortest) && shortest == cushion_s) {
        struct tac_list *node = tac_list_pop_front(&runner->idle_waiters);
        TacTrap *trap = tac_list_entry(node, TacTrap, node);
        if (tac_task_reschedule(trap->task, NULL, NULL) < 0) {
            return -1;
        }
    }
    return 0;
}
