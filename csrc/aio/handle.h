/* aio/handle.h - Handle: a callback that is to run, and can be cancelled.
 *
 * It looks like asyncio.Handle, private attributes included, for the standard
 * library and debuggers read them.  A cancelled handle drops its callback and
 * arguments at once.
 *
 * Owns: callback, arguments, context, the loop.
 * Threads: any that hold the GIL.
 * Python code run here: arbitrary in run; dealloc only in cancel; none in new
 *     but for the source traceback of debug mode.
 */
#ifndef TAC_AIO_HANDLE_H
#define TAC_AIO_HANDLE_H

#include "aio/loop.h"

typedef struct TacHandle {
    PyObject_HEAD
    TacLoop *loop;      /* owned */
    PyObject *callback; /* owned; NULL once cancelled */
    PyObject *args;     /* owned tuple; NULL: none, or cancelled */
    PyObject *context;  /* owned */
    PyObject *source_traceback; /* owned; NULL outside of debug mode */
    PyObject *repr;     /* owned; what it was, once cancelled in debug mode */
    PyObject *weakrefs;
    bool cancelled;
    bool tracked; /* by the collector: see tac_handle_new_untracked */
    bool hides_context; /* the collector does not know our context either */
    bool locked;  /* a TacThreadHandle: run by tac_thread_handle_run */
} TacHandle;

/* A new handle.  `args`, `context`: borrowed; context NULL: a copy of the
 * current one.  Returns: new ref | NULL+exc. */
TacHandle *tac_handle_new(TacLoop *loop, PyObject *callback,
                          PyObject *const *args, Py_ssize_t nargs,
                          PyObject *context);

/* The same, but the collector does not know the handle yet: for those in the
 * ring of a loop that is running, most of which die unseen.  Who takes one
 * out of the ring, or pauses the loop, calls tac_handle_track. */
TacHandle *tac_handle_new_untracked(TacLoop *loop, PyObject *callback,
                                    PyObject *const *args, Py_ssize_t nargs,
                                    PyObject *context);

/* Let the collector know a handle; idempotent. */
void tac_handle_track(TacHandle *handle);

/* Memory for a handle of a type with a freelist, empty.  Returns: new ref,
 * untracked | NULL+exc. */
TacHandle *tac_handle_alloc(TacState *state, PyTypeObject *type,
                            struct tac_freelist *unused);

/* Fill a handle of any of the types, zeroed but for its head.  0, or -1
 * with an exception. */
int tac_handle_init(TacHandle *handle, TacLoop *loop, PyObject *callback,
                    PyObject *const *args, Py_ssize_t nargs,
                    PyObject *context);

/* Call the callback in its context, unless cancelled.  An error goes to the
 * loop's exception handler.  0, or -1 with SystemExit, KeyboardInterrupt, or
 * what the exception handler raised. */
int tac_handle_run(TacHandle *handle);

/* Cancel; idempotent.  0, or -1 with an exception of the repr. */
int tac_handle_cancel(TacHandle *handle);

/* Hand the raised exception, which a callback let out, to the loop's
 * exception handler, but for those that end a run.  Returns as run. */
int tac_handle_report(PyObject *handle, TacState *state);

/* The same of one that is no TacThreadHandle, or that the caller guards. */
int tac_handle_run_unlocked(TacHandle *handle);

/* Is this a handle of ours, of any type? */
bool tac_handle_check(TacState *state, PyObject *obj);

/* asyncio.events' class of a name, for the attribute __class__: isinstance
 * asks that, and so our handles count as asyncio's. */
PyObject *tac_handle_get_class(TacHandle *handle, const char *name);

/* For the types that extend this one; dealloc for those with a freelist. */
void tac_handle_dealloc(TacHandle *handle);
int tac_handle_traverse(TacHandle *handle, visitproc visit, void *arg);
int tac_handle_clear(TacHandle *handle);
PyObject *tac_handle_repr_info(TacHandle *handle);

int tac_handle_add_types(PyObject *module, TacState *state);

#endif
