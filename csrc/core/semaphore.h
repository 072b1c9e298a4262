/* core/semaphore.h - Semaphore: a number that is never negative.
 *
 * Owns: a semaphore owns its ParkingLot.
 * Threads: runner thread only.
 * Python code run here: instruments, by rescheduling.
 */
#ifndef TAC_CORE_SEMAPHORE_H
#define TAC_CORE_SEMAPHORE_H

#include "state.h"

int tac_semaphore_add_types(PyObject *module, TacState *state);

#endif
