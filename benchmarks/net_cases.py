"""The cases of bench_net, and what is to be reached in each."""

import asyncio
import contextlib
import gc
from typing import NamedTuple

import net_data
import net_http
from net_clients import SPARE_FILES, Traffic, clients, counted, server_case
from net_floor import floor_case
from net_servers import (
    BACKLOG,
    BufferedEcho,
    Closing,
    Echo,
    answering,
    over_pipes,
    over_sock,
    over_streams,
    over_tcp,
    over_udp,
    over_unix,
    port_of,
)
from shared.case import FLOOR, OURS, Case
from shared.machine import allow_open_files, can_open_files, resident_bytes

KIB = 1024
AIOFASTNET = "aiofastnet"
LOOP_PEERS = ["asyncio", "uvloop", "rloop", "zuvloop", OURS]
TLS_PEERS = ["asyncio", "uvloop", "zuvloop", AIOFASTNET, OURS]
FLOOR_PEERS = [*LOOP_PEERS, FLOOR]
CONNECTIONS = [1, 50, 1_000, 10_000]
IDLE = 2_000
FIRST = 100  # idle ones that are there before
SHORT_LIVED = 20  # connections at a time that end after one message


class Goal(NamedTuple):
    """Our `figure` is to be at most so many times that of `peer`, None: of the best."""

    figure: str
    peer: str | None
    at_most: float


class Section(NamedTuple):
    """Cases with the same goals, in a table of their own.

    `floors` are the same cases for the server in C. User and system CPU time are told
    `apart`, or else the figure is what the cases show. `service` is what net_services
    calls the server whose clients are measured.
    """

    title: str
    cases: list[Case]
    peers: list[str]
    goals: list[Goal]
    floors: list[Case] = []
    apart: bool = True
    divisor: int = 1000
    service: str | None = None


CPU_BELOW_EVERY_PEER = [Goal("process", None, 1.0)]
REQUESTS = [Goal("wall", None, 1.0), Goal("process", None, 1.0)]


def size_words(size):
    return f"{size // KIB} KiB"


def connection_words(connections):
    words = f"{connections:,}".replace(",", " ")
    return f"{words} connection{'s' * (connections > 1)}"


def messages(size, connections):
    """Return how many messages make a round of some ten milliseconds."""
    return max(4_000 * KIB // (size + KIB), connections, 500)


def echo_cases():
    """Return the protocol echo's cases, and the same ones of the server in C."""
    start = over_tcp(Echo)
    cases, floors = [], []
    for connections in CONNECTIONS:
        if not can_open_files(connections + SPARE_FILES):
            continue
        for size in (1 * KIB, 10 * KIB, 100 * KIB):
            if connections > 1_000 and size > KIB:
                continue
            traffic = Traffic("echo", size, connections)
            name = f"echo {size_words(size)}, {connection_words(connections)}"
            case = server_case(name, start, traffic, messages(size, connections))
            cases.append(case)
            floors.append(floor_case(case, "stream", "tcp", traffic))
    return cases, floors


def other_cases():
    """Return the cases of the other ways to move bytes, and the server in C's."""
    at_1, at_100 = (Traffic("echo", size, 50) for size in (KIB, 100 * KIB))
    alone = Traffic("echo", KIB, 1)
    ends = Traffic("connect", 1, SHORT_LIVED)
    table = [
        ("buffered protocol 1 KiB", over_tcp(BufferedEcho), at_1, "stream", "tcp"),
        ("buffered protocol 100 KiB", over_tcp(BufferedEcho), at_100, "stream", "tcp"),
        ("streams 1 KiB", over_streams, at_1, "stream", "tcp"),
        ("streams 100 KiB", over_streams, at_100, "stream", "tcp"),
        ("sock_* 1 KiB", over_sock, at_1, "stream", "tcp"),
        ("sock_* 100 KiB", over_sock, at_100, "stream", "tcp"),
        ("Unix socket 1 KiB", over_unix(Echo), at_1, "stream", "unix"),
        ("Unix socket 100 KiB", over_unix(Echo), at_100, "stream", "unix"),
        ("UDP 1 KiB", over_udp, Traffic("udp", KIB, 50), "udp", "tcp"),
        ("pipes 1 KiB", over_pipes, alone, "stream", "pipes"),
        (
            "pipes 100 KiB",
            over_pipes,
            alone._replace(size=100 * KIB),
            "stream",
            "pipes",
        ),
        ("accept and close", over_tcp(Closing), ends, "close", "tcp"),
    ]
    cases, floors = [], []
    for name, start, traffic, kind, where in table:
        case = server_case(name, start, traffic, messages(traffic.size, 1) // 2)
        cases.append(case)
        floors.append(floor_case(case, kind, where, traffic))
    return cases, floors


class Lost(asyncio.Protocol):
    """Tells when its connection is lost, which it does not end."""

    def __init__(self, loop):
        self.lost = loop.create_future()

    def connection_lost(self, exc):
        self.lost.set_result(None)


@contextlib.asynccontextmanager
async def closing_server(loop):
    server = await loop.create_server(Closing, "127.0.0.1", 0, backlog=BACKLOG)
    yield loop, int(port_of(server))
    server.close()


@counted
async def connect_and_close(subject, count):
    """Connect to a server of the same loop, which closes."""
    loop, port = subject
    for _ in range(count):
        _, protocol = await loop.create_connection(
            lambda: Lost(loop), "127.0.0.1", port
        )
        await protocol.lost


def http_cases():
    def case(name, start, size, count=1_000):
        return server_case(name, start, Traffic("http", size, 50), count)

    whole = net_http.aiohttp(net_http.whole_response)
    split = net_http.aiohttp(net_http.split_response)
    without = net_http.uvicorn(net_http.socket_without_protocol)
    return [
        case("protocol, head and body", over_tcp(answering(KIB)), KIB, 4_000),
        case("uvicorn plaintext", net_http.uvicorn(), 14),
        case("uvicorn 10 KiB", net_http.uvicorn(), 10 * KIB),
        case("uvicorn, proto=0 keep-alive", without, KIB),
        case("aiohttp plaintext", whole, 14),
        case("aiohttp 10 KiB", whole, 10 * KIB),
        case("aiohttp split head and body", split, KIB),
    ]


def websocket_cases():
    servers = {
        "websockets": net_http.websockets,
        "aiohttp web sockets": net_http.aiohttp_websocket,
    }
    return [
        server_case(f"{name} {words}", start, Traffic("websocket", size, 50), count)
        for name, start in servers.items()
        for words, size, count in (("1 KiB", KIB, 1_000), ("100 KiB", 100 * KIB, 200))
    ]


def tls_cases():
    start = over_tcp(Echo)
    at_1, at_100 = (Traffic("echo", size, 50, tls=True) for size in (KIB, 100 * KIB))
    hands = Traffic("handshake", 1, SHORT_LIVED, tls=True)
    return [
        server_case("TLS echo 1 KiB", start, at_1, 1_000),
        server_case("TLS echo 100 KiB", start, at_100, 200),
        server_case("TLS handshake and close", start, hands, 100),
    ]


async def wait_for(process):
    if await process.wait() != 0:
        raise RuntimeError("wrong answer: the process failed")


async def run_process():
    await wait_for(await asyncio.create_subprocess_exec("true"))


@counted
async def spawn(loop, count):
    for _ in range(count):
        await run_process()


@counted
async def spawn_together(loop, count):
    for _ in range(count // SHORT_LIVED):
        await asyncio.gather(*(run_process() for _ in range(SHORT_LIVED)))


@counted
async def copy_through_process(loop, count):
    """Send `count` MiB through another process and back."""
    data = bytes(1024 * KIB) * count
    process = await asyncio.create_subprocess_exec(
        "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate(data)
    if output != data:
        raise RuntimeError("wrong answer: other bytes than were sent")
    await wait_for(process)


class Connected(list):
    """Protocols that have a connection."""

    def __init__(self):
        self.count = 0
        self.enough = asyncio.Event()

    def add(self, protocol):
        self.append(protocol)
        if len(self) == self.count:
            self.enough.set()

    async def reach(self, count):
        """Wait until there are so many."""
        self.count = count
        self.enough.clear()
        if len(self) < count:
            await self.enough.wait()


class Counting(Echo):
    def __init__(self, connected):
        self.connected = connected

    def connection_made(self, transport):
        super().connection_made(transport)
        self.connected.add(self)


def idle(tls):
    async def idle_connections(loop, count):
        """Tell by how many bytes the process grows for a connection."""
        allow_open_files(FIRST + count + SPARE_FILES)
        connected = Connected()
        first, others = (Traffic("echo", KIB, n, tls) for n in (FIRST, count))
        async with over_tcp(lambda: Counting(connected))(loop, first) as address:
            # What there is once, not for each of them, comes with the first ones.
            async with clients(first, *address):
                await connected.reach(FIRST)
                gc.collect()
                before = resident_bytes()
                async with clients(others, *address):
                    await connected.reach(FIRST + count)
                    gc.collect()
                    return {"memory": (resident_bytes() - before) / count}

    return idle_connections


def idle_case(name, tls=False):
    return Case(name, idle(tls), IDLE, shown="memory", once=True)


ECHO, ECHO_FLOORS = echo_cases()
OTHER, OTHER_FLOORS = other_cases()
SECTIONS = [
    Section(
        "protocol echo, CPU us a message",
        ECHO,
        FLOOR_PEERS,
        [
            Goal("user", "uvloop", 0.6),
            Goal("user", None, 1.0),
            Goal("process", FLOOR, 1.15),
        ],
        ECHO_FLOORS,
    ),
    Section(
        "other echoes, CPU us a message",
        OTHER,
        FLOOR_PEERS,
        CPU_BELOW_EVERY_PEER,
        OTHER_FLOORS,
    ),
    Section(
        "both ends, CPU us a connection",
        [
            Case(
                "connect, accept, close",
                connect_and_close,
                200,
                shown="process",
                prepare=closing_server,
            )
        ],
        LOOP_PEERS,
        [Goal("process", None, 0.9)],
    ),
    Section("HTTP, CPU us a request", http_cases(), LOOP_PEERS, REQUESTS),
    Section(
        "WebSockets, CPU us a message",
        websocket_cases(),
        LOOP_PEERS,
        CPU_BELOW_EVERY_PEER,
    ),
    Section("TLS, CPU us a message", tls_cases(), TLS_PEERS, CPU_BELOW_EVERY_PEER),
    Section(
        "PostgreSQL, CPU us a query",
        net_data.POSTGRES,
        LOOP_PEERS,
        CPU_BELOW_EVERY_PEER,
        service="postgres",
    ),
    Section(
        "Redis, CPU us an operation",
        net_data.REDIS,
        LOOP_PEERS,
        CPU_BELOW_EVERY_PEER,
        service="redis",
    ),
    Section(
        "subprocesses, us that pass",
        [
            Case("spawn, one at a time", spawn, 40, shown="wall"),
            Case("spawn, 20 at a time", spawn_together, 40, shown="wall"),
            Case("pipes to a process, a MiB", copy_through_process, 16, shown="wall"),
        ],
        LOOP_PEERS,
        REQUESTS,
        apart=False,
    ),
    Section(
        "memory, bytes a connection",
        [idle_case("idle TCP")],
        LOOP_PEERS,
        [Goal("memory", None, 1.0)],
        apart=False,
        divisor=1,
    ),
    Section(
        "memory of TLS, bytes",
        [idle_case("idle TLS", tls=True)],
        TLS_PEERS,
        [Goal("memory", None, 1.0)],
        apart=False,
        divisor=1,
    ),
]
