"""loop.time() replaced by somebody, and loops that go by another clock.

What a program sees of a replaced time() is compared with the standard library's loop,
which runs the same program.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import socket
import sys
import threading
import time
from unittest import mock

import pytest

import trio_asyncio_c
from trio_asyncio_c import EventLoop, open_loop, trio
from trio_asyncio_c.testing import MockClock

from ._helpers import run_briefly

LOOPS = [asyncio.SelectorEventLoop, EventLoop]


def on_both(program):
    """Run `program(loop class)` on the standard library's loop and on ours; the
    two results, which must be equal."""
    expected, actual = map(program, LOOPS)
    assert actual == expected
    return actual


class Now:
    """A time that stands still till it is set, and counts who asks."""

    def __init__(self, now=0):
        self.now = now
        self.asked = 0

    def __call__(self, *args):
        self.asked += 1
        return self.now


def subclass_with(base, now):
    class Loop(base):
        def time(self):
            return now()

    return Loop()


def patched_with(base, now):
    loop = base()
    loop.time = now
    return loop


@pytest.fixture(params=[subclass_with, patched_with])
def make(request):
    return request.param


def turns(loop, count):
    """Run turns one by one; what the clock was asked in each."""
    for _ in range(count):
        loop.call_soon(loop.stop)
        loop.run_forever()


# ---- whose time it is ----


def test_a_clock_that_stands_still_holds_timers(make):
    def program(base):
        seen = []
        loop = make(base, Now(1000))
        handle = loop.call_later(0.001, seen.append, 1)
        time.sleep(0.005)
        turns(loop, 3)
        when = handle.when()
        loop.close()
        return seen, when

    assert on_both(program) == ([], 1000.001)


def test_a_clock_that_jumps_makes_timers_due(make):
    def program(base):
        seen, now = [], Now()
        loop = make(base, now)
        for delay in (3600, 60, 86400, 60):
            loop.call_later(delay, seen.append, (delay, len(seen)))
        now.now = 3600
        turns(loop, 2)
        now.now = 86399
        turns(loop, 2)
        loop.close()
        return seen

    assert [delay for delay, _ in on_both(program)] == [60, 60, 3600]


def test_a_clock_that_goes_back(make):
    def program(base):
        seen, now = [], Now(100)
        loop = make(base, now)
        loop.call_at(150, seen.append, "early")
        now.now = 0
        loop.call_later(40, seen.append, "late")
        now.now = 45
        turns(loop, 2)
        loop.close()
        return seen

    assert on_both(program) == ["late"]


def test_it_is_asked_as_often_as_asyncio_does(make):
    def program(base):
        now = Now()
        loop = make(base, now)
        counts = [now.asked]
        turns(loop, 2)
        counts.append(now.asked)
        loop.call_later(10, print)
        turns(loop, 2)
        counts.append(now.asked)
        loop.call_at(10, print)
        counts.append(now.asked)

        def let_it_sleep():
            now.now = 20

        loop.call_soon(let_it_sleep)
        with mock.patch("builtins.print"):
            loop.call_at(15, loop.stop)
            loop.run_forever()
        counts.append(now.asked)
        loop.close()
        return counts

    on_both(program)


def test_it_decides_how_long_to_sleep(make):
    # In real time the timer is a day away.
    def program(base):
        now = Now()
        loop = make(base, now)
        loop.call_later(86400, loop.stop)
        loop.call_soon(setattr, now, "now", 86399.99)
        ticks = iter(range(1, 1000))
        loop.time = lambda: now() + next(ticks) / 100
        loop.run_forever()
        loop.close()
        return "woken"

    assert on_both(program) == "woken"


def test_sleeps_and_timeouts_follow_it(make):
    def program(base):
        now = Now()
        loop = make(base, now)
        seen = []

        async def sleeper(seconds):
            await asyncio.sleep(seconds)
            seen.append(seconds)

        async def limited():
            try:
                await asyncio.wait_for(asyncio.sleep(1000), 50)
            except asyncio.TimeoutError:
                seen.append("wait_for")
            try:
                async with asyncio.timeout(50):
                    await asyncio.sleep(1000)
            except TimeoutError:
                seen.append("timeout")

        async def main():
            tasks = [asyncio.create_task(sleeper(s)) for s in (90, 10, 40)]
            tasks.append(asyncio.create_task(limited()))
            while not all(task.done() for task in tasks):
                now.now += 5
                for _ in range(5):
                    await asyncio.sleep(0)
            return now.now

        loop.run_until_complete(main())
        loop.close()
        return seen

    assert on_both(program) == [10, 40, "wait_for", 90, "timeout"]


def test_timers_within_the_resolution_fire_together(make):
    def program(base):
        seen, now = [], Now()
        loop = make(base, now)
        loop._clock_resolution = 0.5
        for when in (10, 10.4, 10.5, 10.6):
            loop.call_at(when, seen.append, when)
        now.now = 10
        turns(loop, 2)
        resolution = loop._clock_resolution
        loop.close()
        return seen, resolution

    assert on_both(program) == ([10, 10.4], 0.5)


def test_the_resolution_alone():
    def program(base):
        seen = []
        loop = base()
        loop._clock_resolution = 1000.0
        loop.call_later(900, seen.append, 1)
        turns(loop, 2)
        loop._clock_resolution = 1e-9
        loop.call_later(900, seen.append, 2)
        turns(loop, 2)
        loop.close()
        return seen

    assert on_both(program) == [1]


def test_the_usual_resolution():
    assert on_both(lambda base: _closed(base())._clock_resolution) > 0


def _closed(loop):
    loop.close()
    return loop


def test_bad_resolutions(loop):
    with pytest.raises(TypeError):
        loop._clock_resolution = "fine"
    with pytest.raises(AttributeError):
        del loop._clock_resolution


def test_equal_times_fire_in_the_order_made(make):
    seen, now = [], Now()
    loop = make(EventLoop, now)
    for i in range(50):
        loop.call_at(10, seen.append, i)
    now.now = 10
    turns(loop, 2)
    loop.close()
    assert seen == list(range(50))


def test_cancelled_timers_never_come(make):
    def program(base):
        seen, now = [], Now()
        loop = make(base, now)
        handles = [loop.call_later(i, seen.append, i) for i in range(1, 9)]
        for handle in handles[::2]:
            handle.cancel()
        now.now = 100
        turns(loop, 2)
        loop.close()
        return seen

    assert on_both(program) == [2, 4, 6, 8]


def test_infinity_and_not_a_number(make):
    def program(base):
        seen, now = [], Now()
        loop = make(base, now)
        loop.call_at(float("inf"), seen.append, "never")
        loop.call_at(10, seen.append, "ten")
        now.now = float("inf")
        turns(loop, 2)
        infinity = list(seen)
        loop.call_at(20, seen.append, "twenty")
        now.now = float("nan")
        turns(loop, 2)
        loop.close()
        return infinity, seen[:2]

    assert on_both(program) == (["ten"], ["ten", "twenty"])


def test_timers_that_are_left_when_the_loop_closes(make):
    now = Now()
    loop = make(EventLoop, now)
    handle = loop.call_later(10, print)
    loop.close()
    assert not handle._scheduled
    handle.cancel()
    assert loop.time() == 0


# ---- patching while timers wait ----


def test_patched_on_the_object_and_back():
    def program(base):
        seen, counts = [], []
        loop = base()
        loop.call_later(1000, seen.append, "thousand")
        loop.call_later(1e9, seen.append, "ages")

        async def main():
            with mock.patch.object(loop, "time", Now(loop.time() + 5000)):
                for _ in range(3):
                    await asyncio.sleep(0)
                counts.append(len(seen))
            loop.call_later(1000, seen.append, "later")
            for _ in range(3):
                await asyncio.sleep(0)
            return loop.time() < time.monotonic() + 1000

        real = loop.run_until_complete(main())
        loop.close()
        return real, counts, seen

    assert on_both(program) == (True, [1], ["thousand"])


@pytest.mark.parametrize("where", ["its class", "asyncio.BaseEventLoop"])
def test_patched_on_a_class_and_back(where):
    def program(base):
        seen = []
        loop = base()
        cls = base if where == "its class" else asyncio.BaseEventLoop
        far = loop.time() + 5000

        async def main():
            loop.call_later(1000, seen.append, "thousand")
            with mock.patch.object(cls, "time", lambda self: far):
                times = [loop.time() == far]
                for _ in range(3):
                    await asyncio.sleep(0)
                handle = loop.call_later(7, seen.append, "never")
                times.append(handle.when() - far)
                loop.call_later(0, seen.append, "at once")
                for _ in range(3):
                    await asyncio.sleep(0)
            times.append(loop.time() == far)
            for _ in range(3):
                await asyncio.sleep(0)
            return times

        times = loop.run_until_complete(main())
        loop.close()
        return times, seen

    assert on_both(program) == ([True, 7, False], ["thousand", "at once"])


def test_a_patched_class_before_the_run_and_between_runs():
    def program(base):
        seen = []
        loop = base()
        loop.call_later(1000, seen.append, 1)
        far = loop.time() + 5000
        with mock.patch.object(base, "time", lambda self: far):
            turns(loop, 2)
        loop.call_later(1000, seen.append, 2)
        turns(loop, 2)
        loop.close()
        return seen

    assert on_both(program) == [1]


def test_in_the_object_s_dict():
    # Not noticed in the midst of a run, but by the next one.
    def program(base):
        seen = []
        loop = base()
        loop.call_later(1000, seen.append, 1)
        vars(loop)["time"] = Now(loop.time() + 5000)
        turns(loop, 2)
        loop.close()
        return seen

    assert on_both(program) == [1]


def test_another_class_for_the_object():
    def program(base):
        seen = []

        class Late(base):
            def time(self):
                return super().time() + 5000

        class Usual(base):
            pass

        loop = Usual()
        loop.call_later(1000, seen.append, 1)

        async def main():
            loop.__class__ = Late
            for _ in range(3):
                await asyncio.sleep(0)

        loop.run_until_complete(main())
        loop.close()
        return seen

    assert on_both(program) == [1]


def test_super_is_the_real_time():
    class Shifted(EventLoop):
        def time(self):
            return super().time() + 100

    loop = Shifted()
    assert 99 < loop.time() - time.monotonic() < 101
    began = time.monotonic()
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    assert time.monotonic() - began >= 0.02
    loop.close()


def test_a_mock_that_wraps_the_method():
    def program(base):
        loop = base()
        with mock.patch.object(loop, "time", wraps=loop.time) as patched:
            loop.run_until_complete(asyncio.sleep(0.01))
            called = patched.called
        loop.close()
        return called

    assert on_both(program) is True


def test_attributes_of_another_name_move_nothing(loop):
    loop.times = Now(5)
    loop.call_later(1000, print)
    run_briefly(loop)
    assert loop.time() > 5 or time.monotonic() <= 5
    assert vars(loop) == {"times": loop.times}
    with pytest.raises(AttributeError):
        del loop.time


def test_patched_by_another_thread_while_the_loop_sleeps(loop):
    def patch():
        loop.time = Now(time.monotonic() + 5000)
        loop.call_soon_threadsafe(lambda: None)

    loop.call_later(1000, loop.stop)
    threading.Timer(0.02, patch).start()
    loop.run_forever()


# ---- clocks that fail ----


@pytest.mark.parametrize("wrong", [None, "noon"])
def test_what_is_no_number(make, wrong):
    def program(base):
        now = Now()
        loop = make(base, now)
        loop.call_later(10, print)
        now.now = wrong
        errors = []
        with pytest.raises(TypeError) as info:
            loop.call_later(10, print)
        errors.append(str(info.value))
        with pytest.raises(TypeError):
            turns(loop, 1)
        now.now = 5
        turns(loop, 1)
        loop.close()
        return errors

    on_both(program)


def test_an_error_leaves_run_forever(make):
    def program(base):
        def fail():
            if broken:
                raise LookupError("no time")
            return 5

        def break_it():
            broken.append(True)
            loop.call_soon(int)

        broken = []
        loop = make(base, fail)
        seen = []
        loop.call_soon(seen.append, 1)
        loop.call_soon(break_it)
        with pytest.raises(LookupError, match="no time"):
            loop.run_forever()
        with pytest.raises(LookupError, match="no time"):
            loop.call_later(1, print)
        broken.clear()
        turns(loop, 1)
        running = loop.is_running()
        loop.close()
        return seen, running

    assert on_both(program) == ([1], False)


def test_a_clock_that_patches_itself_away():
    def program(base):
        seen = []
        loop = base()
        loop.call_later(1000, seen.append, 1)

        def once():
            del loop.time
            return 1e12

        async def main():
            loop.time = once
            for _ in range(3):
                await asyncio.sleep(0)

        loop.run_until_complete(main())
        loop.close()
        return len(seen)

    assert program(EventLoop) in (0, 1)  # asyncio's heap still belongs to it
    assert program(asyncio.SelectorEventLoop) == 1


def test_slow_callbacks_are_measured_by_it(caplog):
    def program(base):
        caplog.clear()
        now = Now()
        loop = base()
        loop.set_debug(True)
        loop.time = now
        loop.call_soon(setattr, now, "now", 50)
        turns(loop, 1)
        loop.close()
        return ["took 50.000 seconds" in text for text in caplog.messages]

    assert on_both(program) == [True]


# ---- inside of a run ----


def test_a_patched_loop_inside_of_a_run():
    seen = []

    async def main():
        async with open_loop() as loop:
            loop.call_later(1000, seen.append, "loop's")
            with trio.move_on_after(1000) as scope:
                with mock.patch.object(loop, "time", Now(loop.time() + 5000)):
                    await loop.synchronize()
                    await loop.synchronize()
                    seen.append("patched")
                    await trio.sleep(0)
            assert not scope.cancelled_caught

    trio.run(main)
    assert seen == ["loop's", "patched"]


def test_two_loops_with_clocks_of_their_own():
    seen = []

    async def main():
        async with open_loop() as one, open_loop() as two:
            one_now, two_now = Now(), Now(50)
            one.time, two.time = one_now, two_now
            one.call_at(100, seen.append, "one")
            two.call_at(100, seen.append, "two")
            two_now.now = 100
            await two.synchronize()
            await two.synchronize()
            seen.append("first")
            one_now.now = 100
            await one.synchronize()
            await one.synchronize()

    trio.run(main)
    assert seen == ["two", "first", "one"]


def test_a_failing_clock_leaves_the_block():
    async def main():
        def fail():
            raise LookupError("no time")

        async with open_loop() as loop:
            loop.call_later(1000, print)
            loop.time = fail
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as info:
        trio.run(main)
    assert [str(exc) for exc in info.value.exceptions] == ["no time"]
    assert info.group_contains(LookupError, depth=1)


# ---- loops that go by a MockClock ----


def jumping():
    return MockClock(autojump_threshold=0)


def run_on(clock, main):
    factory = functools.partial(trio_asyncio_c.new_event_loop, clock=clock)
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())


@pytest.fixture(params=["a loop of its own", "open_loop"])
def run_jumping(request):
    """Run an asyncio-flavoured function on a clock that jumps by itself."""
    if request.param == "a loop of its own":
        return lambda main: run_on(jumping(), main)

    async def inside(main):
        return await trio_asyncio_c.current_loop.get().run_asyncio(main)

    return lambda main: trio_asyncio_c.run(inside, main, clock=jumping())


def test_all_waiting_is_skipped(run_jumping):
    async def main():
        loop = asyncio.get_running_loop()
        assert loop.time() == 0
        await asyncio.sleep(3600)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.sleep(3600)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 60)
        done = loop.create_future()
        loop.call_later(60, done.set_result, None)
        await done
        await asyncio.wait([loop.create_future()], timeout=60)
        return loop.time()

    assert run_jumping(main) == pytest.approx(3600 + 4 * 60)


def test_tasks_wake_in_the_order_of_their_times(run_jumping):
    async def main():
        seen = []

        async def sleeper(seconds):
            await asyncio.sleep(seconds)
            seen.append(seconds)

        await asyncio.gather(*map(sleeper, (1000, 1, 100, 10)))
        return seen

    assert run_jumping(main) == [1, 10, 100, 1000]


def test_no_jump_while_callbacks_are_queued(run_jumping):
    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(1000):
            await asyncio.sleep(0)
        return loop.time()

    assert run_jumping(main) == 0


@pytest.mark.parametrize("kind", ["default", "given", "to_thread"])
def test_no_jump_while_a_job_runs(run_jumping, kind):
    def work():
        time.sleep(0.05)
        return "worked"

    async def main():
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            async with asyncio.timeout(1):
                if kind == "to_thread":
                    result = await asyncio.to_thread(work)
                else:
                    executor = pool if kind == "given" else None
                    result = await loop.run_in_executor(executor, work)
        assert loop.time() == 0
        await asyncio.sleep(10)
        return result, loop.time()

    assert run_jumping(main) == ("worked", 10)


def test_no_jump_over_what_another_thread_sends(run_jumping):
    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def thread():
            loop.call_soon_threadsafe(done.set_result, "sent")

        worker = threading.Thread(target=thread)
        async with asyncio.timeout(10):
            worker.start()
            worker.join()
            result = await done
        return result, loop.time()

    assert run_jumping(main) == ("sent", 0)


def test_no_jump_over_data_that_is_there(run_jumping):
    async def main():
        loop = asyncio.get_running_loop()
        a, b = socket.socketpair()
        with a, b:
            a.setblocking(False)
            b.setblocking(False)
            async with asyncio.timeout(10):
                for _ in range(20):
                    reading = loop.create_task(loop.sock_recv(b, 10))
                    await loop.sock_sendall(a, b"x")
                    assert await reading == b"x"
        return loop.time()

    assert run_jumping(main) == 0


def test_trio_s_waiting_is_skipped_as_well():
    async def trio_main():
        with trio.move_on_after(50) as scope:
            await trio.sleep(100)
        return scope.cancelled_caught, trio.current_time()

    async def main():
        await asyncio.sleep(10)
        return await asyncio.get_running_loop().run_trio(trio_main)

    assert run_on(jumping(), main) == (True, 60)


def test_a_threshold_leaves_time_for_other_threads():
    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        timer = threading.Timer(
            0.01, loop.call_soon_threadsafe, (done.set_result, "sent")
        )
        timer.start()
        async with asyncio.timeout(1000):
            result = await done
        timer.join()
        return result, loop.time()

    assert run_on(MockClock(autojump_threshold=5), main) == ("sent", 0)


def test_by_hand():
    clock = MockClock()

    async def main():
        seen = []
        loop = asyncio.get_running_loop()
        loop.call_later(10, seen.append, "ten")
        task = asyncio.create_task(asyncio.sleep(20))
        await asyncio.sleep(0)
        for _ in range(3):
            clock.jump(5)
            for _ in range(3):
                await asyncio.sleep(0)
            seen.append(loop.time())
        clock.jump(5)
        await task
        return seen

    assert run_on(clock, main) == [5, "ten", 10, 15]


def test_a_rate():
    async def main():
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert run_on(MockClock(rate=360_000), main) >= 3600


def test_the_threshold_can_be_set_at_any_time():
    clock = MockClock()
    loop = EventLoop(clock=clock)
    clock.autojump_threshold = 0  # between runs
    loop.run_until_complete(asyncio.sleep(1000))
    clock.autojump_threshold = float("inf")

    async def main():
        waiting = asyncio.create_task(asyncio.sleep(1000))
        await asyncio.sleep(0)
        clock.autojump_threshold = 0
        await waiting

    loop.run_until_complete(main())
    assert loop.time() == 2000
    loop.close()
    assert loop.time() == 2000


def test_a_clock_goes_on_in_the_next_loop():
    clock = jumping()
    for expected in (1000, 2000):
        with asyncio.Runner(loop_factory=lambda: EventLoop(clock=clock)) as runner:
            runner.run(asyncio.sleep(1000))
            assert runner.get_loop().time() == expected


def test_stopping_and_going_on():
    loop = EventLoop(clock=jumping())
    seen = []
    loop.call_later(100, seen.append, 1)
    loop.call_later(50, loop.stop)
    loop.run_forever()
    assert (seen, loop.time()) == ([], 50)
    loop.call_later(100, loop.stop)
    loop.run_forever()
    assert (seen, loop.time()) == ([1], 150)
    loop.close()


def test_what_is_no_clock():
    with pytest.raises(AttributeError, match="start_clock"):
        EventLoop(clock=5)


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="asyncio.run takes it since 3.12"
)
def test_asyncio_run():
    async def main():
        await asyncio.sleep(1000)
        return asyncio.get_running_loop().time()

    factory = functools.partial(trio_asyncio_c.new_event_loop, clock=jumping())
    assert asyncio.run(main(), loop_factory=factory) == 1000
