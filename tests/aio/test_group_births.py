"""Children of a TaskGroup that have used no scopes before theirs is cancelled."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from asyncio import CancelledError

import pytest
from trio_asyncio_c import (
    CancelScope,
    TaskGroup,
    current_effective_deadline,
    move_on_after,
    move_on_at,
    new_event_loop,
)

from ._scoped import call_soon, cancel_soon, in_tasks, now, this_task


async def note_cancel(seen, what):
    try:
        await asyncio.sleep(1000)
    finally:
        seen.append(what)


async def use_a_scope():
    with CancelScope():
        await asyncio.sleep(0)


@in_tasks
async def test_all_are_cancelled_in_the_order_of_birth():
    seen = []
    async with TaskGroup() as group:
        for n in range(20):
            group.create_task(note_cancel(seen, n))
        await asyncio.sleep(1)
        group.cancel()
    assert seen == list(range(20))


@in_tasks
async def test_by_a_deadline_of_a_scope_around():
    seen = []
    with move_on_after(5) as scope:
        async with TaskGroup() as group:
            for n in range(3):
                group.create_task(note_cancel(seen, n))
    assert scope.cancelled_caught and seen == [0, 1, 2]


@in_tasks
async def test_before_their_first_step():
    async def child(n):
        seen.append(n)
        with pytest.raises(CancelledError):
            await asyncio.sleep(1000)

    seen = []
    async with TaskGroup() as group:
        for n in range(3):
            group.create_task(child(n))
        group.cancel()
    assert seen == [0, 1, 2]


@in_tasks
async def test_a_cancel_reaches_each_await_of_theirs():
    async def child():
        for _ in range(3):
            with pytest.raises(CancelledError):
                await asyncio.sleep(1000)
            counts.append(this_task().cancelling())

    counts = []
    async with TaskGroup() as group:
        group.create_task(child())
        await asyncio.sleep(1)
        group.cancel()
    assert counts == [1, 2, 3]


@in_tasks
async def test_a_shield_outside_holds_till_it_falls():
    seen = []
    with CancelScope() as outer:
        with CancelScope(shield=True) as shield:
            async with TaskGroup() as group:
                group.create_task(note_cancel(seen, "cancelled"))
                cancel_soon(outer)
                await asyncio.sleep(1)
                assert not seen
                call_soon(setattr, shield, "shield", False)
    assert seen == ["cancelled"] and outer.cancelled_caught


@in_tasks
async def test_they_know_their_deadline_at_any_time():
    async def child():
        deadlines.append(current_effective_deadline())
        await asyncio.sleep(1)
        deadlines.append(current_effective_deadline())
        with move_on_at(began + 5):
            deadlines.append(current_effective_deadline())
        deadlines.append(current_effective_deadline())

    deadlines = []
    began = now()
    with move_on_at(began + 10):
        async with TaskGroup() as group:
            group.create_task(child())
    assert deadlines == [began + 10, began + 10, began + 5, began + 10]


@in_tasks
async def test_one_that_has_used_a_scope_among_others():
    async def child(n):
        if n == 1:
            await use_a_scope()
        await note_cancel(seen, n)

    seen = []
    async with TaskGroup() as group:
        for n in range(3):
            group.create_task(child(n))
        await asyncio.sleep(1)
        group.cancel()
    assert sorted(seen) == [0, 1, 2]


@in_tasks
async def test_who_waits_for_a_child_is_cancelled_once():
    """A child is no foreign Task, which would be cancelled again and again."""

    async def slow():
        with pytest.raises(CancelledError):
            await asyncio.sleep(1000)
        await asyncio.sleep(100)

    loop = asyncio.get_running_loop()
    before = loop.statistics().cancel_deliveries
    began = now()
    async with TaskGroup() as group:
        task = group.create_task(slow())
        with move_on_after(1) as scope:
            await task
        assert not scope.cancelled_caught  # the child went on, and has returned
    assert now() == began + 101
    assert loop.statistics().cancel_deliveries == before + 1


@in_tasks
async def test_groups_within_groups():
    async def child(depth):
        if depth == 0:
            await note_cancel(seen, "inmost")
        async with TaskGroup() as group:
            group.create_task(child(depth - 1))

    seen = []
    async with TaskGroup() as group:
        group.create_task(child(5))
        await asyncio.sleep(1)
        group.cancel()
    assert seen == ["inmost"]


@in_tasks
async def test_whoever_is_left_when_all_have_ended_is_not_cancelled():
    """The group has nobody in its scope then, so leaving that is no misnesting."""
    for children in (0, 3):
        async with TaskGroup() as group:
            for _ in range(children):
                group.create_task(asyncio.sleep(1))
            status = group.cancel_scope._cancel_status
            assert status.tasks == {group, this_task()}
        assert not status.tasks
        assert not status.effectively_cancelled
        assert not status.abandoned_by_misnesting


@in_tasks
async def test_a_child_whose_callback_is_refused_is_not_waited_for():
    class Deaf(asyncio.Task):
        def add_done_callback(self, *args, **kwargs):
            raise ValueError("deaf")

    def factory(loop, coro, **kwargs):
        task = Deaf(coro, loop=loop, **kwargs)
        made.append(task)
        return task

    loop = asyncio.get_running_loop()
    made = []
    async with TaskGroup() as group:
        before = loop.get_task_factory()
        loop.set_task_factory(factory)
        try:
            with pytest.raises(ValueError, match="deaf"):
                group.create_task(asyncio.sleep(0))
        finally:
            loop.set_task_factory(before)
        assert not group._tasks
    while not made[0].done():
        await asyncio.sleep(0)


def test_a_group_that_is_dropped_with_its_children(monkeypatch):
    """A loop that is closed with a group in it lets all go."""
    # The block cannot be left; whoever keeps that error keeps the group.
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)

    async def body():
        async with TaskGroup() as group:
            groups.append(weakref.ref(group))
            for _ in range(3):
                group.create_task(asyncio.sleep(1000))
            loop.stop()

    groups = []
    loop = new_event_loop()
    task = loop.create_task(body())
    loop.run_forever()
    loop.call_exception_handler = lambda context: None
    loop.close()
    task._log_destroy_pending = False
    del task
    gc.collect()
    assert len(groups) == 1 and groups[0]() is None
