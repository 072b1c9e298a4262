/* core/iowait.c - wait_readable, wait_writable, notify_closing.
 *
 * A watch is armed when a task begins to wait.  It stays armed when it fires,
 * for most tasks read what there is and wait again, and the kernel need not be
 * told; if it fires once more and nobody waits, it is disarmed.  That is done
 * for sockets only, where it is certain that a number still stands for the
 * same open file.
 */
#include "core/iowait.h"

#include "base/compat.h"
#include "core/iotraps.h"
#include "core/run.h"
#include "core/trap.h"

#include <errno.h>

#define IOWAIT_MIN_CAPACITY 64

/* TacTrap.phase of a wait. */
enum { IOWAIT_WAITS, IOWAIT_FIRED, IOWAIT_FAILED };

struct tac_io_entry {
    struct tac_watch read, write;
    struct tac_socket_id read_id, write_id; /* what each was armed for */
    TacTrap *reader, *writer; /* borrowed: linked while they wait */
    struct tac_iowait *iowait;
};

void
tac_iowait_init(struct tac_iowait *iowait)
{
    memset(iowait, 0, sizeof(*iowait));
    tac_list_init(&iowait->ready);
}

void
tac_iowait_fini(struct tac_iowait *iowait)
{
    for (int fd = 0; fd < iowait->capacity; fd++) {
        struct tac_io_entry *entry = iowait->entries[fd];
        if (entry == NULL) {
            continue;
        }
        if (tac_poller_is_open(tac_watch_poller(&entry->read))) {
            tac_watch_disarm(&entry->read);
            tac_watch_disarm(&entry->write);
        }
        PyMem_Free(entry);
    }
    PyMem_Free(iowait->entries);
    iowait->entries = NULL;
    iowait->capacity = 0;
}

/* Entries ----------------------------------------------------------------- */

/* A watch fired: its waiter is woken after the poll, and is in its slot until
 * then, so that notify_closing in between finds it.  No Python code here. */
static void
iowait_fire(struct tac_io_entry *entry, struct tac_watch *watch,
            const struct tac_socket_id *id, TacTrap *trap, int error)
{
    if (error != 0 || trap == NULL || id->inode == 0) {
        tac_watch_disarm(watch);
    }
    if (trap != NULL) {
        trap->phase = error == 0 ? IOWAIT_FIRED : IOWAIT_FAILED;
        tac_list_unlink(&trap->node);
        tac_list_append(&entry->iowait->ready, &trap->node);
    }
}

static void
iowait_on_read(struct tac_watch *watch, int events, int error)
{
    struct tac_io_entry *entry =
        tac_list_entry(watch, struct tac_io_entry, read);
    iowait_fire(entry, watch, &entry->read_id, entry->reader, error);
}

static void
iowait_on_write(struct tac_watch *watch, int events, int error)
{
    struct tac_io_entry *entry =
        tac_list_entry(watch, struct tac_io_entry, write);
    iowait_fire(entry, watch, &entry->write_id, entry->writer, error);
}

static int
iowait_grow(struct tac_iowait *iowait, int fd)
{
    int capacity =
        iowait->capacity == 0 ? IOWAIT_MIN_CAPACITY : iowait->capacity;
    while (capacity <= fd) {
        capacity *= 2;
    }
    struct tac_io_entry **entries =
        PyMem_Resize(iowait->entries, struct tac_io_entry *, capacity);
    if (entries == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (int i = iowait->capacity; i < capacity; i++) {
        entries[i] = NULL;
    }
    iowait->entries = entries;
    iowait->capacity = capacity;
    return 0;
}

static struct tac_io_entry *
iowait_entry(TacRunner *runner, int fd)
{
    struct tac_iowait *iowait = &runner->iowait;
    if (fd >= iowait->capacity && iowait_grow(iowait, fd) < 0) {
        return NULL;
    }
    struct tac_io_entry *entry = iowait->entries[fd];
    if (entry == NULL) {
        entry = PyMem_Calloc(1, sizeof(*entry));
        if (entry == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        entry->iowait = iowait;
        tac_watch_init(&entry->read, &runner->poller, iowait_on_read);
        tac_watch_init(&entry->write, &runner->poller, iowait_on_write);
        iowait->entries[fd] = entry;
    }
    return entry;
}

static struct tac_io_entry *
iowait_find(const struct tac_iowait *iowait, int fd)
{
    return fd >= 0 && fd < iowait->capacity ? iowait->entries[fd] : NULL;
}

/* Wake-ups ---------------------------------------------------------------- */

static int
iowait_wake(TacTrap *trap, PyObject *error)
{
    tac_trap_unlink(trap);
    return tac_task_reschedule(trap->task, NULL, error);
}

int
tac_iowait_deliver(TacRunner *runner)
{
    struct tac_list *node;
    while ((node = tac_list_pop_front(&runner->iowait.ready)) != NULL) {
        TacTrap *trap = tac_list_entry(node, TacTrap, node);
        PyObject *error = NULL;
        if (trap->phase == IOWAIT_FAILED) {
            errno = EBADF;
            PyErr_SetFromErrno(PyExc_OSError);
            error = PyErr_GetRaisedException();
        }
        if (iowait_wake(trap, error) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Wake whoever waits for an entry, each with an error of its own: one
 * exception object cannot be raised in two tasks. */
static int
iowait_fail_waiters(struct tac_io_entry *entry, PyObject *type,
                    PyObject *args)
{
    TacTrap *waiters[2] = {entry->reader, entry->writer};
    for (int i = 0; i < 2; i++) {
        if (waiters[i] == NULL) {
            continue;
        }
        PyObject *error = PyObject_CallObject(type, args);
        if (error == NULL || iowait_wake(waiters[i], error) < 0) {
            return -1;
        }
    }
    return 0;
}

int
tac_iowait_notify_closing(TacRunner *runner, int fd)
{
    struct tac_io_entry *entry = iowait_find(&runner->iowait, fd);
    if (entry == NULL) {
        return 0;
    }
    PyObject *args = Py_BuildValue("(s)", "another task closed this fd");
    if (args == NULL) {
        return -1;
    }
    int rc = iowait_fail_waiters(
        entry, runner->state->exc_ClosedResourceError, args);
    Py_DECREF(args);
    tac_watch_disarm(&entry->read);
    tac_watch_disarm(&entry->write);
    return rc;
}

/* The traps: number `fd`, direction by their ops -------------------------- */

static void
iowait_unlink_slot(TacTrap *trap, TacTrap **slot, struct tac_watch *watch,
                   Py_ssize_t *count)
{
    if (*slot == trap) {
        *slot = NULL;
        (*count)--;
        if (trap->phase == IOWAIT_WAITS
            && tac_poller_is_open(tac_watch_poller(watch)))
        {
            tac_watch_disarm(watch);
        }
    }
}

static void
iowait_unlink(TacTrap *trap)
{
    tac_list_unlink(&trap->node); /* of `ready`, if it fired */
    TacRunner *runner =
        trap->task == NULL ? NULL : trap->task->base.runner;
    struct tac_io_entry *entry =
        runner == NULL ? NULL : iowait_find(&runner->iowait, trap->fd);
    if (entry != NULL) {
        iowait_unlink_slot(trap, &entry->reader, &entry->read,
                           &runner->iowait.readers);
        iowait_unlink_slot(trap, &entry->writer, &entry->write,
                           &runner->iowait.writers);
    }
}

/* A closed or unsuitable fd: everybody who waits for it hears of that (R37),
 * the caller by the exception that is set. */
static enum tac_trap_step
iowait_refuse(struct tac_io_entry *entry)
{
    PyObject *error = PyErr_GetRaisedException();
    PyObject *args = PyObject_GetAttrString(error, "args");
    int rc = args == NULL ? -1
                          : iowait_fail_waiters(
                              entry, (PyObject *)Py_TYPE(error), args);
    Py_XDECREF(args);
    if (rc < 0) {
        PyErr_Clear();
    }
    PyErr_SetRaisedException(error);
    return TAC_TRAP_ERROR;
}

static void
iowait_arm(struct tac_watch *watch, struct tac_socket_id *armed_for, int fd,
           const struct tac_socket_id *id, enum tac_watch_events events)
{
    if (!tac_watch_is_armed(watch) || !tac_socket_id_equal(id, armed_for)) {
        *armed_for = *id;
        tac_watch_arm(watch, fd, events);
    }
}

static enum tac_trap_step
iowait_begin(TacTrap *trap, TacTask *task, bool writing)
{
    TacRunner *runner = task->base.runner;
    trap->fd = tac_args_fd(trap->first);
    if (trap->fd < 0) {
        return TAC_TRAP_ERROR;
    }
    struct tac_io_entry *entry = iowait_entry(runner, trap->fd);
    if (entry == NULL) {
        return TAC_TRAP_ERROR;
    }
    TacTrap **slot = writing ? &entry->writer : &entry->reader;
    if (*slot != NULL) {
        PyErr_SetString(runner->state->exc_BusyResourceError,
                        "another task is already reading / writing this fd");
        return TAC_TRAP_ERROR;
    }
    struct tac_socket_id id;
    if (tac_poller_check_fd(trap->fd, &id) < 0) {
        return iowait_refuse(entry);
    }
    *slot = trap;
    if (writing) {
        runner->iowait.writers++;
        iowait_arm(&entry->write, &entry->write_id, trap->fd, &id,
                   TAC_WATCH_WRITE);
    }
    else {
        runner->iowait.readers++;
        iowait_arm(&entry->read, &entry->read_id, trap->fd, &id,
                   TAC_WATCH_READ);
    }
    return TAC_TRAP_WAIT;
}

static enum tac_trap_step
iowait_begin_read(TacTrap *trap, TacTask *task)
{
    return iowait_begin(trap, task, false);
}

static enum tac_trap_step
iowait_begin_write(TacTrap *trap, TacTask *task)
{
    return iowait_begin(trap, task, true);
}

const struct tac_trap_ops tac_wait_readable_ops = {
    .name = "wait_readable",
    .begin = iowait_begin_read,
    .unlink = iowait_unlink,
};

const struct tac_trap_ops tac_wait_writable_ops = {
    .name = "wait_writable",
    .begin = iowait_begin_write,
    .unlink = iowait_unlink,
};

#undef IOWAIT_MIN_CAPACITY
