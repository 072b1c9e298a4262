/* base/ticks.h - a cheaper clock for "has about this much time passed?".
 *
 * A call of clock_gettime is a tenth of what a callback costs, so where only
 * an interval has to be bounded the processor's own counter is read.  Its
 * rate is not assumed: whoever uses it measures it against the clock again
 * and again (see core/pace.h).  Where there is no such counter it is the
 * clock in nanoseconds.
 *
 * Threads: any.   Python code run here: none.
 */
#ifndef TAC_BASE_TICKS_H
#define TAC_BASE_TICKS_H

#include "base/clock.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <x86intrin.h>
#endif

static inline uint64_t
tac_ticks_now(void)
{
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    return __rdtsc();
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return (uint64_t)tac_clock_now_ns();
#endif
}

#endif
