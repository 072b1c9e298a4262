/* poll/poller.c - the kernel's readiness, by libev.
 *
 * ev_loop_new with EVFLAG_NOENV, never the default loop: that one installs a
 * SIGCHLD handler and keeps process-wide state.  No ev_signal and no ev_child
 * for the same reason.  Other threads' wake-ups go through one ev_async,
 * which libev makes an eventfd where there is one.
 */
#include "poll/poller.h"

#include <errno.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

/* libev's loop holds one user pointer, its poller. */
static struct tac_poller *
poller_of(struct ev_loop *loop)
{
    return ev_userdata(loop);
}

static void
poller_release_gil(struct ev_loop *loop) EV_NOEXCEPT
{
    poller_of(loop)->saved = PyEval_SaveThread();
}

static void
poller_acquire_gil(struct ev_loop *loop) EV_NOEXCEPT
{
    struct tac_poller *poller = poller_of(loop);
    PyThreadState *saved = poller->saved;
    poller->saved = NULL;
    PyEval_RestoreThread(saved);
}

static void
poller_on_wake(struct ev_loop *loop, ev_async *wake, int revents)
{
    /* Nothing to do: the wait has ended, and the turn looks at its queues. */
}

static void
poller_on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
    /* Nothing to do: the wait has ended. */
}

static void
poller_on_io(struct ev_loop *loop, ev_io *io, int revents)
{
    struct tac_watch *watch =
        (struct tac_watch *)((char *)io - offsetof(struct tac_watch, io));
    struct tac_poller *poller = watch->poller;
    poller->events++;
    /* On EV_ERROR libev has stopped the watcher; fd_kill is what feeds it,
     * and the kernel's own answer was EBADF in all cases but a lost one. */
    watch->ready(watch, revents & EV_ERROR ? EBADF : 0);
}

static void
poller_on_signal(struct ev_loop *loop, ev_io *io, int revents)
{
    char bytes[64];
    poller_of(loop)->events++;
    while (read(io->fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes)) {
        continue;
    }
}

int
tac_poller_open(struct tac_poller *poller)
{
    poller->saved = NULL;
    poller->events = 0;
    poller->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (poller->loop == NULL) {
        if (errno == 0) {
            errno = ENOSYS;
        }
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    ev_set_userdata(poller->loop, poller);
    ev_async_init(&poller->wake, poller_on_wake);
    ev_async_start(poller->loop, &poller->wake);
    ev_timer_init(&poller->timer, poller_on_timer, 0., 0.);
    ev_io_init(&poller->signals, poller_on_signal, -1, 0);
    return 0;
}

void
tac_poller_close(struct tac_poller *poller)
{
    if (poller->loop == NULL) {
        return;
    }
    ev_timer_stop(poller->loop, &poller->timer);
    ev_async_stop(poller->loop, &poller->wake);
    ev_io_stop(poller->loop, &poller->signals);
    ev_loop_destroy(poller->loop);
    poller->loop = NULL;
}

static void
poller_wait(struct tac_poller *poller, double timeout_s)
{
    ev_set_loop_release_cb(poller->loop, poller_release_gil,
                           poller_acquire_gil);
    /* libev times from its own notion of now, which is as old as its last
     * run. */
    ev_now_update(poller->loop);
    ev_timer_set(&poller->timer, timeout_s, 0.);
    ev_timer_start(poller->loop, &poller->timer);
    ev_run(poller->loop, EVRUN_ONCE);
    ev_timer_stop(poller->loop, &poller->timer);
    ev_set_loop_release_cb(poller->loop, NULL, NULL);
}

void
tac_poller_poll(struct tac_poller *poller, double timeout_s)
{
    poller->events = 0;
    if (timeout_s > 0) {
        poller_wait(poller, timeout_s);
    }
    else {
        ev_run(poller->loop, EVRUN_NOWAIT);
    }
}

void
tac_poller_wake(struct tac_poller *poller)
{
    if (poller->loop != NULL) {
        ev_async_send(poller->loop, &poller->wake);
    }
}

void
tac_poller_watch_signals(struct tac_poller *poller, int fd)
{
    ev_io_stop(poller->loop, &poller->signals);
    ev_io_set(&poller->signals, fd, EV_READ);
    ev_io_start(poller->loop, &poller->signals);
}

void
tac_poller_after_fork(struct tac_poller *poller)
{
    if (poller->loop != NULL) {
        ev_loop_fork(poller->loop);
    }
}

const char *
tac_poller_backend_name(const struct tac_poller *poller)
{
    if (poller->loop == NULL) {
        return "closed";
    }
    switch (ev_backend(poller->loop)) {
    case EVBACKEND_EPOLL:
        return "epoll";
    case EVBACKEND_KQUEUE:
        return "kqueue";
    case EVBACKEND_POLL:
        return "poll";
    case EVBACKEND_SELECT:
        return "select";
    case EVBACKEND_PORT:
        return "port";
    default:
        return "other";
    }
}

void
tac_watch_init(struct tac_watch *watch, struct tac_poller *poller,
               tac_watch_fn ready)
{
    ev_io_init(&watch->io, poller_on_io, -1, 0);
    watch->poller = poller;
    watch->ready = ready;
}

void
tac_watch_arm(struct tac_watch *watch, int fd, enum tac_watch_events events)
{
    struct ev_loop *loop = watch->poller->loop;
    ev_io_stop(loop, &watch->io);
    ev_io_set(&watch->io, fd, events);
    ev_io_start(loop, &watch->io);
}

void
tac_watch_disarm(struct tac_watch *watch)
{
    if (ev_is_active(&watch->io) || ev_is_pending(&watch->io)) {
        ev_io_stop(watch->poller->loop, &watch->io);
    }
}

int
tac_poller_check_fd(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
        errno = EPERM;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return 0;
}
