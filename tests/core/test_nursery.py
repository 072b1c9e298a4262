"""Nurseries: opening, closing, what they collect and whom they cancel."""

from __future__ import annotations

import gc
import traceback
import weakref

import pytest
from trio_asyncio_c import trio

from ._helpers import (
    Error,
    Value,
    block,
    effectively_cancelled,
    is_cancelled,
    run,
    run_loose,
    run_mock,
    settle,
)

lowlevel = trio.lowlevel


async def fail(exc):
    raise exc


async def wait_and_fail(exc):
    try:
        await trio.sleep_forever()
    finally:
        raise exc


def test_the_block_ends_when_all_children_have():
    # R25
    async def child(delay):
        await trio.sleep(delay)
        done.append(delay)

    done = []

    async def main():
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for delay in [3, 1, 2]:
                nursery.start_soon(child, delay)
            done.append("body")
        assert trio.current_time() == start + 3
        assert done == ["body", 1, 2, 3]

    run_mock(main)


def test_an_empty_nursery():
    # R24
    async def main():
        async with trio.open_nursery() as nursery:
            assert nursery.child_tasks == frozenset()
        assert nursery.child_tasks == frozenset()

    run(main)


def test_leaving_an_empty_nursery_is_no_cancel_point():
    # R24
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            async with trio.open_nursery():
                pass
            reached.append(1)
        assert not scope.cancelled_caught

    reached = []
    run(main)
    assert reached == [1]


def test_leaving_an_empty_nursery_lets_others_run():
    # R24
    async def other():
        ran.append(1)

    ran = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(2):
                async with trio.open_nursery():
                    pass
            assert ran == [1]

    run(main)


def test_a_waiting_nursery_discards_cancelled():
    # R24: the children end well, so the block does, too.
    async def child():
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        done.append(1)

    done = []

    async def main():
        with trio.move_on_after(0.5) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)
            done.append("after")
        assert scope.cancel_called
        assert not scope.cancelled_caught

    run_mock(main)
    assert done == [1, "after"]


def test_a_failing_child_cancels_the_others():
    async def child():
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.append(1)
            raise

    cancelled = []

    async def main():
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(child)
            await settle()
            nursery.start_soon(fail, ValueError(1))
            await trio.sleep_forever()

    with pytest.RaisesGroup(ValueError, match="^Exceptions from Trio nursery"):
        run(main)
    assert cancelled == [1] * 3


def test_a_failing_body_cancels_the_children():
    async def child():
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(1)

    cancelled = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await settle()
            raise KeyError("body")

    with pytest.RaisesGroup(KeyError):
        run(main)
    assert cancelled == [1]


def test_the_body_failing_alone_is_a_group_nonetheless():
    # R24
    error = KeyError("body")

    async def main():
        async with trio.open_nursery():
            raise error

    with pytest.raises(ExceptionGroup) as info:
        run(main)
    assert info.value.exceptions == (error,)
    assert info.value.message == "Exceptions from Trio nursery"


def test_exceptions_come_in_the_order_of_their_arrival():
    # R24
    async def failing(delay):
        with trio.CancelScope(shield=True):
            await trio.sleep(delay)
        raise ValueError(delay)

    async def main():
        async with trio.open_nursery() as nursery:
            for delay in [3, 1, 4, 2]:
                nursery.start_soon(failing, delay)

    with pytest.raises(ExceptionGroup) as info:
        run_mock(main)
    assert [exc.args[0] for exc in info.value.exceptions] == [1, 2, 3, 4]


def test_base_exceptions_make_a_base_exception_group():
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, SystemExit(3))
            nursery.start_soon(wait_and_fail, ValueError())

    with pytest.raises(BaseExceptionGroup) as info:
        run(main)
    assert not isinstance(info.value, ExceptionGroup)
    assert {type(exc) for exc in info.value.exceptions} == {SystemExit, ValueError}


def test_groups_nest_as_nurseries_do():
    async def inner():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, ValueError(1))

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inner)

    with pytest.RaisesGroup(pytest.RaisesGroup(ValueError)):
        run(main)


def test_cancelled_is_no_part_of_the_group():
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fail, ValueError(1))
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as info:
        run(main)
    assert len(info.value.exceptions) == 1


def test_the_children_of_a_cancelled_nursery_end_it_silently():
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)
            nursery.cancel_scope.cancel()
        assert nursery.cancel_scope.cancelled_caught

    run(main)


def test_an_exception_of_the_body_has_no_context_of_ours():
    async def main():
        try:
            async with trio.open_nursery():
                raise KeyError("body")
        except ExceptionGroup as group:
            assert group.__context__ is not group
            assert group.exceptions[0].__context__ is None
            assert group.exceptions[0].__cause__ is None
            raise ValueError("handler") from None

    with pytest.raises(ValueError, match="handler"):
        run(main)


def test_an_open_group_in_a_handler_has_the_handled_exception_as_context():
    async def main():
        try:
            raise LookupError("first")
        except LookupError as first:
            with pytest.RaisesGroup(ValueError) as info:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(fail, ValueError())
            assert info.value.__context__ in (first, None)
            assert info.value.exceptions[0].__context__ is None

    run(main)


# Loose nurseries


LOOSE_NOTE_START = 'This is a "loose" ExceptionGroup, and may be collapsed by Trio'


def test_a_loose_nursery_raises_a_single_exception_bare():
    # R24
    error = ValueError(1)

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, error)
            nursery.start_soon(trio.sleep_forever)

    with pytest.raises(ValueError) as info:
        run_loose(main)
    assert info.value is error


def test_a_loose_group_of_several_has_a_note():
    # R24
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, ValueError())
            nursery.start_soon(wait_and_fail, KeyError())

    with pytest.RaisesGroup(ValueError, KeyError) as info:
        run_loose(main)
    (note,) = info.value.__notes__
    assert note.startswith(LOOSE_NOTE_START)


def test_a_loose_group_collapses_when_cancelled_leaves_it():
    # R19: only groups that carry the note.
    async def main():
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                scope.cancel()
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("left")

    with pytest.raises(ValueError, match="left"):
        run_loose(main)
    with pytest.RaisesGroup(ValueError):
        run(main)


def test_a_nursery_can_be_strict_in_a_loose_run():
    # R24
    async def main():
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            nursery.start_soon(fail, ValueError())

    with pytest.RaisesGroup(ValueError):
        run_loose(main)


def test_inherited_looseness_does_not_warn():
    # R48: only what is said explicitly.
    async def main():
        async with trio.open_nursery():
            pass

    run_loose(main)


# Closing


def test_a_closed_nursery_takes_no_more():
    # R25
    async def main():
        async with trio.open_nursery() as nursery:
            pass
        with pytest.raises(RuntimeError, match="^Nursery is closed to new arrivals$"):
            nursery.start_soon(block)
        with pytest.raises(RuntimeError, match="^Nursery is closed to new arrivals$"):
            await nursery.start(block)

    run(main)


def test_a_child_can_spawn_siblings_while_the_parent_waits():
    # R25
    async def child(nursery, depth):
        count.append(depth)
        if depth:
            nursery.start_soon(child, nursery, depth - 1)

    count = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, nursery, 5)

    run(main)
    assert count == [5, 4, 3, 2, 1, 0]


def test_a_nursery_is_closed_once_its_last_child_has_ended():
    # R25: though the parent has not run yet.
    nurseries = []
    errors = []

    class Spawn(trio.abc.Instrument):
        def task_exited(self, task):
            if task.name == "last":
                try:
                    nurseries[0].start_soon(block)
                except RuntimeError as exc:
                    errors.append(str(exc))

    async def main():
        async with trio.open_nursery() as nursery:
            nurseries.append(nursery)
            nursery.start_soon(trio.sleep, 0, name="last")

    run(main, instruments=[Spawn()])
    assert errors == ["Nursery is closed to new arrivals"]


def test_an_outer_task_can_spawn_into_a_nursery_that_waits():
    async def child():
        done.append(1)

    async def keeper(nurseries, event):
        async with trio.open_nursery() as nursery:
            nurseries.append(nursery)
            nursery.start_soon(event.wait)

    done = []

    async def main():
        nurseries, event = [], trio.Event()
        async with trio.open_nursery() as outer:
            outer.start_soon(keeper, nurseries, event)
            await settle()
            nurseries[0].start_soon(child)
            await settle()
            assert done == [1]
            event.set()

    run(main)


def test_a_task_spawned_into_a_cancelled_nursery_runs_to_its_first_checkpoint():
    # R23
    async def child():
        steps.append("started")
        await lowlevel.checkpoint()
        steps.append("must not be reached")

    steps = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.cancel()
            nursery.start_soon(child)

    run(main)
    assert steps == ["started"]


def test_spawning_fails_cleanly_when_the_function_raises():
    def bad():
        raise LookupError("sync part")

    async def main():
        async with trio.open_nursery() as nursery:
            with pytest.raises(LookupError, match="sync part"):
                nursery.start_soon(bad)
            assert nursery.child_tasks == frozenset()
        assert lowlevel.current_statistics().tasks_living == 3

    run(main)


def test_start_soon_takes_no_stray_keywords():
    async def main():
        async with trio.open_nursery() as nursery:
            with pytest.raises(TypeError):
                nursery.start_soon(block, bogus=1)
            with pytest.raises(TypeError):
                nursery.start_soon()

    run(main)


# The tree


def test_attributes():
    async def main():
        async with trio.open_nursery() as nursery:
            assert nursery.parent_task is lowlevel.current_task()
            assert isinstance(nursery.cancel_scope, trio.CancelScope)
            assert not nursery._closed
            nursery.start_soon(trio.sleep_forever)
            (child,) = nursery.child_tasks
            assert isinstance(nursery.child_tasks, frozenset)
            assert child.parent_nursery is nursery
            assert child.eventual_parent_nursery is None
            with pytest.raises(AttributeError):
                nursery.parent_task = None
            nursery.cancel_scope.cancel()
        assert nursery._closed
        assert nursery.child_tasks == frozenset()

    run(main)


def test_child_nurseries_lists_outer_ones_first():
    async def main():
        task = lowlevel.current_task()
        assert task.child_nurseries == []
        async with trio.open_nursery() as outer:
            assert task.child_nurseries == [outer]
            async with trio.open_nursery() as inner:
                nurseries = task.child_nurseries
                assert nurseries == [outer, inner]
                # A list of its own, which may be changed.
                nurseries.clear()
                assert task.child_nurseries == [outer, inner]
            assert task.child_nurseries == [outer]
        assert task.child_nurseries == []

    run(main)


def test_nursery_has_no_constructor_and_no_subclasses():
    with pytest.raises(TypeError):
        trio.Nursery()
    with pytest.raises(TypeError):
        trio.Nursery(None, None, True)
    with pytest.raises(TypeError):
        type("Sub", (trio.Nursery,), {})


def test_nurseries_have_a_dict_and_weak_references():
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.extra = 1
            assert nursery.extra == 1
            assert weakref.ref(nursery)() is nursery
            assert {nursery: 1}[nursery] == 1

            seen = []
            nursery.start_soon = lambda *args: seen.append(args)
            nursery.start_soon(1, 2)
            type(nursery).start_soon(nursery, trio.sleep, 0)
            assert len(nursery.child_tasks) == 1
        assert seen == [(1, 2)]

    run(main)


def test_open_nursery_with_a_plain_with():
    # R48
    async def main():
        with (
            pytest.raises(
                RuntimeError,
                match=r"^use 'async with open_nursery\(...\)', "
                r"not 'with open_nursery\(...\)'$",
            ),
            trio.open_nursery(),
        ):
            raise AssertionError

    run(main)


def test_open_nursery_outside_a_run():
    # R45, R46: trio's is an AttributeError.
    with pytest.raises((AttributeError, RuntimeError)):
        trio.open_nursery()


def test_the_scope_of_a_nursery_is_an_ordinary_scope():
    async def main():
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = start + 5
            nursery.start_soon(trio.sleep_forever)
        assert nursery.cancel_scope.cancelled_caught
        assert trio.current_time() == start + 5

        with trio.CancelScope() as outer:
            async with trio.open_nursery() as nursery:
                nursery.cancel_scope.shield = True
                outer.cancel()
                await trio.sleep(1)
                nursery.cancel_scope.shield = False
                assert effectively_cancelled()

    run_mock(main)


def test_the_body_is_inside_the_scope():
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.cancel()
            assert await is_cancelled()
            await trio.sleep_forever()
        assert nursery.cancel_scope.cancelled_caught

    run(main)


def test_return_break_and_continue_leave_the_block_well():
    async def returning():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0)
            return 5

    async def main():
        assert await returning() == 5
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 0)
                continue
        while True:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 0)
                break

    run(main)


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
def test_the_stop_exceptions_of_the_body_pass_as_themselves(kind):
    async def main():
        with pytest.RaisesGroup(kind):
            async with trio.open_nursery():
                raise kind

    run(main)


# Misuse


def test_leaving_nurseries_in_the_wrong_order():
    # R25
    async def main():
        outer = trio.open_nursery()
        inner = trio.open_nursery()
        await outer.__aenter__()
        await inner.__aenter__()
        with pytest.raises(AssertionError, match="^Nursery misnesting detected!$"):
            await outer.__aexit__(None, None, None)
        await settle()

    with pytest.raises(
        RuntimeError, match="^Nursery stack corrupted: Nursery surrounding <Task "
    ):
        run(main)


def test_a_task_that_ends_inside_its_nursery():
    # R28: the nursery's children are cancelled, the task ends with an error.
    async def child():
        try:
            await trio.sleep_forever()
        except trio.Cancelled as exc:
            seen.append((exc.source, exc.reason))
            raise

    seen = []

    async def careless():
        nursery = await trio.open_nursery().__aenter__()
        nurseries.append(nursery)
        nursery.start_soon(child)
        await settle()

    nurseries = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(careless)

    with pytest.RaisesGroup(
        pytest.RaisesExc(
            RuntimeError,
            match="^Nursery stack corrupted: Nursery surrounding <Task .*careless.*> "
            "was closed before the task exited",
        )
    ):
        run(main)
    assert seen == [
        (
            "nursery",
            "Parent Task exited prematurely, abandoning this nursery "
            "without exiting it properly.",
        )
    ]
    assert nurseries[0]._closed


def test_a_task_that_fails_inside_its_abandoned_nursery_keeps_its_error():
    # R28
    async def careless():
        await trio.open_nursery().__aenter__()
        raise KeyError("own error")

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(careless)

    with pytest.RaisesGroup(
        pytest.RaisesExc(RuntimeError, match="^Nursery stack corrupted")
    ) as info:
        run(main)
    assert isinstance(info.value.exceptions[0].__context__, KeyError)


def test_entering_a_nursery_in_one_task_and_leaving_it_in_another():
    # R25
    async def leave(manager):
        with pytest.raises(AssertionError, match="^Nursery misnesting detected!$"):
            await manager.__aexit__(None, None, None)

    async def main():
        manager = trio.open_nursery()
        await manager.__aenter__()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave, manager)

    with pytest.raises(AssertionError, match="^Nursery misnesting detected!$"):
        run(main)


def test_many_children_that_fail_together():
    async def child(i):
        await event.wait()
        raise ValueError(i)

    event = trio.Event()

    async def main():
        async with trio.open_nursery() as nursery:
            for i in range(500):
                nursery.start_soon(child, i)
            await settle()
            event.set()

    with pytest.raises(ExceptionGroup) as info:
        run(main)
    numbers = sorted(exc.args[0] for exc in info.value.exceptions)
    # All of them were runnable when the first one failed.
    assert numbers == list(range(500))


def test_nurseries_nest_deeply():
    async def nest(depth):
        if depth:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(nest, depth - 1)
        else:
            reached.append(1)
            await trio.sleep_forever()

    reached = []

    async def main():
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(nest, 300)
                while not reached:
                    await settle()
                scope.cancel()
        assert scope.cancelled_caught

    run(main)


def test_a_child_woken_with_an_error_fails_the_nursery():
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(block)
            nursery.start_soon(block)
            await settle()
            first, second = nursery.child_tasks
            lowlevel.reschedule(first, Value(1))
            lowlevel.reschedule(second, Error(KeyError("woken")))

    with pytest.RaisesGroup(KeyError):
        run(main)


class LeavingError(Exception):
    """Of a class in Python, which has weak references."""


def leave_by_body():
    raise LeavingError


async def leave_by_child():
    raise LeavingError


async def leave_nested():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave_by_child)
        await trio.sleep_forever()


@pytest.mark.parametrize("how", ["body", "child", "nested", "start"])
def test_a_group_s_traceback_ends_where_it_left_the_nursery(how):
    async def main():
        async with trio.open_nursery() as nursery:
            if how == "body":
                leave_by_body()
            elif how == "start":
                await nursery.start(leave_nested)
            nursery.start_soon(leave_by_child if how == "child" else leave_nested)

    with pytest.raises(ExceptionGroup) as caught:
        run(main)
    names = [entry.name for entry in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-2:] == ["main", "__aexit__"]


def test_the_frame_of_a_nursery_s_end_changes_no_context():
    async def main():
        try:
            raise KeyError("outer")
        except KeyError:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(leave_by_child)

    with pytest.raises(ExceptionGroup) as caught:
        run(main)
    assert caught.value.__context__ is None  # as in Trio
    assert caught.value.exceptions[0].__context__ is None


def test_a_group_is_freed_without_the_collector():
    async def main():
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(leave_by_child)
        except ExceptionGroup as group:
            return weakref.ref(group.exceptions[0])

    gc.collect()
    gc.disable()
    try:
        assert run(main)() is None
    finally:
        gc.enable()
