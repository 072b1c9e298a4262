"""TaskGroup: children of an asyncio Task in a cancel scope of their own."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import weakref
from asyncio import CancelledError

import pytest
from trio_asyncio_c import (
    CancelScope,
    TaskGroup,
    TooSlowError,
    current_effective_deadline,
    fail_after,
    move_on_after,
)

from ._scoped import Eager, call_soon, in_tasks, now, this_task

INF = float("inf")


async def fail(error, after=0):
    await asyncio.sleep(after)
    raise error


async def note_cancels(seen, awaits=1):
    """Wait for ever, once and again, and note each CancelledError."""
    for _ in range(awaits):
        try:
            await asyncio.sleep(1000)
        except CancelledError as error:
            seen.append(error)


def flat(group):
    return [(type(e), str(e)) for e in group.exceptions]


# ---- children ----


@in_tasks
async def test_the_block_waits_for_its_children():
    began = now()
    async with TaskGroup() as group:
        tasks = [group.create_task(asyncio.sleep(n, n)) for n in (1, 3, 2)]
    assert now() == began + 3
    assert [task.result() for task in tasks] == [1, 3, 2]


@in_tasks
async def test_it_is_one_of_asyncios():
    group = TaskGroup()
    assert isinstance(group, asyncio.TaskGroup)
    assert repr(group) == "<TaskGroup>"
    async with group as entered:
        assert entered is group
        assert repr(group) == "<TaskGroup entered>"
        task = group.create_task(asyncio.sleep(1))
        assert isinstance(task, (asyncio.Task, asyncio.tasks._PyTask))
        assert repr(group) == "<TaskGroup tasks=1 entered>"
        group.cancel()
        assert repr(group) == "<TaskGroup tasks=1 cancelling>"


@in_tasks
async def test_names_and_contexts_of_children():
    var = contextvars.ContextVar("var", default="outside")
    context = contextvars.copy_context()
    context.run(var.set, "inside")

    async def child():
        return var.get()

    async def other(name):
        await asyncio.sleep(0)  # a factory may name a Task after its first step
        names.append(this_task().get_name())

    names = []
    async with TaskGroup() as group:
        named = group.create_task(child(), name="known")
        unnamed = group.create_task(child(), context=context)
        group.start_soon(other, 1)
        group.start_soon(other, 2, name="given")
        group.create_task(child(), name=None)
    assert named.get_name() == "known"
    assert unnamed.get_name().endswith("child")
    assert (named.result(), unnamed.result()) == ("outside", "inside")
    assert names[0].endswith("other") and names[1] == "given"


@in_tasks
async def test_children_may_start_children_while_the_block_waits():
    async def child(depth):
        await asyncio.sleep(1)
        if depth:
            group.start_soon(child, depth - 1)
        seen.append(depth)

    seen = []
    began = now()
    async with TaskGroup() as group:
        group.start_soon(child, 3)
    assert seen == [3, 2, 1, 0] and now() == began + 4


@in_tasks
async def test_an_empty_group_yields_once():
    seen = []
    call_soon(seen.append, 1)
    async with TaskGroup():
        assert not seen
    assert seen == [1]


@in_tasks
async def test_an_empty_group_is_left_in_a_cancelled_scope():
    with CancelScope() as scope:
        scope.cancel()
        async with TaskGroup():
            pass
        reached = True
        await asyncio.sleep(0)
        reached = False
    assert reached and scope.cancelled_caught


# ---- scopes ----


@in_tasks
async def test_tg_children_inherit_scope_and_deadline():
    async def child(seen):
        deadlines.append(current_effective_deadline())
        await note_cancels(seen, 3)

    first, second, deadlines = [], [], []
    began = now()
    with move_on_after(5) as scope:
        async with TaskGroup() as group:
            group.start_soon(child, first)
            group.create_task(child(second))
    assert now() == began + 5
    assert deadlines == [began + 5] * 2
    assert len(first) == len(second) == 3, "cancelled at each await"
    assert scope.cancelled_caught and this_task().cancelling() == 0


@in_tasks
async def test_the_scope_is_cancelled_while_only_children_wait():
    with move_on_after(1) as scope:
        async with TaskGroup() as group:
            group.start_soon(asyncio.sleep, 10)
    assert scope.cancelled_caught
    with pytest.raises(TooSlowError):
        with fail_after(1):
            async with TaskGroup() as group:
                group.start_soon(asyncio.sleep, 10)
    assert this_task().cancelling() == 0


@in_tasks
async def test_a_deadline_of_the_group_itself():
    began = now()
    async with TaskGroup() as group:
        group.cancel_scope.deadline = began + 2
        group.start_soon(asyncio.sleep, 10)
    assert group.cancel_scope.cancelled_caught and now() == began + 2


@in_tasks
async def test_a_shield_of_the_host_does_not_hold_for_children():
    seen = []
    async with TaskGroup() as group:
        group.start_soon(note_cancels, seen)
        with CancelScope(shield=True):
            group.cancel()
            await asyncio.sleep(1)
            assert len(seen) == 1


@in_tasks
async def test_a_shield_outside_of_the_group_holds_for_children():
    with move_on_after(1) as scope:
        with CancelScope(shield=True):
            async with TaskGroup() as group:
                task = group.create_task(asyncio.sleep(3, "done"))
        assert task.result() == "done"
        await asyncio.sleep(0)
    assert scope.cancelled_caught


@in_tasks
async def test_a_scope_of_a_child_is_in_the_groups():
    async def child():
        with move_on_after(20) as scope:
            assert current_effective_deadline() == now() + 5
            await asyncio.sleep(10)
        raise AssertionError(f"{scope} ended what was the group's")

    with move_on_after(5) as scope:
        async with TaskGroup() as group:
            group.start_soon(child)
    assert scope.cancelled_caught


@in_tasks
async def test_new_child_runs_to_first_block():
    async def child():
        seen.append("begun")
        await asyncio.sleep(0)
        seen.append("not reached")

    seen = []
    async with TaskGroup() as group:
        group.cancel()
        group.start_soon(child)
    assert seen == ["begun"]


@in_tasks
async def test_plain_tasks_inside_are_not_children():
    async with TaskGroup() as group:
        task = asyncio.create_task(asyncio.sleep(5, "done"))
        group.cancel()
    assert await task == "done"


# ---- cancel() ----


@in_tasks
async def test_cancel_leaves_the_block_silently():
    seen = []
    async with TaskGroup() as group:
        group.start_soon(note_cancels, seen)
        await asyncio.sleep(1)
        group.cancel("enough")
        await asyncio.sleep(1000)
        raise AssertionError("not reached")
    assert group.cancel_scope.cancelled_caught
    assert str(seen[0]).endswith("enough")
    assert this_task().cancelling() == 0


@in_tasks
async def test_cancel_before_the_entry():
    group = TaskGroup()
    group.cancel()
    async with group:
        reached = True
        await asyncio.sleep(1)
        reached = False
    assert reached


@in_tasks
async def test_a_child_that_cancels_the_group_is_reached():
    async def child():
        group.cancel()
        seen.append("running")
        await asyncio.sleep(1000)
        seen.append("not reached")

    seen = []
    async with TaskGroup() as group:
        group.start_soon(child)
    assert seen == ["running"]


# ---- errors ----


@in_tasks
async def test_tg_first_error_cancels_all():
    seen = []
    with pytest.raises(ExceptionGroup) as caught:
        async with TaskGroup() as group:
            group.start_soon(note_cancels, seen)
            group.start_soon(fail, ValueError("first"), 1)
            try:
                await asyncio.sleep(1000)
            finally:
                raise KeyError("body")
    assert caught.value.message == "unhandled errors in a TaskGroup"
    assert flat(caught.value) == [(ValueError, "first"), (KeyError, "'body'")]
    assert caught.value.__suppress_context__
    assert len(seen) == 1 and this_task().cancelling() == 0
    await asyncio.sleep(0)


@in_tasks
async def test_an_error_of_the_body_alone():
    seen = []
    with pytest.raises(ExceptionGroup) as caught:
        async with TaskGroup() as group:
            group.start_soon(note_cancels, seen)
            await asyncio.sleep(1)
            raise ValueError("body")
    assert flat(caught.value) == [(ValueError, "body")]
    assert len(seen) == 1


@in_tasks
async def test_an_error_that_is_no_exception():
    class Odd(BaseException):
        pass

    with pytest.raises(BaseExceptionGroup) as caught:
        async with TaskGroup() as group:
            group.start_soon(fail, Odd("odd"))
    assert not isinstance(caught.value, ExceptionGroup)


@in_tasks
async def test_errors_of_the_cleanup_are_collected():
    async def child(n):
        try:
            await asyncio.sleep(1000)
        except CancelledError:
            raise ValueError(n) from None

    with pytest.raises(ExceptionGroup) as caught:
        async with TaskGroup() as group:
            group.start_soon(child, 1)
            group.start_soon(child, 2)
            await asyncio.sleep(1)
            group.cancel()
    assert sorted(str(e) for e in caught.value.exceptions) == ["1", "2"]


@in_tasks
async def test_tg_own_child_cancel_is_dropped():
    async with TaskGroup() as group:
        other = group.create_task(asyncio.sleep(2, "done"))
        task = group.create_task(asyncio.sleep(1000))
        await asyncio.sleep(1)
        task.cancel()
    assert task.cancelled() and other.result() == "done"
    assert not group.cancel_scope.cancel_called


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_interrupts_are_raised_bare(loop, kind):
    async def child():
        raise kind("out")

    async def main():
        async with TaskGroup() as group:
            group.create_task(note_cancels(seen))
            group.create_task(child())
            await asyncio.sleep(1000)

    seen = []
    task = loop.create_task(main())
    with pytest.raises(kind, match="out"):  # of the child's step
        loop.run_until_complete(task)
    assert not task.done()
    with pytest.raises(kind, match="out"):
        loop.run_until_complete(task)
    assert type(task.exception()) is kind and len(seen) == 1


@in_tasks
async def test_an_interrupt_in_the_body_is_raised_bare():
    seen = []
    with pytest.raises(SystemExit):
        async with TaskGroup() as group:
            group.start_soon(note_cancels, seen)
            group.start_soon(fail, ValueError(), 0)
            await asyncio.sleep(0)
            raise SystemExit
    assert len(seen) <= 1


@in_tasks
async def test_a_generator_that_is_closed_inside():
    seen = []

    async def generator():
        async with TaskGroup() as group:
            group.start_soon(note_cancels, seen)
            await asyncio.sleep(1)
            yield 1

    async for _ in (iterator := generator()):
        break
    await iterator.aclose()
    assert len(seen) == 1


@in_tasks
async def test_tg_no_refcycles():
    class Error(Exception):
        pass

    async def child():
        await asyncio.sleep(0)  # or there are the frames of whoever makes it
        raise Error

    async def children_fail():
        try:
            async with TaskGroup() as group:
                group.start_soon(child)
                await asyncio.sleep(10)
        except ExceptionGroup as errors:
            return weakref.ref(errors.exceptions[0])

    async def body_fails():
        try:
            async with TaskGroup():
                raise Error
        except ExceptionGroup as errors:
            return weakref.ref(errors.exceptions[0])

    gc.disable()
    try:
        for program in (children_fail, body_fails):
            assert (await program())() is None, program
    finally:
        gc.enable()


# ---- cancels that are no scope's ----


@in_tasks
async def test_an_outside_cancel_passes():
    seen = []
    task = this_task()
    asyncio.get_running_loop().call_later(1, task.cancel, "outside")
    with pytest.raises(CancelledError, match="outside"):
        async with TaskGroup() as group:
            group.start_soon(note_cancels, seen)
            await asyncio.sleep(1000)
    assert len(seen) == 1 and task.cancelling() == 1
    task.uncancel()


@in_tasks
async def test_tg_host_cancelled_twice_while_waiting():
    async def child():
        try:
            await asyncio.sleep(1000)
        except CancelledError:
            with CancelScope(shield=True):
                await asyncio.sleep(5)
            seen.append("cleaned up")

    seen = []
    task, loop = this_task(), asyncio.get_running_loop()
    loop.call_later(1, task.cancel, "first")
    loop.call_later(2, task.cancel, "second")
    began = now()
    with pytest.raises(CancelledError, match="second"):
        async with TaskGroup() as group:
            group.start_soon(child)
    assert now() == began + 6 and seen == ["cleaned up"]
    assert task.cancelling() == 2
    task.uncancel(), task.uncancel()


@in_tasks
async def test_tg_errors_and_outside_recancel():
    async def child():
        try:
            await asyncio.sleep(1000)
        finally:
            raise ValueError("cleanup")

    task = this_task()
    asyncio.get_running_loop().call_later(1, task.cancel, "outside")
    with pytest.raises(ExceptionGroup) as caught:
        async with TaskGroup() as group:
            group.start_soon(child)
    assert flat(caught.value) == [(ValueError, "cleanup")]
    assert task.cancelling() == 1
    with pytest.raises(CancelledError, match="outside"):
        await asyncio.sleep(0)
    task.uncancel()


@in_tasks
async def test_an_outside_cancel_and_one_of_the_group():
    async def child():
        task.cancel("outside")
        raise ValueError("child")

    task = this_task()
    with pytest.raises(ExceptionGroup):
        async with TaskGroup() as group:
            group.start_soon(child)
            await asyncio.sleep(1000)
    assert task.cancelling() == 1
    with pytest.raises(CancelledError):
        await asyncio.sleep(0)
    task.uncancel()


@in_tasks
async def test_a_timeout_around_it():
    seen = []
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            async with TaskGroup() as group:
                group.start_soon(note_cancels, seen)
    assert len(seen) == 1 and this_task().cancelling() == 0


@in_tasks
async def test_a_scope_and_an_outside_cancel():
    task = this_task()
    with pytest.raises(CancelledError, match="outside"):
        with CancelScope() as scope:
            async with TaskGroup() as group:
                group.start_soon(asyncio.sleep, 1000)
                call_soon(scope.cancel)
                call_soon(task.cancel, "outside")
                await asyncio.sleep(1000)
    assert not scope.cancelled_caught and task.cancelling() == 1
    task.uncancel()


# ---- in the background ----


@in_tasks
async def test_tg_background_cancelled_first():
    async def other():
        await asyncio.sleep(1)
        seen.append("other")

    async def background():
        try:
            await asyncio.sleep(1000)
        finally:
            seen.append("background")

    seen = []
    began = now()
    async with TaskGroup() as group:
        group.start_soon(other)
        task = group.create_background_task(background())
        await asyncio.sleep(0)
    assert seen == ["background", "other"] and now() == began + 1
    assert task.cancelled() and task.cancelling() == 1
    assert not group.cancel_scope.cancel_called


@in_tasks
async def test_background_tasks_are_cancelled_by_level_and_awaited():
    seen = []
    async with TaskGroup() as group:
        group.create_background_task(note_cancels(seen, 3))
        await asyncio.sleep(1)
    assert len(seen) == 3


@in_tasks
async def test_an_error_in_the_background_counts():
    with pytest.raises(ExceptionGroup) as caught:
        async with TaskGroup() as group:
            task = group.create_background_task(fail(ValueError("background"), 1))
            await asyncio.sleep(1000)
    assert flat(caught.value) == [(ValueError, "background")]
    assert task.done()


@in_tasks
async def test_background_tasks_made_while_the_block_waits_are_cancelled():
    async def child():
        await asyncio.sleep(1)
        group.create_background_task(note_cancels(seen))

    seen = []
    async with TaskGroup() as group:
        group.start_soon(child)
    assert len(seen) == 1


# ---- a limit ----


@in_tasks
async def test_tg_concurrency_limit():
    async def child():
        nonlocal running
        running += 1
        most.append(running)
        await asyncio.sleep(1)
        running -= 1

    running, most, began = 0, [], now()
    async with TaskGroup(concurrency_limit=2) as group:
        for _ in range(5):
            group.start_soon(child)
        group.create_background_task(asyncio.sleep(0))
    assert max(most) == 2 and now() == began + 3


@in_tasks
async def test_children_that_wait_for_their_turn_are_cancelled():
    async with TaskGroup(concurrency_limit=1) as group:
        tasks = [group.create_task(asyncio.sleep(1000)) for _ in range(3)]
        await asyncio.sleep(1)
        group.cancel()
    assert all(task.cancelled() for task in tasks)


@in_tasks
async def test_a_child_within_a_limit_that_is_cancelled_before_its_first_step():
    async with TaskGroup(concurrency_limit=1) as group:
        tasks = [group.create_task(asyncio.sleep(1)) for _ in range(2)]
        for task in tasks:
            task.cancel()
    gc.collect()  # a coroutine that was never awaited would warn
    assert all(task.cancelled() for task in tasks)


def test_a_limit_is_at_least_one():
    with pytest.raises(ValueError, match="concurrency_limit must be >= 1"):
        TaskGroup(concurrency_limit=0)


# ---- start() ----


@in_tasks
async def test_start_value():
    async def child(a, *, task_status):
        await asyncio.sleep(1)
        names.append(this_task().get_name())
        task_status.started(a + 1)
        await asyncio.sleep(2)
        names.append("end")

    names = []
    began = now()
    async with TaskGroup() as group:
        assert await group.start(child, 1, name="server") == 2
        assert now() == began + 1
    assert now() == began + 3
    assert names == ["server", "end"]


@in_tasks
async def test_start_of_a_child_that_is_ready_at_once():
    async def child(*, task_status):
        task_status.started("at once")
        await note_cancels(seen)

    seen = []
    async with TaskGroup() as group:
        with CancelScope() as scope:
            assert await group.start(child) == "at once"
            scope.cancel()
        await asyncio.sleep(0)
        assert not seen, "the child is the group's"
        group.cancel()
    assert len(seen) == 1


@in_tasks
async def test_start_twice():
    async def child(*, task_status):
        task_status.started()
        with pytest.raises(RuntimeError, match="called 'started' twice"):
            task_status.started()
        seen.append(True)

    seen = []
    async with TaskGroup() as group:
        assert await group.start(child) is None
    assert seen


@in_tasks
async def test_start_no_started():
    async def child(*, task_status):
        await asyncio.sleep(1)

    async with TaskGroup() as group:
        with pytest.raises(
            RuntimeError, match=r"^child exited without calling task_status.started\(\)"
        ):
            await group.start(child)
        assert not group.cancel_scope.cancel_called


@in_tasks
async def test_start_error_before():
    async def child(*, task_status):
        await fail(ValueError("before"), 1)

    async with TaskGroup() as group:
        with pytest.raises(ValueError, match="before"):
            await group.start(child)
        assert not group.cancel_scope.cancel_called
        await asyncio.sleep(0)


@in_tasks
async def test_start_error_after():
    async def child(*, task_status):
        task_status.started("value")
        raise ValueError("after")

    values = []
    with pytest.raises(ExceptionGroup) as caught:
        async with TaskGroup() as group:
            values.append(await group.start(child))
            await asyncio.sleep(1)
    assert values == ["value"]
    assert flat(caught.value) == [(ValueError, "after")]


@in_tasks
async def test_start_of_a_child_that_is_cancelled():
    async def child(*, task_status):
        tasks.append(this_task())
        await asyncio.sleep(1000)

    tasks = []
    async with TaskGroup() as group:
        asyncio.get_running_loop().call_later(1, lambda: tasks[0].cancel("child"))
        with pytest.raises(CancelledError, match="child"):
            await group.start(child)
    assert this_task().cancelling() == 0


@in_tasks
async def test_start_caller_cancelled():
    async def child(*, task_status):
        try:
            await asyncio.sleep(1000)
        except CancelledError:
            with CancelScope(shield=True):
                await asyncio.sleep(3)
            task_status.started("too late")
            seen.append("cleaned up")
            raise

    seen = []
    began = now()
    async with TaskGroup() as group:
        with move_on_after(1) as scope:
            await group.start(child)
        assert scope.cancelled_caught and now() == began + 4
        assert seen == ["cleaned up"]
        assert not group.cancel_scope.cancel_called

        task = this_task()
        asyncio.get_running_loop().call_later(1, task.cancel, "outside")
        with pytest.raises(CancelledError, match="outside"):
            await group.start(child)
        assert task.uncancel() == 0 and now() == began + 8
        assert seen == ["cleaned up"] * 2
        assert not group.cancel_scope.cancel_called


@in_tasks
async def test_start_error_of_a_child_whose_caller_is_cancelled():
    async def child(*, task_status):
        try:
            await asyncio.sleep(1000)
        finally:
            raise ValueError("cleanup")

    async with TaskGroup() as group:
        with pytest.raises(ValueError, match="cleanup"):
            with move_on_after(1):
                await group.start(child)

        task = this_task()
        asyncio.get_running_loop().call_later(1, task.cancel, "outside")
        with pytest.raises(ValueError, match="cleanup"):
            await group.start(child)
        with pytest.raises(CancelledError, match="outside"):
            await asyncio.sleep(0)
        assert task.uncancel() == 0


@in_tasks
async def test_start_shield_before_started():
    async def child(*, task_status):
        with CancelScope(shield=True):
            await asyncio.sleep(3)
            seen.append("shielded")
        await asyncio.sleep(0)
        seen.append("not reached")

    seen = []
    began = now()
    async with TaskGroup() as group:
        with move_on_after(1):
            await group.start(child)
    assert seen == ["shielded"] and now() == began + 3


@in_tasks
async def test_start_moves_open_scopes_to_the_group():
    async def child(*, task_status):
        with CancelScope() as scope:
            scopes.append(scope)
            assert current_effective_deadline() == now() + 5
            task_status.started()
            assert current_effective_deadline() == INF
            await note_cancels(seen)

    seen, scopes = [], []
    async with TaskGroup() as group:
        with move_on_after(5):
            await group.start(child)
        await asyncio.sleep(10)
        assert not seen
        group.cancel()
    assert len(seen) == 1 and scopes[0].cancel_called is False


@in_tasks
async def test_start_counts_as_a_child():
    async def child(*, task_status):
        await asyncio.sleep(2)
        task_status.started()
        await asyncio.sleep(1)

    async def starter():
        await group.start(child)

    began = now()
    async with TaskGroup() as group:
        group.start_soon(starter)
    assert now() == began + 3


# ---- when a group takes no children ----


@in_tasks
async def test_tg_spawn_states():
    async def child():
        await asyncio.sleep(1)

    group = TaskGroup()
    for method in (group.create_task, group.create_background_task):
        coro = child()
        with pytest.raises(RuntimeError, match="has not been entered"):
            method(coro)
        assert coro.cr_frame is None, "closed"
    with pytest.raises(RuntimeError, match="has not been entered"):
        group.start_soon(child)
    with pytest.raises(RuntimeError, match="has not been entered"):
        await group.start(child)

    async with group:
        group.cancel()
        with pytest.raises(RuntimeError, match="is shutting down"):
            group.create_task(child())
        with pytest.raises(RuntimeError, match="is shutting down"):
            group.create_background_task(child())
        group.start_soon(child)

    for method in (group.create_task, group.create_background_task):
        with pytest.raises(RuntimeError, match="is finished"):
            method(child())
    with pytest.raises(RuntimeError, match="is finished"):
        group.start_soon(child)
    with pytest.raises(RuntimeError, match="is finished"):
        await group.start(child)
    with pytest.raises(RuntimeError, match="has already been entered"):
        async with group:
            pass


@in_tasks
async def test_what_is_no_coroutine():
    async with TaskGroup() as group:
        with pytest.raises(TypeError):
            group.create_task(5)
        with pytest.raises(TypeError):
            group.start_soon(int)
        with pytest.raises(TypeError):
            group.start_soon()
        with pytest.raises(TypeError):
            group.create_task()
        with pytest.raises(TypeError):
            group.start_soon(asyncio.sleep, 1, nome="x")
        assert not group._tasks


def test_on_another_loop():
    async def main():
        with pytest.raises(RuntimeError):
            async with TaskGroup():
                pass

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(main())


def test_outside_of_a_task():
    group = TaskGroup()
    coro = group.__aenter__()
    with pytest.raises(RuntimeError, match="no running event loop"):
        coro.send(None)


# ---- others ----


@in_tasks
async def test_a_group_in_a_child_of_a_group():
    async def middle():
        async with TaskGroup() as inner:
            inner.start_soon(note_cancels, seen)
            inner.start_soon(fail, ValueError("inner"), 1)

    seen = []
    with pytest.raises(ExceptionGroup) as caught:
        async with TaskGroup() as outer:
            outer.start_soon(middle)
            outer.start_soon(note_cancels, seen)
    (inner,) = caught.value.exceptions
    assert flat(inner) == [(ValueError, "inner")]
    assert len(seen) == 2


@in_tasks
async def test_in_one_of_asyncios_and_around_one():
    seen = []
    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as outer:
            outer.create_task(fail(ValueError(), 1))
            async with TaskGroup() as inner:
                inner.start_soon(note_cancels, seen)
    assert len(seen) == 1 and this_task().cancelling() == 0
    async with TaskGroup() as outer:
        async with asyncio.TaskGroup() as inner:
            inner.create_task(note_cancels(seen))
            call_soon(outer.cancel)
    assert len(seen) == 2 and this_task().cancelling() == 0


@in_tasks
async def test_many_children():
    async with TaskGroup() as group:
        tasks = [group.create_task(asyncio.sleep(i % 7, i)) for i in range(1000)]
    assert [task.result() for task in tasks] == list(range(1000))


def test_eager_children_may_end_at_once():
    if Eager.factory is None:
        pytest.skip("eager tasks came with CPython 3.12")

    async def child():
        seen.append(current_effective_deadline())
        return "value"

    async def failing():
        raise ValueError("at once")

    async def main():
        with move_on_after(5):
            async with TaskGroup() as group:
                task = group.create_task(child())
                assert task.done() and task.result() == "value"
            with pytest.raises(ExceptionGroup):
                async with TaskGroup() as group:
                    group.create_task(failing())
                    assert not group.cancel_scope.cancel_called, "not inline"
                    await asyncio.sleep(1)
        return now() + 5

    seen = []
    assert Eager.run(main) == seen[0]


def test_an_eager_child_that_ends_the_group():
    """The group's own memory of its run goes while it makes the child."""
    if Eager.factory is None:
        pytest.skip("eager tasks came with CPython 3.12")

    async def child():
        group._end()
        await asyncio.sleep(1)

    async def main():
        await group.__aenter__()
        task = group.create_task(child())
        assert group._loop is None
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() and not group._tasks
        assert group.cancel_scope._close(None) is None

    group = TaskGroup()
    Eager.run(main)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="call graphs came with 3.14")
@in_tasks
async def test_who_awaits_a_child():
    async with TaskGroup() as group:
        task = group.create_task(asyncio.sleep(1))
        graph = asyncio.capture_call_graph(task)
        assert [each.future for each in graph.awaited_by] == [this_task()]
    assert not asyncio.capture_call_graph(task).awaited_by
