/* net/datagram.c - the life of a datagram transport, and receiving. */
#include "net/datagram.h"

#include "base/compat.h"
#include "net/address.h"
#include "net/mmsg.h"
#include "net/spare.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The buffer that all share has a slot for each datagram of a call: as large
 * as those of IP become; of Unix sockets, as asyncio takes. */
#define DATAGRAM_IP_BYTES (64 * 1024)
#define DATAGRAM_UNIX_BYTES (256 * 1024)
#define DATAGRAM_BUFFER_BYTES (TAC_DATAGRAM_BATCH * DATAGRAM_IP_BYTES)

/* Queues ------------------------------------------------------------------ */

static int
datagram_reserve(struct tac_datagram_queue *queue)
{
    if (queue->head + queue->len < queue->capacity) {
        return 0;
    }
    if (queue->head > queue->len) {
        memmove(queue->items, queue->items + queue->head,
                (size_t)queue->len * sizeof(queue->items[0]));
        queue->head = 0;
        return 0;
    }
    Py_ssize_t capacity = queue->capacity == 0 ? 4 : queue->capacity * 2;
    struct tac_datagram *items = PyMem_Realloc(
        queue->items, (size_t)capacity * sizeof(queue->items[0]));
    if (items == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    queue->items = items;
    queue->capacity = capacity;
    return 0;
}

int
tac_datagram_push(struct tac_datagram_queue *queue,
                  const struct tac_datagram *datagram)
{
    if (datagram_reserve(queue) < 0) {
        Py_DECREF(datagram->data);
        Py_XDECREF(datagram->addr);
        return -1;
    }
    queue->items[queue->head + queue->len] = *datagram;
    queue->len++;
    queue->size += PyBytes_GET_SIZE(datagram->data) + TAC_DATAGRAM_HEADER;
    return 0;
}

struct tac_datagram
tac_datagram_pop(struct tac_datagram_queue *queue)
{
    struct tac_datagram datagram = queue->items[queue->head];
    queue->len--;
    queue->head = queue->len == 0 ? 0 : queue->head + 1;
    queue->size -= PyBytes_GET_SIZE(datagram.data) + TAC_DATAGRAM_HEADER;
    return datagram;
}

void
tac_datagram_clear_queue(struct tac_datagram_queue *queue)
{
    struct tac_datagram_queue old = *queue;
    *queue = (struct tac_datagram_queue){0};
    for (Py_ssize_t i = 0; i < old.len; i++) {
        Py_DECREF(old.items[old.head + i].data);
        Py_XDECREF(old.items[old.head + i].addr);
    }
    PyMem_Free(old.items);
}

/* Errors ------------------------------------------------------------------ */

int
tac_datagram_tell_error(TacDatagram *d, const char *message)
{
    if (!PyErr_ExceptionMatches(PyExc_OSError)) {
        return tac_transport_fatal(&d->base, message);
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *result = tac_transport_call_protocol(
        &d->base, d->base.state->str_error_received, exc);
    Py_DECREF(exc);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Receiving --------------------------------------------------------------- */

static char *
datagram_buffer(TacState *state)
{
    if (state->datagram_buffer == NULL) {
        state->datagram_buffer = malloc(DATAGRAM_BUFFER_BYTES);
        if (state->datagram_buffer == NULL) {
            PyErr_NoMemory();
        }
    }
    return state->datagram_buffer;
}

/* Note the address of a sender, as the same object as that of the datagram
 * before it if it is the same one.  0, or -1 with an exception. */
static int
datagram_set_sender(TacDatagram *d, struct tac_datagram *datagram,
                    const struct sockaddr *name, socklen_t len)
{
    const struct tac_datagram *last =
        d->in.len == 0 ? NULL : &d->in.items[d->in.head + d->in.len - 1];
    const struct tac_datagram_ip *known =
        last == NULL ? &d->known_name : &last->name;
    if (len == 0) {
        datagram->addr = Py_NewRef(Py_None);
    }
    else if (len == known->len && memcmp(name, &known->storage, len) == 0) {
        datagram->addr = Py_NewRef(last == NULL ? d->known : last->addr);
        datagram->name = *known;
    }
    else {
        datagram->addr = tac_address_object(name, len);
        if (len <= sizeof(datagram->name.storage)) {
            datagram->name.len = len;
            memcpy(&datagram->name.storage, name, len);
        }
    }
    return datagram->addr == NULL ? -1 : 0;
}

static int
datagram_keep(TacDatagram *d, const struct mmsghdr *message)
{
    const struct msghdr *head = &message->msg_hdr;
    struct tac_datagram datagram = {
        .data = tac_spare_take_copy(d->base.state, head->msg_iov->iov_base,
                                    (Py_ssize_t)message->msg_len),
    };
    if (datagram.data == NULL
        || datagram_set_sender(d, &datagram, head->msg_name,
                               head->msg_namelen)
               < 0)
    {
        Py_XDECREF(datagram.data);
        return -1;
    }
    return tac_datagram_push(&d->in, &datagram);
}

/* As many as there are, up to `count`.  How many, 0: none for now; or -1
 * with an exception.  The shared buffer is in use in here only, where no
 * Python code runs. */
static int
datagram_fill(TacDatagram *d, int count, size_t slot)
{
    struct mmsghdr messages[TAC_DATAGRAM_BATCH];
    struct iovec iov[TAC_DATAGRAM_BATCH];
    struct sockaddr_storage names[TAC_DATAGRAM_BATCH];
    char *buffer = datagram_buffer(d->base.state);
    int fd = buffer == NULL ? -1 : tac_transport_fd(&d->base);
    for (int i = 0; i < count; i++) {
        iov[i] = (struct iovec){buffer + (size_t)i * slot, slot};
        messages[i].msg_hdr = (struct msghdr){
            .msg_name = &names[i],
            .msg_namelen = sizeof(names[i]),
            .msg_iov = &iov[i],
            .msg_iovlen = 1,
        };
    }
    int got = -1;
    if (fd >= 0) {
        got = tac_recvmmsg(fd, messages, count);
    }
    if (got < 0) {
        tac_transport_see_signals();
    }
    if (got < 0 && !PyErr_Occurred()) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return 0;
        }
        PyErr_SetFromErrno(PyExc_OSError);
    }
    for (int i = 0; i < got; i++) {
        if (datagram_keep(d, &messages[i]) < 0) {
            return -1;
        }
    }
    return got;
}

/* From who sends much, more is expected. */
static int
datagram_receive(TacDatagram *d)
{
    bool is_ip = d->family != AF_UNIX;
    size_t slot = is_ip ? DATAGRAM_IP_BYTES : DATAGRAM_UNIX_BYTES;
    int most = (int)(DATAGRAM_BUFFER_BYTES / slot);
    int asked = d->expected < most ? d->expected : most;
    int got = datagram_fill(d, asked, slot);
    if (got < 0) {
        int rc = tac_datagram_tell_error(
            d, "Fatal read error on datagram transport");
        return rc < 0 ? tac_transport_report_callback(&d->base, "_read_ready")
                      : 0;
    }
    if (got == asked) {
        d->expected = asked * 2 < most ? asked * 2 : most;
    }
    else if (got < asked / 2) {
        d->expected = asked / 2;
    }
    return 0;
}

/* Did a callback make anything runnable?  It goes first then. */
struct datagram_moment {
    size_t ring_len;
    const struct tac_list *last;
};

static struct datagram_moment
datagram_now(const TacLoop *loop)
{
    return (struct datagram_moment){loop->ring.len,
                                    loop->runner->run_queue.prev};
}

static bool
datagram_is_quiet(const TacLoop *loop, struct datagram_moment before)
{
    return loop->ring.len <= before.ring_len
           && loop->runner->run_queue.prev == before.last
           && !loop->stopping && !loop->halted;
}

/* Most answers go to the sender of what was told last. */
static void
datagram_set_known(TacDatagram *d, const struct tac_datagram *datagram)
{
    if (d->known != datagram->addr) {
        Py_XSETREF(d->known, Py_NewRef(datagram->addr));
        d->known_name = datagram->name;
    }
}

static int
datagram_tell(TacDatagram *d)
{
    TacState *state = d->base.state;
    struct tac_datagram datagram = tac_datagram_pop(&d->in);
    datagram_set_known(d, &datagram);
    PyObject *protocol = d->base.protocol == NULL
                             ? Py_NewRef(Py_None)
                             : Py_NewRef(d->base.protocol);
    PyObject *args[] = {protocol, datagram.data, datagram.addr};
    PyObject *result = PyObject_VectorcallMethod(
        state->str_datagram_received, args,
        3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    Py_DECREF(protocol);
    tac_spare_give(state, datagram.data);
    Py_DECREF(datagram.addr);
    if (result == NULL) {
        return tac_transport_report_callback(&d->base, "_read_ready");
    }
    Py_DECREF(result);
    return 0;
}

int
tac_datagram_on_readable(TacTransport *t)
{
    TacDatagram *d = (TacDatagram *)t;
    if (d->in.len == 0 && datagram_receive(d) < 0) {
        return -1;
    }
    int rc = 0;
    bool quiet = true;
    while (rc == 0 && quiet && d->in.len != 0 && !t->paused && !t->closing) {
        struct datagram_moment before = datagram_now(t->loop);
        rc = datagram_tell(d);
        quiet = t->loop != NULL && datagram_is_quiet(t->loop, before);
    }
    if (t->closing) {
        tac_datagram_clear_queue(&d->in);
    }
    if (d->in.len != 0 && !t->paused) {
        PyObject *exc = PyErr_GetRaisedException();
        int queued = tac_transport_queue_read(t);
        if (exc == NULL) {
            return queued;
        }
        if (queued < 0) {
            PyErr_WriteUnraisable(t->transport);
        }
        PyErr_SetRaisedException(exc);
    }
    return rc;
}

/* What was received before the pause. */
static int
datagram_resumed(TacTransport *t)
{
    return ((TacDatagram *)t)->in.len == 0 ? 0 : tac_transport_queue_read(t);
}

/* The kind ---------------------------------------------------------------- */

static void
datagram_drop(TacTransport *t)
{
    TacDatagram *d = (TacDatagram *)t;
    tac_datagram_clear_queue(&d->in);
    tac_datagram_clear_queue(&d->out);
}

static int
datagram_traverse(TacTransport *t, visitproc visit, void *arg)
{
    const TacDatagram *d = (TacDatagram *)t;
    const struct tac_datagram_queue *queues[] = {&d->in, &d->out};
    for (int i = 0; i < 2; i++) {
        for (Py_ssize_t j = 0; j < queues[i]->len; j++) {
            Py_VISIT(queues[i]->items[queues[i]->head + j].addr);
        }
    }
    Py_VISIT(d->address);
    Py_VISIT(d->errors);
    Py_VISIT(d->known);
    return 0;
}

static void
datagram_clear(TacTransport *t)
{
    TacDatagram *d = (TacDatagram *)t;
    datagram_drop(t);
    Py_CLEAR(d->address);
    Py_CLEAR(d->errors);
    Py_CLEAR(d->known);
    d->known_name.len = 0;
}

static Py_ssize_t
datagram_size(const TacTransport *t)
{
    return ((const TacDatagram *)t)->out.size;
}

static const struct tac_transport_kind datagram_kind = {
    .name = "DatagramTransport",
    .made = TAC_MADE_DATAGRAM,
    .read = tac_datagram_on_readable,
    .write = tac_datagram_on_writable,
    .write_method = "_sendto_ready",
    .flush = tac_datagram_on_flush,
    .resumed = datagram_resumed,
    .drop = datagram_drop,
    .traverse = datagram_traverse,
    .clear = datagram_clear,
    .size = datagram_size,
    .read_error = "Fatal read error on datagram transport",
};

static int
datagram_family(int fd)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);
    return getsockname(fd, (struct sockaddr *)&name, &len) == 0
               ? name.ss_family
               : AF_UNSPEC;
}

int
tac_datagram_start(TacState *state, PyObject *transport,
                   const struct tac_transport_spec *spec, PyObject *address)
{
    PyObject *connected = PyObject_CallMethodOneArg(
        transport, state->str__describe, spec->sock);
    int is_connected = connected == NULL ? -1 : PyObject_IsTrue(connected);
    Py_XDECREF(connected);
    if (is_connected < 0) {
        return -1;
    }
    TacDatagram *d = (TacDatagram *)tac_transport_new(
        state->datagram_type, transport, &datagram_kind, state, spec);
    if (d == NULL) {
        return -1;
    }
    d->family = datagram_family(spec->fd);
    d->connected = is_connected;
    d->address = Py_XNewRef(address);
    d->expected = 2;
    if (tac_transport_enter(&d->base, spec->protocol) < 0
        || tac_transport_enter_table(&d->base) < 0
        || tac_transport_begin(&d->base, spec->waiter) < 0)
    {
        tac_transport_undo(&d->base);
        return -1;
    }
    return 0;
}
