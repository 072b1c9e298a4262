"""Loops nested and side by side, entry and exit of open_loop, stop."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from trio_asyncio_c import EventLoop, _core, current_loop, run_asyncio, run_future, trio

from ._helpers import open_loop, run, run_mock


def test_loops_nest():
    async def main():
        assert current_loop.get() is None
        async with open_loop() as outer:
            assert current_loop.get() is outer is asyncio.get_running_loop()
            async with open_loop() as inner:
                assert inner is not outer
                assert current_loop.get() is inner is asyncio.get_running_loop()
                assert await run_asyncio(which) is inner
                assert await outer.run_asyncio(which) is outer
            assert inner.is_closed()
            assert current_loop.get() is outer is asyncio.get_running_loop()
            assert await run_asyncio(which) is outer
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()

    async def which():
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    trio.run(main)


def test_loops_side_by_side():
    async def user(i):
        async with open_loop() as loop:
            for _ in range(10):
                assert asyncio.get_running_loop() is loop
                await run_asyncio(asyncio.sleep, 0.001)
                assert asyncio.get_running_loop() is loop
            await trio.sleep(0.001 * i)

    async def main():
        hooks = sys.get_asyncgen_hooks()
        async with trio.open_nursery() as nursery:
            for i in range(5):
                nursery.start_soon(user, i)
        assert sys.get_asyncgen_hooks() == hooks

    trio.run(main)


def test_deep_sandwiches():
    async def trio_side(depth):
        await trio.sleep(0)
        return depth if depth == 0 else await run_asyncio(aio_side, depth - 1)

    async def aio_side(depth):
        await asyncio.sleep(0)
        return (
            depth
            if depth == 0
            else await asyncio.get_running_loop().run_trio(trio_side, depth - 1)
        )

    assert run(trio_side, 20) == 0


def test_a_loop_inside_of_a_callee_of_a_sync_loop():
    async def callee():
        async with open_loop() as inner:
            assert await run_asyncio(which) is inner
        return asyncio.get_running_loop()

    async def which():
        return asyncio.get_running_loop()

    loop = EventLoop()
    assert loop.run_until_complete(loop.run_trio(callee)) is loop
    loop.close()


def test_asyncio_run_inside_is_refused():
    async def main():
        coro = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="asyncio.run"):
            asyncio.run(coro)
        coro.close()

    run(main)


def test_the_loop_is_no_sync_loop():
    async def main():
        loop = current_loop.get()
        with pytest.raises(RuntimeError, match="This is not a sync loop"):
            loop.run_forever()
        with pytest.raises(RuntimeError, match="This is not a sync loop"):
            loop.run_until_complete(asyncio.sleep(0))
        with pytest.raises(
            RuntimeError, match="You need to stop the loop before closing it"
        ):
            loop.close()
        assert loop.is_running()

    run(main)


def test_entry_is_not_cancelled():
    async def main():
        seen = []
        with trio.CancelScope() as scope:
            scope.cancel()
            async with open_loop():
                seen.append("body")
                await trio.sleep(0)
                seen.append("not here")
        assert seen == ["body"]
        assert scope.cancelled_caught

    trio.run(main)


def test_exit_cancels_tasks_of_both_flavours_and_waits():
    async def main():
        seen = []

        async def aio_task():
            try:
                await asyncio.sleep(100)
            finally:
                await asyncio.sleep(1)
                seen.append("asyncio")

        async def trio_task():
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(2)
                seen.append("trio")

        async with open_loop() as loop:
            task = loop.create_task(aio_task())
            future = loop.run_trio(trio_task)
            await trio.sleep(1)
        assert seen == ["asyncio", "trio"]
        assert task.cancelled()
        assert future.cancelled()
        assert loop.is_closed()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_what_was_queued_just_before_the_exit_starts():
    async def main():
        seen = []

        async def callee():
            seen.append("began")
            await trio.sleep_forever()

        async with open_loop() as loop:
            loop.run_trio_task(callee)
            loop.call_soon(seen.append, "callback")
        assert sorted(seen) == ["began", "callback"]

    trio.run(main)


def test_a_finally_that_needs_a_socket_works_at_exit():
    async def main():
        left, right = socket.socketpair()
        left.setblocking(False)
        right.setblocking(False)
        seen = []

        async def task(loop):
            try:
                await asyncio.sleep(100)
            finally:
                loop.call_later(0.001, right.send, b"bye")
                seen.append(await loop.sock_recv(left, 10))

        async with open_loop() as loop:
            loop.create_task(task(loop))
            await trio.sleep(0.001)
        assert seen == [b"bye"]
        left.close()
        right.close()

    trio.run(main)


def test_async_generators_are_closed_in_their_flavour():
    async def main():
        seen = []

        async def aio_generator():
            try:
                yield 1
            finally:
                await asyncio.sleep(0)
                seen.append("asyncio")

        async def trio_generator():
            try:
                yield 1
            finally:
                assert _core.in_trio_task()
                seen.append("trio")

        async with open_loop():
            aio, trios = aio_generator(), trio_generator()
            assert await run_asyncio(aio.__anext__) == 1
            assert await anext(trios) == 1
            await trios.aclose()
        assert sorted(seen) == ["asyncio", "trio"]

    hooks = sys.get_asyncgen_hooks()
    trio.run(main)
    assert sys.get_asyncgen_hooks() == hooks


def test_stop_runs_what_is_queued_and_then_nothing():
    async def main():
        seen = []
        async with open_loop() as loop:
            loop.call_soon(seen.append, 1)
            stopped = loop.stop()
            loop.call_soon(seen.append, 2)
            await stopped.wait()
            assert seen == [1]
            with pytest.raises(RuntimeError, match="Event loop is stopped"):
                await run_asyncio(asyncio.sleep, 0)
            with pytest.raises(RuntimeError, match="Event loop is stopped"):
                loop.run_trio(trio.sleep, 0)
            own = trio.Event()
            assert loop.stop(own) is own
            assert own.is_set()

    trio.run(main)


def test_exit_of_a_stopped_loop_lets_tasks_unwind():
    async def main():
        seen = []

        async def task():
            try:
                await asyncio.sleep(100)
            finally:
                seen.append("unwound")

        with pytest.warns(RuntimeWarning, match="was stopped while 1 asyncio tasks"):
            async with open_loop() as loop:
                loop.create_task(task())
                await trio.sleep(0.001)
                await loop.stop().wait()
        assert seen == ["unwound"]

    trio.run(main)


def test_stop_and_leave_at_once():
    async def main():
        async with open_loop() as loop:
            loop.stop()
            loop.stop()

    trio.run(main)


def test_stop_and_close_inside_of_the_block():
    async def main():
        async with open_loop() as loop:
            await loop.stop().wait()
            loop.close()
            assert loop.is_closed()
            assert loop.time() > 0

    trio.run(main)


def test_wait_stopped():
    async def main():
        async with open_loop() as loop, trio.open_nursery() as nursery:
            nursery.start_soon(loop.wait_stopped)
            await trio.sleep(0.001)
            loop.stop()

    trio.run(main)


def test_a_crossing_into_a_closed_loop():
    async def main():
        async with open_loop() as loop:
            pass
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            await loop.run_asyncio(asyncio.sleep, 0)
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            await loop.run_coroutine(asyncio.sleep(0))
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            loop.run_trio(trio.sleep, 0)

    trio.run(main)


def test_a_child_of_an_outer_nursery_outlives_the_loop():
    async def main():
        closed = trio.Event()
        async with trio.open_nursery() as nursery:
            async with open_loop():
                nursery.start_soon(child, closed)
                await trio.sleep(0.001)
            closed.set()

    async def child(closed):
        await closed.wait()
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            await run_asyncio(asyncio.sleep, 0)

    trio.run(main)


def test_the_tree_shows_the_loop():
    async def main():
        async with open_loop() as loop:
            names = {task.name for task in loop._nursery.child_tasks}
            assert "<asyncio event loop>" in names

    trio.run(main)


def test_executor_jobs_are_waited_for_at_exit():
    async def main():
        import time

        seen = []
        async with open_loop() as loop:
            loop.run_in_executor(None, lambda: (time.sleep(0.01), seen.append(1)))
        assert seen == [1]

    trio.run(main)


def test_many_rounds_with_sandwiches_alive():
    async def inner():
        await trio.sleep_forever()

    async def middle():
        await asyncio.get_running_loop().run_trio(inner)

    async def main():
        for _ in range(50):
            async with open_loop() as loop:
                loop.create_task(middle())
                await trio.sleep(0)

    trio.run(main)


def test_mock_clock_moves_both():
    async def main():
        began = trio.current_time()
        await run_asyncio(asyncio.sleep, 50)
        await trio.sleep(50)
        with pytest.raises(TimeoutError):
            await run_asyncio(asyncio.wait_for, asyncio.Event().wait(), 25)
        assert trio.current_time() - began == pytest.approx(125)
        future = current_loop.get().create_future()
        with trio.move_on_after(10):
            await run_future(future)
        assert future.cancelled()

    run_mock(main)
