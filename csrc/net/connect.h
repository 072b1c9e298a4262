/* net/connect.h - a TCP connection to a numeric address, the plain way.
 *
 * What create_connection() does most often, a connection to one address that
 * needs no resolving, with nothing special asked for: a socket is opened and
 * connected without an object for it.  On the machine itself the connection
 * is made by the time connect() returns, so it is not waited for.
 *
 * Owns: the socket's number, until a transport or a socket object takes it.
 * Threads: the loop's.   Python code run here: looking up attributes, and
 * audit hooks, which see this object in the place of a socket's.
 */
#ifndef TAC_NET_CONNECT_H
#define TAC_NET_CONNECT_H

#include "state.h"

#include <sys/socket.h>

/* The same of a connection that was accepted (the fd is stolen).  Returns:
 * new ref | NULL+exc. */
PyObject *tac_connect_accepted(TacState *state, int fd,
                               const struct sockaddr *peer, socklen_t len);

int tac_connect_add_types(PyObject *module, TacState *state);

#endif
