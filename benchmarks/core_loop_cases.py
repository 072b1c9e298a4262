"""The asyncio side of bench_core: one coroutine function a case.

Each does `count` operations on the loop that runs it. The callbacks do next to
nothing, so that the loop's own cost shows.
"""

import asyncio
import contextlib
import gc
import socket

from shared.case import Case


def nop():
    pass


async def return_at_once():
    pass


async def call_soon_chain(loop, count):
    """Let each callback schedule the next."""
    done = loop.create_future()
    left = count

    def step():
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(step)
        else:
            done.set_result(None)

    loop.call_soon(step)
    await done


async def call_soon_at_once(loop, count):
    """Schedule all callbacks in one go, then let them run."""
    done = loop.create_future()
    for _ in range(count - 1):
        loop.call_soon(nop)
    loop.call_soon(done.set_result, None)
    await done


async def call_soon_threadsafe(loop, count):
    """Schedule in bursts with the thread-safe call, from the loop's own thread, so
    that no other thread's time is in it."""
    for _ in range(count // 1000):
        done = loop.create_future()
        for _ in range(999):
            loop.call_soon_threadsafe(nop)
        loop.call_soon_threadsafe(done.set_result, None)
        await done


async def call_later_and_cancel(loop, count):
    """Make timers that never fire, as timeouts do."""
    for _ in range(count):
        loop.call_later(60, nop).cancel()


async def short_timers(loop, count):
    """Let timers fire within two milliseconds, made in no order."""
    done = loop.create_future()
    left = count

    def fire():
        nonlocal left
        left -= 1
        if not left:
            done.set_result(None)

    for number in range(count):
        loop.call_later(number * 7919 % 1000 * 2e-6, fire)
    await done


async def sleep_0(loop, count):
    """Let the loop run a turn, in one task."""
    for _ in range(count):
        await asyncio.sleep(0)


async def create_task(loop, count):
    """Start a task that returns at once, and wait for it."""
    for _ in range(count):
        await loop.create_task(return_at_once())


async def gather(loop, count):
    """Start tasks that return at once all together, and wait for all."""
    await asyncio.gather(*[return_at_once() for _ in range(count)])


async def queue_ping_pong(loop, count):
    """Send an object there and back between two tasks through queues."""
    there, back = asyncio.Queue(), asyncio.Queue()

    async def partner():
        for _ in range(count):
            back.put_nowait(await there.get())

    task = loop.create_task(partner())
    for _ in range(count):
        there.put_nowait(None)
        await back.get()
    await task


async def timeout_around_sleep_0(loop, count):
    """Give a turn of the loop a time-out, as requests have one."""
    for _ in range(count):
        async with asyncio.timeout(60):
            await asyncio.sleep(0)


async def run_in_executor(loop, count):
    """Let another thread do nothing, and wait for it."""
    for _ in range(count):
        await loop.run_in_executor(None, nop)


async def add_reader_ping_pong(loop, count):
    """Send a byte there and back between two readers."""
    done = loop.create_future()
    left = count

    def on_ping():
        there.send(there.recv(1))

    def on_pong():
        nonlocal left
        here.recv(1)
        left -= 1
        if left:
            here.send(b"x")
        else:
            done.set_result(None)

    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        there.setblocking(False)
        # By number, for not all loops take the socket itself.
        loop.add_reader(here.fileno(), on_pong)
        loop.add_reader(there.fileno(), on_ping)
        here.send(b"x")
        try:
            await done
        finally:
            loop.remove_reader(here.fileno())
            loop.remove_reader(there.fileno())


async def sock_ping_pong(loop, count):
    """Send a byte there and back between two tasks."""

    async def echo():
        for _ in range(count):
            await loop.sock_sendall(there, await loop.sock_recv(there, 1024))

    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        there.setblocking(False)
        echoing = loop.create_task(echo())
        for _ in range(count):
            await loop.sock_sendall(here, b"x")
            await loop.sock_recv(here, 1024)
        await echoing


@contextlib.asynccontextmanager
async def idle_connections(loop):
    """Watch 250 connections on which nothing comes."""
    pairs = [socket.socketpair() for _ in range(250)]
    for here, _ in pairs:
        here.setblocking(False)
        loop.add_reader(here.fileno(), nop)
    try:
        yield loop
    finally:
        for here, there in pairs:
            loop.remove_reader(here.fileno())
            here.close()
            there.close()


@contextlib.asynccontextmanager
async def million_timers(loop):
    """Have a million timers that fire in an hour."""
    timers = [loop.call_later(3600 + number * 1e-3, nop) for number in range(1_000_000)]
    gc.freeze()  # a timer's cost is asked for, not the collector's for a million
    try:
        yield loop
    finally:
        for timer in timers:
            timer.cancel()


CASES = [
    Case("call_soon chain", call_soon_chain, 10_000),
    Case("call_soon, 100 000 at once", call_soon_at_once, 100_000),
    Case("call_soon_threadsafe", call_soon_threadsafe, 5_000),
    Case("call_later and cancel", call_later_and_cancel, 5_000),
    Case("short timers fired", short_timers, 2_000),
    Case("await sleep(0)", sleep_0, 6_000),
    Case("await create_task(nop())", create_task, 1_000),
    Case("gather of 10 000", gather, 10_000),
    Case("queue ping-pong", queue_ping_pong, 1_000),
    Case("timeout(60) around sleep(0)", timeout_around_sleep_0, 1_000),
    Case("run_in_executor(None, nop)", run_in_executor, 100, shown="wall"),
    Case("add_reader ping-pong", add_reader_ping_pong, 500),
    Case("sock_recv/sock_sendall ping-pong", sock_ping_pong, 300),
]
# What is to cost no more beside many idle ones.
GROWTH_CASES = [
    Case(
        "chain, 250 idle connections", call_soon_chain, 10_000, prepare=idle_connections
    ),
    Case("short timers, 10^6 others", short_timers, 2_000, prepare=million_timers),
    Case(
        "call_later, cancel, 10^6 others",
        call_later_and_cancel,
        5_000,
        prepare=million_timers,
    ),
]
