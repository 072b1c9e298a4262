"""100 000 crossings leave memory where it was, whichever way they go."""

from __future__ import annotations

import asyncio
import gc
import sys

import pytest

from trio_asyncio_c import _core, current_loop

from ._helpers import run

CROSSINGS = 100_000
# What the interpreter may keep for itself: free lists, caches.
BLOCKS = 2_000


async def nop():
    pass


async def fail():
    raise ValueError


async def from_trio(count):
    run_asyncio = current_loop.get().run_asyncio
    for _ in range(count):
        await run_asyncio(nop)


async def errors_from_trio(count):
    run_asyncio = current_loop.get().run_asyncio
    for _ in range(count):
        with pytest.raises(ValueError):
            await run_asyncio(fail)


async def from_asyncio(count):
    run_trio = current_loop.get().run_trio

    async def caller():
        for _ in range(count):
            await run_trio(nop)

    await current_loop.get().run_asyncio(caller)


async def cancelled_from_asyncio(count):
    run_trio = current_loop.get().run_trio

    async def caller():
        for number in range(count):
            future = run_trio(_core.sleep_forever)
            if number % 2:
                await asyncio.sleep(0)
            future.cancel()
            with pytest.raises(asyncio.CancelledError):
                await future

    await current_loop.get().run_asyncio(caller)


@pytest.mark.parametrize(
    ("cross", "count"),
    [
        (from_trio, CROSSINGS),
        (errors_from_trio, CROSSINGS // 10),
        (from_asyncio, CROSSINGS),
        (cancelled_from_asyncio, CROSSINGS // 10),
    ],
)
def test_memory_stays_where_it_was(cross, count):
    async def main():
        await cross(1_000)  # what is made once
        gc.collect()
        counts, blocks = _core._debug_counts(), sys.getallocatedblocks()
        await cross(count)
        gc.collect()
        assert _core._debug_counts() == counts
        assert sys.getallocatedblocks() - blocks < BLOCKS

    run(main)
