"""The cases of bench_trio that need no server: what bench_core measures of the Trio
side, what other parts of the trio package cost on top, and a parked task's memory."""

import socket

import core_trio_cases
from shared.case import Case
from shared.machine import resident_bytes


async def lock(trio, count):
    """Enter and leave a lock that is free."""
    lock = trio.Lock()
    for _ in range(count):
        async with lock:
            pass


async def wait_readable_ping_pong(trio, count):
    """Send a byte there and back between two tasks that wait for their socket."""
    wait_readable = trio.lowlevel.wait_readable
    here, there = socket.socketpair()

    async def partner():
        for _ in range(count):
            await wait_readable(there)
            there.send(there.recv(1))

    with here, there:
        here.setblocking(False)
        there.setblocking(False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partner)
            for _ in range(count):
                here.send(b"x")
                await wait_readable(here)
                here.recv(1)


def nop():
    pass


async def run_in_thread(trio, count):
    """Let another thread do nothing, and wait for it."""
    for _ in range(count):
        await trio.to_thread.run_sync(nop)


async def parked_memory(trio, count):
    """Tell by how many bytes the process grows for a task that sleeps forever."""
    before = resident_bytes()
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(trio.sleep_forever)
        await trio.testing.wait_all_tasks_blocked()
        grown = resident_bytes() - before
        nursery.cancel_scope.cancel()
    return {"memory": grown / count}


SCHEDULER = [
    *core_trio_cases.CASES,
    Case("Lock enter and leave", lock, 2_000),
    Case("wait_readable ping-pong", wait_readable_ping_pong, 500),
    Case("to_thread.run_sync(nop)", run_in_thread, 100, shown="wall"),
]
MEMORY = [
    Case("100 000 parked tasks", parked_memory, 100_000, shown="memory", once=True)
]
