"""The limit of a loop's queue: what begins work is refused, nothing else is."""

from __future__ import annotations

import asyncio
import math
import sys
import threading

import pytest
from trio_asyncio_c import aio_as_trio, open_loop, run, trio, trio_as_aio

LIMIT = 3


async def nothing():
    pass


def call_soon(loop):
    return loop.call_soon(nothing_sync)


def call_soon_with_context(loop):
    return loop.call_soon(nothing_sync, context=None)


def create_task(loop):
    coro = nothing()
    try:
        return loop.create_task(coro)
    finally:
        if sys.exc_info()[0] is not None:
            coro.close()


def trio_as_future(loop):
    return loop.trio_as_future(nothing)


def run_trio_task(loop):
    return loop.run_trio_task(nothing)


def adapted(loop):
    return trio_as_aio(nothing)()


def nothing_sync():
    pass


BEGINNINGS = [
    call_soon,
    call_soon_with_context,
    create_task,
    trio_as_future,
    run_trio_task,
    adapted,
]


def begin_all(begin, loop, count):
    """Begin so many; return how many were taken before the first was refused."""
    for taken in range(count):
        try:
            begin(loop)
        except trio.WouldBlock:
            return taken
    return count


@pytest.mark.parametrize("begin", BEGINNINGS)
@pytest.mark.parametrize("limit", [0, 1, LIMIT])
def test_what_begins_work_is_refused_beyond_the_limit(begin, limit):
    async def main():
        async with open_loop(queue_len=limit) as loop:
            assert begin_all(begin, loop, 10) == limit + 1  # one is next
            await loop.synchronize()
            assert begin_all(begin, loop, 10) == limit + 1

    trio.run(main)


@pytest.mark.parametrize("queue_len", [None, math.inf, sys.maxsize + 1])
@pytest.mark.parametrize("begin", BEGINNINGS)
def test_without_a_limit_nothing_is_refused(begin, queue_len):
    async def main():
        async with open_loop(queue_len) as loop:
            assert begin_all(begin, loop, 1000) == 1000

    trio.run(main)


def test_run_sets_the_limit_as_well():
    async def main():
        loop = asyncio.get_running_loop()
        return begin_all(call_soon, loop, 10)

    assert run(main, queue_len=LIMIT) == LIMIT + 1
    assert run(main) == 10


def test_a_coroutine_that_is_refused_is_not_left_behind():
    async def main():
        async with open_loop(queue_len=0) as loop:
            loop.call_soon(nothing_sync)
            with pytest.raises(trio.WouldBlock):
                await aio_as_trio(nothing)()
            await loop.synchronize()
            await aio_as_trio(nothing)()

    trio.run(main)


def test_futures_and_tasks_go_on_over_a_full_queue():
    async def wait(future):
        await asyncio.sleep(0)
        return await future

    async def main():
        async with open_loop(queue_len=LIMIT) as loop:
            future = loop.create_future()
            tasks = []
            for _ in range(20):
                tasks.append(loop.create_task(wait(future)))
                await loop.synchronize()
            await loop.synchronize()
            future.set_result("value")  # wakes them all at one time
            with pytest.raises(trio.WouldBlock):
                loop.call_soon(nothing_sync)
            return [await loop.run_aio_future(task) for task in tasks]

    assert trio.run(main) == ["value"] * 20


def test_timers_and_threads_are_not_refused():
    ran = []

    async def main():
        async with open_loop(queue_len=0) as loop:
            for number in range(10):
                loop.call_later(0, ran.append, number)
            for number in range(10, 20):
                thread = threading.Thread(
                    target=loop.call_soon_threadsafe, args=(ran.append, number)
                )
                thread.start()
                thread.join()
            while len(ran) < 20:
                await trio.sleep(0.001)

    trio.run(main)
    assert sorted(ran) == list(range(20))


def test_connections_work_over_a_full_queue():
    """What a transport queues for itself is not refused."""

    async def echo(reader, writer):
        writer.write(await reader.readexactly(4))
        writer.close()
        await writer.wait_closed()

    async def talk():
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"ping")
            assert await reader.read() == b"ping"
            writer.close()
            await writer.wait_closed()

    class Eager(asyncio.Protocol):
        def connection_made(self, transport):
            self.loop = asyncio.get_running_loop()
            self.lost = self.loop.create_future()
            begin_all(call_soon, self.loop, 1000)
            transport.close()  # queues connection_lost

        def connection_lost(self, exc):
            self.lost.set_result(exc)

    async def fill_and_close():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            _, protocol = await loop.create_connection(Eager, "127.0.0.1", port)
            return await protocol.lost

    async def main():
        async with open_loop(queue_len=LIMIT) as loop:
            await loop.run_asyncio(talk)
            return await loop.run_asyncio(fill_and_close)

    assert trio.run(main) is None


@pytest.mark.parametrize("how", ["stop", "synchronize", "leave"])
def test_a_full_queue_does_not_keep_a_block_from_its_end(how):
    async def main():
        async with open_loop(queue_len=0) as loop:
            begin_all(trio_as_future, loop, 1)
            begin_all(call_soon, loop, 10)
            if how == "stop":
                await loop.stop().wait()
            elif how == "synchronize":
                await loop.synchronize()
                assert begin_all(call_soon, loop, 10) == 1
        assert loop.is_closed()

    trio.run(main)


@pytest.mark.parametrize(
    "queue_len, error", [("3", TypeError), (2.5, TypeError), (-1, ValueError)]
)
def test_a_limit_that_is_none(queue_len, error):
    async def main():
        with pytest.raises(error) as caught:
            trio.open_memory_channel(queue_len)
        expected = str(caught.value).replace("max_buffer_size", "queue_len")
        with pytest.raises(error) as caught:
            open_loop(queue_len)
        assert str(caught.value) == expected

    trio.run(main)
