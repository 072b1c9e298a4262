/* core/event.h - Event: something that happens once.
 *
 * Owns: nothing; the traps of those who wait are their tasks'.
 * Threads: runner thread only.
 * Python code run here: instruments, by rescheduling.
 */
#ifndef TAC_CORE_EVENT_H
#define TAC_CORE_EVENT_H

#include "state.h"

int tac_event_add_types(PyObject *module, TacState *state);

#endif
