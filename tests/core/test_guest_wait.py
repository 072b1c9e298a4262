"""Guest mode: how the guest waits, and what ends its wait."""

from __future__ import annotations

import errno
import socket
import threading
import time
from functools import partial

import pytest
from trio_asyncio_c import trio

from ._guest_hosts import PATIENCE_S, QueueHost, Waiting, guest_run
from ._helpers import Value, block, nonblocking_pair, settle

lowlevel = trio.lowlevel

split_or_not = pytest.mark.parametrize(
    "split", [True, False], ids=["two functions", "one function"]
)


# Waiting


@split_or_not
def test_sockets_while_the_host_waits(split):
    async def echo(sock, rounds):
        for _ in range(rounds):
            await lowlevel.wait_readable(sock)
            data = sock.recv(100)
            await lowlevel.wait_writable(sock)
            sock.send(data)

    async def main():
        with nonblocking_pair() as (a, b):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(echo, b, 50)
                for i in range(50):
                    a.send(b"%d" % i)
                    await lowlevel.wait_readable(a)
                    assert a.recv(100) == b"%d" % i
        return "done"

    assert guest_run(main, split=split) == "done"


def test_data_that_arrives_from_outside_during_the_wait():
    async def main():
        with nonblocking_pair() as (a, b):
            for _ in range(10):
                waiting = Waiting(host, lambda: b.send(b"x"))
                waiting.enter()
                await lowlevel.wait_readable(a)
                assert a.recv(10) == b"x"

    host = QueueHost()
    host.run(main)
    assert host.threadsafe_calls >= 10


def test_many_sockets_ready_at_once_during_the_wait():
    count = 200

    async def reader(sock):
        await lowlevel.wait_readable(sock)
        assert sock.recv(10) == b"x"
        done.append(sock)

    def feed():
        for _, far in pairs:
            far.send(b"x")

    async def main():
        async with trio.open_nursery() as nursery:
            for near, _ in pairs:
                near.setblocking(False)
                nursery.start_soon(reader, near)
            await settle()
            Waiting(host, feed).enter()

    done = []
    pairs = [socket.socketpair() for _ in range(count)]
    host = QueueHost()
    try:
        host.run(main)
    finally:
        for near, far in pairs:
            near.close()
            far.close()
    assert len(done) == count


def test_a_socket_closed_without_notice_during_the_wait_does_no_harm():
    async def reader(sock):
        try:
            await lowlevel.wait_readable(sock)
        except OSError as exc:
            assert exc.errno == errno.EBADF

    async def main():
        a, b = socket.socketpair()
        c, d = socket.socketpair()
        with a, b, c, d:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reader, a)
                await settle()

                def close():
                    a.close()
                    d.send(b"x")

                Waiting(host, close).enter()
                await lowlevel.wait_readable(c)
                nursery.cancel_scope.cancel()
        return "went on"

    host = QueueHost()
    assert host.run(main) == "went on"


def test_host_closes_a_socket_with_notice_during_the_wait():
    async def main():
        a, b = socket.socketpair()
        with a, b:

            def close():
                lowlevel.notify_closing(a)
                a.close()

            Waiting(host, close).enter()
            with pytest.raises(trio.ClosedResourceError):
                await lowlevel.wait_readable(a)

    host = QueueHost()
    host.run(main)


def test_deadlines():
    async def main():
        start = trio.current_time()
        await trio.sleep(0.02)
        with trio.move_on_after(0.02) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        return trio.current_time() - start

    assert 0.04 <= guest_run(main) < PATIENCE_S


def test_a_busy_guest_leaves_turns_to_the_host():
    async def main():
        while len(ticks) < 20:
            await lowlevel.checkpoint()

    def tick():
        ticks.append(1)
        if len(ticks) < 20:
            host.call_soon(tick)

    ticks = []
    host = QueueHost()
    host.call_soon(tick)
    host.run(main)


# What ends a wait. Each of these hangs, rather than being slow, where it fails:
# without a wake-up the guest sleeps for a day.


def test_host_cancels_a_scope():
    async def main():
        with trio.CancelScope() as scope:
            Waiting(host, scope.cancel).enter()
            await trio.sleep_forever()
        assert scope.cancelled_caught

    host = QueueHost()
    host.run(main)


def test_host_sets_an_event():
    async def main():
        for _ in range(20):
            event = trio.Event()
            Waiting(host, event.set).enter()
            await event.wait()

    host = QueueHost()
    host.run(main)


def test_host_starts_a_task_in_a_nursery_of_the_guest():
    async def main():
        async with trio.open_nursery() as nursery:
            Waiting(host, lambda: nursery.start_soon(child, nursery)).enter()
            await trio.sleep_forever()

    async def child(nursery):
        events.append("child")
        nursery.cancel_scope.cancel()

    events = []
    host = QueueHost()
    host.run(main)
    assert events == ["child"]


def test_host_spawns_a_system_task():
    async def system():
        event.set()

    async def main():
        Waiting(host, lambda: lowlevel.spawn_system_task(system)).enter()
        await event.wait()

    event = trio.Event()
    host = QueueHost()
    host.run(main)


def test_host_reschedules_a_task():
    async def main():
        task = lowlevel.current_task()
        Waiting(host, lambda: lowlevel.reschedule(task, Value("host"))).enter()
        return await block()

    host = QueueHost()
    assert host.run(main) == "host"


@pytest.mark.parametrize("first", [float("inf"), 1e6], ids=["none", "far"])
def test_host_moves_a_deadline_to_now(first):
    async def main():
        with trio.CancelScope() as scope:
            scope.deadline = trio.current_time() + first

            def move():
                scope.deadline = trio.current_time()

            Waiting(host, move).enter()
            await trio.sleep_forever()
        assert scope.cancelled_caught

    host = QueueHost()
    host.run(main)


def test_host_moves_a_deadline_away():
    async def main():
        with trio.CancelScope() as scope:
            scope.deadline = trio.current_time() + 1e6

            def move():
                scope.deadline = float("inf")
                host.after(5, event.set)

            Waiting(host, move).enter()
            await event.wait()
        assert not scope.cancel_called

    event = trio.Event()
    host = QueueHost()
    host.run(main)


def test_host_shields_and_unshields_a_scope():
    async def main():
        with trio.CancelScope() as outer:
            with trio.CancelScope(shield=True) as inner:

                def act():
                    outer.cancel()
                    inner.shield = False

                Waiting(host, act).enter()
                await trio.sleep_forever()
        assert outer.cancelled_caught
        assert not inner.cancelled_caught

    host = QueueHost()
    host.run(main)


def test_run_sync_soon_of_the_host():
    async def main():
        token = lowlevel.current_trio_token()
        for _ in range(10):
            event = trio.Event()
            Waiting(host, partial(token.run_sync_soon, event.set)).enter()
            await event.wait()

    host = QueueHost()
    host.run(main)


def test_run_sync_soon_of_another_thread():
    async def main():
        token = lowlevel.current_trio_token()
        for _ in range(10):
            event = trio.Event()
            thread = threading.Thread(target=token.run_sync_soon, args=(event.set,))
            Waiting(host, thread.start).enter()
            await event.wait()
            thread.join()

    host = QueueHost()
    host.run(main)


def test_worker_threads_and_back():
    async def main():
        def work():
            return trio.from_thread.run(double, 21), threading.get_ident()

        value, ident = await trio.to_thread.run_sync(work)
        assert ident != threading.get_ident()
        return value

    async def double(x):
        await lowlevel.checkpoint()
        return 2 * x

    assert guest_run(main) == 42


def test_many_wakeups_in_one_wait_are_one():
    async def main():
        events = [trio.Event() for _ in range(500)]

        def act():
            for event in events:
                event.set()

        Waiting(host, act).enter()
        for event in events:
            await event.wait()

    host = QueueHost()
    host.run(main)


# Idleness and clocks


def test_wait_all_tasks_blocked_with_a_cushion():
    async def main():
        start = time.monotonic()
        await trio.testing.wait_all_tasks_blocked(0.03)
        return time.monotonic() - start

    assert 0.03 <= guest_run(main) < PATIENCE_S


def test_a_wake_up_by_the_host_is_no_end_of_all_blocked():
    # The wait was ended early, so the cushion starts anew.
    async def main():
        with trio.CancelScope() as scope:
            scope.deadline = trio.current_time() + 1e6

            async def watch():
                await trio.testing.wait_all_tasks_blocked(3600)
                raise AssertionError("nobody was blocked that long")

            def move():
                scope.deadline += 1

            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                await settle()
                for _ in range(5):
                    moved = trio.Event()

                    def act(moved=moved):
                        move()
                        host.after(3, moved.set)

                    Waiting(host, act).enter()
                    await moved.wait()
                nursery.cancel_scope.cancel()

    host = QueueHost()
    host.run(main)


@split_or_not
def test_mock_clock_jumps(split):
    async def main():
        start = trio.current_time()
        await trio.sleep(1000)
        with trio.move_on_after(500) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        return trio.current_time() - start

    clock = trio.testing.MockClock(autojump_threshold=0)
    assert guest_run(main, clock=clock, split=split) == 1500


def test_mock_clock_that_begins_to_jump_while_the_guest_waits():
    async def main():
        def act():
            clock.autojump_threshold = 0

        Waiting(host, act).enter()
        await trio.sleep(1000)

    clock = trio.testing.MockClock()
    host = QueueHost()
    host.run(main, clock=clock)
    assert clock.current_time() == 1000
