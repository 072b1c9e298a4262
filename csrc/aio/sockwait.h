/* aio/sockwait.h - who waits for which socket.
 *
 * A wait ends with its first event, unlike a reader.  The watch stays armed
 * after it, for most sockets are soon waited for again, and then the kernel
 * need not be told.  If it fires while nobody waits, it is disarmed.  Several
 * can wait for one socket: each event is the oldest wait's.
 *
 * Owns: the tables their sides; a table holds one reference to the owner of
 *     each wait in it.
 * Threads: runner thread only.
 * Python code run here: none, but for dealloc in drop_all.
 */
#ifndef TAC_AIO_SOCKWAIT_H
#define TAC_AIO_SOCKWAIT_H

#include "poll/poller.h"

struct tac_sock_side;
struct tac_sock_wait;

/* What an event does, in a libev callback: so no Python code.  Steals the
 * table's reference to the owner; the wait has left the table.  0, or -1 out
 * of memory, with nothing stolen: the wait goes on. */
typedef int (*tac_sock_ready_fn)(struct tac_sock_wait *wait);

struct tac_sock_wait {
    struct tac_list node;       /* in the side's waits while waiting */
    struct tac_sock_side *side; /* borrowed; NULL: not waiting */
    PyObject *owner;            /* borrowed: what the wait is embedded in */
    tac_sock_ready_fn ready;
};

/* The waits of a loop, for one of the two events. */
struct tac_sock_table {
    struct tac_sock_side **items; /* by fd */
    int capacity;
};

/* Begin a wait.  0, or -1 with OSError or MemoryError. */
int tac_sockwait_begin(struct tac_sock_table *table,
                       struct tac_poller *poller, int fd,
                       enum tac_watch_events events,
                       struct tac_sock_wait *wait);

/* Give a wait up; the caller gets the table's reference.  False: it was not
 * waiting, and there is no reference. */
bool tac_sockwait_end(struct tac_sock_wait *wait);

/* Give all waits up, and free the table. */
void tac_sockwait_drop_all(struct tac_sock_table *table);

int tac_sockwait_traverse_all(struct tac_sock_table *table, visitproc visit,
                              void *arg);

#endif
