/* net/listener.h - Listener: what a server's listening socket runs.
 *
 * A callable that is watched as a reader.  It accepts what there is, up to
 * the backlog, and makes a stream transport of each, or hands it to a
 * function, for TLS.  What is not plain, it leaves to the standard library's
 * code: debug mode, and errors.
 *
 * Owns: the loop, the factory, the socket, the server.
 * Threads: the loop's.   Python code run here: arbitrary.
 */
#ifndef TAC_NET_LISTENER_H
#define TAC_NET_LISTENER_H

#include "state.h"

int tac_listener_add_types(PyObject *module, TacState *state);

#endif
