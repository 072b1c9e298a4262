/* net/address.c - socket addresses as Python's socket module shows them. */
#include "net/address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

bool
tac_address_is_known(const struct sockaddr *address)
{
    return address->sa_family == AF_INET || address->sa_family == AF_INET6
           || address->sa_family == AF_UNIX;
}

/* (host, port) or (host, port, flow, scope).  getnameinfo, not inet_ntop: it
 * adds the zone of an IPv6 address. */
static PyObject *
address_of_ip(const struct sockaddr *address, socklen_t len)
{
    char host[NI_MAXHOST];
    int error = getnameinfo(address, len, host, sizeof(host), NULL, 0,
                            NI_NUMERICHOST);
    if (error != 0) {
        PyErr_SetString(PyExc_OSError, gai_strerror(error));
        return NULL;
    }
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        return Py_BuildValue("si", host, (int)ntohs(in->sin_port));
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
    return Py_BuildValue("siII", host, (int)ntohs(in6->sin6_port),
                         (unsigned)ntohl(in6->sin6_flowinfo),
                         (unsigned)in6->sin6_scope_id);
}

/* A path as str, an abstract name as bytes. */
static PyObject *
address_of_unix(const struct sockaddr_un *address, socklen_t len)
{
    size_t prefix = offsetof(struct sockaddr_un, sun_path);
    size_t size = len > prefix ? len - prefix : 0;
    if (size != 0 && address->sun_path[0] == '\0') {
        return PyBytes_FromStringAndSize(address->sun_path,
                                         (Py_ssize_t)size);
    }
    return PyUnicode_DecodeFSDefaultAndSize(
        address->sun_path, (Py_ssize_t)strnlen(address->sun_path, size));
}

PyObject *
tac_address_object(const struct sockaddr *address, socklen_t len)
{
    if (address->sa_family == AF_UNIX) {
        return address_of_unix((const struct sockaddr_un *)address, len);
    }
    return address_of_ip(address, len);
}
