/* aio/create.h - create_future and create_task.
 *
 * While asyncio's own classes stand in their places, written in C, they are
 * called with one dict of keyword arguments that the loop keeps, or with a
 * copy that has what was given, too.  All else (a task factory, debug mode,
 * another Task class, an argument that the running version's method does not
 * take) is the standard library's own code.
 *
 * Owns: loop->create_kwargs, done_future.   Threads: the loop's.
 * Python code run here: arbitrary.
 */
#ifndef TAC_AIO_CREATE_H
#define TAC_AIO_CREATE_H

#include "aio/loop.h"

/* {"loop": loop}, which the C classes only read; of a loop that is not
 * closed.  Borrowed, or NULL+exc. */
PyObject *tac_create_kwargs(TacLoop *loop);

/* The method create_future(). */
PyObject *tac_create_future(TacLoop *loop, PyObject *noargs);

/* A Future of asyncio's own class that is done, with None, and is the loop's,
 * which is not closed.  Borrowed | NULL+exc. */
PyObject *tac_create_done_future(TacLoop *loop);

/* The method create_task(coro, **kwargs). */
PyObject *tac_create_task(TacLoop *loop, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames);

/* Could a Task made now do its first step at once, as if the standard library
 * had been asked for that?  1, 0, or -1 with an exception. */
int tac_create_can_begin(TacLoop *loop);

/* The loop has got an attribute, or lost it.  Python code: none. */
void tac_create_on_attribute(TacLoop *loop, PyObject *name);

/* Does that hold still, in the loop's own turn?  Python code: none. */
bool tac_create_may_begin(const TacLoop *loop);

/* Such a Task in two parts, so that it is known while it does its first step:
 * an empty one, and what fills it.  The second raises what a step does, too.
 * Returns: new ref | NULL+exc; 0, or -1 with an exception. */
PyObject *tac_create_begun_new(TacLoop *loop);
int tac_create_begun_init(TacLoop *loop, PyObject *task, PyObject *coro,
                          PyObject *context);

#endif
