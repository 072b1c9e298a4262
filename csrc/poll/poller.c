/* poll/poller.c - the kernel's readiness, by libev.
 *
 * ev_loop_new with EVFLAG_NOENV, never the default loop: that one installs a
 * SIGCHLD handler and keeps process-wide state.  No ev_signal and no ev_child
 * for the same reason.  Other threads' wake-ups go through one ev_async,
 * which libev makes an eventfd where there is one.
 */
#include "poll/poller.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
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
    /* The wait has ended, and the turn looks at its queues. */
    poller_of(loop)->events++;
}

static void
poller_on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
    /* Nothing to do: the wait has ended. */
}

/* Before which node a watch goes into the list, whose last one does its part
 * first: of one fd what reads goes before what writes, whichever was armed
 * first. */
static struct tac_list *
poller_place(struct tac_poller *poller, const struct tac_watch *watch)
{
    struct tac_list *last = poller->fired.prev;
    if (last == &poller->fired) {
        return last;
    }
    const struct tac_watch *other =
        tac_list_entry(last, struct tac_watch, node);
    bool stays_first = other->io.fd == watch->io.fd
                      && (other->io.events & TAC_WATCH_READ)
                      && !(watch->io.events & TAC_WATCH_READ);
    return stays_first ? last : &poller->fired;
}

/* libev goes through what is pending from the last to the first, so what the
 * watches do waits until it is through. */
static void
poller_on_io(struct ev_loop *loop, ev_io *io, int revents)
{
    struct tac_watch *watch =
        (struct tac_watch *)((char *)io - offsetof(struct tac_watch, io));
    struct tac_poller *poller = tac_watch_poller(watch);
    poller->events++;
    watch->revents = revents;
    tac_list_unlink(&watch->node);
    tac_list_append(poller_place(poller, watch), &watch->node);
}

/* What one does may disarm others, which takes them out of the list. */
static void
poller_call_fired(struct tac_poller *poller)
{
    struct tac_list *node;
    while ((node = tac_list_pop_back(&poller->fired)) != NULL) {
        struct tac_watch *watch = tac_list_entry(node, struct tac_watch, node);
        if (ev_is_active(&watch->io)) {
            tac_list_append(&poller->armed, node);
        }
        /* On EV_ERROR libev has stopped the watcher; fd_kill is what feeds
         * it, and the kernel's own answer was EBADF in all cases but a lost
         * one. */
        if (watch->revents & EV_ERROR) {
            watch->ready(watch, 0, EBADF);
            continue;
        }
        watch->ready(
            watch, watch->revents & (TAC_WATCH_READ | TAC_WATCH_WRITE), 0);
    }
}

/* Somebody wrote bytes only to end the wait. */
static void
poller_on_bytes(struct ev_loop *loop, ev_io *io, int revents)
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
    poller->forked = false;
    poller->events = 0;
    tac_list_init(&poller->armed);
    tac_list_init(&poller->fired);
    poller->changed = NULL;
    poller->changed_len = poller->changed_capacity = 0;
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
    ev_io_init(&poller->signals, poller_on_bytes, -1, 0);
    ev_io_init(&poller->outside, poller_on_bytes, -1, 0);
    poller->outside_write = -1;
    poller->helper = NULL;
    return 0;
}

static void
poller_close_outside(struct tac_poller *poller)
{
    if (poller->outside_write >= 0) {
        ev_io_stop(poller->loop, &poller->outside);
        close(poller->outside.fd);
        close(poller->outside_write);
        poller->outside_write = -1;
    }
    if (poller->helper != NULL) {
        ev_loop_destroy(poller->helper);
        poller->helper = NULL;
    }
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
    poller_close_outside(poller);
    ev_loop_destroy(poller->loop);
    poller->loop = NULL;
    PyMem_Free(poller->changed);
    poller->changed = NULL;
}

/* libev makes a new epoll set and a new pipe at its next run, before it tells
 * the kernel of any change.  Till then a wake-up would reach the parent. */
void
tac_poller_after_fork(struct tac_poller *poller)
{
    if (poller->loop == NULL) {
        return;
    }
    ev_loop_fork(poller->loop);
    ev_io_stop(poller->loop, &poller->signals);
    poller_close_outside(poller);
    poller->saved = NULL; /* another thread's, which is no more */
    poller->forked = true;
}

/* Fds that were closed while they were watched ------------------------------
 *
 * libev tells the kernel of a change at the next poll, and takes an fd that is
 * not open by then for a bug: where it is built with assertions, as in Debian,
 * the process ends.  Here it is a user's mistake that asyncio and Trio survive.
 * So fds with changes are looked at before each poll. */

/* Remember an fd for the next poll; forgetting one for want of memory only
 * loses the check. */
static void
poller_note_change(struct tac_poller *poller, int fd)
{
    if (poller->changed_len == poller->changed_capacity) {
        int capacity = poller->changed_capacity * 2 + 16;
        int *changed = PyMem_Resize(poller->changed, int, capacity);
        if (changed == NULL) {
            return;
        }
        poller->changed = changed;
        poller->changed_capacity = capacity;
    }
    poller->changed[poller->changed_len++] = fd;
}

/* Take all watches of a closed fd out of libev, and tell their owners. */
static void
poller_drop_fd(struct tac_poller *poller, int fd)
{
    struct tac_list dropped;
    tac_list_init(&dropped);
    for (struct tac_list *n = poller->armed.next; n != &poller->armed;) {
        struct tac_watch *watch = tac_list_entry(n, struct tac_watch, node);
        n = n->next;
        if (watch->io.fd == fd) {
            ev_io_stop(poller->loop, &watch->io);
            tac_list_unlink(&watch->node);
            tac_list_append(&dropped, &watch->node);
        }
    }
    struct tac_list *node;
    while ((node = tac_list_pop_front(&dropped)) != NULL) {
        struct tac_watch *watch = tac_list_entry(node, struct tac_watch, node);
        poller->events++;
        watch->ready(watch, 0, EBADF);
    }
}

static void
poller_check_changes(struct tac_poller *poller)
{
    for (int i = 0; i < poller->changed_len; i++) {
        int fd = poller->changed[i];
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            poller_drop_fd(poller, fd);
        }
    }
    poller->changed_len = 0;
}

static void
poller_wait(struct tac_poller *poller, double timeout_s)
{
    ev_set_loop_release_cb(poller->loop, poller_release_gil,
                           poller_acquire_gil);
    if (timeout_s >= TAC_POLLER_LONG_S) {
        ev_run(poller->loop, EVRUN_ONCE); /* a minute, without a timer */
    }
    else {
        /* libev times from its own notion of now, which is as old as its
         * last run. */
        ev_now_update(poller->loop);
        ev_timer_set(&poller->timer, timeout_s, 0.);
        ev_timer_start(poller->loop, &poller->timer);
        ev_run(poller->loop, EVRUN_ONCE);
        ev_timer_stop(poller->loop, &poller->timer);
    }
    ev_set_loop_release_cb(poller->loop, NULL, NULL);
}

void
tac_poller_poll(struct tac_poller *poller, double timeout_s)
{
    poller->events = 0;
    if (poller->forked) { /* whoever woke it since has left no trace */
        poller->forked = false;
        timeout_s = 0;
    }
    poller_check_changes(poller);
    if (timeout_s > 0 && poller->events == 0) {
        poller_wait(poller, timeout_s);
    }
    else {
        ev_run(poller->loop, EVRUN_NOWAIT);
    }
    poller_call_fired(poller);
}

void
tac_poller_wake(struct tac_poller *poller)
{
    if (poller->loop == NULL || poller->forked) {
        return;
    }
    if (poller->outside_write < 0) {
        ev_async_send(poller->loop, &poller->wake);
        return;
    }
    /* libev writes to its own pipe only during its own waits.  A full pipe
     * has woken the waiter already. */
    ssize_t written = write(poller->outside_write, "", 1);
    (void)written;
}

/* Waits outside of libev --------------------------------------------------- */

/* A watcher that embeds one loop into another waits for the backend's fd of
 * the inner one: that is the documented way to it.  libev makes itself a new
 * one now and then, so it is asked each time; that is no system call. */
static int
poller_backend_fd(struct tac_poller *poller)
{
    ev_embed_stop(poller->helper, &poller->embed);
    ev_embed_start(poller->helper, &poller->embed);
    return poller->embed.io.fd;
}

static int
poller_open_helper(struct tac_poller *poller)
{
    if ((ev_backend(poller->loop) & ev_embeddable_backends()) == 0) {
        PyErr_Format(PyExc_RuntimeError,
                     "libev's backend %s cannot be waited for from outside",
                     tac_poller_backend_name(poller));
        return -1;
    }
    poller->helper = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (poller->helper == NULL) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    ev_embed_init(&poller->embed, NULL, poller->loop);
    return 0;
}

static int
poller_make_pipe(int fds[2])
{
    if (pipe(fds) < 0) {
        return -1;
    }
    for (int i = 0; i < 2; i++) {
        if (fcntl(fds[i], F_SETFD, FD_CLOEXEC) < 0
            || fcntl(fds[i], F_SETFL, O_NONBLOCK) < 0)
        {
            int error = errno;
            close(fds[0]);
            close(fds[1]);
            errno = error;
            return -1;
        }
    }
    return 0;
}

int
tac_poller_open_outside(struct tac_poller *poller)
{
    int fds[2];
    if (poller_open_helper(poller) < 0) {
        return -1;
    }
    if (poller_make_pipe(fds) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    poller->outside_write = fds[1];
    ev_io_set(&poller->outside, fds[0], EV_READ);
    ev_io_start(poller->loop, &poller->outside);
    return 0;
}

bool
tac_poller_wait_outside(struct tac_poller *poller, double timeout_s)
{
    struct pollfd waited = {.fd = poller_backend_fd(poller),
                            .events = POLLIN};
    double timeout_ms = ceil(timeout_s * 1000.);
    int ready;
    Py_BEGIN_ALLOW_THREADS
    ready = poll(&waited, 1, timeout_ms < INT_MAX ? (int)timeout_ms : INT_MAX);
    Py_END_ALLOW_THREADS
    /* Interrupted counts as woken: then the turn looks for itself. */
    return ready != 0;
}

void
tac_poller_watch_signals(struct tac_poller *poller, int fd)
{
    ev_io_stop(poller->loop, &poller->signals);
    ev_io_set(&poller->signals, fd, EV_READ);
    ev_io_start(poller->loop, &poller->signals);
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
    watch->node.next = watch->node.prev = NULL;
    watch->io.data = poller;
    watch->ready = ready;
}

void
tac_watch_arm(struct tac_watch *watch, int fd, enum tac_watch_events events)
{
    struct tac_poller *poller = tac_watch_poller(watch);
    struct ev_loop *loop = poller->loop;
    ev_io_stop(loop, &watch->io);
    ev_io_set(&watch->io, fd, events);
    ev_io_start(loop, &watch->io);
    tac_list_unlink(&watch->node);
    tac_list_append(&poller->armed, &watch->node);
    poller_note_change(poller, fd);
}

void
tac_watch_disarm(struct tac_watch *watch)
{
    if (ev_is_active(&watch->io) || ev_is_pending(&watch->io)) {
        struct tac_poller *poller = tac_watch_poller(watch);
        ev_io_stop(poller->loop, &watch->io);
        poller_note_change(poller, watch->io.fd);
    }
    tac_list_unlink(&watch->node);
}

int
tac_poller_check_fd(int fd, struct tac_socket_id *id)
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
    if (id != NULL) {
        id->device = st.st_dev;
        id->inode = S_ISSOCK(st.st_mode) ? st.st_ino : 0;
    }
    return 0;
}
