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

/* Timelines --------------------------------------------------------------- */

void
tac_timeline_link(TacRunner *runner, struct tac_timeline *line)
{
    if (!tac_list_is_linked(&line->node)) {
        line->asked = runner->timeline_pass;
        tac_list_append(&runner->timelines, &line->node);
        tac_runner_poke(runner);
    }
}

void
tac_timeline_unlink(struct tac_timeline *line)
{
    tac_list_unlink(&line->node);
}

/* One that this pass has not asked yet, or NULL.  The search begins anew each
 * time, for a clock's code may have changed the list. */
static struct tac_timeline *
deadline_next_line(TacRunner *runner)
{
    struct tac_list *head = &runner->timelines;
    for (struct tac_list *n = head->next; n != head; n = n->next) {
        struct tac_timeline *line =
            tac_list_entry(n, struct tac_timeline, node);
        if (line->asked != runner->timeline_pass) {
            line->asked = runner->timeline_pass;
            return line;
        }
    }
    return NULL;
}

int
tac_timeline_wait_all(TacRunner *runner, double *wait_s)
{
    struct tac_timeline *line;
    runner->timeline_pass++;
    while ((line = deadline_next_line(runner)) != NULL) {
        if (line->wait(line, wait_s) < 0) {
            return -1;
        }
    }
    return 0;
}

Py_ssize_t
tac_timeline_expire_all(TacRunner *runner)
{
    struct tac_timeline *line;
    Py_ssize_t count = 0;
    runner->timeline_pass++;
    while ((line = deadline_next_line(runner)) != NULL) {
        Py_ssize_t expired = line->expire(line);
        if (expired < 0) {
            return -1;
        }
        count += expired;
    }
    return count;
}
