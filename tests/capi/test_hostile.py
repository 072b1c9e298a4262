"""Callbacks, finalizers and objects that do what nobody expects of them.

None of this is good practice.  The core may answer with an exception, often it has
to; it must neither crash nor hang nor lose track of the other tasks.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import os
import socket
import threading
import warnings

import pytest
from trio_asyncio_c import trio

from ._helpers import (
    Error,
    Value,
    block,
    collect,
    crash,
    run_or_crash,
    script,
    settle,
    unheard,
)

lowlevel = trio.lowlevel
SUCCEEDED = lowlevel.Abort.SUCCEEDED
FAILED = lowlevel.Abort.FAILED


class Finalizer:
    """An object that calls a function when it dies."""

    def __init__(self, fn):
        self.fn = fn

    def __del__(self):
        self.fn()


def spawned(nursery, *args):
    before = nursery.child_tasks
    nursery.start_soon(*args)
    (task,) = nursery.child_tasks - before
    return task


def healthy():
    """After all that, an ordinary run must still work."""

    async def main():
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(trio.sleep, 0)
        with trio.move_on_after(0) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        return lowlevel.current_statistics().tasks_living

    assert trio.run(main) == 3


@pytest.fixture(autouse=True)
def healthy_afterwards():
    yield
    healthy()


# Abort functions


def raising_abort(raise_cancel):
    raise KeyError("abort")


def test_an_abort_that_raises_into_cancel():
    # R13: whoever cancels gets it; the task stays blocked.
    async def main():
        async with trio.open_nursery() as nursery:
            task = spawned(nursery, lowlevel.wait_task_rescheduled, raising_abort)
            await settle()
            with pytest.raises(KeyError, match="abort"):
                nursery.cancel_scope.cancel()
            assert task in nursery.child_tasks
            lowlevel.reschedule(task)

    trio.run(main)


def test_an_abort_that_raises_at_a_deadline():
    # R13
    async def main():
        with trio.move_on_after(0.001):
            await lowlevel.wait_task_rescheduled(raising_abort)

    assert crash(main)[1:] == ["KeyError('abort')"]


def test_an_abort_that_raises_at_once():
    # R13
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            await lowlevel.wait_task_rescheduled(raising_abort)

    assert crash(main)[1:] == ["KeyError('abort')"]


@pytest.mark.parametrize("answer", [None, True, 1, "SUCCEEDED", FAILED.value, object])
def test_an_abort_that_answers_nonsense(answer):
    # R13
    text = "abort function must return Abort enum"

    async def at_once():
        with trio.CancelScope() as scope:
            scope.cancel()
            await lowlevel.wait_task_rescheduled(lambda _: answer)

    assert crash(at_once) == [f"TrioInternalError({text!r})"]

    async def into_cancel():
        async with trio.open_nursery() as nursery:
            task = spawned(nursery, lowlevel.wait_task_rescheduled, lambda _: answer)
            await settle()
            with pytest.raises(trio.TrioInternalError, match=text):
                nursery.cancel_scope.cancel()
            lowlevel.reschedule(task)

    trio.run(into_cancel)


def test_an_abort_that_cannot_be_called():
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            await lowlevel.wait_task_rescheduled(5)

    with unheard():
        with pytest.raises((TypeError, trio.TrioInternalError)) as info:
            trio.run(main)
        del info


def test_an_abort_that_wakes_its_task_itself():
    # R13: with FAILED that is how a late cancellation is reported.
    async def main():
        task = lowlevel.current_task()

        def abort(raise_cancel):
            lowlevel.reschedule(task, Value("woken by abort"))
            return FAILED

        with trio.CancelScope() as scope:
            scope.cancel()
            assert await lowlevel.wait_task_rescheduled(abort) == "woken by abort"
        assert not scope.cancelled_caught

    trio.run(main)


def test_an_abort_that_wakes_its_task_and_says_it_succeeded():
    # R6: that is a second wake-up.
    async def main():
        task = lowlevel.current_task()

        def abort(raise_cancel):
            lowlevel.reschedule(task)
            return SUCCEEDED

        with trio.CancelScope() as scope:
            scope.cancel()
            await lowlevel.wait_task_rescheduled(abort)

    assert len(crash(main)) == 2


def test_an_abort_that_cancels_its_own_scope_again():
    async def main():
        with trio.CancelScope() as scope:

            def abort(raise_cancel):
                scope.cancel()
                scope.deadline = -math.inf
                return SUCCEEDED

            scope.cancel()
            await lowlevel.wait_task_rescheduled(abort)
        assert scope.cancelled_caught

    trio.run(main)


def test_aborts_that_wake_each_other():
    # R14: the tasks of a scope are a snapshot; some of it is out of date.
    async def main():
        tasks = []
        aborted = []

        def abort(raise_cancel):
            aborted.append(1)
            for task in tasks:
                with contextlib.suppress(AssertionError):
                    lowlevel.reschedule(task)
            return FAILED

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                tasks.append(spawned(nursery, lowlevel.wait_task_rescheduled, abort))
            await settle()
            nursery.cancel_scope.cancel()
        assert aborted == [1]

    trio.run(main)


def test_aborts_that_cancel_and_shield_other_scopes():
    # R11, R14
    async def main():
        scopes = [trio.CancelScope() for _ in range(10)]

        async def sleeper(i):
            def abort(raise_cancel):
                scopes[(i + 1) % 10].cancel()
                scopes[(i + 3) % 10].shield = True
                return SUCCEEDED

            with scopes[i]:
                await lowlevel.wait_task_rescheduled(abort)

        async with trio.open_nursery() as nursery:
            for i in range(10):
                nursery.start_soon(sleeper, i)
            await settle()
            nursery.cancel_scope.cancel()
            assert all(scope.cancel_called for scope in scopes)

    trio.run(main)


def test_aborts_that_exit_scopes_of_others():
    async def main():
        outer = trio.CancelScope()

        def abort(raise_cancel):
            with contextlib.suppress(RuntimeError):
                outer.__exit__(None, None, None)
            return SUCCEEDED

        async def sleeper():
            await lowlevel.wait_task_rescheduled(abort)

        with outer:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sleeper)
                await settle()
                nursery.cancel_scope.cancel()

    with contextlib.suppress(RuntimeError, BaseExceptionGroup):
        trio.run(main)


def test_an_abort_that_closes_the_coroutine():
    async def main():
        async with trio.open_nursery() as nursery:
            tasks = []

            def abort(raise_cancel):
                tasks[0].coro.close()
                return SUCCEEDED

            tasks.append(spawned(nursery, lowlevel.wait_task_rescheduled, abort))
            await settle()
            nursery.cancel_scope.cancel()

    with pytest.RaisesGroup(RuntimeError):
        trio.run(main)


def test_an_abort_that_collects_garbage():
    async def main():
        def abort(raise_cancel):
            gc.collect()
            return SUCCEEDED

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(lowlevel.wait_task_rescheduled, abort)
            await settle()
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_an_abort_that_unparks_everybody():
    async def main():
        lot = lowlevel.ParkingLot()

        def abort(raise_cancel):
            lot.unpark_all()
            return SUCCEEDED

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(lot.park)
                nursery.start_soon(lowlevel.wait_task_rescheduled, abort)
            await settle()
            nursery.cancel_scope.cancel()
        assert len(lot) == 0

    trio.run(main)


def test_an_abort_during_expiry_that_makes_new_deadlines():
    async def main():
        made = []
        scopes = [
            trio.CancelScope(deadline=trio.current_time() + 0.001) for _ in range(20)
        ]

        def abort(raise_cancel):
            for scope in scopes:
                scope.deadline = trio.current_time() + len(made) % 3 - 1
                made.append(scope)
            return SUCCEEDED

        async def sleeper(scope):
            with scope:
                await lowlevel.wait_task_rescheduled(abort)

        async with trio.open_nursery() as nursery:
            for scope in scopes:
                nursery.start_soon(sleeper, scope)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


# Finalizers


def test_a_finalizer_that_spawns_while_its_task_exits():
    async def main():
        done = []

        async def late():
            done.append("late")

        async def child():
            thing = Finalizer(lambda: nursery.start_soon(late))
            await lowlevel.checkpoint()
            return thing

        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            nursery.start_soon(trio.sleep, 0.001)
        assert done == ["late"]

    trio.run(main)


def test_a_finalizer_that_cancels_while_its_task_exits():
    async def main():
        async def child():
            thing = Finalizer(nursery.cancel_scope.cancel)
            await lowlevel.checkpoint()
            raise KeyError(thing)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            nursery.start_soon(trio.sleep_forever)

    with unheard():
        try:
            trio.run(main)
        except ExceptionGroup as group:
            assert isinstance(group.exceptions[0], KeyError)
        else:
            raise AssertionError


def test_a_finalizer_of_a_wake_up_value():
    async def main():
        woken = []
        async with trio.open_nursery() as nursery:
            other = spawned(nursery, block)
            task = spawned(nursery, block)
            await settle()
            lowlevel.reschedule(
                task,
                Value(Finalizer(lambda: (woken.append(1), lowlevel.reschedule(other)))),
            )
        assert woken == [1]

    trio.run(main)


def test_a_finalizer_of_sleep_data():
    # R6: reschedule clears it, and that may run code.
    async def main():
        async with trio.open_nursery() as nursery:
            task = spawned(nursery, block)
            other = spawned(nursery, block)
            await settle()
            errors = []

            def again():
                lowlevel.reschedule(other)
                try:
                    lowlevel.reschedule(task)
                except AssertionError as exc:
                    errors.append(exc)

            task.custom_sleep_data = Finalizer(again)
            lowlevel.reschedule(task)
            assert len(errors) == 1

    trio.run(main)


def test_a_finalizer_of_an_abort_function():
    async def main():
        lot = lowlevel.ParkingLot()
        done = []

        def make():
            thing = Finalizer(lambda: (lot.unpark_all(), done.append(1)))
            return lambda raise_cancel, thing=thing: SUCCEEDED

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(lot.park)
            task = spawned(nursery, lowlevel.wait_task_rescheduled, make())
            await settle()
            lowlevel.reschedule(task)
        assert done == [1]

    trio.run(main)


def test_a_finalizer_of_a_run_variables_value():
    var = lowlevel.RunVar("var")

    async def main():
        def again():
            if lowlevel.in_trio_run() and len(done) < 3:
                done.append(1)
                var.set(Finalizer(again))

        done = []
        var.set(Finalizer(again))
        token = var.set(None)
        var.reset(token)
        var.set(1)
        del token
        assert done

    trio.run(main)


def test_a_finalizer_in_the_arguments_of_a_callback():
    # R34: dropping a call that was made makes the next one.
    async def main():
        token = lowlevel.current_trio_token()
        count = []

        def again():
            count.append(1)
            if len(count) < 50:
                token.run_sync_soon(isinstance, Finalizer(again), int)

        again()
        await settle()
        assert len(count) == 50
        assert lowlevel.current_statistics().run_sync_soon_queue_size == 0

    trio.run(main)


def test_a_finalizer_of_a_clock_or_an_instrument():
    done = []

    class Clock(trio.abc.Clock):
        def __del__(self):
            healthy()
            done.append("clock")

        def start_clock(self):
            pass

        def current_time(self):
            return 1.0

        def deadline_to_sleep_time(self, deadline):
            return 0.001

    class Instrument(trio.abc.Instrument):
        def __del__(self):
            healthy()
            done.append("instrument")

    async def main():
        await settle()

    trio.run(main, clock=Clock(), instruments=[Instrument()])
    collect()
    assert sorted(done) == ["clock", "instrument"]


def test_a_finalizer_that_tries_to_run():
    async def nothing():
        raise AssertionError

    errors = []

    def attempt():
        try:
            trio.run(nothing)
        except RuntimeError as exc:
            errors.append(str(exc))

    async def main():
        thing = Finalizer(attempt)
        del thing
        await lowlevel.checkpoint()

    trio.run(main)
    assert errors == ["Attempted to call run() from inside a run()"]


def test_a_finalizer_of_the_result():
    async def main():
        return Finalizer(healthy)

    assert trio.run(main) is not None


def test_finalizers_in_a_nursery_that_dies():
    done = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.thing = Finalizer(lambda: done.append(1))
            nursery.me = nursery
            nursery.start_soon(trio.sleep, 0)

    trio.run(main)
    collect()
    assert done == [1]


# Coroutines that are tampered with


@pytest.mark.parametrize("end", ["reschedule", "cancel"])
@pytest.mark.parametrize("how", ["close", "throw"])
def test_a_coroutine_ended_by_others_while_it_waits(how, end):
    # The task is told when it is woken: its coroutine is over.
    async def main():
        async with trio.open_nursery() as nursery:
            task = spawned(nursery, block)
            await settle()
            if how == "close":
                task.coro.close()
            else:
                with pytest.raises(LookupError):
                    task.coro.throw(LookupError("thrown"))
            collect()
            assert task in nursery.child_tasks
            assert list(task.iter_await_frames()) == []
            if end == "reschedule":
                lowlevel.reschedule(task)
            else:
                nursery.cancel_scope.cancel()

    with pytest.RaisesGroup(
        pytest.RaisesExc(RuntimeError, match="cannot reuse already awaited coroutine")
    ):
        trio.run(main)


def test_a_coroutine_closed_in_a_parking_lot():
    lot = lowlevel.ParkingLot()

    async def main():
        async with trio.open_nursery() as nursery:
            first = spawned(nursery, lot.park)
            await settle()
            nursery.start_soon(lot.park)
            await settle()
            first.coro.close()
            collect()
            nursery.cancel_scope.cancel()

    with pytest.RaisesGroup(RuntimeError):
        trio.run(main)
    assert len(lot) == 0


@pytest.mark.parametrize("wait", ["wait_readable", "wait_writable"])
def test_a_coroutine_closed_while_it_waits_for_a_descriptor(wait):
    async def main():
        a, b = socket.socketpair()
        with a, b:
            a.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while wait == "wait_writable":
                    a.send(bytes(65536))
            async with trio.open_nursery() as nursery:
                task = spawned(nursery, getattr(lowlevel, wait), a)
                await settle()
                task.coro.close()
                collect()
                nursery.cancel_scope.cancel()

    with pytest.RaisesGroup(RuntimeError):
        trio.run(main)


def test_a_coroutine_closed_before_its_first_step():
    async def main():
        async with trio.open_nursery() as nursery:
            task = spawned(nursery, block)
            task.coro.close()

    with pytest.RaisesGroup(
        pytest.RaisesExc(RuntimeError, match="cannot reuse already awaited coroutine")
    ):
        trio.run(main)


def test_a_coroutine_stepped_by_others_while_it_waits():
    async def main():
        async with trio.open_nursery() as nursery:
            task = spawned(nursery, block)
            await settle()
            with contextlib.suppress(StopIteration, AttributeError, RuntimeError):
                task.coro.send(None)
            nursery.cancel_scope.cancel()

    with contextlib.suppress(BaseExceptionGroup):
        trio.run(main)


def test_a_task_that_steps_itself():
    async def main():
        coro = lowlevel.current_task().coro
        with pytest.raises(ValueError, match="coroutine already executing"):
            coro.send(None)
        with pytest.raises(ValueError, match="coroutine already executing"):
            coro.close()
        await lowlevel.checkpoint()
        return "fine"

    assert trio.run(main) == "fine"


def test_a_coroutine_that_ignores_being_closed():
    async def stubborn():
        while True:
            with contextlib.suppress(GeneratorExit):
                await block()

    async def main():
        async with trio.open_nursery() as nursery:
            task = spawned(nursery, stubborn)
            await settle()
            with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
                task.coro.close()
            nursery.cancel_scope.cancel()

    trio.run(main)


@pytest.mark.parametrize("name", ["name", "context", "coro", "custom_sleep_data"])
def test_attributes_of_a_task_that_are_deleted(name):
    async def main():
        task = lowlevel.current_task()
        value = getattr(task, name)
        with contextlib.suppress(AttributeError, TypeError):
            delattr(task, name)
        looks = [repr, lambda task: list(task.iter_await_frames()), gc.get_referents]
        for look in looks:
            with contextlib.suppress(AttributeError, RuntimeError):
                look(task)
        setattr(task, name, value)
        await lowlevel.checkpoint()
        assert getattr(task, name) is value

    trio.run(main)


def test_a_context_that_is_none():
    async def main():
        async with trio.open_nursery() as nursery:
            task = spawned(nursery, block)
            await settle()
            task.context = None
            lowlevel.reschedule(task)

    with pytest.raises((TypeError, ExceptionGroup)) as info:
        trio.run(main)
    error = info.value
    while isinstance(error, ExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, (TypeError, AttributeError))


def test_a_name_that_is_no_string():
    async def main():
        task = lowlevel.current_task()
        with contextlib.suppress(TypeError):
            task.name = 5
        assert "Task" in repr(task)
        task.name = "fine"

    trio.run(main)


def test_names_whose_repr_fails():
    class Bad:
        def __repr__(self):
            raise LookupError("repr")

    async def main():
        async with trio.open_nursery() as nursery:
            with warnings.catch_warnings():
                # The coroutine that was made already may complain.
                warnings.simplefilter("ignore")
                error = None
                try:
                    nursery.start_soon(trio.sleep, 0, name=Bad())
                except LookupError as exc:
                    error = str(exc)
                collect()
            assert error == "repr"
            assert nursery.child_tasks == frozenset()

    trio.run(main)


# Outcomes


class BadOutcome:
    @property
    def value(self):
        raise LookupError("value")

    @property
    def error(self):
        raise LookupError("error")

    def unwrap(self):
        raise LookupError("unwrap")


@pytest.mark.parametrize("outcome", [5, "text", object(), BadOutcome()])
def test_waking_a_task_with_something_that_is_no_outcome(outcome):
    # Whoever wakes or who is woken gets the error, as the case may be.
    async def main():
        async with trio.open_nursery() as nursery:
            task = spawned(nursery, block)
            await settle()
            try:
                lowlevel.reschedule(task, outcome)
            except (AttributeError, TypeError, LookupError):
                lowlevel.reschedule(task, Error(TypeError("refused")))

    with pytest.raises(ExceptionGroup) as info:
        trio.run(main)
    (error,) = info.value.exceptions
    assert isinstance(error, (AttributeError, TypeError, LookupError))


def test_exceptions_that_cannot_be_represented():
    # Their repr becomes part of the reason for the cancellation.  In a program of
    # its own, which a crash of the run does not take down with it.
    result = script(
        """
        import os
        from trio_asyncio_c import trio

        class Bad(Exception):
            def __repr__(self):
                raise LookupError("repr")

        async def child():
            raise Bad

        async def main():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)
                await trio.sleep_forever()

        try:
            trio.run(main)
        except (trio.TrioInternalError, BaseExceptionGroup):
            print("told", flush=True)
        os._exit(0)
        """
    )
    assert result.stdout == "told\n"
    assert result.returncode == 0


def test_exceptions_whose_repr_uses_the_core():
    class Busy(Exception):
        def __repr__(self):
            nurseries[0].cancel_scope.cancel("from repr")
            nurseries[0].start_soon(trio.sleep, 0)
            gc.collect()
            return "busy"

    nurseries = []

    async def child():
        raise Busy

    async def main():
        async with trio.open_nursery() as nursery:
            nurseries.append(nursery)
            nursery.start_soon(child)
            await trio.sleep_forever()

    with pytest.RaisesGroup(Busy):
        trio.run(main)


class EvilGroup(ExceptionGroup):
    answer = None

    def split(self, *args):
        if self.answer == "raise":
            raise LookupError("split")
        return self.answer


@pytest.mark.parametrize(
    "answer",
    ["raise", None, 5, (), (1, 2, 3)],
)
def test_groups_that_cannot_be_split(answer):
    async def main():
        error = EvilGroup("evil", [ValueError()])
        # A fresh one each time: an exception keeps the traceback of its raise.
        fresh = isinstance(answer, Exception)
        error.answer = type(answer)(*answer.args) if fresh else answer
        with pytest.raises((LookupError, TypeError, ValueError)):
            with trio.CancelScope() as scope:
                scope.cancel()
                raise error
        await lowlevel.cancel_shielded_checkpoint()

    trio.run(main)


@pytest.mark.parametrize("exc", [5, "text", object(), ValueError])
def test_exits_with_something_that_is_no_exception(exc):
    async def main():
        scope = trio.CancelScope()
        scope.__enter__()
        scope.cancel()
        with contextlib.suppress(TypeError):
            scope.__exit__(None, exc, None)
        with contextlib.suppress(TypeError, RuntimeError):
            scope.__exit__()

    trio.run(main)


# Comparing and hashing


class Awkward:
    """Hashes like its kin, and does something when compared."""

    def __init__(self, fn):
        self.fn = fn

    def __hash__(self):
        return 7

    def __eq__(self, other):
        self.fn()
        return False

    def __call__(self):
        pass


def test_comparing_idempotent_calls_that_make_more_calls():
    # R34
    async def main():
        token = lowlevel.current_trio_token()
        count = []

        def more():
            count.append(1)
            if len(count) < 50:
                token.run_sync_soon(Awkward(more), idempotent=True)

        for _ in range(5):
            token.run_sync_soon(Awkward(more), idempotent=True)
        await settle()
        assert lowlevel.current_statistics().run_sync_soon_queue_size == 0

    trio.run(main)


def test_comparing_idempotent_calls_that_fail():
    # R34
    async def main():
        token = lowlevel.current_trio_token()

        def fail():
            raise LookupError("eq")

        calls = []
        token.run_sync_soon(Awkward(fail), idempotent=True)
        with pytest.raises(LookupError, match="eq"):
            token.run_sync_soon(Awkward(fail), idempotent=True)
        token.run_sync_soon(calls.append, 1)
        await settle()

    trio.run(main)


def test_comparing_instruments_that_remove_each_other():
    # R38
    class Comparing(trio.abc.Instrument):
        def __hash__(self):
            return 7

        def __eq__(self, other):
            with contextlib.suppress(RuntimeError, KeyError):
                lowlevel.current_statistics()
            return self is other

        def before_task_step(self, task):
            if task.name.endswith("main"):
                steps.append(task)

    steps = []

    async def main():
        instruments = [Comparing() for _ in range(4)]
        for instrument in instruments:
            lowlevel.add_instrument(instrument)
        await lowlevel.checkpoint()
        for instrument in instruments:
            lowlevel.remove_instrument(instrument)

    trio.run(main)
    assert len(steps) == 4


def test_instruments_that_cannot_be_hashed():
    class Unhashable(trio.abc.Instrument):
        __hash__ = None

    async def main():
        with pytest.raises(TypeError, match="unhashable"):
            lowlevel.add_instrument(Unhashable())
        await lowlevel.checkpoint()

    trio.run(main)
    with pytest.raises(TypeError, match="unhashable"):
        trio.run(main, instruments=[Unhashable()])
    assert not lowlevel.in_trio_run()


# Instruments

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


def instrument(**hooks):
    """An instrument of the hooks given."""
    methods = {
        name: lambda self, *args, hook=hook: hook(*args) for name, hook in hooks.items()
    }
    return type("Hostile", (trio.abc.Instrument,), methods)()


async def busy_program():
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(trio.sleep, 0)
            nursery.start_soon(trio.sleep, 0.001)
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.sleep_forever()
    return "fine"


@pytest.mark.parametrize("hook", HOOKS)
def test_an_instrument_that_removes_itself_and_the_others(hook):
    # R38
    def remove(*args):
        for each in list(instruments):
            with contextlib.suppress(KeyError, RuntimeError):
                lowlevel.remove_instrument(each)

    instruments = [instrument(**{hook: remove}) for _ in range(3)]
    assert trio.run(busy_program, instruments=instruments) == "fine"


@pytest.mark.parametrize("hook", [h for h in HOOKS if h != "after_run"])
def test_an_instrument_that_raises_after_it_removed_itself(hook):
    # R38: it cannot be removed once more; trio calls that an internal error.
    def remove(*args):
        lowlevel.remove_instrument(me)
        raise LookupError("and then fails")

    me = instrument(**{hook: remove})
    logging.getLogger("trio.abc.Instrument").disabled = True
    try:
        run_or_crash(busy_program, instruments=[me])
    finally:
        logging.getLogger("trio.abc.Instrument").disabled = False


@pytest.mark.parametrize("hook", [h for h in HOOKS if h != "after_run"])
def test_an_instrument_that_adds_more_at_every_turn(hook):
    # R38
    def add(*args):
        if len(added) < 30:
            added.append(instrument(**{hook: add}))
            lowlevel.add_instrument(added[-1])

    added = []
    assert trio.run(busy_program, instruments=[instrument(**{hook: add})]) == "fine"
    assert added


@pytest.mark.parametrize("hook", HOOKS)
def test_an_instrument_that_collects_garbage(hook):
    assert (
        trio.run(
            busy_program, instruments=[instrument(**{hook: lambda *args: gc.collect()})]
        )
        == "fine"
    )


def test_an_instrument_that_closes_the_coroutine_about_to_run():
    def close(task):
        if task.name == "victim":
            task.coro.close()

    async def victim():
        raise AssertionError

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(victim, name="victim")

    with pytest.RaisesGroup(RuntimeError):
        trio.run(main, instruments=[instrument(before_task_step=close)])


def test_an_instrument_that_cancels_in_every_hook():
    scopes = []

    def cancel(*args):
        for scope in scopes:
            scope.cancel()

    async def main():
        with trio.CancelScope() as scope:
            scopes.append(scope)
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(trio.sleep_forever)
                await trio.sleep_forever()
        return "fine"

    me = instrument(**dict.fromkeys(HOOKS, cancel))
    assert trio.run(main, instruments=[me]) == "fine"


def test_an_instrument_that_spawns_when_a_task_exits():
    count = []

    def spawn(task):
        if task.name == "child" and len(count) < 20:
            count.append(1)
            nurseries[0].start_soon(trio.sleep, 0, name="child")

    nurseries = []

    async def main():
        async with trio.open_nursery() as nursery:
            nurseries.append(nursery)
            nursery.start_soon(trio.sleep, 0, name="child")
            nursery.start_soon(trio.sleep, 0.02)

    trio.run(main, instruments=[instrument(task_exited=spawn)])
    assert len(count) == 20


def test_an_instrument_with_an_attribute_for_every_name():
    class Everything:
        def __dir__(self):
            return [*HOOKS, "", "no_such_hook"]

        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return lambda *args: seen.add(name)

    seen = set()
    assert trio.run(busy_program, instruments=[Everything()]) == "fine"
    assert seen == set(HOOKS)


# Descriptors


def test_fileno_that_uses_the_core():
    async def main():
        a, b = socket.socketpair()
        with a, b:

            class Busy:
                def fileno(self):
                    lowlevel.notify_closing(a)
                    gc.collect()
                    scope.cancel()
                    return a.fileno()

            for wait in [lowlevel.wait_readable, lowlevel.wait_writable]:
                with trio.CancelScope() as scope:
                    await wait(Busy())
                assert scope.cancelled_caught
            with trio.CancelScope() as scope:
                lowlevel.notify_closing(Busy())

    trio.run(main)


@pytest.mark.parametrize("answer", [None, "3", 2**40, -5, 1.5])
def test_fileno_that_answers_nonsense(answer):
    class Bad:
        def fileno(self):
            return answer

    async def main():
        for wait in [lowlevel.wait_readable, lowlevel.wait_writable]:
            with pytest.raises((TypeError, ValueError, OSError, OverflowError)):
                await wait(Bad())
        await lowlevel.checkpoint()

    trio.run(main)


def test_an_fd_closed_and_opened_again_while_tasks_wait_for_it():
    async def main():
        a, b = socket.socketpair()
        c, d = socket.socketpair()
        with a, b, c, d:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lowlevel.wait_readable, a.fileno())
                await settle()
                os.dup2(c.fileno(), a.fileno())
                d.send(b"x")
                with trio.move_on_after(0.01):
                    await trio.sleep_forever()
                # Whether the wait sees the new file is the kernel's affair.
                nursery.cancel_scope.cancel()

    trio.run(main)


# Clocks and deadlines


@pytest.mark.parametrize("now", [math.nan, "noon", None, -math.inf])
def test_a_clock_that_tells_nonsense(now):
    class Clock(trio.abc.Clock):
        def start_clock(self):
            pass

        def current_time(self):
            return now

        def deadline_to_sleep_time(self, deadline):
            return 0.001

    async def main():
        with contextlib.suppress(TypeError, ValueError):
            with trio.CancelScope(deadline=5):
                await lowlevel.checkpoint()

    run_or_crash(main, clock=Clock())


@pytest.mark.parametrize("timeout", [math.nan, "long", None])
def test_a_clock_that_sleeps_nonsense(timeout):
    class Clock(trio.abc.Clock):
        def start_clock(self):
            pass

        def current_time(self):
            return 1.0

        def deadline_to_sleep_time(self, deadline):
            return timeout

    async def main():
        for _ in range(3):
            await lowlevel.checkpoint()

    run_or_crash(main, clock=Clock())


def test_a_clock_that_goes_backwards():
    class Clock(trio.abc.Clock):
        now = 1000.0

        def start_clock(self):
            pass

        def current_time(self):
            self.now -= 1
            return self.now

        def deadline_to_sleep_time(self, deadline):
            return 0.0

    async def main():
        with trio.CancelScope(deadline=2000.0) as scope:
            for _ in range(20):
                await lowlevel.checkpoint()
        assert not scope.cancelled_caught
        with trio.CancelScope(deadline=-1000.0) as scope:
            await lowlevel.checkpoint()
        assert scope.cancelled_caught

    trio.run(main, clock=Clock())


def test_a_clock_that_uses_the_core():
    class Clock(trio.abc.Clock):
        def start_clock(self):
            lowlevel.current_statistics()

        def current_time(self):
            self.fuss()
            return 1.0

        def deadline_to_sleep_time(self, deadline):
            self.fuss()
            return 0.0

        def fuss(self):
            gc.collect()
            for scope in scopes:
                scope.deadline = 7.0

    scopes = []

    async def main():
        with trio.CancelScope(deadline=6.0) as scope:
            scopes.append(scope)
            for _ in range(3):
                await lowlevel.checkpoint()
            scope.cancel()

    trio.run(main, clock=Clock())


def test_deadlines_that_are_odd_numbers():
    class Odd(float):
        def __float__(self):
            raise LookupError("float")

        def __lt__(self, other):
            raise LookupError("lt")

        __gt__ = __le__ = __ge__ = __eq__ = __lt__
        __hash__ = float.__hash__

    async def main():
        for value in [Odd(5), 10**400, "5", object(), 1j]:
            with contextlib.suppress(LookupError, TypeError, OverflowError):
                scope = trio.CancelScope(deadline=value)
                with scope:
                    await lowlevel.checkpoint()
            with contextlib.suppress(LookupError, TypeError, OverflowError):
                scope = trio.CancelScope()
                scope.deadline = value
        await lowlevel.cancel_shielded_checkpoint()

    with contextlib.suppress(LookupError):
        run_or_crash(main)


def test_very_deep_scopes():
    # R11: nothing here may use the C stack in proportion.
    depth = 20000

    async def main():
        stack = [trio.CancelScope() for _ in range(depth)]
        for scope in stack:
            scope.__enter__()
        with contextlib.suppress(RecursionError):
            assert trio.current_effective_deadline() == math.inf
        stack[0].cancel()
        stack[depth // 2].shield = True
        stack[depth // 2].shield = False
        with pytest.raises(trio.Cancelled):
            await lowlevel.checkpoint()
        for scope in reversed(stack):
            scope.__exit__(None, None, None)
        assert not stack[1].cancelled_caught

    trio.run(main)


@pytest.mark.parametrize("depth", [300, 20000])
def test_very_deep_scopes_that_are_never_left(depth):
    # Trio itself recurses here and ends in an internal error if there are many.
    async def main():
        for _ in range(depth):
            trio.CancelScope().__enter__()
        return "fine"

    assert run_or_crash(main) == "fine" or depth > 1000


def test_a_very_long_chain_of_tasks_waking_each_other():
    async def link(lot, following):
        await lot.park()
        following.unpark()

    async def main():
        lots = [lowlevel.ParkingLot() for _ in range(5001)]
        async with trio.open_nursery() as nursery:
            for lot, following in zip(lots, lots[1:], strict=False):
                nursery.start_soon(link, lot, following)
            await settle()
            lots[0].unpark()

    trio.run(main)


# Other threads


def test_the_run_is_invisible_in_other_threads():
    # R45
    errors = []

    async def main():
        nursery_of_main = None

        def thread():
            for fn in [
                lowlevel.current_task,
                trio.current_time,
                lowlevel.current_statistics,
                lowlevel.current_trio_token,
                lambda: lowlevel.reschedule(task),
                lambda: nursery_of_main.start_soon(trio.sleep, 0),
                trio.CancelScope().__enter__,
                lambda: lowlevel.spawn_system_task(trio.sleep, 0),
            ]:
                try:
                    fn()
                except (RuntimeError, AttributeError) as exc:
                    errors.append(exc)
                else:
                    errors.append(None)
            assert not lowlevel.in_trio_run()

        task = lowlevel.current_task()
        async with trio.open_nursery() as nursery_of_main:
            worker = threading.Thread(target=thread)
            worker.start()
            worker.join()
            await lowlevel.checkpoint()

    trio.run(main)
    assert len(errors) == 8
    assert None not in errors


# Everything at once


def test_a_program_under_constant_collection():
    async def worker(lot, scope):
        with scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lot.park)
                nursery.start_soon(trio.sleep, 0.001)
                await nursery.start(starter)

    async def starter(task_status=trio.TASK_STATUS_IGNORED):
        await lowlevel.checkpoint()
        task_status.started()
        await lowlevel.checkpoint()

    async def main():
        lot = lowlevel.ParkingLot()
        scopes = [trio.CancelScope() for _ in range(10)]
        async with trio.open_nursery() as nursery:
            for scope in scopes:
                nursery.start_soon(worker, lot, scope)
            await settle()
            for scope in scopes[::2]:
                scope.cancel()
            lot.unpark_all()

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(3):
            trio.run(main)
    finally:
        gc.set_threshold(*before)
