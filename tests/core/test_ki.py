"""KeyboardInterrupt: where it may strike, where it waits, where it ends up."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import types

import pytest
from trio_asyncio_c import trio

from ._helpers import block, capture, crash, run, settle

lowlevel = trio.lowlevel
protected = lowlevel.currently_ki_protected


@pytest.fixture(autouse=True)
def default_sigint():
    """SIGINT as Python sets it up, whatever the test runner's shell did."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt():
    """What the user's control-C does, here and now."""
    signal.raise_signal(signal.SIGINT)


@lowlevel.enable_ki_protection
def interrupt_protected():
    interrupt()


# Where protection is on


def test_main_and_children_are_unprotected_system_tasks_protected():
    # R29
    async def look(seen):
        seen.append(protected())

    async def main():
        seen = []
        await look(seen)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look, seen)
        assert seen == [False, False]
        lowlevel.spawn_system_task(look, seen)
        await settle()
        assert seen == [False, False, True]

    run(main)


def test_outside_a_run_everything_counts_as_protected():
    assert protected()


def test_the_decorators_on_functions():
    @lowlevel.enable_ki_protection
    def enabled(then=protected):
        return protected(), then()

    @lowlevel.disable_ki_protection
    def disabled(then=protected):
        return protected(), then()

    async def main():
        assert not protected()
        assert enabled() == (True, True)
        assert disabled() == (False, False)
        # The innermost one counts.
        assert enabled(disabled) == (True, (False, False))
        assert disabled(enabled) == (False, (True, True))
        assert enabled.__name__ == "enabled"

    run(main)


def test_the_decorators_on_coroutine_functions_and_generators():
    @lowlevel.enable_ki_protection
    async def coroutine():
        before = protected()
        await lowlevel.checkpoint()
        return before, protected()

    @lowlevel.enable_ki_protection
    def generator():
        yield protected()
        yield protected()

    @lowlevel.enable_ki_protection
    async def async_generator():
        yield protected()
        await lowlevel.checkpoint()
        yield protected()

    @lowlevel.disable_ki_protection
    async def disabled():
        await lowlevel.checkpoint()
        return protected()

    async def main():
        assert await coroutine() == (True, True)
        assert list(generator()) == [True, True]
        assert [x async for x in async_generator()] == [True, True]
        assert not protected()
        seen = []

        async def system():
            seen.append(protected())
            seen.append(await disabled())

        lowlevel.spawn_system_task(system)
        await settle()
        assert seen == [True, False]

    run(main)


def test_the_decorators_under_contextmanager():
    @contextlib.contextmanager
    @lowlevel.enable_ki_protection
    def manager():
        seen.append(protected())
        yield
        seen.append(protected())

    seen = []

    async def main():
        with manager():
            seen.append(protected())

    run(main)
    assert seen == [True, False, True]


def test_finalizers_are_protected():
    class Thing:
        def __del__(self):
            seen.append(protected())

    seen = []

    async def main():
        thing = Thing()
        del thing

    run(main)
    assert seen == [True]


def test_instruments_clocks_and_abort_functions_are_protected():
    seen = {}

    class Look(trio.abc.Instrument):
        def before_io_wait(self, timeout):
            seen["io hook"] = protected()

        def before_task_step(self, task):
            seen["step hook"] = protected()

    class Clock(trio.abc.Clock):
        def start_clock(self):
            seen["start_clock"] = protected()

        def current_time(self):
            return time.monotonic()

        def deadline_to_sleep_time(self, deadline):
            seen["deadline_to_sleep_time"] = protected()
            return deadline - time.monotonic()

    def abort(name):
        def fn(raise_cancel):
            seen[name] = protected()
            return lowlevel.Abort.SUCCEEDED

        return fn

    async def main():
        with trio.move_on_after(0):
            await lowlevel.wait_task_rescheduled(abort("at once"))
        with trio.move_on_after(0.001):
            await lowlevel.wait_task_rescheduled(abort("deadline"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lowlevel.wait_task_rescheduled, abort("cancel"))
            await settle()
            nursery.cancel_scope.cancel()

    @lowlevel.disable_ki_protection
    def unprotected():
        run(main, instruments=[Look()], clock=Clock())

    unprotected()
    assert seen == dict.fromkeys(
        [
            "io hook",
            "step hook",
            "start_clock",
            "deadline_to_sleep_time",
            "at once",
            "deadline",
            "cancel",
        ],
        True,
    )


def test_run_sync_soon_callbacks_are_protected_unless_they_say_otherwise():
    seen = []

    def look():
        seen.append(protected())

    @lowlevel.disable_ki_protection
    def look_unprotected():
        seen.append(protected())

    async def main():
        token = lowlevel.current_trio_token()
        token.run_sync_soon(look)
        token.run_sync_soon(look_unprotected)
        await settle()

    run(main)
    assert seen == [True, False]


def test_protection_survives_generator_based_code():
    @lowlevel.enable_ki_protection
    @types.coroutine
    def legacy():
        seen.append(protected())
        yield from lowlevel.checkpoint().__await__()
        seen.append(protected())

    seen = []

    async def main():
        await legacy()
        assert not protected()

    run(main)
    assert seen == [True, True]


# Where it strikes


def test_unprotected_code_is_interrupted_on_the_spot():
    # R35
    events = []

    async def main():
        events.append("before")
        try:
            interrupt()
            events.append("must not be reached")
        except KeyboardInterrupt:
            events.append("caught")
            raise

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert events == ["before", "caught"]


def test_an_interrupt_that_is_caught_is_over():
    # R35
    async def main():
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        await lowlevel.checkpoint()
        return "fine"

    assert run(main) == "fine"


def test_an_unprotected_child_is_interrupted_on_the_spot():
    async def child():
        await lowlevel.checkpoint()
        interrupt()
        raise AssertionError

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            nursery.start_soon(trio.sleep_forever)

    with pytest.RaisesGroup(KeyboardInterrupt):
        run(main)


def test_protected_code_of_main_is_interrupted_at_its_next_checkpoint():
    # R35, R10
    events = []

    async def main():
        interrupt_protected()
        events.append("went on")
        with pytest.raises(KeyboardInterrupt):
            await lowlevel.checkpoint()
        events.append("caught")
        await lowlevel.checkpoint()
        return "fine"

    assert run(main) == "fine"
    assert events == ["went on", "caught"]


@pytest.mark.parametrize(
    "wait",
    [
        lowlevel.checkpoint_if_cancelled,
        lambda: trio.sleep(0),
        lambda: trio.sleep(10),
        trio.sleep_forever,
        block,
        lambda: lowlevel.ParkingLot().park(),
    ],
    ids=["checkpoint_if_cancelled", "sleep(0)", "sleep", "forever", "block", "park"],
)
def test_every_checkpoint_of_main_delivers_it(wait):
    # R8, R10
    async def main():
        interrupt_protected()
        with pytest.raises(KeyboardInterrupt):
            await wait()
        await lowlevel.checkpoint()

    run(main)


def test_cancel_shielded_checkpoint_does_not_deliver_it():
    async def main():
        interrupt_protected()
        await lowlevel.cancel_shielded_checkpoint()
        with pytest.raises(KeyboardInterrupt):
            await lowlevel.checkpoint()

    run(main)


def test_a_protected_child_passes_it_on_to_main():
    # R35
    async def child():
        interrupt_protected()
        events.append("child went on")
        await lowlevel.checkpoint()
        events.append("child still goes on")

    events = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            with pytest.raises(KeyboardInterrupt):
                await trio.sleep_forever()
            events.append("main caught")

    run(main)
    assert events[0] == "child went on"
    assert set(events[1:]) == {"child still goes on", "main caught"}


def test_a_system_task_passes_it_on_to_main():
    # R35
    async def system():
        interrupt()

    async def main():
        lowlevel.spawn_system_task(system)
        with pytest.raises(KeyboardInterrupt):
            await trio.sleep_forever()

    run(main)


def test_a_shield_does_not_keep_it_out():
    # R8: it is outside all scopes.
    async def main():
        with trio.CancelScope(shield=True):
            interrupt_protected()
            with pytest.raises(KeyboardInterrupt):
                await trio.sleep_forever()

    run(main)


def test_it_comes_before_a_cancellation():
    # R35
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            interrupt_protected()
            with pytest.raises(KeyboardInterrupt):
                await block()
            with pytest.raises(trio.Cancelled):
                await block()
            interrupt_protected()
            with pytest.raises(KeyboardInterrupt):
                await lowlevel.checkpoint()
            await lowlevel.checkpoint()
        assert scope.cancelled_caught

    run(main)


def test_several_interrupts_before_a_checkpoint_are_one():
    async def main():
        for _ in range(3):
            interrupt_protected()
        with pytest.raises(KeyboardInterrupt):
            await lowlevel.checkpoint()
        await lowlevel.checkpoint()

    run(main)


def test_an_interrupt_wakes_a_run_that_sleeps():
    # R35: the signal arrives while the run is blocked in the poll.
    def thread():
        time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    async def main():
        worker = threading.Thread(target=thread)
        worker.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                await trio.sleep_forever()
        finally:
            worker.join()

    run(main)


def test_a_busy_loop_is_interrupted():
    def thread():
        time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    async def main():
        worker = threading.Thread(target=thread)
        worker.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                while True:
                    pass
        finally:
            worker.join()

    run(main)


def test_an_interrupt_while_main_waits_for_its_nursery():
    # R24: it goes into the group, and the children are cancelled.
    async def child():
        try:
            await trio.sleep_forever()
        except trio.Cancelled as exc:
            seen.append(exc.source)
            raise

    async def system():
        await settle()
        interrupt()

    seen = []

    async def main():
        lowlevel.spawn_system_task(system)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)

    with pytest.RaisesGroup(KeyboardInterrupt):
        run(main)
    assert seen == ["KeyboardInterrupt"]


def test_an_interrupt_while_main_leaves_an_empty_nursery():
    # R24
    async def main():
        async with trio.open_nursery():
            interrupt_protected()
        with pytest.raises(KeyboardInterrupt):
            await lowlevel.checkpoint()

    run(main)


def test_an_abort_that_fails_delivers_it_later():
    # R35: it is pending until raise_cancel is called.
    async def main():
        task = lowlevel.current_task()

        def abort(raise_cancel):
            lowlevel.current_trio_token().run_sync_soon(
                lowlevel.reschedule, task, capture(raise_cancel)
            )
            return lowlevel.Abort.FAILED

        interrupt_protected()
        with pytest.raises(KeyboardInterrupt):
            await lowlevel.wait_task_rescheduled(abort)
        await lowlevel.checkpoint()
        return "fine"

    assert run(main) == "fine"


def test_an_abort_that_drops_it_leaves_it_pending():
    # R35
    async def main():
        task = lowlevel.current_task()

        def abort(raise_cancel):
            lowlevel.current_trio_token().run_sync_soon(lowlevel.reschedule, task)
            return lowlevel.Abort.FAILED

        interrupt_protected()
        await lowlevel.wait_task_rescheduled(abort)
        with pytest.raises(KeyboardInterrupt):
            await block()

    run(main)


def test_an_interrupt_that_nobody_took_comes_out_at_the_end():
    # R35
    async def main():
        interrupt_protected()
        return "lost"

    with pytest.raises(KeyboardInterrupt) as info:
        run(main)
    assert info.value.__context__ is None


def test_the_error_of_main_is_the_context_of_an_interrupt_at_the_end():
    # R35
    error = KeyError("main")

    async def main():
        interrupt_protected()
        raise error

    with pytest.raises(KeyboardInterrupt) as info:
        run(main)
    assert info.value.__context__ is error


def test_an_interrupt_during_the_shutdown():
    # R35
    class Interrupt(trio.abc.Instrument):
        def task_exited(self, task):
            if task.name.endswith("main"):
                interrupt()

    async def main():
        return "lost"

    with pytest.raises(KeyboardInterrupt):
        run(main, instruments=[Interrupt()])


def test_an_interrupt_in_after_run():
    # R35: the very last moment.
    class Interrupt(trio.abc.Instrument):
        def after_run(self):
            interrupt()

    async def main():
        return "lost"

    with pytest.raises(KeyboardInterrupt):
        run(main, instruments=[Interrupt()])


def test_an_interrupt_before_main_starts():
    # R35
    class Interrupt(trio.abc.Instrument):
        def before_run(self):
            interrupt()

    events = []

    async def main():
        events.append("began")
        with pytest.raises(KeyboardInterrupt):
            await trio.sleep_forever()

    run(main, instruments=[Interrupt()])
    assert events == ["began"]


# restrict_keyboard_interrupt_to_checkpoints


def test_restricted_to_checkpoints():
    # R35
    events = []

    async def main():
        interrupt()
        events.append("went on")
        with pytest.raises(KeyboardInterrupt):
            await lowlevel.checkpoint()
        events.append("caught")

    run(main, restrict_keyboard_interrupt_to_checkpoints=True)
    assert events == ["went on", "caught"]


def test_restricted_in_a_child():
    # R35
    async def child():
        interrupt()
        events.append("child went on")

    events = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            with pytest.raises(KeyboardInterrupt):
                await trio.sleep_forever()

    run(main, restrict_keyboard_interrupt_to_checkpoints=True)
    assert events == ["child went on"]


# The handler


def test_the_handler_is_ours_during_the_run_only():
    # R35
    async def main():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler

    run(main)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_program_is_left_alone():
    # R35
    calls = []

    def handler(signum, frame):
        calls.append(signum)

    signal.signal(signal.SIGINT, handler)

    async def main():
        assert signal.getsignal(signal.SIGINT) is handler
        interrupt()
        await lowlevel.checkpoint()

    run(main)
    assert calls == [signal.SIGINT]


def test_a_handler_that_was_installed_during_the_run_stays():
    # R35
    def handler(signum, frame):
        raise AssertionError

    async def main():
        signal.signal(signal.SIGINT, handler)

    trio.run(main)
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_run_in_another_thread_installs_no_handler():
    # R35
    handlers = []

    async def main():
        handlers.append(signal.getsignal(signal.SIGINT))
        await lowlevel.checkpoint()

    worker = threading.Thread(target=trio.run, args=(main,))
    worker.start()
    worker.join()
    assert handlers == [signal.default_int_handler]


def test_the_handler_is_restored_after_an_internal_error():
    async def system():
        raise KeyError

    async def main():
        lowlevel.spawn_system_task(system)
        await trio.sleep_forever()

    crash(main)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_scopes_and_nurseries_are_not_torn_by_a_storm_of_signals():
    # Each is raised in an unprotected child or waits for a checkpoint of main.
    stop = threading.Event()
    caught = []

    def thread():
        while not stop.is_set():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.0005)

    async def unprotected_child():
        for _ in range(3):
            await lowlevel.checkpoint()

    async def work():
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(unprotected_child)
                assert lowlevel.current_task().child_nurseries == [nursery]
            scope.cancel()
            await lowlevel.checkpoint()

    async def caught_in(fn):
        try:
            await fn()
        except KeyboardInterrupt:
            caught.append(1)
        except BaseExceptionGroup as group:
            rest = group.split(KeyboardInterrupt)[1]
            if rest is not None:
                raise
            caught.append(1)
        else:
            return False
        return True

    @lowlevel.enable_ki_protection
    async def main():
        worker = threading.Thread(target=thread)
        worker.start()
        try:
            deadline = time.monotonic() + 0.2
            while time.monotonic() < deadline:
                await caught_in(work)
                assert lowlevel.current_task().child_nurseries == []
        finally:
            stop.set()
            worker.join()
        while await caught_in(lowlevel.checkpoint):
            pass
        return lowlevel.current_statistics().tasks_living

    assert run(main) == 3
    assert caught
