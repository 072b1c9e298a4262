/* aio/births.h - the Tasks of a group that have used no scopes yet.
 *
 * Most Tasks that are born in a scope never ask for one, and are never
 * cancelled by one.  For these no TacScoped is made: one C task, which never
 * steps, stands in the scope for all of them.  A Task gets a TacScoped, and is
 * here no more, when it first has to do with a scope, and all of them when
 * theirs is cancelled.
 *
 *   I1  loop->scoped.births has the births of each Task that is here; such a
 *       Task is a key of `tasks`, which keeps it alive, and has no TacScoped.
 *   I2  who takes a Task out of `tasks` calls tac_births_end first.
 *
 * Owns: the scope, while it is open.
 * Threads: the loop's.   Python code run here: dealloc, unless said.
 */
#ifndef TAC_AIO_BIRTHS_H
#define TAC_AIO_BIRTHS_H

#include "core/task.h"

struct TacLoop;

typedef struct tac_births {
    struct tac_task base; /* its runner is NULL: not open */
    struct TacLoop *loop; /* borrowed */
    PyObject *owner;      /* borrowed: the object that this is part of */
    PyObject *tasks;      /* borrowed: the owner's dict, by order of birth */
} tac_births;

/* Stand in a scope of the loop.  0, or -1 with an exception. */
int tac_births_open(tac_births *births, struct TacLoop *loop,
                    struct TacScope *scope, PyObject *owner, PyObject *tasks);

/* And leave it.  Idempotent; cannot fail. */
void tac_births_close(tac_births *births);

/* A Task, in `tasks`, was born in the scope, which is open.  0, or -1 with an exception. */
int tac_births_add(tac_births *births, PyObject *task);

/* A Task has ended: forget it, or drop its TacScoped.  Cannot fail. */
void tac_births_end(struct TacLoop *loop, PyObject *task);

/* The scope that a Task without a TacScoped was born in: borrowed, or NULL.
 * Python code: none. */
struct TacScope *tac_births_scope(struct TacLoop *loop, PyObject *task);

/* The same, and it is here no more.  Python code: none. */
struct TacScope *tac_births_take(struct TacLoop *loop, PyObject *task);

int tac_births_traverse(tac_births *births, visitproc visit, void *arg);

#endif
