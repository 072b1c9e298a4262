/* base/gate.c - a gate: threads wait at it until it opens, once and for all. */
#include "base/gate.h"

struct tac_gate *
tac_gate_new(void)
{
    struct tac_gate *gate = PyMem_New(struct tac_gate, 1);
    PyThread_type_lock lock = gate == NULL ? NULL : PyThread_allocate_lock();
    if (lock == NULL) {
        PyMem_Free(gate);
        PyErr_NoMemory();
        return NULL;
    }
    (void)PyThread_acquire_lock(lock, NOWAIT_LOCK); /* nobody else has it */
    gate->lock = lock;
    gate->waiters = 0;
    return gate;
}

void
tac_gate_open(struct tac_gate *gate)
{
    PyThread_release_lock(gate->lock);
    if (gate->waiters == 0) {
        PyThread_free_lock(gate->lock);
        PyMem_Free(gate);
    }
}

bool
tac_gate_pass(struct tac_gate *gate)
{
    PyLockStatus status;
    gate->waiters++;
    Py_BEGIN_ALLOW_THREADS
    status = PyThread_acquire_lock_timed(gate->lock, -1, 1);
    Py_END_ALLOW_THREADS
    gate->waiters--;
    if (status != PY_LOCK_ACQUIRED
        && !PyThread_acquire_lock(gate->lock, NOWAIT_LOCK))
    {
        return false;
    }
    tac_gate_open(gate); /* for the next one */
    return true;
}
