"""anyio: the same code on both sides of the crossings, on the backend of each."""

from __future__ import annotations

import asyncio

import pytest

from ._programs import require_trio, trio

require_trio()

anyio = pytest.importorskip("anyio")

import sniffio  # noqa: E402
from anyio import to_thread  # noqa: E402
from anyio.abc import SocketAttribute  # noqa: E402
from anyio.lowlevel import checkpoint  # noqa: E402

from trio_asyncio_c import aio_as_trio, run_asyncio, run_trio, trio_as_aio  # noqa: E402

CANCELLED = {"asyncio": asyncio.CancelledError, "trio": trio.Cancelled}


async def check_flavour(expected):
    """Check which backend anyio finds. Flavor: either."""
    assert sniffio.current_async_library() == expected
    assert anyio.get_cancelled_exc_class() is CANCELLED[expected]
    await checkpoint()
    assert sniffio.current_async_library() == expected


async def work(expected):
    """Use tasks, scopes, threads, events and streams. Flavor: either."""
    await check_flavour(expected)
    send, receive = anyio.create_memory_object_stream(1)
    done = anyio.Event()

    async def produce():
        async with send:
            for number in range(10):
                await send.send(await to_thread.run_sync(str, number))
        done.set()

    received = []
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group, receive:
            group.start_soon(produce)
            async for item in receive:
                received.append(item)
            await done.wait()
    with anyio.move_on_after(0.01) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    await check_flavour(expected)
    return received


def test_both_flavours_by_turns(run_in_trio):
    expected = list(map(str, range(10)))

    async def in_asyncio(depth):
        assert await work("asyncio") == expected
        if depth:
            await run_trio(in_trio, depth - 1)
        await check_flavour("asyncio")

    async def in_trio(depth):
        assert await work("trio") == expected
        if depth:
            await run_asyncio(in_asyncio, depth - 1)
        await check_flavour("trio")

    async def main():
        await in_trio(6)

    run_in_trio(main)


def test_both_flavours_at_once(run_in_asyncio):
    async def in_asyncio():
        await work("asyncio")

    async def in_trio():
        await run_trio(work, "trio")

    async def main():
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(in_asyncio)
                group.start_soon(in_trio)

    run_in_asyncio(main)


@pytest.mark.parametrize("server", ["asyncio", "trio"])
def test_streams_from_one_flavour_to_the_other(run_in_asyncio, server):
    """An echo server of one backend, a client of the other."""

    async def echo(stream):
        async with stream:
            try:
                while True:
                    await stream.send(await stream.receive())
            except anyio.EndOfStream:
                pass

    async def serve(task_status):
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with listener:
            task_status.started(listener.extra(SocketAttribute.local_port))
            await listener.serve(echo)

    async def talk(port):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            for number in range(50):
                await stream.send(b"%d" % number * 100)
                answer = b""
                while len(answer) < len(b"%d" % number * 100):
                    answer += await stream.receive()
                assert answer == b"%d" % number * 100

    async def main():
        if server == "asyncio":
            async with anyio.create_task_group() as group:
                port = await group.start(as_status(serve))
                await run_trio(talk, port)
                group.cancel_scope.cancel()
        else:
            async with trio_as_aio(trio.open_nursery()) as nursery:
                port = await trio_as_aio(nursery.start)(as_status(serve))
                await talk(port)
                nursery.cancel_scope.cancel()

    def as_status(fn):
        async def started(*, task_status):
            await fn(task_status)

        return started

    run_in_asyncio(main)


def test_cancels_cross(run_in_trio):
    """A scope of either backend ends what the other does inside of it."""
    seen = []

    async def wait(flavour):
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as exc:
            seen.append((flavour, isinstance(exc, CANCELLED[flavour])))
            raise

    async def in_asyncio():
        with anyio.move_on_after(0.01) as scope:
            await run_trio(wait, "trio")
        assert scope.cancelled_caught

    async def main():
        with anyio.move_on_after(0.01) as scope:
            await run_asyncio(wait, "asyncio")
        assert scope.cancelled_caught
        await run_asyncio(in_asyncio)
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.01):
                await aio_as_trio(asyncio.sleep)(1000)

    run_in_trio(main)
    assert seen == [("asyncio", True), ("trio", True)]
