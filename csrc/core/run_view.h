/* core/run_view.h - a runner's attributes, as Python sees them.
 *
 * Owns: nothing.   Threads: runner thread, or any while it is not driven.
 * Python code run here: custom clocks, and what makes the returned objects.
 */
#ifndef TAC_CORE_RUN_VIEW_H
#define TAC_CORE_RUN_VIEW_H

#include "core/run.h"

extern PyGetSetDef tac_run_view_getset[];

/* The root of the task tree, or None.  Returns: new ref. */
PyObject *tac_run_view_init_task(TacRunner *runner);

#endif
