/* net/address.c - socket addresses as Python's socket module shows them. */
#include "net/address.h"

#include <arpa/inet.h>
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

/* (host, port) or (host, port, flow, scope); the host without its zone. */
static PyObject *
address_of_ip(const struct sockaddr *address)
{
    char host[INET6_ADDRSTRLEN];
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        if (inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host)) == NULL) {
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        return Py_BuildValue("si", host, (int)ntohs(in->sin_port));
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
    if (inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host)) == NULL) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
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
    return address_of_ip(address);
}
