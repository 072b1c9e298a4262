"""Events, limiters, semaphores, locks and conditions."""

from __future__ import annotations

import math
import random
import weakref

import pytest
from trio_asyncio_c import trio

from ._helpers import cancel, refused_when_cancelled, settle, start

assert_checkpoints = trio.testing.assert_checkpoints
assert_no_checkpoints = trio.testing.assert_no_checkpoints

LOCKS = [trio.Lock, trio.StrictFIFOLock]


def limiter_of_one():
    return trio.CapacityLimiter(1)


def semaphore_of_one():
    return trio.Semaphore(1)


# Whatever one task at a time can hold.
EXCLUSIVE = [*LOCKS, limiter_of_one, semaphore_of_one, trio.Condition]

FINAL = [
    trio.Event,
    trio.CapacityLimiter,
    trio.Semaphore,
    *LOCKS,
    trio.Condition,
]


@pytest.mark.parametrize("cls", FINAL)
def test_classes_are_final(cls):
    with pytest.raises(TypeError, match="subclassing|not an acceptable base type"):
        type("Sub", (cls,), {})


@pytest.mark.parametrize("make", [trio.Event, *EXCLUSIVE])
def test_objects_can_be_made_outside_of_a_run_and_weakly_referenced(make):
    thing = make()
    assert weakref.ref(thing)() is thing
    assert thing != make()
    assert {thing: 1}[thing] == 1


# ---- what all of those that can be held have in common ----


@pytest.mark.parametrize("make", EXCLUSIVE)
def test_acquire_is_a_checkpoint_and_release_is_none(make):
    async def main():
        thing = make()
        for _ in range(2):
            with assert_checkpoints():
                await thing.acquire()
            with assert_no_checkpoints():
                thing.release()
            with assert_no_checkpoints():
                thing.acquire_nowait()
            thing.release()
            with assert_checkpoints():
                await thing.__aenter__()
            with assert_no_checkpoints():
                await thing.__aexit__(None, None, None)

    trio.run(main)


@pytest.mark.parametrize("make", EXCLUSIVE)
def test_acquire_in_a_cancelled_scope_acquires_nothing(make):
    async def main():
        thing = make()
        await refused_when_cancelled(thing.acquire)
        thing.acquire_nowait()

    trio.run(main)


@pytest.mark.parametrize("make", EXCLUSIVE)
def test_a_held_thing_would_block(make):
    async def main():
        thing = make()

        async def try_it():
            with pytest.raises(trio.WouldBlock), assert_no_checkpoints():
                thing.acquire_nowait()

        async with thing:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(try_it)

    trio.run(main)


@pytest.mark.parametrize("make", EXCLUSIVE)
def test_the_block_yields_none_and_releases_after_an_error(make):
    async def main():
        thing = make()
        with pytest.raises(KeyError):
            async with thing as value:
                assert value is None
                raise KeyError
        thing.acquire_nowait()

    trio.run(main)


@pytest.mark.parametrize("make", EXCLUSIVE)
def test_one_holder_at_a_time(make):
    async def main():
        thing = make()
        rng = random.Random(7)
        inside = 0
        rounds = 0

        async def worker():
            nonlocal inside, rounds
            for _ in range(20):
                async with thing:
                    assert inside == 0
                    inside += 1
                    for _ in range(rng.randrange(3)):
                        await trio.lowlevel.checkpoint()
                    inside -= 1
                    rounds += 1

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(worker)
        assert rounds == 200

    trio.run(main)


@pytest.mark.parametrize("make", EXCLUSIVE)
def test_the_longest_waiting_goes_first(make):
    async def main():
        thing = make()
        order = []

        async def worker(name):
            async with thing:
                order.append(name)

        async with trio.open_nursery() as nursery:
            async with thing:
                for name in range(8):
                    nursery.start_soon(worker, name)
                    await settle()
        assert order == list(range(8))

    trio.run(main)


@pytest.mark.parametrize("make", EXCLUSIVE)
def test_everybody_gets_a_turn_before_anybody_gets_a_second(make):
    async def main():
        thing = make()
        order = []

        async def worker(name):
            for _ in range(5):
                async with thing:
                    order.append(name)

        async with trio.open_nursery() as nursery:
            async with thing:
                for name in range(3):
                    nursery.start_soon(worker, name)
                    await settle()
        assert order == [0, 1, 2] * 5

    trio.run(main)


@pytest.mark.parametrize("make", EXCLUSIVE)
def test_released_to_a_waiter_it_is_not_free_in_between(make):
    async def main():
        thing = make()
        async with trio.open_nursery() as nursery:
            thing.acquire_nowait()
            waiter = await start(nursery, thing.acquire)
            thing.release()
            # The waiter has not run yet, but this is its own already.
            with pytest.raises(trio.WouldBlock):
                thing.acquire_nowait()
            assert not waiter.done
            await settle()
            assert waiter.done

    trio.run(main)


@pytest.mark.parametrize("make", EXCLUSIVE)
def test_a_cancelled_waiter_leaves_the_queue(make):
    async def main():
        thing = make()
        async with trio.open_nursery() as nursery:
            thing.acquire_nowait()
            first = await start(nursery, thing.acquire)
            second = await start(nursery, thing.acquire)
            third = await start(nursery, thing.acquire)
            await cancel(first)
            await cancel(third)
            thing.release()
            await settle()
            assert second.done
            assert not second.cancelled

    trio.run(main)


@pytest.mark.parametrize("make", EXCLUSIVE)
def test_cancelling_after_the_handover_comes_too_late(make):
    async def main():
        thing = make()
        async with trio.open_nursery() as nursery:
            thing.acquire_nowait()
            waiter = await start(nursery, thing.acquire)
            thing.release()
            waiter.scope.cancel()
            await settle()
            assert waiter.done
            assert not waiter.cancelled

    trio.run(main)


# ---- Event ----


def test_event_wakes_all_waiters():
    async def main():
        event = trio.Event()
        assert not event.is_set()
        async with trio.open_nursery() as nursery:
            calls = [await start(nursery, event.wait) for _ in range(5)]
            assert not any(call.done for call in calls)
            with assert_no_checkpoints():
                event.set()
            assert event.is_set()
            await settle()
            assert all(call.done for call in calls)

    trio.run(main)


def test_event_stays_set_and_waiting_for_it_is_still_a_checkpoint():
    async def main():
        event = trio.Event()
        event.set()
        event.set()
        for _ in range(2):
            with assert_checkpoints():
                await event.wait()
        await refused_when_cancelled(event.wait)

    trio.run(main)


def test_event_set_between_the_call_of_wait_and_its_first_step():
    async def main():
        event = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(event.wait)
            event.set()

    trio.run(main)


def test_event_can_be_set_outside_of_a_run():
    event = trio.Event()
    event.set()
    trio.run(event.wait)


def test_event_wait_can_be_cancelled():
    async def main():
        event = trio.Event()
        async with trio.open_nursery() as nursery:
            first = await start(nursery, event.wait)
            second = await start(nursery, event.wait)
            await cancel(first)
            assert event.statistics().tasks_waiting == 1
            event.set()
            await settle()
            assert second.done

    trio.run(main)


def test_event_statistics():
    async def main():
        event = trio.Event()
        assert event.statistics() == trio.EventStatistics(tasks_waiting=0)
        async with trio.open_nursery() as nursery:
            for count in range(1, 4):
                await start(nursery, event.wait)
                assert event.statistics().tasks_waiting == count
            event.set()
            assert event.statistics().tasks_waiting == 0
            with pytest.raises(AttributeError):
                event.statistics().tasks_waiting = 1

    trio.run(main)


def test_event_is_not_a_bool():
    with pytest.raises(NotImplementedError, match="event.is_set"):
        bool(trio.Event())


# ---- CapacityLimiter ----


@pytest.mark.parametrize("total", [1.5, 2.0, -math.inf, math.nan, "1", None])
def test_limiter_total_of_the_wrong_type(total):
    text = "total_tokens must be an int or math.inf"
    with pytest.raises(TypeError, match=text):
        trio.CapacityLimiter(total)
    limiter = trio.CapacityLimiter(3)
    with pytest.raises(TypeError, match=text):
        limiter.total_tokens = total
    assert limiter.total_tokens == 3


def test_limiter_total_must_not_be_negative():
    with pytest.raises(ValueError, match="total_tokens must be >= 0"):
        trio.CapacityLimiter(-1)
    limiter = trio.CapacityLimiter(0)
    with pytest.raises(ValueError, match="total_tokens must be >= 0"):
        limiter.total_tokens = -1
    assert limiter.total_tokens == 0


def test_limiter_repr():
    async def main():
        limiter = trio.CapacityLimiter(2)
        where = f"{id(limiter):#x}"
        async with limiter, trio.open_nursery() as nursery:
            limiter.acquire_on_behalf_of_nowait("x")
            waiter = await start(nursery, limiter.acquire)
            expected = f"<trio.CapacityLimiter at {where}, 2/2 with 1 waiting>"
            assert repr(limiter) == expected
            await cancel(waiter)

    trio.run(main)


def test_limiter_counts_tokens():
    async def main():
        limiter = trio.CapacityLimiter(2)
        assert limiter.total_tokens == 2
        assert (limiter.borrowed_tokens, limiter.available_tokens) == (0, 2)
        limiter.acquire_on_behalf_of_nowait("a")
        assert (limiter.borrowed_tokens, limiter.available_tokens) == (1, 1)
        await limiter.acquire()
        assert (limiter.borrowed_tokens, limiter.available_tokens) == (2, 0)
        with pytest.raises(trio.WouldBlock):
            limiter.acquire_on_behalf_of_nowait("b")
        limiter.release_on_behalf_of("a")
        limiter.release()
        assert (limiter.borrowed_tokens, limiter.available_tokens) == (0, 2)

    trio.run(main)


def test_limiter_lends_each_borrower_one_token():
    async def main():
        limiter = trio.CapacityLimiter(5)
        text = "this borrower is already holding one of this CapacityLimiter's tokens"
        await limiter.acquire()
        await limiter.acquire_on_behalf_of("x")
        with pytest.raises(RuntimeError, match=text):
            await limiter.acquire()
        with pytest.raises(RuntimeError, match=text):
            limiter.acquire_nowait()
        with pytest.raises(RuntimeError, match=text):
            await limiter.acquire_on_behalf_of("x")
        with pytest.raises(RuntimeError, match=text):
            limiter.acquire_on_behalf_of_nowait("x")
        # That counts before the question whether there is a token left.
        limiter.total_tokens = 0
        with pytest.raises(RuntimeError, match=text):
            limiter.acquire_nowait()
        assert limiter.borrowed_tokens == 2

    trio.run(main)


def test_limiter_takes_a_token_back_from_its_borrower_only():
    async def main():
        limiter = trio.CapacityLimiter(5)
        text = "this borrower isn't holding any of this CapacityLimiter's tokens"
        limiter.acquire_on_behalf_of_nowait("x")
        with pytest.raises(RuntimeError, match=text):
            limiter.release()
        with pytest.raises(RuntimeError, match=text):
            limiter.release_on_behalf_of("y")
        limiter.release_on_behalf_of("x")
        with pytest.raises(RuntimeError, match=text):
            limiter.release_on_behalf_of("x")

    trio.run(main)


def test_limiter_on_behalf_of_waits_and_is_a_checkpoint():
    async def main():
        limiter = trio.CapacityLimiter(1)
        with assert_checkpoints():
            await limiter.acquire_on_behalf_of("a")
        async with trio.open_nursery() as nursery:
            call = await start(nursery, limiter.acquire_on_behalf_of, "b")
            assert not call.done
            limiter.release_on_behalf_of("a")
            assert limiter.statistics().borrowers == ["b"]
            await settle()
            assert call.done

    trio.run(main)


def test_limiter_forgets_a_cancelled_waiter():
    async def main():
        limiter = trio.CapacityLimiter(1)
        async with limiter, trio.open_nursery() as nursery:
            for _ in range(3):
                call = await start(nursery, limiter.acquire_on_behalf_of, "b")
                assert limiter.statistics().tasks_waiting == 1
                await cancel(call)
                assert limiter.statistics().tasks_waiting == 0
            assert not limiter._pending_borrowers
        async with limiter:
            pass

    trio.run(main)


def test_limiter_raised_wakes_as_many_as_there_are_new_tokens():
    async def main():
        limiter = trio.CapacityLimiter(0)
        async with trio.open_nursery() as nursery:
            calls = [
                await start(nursery, limiter.acquire_on_behalf_of, name)
                for name in range(5)
            ]
            limiter.total_tokens = 2
            assert limiter.borrowed_tokens == 2
            await settle()
            assert [call.done for call in calls] == [True] * 2 + [False] * 3
            limiter.total_tokens = 3
            await settle()
            assert [call.done for call in calls] == [True] * 3 + [False] * 2
            limiter.total_tokens = math.inf
            await settle()
            assert all(call.done for call in calls)
            assert limiter.borrowed_tokens == 5

    trio.run(main)


def test_limiter_lowered_takes_nothing_away_and_lends_nothing():
    async def main():
        limiter = trio.CapacityLimiter(3)
        for name in range(3):
            limiter.acquire_on_behalf_of_nowait(name)
        limiter.total_tokens = 1
        assert limiter.borrowed_tokens == 3
        assert limiter.available_tokens == -2
        async with trio.open_nursery() as nursery:
            call = await start(nursery, limiter.acquire_on_behalf_of, "new")
            limiter.release_on_behalf_of(0)
            limiter.release_on_behalf_of(1)
            await settle()
            assert not call.done
            limiter.release_on_behalf_of(2)
            await settle()
            assert call.done

    trio.run(main)


def test_limiter_without_a_limit():
    async def main():
        limiter = trio.CapacityLimiter(math.inf)
        for name in range(100):
            await limiter.acquire_on_behalf_of(name)
        assert limiter.borrowed_tokens == 100
        assert limiter.available_tokens == math.inf
        assert limiter.statistics().total_tokens == math.inf

    trio.run(main)


def test_limiter_of_zero_tokens_lends_none():
    async def main():
        limiter = trio.CapacityLimiter(0)
        with pytest.raises(trio.WouldBlock):
            limiter.acquire_nowait()
        async with trio.open_nursery() as nursery:
            await cancel(await start(nursery, limiter.acquire))

    trio.run(main)


def test_limiter_statistics():
    async def main():
        limiter = trio.CapacityLimiter(2)
        task = trio.lowlevel.current_task()
        async with limiter, trio.open_nursery() as nursery:
            limiter.acquire_on_behalf_of_nowait("x")
            call = await start(nursery, limiter.acquire)
            statistics = limiter.statistics()
            assert isinstance(statistics, trio.CapacityLimiterStatistics)
            assert statistics.borrowed_tokens == 2
            assert statistics.total_tokens == 2
            assert set(statistics.borrowers) == {task, "x"}
            assert statistics.tasks_waiting == 1
            await cancel(call)

    trio.run(main)


# ---- Semaphore ----


def test_semaphore_arguments():
    with pytest.raises(TypeError, match="initial_value must be an int"):
        trio.Semaphore(1.0)
    with pytest.raises(ValueError, match="initial value must be >= 0"):
        trio.Semaphore(-1)
    with pytest.raises(TypeError, match="max_value must be None or an int"):
        trio.Semaphore(1, max_value=2.0)
    with pytest.raises(ValueError, match="max_values must be >= initial_valu"):
        trio.Semaphore(2, max_value=1)
    semaphore = trio.Semaphore(2, max_value=2)
    assert (semaphore.value, semaphore.max_value) == (2, 2)
    assert trio.Semaphore(0).max_value is None


def test_semaphore_repr():
    plain = trio.Semaphore(3)
    assert repr(plain) == f"<trio.Semaphore(3) at {id(plain):#x}>"
    bounded = trio.Semaphore(3, max_value=5)
    where = f"{id(bounded):#x}"
    assert repr(bounded) == f"<trio.Semaphore(3, max_value=5) at {where}>"


def test_semaphore_counts():
    async def main():
        semaphore = trio.Semaphore(1)
        semaphore.acquire_nowait()
        assert semaphore.value == 0
        with pytest.raises(trio.WouldBlock):
            semaphore.acquire_nowait()
        # Nobody has to have acquired it to release it.
        for value in range(1, 4):
            semaphore.release()
            assert semaphore.value == value
        async with semaphore:
            assert semaphore.value == 2
        assert semaphore.value == 3

    trio.run(main)


def test_semaphore_with_a_maximum():
    semaphore = trio.Semaphore(1, max_value=2)
    semaphore.release()
    with pytest.raises(ValueError, match="semaphore released too many times"):
        semaphore.release()
    assert semaphore.value == 2


def test_semaphore_at_its_maximum_of_zero_still_serves_waiters():
    async def main():
        semaphore = trio.Semaphore(0, max_value=0)
        async with trio.open_nursery() as nursery:
            call = await start(nursery, semaphore.acquire)
            semaphore.release()
            await settle()
            assert call.done
        with pytest.raises(ValueError, match="too many times"):
            semaphore.release()

    trio.run(main)


def test_semaphore_hands_over_without_counting_up():
    async def main():
        semaphore = trio.Semaphore(0)
        async with trio.open_nursery() as nursery:
            calls = [await start(nursery, semaphore.acquire) for _ in range(3)]
            assert semaphore.statistics().tasks_waiting == 3
            semaphore.release()
            semaphore.release()
            assert semaphore.value == 0
            assert semaphore.statistics().tasks_waiting == 1
            await settle()
            assert [call.done for call in calls] == [True, True, False]
            await cancel(calls[2])
        semaphore.release()
        assert semaphore.value == 1

    trio.run(main)


# ---- Lock and StrictFIFOLock ----


@pytest.mark.parametrize("cls", LOCKS)
def test_lock_repr_and_statistics(cls):
    async def main():
        lock = cls()
        name = f"{cls.__name__} object at {id(lock):#x}"
        assert repr(lock) == f"<unlocked {name}>"
        assert not lock.locked()
        assert lock.statistics() == trio.LockStatistics(
            locked=False, owner=None, tasks_waiting=0
        )
        async with lock, trio.open_nursery() as nursery:
            assert lock.locked()
            call = await start(nursery, lock.acquire)
            assert repr(lock) == f"<locked {name} with 1 waiters>"
            assert lock.statistics() == trio.LockStatistics(
                locked=True,
                owner=trio.lowlevel.current_task(),
                tasks_waiting=1,
            )
            await cancel(call)
        assert not lock.locked()

    trio.run(main)


@pytest.mark.parametrize("cls", LOCKS)
def test_lock_cannot_be_taken_twice_by_one_task(cls):
    async def main():
        lock = cls()
        text = "attempt to re-acquire an already held Lock"
        async with lock:
            with pytest.raises(RuntimeError, match=text):
                lock.acquire_nowait()
            with pytest.raises(RuntimeError, match=text):
                await lock.acquire()
            assert lock.locked()

    trio.run(main)


@pytest.mark.parametrize("cls", LOCKS)
def test_lock_is_released_by_its_owner_only(cls):
    async def main():
        lock = cls()
        text = "can't release a Lock you don't own"
        with pytest.raises(RuntimeError, match=text):
            lock.release()

        async def release():
            lock.release()

        async with lock, trio.open_nursery() as nursery:
            call = await start(nursery, release)
            with pytest.raises(RuntimeError, match=text):
                raise call.error
            assert lock.locked()

    trio.run(main)


@pytest.mark.parametrize("cls", LOCKS)
def test_lock_whose_owner_exits_is_broken_for_waiters_and_later_ones(cls):
    async def main():
        lock = cls()
        leave = trio.Event()
        owner = None

        async def leave_with_it():
            nonlocal owner
            owner = trio.lowlevel.current_task()
            await lock.acquire()
            await leave.wait()

        async with trio.open_nursery() as nursery:
            await start(nursery, leave_with_it)
            first = await start(nursery, lock.acquire)
            second = await start(nursery, lock.acquire)
            assert not first.done
            assert not second.done
            leave.set()
            await settle()
            text = f"Owner of this lock exited without releasing: {owner}"
            for call in (first, second):
                assert type(call.error) is trio.BrokenResourceError
                assert str(call.error) == text
            with pytest.raises(trio.BrokenResourceError) as caught:
                await lock.acquire()
            assert str(caught.value) == text
            with pytest.raises(trio.WouldBlock):
                lock.acquire_nowait()
            assert lock.locked()

    trio.run(main)


@pytest.mark.parametrize("cls", LOCKS)
def test_lock_broken_by_a_task_that_it_was_handed_to(cls):
    async def main():
        lock = cls()
        async with trio.open_nursery() as nursery:
            await lock.acquire()
            # These two get it in turn. The first exits with it.
            first = await start(nursery, lock.acquire)
            second = await start(nursery, lock.acquire)
            lock.release()
            await settle()
            assert first.done
            assert first.error is None
            assert type(second.error) is trio.BrokenResourceError

    trio.run(main)


@pytest.mark.parametrize("cls", LOCKS)
def test_lock_that_was_released_in_time_is_not_broken(cls):
    async def main():
        lock = cls()

        async def take_and_release():
            async with lock:
                await trio.lowlevel.checkpoint()

        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(take_and_release)
        async with lock:
            pass

    trio.run(main)


@pytest.mark.parametrize("cls", LOCKS)
def test_lock_outside_of_a_run(cls):
    lock = cls()
    with pytest.raises(RuntimeError, match="must be called from async conte"):
        lock.acquire_nowait()
    with pytest.raises(RuntimeError, match="must be called from async conte"):
        lock.release()
    assert not lock.locked()


# ---- Condition ----


@pytest.mark.parametrize("lock", [trio.StrictFIFOLock(), object(), trio.Lock])
def test_condition_takes_a_lock_and_nothing_else(lock):
    with pytest.raises(TypeError, match="lock must be a trio.Lock"):
        trio.Condition(lock)


def test_condition_uses_the_lock_that_it_was_given():
    async def main():
        lock = trio.Lock()
        condition = trio.Condition(lock)
        other = trio.Condition(lock)
        async with condition:
            assert lock.locked()
            assert condition.locked()
            assert other.locked()
            owner = trio.lowlevel.current_task()
            assert lock.statistics().owner is owner
        assert not lock.locked()
        condition.acquire_nowait()
        assert lock.locked()
        lock.release()
        assert not condition.locked()

    trio.run(main)


def test_condition_needs_its_lock():
    async def main():
        condition = trio.Condition()

        async def check():
            with pytest.raises(RuntimeError, match="must hold the lock to wai"):
                await condition.wait()
            with pytest.raises(RuntimeError, match="must hold the lock to not"):
                condition.notify()
            with pytest.raises(RuntimeError, match="must hold the lock to not"):
                condition.notify_all()

        await check()
        async with condition, trio.open_nursery() as nursery:
            nursery.start_soon(check)

    trio.run(main)


async def wait_with(condition, log=None, name=None):
    """Take the lock, wait to be notified, and be sure to have the lock."""
    async with condition:
        try:
            await condition.wait()
        finally:
            statistics = condition.statistics().lock_statistics
            assert statistics.owner is trio.lowlevel.current_task()
            if log is not None:
                log.append(name)


def test_condition_notify_wakes_the_given_number_in_order():
    async def main():
        condition = trio.Condition()
        log = []
        async with trio.open_nursery() as nursery:
            for name in range(6):
                await start(nursery, wait_with, condition, log, name)
            async with condition:
                condition.notify()
            await settle()
            assert log == [0]
            async with condition:
                with assert_no_checkpoints():
                    condition.notify(2)
                await settle()
                assert log == [0], "nobody wakes while the lock is held"
            await settle()
            assert log == [0, 1, 2]
            async with condition:
                condition.notify(0)
                condition.notify_all()
            await settle()
            assert log == list(range(6))
            async with condition:
                condition.notify(5)
                condition.notify_all()

    trio.run(main)


def test_condition_wait_is_a_checkpoint():
    async def main():
        condition = trio.Condition()

        async def waiter():
            async with condition:
                with assert_checkpoints():
                    await condition.wait()

        async with trio.open_nursery() as nursery:
            await start(nursery, waiter)
            async with condition:
                condition.notify()

    trio.run(main)


def test_condition_statistics():
    async def main():
        condition = trio.Condition()
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                await start(nursery, wait_with, condition)
            async with condition:
                call = await start(nursery, condition.acquire)
                statistics = condition.statistics()
                assert isinstance(statistics, trio.ConditionStatistics)
                assert statistics.tasks_waiting == 2
                assert statistics.lock_statistics.tasks_waiting == 1
                assert statistics.lock_statistics.locked
                condition.notify()
                statistics = condition.statistics()
                assert statistics.tasks_waiting == 1
                assert statistics.lock_statistics.tasks_waiting == 2
                await cancel(call)
                condition.notify_all()

    trio.run(main)


def test_condition_cancelled_wait_has_the_lock_again():
    async def main():
        condition = trio.Condition()
        async with trio.open_nursery() as nursery:
            call = await start(nursery, wait_with, condition)
            await cancel(call)
            assert not condition.locked()
            assert condition.statistics().tasks_waiting == 0

    trio.run(main)


def test_condition_cancelled_wait_takes_as_long_as_it_needs_for_the_lock():
    async def main():
        condition = trio.Condition()
        async with trio.open_nursery() as nursery:
            call = await start(nursery, wait_with, condition)
            async with condition:
                call.scope.cancel()
                await settle()
                assert not call.done
            await settle()
            assert call.done
            assert call.cancelled

    trio.run(main)


def test_condition_cancelled_between_the_notification_and_the_lock():
    async def main():
        condition = trio.Condition()
        log = []
        async with trio.open_nursery() as nursery:
            first = await start(nursery, wait_with, condition, log, "first")
            await start(nursery, wait_with, condition, log, "second")
            async with condition:
                condition.notify_all()
                first.scope.cancel()
                await settle()
                assert log == []
            await settle()
            assert first.cancelled
            # The cancelled one had to queue up for the lock anew.
            assert log == ["second", "first"]

    trio.run(main)


def test_condition_in_a_cancelled_scope_waits_for_nothing():
    async def main():
        condition = trio.Condition()
        async with condition:
            await refused_when_cancelled(condition.wait)
            statistics = condition.statistics().lock_statistics
            assert statistics.owner is trio.lowlevel.current_task()

    trio.run(main)


def test_condition_whose_lock_is_broken_while_notified_tasks_wait_for_it():
    async def main():
        condition = trio.Condition()

        async def plain_wait():
            await condition.acquire()
            await condition.wait()

        async def notify_and_leave():
            await condition.acquire()
            condition.notify_all()

        async with trio.open_nursery() as nursery:
            calls = [await start(nursery, plain_wait) for _ in range(2)]
            await start(nursery, notify_and_leave)
            for call in calls:
                assert type(call.error) is trio.BrokenResourceError
                assert "exited without releasing" in str(call.error)

    trio.run(main)
