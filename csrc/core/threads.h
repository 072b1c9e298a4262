/* core/threads.h - a cache of worker threads.
 *
 * start_thread_soon(fn, deliver) runs fn() in a thread and deliver(outcome)
 * after it in that same thread.  An idle worker waits ten seconds for more
 * work before it ends; the most recently used one is taken first, so that
 * the surplus of a burst dies out.  The design is Trio's.
 *
 * Owns: nothing; an idle worker is in state->idle_workers.
 * Threads: any that hold the GIL.   Python code run here: arbitrary, in the
 *     worker.
 */
#ifndef TAC_CORE_THREADS_H
#define TAC_CORE_THREADS_H

#include "state.h"

/* A job in C: `run` is called in a worker thread with the GIL held, and owns
 * what it needs through `owner`, to which the worker holds a reference. */
typedef void (*tac_job_fn)(PyObject *owner);

/* Run a job soon.  `owner`: borrowed.  0, or -1 with an exception. */
int tac_threads_start(TacState *state, tac_job_fn run, PyObject *owner);

int tac_threads_add_types(PyObject *module, TacState *state);

#endif
