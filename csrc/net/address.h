/* net/address.h - socket addresses as Python's socket module shows them.
 *
 * Threads: any that hold the GIL.   Python code run here: none.
 */
#ifndef TAC_NET_ADDRESS_H
#define TAC_NET_ADDRESS_H

#include <Python.h>
#include <stdbool.h>
#include <sys/socket.h>

/* Is it of a family that is known here: AF_INET, AF_INET6, AF_UNIX? */
bool tac_address_is_known(const struct sockaddr *address);

/* A known address as an object.  Returns: new ref | NULL+exc. */
PyObject *tac_address_object(const struct sockaddr *address, socklen_t len);

#endif
