/* aio/group.h - what a TaskGroup does once a task.
 *
 * TaskGroupCore is the base in C of trio_asyncio_c.TaskGroup, which enters and
 * leaves the group in Python.  Its Tasks are born in its scope (see scoped.h);
 * background ones in a branch of that, which is cancelled on its own.
 *
 *   I1  the group can make Tasks  <=>  `loop` is set: from entry to exit.
 *   I2  a Task is in `tasks` till its callback, task_done, has run.
 *
 * Owns: its scopes, its Tasks, and the loop between entry and exit.
 * Threads: the loop's.   Python code run here: arbitrary.
 */
#ifndef TAC_AIO_GROUP_H
#define TAC_AIO_GROUP_H

#include "state.h"

int tac_group_add_types(PyObject *module, TacState *state);

#endif
