/* core/lock.h - Lock and StrictFIFOLock: held by one task at a time.
 *
 * Owns: a lock owns its ParkingLot, and a reference to the task that holds it.
 * Threads: runner thread only.
 * Python code run here: instruments, by rescheduling.
 */
#ifndef TAC_CORE_LOCK_H
#define TAC_CORE_LOCK_H

#include "state.h"

int tac_lock_add_types(PyObject *module, TacState *state);

#endif
