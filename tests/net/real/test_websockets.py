"""The websockets library: its server and its client, on one loop."""

from __future__ import annotations

import asyncio
import os

import pytest

websockets = pytest.importorskip("websockets")

from websockets.asyncio.client import connect, unix_connect  # noqa: E402
from websockets.asyncio.server import broadcast, serve, unix_serve  # noqa: E402
from websockets.exceptions import (  # noqa: E402
    ConnectionClosedError,
    ConnectionClosedOK,
)
from websockets.extensions import permessage_deflate  # noqa: E402

from ..._real.watch import run  # noqa: E402

MESSAGES = ["", "hello", "x" * 100_000, b"", b"\0\1", os.urandom(1 << 20)]


async def echo(ws):
    async for message in ws:
        if message == "please close":
            await ws.close(4001, "as you wish")
        else:
            await ws.send(message)


@pytest.fixture(params=["plain", "tls"])
def tls_pair(request):
    """Give the server's and the client's context, or None and None."""
    if request.param == "plain":
        return None, None
    return tuple(map(request.getfixturevalue, ("server_tls", "client_tls")))


def url_of(server, tls):
    return f"{'wss' if tls else 'ws'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def served(program, tls_pair, handler=echo, **options):
    """Return a program that runs `program(connect)` beside a server; that opens a
    client."""
    server_tls, client_tls = tls_pair

    async def main():
        async with serve(
            handler, "127.0.0.1", 0, ssl=server_tls, max_size=None, **options
        ) as server:
            url = url_of(server, server_tls)
            await program(
                lambda **options: connect(
                    url, ssl=client_tls, max_size=None, proxy=None, **options
                )
            )

    return main


def test_echo(tls_pair):
    async def program(connect):
        async with connect() as ws:
            for message in MESSAGES * 3:
                await ws.send(message)
                assert await ws.recv() == message
            await ws.send(["in ", "several ", "parts"])
            assert await ws.recv() == "in several parts"

    run(served(program, tls_pair))


def test_ping_and_pong(tls_pair):
    async def program(connect):
        async with connect() as ws:
            waiters = [await ws.ping() for _ in range(20)]
            latencies = await asyncio.gather(*waiters)
            assert len(latencies) == 20

    run(served(program, tls_pair, ping_interval=0.01))


def test_a_peer_that_does_not_answer_pings(tls_pair):
    async def program(connect):
        async with connect(ping_interval=None) as ws:
            ws.transport.pause_reading()
            await gone.wait()
            ws.transport.resume_reading()
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.recv()
            assert caught.value.rcvd.code == 1011

    async def handler(ws):
        try:
            await ws.recv()
        except ConnectionClosedError:
            gone.set()

    gone = asyncio.Event()
    options = {"ping_interval": 0.02, "ping_timeout": 0.02, "close_timeout": 0.02}
    run(served(program, tls_pair, handler, **options))


def test_close_codes(tls_pair):
    closed = []

    async def program(connect):
        async with connect() as ws:
            await ws.send("please close")
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.recv()
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (
                4001,
                "as you wish",
            )
        async with connect() as ws:
            await ws.close(4002, "mine")
        async with connect() as ws:
            pass
        async with connect() as ws:
            ws.transport.abort()

    async def recording(ws):
        try:
            await echo(ws)
        finally:
            await ws.wait_closed()
            closed.append(ws.close_code)

    run(served(program, tls_pair, recording))
    assert sorted(closed) == [1000, 1006, 4001, 4002]


def test_permessage_deflate(tls_pair):
    text = "compressible " * 10_000

    async def program(connect):
        async with connect() as ws:
            names = [type(extension) for extension in ws.protocol.extensions]
            assert names == [permessage_deflate.PerMessageDeflate]
            for _ in range(20):
                await ws.send(text)
                assert await ws.recv() == text
        async with connect(compression=None) as ws:
            assert ws.protocol.extensions == []
            await ws.send(text)
            assert await ws.recv() == text

    run(served(program, tls_pair))


def test_100_clients(tls_pair):
    async def program(connect):
        async def talk(number):
            async with connect(open_timeout=30) as ws:
                for turn in range(10):
                    await ws.send(f"{number} {turn}")
                    assert await ws.recv() == f"{number} {turn}"

        await asyncio.gather(*map(talk, range(100)))

    run(served(program, tls_pair))


def test_broadcast(tls_pair):
    connected = set()

    async def handler(ws):
        connected.add(ws)
        await ws.wait_closed()

    async def program(connect):
        async with asyncio.TaskGroup() as group:

            async def hear():
                async with connect() as ws:
                    everybody.release()
                    return [await ws.recv() for _ in range(50)]

            everybody = asyncio.Semaphore(0)
            tasks = [group.create_task(hear()) for _ in range(20)]
            for _ in tasks:
                await everybody.acquire()
            while len(connected) < len(tasks):
                await asyncio.sleep(0)
            for number in range(50):
                broadcast(connected, str(number))
        for task in tasks:
            assert task.result() == list(map(str, range(50)))

    run(served(program, tls_pair, handler))


def test_a_reader_that_is_slow_holds_the_sender_up(tls_pair):
    sent = []

    async def pour(ws):
        for _ in range(300):
            await ws.send(bytes(1 << 16))
            sent.append(1)

    async def program(connect):
        async with connect(compression=None) as ws:
            for _ in range(500):
                await asyncio.sleep(0)
            assert len(sent) < 300
            received = [len(message) async for message in ws]
            assert received == [1 << 16] * 300

    run(served(program, tls_pair, pour, compression=None))


def test_the_server_closes(tls_pair):
    server_tls, client_tls = tls_pair

    async def main():
        server = await serve(echo, "127.0.0.1", 0, ssl=server_tls)
        url = url_of(server, server_tls)
        clients = [await connect(url, ssl=client_tls, proxy=None) for _ in range(10)]
        server.close()
        for ws in clients:
            with pytest.raises(ConnectionClosedOK) as caught:
                await ws.recv()
            assert caught.value.rcvd.code == 1001
        await server.wait_closed()
        with pytest.raises(OSError):
            await connect(url, ssl=client_tls, proxy=None)

    run(main)


def test_connects_cancelled_at_any_point(tls_pair):
    async def program(connect):
        async def attempt():
            async with connect() as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"

        for turns in range(30):
            task = asyncio.create_task(attempt())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        await attempt()

    run(served(program, tls_pair))


def test_unix_socket(tmp_path):
    path = str(tmp_path / "socket")

    async def main():
        async with unix_serve(echo, path, max_size=None):
            async with unix_connect(path, max_size=None) as ws:
                for message in MESSAGES:
                    await ws.send(message)
                    assert await ws.recv() == message

    run(main)
