/* cross/trio_call.h - a call of a Trio-flavoured function from asyncio code.
 *
 *   QUEUED --start--> RUNNING --exit--> DONE
 *      \--cancel, and its turn came--> DONE
 *
 * The start is an item of the loop's ring, so calls start in the order in
 * which they were made, among callbacks.  A call that is cancelled while
 * QUEUED is DONE only when its turn comes: then nothing of it has run, and
 * the order is kept.
 *
 * What hears of the outcome is the call's sink, an object with the methods
 * done, set_result, set_exception and _call_cancelled: the Future that the
 * call is a part of, or what run_trio_task has in its place.
 *
 * Owns: what it says, till DONE.
 * Threads: the loop's.   Python code run here: arbitrary.
 */
#ifndef TAC_CROSS_TRIO_CALL_H
#define TAC_CROSS_TRIO_CALL_H

#include "aio/loop.h"
#include "core/scope.h"

enum tac_trio_call_life {
    TAC_TRIO_CALL_QUEUED,
    TAC_TRIO_CALL_RUNNING,
    TAC_TRIO_CALL_DONE,
};

/* The last part of its owner, a type without subclasses. */
struct tac_trio_call {
    TacLoop *loop;     /* owned */
    PyObject *sink;    /* owned till DONE; NULL: the owner */
    PyObject *fn;      /* owned while QUEUED, as all that follows */
    PyObject *args;    /* a tuple: positional, then keyword values */
    PyObject *kwnames; /* a tuple or NULL */
    PyObject *context; /* a copy of the caller's, unless it is set before */
    TacScope *caller;  /* the scope that was called from, or NULL */
    TacScope *scope;   /* owned while RUNNING: a branch, to be cancelled */
    enum tac_trio_call_life life;
    bool cancel_called;
};

/* The call in its owner.  Python code: none. */
static inline struct tac_trio_call *
tac_trio_call_of(PyObject *owner)
{
    Py_ssize_t size = Py_TYPE(owner)->tp_basicsize;
    return (struct tac_trio_call *)((char *)owner + size) - 1;
}

/* Queue the owner's call, which has its loop, function and arguments.  0, or
 * -1 with an exception. */
int tac_trio_call_queue(PyObject *owner);

/* Cancel the Trio task, or keep it from starting; `why` is a str.  1: it will
 * be heard of; 0: the call is DONE; -1 with an exception. */
int tac_trio_call_cancel(struct tac_trio_call *call, PyObject *why);

int tac_trio_call_traverse(struct tac_trio_call *call, visitproc visit,
                           void *arg);

/* All but the loop, which goes last. */
void tac_trio_call_clear(struct tac_trio_call *call);

#endif
