"""What the tests of traio's Scope share."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError

from ._scoped import this_task

INF = float("inf")
FOREVER = 10_000


async def fail(error, after=0.0):
    await asyncio.sleep(after)
    raise error


async def note_cancels(seen, awaits=1):
    """Wait for ever, once and again, and note each CancelledError."""
    for _ in range(awaits):
        try:
            await asyncio.sleep(FOREVER)
        except CancelledError as error:
            seen.append(error)
    if seen:
        raise seen[-1]


async def raise_when_cancelled(error):
    try:
        await asyncio.sleep(FOREVER)
    finally:
        raise error


async def swallow_for_ever():
    while True:
        try:
            await asyncio.sleep(1)
        except CancelledError:
            pass


def is_clean():
    """Whether nothing of a cancel is left in this task."""
    return this_task().cancelling() == 0
