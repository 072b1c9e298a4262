/* base/gate.h - a gate: threads wait at it until it opens, once and for all.
 *
 * For waits that are rare: who finds that it has to wait makes the gate, and
 * whoever it waits for opens it if there is one.  A waiter that gets through
 * lets the next one through; the last one, or the opener if nobody waits,
 * frees it.
 *
 * Owns: its lock.   Threads: any, with the GIL.
 * Python code run here: none.
 */
#ifndef TAC_BASE_GATE_H
#define TAC_BASE_GATE_H

#include <Python.h>
#include <stdbool.h>

struct tac_gate {
    PyThread_type_lock lock; /* held until the gate opens */
    Py_ssize_t waiters;
};

/* A shut gate, or NULL with MemoryError. */
struct tac_gate *tac_gate_new(void);

/* Open it.  The opener's pointer is invalid from then on. */
void tac_gate_open(struct tac_gate *gate);

/* Wait, without the GIL.  False: a signal came before it opened. */
bool tac_gate_pass(struct tac_gate *gate);

#endif
