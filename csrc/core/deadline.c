/* core/deadline.c - timers in the runner's one heap. */
#include "core/deadline.h"

#include "base/list.h"
#include "core/run.h"

#include <math.h>

int
tac_timer_arm(TacRunner *runner, struct tac_timer *timer, double at)
{
    tac_heap_remove(&runner->deadlines, &timer->node);
    if (at == Py_HUGE_VAL) {
        return 0;
    }
    if (tac_heap_push(&runner->deadlines, &timer->node, at) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    tac_runner_poke(runner);
    return 0;
}

void
tac_timer_disarm(TacRunner *runner, struct tac_timer *timer)
{
    tac_heap_remove(&runner->deadlines, &timer->node);
}

Py_ssize_t
tac_deadline_expire(TacRunner *runner, double now)
{
    /* Timers armed while others fire wait for the next turn even if they
     * are due already: only sequence numbers given out before count. */
    uint64_t end = runner->deadlines.next_seq;
    Py_ssize_t count = 0;
    const struct tac_heap_item *first;
    if (!tac_heap_may_have(&runner->deadlines, now)) {
        return 0;
    }
    (void)tac_heap_peek(&runner->deadlines);
    while ((first = tac_heap_peek_settled(&runner->deadlines)) != NULL
           && first->at <= now && first->seq < end)
    {
        struct tac_timer *timer =
            tac_list_entry(first->node, struct tac_timer, node);
        tac_heap_remove(&runner->deadlines, &timer->node);
        count++;
        if (timer->fire(timer) < 0) {
            return -1;
        }
    }
    return count;
}

double
tac_deadline_next(TacRunner *runner)
{
    const struct tac_heap_item *first = tac_heap_peek(&runner->deadlines);
    return first == NULL ? Py_HUGE_VAL : first->at;
}
