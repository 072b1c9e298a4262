"""The Trio side of bench_core: one async function a case.

Each does `count` operations with the names of `trio`, which is the trio package or
trio_asyncio_c.trio.
"""

from shared.case import Case


async def nop():
    pass


async def checkpoint(trio, count):
    """Let other tasks run, in one task."""
    checkpoint = trio.lowlevel.checkpoint
    for _ in range(count):
        await checkpoint()


async def spawn(trio, count):
    """Start all tasks in one nursery, and let them end."""
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(nop)


async def nursery_with_one_child(trio, count):
    """Open a nursery, start a task in it, and wait for it."""
    for _ in range(count):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(nop)


async def cancel_scope(trio, count):
    """Enter and leave a scope without a deadline."""
    for _ in range(count):
        with trio.CancelScope():
            pass


async def move_on_after(trio, count):
    """Enter and leave a scope with a deadline that does not come."""
    for _ in range(count):
        with trio.move_on_after(60):
            pass


async def cancelled_checkpoint(trio, count):
    """Cancel a scope inside of it, and meet the cancellation."""
    for _ in range(count):
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.lowlevel.checkpoint()


async def event_ping_pong(trio, count):
    """Let two tasks wake each other, with a new Event each time."""
    ping, pong = trio.Event(), trio.Event()

    async def partner():
        nonlocal ping
        for _ in range(count):
            await ping.wait()
            ping = trio.Event()
            pong.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partner)
        for _ in range(count):
            ping.set()
            await pong.wait()
            pong = trio.Event()


async def channel_ping_pong(trio, count):
    """Send an object there and back through channels without a buffer."""
    send_ping, receive_ping = trio.open_memory_channel(0)
    send_pong, receive_pong = trio.open_memory_channel(0)

    async def partner():
        for _ in range(count):
            await send_pong.send(await receive_ping.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partner)
        for _ in range(count):
            await send_ping.send(None)
            await receive_pong.receive()


async def sleepers(trio, count):
    """Start tasks that sleep up to a millisecond, in no order, and let them end."""
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(trio.sleep, number * 7919 % 1000 * 1e-6)


CASES = [
    Case("checkpoint()", checkpoint, 10_000),
    Case("spawn in one nursery", spawn, 5_000),
    Case("nursery with one child", nursery_with_one_child, 1_000),
    Case("with CancelScope()", cancel_scope, 10_000),
    Case("with move_on_after(60)", move_on_after, 5_000),
    Case("a cancelled checkpoint", cancelled_checkpoint, 1_000),
    Case("Event ping-pong", event_ping_pong, 2_000),
    Case("memory channel ping-pong", channel_ping_pong, 1_000),
    Case("10 000 sleepers", sleepers, 10_000),
]
