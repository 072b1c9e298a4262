"""run(): what goes in, what comes out, the turn, start and shutdown."""

from __future__ import annotations

import contextvars
import threading
import warnings

import pytest
from trio_asyncio_c import trio

from ._helpers import (
    OUTSIDE_TEXT,
    Recorder,
    block,
    crash,
    run,
    run_loose,
    run_mock,
    settle,
)

VAR = contextvars.ContextVar("VAR", default="default")


def test_returns_what_main_returns():
    async def main(*args):
        return args

    assert run(main, 1, "two", None) == (1, "two", None)


def test_raises_the_very_exception_that_main_raised():
    error = KeyError("mine")

    async def main():
        raise error

    with pytest.raises(KeyError) as info:
        run(main)
    assert info.value is error
    assert error.__context__ is None
    assert error.__cause__ is None


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_raises_base_exceptions_of_main_bare(kind):
    async def main():
        raise kind("out")

    with pytest.raises(kind, match="out"):
        run(main)


def test_an_exception_group_of_main_comes_out_untouched():
    group = ExceptionGroup("mine", [ValueError(1)])

    async def main():
        raise group

    with pytest.raises(ExceptionGroup) as info:
        run(main)
    assert info.value is group


def test_traceback_of_main_ends_in_main():
    # R7
    async def main():
        await trio.lowlevel.checkpoint()
        raise ValueError

    with pytest.raises(ValueError) as info:
        run(main)
    assert info.traceback[-1].name == "main"


def test_can_be_called_any_number_of_times():
    async def main(value):
        await trio.lowlevel.checkpoint()
        return value

    assert [run(main, i) for i in range(20)] == list(range(20))


def test_runs_in_two_threads_know_nothing_of_each_other():
    barrier = threading.Barrier(2, timeout=30)
    seen = {}

    async def main(name):
        barrier.wait()
        seen[name] = trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()
        for _ in range(50):
            await trio.lowlevel.checkpoint()
        assert trio.lowlevel.current_task() is seen[name][0]
        assert trio.lowlevel.current_statistics().tasks_living == 3
        barrier.wait()

    threads = [threading.Thread(target=run_here, args=(main, name)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen["a"][0] is not seen["b"][0]
    assert seen["a"][1] is not seen["b"][1]


def run_here(fn, *args):
    # The signal handler that `run` of the helpers looks at is none of a thread's.
    trio.run(fn, *args)


def test_a_thread_inside_a_run_may_have_a_run_of_its_own():
    async def inner():
        await trio.sleep(0)
        return "inner"

    results = []

    async def main():
        thread = threading.Thread(target=lambda: results.append(trio.run(inner)))
        thread.start()
        thread.join()
        await trio.lowlevel.checkpoint()

    run(main)
    assert results == ["inner"]


def test_in_trio_run_and_in_trio_task():
    # R45
    lowlevel = trio.lowlevel
    assert not lowlevel.in_trio_run()
    assert not lowlevel.in_trio_task()
    seen = {}

    class Look(trio.abc.Instrument):
        def before_run(self):
            seen["before_run"] = lowlevel.in_trio_run(), lowlevel.in_trio_task()

        def before_io_wait(self, timeout):
            seen["io"] = lowlevel.in_trio_run(), lowlevel.in_trio_task()

        def before_task_step(self, task):
            seen["step"] = lowlevel.in_trio_run(), lowlevel.in_trio_task()

    async def main():
        assert lowlevel.in_trio_run()
        assert lowlevel.in_trio_task()
        await lowlevel.checkpoint()

    run(main, instruments=[Look()])
    assert seen == {
        "before_run": (True, False),
        "io": (True, False),
        "step": (True, True),
    }


@pytest.mark.parametrize(
    "name",
    [
        "current_task",
        "current_root_task",
        "current_statistics",
        "current_clock",
        "current_trio_token",
    ],
)
def test_current_functions_outside_a_run_raise(name):
    # R45
    with pytest.raises(RuntimeError, match=OUTSIDE_TEXT):
        getattr(trio.lowlevel, name)()


def test_other_functions_outside_a_run_raise():
    # R45
    async def fn():
        raise AssertionError("must not run")

    with pytest.raises(RuntimeError, match=OUTSIDE_TEXT):
        trio.current_time()
    with pytest.raises(RuntimeError, match=OUTSIDE_TEXT):
        trio.current_effective_deadline()
    with pytest.raises(RuntimeError, match=OUTSIDE_TEXT):
        trio.lowlevel.spawn_system_task(fn)
    with pytest.raises(RuntimeError, match=OUTSIDE_TEXT):
        trio.lowlevel.notify_closing(0)
    with pytest.raises(RuntimeError, match=OUTSIDE_TEXT):
        trio.lowlevel.add_instrument(Recorder())
    with pytest.raises(RuntimeError, match=OUTSIDE_TEXT):
        trio.lowlevel.remove_instrument(Recorder())


def test_entering_a_scope_outside_a_run_raises():
    # R45
    with pytest.raises(RuntimeError, match=OUTSIDE_TEXT), trio.CancelScope():
        raise AssertionError("must not run")


def test_reschedule_after_the_run_raises():
    # R45
    tasks = []

    async def main():
        tasks.append(trio.lowlevel.current_task())

    run(main)
    with pytest.raises(RuntimeError, match=OUTSIDE_TEXT):
        trio.lowlevel.reschedule(tasks[0])


def test_context_variables_go_in_but_do_not_come_out():
    VAR_token = VAR.set("outside")
    try:

        async def main():
            assert VAR.get() == "outside"
            VAR.set("inside")
            await trio.lowlevel.checkpoint()
            return VAR.get()

        assert run(main) == "inside"
        assert VAR.get() == "outside"
    finally:
        VAR.reset(VAR_token)


def test_three_tasks_are_alive_at_rest():
    # R31
    async def main():
        await settle()
        statistics = trio.lowlevel.current_statistics()
        assert statistics.tasks_living == 3
        assert statistics.tasks_runnable == 0
        assert statistics.run_sync_soon_queue_size == 0

    run(main)


def test_the_root_task_is_named_init_and_has_no_parent():
    async def main():
        root = trio.lowlevel.current_root_task()
        assert root.name == "<init>"
        assert root.parent_nursery is None
        assert root is not trio.lowlevel.current_task()
        task = trio.lowlevel.current_task()
        while task.parent_nursery is not None:
            task = task.parent_nursery.parent_task
        assert task is root

    run(main)


def test_tasks_made_runnable_in_a_batch_run_in_the_next_turn():
    # R1
    turns = 0

    class Count(trio.abc.Instrument):
        def before_io_wait(self, timeout):
            nonlocal turns
            turns += 1

    async def child(seen):
        seen.append(turns)
        await trio.lowlevel.checkpoint()
        seen.append(turns)

    async def main():
        seen = []
        start = turns
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, seen)
        assert seen == [start + 1, start + 2]
        assert turns == start + 3

    run(main, instruments=[Count()])


def test_each_batch_runs_forwards_or_backwards_at_random():
    # R2
    async def note(order, i):
        order.append(i)

    async def main():
        orders = set()
        for _ in range(300):
            order = []
            async with trio.open_nursery() as nursery:
                for i in range(5):
                    nursery.start_soon(note, order, i)
            orders.add(tuple(order))
        assert orders == {(0, 1, 2, 3, 4), (4, 3, 2, 1, 0)}

    run(main)


def timeouts_seen(main, wanted, **kwargs):
    """Run `main(scope)`; cancel `scope` as soon as a wait has the wanted timeout."""
    seen = []

    class Look(trio.abc.Instrument):
        def before_io_wait(self, timeout):
            seen.append(timeout)
            if timeout == wanted:
                token.run_sync_soon(scope.cancel)

    async def outer():
        nonlocal token, scope
        token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as scope:
            await main(scope)
            raise AssertionError("not cancelled")

    token = scope = None
    run(outer, instruments=[Look()], **kwargs)
    return seen


class FixedClock(trio.abc.Clock):
    """A clock that stands still and says always how long to sleep."""

    def __init__(self, timeout):
        self.timeout = timeout
        self.started = 0

    def start_clock(self):
        self.started += 1

    def current_time(self):
        return 100.0

    def deadline_to_sleep_time(self, deadline):
        return self.timeout


def test_a_wait_takes_one_day_at_the_most():
    # R3
    async def main(scope):
        await trio.sleep_forever()

    assert 86400 in timeouts_seen(main, 86400, clock=FixedClock(1e30))


def test_a_negative_sleep_time_counts_as_zero():
    # R3
    async def main():
        with trio.CancelScope() as scope:
            token.append(trio.lowlevel.current_trio_token())
            scopes.append(scope)
            await trio.sleep_forever()

    token, scopes, seen = [], [], []

    class Look(trio.abc.Instrument):
        def before_io_wait(self, timeout):
            seen.append(timeout)
            if len(seen) == 20:
                token[0].run_sync_soon(scopes[0].cancel)

    run(main, instruments=[Look()], clock=FixedClock(-5))
    assert set(seen) == {0}


def test_a_wait_is_zero_while_something_is_runnable():
    # R3, R5
    timeouts = []

    class Look(trio.abc.Instrument):
        def before_io_wait(self, timeout):
            timeouts.append(timeout)

    async def main():
        timeouts.clear()
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        assert timeouts == [0] * 5

    run(main, instruments=[Look()])


def test_io_comes_before_deadlines_in_a_turn():
    # R17: a wake-up that came in the same turn wins over the deadline.
    class Look(trio.abc.Instrument):
        def after_io_wait(self, timeout):
            if armed:
                armed.clear()
                trio.lowlevel.reschedule(task)

    armed = []

    async def main():
        nonlocal task
        task = trio.lowlevel.current_task()
        with trio.CancelScope(deadline=trio.current_time() + 1) as scope:
            armed.append(True)
            trio.lowlevel.current_clock().jump(2)
            await trio.lowlevel.wait_task_rescheduled(
                lambda _: trio.lowlevel.Abort.SUCCEEDED
            )
        assert scope.cancel_called
        assert not scope.cancelled_caught

    task = None
    run(main, clock=trio.testing.MockClock(), instruments=[Look()])


def test_system_tasks_are_cancelled_when_main_is_done():
    # R32, R16
    events = []

    async def system():
        try:
            await trio.sleep_forever()
        except trio.Cancelled as exc:
            events.append("system cancelled")
            assert exc.source == "shutdown"
            assert exc.reason == "main task done, shutting down system tasks"
            assert "<init>" in exc.source_task
            raise

    async def main():
        trio.lowlevel.spawn_system_task(system)
        await settle()
        events.append("main done")

    run(main)
    assert events == ["main done", "system cancelled"]


def test_the_result_of_main_outlives_a_slow_system_task():
    # R32: a shielded system task holds up the end of the run.
    events = []

    async def system():
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        events.append("system done")

    async def main():
        trio.lowlevel.spawn_system_task(system)
        await settle()
        return "result"

    assert run_mock(main) == "result"
    assert events == ["system done"]


def test_a_crash_of_a_system_task_cancels_main_and_is_an_internal_error():
    # R30
    events = []

    async def system():
        await settle()
        raise KeyError("system")

    async def main():
        trio.lowlevel.spawn_system_task(system)
        try:
            await trio.sleep_forever()
        finally:
            events.append("main cancelled")

    _, cause = crash(main)
    assert events == ["main cancelled"]
    # The nurseries of init: the entry queue's, and in it the system tasks'.
    assert cause == [["KeyError('system')"]]


def test_in_a_loose_run_the_cause_of_an_internal_error_is_bare():
    # R30
    async def system():
        raise KeyError("system")

    async def main():
        trio.lowlevel.spawn_system_task(system)
        await trio.sleep_forever()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, cause = crash(main, strict_exception_groups=False)
    assert cause == "KeyError('system')"


def test_internal_error_text_and_cause():
    # R32
    class BadClock(FixedClock):
        def start_clock(self):
            raise ZeroDivisionError

    async def main():
        raise AssertionError("must not run")

    text, cause = crash(main, clock=BadClock(1))
    assert text == "internal error in Trio - please file a bug!"
    assert cause == "ZeroDivisionError()"


def test_the_thread_can_run_again_after_an_internal_error():
    # R32
    class BadClock(FixedClock):
        def start_clock(self):
            raise ZeroDivisionError

    async def main():
        await trio.lowlevel.checkpoint()
        return 1

    for _ in range(5):
        crash(main, clock=BadClock(1))
        assert run(main) == 1


def test_after_the_run_its_token_refuses_calls():
    # R32
    async def main():
        return trio.lowlevel.current_trio_token()

    token = run(main)
    with pytest.raises(trio.RunFinishedError, match=r"^run\(\) has exited$"):
        token.run_sync_soon(print)


def test_system_tasks_cannot_be_spawned_late_in_the_shutdown():
    # R32, R25
    seen = []

    async def never():
        raise AssertionError("must not run")

    async def generator():
        try:
            yield 1
        finally:
            try:
                trio.lowlevel.spawn_system_task(never)
            except RuntimeError as exc:
                seen.append(str(exc))

    kept = []

    async def main():
        agen = generator()
        kept.append(agen)
        await agen.asend(None)

    run(main)
    assert seen == ["Nursery is closed to new arrivals"]


def test_sniffio_says_trio_inside_and_what_it_said_before_outside():
    # R33
    sniffio = pytest.importorskip("sniffio")

    async def main():
        assert sniffio.current_async_library() == "trio"
        await trio.lowlevel.checkpoint()
        assert sniffio.thread_local.name == "trio"

    async def fail():
        raise KeyError

    before = sniffio.thread_local.name
    run(main)
    assert sniffio.thread_local.name == before
    with pytest.raises(KeyError):
        run(fail)
    assert sniffio.thread_local.name == before
    sniffio.thread_local.name = "other"
    try:
        run(main)
        assert sniffio.thread_local.name == "other"
    finally:
        sniffio.thread_local.name = before


def test_main_is_not_started_before_before_run():
    # R38
    recorder = Recorder()

    async def main():
        pass

    run(main, instruments=[recorder])
    assert recorder.events[0] == ("before_run",)
    assert recorder.events[-1] == ("after_run",)


def test_a_failing_call_of_main_still_shuts_down_in_order():
    recorder = Recorder()

    def main():
        raise LookupError("sync part")

    with pytest.raises(LookupError, match="sync part"):
        run(main, instruments=[recorder])
    assert recorder.events[-1] == ("after_run",)


def test_loose_run_makes_nurseries_loose():
    # R24
    async def child():
        raise ValueError("one")

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)

    with pytest.RaisesGroup(ValueError):
        run(main)
    with pytest.raises(ValueError, match="one"):
        run_loose(main)


def test_a_busy_task_does_not_starve_another():
    # R1
    async def busy(state):
        while not state["stop"]:
            state["turns"] += 1
            await trio.lowlevel.checkpoint()

    async def main():
        state = {"turns": 0, "stop": False}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(busy, state)
            await trio.sleep(0.01)
            state["stop"] = True
        assert state["turns"] > 1

    run(main)


def test_the_run_ends_only_when_main_has_unwound():
    events = []

    async def main():
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(block)
                await settle()
                raise ValueError
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            events.append("unwound")

    with pytest.RaisesGroup(ValueError):
        run(main)
    assert events == ["unwound"]
