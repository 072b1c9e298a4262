"""Which loop is the running one in a Trio task goes by `current_loop` in its context,
where the task does not stem from an `open_loop` block itself."""

from __future__ import annotations

import asyncio
import contextvars

from trio_asyncio_c import (
    Event,
    current_loop,
    lowlevel,
    open_loop,
    open_nursery,
    testing,
    trio,
)


async def enter(context):
    """Let the current task go on in a context that it shares with others."""
    lowlevel.current_task().context = context
    await lowlevel.cancel_shielded_checkpoint()


async def keep_open(context, opened, closing):
    await enter(context)
    async with open_loop() as loop:
        opened.append(loop)
        await closing.wait()


def test_task_that_shares_the_context_of_the_one_that_opened_it():
    async def user(context, opened, closing):
        await enter(context)
        assert asyncio._get_running_loop() is None
        await testing.wait_all_tasks_blocked()
        [loop] = opened
        assert asyncio.get_running_loop() is loop is current_loop.get()
        future = asyncio.ensure_future(asyncio.sleep(0, "slept"))
        assert await loop.run_future(future) == "slept"
        async with open_nursery() as nursery:
            nursery.start_soon(child, loop)
        closing.set()
        await testing.wait_all_tasks_blocked()
        assert loop.is_closed()
        assert asyncio._get_running_loop() is None

    async def child(loop):
        assert asyncio.get_running_loop() is loop
        await lowlevel.checkpoint()
        assert asyncio.get_running_loop() is loop

    async def other():
        for _ in range(9):
            assert asyncio._get_running_loop() is None
            await lowlevel.checkpoint()

    async def main():
        context = contextvars.copy_context()
        opened, closing = [], Event()
        async with open_nursery() as nursery:
            nursery.start_soon(other)
            nursery.start_soon(keep_open, context, opened, closing)
            nursery.start_soon(user, context, opened, closing)

    trio.run(main)


def test_task_that_sets_it():
    async def setter(opened, closing):
        await testing.wait_all_tasks_blocked()
        [loop] = opened
        current_loop.set(loop)
        await lowlevel.checkpoint()
        assert asyncio.get_running_loop() is loop
        closing.set()
        current_loop.set(None)
        await lowlevel.checkpoint()
        assert asyncio._get_running_loop() is None

    async def main():
        opened, closing = [], Event()
        async with open_nursery() as nursery:
            nursery.start_soon(setter, opened, closing)
            nursery.start_soon(keep_open, contextvars.copy_context(), opened, closing)

    trio.run(main)


def test_loop_that_is_closed_or_of_another_run_is_not_the_running_one():
    kept = []

    async def stale():
        current_loop.set(kept[0])
        await lowlevel.checkpoint()
        assert asyncio._get_running_loop() is None

    async def main():
        async with open_nursery() as nursery:
            async with open_loop() as loop:
                kept.append(loop)
            nursery.start_soon(stale)
        async with open_loop() as loop:
            await loop.run_coroutine(asyncio.sleep(0))

    trio.run(main)
    trio.run(main)
