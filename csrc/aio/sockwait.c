/* aio/sockwait.c - who waits for which socket.
 *
 * A number can stand for another socket at each wait, and the kernel forgets
 * one that is closed without a word.  So the socket is looked at before a
 * watch that is armed already is trusted: that is half of what telling the
 * kernel anew would cost.
 */
#include "aio/sockwait.h"

#include "base/fdtable.h"

struct tac_sock_side {
    struct tac_watch watch;
    struct tac_socket_id id; /* what the watch was armed for */
    struct tac_list waits;   /* of tac_sock_wait.node, oldest first */
};

/* Take a wait out of its side; the reference is the caller's. */
static void
sockwait_unlink(struct tac_sock_wait *wait)
{
    tac_list_unlink(&wait->node);
    wait->side = NULL;
}

static int
sockwait_wake_first(struct tac_sock_side *side)
{
    struct tac_sock_wait *wait =
        tac_list_entry(side->waits.next, struct tac_sock_wait, node);
    sockwait_unlink(wait);
    if (wait->ready(wait) == 0) {
        return 0;
    }
    wait->side = side;
    tac_list_append(&side->waits, &wait->node);
    return -1;
}

/* In a libev callback: no Python code.  Should memory run out, the next poll
 * reports the socket again. */
static void
sockwait_on_ready(struct tac_watch *watch, int events, int error)
{
    struct tac_sock_side *side =
        tac_list_entry(watch, struct tac_sock_side, watch);
    if (error == 0 && !tac_list_is_empty(&side->waits)) {
        (void)sockwait_wake_first(side);
        return;
    }
    tac_watch_disarm(watch);
    /* The number was closed: all who wait for it find that out. */
    while (!tac_list_is_empty(&side->waits)
           && sockwait_wake_first(side) == 0) {
        continue;
    }
}

static int
sockwait_reserve(struct tac_sock_table *table, int fd)
{
    void *items = tac_fdtable_grow(table->items, &table->capacity, fd);
    if (items == NULL) {
        return -1;
    }
    table->items = items;
    return 0;
}

static struct tac_sock_side *
sockwait_side(struct tac_sock_table *table, struct tac_poller *poller, int fd)
{
    if (sockwait_reserve(table, fd) < 0) {
        return NULL;
    }
    struct tac_sock_side *side = table->items[fd];
    if (side == NULL) {
        side = PyMem_Calloc(1, sizeof(*side));
        if (side == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        tac_watch_init(&side->watch, poller, sockwait_on_ready);
        tac_list_init(&side->waits);
        table->items[fd] = side;
    }
    return side;
}

int
tac_sockwait_begin(struct tac_sock_table *table, struct tac_poller *poller,
                   int fd, enum tac_watch_events events,
                   struct tac_sock_wait *wait)
{
    struct tac_socket_id id;
    if (tac_poller_check_fd(fd, &id) < 0) {
        return -1;
    }
    struct tac_sock_side *side = sockwait_side(table, poller, fd);
    if (side == NULL) {
        return -1;
    }
    if (!tac_watch_is_armed(&side->watch)
        || !tac_socket_id_equal(&id, &side->id))
    {
        side->id = id;
        tac_watch_arm(&side->watch, fd, events);
    }
    wait->side = side;
    tac_list_append(&side->waits, &wait->node);
    Py_INCREF(wait->owner);
    return 0;
}

bool
tac_sockwait_end(struct tac_sock_wait *wait)
{
    struct tac_sock_side *side = wait->side;
    if (side == NULL) {
        return false;
    }
    sockwait_unlink(wait);
    if (tac_list_is_empty(&side->waits)
        && tac_poller_is_open(tac_watch_poller(&side->watch)))
    {
        tac_watch_disarm(&side->watch);
    }
    return true;
}

void
tac_sockwait_drop_all(struct tac_sock_table *table)
{
    /* What dies with a wait may run code that looks at the table. */
    struct tac_sock_table dropped = *table;
    *table = (struct tac_sock_table){0};
    for (int fd = 0; fd < dropped.capacity; fd++) {
        struct tac_sock_side *side = dropped.items[fd];
        if (side == NULL) {
            continue;
        }
        if (tac_poller_is_open(tac_watch_poller(&side->watch))) {
            tac_watch_disarm(&side->watch);
        }
        while (!tac_list_is_empty(&side->waits)) {
            struct tac_sock_wait *wait = tac_list_entry(
                side->waits.next, struct tac_sock_wait, node);
            sockwait_unlink(wait);
            Py_DECREF(wait->owner);
        }
        PyMem_Free(side);
    }
    PyMem_Free(dropped.items);
}

int
tac_sockwait_traverse_all(struct tac_sock_table *table, visitproc visit,
                          void *arg)
{
    for (int fd = 0; fd < table->capacity; fd++) {
        struct tac_sock_side *side = table->items[fd];
        if (side == NULL) {
            continue;
        }
        for (struct tac_list *n = side->waits.next; n != &side->waits;
             n = n->next)
        {
            Py_VISIT(tac_list_entry(n, struct tac_sock_wait, node)->owner);
        }
    }
    return 0;
}
