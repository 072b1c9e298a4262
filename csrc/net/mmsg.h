/* net/mmsg.h - several datagrams a system call, or one where there is none.
 *
 * Threads: any.   Python code run here: none.
 */
#ifndef TAC_NET_MMSG_H
#define TAC_NET_MMSG_H

#include <Python.h> /* which says what the C library is to declare */
#include <sys/socket.h>
#include <sys/uio.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

#if defined(__linux__) || defined(__FreeBSD__) || defined(__NetBSD__)

/* How many of `count` messages were received; or -1, and errno. */
static inline int
tac_recvmmsg(int fd, struct mmsghdr *messages, int count)
{
    return (int)recvmmsg(fd, messages, (unsigned)count, 0, NULL);
}

/* How many were sent; or -1, and errno, if not even the first was. */
static inline int
tac_sendmmsg(int fd, struct mmsghdr *messages, int count)
{
    return (int)sendmmsg(fd, messages, (unsigned)count, MSG_NOSIGNAL);
}

#else

struct mmsghdr {
    struct msghdr msg_hdr;
    unsigned int msg_len;
};

static inline int
tac_recvmmsg(int fd, struct mmsghdr *messages, int count)
{
    ssize_t got = recvmsg(fd, &messages[0].msg_hdr, 0);
    messages[0].msg_len = got < 0 ? 0 : (unsigned int)got;
    return got < 0 ? -1 : 1;
}

static inline int
tac_sendmmsg(int fd, struct mmsghdr *messages, int count)
{
    return sendmsg(fd, &messages[0].msg_hdr, MSG_NOSIGNAL) < 0 ? -1 : 1;
}

#endif
#endif
