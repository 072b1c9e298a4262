"""The samples of quattro's first README, with what it says of each."""

from __future__ import annotations

import asyncio

import pytest
import trio_asyncio_c
from trio_asyncio_c import (
    CancelScope,
    TaskGroup,
    fail_after,
    fail_at,
    move_on_after,
    move_on_at,
)

from ._scoped import in_tasks, now

TIMEOUT = 1.0


@in_tasks
async def test_task_groups():
    handled = []

    async def my_handler():
        async def task_1():
            await asyncio.sleep(2)
            handled.append(1)

        async def task_2():
            await asyncio.sleep(1)
            handled.append(2)

        async with TaskGroup() as tg:
            tg.start_soon(task_1)
            tg.start_soon(task_2)

        assert handled == [2, 1], "the end of the block awaits the tasks"

    await my_handler()


@in_tasks
async def test_a_group_awaits_all_and_an_error_cancels_them():
    """What the README says that groups do."""
    ended = []

    async def child():
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("child")

    async def failing():
        await asyncio.sleep(1)
        raise ValueError

    with pytest.raises(ExceptionGroup):
        async with TaskGroup() as tg:
            tg.start_soon(child)
            tg.start_soon(failing)
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append("inside the block")
    assert sorted(ended) == ["child", "inside the block"]


@in_tasks
async def test_cancel_scopes():
    async def long_query():
        await asyncio.sleep(3600)

    async def my_handler():
        began = now()
        with move_on_after(1.0) as cancel_scope:
            await long_query()

        # 1 second later, the function continues running
        assert now() == began + 1.0
        assert cancel_scope.cancelled_caught

    await my_handler()


@in_tasks
async def test_helpers_and_attributes():
    makers = {
        move_on_after: 1,
        move_on_at: now() + 1,
        fail_after: 1,
        fail_at: now() + 1,
    }
    for make, when in makers.items():
        scope = make(when)
        assert type(scope) is CancelScope
        with scope:
            assert scope.deadline == now() + 1
            scope.deadline += 1
            assert scope.deadline == now() + 2
            assert scope.cancelled_caught is False
            with pytest.raises(AttributeError):
                scope.cancelled_caught = True
    with CancelScope() as scope:
        scope.cancel()
        await asyncio.sleep(0)
    assert scope.cancelled_caught is True


@in_tasks
async def test_differences_the_exception():
    for scope in (fail_after(TIMEOUT), fail_at(now() + TIMEOUT)):
        with pytest.raises(asyncio.TimeoutError):
            with scope:
                await asyncio.sleep(3600)


@in_tasks
async def test_differences_level_triggered():
    """Trio's result: send_goodbye_msg() is cancelled as well."""
    calls = []

    class Connection:
        async def send_hello_msg(self):
            calls.append("hello")
            await asyncio.sleep(3600)

        async def send_goodbye_msg(self):
            calls.append("goodbye")
            await asyncio.sleep(3600)
            calls.append("not reached")

    def make_connection():
        return Connection()

    began = now()
    with move_on_after(TIMEOUT):
        conn = make_connection()
        try:
            await conn.send_hello_msg()
        finally:
            await conn.send_goodbye_msg()
    assert calls == ["hello", "goodbye"] and now() == began + TIMEOUT


@in_tasks
async def test_differences_shields():
    began = now()
    with move_on_after(TIMEOUT) as scope:
        with CancelScope(shield=True):
            await asyncio.sleep(5)
        await asyncio.sleep(5)
    assert scope.cancelled_caught and now() == began + 5


@in_tasks
async def test_differences_the_effective_deadline():
    for ask in (
        trio_asyncio_c.current_effective_deadline,
        trio_asyncio_c.get_current_effective_deadline,
    ):
        with move_on_after(2 * TIMEOUT), move_on_after(TIMEOUT):
            assert ask() == now() + TIMEOUT
