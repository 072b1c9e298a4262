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
};

#endif
