"""Events, locks, semaphores and channels in the hands of those who do what nobody
expects of them: other threads and runs, instruments, finalizers, the collector.
"""

from __future__ import annotations

import collections
import gc
import threading
import weakref

import pytest
from trio_asyncio_c import _core, lowlevel, trio

from ._helpers import collect, crash, settle

THREAD_TIMEOUT_S = 60


def in_thread(function, *args):
    """Call a function in another thread; the exception that it raised, or None."""
    raised = [None]

    def body():
        try:
            function(*args)
        except BaseException as error:
            raised[0] = error

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(THREAD_TIMEOUT_S)
    assert not thread.is_alive()
    return raised.pop()


def in_other_run(function):
    """The same, from a task of a run in another thread."""

    async def main():
        function()

    return in_thread(trio.run, main)


class OnSchedule:
    """An instrument that calls a function when a task is woken."""

    def __init__(self, function):
        self.function = function
        self.calls = 0

    def task_scheduled(self, task):
        self.calls += 1
        self.function()


async def crash_the_run():
    """End the run with TrioInternalError; its tasks are abandoned as they stand."""
    with trio.move_on_after(0):
        await lowlevel.wait_task_rescheduled(lambda _: "nonsense")


class Thing:
    """Something that can be weakly referenced."""


# What wakes a waiting task, and must not do so from outside of its run: a function
# that returns a call that waits, and one that would wake it.


def event_case():
    event = trio.Event()
    return event.wait, event.set


def semaphore_case():
    semaphore = trio.Semaphore(0)
    return semaphore.acquire, semaphore.release


def parking_case():
    lot = lowlevel.ParkingLot()
    return lot.park, lot.unpark


def receive_case():
    send, receive = trio.open_memory_channel(0)
    return receive.receive, lambda: send.send_nowait(1)


def send_case():
    send, receive = trio.open_memory_channel(0)
    return lambda: send.send(1), receive.receive_nowait


def close_sender_case():
    send, receive = trio.open_memory_channel(0)
    return receive.receive, send.close


def close_receiver_case():
    send, receive = trio.open_memory_channel(0)
    return lambda: send.send(1), receive.close


def close_own_end_case():
    _, receive = trio.open_memory_channel(0)
    return receive.receive, receive.close


CASES = [
    event_case,
    semaphore_case,
    parking_case,
    receive_case,
    send_case,
    close_sender_case,
    close_receiver_case,
    close_own_end_case,
]


async def outcome_of(wait, outcomes):
    try:
        outcomes.append(await wait())
    except trio.Cancelled:
        outcomes.append("cancelled")
        raise
    except Exception as error:
        outcomes.append(type(error))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("call", "text"),
    [
        (in_thread, "must be called from async context"),
        (in_other_run, "belongs to another run"),
    ],
)
def test_waking_from_elsewhere_is_refused_and_changes_nothing(case, call, text):
    async def main():
        wait, wake = case()
        outcomes = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcome_of, wait, outcomes)
            await settle()
            error = call(wake)
            assert isinstance(error, RuntimeError)
            assert text in str(error)
            await settle()
            assert outcomes == []
            wake()
            await settle()
            assert len(outcomes) == 1
            assert outcomes != ["cancelled"]

    trio.run(main)


@pytest.mark.parametrize("case", CASES)
def test_a_wait_that_is_cancelled_or_dropped_leaves_nothing_behind(case):
    async def main():
        wait, wake = case()
        with trio.CancelScope() as scope:
            scope.cancel()
            await wait()
        with trio.move_on_after(0):
            await wait()
        trap = wait()
        trap.close()
        with pytest.raises(RuntimeError, match="cannot reuse"):
            await trap
        try:
            wake()
        except trio.WouldBlock:
            pass

    trio.run(main)


@pytest.mark.parametrize("case", CASES)
def test_a_wait_that_is_given_up_by_hand_is_unlinked(case):
    async def main():
        wait, wake = case()
        trap = wait()
        trap.send(None)  # linked, and the task never yields
        with pytest.raises(KeyError):
            trap.throw(KeyError())
        try:
            wake()
        except trio.WouldBlock:
            pass
        await lowlevel.checkpoint()

    trio.run(main)


@pytest.mark.parametrize("case", CASES)
def test_a_task_that_somebody_else_rescheduled(case):
    """Its next wait is its own affair, whatever became of the one before."""

    async def main():
        wait, wake = case()

        async def waiter():
            try:
                await wait()
            except BaseException:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter)
            await settle()
            (task,) = nursery.child_tasks
            lowlevel.reschedule(task)
            with pytest.raises(AssertionError, match="twice"):
                wake()
        await lowlevel.checkpoint()

    trio.run(main)


@pytest.mark.parametrize("case", CASES)
def test_never_awaited(case):
    wait, _ = case()
    with pytest.warns(RuntimeWarning, match="was never awaited"):
        wait()
        collect()


@pytest.mark.parametrize("case", CASES)
def test_an_abandoned_run_is_collected_with_what_its_tasks_wait_for(case):
    things = []

    async def waiter(wait):
        thing = Thing()
        thing.wait = wait
        things.append(weakref.ref(thing))
        await wait()

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter, case()[0])
            await settle()
            await crash_the_run()

    crash(main)
    collect()
    assert things[0]() is None


# Instruments run in the middle of things


@pytest.mark.parametrize("case", CASES)
def test_an_instrument_that_does_the_same_again(case):
    async def main():
        wait, wake = case()

        def again():
            try:
                wake()
            except (trio.WouldBlock, trio.ClosedResourceError):
                pass

        instrument = OnSchedule(again)
        outcomes = []
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(outcome_of, wait, outcomes)
            await settle()
            lowlevel.add_instrument(instrument)
            wake()
            lowlevel.remove_instrument(instrument)
            await settle()
            assert instrument.calls == 3
        assert len(outcomes) == 3

    trio.run(main)


def test_an_instrument_that_releases_a_lock_in_its_release():
    async def main():
        lock = trio.Lock()
        owners = []

        async def taker():
            async with lock:
                owners.append(lowlevel.current_task())
                assert lock.statistics().owner is owners[-1]

        errors = []

        def again():
            with pytest.raises(RuntimeError, match="don't own"):
                lock.release()
            errors.append(lock.statistics().owner)

        async with trio.open_nursery() as nursery:
            await lock.acquire()
            for _ in range(2):
                nursery.start_soon(taker)
            await settle()
            instrument = OnSchedule(again)
            lowlevel.add_instrument(instrument)
            lock.release()
            lowlevel.remove_instrument(instrument)
        assert errors[0] is owners[0]
        assert len(owners) == 2

    trio.run(main)


def test_an_instrument_that_closes_the_channel_in_a_send():
    async def main():
        send, receive = trio.open_memory_channel(0)
        outcomes = []
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(outcome_of, receive.receive, outcomes)
            await settle()
            instrument = OnSchedule(receive.close)
            lowlevel.add_instrument(instrument)
            send.send_nowait("value")
            lowlevel.remove_instrument(instrument)
        assert sorted(map(str, outcomes)) == sorted(
            map(str, ["value", trio.ClosedResourceError, trio.ClosedResourceError])
        )
        with pytest.raises(trio.BrokenResourceError):
            send.send_nowait(1)

    trio.run(main)


# Events


def test_events_are_no_business_of_the_collector():
    assert not gc.is_tracked(trio.Event())


def test_event_takes_no_arguments():
    for make in (trio.Event, trio.Lock, trio.StrictFIFOLock):
        with pytest.raises(TypeError, match="takes no arguments"):
            make(1)
        with pytest.raises(TypeError, match="takes no arguments"):
            make(x=1)
        with pytest.raises(TypeError, match="takes no arguments"):
            make.__new__(make, 1)
        assert type(make.__new__(make)) is make


def test_event_lives_as_long_as_somebody_waits_for_it():
    async def main():
        dead = []
        async with trio.open_nursery() as nursery:
            event = trio.Event()
            weakref.finalize(event, dead.append, True)
            nursery.start_soon(event.wait)
            del event
            await settle()
            assert not dead
            nursery.cancel_scope.cancel()
        assert dead

    trio.run(main)


# Locks


def test_a_lock_that_dies_while_it_is_held():
    async def main():
        lock = trio.Lock()
        lock.acquire_nowait()
        lot = lock._lot
        assert list(_core._parking_lot_breakers().values()) == [[lot]]
        del lock
        assert _core._parking_lot_breakers() == {}
        assert lot.broken_by == []

    trio.run(main)


def test_a_lock_that_a_dead_task_held_can_be_collected():
    refs = []

    async def holder():
        lock = trio.Lock()
        lock.acquire_nowait()
        lock_again = [lock]
        lock_again.append(lock_again)
        refs.append(weakref.ref(lock))

    trio.run(holder)
    collect()
    assert refs[0]() is None


@pytest.mark.parametrize("cls", [trio.Lock, trio.StrictFIFOLock])
def test_breakers_of_a_lock_by_hand(cls):
    async def main():
        task = lowlevel.current_task()
        lock = cls()
        await lock.acquire()
        lowlevel.remove_parking_lot_breaker(task, lock._lot)
        with pytest.raises(RuntimeError, match="not registered"):
            lock.release()
        lowlevel.add_parking_lot_breaker(task, lock._lot)
        lowlevel.add_parking_lot_breaker(task, lock._lot)
        assert _core._parking_lot_breakers() == {task: [lock._lot] * 2}
        lock.release()
        assert _core._parking_lot_breakers() == {task: [lock._lot]}
        lowlevel.remove_parking_lot_breaker(task, lock._lot)
        assert _core._parking_lot_breakers() == {}

    trio.run(main)


def test_a_waiter_that_is_moved_away_and_back():
    async def main():
        lock, lot = trio.Lock(), lowlevel.ParkingLot()
        await lock.acquire()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lock.acquire)
            await settle()
            (task,) = nursery.child_tasks
            lock._lot.repark(lot)
            assert task.custom_sleep_data is lot
            lot.repark_all(lock._lot)
            lock.release()
            assert lock.statistics().owner is task
            await lowlevel.checkpoint()

    trio.run(main)


def test_whoever_parks_in_the_lots_gets_a_turn():
    """As anyio does, to take its locks without a schedule point."""

    async def main():
        lock, semaphore = trio.Lock(), trio.Semaphore(0)
        await lock.acquire()

        async def parker():
            await lock._lot.park()
            assert lock.statistics().owner is lowlevel.current_task()
            lock.release()
            await semaphore._lot.park()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(parker)
            await settle()
            lock.release()
            await settle()
            assert not lock.locked()
            semaphore.release()
            assert semaphore.value == 0

    trio.run(main)


def test_a_broken_lot_of_a_lock_and_of_a_semaphore():
    async def main():
        lock, semaphore = trio.Lock(), trio.Semaphore(0)
        await lock.acquire()
        lock._lot.break_lot()
        semaphore._lot.break_lot()
        errors = []

        async def taker():
            try:
                await lock.acquire()
            except trio.BrokenResourceError as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(taker)
        assert str(errors[0]).startswith("Owner of this lock exited")
        assert errors[0].__suppress_context__
        with pytest.raises(trio.BrokenResourceError, match="Attempted to park"):
            await semaphore.acquire()
        lock.release()
        await lock.acquire()
        lock.release()

    trio.run(main)


def test_locks_across_two_runs():
    lock = trio.Lock()

    async def take():
        await lock.acquire()

    trio.run(take)

    async def try_it():
        with pytest.raises(trio.WouldBlock):
            lock.acquire_nowait()
        with pytest.raises(trio.BrokenResourceError):
            await lock.acquire()
        with pytest.raises(RuntimeError, match="don't own"):
            lock.release()

    trio.run(try_it)


# Semaphores


def test_semaphore_arguments_that_do_not_fit():
    with pytest.raises(OverflowError):
        trio.Semaphore(10**30)
    with pytest.raises(OverflowError):
        trio.Semaphore(1, max_value=10**30)
    with pytest.raises(TypeError):
        trio.Semaphore(1, 2)
    with pytest.raises(TypeError):
        trio.Semaphore()


@pytest.mark.parametrize("cls", [trio.Lock, trio.Semaphore])
def test_aexit_wants_its_arguments(cls):
    thing = cls() if cls is trio.Lock else cls(1)
    with pytest.raises(TypeError, match="takes 3 arguments"):
        thing.__aexit__(None)


# Channels


def test_a_channel_in_its_own_buffer_is_collected():
    send, receive = trio.open_memory_channel(5)
    refs = [weakref.ref(send), weakref.ref(receive)]
    for thing in (send, receive, refs):
        send.send_nowait(thing)
    send.note = receive
    receive.note = send
    del send, receive, thing
    collect()
    assert refs[0]() is None
    assert refs[1]() is None


def test_a_value_whose_finalizer_uses_the_channel():
    class Value:
        def __init__(self, function):
            self.function = function

        def __del__(self):
            self.function()

    send, receive = trio.open_memory_channel(100)
    refused = []

    def use():
        for call in (lambda: send.send_nowait(1), receive.receive_nowait):
            try:
                call()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                refused.append(type(error))
        receive.close()

    for _ in range(20):
        send.send_nowait(Value(use))
    receive.close()
    assert refused == [trio.BrokenResourceError, trio.ClosedResourceError] * 20
    assert send.statistics().current_buffer_used == 0


def test_the_state_of_a_channel_for_debuggers():
    send, receive = trio.open_memory_channel(3)
    state = send._state
    assert state is receive._state
    for value in "abc":
        send.send_nowait(value)
    assert state.data == ["a", "b", "c"]
    assert state.max_buffer_size == 3
    assert (state.open_send_channels, state.open_receive_channels) == (1, 1)
    assert state.peak_buffer_used == 3
    assert state.statistics() == send.statistics()
    assert not send._closed
    send.close()
    assert send._closed
    with pytest.raises(TypeError):
        type(state)()
    assert trio.MemorySendChannel[int].__origin__ is trio.MemorySendChannel


@pytest.mark.parametrize("size", [float("inf"), 10**30, 10_000])
def test_a_large_buffer(size):
    send, receive = trio.open_memory_channel(size)
    model = collections.deque()
    for i in range(10_000):
        send.send_nowait(i)
        model.append(i)
        if i % 3 == 0:
            send.send_nowait(receive.receive_nowait())
            model.rotate(-1)
    assert receive._state.data == list(model)
    while model:
        assert receive.receive_nowait() == model.popleft()
    send.send_nowait("again")
    assert receive.receive_nowait() == "again"
    assert receive.statistics().max_buffer_size == size


def test_many_clones_each_with_a_task_that_waits():
    async def main():
        send, receive = trio.open_memory_channel(0)
        outcomes = []
        clones = [receive.clone() for _ in range(2000)]
        async with trio.open_nursery() as nursery:
            for clone in clones:
                nursery.start_soon(outcome_of, clone.receive, outcomes)
            await settle()
            for clone in clones[::2]:
                clone.close()
            await settle()
            assert outcomes == [trio.ClosedResourceError] * 1000
            send.close()
        assert outcomes[1000:] == [trio.EndOfChannel] * 1000

    trio.run(main)


def test_async_for_ends_when_the_sender_is_closed_while_it_waits():
    async def main():
        send, receive = trio.open_memory_channel(0)
        got = []

        async def collect_all():
            async for value in receive:
                got.append(value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect_all)
            await settle()
            await send.send(1)
            await settle()
            await send.aclose()
        assert got == [1]
        with pytest.raises(StopAsyncIteration):
            await anext(receive)
        receive.close()
        with pytest.raises(trio.ClosedResourceError):
            await anext(receive)

    trio.run(main)


def test_outside_of_a_task():
    send, _ = trio.open_memory_channel(1)
    for wait in (
        trio.Event().wait,
        trio.Lock().acquire,
        trio.Semaphore(1).acquire,
        lambda: send.send(1),
        send.aclose,
    ):
        with pytest.raises(RuntimeError, match="must be called from async context"):
            wait().send(None)


# Timeouts


def test_fail_scopes_are_scopes():
    async def main():
        manager = trio.fail_after(10)
        with manager as scope:
            assert type(scope) is trio.CancelScope
            assert scope is manager
        with pytest.raises(RuntimeError), manager:
            pass
        with pytest.raises(TypeError, match="takes 3 arguments"):
            manager.__exit__()
        with pytest.raises(TypeError):
            trio.fail_after(1, True)
        with pytest.raises(TypeError, match="shield must be a bool"):
            trio.move_on_at(1, shield=1)
        with pytest.raises(TypeError):
            trio.move_on_after("1")

    trio.run(main)


def test_a_fail_scope_in_a_cycle_is_collected():
    things = []

    async def main():
        thing = Thing()
        things.append(weakref.ref(thing))
        async with trio.open_nursery() as nursery:

            async def child(thing=thing):
                with trio.fail_after(1000):
                    await trio.sleep_forever()

            nursery.start_soon(child)
            await settle()
            await crash_the_run()

    crash(main)
    collect()
    assert things[0]() is None
