"""The servers of bench_trio, each in the process that is measured, with the clients
in a process of their own (trio_load.py)."""

import contextlib
import functools
import json
import resource
import subprocess
import sys
from pathlib import Path

from shared.case import Case
from shared.machine import allow_open_files, keep_apart, peak_bytes

LOAD = str(Path(__file__).resolve().with_name("trio_load.py"))
SPARE_FILES = 100


class Load:
    """The process with the clients, as the server's process sees it."""

    def __init__(self, trio, process):
        self._trio = trio
        self._process = process

    async def _hear(self):
        """Let the server work until the clients' process says something."""
        await self._trio.lowlevel.wait_readable(self._process.stdout)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the clients' process ended early")
        return json.loads(line)

    async def wait_connected(self):
        await self._hear()

    async def exchange(self, count):
        """Let the clients exchange `count` messages; return their latencies."""
        self._process.stdin.write(b"%d\n" % count)
        return await self._hear()


def start_load(kind, port, connections):
    command = [sys.executable, LOAD, kind, str(port), str(connections)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    keep_apart(process.pid)
    return process


@contextlib.asynccontextmanager
async def clients(trio, kind, port, connections):
    with start_load(kind, port, connections) as process:
        load = Load(trio, process)
        try:
            await load.wait_connected()
            yield load
        finally:
            process.kill()


async def echo(stream):
    async for data in stream:
        await stream.send_all(data)


async def start_echo(trio, nursery):
    serve = functools.partial(trio.serve_tcp, host="127.0.0.1")
    [listener] = await nursery.start(serve, echo, 0)
    return listener.socket.getsockname()[1]


async def answer_lifespan(receive, send):
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            break


BODY = b"Hello, world!\n"
HEADERS = [
    (b"content-type", b"text/plain"),
    (b"content-length", b"%d" % len(BODY)),
]


async def hello(scope, receive, send):
    """Answer any request, as an ASGI application."""
    if scope["type"] == "lifespan":
        return await answer_lifespan(receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


async def start_hypercorn(trio, nursery):
    # Here, for it imports trio, and need not be there.
    from hypercorn.config import Config
    from hypercorn.trio import serve

    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    # The clients pause while the other peer has its turn.
    config.keep_alive_timeout = 3600
    config.keep_alive_max_requests = sys.maxsize
    [url] = await nursery.start(serve, hello, config)
    return int(url.rpartition(":")[2])


def under_load(start, kind, connections):
    """Return what prepares a case: the server, with its clients connected."""

    @contextlib.asynccontextmanager
    async def prepare(trio):
        allow_open_files(connections + SPARE_FILES)
        async with trio.open_nursery() as nursery:
            port = await start(trio, nursery)
            async with clients(trio, kind, port, connections) as load:
                yield load
            nursery.cancel_scope.cancel()

    return prepare


async def exchange(load, count):
    before = resource.getrusage(resource.RUSAGE_SELF)
    latencies = await load.exchange(count)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return latencies | {
        "user": (after.ru_utime - before.ru_utime) / count * 1e9,
        "system": (after.ru_stime - before.ru_stime) / count * 1e9,
        "peak": peak_bytes(),
    }


def server_case(name, start, kind, connections, count):
    prepare = under_load(start, kind, connections)
    return Case(name, exchange, count, shown="process", prepare=prepare)


CASES = [
    server_case("echo, 50 connections", start_echo, "echo", 50, 1_000),
    server_case("echo, 1 000 connections", start_echo, "echo", 1_000, 2_000),
    server_case("hypercorn, 50 connections", start_hypercorn, "http", 50, 200),
]
