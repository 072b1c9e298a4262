"""The rules of cancellation in both directions, for both ways of opening a loop."""

from __future__ import annotations

import asyncio
import gc

import pytest
from trio_asyncio_c import run_future, trio

from ._helpers import both_ways, flatten


async def aio(fn, *args):
    """Call an asyncio-flavoured function on the task's loop."""
    return await asyncio.get_running_loop().run_asyncio(fn, *args)


# Trio cancels an asyncio callee


@both_ways
@pytest.mark.parametrize("ending", ["raise", "value", "error"])
def test_how_the_callee_ends_is_what_counts(way, ending):
    async def callee(tasks):
        tasks.append(asyncio.current_task())
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(2)
            if ending == "value":
                return "value"
            if ending == "error":
                raise ValueError from None
            raise

    async def main():
        tasks = []
        began = trio.current_time()
        with trio.move_on_after(1) as scope:
            try:
                assert await aio(callee, tasks) == "value"
            except ValueError:
                assert ending == "error"
            except trio.Cancelled as exc:
                assert ending == "raise"
                assert isinstance(exc.__cause__, asyncio.CancelledError)
                raise
        assert scope.cancelled_caught is (ending == "raise")
        assert trio.current_time() - began == 3
        assert tasks[0].cancelling() == 1

    way.run_trio(main)


@both_ways
def test_a_callee_that_refuses_is_cancelled_once_by_however_many_scopes(way):
    async def main():
        cancels = []

        async def callee():
            for _ in range(3):
                try:
                    await asyncio.sleep(10)
                except asyncio.CancelledError:
                    cancels.append(asyncio.current_task().cancelling())

        began = trio.current_time()
        with trio.move_on_after(3), trio.move_on_after(2), trio.move_on_after(1):
            await aio(callee)
            assert trio.current_time() - began == 21
        assert cancels == [1]

    way.run_trio(main)


@both_ways
def test_a_pending_cancel_delivers_at_the_call(way):
    async def main():
        loop = asyncio.get_running_loop()
        ran = []

        async def callee():
            ran.append(1)

        pending, done = loop.create_future(), loop.create_future()
        done.set_result("done")
        with trio.CancelScope() as scope:
            scope.cancel()
            assert await run_future(done) == "done"
            with pytest.raises(trio.Cancelled):
                await run_future(pending)
            with pytest.raises(trio.Cancelled):
                await loop.run_coroutine(callee())
            await aio(callee)
        assert scope.cancelled_caught
        assert pending.cancelled()
        assert ran == []
        gc.collect()  # no "was never awaited"

    way.run_trio(main)


@both_ways
def test_the_waiter_cancels_what_others_wait_for_too(way):
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        async def other():
            with pytest.raises(asyncio.CancelledError):
                await run_future(future)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            with trio.move_on_after(1) as scope:
                await run_future(future)
        assert scope.cancelled_caught
        assert future.cancelled()

    way.run_trio(main)


@both_ways
def test_a_cancelled_error_of_the_callees_own_stays_one(way):
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_later(1, future.cancel, "theirs")
        with trio.CancelScope() as scope:
            with pytest.raises(asyncio.CancelledError, match="theirs"):
                await run_future(future)
        assert not scope.cancelled_caught

    way.run_trio(main)


# asyncio cancels a Trio callee


@both_ways
def test_a_future_stays_pending_until_its_callee_has_ended(way):
    async def callee(seen):
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            seen.append("cleaned up")

    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        future = loop.run_trio(callee, seen)
        assert isinstance(future, asyncio.Future)
        await asyncio.sleep(1)
        began = loop.time()
        assert future.cancel("first") is True
        await asyncio.sleep(1)
        assert future.cancel("last") is True
        assert not future.done()
        with pytest.raises(asyncio.CancelledError) as caught:
            await future
        assert caught.value.args == ("last",)
        assert loop.time() - began == 5
        assert seen == ["cleaned up"]
        assert future.cancelled()
        assert future.cancel() is False

    way.run_asyncio(main)


@both_ways
@pytest.mark.parametrize("ending", ["value", "error"])
def test_a_callee_that_ends_otherwise_counts_as_not_cancelled(way, ending):
    async def callee():
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            if ending == "error":
                raise ValueError from None
            return "value"

    async def caller():
        try:
            return await asyncio.get_running_loop().run_trio(callee)
        except ValueError:
            return "error"

    async def main():
        task = asyncio.create_task(caller())
        await asyncio.sleep(1)
        assert task.cancel() is True
        assert await task == ending
        assert task.cancelling() == 1

    way.run_asyncio(main)


@both_ways
def test_a_call_that_is_cancelled_while_it_is_queued(way):
    async def callee(ran):
        ran.append(1)

    async def main():
        loop = asyncio.get_running_loop()
        ran, order = [], []
        loop.call_soon(order.append, "before")
        future = loop.run_trio(callee, ran)
        future.add_done_callback(lambda _: order.append("done"))
        handle = loop.run_trio_task(callee, ran)
        handle.cancel()
        assert future.cancel("early") is True
        assert not future.done()
        with pytest.raises(asyncio.CancelledError, match="early"):
            await future
        assert order == ["before", "done"]
        await asyncio.sleep(0)
        assert handle.done()
        assert ran == []

    way.run_asyncio(main)


@both_ways
def test_a_callee_that_cancels_its_own_outermost_scope(way):
    async def callee():
        trio.lowlevel.current_task()._cancel_status._scope.cancel()
        await trio.lowlevel.checkpoint()

    async def main():
        future = asyncio.get_running_loop().run_trio(callee)
        with pytest.raises(asyncio.CancelledError):
            await future
        assert future.cancelled()
        assert asyncio.current_task().cancelling() == 0

    way.run_asyncio(main)


@both_ways
def test_a_nursery_in_a_cancelled_callee_brings_no_cancelled_over(way):
    async def callee():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fail_when_cancelled)

    async def fail_when_cancelled():
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.run_trio(callee)
        await asyncio.sleep(1)
        future.cancel()
        with pytest.raises(ExceptionGroup) as caught:
            await future
        assert [type(exc) for exc in flatten(caught.value)] == [ValueError]

    way.run_asyncio(main)


@both_ways
def test_a_task_group_around_trio_calls(way):
    async def sleeper(seen):
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            seen.append("cancelled")
            raise

    async def fail():
        await trio.sleep(1)
        raise ValueError

    async def call(fn, *args):
        await asyncio.get_running_loop().run_trio(fn, *args)

    async def main():
        seen = []
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(call(sleeper, seen))
                group.create_task(call(sleeper, seen))
                group.create_task(call(fail))
        assert [type(exc) for exc in caught.value.exceptions] == [ValueError]
        assert seen == ["cancelled", "cancelled"]

    way.run_asyncio(main)


@both_ways
def test_two_cancels_of_the_middle_of_a_sandwich(way):
    async def inner(seen):
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            seen.append("inner")
            raise

    async def middle(seen, tasks):
        tasks.append(asyncio.current_task())
        try:
            await asyncio.get_running_loop().run_trio(inner, seen)
        except asyncio.CancelledError:
            seen.append(asyncio.current_task().cancelling())
            raise

    async def main():
        loop = asyncio.get_running_loop()
        seen, tasks = [], []
        loop.call_later(1, lambda: tasks[0].cancel())
        loop.call_later(2, lambda: tasks[0].cancel())
        with pytest.raises(asyncio.CancelledError):
            await aio(middle, seen, tasks)
        assert seen == ["inner", 2]

    way.run_trio(main)


@both_ways
def test_gather_around_trio_calls(way):
    async def sleeper(seen, seconds):
        try:
            await trio.sleep(seconds)
        finally:
            seen.append(seconds)

    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        gathering = asyncio.gather(
            *(loop.run_trio(sleeper, seen, seconds) for seconds in (1, 50, 60))
        )
        await asyncio.sleep(2)
        gathering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gathering
        assert sorted(seen) == [1, 50, 60]
        assert loop.time() < 60

    way.run_asyncio(main)
