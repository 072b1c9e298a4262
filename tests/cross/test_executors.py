"""run_in_executor where Trio is around: one token of a limiter a job, cancels, the
loop's end."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
from trio_asyncio_c import (
    CapacityLimiter,
    TrioExecutor,
    current_loop,
    from_thread,
    new_event_loop,
    to_thread,
    trio,
)

from ._helpers import both_ways, open_loop, run


async def until_none_is_borrowed(limiter):
    while limiter.borrowed_tokens:
        await trio.sleep(0)


@both_ways
def test_a_hundred_jobs_and_one_token(way):
    seen = []

    def job(limiter, number):
        assert limiter.borrowed_tokens == 1
        seen.append(number)
        return -number

    async def in_asyncio(executor, limiter):
        loop = asyncio.get_running_loop()
        jobs = [loop.run_in_executor(executor, job, limiter, i) for i in range(100)]
        return await asyncio.gather(*jobs)

    async def main():
        loop = current_loop.get()
        limiter = CapacityLimiter(1)
        values = await loop.run_asyncio(in_asyncio, TrioExecutor(limiter), limiter)
        assert values == [-i for i in range(100)]
        await until_none_is_borrowed(limiter)
        assert limiter.available_tokens == limiter.total_tokens == 1

    way.run_trio(main)
    assert seen == list(range(100))


@both_ways
def test_trio_code_and_asyncio_code_share_a_limiter(way):
    def job(limiter):
        assert limiter.borrowed_tokens == 1

    async def main():
        loop = current_loop.get()
        limiter = CapacityLimiter(1)
        executor = TrioExecutor(limiter)
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(
                    loop.run_future, loop.run_in_executor(executor, job, limiter)
                )
                nursery.start_soon(executor.submit, job, limiter)
        await until_none_is_borrowed(limiter)

    way.run_trio(main)


def test_the_default_executor_of_a_block_is_trios():
    def job(limiter):
        assert threading.current_thread() is not threading.main_thread()
        assert from_thread.run_sync(threading.current_thread) is (
            threading.main_thread()
        )
        here = from_thread.run_sync(asyncio.get_running_loop)
        return here, limiter.borrowed_tokens

    async def main():
        limiter = to_thread.current_default_thread_limiter()
        assert limiter.total_tokens == 40
        limiter.total_tokens = 1
        async with open_loop() as outer, open_loop() as inner:
            for loop in (outer, inner):
                found = await loop.run_future(loop.run_in_executor(None, job, limiter))
                assert found == (loop, 1)

    trio.run(main)


@both_ways
@pytest.mark.parametrize("direction", ["future", "task", "scope"])
def test_a_cancel_waits_for_the_thread_and_has_its_value(way, direction):
    begun, gate = threading.Event(), threading.Event()

    def job():
        begun.set()
        assert gate.wait(60)
        return "value"

    async def in_asyncio(executor):
        return await asyncio.get_running_loop().run_in_executor(executor, job)

    async def main():
        loop = current_loop.get()
        executor = TrioExecutor(1)
        if direction == "future":
            future = loop.run_in_executor(executor, job)
        else:
            future = loop.create_task(in_asyncio(executor))
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def cancel():
                    with trio.CancelScope(shield=True):
                        await to_thread.run_sync(begun.wait)
                        if direction == "scope":
                            scope.cancel()
                        else:
                            assert future.cancel("too late")
                        await trio.sleep(0)
                        assert not future.done()
                        gate.set()

                assert await loop.run_future(future) == "value"
        assert not future.cancelled()

    way.run_trio(main)


@both_ways
def test_a_cancel_of_one_that_waits_for_a_token(way):
    ran = []

    async def main():
        loop = current_loop.get()
        limiter = CapacityLimiter(1)
        executor = TrioExecutor(limiter)
        async with limiter:
            futures = [loop.run_in_executor(executor, ran.append, i) for i in range(9)]
            await loop.run_coroutine(asyncio.sleep(0.001))
            for future in futures[1::2]:
                assert future.cancel("no more")
                with pytest.raises(asyncio.CancelledError, match="^no more$"):
                    await loop.run_future(future)
            assert ran == []
        for future in futures[::2]:
            assert await loop.run_future(future) is None
        await until_none_is_borrowed(limiter)
        assert limiter.statistics().tasks_waiting == 0

    way.run_trio(main)
    assert ran == [0, 2, 4, 6, 8]


def test_a_job_that_looks_for_a_cancel():
    def job(begun):
        begun.set()
        while True:
            from_thread.check_cancelled()

    async def main():
        loop = current_loop.get()
        begun = threading.Event()
        future = loop.run_in_executor(None, job, begun)
        await to_thread.run_sync(begun.wait)
        assert future.cancel("stop it")
        with pytest.raises(asyncio.CancelledError, match="^stop it$"):
            await loop.run_future(future)

    run(main)


@both_ways
@pytest.mark.parametrize("name", ["getaddrinfo", "getnameinfo"])
def test_names_are_looked_up_in_the_same_way(way, name, monkeypatch):
    begun, gate = threading.Event(), threading.Event()

    def look_up(*args):
        begun.set()
        assert gate.wait(60)
        return [args, limiter.borrowed_tokens]

    async def main():
        loop = current_loop.get()
        loop.set_default_executor(TrioExecutor(limiter))
        monkeypatch.setattr(socket, name, look_up)
        task = loop.create_task(getattr(loop, name)(("host", 1), 2))
        await to_thread.run_sync(begun.wait)
        task.cancel()
        await loop.run_coroutine(asyncio.sleep(0))
        assert not task.done()
        gate.set()
        args, borrowed = await loop.run_future(task)
        assert args[:2] == (("host", 1), 2)
        assert borrowed == 1
        await until_none_is_borrowed(limiter)

    limiter = CapacityLimiter(1)
    way.run_trio(main)


@both_ways
def test_the_error_of_a_limiter_is_the_futures(way):
    class Broken:
        async def acquire_on_behalf_of(self, borrower):
            raise KeyError("no tokens")

        def release_on_behalf_of(self, borrower):
            raise AssertionError("there was none")

    async def main():
        loop = current_loop.get()
        future = loop.run_in_executor(TrioExecutor(Broken()), int)
        with pytest.raises(KeyError, match="no tokens"):
            await loop.run_future(future)

    way.run_trio(main)


def test_the_end_of_a_block_waits_for_threads_and_cancels_the_rest():
    begun, gate = threading.Event(), threading.Event()
    ran = []

    def job(number):
        begun.set()
        assert gate.wait(60)
        ran.append(number)
        return number

    async def main():
        async with trio.open_nursery() as nursery:
            async with open_loop() as loop:
                executor = TrioExecutor(1)
                futures = [loop.run_in_executor(executor, job, i) for i in range(3)]
                await to_thread.run_sync(begun.wait)

                @nursery.start_soon
                async def open_gate():
                    while not all(future.done() for future in futures[1:]):
                        await trio.sleep(0)
                    assert not loop.is_closed()
                    gate.set()

            assert loop.is_closed()
        assert futures[0].result() == 0
        assert all(future.cancelled() for future in futures[1:])

    trio.run(main)
    assert ran == [0]


@pytest.mark.parametrize("flavour", ["task", "generator"])
def test_an_executor_works_while_the_block_ends(flavour):
    said = []

    async def generator(loop):
        try:
            yield
        finally:
            said.append(await loop.run_in_executor(None, int, "7"))

    async def task(loop):
        try:
            await asyncio.sleep(1000)
        finally:
            said.append(await loop.run_in_executor(None, int, "7"))

    async def main():
        async with open_loop() as loop:
            if flavour == "task":
                loop.create_task(task(loop))
            else:
                kept = generator(loop)
                await loop.run_asyncio(kept.__anext__)
                said.append(kept)
            await loop.synchronize()

    trio.run(main)
    assert said[-1] == 7


@pytest.mark.parametrize("closed", [True, False])
def test_a_loop_that_is_stopped_while_a_job_runs(closed):
    begun, gate = threading.Event(), threading.Event()

    def job():
        begun.set()
        assert gate.wait(60)
        return "value"

    async def main():
        async with open_loop() as loop:
            future = loop.run_in_executor(None, job)
            await to_thread.run_sync(begun.wait)
            await loop.stop().wait()
            with pytest.raises(RuntimeError, match="^Event loop is stopped$"):
                loop.run_in_executor(None, int)
            if closed:
                loop.close()
            gate.set()
        assert future.done() is not closed
        assert closed or future.result() == "value"

    trio.run(main)


def test_a_loop_of_its_own_does_not_wait_when_it_is_closed():
    begun, gate, ended = (threading.Event() for _ in range(3))

    def job():
        begun.set()
        gate.wait(60)
        ended.set()

    async def main():
        while not begun.is_set():
            await asyncio.sleep(0)

    loop = new_event_loop()
    executor = TrioExecutor(1)
    futures = [loop.run_in_executor(executor, job) for _ in range(2)]
    loop.run_until_complete(main())
    loop.close()
    assert all(future.cancelled() for future in futures)
    gate.set()
    assert ended.wait(60)


def test_its_default_executor_is_asyncios_where_there_is_no_block():
    gate = threading.Event()

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(None, gate.wait)
        assert future.cancel()
        assert future.cancelled()
        gate.set()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
