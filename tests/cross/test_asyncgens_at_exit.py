"""Async generators that are alive when an `open_loop` block ends, or longer."""

from __future__ import annotations

import asyncio
import gc
import sys

import pytest

from trio_asyncio_c import (
    CancelScope,
    current_time,
    open_loop,
    run_coroutine,
    testing,
    trio,
)

from ._helpers import run_mock


async def generator(sleep, record):
    try:
        yield 1
    finally:
        try:
            await sleep(5)
        except BaseException as exc:
            record.append(type(exc).__name__)
            raise
        record.append("slept")


@pytest.mark.parametrize(("limit", "ends_at"), [(0, 0), (1, 1), (20, 10)])
def test_outer_cancel_cuts_finalizers_short(limit, ends_at):
    """Each one has begun before that; two loops do it one after the other."""
    record, alive = [], []

    async def iterate():
        alive.append(generator(asyncio.sleep, record))
        await anext(alive[-1])

    async def main():
        begun = current_time()
        with CancelScope(deadline=begun + limit) as scope:
            async with open_loop() as outer, open_loop() as inner:
                with CancelScope(shield=True):
                    await outer.run_coroutine(iterate())
                    await inner.run_coroutine(iterate())
        assert scope.cancelled_caught == (limit < 10)
        assert current_time() - begun == ends_at
        assert outer.is_closed() and inner.is_closed()
        assert len(record) == 2

    trio.run(main, clock=testing.MockClock(autojump_threshold=0))
    assert record == (["slept"] * 2 if limit == 20 else ["CancelledError"] * 2)


def test_no_outer_cancel():
    record, alive = [], []

    async def iterate():
        alive.append(generator(asyncio.sleep, record))
        await anext(alive[-1])

    async def main():
        await run_coroutine(iterate())

    run_mock(main)
    assert record == ["slept"]


def test_trio_generator_that_outlives_all_loops():
    """It is finalised by the run, as one that never saw a loop."""
    record, alive = [], []

    async def main():
        before = sys.get_asyncgen_hooks()
        async with open_loop():
            alive.append(generator(trio.sleep, record))
            await anext(alive[0])
        assert sys.get_asyncgen_hooks() == before
        with pytest.warns(ResourceWarning, match="garbage collected"):
            alive.clear()
            gc.collect()
        await testing.wait_all_tasks_blocked()

    trio.run(main, clock=testing.MockClock(autojump_threshold=0))
    # Trio cancels what it finalises by itself.
    assert record == ["Cancelled"]
