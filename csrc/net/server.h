/* net/server.h - an asyncio.Server's account of its connections.
 *
 * Server._attach() and _detach() put a transport into a WeakSet and take it
 * out again, which is all Python.  With the standard library's own classes the
 * set inside is changed here, as they would.
 *
 * Threads: the loop's.   Python code run here: arbitrary.
 */
#ifndef TAC_NET_SERVER_H
#define TAC_NET_SERVER_H

#include "state.h"

/* As server._attach(transport) and _detach(transport).  0, or -1 with an
 * exception. */
int tac_server_attach(TacState *state, PyObject *server,
                      PyObject *transport);
int tac_server_detach(TacState *state, PyObject *server,
                      PyObject *transport);

int tac_server_add_functions(PyObject *module, TacState *state);

#endif
