/* core/iotraps.h - the awaitables of wait_readable and wait_writable.
 *
 * Owns: nothing.   Threads: runner thread only.
 * Python code run here: fileno() of what is waited for.
 */
#ifndef TAC_CORE_IOTRAPS_H
#define TAC_CORE_IOTRAPS_H

#include "base/args.h"
#include "core/trap.h"

/* first: an int or an object with fileno(). */
extern const struct tac_trap_ops tac_wait_readable_ops;
extern const struct tac_trap_ops tac_wait_writable_ops;

#endif
