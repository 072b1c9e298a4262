"""trio-websocket, its server and its client, in asyncio-flavoured programs.

The other side is a library of asyncio's, on the same loop.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from functools import partial

import pytest

from ._programs import require_trio, trio

require_trio()

trio_websocket = pytest.importorskip("trio_websocket")
websockets = pytest.importorskip("websockets")

from trio_websocket import ConnectionClosed, open_websocket  # noqa: E402
from websockets.asyncio.client import connect  # noqa: E402
from websockets.asyncio.server import serve  # noqa: E402

from trio_asyncio_c import aio_as_trio, run_trio, trio_as_aio  # noqa: E402

MESSAGES = ["", "hello", "x" * 70_000, b"", b"\0\1", os.urandom(300_000)]
NO_LIMIT = {"max_message_size": 1 << 20}


async def echo_by_trio(request):
    """Send back what comes. Flavor: Trio."""
    websocket = await request.accept()
    while True:
        try:
            await websocket.send_message(await websocket.get_message())
        except ConnectionClosed:
            return


async def echo_by_asyncio(websocket):
    """Send back what comes. Flavor: asyncio."""
    async for message in websocket:
        await websocket.send(message)


@asynccontextmanager
async def serving(handler=echo_by_trio, tls=None):
    """Serve as a Trio task; gives the port. Flavor: asyncio."""
    start = partial(
        trio_websocket.serve_websocket, handler, "127.0.0.1", 0, tls, **NO_LIMIT
    )
    async with trio_as_aio(trio.open_nursery()) as nursery:
        server = await trio_as_aio(nursery.start)(start)
        try:
            yield server.port
        finally:
            nursery.cancel_scope.cancel()


def connecting(port, tls=None, **options):
    """Connect with asyncio's client. Flavor: asyncio."""
    scheme = "wss" if tls else "ws"
    return connect(f"{scheme}://127.0.0.1:{port}", ssl=tls, proxy=None, **options)


def connecting_by_trio(port, path="/", tls=False):
    """Connect with Trio's client. Flavor: asyncio."""
    manager = open_websocket("127.0.0.1", port, path, use_ssl=tls, **NO_LIMIT)
    return trio_as_aio(manager)


# On plain Trio too, it leaves a connection whose handshake came to nothing to the
# garbage collector.
leaves_sockets = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(params=["plain", "tls"])
def tls_pair(request):
    """Give the server's and the client's context, or what stands for none."""
    if request.param == "plain":
        return None, None
    return tuple(map(request.getfixturevalue, ("server_tls", "client_tls")))


def test_asyncios_client_talks_to_trios_server(run_in_asyncio, tls_pair):
    server_tls, client_tls = tls_pair

    async def talk(port):
        async with connecting(port, client_tls) as websocket:
            for message in MESSAGES:
                await websocket.send(message)
                assert await websocket.recv() == message
            await (await websocket.ping())
        assert websocket.close_code == 1000

    async def main():
        async with serving(tls=server_tls) as port:
            await asyncio.gather(*[talk(port) for _ in range(10)])

    run_in_asyncio(main)


def test_trios_client_talks_to_asyncios_server(run_in_asyncio, tls_pair):
    server_tls, client_tls = tls_pair

    async def talk(port):
        async with connecting_by_trio(port, tls=client_tls or False) as websocket:
            send = trio_as_aio(websocket.send_message)
            receive = trio_as_aio(websocket.get_message)
            for message in MESSAGES:
                await send(message)
                assert await receive() == message
            await trio_as_aio(websocket.ping)()

    async def main():
        async with serve(echo_by_asyncio, "127.0.0.1", 0, ssl=server_tls) as server:
            port = server.sockets[0].getsockname()[1]
            await asyncio.gather(*[talk(port) for _ in range(10)])

    run_in_asyncio(main)


def test_handlers_that_call_asyncio(run_in_asyncio):
    """A Trio-flavoured handler's work is done by asyncio Tasks, and an error there
    closes the connection."""

    async def in_asyncio(message):
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0.001))
        if message == "fail":
            raise ZeroDivisionError
        return message.upper()

    async def handler(request):
        websocket = await request.accept()
        while True:
            message = await websocket.get_message()
            try:
                answer = await aio_as_trio(in_asyncio)(message)
            except ZeroDivisionError:
                await websocket.aclose(4000, "as asked")
                return
            await websocket.send_message(answer)

    async def main():
        async with serving(handler) as port, connecting(port) as websocket:
            for number in range(20):
                await websocket.send(f"hello {number}")
                assert await websocket.recv() == f"HELLO {number}"
            await websocket.send("fail")
            with pytest.raises(websockets.ConnectionClosedError) as caught:
                await websocket.recv()
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (
                4000,
                "as asked",
            )

    run_in_asyncio(main)


def test_time_limits_and_cancels_of_asyncios(run_in_asyncio):
    """A wait in Trio is ended by asyncio's time-outs and by its Task's cancel, and
    the connection goes on."""

    async def main():
        async with serving() as port, connecting_by_trio(port) as websocket:
            receive = trio_as_aio(websocket.get_message)
            for _ in range(5):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await receive()
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(receive(), 0.02)

                async def ask():
                    await receive()

                task = asyncio.create_task(ask())
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await trio_as_aio(websocket.send_message)("still")
            assert await receive() == "still"

    run_in_asyncio(main)


def test_a_time_limit_around_the_client(run_in_asyncio):
    """The connection is closed then, and the server hears of it."""
    gone = []

    async def handler(request):
        websocket = await request.accept()
        try:
            await websocket.get_message()
        except ConnectionClosed as exc:
            gone.append(exc.reason.code)
            seen.set()

    async def main():
        nonlocal seen
        seen = asyncio.Event()
        async with serving(handler) as port:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    async with connecting_by_trio(port) as websocket:
                        await trio_as_aio(websocket.get_message)()
            await seen.wait()

    seen = None
    run_in_asyncio(main)
    assert gone in ([1000], [1006])


def test_a_server_that_ends_under_its_clients(run_in_asyncio):
    async def main():
        clients = []
        async with serving() as port:
            for _ in range(5):
                websocket = await connecting(port)
                await websocket.send("hello")
                assert await websocket.recv() == "hello"
                clients.append(websocket)
        for websocket in clients:
            with pytest.raises(websockets.ConnectionClosed):
                await websocket.recv()
            await websocket.wait_closed()

    run_in_asyncio(main)


@leaves_sockets
def test_a_request_that_is_refused(run_in_asyncio):
    async def handler(request):
        await request.reject(403, body=b"no")

    async def main():
        async with serving(handler) as port:
            with pytest.raises(websockets.InvalidStatus) as caught:
                async with connecting(port):
                    raise AssertionError("it was accepted")
            assert caught.value.response.status_code == 403
            with pytest.raises(trio_websocket.ConnectionRejected) as rejected:
                async with connecting_by_trio(port):
                    raise AssertionError("it was accepted")
            assert rejected.value.status_code == 403

    run_in_asyncio(main)


def test_nobody_listens(run_in_asyncio, free_port):
    async def main():
        with pytest.raises(trio_websocket.HandshakeError) as caught:
            async with connecting_by_trio(free_port):
                raise AssertionError("somebody listens")
        assert isinstance(caught.value.__cause__, OSError)

    run_in_asyncio(main)


@leaves_sockets
def test_clients_cancelled_at_any_point(run_in_asyncio):
    async def talk(port):
        async with connecting_by_trio(port) as websocket:
            await trio_as_aio(websocket.send_message)("hello")
            await trio_as_aio(websocket.get_message)()

    async def main():
        async with serving() as port:
            for turns in range(40):
                task = asyncio.create_task(talk(port))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
            await talk(port)

    run_in_asyncio(main)


def test_an_error_of_trios_in_a_task_group(run_in_asyncio):
    """One connection's error ends the others, whichever flavour they are."""

    async def main():
        async with serving() as port:

            async def wait():
                async with connecting_by_trio(port) as websocket:
                    waiting.append(websocket)
                    await trio_as_aio(websocket.get_message)()

            async def wait_too():
                async with connecting(port) as websocket:
                    waiting.append(websocket)
                    await websocket.recv()

            async def fail():
                async with connecting_by_trio(port) as websocket:
                    while len(waiting) < 4:
                        await asyncio.sleep(0.01)
                    await trio_as_aio(websocket.aclose)()
                    await trio_as_aio(websocket.send_message)("too late")

            waiting = []
            with pytest.RaisesGroup(ConnectionClosed):
                async with asyncio.TaskGroup() as group:
                    for _ in range(2):
                        group.create_task(wait())
                        group.create_task(wait_too())
                    group.create_task(fail())

    run_in_asyncio(main)


def test_run_trio_runs_a_whole_client(run_in_asyncio):
    """Trio-flavoured code as it is, called once."""

    async def client(port):
        answers = []
        with trio.fail_after(60):
            async with open_websocket("127.0.0.1", port, "/", use_ssl=False) as ws:
                async with trio.open_nursery() as nursery:

                    async def listen():
                        for _ in range(100):
                            answers.append(await ws.get_message())

                    nursery.start_soon(listen)
                    for number in range(100):
                        await ws.send_message(str(number))
        return answers

    async def main():
        async with serving() as port:
            assert await run_trio(client, port) == list(map(str, range(100)))

    run_in_asyncio(main)
