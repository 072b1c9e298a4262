/* aio/reader.h - add_reader and add_writer: fds whose readiness runs a handle.
 *
 * A loop has a table by fd number for each direction.  An entry is an FdWatch:
 * a libev watch that stays armed between events, and a C task, so that the
 * tree of tasks shows it.  A ready watch only pushes its handle to the ring.
 *
 * Owns: the watches; a watch owns its handle and the file object given.
 * Threads: runner thread only.
 * Python code run here: fileno() of file objects, dealloc.
 */
#ifndef TAC_AIO_READER_H
#define TAC_AIO_READER_H

#include <Python.h>

#include "state.h"

struct TacLoop;
struct TacFdWatch;

struct tac_fd_table {
    struct TacFdWatch **items; /* by fd, NULL where nothing is watched */
    int capacity;
};

/* _add_reader(fd, callback, *args, context=None), _add_writer: watch, or
 * replace what is run; returns the new handle. */
PyObject *tac_reader_add(struct TacLoop *loop, PyObject *const *args,
                         Py_ssize_t nargs, PyObject *kwnames);
PyObject *tac_reader_add_writer(struct TacLoop *loop, PyObject *const *args,
                                Py_ssize_t nargs, PyObject *kwnames);

/* _remove_reader(fd), _remove_writer: True if it was watched. */
PyObject *tac_reader_remove(struct TacLoop *loop, PyObject *file);
PyObject *tac_reader_remove_writer(struct TacLoop *loop, PyObject *file);

/* _fd_watches(): list of (fd, file object, reader or None, writer or None). */
PyObject *tac_reader_list(struct TacLoop *loop, PyObject *noargs);

/* Stop watching everything.  Python code: dealloc. */
void tac_reader_drop_all(struct TacLoop *loop);

int tac_reader_traverse_all(struct TacLoop *loop, visitproc visit, void *arg);

int tac_reader_add_types(PyObject *module, TacState *state);

#endif
