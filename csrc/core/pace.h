/* core/pace.h - when a busy turn has to ask the kernel again.
 *
 * While work is ready the kernel is asked once in TAC_PACE_INTERVAL_NS.  The
 * rate of the processor's counter is measured from each poll to the next, so
 * a counter that changes its speed is followed; a rate that cannot be (no
 * time passed, a counter that went back) makes the next turn poll.
 *
 * Owns: nothing.   Threads: runner thread only.   Python code run here: none.
 */
#ifndef TAC_CORE_PACE_H
#define TAC_CORE_PACE_H

#include "base/ticks.h"

#include <stdbool.h>

#define TAC_PACE_INTERVAL_NS 50000

struct tac_pace {
    uint64_t polled_ticks;   /* when the kernel was asked, by the counter */
    uint64_t interval_ticks; /* how long that may be ago; 0: unknown */
    int64_t base_ns;         /* one moment by the clock; 0: none yet */
    uint64_t base_ticks;     /* and by the counter, to measure its rate from */
};

/* Whether the kernel was asked so short a time ago that it need not be. */
static inline bool
tac_pace_is_fresh(const struct tac_pace *pace)
{
    return tac_ticks_now() - pace->polled_ticks < pace->interval_ticks;
}

/* The kernel was asked just now, at `now_ns` of the monotonic clock. */
static inline void
tac_pace_polled(struct tac_pace *pace, int64_t now_ns)
{
    uint64_t ticks = tac_ticks_now();
    int64_t passed_ns = now_ns - pace->base_ns;
    pace->polled_ticks = ticks;
    /* Too short an interval would measure the clocks' own cost. */
    if (passed_ns < TAC_PACE_INTERVAL_NS / 2) {
        return;
    }
    if (pace->base_ns != 0) {
        double rate = (double)(ticks - pace->base_ticks) / (double)passed_ns;
        bool sane = rate > 0.001 && rate < 100.;
        pace->interval_ticks =
            sane ? (uint64_t)(rate * TAC_PACE_INTERVAL_NS) : 0;
    }
    pace->base_ns = now_ns;
    pace->base_ticks = ticks;
}

#endif
