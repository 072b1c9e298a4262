/* core/breaker.h - tasks whose exit breaks a ParkingLot.
 *
 * A task may be named as a lot's breaker: when it exits, everybody parked
 * there is told.  A lock embeds the one that it needs, so that taking it
 * allocates nothing.
 *
 * Owns: what Python code has added owns its task and lot, and is the state's;
 *     a lock's own is borrowed from the lock, which owns both.
 * Threads: runner thread only.
 * Python code run here: instruments, by rescheduling; dealloc.
 */
#ifndef TAC_CORE_BREAKER_H
#define TAC_CORE_BREAKER_H

#include "core/parking.h"

struct tac_breaker {
    struct tac_list task_node;  /* in task->breakers, oldest first */
    struct tac_list state_node; /* in state->breakers */
    TacTask *task;
    TacParkingLot *lot;
    bool is_owned; /* allocated, with references of its own */
};

/* Link a lock's own. */
void tac_breaker_link(TacState *state, struct tac_breaker *breaker,
                      TacTask *task, TacParkingLot *lot);

/* Unlink it again; idempotent. */
void tac_breaker_unlink(struct tac_breaker *breaker);

static inline bool
tac_breaker_is_linked(const struct tac_breaker *breaker)
{
    return tac_list_is_linked(&breaker->task_node);
}

/* Undo one naming of a task as a breaker.  0, or -1 with RuntimeError. */
int tac_breaker_remove(TacTask *task, TacParkingLot *lot);

/* Break the lots that `task` is a breaker of.  0, or -1 with an exception. */
int tac_breaker_task_exited(TacTask *task);

/* For the module's own traverse and clear. */
int tac_breaker_traverse(TacState *state, visitproc visit, void *arg);
void tac_breaker_clear(TacState *state);

int tac_breaker_add_functions(PyObject *module, TacState *state);

#endif
