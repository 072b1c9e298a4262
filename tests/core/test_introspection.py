"""What can be seen of a run: reprs, the tree, stacks, statistics."""

from __future__ import annotations

import gc
import inspect
import math
import re
import traceback
import types

import pytest
from trio_asyncio_c import trio

from ._helpers import block, run, run_mock, settle

lowlevel = trio.lowlevel
ADDRESS = "0x[0-9a-f]+"


def matches(pattern, obj):
    assert re.fullmatch(pattern, repr(obj)), repr(obj)


# reprs


def test_repr_of_a_task():
    async def main():
        task = lowlevel.current_task()
        task.name = "a name"
        assert repr(task) == f"<Task 'a name' at {id(task):#x}>"

    run(main)


def test_repr_of_a_scope_through_its_life():
    # trio says trio.CancelScope, the core trio_asyncio_c.CancelScope.
    start = rf"<\w+\.CancelScope at {ADDRESS}, "
    scope = trio.CancelScope()
    matches(start + "unbound>", scope)
    assert f" {id(scope):#x}," in repr(scope)
    # Outside a run no clock tells how far a deadline is.
    matches(start + "unbound>", trio.CancelScope(deadline=5))

    async def main():
        with scope:
            matches(start + "active>", scope)
            scope.cancel()
            matches(start + "active, cancelled>", scope)
        matches(start + "exited, cancelled>", scope)
        other = trio.CancelScope(deadline=trio.current_time() + 1)
        matches(
            start + r"unbound, deadline is 1\.00 seconds from now>",
            other,
        )
        with trio.CancelScope(deadline=trio.current_time() + 1.5) as other:
            matches(start + r"active, deadline is 1\.50 seconds from now>", other)
        matches(start + r"exited, deadline is 1\.50 seconds from now>", other)
        lowlevel.current_clock().jump(2)
        matches(start + r"exited, deadline is 0\.50 seconds ago>", other)

    run(main, clock=trio.testing.MockClock())
    matches(start + "exited, cancelled>", scope)


def test_repr_of_an_unentered_scope_does_not_cancel_it():
    async def main():
        scope = trio.CancelScope(deadline=trio.current_time())
        assert "cancelled" not in repr(scope)
        with scope:
            assert "cancelled" in repr(scope)

    run_mock(main)


def test_repr_of_a_run_variable():
    matches("<RunVar name='a name'>", lowlevel.RunVar("a name"))


def test_reprs_of_the_other_types_name_them():
    async def main():
        assert "TrioToken" in repr(lowlevel.current_trio_token())
        assert "ParkingLot" in repr(lowlevel.ParkingLot())
        async with trio.open_nursery() as nursery:
            assert "Nursery" in repr(nursery)
        assert "tasks_living=3" in repr(lowlevel.current_statistics())

    run(main)


def test_abort_is_an_enum_of_two():
    assert lowlevel.Abort.SUCCEEDED is not lowlevel.Abort.FAILED
    assert {abort.name: abort.value for abort in lowlevel.Abort} == {
        "SUCCEEDED": 1,
        "FAILED": 2,
    }


# The tree


def tree(task):
    return (
        task.name,
        [
            sorted(tree(child) for child in nursery.child_tasks)
            for nursery in task.child_nurseries
        ],
    )


def test_the_tree_shows_all_tasks():
    async def child():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever, name="grandchild 1")
            nursery.start_soon(trio.sleep_forever, name="grandchild 2")

    async def main():
        lowlevel.spawn_system_task(trio.sleep_forever, name="system")
        lowlevel.current_task().name = "main"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, name="child 1")
            async with trio.open_nursery() as inner:
                inner.start_soon(trio.sleep_forever, name="child 2")
                await settle()
                shown = tree(lowlevel.current_root_task())
                inner.cancel_scope.cancel()
            nursery.cancel_scope.cancel()
        return shown

    name, nurseries = run(main)
    assert name == "<init>"
    queue, system, main_nursery = nurseries
    assert queue == [("<TrioToken.run_sync_soon task>", [])]
    assert system == [("system", [])]
    assert main_nursery == [
        (
            "main",
            [
                [("child 1", [[("grandchild 1", []), ("grandchild 2", [])]])],
                [("child 2", [])],
            ],
        )
    ]


def test_parent_nursery_is_the_way_up():
    async def main():
        root = lowlevel.current_root_task()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(block)
            (task,) = nursery.child_tasks
            chain = []
            while task is not root:
                chain.append(task)
                parent = task.parent_nursery.parent_task
                assert task in task.parent_nursery.child_tasks
                assert task.parent_nursery in parent.child_nurseries
                task = parent
            assert len(chain) == 2
            with pytest.raises(AttributeError):
                task.parent_nursery = None
            nursery.cancel_scope.cancel()

    run(main)


def test_private_names_that_libraries_read():
    # Other libraries look at these; they are the same objects as the public ones.
    async def main():
        task = lowlevel.current_task()
        assert task._cancel_status.effectively_cancelled is False
        assert task._parent_nursery is task.parent_nursery
        assert task._child_nurseries == []
        assert task._eventual_parent_nursery is None
        assert task._ki_protected is False
        assert isinstance(task._cancel_points, int)
        assert isinstance(task._schedule_points, int)
        async with trio.open_nursery() as nursery:
            assert task._child_nurseries == [nursery]
            assert nursery._parent_task is task
            assert nursery._strict_exception_groups is True
            assert nursery._pending_starts == 0
            assert nursery._pending_excs == []
            assert nursery._closed is False
            assert set(nursery._children) == set()
            scope = nursery.cancel_scope
            assert scope._has_been_entered is True
            assert scope._cancel_called is False
            assert scope._shield is False
            scope.cancel()
            assert scope._cancel_called is True
            assert task._cancel_status.effectively_cancelled is True
        assert nursery._closed is True
        manager = trio.open_nursery()
        async with manager as nursery:
            assert manager._nursery is nursery

    run(main)


# Stacks


async def outer():
    await middle()


async def middle():
    await inner()


async def inner():
    await block()


def frames_of(task):
    return [
        (frame.f_code.co_name, lineno) for frame, lineno in task.iter_await_frames()
    ]


def test_iter_await_frames_walks_from_the_outermost_coroutine():
    # R50
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outer)
            (task,) = nursery.child_tasks
            assert [name for name, _ in frames_of(task)] == ["outer"]
            await settle()
            frames = frames_of(task)
            names = [name for name, _ in frames]
            assert names[:4] == ["outer", "middle", "inner", "block"]
            for (name, lineno), fn in zip(frames, [outer, middle, inner], strict=False):
                assert name == fn.__name__
                assert lineno == fn.__code__.co_firstlineno + 1
            summary = traceback.StackSummary.extract(task.iter_await_frames())
            assert "await middle()" in "".join(summary.format())
            nursery.cancel_scope.cancel()
        assert list(task.iter_await_frames()) == []

    run(main)


def test_iter_await_frames_of_tasks_in_every_wait():
    # R50: a C awaitable at the end simply ends the walk.
    lot = lowlevel.ParkingLot()

    async def wait(fn):
        await fn()

    async def nursery_wait():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)

    async def main():
        async with trio.open_nursery() as nursery:
            for fn in [
                trio.sleep_forever,
                lambda: trio.sleep(5),
                lot.park,
                nursery_wait,
                trio.Event().wait,
            ]:
                nursery.start_soon(wait, fn)
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(lot.park)
            await settle()
            for task in nursery.child_tasks:
                frames = frames_of(task)
                if task.name.endswith("wait"):
                    assert frames[0][0] == "wait"
                else:
                    assert frames
            for task in [
                lowlevel.current_root_task(),
                *(
                    child
                    for system in lowlevel.current_root_task().child_nurseries
                    for child in system.child_tasks
                ),
            ]:
                frames_of(task)
            nursery.cancel_scope.cancel()

    run(main)


def test_iter_await_frames_through_generator_based_coroutines():
    # R50
    @types.coroutine
    def generator():
        yield from block().__await__()

    async def user():
        await generator()

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(user)
            (task,) = nursery.child_tasks
            await settle()
            assert [name for name, _ in frames_of(task)][:2] == ["user", "generator"]
            nursery.cancel_scope.cancel()

    run(main)


def test_iter_await_frames_through_async_generators():
    # R50
    async def agen():
        await block()
        yield 1

    async def user():
        async for _ in agen():
            pass

    async def thrower():
        generator = resting()
        await generator.asend(None)
        try:
            await generator.athrow(KeyError)
        finally:
            await generator.aclose()

    async def resting():
        try:
            yield 1
        except KeyError:
            await block()

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(user, name="user")
            nursery.start_soon(thrower, name="thrower")
            await settle()
            names = {
                task.name: [name for name, _ in frames_of(task)]
                for task in nursery.child_tasks
            }
            assert names["user"][:3] == ["user", "agen", "block"]
            assert names["thrower"][:3] == ["thrower", "resting", "block"]
            nursery.cancel_scope.cancel()

    run(main)


def test_iter_await_frames_of_the_running_task():
    async def main():
        names = [name for name, _ in frames_of(lowlevel.current_task())]
        assert names[0] == "main"

    run(main)


def test_coro_is_a_coroutine_that_inspect_knows():
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(block)
            (task,) = nursery.child_tasks
            assert inspect.iscoroutine(task.coro)
            assert inspect.getcoroutinestate(task.coro) == inspect.CORO_CREATED
            await settle()
            assert inspect.getcoroutinestate(task.coro) == inspect.CORO_SUSPENDED
            assert task.coro.cr_frame is not None
            assert task.coro.cr_await is not None
            nursery.cancel_scope.cancel()
        assert inspect.getcoroutinestate(task.coro) == inspect.CORO_CLOSED
        mine = lowlevel.current_task().coro
        assert inspect.getcoroutinestate(mine) == inspect.CORO_RUNNING

    run(main)


# Statistics


def test_run_statistics():
    async def main():
        await settle()
        statistics = lowlevel.current_statistics()
        assert isinstance(statistics, lowlevel.RunStatistics)
        assert statistics.tasks_living == 3
        assert statistics.tasks_runnable == 0
        assert statistics.seconds_to_next_deadline == math.inf
        assert statistics.run_sync_soon_queue_size == 0
        assert isinstance(statistics.io_statistics.backend, str)
        assert statistics.io_statistics.tasks_waiting_write == 0
        assert statistics.io_statistics.tasks_waiting_read >= 0
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(trio.sleep_forever)
            statistics = lowlevel.current_statistics()
            assert statistics.tasks_living == 7
            assert statistics.tasks_runnable == 4
            await settle()
            assert lowlevel.current_statistics().tasks_runnable == 0
            nursery.cancel_scope.cancel()
            assert lowlevel.current_statistics().tasks_runnable == 4
        assert lowlevel.current_statistics().tasks_living == 3

    run(main)


def test_statistics_do_not_change_afterwards():
    async def main():
        await settle()
        statistics = lowlevel.current_statistics()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(block)
            assert statistics.tasks_living == 3
            nursery.cancel_scope.cancel()
        with pytest.raises(AttributeError):
            statistics.tasks_living = 5

    run(main)


def test_seconds_to_next_deadline():
    async def main():
        def seconds():
            return lowlevel.current_statistics().seconds_to_next_deadline

        start = trio.current_time()
        assert seconds() == math.inf
        with trio.CancelScope(deadline=start + 10):
            assert seconds() == 10
            with trio.CancelScope(deadline=start + 5):
                assert seconds() == 5
                lowlevel.current_clock().jump(7)
                assert seconds() == -2
            assert seconds() == 3
        assert seconds() == math.inf

    run(main, clock=trio.testing.MockClock())


def test_run_sync_soon_is_not_runnable_until_the_poll():
    # R31: its task is woken through the poller.
    async def main():
        await settle()
        lowlevel.current_trio_token().run_sync_soon(int)
        statistics = lowlevel.current_statistics()
        assert statistics.tasks_runnable == 0
        assert statistics.run_sync_soon_queue_size == 1

    run(main)


def test_no_object_is_left_uncollectable_by_looking():
    async def main():
        lowlevel.current_statistics()
        list(lowlevel.current_task().iter_await_frames())

    run(main)
    gc.collect()
    assert gc.garbage == []


# Signatures and names


@pytest.mark.parametrize(
    "name",
    [
        "run",
        "sleep",
        "sleep_until",
        "sleep_forever",
        "open_nursery",
        "current_time",
        "current_effective_deadline",
        "CancelScope",
        "Nursery",
        "Cancelled",
        "move_on_after",
        "fail_after",
    ],
)
def test_public_objects_have_names_and_docs(name):
    obj = getattr(trio, name)
    assert obj.__name__ == name
    assert obj.__doc__


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint",
        "checkpoint_if_cancelled",
        "cancel_shielded_checkpoint",
        "wait_task_rescheduled",
        "reschedule",
        "current_task",
        "current_root_task",
        "current_statistics",
        "current_clock",
        "current_trio_token",
        "in_trio_run",
        "in_trio_task",
        "wait_readable",
        "wait_writable",
        "notify_closing",
        "spawn_system_task",
        "add_instrument",
        "remove_instrument",
        "permanently_detach_coroutine_object",
        "temporarily_detach_coroutine_object",
        "reattach_detached_coroutine_object",
        "start_thread_soon",
        "add_parking_lot_breaker",
        "remove_parking_lot_breaker",
        "Task",
        "ParkingLot",
        "ParkingLotStatistics",
        "RunVar",
        "RunVarToken",
        "TrioToken",
        "RunStatistics",
        "Abort",
        "enable_ki_protection",
        "disable_ki_protection",
        "currently_ki_protected",
    ],
)
def test_lowlevel_objects_have_names(name):
    assert getattr(lowlevel, name).__name__ == name


@pytest.mark.parametrize(
    ("fn", "parameters"),
    [
        ("sleep", ["seconds"]),
        ("sleep_until", ["deadline"]),
        ("open_nursery", ["strict_exception_groups"]),
    ],
)
def test_signatures_can_be_read(fn, parameters):
    assert list(inspect.signature(getattr(trio, fn)).parameters) == parameters


def test_arguments_can_be_given_by_name():
    async def main():
        await trio.sleep(seconds=0)
        await trio.sleep_until(deadline=0)
        await trio.testing.wait_all_tasks_blocked(cushion=0.0)
        async with trio.open_nursery(strict_exception_groups=None) as nursery:
            nursery.start_soon(async_fn=trio.sleep_forever, name="x")
            nursery.cancel_scope.cancel(reason="done")
        task = lowlevel.current_task()
        lowlevel.current_trio_token().run_sync_soon(
            lambda: lowlevel.reschedule(task=task)
        )
        await lowlevel.wait_task_rescheduled(
            abort_func=lambda _: lowlevel.Abort.SUCCEEDED
        )

    run(main)
