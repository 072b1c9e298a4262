"""Items of asyncio-flavoured iterators begin when their turn among callbacks comes."""

from __future__ import annotations

import asyncio

import pytest
from trio_asyncio_c import aio_as_trio, current_loop, trio

from ._helpers import both_ways, run


async def numbers(seen, count=3):
    for number in range(count):
        seen.append(asyncio.current_task())
        yield number


def test_the_order_among_callbacks():
    async def items(seen):
        seen.append("item")
        yield

    async def main():
        seen = []
        loop = current_loop.get()

        def before():
            seen.append("before")
            loop.call_soon(seen.append, "after")

        loop.call_soon(before)
        await anext(aiter(aio_as_trio(items(seen))))
        await loop.synchronize()
        assert seen == ["before", "item", "after"]

    run(main)


def test_each_has_a_task_which_ends_with_it():
    async def main():
        seen = []
        assert [n async for n in aio_as_trio(numbers(seen))] == [0, 1, 2]
        assert len(set(seen)) == 3
        assert all(type(task) is asyncio.Task and task.done() for task in seen)
        assert not asyncio.all_tasks(current_loop.get())

    run(main)


def test_a_cancel_before_its_turn():
    async def main():
        seen = []
        generator = numbers(seen)
        iterator = aiter(aio_as_trio(generator))
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def _():
                    await anext(iterator)

                # Queued in that task's step, in the same batch.
                current_loop.get().call_soon(seen.append, "turn")
                scope.cancel()
        assert scope.cancelled_caught
        assert not [item for item in seen if item != "turn"]
        await generator.aclose()

    run(main)


@both_ways
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("turns", [0, 1])
def test_what_ends_a_loop_is_the_items_outcome(way, kind, turns):
    async def failing():
        for _ in range(turns):
            await asyncio.sleep(0)
        raise kind(3)
        yield

    async def main():
        with pytest.raises(kind, match="3"):
            await anext(aiter(aio_as_trio(failing())))
        assert await anext(aiter(aio_as_trio(numbers([])))) == 0

    way.run_trio(main)


def test_an_item_that_cancels_its_own_task():
    async def items():
        asyncio.current_task().cancel("enough")
        yield 1

    async def main():
        with pytest.raises(asyncio.CancelledError):
            await anext(aiter(aio_as_trio(items())))

    run(main)


def test_a_cancel_out_of_its_first_step():
    async def items(scope):
        scope.cancel()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            yield "cancelled"

    async def main():
        with trio.CancelScope() as scope:
            assert await anext(aiter(aio_as_trio(items(scope)))) == "cancelled"
        assert not scope.cancelled_caught

    run(main)


@pytest.mark.parametrize("how", ["factory", "debug"])
def test_loops_that_make_tasks_their_own_way(how):
    made = []

    def factory(loop, coro, **kwargs):
        made.append(asyncio.Task(coro, loop=loop, **kwargs))
        return made[-1]

    async def main():
        loop = current_loop.get()
        if how == "factory":
            loop.set_task_factory(factory)
        else:
            loop.set_debug(True)
        seen = []
        assert [n async for n in aio_as_trio(numbers(seen))] == [0, 1, 2]
        assert len(set(seen)) == 3
        if how == "factory":
            assert made[:3] == seen

    run(main)


def test_a_stopped_loop():
    async def main():
        iterator = aiter(aio_as_trio(numbers([])))
        assert await anext(iterator) == 0
        loop = current_loop.get()
        await loop.stop().wait()
        with pytest.raises(RuntimeError, match="Event loop is stopped"):
            await anext(iterator)

    run(main)
