/* aio/member.c - which transport has an fd.
 *
 * asyncio keeps its transports in a dict of weak references, to refuse fds
 * that a transport has to add_reader() and to its like.  Here an array says
 * the same, and the dict is brought up to date when somebody looks at it.
 */
#include "aio/member.h"

#include "aio/loop.h"
#include "base/compat.h"

/* The lowest bit of an entry says that the dict does not know it. */
static struct tac_loop_member *
member_at(const TacLoop *loop, int fd)
{
    return fd >= 0 && fd < loop->by_fd_len
               ? (struct tac_loop_member *)(loop->by_fd[fd] & ~(uintptr_t)1)
               : NULL;
}

int
tac_member_enter(TacLoop *loop, struct tac_loop_member *member, int fd)
{
    if (fd < 0) {
        return 0;
    }
    if (fd >= loop->by_fd_len) {
        int len = fd < 8 ? 16 : fd * 2;
        uintptr_t *larger = PyMem_Resize(loop->by_fd, uintptr_t, len);
        if (larger == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        loop->by_fd = larger;
        for (int i = loop->by_fd_len; i < len; i++) {
            larger[i] = 0;
        }
        loop->by_fd_len = len;
    }
    loop->by_fd[fd] = (uintptr_t)member | 1;
    return 0;
}

void
tac_member_leave(TacLoop *loop, struct tac_loop_member *member, int fd)
{
    if (member_at(loop, fd) == member) {
        loop->by_fd[fd] = 0;
    }
}

/* Does the dict know no transport at all?  -1 with an exception. */
static int
member_table_is_empty(TacLoop *loop)
{
    TacState *state = loop->state;
    PyObject *table =
        PyObject_GetAttr((PyObject *)loop, state->str__kept_transports);
    PyObject *data =
        table == NULL ? NULL : PyObject_GetAttr(table, state->str_data);
    Py_XDECREF(table);
    int empty = data == NULL
                    ? -1
                    : PyDict_Check(data) && PyDict_GET_SIZE(data) == 0;
    Py_XDECREF(data);
    return empty;
}

int
tac_member_is_free(TacLoop *loop, int fd)
{
    struct tac_loop_member *member = member_at(loop, fd);
    if (member != NULL && !member->ops->is_closing(member)) {
        return 0;
    }
    int empty = member_table_is_empty(loop);
    if (empty < 0) { /* whatever it is, it is somebody else's */
        PyErr_Clear();
        return 0;
    }
    return empty;
}

PyObject *
tac_member_ensure_free(TacLoop *loop, PyObject *file)
{
    TacState *state = loop->state;
    int fd = -1;
    if (PyLong_CheckExact(file) || Py_IS_TYPE(file, state->socket_type)) {
        fd = PyObject_AsFileDescriptor(file);
        if (fd < 0) {
            PyErr_Clear();
        }
    }
    if (fd >= 0 && tac_member_is_free(loop, fd)) {
        Py_RETURN_NONE;
    }
    PyObject *super = PyObject_CallFunctionObjArgs(
        (PyObject *)&PySuper_Type, (PyObject *)state->loop_type,
        (PyObject *)loop, NULL);
    PyObject *done =
        super == NULL ? NULL
                      : PyObject_CallMethodOneArg(
                            super, state->str__ensure_fd_no_transport, file);
    Py_XDECREF(super);
    return done;
}

PyObject *
tac_member_take_new(TacLoop *loop, PyObject *noargs)
{
    PyObject *list = PyList_New(0);
    for (int fd = 0; list != NULL && fd < loop->by_fd_len; fd++) {
        struct tac_loop_member *member = member_at(loop, fd);
        PyObject *object = (loop->by_fd[fd] & 1) == 0
                               ? NULL
                               : member->ops->object(member);
        if (object == NULL) {
            continue;
        }
        PyObject *row = Py_BuildValue("(iO)", fd, object);
        if (row == NULL || PyList_Append(list, row) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(row);
        loop->by_fd[fd] &= ~(uintptr_t)1;
    }
    return list;
}
