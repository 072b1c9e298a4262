"""What is there to test asynchronous code with."""

from __future__ import annotations

import inspect
import threading

import pytest
from trio_asyncio_c import trio

from ._helpers import cancel, run_mock, settle, start

testing = trio.testing


# ---- wait_all_tasks_blocked ----


def test_wait_all_tasks_blocked_waits_until_nobody_runs():
    async def main():
        log = []

        async def busy():
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            log.append("busy")
            await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(busy)
            with testing.assert_checkpoints():
                await testing.wait_all_tasks_blocked()
            assert log == ["busy"]
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_wait_all_tasks_blocked_ignores_deadlines_that_are_far_away():
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 1000)
            await testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_wait_all_tasks_blocked_with_cushions():
    async def main():
        order = []

        async def waiter(cushion):
            await testing.wait_all_tasks_blocked(cushion)
            order.append(cushion)

        async with trio.open_nursery() as nursery:
            for cushion in (0.03, 0.0, 0.015, 0.0):
                nursery.start_soon(waiter, cushion)
        assert order == [0.0, 0.0, 0.015, 0.03]

    trio.run(main)


def test_wait_all_tasks_blocked_can_be_cancelled():
    async def main():
        async with trio.open_nursery() as nursery:
            call = await start(nursery, testing.wait_all_tasks_blocked, 1000)
            await cancel(call)

    trio.run(main)


# ---- checkpoints ----


def test_assert_checkpoints():
    async def main():
        with testing.assert_checkpoints():
            await trio.lowlevel.checkpoint()
        text = "assert_checkpoints block did not yield!"
        with pytest.raises(AssertionError, match=text):
            with testing.assert_checkpoints():
                pass
        # Half a checkpoint is none, whichever half it is.
        with pytest.raises(AssertionError, match=text):
            with testing.assert_checkpoints():
                await trio.lowlevel.checkpoint_if_cancelled()
        with pytest.raises(AssertionError, match=text):
            with testing.assert_checkpoints():
                await trio.lowlevel.cancel_shielded_checkpoint()
        with testing.assert_checkpoints():
            await trio.lowlevel.checkpoint_if_cancelled()
            await trio.lowlevel.cancel_shielded_checkpoint()
        # An error is as good as a checkpoint.
        with pytest.raises(KeyError), testing.assert_checkpoints():
            raise KeyError

    trio.run(main)


def test_assert_no_checkpoints():
    async def main():
        with testing.assert_no_checkpoints():
            trio.current_time()
        text = "assert_no_checkpoints block yielded!"
        for half in (
            trio.lowlevel.checkpoint,
            trio.lowlevel.checkpoint_if_cancelled,
            trio.lowlevel.cancel_shielded_checkpoint,
        ):
            with pytest.raises(AssertionError, match=text):
                with testing.assert_no_checkpoints():
                    await half()
        with pytest.raises(KeyError), testing.assert_no_checkpoints():
            raise KeyError
        with pytest.raises(AssertionError, match=text) as caught:
            with testing.assert_no_checkpoints():
                await trio.lowlevel.checkpoint()
                raise KeyError
        assert type(caught.value.__context__) is KeyError

    trio.run(main)


@pytest.mark.parametrize(
    "check", [testing.assert_checkpoints, testing.assert_no_checkpoints]
)
def test_checking_outside_of_a_task(check):
    with pytest.raises(RuntimeError, match="must be called from async conte"):
        with check():
            pass


# ---- Sequencer ----


def test_sequencer_puts_blocks_in_order():
    async def main():
        sequence = testing.Sequencer()
        log = []

        async def worker(*positions):
            for position in positions:
                async with sequence(position):
                    for _ in range(3):
                        await trio.lowlevel.checkpoint()
                        log.append(position)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker, 1, 3)
            nursery.start_soon(worker, 0, 4)
            nursery.start_soon(worker, 2, 5)
        assert log == [position for position in range(6) for _ in range(3)]

    trio.run(main)


def test_sequencer_goes_on_after_an_error():
    async def main():
        sequence = testing.Sequencer()
        with pytest.raises(KeyError):
            async with sequence(0):
                raise KeyError
        async with sequence(1):
            pass

    trio.run(main)


def test_sequencer_position_can_be_used_once():
    async def main():
        sequence = testing.Sequencer()
        async with sequence(0):
            pass
        text = "Attempted to reuse sequence point 0"
        with pytest.raises(RuntimeError, match=text):
            async with sequence(0):
                pass

    trio.run(main)


def test_sequencer_breaks_when_a_task_in_it_is_cancelled():
    async def main():
        sequence = testing.Sequencer()

        async def use(position):
            async with sequence(position):
                pass

        async with trio.open_nursery() as nursery:
            second = await start(nursery, use, 2)
            third = await start(nursery, use, 3)
            second.scope.cancel()
            await settle()
            text = "Sequencer wait cancelled -- sequence broken"
            with pytest.raises(RuntimeError, match=text):
                raise second.error
            with pytest.raises(RuntimeError, match="sequence broken!"):
                raise third.error
            with pytest.raises(RuntimeError, match="sequence broken!"):
                await use(0)

    trio.run(main)


def test_sequencer_is_final():
    with pytest.raises(TypeError, match="does not support subclassing"):
        type("Sub", (testing.Sequencer,), {})


# ---- trio_test ----


def test_trio_test_makes_a_synchronous_function():
    @testing.trio_test
    async def check(a, *, b):
        """Check."""
        await trio.lowlevel.checkpoint()
        return a, b

    assert not inspect.iscoroutinefunction(check)
    assert check.__name__ == "check"
    assert check.__doc__ == "Check."
    assert list(inspect.signature(check).parameters) == ["a", "b"]
    assert check(1, b=2) == (1, 2)


def test_trio_test_uses_a_clock_among_the_arguments():
    @testing.trio_test
    async def check(my_clock):
        assert trio.lowlevel.current_clock() is my_clock
        await trio.sleep(1e6)

    check(my_clock=testing.MockClock(autojump_threshold=0))

    @testing.trio_test
    async def two(one, other):
        raise AssertionError("unreachable")

    with pytest.raises(ValueError, match="too many clocks"):
        two(one=testing.MockClock(), other=testing.MockClock())


def test_trio_test_uses_instruments_among_the_arguments():
    class Recorder(trio.abc.Instrument):
        def __init__(self):
            self.steps = 0

        def before_task_step(self, task):
            self.steps += 1

    @testing.trio_test
    async def check(**kwargs):
        await trio.lowlevel.checkpoint()

    recorders = [Recorder(), Recorder()]
    check(a=recorders[0], b=recorders[1], c="no instrument")
    assert recorders[0].steps == recorders[1].steps > 1


def test_trio_test_passes_errors_on():
    @testing.trio_test
    async def check():
        raise KeyError

    with pytest.raises(KeyError):
        check()


# ---- threads ----


def test_active_thread_count():
    async def main():
        assert testing.active_thread_count() == 0
        go_on = threading.Event()
        async with trio.open_nursery() as nursery:
            for count in range(1, 4):
                nursery.start_soon(trio.to_thread.run_sync, go_on.wait, 60)
                await settle()
                assert testing.active_thread_count() == count
            go_on.set()
        assert testing.active_thread_count() == 0

    trio.run(main)


def test_wait_all_threads_completed():
    async def main():
        with testing.assert_checkpoints():
            await testing.wait_all_threads_completed()
        go_on = [threading.Event(), threading.Event()]
        async with trio.open_nursery() as nursery:
            for event in go_on:
                nursery.start_soon(trio.to_thread.run_sync, event.wait, 60)
            await settle()
            call = await start(nursery, testing.wait_all_threads_completed)
            go_on[0].set()
            while testing.active_thread_count() == 2:
                await trio.lowlevel.checkpoint()
            await settle()
            assert not call.done
            go_on[1].set()
            await testing.wait_all_threads_completed()
            assert testing.active_thread_count() == 0
        assert call.done

    trio.run(main)


def test_wait_all_threads_completed_can_be_cancelled():
    async def main():
        go_on = threading.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, go_on.wait, 60)
            await settle()
            await cancel(await start(nursery, testing.wait_all_threads_completed))
            go_on.set()

    trio.run(main)


def test_an_abandoned_thread_does_not_count():
    async def main():
        go_on = threading.Event()
        finished = threading.Event()

        def work():
            go_on.wait(60)
            finished.set()

        with trio.move_on_after(1) as scope:
            await trio.to_thread.run_sync(work, abandon_on_cancel=True)
        assert scope.cancelled_caught
        assert testing.active_thread_count() == 0
        await testing.wait_all_threads_completed()
        go_on.set()
        await trio.to_thread.run_sync(finished.wait, 60)

    run_mock(main)


def test_thread_functions_outside_of_a_run():
    with pytest.raises(RuntimeError):
        testing.active_thread_count()
