"""Several loops in one run, and loops that own their runner: rules 60 to 63 of the
crossings."""

from __future__ import annotations

import asyncio
import itertools

import pytest
import trio_asyncio_c
from trio_asyncio_c import (
    current_loop,
    new_event_loop,
    open_loop,
    run_asyncio,
    run_future,
    run_trio,
    testing,
    trio,
)


async def which_loop():
    await asyncio.sleep(0)
    return asyncio.get_running_loop()


async def which_loop_in_trio():
    await trio.sleep(0)
    return asyncio.get_running_loop(), current_loop.get()


# 60


def test_loops_nested_and_side_by_side_have_their_own_of_everything():
    async def user(seen, barrier):
        async with open_loop() as loop:
            seen.append(loop)
            while len(seen) < barrier:
                await trio.sleep(0)
            assert current_loop.get() is loop
            assert await run_asyncio(which_loop) is loop
            assert await run_future(run_trio(which_loop_in_trio)) == (loop, loop)
            task = loop.create_task(asyncio.sleep(1000))
            for other in seen:
                if other is not loop:
                    assert task not in asyncio.all_tasks(other)
                    assert await other.run_asyncio(which_loop) is other
            assert task in asyncio.all_tasks(loop)
            async with open_loop() as inner:
                assert current_loop.get() is inner
                assert await run_asyncio(which_loop) is inner
                assert await loop.run_asyncio(which_loop) is loop
                assert inner not in seen
            assert current_loop.get() is loop
            seen.append(None)
            while seen.count(None) < barrier:
                await trio.sleep(0)

    async def main():
        seen = []
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(user, seen, 3)
        assert len({loop for loop in seen if loop is not None}) == 3

    trio.run(main)


@pytest.mark.parametrize("kind", ["future", "task", "trio call"])
def test_a_future_is_for_its_own_loop_or_for_trio_code(kind):
    async def make(loop):
        if kind == "future":
            future = loop.create_future()
            loop.call_later(0.01, future.set_result, "value")
            return future
        if kind == "task":
            return loop.create_task(asyncio.sleep(0.01, "value"))

        async def callee():
            await trio.sleep(0.01)
            return "value"

        return loop.run_trio(callee)

    async def wait_for(future):
        return await future

    async def main():
        async with open_loop() as one, open_loop() as two:
            future = await make(one)
            with pytest.raises(RuntimeError, match="attached to a different loop"):
                await two.run_asyncio(wait_for, future)
            assert not future.cancelled()
            assert await run_future(future) == "value"
            future = await make(one)
            assert await two.run_aio_future(future) == "value"
            future = await make(one)
            assert await one.run_asyncio(wait_for, future) == "value"

    trio.run(main)


def test_a_loop_may_end_before_one_that_was_opened_after_it():
    # Two tasks' loops live as long as their tasks like.
    async def user(steps, name, turns):
        async with open_loop() as loop:
            for _ in range(turns):
                await trio.sleep(0)
            assert await run_asyncio(which_loop) is loop
        steps.append(name)
        assert current_loop.get() is None

    async def main():
        steps = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(user, steps, "short", 5)
            nursery.start_soon(user, steps, "long", 50)
        assert steps == ["short", "long"]
        assert asyncio._get_running_loop() is None

    trio.run(main)


# 61


def test_a_loop_of_its_own_goes_on_where_it_was():
    steps = []

    async def callee():
        await trio.sleep(5)
        steps.append("callee")
        return "value"

    async def start():
        return asyncio.get_running_loop().run_trio(callee)

    with new_event_loop(clock=testing.MockClock(autojump_threshold=0)) as loop:
        future = loop.run_until_complete(start())
        assert not future.done()
        assert loop.stop() is None
        loop.run_forever()
        loop.run_until_complete(asyncio.sleep(1))
        assert steps == []
        assert loop.run_until_complete(future) == "value"
        assert steps == ["callee"]
        assert not loop.is_closed()
    assert loop.is_closed()
    loop.close()


def test_what_a_loop_of_its_own_refuses():
    def nested(loop):
        coro = asyncio.sleep(0)
        try:
            loop.run_until_complete(coro)
        finally:
            coro.close()

    async def check(loop, where):
        for misuse, text in (
            (nested, "already running"),
            (lambda loop: loop.run_forever(), "already running"),
            (lambda loop: loop.close(), "Cannot close a running event loop"),
            (lambda loop: loop.run_task(trio.sleep, 0), "already running"),
        ):
            with pytest.raises(RuntimeError, match=text):
                misuse(loop)
        where.append(loop)

    seen = []
    with new_event_loop() as loop:
        loop.run_until_complete(check(loop, seen))
        loop.run_until_complete(loop.run_trio(check, loop, seen))
        assert seen == [loop] * 2


def test_a_cancelled_main_function_of_a_loop_of_its_own():
    async def cancels_itself():
        asyncio.current_task().cancel()
        await asyncio.sleep(1000)

    async def trio_main():
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.sleep_forever()
        raise asyncio.CancelledError

    with new_event_loop() as loop:
        for main in (cancels_itself, lambda: loop.run_trio(trio_main)):
            with pytest.raises(asyncio.CancelledError):
                loop.run_until_complete(main())
        with pytest.raises(asyncio.CancelledError):
            loop.run_task(trio_main)
        assert loop.run_until_complete(asyncio.sleep(0, "alive")) == "alive"


def test_a_block_in_a_loop_of_its_own_opens_a_second_one_in_the_same_run():
    async def callee(outer):
        assert current_loop.get() is outer
        token = trio.lowlevel.current_trio_token()
        async with open_loop() as inner:
            assert inner is not outer
            assert current_loop.get() is inner
            assert await run_asyncio(which_loop) is inner
            assert await outer.run_asyncio(which_loop) is outer
            assert trio.lowlevel.current_trio_token() is token
            return await inner.run_asyncio(asyncio.sleep, 0.01, "value")

    with new_event_loop() as loop:
        for _ in range(3):
            assert loop.run_task(callee, loop) == "value"


# 62


def test_asyncio_runners_end_a_loop_in_asyncios_order():
    steps = []

    async def sleeper():
        try:
            await asyncio.sleep(1000)
        finally:
            steps.append("task")

    async def numbers():
        try:
            yield 1
        finally:
            steps.append("generator")

    async def trio_sleeper():
        try:
            await trio.sleep_forever()
        finally:
            steps.append("trio task")

    async def main():
        loop = asyncio.get_running_loop()
        loop.run_trio_task(trio_sleeper)
        kept.append(loop.create_task(sleeper()))
        kept.append(numbers())
        await anext(kept[-1])
        await loop.run_in_executor(None, int)
        await asyncio.sleep(0.001)
        return "value"

    kept = []
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(main()) == "value"
        loop = runner.get_loop()
        assert steps == []
        assert runner.run(asyncio.sleep(0, "again")) == "again"
    assert loop.is_closed()
    assert loop._executor_shutdown_called
    assert steps == ["task", "generator", "trio task"]
    kept.clear()


# 63


def test_a_name_that_no_edition_has():
    places = trio_asyncio_c, trio_asyncio_c.EventLoop, trio_asyncio_c.TrioEventLoop
    for place, name in itertools.product(places, ["run_sync_or_exec"]):
        assert not hasattr(place, name)
