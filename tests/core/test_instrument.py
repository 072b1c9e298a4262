"""Instruments: the hooks, their order, their errors."""

from __future__ import annotations

import logging
import re

import pytest
from trio_asyncio_c import trio

from ._helpers import Recorder, Value, block, run, run_mock, settle

lowlevel = trio.lowlevel


# The tutorial's program and its tracer


async def child1():
    print("  child1: started! sleeping now...")
    await trio.sleep(0.6)
    print("  child1: exiting!")


async def child2():
    print("  child2: started! sleeping now...")
    await trio.sleep(0.2)
    print("  child2: exiting!")


async def parent():
    print("parent: started!")
    async with trio.open_nursery() as nursery:
        print("parent: spawning child1...")
        nursery.start_soon(child1)

        print("parent: spawning child2...")
        nursery.start_soon(child2)

        print("parent: waiting for children to finish...")
        # -- we exit the nursery block here --
    print("parent: all done!")


class Tracer(trio.abc.Instrument):
    def before_run(self):
        print("!!! run started")

    def _print_with_task(self, msg, task):
        print(f"{msg}: {task.name}")

    def task_spawned(self, task):
        self._print_with_task("### new task spawned", task)

    def task_scheduled(self, task):
        self._print_with_task("### task scheduled", task)

    def before_task_step(self, task):
        self._print_with_task(">>> about to run one step of task", task)

    def after_task_step(self, task):
        self._print_with_task("<<< task step finished", task)

    def task_exited(self, task):
        self._print_with_task("### task exited", task)

    def before_io_wait(self, timeout):
        if timeout:
            print(f"### waiting for I/O for up to {timeout} seconds")
        else:
            print("### doing a quick check for I/O")
        self._sleep_time = trio.current_time()

    def after_io_wait(self, timeout):
        duration = trio.current_time() - self._sleep_time
        print(f"### finished I/O check (took {duration} seconds)")

    def after_run(self):
        print("!!! run finished")


INIT = "<init>"
QUEUE = "<TrioToken.run_sync_soon task>"
QUICK = "### doing a quick check for I/O"
WAIT = "### waiting for I/O for up to N seconds"
FINISHED = "### finished I/O check (took N seconds)"


def step(name, *lines):
    return (
        f">>> about to run one step of task: {name}",
        *lines,
        f"<<< task step finished: {name}",
    )


def turns_of(text):
    """The turns of a trace: what came before the steps, and the set of steps.

    The tasks of a batch run in no particular order, so the steps of one turn
    are a set.  A wait that ended a little early and was taken up again counts
    as one.
    """
    turns = [([], set())]
    current = None
    for line in text.splitlines():
        line = re.sub(r"-?\d[\d.]*(e-?\d+)?(?= seconds)", "N", line)
        line = line.replace(f"{__name__}.", "__main__.")
        if line in (QUICK, WAIT):
            if turns[-1] == ([line, FINISHED], set()):
                turns.pop()
            turns.append(([], set()))
        if line.startswith(">>> "):
            current = []
        if current is None:
            turns[-1][0].append(line)
        else:
            current.append(line)
        if line.startswith("<<< "):
            turns[-1][1].add(tuple(current))
            current = None
    return turns


def test_the_tutorials_tracer_shows_the_tutorials_events(capsys):
    # R1, R38
    run(parent, instruments=[Tracer()])
    trace = capsys.readouterr().out
    assert trace.endswith("!!! run finished\n")
    turns = turns_of(trace.removesuffix("!!! run finished\n"))
    assert turns[:7] == [
        (
            [
                "!!! run started",
                f"### new task spawned: {INIT}",
                f"### task scheduled: {INIT}",
            ],
            set(),
        ),
        (
            [QUICK, FINISHED],
            {
                step(
                    INIT,
                    "### new task spawned: __main__.parent",
                    "### task scheduled: __main__.parent",
                    f"### new task spawned: {QUEUE}",
                    f"### task scheduled: {QUEUE}",
                )
            },
        ),
        (
            [QUICK, FINISHED],
            {
                step(QUEUE),
                step(
                    "__main__.parent",
                    "parent: started!",
                    "parent: spawning child1...",
                    "### new task spawned: __main__.child1",
                    "### task scheduled: __main__.child1",
                    "parent: spawning child2...",
                    "### new task spawned: __main__.child2",
                    "### task scheduled: __main__.child2",
                    "parent: waiting for children to finish...",
                ),
            },
        ),
        (
            [QUICK, FINISHED],
            {
                step("__main__.child1", "  child1: started! sleeping now..."),
                step("__main__.child2", "  child2: started! sleeping now..."),
            },
        ),
        (
            [WAIT, FINISHED, "### task scheduled: __main__.child2"],
            {
                step(
                    "__main__.child2",
                    "  child2: exiting!",
                    "### task exited: __main__.child2",
                )
            },
        ),
        (
            [WAIT, FINISHED, "### task scheduled: __main__.child1"],
            {
                step(
                    "__main__.child1",
                    "  child1: exiting!",
                    "### task scheduled: __main__.parent",
                    "### task exited: __main__.child1",
                )
            },
        ),
        (
            [QUICK, FINISHED],
            {
                step(
                    "__main__.parent",
                    "parent: all done!",
                    f"### task scheduled: {INIT}",
                    "### task exited: __main__.parent",
                )
            },
        ),
    ]
    # What follows is the shutdown; only its order matters.
    rest = [line for before, steps in turns[7:] for line in (*before, *sum(steps, ()))]
    exited = [line for line in rest if line.startswith("### task exited")]
    assert exited == [f"### task exited: {QUEUE}", f"### task exited: {INIT}"]
    assert rest[-1] == f"<<< task step finished: {INIT}"


# What each hook is told


def test_every_step_and_wait_is_framed():
    # R38
    recorder = Recorder()

    async def main():
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(trio.sleep, 0.001)

    run(main, instruments=[recorder])
    names = [event[0] for event in recorder.events]
    assert names[0] == "before_run"
    assert names[-1] == "after_run"
    assert names.count("before_run") == names.count("after_run") == 1
    open_frame = None
    for event in recorder.events:
        if event[0] in ("before", "before_io"):
            assert open_frame is None
            open_frame = event
        elif event[0] == "after":
            assert open_frame == ("before", event[1])
            open_frame = None
        elif event[0] == "after_io":
            assert open_frame == ("before_io", event[1])
            open_frame = None
    assert open_frame is None


def test_every_task_is_spawned_and_exits_once():
    # R38
    recorder = Recorder()

    async def main():
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(trio.sleep, 0)
        lowlevel.spawn_system_task(trio.sleep_forever)

    run(main, instruments=[recorder])
    spawned = [event[1] for event in recorder.events if event[0] == "spawned"]
    exited = [event[1] for event in recorder.events if event[0] == "exited"]
    assert len(spawned) == len(set(spawned)) == 7
    assert set(exited) == set(spawned)
    assert len(exited) == 7
    for task in spawned:
        events = recorder.of(task)
        assert events[:2] == ["spawned", "scheduled"]
        assert events[-2:] == ["exited", "after"]


def test_task_scheduled_precedes_after_task_step_of_a_checkpoint():
    # R39
    recorder = Recorder()
    tasks = []

    async def main():
        tasks.append(lowlevel.current_task())
        await lowlevel.checkpoint()
        await lowlevel.cancel_shielded_checkpoint()

    run(main, instruments=[recorder])
    assert recorder.of(tasks[0])[2:] == [
        "before",
        "scheduled",
        "after",
        "before",
        "scheduled",
        "after",
        "before",
        "exited",
        "after",
    ]


def test_hooks_run_inside_or_outside_a_task():
    # R38
    where = {}

    def note(name):
        try:
            current = lowlevel.current_task()
        except RuntimeError:
            current = None
        where.setdefault(name, set()).add(current if current is None else "task")
        assert lowlevel.in_trio_run()

    class Look(trio.abc.Instrument):
        def before_run(self):
            note("before_run")

        def after_run(self):
            note("after_run")

        def before_io_wait(self, timeout):
            note("before_io_wait")

        def after_io_wait(self, timeout):
            note("after_io_wait")

        def before_task_step(self, task):
            note("before_task_step")
            assert lowlevel.current_task() is task

        def after_task_step(self, task):
            note("after_task_step")
            assert lowlevel.current_task() is task

        def task_exited(self, task):
            note("task_exited")
            assert lowlevel.current_task() is task

    async def main():
        await lowlevel.checkpoint()

    run(main, instruments=[Look()])
    assert where == {
        "before_run": {None},
        "after_run": {None},
        "before_io_wait": {None},
        "after_io_wait": {None},
        "before_task_step": {"task"},
        "after_task_step": {"task"},
        "task_exited": {"task"},
    }


def test_both_io_hooks_get_the_same_timeout():
    # R5
    recorder = Recorder()

    async def main():
        await trio.sleep(0.005)
        await lowlevel.checkpoint()

    run(main, instruments=[recorder])
    befores = [event[1] for event in recorder.events if event[0] == "before_io"]
    afters = [event[1] for event in recorder.events if event[0] == "after_io"]
    assert befores == afters
    assert any(0 < timeout <= 0.005 for timeout in befores)
    assert 0 in befores


def test_the_timeout_is_the_cushion_of_who_waits_for_idle():
    # R5: exactly as given.
    seen = []
    scopes = []

    class Look(trio.abc.Instrument):
        def before_io_wait(self, timeout):
            seen.append(timeout)
            if timeout == 9999:
                scopes[0].cancel()
                tokens[0].run_sync_soon(int)

    tokens = []

    async def main():
        tokens.append(lowlevel.current_trio_token())
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await trio.testing.wait_all_tasks_blocked(9999)
        assert scope.cancelled_caught

    run(main, instruments=[Look()])
    assert 9999 in seen


# Adding and removing


def test_an_instrument_needs_no_base_class_and_only_some_hooks():
    # R38
    class Partial:
        def __init__(self):
            self.steps = 0

        def before_task_step(self, task):
            self.steps += 1

        def something_else(self):
            raise AssertionError

    partial = Partial()

    async def main():
        await lowlevel.checkpoint()

    run(main, instruments=[partial])
    assert partial.steps > 2


def test_the_base_class_alone_does_nothing():
    async def main():
        await lowlevel.checkpoint()
        return 1

    assert run(main, instruments=[trio.abc.Instrument()]) == 1


def test_added_and_removed_while_running():
    # R38
    recorder = Recorder()

    async def main():
        task = lowlevel.current_task()
        lowlevel.add_instrument(recorder)
        await lowlevel.checkpoint()
        lowlevel.remove_instrument(recorder)
        await lowlevel.checkpoint()
        assert recorder.of(task) == ["scheduled", "after", "before"]

    run(main)
    assert recorder.events[-1][0] == "before"


def test_adding_twice_is_adding_once():
    # R38
    recorder = Recorder()

    async def main():
        task = lowlevel.current_task()
        lowlevel.add_instrument(recorder)
        lowlevel.add_instrument(recorder)
        await lowlevel.checkpoint()
        assert recorder.of(task) == ["scheduled", "after", "before"]
        lowlevel.remove_instrument(recorder)
        with pytest.raises(KeyError):
            lowlevel.remove_instrument(recorder)

    run(main)


def test_removing_one_that_is_not_there():
    # R38
    async def main():
        with pytest.raises(KeyError):
            lowlevel.remove_instrument(Recorder())

    run(main)


def test_several_instruments_are_all_told_in_the_order_added():
    order = []

    class Named(trio.abc.Instrument):
        def __init__(self, name):
            self.name = name

        def before_run(self):
            order.append(self.name)

        def after_run(self):
            order.append(self.name)

    async def main():
        pass

    run(main, instruments=[Named("a"), Named("b"), Named("c")])
    assert order == ["a", "b", "c"] * 2


def test_the_same_one_twice_in_the_list():
    class Count(trio.abc.Instrument):
        count = 0

        def before_run(self):
            self.count += 1

    async def main():
        pass

    counter = Count()
    run(main, instruments=[counter, counter])
    assert counter.count == 1


def test_hooks_are_found_when_the_instrument_is_added():
    # R38: one that appears later is not called.
    class Late(trio.abc.Instrument):
        pass

    called = []
    instrument = Late()

    async def main():
        instrument.before_task_step = called.append
        await lowlevel.checkpoint()
        lowlevel.remove_instrument(instrument)
        lowlevel.add_instrument(instrument)
        await lowlevel.checkpoint()
        assert called == [lowlevel.current_task()]

    run(main, instruments=[instrument])


def test_an_instrument_that_cannot_be_read_is_not_added():
    class Bad:
        @property
        def before_run(self):
            raise LookupError("property")

    bad = Bad()

    async def main():
        with pytest.raises(LookupError, match="property"):
            lowlevel.add_instrument(bad)
        with pytest.raises(KeyError):
            lowlevel.remove_instrument(bad)
        await lowlevel.checkpoint()

    run(main)


def test_an_instrument_may_remove_itself_in_a_hook():
    class Once(trio.abc.Instrument):
        def __init__(self):
            self.calls = 0

        def before_task_step(self, task):
            self.calls += 1
            lowlevel.remove_instrument(self)

    once, recorder = Once(), Recorder()

    async def main():
        for _ in range(3):
            await lowlevel.checkpoint()

    run(main, instruments=[once, recorder])
    assert once.calls == 1
    assert recorder.events[-1] == ("after_run",)


def test_an_instrument_may_add_another_in_a_hook():
    recorder = Recorder()

    class Adder(trio.abc.Instrument):
        def before_run(self):
            lowlevel.add_instrument(recorder)

    async def main():
        pass

    run(main, instruments=[Adder()])
    assert recorder.events[0][0] == "spawned"
    assert recorder.events[-1] == ("after_run",)


# Errors


def records_of(caplog):
    return [record for record in caplog.records if record.name == "trio.abc.Instrument"]


HOOKS = [
    "before_run",
    "after_run",
    "task_spawned",
    "task_scheduled",
    "before_task_step",
    "after_task_step",
    "task_exited",
    "before_io_wait",
    "after_io_wait",
]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_raises_is_logged_and_its_instrument_removed(hook, caplog):
    # R38
    error = KeyError("hook")
    calls = []

    def bad(self, *args):
        calls.append(args)
        raise error

    instrument = type("Bad", (trio.abc.Instrument,), {hook: bad})()
    recorder = Recorder()

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0)
        return "fine"

    with caplog.at_level(logging.ERROR):
        assert run(main, instruments=[instrument, recorder]) == "fine"
    assert len(calls) == 1
    assert recorder.events[-1] == ("after_run",)
    (record,) = records_of(caplog)
    assert record.levelno == logging.ERROR
    assert record.getMessage() == (
        f"Exception raised when calling {hook!r} on instrument {instrument!r}. "
        "Instrument has been disabled."
    )
    assert record.exc_info[1] is error


def test_one_bad_hook_disables_all_hooks_of_its_instrument(caplog):
    # R38
    class Bad(Recorder):
        def task_spawned(self, task):
            raise KeyError

    bad = Bad()

    async def main():
        await lowlevel.checkpoint()

    with caplog.at_level(logging.ERROR):
        run(main, instruments=[bad])
    assert bad.events == [("before_run",)]
    assert len(records_of(caplog)) == 1


def test_base_exceptions_in_hooks_are_logged_too(caplog):
    # R38
    class Bad(trio.abc.Instrument):
        def before_task_step(self, task):
            raise SystemExit

    async def main():
        await lowlevel.checkpoint()
        return 1

    with caplog.at_level(logging.ERROR):
        assert run(main, instruments=[Bad()]) == 1
    assert len(records_of(caplog)) == 1


def test_a_hook_may_use_the_core(caplog):
    # Cancelling, waking and reading the statistics from a hook.
    class Busy(trio.abc.Instrument):
        def after_task_step(self, task):
            lowlevel.current_statistics()
            if task.name == "trigger" and scopes:
                lowlevel.reschedule(parked.pop(), Value("from a hook"))
                scopes.pop().cancel()

    scopes, parked, values = [], [], []

    async def sleeper():
        parked.append(lowlevel.current_task())
        values.append(await block())

    async def main():
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sleeper)
                await settle()
                scopes.append(scope)
                nursery.start_soon(trio.sleep_forever, name="trigger")
        assert scope.cancelled_caught

    run(main, instruments=[Busy()])
    assert values == ["from a hook"]
    assert records_of(caplog) == []


def test_a_task_scheduled_by_a_hook_of_the_wait_runs_in_the_same_turn():
    # R1
    events = []

    class Wake(trio.abc.Instrument):
        def before_io_wait(self, timeout):
            events.append("io")
            if parked:
                lowlevel.reschedule(parked.pop())

    parked = []

    async def main():
        parked.append(lowlevel.current_task())
        await block()
        events.append("woken")
        assert events[-2:] == ["io", "woken"]

    # The hook comes after the timeout is computed: here it must be a short one.
    run_mock(main_with_short_wait, main, instruments=[Wake()])


async def main_with_short_wait(main):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(main)
        await trio.sleep(1)
