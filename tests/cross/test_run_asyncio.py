"""run_asyncio, run_coroutine, run_future: Trio-flavoured code calls asyncio-flavoured
code."""

from __future__ import annotations

import asyncio

import pytest

from trio_asyncio_c import (
    _core,
    current_loop,
    run_asyncio,
    run_coroutine,
    run_future,
    trio,
)

from ._helpers import open_loop, run, run_mock


def test_the_value_comes_back_with_all_kinds_of_arguments():
    async def add(a, b=0, *, c=0):
        await asyncio.sleep(0)
        return a + b + c

    async def main():
        loop = current_loop.get()
        assert await run_asyncio(add, 1) == 1
        assert await run_asyncio(add, 1, 2, c=4) == 7
        assert await loop.run_asyncio(add, a=5) == 5
        assert await run_coroutine(add(1)) == 1
        assert await loop.run_coroutine(add(2)) == 2

    run(main)


def test_run_returns_the_value_of_main():
    async def main(a, b):
        await trio.sleep(0)
        return a + b

    assert run(main, 1, 2) == 3


def test_the_callee_is_asyncio_flavoured():
    async def callee():
        assert asyncio.current_task() is not None
        assert asyncio.get_running_loop() is current_loop.get()
        assert not _core.in_trio_task()
        await asyncio.sleep(0)
        return asyncio.current_task()

    async def main():
        assert asyncio.current_task() is None
        assert asyncio.get_running_loop() is current_loop.get()
        first = await run_asyncio(callee)
        assert asyncio.current_task() is None
        assert await run_asyncio(callee) is not first

    run(main)


def test_the_synchronous_part_of_a_callee_sees_its_task():
    def callee():
        assert asyncio.current_task() is not None
        return asyncio.sleep(0, "value")

    async def main():
        assert await run_asyncio(callee) == "value"

    run(main)


def test_run_future_waits_for_futures_and_tasks():
    async def main():
        loop = current_loop.get()
        future = loop.create_future()
        loop.call_later(0.001, future.set_result, 5)
        assert await run_future(future) == 5
        assert await run_future(future) == 5
        assert await loop.run_future(loop.create_task(asyncio.sleep(0, 6))) == 6
        assert await run_future(loop.run_in_executor(None, lambda: 7)) == 7

    run(main)


def test_timers_run_while_trio_code_sleeps():
    async def main():
        seen = []
        loop = current_loop.get()
        loop.call_later(5, seen.append, loop.time() + 5)
        await trio.sleep(10)
        assert seen
        assert trio.current_time() == loop.time()

    run_mock(main)


def test_several_trio_tasks_call_at_once():
    async def main():
        results = []

        async def call(i):
            await run_asyncio(asyncio.sleep, 0.001)
            results.append(i)

        async with trio.open_nursery() as nursery:
            for i in range(100):
                nursery.start_soon(call, i)
        assert sorted(results) == list(range(100))

    run(main)


def test_streams_from_trio_code():
    async def main():
        async def echo(reader, writer):
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()

        server = await run_asyncio(asyncio.start_server, echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await run_asyncio(asyncio.open_connection, "127.0.0.1", port)
        writer.write(b"hello\n")
        assert await run_asyncio(reader.readline) == b"hello\n"
        writer.close()
        await run_asyncio(writer.wait_closed)
        server.close()
        await run_asyncio(server.wait_closed)

    run(main)


def test_subprocess_from_trio_code():
    async def main():
        process = await run_asyncio(
            asyncio.create_subprocess_exec,
            "echo",
            "hello",
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await run_asyncio(process.communicate)
        assert out == b"hello\n"

    run(main)


def test_synchronize():
    async def main():
        loop = current_loop.get()
        seen = []
        for i in range(10):
            loop.call_soon(seen.append, i)
        await loop.synchronize()
        assert seen == list(range(10))

    run(main)


def test_a_future_of_a_loop_without_current_loop():
    async def main():
        async with open_loop() as loop:
            future = loop.create_future()

            async def waiter(task_status):
                current_loop.set(None)
                task_status.started()
                assert await run_future(future) == 5

            async with trio.open_nursery() as nursery:
                await nursery.start(lambda task_status: waiter(task_status))
                future.set_result(5)

    trio.run(main)


def test_outside_of_a_loop():
    async def main():
        with pytest.raises(RuntimeError, match="not within a trio_asyncio loop"):
            await run_asyncio(asyncio.sleep, 0)
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()

    trio.run(main)
