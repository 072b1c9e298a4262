"""The clock for tests, and the one that is used otherwise."""

from __future__ import annotations

import math
import time

import pytest
from trio_asyncio_c import trio
from trio_asyncio_c._clock import SystemClock

MockClock = trio.testing.MockClock
wait_all_tasks_blocked = trio.testing.wait_all_tasks_blocked


class RealTime:
    """Stands in for the real clock under a MockClock."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def clock_on(real, rate=0.0):
    clock = MockClock()
    clock._real_clock = real
    clock.rate = rate
    return clock


# ---- the clock by itself ----


def test_is_a_clock_and_final():
    assert isinstance(MockClock(), trio.abc.Clock)
    with pytest.raises(TypeError, match="does not support subclassing"):
        type("Sub", (MockClock,), {})


def test_stands_still_at_zero():
    clock = MockClock()
    assert clock.rate == 0.0
    assert clock.autojump_threshold == math.inf
    for _ in range(3):
        assert clock.current_time() == 0.0


def test_repr():
    clock = MockClock()
    clock.jump(1.5)
    expected = f"<MockClock, time=1.5000000, rate=0.0 @ {id(clock):#x}>"
    assert repr(clock) == expected


def test_jump():
    clock = MockClock()
    clock.jump(1.5)
    clock.jump(0)
    clock.jump(2)
    assert clock.current_time() == 3.5
    with pytest.raises(ValueError, match="time can't go backwards"):
        clock.jump(-1)
    assert clock.current_time() == 3.5


def test_rate():
    real = RealTime()
    clock = clock_on(real, rate=2)
    assert clock.rate == 2.0
    assert clock.current_time() == 0.0
    real.now += 5
    assert clock.current_time() == 10.0
    clock.rate = 0.5
    assert clock.current_time() == 10.0
    real.now += 4
    assert clock.current_time() == 12.0
    clock.jump(100)
    assert clock.current_time() == 112.0
    clock.rate = 0
    real.now += 50
    assert clock.current_time() == 112.0


def test_rate_must_not_be_negative():
    with pytest.raises(ValueError, match="rate must be >= 0"):
        MockClock(rate=-1)
    clock = MockClock(rate=3)
    with pytest.raises(ValueError, match="rate must be >= 0"):
        clock.rate = -0.5
    assert clock.rate == 3.0


def test_deadline_to_sleep_time():
    real = RealTime()
    clock = clock_on(real)
    assert clock.deadline_to_sleep_time(5) == math.inf
    assert clock.deadline_to_sleep_time(0) == 0
    assert clock.deadline_to_sleep_time(-5) == 0
    clock.rate = 4
    assert clock.deadline_to_sleep_time(5) == 1.25
    real.now += 1
    assert clock.deadline_to_sleep_time(5) == 0.25
    assert clock.deadline_to_sleep_time(math.inf) == math.inf


# ---- in a run ----


def test_run_uses_it():
    clock = MockClock()

    async def main():
        assert trio.lowlevel.current_clock() is clock
        assert trio.current_time() == 0.0
        clock.jump(5)
        assert trio.current_time() == 5.0

    trio.run(main, clock=clock)
    assert clock.current_time() == 5.0


def test_a_second_run_goes_on_where_the_first_ended():
    clock = MockClock(autojump_threshold=0)

    async def main():
        await trio.sleep(10)
        return trio.current_time()

    assert trio.run(main, clock=clock) == 10.0
    assert trio.run(main, clock=clock) == 20.0


def test_jumping_wakes_sleepers():
    clock = MockClock()

    async def main():
        woken = []

        async def sleeper(seconds):
            await trio.sleep(seconds)
            woken.append(seconds)

        async with trio.open_nursery() as nursery:
            for seconds in (1, 2, 3):
                nursery.start_soon(sleeper, seconds)
            await wait_all_tasks_blocked()
            clock.jump(0.5)
            await wait_all_tasks_blocked()
            assert woken == []
            clock.jump(1.5)
            await wait_all_tasks_blocked()
            assert sorted(woken) == [1, 2]
            clock.jump(1)
        assert len(woken) == 3

    trio.run(main, clock=clock)


def test_a_fast_clock_shortens_real_waits():
    async def main():
        await trio.sleep(1000)

    begin = time.monotonic()
    trio.run(main, clock=MockClock(rate=100_000))
    assert time.monotonic() - begin < 30


# ---- jumping by itself ----


def test_autojump_skips_all_waiting():
    clock = MockClock(autojump_threshold=0)

    async def main():
        # That would be thirty years.
        for _ in range(10):
            await trio.sleep(1e8)
        with trio.move_on_after(1e8):
            await trio.sleep_forever()

    begin = time.monotonic()
    trio.run(main, clock=clock)
    assert time.monotonic() - begin < 30
    assert clock.current_time() == 11e8


def test_autojump_goes_from_deadline_to_deadline():
    clock = MockClock(autojump_threshold=0)

    async def main():
        times = []

        async def sleeper(seconds):
            await trio.sleep(seconds)
            times.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            for seconds in (30, 10, 20):
                nursery.start_soon(sleeper, seconds)
        assert times == [10.0, 20.0, 30.0]

    trio.run(main, clock=clock)


def test_autojump_set_during_the_run():
    clock = MockClock()

    async def main():
        clock.autojump_threshold = 0
        await trio.sleep(1e6)
        clock.autojump_threshold = math.inf
        with trio.move_on_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                await wait_all_tasks_blocked(0.02)
                assert trio.current_time() == 1e6
                clock.jump(10)

    trio.run(main, clock=clock)


def test_autojump_without_a_deadline_waits_for_what_there_is():
    clock = MockClock(autojump_threshold=0)

    async def main():
        event = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def in_thread():
            token.run_sync_soon(event.set)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, in_thread)
            await event.wait()
        assert trio.current_time() == 0.0

    trio.run(main, clock=clock)


def test_autojump_after_a_threshold():
    clock = MockClock(autojump_threshold=0.02)

    async def main():
        # Somebody is busy all the time, so it does not jump.
        end = time.monotonic() + 0.06
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 100)
                while time.monotonic() < end:
                    await trio.lowlevel.checkpoint()
                assert trio.current_time() == 0.0
                scope.cancel()
        begin = time.monotonic()
        await trio.sleep(100)
        assert time.monotonic() - begin >= 0.019
        assert trio.current_time() == 100.0

    trio.run(main, clock=clock)


@pytest.mark.parametrize("cushion", [0.0, 0.02])
def test_waiting_until_all_are_blocked_goes_before_autojump(cushion):
    clock = MockClock(autojump_threshold=0)

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 100)
            for _ in range(3):
                await wait_all_tasks_blocked(cushion)
                assert trio.current_time() == 0.0
        assert trio.current_time() == 100.0

    trio.run(main, clock=clock)


def test_a_clock_that_is_not_used_does_not_disturb_the_run():
    clock = MockClock(autojump_threshold=0)

    async def main():
        other = MockClock(autojump_threshold=math.inf)
        other.autojump_threshold = 12345
        await trio.sleep(100)
        other.jump(1)
        assert trio.current_time() == 100.0

    trio.run(main, clock=clock)


# ---- the real clock ----


def test_system_clock_is_the_monotonic_clock():
    clock = SystemClock()
    assert isinstance(clock, trio.abc.Clock)
    assert clock.start_clock() is None
    before = time.monotonic()
    now = clock.current_time()
    assert before <= now <= time.monotonic()
    wait = clock.deadline_to_sleep_time(now + 100)
    assert 90 < wait <= 100
    assert clock.deadline_to_sleep_time(now - 100) <= -100
    assert clock.deadline_to_sleep_time(math.inf) == math.inf


def test_system_clock_can_be_given_to_a_run():
    clock = SystemClock()

    async def main():
        assert trio.lowlevel.current_clock() is clock
        before = time.monotonic()
        now = trio.current_time()
        assert before <= now <= time.monotonic()
        await trio.sleep(0.001)

    trio.run(main, clock=clock)
