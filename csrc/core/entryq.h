/* core/entryq.h - run_sync_soon: the way in from threads and signal handlers.
 *
 * The queue is guarded by the GIL: a push asks whether the queue is open and
 * appends with no Python code between, so it is atomic for other threads and
 * for signal handlers, which CPython runs between bytecodes of the main
 * thread.  An idempotent call has to be hashed and compared, by any Python
 * code: the last pass waits for those who are at it (`pushing`).  The wake-up
 * is the poller's, which needs no GIL at all.
 *
 * The calls are run by a system task, "<TrioToken.run_sync_soon task>", whose
 * coroutine awaits a trap of ours all its life: the turn wakes it when there
 * are calls, and the trap runs them before it waits again.
 *
 * Owns: the queued calls.   Threads: any that hold the GIL.
 * Python code run here: arbitrary in the task's step, else dealloc and
 *     hashing of idempotent calls.
 */
#ifndef TAC_CORE_ENTRYQ_H
#define TAC_CORE_ENTRYQ_H

#include "core/task.h"
#include "core/trap.h"

struct TacRunner;

struct tac_entryq {
    TacTrap *waiter;       /* borrowed: the task's, while it waits */
    PyObject *calls;       /* owned list of (fn, args) */
    PyObject *idempotent;  /* owned dict {(fn, args): None} */
    Py_ssize_t pushing;    /* how many threads are hashing a call */
    bool started;          /* from the task's first step to its last */
    bool stopping;         /* run what is there, then exit */
    bool closed;           /* new calls are refused: RunFinishedError */
};

int tac_entryq_init(struct tac_entryq *queue);
void tac_entryq_fini(struct tac_entryq *queue);
int tac_entryq_traverse(struct tac_entryq *queue, visitproc visit, void *arg);

/* Queue a call.  0, or -1 with RunFinishedError, TypeError (unhashable
 * idempotent arguments) or MemoryError. */
int tac_entryq_push(struct TacRunner *runner, PyObject *fn, PyObject *args,
                    bool idempotent);

/* The turn's phase: make the task runnable when there is a call.  0, or -1
 * with an exception. */
int tac_entryq_drain(struct TacRunner *runner);

Py_ssize_t tac_entryq_size(const struct tac_entryq *queue);

/* Start the task in a nursery (borrowed). */
int tac_entryq_start(struct TacRunner *runner, struct TacNursery *nursery);

/* A token for a runner (borrowed).  Returns: new ref | NULL+exc. */
PyObject *tac_trio_token_new(struct TacRunner *runner);

int tac_entryq_add_types(PyObject *module, TacState *state);

#endif
