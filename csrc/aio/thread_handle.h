/* aio/thread_handle.h - the handle of call_soon_threadsafe, from 3.14 on.
 *
 * While its callback runs, cancel() and cancelled() of other threads wait for
 * the end of it, so that what they did or saw is final; those of the thread
 * that runs it go through at once.
 *
 * Owns: as a handle; while others wait, the gate that they wait at.
 * Threads: any that hold the GIL.
 * Python code run here: arbitrary; signal handlers while waiting.
 */
#ifndef TAC_AIO_THREAD_HANDLE_H
#define TAC_AIO_THREAD_HANDLE_H

#include "aio/handle.h"

struct tac_gate;

typedef struct TacThreadHandle {
    TacHandle base;
    unsigned long thread;  /* that runs the callback; valid if depth != 0 */
    int depth;             /* of _run() inside of the callback; 0: not run */
    struct tac_gate *gate; /* owned by those who wait, NULL: nobody does */
} TacThreadHandle;

/* As tac_handle_new_untracked. */
TacHandle *tac_thread_handle_new(TacLoop *loop, PyObject *callback,
                                 PyObject *const *args, Py_ssize_t nargs,
                                 PyObject *context);

/* As tac_handle_run. */
int tac_thread_handle_run(TacThreadHandle *handle);

int tac_thread_handle_add_types(PyObject *module, TacState *state);

#endif
