/* core/parking.h - ParkingLot: a fair FIFO wait queue of tasks.
 *
 * A lot links the traps of the tasks parked in it.  A task may be named as a
 * lot's breaker: when it exits, everybody parked there is told.
 *
 * Owns: nothing; the traps are their tasks'.
 * Threads: runner thread only.
 * Python code run here: instruments, by rescheduling.
 */
#ifndef TAC_CORE_PARKING_H
#define TAC_CORE_PARKING_H

#include "core/task.h"

/* Break the lots that `task` is a breaker of.  0, or -1 with an exception. */
int tac_parking_task_exited(TacState *state, TacTask *task);

int tac_parking_add_types(PyObject *module, TacState *state);

#endif
