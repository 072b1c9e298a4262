"""Cancellation across the boundary: delivered to the callee, waited for, and reported
only if the callee ended by it."""

from __future__ import annotations

import asyncio
import sys

import pytest

from trio_asyncio_c import EventLoop, current_loop, run_asyncio, run_future, trio

from ._helpers import both_ways, open_loop, run, run_mock


def in_asyncio(fn):
    """Run an asyncio-flavoured main function on a loop of its own."""
    loop = EventLoop()
    try:
        return loop.run_until_complete(fn(loop))
    finally:
        loop.close()


# Trio cancels an asyncio callee


def test_a_deadline_cancels_the_callee_and_waits_for_it():
    async def main():
        seen = []

        async def callee():
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                seen.append(asyncio.current_task().cancelling())
                await asyncio.sleep(5)
                seen.append("cleaned up")
                raise

        began = trio.current_time()
        with trio.move_on_after(1) as scope:
            await run_asyncio(callee)
        assert scope.cancelled_caught
        assert seen == [1, "cleaned up"]
        assert trio.current_time() - began == pytest.approx(6)

    run_mock(main)


def test_the_cancelled_has_the_asyncio_side_as_its_cause():
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await run_asyncio(asyncio.sleep, 1)
            except trio.Cancelled as exc:
                assert isinstance(exc.__cause__, asyncio.CancelledError)
                raise
        assert scope.cancelled_caught

    run_mock(main)


def test_a_callee_that_swallows_the_cancel_returns_its_value():
    async def main():
        async def callee():
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                return "value"

        with trio.move_on_after(1) as scope:
            assert await run_asyncio(callee) == "value"
            with pytest.raises(trio.Cancelled):
                await trio.sleep(0)
        assert not scope.cancelled_caught
        assert scope.cancel_called

    run_mock(main)


def test_a_callee_that_answers_with_another_error():
    async def main():
        async def callee():
            try:
                await asyncio.sleep(100)
            finally:
                raise ValueError

        with trio.move_on_after(1) as scope, pytest.raises(ValueError):
            await run_asyncio(callee)
        assert not scope.cancelled_caught

    run_mock(main)


def test_a_second_cancel_is_not_passed_on():
    async def main():
        cancels = 0

        async def callee():
            nonlocal cancels
            for _ in range(2):
                try:
                    await asyncio.sleep(10)
                except asyncio.CancelledError:
                    cancels += 1

        with trio.move_on_after(1), trio.move_on_after(2):
            await run_asyncio(callee)
        assert cancels == 1

    run_mock(main)


def test_a_pending_cancel_keeps_the_callee_from_running():
    async def main():
        seen = []

        async def callee():
            seen.append("ran")

        with trio.CancelScope() as scope:
            scope.cancel()
            await run_asyncio(callee)
        assert scope.cancelled_caught
        assert seen == []

    run_mock(main)


def test_a_done_future_beats_a_pending_cancel():
    async def main():
        future = current_loop.get().create_future()
        future.set_result(5)
        with trio.CancelScope() as scope:
            scope.cancel()
            assert await run_future(future) == 5
        assert not scope.cancelled_caught

    run_mock(main)


def test_a_shielded_future_is_left_alone():
    async def main():
        loop = current_loop.get()
        future = loop.create_future()

        async def callee():
            await asyncio.shield(future)

        with trio.move_on_after(1) as scope:
            await run_asyncio(callee)
        assert scope.cancelled_caught
        assert not future.cancelled()
        future.cancel()

    run_mock(main)


def test_a_cancelled_error_without_a_trio_cancel_is_passed_on():
    async def main():
        async def callee():
            raise asyncio.CancelledError("by itself")

        with pytest.raises(asyncio.CancelledError, match="by itself"):
            await run_asyncio(callee)

    run_mock(main)


# asyncio cancels a Trio callee


def test_the_future_is_cancelled_when_the_callee_has_ended():
    async def main(loop):
        seen = []

        async def callee():
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.005)
                seen.append("cleaned up")

        future = loop.run_trio(callee)
        await asyncio.sleep(0.001)
        assert future.cancel("first") is True
        assert future.cancel("last") is True
        assert not future.done()
        with pytest.raises(asyncio.CancelledError) as caught:
            await future
        assert caught.value.args == ("last",)
        assert seen == ["cleaned up"]
        assert future.cancelled()
        assert future.cancel() is False

    in_asyncio(main)


def test_cancel_before_the_start():
    async def main(loop):
        seen = []

        async def callee():
            seen.append("ran")

        future = loop.run_trio(callee)
        assert future.cancel() is True
        assert not future.done()
        with pytest.raises(asyncio.CancelledError):
            await future
        assert seen == []

    in_asyncio(main)


def test_a_task_cancel_reaches_the_callee():
    async def main(loop):
        seen = []

        async def callee():
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                seen.append("cancelled")
                raise

        async def caller():
            await loop.run_trio(callee)

        task = asyncio.create_task(caller())
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["cancelled"]

    in_asyncio(main)


def test_a_callee_that_ends_with_a_value_all_the_same():
    async def main(loop):
        async def callee():
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                return "value"

        async def caller():
            return await loop.run_trio(callee)

        task = asyncio.create_task(caller())
        await asyncio.sleep(0.001)
        assert task.cancel()
        assert await task == "value"

    in_asyncio(main)


def test_a_callee_that_ends_with_an_error():
    async def main(loop):
        async def callee():
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError

        future = loop.run_trio(callee)
        await asyncio.sleep(0.001)
        future.cancel()
        with pytest.raises(ValueError):
            await future

    in_asyncio(main)


@both_ways
def test_wait_for_returns_a_late_value(way):
    async def callee():
        with trio.CancelScope(shield=True):
            await trio.sleep(20)
        return "late"

    async def main():
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await asyncio.wait_for(loop.run_trio(callee), 1) == "late"
        assert loop.time() - began == 20

    way.run_asyncio(main)


def test_a_shielded_caller_leaves_the_callee_alone():
    async def main(loop):
        event = trio.Event()
        future = loop.run_trio(event.wait)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(future), 0.001)
        assert not future.done()
        event.set()
        assert await future is None

    in_asyncio(main)


def test_an_outer_scope_does_not_reach_the_callees_of_a_loop():
    async def main():
        seen = []

        async def callee():
            try:
                await trio.sleep(3)
                seen.append("finished")
            except trio.Cancelled:
                seen.append("cancelled")
                raise

        with trio.CancelScope() as scope:
            async with open_loop() as loop:
                future = loop.run_trio(callee)
                await trio.sleep(1)
                scope.cancel()
                with trio.CancelScope(shield=True):
                    await run_future(future)
        assert seen == ["finished"]

    trio.run(main)


# Both


def test_a_sandwich_under_one_scope():
    async def main():
        seen = []

        async def inner():
            try:
                await trio.sleep_forever()
            except BaseException as exc:
                seen.append(type(exc))
                raise

        async def middle():
            try:
                await asyncio.get_running_loop().run_trio(inner)
            except BaseException as exc:
                seen.append(type(exc))
                raise

        with trio.move_on_after(1) as scope:
            try:
                await run_asyncio(middle)
            except BaseException as exc:
                seen.append(type(exc))
                raise
        assert scope.cancelled_caught
        assert seen == [trio.Cancelled, asyncio.CancelledError, trio.Cancelled]

    run_mock(main)


def test_cancel_at_once_under_load():
    async def main(loop):
        started = 0

        async def callee():
            nonlocal started
            started += 1
            await trio.sleep_forever()

        futures = [loop.run_trio(callee) for _ in range(300)]
        for future in futures:
            future.cancel()
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        assert started == 0

    in_asyncio(main)


class Unruly(asyncio.Future):
    """A Future whose cancel() raises, at once or after it has called back."""

    calls_back = False

    def cancel(self, msg=None):
        if self.calls_back:
            for callback, _ in self.kept:
                callback(self)
        raise ValueError("not to be cancelled")

    def add_done_callback(self, fn, *, context=None):
        self.kept = [(fn, context)]

    def done(self):
        return self.calls_back

    def result(self):
        return "value"


@pytest.mark.parametrize("make", [asyncio.SelectorEventLoop, EventLoop])
@pytest.mark.parametrize("first", [True, False])
def test_a_cancel_of_a_wait_for_a_loop_that_is_closed(make, first):
    # Whose Future cannot even be cancelled: that is no error of the run.
    seen = []

    async def waits(future):
        with pytest.raises(RuntimeError, match="^Event loop is closed$"):
            await run_future(future)
        seen.append("told")

    async def main(loop):
        future = loop.create_future()
        if first:
            loop.close()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits, future)
            await trio.testing.wait_all_tasks_blocked()
            loop.close()
            nursery.cancel_scope.cancel()
        assert seen == ["told"]

    trio.run(main, make())


def test_a_future_whose_cancel_raises():
    async def main():
        future = Unruly(loop=current_loop.get())
        with trio.CancelScope() as scope:
            scope.cancel()
            with pytest.raises(ValueError, match="not to be cancelled"):
                await run_future(future)
        assert not scope.cancelled_caught

    run(main)


def test_a_future_that_calls_back_and_raises_when_it_is_cancelled():
    async def main():
        future = Unruly(loop=current_loop.get())
        future.calls_back = True
        with trio.CancelScope() as scope:
            scope.cancel()
            assert await run_future(future) == "value"
        assert not scope.cancelled_caught

    reported = []
    before = sys.unraisablehook
    sys.unraisablehook = lambda what: reported.append(repr(what.exc_value))
    try:
        run(main)
    finally:
        sys.unraisablehook = before
    assert reported == ["ValueError('not to be cancelled')"]
