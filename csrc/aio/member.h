/* aio/member.h - what lives in a loop and is of a layer above it.
 *
 * Transports.  The loop only holds them, shows them to the collector, and
 * lets go of them at its end.
 *
 * Owns: nothing; a member is embedded in what it is of, and unlinks itself
 *     when that dies.
 * Threads: the loop's.   Python code run here: none, unless said.
 */
#ifndef TAC_AIO_MEMBER_H
#define TAC_AIO_MEMBER_H

#include "base/list.h"

#include <Python.h>
#include <stdbool.h>

struct TacLoop;

struct tac_loop_member {
    struct tac_list node; /* in loop->members */
    const struct tac_member_ops *ops;
};

/* What a member waits for; the numbers are those of the module selectors. */
enum tac_member_events { TAC_MEMBER_READS = 1, TAC_MEMBER_WRITES = 2 };

struct tac_member_ops {
    /* Its fd, and a mask of what it waits for. */
    int (*watched)(struct tac_loop_member *member, int *fd);
    /* Visit what the loop keeps alive by it. */
    int (*traverse)(struct tac_loop_member *member, visitproc visit,
                    void *arg);
    /* The loop ends: leave its list, and whatever else is the runner's.
     * Python code: dealloc. */
    void (*drop)(struct tac_loop_member *member);
    /* For those that have entered: closed, or going to be?  The transport,
     * borrowed, or NULL.  Python code: none. */
    bool (*is_closing)(struct tac_loop_member *member);
    PyObject *(*object)(struct tac_loop_member *member);
};

/* Have an fd refused to others; 0, or -1 with MemoryError.  And no more. */
int tac_member_enter(struct TacLoop *loop, struct tac_loop_member *member,
                     int fd);
void tac_member_leave(struct TacLoop *loop, struct tac_loop_member *member,
                      int fd);

/* Has certainly no transport that is not closing this fd? */
int tac_member_is_free(struct TacLoop *loop, int fd);

/* As loop._ensure_fd_no_transport(file); and a list of pairs (fd, transport)
 * of those that this was not called for yet. */
PyObject *tac_member_ensure_free(struct TacLoop *loop, PyObject *file);
PyObject *tac_member_take_new(struct TacLoop *loop, PyObject *noargs);

#endif
