/* aio/sock.h - the loop's sock_recv(), sock_sendall() and their like.
 *
 * Calls that are not for C to answer go to the inherited methods: for objects
 * that are no socket.socket but derive from it or only look like one, in
 * debug mode, with a socket that can block, with a method of sockets or of
 * the loop that somebody replaced, and with wrong arguments.
 *
 * Threads: the loop's.   Python code run here: arbitrary.
 */
#ifndef TAC_AIO_SOCK_H
#define TAC_AIO_SOCK_H

#include "state.h"

/* Add the methods to the type of loops.  0, or -1 with an exception. */
int tac_sock_add_methods(PyObject *module, TacState *state);

#endif
