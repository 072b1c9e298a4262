"""Guest mode: a run that another loop calls."""

from __future__ import annotations

import contextvars
import sys
import threading
import time
import warnings

import pytest
from trio_asyncio_c import TrioDeprecationWarning, trio

from ._guest_hosts import PATIENCE_S, QueueHost, guest_crash, guest_run
from ._helpers import Recorder, Value, collect

lowlevel = trio.lowlevel
VAR = contextvars.ContextVar("VAR", default="default")

split_or_not = pytest.mark.parametrize(
    "split", [True, False], ids=["two functions", "one function"]
)


# What goes in and comes out


@split_or_not
def test_returns_what_main_returns(split):
    async def main(*args):
        await lowlevel.checkpoint()
        return args

    assert guest_run(main, 1, "two", split=split) == (1, "two")


@split_or_not
def test_raises_the_very_exception_that_main_raised(split):
    error = KeyError("mine")

    async def main():
        await trio.sleep(0)
        raise error

    with pytest.raises(KeyError) as info:
        guest_run(main, split=split)
    assert info.value is error


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_base_exceptions_of_main_are_its_outcome(kind):
    async def main():
        raise kind("out")

    host = QueueHost()
    host.start(main)
    host.loop()
    assert type(host.outcome) is lowlevel.Error
    with pytest.raises(kind, match="out"):
        host.take()


def test_the_outcome_is_an_outcome_of_the_main_task():
    async def main():
        return 5

    host = QueueHost()
    host.start(main)
    host.loop()
    assert type(host.outcome) is Value
    assert host.outcome.value == 5


def test_a_main_that_cannot_be_called_is_an_error_of_main():
    def main():
        raise LookupError("sync part")

    with pytest.raises(LookupError, match="sync part"):
        guest_run(main)


def test_done_callback_comes_after_the_run_has_ended():
    seen = []
    recorder = Recorder()

    def done(outcome):
        seen.append((outcome.value, lowlevel.in_trio_run(), recorder.events[-1]))

    async def main():
        return 1

    host = QueueHost()
    host.start(main, done_callback=done, instruments=[recorder])
    while not seen:
        host.step()
    assert seen == [(1, False, ("after_run",))]


@pytest.mark.parametrize("strict", [True, False])
def test_strict_exception_groups(strict):
    async def fail():
        raise ValueError("one")

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if strict:
            with pytest.RaisesGroup(ValueError):
                guest_run(main, strict_exception_groups=True)
        else:
            with pytest.raises(ValueError, match="one"):
                guest_run(main, strict_exception_groups=False)


def test_a_loose_guest_run_warns_once_and_of_its_caller():
    async def main():
        await lowlevel.checkpoint()

    with pytest.warns(TrioDeprecationWarning) as caught:
        guest_run(main, strict_exception_groups=False)
    assert len(caught) == 1
    assert "trio.start_guest_run" in str(caught[0].message)
    assert caught[0].filename == sys.modules[QueueHost.__module__].__file__


def test_context_variables_go_in_but_do_not_come_out():
    async def main():
        assert VAR.get() == "outside"
        VAR.set("inside")
        host.call_soon(lambda: seen.append(VAR.get()))
        await trio.sleep(0.01)
        assert VAR.get() == "inside"

    seen = []
    host = QueueHost()
    token = VAR.set("outside")
    try:
        host.run(main)
        assert seen == [VAR.get()] == ["outside"]
    finally:
        VAR.reset(token)


# The start


def test_the_run_is_there_when_start_returns_but_no_user_code_has_run():
    # R41
    events = []

    async def system():
        events.append("system")

    async def main():
        events.append("main")

    host = QueueHost()
    host.start(main)
    assert events == []
    assert lowlevel.in_trio_run()
    assert not lowlevel.in_trio_task()
    lowlevel.spawn_system_task(system)
    token = lowlevel.current_trio_token()
    token.run_sync_soon(events.append, "soon")
    assert events == []
    host.loop()
    host.take()
    assert set(events) == {"main", "system", "soon"}


class BadClock(trio.abc.Clock):
    """A clock that fails in one of its methods."""

    def __init__(self, failing, after=0):
        self._failing = failing
        self._left = after

    def _check(self, name):
        if name == self._failing:
            if self._left == 0:
                raise ZeroDivisionError(name)
            self._left -= 1

    def start_clock(self):
        self._check("start_clock")

    def current_time(self):
        self._check("current_time")
        return time.monotonic()

    def deadline_to_sleep_time(self, deadline):
        self._check("deadline_to_sleep_time")
        return deadline - time.monotonic()


async def never_called():
    raise AssertionError("must not run")


def test_a_clock_that_cannot_start_makes_the_call_fail():
    # R41
    host = QueueHost()
    for _ in range(5):
        with pytest.raises(trio.TrioInternalError) as info:
            host.start(never_called, clock=BadClock("start_clock"))
        assert repr(info.value.__cause__) == "ZeroDivisionError('start_clock')"
        assert not lowlevel.in_trio_run()
        assert host.is_idle()
    assert guest_run(trio.sleep, 0) is None


def test_a_clock_that_is_no_clock_makes_the_call_fail():
    with pytest.raises(trio.TrioInternalError) as info:
        QueueHost().start(never_called, clock="hi")
    assert type(info.value.__cause__) is AttributeError
    assert not lowlevel.in_trio_run()


def test_a_failing_clock_later_on_is_told_to_done_callback():
    # R41
    async def main():
        await trio.sleep(1000)

    clock = BadClock("deadline_to_sleep_time")
    shape = guest_crash(main, clock=clock)
    assert shape == "ZeroDivisionError('deadline_to_sleep_time')"
    assert guest_run(trio.sleep, 0) is None


def test_a_crash_of_a_system_task_is_told_to_done_callback():
    # R30, R41
    async def system():
        raise KeyError("system")

    async def main():
        lowlevel.spawn_system_task(system)
        await trio.sleep_forever()

    assert guest_crash(main) == [["KeyError('system')"]]
    assert guest_run(trio.sleep, 0) is None


def test_no_guest_run_inside_of_a_run():
    async def main():
        with pytest.raises(RuntimeError, match="from inside a run"):
            QueueHost().start(never_called)

    trio.run(main)
    guest_run(main)


def test_no_second_guest_run_beside_the_first():
    host = QueueHost()
    host.start(trio.sleep, 0)
    with pytest.raises(RuntimeError, match="from inside a run"):
        QueueHost().start(never_called)
    with pytest.raises(RuntimeError, match="from inside a run"):
        trio.run(never_called)
    host.loop()
    host.take()
    trio.run(trio.sleep, 0)


def test_guest_runs_follow_each_other_even_from_done_callback():
    host = QueueHost()
    results = []

    async def main(i):
        await trio.sleep(0)
        return i

    def done(outcome):
        results.append(outcome.unwrap())
        if len(results) < 20:
            host.start(main, len(results), done_callback=done)

    host.start(main, 0, done_callback=done)
    while len(results) < 20:
        host.step()
    assert results == list(range(20))
    assert not lowlevel.in_trio_run()


def test_guest_runs_in_two_threads_know_nothing_of_each_other():
    barrier = threading.Barrier(2, timeout=PATIENCE_S)
    seen = {}

    async def main(name):
        seen[name] = lowlevel.current_root_task()
        await trio.to_thread.run_sync(barrier.wait)
        for _ in range(50):
            await lowlevel.checkpoint()
        assert lowlevel.current_root_task() is seen[name]
        return name

    results = []

    def host(name):
        results.append(guest_run(main, name))

    threads = [threading.Thread(target=host, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["a", "b"]
    assert seen["a"] is not seen["b"]


def test_a_run_of_its_own_in_another_thread_while_a_guest_waits():
    async def main():
        return await trio.to_thread.run_sync(trio.run, other)

    async def other():
        await trio.sleep(0.01)
        return "other"

    assert guest_run(main) == "other"


# Who is who


def test_what_host_and_guest_code_see():
    # R42, R45
    seen = {}

    def look(who):
        seen[who] = lowlevel.in_trio_run(), lowlevel.in_trio_task()

    async def main():
        look("guest")
        host.call_soon(lambda: look("host"))
        await trio.sleep(0.01)
        look("guest later")

    host = QueueHost()
    look("before")
    host.start(main)
    look("started")
    host.loop()
    host.take()
    look("after")
    assert seen == {
        "before": (False, False),
        "started": (True, False),
        "guest": (True, True),
        "host": (True, False),
        "guest later": (True, True),
        "after": (False, False),
    }


def test_host_code_has_no_current_task_but_the_runs_other_things():
    def in_host():
        with pytest.raises(RuntimeError, match="must be called from async context"):
            lowlevel.current_task()
        seen.append(lowlevel.current_root_task().name)
        seen.append(lowlevel.current_statistics().tasks_living)
        seen.append(lowlevel.current_clock() is not None)
        seen.append(trio.current_time() > 0)
        event.set()

    async def main():
        host.call_soon(in_host)
        await event.wait()

    seen = []
    event = trio.Event()
    host = QueueHost()
    host.run(main)
    assert seen == ["<init>", 3, True, True]


def test_sniffio_says_trio_in_the_guest_only():
    # R33
    sniffio = pytest.importorskip("sniffio")

    async def main():
        assert sniffio.current_async_library() == "trio"
        host.call_soon(lambda: seen.append(sniffio.thread_local.name))
        await trio.sleep(0.01)
        assert sniffio.current_async_library() == "trio"

    seen = []
    before = sniffio.thread_local.name
    host = QueueHost()
    sniffio.thread_local.name = "host"
    try:
        host.run(main)
        assert seen == [sniffio.thread_local.name] == ["host"]
    finally:
        sniffio.thread_local.name = before


# Instruments and async generators


def test_instruments_hear_of_a_task_the_same_as_in_a_run_of_its_own():
    # R38
    async def main():
        for _ in range(3):
            await lowlevel.checkpoint()
        return lowlevel.current_task()

    own, guest = Recorder(), Recorder()
    heard = own.of(trio.run(main, instruments=[own]))
    assert guest.of(guest_run(main, instruments=[guest])) == heard
    for recorder in own, guest:
        names = [event[0] for event in recorder.events]
        assert names[0] == "before_run"
        assert names[-1] == "after_run"
        assert names.count("before_run") == names.count("after_run") == 1
        io = [name for name in names if name.endswith("_io")]
        assert io == ["before_io", "after_io"] * (len(io) // 2)


def test_io_hooks_frame_the_wait():
    async def main():
        await trio.sleep(0.02)

    class Look(trio.abc.Instrument):
        def before_io_wait(self, timeout):
            waits.append([timeout, time.monotonic()])

        def after_io_wait(self, timeout):
            assert waits[-1][0] == timeout
            waits[-1].append(time.monotonic())

    waits = []
    guest_run(main, instruments=[Look()])
    longest = max(waits, key=lambda wait: wait[2] - wait[1])
    assert 0 < longest[0] <= 0.02
    assert longest[2] - longest[1] > 0.005


def test_async_generators_are_closed_at_the_end_and_hooks_restored():
    # R32, R40
    events = []

    async def generator():
        try:
            yield 1
        finally:
            events.append(lowlevel.in_trio_task())
            with pytest.raises(trio.Cancelled):
                await lowlevel.checkpoint()

    async def main():
        kept.append(generator())
        await kept[0].asend(None)

    kept = []
    hooks = sys.get_asyncgen_hooks()
    guest_run(main)
    assert events == [True]
    assert sys.get_asyncgen_hooks() == hooks


def test_an_async_generator_that_is_dropped_is_closed_in_the_guest():
    async def generator():
        try:
            yield 1
        finally:
            closed.set()

    async def main():
        dropped = generator()
        await dropped.asend(None)
        with pytest.warns(ResourceWarning, match="garbage collected before"):
            del dropped
            collect()
        await closed.wait()

    closed = trio.Event()
    guest_run(main)


def test_an_async_generator_of_the_host_stays_the_hosts():
    # R40
    async def generator():
        yield 1

    def in_host():
        kept.append(generator())
        with pytest.raises(StopIteration):
            kept[0].asend(None).send(None)

    async def main():
        host.call_soon(in_host)
        await trio.sleep(0.01)

    started, kept = [], []
    hooks = sys.get_asyncgen_hooks()
    host = QueueHost()
    sys.set_asyncgen_hooks(firstiter=started.append, finalizer=lambda _: None)
    try:
        host.run(main)
        assert started == kept
        # The guest's end has not closed it.
        assert kept[0].ag_frame is not None
        with pytest.raises(StopIteration):
            kept[0].aclose().send(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)
