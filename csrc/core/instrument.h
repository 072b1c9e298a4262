/* core/instrument.h - instruments: user code that watches the scheduler.
 *
 * For each hook there is a dict of the instruments that define it, made when
 * an instrument is added; a hook that nobody defines costs one NULL test.
 * An instrument that raises is removed and its error logged.
 *
 * Owns: the dicts.   Threads: runner thread only.
 * Python code run here: arbitrary.
 */
#ifndef TAC_CORE_INSTRUMENT_H
#define TAC_CORE_INSTRUMENT_H

#include <Python.h>
#include <stdbool.h>

struct TacRunner;
struct tac_task;

enum tac_hook {
    TAC_HOOK_BEFORE_RUN,
    TAC_HOOK_AFTER_RUN,
    TAC_HOOK_TASK_SPAWNED,
    TAC_HOOK_TASK_SCHEDULED,
    TAC_HOOK_BEFORE_TASK_STEP,
    TAC_HOOK_AFTER_TASK_STEP,
    TAC_HOOK_TASK_EXITED,
    TAC_HOOK_BEFORE_IO_WAIT,
    TAC_HOOK_AFTER_IO_WAIT,
    TAC_HOOK_COUNT,
};

struct tac_instruments {
    PyObject *all; /* owned dict {instrument: None}, NULL: none ever */
    PyObject *hooks[TAC_HOOK_COUNT]; /* owned dicts {instrument: method} */
};

void tac_instruments_fini(struct tac_instruments *instruments);
int tac_instruments_traverse(struct tac_instruments *instruments,
                             visitproc visit, void *arg);

/* {hook: {instrument: method}}, all of them under "_all", as Trio shows it.
 * Returns: new ref | NULL+exc. */
PyObject *
tac_instruments_as_dict(const struct tac_instruments *instruments);

/* Add or remove one.  0, or -1 with an exception (KeyError for one that is
 * not there). */
int tac_instruments_add(struct TacRunner *runner, PyObject *instrument);
int tac_instruments_remove(struct TacRunner *runner, PyObject *instrument);

static inline bool
tac_instruments_has(const struct tac_instruments *instruments,
                    enum tac_hook hook)
{
    return instruments->hooks[hook] != NULL;
}

/* Call a hook with `arg` (borrowed, or NULL for none).  Errors are logged,
 * never raised. */
void tac_instruments_call(struct TacRunner *runner, enum tac_hook hook,
                          PyObject *arg);

/* The same with a task's face, made only when somebody listens. */
void tac_instruments_call_task(struct TacRunner *runner, enum tac_hook hook,
                               struct tac_task *task);

#endif
