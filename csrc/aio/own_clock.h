/* aio/own_clock.h - timers of a loop whose time() somebody replaced.
 *
 * On asyncio a loop's timers go by whatever loop.time() says: a subclass, or
 * a test that patches the object or the class, moves them.  Here they are in
 * the runner's heap and go by the runner's clock, till time() is found to be
 * another function; from then on they are in a heap of the loop's own, which
 * each turn asks loop.time() for, as often as asyncio would.  So is a loop
 * whose _clock_resolution was changed.
 *
 * Patching is noticed without asking for it at each callback: an attribute
 * that is set comes by tac_own_clock_on_attribute, and a class that changed
 * has another version tag.
 *
 * Owns: nothing; armed timers belong to the loop's list.
 * Threads: runner thread only.
 * Python code run here: loop.time(), and looking it up.
 */
#ifndef TAC_AIO_OWN_CLOCK_H
#define TAC_AIO_OWN_CLOCK_H

#include "aio/loop.h"

#include <limits.h>

/* No type has this version. */
#define TAC_NO_VERSION UINT_MAX

void tac_own_clock_init(TacLoop *loop);

/* Whether the loop's timers are in the heap of its own. */
static inline bool
tac_own_clock_is_set(const TacLoop *loop)
{
    return tac_list_is_linked(&loop->timeline.node);
}

/* Look time() up anew, and move the timers if need be.  0, or -1 with an
 * exception. */
int tac_own_clock_update(TacLoop *loop);

/* The same, if the class may have changed. */
static inline int
tac_own_clock_check(TacLoop *loop)
{
    return Py_TYPE(loop)->tp_version_tag == loop->time_version
               ? 0
               : tac_own_clock_update(loop);
}

/* What loop.time() returns, whoever wrote it.  Returns: new ref | NULL+exc. */
PyObject *tac_own_clock_call(TacLoop *loop);

/* The same in float seconds.  0, or -1 with an exception. */
int tac_own_clock_now(TacLoop *loop, double *now_s);

/* Arm a timer that is not armed, in the heap where it belongs; +inf is never.
 * 0, or -1 with MemoryError. */
int tac_own_clock_arm(TacLoop *loop, struct tac_timer *timer, double at);
void tac_own_clock_disarm(TacLoop *loop, struct tac_timer *timer);

/* The loop ends.  Its timers have been disarmed. */
void tac_own_clock_fini(TacLoop *loop);

/* The loop has got an attribute, or lost it.  0, or -1 with an exception. */
int tac_own_clock_on_attribute(TacLoop *loop, PyObject *name);

/* The method time(), and the attribute _clock_resolution. */
PyObject *tac_own_clock_time(TacLoop *loop, PyObject *noargs);
PyObject *tac_own_clock_get_resolution(TacLoop *loop, void *closure);
int tac_own_clock_set_resolution(TacLoop *loop, PyObject *value,
                                 void *closure);

#endif
