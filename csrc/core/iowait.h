/* core/iowait.h - wait_readable, wait_writable, notify_closing.
 *
 * A table by fd number; each entry has one watch and at most one waiter for
 * each direction.  A ready watch only moves its waiter to `ready`; the turn
 * reschedules them after the poll, because that can call instruments.
 *
 * Owns: the entries.  Waiters are traps that their tasks hold.
 * Threads: runner thread only.
 * Python code run here: instruments, by rescheduling.
 */
#ifndef TAC_CORE_IOWAIT_H
#define TAC_CORE_IOWAIT_H

#include "base/list.h"

#include <Python.h>

struct TacRunner;
struct tac_io_entry;

struct tac_iowait {
    struct tac_io_entry **entries; /* by fd; NULL where never waited */
    int capacity;
    struct tac_list ready; /* of TacTrap.node */
    Py_ssize_t readers, writers; /* tasks waiting */
};

void tac_iowait_init(struct tac_iowait *iowait);
void tac_iowait_fini(struct tac_iowait *iowait);

/* Reschedule the waiters whose watches fired.  0, or -1 with an exception. */
int tac_iowait_deliver(struct TacRunner *runner);

/* Wake all waiters of an fd with ClosedResourceError. */
int tac_iowait_notify_closing(struct TacRunner *runner, int fd);

#endif
