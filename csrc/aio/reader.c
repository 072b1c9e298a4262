/* aio/reader.c - add_reader and add_writer.
 *
 * The semantics and errors are those of the standard library's selector
 * loops; a file object that has been closed in the meantime can still be
 * removed by its identity.
 */
#include "aio/reader.h"

#include "aio/handle.h"
#include "aio/loop.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/fdtable.h"
#include "poll/poller.h"

#include <errno.h>

typedef struct TacFdWatch {
    PyObject_HEAD
    struct tac_watch watch;
    struct tac_task task; /* started while watching */
    TacLoop *loop;        /* borrowed: it holds us in a table; else NULL */
    TacHandle *handle;    /* owned; NULL once removed */
    PyObject *file;       /* owned: the int or file object as given */
    int fd;
    enum tac_watch_events events;
} TacFdWatch;

/* The C task -------------------------------------------------------------- */

static TacFdWatch *
reader_of_task(struct tac_task *task)
{
    return tac_list_entry(task, TacFdWatch, task);
}

static int
reader_step(struct tac_task *task)
{
    return 0; /* never runnable: events go to the ring directly */
}

/* Tasks that are being cancelled may need the fd to unwind: only its removal
 * or the loop's end ends the watch. */
static int
reader_cancel(struct tac_task *task, const struct tac_cause *cause)
{
    return 0;
}

static PyObject *
reader_owner(struct tac_task *task)
{
    return (PyObject *)reader_of_task(task);
}

static PyObject *
reader_object(struct tac_task *task)
{
    return tac_native_task(reader_of_task(task)->loop->state, task);
}

static const struct tac_task_ops reader_ops = {
    .name = "<asyncio reader>",
    .step = reader_step,
    .cancel = reader_cancel,
    .owner = reader_owner,
    .object = reader_object,
};

static const struct tac_task_ops reader_writer_ops = {
    .name = "<asyncio writer>",
    .step = reader_step,
    .cancel = reader_cancel,
    .owner = reader_owner,
    .object = reader_object,
};

/* Watching ---------------------------------------------------------------- */

/* In a libev callback: no Python code.  Should memory run out, the next poll
 * reports the fd again. */
static void
reader_on_ready(struct tac_watch *watch, int events, int error)
{
    TacFdWatch *fdw = tac_list_entry(watch, TacFdWatch, watch);
    if (error != 0 || fdw->handle == NULL) {
        return; /* closed behind our back: silent until it is removed */
    }
    if (fdw->handle->cancelled) {
        tac_watch_disarm(watch);
        return;
    }
    struct tac_ring_item item = {
        .object = (PyObject *)fdw->handle,
        .kind = TAC_RING_HANDLE,
    };
    TacLoop *loop = fdw->loop;
    if (tac_ring_push(&loop->ring, &item) == 0) {
        Py_INCREF(fdw->handle);
        if (!loop->halted) {
            tac_task_make_runnable(&loop->host);
        }
    }
}

static int
reader_table_reserve(struct tac_fd_table *table, int fd)
{
    void *items = tac_fdtable_grow(table->items, &table->capacity, fd);
    if (items == NULL) {
        return -1;
    }
    table->items = items;
    return 0;
}

static struct tac_fd_table *
reader_table(TacLoop *loop, enum tac_watch_events events)
{
    return events == TAC_WATCH_READ ? &loop->readers : &loop->writers;
}

/* Take a watch out of everything but the table, which loses its reference. */
static int
reader_stop(TacFdWatch *fdw)
{
    if (tac_poller_is_open(tac_watch_poller(&fdw->watch))) {
        /* A crashed run's is not. */
        tac_watch_disarm(&fdw->watch);
    }
    TacHandle *handle = fdw->handle;
    fdw->handle = NULL;
    int rc = tac_ctask_exit(&fdw->task, NULL);
    fdw->loop = NULL;
    if (tac_handle_cancel(handle) < 0) {
        rc = -1;
    }
    Py_DECREF(handle);
    Py_DECREF(fdw);
    return rc;
}

static int
reader_start(TacLoop *loop, int fd, PyObject *file, TacHandle *handle,
             enum tac_watch_events events)
{
    struct tac_fd_table *table = reader_table(loop, events);
    PyTypeObject *type = loop->state->fd_watch_type;
    if (tac_poller_check_fd(fd, NULL) < 0
        || reader_table_reserve(table, fd) < 0)
    {
        return -1;
    }
    TacFdWatch *fdw = (TacFdWatch *)type->tp_alloc(type, 0);
    if (fdw == NULL) {
        return -1;
    }
    loop->state->counts.watches++;
    fdw->loop = loop;
    fdw->handle = (TacHandle *)Py_NewRef(handle);
    fdw->file = Py_NewRef(file);
    fdw->fd = fd;
    fdw->events = events;
    tac_watch_init(&fdw->watch, &loop->runner->poller, reader_on_ready);
    tac_ctask_start(&fdw->task,
                    events == TAC_WATCH_READ ? &reader_ops
                                             : &reader_writer_ops,
                    loop->runner, loop->nursery);
    tac_watch_arm(&fdw->watch, fd, events);
    table->items[fd] = fdw; /* takes the reference */
    return 0;
}

/* Another callback for a watched fd; the old one is cancelled, even if it is
 * in the ring already. */
static int
reader_replace(TacFdWatch *fdw, PyObject *file, bool is_open,
               TacHandle *handle)
{
    TacHandle *old = fdw->handle;
    fdw->handle = (TacHandle *)Py_NewRef(handle);
    if (is_open) {
        /* The number may have been closed and opened again. */
        tac_watch_arm(&fdw->watch, fdw->fd, fdw->events);
    }
    Py_XSETREF(fdw->file, Py_NewRef(file));
    int rc = tac_handle_cancel(old);
    Py_DECREF(old);
    return rc;
}

/* File descriptors -------------------------------------------------------- */

/* The number of an int, or of what has a fileno().  Returns: new ref | NULL
 * with the selectors module's ValueError, or what fileno() raised. */
static PyObject *
reader_fd_number(TacState *state, PyObject *file)
{
    if (PyLong_Check(file)) {
        return Py_NewRef(file);
    }
    PyObject *fileno = PyObject_CallMethodNoArgs(file, state->str_fileno);
    PyObject *number = fileno == NULL ? NULL : PyNumber_Long(fileno);
    Py_XDECREF(fileno);
    if (number == NULL
        && (PyErr_ExceptionMatches(PyExc_AttributeError)
            || PyErr_ExceptionMatches(PyExc_TypeError)
            || PyErr_ExceptionMatches(PyExc_ValueError)))
    {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError, "Invalid file object: %R", file);
    }
    return number;
}

/* The fd; what is too large for one, as LONG_MAX.  Or -1 with an
 * exception. */
static long
reader_fd(TacState *state, PyObject *file)
{
    PyObject *number = reader_fd_number(state, file);
    if (number == NULL) {
        return -1;
    }
    int overflow;
    long fd = PyLong_AsLongAndOverflow(number, &overflow);
    if (overflow > 0) {
        fd = LONG_MAX;
    }
    else if (fd < 0 && !PyErr_Occurred()) {
        PyErr_Format(PyExc_ValueError, "Invalid file descriptor: %S", number);
    }
    Py_DECREF(number);
    return fd < 0 ? -1 : fd;
}

/* A file object that lost its fd: find it by identity. */
static TacFdWatch *
reader_find_file(const struct tac_fd_table *table, PyObject *file)
{
    for (int fd = 0; fd < table->capacity; fd++) {
        if (table->items[fd] != NULL && table->items[fd]->file == file) {
            return table->items[fd];
        }
    }
    return NULL;
}

/* The watch of a file that reader_fd() has refused, borrowed.  1; 0 when it
 * is watched for the other event only; -1, and the exception stays, when it
 * is not known. */
static int
reader_find_closed(TacLoop *loop, const struct tac_fd_table *table,
                   PyObject *file, TacFdWatch **found)
{
    if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
        return -1;
    }
    *found = reader_find_file(table, file);
    if (*found == NULL && reader_find_file(&loop->readers, file) == NULL
        && reader_find_file(&loop->writers, file) == NULL)
    {
        return -1;
    }
    PyErr_Clear();
    return *found != NULL;
}

/* The watch of a file, borrowed.  1, 0 when there is none, -1 with an
 * exception. */
static int
reader_find(TacLoop *loop, const struct tac_fd_table *table, PyObject *file,
            TacFdWatch **found)
{
    long fd = reader_fd(loop->state, file);
    if (fd < 0) {
        return reader_find_closed(loop, table, file, found);
    }
    *found = fd < table->capacity ? table->items[fd] : NULL;
    return *found != NULL;
}

/* The fd of a file that is to be watched, or is watched though it has been
 * closed since (then not `is_open`); or -1 with an exception. */
static int
reader_fd_to_watch(TacLoop *loop, const struct tac_fd_table *table,
                   PyObject *file, bool *is_open)
{
    long fd = reader_fd(loop->state, file);
    TacFdWatch *closed;
    *is_open = fd >= 0;
    if (fd > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError,
                        "Python int too large to convert to C int");
        return -1;
    }
    if (fd >= 0) { /* newer interpreters warn of a bool */
        return PyBool_Check(file) ? PyObject_AsFileDescriptor(file) : (int)fd;
    }
    switch (reader_find_closed(loop, table, file, &closed)) {
    case 1:
        return closed->fd;
    case 0:
        errno = EBADF; /* as the kernel would say to one more event */
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    default:
        return -1;
    }
}

/* The loop's methods ------------------------------------------------------ */

static const char *const reader_add_names[] = {"context", NULL};
static const struct tac_params reader_add_params = {"_add_reader", 0, 0,
                                                    reader_add_names};
static const struct tac_params reader_add_writer_params = {
    "_add_writer", 0, 0, reader_add_names};

static TacHandle *
reader_new_handle(TacLoop *loop, const struct tac_params *params,
                  PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *context = Py_None;
    if (tac_args_bind_keywords(params, args, nargs, kwnames, &context) < 0) {
        return NULL;
    }
    if (context != Py_None && !PyContext_CheckExact(context)) {
        PyErr_Format(PyExc_TypeError,
                     "%s() needs a contextvars.Context as context, not "
                     "%.200s",
                     params->function, Py_TYPE(context)->tp_name);
        return NULL;
    }
    return tac_handle_new(loop, args[1], args + 2, nargs - 2,
                          context == Py_None ? NULL : context);
}

static PyObject *
reader_add(TacLoop *loop, const struct tac_params *params,
           PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
           enum tac_watch_events events)
{
    if (nargs < 2) {
        PyErr_Format(PyExc_TypeError, "%s() needs a file and a callback",
                     params->function);
        return NULL;
    }
    if (tac_loop_check_open(loop) < 0) {
        return NULL;
    }
    struct tac_fd_table *table = reader_table(loop, events);
    bool is_open;
    int fd = reader_fd_to_watch(loop, table, args[0], &is_open);
    if (fd < 0) {
        return NULL;
    }
    TacHandle *handle = reader_new_handle(loop, params, args, nargs, kwnames);
    if (handle == NULL || tac_loop_check_open(loop) < 0) { /* fileno() can */
        Py_XDECREF(handle);
        return NULL;
    }
    TacFdWatch *fdw = fd < table->capacity ? table->items[fd] : NULL;
    int rc = fdw != NULL ? reader_replace(fdw, args[0], is_open, handle)
                         : reader_start(loop, fd, args[0], handle, events);
    if (rc < 0) {
        Py_CLEAR(handle);
    }
    return (PyObject *)handle;
}

PyObject *
tac_reader_add(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    return reader_add(loop, &reader_add_params, args, nargs, kwnames,
                      TAC_WATCH_READ);
}

PyObject *
tac_reader_add_writer(TacLoop *loop, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    return reader_add(loop, &reader_add_writer_params, args, nargs, kwnames,
                      TAC_WATCH_WRITE);
}

static PyObject *
reader_remove(TacLoop *loop, PyObject *file, struct tac_fd_table *table)
{
    TacFdWatch *fdw;
    if (loop->closed) {
        Py_RETURN_FALSE;
    }
    int found = reader_find(loop, table, file, &fdw);
    if (found <= 0) {
        return found < 0 ? NULL : Py_NewRef(Py_False);
    }
    table->items[fdw->fd] = NULL;
    if (reader_stop(fdw) < 0) {
        return NULL;
    }
    Py_RETURN_TRUE;
}

PyObject *
tac_reader_remove(TacLoop *loop, PyObject *file)
{
    return reader_remove(loop, file, &loop->readers);
}

PyObject *
tac_reader_remove_writer(TacLoop *loop, PyObject *file)
{
    return reader_remove(loop, file, &loop->writers);
}

static PyObject *
reader_handle_or_none(const TacFdWatch *fdw)
{
    return fdw == NULL || fdw->handle == NULL ? Py_None
                                              : (PyObject *)fdw->handle;
}

PyObject *
tac_reader_list(TacLoop *loop, PyObject *noargs)
{
    PyObject *list = PyList_New(0);
    const struct tac_fd_table *in = &loop->readers, *out = &loop->writers;
    for (int fd = 0; list != NULL; fd++) {
        if (fd >= in->capacity && fd >= out->capacity) {
            break;
        }
        TacFdWatch *reader = fd < in->capacity ? in->items[fd] : NULL;
        TacFdWatch *writer = fd < out->capacity ? out->items[fd] : NULL;
        if (reader == NULL && writer == NULL) {
            continue;
        }
        PyObject *row = Py_BuildValue(
            "(iOOO)", fd, reader != NULL ? reader->file : writer->file,
            reader_handle_or_none(reader), reader_handle_or_none(writer));
        if (row == NULL || PyList_Append(list, row) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(row);
    }
    return list;
}

/* The loop's end ---------------------------------------------------------- */

static void
reader_table_drop(struct tac_fd_table *table)
{
    for (int fd = 0; fd < table->capacity; fd++) {
        TacFdWatch *fdw = table->items[fd];
        table->items[fd] = NULL;
        if (fdw == NULL || reader_stop(fdw) == 0) {
            continue;
        }
        if (Py_IsFinalizing()) { /* debug mode: no repr any more */
            PyErr_Clear();
        }
        else {
            PyErr_WriteUnraisable(NULL);
        }
    }
    PyMem_Free(table->items);
    *table = (struct tac_fd_table){0};
}

void
tac_reader_drop_all(TacLoop *loop)
{
    reader_table_drop(&loop->readers);
    reader_table_drop(&loop->writers);
}

static int
reader_table_traverse(struct tac_fd_table *table, visitproc visit, void *arg)
{
    for (int fd = 0; fd < table->capacity; fd++) {
        Py_VISIT((PyObject *)table->items[fd]);
    }
    return 0;
}

int
tac_reader_traverse_all(TacLoop *loop, visitproc visit, void *arg)
{
    int rc = reader_table_traverse(&loop->readers, visit, arg);
    return rc != 0 ? rc : reader_table_traverse(&loop->writers, visit, arg);
}

/* The Python type --------------------------------------------------------- */

static int
reader_tp_traverse(TacFdWatch *fdw, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(fdw));
    Py_VISIT((PyObject *)fdw->handle);
    Py_VISIT(fdw->file);
    return 0;
}

/* The loop's tables are cleared by the loop; only the leaf goes here. */
static int
reader_tp_clear(TacFdWatch *fdw)
{
    Py_CLEAR(fdw->file);
    return 0;
}

static void
reader_tp_dealloc(TacFdWatch *fdw)
{
    PyTypeObject *type = Py_TYPE(fdw);
    TacState *state = PyType_GetModuleState(type);
    PyObject_GC_UnTrack(fdw);
    tac_ctask_unlink(&fdw->task);
    Py_CLEAR(fdw->handle);
    Py_CLEAR(fdw->file);
    if (state != NULL) {
        state->counts.watches--;
    }
    type->tp_free(fdw);
    Py_DECREF(type);
}

static PyObject *
reader_tp_repr(TacFdWatch *fdw)
{
    return PyUnicode_FromFormat(
        "<FdWatch fd=%d %s>", fdw->fd,
        fdw->events == TAC_WATCH_READ ? "reader" : "writer");
}

PyDoc_STRVAR(reader_doc, "A file descriptor that an event loop watches.");

static PyType_Slot reader_slots[] = {
    {Py_tp_doc, (void *)reader_doc},
    {Py_tp_traverse, reader_tp_traverse},
    {Py_tp_clear, reader_tp_clear},
    {Py_tp_dealloc, reader_tp_dealloc},
    {Py_tp_repr, reader_tp_repr},
    {0, NULL},
};

static PyType_Spec reader_spec = {
    .name = "trio_asyncio_c._core.FdWatch",
    .basicsize = sizeof(TacFdWatch),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = reader_slots,
};

int
tac_reader_add_types(PyObject *module, TacState *state)
{
    state->fd_watch_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &reader_spec, NULL);
    return state->fd_watch_type == NULL ? -1 : 0;
}
