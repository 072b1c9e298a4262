"""Values and exceptions across the boundary, for both ways of opening a loop."""

from __future__ import annotations

import asyncio

import pytest
from trio_asyncio_c import trio

from ._helpers import both_ways, flatten


async def asyncio_raise(exc):
    await asyncio.sleep(0)
    raise exc


async def trio_raise(exc):
    await trio.sleep(0)
    raise exc


async def through_asyncio(fn, *args):
    """Trio-flavoured: call a Trio-flavoured function by way of asyncio code."""
    loop = asyncio.get_running_loop()

    async def middle():
        return await loop.run_trio(fn, *args)

    return await loop.run_asyncio(middle)


@both_ways
@pytest.mark.parametrize(
    "make",
    [
        lambda: ValueError("x"),
        lambda: StopAsyncIteration("x"),
        lambda: ExceptionGroup("two", [ValueError(), KeyError()]),
        lambda: BaseExceptionGroup("two", [ValueError(), KeyboardInterrupt()]),
        lambda: SystemExit(3),
    ],
)
def test_the_same_object_arrives(way, make):
    async def main():
        loop = asyncio.get_running_loop()
        exc = make()
        for fn, *args in (
            (loop.run_asyncio, asyncio_raise, exc),
            (through_asyncio, trio_raise, exc),
            (through_asyncio, loop.run_asyncio, asyncio_raise, exc),
        ):
            with pytest.raises(type(exc)) as caught:
                await fn(*args)
            assert caught.value is exc

    way.run_trio(main)


@both_ways
def test_the_same_value_arrives(way):
    async def in_asyncio(value):
        await asyncio.sleep(0)
        return value

    async def in_trio(value):
        await trio.sleep(0)
        return value

    async def main():
        loop = asyncio.get_running_loop()
        for value in object(), None, (), (1, 2), StopIteration(3), ValueError(), {}:
            assert await loop.run_asyncio(in_asyncio, value) is value
            assert await loop.run_coroutine(in_asyncio(value)) is value
            assert await through_asyncio(in_trio, value) is value

    way.run_trio(main)


@both_ways
def test_stop_iteration_is_a_runtime_error_on_both_sides(way):
    def raise_it():
        raise StopIteration("x")

    async def main():
        loop = asyncio.get_running_loop()
        exc = StopIteration("x")
        for fn, *args in (
            (loop.run_asyncio, asyncio_raise, exc),
            (through_asyncio, trio_raise, exc),
            (loop.run_asyncio, raise_it),
            (through_asyncio, raise_it),
        ):
            with pytest.raises(RuntimeError, match="raised StopIteration"):
                await fn(*args)
        assert await loop.run_asyncio(asyncio.sleep, 0, "alive") == "alive"

    way.run_trio(main)


@pytest.mark.filterwarnings("ignore:.*strict_exception_groups")
@both_ways
def test_a_loose_group_is_one_exception_once_its_cancelled_is_off(way):
    async def callee():
        async with trio.open_nursery(strict_exception_groups=False) as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep(1)
            raise ValueError

    async def strict():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep(1)
            raise ValueError

    async def main():
        loop = asyncio.get_running_loop()
        with pytest.raises(ValueError):
            await loop.run_trio(callee)
        with pytest.raises(ExceptionGroup) as caught:
            await loop.run_trio(strict)
        assert [type(exc) for exc in flatten(caught.value)] == [ValueError]

    way.run_asyncio(main)


@both_ways
def test_an_error_that_nobody_awaits_is_logged_and_the_loop_lives(way, caplog):
    async def main():
        loop = asyncio.get_running_loop()
        loop.run_trio(trio_raise, ValueError("forgotten"))
        await asyncio.sleep(1)
        assert await loop.run_trio(trio.sleep, 0) is None

    way.run_asyncio(main)
    assert "never retrieved" in caplog.text
    caplog.clear()  # records hold tracebacks
