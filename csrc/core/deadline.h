/* core/deadline.h - timers in the runner's one heap.
 *
 * Scopes' deadlines, sleeps and every other timed thing are `struct
 * tac_timer`s embedded in what they time, with the function that their
 * expiry calls.  Equal times fire in the order in which they were armed.
 *
 * Owns: nothing; the owner disarms before it dies.
 * Threads: runner thread only.   Python code run here: see each function.
 */
#ifndef TAC_CORE_DEADLINE_H
#define TAC_CORE_DEADLINE_H

#include "base/heap.h"
#include "base/list.h"

#include <Python.h>

#include <stdbool.h>

struct TacRunner;
struct tac_timer;

/* What an expired (and by then disarmed) timer does.  0, or -1 with an
 * exception. */
typedef int (*tac_timer_fn)(struct tac_timer *timer);

struct tac_timer {
    struct tac_heap_node node;
    tac_timer_fn fire;
};

static inline int
tac_timer_is_armed(const struct tac_timer *timer)
{
    return tac_heap_is_linked(&timer->node);
}

/* Arm or move a timer to `at`, in seconds of the runner's clock; +inf
 * disarms.  0, or -1 with MemoryError.  Python code: none. */
int tac_timer_arm(struct TacRunner *runner, struct tac_timer *timer,
                  double at);

/* Idempotent.  Python code: none. */
void tac_timer_disarm(struct TacRunner *runner, struct tac_timer *timer);

/* Fire all timers that are due at `now`.  Returns how many, or -1 with an
 * exception.  Python code: arbitrary (abort functions). */
Py_ssize_t tac_deadline_expire(struct TacRunner *runner, double now);

/* The earliest armed time, or +inf.  Python code: none. */
double tac_deadline_next(struct TacRunner *runner);

/* Timers that go by another clock than the runner's, kept by whoever has that
 * clock.  While it is linked each turn asks it, and polls. */
struct tac_timeline {
    struct tac_list node; /* in runner->timelines */
    uint64_t asked;       /* the last pass of questions that it was in */
    /* Lower `*wait_s` to the seconds till the first of them is due. */
    int (*wait)(struct tac_timeline *line, double *wait_s);
    /* Fire what is due.  Returns how many. */
    Py_ssize_t (*expire)(struct tac_timeline *line);
};

/* Idempotent.  Python code: none. */
void tac_timeline_link(struct TacRunner *runner, struct tac_timeline *line);
void tac_timeline_unlink(struct tac_timeline *line);

/* Ask all of them.  -1 with an exception.  Python code: arbitrary (clocks),
 * which may link and unlink timelines. */
int tac_timeline_wait_all(struct TacRunner *runner, double *wait_s);
Py_ssize_t tac_timeline_expire_all(struct TacRunner *runner);

#endif
