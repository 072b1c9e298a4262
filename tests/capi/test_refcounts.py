"""What C returns is a reference of the caller's own, also where it is None.

Before CPython 3.12 None, True and False are counted like any object: one reference too
few, given often enough, and the interpreter ends.
"""

from __future__ import annotations

import sys

import pytest
from trio_asyncio_c import trio

TIMES = 1000
# What the interpreter and the test itself may hold more or less of.
NOISE = 100


def counts():
    return [sys.getrefcount(value) for value in (None, True, False)]


def channel_calls(send, receive):
    return [
        lambda: send.send_nowait(1),
        receive.receive_nowait,
        receive.statistics,
        lambda: send.clone().close(),
    ]


def lock_calls(lock, semaphore):
    return [
        lambda: (lock.acquire_nowait(), lock.locked(), lock.release()),
        lock.statistics,
        lambda: (semaphore.acquire_nowait(), semaphore.release()),
        lambda: (semaphore.value, semaphore.max_value, semaphore.statistics()),
    ]


def other_calls():
    event = trio.Event()
    return [
        lambda: (trio.Event().set(), event.is_set(), event.statistics()),
        lambda: trio.move_on_after(5).__enter__().__exit__(None, None, None),
        lambda: trio.CancelScope(shield=True).shield,
        trio.lowlevel.in_trio_task,
    ]


def all_calls():
    return [
        *channel_calls(*trio.open_memory_channel(TIMES)),
        *lock_calls(trio.Lock(), trio.Semaphore(1)),
        *other_calls(),
    ]


@pytest.mark.parametrize("number", range(12))
def test_a_call_leaves_the_counts_of_constants(number):
    async def main():
        call = all_calls()[number]
        if number == 1:  # receive_nowait, of what was sent
            send, receive = trio.open_memory_channel(TIMES)
            for _ in range(TIMES):
                send.send_nowait(1)
            call = receive.receive_nowait
        before = counts()
        for _ in range(TIMES):
            call()
        after = counts()
        changes = [now - then for now, then in zip(after, before, strict=True)]
        assert max(map(abs, changes)) < NOISE

    trio.run(main)


async def use_lock(lock):
    async with lock:
        pass


async def use_channel():
    send, receive = trio.open_memory_channel(0)
    async with trio.open_nursery() as nursery, send, receive:
        nursery.start_soon(send.send, None)
        assert await receive.receive() is None


async def use_event():
    event = trio.Event()
    event.set()
    await event.wait()


@pytest.mark.parametrize(
    "use",
    [
        lambda: use_lock(trio.Lock()),
        lambda: use_lock(trio.Semaphore(1)),
        lambda: use_lock(trio.CapacityLimiter(1)),
        use_channel,
        use_event,
        lambda: trio.sleep(0),
    ],
    ids=["lock", "semaphore", "limiter", "channel", "event", "sleep"],
)
def test_a_wait_leaves_the_counts_of_constants(use):
    async def main():
        await use()
        before = counts()
        for _ in range(TIMES):
            await use()
        after = counts()
        changes = [now - then for now, then in zip(after, before, strict=True)]
        assert max(map(abs, changes)) < NOISE

    trio.run(main)
