/* cross/aio_entry.h - one use of an asyncio-flavoured manager by a Trio task.
 *
 * The manager is entered and left in one asyncio Task, whose coroutine is a
 * method of Python's.  While the body runs, that coroutine awaits the entry:
 *
 *   the Task                        the Trio task
 *     enters              <--waits--  __aenter__: ENTERING
 *     waits in the entry              runs the body: INSIDE
 *     leaves              <--waits--  __aexit__: LEAVING
 *
 * So the entry is what both wait for: to the Task it is a Future without a
 * result, to the Trio task one of what the Task does next.  A cancel of the
 * Task while INSIDE is kept for the exit, and cancels the body's scope.
 *
 * Owns: what it says.
 * Threads: runner thread only.   Python code run here: arbitrary.
 */
#ifndef TAC_CROSS_AIO_ENTRY_H
#define TAC_CROSS_AIO_ENTRY_H

#include "aio/loop.h"

struct TacAioEntry;

/* Enter a manager: the awaitable.  When it is inside, the entry is put into
 * the list `slot`, which `holder` (borrowed) owns.  Returns: new ref |
 * NULL+exc. */
PyObject *tac_aio_entry_enter(TacLoop *loop, PyObject *manager,
                              PyObject *holder, struct TacAioEntry **slot);

/* Leave the latest of the running task's entries in the list, with the body's
 * error (borrowed, or NULL): the awaitable.  Returns: new ref | NULL+exc. */
PyObject *tac_aio_entry_leave(TacState *state, struct TacAioEntry **slot,
                              PyObject *error);

int tac_aio_entries_traverse(struct TacAioEntry *first, visitproc visit,
                             void *arg);
void tac_aio_entries_clear(struct TacAioEntry **slot);

int tac_aio_entry_add_types(PyObject *module, TacState *state);

#endif
