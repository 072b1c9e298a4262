"""A forgotten await: what is dropped unawaited warns as a coroutine does."""

from __future__ import annotations

import gc
import sys
import warnings

import pytest
from trio_asyncio_c import trio

from ._helpers import Value, block, nonblocking_pair, run, settle

lowlevel = trio.lowlevel


def drop(make):
    """Make something and drop it; the texts of the warnings that this gave."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make()
        gc.collect()
    assert all(warning.category is RuntimeWarning for warning in caught)
    return [str(warning.message) for warning in caught]


async def coroutine_function():
    pass


MAKERS = [
    (lambda: trio.sleep(1), "sleep"),
    (lambda: trio.sleep(0), "sleep"),
    (lambda: trio.sleep_until(1), "sleep_until"),
    (trio.sleep_forever, "sleep_forever"),
    (lowlevel.checkpoint, "checkpoint"),
    (lowlevel.checkpoint_if_cancelled, "checkpoint_if_cancelled"),
    (lowlevel.cancel_shielded_checkpoint, "cancel_shielded_checkpoint"),
    (
        lambda: lowlevel.wait_task_rescheduled(lambda _: lowlevel.Abort.SUCCEEDED),
        "wait_task_rescheduled",
    ),
    (lambda: lowlevel.wait_readable(0), "wait_readable"),
    (lambda: lowlevel.wait_writable(1), "wait_writable"),
    (trio.testing.wait_all_tasks_blocked, "wait_all_tasks_blocked"),
    (lambda: lowlevel.ParkingLot().park(), "ParkingLot.park"),
    (
        lambda: lowlevel.permanently_detach_coroutine_object(Value(None)),
        "permanently_detach_coroutine_object",
    ),
    (
        lambda: lowlevel.temporarily_detach_coroutine_object(None),
        "temporarily_detach_coroutine_object",
    ),
    (
        lambda: lowlevel.reattach_detached_coroutine_object(None, None),
        "reattach_detached_coroutine_object",
    ),
    (coroutine_function, "coroutine_function"),
]

every = pytest.mark.parametrize(
    ("make", "name"), MAKERS, ids=[f"{name}-{i}" for i, (_, name) in enumerate(MAKERS)]
)


@every
def test_dropping_it_in_a_run_warns(make, name):
    async def main():
        texts = drop(make)
        await lowlevel.checkpoint()
        return texts

    assert run(main) == [f"coroutine '{name}' was never awaited"]


@every
def test_dropping_it_outside_a_run_warns(make, name):
    assert drop(make) == [f"coroutine '{name}' was never awaited"]


@every
def test_closing_it_first_does_not_warn(make, name):
    assert drop(lambda: make().close()) == []


@every
def test_throwing_into_it_first_does_not_warn(make, name):
    def throw():
        with pytest.raises(KeyError):
            make().throw(KeyError("thrown"))

    assert drop(throw) == []


def test_the_method_start_of_a_nursery_warns():
    async def main():
        async with trio.open_nursery() as nursery:
            return drop(lambda: nursery.start(trio.sleep, 1))

    assert run(main) == ["coroutine 'Nursery.start' was never awaited"]


def test_what_was_awaited_does_not_warn():
    async def main():
        with nonblocking_pair() as (a, _):
            for make in [
                lowlevel.checkpoint,
                lowlevel.checkpoint_if_cancelled,
                lowlevel.cancel_shielded_checkpoint,
                lambda: trio.sleep(0),
                trio.testing.wait_all_tasks_blocked,
                lambda: lowlevel.wait_writable(a),
            ]:
                awaitable = make()
                await awaitable
                assert drop(awaitable.close) == []
                del awaitable
        with trio.CancelScope() as scope:
            scope.cancel()
            awaitable = trio.sleep(1)
            await awaitable

    run(main)
    assert drop(lambda: None) == []


def test_the_tutorials_mistake_warns_and_goes_on():
    # The tutorial: a warning rather than an error, and the program completes.
    async def broken_double_sleep(x):
        trio.sleep(2 * x)
        return "completed"

    async def main():
        with pytest.warns(
            RuntimeWarning, match="^coroutine 'sleep' was never awaited$"
        ):
            return await broken_double_sleep(3)

    assert run(main) == "completed"


def test_a_dropped_awaitable_has_done_nothing():
    async def main():
        lot = lowlevel.ParkingLot()
        drop(lot.park)
        assert len(lot) == 0
        with nonblocking_pair() as (a, _):
            drop(lambda: lowlevel.wait_readable(a))
            with trio.move_on_after(0) as scope:
                await lowlevel.wait_readable(a)
            assert scope.cancelled_caught

    run(main)


def test_the_warning_as_an_error_does_not_stop_the_run():
    # With filterwarnings=error the warning becomes an unraisable error.
    seen = []

    async def main():
        hook, sys.unraisablehook = sys.unraisablehook, seen.append
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                lowlevel.checkpoint()
                gc.collect()
        finally:
            sys.unraisablehook = hook
        await lowlevel.checkpoint()
        return "fine"

    assert run(main) == "fine"
    assert [type(item.exc_value) for item in seen] == [RuntimeWarning]
    seen.clear()


def test_a_wait_whose_coroutine_is_closed_does_not_warn():
    # The await has happened; it is the coroutine around it that ends.
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(block)
            (task,) = nursery.child_tasks
            await settle()
            assert drop(task.coro.close) == []
            lowlevel.reschedule(task)

    with pytest.RaisesGroup(RuntimeError):
        run(main)


@pytest.mark.parametrize("arguments", [(), (1, 2)])
def test_wrong_arguments_raise_at_the_call(arguments):
    with pytest.raises(TypeError):
        trio.sleep(*arguments)
    if arguments:
        with pytest.raises(TypeError):
            lowlevel.checkpoint(*arguments)
