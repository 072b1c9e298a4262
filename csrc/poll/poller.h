/* poll/poller.h - the kernel's readiness, by libev.
 *
 * The only place that knows <ev.h>.  A watch calls a C function when its fd
 * is ready; that function only marks or links something: no Python code runs
 * inside a libev callback, for libev could not survive an error or a change
 * of its watchers from there.
 *
 * Owns: one libev loop (never the default one, which installs a SIGCHLD
 *     handler), its wake-up and its timer.
 * Threads: runner thread only, but for tac_poller_wake (any thread, also
 *     without the GIL, also in a signal handler).
 * Python code run here: none; the GIL is let go around a wait that blocks.
 */
#ifndef TAC_POLL_POLLER_H
#define TAC_POLL_POLLER_H

#include "base/list.h"

#include <Python.h>
#include <ev.h>
#include <stdbool.h>
#include <sys/types.h>

struct tac_poller {
    struct ev_loop *loop;   /* owned; NULL when closed */
    ev_async wake;          /* other threads' wake-up; always armed */
    ev_timer timer;         /* ends a blocking wait; armed only in one */
    PyThreadState *saved;   /* non-NULL while the GIL is let go */
    unsigned events;        /* watches that fired in this poll */
    bool forked;            /* by a fork, from there to the next poll */
    ev_io signals;          /* of tac_poller_watch_signals */
    ev_io outside;          /* the wake-up of waits outside: see below */
    int outside_write;      /* owned: its writing end; -1: not opened */
    struct ev_loop *helper; /* owned: with `embed`, tells the backend's fd */
    ev_embed embed;
    struct tac_list armed;  /* of tac_watch.node */
    struct tac_list fired;  /* of the same, within a poll: last one first */
    int *changed;           /* owned: fds armed or disarmed since a poll */
    int changed_len;
    int changed_capacity;
};

struct tac_watch;

enum tac_watch_events { /* a mask */
    TAC_WATCH_READ = EV_READ,
    TAC_WATCH_WRITE = EV_WRITE,
};

/* What a ready watch does: `events` of those it was armed for have come.
 * `error` is 0, or an errno with which the kernel refused the fd (the watch is
 * disarmed then).  Must not run Python code. */
typedef void (*tac_watch_fn)(struct tac_watch *watch, int events, int error);

struct tac_watch {
    ev_io io; /* its `data`: the poller, borrowed, which outlives its armed
                 watches */
    struct tac_list node; /* in poller->armed while armed, in poller->fired
                             from its event to the end of the poll */
    int revents;          /* libev's, while in poller->fired */
    tac_watch_fn ready;
};

/* Returns 0, or -1 with OSError. */
int tac_poller_open(struct tac_poller *poller);

/* Close; idempotent.  All watches must be disarmed. */
void tac_poller_close(struct tac_poller *poller);

static inline bool
tac_poller_is_open(const struct tac_poller *poller)
{
    return poller->loop != NULL;
}

/* In the child of a fork: from now on share nothing with the parent.  What
 * is watched stays so, but for signals' and the outside's ends of pipes, and
 * what the kernel knows of it is the child's own as of the next poll. */
void tac_poller_after_fork(struct tac_poller *poller);

/* Seconds.  A wait of that or more may end early: to set a timer costs more
 * than to wait again. */
#define TAC_POLLER_LONG_S 86400.

/* Wait at most `timeout_s` seconds (0: only look) and call the functions of
 * the ready watches, in the order in which the kernel tells of them, which
 * for epoll is that in which they became ready.  Afterwards `poller->events`
 * counts them.  A signal or tac_poller_wake ends the wait early. */
void tac_poller_poll(struct tac_poller *poller, double timeout_s);

/* End the current or next wait of the poller's thread. */
void tac_poller_wake(struct tac_poller *poller);

/* Let bytes that arrive on `fd` (non-blocking; read and dropped) end waits:
 * the far end of signal.set_wakeup_fd(). */
void tac_poller_watch_signals(struct tac_poller *poller, int fd);

/* Waits outside of libev: another thread sleeps, a host loop's thread polls.
 *
 * libev is not thread-safe, but its backend's own fd becomes readable when
 * one of the watched fds is ready.  So the sleeping thread only looks at that
 * one fd, and all calls into libev stay with the runner's thread. */

/* Prepare such waits; from here on tac_poller_wake() ends them.  Returns 0,
 * or -1 with OSError, or RuntimeError where the backend has no fd. */
int tac_poller_open_outside(struct tac_poller *poller);

/* Sleep until something is ready or woken, or for `timeout_s` seconds.
 * Returns whether it was woken.  Any thread that holds the GIL, one at a
 * time, after a poll and with no call into libev till the GIL is let go. */
bool tac_poller_wait_outside(struct tac_poller *poller, double timeout_s);

/* "epoll", "kqueue", "poll", ... */
const char *tac_poller_backend_name(const struct tac_poller *poller);

void tac_watch_init(struct tac_watch *watch, struct tac_poller *poller,
                    tac_watch_fn ready);

/* Watch `fd` until disarmed, for these events and no others.  Arming anew also
 * revives a number that was closed and opened again. */
void tac_watch_arm(struct tac_watch *watch, int fd,
                   enum tac_watch_events events);

void tac_watch_disarm(struct tac_watch *watch);

static inline bool
tac_watch_is_armed(const struct tac_watch *watch)
{
    return ev_is_active(&watch->io);
}

/* What it is armed for; 0: it is not. */
static inline int
tac_watch_events(const struct tac_watch *watch)
{
    return ev_is_active(&watch->io)
               ? watch->io.events & (TAC_WATCH_READ | TAC_WATCH_WRITE)
               : 0;
}

/* NULL: it was never initialised. */
static inline struct tac_poller *
tac_watch_poller(const struct tac_watch *watch)
{
    return watch->io.data;
}

/* Which socket a number stands for.  Of sockets alone the inode tells one
 * open file from another: a named pipe can be opened again, both ends of a
 * pipe share one inode, and so do all eventfds. */
struct tac_socket_id {
    dev_t device;
    ino_t inode; /* 0: no socket */
};

static inline bool
tac_socket_id_equal(const struct tac_socket_id *a,
                    const struct tac_socket_id *b)
{
    return a->inode != 0 && a->inode == b->inode && a->device == b->device;
}

/* Raise what the kernel would answer for an fd that cannot be waited for:
 * OSError EBADF when it is closed, PermissionError EPERM for a regular file
 * or a directory (libev would report these as always ready).  `id` (out, may
 * be NULL).  Returns 0, or -1 with the exception. */
int tac_poller_check_fd(int fd, struct tac_socket_id *id);

#endif
