/* net/address.h - socket addresses as Python's socket module shows them.
 *
 * Owns: the copy of a kept one.
 * Threads: any that hold the GIL.   Python code run here: none.
 */
#ifndef TAC_NET_ADDRESS_H
#define TAC_NET_ADDRESS_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Is it of a family that is known here: AF_INET, AF_INET6, AF_UNIX? */
bool tac_address_is_known(const struct sockaddr *address);

/* A known address as an object.  Returns: new ref | NULL+exc. */
PyObject *tac_address_object(const struct sockaddr *address, socklen_t len);

/* An address in as little memory as its family takes. */
struct tac_address {
    uint64_t word; /* 0: none; odd: an IPv4 host and port; else a pointer to
                      a copy */
};

static inline bool
tac_address_is_kept(const struct tac_address *kept)
{
    return kept->word != 0;
}

/* Keep a known address where there is none.  False: no memory; no exception
 * is set. */
bool tac_address_keep(struct tac_address *kept, const struct sockaddr *address,
                      socklen_t len);

void tac_address_forget(struct tac_address *kept);

/* As tac_address_object; None if there is none. */
PyObject *tac_address_kept_object(const struct tac_address *kept);

#endif
