"""Leaks: what is done a hundred thousand times leaves nothing behind.

Each test does its work once to warm up whatever is kept on purpose (free lists, caches,
interned names), then very often, and compares the memory blocks and the live objects.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import socket
import sys
import threading

import pytest
from trio_asyncio_c import EventLoop, _core, trio

from ._helpers import SANITIZED, Error, Value, block, collect, run_or_crash, settle

lowlevel = trio.lowlevel

TIMES = 100_000
# What the interpreter itself may allocate meanwhile.  A leak of a single block or
# object each time is far more.
BLOCKS = 400
OBJECTS = 50
KILOBYTES = 16 * 1024


def snapshot():
    collect()
    return (
        sys.getallocatedblocks(),
        len(gc.get_objects()),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        dict(_core._debug_counts()),
    )


def has_few_blocks_more(before, after, times):
    return after[0] - before[0] < BLOCKS + times // 100


def check(before, after, times):
    assert after[3] == before[3]
    assert after[1] - before[1] < OBJECTS + times // 100
    assert has_few_blocks_more(before, after, times)
    if not SANITIZED and sys.platform == "linux":
        assert after[2] - before[2] < KILOBYTES


def run_often(work, times=TIMES, **kwargs):
    """Run `await work(n)` in a run, first for a tenth and then for all."""

    async def main():
        await work(times // 10)
        await settle()
        before = snapshot()
        await work(times)
        await settle()
        after = snapshot()
        if not has_few_blocks_more(before, after, times):
            # What the interpreter keeps once, after other tests, is no leak: that
            # would show each time.
            before = after
            await work(times)
            await settle()
            after = snapshot()
        check(before, after, times)

    trio.run(main, **kwargs)


def test_checkpoints():
    async def work(n):
        for _ in range(n):
            await lowlevel.checkpoint()

    run_often(work)


def test_cancel_shielded_checkpoints():
    async def work(n):
        for _ in range(n):
            await lowlevel.cancel_shielded_checkpoint()
            await lowlevel.checkpoint_if_cancelled()

    run_often(work)


def test_cancelled_checkpoints():
    async def work(n):
        with trio.CancelScope() as scope:
            scope.cancel("because")
            for _ in range(n):
                try:
                    await lowlevel.checkpoint()
                except trio.Cancelled:
                    pass

    run_often(work, TIMES // 4)


def test_scopes():
    async def work(n):
        for _ in range(n):
            with trio.CancelScope():
                pass

    run_often(work)


def test_scopes_with_deadlines():
    async def work(n):
        for i in range(n):
            with trio.move_on_after(1000 + i % 7) as scope:
                scope.deadline += 1
            if i % 100 == 0:
                await lowlevel.checkpoint()

    run_often(work)


def test_cancelled_scopes():
    async def work(n):
        for _ in range(n):
            with trio.CancelScope() as scope:
                scope.cancel()
                await lowlevel.checkpoint()

    run_often(work, TIMES // 4)


def test_deadlines_that_are_changed_all_the_time():
    # R17
    async def work(n):
        with trio.CancelScope() as scope:
            for i in range(n):
                scope.deadline = trio.current_time() + 1000 + i % 13
                if i % 3 == 0:
                    scope.deadline = float("inf")
                if i % 100 == 0:
                    await lowlevel.checkpoint()

    run_often(work)


def test_spawns():
    async def child():
        pass

    async def work(n):
        for _ in range(n // 100):
            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(child)

    run_often(work)


def test_spawns_that_are_cancelled():
    async def work(n):
        for _ in range(n // 100):
            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(trio.sleep_forever)
                await lowlevel.checkpoint()
                await lowlevel.checkpoint()
                nursery.cancel_scope.cancel()

    run_often(work, TIMES // 4)


def test_children_that_fail():
    async def child():
        raise ValueError

    async def work(n):
        for _ in range(n):
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(child)
            except* ValueError:
                pass

    run_often(work, TIMES // 10)


def test_system_tasks():
    async def work(n):
        for i in range(n):
            lowlevel.spawn_system_task(lowlevel.checkpoint)
            if i % 50 == 0:
                await settle()
        await settle()

    run_often(work, TIMES // 4)


def test_starts():
    async def child(*, task_status):
        task_status.started(1)

    async def work(n):
        async with trio.open_nursery() as nursery:
            for _ in range(n):
                await nursery.start(child)

    run_often(work, TIMES // 10)


def test_starts_that_fail():
    async def child(*, task_status):
        raise ValueError

    async def work(n):
        async with trio.open_nursery() as nursery:
            for _ in range(n):
                try:
                    await nursery.start(child)
                except ValueError:
                    pass

    run_often(work, TIMES // 10)


def test_mistaken_spawns():
    async def function():
        pass

    async def work(n):
        async with trio.open_nursery() as nursery:
            for _ in range(n):
                for bad in (function(), 5, len):
                    try:
                        nursery.start_soon(bad)
                    except TypeError:
                        pass

    run_often(work, TIMES // 20)


def test_sleeps():
    async def work(n):
        for _ in range(n):
            await trio.sleep(1)

    run_often(work, TIMES // 4, clock=trio.testing.MockClock(autojump_threshold=0))


def test_parking():
    async def parker(lot, n):
        for _ in range(n):
            await lot.park()

    async def work(n):
        lot = lowlevel.ParkingLot()
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(parker, lot, n // 10)
            while nursery.child_tasks:
                lot.unpark(count=3)
                lot.unpark_all()
                await lowlevel.checkpoint()

    run_often(work, TIMES // 2)


def test_parking_that_is_cancelled():
    async def work(n):
        lot = lowlevel.ParkingLot()
        for _ in range(n):
            with trio.CancelScope() as scope:
                scope.cancel()
                await lot.park()

    run_often(work, TIMES // 4)


def test_broken_lots():
    async def work(n):
        task = lowlevel.current_task()
        for _ in range(n):
            lot = lowlevel.ParkingLot()
            lowlevel.add_parking_lot_breaker(task, lot)
            lowlevel.remove_parking_lot_breaker(task, lot)
            lot.break_lot()
            try:
                await lot.park()
            except trio.BrokenResourceError:
                pass

    run_often(work, TIMES // 4)


def test_events():
    async def waiter(events):
        for event in events:
            await event.wait()

    async def work(n):
        for _ in range(n // 100):
            events = [trio.Event() for _ in range(50)]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(waiter, events)
                for event in events:
                    await lowlevel.checkpoint()
                    event.set()
                    await event.wait()
            with trio.CancelScope() as scope:
                scope.cancel()
                await trio.Event().wait()

    run_often(work, TIMES // 2)


@pytest.mark.parametrize("make", [trio.Lock, lambda: trio.Semaphore(1)])
def test_locks(make):
    async def user(lock, n):
        for _ in range(n):
            async with lock:
                await lowlevel.checkpoint()
            try:
                lock.acquire_nowait()
            except trio.WouldBlock:
                continue
            lock.release()

    async def work(n):
        lock = make()
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(user, lock, n // 10)
        await lock.acquire()
        for _ in range(n // 10):
            with trio.CancelScope() as scope:
                scope.cancel()
                await make().acquire()

    run_often(work, TIMES // 4)


def test_locks_whose_owner_exits():
    async def taker(lock):
        try:
            await lock.acquire()
        except trio.BrokenResourceError:
            pass

    async def work(n):
        for _ in range(n // 3):
            async with trio.open_nursery() as nursery:
                lock = trio.Lock()
                for _ in range(3):
                    nursery.start_soon(taker, lock)
        assert lock.statistics().tasks_waiting == 0

    run_often(work, TIMES // 10)


@pytest.mark.parametrize("size", [0, 3, float("inf")])
def test_channels(size):
    async def sender(send, n):
        with send:
            for i in range(n):
                await send.send([i])
                if i % 10 == 0:
                    try:
                        send.send_nowait(i)
                    except trio.WouldBlock:
                        pass

    async def receiver(receive):
        with receive:
            async for _ in receive:
                try:
                    receive.receive_nowait()
                except (trio.WouldBlock, trio.EndOfChannel):
                    pass

    async def work(n):
        send, receive = trio.open_memory_channel(size)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(sender, send.clone(), n // 3)
                nursery.start_soon(receiver, receive.clone())
            await send.aclose()

    run_often(work, TIMES // 4)


def test_channels_that_are_closed_or_cancelled():
    async def sender(send):
        try:
            await send.send([])
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            pass

    async def work(n):
        for i in range(n // 3):
            send, receive = trio.open_memory_channel(1)
            send.send_nowait([])
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(sender, send)
                await lowlevel.checkpoint()
                await lowlevel.checkpoint()
                if i % 3 == 0:
                    nursery.cancel_scope.cancel()
                elif i % 3 == 1:
                    send.close()
                else:
                    await receive.aclose()

    run_often(work, TIMES // 10)


def test_timeouts():
    async def work(n):
        for i in range(n // 2):
            with trio.fail_after(1000), trio.move_on_at(1e12):
                pass
            try:
                with trio.fail_after(1000) as scope:
                    scope.cancel()
                    await lowlevel.checkpoint()
            except trio.TooSlowError:
                pass

    run_often(work, TIMES // 4)


def test_wake_ups_with_values_and_errors():
    async def sleeper(n):
        for _ in range(n):
            try:
                await block()
            except KeyError:
                pass

    async def work(n):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper, n)
            (task,) = nursery.child_tasks
            await lowlevel.checkpoint()
            await lowlevel.checkpoint()
            for i in range(n):
                lowlevel.reschedule(task, Error(KeyError()) if i % 2 else Value(i))
                await lowlevel.checkpoint()
                await lowlevel.checkpoint()

    run_often(work, TIMES // 5)


def test_waiting_for_descriptors():
    async def work(n):
        a, b = socket.socketpair()
        with a, b:
            for i in range(n):
                await lowlevel.wait_writable(a)
                if i % 4 == 0:
                    with trio.CancelScope() as scope:
                        scope.cancel()
                        await lowlevel.wait_readable(a)
                if i % 16 == 0:
                    lowlevel.notify_closing(a)

    run_often(work, TIMES // 4)


@pytest.mark.parametrize("bad", [-1, 99999])
def test_descriptors_that_are_refused(bad):
    async def work(n):
        for _ in range(n):
            with contextlib.suppress(ValueError, OSError):
                await lowlevel.wait_readable(bad)

    run_often(work, TIMES // 10)


def test_run_sync_soon():
    async def work(n):
        token = lowlevel.current_trio_token()
        for i in range(n):
            token.run_sync_soon(isinstance, i, int)
            token.run_sync_soon(isinstance, i, int, idempotent=True)
            if i % 100 == 0:
                await settle()
        await settle()

    run_often(work)


def test_run_variables():
    var = lowlevel.RunVar("var")

    async def work(n):
        for i in range(n):
            token = var.set(i)
            var.reset(token)

    run_often(work)


def test_statistics_and_reprs():
    async def work(n):
        task = lowlevel.current_task()
        with trio.CancelScope(deadline=trio.current_time() + 100) as scope:
            for _ in range(n):
                repr(task)
                repr(scope)
                lowlevel.current_statistics()
                task.child_nurseries
                list(task.iter_await_frames())
                trio.current_effective_deadline()

    run_often(work, TIMES // 5)


def test_instruments():
    class Instrument(trio.abc.Instrument):
        def before_task_step(self, task):
            pass

        def before_io_wait(self, timeout):
            pass

    async def work(n):
        for _ in range(n):
            instrument = Instrument()
            lowlevel.add_instrument(instrument)
            await lowlevel.checkpoint()
            lowlevel.remove_instrument(instrument)

    run_often(work, TIMES // 10)


def test_awaitables_that_are_dropped():
    async def work(n):
        for _ in range(n):
            lowlevel.checkpoint().close()
            trio.sleep(1).close()
            lowlevel.wait_task_rescheduled(None).close()

    run_often(work)


def test_async_generators():
    async def generator():
        yield 1
        yield 2

    async def work(n):
        for _ in range(n):
            agen = generator()
            await anext(agen)
            await agen.aclose()

    run_often(work, TIMES // 5)


def test_messages_that_are_not_ours():
    class Foreign:
        def __await__(self):
            yield self

    async def work(n):
        for _ in range(n):
            try:
                await Foreign()
            except TypeError:
                pass

    run_often(work, TIMES // 10)


# The asyncio loop


def run_often_on_a_loop(work, times):
    """Run `await work(loop, n)` on a loop, first for a tenth and then for all."""
    loop = EventLoop()
    try:
        loop.run_until_complete(work(loop, times // 10))
        before = snapshot()
        loop.run_until_complete(work(loop, times))
        check(before, snapshot(), times)
    finally:
        loop.close()


@contextlib.contextmanager
def nonblocking_pair():
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        yield left, right


def test_socket_calls():
    async def work(loop, n):
        with nonblocking_pair() as (left, right):
            buffer = bytearray(10)
            for _ in range(n):
                await loop.sock_sendall(right, b"abc")
                await loop.sock_recv(left, 3)
                task = loop.create_task(loop.sock_recv_into(left, buffer))
                await asyncio.sleep(0)
                await loop.sock_sendall(right, buffer)
                await task

    run_often_on_a_loop(work, TIMES // 20)


def test_socket_calls_that_are_cancelled():
    async def work(loop, n):
        with nonblocking_pair() as (left, right):
            for _ in range(n):
                tasks = [
                    loop.create_task(loop.sock_recv(left, 3)),
                    loop.create_task(loop.sock_recv(left, 70_000)),
                    loop.create_task(loop.sock_sendall(right, bytes(1_000_000))),
                ]
                await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    run_often_on_a_loop(work, TIMES // 50)


def test_socket_calls_that_fail():
    async def work(loop, n):
        for _ in range(n):
            left, right = socket.socketpair()
            left.setblocking(False)
            waiting = loop.create_task(loop.sock_recv(left, 3))
            await asyncio.sleep(0)
            left.close()
            right.close()
            waiting.cancel()
            await asyncio.wait([waiting])
            for call in (
                loop.sock_recv(left, 1),
                loop.sock_recv_into(left, b"read-only"),
                loop.sock_sendall(left, "text"),
                loop.sock_accept(left),
            ):
                with contextlib.suppress(OSError, TypeError):
                    await call

    run_often_on_a_loop(work, TIMES // 50)


def test_connections_by_socket_calls():
    async def work(loop, n):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            for _ in range(n):
                with socket.socket() as client:
                    client.setblocking(False)
                    accepting = loop.create_task(loop.sock_accept(listener))
                    await loop.sock_connect(client, listener.getsockname())
                    (await accepting)[0].close()

    run_often_on_a_loop(work, TIMES // 100)


# Whole runs


def descriptors():
    return sorted(os.listdir("/dev/fd"))


def run_runs(once, times):
    for _ in range(5 + times // 2):
        once()
    before, open_before = snapshot(), len(descriptors())
    for _ in range(times):
        once()
    check(before, snapshot(), times)
    assert len(descriptors()) == open_before


def test_runs():
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lowlevel.checkpoint)

    run_runs(lambda: trio.run(main), 2000)


def test_runs_that_fail():
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await settle()
            raise KeyError

    def once():
        try:
            trio.run(main)
        except* KeyError:
            pass

    run_runs(once, 500)


def test_runs_that_crash():
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await settle()
            with trio.CancelScope() as scope:
                scope.cancel()
                await lowlevel.wait_task_rescheduled(lambda _: "nonsense")

    def once():
        assert run_or_crash(main) is None

    run_runs(once, 20)


def test_runs_that_never_begin():
    class Bad(trio.abc.Clock):
        def start_clock(self):
            raise KeyError

        def current_time(self):
            return 0.0

        def deadline_to_sleep_time(self, deadline):
            return 0.0

    async def main():
        raise AssertionError

    def once():
        assert run_or_crash(main, clock=Bad()) is None
        with pytest.raises(TypeError):
            trio.run(len)
        with pytest.raises(TypeError):
            trio.run(main, instruments=[[]])

    run_runs(once, 20)


def test_runs_in_threads():
    async def main():
        await lowlevel.checkpoint()

    def once():
        thread = threading.Thread(target=trio.run, args=(main,))
        thread.start()
        thread.join()

    run_runs(once, 300)


def test_runs_open_no_descriptor_later_on():
    # All that a run needs is opened before main starts.
    async def main():
        before = descriptors()
        a, b = socket.socketpair()
        with a, b:
            await lowlevel.wait_writable(a)
            with trio.move_on_after(0.001):
                await lowlevel.wait_readable(b)
        lowlevel.current_trio_token().run_sync_soon(int)
        await settle()
        assert descriptors() == before

    trio.run(main)
