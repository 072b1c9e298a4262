/* net_floor.c - an echo server on libev: what the kernel costs, and next to
 * nothing more.
 *
 *   net_floor KIND ADDRESS
 *
 * KIND       stream  echoes what comes by a stream
 *            udp     echoes datagrams
 *            close   closes each connection at once
 * ADDRESS    tcp (a free port of 127.0.0.1), the path of a Unix socket, or
 *            READ:WRITE, the descriptors of two pipes
 *
 * It says its address on stdout, and then for each line on stdin what it has
 * used so far: {"user": ns, "system": ns, "process": ns, "peak": bytes}.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER_SIZE = 256 * 1024, PAGE_SIZE = 4096, BACKLOG = 4096 };

struct peer {
    ev_io reader, writer;
    char
        *pending; /* what could not be sent yet, and reading rests meanwhile */
    size_t pending_size, pending_sent;
};

struct server {
    ev_io io;
    bool closes;
};

static void
die(const char *what)
{
    perror(what);
    exit(1);
}

static char *
shared_buffer(struct ev_loop *loop)
{
    return ev_userdata(loop);
}

static void
drop(struct ev_loop *loop, struct peer *peer)
{
    ev_io_stop(loop, &peer->reader);
    ev_io_stop(loop, &peer->writer);
    close(peer->reader.fd);
    if (peer->writer.fd != peer->reader.fd) {
        close(peer->writer.fd);
    }
    free(peer->pending);
    free(peer);
}

static void
on_readable(struct ev_loop *loop, ev_io *io, int events)
{
    (void)events;
    struct peer *peer = io->data;
    char *buffer = shared_buffer(loop);
    ssize_t size = read(io->fd, buffer, BUFFER_SIZE);
    if (size <= 0) {
        if (size == 0 || errno != EAGAIN) {
            drop(loop, peer);
        }
        return;
    }
    ssize_t sent = write(peer->writer.fd, buffer, (size_t)size);
    if (sent < 0 && errno != EAGAIN) {
        drop(loop, peer);
        return;
    }
    sent = sent < 0 ? 0 : sent;
    if (sent < size) {
        peer->pending_size = (size_t)(size - sent);
        peer->pending_sent = 0;
        peer->pending = malloc(peer->pending_size);
        if (peer->pending == NULL) {
            die("malloc");
        }
        memcpy(peer->pending, buffer + sent, peer->pending_size);
        ev_io_stop(loop, &peer->reader);
        ev_io_start(loop, &peer->writer);
    }
}

static void
on_writable(struct ev_loop *loop, ev_io *io, int events)
{
    (void)events;
    struct peer *peer = io->data;
    ssize_t sent = write(io->fd, peer->pending + peer->pending_sent,
                         peer->pending_size - peer->pending_sent);
    if (sent < 0) {
        if (errno != EAGAIN) {
            drop(loop, peer);
        }
        return;
    }
    peer->pending_sent += (size_t)sent;
    if (peer->pending_sent == peer->pending_size) {
        free(peer->pending);
        peer->pending = NULL;
        ev_io_stop(loop, &peer->writer);
        ev_io_start(loop, &peer->reader);
    }
}

static void
serve(struct ev_loop *loop, int in, int out)
{
    struct peer *peer = calloc(1, sizeof(*peer));
    if (peer == NULL) {
        die("calloc");
    }
    fcntl(in, F_SETFL, fcntl(in, F_GETFL) | O_NONBLOCK);
    fcntl(out, F_SETFL, fcntl(out, F_GETFL) | O_NONBLOCK);
    ev_io_init(&peer->reader, on_readable, in, EV_READ);
    ev_io_init(&peer->writer, on_writable, out, EV_WRITE);
    peer->reader.data = peer->writer.data = peer;
    ev_io_start(loop, &peer->reader);
}

static void
on_connection(struct ev_loop *loop, ev_io *io, int events)
{
    (void)events;
    struct server *server = (struct server *)io;
    int fd;
    while ((fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC))
           >= 0)
    {
        if (server->closes) {
            close(fd);
            continue;
        }
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        serve(loop, fd, fd);
    }
}

static void
on_datagram(struct ev_loop *loop, ev_io *io, int events)
{
    (void)events;
    char *buffer = shared_buffer(loop);
    struct sockaddr_storage from;
    socklen_t from_size = sizeof(from);
    ssize_t size = recvfrom(io->fd, buffer, BUFFER_SIZE, 0,
                            (struct sockaddr *)&from, &from_size);
    if (size >= 0) {
        sendto(io->fd, buffer, (size_t)size, 0, (struct sockaddr *)&from,
               from_size);
    }
}

static long long
in_ns(struct timeval time)
{
    return time.tv_sec * 1000000000LL + time.tv_usec * 1000LL;
}

/* Not getrusage's, which includes what the parent had at the fork. */
static long long
peak_bytes(void)
{
    long long kib = 0;
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof(line), status)) {
        if (sscanf(line, "VmHWM: %lld", &kib) == 1) {
            break;
        }
    }
    if (status) {
        fclose(status);
    }
    return kib * 1024;
}

static void
on_question(struct ev_loop *loop, ev_io *io, int events)
{
    (void)events;
    char line[64];
    if (read(io->fd, line, sizeof(line)) <= 0) {
        ev_break(loop, EVBREAK_ALL);
        return;
    }
    struct rusage used;
    struct timespec cpu;
    getrusage(RUSAGE_SELF, &used);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    printf(
        "{\"user\": %lld, \"system\": %lld, \"process\": %lld, \"peak\": "
        "%lld}\n",
        in_ns(used.ru_utime), in_ns(used.ru_stime),
        cpu.tv_sec * 1000000000LL + cpu.tv_nsec, peak_bytes());
    fflush(stdout);
}

static int
bind_to(const char *address, int type)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in internet = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bool is_path = address[0] == '/';
    int fd = socket(is_path ? AF_UNIX : AF_INET, type | SOCK_NONBLOCK, 0);
    int failed;
    if (is_path) {
        snprintf(local.sun_path, sizeof(local.sun_path), "%s", address);
        failed = bind(fd, (struct sockaddr *)&local, sizeof(local));
    }
    else {
        failed = bind(fd, (struct sockaddr *)&internet, sizeof(internet));
    }
    if (fd < 0 || failed || (type == SOCK_STREAM && listen(fd, BACKLOG))) {
        die("bind or listen");
    }
    if (is_path) {
        printf("\"%s\"\n", address);
    }
    else {
        socklen_t size = sizeof(internet);
        getsockname(fd, (struct sockaddr *)&internet, &size);
        printf("\"%d\"\n", ntohs(internet.sin_port));
    }
    return fd;
}

static void
start(struct ev_loop *loop, struct server *server, const char *kind,
      const char *address)
{
    int in, out;
    if (sscanf(address, "%d:%d", &in, &out) == 2) {
        serve(loop, in, out);
        puts("\"pipes\"");
        return;
    }
    bool is_udp = strcmp(kind, "udp") == 0;
    int fd = bind_to(address, is_udp ? SOCK_DGRAM : SOCK_STREAM);
    server->closes = strcmp(kind, "close") == 0;
    ev_io_init(&server->io, is_udp ? on_datagram : on_connection, fd, EV_READ);
    ev_io_start(loop, &server->io);
}

int
main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: net_floor KIND ADDRESS\n", stderr);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    struct ev_loop *loop = ev_default_loop(0);
    struct server server;
    ev_io question;
    /* Where malloc puts so large a block, 16 bytes into a page, some CPUs copy
       to at half the speed. */
    char *buffer = aligned_alloc(PAGE_SIZE, BUFFER_SIZE);
    if (loop == NULL || buffer == NULL) {
        die("libev");
    }
    ev_set_userdata(loop, buffer);
    start(loop, &server, argv[1], argv[2]);
    fflush(stdout);
    ev_io_init(&question, on_question, STDIN_FILENO, EV_READ);
    ev_io_start(loop, &question);
    ev_run(loop, 0);
    return 0;
}
