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

/* A byte in decimal digits.  Returns the end of them. */
static char *
address_put_byte(char *at, unsigned byte)
{
    if (byte >= 100) {
        *at++ = (char)('0' + byte / 100);
    }
    if (byte >= 10) {
        *at++ = (char)('0' + byte / 10 % 10);
    }
    *at++ = (char)('0' + byte % 10);
    return at;
}

/* (host, port).  By hand, for inet_ntop() takes longer than a whole datagram
 * does otherwise. */
static PyObject *
address_of_ipv4(const struct sockaddr_in *in)
{
    char host[INET_ADDRSTRLEN], *end = host;
    const unsigned char *bytes = (const unsigned char *)&in->sin_addr;
    for (int i = 0; i < 4; i++) {
        if (i != 0) {
            *end++ = '.';
        }
        end = address_put_byte(end, bytes[i]);
    }
    Py_ssize_t len = end - host;
    PyObject *text = PyUnicode_New(len, 127);
    PyObject *port = PyLong_FromLong(ntohs(in->sin_port));
    PyObject *pair = text == NULL || port == NULL ? NULL : PyTuple_New(2);
    if (pair == NULL) {
        Py_XDECREF(text);
        Py_XDECREF(port);
        return NULL;
    }
    memcpy(PyUnicode_DATA(text), host, (size_t)len);
    PyTuple_SET_ITEM(pair, 0, text);
    PyTuple_SET_ITEM(pair, 1, port);
    return pair;
}

/* (host, port, flow, scope); the host without its zone. */
static PyObject *
address_of_ipv6(const struct sockaddr_in6 *in6)
{
    char host[INET6_ADDRSTRLEN];
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
    return address->sa_family == AF_INET
               ? address_of_ipv4((const struct sockaddr_in *)address)
               : address_of_ipv6((const struct sockaddr_in6 *)address);
}

/* Keeping ----------------------------------------------------------------- */

struct address_copy {
    socklen_t len;
    union {
        struct sockaddr any;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } address;
};

bool
tac_address_keep(struct tac_address *kept, const struct sockaddr *address,
                 socklen_t len)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        kept->word = (uint64_t)in->sin_addr.s_addr << 32
                     | (uint64_t)in->sin_port << 16 | 1;
        return true;
    }
    size_t offset = offsetof(struct address_copy, address);
    struct address_copy *copy = PyMem_Malloc(offset + len);
    if (copy == NULL) {
        return false;
    }
    copy->len = len;
    memcpy((char *)copy + offset, address, len);
    kept->word = (uintptr_t)copy;
    return true;
}

static struct address_copy *
address_copy_of(const struct tac_address *kept)
{
    return (struct address_copy *)(uintptr_t)kept->word;
}

void
tac_address_forget(struct tac_address *kept)
{
    if ((kept->word & 1) == 0) {
        PyMem_Free(address_copy_of(kept));
    }
    kept->word = 0;
}

PyObject *
tac_address_kept_object(const struct tac_address *kept)
{
    if (kept->word == 0) {
        Py_RETURN_NONE;
    }
    if (kept->word & 1) {
        struct sockaddr_in in = {
            .sin_family = AF_INET,
            .sin_addr.s_addr = (in_addr_t)(kept->word >> 32),
            .sin_port = (in_port_t)(kept->word >> 16),
        };
        return address_of_ipv4(&in);
    }
    const struct address_copy *copy = address_copy_of(kept);
    return tac_address_object(&copy->address.any, copy->len);
}
