/* aio/timer.h - TimerHandle: a handle that the runner's heap makes ready.
 *
 * Owns: as a handle.  While armed it is linked in its loop's list, which
 *     holds one reference to it.
 * Threads: runner thread only.   Python code run here: as a handle.
 */
#ifndef TAC_AIO_TIMER_H
#define TAC_AIO_TIMER_H

#include "aio/handle.h"
#include "core/deadline.h"

typedef struct TacTimerHandle {
    TacHandle base;
    struct tac_timer timer;
    struct tac_list node; /* in loop->timers; linked: that list owns us */
    double when_s;        /* the loop's clock */
} TacTimerHandle;

/* A new handle, armed for `when_s`.  Returns: new ref | NULL+exc. */
TacTimerHandle *tac_timer_new(TacLoop *loop, double when_s,
                              PyObject *callback, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *context);

/* Disarm all of a loop's timers and drop them. */
void tac_timer_drop_all(TacLoop *loop);

/* Visit the references that the loop's list holds. */
int tac_timer_traverse_all(TacLoop *loop, visitproc visit, void *arg);

int tac_timer_add_types(PyObject *module, TacState *state);

#endif
