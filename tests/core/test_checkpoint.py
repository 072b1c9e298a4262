"""Checkpoints: what counts as one, when it raises, what it lets run."""

from __future__ import annotations

import math

import pytest
from trio_asyncio_c import trio

from ._helpers import block, is_cancelled, points, run, run_mock, settle

lowlevel = trio.lowlevel


class Delta:
    """Cancel points and schedule points that the block had."""

    def __enter__(self):
        self.before = points()
        return self

    def __exit__(self, *exc):
        after = points()
        self.counts = tuple(b - a for a, b in zip(self.before, after, strict=True))
        return exc[0] is not None and issubclass(exc[0], trio.Cancelled)


async def empty_nursery():
    async with trio.open_nursery():
        pass


@pytest.mark.parametrize(
    ("fn", "counts"),
    [
        (lowlevel.checkpoint, (1, 1)),
        (lowlevel.cancel_shielded_checkpoint, (0, 1)),
        (lowlevel.checkpoint_if_cancelled, (1, 0)),
        (lambda: trio.sleep(0), (1, 1)),
        (lambda: trio.sleep(1), (1, 1)),
        (lambda: trio.sleep_until(-1), (1, 1)),
        (empty_nursery, (0, 1)),
        (settle, (1, 1)),
    ],
    ids=[
        "checkpoint",
        "cancel_shielded_checkpoint",
        "checkpoint_if_cancelled",
        "sleep(0)",
        "sleep(1)",
        "sleep_until(past)",
        "empty nursery",
        "wait_all_tasks_blocked",
    ],
)
def test_points_counted_when_nothing_is_cancelled(fn, counts):
    # R9
    async def main():
        with Delta() as delta:
            await fn()
        assert delta.counts == counts

    run_mock(main)


def test_points_counted_when_cancelled():
    # R9
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            with Delta() as delta:
                await lowlevel.checkpoint()
            assert delta.counts == (2, 2)
            with Delta() as delta:
                await lowlevel.checkpoint_if_cancelled()
            assert delta.counts == (2, 2)
            with Delta() as delta:
                await lowlevel.cancel_shielded_checkpoint()
            assert delta.counts == (0, 1)
            with Delta() as delta:
                await block()
            assert delta.counts == (1, 1)
            with Delta() as delta:
                await empty_nursery()
            assert delta.counts == (0, 1)

    run(main)


def test_a_yield_counts_one_point_of_each():
    # R8
    async def main():
        task = lowlevel.current_task()
        lowlevel.current_trio_token().run_sync_soon(lowlevel.reschedule, task)
        with Delta() as delta:
            await block()
        assert delta.counts == (1, 1)

    run(main)


def test_checkpoint_lets_others_run():
    async def other():
        ran.append(1)

    ran = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            await lowlevel.checkpoint()
            await lowlevel.checkpoint()
            assert ran == [1]

    run(main)


def test_checkpoint_schedules_before_it_looks_for_cancellation():
    # R10: a cancellation that comes while it waits its turn is seen by it.
    class Cancel(trio.abc.Instrument):
        def after_io_wait(self, timeout):
            if scopes:
                scopes.pop().cancel()

    scopes = []

    async def main():
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await lowlevel.checkpoint()
            raise AssertionError("not cancelled")
        assert scope.cancelled_caught

    run(main, instruments=[Cancel()])


def test_checkpoint_sees_a_deadline_that_passes_in_its_turn():
    # R10
    async def main():
        clock = lowlevel.current_clock()
        with trio.CancelScope(deadline=trio.current_time() + 1) as scope:
            clock.jump(2)
            await lowlevel.checkpoint()
            raise AssertionError("not cancelled")
        assert scope.cancelled_caught

    run(main, clock=trio.testing.MockClock())


def test_cancelled_checkpoint_carries_the_reason_of_the_scope_around_it():
    # R10
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel("because")
            for wait in [
                lowlevel.checkpoint,
                lowlevel.checkpoint_if_cancelled,
                trio.sleep_forever,
            ]:
                with pytest.raises(trio.Cancelled) as info:
                    await wait()
                assert info.value.source == "explicit"
                assert info.value.reason == "because"
                assert info.value.source_task == repr(lowlevel.current_task())

    run(main)


def test_cancellation_is_level_triggered():
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(5):
                assert await is_cancelled()
            with pytest.raises(trio.Cancelled):
                await trio.sleep(1)
            with pytest.raises(trio.Cancelled):
                await trio.sleep_forever()
        assert not await is_cancelled()

    run(main)


def test_checkpoint_if_cancelled_does_not_schedule():
    async def other():
        ran.append(1)

    ran = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(10):
                await lowlevel.checkpoint_if_cancelled()
            assert ran == []

    run(main)


def test_cancel_shielded_checkpoint_never_raises():
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(3):
                await lowlevel.cancel_shielded_checkpoint()
        assert not scope.cancelled_caught

    run(main)


def test_cancel_shielded_checkpoint_lets_others_run():
    async def other():
        ran.append(1)

    ran = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            await lowlevel.cancel_shielded_checkpoint()
            await lowlevel.cancel_shielded_checkpoint()
            assert ran == [1]

    run(main)


def test_no_checkpoint_raises_without_a_cancelled_scope():
    async def main():
        scope = trio.CancelScope()
        with scope:
            pass
        scope.cancel()
        assert not await is_cancelled()
        assert trio.current_effective_deadline() == math.inf

    run(main)


def test_checkpoint_returns_none():
    async def main():
        assert await lowlevel.checkpoint() is None
        assert await lowlevel.cancel_shielded_checkpoint() is None
        assert await lowlevel.checkpoint_if_cancelled() is None
        assert await trio.sleep(0) is None

    run(main)


def test_an_awaitable_can_be_awaited_only_once():
    async def main():
        for make in [
            lowlevel.checkpoint,
            lowlevel.cancel_shielded_checkpoint,
            lambda: trio.sleep(0),
        ]:
            awaitable = make()
            await awaitable
            with pytest.raises(
                RuntimeError, match="cannot reuse already awaited coroutine"
            ):
                await awaitable

    run(main)


def test_assert_checkpoints_knows_the_checkpoints():
    async def main():
        with trio.testing.assert_checkpoints():
            await lowlevel.checkpoint()
        with trio.testing.assert_no_checkpoints():
            pass
        with trio.testing.assert_checkpoints():
            await lowlevel.checkpoint_if_cancelled()
            await lowlevel.cancel_shielded_checkpoint()
        with (
            pytest.raises(AssertionError),
            trio.testing.assert_checkpoints(),
        ):
            await lowlevel.checkpoint_if_cancelled()
        with (
            pytest.raises(AssertionError),
            trio.testing.assert_no_checkpoints(),
        ):
            await lowlevel.cancel_shielded_checkpoint()

    run(main)


def test_sleep_forever_raises_when_it_is_woken():
    async def main():
        task = lowlevel.current_task()
        lowlevel.current_trio_token().run_sync_soon(lowlevel.reschedule, task)
        with pytest.raises(
            RuntimeError, match=r"^Should never have been rescheduled!$"
        ):
            await trio.sleep_forever()

    run(main)


def test_a_message_that_is_not_ours_is_thrown_back():
    # R8: with throw(), where the foreign code waits for its answer.
    class Foreign:
        def __await__(self):
            try:
                yield "a message of another framework"
            except TypeError as exc:
                caught.append(str(exc))
            return "went on"

    caught = []

    async def main():
        assert await Foreign() == "went on"
        await lowlevel.checkpoint()
        return "fine"

    assert run(main) == "fine"
    (text,) = caught
    assert text.startswith(
        "trio.run received unrecognized yield message "
        "'a message of another framework'. "
        "Are you trying to use a library written for some other framework "
        "like asyncio? That won't work without some kind of compatibility shim."
    )


def test_a_cancelled_task_gets_the_foreign_message_error_all_the_same():
    # R8
    class Foreign:
        def __await__(self):
            yield None

    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            with pytest.raises(TypeError, match="unrecognized yield message None"):
                await Foreign()

    run(main)


def test_points_are_counted_a_task():
    # R9
    async def child():
        for _ in range(7):
            await lowlevel.checkpoint()
        counts.append(points())

    counts = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)

    run(main)
    assert counts == [(7, 7)]
