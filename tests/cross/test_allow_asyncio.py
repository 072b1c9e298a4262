"""allow_asyncio: one Trio task awaits things of both flavours."""

from __future__ import annotations

import asyncio
import contextvars
from contextlib import asynccontextmanager

import pytest

from trio_asyncio_c import (
    Cancelled,
    aio_as_trio,
    allow_asyncio,
    lowlevel,
    run_asyncio,
    trio,
    trio_as_aio,
)

from ._both_ways import opened_both_ways
from ._helpers import flatten, run, run_mock

var = contextvars.ContextVar("var", default="unset")


@opened_both_ways
def test_both_flavours_in_one_task(program):
    async def mixed(x, y):
        task = lowlevel.current_task()
        assert asyncio.current_task() is None
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1)
        await trio.sleep(1)
        assert lowlevel.current_task() is task
        assert asyncio.get_running_loop() is loop
        assert await loop.create_task(asyncio.sleep(1, x)) == x
        assert await asyncio.gather(asyncio.sleep(1, y)) == [y]
        done, _ = await asyncio.wait([loop.create_task(asyncio.sleep(1, x))])
        assert done.pop().result() == x
        var.set("callee")
        return x + y

    async def main():
        assert await allow_asyncio(mixed, 1, 2) == 3
        assert var.get() == "callee"

    program.run_trio(main)


def test_a_main_function():
    async def main():
        await asyncio.sleep(1)
        await trio.sleep(1)
        return 5

    assert run_mock(allow_asyncio, main) == 5


def test_what_returns_an_awaitable():
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(future.set_result, 5)
        assert await allow_asyncio(lambda: future) == 5
        assert await allow_asyncio(asyncio.ensure_future, future) == 5
        assert await allow_asyncio(asyncio.gather, future, future) == [5, 5]
        assert await allow_asyncio(lambda: asyncio.sleep(0, 6)) == 6
        with pytest.raises(TypeError, match="int"):
            await allow_asyncio(lambda: 5)

    run(main)


@opened_both_ways
def test_a_bare_yield_is_a_checkpoint(program):
    async def others(steps):
        for i in range(3):
            steps.append(f"other {i}")
            await trio.sleep(0)

    async def yields(steps):
        for i in range(3):
            steps.append(f"mine {i}")
            await asyncio.sleep(0)

    async def main():
        steps = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(others, steps)
            nursery.start_soon(allow_asyncio, yields, steps)
        assert steps[:2] != steps[2:4]
        assert sorted(steps) == sorted(
            f"{who} {i}" for who in ("mine", "other") for i in range(3)
        )
        assert {step.split()[0] for step in steps[:2]} == {"mine", "other"}
        with trio.CancelScope() as scope:
            scope.cancel()
            await allow_asyncio(asyncio.sleep, 0)
            pytest.fail("no checkpoint")
        assert scope.cancelled_caught

    program.run_trio(main)


@opened_both_ways
def test_nested_and_in_child_tasks(program):
    async def leaf(x):
        await asyncio.sleep(0)
        await asyncio.sleep(1)
        await trio.sleep(1)
        return x

    async def nested():
        async with trio.open_nursery() as nursery:
            # It inherits the context, but is a task of its own.
            nursery.start_soon(allow_asyncio, leaf, 1)
        assert await allow_asyncio(leaf, 2) == 2
        assert await allow_asyncio(asyncio.ensure_future, asyncio.sleep(1, 3)) == 3
        return await leaf(4)

    async def unmarked():
        with pytest.raises(TypeError, match="unrecognized yield message"):
            await asyncio.sleep(1)

    async def main():
        assert await allow_asyncio(nested) == 4
        await unmarked()

        async def spawns():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(unmarked)

        await allow_asyncio(spawns)

    program.run_trio(main)


def test_errors_of_futures():
    error = KeyError("it")

    async def fails():
        await asyncio.sleep(0)
        raise error

    async def mixed():
        loop = asyncio.get_running_loop()
        with pytest.raises(KeyError) as caught:
            await loop.create_task(fails())
        assert caught.value is error
        future = loop.create_future()
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future
        await fails()

    async def main():
        with pytest.raises(KeyError) as caught:
            await allow_asyncio(mixed)
        assert caught.value is error
        error.__traceback__ = None

    run(main)


@opened_both_ways
def test_a_cancel_is_trios(program):
    async def mixed():
        future = asyncio.get_running_loop().create_future()
        with pytest.raises(Cancelled):
            await future
        assert future.cancelled()
        await asyncio.sleep(60)

    async def main():
        with trio.move_on_after(1) as scope:
            await allow_asyncio(mixed)
        assert scope.cancelled_caught

    program.run_trio(main)


def test_scopes_and_nurseries_belong_to_the_task():
    async def mixed():
        with trio.move_on_after(1) as scope:
            await asyncio.sleep(60)
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 1)
            await asyncio.sleep(0.5)

    run_mock(allow_asyncio, mixed)


def test_what_needs_a_task_says_so():
    async def mixed():
        with pytest.raises(RuntimeError, match="inside a task"):
            async with asyncio.timeout(1):
                pytest.fail("entered")

    run(allow_asyncio, mixed)


@opened_both_ways
def test_adapters_within(program):
    async def in_asyncio(x):
        assert asyncio.current_task() is not None
        await asyncio.sleep(1)
        return x

    async def in_trio(x):
        await trio.sleep(1)
        return x

    @asynccontextmanager
    async def manager():
        await asyncio.sleep(0)
        yield 5
        await asyncio.sleep(0)

    async def items():
        for i in range(3):
            await asyncio.sleep(0)
            yield i

    async def mixed():
        assert await aio_as_trio(in_asyncio)(1) == 1
        assert await trio_as_aio(in_trio)(2) == 2
        assert await run_asyncio(in_asyncio, 3) == 3
        for wrap in (aio_as_trio, lambda x: x):
            async with wrap(manager()) as value:
                assert value == 5
            assert [item async for item in wrap(items())] == [0, 1, 2]
        async with trio_as_aio(trio.open_nursery()) as nursery:
            nursery.start_soon(in_trio, 4)

    async def main():
        await allow_asyncio(mixed)
        assert await allow_asyncio(aio_as_trio(in_asyncio), 5) == 5

    program.run_trio(main)


def test_an_error_and_a_cancel_end_the_mark():
    async def fail():
        await asyncio.sleep(0)
        raise KeyError("it")

    async def main():
        with pytest.raises(KeyError):
            await allow_asyncio(fail)
        with trio.CancelScope() as scope:
            scope.cancel()
            await allow_asyncio(asyncio.sleep, 1)
        assert scope.cancelled_caught
        with pytest.raises(TypeError, match="unrecognized yield message"):
            await asyncio.sleep(0)

    run(main)


def test_a_group_passes_whole():
    async def fail(i):
        raise KeyError(i)

    async def mixed():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, 1)
            nursery.start_soon(fail, 2)
            await asyncio.sleep(60)

    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            await allow_asyncio(mixed)
        assert sorted(leaf.args for leaf in flatten(caught.value)) == [(1,), (2,)]

    run_mock(main)


def test_outside_of_a_trio_task():
    async def nothing():
        pass

    async def main():
        with pytest.raises(RuntimeError, match="must be called from async context"):
            await allow_asyncio(nothing)

    run(run_asyncio, main)
    coro = allow_asyncio(nothing)
    with pytest.raises(RuntimeError, match="must be called from async context"):
        coro.send(None)


def test_without_a_loop():
    async def mixed():
        await trio.sleep(0)
        with pytest.raises(RuntimeError, match="no running event loop"):
            await asyncio.sleep(1)
        await asyncio.sleep(0)

    trio.run(allow_asyncio, mixed)
