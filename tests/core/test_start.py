"""Nursery.start() and task_status.started()."""

from __future__ import annotations

import functools

import pytest
from trio_asyncio_c import trio

from ._helpers import (
    Recorder,
    block,
    capture,
    is_cancelled,
    run,
    run_loose,
    run_mock,
    settle,
)

lowlevel = trio.lowlevel


async def serve(*args, task_status=trio.TASK_STATUS_IGNORED):
    await trio.sleep(1)
    task_status.started(args)
    await trio.sleep(1)


def test_start_waits_until_started_and_returns_its_value():
    async def main():
        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            assert await nursery.start(serve, 1, 2) == (1, 2)
            assert trio.current_time() == begin + 1
        assert trio.current_time() == begin + 2

    run_mock(main)


def test_started_without_a_value_gives_none():
    async def child(*, task_status):
        task_status.started()

    async def main():
        async with trio.open_nursery() as nursery:
            assert await nursery.start(child) is None

    run(main)


def test_ignored_status_makes_the_function_an_ordinary_one():
    assert repr(trio.TASK_STATUS_IGNORED) == "TASK_STATUS_IGNORED"
    assert trio.TASK_STATUS_IGNORED.started() is None
    assert trio.TASK_STATUS_IGNORED.started(1) is None
    run_mock(serve)


def test_the_child_moves_into_the_nursery_when_it_has_started():
    # R26, R27
    async def child(*, task_status):
        task = lowlevel.current_task()
        assert task.parent_nursery is not nursery
        assert task.eventual_parent_nursery is nursery
        assert task not in nursery.child_tasks
        task_status.started()
        assert task.parent_nursery is nursery
        assert task.eventual_parent_nursery is None
        assert task in nursery.child_tasks
        checked.append(1)

    checked = []
    nursery = None

    async def main():
        nonlocal nursery
        async with trio.open_nursery() as nursery:
            await nursery.start(child)

    run(main)
    assert checked == [1]


def test_the_internal_nursery_belongs_to_the_caller():
    async def child(*, task_status):
        seen.append(lowlevel.current_task().parent_nursery.parent_task)
        task_status.started()

    seen = []

    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(child)
        assert seen == [lowlevel.current_task()]

    run(main)


def test_an_error_before_started_comes_out_of_start_bare():
    # R26
    error = KeyError("early")

    async def child(*, task_status):
        await trio.sleep(0)
        raise error

    async def main():
        async with trio.open_nursery() as nursery:
            with pytest.raises(KeyError) as info:
                await nursery.start(child)
            assert info.value is error
            # The nursery itself does not mind.
            assert not await is_cancelled()

    run(main)
    run_loose(main)


def test_an_error_before_started_keeps_cause_and_context():
    # R26
    async def child(*, task_status):
        try:
            raise LookupError("context")
        except LookupError:
            raise KeyError("early") from OSError("cause")

    async def main():
        async with trio.open_nursery() as nursery:
            with pytest.raises(KeyError) as info:
                await nursery.start(child)
        assert isinstance(info.value.__context__, LookupError)
        assert isinstance(info.value.__cause__, OSError)

    run(main)


def test_a_group_before_started_comes_out_as_it_is():
    # R26: only the wrapping of the internal nursery is taken off.
    error = ValueError()

    async def child(*, task_status):
        raise ExceptionGroup("mine", [error])

    async def main():
        async with trio.open_nursery() as nursery:
            with pytest.raises(ExceptionGroup) as info:
                await nursery.start(child)
            assert info.value.message == "mine"
            assert info.value.exceptions == (error,)

    run(main)


def test_an_error_after_started_goes_to_the_nursery():
    async def child(*, task_status):
        task_status.started()
        raise KeyError("late")

    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(child)
            await trio.sleep_forever()

    with pytest.RaisesGroup(KeyError):
        run(main)


def test_a_child_that_never_starts():
    # R26
    async def child(*, task_status):
        await trio.sleep(0)

    async def main():
        async with trio.open_nursery() as nursery:
            with pytest.raises(
                RuntimeError,
                match=r"^child exited without calling task_status\.started\(\)$",
            ):
                await nursery.start(child)

    run(main)


def test_started_twice():
    # R27, section 5
    async def child(*, task_status):
        task_status.started()
        with pytest.raises(
            RuntimeError, match="^called 'started' twice on the same task status$"
        ):
            task_status.started()
        checked.append(1)

    checked = []

    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(child)

    run(main)
    assert checked == [1]


def test_cancelling_start_cancels_the_child():
    async def child(*, task_status):
        try:
            await trio.sleep_forever()
        finally:
            events.append("cancelled")

    events = []

    async def main():
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(1) as scope:
                await nursery.start(child)
            assert scope.cancelled_caught
            events.append("went on")

    run_mock(main)
    assert events == ["cancelled", "went on"]


def test_a_child_that_has_started_is_out_of_reach_of_the_callers_scope():
    # R27
    async def child(*, task_status):
        task_status.started()
        await trio.sleep(5)
        finished.append(await is_cancelled())

    finished = []

    async def main():
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                await nursery.start(child)
                scope.cancel()
                await trio.sleep_forever()

    run_mock(main)
    assert finished == [False]


def test_started_in_a_cancelled_start_does_not_move():
    # R27
    async def child(*, task_status):
        scope.cancel()
        task_status.started("value")
        assert lowlevel.current_task().parent_nursery is not nursery
        assert await is_cancelled()
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        finished.append(1)

    finished = []
    scope = nursery = None

    async def main():
        nonlocal scope, nursery
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                # The value is recorded, and start() waits for the child.
                results.append(await nursery.start(child))
                assert finished == [1]
            assert nursery.child_tasks == frozenset()

    results = []
    run_mock(main)
    assert results == ["value"]


def test_started_moves_nested_nurseries_and_scopes_too():
    # R27
    async def grandchild():
        await trio.sleep(3)
        finished.append(await is_cancelled())

    async def child(*, task_status):
        with trio.CancelScope():
            async with trio.open_nursery() as inner:
                inner.start_soon(grandchild)
                await trio.sleep(1)
                task_status.started()

    finished = []

    async def main():
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                await nursery.start(child)
                scope.cancel()
            await trio.sleep(1)
            assert finished == []

    run_mock(main)
    assert finished == [False]


def test_started_into_a_cancelled_nursery_aborts_what_was_moved():
    # R14, R27
    async def sleeper(log):
        try:
            await trio.sleep_forever()
        finally:
            log.append("aborted")

    async def child(log, *, task_status):
        async with trio.open_nursery() as inner:
            inner.start_soon(sleeper, log)
            await settle()
            assert log == []
            assert not await is_cancelled()
            task_status.started()
            assert await is_cancelled()

    async def main():
        log = []
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await nursery.start(child, log)
        assert log == ["aborted"]

    run(main)


def test_the_nursery_stays_open_while_something_is_starting():
    # R25, R26
    async def child(*, task_status):
        await trio.sleep(2)
        task_status.started()
        started.append(trio.current_time())

    async def starter(nursery):
        await nursery.start(child)

    started = []

    async def main():
        begin = trio.current_time()
        async with trio.open_nursery() as outer:
            async with trio.open_nursery() as nursery:
                outer.start_soon(starter, nursery)
                await settle()
                assert nursery._pending_starts == 1
                assert nursery.child_tasks == frozenset()
                # Nothing is left but the start that is pending.
            assert trio.current_time() == begin + 2
        assert started == [begin + 2]

    run_mock(main)


def test_a_start_that_fails_lets_its_nursery_close():
    # R26
    async def child(*, task_status):
        await trio.sleep(2)
        raise KeyError

    async def starter(nursery):
        with pytest.raises(KeyError):
            await nursery.start(child)

    async def main():
        begin = trio.current_time()
        async with trio.open_nursery() as outer:
            async with trio.open_nursery() as nursery:
                outer.start_soon(starter, nursery)
                await settle()
            assert trio.current_time() == begin + 2

    run_mock(main)


def test_more_than_one_error_in_the_internal_nursery():
    # R26
    async def child(*, task_status):
        nursery = lowlevel.current_task().parent_nursery
        nursery.start_soon(fail, ValueError())
        nursery.start_soon(fail, ValueError())
        await block()

    async def fail(exc):
        raise exc

    async def main():
        async with trio.open_nursery() as nursery:
            with pytest.raises(
                trio.TrioInternalError,
                match="^Internal nursery should not have multiple tasks",
            ) as info:
                await nursery.start(child)
            assert isinstance(info.value.__cause__, ExceptionGroup)
            assert len(info.value.__cause__.exceptions) == 2

    run(main)


def test_start_takes_a_name():
    async def child(*, task_status):
        names.append(lowlevel.current_task().name)
        task_status.started()

    names = []

    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(child, name="given")
            await nursery.start(child)
            await nursery.start(functools.partial(child))

    run(main)
    assert names[0] == "given"
    assert names[1].endswith(".child")
    assert len(names) == 3


def test_a_function_that_takes_no_status():
    async def child():
        raise AssertionError("must not run")

    async def main():
        async with trio.open_nursery() as nursery:
            with pytest.raises(TypeError, match="task_status"):
                await nursery.start(child)
            assert nursery._pending_starts == 0

    run(main)


def test_repr_of_the_status():
    async def child(*, task_status):
        reprs.append(repr(task_status))
        task_status.started()

    reprs = []

    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(child)

    run(main)
    assert reprs[0].startswith("<Task status object at 0x")


def test_the_status_has_a_dict():
    async def child(*, task_status):
        orig = task_status.started

        def started(value=None):
            calls.append(value)
            orig(value)

        task_status.started = started
        task_status.started(5)

    calls = []

    async def main():
        async with trio.open_nursery() as nursery:
            assert await nursery.start(child) == 5

    run(main)
    assert calls == [5]


def test_someone_else_may_call_started():
    async def child(*, task_status):
        statuses.append(task_status)
        await trio.sleep(5)

    async def helper():
        await trio.sleep(1)
        statuses[0].started("from elsewhere")

    statuses = []

    async def main():
        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(helper)
            assert await nursery.start(child) == "from elsewhere"
            assert trio.current_time() == begin + 1

    run_mock(main)


def test_many_starts_at_once():
    async def child(i, *, task_status):
        await trio.sleep(i % 7)
        task_status.started(i)
        await trio.sleep(1)

    async def starter(nursery, i):
        results.append((i, await nursery.start(child, i)))

    results = []

    async def main():
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as starters:
                for i in range(100):
                    starters.start_soon(starter, nursery, i)

    run_mock(main)
    assert sorted(results) == [(i, i) for i in range(100)]


def test_start_in_a_cancelled_scope_runs_to_the_first_checkpoint():
    async def child(*, task_status):
        events.append("began")
        await lowlevel.checkpoint()
        events.append("must not be reached")

    events = []

    async def main():
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                scope.cancel()
                await nursery.start(child)
            assert scope.cancelled_caught

    run(main)
    assert events == ["began"]


def test_started_is_told_by_no_instrument():
    # The child is spawned once and lives on, wherever it belongs.
    recorder = Recorder()
    tasks = []

    async def child(*, task_status):
        tasks.append(lowlevel.current_task())
        task_status.started()
        await lowlevel.checkpoint()

    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(child)

    run(main, instruments=[recorder])
    names = recorder.of(tasks[0])
    assert names.count("spawned") == 1
    assert names.count("exited") == 1


def test_an_abort_function_that_cancels_the_old_nursery_while_started_moves():
    # R27: everything is detached before anything is attached.
    async def sleeper(old, log):
        def abort(raise_cancel):
            old.cancel_scope.cancel()
            log.append(capture(raise_cancel).error.source)
            return lowlevel.Abort.SUCCEEDED

        await lowlevel.wait_task_rescheduled(abort)

    async def child(log, *, task_status):
        old = lowlevel.current_task().parent_nursery
        async with trio.open_nursery() as inner:
            for _ in range(3):
                inner.start_soon(sleeper, old, log)
            await settle()
            task_status.started("moved")

    async def main():
        log = []
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.cancel("gone")
            with trio.CancelScope(shield=True):
                await nursery.start(child, log)
        assert log == ["explicit"] * 3

    run(main)
