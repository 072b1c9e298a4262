"""Sleeping, and cancel scopes made for a timeout."""

from __future__ import annotations

import math

import pytest
from trio_asyncio_c import trio

from ._helpers import refused_when_cancelled, run_mock, settle, start

assert_checkpoints = trio.testing.assert_checkpoints
assert_no_checkpoints = trio.testing.assert_no_checkpoints


def later(seconds):
    return trio.current_time() + seconds


# The same timeout, relative and absolute.
MOVE_ON = [trio.move_on_after, lambda s, **kw: trio.move_on_at(later(s), **kw)]
FAIL = [trio.fail_after, lambda s, **kw: trio.fail_at(later(s), **kw)]

each_move_on = pytest.mark.parametrize("move_on", MOVE_ON, ids=["after", "at"])
each_fail = pytest.mark.parametrize("fail", FAIL, ids=["after", "at"])
each = pytest.mark.parametrize(
    "limit",
    MOVE_ON + FAIL,
    ids=["move_on_after", "move_on_at", "fail_after", "fail_at"],
)


# ---- sleeping ----


def test_sleep_takes_its_time():
    async def main():
        begin = trio.current_time()
        await trio.sleep(3)
        assert trio.current_time() - begin == pytest.approx(3, abs=0.5)
        await trio.sleep_until(begin + 10)
        assert trio.current_time() - begin == pytest.approx(10, abs=0.5)

    run_mock(main)


@pytest.mark.parametrize("seconds", [0, 0.0, 1])
def test_sleep_is_a_checkpoint(seconds):
    async def main():
        with assert_checkpoints():
            await trio.sleep(seconds)
        with assert_checkpoints():
            await trio.sleep_until(trio.current_time() + seconds - 5)
        await refused_when_cancelled(trio.sleep, seconds)
        await refused_when_cancelled(trio.sleep_until, -math.inf)
        await refused_when_cancelled(trio.sleep_forever)

    run_mock(main)


def test_sleep_arguments():
    async def main():
        with pytest.raises(ValueError, match="`seconds` must be non-negative"):
            await trio.sleep(-1)
        with pytest.raises(ValueError, match="NaN"):
            await trio.sleep(math.nan)
        with pytest.raises(ValueError, match="deadline must not be NaN"):
            await trio.sleep_until(math.nan)

    trio.run(main)


def test_sleep_can_be_cancelled():
    async def main():
        for sleep in (
            lambda: trio.sleep(10),
            lambda: trio.sleep(math.inf),
            lambda: trio.sleep_until(later(10)),
            trio.sleep_forever,
        ):
            begin = trio.current_time()
            with trio.move_on_after(1) as scope:
                await sleep()
            assert scope.cancelled_caught
            assert trio.current_time() - begin == pytest.approx(1, abs=0.5)

    run_mock(main)


def test_sleep_forever_must_not_be_rescheduled():
    async def main():
        async def sleeper():
            nonlocal task
            task = trio.lowlevel.current_task()
            await trio.sleep_forever()

        task = None
        async with trio.open_nursery() as nursery:
            call = await start(nursery, sleeper)
            trio.lowlevel.reschedule(task)
            await settle()
            text = "Should never have been rescheduled!"
            with pytest.raises(RuntimeError, match=text):
                raise call.error

    trio.run(main)


def test_sleepers_wake_in_the_order_of_their_deadlines():
    async def main():
        woken = []

        async def sleeper(seconds):
            await trio.sleep(seconds)
            woken.append(seconds)

        async with trio.open_nursery() as nursery:
            for seconds in (5, 1, 4, 2, 3):
                nursery.start_soon(sleeper, seconds)
        assert woken == [1, 2, 3, 4, 5]

    run_mock(main)


# ---- both kinds ----


@each
def test_arguments(limit):
    async def main():
        with pytest.raises(ValueError, match="must not be NaN"):
            limit(math.nan)
        with pytest.raises(TypeError):
            limit(1, True)
        with pytest.raises(TypeError):
            limit(1, shield="yes")

    trio.run(main)


@pytest.mark.parametrize("after", [trio.move_on_after, trio.fail_after])
def test_seconds_are_checked_under_their_own_name(after):
    with pytest.raises(ValueError, match="`seconds` must be non-negative"):
        after(-1)
    with pytest.raises(ValueError, match="`seconds` must be non-negative"):
        after(-math.inf)
    with pytest.raises(ValueError, match="`seconds` must not be NaN"):
        after(math.nan)


@each
def test_the_block_gets_the_scope_and_is_no_checkpoint(limit):
    async def main():
        with assert_no_checkpoints(), limit(10) as scope:
            assert type(scope) is trio.CancelScope
            assert scope.deadline == pytest.approx(later(10), abs=0.5)
            assert not scope.shield
            expected = trio.current_effective_deadline()
            assert scope.deadline == expected
        assert not scope.cancel_called
        assert not scope.cancelled_caught

    run_mock(main)


@each
def test_an_infinite_timeout_never_ends_the_block(limit):
    async def main():
        with limit(math.inf) as scope:
            assert scope.deadline == math.inf
            await trio.sleep(1e6)
        assert not scope.cancel_called

    run_mock(main)


@each
def test_a_block_that_is_fast_enough(limit):
    async def main():
        with limit(2) as scope:
            await trio.sleep(1)
        await trio.sleep(5)
        assert not scope.cancelled_caught

    run_mock(main)


@each
def test_an_error_of_the_block_passes(limit):
    async def main():
        with pytest.raises(KeyError), limit(2):
            await trio.sleep(1)
            raise KeyError

    run_mock(main)


@each
def test_a_shielded_scope(limit):
    async def main():
        with trio.CancelScope() as outer:
            outer.cancel()
            with limit(2, shield=True) as scope:
                assert scope.shield
                await trio.sleep(1)
            assert not scope.cancel_called
            await trio.sleep(1)
        assert outer.cancelled_caught

    run_mock(main)


@each
def test_only_one_block_for_each_scope(limit):
    async def main():
        manager = limit(1)
        with manager:
            pass
        with pytest.raises(RuntimeError, match="only be used for a single"):
            with manager:
                pass

    trio.run(main)


@each
def test_the_deadline_can_be_moved_in_the_block(limit):
    async def main():
        with limit(1) as scope:
            for _ in range(5):
                scope.deadline = later(1)
                await trio.sleep(0.75)
        assert not scope.cancelled_caught

    run_mock(main)


@pytest.mark.parametrize("after", [trio.move_on_after, trio.fail_after])
def test_the_time_is_counted_from_the_entry(after):
    async def main():
        manager = after(2)
        await trio.sleep(10)
        with manager as scope:
            await trio.sleep(1)
        assert not scope.cancel_called

    run_mock(main)


# ---- moving on ----


@each_move_on
def test_move_on_goes_on_behind_the_block(move_on):
    async def main():
        begin = trio.current_time()
        with move_on(3) as scope:
            await trio.sleep(10)
            raise AssertionError("unreachable")
        assert scope.cancel_called
        assert scope.cancelled_caught
        assert trio.current_time() - begin == pytest.approx(3, abs=0.5)

    run_mock(main)


@each_move_on
def test_move_on_of_a_deadline_that_has_passed(move_on):
    async def main():
        with move_on(0) as scope:
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        with trio.move_on_at(-math.inf) as scope:
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught

    run_mock(main)


@each_move_on
def test_move_on_ends_a_shielded_block_too(move_on):
    async def main():
        with move_on(1, shield=True) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught

    run_mock(main)


# ---- failing ----


def test_too_slow_error_is_a_timeout_error():
    assert issubclass(trio.TooSlowError, TimeoutError)


@each_fail
def test_fail_raises_and_shows_where_it_was(fail):
    async def main():
        begin = trio.current_time()
        with pytest.raises(trio.TooSlowError) as caught:
            with fail(3) as scope:
                await trio.sleep(10)
        assert scope.cancelled_caught
        assert trio.current_time() - begin == pytest.approx(3, abs=0.5)
        context = caught.value.__context__
        assert type(context) is trio.Cancelled
        assert context.source == "deadline"
        assert not caught.value.__suppress_context__

    run_mock(main)


@each_fail
def test_fail_ends_a_shielded_block_too(fail):
    async def main():
        with pytest.raises(trio.TooSlowError):
            with fail(1, shield=True):
                await trio.sleep_forever()

    run_mock(main)


@each_fail
def test_fail_when_cancelled_by_hand(fail):
    async def main():
        with pytest.raises(trio.TooSlowError):
            with fail(100) as scope:
                scope.cancel()
                await trio.lowlevel.checkpoint()

    run_mock(main)


@each_fail
def test_fail_is_silent_if_nobody_noticed_the_deadline(fail):
    async def main():
        clock = trio.lowlevel.current_clock()
        with fail(1) as scope:
            clock.jump(5)
            assert scope.cancel_called
        assert not scope.cancelled_caught

    run_mock(main)


@each_fail
def test_fail_within_fail(fail):
    async def main():
        # The outer one is faster: it is its error, and the inner one is none.
        with pytest.raises(trio.TooSlowError):
            with fail(1) as outer:
                with fail(5) as inner:
                    await trio.sleep(10)
        assert outer.cancelled_caught
        assert not inner.cancelled_caught

        # The inner one is faster: its error passes through the outer one.
        with pytest.raises(trio.TooSlowError):
            with fail(5) as outer:
                with fail(1) as inner:
                    await trio.sleep(10)
        assert inner.cancelled_caught
        assert not outer.cancel_called

    run_mock(main)


@each_fail
def test_fail_lets_the_cancellation_of_an_outer_scope_pass(fail):
    async def main():
        with trio.CancelScope() as outer:
            with fail(1):
                outer.cancel()
                await trio.sleep(10)
        assert outer.cancelled_caught

    run_mock(main)


@each_fail
def test_fail_with_another_error_at_the_same_time(fail):
    async def main():
        async def crash_when_cancelled():
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("cleanup")

        with pytest.raises(ExceptionGroup) as caught:
            with fail(1) as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep_forever)
                    nursery.start_soon(crash_when_cancelled)
        assert scope.cancel_called
        (error,) = caught.value.exceptions
        assert type(error) is KeyError

    run_mock(main)
