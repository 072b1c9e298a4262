"""Turns inside of a callback, for code that makes loops re-entrant."""

from __future__ import annotations

import asyncio
import threading

import pytest

import trio_asyncio_c
from trio_asyncio_c import EventLoop


def drive(loop, future):
    """Run a loop until a future is done, from inside of it."""
    while not future.done():
        loop._selector.select(None)
    return future.result()


def test_without_help_a_loop_is_not_reentrant(loop):
    async def inner():
        return 1

    async def main():
        coro = inner()
        with pytest.raises(RuntimeError, match="This event loop is already running"):
            loop.run_until_complete(coro)
        coro.close()

    loop.run_until_complete(main())


def test_inside_of_a_task(loop):
    async def inner():
        await asyncio.sleep(0.001)
        return asyncio.current_task()

    async def main():
        own, other = asyncio.current_task(), loop.create_task(inner())
        assert drive(loop, other) is other
        assert asyncio.current_task() is own
        assert asyncio.get_running_loop() is loop
        await asyncio.sleep(0)
        return "done"

    assert loop.run_until_complete(main()) == "done"


def test_the_rest_of_the_outer_batch_runs_inside_in_order(loop):
    order = []
    future = loop.create_future()

    def outer():
        order.append("begin")
        drive(loop, future)
        order.append("end")
        loop.stop()

    loop.call_soon(outer)
    loop.call_soon(order.append, "rest")
    loop.call_soon(future.set_result, None)
    loop.run_forever()
    assert order == ["begin", "rest", "end"]


def test_ten_deep_and_usable_after(loop):
    async def level(n):
        await asyncio.sleep(0)
        return n if n == 10 else drive(loop, loop.create_task(level(n + 1)))

    for _ in range(3):
        assert loop.run_until_complete(level(0)) == 10


def test_an_error_comes_out_where_it_was_awaited(loop, errors):
    async def fail():
        raise ValueError("inside")

    async def main():
        with pytest.raises(ValueError, match="inside"):
            drive(loop, loop.create_task(fail()))
        future = loop.create_future()
        loop.call_soon(lambda: 1 / 0)
        loop.call_soon(future.set_result, 7)
        return drive(loop, future)

    assert loop.run_until_complete(main()) == 7
    assert [type(c["exception"]) for c in errors] == [ZeroDivisionError]


def test_what_leaves_the_inner_turn_can_be_caught(loop):
    def leave():
        raise SystemExit(3)

    async def main():
        loop.call_soon(leave)
        with pytest.raises(SystemExit):
            loop._selector.select(None)
        await asyncio.sleep(0)
        return "on"

    assert loop.run_until_complete(main()) == "on"


def test_stop_inside_stops_the_loop(loop):
    async def main():
        loop.call_soon(loop.stop)
        loop._selector.select(None)
        await loop.create_future()

    task = loop.create_task(main())
    loop.run_forever()
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)


def test_the_time_limit_ends_the_wait(loop):
    loop._selector.select(0.001)
    with pytest.raises(TypeError):
        loop._selector.select("soon")

    async def main():
        loop._selector.select(0)
        loop._selector.select(0.001)
        return "back"

    assert loop.run_until_complete(main()) == "back"


def test_two_loops_in_turn(loop):
    other = EventLoop()

    async def innermost():
        await asyncio.sleep(0)
        return "innermost"

    async def inner():
        asyncio._set_running_loop(loop)
        try:
            return drive(loop, loop.create_task(innermost()))
        finally:
            asyncio._set_running_loop(other)

    async def main():
        asyncio._set_running_loop(other)
        try:
            return drive(other, other.create_task(inner()))
        finally:
            asyncio._set_running_loop(loop)

    assert loop.run_until_complete(main()) == "innermost"
    assert other.run_until_complete(innermost()) == "innermost"
    other.close()


def test_trio_tasks_step_inside(loop):
    async def triple():
        await trio_asyncio_c.lowlevel.checkpoint()
        return 3

    async def main():
        return drive(loop, loop.run_trio(triple))

    assert loop.run_until_complete(main()) == 3


def test_inside_of_a_trio_task(loop):
    async def inner():
        await asyncio.sleep(0)
        return "inner"

    async def trio_task():
        task = trio_asyncio_c.lowlevel.current_task()
        result = drive(loop, loop.create_task(inner()))
        assert trio_asyncio_c.lowlevel.current_task() is task
        await trio_asyncio_c.lowlevel.checkpoint()
        return result

    async def main():
        return await loop.run_trio(trio_task)

    assert loop.run_until_complete(main()) == "inner"


def test_a_turn_in_another_thread_is_refused(loop):
    raised = []

    def elsewhere():
        try:
            loop._selector.select(0)
        except RuntimeError as exc:
            raised.append(str(exc))

    async def main():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    loop.run_until_complete(main())
    assert raised == ["the runner is running already"]


def test_a_turn_of_a_closed_loop_is_refused():
    loop = EventLoop()
    selector = loop._selector
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        selector.select(0)
