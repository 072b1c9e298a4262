"""What dies when: without the collector where it matters, with it everywhere.

Some of this is stricter than Trio, whose own frames keep an exception, an abort
function or a scope until the collector comes.  C has no frames.
"""

from __future__ import annotations

import contextlib
import contextvars
import gc
import socket
import sys
import weakref

import pytest
from trio_asyncio_c import trio

from ._helpers import Error, Value, block, collect, run_or_crash, settle

lowlevel = trio.lowlevel
VAR = contextvars.ContextVar("VAR")


class Thing:
    """Something that can be weakly referenced."""


@contextlib.contextmanager
def no_collector():
    """Keep the collector from running by itself."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextlib.contextmanager
def no_garbage():
    """Check that the block makes nothing that only the collector can free."""
    collect()
    flags = gc.get_debug()
    with no_collector():
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            yield
            gc.collect()
            garbage = [repr(type(obj)) for obj in gc.garbage]
        finally:
            gc.set_debug(flags)
            gc.garbage.clear()
    assert garbage == []


# Locals of tasks die with them


async def hold(ref_to, wait):
    thing = Thing()
    ref_to.append(weakref.ref(thing))
    await wait()


def test_locals_die_when_a_task_returns():
    refs = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold, refs, lowlevel.checkpoint)
            await settle()
            assert refs[0]() is None

    with no_collector():
        trio.run(main)


def test_locals_die_when_a_task_is_cancelled():
    refs = []

    async def cancelled(scope):
        with scope:
            await hold(refs, trio.sleep_forever)
        assert refs[0]() is None
        checked.append(1)

    checked = []

    async def main():
        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancelled, scope)
            await settle()
            scope.cancel()

    with no_collector():
        trio.run(main)
    assert checked == [1]


def test_locals_of_cancelled_children_die_before_the_nursery_is_left():
    refs = []

    async def main():
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(hold, refs, trio.sleep_forever)
            await settle()
            nursery.cancel_scope.cancel()
        assert [ref() for ref in refs] == [None] * 3

    with no_collector():
        trio.run(main)


@pytest.mark.parametrize("wait", ["park", "wait_readable", "sleep", "block"])
def test_locals_die_whatever_was_waited_for(wait):
    refs = []

    async def main():
        lot = lowlevel.ParkingLot()
        a, b = socket.socketpair()
        with a, b:
            waits = {
                "park": lot.park,
                "wait_readable": lambda: lowlevel.wait_readable(a),
                "sleep": lambda: trio.sleep(100),
                "block": block,
            }
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hold, refs, waits[wait])
                await settle()
                assert refs[0]() is not None
                nursery.cancel_scope.cancel()
            assert refs[0]() is None

    with no_collector():
        trio.run(main)


def test_a_value_is_not_kept_once_it_is_delivered():
    async def main():
        async with trio.open_nursery() as nursery:

            async def receiver():
                thing = await block()
                refs.append(weakref.ref(thing))
                del thing
                await lowlevel.checkpoint()
                assert refs[0]() is None

            nursery.start_soon(receiver)
            await settle()
            (task,) = nursery.child_tasks
            lowlevel.reschedule(task, Value(Thing()))

    refs = []
    with no_collector():
        trio.run(main)
    assert refs


def test_an_error_is_not_kept_once_it_is_handled():
    class MyError(Exception):
        pass

    async def main():
        async with trio.open_nursery() as nursery:

            async def receiver():
                try:
                    await block()
                except MyError as exc:
                    refs.append(weakref.ref(exc))
                assert refs[0]() is None

            nursery.start_soon(receiver)
            await settle()
            (task,) = nursery.child_tasks
            lowlevel.reschedule(task, Error(MyError()))

    refs = []
    with no_collector():
        trio.run(main)
    assert refs


def test_cancelled_is_not_kept_by_the_scope_that_caught_it():
    # No frame of the core refers to it, nor does the scope.
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as exc:
                refs.append(weakref.ref(exc))
                raise
        assert scope.cancelled_caught
        assert refs[0]() is None

    refs = []
    with no_collector():
        trio.run(main)
    assert refs


def test_an_abort_function_is_not_kept():
    async def main():
        class Abort:
            def __call__(self, raise_cancel):
                return lowlevel.Abort.SUCCEEDED

        abort = Abort()
        ref = weakref.ref(abort)
        with trio.CancelScope() as scope:
            scope.cancel()
            await lowlevel.wait_task_rescheduled(abort)
        del abort
        assert ref() is None

        abort = Abort()
        ref = weakref.ref(abort)
        task = lowlevel.current_task()
        lowlevel.current_trio_token().run_sync_soon(lowlevel.reschedule, task)
        await lowlevel.wait_task_rescheduled(abort)
        del abort
        assert ref() is None

    with no_collector():
        trio.run(main)


def test_arguments_of_a_callback_are_not_kept():
    async def main():
        thing = Thing()
        ref = weakref.ref(thing)
        for idempotent in (False, True):
            lowlevel.current_trio_token().run_sync_soon(
                isinstance, thing, int, idempotent=idempotent
            )
            await settle()
        del thing
        await settle()
        assert ref() is None

    with no_collector():
        trio.run(main)


def test_arguments_of_a_task_are_not_kept():
    async def child(thing):
        refs.append(weakref.ref(thing))

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, Thing())
            await settle()
            assert refs[0]() is None

    refs = []
    with no_collector():
        trio.run(main)


def test_the_result_of_main_is_not_kept():
    async def main():
        return Thing()

    with no_collector():
        thing = trio.run(main)
        ref = weakref.ref(thing)
        del thing
        assert ref() is None


def test_the_error_of_main_is_referred_to_by_nobody():
    class MyError(Exception):
        pass

    async def main():
        await lowlevel.checkpoint()
        raise MyError

    with no_collector():
        try:
            trio.run(main)
        except MyError as exc:
            ref = weakref.ref(exc)
            exc.__traceback__ = None
        assert ref() is None


# The objects of the core


def test_a_scope_dies_with_its_last_reference():
    async def main():
        with trio.CancelScope(deadline=trio.current_time() + 100) as scope:
            await lowlevel.checkpoint()
        ref = weakref.ref(scope)
        del scope
        assert ref() is None

    with no_collector():
        trio.run(main)
        ref = weakref.ref(trio.CancelScope())
        assert ref() is None


def test_a_nursery_and_its_tasks_die_when_it_is_left():
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lowlevel.checkpoint)
            nursery.start_soon(trio.sleep_forever)
            refs = [weakref.ref(task) for task in nursery.child_tasks]
            await settle()
            nursery.cancel_scope.cancel()
        refs.append(weakref.ref(nursery.cancel_scope))
        refs.append(weakref.ref(nursery))
        del nursery
        collect()
        assert [ref() for ref in refs] == [None] * 4

    trio.run(main)


def test_nothing_of_a_run_survives_it():
    class Clock(trio.abc.Clock):
        def start_clock(self):
            pass

        def current_time(self):
            return 1.0

        def deadline_to_sleep_time(self, deadline):
            return 0.001

    class Instrument(trio.abc.Instrument):
        def task_spawned(self, task):
            refs.append(weakref.ref(task))

    async def main():
        var.set(Thing())
        refs.append(weakref.ref(var.get()))
        async with trio.open_nursery() as nursery:
            refs.append(weakref.ref(nursery))
            refs.append(weakref.ref(nursery.cancel_scope))
            nursery.start_soon(lowlevel.checkpoint)

    refs = []
    var = lowlevel.RunVar("var")
    clock, instrument = Clock(), Instrument()
    refs += [weakref.ref(clock), weakref.ref(instrument)]
    trio.run(main, clock=clock, instruments=[instrument])
    del clock, instrument
    collect()
    assert [ref() for ref in refs] == [None] * len(refs)
    assert len(refs) >= 9


def test_nothing_of_a_crashed_run_survives_it():
    # Its tasks are parked for ever; they are collected nonetheless.
    refs = []

    async def main():
        async with trio.open_nursery() as nursery:
            lot = lowlevel.ParkingLot()
            for wait in [trio.sleep_forever, lot.park, block]:
                nursery.start_soon(hold, refs, wait)
            refs.extend(weakref.ref(task) for task in nursery.child_tasks)
            refs.append(weakref.ref(nursery))
            await settle()
            with trio.CancelScope() as scope:
                scope.cancel()
                await lowlevel.wait_task_rescheduled(lambda _: "nonsense")

    assert run_or_crash(main) is None
    assert len(refs) == 7
    collect()
    assert [ref() for ref in refs] == [None] * 7


@pytest.mark.parametrize(
    "tie",
    [
        lambda task, nursery, thing: setattr(task, "custom_sleep_data", (task, thing)),
        lambda task, nursery, thing: task.context.run(VAR.set, (task, thing)),
        lambda task, nursery, thing: setattr(nursery, "thing", (nursery, task, thing)),
        lambda task, nursery, thing: setattr(thing, "task", task),
        lambda task, nursery, thing: setattr(thing, "scope", nursery.cancel_scope),
    ],
    ids=["sleep data", "context", "nursery", "task", "scope"],
)
def test_cycles_through_tasks_and_nurseries_are_collected(tie):
    async def main():
        thing = Thing()
        refs.append(weakref.ref(thing))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(block)
            (task,) = nursery.child_tasks
            await settle()
            thing.nursery = nursery
            tie(task, nursery, thing)
            lowlevel.reschedule(task)
        tie(task, nursery, thing)

    refs = []
    trio.run(main)
    collect()
    assert refs[0]() is None


def test_cycles_through_a_wait_are_collected():
    # The task waits, its abort function refers to the task, and the run crashes.
    refs = []

    async def main():
        thing = Thing()
        thing.task = lowlevel.current_task()
        refs.append(weakref.ref(thing))

        def abort(raise_cancel):
            thing.raise_cancel = raise_cancel
            return thing

        thing.abort = abort
        with trio.CancelScope() as scope:
            thing.scope = scope
            scope.cancel()
            await lowlevel.wait_task_rescheduled(abort)

    assert run_or_crash(main) is None
    collect()
    assert refs[0]() is None


def test_cycles_through_lots_variables_and_tokens_are_collected():
    async def main():
        thing = Thing()
        refs.append(weakref.ref(thing))
        lot = lowlevel.ParkingLot()
        lot.break_lot()
        thing.lot = lot
        thing.task = lowlevel.current_task()
        thing.task.custom_sleep_data = thing
        var = lowlevel.RunVar("var", default=thing)
        thing.var = var
        thing.reset = var.set(thing)
        thing.token = lowlevel.current_trio_token()

    refs = []
    trio.run(main)
    collect()
    assert refs[0]() is None


def test_an_awaitable_in_a_cycle_is_collected():
    refs = []

    async def main():
        thing = Thing()
        refs.append(weakref.ref(thing))
        thing.awaitable = lowlevel.wait_task_rescheduled(lambda _: thing)
        thing.awaitable.close()

    trio.run(main)
    collect()
    assert refs[0]() is None


# No cyclic garbage in the ordinary course


async def scope_cancelled():
    with trio.CancelScope() as scope:
        scope.cancel()
        await trio.sleep_forever()


async def scope_around_a_group():
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)
            await settle()
            scope.cancel()


async def nursery_cancelled():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        await settle()
        nursery.cancel_scope.cancel()
        await trio.sleep_forever()


async def sleep_a_little():
    await trio.sleep(0.001)


async def timeout():
    with trio.move_on_after(0.001):
        await trio.sleep_forever()


async def start_a_child():
    async def child(*, task_status):
        task_status.started()

    async with trio.open_nursery() as nursery:
        await nursery.start(child)


async def park_and_cancel():
    lot = lowlevel.ParkingLot()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lot.park)
        nursery.start_soon(lot.park)
        await settle()
        lot.unpark()
        nursery.cancel_scope.cancel()


async def break_a_lock():
    lock = trio.Lock()

    async def take():
        with contextlib.suppress(trio.BrokenResourceError):
            await lock.acquire()

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(take)


async def set_an_event():
    event = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(event.wait)
        nursery.start_soon(event.wait)
        await settle()
        event.set()
        await event.wait()


async def use_a_channel():
    send, receive = trio.open_memory_channel(1)

    async def use(method, *args):
        with contextlib.suppress(trio.EndOfChannel, trio.BrokenResourceError):
            await method(*args)

    async with trio.open_nursery() as nursery, send, receive:
        for _ in range(3):
            nursery.start_soon(use, send.send, [])
        await settle()
        for _ in range(5):
            nursery.start_soon(use, receive.receive)
        await settle()
        await send.aclose()
    send, receive = trio.open_memory_channel(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(use, send.send, [])
        await settle()
        receive.close()


async def wake_a_task():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(block)
        await settle()
        (task,) = nursery.child_tasks
        lowlevel.reschedule(task, Value(1))


@pytest.mark.parametrize(
    "work",
    [
        lowlevel.checkpoint,
        scope_cancelled,
        scope_around_a_group,
        nursery_cancelled,
        sleep_a_little,
        timeout,
        start_a_child,
        park_and_cancel,
        break_a_lock,
        set_an_event,
        use_a_channel,
        wake_a_task,
    ],
)
def test_no_cyclic_garbage(work):
    async def main():
        await work()
        with no_garbage():
            await work()
            await work()

    trio.run(main)


def test_no_cyclic_garbage_of_a_child_that_fails():
    async def fail():
        raise ValueError

    async def work():
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                nursery.start_soon(trio.sleep_forever)
        except* ValueError:
            pass

    async def main():
        await work()
        with no_garbage():
            await work()

    trio.run(main)


def test_a_finished_exception_has_no_referrers():
    class MyError(Exception):
        pass

    async def fail():
        raise MyError

    async def main():
        errors = []
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
        except ExceptionGroup as group:
            errors.extend(group.exceptions)
        collect()
        # The list, and nothing else but what runs this very code.
        here = (errors, sys._getframe(), lowlevel.current_task().coro)
        referrers = [
            obj
            for obj in gc.get_referrers(errors[0])
            if not any(obj is known for known in here)
        ]
        assert referrers == []

    trio.run(main)
