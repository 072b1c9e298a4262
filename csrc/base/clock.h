/* base/clock.h - the monotonic clock in C, as float seconds.
 *
 * The same clock and the same rounding as CPython's time.monotonic(), so
 * that values of the two compare exactly.
 * Threads: any.   Python code run here: none.
 */
#ifndef TAC_BASE_CLOCK_H
#define TAC_BASE_CLOCK_H

#include <Python.h>

#include <stdint.h>
#include <time.h>

static inline int64_t
tac_clock_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static inline double
tac_clock_seconds(int64_t ns)
{
    return (double)ns / 1e9;
}

static inline double
tac_clock_now_s(void)
{
    return tac_clock_seconds(tac_clock_now_ns());
}

#endif
