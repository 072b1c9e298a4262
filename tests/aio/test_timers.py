"""call_later and call_at: order, the clock, cancelling, memory."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref

import pytest

from trio_asyncio_c import EventLoop, _core

from ._helpers import run_briefly


def test_time_is_the_monotonic_clock(loop):
    before = time.monotonic()
    now = loop.time()
    assert before <= now <= time.monotonic()


def test_time_after_close():
    loop = EventLoop()
    loop.close()
    assert loop.time() <= time.monotonic()


def test_timers_fire_in_the_order_of_their_times(loop):
    seen = []
    now = loop.time()
    for delay in (0.03, 0.01, 0.02):
        loop.call_at(now + delay, seen.append, delay)
    loop.call_at(now + 0.04, loop.stop)
    loop.run_forever()
    assert seen == [0.01, 0.02, 0.03]


def test_equal_times_fire_in_the_order_made(loop):
    seen = []
    when = loop.time() + 0.01
    for i in range(100):
        loop.call_at(when, seen.append, i)
    loop.call_at(when, loop.stop)
    loop.run_forever()
    assert seen == list(range(100))


def test_a_timer_is_not_early(loop):
    began = time.monotonic()
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    assert time.monotonic() - began >= 0.02


@pytest.mark.parametrize("delay", [0, -5, -0.0])
def test_due_timers_run_behind_what_is_queued(loop, delay):
    seen = []
    loop.call_later(delay, seen.append, "timer")
    loop.call_soon(seen.append, "soon")
    run_briefly(loop, turns=2)
    assert seen == ["soon", "timer"]


def test_a_timer_made_in_a_callback_runs_in_a_later_turn(loop):
    seen = []

    def callback():
        loop.call_later(0, seen.append, "timer")

    loop.call_soon(callback)
    run_briefly(loop)
    assert seen == []
    run_briefly(loop)
    assert seen == ["timer"]


def test_bad_times(loop):
    with pytest.raises(TypeError, match="delay must not be None"):
        loop.call_later(None, print)
    with pytest.raises(TypeError, match="when cannot be None"):
        loop.call_at(None, print)
    with pytest.raises(TypeError):
        loop.call_later("soon", print)
    with pytest.raises(ValueError, match="NaN"):
        loop.call_later(float("nan"), print)


def test_infinity_never_comes(loop):
    handle = loop.call_later(float("inf"), print)
    run_briefly(loop)
    assert not handle.cancelled()
    handle.cancel()


def test_cancel_drops_callback_and_arguments_at_once(loop):
    class Thing:
        pass

    thing = Thing()
    alive = weakref.ref(thing)
    handle = loop.call_later(1000, print, thing)
    del thing
    assert handle._scheduled
    handle.cancel()
    assert alive() is None
    assert not handle._scheduled
    assert handle.cancelled()


def test_cancelled_timers_keep_no_memory(loop):
    before = _core._debug_counts()["handles"]
    for _ in range(10_000):
        loop.call_later(1000, print).cancel()
    gc.collect()
    assert _core._debug_counts()["handles"] == before


def test_cancel_of_a_timer_that_is_due_already(loop):
    seen = []
    timer = loop.call_later(0, seen.append, "no")
    time.sleep(0.001)
    loop.call_soon(timer.cancel)
    run_briefly(loop, turns=2)
    assert seen == []


def test_timer_handles_compare_by_time(loop):
    now = loop.time()
    early = loop.call_at(now + 100, print)
    late = loop.call_at(now + 200, print)
    same = loop.call_at(now + 100, print)
    assert early < late
    assert late > early
    assert early <= same
    assert early >= same
    assert early == same
    assert early != late
    assert hash(early) == hash(same) == hash(now + 100)
    assert early.when() == now + 100
    assert sorted([late, early]) == [early, late]
    with pytest.raises(TypeError):
        early < 5  # noqa: B015
    for handle in (early, late, same):
        handle.cancel()


def test_repr(loop):
    handle = loop.call_at(1e6, print)
    assert repr(handle).startswith("<TimerHandle when=1000000.0 ")
    handle.cancel()
    assert repr(handle) == "<TimerHandle cancelled when=1000000.0>"


def test_timers_survive_between_runs(loop):
    seen = []
    loop.call_later(0.01, seen.append, 1)
    run_briefly(loop)
    time.sleep(0.02)
    run_briefly(loop, turns=2)
    assert seen == [1]


def test_wait_for_and_timeout(loop):
    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.sleep(10), 0.01)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(10)

    loop.run_until_complete(main())
