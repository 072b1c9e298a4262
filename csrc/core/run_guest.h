/* core/run_guest.h - guest mode: Runner's methods for a host loop's callbacks.
 *
 *   host thread    begin_turn -> get_events(0) -> ... -> finish_turn
 *   worker thread                get_events(timeout), when nothing is due
 *
 * While the worker waits, `host_waits` is set, and whatever makes a turn due
 * (a task that becomes runnable, a timer) ends the wait: tac_runner_poke.
 *
 * Owns: nothing.
 * Threads: the runner's, but for get_events with a timeout.
 * Python code run here: arbitrary in finish_turn, else instruments, clocks.
 */
#ifndef TAC_CORE_RUN_GUEST_H
#define TAC_CORE_RUN_GUEST_H

#include "core/run.h"

PyObject *tac_guest_attach(TacRunner *runner, PyObject *noargs);
PyObject *tac_guest_detach(TacRunner *runner, PyObject *noargs);
PyObject *tac_guest_begin_turn(TacRunner *runner, PyObject *noargs);
PyObject *tac_guest_get_events(TacRunner *runner, PyObject *timeout);
PyObject *tac_guest_finish_turn(TacRunner *runner, PyObject *events);
PyObject *tac_guest_force_guest_tick_asap(TacRunner *runner,
                                          PyObject *noargs);

int tac_guest_add_functions(PyObject *module, TacState *state);

#endif
