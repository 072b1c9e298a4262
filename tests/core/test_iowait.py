"""Waiting for file descriptors."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time

import pytest
from trio_asyncio_c import trio

from ._helpers import (
    drain,
    fill,
    is_cancelled,
    nonblocking_pair,
    points,
    run,
    settle,
)

lowlevel = trio.lowlevel

both = pytest.mark.parametrize(
    "wait", [lowlevel.wait_readable, lowlevel.wait_writable], ids=["read", "write"]
)


async def waiting():
    """How many tasks wait to read and to write, once all that can wait does."""
    await settle()
    statistics = lowlevel.current_statistics().io_statistics
    return statistics.tasks_waiting_read, statistics.tasks_waiting_write


@contextlib.contextmanager
def pair_that_blocks(wait):
    """A socket on which `wait` blocks, its peer, and what lets it go on."""
    with nonblocking_pair() as (a, b):
        if wait is lowlevel.wait_readable:
            yield a, b, lambda: b.send(b"x")
        else:
            fill(a)
            yield a, b, lambda: drain(b)


@both
def test_waits_until_ready(wait):
    async def child(sock):
        await wait(sock)
        done.append(1)

    done = []

    async def main():
        with pair_that_blocks(wait) as (a, _, release):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child, a)
                await settle()
                assert done == []
                release()
        assert done == [1]

    run(main)


@both
def test_takes_a_number_or_an_object_with_fileno(wait):
    async def main():
        with pair_that_blocks(wait) as (a, _, release):
            release()
            await wait(a)
            await wait(a.fileno())

    run(main)


@both
def test_returns_none_and_is_a_checkpoint_when_ready(wait):
    async def main():
        with pair_that_blocks(wait) as (a, _, release):
            release()
            before = points()
            assert await wait(a) is None
            assert points() == (before[0] + 1, before[1] + 1)
            with trio.CancelScope() as scope:
                scope.cancel()
                await wait(a)
            assert scope.cancelled_caught

    run(main)


@both
def test_cancellation_unregisters(wait):
    # R36
    async def main():
        with pair_that_blocks(wait) as (a, _, release):
            before = await waiting()
            for _ in range(3):
                with trio.move_on_after(0.001) as scope:
                    await wait(a)
                assert scope.cancelled_caught
                assert await waiting() == before
            release()
            await wait(a)
            assert await waiting() == before

    run(main)


@both
def test_a_second_wait_on_one_fd_is_busy(wait):
    # R36
    async def main():
        with pair_that_blocks(wait) as (a, _, release):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait, a)
                await settle()
                for fd in [a, a.fileno()]:
                    with pytest.raises(
                        trio.BusyResourceError,
                        match="^another task is already reading / writing this fd$",
                    ):
                        await wait(fd)
                # The first one is still there.
                assert len(nursery.child_tasks) == 1
                release()

    run(main)


def test_reading_and_writing_one_fd_at_once():
    # R36
    async def child(wait, sock, name):
        await wait(sock)
        order.append(name)

    order = []

    async def main():
        with nonblocking_pair() as (a, b):
            fill(a)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child, lowlevel.wait_readable, a, "read")
                nursery.start_soon(child, lowlevel.wait_writable, a, "write")
                await settle()
                assert order == []
                b.send(b"x")
                await settle()
                assert order == ["read"]
                drain(b)
                await settle()
                assert order == ["read", "write"]

    run(main)


@pytest.mark.parametrize("shut", ["close", "reset"])
def test_hang_up_wakes_readers_and_writers(shut):
    # R36
    async def main():
        with nonblocking_pair() as (a, b):
            fill(a)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lowlevel.wait_readable, a)
                nursery.start_soon(lowlevel.wait_writable, a)
                await settle()
                assert len(nursery.child_tasks) == 2
                if shut == "reset":
                    b.shutdown(socket.SHUT_RDWR)
                b.close()

    run(main)


def test_readiness_of_a_pipe():
    async def main():
        reader, writer = os.pipe()
        try:
            os.set_blocking(reader, False)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lowlevel.wait_readable, reader)
                await lowlevel.wait_writable(writer)
                os.write(writer, b"x")
            assert os.read(reader, 10) == b"x"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lowlevel.wait_readable, reader)
                await settle()
                os.close(writer)
                writer = None
        finally:
            os.close(reader)
            if writer is not None:
                os.close(writer)

    run(main)


def test_level_triggered_waits():
    # What is not read is ready again.
    async def main():
        with nonblocking_pair() as (a, b):
            b.send(b"xyz")
            for _ in range(3):
                await lowlevel.wait_readable(a)
                assert a.recv(1)
            with trio.move_on_after(0.001) as scope:
                await lowlevel.wait_readable(a)
            assert scope.cancelled_caught

    run(main)


def test_readiness_that_nobody_waits_for_makes_no_busy_loop():
    turns = 0

    class Count(trio.abc.Instrument):
        def before_io_wait(self, timeout):
            nonlocal turns
            turns += 1

    async def main():
        nonlocal turns
        with nonblocking_pair() as (a, b):
            b.send(b"x")
            await lowlevel.wait_readable(a)
            await lowlevel.wait_readable(a)
            turns = 0
            await trio.sleep(0.02)
            assert turns < 20

    run(main, instruments=[Count()])


def test_echo():
    async def echo(sock):
        while True:
            await lowlevel.wait_readable(sock)
            data = sock.recv(1000)
            if not data:
                return
            await lowlevel.wait_writable(sock)
            sock.send(data)

    async def main():
        with nonblocking_pair() as (a, b):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(echo, a)
                for i in range(200):
                    message = b"%d" % i
                    b.send(message)
                    await lowlevel.wait_readable(b)
                    assert b.recv(1000) == message
                b.close()

    run(main)


def test_many_descriptors():
    async def child(i, sock):
        await lowlevel.wait_readable(sock)
        done.add(i)

    done = set()

    async def main():
        before = await waiting()
        with contextlib.ExitStack() as stack:
            pairs = [stack.enter_context(nonblocking_pair()) for _ in range(200)]
            async with trio.open_nursery() as nursery:
                for i, (a, _) in enumerate(pairs):
                    nursery.start_soon(child, i, a)
                assert await waiting() == (before[0] + 200, before[1])
                for _, b in pairs:
                    b.send(b"x")
        assert await waiting() == before

    run(main)
    assert done == set(range(200))


def test_io_is_not_starved_by_busy_tasks():
    async def busy():
        while not done:
            await lowlevel.checkpoint()

    done = []

    async def main():
        with nonblocking_pair() as (a, b):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(busy)
                nursery.start_soon(busy)
                b.send(b"x")
                await lowlevel.wait_readable(a)
                done.append(1)

    run(main)


def test_busy_tasks_delay_io_by_no_more_than_a_moment():
    # A wait ends within a millisecond or so of the event; twenty is generous.
    async def busy():
        while not done:
            await lowlevel.checkpoint()

    done, delays = [], []

    async def main():
        with nonblocking_pair() as (a, b):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(busy)
                for _ in range(20):
                    b.send(b"x")
                    start = time.perf_counter()
                    await lowlevel.wait_readable(a)
                    delays.append(time.perf_counter() - start)
                    a.recv(1)
                done.append(1)

    run(main)
    assert min(delays) < 0.02


# notify_closing


@both
def test_notify_closing_wakes_the_waiters(wait):
    # R37
    async def child(sock):
        with pytest.raises(
            trio.ClosedResourceError, match="^another task closed this fd$"
        ) as info:
            await wait(sock)
        errors.append(info.value)

    errors = []

    async def main():
        with pair_that_blocks(wait) as (a, _, _release):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child, a)
                await settle()
                lowlevel.notify_closing(a)
                await settle()
                assert len(errors) == 1
                # The fd is as good as new.
                nursery.start_soon(child, a)
                await settle()
                lowlevel.notify_closing(a.fileno())
        assert len(errors) == 2

    run(main)


def test_notify_closing_gives_each_waiter_its_own_error():
    # R37
    async def child(wait, sock):
        try:
            await wait(sock)
        except trio.ClosedResourceError as exc:
            errors.append(exc)

    errors = []

    async def main():
        with nonblocking_pair() as (a, _):
            fill(a)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child, lowlevel.wait_readable, a)
                nursery.start_soon(child, lowlevel.wait_writable, a)
                await settle()
                lowlevel.notify_closing(a)
        assert len(errors) == 2
        assert errors[0] is not errors[1]

    run(main)


def test_notify_closing_of_an_fd_that_nobody_waits_for():
    # R37
    async def main():
        with nonblocking_pair() as (a, _):
            lowlevel.notify_closing(a)
            lowlevel.notify_closing(a.fileno())
        lowlevel.notify_closing(-1)
        lowlevel.notify_closing(99999)
        before = await waiting()
        await lowlevel.checkpoint()
        assert await waiting() == before

    run(main)


def test_a_wait_that_was_ready_before_notify_closing():
    # The wake-up is on its way already; the error comes too late.
    async def child(sock):
        await lowlevel.wait_readable(sock)
        done.append(1)

    done = []

    class Close(trio.abc.Instrument):
        def task_scheduled(self, task):
            if task.name == "reader" and armed:
                armed.pop()
                lowlevel.notify_closing(sockets[0])

    armed, sockets = [], []

    async def main():
        with nonblocking_pair() as (a, b):
            sockets.append(a)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child, a, name="reader")
                await settle()
                armed.append(1)
                b.send(b"x")
        assert done == [1]

    run(main, instruments=[Close()])


# Bad descriptors


@both
def test_a_closed_descriptor(wait):
    # R37
    async def main():
        reader, writer = os.pipe()
        os.close(reader)
        os.close(writer)
        before = await waiting()
        with pytest.raises(OSError, match="Bad file descriptor") as info:
            await wait(reader)
        assert info.value.errno == errno.EBADF
        assert await waiting() == before
        assert not await is_cancelled()

    run(main)


@both
def test_a_negative_descriptor(wait):
    async def main():
        with pytest.raises(
            ValueError,
            match=r"^file descriptor cannot be a negative integer \(-1\)$",
        ):
            await wait(-1)
        await lowlevel.checkpoint()

    run(main)


@both
def test_a_socket_that_was_closed(wait):
    async def main():
        with nonblocking_pair() as (a, _):
            a.close()
            with pytest.raises(ValueError, match="negative"):
                await wait(a)

    run(main)


@both
def test_a_regular_file(wait, tmp_path):
    async def main():
        with open(tmp_path / "file", "wb") as file:
            with pytest.raises(PermissionError) as info:
                await wait(file.fileno())
            assert info.value.errno == errno.EPERM

    run(main)


@both
def test_something_that_is_no_descriptor(wait):
    # R46: trio turns the error into a misleading RuntimeError.
    async def main():
        for thing in ["x", None, 1.5]:
            with pytest.raises((AttributeError, TypeError, RuntimeError)):
                await wait(thing)
        await lowlevel.checkpoint()

    run(main)


@both
def test_an_error_of_fileno_comes_out(wait):
    class Bad:
        def fileno(self):
            raise LookupError("no fileno")

    async def main():
        with pytest.raises(LookupError, match="no fileno"):
            await wait(Bad())

    run(main)


def test_waiting_outside_a_run_raises():
    # R45
    with nonblocking_pair() as (a, _):
        for wait in [lowlevel.wait_readable, lowlevel.wait_writable]:
            with pytest.raises(RuntimeError, match="must be called from async context"):
                wait(a).send(None)


def test_an_fd_closed_behind_our_back_wakes_its_waiters_at_the_next_wait():
    # R37: the registration fails, and all who wait for the fd learn of it.
    async def child(sock_fd):
        with pytest.raises(OSError, match="Bad file descriptor"):
            await lowlevel.wait_readable(sock_fd)
        woken.append(1)

    woken = []

    async def main():
        with nonblocking_pair() as (a, b):
            fd = a.fileno()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child, fd)
                await settle()
                a.close()
                with pytest.raises(OSError, match="Bad file descriptor"):
                    await lowlevel.wait_writable(fd)
                await settle()
                assert woken == [1]

    run(main)


def test_a_number_used_again_after_an_unannounced_close():
    # The old registration is gone with the old file; the new one must work.
    async def main():
        with nonblocking_pair() as (a, b), nonblocking_pair() as (c, d):
            fd = a.fileno()
            with trio.move_on_after(0.001):
                await lowlevel.wait_readable(fd)
            os.dup2(c.fileno(), fd)
            d.send(b"x")
            await lowlevel.wait_readable(fd)
            with trio.CancelScope() as scope:
                d.send(b"y")
                await lowlevel.wait_writable(fd)
            assert not scope.cancelled_caught

    run(main)


def test_a_duplicate_left_open_makes_no_busy_loop():
    # The kernel keeps reporting a closed number while a duplicate is open.
    turns = 0

    class Count(trio.abc.Instrument):
        def before_io_wait(self, timeout):
            nonlocal turns
            turns += 1

    async def main():
        nonlocal turns
        with nonblocking_pair() as (a, b):
            duplicate = os.dup(a.fileno())
            try:
                with trio.move_on_after(0.001):
                    await lowlevel.wait_readable(a)
                a.close()
                b.send(b"x")
                turns = 0
                await trio.sleep(0.02)
                assert turns < 20
            finally:
                os.close(duplicate)

    run(main, instruments=[Count()])


def test_cancelling_one_direction_keeps_the_other():
    # R36
    async def child(sock):
        await lowlevel.wait_readable(sock)
        done.append(1)

    done = []

    async def main():
        with nonblocking_pair() as (a, b):
            fill(a)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child, a)
                with trio.move_on_after(0.001) as scope:
                    await lowlevel.wait_writable(a)
                assert scope.cancelled_caught
                await settle()
                assert done == []
                b.send(b"x")
        assert done == [1]

    run(main)


def test_waits_under_a_mock_clock_are_real():
    async def main():
        with nonblocking_pair() as (a, b):
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def send():
                    await trio.sleep(1000)
                    b.send(b"x")

                await lowlevel.wait_readable(a)
        return trio.current_time()

    clock = trio.testing.MockClock(autojump_threshold=0.001)
    assert run(main, clock=clock) >= 1000


def test_statistics_count_the_waiting_tasks():
    async def main():
        before = await waiting()
        with nonblocking_pair() as (a, b):
            fill(a)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lowlevel.wait_readable, a)
                nursery.start_soon(lowlevel.wait_writable, a)
                # This one is readable and waits no more.
                nursery.start_soon(lowlevel.wait_readable, b)
                assert await waiting() == (before[0] + 1, before[1] + 1)
                nursery.cancel_scope.cancel()
        assert await waiting() == before

    run(main)
