/* core/parking.h - ParkingLot: a fair FIFO wait queue of tasks.
 *
 * A lot links the traps of the tasks parked in it.
 *
 * Owns: nothing; the traps are their tasks'.
 * Threads: runner thread only.
 * Python code run here: instruments, by rescheduling.
 */
#ifndef TAC_CORE_PARKING_H
#define TAC_CORE_PARKING_H

#include "core/trap.h"

typedef struct {
    PyObject_HEAD
    TacState *state;        /* borrowed: the type holds the module */
    struct tac_list parked; /* of TacTrap.node, oldest first */
    Py_ssize_t count;
    PyObject *broken_by; /* owned list of tasks, or NULL */
    PyObject *weakrefs;
} TacParkingLot;

/* Returns: new ref | NULL+exc. */
TacParkingLot *tac_parking_new(TacState *state);

/* Link a trap whose `first` is a whole lot, to wait there: TAC_TRAP_WAIT. */
enum tac_trap_step tac_parking_join(TacTrap *trap, TacTask *task);

/* The same for any lot: TAC_TRAP_ERROR with BrokenResourceError where it is
 * broken. */
enum tac_trap_step tac_parking_park(TacTrap *trap, TacTask *task);

/* The `unlink` of a trap whose `first` is a lot. */
void tac_parking_unlink(TacTrap *trap);

/* The trap of the task that is parked longest, borrowed, or NULL. */
TacTrap *tac_parking_first(TacParkingLot *lot);

/* Wake the task that is parked longest; `*task`, new ref, or NULL: nobody is.
 * 0, or -1 with RuntimeError (and nothing done) where it must not be woken.
 */
int tac_parking_wake_first(TacParkingLot *lot, TacTask **task);

/* Break a lot; `task` (borrowed) is to blame.  0, or -1 with an exception. */
int tac_parking_break(TacParkingLot *lot, PyObject *task);

int tac_parking_add_types(PyObject *module, TacState *state);

#endif
