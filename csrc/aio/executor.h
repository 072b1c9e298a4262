/* aio/executor.h - run_in_executor(None, ...) on the core's worker threads.
 *
 * A job is a C task in the loop's nursery while its thread runs.  At most
 * loop->jobs_limit of them run at a time; the others wait in a list.
 *
 * The interpreter's exit waits for jobs in threads: wait_executor_jobs().
 *
 * Owns: the list holds a reference to each waiting job, a worker one to its
 *     job, the ring's item one to a finished one.
 * Threads: the loop's; the job's function runs in a worker.
 * Python code run here: arbitrary.
 */
#ifndef TAC_AIO_EXECUTOR_H
#define TAC_AIO_EXECUTOR_H

#include "aio/loop.h"

/* The method run_in_executor(executor, func, *args). */
PyObject *tac_executor_run(TacLoop *loop, PyObject *const *args,
                           Py_ssize_t nargs, PyObject *kwnames);

/* The method _when_jobs_done(future). */
PyObject *tac_executor_when_done(TacLoop *loop, PyObject *future);

/* Jobs that run or wait. */
Py_ssize_t tac_executor_count(const TacLoop *loop);

/* See to it that the jobs that wait are run after the loop's end, unheard, as
 * by a pool of threads that asyncio leaves behind.  0, or -1 with an
 * exception. */
int tac_executor_leave_behind(TacLoop *loop);

/* Drop the jobs that wait, unless a thread is to run them; those that run end
 * on their own, unheard. */
void tac_executor_drop_all(TacLoop *loop);

int tac_executor_traverse_all(TacLoop *loop, visitproc visit, void *arg);

int tac_executor_add_types(PyObject *module, TacState *state);

#endif
