"""Clocks: the system's, one's own, MockClock; and waiting for idleness."""

from __future__ import annotations

import math
import threading
import time

import pytest
from trio_asyncio_c import trio

from ._helpers import (
    OUTSIDE_TEXT,
    block,
    crash,
    nonblocking_pair,
    run,
    run_mock,
    settle,
)

lowlevel = trio.lowlevel
MockClock = trio.testing.MockClock
wait_all_tasks_blocked = trio.testing.wait_all_tasks_blocked
inf = math.inf


# The system clock


def test_the_system_clock_is_time_monotonic():
    # Trio adds a random offset; here asyncio's and Trio's clocks are one.
    async def main():
        before = time.monotonic()
        now = trio.current_time()
        after = time.monotonic()
        assert before <= now <= after

    run(main)


def test_time_goes_on_by_itself():
    async def main():
        times = [trio.current_time() for _ in range(100)]
        assert times == sorted(times)
        start = trio.current_time()
        time.sleep(0.01)
        assert trio.current_time() - start >= 0.0099
        assert isinstance(start, float)

    run(main)


def test_the_current_clock_is_a_clock():
    async def main():
        clock = lowlevel.current_clock()
        assert isinstance(clock, trio.abc.Clock)
        assert clock.current_time() == pytest.approx(trio.current_time(), abs=1)
        deadline = clock.current_time() + 5
        assert clock.deadline_to_sleep_time(deadline) == pytest.approx(5, abs=1)

    run(main)


def test_a_sleep_never_ends_early():
    async def main():
        for delay in [0.0, 0.0001, 0.001, 0.0037, 0.011]:
            end = trio.current_time() + delay
            await trio.sleep_until(end)
            assert trio.current_time() >= end

    run(main)


# One's own clock


class Clock(trio.abc.Clock):
    """A clock that runs a thousand times as fast."""

    RATE = 1000

    def __init__(self):
        self.calls = []

    def start_clock(self):
        self.calls.append("start_clock")
        assert lowlevel.in_trio_run()
        assert not lowlevel.in_trio_task()
        self.start = time.monotonic()

    def current_time(self):
        return 50.0 + (time.monotonic() - self.start) * self.RATE

    def deadline_to_sleep_time(self, deadline):
        self.calls.append("deadline_to_sleep_time")
        return (deadline - self.current_time()) / self.RATE


def test_a_clock_of_ones_own():
    clock = Clock()

    async def main():
        assert lowlevel.current_clock() is clock
        assert trio.current_time() >= 50
        start = time.monotonic()
        begin = trio.current_time()
        await trio.sleep(10)
        assert trio.current_time() >= begin + 10
        assert time.monotonic() - start < 5
        with trio.move_on_after(10) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught

    run(main, clock=clock)
    assert clock.calls[0] == "start_clock"
    assert clock.calls.count("start_clock") == 1
    assert "deadline_to_sleep_time" in clock.calls


def test_a_clock_is_started_after_before_run_and_before_any_task():
    # R38
    events = []

    class Noting(Clock):
        def start_clock(self):
            events.append("start_clock")
            super().start_clock()

    class Look(trio.abc.Instrument):
        def before_run(self):
            events.append("before_run")

        def task_spawned(self, task):
            events.append("task_spawned")

    async def main():
        pass

    run(main, clock=Noting(), instruments=[Look()])
    assert events[:3] == ["before_run", "start_clock", "task_spawned"]


def test_the_deadline_given_to_the_clock_is_the_next_one():
    deadlines = []

    class Jumping(trio.abc.Clock):
        now = 0.0

        def start_clock(self):
            pass

        def current_time(self):
            return self.now

        def deadline_to_sleep_time(self, deadline):
            deadlines.append(deadline)
            if deadline == inf:
                return inf
            self.now = deadline
            return 0

    async def main():
        async with trio.open_nursery() as nursery:
            for end in [30, 10, 20, 10]:
                nursery.start_soon(trio.sleep_until, end)

    run(main, clock=Jumping())
    assert [deadline for deadline in deadlines if deadline != inf] == [10, 20, 30]


def test_without_deadlines_the_clock_is_asked_about_infinity():
    # R3
    deadlines = []

    class Noting(Clock):
        def deadline_to_sleep_time(self, deadline):
            deadlines.append(deadline)
            return deadline - self.current_time()

    async def main():
        await settle()

    run(main, clock=Noting())
    assert inf in deadlines


@pytest.mark.parametrize("method", ["current_time", "deadline_to_sleep_time"])
def test_a_clock_that_raises_is_an_internal_error(method):
    # R32
    armed = []

    class Bad(Clock):
        def current_time(self):
            if armed and method == "current_time":
                raise KeyError("clock")
            return super().current_time()

        def deadline_to_sleep_time(self, deadline):
            if armed and method == "deadline_to_sleep_time":
                raise KeyError("clock")
            return super().deadline_to_sleep_time(deadline)

    async def main():
        armed.append(1)
        await block()

    _, cause = crash(main, clock=Bad())
    assert cause == "KeyError('clock')"


def test_a_scope_of_a_clock_that_raises():
    class Bad(Clock):
        bad = False

        def current_time(self):
            if self.bad:
                self.bad = False
                raise KeyError("clock")
            return super().current_time()

    async def main():
        clock = lowlevel.current_clock()
        scope = trio.CancelScope(relative_deadline=5)
        clock.bad = True
        with pytest.raises(KeyError, match="clock"):
            scope.__enter__()
        clock.bad = True
        with pytest.raises(KeyError, match="clock"):
            trio.current_time()
        await lowlevel.checkpoint()

    run(main, clock=Bad())


# MockClock


def test_a_mock_clock_stands_still():
    async def main():
        assert trio.current_time() == 0
        time.sleep(0.002)
        assert trio.current_time() == 0

    run(main, clock=MockClock())


def test_jumping():
    clock = MockClock()
    assert clock.current_time() == 0
    clock.jump(1.5)
    clock.jump(0)
    assert clock.current_time() == 1.5
    with pytest.raises(ValueError, match="^time can't go backwards$"):
        clock.jump(-1)

    async def main():
        assert trio.current_time() == 1.5
        with trio.move_on_after(10) as scope:
            clock.jump(9)
            await lowlevel.checkpoint()
            assert not scope.cancel_called
            clock.jump(1)
            await trio.sleep_forever()
        assert scope.cancelled_caught

    run(main, clock=clock)


def test_the_rate():
    clock = MockClock(rate=1000)
    assert clock.rate == 1000
    start = clock.current_time()
    time.sleep(0.005)
    assert clock.current_time() - start >= 4
    clock.rate = 0
    assert clock.current_time() == clock.current_time()
    with pytest.raises(ValueError, match="^rate must be >= 0$"):
        clock.rate = -1
    with pytest.raises(ValueError, match="^rate must be >= 0$"):
        MockClock(rate=-1)


def test_a_fast_mock_clock_in_a_run():
    async def main():
        start = time.monotonic()
        await trio.sleep(10)
        assert trio.current_time() >= 10
        assert time.monotonic() - start < 5

    run(main, clock=MockClock(rate=1000))


def test_autojump():
    # R4, R5
    async def main():
        start = time.monotonic()
        for delay in [100, 3600, 0.5, 86400 * 365]:
            begin = trio.current_time()
            await trio.sleep(delay)
            assert trio.current_time() == begin + delay
        assert time.monotonic() - start < 5

    run_mock(main)


def test_autojump_goes_to_the_nearest_deadline():
    async def sleeper(delay):
        await trio.sleep(delay)
        times.append(trio.current_time())

    times = []

    async def main():
        async with trio.open_nursery() as nursery:
            for delay in [30, 10, 20]:
                nursery.start_soon(sleeper, delay)

    run_mock(main)
    assert times == [10, 20, 30]


def test_autojump_threshold_can_be_changed():
    # R5
    clock = MockClock()
    assert clock.autojump_threshold == inf

    async def main():
        clock.autojump_threshold = 0.001
        assert clock.autojump_threshold == 0.001
        await trio.sleep(1000)
        assert trio.current_time() == 1000
        clock.autojump_threshold = 0
        await trio.sleep(1000)
        assert trio.current_time() == 2000
        clock.autojump_threshold = inf
        with nonblocking_pair() as (a, b):
            worker = threading.Timer(0.02, b.send, (b"x",))
            worker.start()
            with trio.move_on_after(1000) as scope:
                await lowlevel.wait_readable(a)
            assert not scope.cancelled_caught
            worker.join()
        assert trio.current_time() == 2000

    run(main, clock=clock)


def test_changing_the_threshold_of_a_clock_that_is_not_the_runs():
    # R5
    other = MockClock()

    async def main():
        other.autojump_threshold = 0
        other.autojump_threshold = inf
        await lowlevel.checkpoint()

    run(main)
    run_mock(main)


def test_autojump_waits_for_its_threshold():
    # R4: real seconds of idleness.
    async def main():
        start = time.monotonic()
        await trio.sleep(1000)
        assert time.monotonic() - start >= 0.0099

    run(main, clock=MockClock(autojump_threshold=0.01))


def test_autojump_needs_idleness():
    # R4
    async def busy():
        while not stop:
            await lowlevel.checkpoint()

    stop = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(busy)
            nursery.start_soon(trio.sleep, 1000)
            for _ in range(50):
                await lowlevel.checkpoint()
                assert trio.current_time() == 0
            stop.append(1)
        assert trio.current_time() == 1000

    run_mock(main)


def test_autojump_does_not_jump_to_infinity():
    # R5
    async def main():
        with nonblocking_pair() as (a, b):
            worker = threading.Timer(0.02, b.send, (b"x",))
            worker.start()
            await lowlevel.wait_readable(a)
            worker.join()
        assert trio.current_time() == 0

    run_mock(main)


def test_an_autojump_clock_can_be_used_for_several_runs():
    clock = MockClock(autojump_threshold=0)

    async def main():
        begin = trio.current_time()
        await trio.sleep(10)
        return begin

    assert [run(main, clock=clock) for _ in range(3)] == [0, 10, 20]


def test_repr_of_a_mock_clock():
    clock = MockClock(rate=0)
    clock.jump(1.25)
    assert repr(clock) == f"<MockClock, time=1.2500000, rate=0.0 @ {id(clock):#x}>"


# wait_all_tasks_blocked


def test_waits_until_all_tasks_are_blocked():
    # R4
    async def child():
        for i in range(10):
            await lowlevel.checkpoint()
            log.append(i)
        await block()

    log = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            nursery.start_soon(child)
            await wait_all_tasks_blocked()
            assert len(log) == 20
            nursery.cancel_scope.cancel()

    run(main)


def test_all_with_the_same_cushion_wake_together():
    # R4
    async def waiter():
        await wait_all_tasks_blocked(0.001)
        turns.append(turn[0])

    turns, turn = [], [0]

    class Count(trio.abc.Instrument):
        def before_io_wait(self, timeout):
            turn[0] += 1

    async def main():
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(waiter)

    run(main, instruments=[Count()])
    assert len(turns) == 5
    assert len(set(turns)) == 1


def test_the_smallest_cushion_wakes_first():
    # R4: and resets the others.
    async def waiter(cushion):
        await wait_all_tasks_blocked(cushion)
        order.append(cushion)

    order = []

    async def main():
        async with trio.open_nursery() as nursery:
            for cushion in [0.02, 0.0, 0.01]:
                nursery.start_soon(waiter, cushion)

    run(main)
    assert order == [0.0, 0.01, 0.02]


def test_the_cushion_is_real_time_of_idleness():
    # R4
    async def main():
        start = time.monotonic()
        await wait_all_tasks_blocked(0.02)
        assert time.monotonic() - start >= 0.0199

    run(main)
    run_mock(main)


def test_activity_during_the_cushion_starts_it_anew():
    # R4
    async def active():
        for _ in range(5):
            await trio.sleep(0.01)
        done.append(1)

    done = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(active)
            await wait_all_tasks_blocked(0.1)
            assert done == [1]

    run(main)


def test_who_waits_for_idleness_comes_before_autojump():
    # R4
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 1000)
            await wait_all_tasks_blocked(0.005)
            assert trio.current_time() == 0
        assert trio.current_time() == 1000

    run_mock(main)


def test_a_cushion_at_the_deadline_is_not_primed():
    # R4: strictly smaller than the timeout, or the deadline comes first.
    async def sleeper():
        await trio.sleep(0.005)
        order.append("deadline")

    async def waiter():
        await wait_all_tasks_blocked(0.05)
        order.append("idle")

    order = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper)
            nursery.start_soon(waiter)

    run(main)
    assert order == ["deadline", "idle"]


def test_waiting_for_idleness_can_be_cancelled():
    async def main():
        with trio.move_on_after(0.001) as scope:
            await wait_all_tasks_blocked(1000)
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await wait_all_tasks_blocked()
        assert scope.cancelled_caught

    run(main)


def test_io_counts_as_activity():
    async def reader(sock):
        for _ in range(3):
            await lowlevel.wait_readable(sock)
            sock.recv(1)
            log.append(1)

    log = []

    async def main():
        with nonblocking_pair() as (a, b):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reader, a)
                for i in range(3):
                    await wait_all_tasks_blocked()
                    assert len(log) == i
                    b.send(b"x")

    run(main)


def test_waiting_for_idleness_outside_a_run():
    # R45
    with pytest.raises(RuntimeError, match=OUTSIDE_TEXT):
        wait_all_tasks_blocked().send(None)
