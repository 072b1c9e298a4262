"""The cases of bench_crossing: one async function a case, called from Trio with a loop
open around it.

Each does `count` crossings with a `Side`, or what a crossing is compared with.
"""

import asyncio
import contextlib
from typing import Any, NamedTuple

from shared.case import Case
from shared.machine import resident_bytes

LEVELS = 10


class Side(NamedTuple):
    """One package's names for what the cases do.

    `trio` is the module with Trio's names, `api` the one with trio-asyncio's.
    `run_asyncio` calls an asyncio function from Trio, `run_trio` a Trio function from
    asyncio; `loop` is the open loop.
    """

    trio: Any
    api: Any
    loop: Any
    run_asyncio: Any
    run_trio: Any


async def nop():
    pass


async def sleep_0_in_asyncio():
    await asyncio.sleep(0)


def in_asyncio(function):
    """Make a case of one that is to run in an asyncio Task."""

    async def case(side, count):
        return await side.run_asyncio(function, side, count)

    return case


async def adapted_nop(side, count):
    """Call an asyncio function by aio_as_trio."""
    call = side.api.aio_as_trio(nop)
    for _ in range(count):
        await call()


async def adapted_sleep_0(side, count):
    """Call an asyncio function that lets others run, by aio_as_trio."""
    call = side.api.aio_as_trio(sleep_0_in_asyncio)
    for _ in range(count):
        await call()


async def run_asyncio_nop(side, count):
    """Call an asyncio function by the shortest way that there is."""
    run_asyncio = side.run_asyncio
    for _ in range(count):
        await run_asyncio(nop)


async def run_asyncio_sleep_0(side, count):
    """The same, and it lets others run."""
    run_asyncio = side.run_asyncio
    for _ in range(count):
        await run_asyncio(sleep_0_in_asyncio)


@in_asyncio
async def trio_adapted_nop(side, count):
    """Call a Trio function by trio_as_aio."""
    call = side.api.trio_as_aio(nop)
    for _ in range(count):
        await call()


@in_asyncio
async def trio_adapted_sleep_0(side, count):
    """Call a Trio function that lets others run, by trio_as_aio."""
    call = side.api.trio_as_aio(side.trio.sleep)
    for _ in range(count):
        await call(0)


@in_asyncio
async def run_trio_nop(side, count):
    """Call a Trio function by the shortest way that there is."""
    run_trio = side.run_trio
    for _ in range(count):
        await run_trio(nop)


@in_asyncio
async def run_trio_sleep_0(side, count):
    """The same, and it lets others run."""
    run_trio, sleep = side.run_trio, side.trio.sleep
    for _ in range(count):
        await run_trio(sleep, 0)


@in_asyncio
async def call_soon(side, count):
    """Let each callback schedule the next."""
    loop, left = asyncio.get_running_loop(), count
    done = loop.create_future()

    def callback():
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(callback)
        else:
            done.set_result(None)

    loop.call_soon(callback)
    await done


@in_asyncio
async def sleep_0(side, count):
    """Let other callbacks run, in one Task."""
    for _ in range(count):
        await asyncio.sleep(0)


async def sandwich(side, count):
    """Call across ten times before the innermost function returns."""
    as_trio, as_aio = side.api.aio_as_trio, side.api.trio_as_aio

    async def trio_level(level):
        if level:
            await as_trio(aio_level)(level - 1)

    async def aio_level(level):
        if level:
            await as_aio(trio_level)(level - 1)

    for _ in range(count):
        await trio_level(LEVELS)


async def generator_items(side, count):
    """Iterate in Trio over an asyncio generator."""

    async def numbers():
        for number in range(count):
            yield number

    async for _ in side.api.aio_as_trio(numbers()):
        pass


async def managers(side, count):
    """Enter and leave an asyncio context manager in Trio."""

    @contextlib.asynccontextmanager
    async def manager():
        yield

    for _ in range(count):
        async with side.api.aio_as_trio(manager()):
            pass


async def await_task(loop, count):
    """Do what run_asyncio does, in asyncio: no crossing."""
    for _ in range(count):
        await loop.create_task(nop())


async def run_asyncio_or_task(side, count):
    """Call an asyncio function from Trio; or, where nothing is crossed, in asyncio."""
    if side.api is None:
        await side.run_asyncio(await_task, side.loop, count)
    else:
        await run_asyncio_nop(side, count)


@in_asyncio
async def run_trio_all(side, count):
    """Start all Trio tasks from asyncio, and wait for them."""
    run_trio = side.run_trio
    for future in [run_trio(nop) for _ in range(count)]:
        await future


async def run_trio_or_spawn(side, count):
    """Start Trio tasks from asyncio; or, where nothing is crossed, in a nursery."""
    if side.api is not None:
        await run_trio_all(side, count)
        return
    async with side.trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(nop)


def growing(function):
    """Make a case that tells by how much the process grows."""

    async def case(side, count):
        await function(side, count // 10)  # what is needed once
        before = resident_bytes()
        await function(side, count)
        return {"memory": resident_bytes() - before}

    return case


PACKAGES = [
    Case("Trio calls asyncio: returns", adapted_nop, 500),
    Case("Trio calls asyncio: sleep(0)", adapted_sleep_0, 500),
    Case("run_asyncio: returns", run_asyncio_nop, 500),
    Case("run_asyncio: sleep(0)", run_asyncio_sleep_0, 500),
    Case("asyncio calls Trio: returns", trio_adapted_nop, 500),
    Case("asyncio calls Trio: sleep(0)", trio_adapted_sleep_0, 500),
    Case("run_trio: returns", run_trio_nop, 500),
    Case("run_trio: sleep(0)", run_trio_sleep_0, 500),
    Case("call_soon", call_soon, 1_000),
    Case("asyncio.sleep(0)", sleep_0, 1_000),
    Case("sandwich of ten levels", sandwich, 20),
    Case("asyncio generator's item", generator_items, 200),
    Case("asyncio context manager", managers, 200),
]
NOTHING = [
    Case("run_asyncio / await create_task", run_asyncio_or_task, 1_000),
    Case("run_trio / spawn in a nursery", run_trio_or_spawn, 1_000),
]
MEMORY = [
    Case("run_asyncio", growing(run_asyncio_nop), 100_000, "memory", once=True),
    Case("run_trio", growing(run_trio_nop), 100_000, "memory", once=True),
]
