"""Who runs what, and when it begins: rules 1, 2, 4 and 5 of the crossings, for both ways
of opening a loop."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from trio_asyncio_c import (
    TrioExecutor,
    current_loop,
    lowlevel,
    new_event_loop,
    open_loop,
    run_future,
    testing,
    trio,
    trio_as_aio,
)

from ._helpers import both_ways

ROUNDS = 50  # enough for an order that is a coin's to show


async def record(seen, what):
    seen.append(what)
    await trio.sleep(0)
    return what


# 1


@both_ways
def test_a_call_is_a_task_of_its_own_and_a_future_is_only_waited_for(way):
    async def which():
        await asyncio.sleep(0)
        # Trio's current task is the loop's runner meanwhile.
        assert lowlevel.current_task().name == "<asyncio event loop>"
        return asyncio.current_task()

    async def main():
        loop = current_loop.get()
        tasks = [await loop.run_asyncio(which) for _ in range(3)]
        tasks.append(await loop.run_coroutine(which()))
        assert len(set(tasks)) == 4
        given = loop.create_task(which())
        future = loop.create_future()
        before = asyncio.all_tasks(loop)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_future, future)
            nursery.start_soon(loop.run_coroutine, future)
            nursery.start_soon(loop.run_future, given)
            await testing.wait_all_tasks_blocked()
            assert asyncio.all_tasks(loop) <= before
            future.set_result("value")
        assert await loop.run_coroutine(given) is given
        assert await loop.run_coroutine(future) == "value"

    way.run_trio(main)


# 2


@both_ways
def test_calls_begin_among_callbacks_in_the_order_of_all(way):
    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(ROUNDS):
            seen = []
            loop.call_soon(seen.append, 1)
            first = loop.run_trio(record, seen, 2)
            loop.call_soon(lambda: loop.call_soon(seen.append, 9))
            loop.run_trio_task(record, seen, 3)
            loop.call_soon(seen.append, 4)
            second = trio_as_aio(record)(seen, 5)
            loop.call_soon_threadsafe(seen.append, 6)
            third = loop.run_trio(record, seen, 7)
            loop.call_soon(seen.append, 8)
            assert seen == []
            await asyncio.sleep(0)
            assert seen == [1, 2, 3, 4, 5, 6, 7, 8]
            assert [await first, await second, await third] == [2, 5, 7]
            await asyncio.sleep(0)
            assert seen == [1, 2, 3, 4, 5, 6, 7, 8, 9]

    way.run_asyncio(main)


def test_what_was_queued_before_has_begun_when_synchronize_returns():
    async def main():
        async with open_loop() as loop:
            for _ in range(ROUNDS):
                seen = []
                for number in range(3):
                    loop.run_trio(record, seen, number)
                    loop.run_trio_task(record, seen, number)
                await loop.synchronize()
                assert seen == [0, 0, 1, 1, 2, 2]

    trio.run(main)


@both_ways
def test_calls_that_call_on_do_not_keep_others_from_their_turn(way):
    """What a call starts in its first step begins in the next turn."""
    turns = []

    async def again(loop):
        turns.append(None)
        if len(turns) < 100_000:
            loop.run_trio_task(again, loop)

    async def main():
        loop = asyncio.get_running_loop()
        loop.run_trio_task(again, loop)
        loop.run_trio_task(again, loop)
        await loop.run_trio(trio.sleep, 0)
        for _ in range(5):
            before = len(turns)
            await asyncio.sleep(0)
            assert len(turns) - before == 2
        turns.extend([None] * 100_000)

    way.run_asyncio(main)


@both_ways
def test_each_call_is_a_trio_task_of_the_loops(way):
    async def which():
        return lowlevel.current_task()

    async def in_asyncio():
        loop = asyncio.get_running_loop()
        return [await loop.run_trio(which), await trio_as_aio(which)()]

    async def main():
        loop = current_loop.get()
        async with trio.open_nursery() as callers:
            tasks = await loop.run_asyncio(in_asyncio)
            tasks.append(await loop.run_future(loop.run_trio(which)))
            nurseries = {task.parent_nursery for task in tasks}
            assert len(set(tasks)) == 3
            assert lowlevel.current_task() not in tasks
            assert len(nurseries) == 1
            assert callers not in nurseries
            return nurseries.pop()

    async def opened():
        async with open_loop():
            nursery = await main()
            ancestors = []
            while nursery is not None:
                ancestors.append(nursery.parent_task)
                nursery = nursery.parent_task.parent_nursery
            # By way of the loop's own task, which keeps cancels from outside away.
            assert ancestors[1] is lowlevel.current_task()

    way.run_trio(main)
    trio.run(opened)


def test_a_call_begins_before_the_rest_of_a_batch_that_a_nested_turn_runs():
    async def nests(loop, future, seen):
        seen.append("begun")
        while not future.done():
            loop._selector.select(None)
        seen.append("nested")

    with new_event_loop() as loop:
        seen = []
        future = loop.create_future()
        call = loop.run_trio(nests, loop, future, seen)
        loop.call_soon(seen.append, "after")
        loop.run_trio(record, seen, "second call")
        loop.call_soon(future.set_result, None)
        loop.run_until_complete(call)
    assert seen == ["begun", "after", "second call", "nested"]


@both_ways
def test_the_context_of_an_executors_job_is_the_callers(way):
    """Rule 10; without a `TrioExecutor` an own loop does as asyncio."""
    var = ContextVar("var")

    async def main():
        loop = asyncio.get_running_loop()
        executor = TrioExecutor(1)
        var.set("at the call")
        job = loop.run_in_executor(executor, var.get)
        var.set("later")
        assert await job == "at the call"

    way.run_asyncio(main)


# 4


@both_ways
def test_what_is_above_a_crossing_is_not_seen_below_it(way):
    seen = []

    async def in_trio():
        task = lowlevel.current_task()
        assert task.child_nurseries == []
        seen.append((task, task._cancel_status._scope, task.parent_nursery))

    async def in_asyncio():
        await asyncio.get_running_loop().run_trio(in_trio)

    async def main():
        loop = current_loop.get()
        task = lowlevel.current_task()
        async with trio.open_nursery() as nursery:
            with trio.CancelScope(deadline=trio.current_time() + 5) as scope:
                await loop.run_asyncio(in_asyncio)
                assert nursery in task.child_nurseries
                assert task._cancel_status._scope is scope
        ((below, scope_below, home),) = seen
        assert below is not task
        assert scope_below is not scope
        assert home is not nursery

    way.run_trio(main)


# 5


@both_ways
def test_timers_for_one_time_run_in_the_order_made(way):
    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(10):
            seen = []
            when = loop.time() + 1
            for number in range(30):
                loop.call_at(when, seen.append, number)
            await asyncio.sleep(1.5)
            assert seen == list(range(30))

    way.run_asyncio(main)


@pytest.mark.parametrize("leaves", [False, True])
def test_calls_that_were_queued_before_a_stop_begin(leaves):
    async def waits(seen, what):
        seen.append(what)
        await trio.sleep_forever()

    async def main():
        seen = []
        async with open_loop() as loop:
            loop.call_soon(seen.append, 1)
            future = loop.run_trio(waits, seen, 2)
            loop.call_soon(seen.append, 3)
            stopped = loop.stop()
            loop.call_soon(seen.append, 4)
            if not leaves:
                await stopped.wait()
                assert seen == [1, 2, 3]
        assert seen == [1, 2, 3, 4]
        assert future.cancelled()

    trio.run(main)
