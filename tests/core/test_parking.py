"""ParkingLot: order, cancellation, moving to another lot, breaking."""

from __future__ import annotations

import math

import pytest
from trio_asyncio_c import trio

from ._helpers import block, run, run_mock, settle

lowlevel = trio.lowlevel
ParkingLot = lowlevel.ParkingLot


async def parker(lot, log, i, scope=None):
    with scope or trio.CancelScope():
        await lot.park()
        log.append(i)


async def park_in_order(nursery, lot, log, numbers):
    """Park one task a number, one after the other; the tasks."""
    tasks = []
    for i in numbers:
        before = nursery.child_tasks
        nursery.start_soon(parker, lot, log, i)
        tasks += nursery.child_tasks - before
        await settle()
    return tasks


def test_an_empty_lot():
    lot = ParkingLot()
    assert len(lot) == 0
    assert not lot
    assert lot.broken_by == []
    assert lot.statistics().tasks_waiting == 0


def test_lots_can_be_made_anywhere_and_are_final():
    assert ParkingLot() != ParkingLot()
    assert len({ParkingLot(), ParkingLot()}) == 2
    with pytest.raises(TypeError):
        type("Sub", (ParkingLot,), {})
    with pytest.raises(TypeError):
        ParkingLot(1)


def test_length_truth_and_statistics():
    async def main():
        lot, log = ParkingLot(), []
        async with trio.open_nursery() as nursery:
            await park_in_order(nursery, lot, log, range(3))
            assert len(lot) == 3
            assert bool(lot)
            assert lot.statistics().tasks_waiting == 3
            lot.unpark()
            assert len(lot) == 2
            lot.unpark_all()
            assert len(lot) == 0
            assert not lot

    run(main)


def test_unparking_is_first_in_first_out():
    # R49
    async def main():
        lot, log = ParkingLot(), []
        async with trio.open_nursery() as nursery:
            tasks = await park_in_order(nursery, lot, log, range(10))
            woken = []
            for _ in range(10):
                woken += lot.unpark()
                await settle()
            assert woken == tasks
            assert log == list(range(10))
            assert lot.unpark() == []

    run(main)


def test_unpark_takes_a_count():
    # R49
    async def main():
        lot, log = ParkingLot(), []
        async with trio.open_nursery() as nursery:
            tasks = await park_in_order(nursery, lot, log, range(10))
            assert lot.unpark(count=3) == tasks[:3]
            await settle()
            assert sorted(log) == [0, 1, 2]
            assert lot.unpark(count=0) == []
            assert lot.unpark(count=-2) == []
            assert lot.unpark(count=math.inf) == tasks[3:]
            await settle()
            assert sorted(log) == list(range(10))
            assert lot.unpark(count=5) == []

    run(main)


def test_unpark_all_returns_the_tasks():
    async def main():
        lot, log = ParkingLot(), []
        async with trio.open_nursery() as nursery:
            tasks = await park_in_order(nursery, lot, log, range(4))
            assert lot.unpark_all() == tasks
            assert lot.unpark_all() == []

    run(main)


@pytest.mark.parametrize("count", [1.5, 1.0, math.nan])
def test_a_count_must_be_an_integer_or_infinity(count):
    # R49, section 5
    lot = ParkingLot()
    with pytest.raises(
        ValueError, match=r"^Cannot pop a non-integer number of tasks\.$"
    ):
        lot.unpark(count=count)
    with pytest.raises(
        ValueError, match=r"^Cannot pop a non-integer number of tasks\.$"
    ):
        lot.repark(ParkingLot(), count=count)


def test_cancelling_a_parked_task_takes_it_out():
    async def main():
        lot, log = ParkingLot(), []
        scopes = [trio.CancelScope() for _ in range(3)]
        async with trio.open_nursery() as nursery:
            for i, scope in enumerate(scopes):
                nursery.start_soon(parker, lot, log, i, scope)
                await settle()
            scopes[1].cancel()
            assert len(lot) == 2
            await settle()
            lot.unpark()
            await settle()
            assert log == [0]
            lot.unpark()
            await settle()
            assert log == [0, 2]
        assert [scope.cancelled_caught for scope in scopes] == [False, True, False]

    run(main)


def test_a_task_that_was_unparked_can_no_more_be_cancelled():
    async def main():
        lot, log = ParkingLot(), []
        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(parker, lot, log, 1, scope)
            await settle()
            lot.unpark()
            scope.cancel()
        assert log == [1]
        assert not scope.cancelled_caught

    run(main)


def test_parking_in_a_cancelled_scope():
    async def main():
        lot = ParkingLot()
        with trio.CancelScope() as scope:
            scope.cancel()
            await lot.park()
        assert scope.cancelled_caught
        assert len(lot) == 0

    run(main)


def test_a_parked_task_knows_its_lot():
    # R49
    async def main():
        lot, other, log = ParkingLot(), ParkingLot(), []
        async with trio.open_nursery() as nursery:
            (task,) = await park_in_order(nursery, lot, log, [1])
            assert task.custom_sleep_data is lot
            lot.repark(other)
            assert task.custom_sleep_data is other
            other.unpark()
            assert task.custom_sleep_data is None

    run(main)


def test_reparking_keeps_the_order():
    # R49
    async def main():
        first, second, log = ParkingLot(), ParkingLot(), []
        async with trio.open_nursery() as nursery:
            await park_in_order(nursery, second, log, [100])
            await park_in_order(nursery, first, log, range(5))
            first.repark(second)
            assert (len(first), len(second)) == (4, 2)
            first.repark(second, count=2)
            assert (len(first), len(second)) == (2, 4)
            first.repark_all(second)
            assert (len(first), len(second)) == (0, 6)
            first.repark(second)
            first.repark_all(second)
            for _ in range(6):
                second.unpark()
                await settle()
        assert log == [100, 0, 1, 2, 3, 4]

    run(main)


def test_reparking_needs_a_lot():
    lot = ParkingLot()
    with pytest.raises(TypeError, match="^new_lot must be a ParkingLot$"):
        lot.repark(None)
    with pytest.raises(TypeError, match="^new_lot must be a ParkingLot$"):
        lot.repark_all([])


def test_reparking_into_the_same_lot_goes_to_the_back():
    async def main():
        lot, log = ParkingLot(), []
        async with trio.open_nursery() as nursery:
            await park_in_order(nursery, lot, log, range(3))
            lot.repark(lot)
            assert len(lot) == 3
            for _ in range(3):
                lot.unpark()
                await settle()
        assert log == [1, 2, 0]

    run(main)


def test_cancelling_a_reparked_task():
    async def main():
        first, second, log = ParkingLot(), ParkingLot(), []
        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(parker, first, log, 1, scope)
            await settle()
            first.repark(second)
            scope.cancel()
            assert len(second) == 0
        assert scope.cancelled_caught

    run(main)


def test_breaking_a_lot_fails_who_is_parked():
    # R49
    async def child():
        with pytest.raises(
            trio.BrokenResourceError, match=r"^Parking lot broken by <Task .*main"
        ) as info:
            await lot.park()
        errors.append(info.value)

    lot = ParkingLot()
    errors = []

    async def main():
        task = lowlevel.current_task()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(child)
            await settle()
            lot.break_lot()
            assert lot.broken_by == [task]
            assert len(lot) == 0
            with pytest.raises(
                trio.BrokenResourceError,
                match=r"^Attempted to park in parking lot broken by \[<Task .*main",
            ):
                await lot.park()
            # What is left of it does nothing.
            assert lot.unpark() == []
            assert lot.unpark_all() == []
            lot.repark(ParkingLot())
        assert len(errors) == 3
        assert len({id(error) for error in errors}) == 3

    run(main)


def test_breaking_a_lot_again_adds_to_the_list():
    # R49
    async def main():
        task = lowlevel.current_task()
        root = lowlevel.current_root_task()
        lot = ParkingLot()
        lot.break_lot(root)
        lot.break_lot()
        lot.break_lot(task)
        assert lot.broken_by == [root, task, task]

    run(main)


def test_breaking_names_the_task_given():
    # R49
    async def child():
        with pytest.raises(trio.BrokenResourceError, match="<init>"):
            await lot.park()

    lot = ParkingLot()

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await settle()
            lot.break_lot(lowlevel.current_root_task())

    run(main)


def test_a_breaker_breaks_its_lot_when_it_exits():
    # R28, R49
    async def breaker():
        lowlevel.add_parking_lot_breaker(lowlevel.current_task(), lot)
        await trio.sleep(1)

    async def child():
        with pytest.raises(trio.BrokenResourceError, match="breaker"):
            await lot.park()
        done.append(trio.current_time())

    lot = ParkingLot()
    done = []

    async def main():
        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(breaker)
            nursery.start_soon(child)
        assert done == [begin + 1]
        assert [task.name.endswith("breaker") for task in lot.broken_by] == [True]

    run_mock(main)


@pytest.mark.parametrize("how", ["error", "cancel"])
def test_a_breaker_that_does_not_end_well_breaks_as_well(how):
    # R28, R49
    async def breaker(scope):
        lowlevel.add_parking_lot_breaker(lowlevel.current_task(), lot)
        with scope:
            await block()
            raise KeyError

    lot = ParkingLot()

    async def main():
        scope = trio.CancelScope()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(breaker, scope)
                await settle()
                (task,) = nursery.child_tasks
                if how == "error":
                    lowlevel.reschedule(task)
                else:
                    scope.cancel()
        except* KeyError:
            pass
        assert lot.broken_by == [task]

    run(main)


def test_a_task_may_break_several_lots():
    # R49
    async def breaker():
        for lot in lots:
            lowlevel.add_parking_lot_breaker(lowlevel.current_task(), lot)
        lowlevel.remove_parking_lot_breaker(lowlevel.current_task(), lots[1])

    lots = [ParkingLot() for _ in range(3)]

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(breaker)
        assert [len(lot.broken_by) for lot in lots] == [1, 0, 1]

    run(main)


def test_registering_twice_breaks_twice():
    # R49
    async def breaker():
        task = lowlevel.current_task()
        lowlevel.add_parking_lot_breaker(task, lot)
        lowlevel.add_parking_lot_breaker(task, lot)

    lot = ParkingLot()

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(breaker)
        assert len(lot.broken_by) == 2

    run(main)


def test_removing_a_breaker_that_is_none():
    # R49, section 5
    text = "^Attempted to remove task as breaker for a lot it is not registered for$"

    async def main():
        task = lowlevel.current_task()
        lot, other = ParkingLot(), ParkingLot()
        with pytest.raises(RuntimeError, match=text):
            lowlevel.remove_parking_lot_breaker(task, lot)
        lowlevel.add_parking_lot_breaker(task, lot)
        with pytest.raises(RuntimeError, match=text):
            lowlevel.remove_parking_lot_breaker(task, other)
        lowlevel.remove_parking_lot_breaker(task, lot)
        with pytest.raises(RuntimeError, match=text):
            lowlevel.remove_parking_lot_breaker(task, lot)

    run(main)


def test_a_task_that_has_exited_cannot_be_a_breaker():
    # R49, section 5
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0)
            (task,) = nursery.child_tasks
        with pytest.raises(
            trio.BrokenResourceError,
            match=r"^Attempted to add already exited task as lot breaker\.$",
        ):
            lowlevel.add_parking_lot_breaker(task, ParkingLot())

    run(main)


def test_a_lot_outlives_a_run():
    lot = ParkingLot()

    async def main():
        log = []
        async with trio.open_nursery() as nursery:
            await park_in_order(nursery, lot, log, [1, 2])
            lot.unpark()
            await settle()
            nursery.cancel_scope.cancel()
        assert log == [1]
        assert len(lot) == 0

    run(main)
    run(main)


def test_a_lot_with_very_many_tasks():
    async def main():
        lot, log = ParkingLot(), []
        scopes = [trio.CancelScope() for _ in range(1000)]
        async with trio.open_nursery() as nursery:
            for i, scope in enumerate(scopes):
                nursery.start_soon(parker, lot, log, i, scope)
            await settle()
            assert len(lot) == 1000
            for scope in scopes[::3]:
                scope.cancel()
            assert len(lot) == 666
            lot.unpark_all()
        assert sorted(log) == [i for i in range(1000) if i % 3]

    run(main)


def test_park_wakes_with_none():
    async def child():
        values.append(await lot.park())

    lot, values = ParkingLot(), []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await settle()
            lot.unpark()

    run(main)
    assert values == [None]
