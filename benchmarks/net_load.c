/* net_load.c - loads a server, and checks what it answers.
 *
 *   net_load KIND ADDRESS SIZE CONNECTIONS [tls]
 *
 * KIND       echo       SIZE bytes there and back over a stream
 *            http       GET, answered by a body of SIZE bytes: a to z, again
 *                       and again
 *            udp        a datagram of SIZE bytes there and back
 *            connect    connect, and wait for the server to close
 *            handshake  connect, TLS handshake, shut down, wait for the end
 *            websocket  a binary WebSocket message there and back
 * ADDRESS    a port of 127.0.0.1, the path of a Unix socket, or READ:WRITE,
 *            the descriptors of two pipes
 *
 * Each connection has one message in flight: it sends the next when it has
 * the whole answer to its last.  For each line on stdin, a number of messages,
 * that many are exchanged in all, and a line of JSON on stdout tells the
 * latencies' median and 99th percentile in nanoseconds.  Before the first,
 * "connected" is said.
 *
 * The exit status is 1, with the reason on stderr, when an answer is wrong.
 * TLS is the machine's libssl, looked for when it is needed; no headers of it
 * are.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    PAGE_SIZE = 4096,
    SHIFTS = 256, /* so many different messages there are */
    HEAD_MAX = 4096,
    FRAME_HEAD_MAX = 10,
    MASK_SIZE = 4,
    READ_MAX = 256 * 1024,
    EVENTS_MAX = 1024,
    STALLED_MS = 10 * 1000,
};

enum outcome { DRAINED = -1, CLOSED = -2 };

struct connection {
    int in, out;
    void *ssl;
    bool greeted;  /* its handshake is done */
    size_t number; /* of messages so far, and where it began */
    const char *message;
    const char *expected; /* the answer, if that is known */
    size_t sent, received;
    size_t answer_size; /* 0: not known yet */
    char *answer;       /* http's, as far as it has come */
    char *frame, *expected_frame; /* websocket's */
    uint64_t sent_at;
};

struct load;

struct kind {
    const char *name;
    /* What comes before messages on a lasting connection, or NULL. */
    void (*greet)(struct load *, struct connection *);
    void (*begin)(struct load *, struct connection *);
    /* Goes on as far as it can; returns whether the message is answered. */
    bool (*advance)(struct load *, struct connection *);
    bool lasting; /* one connection for all messages */
};

struct load {
    const struct kind *kind;
    const char *address;
    size_t size, message_size, connection_count;
    bool tls;
    struct connection *connections;
    char *pattern, *buffer;
    int poll;
    size_t left; /* messages to be begun in this round */
    uint64_t *latencies;
    size_t answered;
};

static const char REQUEST[] =
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n";

_Noreturn static void
die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

_Noreturn static void
die_of_errno(const char *what)
{
    die("the clients' %s: %s", what, strerror(errno));
}

static void *
allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (memory == NULL) {
        die_of_errno("calloc");
    }
    return memory;
}

static uint64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* --- TLS ------------------------------------------------------------- */

/* What is used of libssl 1.1 and later, whose ABI these are. */
enum {
    TLS_WANT_READ = 2,
    TLS_WANT_WRITE = 3,
    TLS_CTRL_MODE = 33,
    TLS_PARTIAL_WRITE = 1,
    TLS_MOVING_BUFFER = 2,
};

static struct {
    void *context;
    void *(*new)(void *);
    void (*free)(void *);
    int (*set_fd)(void *, int);
    int (*connect)(void *);
    int (*read)(void *, void *, int);
    int (*write)(void *, const void *, int);
    int (*shutdown)(void *);
    int (*get_error)(const void *, int);
} tls;

static void *
tls_symbol(void *library, const char *name)
{
    void *symbol = dlsym(library, name);
    if (symbol == NULL) {
        die("the clients' libssl has no %s", name);
    }
    return symbol;
}

static void
tls_open(void)
{
    void *library = dlopen("libssl.so.3", RTLD_NOW);
    if (library == NULL) {
        library = dlopen("libssl.so.1.1", RTLD_NOW);
    }
    if (library == NULL) {
        die("the clients need libssl: %s", dlerror());
    }
    void *(*method)(void), *(*new_context)(void *);
    long (*control)(void *, int, long, void *);
    *(void **)&method = tls_symbol(library, "TLS_client_method");
    *(void **)&new_context = tls_symbol(library, "SSL_CTX_new");
    *(void **)&control = tls_symbol(library, "SSL_CTX_ctrl");
    *(void **)&tls.new = tls_symbol(library, "SSL_new");
    *(void **)&tls.free = tls_symbol(library, "SSL_free");
    *(void **)&tls.set_fd = tls_symbol(library, "SSL_set_fd");
    *(void **)&tls.connect = tls_symbol(library, "SSL_connect");
    *(void **)&tls.read = tls_symbol(library, "SSL_read");
    *(void **)&tls.write = tls_symbol(library, "SSL_write");
    *(void **)&tls.shutdown = tls_symbol(library, "SSL_shutdown");
    *(void **)&tls.get_error = tls_symbol(library, "SSL_get_error");
    tls.context = new_context(method());
    if (tls.context == NULL) {
        die("the clients' SSL_CTX_new fails");
    }
    control(tls.context, TLS_CTRL_MODE, TLS_PARTIAL_WRITE | TLS_MOVING_BUFFER,
            NULL);
}

static void
tls_begin(struct connection *connection)
{
    connection->ssl = tls.new(tls.context);
    if (connection->ssl == NULL
        || !tls.set_fd(connection->ssl, connection->in))
    {
        die("the clients' SSL_new fails");
    }
}

static ssize_t
tls_outcome(struct connection *connection, int result)
{
    int error = tls.get_error(connection->ssl, result);
    return error == TLS_WANT_READ || error == TLS_WANT_WRITE ? DRAINED
                                                             : CLOSED;
}

/* --- bytes ----------------------------------------------------------- */

/* Returns how many bytes came, or an outcome. */
static ssize_t
receive_some(struct connection *connection, char *buffer, size_t size)
{
    if (connection->ssl) {
        int count = tls.read(connection->ssl, buffer, (int)size);
        return count > 0 ? count : tls_outcome(connection, count);
    }
    ssize_t count = read(connection->in, buffer, size);
    if (count > 0) {
        return count;
    }
    return count < 0 && errno == EAGAIN ? DRAINED : CLOSED;
}

static ssize_t
send_some(struct connection *connection, const char *bytes, size_t size)
{
    if (connection->ssl) {
        int count = tls.write(connection->ssl, bytes, (int)size);
        return count > 0 ? count : tls_outcome(connection, count);
    }
    ssize_t count = write(connection->out, bytes, size);
    if (count >= 0) {
        return count;
    }
    return errno == EAGAIN ? DRAINED : CLOSED;
}

static void
send_rest(struct load *load, struct connection *connection)
{
    while (connection->sent < load->message_size) {
        ssize_t count =
            send_some(connection, connection->message + connection->sent,
                      load->message_size - connection->sent);
        if (count == CLOSED) {
            die("wrong answer: the server closed the connection");
        }
        if (count == DRAINED) {
            return;
        }
        connection->sent += (size_t)count;
    }
}

/* --- sockets --------------------------------------------------------- */

static bool
is_path(const char *address)
{
    return address[0] == '/';
}

static socklen_t
resolve(const char *address, struct sockaddr_storage *to)
{
    memset(to, 0, sizeof(*to));
    if (is_path(address)) {
        struct sockaddr_un *local = (struct sockaddr_un *)to;
        local->sun_family = AF_UNIX;
        if (strlen(address) >= sizeof(local->sun_path)) {
            die("too long: %s", address);
        }
        memcpy(local->sun_path, address, strlen(address) + 1);
        return sizeof(*local);
    }
    struct sockaddr_in *internet = (struct sockaddr_in *)to;
    internet->sin_family = AF_INET;
    internet->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    internet->sin_port = htons((uint16_t)atoi(address));
    return sizeof(*internet);
}

/* `type` is socket()'s; a non-blocking one may be on its way yet. */
static int
connect_to(const char *address, int type)
{
    struct sockaddr_storage to;
    socklen_t size = resolve(address, &to);
    int fd = socket(to.ss_family, type, 0);
    if (fd < 0) {
        die_of_errno("socket");
    }
    if (connect(fd, (struct sockaddr *)&to, size) && errno != EINPROGRESS) {
        die_of_errno("connect");
    }
    int one = 1;
    if (to.ss_family == AF_INET && !(type & SOCK_DGRAM)) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
    return fd;
}

static void
watch(struct load *load, struct connection *connection, int fd)
{
    struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                {.ptr = connection}};
    if (epoll_ctl(load->poll, EPOLL_CTL_ADD, fd, &event)) {
        die_of_errno("epoll_ctl");
    }
}

static void
set_nonblocking(int fd)
{
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)) {
        die_of_errno("fcntl");
    }
}

static void
open_lasting(struct load *load, struct connection *connection)
{
    int is_udp = strcmp(load->kind->name, "udp") == 0;
    int is_pipe =
        sscanf(load->address, "%d:%d", &connection->in, &connection->out) == 2;
    if (!is_pipe) {
        connection->in = connection->out =
            connect_to(load->address, is_udp ? SOCK_DGRAM : SOCK_STREAM);
    }
    if (load->tls) {
        tls_begin(connection);
        if (tls.connect(connection->ssl) != 1) {
            die("wrong answer: the TLS handshake fails");
        }
    }
    if (load->kind->greet) {
        load->kind->greet(load, connection);
    }
    set_nonblocking(connection->in);
    set_nonblocking(connection->out);
    watch(load, connection, connection->in);
    if (is_pipe) {
        watch(load, connection, connection->out);
    }
}

/* --- messages of lasting connections --------------------------------- */

static void
begin_echo(struct load *load, struct connection *connection)
{
    connection->message = load->pattern + connection->number++ % SHIFTS;
    connection->expected = connection->message;
    connection->answer_size = load->size;
    send_rest(load, connection);
}

static bool
take_echo(struct connection *connection, const char *bytes, size_t count)
{
    if (connection->received + count > connection->answer_size
        || memcmp(bytes, connection->expected + connection->received, count))
    {
        die("wrong answer: other bytes than were sent, in the %zu from %zu on",
            count, connection->received);
    }
    connection->received += count;
    return connection->received == connection->answer_size;
}

static bool
advance_echo(struct load *load, struct connection *connection)
{
    send_rest(load, connection);
    for (;;) {
        ssize_t count = receive_some(connection, load->buffer, READ_MAX);
        if (count == CLOSED) {
            die("wrong answer: the server closed the connection");
        }
        if (count == DRAINED) {
            return false;
        }
        if (take_echo(connection, load->buffer, (size_t)count)) {
            return true;
        }
    }
}

static void
begin_http(struct load *load, struct connection *connection)
{
    if (connection->answer == NULL) {
        connection->answer = allocate(1, load->size + HEAD_MAX);
    }
    connection->message = REQUEST;
    connection->answer_size = 0;
    send_rest(load, connection);
}

/* Looks for the end of the head, and in it for the length of the body. */
static void
read_head(struct load *load, struct connection *connection)
{
    char *head = connection->answer;
    char *end = memmem(head, connection->received, "\r\n\r\n", 4);
    if (end == NULL) {
        return;
    }
    *end = 0;
    char *length = strcasestr(head, "\r\ncontent-length:");
    if (strncmp(head, "HTTP/1.1 200 ", 13) || length == NULL
        || strtoul(strchr(length, ':') + 1, NULL, 10) != load->size)
    {
        die("wrong answer: %s", head);
    }
    connection->answer_size = (size_t)(end + 4 - head) + load->size;
}

static void
check_body(struct load *load, struct connection *connection)
{
    char *body = connection->answer + connection->answer_size - load->size;
    for (size_t i = 0; i < load->size; i++) {
        if (body[i] != (char)('a' + i % 26)) {
            die("wrong answer: the body is wrong from %zu on", i);
        }
    }
}

static bool
advance_http(struct load *load, struct connection *connection)
{
    send_rest(load, connection);
    for (;;) {
        size_t room = load->size + HEAD_MAX - connection->received;
        ssize_t count = receive_some(
            connection, connection->answer + connection->received, room);
        if (count == DRAINED) {
            return false;
        }
        if (count == CLOSED) {
            die("wrong answer: the server closed the connection");
        }
        connection->received += (size_t)count;
        if (connection->answer_size == 0) {
            read_head(load, connection);
        }
        if (connection->received > connection->answer_size
            && connection->answer_size)
        {
            die("wrong answer: more than the body");
        }
        if (connection->received == connection->answer_size) {
            check_body(load, connection);
            return true;
        }
        if (connection->received == load->size + HEAD_MAX) {
            die("wrong answer: too long");
        }
    }
}

/* A message is a frame.  Its mask is all zeros, so what is sent is the pattern
 * itself; a server has to apply it all the same. */

/* The key and its answer are RFC 6455's example. */
static const char UPGRADE[] =
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
static const char ACCEPTED[] =
    "\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/* Returns the size of the head of a final frame of binary data. */
static size_t
write_frame_head(char *head, size_t size)
{
    int extended = size < 126 ? 0 : size < 65536 ? 2 : 8;
    head[0] = (char)0x82;
    head[1] = (char)(extended == 0 ? size : extended == 2 ? 126 : 127);
    for (int i = 0; i < extended; i++) {
        head[2 + i] = (char)(size >> 8 * (extended - 1 - i));
    }
    return 2 + (size_t)extended;
}

static size_t
frame_size(size_t size)
{
    char head[FRAME_HEAD_MAX];
    return write_frame_head(head, size) + size;
}

/* The connection still blocks. */
static void
greet_websocket(struct load *load, struct connection *connection)
{
    if (send_some(connection, UPGRADE, sizeof(UPGRADE) - 1)
        != sizeof(UPGRADE) - 1)
    {
        die("wrong answer: the server closed the connection");
    }
    char head[HEAD_MAX + 1];
    size_t received = 0;
    do {
        ssize_t count = receive_some(connection, head + received,
                                     HEAD_MAX - received);
        if (count <= 0) {
            die("wrong answer: no head of a response");
        }
        received += (size_t)count;
        head[received] = 0;
    } while (strstr(head, "\r\n\r\n") == NULL);
    if (strncmp(head, "HTTP/1.1 101 ", 13)
        || strcasestr(head, ACCEPTED) == NULL)
    {
        die("wrong answer: %s", head);
    }
    size_t room = load->size + FRAME_HEAD_MAX + MASK_SIZE;
    connection->frame = allocate(1, room);
    connection->expected_frame = allocate(1, room);
}

static void
begin_websocket(struct load *load, struct connection *connection)
{
    const char *bytes = load->pattern + connection->number++ % SHIFTS;
    char *expected = connection->expected_frame, *frame = connection->frame;
    size_t head_size = write_frame_head(expected, load->size);
    memcpy(expected + head_size, bytes, load->size);
    memcpy(frame, expected, head_size);
    frame[1] |= (char)0x80; /* masked */
    memcpy(frame + head_size + MASK_SIZE, bytes, load->size);
    connection->message = frame;
    connection->expected = expected;
    connection->answer_size = head_size + load->size;
    send_rest(load, connection);
}

/* --- a connection a message ------------------------------------------ */

static void
begin_connect(struct load *load, struct connection *connection)
{
    connection->in = connection->out =
        connect_to(load->address, SOCK_STREAM | SOCK_NONBLOCK);
    watch(load, connection, connection->in);
}

static bool
advance_connect(struct load *load, struct connection *connection)
{
    ssize_t count = read(connection->in, load->buffer, READ_MAX);
    if (count < 0 && errno == EAGAIN) {
        return false;
    }
    if (count < 0) {
        die("wrong answer: %s", strerror(errno));
    }
    if (count > 0) {
        die("wrong answer: bytes that nobody asked for");
    }
    close(connection->in);
    return true;
}

static bool
advance_handshake(struct load *load, struct connection *connection)
{
    if (connection->ssl == NULL) {
        tls_begin(connection);
        connection->greeted = false;
    }
    if (!connection->greeted) {
        int result = tls.connect(connection->ssl);
        if (result != 1) {
            if (tls_outcome(connection, result) == CLOSED) {
                die("wrong answer: the TLS handshake fails");
            }
            return false;
        }
        connection->greeted = true;
        tls.shutdown(connection->ssl);
    }
    ssize_t count = receive_some(connection, load->buffer, READ_MAX);
    if (count == DRAINED) {
        return false;
    }
    tls.free(connection->ssl);
    connection->ssl = NULL;
    close(connection->in);
    return true;
}

static const struct kind KINDS[] = {
    {"echo", NULL, begin_echo, advance_echo, true},
    {"http", NULL, begin_http, advance_http, true},
    {"udp", NULL, begin_echo, advance_echo, true},
    {"connect", NULL, begin_connect, advance_connect, false},
    {"handshake", NULL, begin_connect, advance_handshake, false},
    {"websocket", greet_websocket, begin_websocket, advance_echo, true},
};

static const struct kind *
find_kind(const char *name)
{
    for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++) {
        if (strcmp(KINDS[i].name, name) == 0) {
            return &KINDS[i];
        }
    }
    die("there is no kind %s", name);
}

/* --- rounds ---------------------------------------------------------- */

static void
begin(struct load *load, struct connection *connection)
{
    if (load->left == 0) {
        return;
    }
    load->left--;
    connection->sent = connection->received = 0;
    connection->sent_at = now_ns();
    load->kind->begin(load, connection);
}

static void
advance(struct load *load, struct connection *connection)
{
    /* Nothing is in flight: this tells only that it can be written to. */
    if (connection->sent_at == 0) {
        return;
    }
    if (load->kind->advance(load, connection)) {
        load->latencies[load->answered++] = now_ns() - connection->sent_at;
        connection->sent_at = 0;
        begin(load, connection);
    }
}

static void
exchange(struct load *load, size_t count)
{
    struct epoll_event events[EVENTS_MAX];
    load->latencies = allocate(count, sizeof(*load->latencies));
    load->left = count;
    load->answered = 0;
    for (size_t i = 0; i < load->connection_count; i++) {
        begin(load, &load->connections[i]);
    }
    while (load->answered < count) {
        int ready = epoll_wait(load->poll, events, EVENTS_MAX, STALLED_MS);
        if (ready == 0) {
            die("wrong answer: none for %d s", STALLED_MS / 1000);
        }
        for (int i = 0; i < ready; i++) {
            advance(load, events[i].data.ptr);
        }
    }
}

static int
compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void
report(struct load *load)
{
    uint64_t *latencies = load->latencies;
    size_t last = load->answered - 1;
    qsort(latencies, load->answered, sizeof(*latencies), compare);
    printf("{\"p50\": %llu, \"p99\": %llu}\n",
           (unsigned long long)latencies[last / 2],
           (unsigned long long)latencies[last * 99 / 100]);
    fflush(stdout);
    free(latencies);
}

/* Random bytes, so that none out of place looks right; always the same. */
static char *
make_pattern(size_t size)
{
    char *pattern = allocate(1, size);
    uint32_t state = 2463534242;
    for (size_t i = 0; i < size; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        pattern[i] = (char)state;
    }
    return pattern;
}

static size_t
message_size(const struct load *load)
{
    if (load->kind->begin == begin_http) {
        return sizeof(REQUEST) - 1;
    }
    if (load->kind->begin == begin_websocket) {
        return frame_size(load->size) + MASK_SIZE;
    }
    return load->size;
}

static void
prepare(struct load *load)
{
    load->message_size = message_size(load);
    load->pattern = make_pattern(load->size + SHIFTS);
    /* Some CPUs copy slowly to where malloc puts so large a block. */
    load->buffer = aligned_alloc(PAGE_SIZE, READ_MAX);
    if (load->buffer == NULL) {
        die_of_errno("aligned_alloc");
    }
    load->connections =
        allocate(load->connection_count, sizeof(*load->connections));
    load->poll = epoll_create1(EPOLL_CLOEXEC);
    if (load->poll < 0) {
        die_of_errno("epoll_create1");
    }
    if (load->tls || load->kind->advance == advance_handshake) {
        tls_open();
    }
    for (size_t i = 0; i < load->connection_count; i++) {
        load->connections[i].number = i;
        if (load->kind->lasting) {
            open_lasting(load, &load->connections[i]);
        }
    }
}

int
main(int argc, char **argv)
{
    if (argc < 5) {
        die("usage: net_load KIND ADDRESS SIZE CONNECTIONS [tls]");
    }
    /* It must not outlive the process that measures. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    struct load load = {
        .kind = find_kind(argv[1]),
        .address = argv[2],
        .size = strtoul(argv[3], NULL, 10),
        .connection_count = strtoul(argv[4], NULL, 10),
        .tls = argc > 5,
    };
    prepare(&load);
    puts("\"connected\"");
    fflush(stdout);
    char line[32];
    while (fgets(line, sizeof(line), stdin)) {
        exchange(&load, strtoul(line, NULL, 10));
        report(&load);
    }
    return 0;
}
