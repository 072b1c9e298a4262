"""Async iterators and generators crossed, both ways."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from contextlib import aclosing

import pytest
import trio_asyncio_c
from trio_asyncio_c import (
    aio2trio,
    aio_as_trio,
    current_loop,
    lowlevel,
    open_loop,
    run_aio_generator,
    run_asyncio,
    trio,
    trio2aio,
    trio_as_aio,
)

from ._both_ways import opened_both_ways
from ._helpers import run

var = contextvars.ContextVar("var", default="unset")


class Side:
    """One direction: how an iterator is wrapped and used, in which program."""

    def __init__(self, program, name):
        self.wrap = {"aio_as_trio": aio_as_trio, "trio_as_aio": trio_as_aio}[name]
        into_asyncio = name == "aio_as_trio"
        self.run = program.run_trio if into_asyncio else program.run_asyncio
        self.inner = asyncio if into_asyncio else trio
        self.outer = trio if into_asyncio else asyncio

    def assert_inside(self):
        assert (asyncio.current_task() is not None) == (self.inner is asyncio)


@pytest.fixture(params=["aio_as_trio", "trio_as_aio"])
def side(program, request):
    return Side(program, request.param)


@opened_both_ways
def test_items(side):
    async def items(count):
        for i in range(count):
            side.assert_inside()
            await side.inner.sleep(1)
            yield i

    async def main():
        assert [item async for item in side.wrap(items(3))] == [0, 1, 2]
        assert [item async for item in side.wrap(items(0))] == []
        iterator = aiter(side.wrap(items(1)))
        assert aiter(iterator) is iterator
        assert await anext(iterator) == 0
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await anext(iterator)

    side.run(main)


@opened_both_ways
def test_an_iterator_that_is_no_generator(side):
    class Items:
        left = 3

        def __aiter__(self):
            return self

        async def __anext__(self):
            side.assert_inside()
            await side.inner.sleep(1)
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return self.left

    async def main():
        items = Items()
        assert [item async for item in side.wrap(items)] == [2, 1, 0]
        await aiter(side.wrap(items)).aclose()  # nothing to close

    side.run(main)


@opened_both_ways
def test_a_factory_instead_of_an_iterator(side):
    name = side.wrap.__name__

    async def items():
        yield

    async def main():
        for wrong in (items, 5):
            with pytest.raises(
                RuntimeError,
                match=f"^Call '{name}\\(gen\\(\\*args\\)\\)', not '{name}\\(gen, ",
            ):
                aiter(side.wrap(wrong))

    side.run(main)


@opened_both_ways
def test_a_generator_function(side):
    async def items(count, *, first=0):
        """Give numbers."""
        for i in range(count):
            await side.inner.sleep(0)
            yield i + first

    class Class:
        @side.wrap
        async def method(self, count):
            await side.inner.sleep(0)
            for _ in range(count):
                yield self

    async def main():
        adapted = side.wrap(items)
        assert adapted.__doc__ == items.__doc__
        assert [item async for item in adapted(2, first=5)] == [5, 6]
        obj = Class()
        assert [item async for item in obj.method(2)] == [obj, obj]
        assert [item async for item in Class.method(obj, 1)] == [obj]
        assert [item async for item in side.wrap(Class.method.__wrapped__)(obj, 1)]

    side.run(main)


def test_the_first_editions_decorators():
    @trio2aio
    async def asyncio_items(n):
        assert asyncio.current_task() is not None
        for i in range(n):
            await asyncio.sleep(0)
            yield i

    @aio2trio
    async def trio_items(n):
        assert asyncio.current_task() is None
        async for i in asyncio_items(n):
            await trio.sleep(0)
            yield i

    async def main():
        assert [i async for i in trio_items(3)] == [0, 1, 2]

    run(run_asyncio, main)


def test_other_names():
    async def items(n):
        for i in range(n):
            await asyncio.sleep(0)
            yield i

    async def main():
        loop = current_loop.get()
        for iterator in (
            run_aio_generator(loop, items(3)),
            run_aio_generator(None, items(3)),
            trio_asyncio_c.wrap_generator(items, 3),
            trio_asyncio_c.run_generator(items(3)),
            trio_asyncio_c.run_iterator(items(3)),
        ):
            assert [i async for i in iterator] == [0, 1, 2]

    run(main)


@opened_both_ways
def test_errors_are_the_same_objects(side):
    error = KeyError("it")

    async def items():
        yield 1
        await side.inner.sleep(0)
        raise error

    async def main():
        got = []
        with pytest.raises(KeyError) as caught:
            async for item in side.wrap(items()):
                got.append(item)
        assert (got, caught.value) == ([1], error)
        error.__traceback__ = None

    side.run(main)


@opened_both_ways
def test_one_context_for_an_iterator(side):
    async def items():
        for i in range(3):
            assert var.get() == ("caller" if i == 0 else i - 1)
            var.set(i)
            await side.inner.sleep(0)
            assert var.get() == i
            yield i
            assert var.get() == i

    async def main():
        var.set("caller")
        async for _ in side.wrap(items()):
            assert var.get() == "caller"
            await side.outer.sleep(0)

    side.run(main)


def test_the_iterators_loop_is_the_given_one():
    async def loops():
        while True:
            yield asyncio.get_running_loop(), current_loop.get()

    async def main():
        async with open_loop() as outer:
            async with open_loop() as inner:

                async def asyncio_side():
                    async with aclosing(aiter(trio_as_aio(loops(), loop=inner))) as it:
                        assert await anext(it) == (inner, inner)

                for loop in (outer, inner):
                    async with aclosing(aiter(aio_as_trio(loops(), loop=loop))) as it:
                        assert await anext(it) == (loop, loop)
                async with aclosing(run_aio_generator(outer, loops())) as it:
                    assert await anext(it) == (outer, outer)
                await run_asyncio(asyncio_side)

    trio.run(main)


def test_without_a_loop():
    async def items():
        yield

    async def main():
        for wrap in (aio_as_trio, trio_as_aio):
            with pytest.raises(RuntimeError, match="not within a trio_asyncio loop"):
                aiter(wrap(items()))

    trio.run(main)


def test_with_a_closed_loop():
    async def items():
        yield

    async def main():
        async with open_loop() as loop:
            there, back = aiter(aio_as_trio(items())), aiter(trio_as_aio(items()))
        assert loop.is_closed()
        for iterator in (there, back):
            with pytest.raises(RuntimeError, match="Event loop is closed"):
                await anext(iterator)

    trio.run(main)


@opened_both_ways
def test_iterated_from_two_tasks(program):
    async def items():
        for i in range(10):
            await asyncio.sleep(0)
            yield i

    async def main():
        got = []
        iterator = aiter(aio_as_trio(items()))

        async def take(count):
            for _ in range(count):
                got.append(await anext(iterator))

        for count in (3, 7):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(take, count)
        assert got == list(range(10))

    program.run_trio(main)


@opened_both_ways
def test_send_and_throw(side):
    async def echo():
        value = yield "first"
        while True:
            await side.inner.sleep(0)
            try:
                value = yield value
            except KeyError as error:
                value = error.args[0]

    async def main():
        async with aclosing(aiter(side.wrap(echo()))) as iterator:
            assert await anext(iterator) == "first"
            assert await iterator.asend(5) == 5
            assert await iterator.athrow(KeyError("thrown")) == "thrown"

    side.run(main)


# Closing


@opened_both_ways
def test_aclose_closes_the_inner_one(side):
    steps = []

    async def items():
        try:
            yield 1
        finally:
            side.assert_inside()
            await side.inner.sleep(1)
            steps.append("closed")

    async def main():
        async with aclosing(aiter(side.wrap(items()))) as iterator:
            assert await anext(iterator) == 1
        assert steps == ["closed"]
        await iterator.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(iterator)

    side.run(main)


@opened_both_ways
def test_aclose_under_a_cancel(program):
    steps = []

    async def items():
        try:
            yield 1
        finally:
            steps.append("closing")
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(60)
            await asyncio.sleep(1)
            steps.append("closed")

    async def main():
        with trio.CancelScope() as scope:
            async with aclosing(aiter(aio_as_trio(items()))) as iterator:
                assert await anext(iterator) == 1
                scope.cancel()
                await trio.sleep(1)
        assert scope.cancelled_caught
        assert steps == ["closing", "closed"]

    program.run_trio(main)


@opened_both_ways
def test_a_dropped_iterator_is_closed_by_the_hooks(program):
    steps = []

    async def items(loop):
        try:
            yield 1
            yield 2
        finally:
            assert asyncio.current_task() is not None
            assert asyncio.get_running_loop() is loop
            await asyncio.sleep(1)
            steps.append("closed")

    async def main():
        async for item in aio_as_trio(items(asyncio.get_running_loop())):
            break
        del item
        gc.collect()
        await trio.sleep(2)
        assert steps == ["closed"]

    program.run_trio(main)


def test_an_iterator_alive_at_the_loops_end():
    steps = []
    kept = []

    async def items():
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            steps.append(asyncio.current_task() is not None)

    async def main():
        kept.append(aiter(aio_as_trio(items())))
        await anext(kept[0])

    run(main)
    assert steps == [True]
    kept.clear()


# Cancellation


@opened_both_ways
def test_a_cancelled_item_is_waited_for(side):
    steps = []

    async def items():
        yield 1
        try:
            await side.inner.sleep(60)
        finally:
            if side.inner is asyncio:
                await asyncio.sleep(1)
            else:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)
            steps.append("inner")

    async def consume():
        try:
            async for _ in side.wrap(items()):
                pass
        finally:
            steps.append("outer")

    async def main():
        if side.outer is trio:
            with trio.move_on_after(1) as scope:
                await consume()
            assert scope.cancelled_caught
        else:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await consume()
        assert steps == ["inner", "outer"]

    side.run(main)


@opened_both_ways
def test_an_item_that_comes_in_spite_of_the_cancel(program):
    async def items():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            yield "late"

    async def main():
        with trio.move_on_after(1) as scope:
            async with aclosing(aiter(aio_as_trio(items()))) as iterator:
                assert await anext(iterator) == "late"
            assert scope.cancel_called
        assert not scope.cancelled_caught

    program.run_trio(main)


@opened_both_ways
def test_a_pending_cancel_ends_the_next_item(program):
    async def items():
        yield 1
        pytest.fail("it ran on")

    async def main():
        iterator = aiter(aio_as_trio(items()))
        assert await anext(iterator) == 1
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(iterator)
        assert scope.cancelled_caught
        await iterator.aclose()

    program.run_trio(main)


@opened_both_ways
def test_an_iterator_that_raises_cancelled_error_by_itself(program):
    async def items():
        yield 1
        raise asyncio.CancelledError("mine")

    async def main():
        iterator = aiter(aio_as_trio(items()))
        assert await anext(iterator) == 1
        with pytest.raises(asyncio.CancelledError, match="mine"):
            await anext(iterator)

    program.run_trio(main)


def test_a_timeout_around_the_whole_loop():
    async def ticks():
        while True:
            await asyncio.sleep(1)
            yield trio.current_time()

    async def main():
        got = []
        with trio.move_on_after(3.5) as scope:
            async with aclosing(aiter(aio_as_trio(ticks()))) as iterator:
                async for tick in iterator:
                    got.append(tick)
        assert scope.cancelled_caught
        assert len(got) == 3

    clock = trio_asyncio_c.testing.MockClock(autojump_threshold=0)
    run(main, clock=clock)


def test_generators_in_a_sandwich():
    def wrap_again(depth):
        wrap, sleep = (
            (trio_as_aio, trio.sleep) if depth % 2 else (aio_as_trio, asyncio.sleep)
        )

        async def items():
            await sleep(0)
            if depth == 0:
                for i in range(3):
                    yield i
            else:
                async for i in wrap_again(depth - 1):
                    await sleep(0)
                    yield i

        return wrap(items())

    async def main():
        # Outermost: Trio-flavoured, so the first wrapped one is asyncio's.
        assert [i async for i in wrap_again(10)] == [0, 1, 2]
        assert lowlevel.current_task() is not None

    run(main)
