"""Usual mistakes: each raises at once, says what is wrong, and loses nothing."""

from __future__ import annotations

import asyncio
import functools
import os
import re

import pytest
from trio_asyncio_c import trio

from ._helpers import OUTSIDE_TEXT, nonblocking_pair, run, settle

lowlevel = trio.lowlevel


async def function(*args):
    return args


def sync_function(*args):
    return args


async def async_generator():
    yield 1


class FakeFuture:
    _asyncio_future_blocking = False

    def __repr__(self):
        return "<a future>"


class Deferred:
    def __repr__(self):
        return "<a deferred>"


def coroutine_text(coro, name):
    return (
        f"Trio was expecting an async function, but instead it got a coroutine "
        f"object {coro!r}\n"
        "\n"
        "Probably you did something like:\n"
        "\n"
        f"  trio.run({name}(...))            # incorrect!\n"
        f"  nursery.start_soon({name}(...))  # incorrect!\n"
        "\n"
        "Instead, you want (notice the parentheses!):\n"
        "\n"
        f"  trio.run({name}, ...)            # correct!\n"
        f"  nursery.start_soon({name}, ...)  # correct!"
    )


def expect_type_error(text, fn, *args):
    with pytest.raises(TypeError) as info:
        fn(*args)
    assert str(info.value) == text
    assert info.value.__suppress_context__ or info.value.__context__ is None


def in_every_way_to_start(check, *args):
    """Call `check(start, *args)` for each function that takes an async function."""
    check(trio.run, *args)
    check(run_as_child, *args)
    check(run_as_system_task, *args)


def run_as_child(async_fn, *args):
    """Start it in a nursery that has another child, which must not suffer."""
    errors = []

    async def main():
        async with trio.open_nursery() as nursery:
            survivors = []
            nursery.start_soon(survivor, survivors)
            await settle()
            before = nursery.child_tasks
            try:
                nursery.start_soon(async_fn, *args)
            except BaseException as exc:
                errors.append(exc)
            assert nursery.child_tasks == before
            await trio.sleep(0)
            assert survivors == ["began"]
            nursery.cancel_scope.cancel()
        assert lowlevel.current_statistics().tasks_living == 3

    run(main)
    raise errors[0]


def run_as_system_task(async_fn, *args):
    errors = []

    async def main():
        try:
            lowlevel.spawn_system_task(async_fn, *args)
        except BaseException as exc:
            errors.append(exc)
        await trio.sleep(0)

    run(main)
    raise errors[0]


async def survivor(log):
    log.append("began")
    await trio.sleep_forever()


def test_a_coroutine_instead_of_a_function():
    # R29; the coroutine is closed, so that it does not warn on top.
    def check(start):
        coro = function(1)
        expect_type_error(coroutine_text(coro, "function"), start, coro)
        with pytest.raises(RuntimeError, match="cannot reuse already awaited"):
            coro.send(None)

    in_every_way_to_start(check)


def test_an_awaitable_of_the_core_instead_of_a_function():
    # R29
    def check(start):
        awaitable = trio.sleep(1)
        with pytest.raises(
            TypeError,
            match="^Trio was expecting an async function, but instead it got a "
            "coroutine object <",
        ) as info:
            start(awaitable)
        assert "  nursery.start_soon(sleep, ...)  # correct!" in str(info.value)

    in_every_way_to_start(check)


def test_a_coroutine_and_arguments():
    def check(start):
        coro = function()
        expect_type_error(coroutine_text(coro, "function"), start, coro, 1, 2)

    in_every_way_to_start(check)


def test_a_synchronous_function():
    def check(start):
        expect_type_error(
            "Trio expected an async function, but 'sync_function' appears to be "
            "synchronous",
            start,
            sync_function,
        )
        part = functools.partial(sync_function, 1)
        expect_type_error(
            f"Trio expected an async function, but {part!r} appears to be synchronous",
            start,
            part,
        )

    in_every_way_to_start(check)


def test_an_async_generator_function():
    def check(start):
        with pytest.raises(
            TypeError,
            match=r"^start_soon expected an async function but got an async "
            r"generator <async_generator object async_generator at 0x",
        ):
            start(async_generator)

    in_every_way_to_start(check)


@pytest.mark.parametrize("thing", [FakeFuture(), Deferred()])
def test_a_function_that_returns_something_of_another_library(thing):
    def check(start):
        expect_type_error(
            f"Trio got unexpected {thing!r} – are you trying to use a "
            "library written for asyncio/twisted/tornado or similar? "
            "That won't work without some sort of compatibility shim.",
            start,
            lambda: thing,
        )

    in_every_way_to_start(check)


def test_a_generator_function_of_the_old_style():
    def legacy():
        yield 1

    def check(start):
        with pytest.raises(
            TypeError,
            match=r"^Trio got unexpected <generator object .*legacy at 0x.*> – are "
            "you trying to use a library written for asyncio/twisted/tornado or "
            "similar",
        ):
            start(legacy)

    in_every_way_to_start(check)


@pytest.mark.parametrize("thing", [FakeFuture(), Deferred()])
def test_something_of_another_library_instead_of_a_function(thing):
    def check(start):
        expect_type_error(
            f"Trio was expecting an async function, but instead it got {thing!r} – "
            "are you trying to use a library written for asyncio/twisted/tornado or "
            "similar? That won't work without some sort of compatibility shim.",
            start,
            thing,
        )

    in_every_way_to_start(check)


def test_something_that_cannot_be_called():
    def check(start):
        with pytest.raises(TypeError, match="'int' object is not callable"):
            start(5)
        with pytest.raises(TypeError, match="'NoneType' object is not callable"):
            start(None)

    in_every_way_to_start(check)


def test_wrong_arguments():
    async def two(a, b):
        raise AssertionError

    def check(start):
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            start(two, 1)
        with pytest.raises(TypeError, match="takes 2 positional arguments but 3"):
            start(two, 1, 2, 3)

    in_every_way_to_start(check)


def test_the_same_mistakes_in_start():
    async def main():
        async with trio.open_nursery() as nursery:
            coro = function()
            with pytest.raises(TypeError):
                await nursery.start(coro)
            coro.close()
            with pytest.raises(TypeError):
                await nursery.start(sync_function)
            assert nursery._pending_starts == 0
            assert nursery.child_tasks == frozenset()
            await lowlevel.checkpoint()

    run(main)


# asyncio in Trio and Trio in asyncio


def unrecognized(message):
    # More advice may follow.
    return (
        rf"^trio\.run received unrecognized yield message {message}\. "
        r"Are you trying to use a library written for some other framework like "
        r"asyncio\? That won't work without some kind of compatibility shim\."
    )


def test_a_bare_yield_of_asyncio():
    async def main():
        async with trio.open_nursery() as nursery:
            log = []
            nursery.start_soon(survivor, log)
            with pytest.raises(TypeError, match=unrecognized("None")):
                await asyncio.sleep(0)
            await settle()
            assert log == ["began"]
            nursery.cancel_scope.cancel()
        return "fine"

    assert run(main) == "fine"


def test_a_future_of_asyncio():
    async def main():
        future = asyncio.Future(loop=loop)
        with pytest.raises(TypeError, match=unrecognized(re.escape(repr(future)))):
            await future
        future.cancel()
        await lowlevel.checkpoint()

    loop = asyncio.new_event_loop()
    try:
        run(main)
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()


def test_asyncio_functions_that_need_a_loop():
    async def main():
        with pytest.raises(RuntimeError, match="no running event loop"):
            await asyncio.sleep(1)
        coro = function()
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.create_task(coro)  # noqa: RUF006
        coro.close()
        await lowlevel.checkpoint()

    run(main)


def test_trio_functions_in_asyncio():
    async def main():
        with pytest.raises(RuntimeError, match=OUTSIDE_TEXT):
            await trio.sleep(1)
        with pytest.raises(RuntimeError, match=OUTSIDE_TEXT):
            await lowlevel.ParkingLot().park()
        # What works in asyncio code too, on our loop, says so.
        with pytest.raises(RuntimeError, match="new_event_loop"), trio.CancelScope():
            raise AssertionError
        with pytest.raises(RuntimeError, match=OUTSIDE_TEXT):
            trio.current_time()
        # The loop does not mind.
        await asyncio.sleep(0)
        return "fine"

    assert asyncio.run(main()) == "fine"


# run() inside run()


def test_run_inside_run():
    async def main():
        async with trio.open_nursery() as nursery:
            log = []
            nursery.start_soon(survivor, log)
            with pytest.raises(
                RuntimeError, match=r"^Attempted to call run\(\) from inside a run\(\)$"
            ):
                trio.run(function)
            await settle()
            assert log == ["began"]
            assert lowlevel.in_trio_run()
            nursery.cancel_scope.cancel()
        return "fine"

    assert run(main) == "fine"


def test_run_inside_a_hook_or_callback_of_a_run():
    errors = []

    def attempt():
        try:
            trio.run(function)
        except RuntimeError as exc:
            errors.append(str(exc))

    class Look(trio.abc.Instrument):
        def before_io_wait(self, timeout):
            if not errors:
                attempt()

    async def main():
        lowlevel.current_trio_token().run_sync_soon(attempt)
        await settle()

    run(main, instruments=[Look()])
    assert errors == ["Attempted to call run() from inside a run()"] * 2


def test_run_with_bad_keywords():
    with pytest.raises(TypeError):
        trio.run(function, bogus=1)
    with pytest.raises(TypeError):
        trio.run()
    run(function)


# Descriptors


@pytest.mark.parametrize("name", ["wait_readable", "wait_writable"])
def test_bad_descriptors_lose_nothing_that_runs(name):
    async def main():
        wait = getattr(lowlevel, name)
        with nonblocking_pair() as (a, b):
            # Only now, or the numbers are in use again.
            closed, writer = os.pipe()
            os.close(closed)
            os.close(writer)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lowlevel.wait_readable, a)
                await settle()
                with pytest.raises(OSError, match="Bad file descriptor"):
                    await wait(closed)
                with pytest.raises(
                    ValueError,
                    match=r"^file descriptor cannot be a negative integer \(-1\)$",
                ):
                    await wait(-1)
                with pytest.raises(PermissionError), open(__file__, "rb") as file:
                    await wait(file)
                with pytest.raises((OverflowError, ValueError, OSError)):
                    await wait(2**70)
                with pytest.raises(
                    trio.BusyResourceError,
                    match="^another task is already reading / writing this fd$",
                ):
                    await lowlevel.wait_readable(a)
                await settle()
                assert len(nursery.child_tasks) == 1
                b.send(b"x")

    run(main)


# Other arguments


def test_wait_task_rescheduled_wants_a_function():
    async def main():
        with pytest.raises(TypeError):
            await lowlevel.wait_task_rescheduled()

    run(main)


def test_reschedule_wants_a_task():
    async def main():
        for thing in [None, 1, "task"]:
            # R46: trio turns the error into a misleading RuntimeError.
            with pytest.raises((AttributeError, TypeError, RuntimeError)):
                lowlevel.reschedule(thing)
        await lowlevel.checkpoint()

    run(main)


def test_cancel_takes_a_reason_and_nothing_else():
    scope = trio.CancelScope()
    with pytest.raises(TypeError):
        scope.cancel("reason", 1)
    with pytest.raises(TypeError):
        scope.cancel(why="reason")
    assert "cancelled" not in repr(scope)


def test_a_task_cannot_be_rescheduled_in_another_run():
    # R6
    tasks = []

    async def first():
        tasks.append(lowlevel.current_task())

    async def second():
        with pytest.raises(AssertionError):
            lowlevel.reschedule(tasks[0])
        await lowlevel.checkpoint()

    run(first)
    run(second)
