"""Calls into asyncio, and items of its iterators, begin in their turn among callbacks."""

from __future__ import annotations

import asyncio

import pytest
from trio_asyncio_c import aio_as_trio, current_loop, trio

from ._helpers import both_ways, run


async def call(fn, *args):
    return await aio_as_trio(fn)(*args)


async def call_by_loop(fn, *args):
    return await current_loop.get().run_asyncio(fn, *args)


async def ask_for_an_item(fn, *args):
    async def items():
        yield await fn(*args)

    generator = items()
    try:
        return await anext(aiter(aio_as_trio(generator)))
    finally:
        with trio.CancelScope(shield=True):
            await aio_as_trio(generator.aclose)()


WAYS = [call, call_by_loop, ask_for_an_item]
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


async def which():
    return asyncio.current_task()


@ways
def test_the_order_among_callbacks(way):
    async def callee(seen):
        seen.append("callee")

    async def main():
        seen = []
        loop = current_loop.get()

        def before():
            seen.append("before")
            loop.call_soon(seen.append, "after")

        loop.call_soon(before)
        await way(callee, seen)
        await loop.synchronize()
        assert seen == ["before", "callee", "after"]

    run(main)


@ways
@pytest.mark.parametrize("turns", [0, 1])
def test_each_has_a_task_which_ends_with_it(way, turns):
    async def callee():
        for _ in range(turns):
            await asyncio.sleep(0)
        assert asyncio.current_task() in asyncio.all_tasks()
        return asyncio.current_task()

    async def main():
        tasks = [await way(callee) for _ in range(3)]
        assert len(set(tasks)) == 3
        assert all(type(task) is asyncio.Task and task.done() for task in tasks)
        assert not asyncio.all_tasks(current_loop.get())

    run(main)


@ways
def test_the_coroutine_of_one_that_is_done_may_be_asked_for(way):
    async def main():
        task = await way(which)
        task.get_coro()
        assert f"name={task.get_name()!r}" in repr(task)

    run(main)


@ways
def test_a_cancel_before_its_turn(way):
    async def callee(seen):
        seen.append("callee")

    async def main():
        seen = []
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(way, callee, seen)
                # Queued in that task's step, in the same batch.
                current_loop.get().call_soon(seen.append, "turn")
                scope.cancel()
        assert scope.cancelled_caught
        await current_loop.get().synchronize()
        assert "callee" not in seen

    run(main)


@both_ways
@pytest.mark.parametrize("call", WAYS, ids=lambda call: call.__name__)
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("turns", [0, 1])
def test_what_ends_a_loop_is_the_outcome(way, call, kind, turns):
    async def failing():
        for _ in range(turns):
            await asyncio.sleep(0)
        raise kind(3)

    async def main():
        with pytest.raises(kind, match="3"):
            await call(failing)
        assert await call(which) is not None

    way.run_trio(main)


@ways
def test_one_that_cancels_its_own_task(way):
    async def callee():
        asyncio.current_task().cancel("enough")

    async def main():
        with pytest.raises(asyncio.CancelledError):
            await way(callee)

    run(main)


@ways
def test_a_cancel_out_of_its_first_step(way):
    async def callee(scope):
        scope.cancel()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return "cancelled"

    async def main():
        with trio.CancelScope() as scope:
            assert await way(callee, scope) == "cancelled"
        assert not scope.cancelled_caught

    run(main)


@ways
@pytest.mark.parametrize("how", ["factory", "debug", "method"])
def test_loops_that_make_tasks_their_own_way(way, how):
    made = []

    def factory(loop, coro, **kwargs):
        made.append(asyncio.Task(coro, loop=loop, **kwargs))
        return made[-1]

    async def main():
        loop = current_loop.get()
        await way(which)
        if how == "factory":
            loop.set_task_factory(factory)
        elif how == "method":
            loop.create_task = lambda coro, **kwargs: factory(loop, coro, **kwargs)
        else:
            loop.set_debug(True)
        try:
            tasks = [await way(which) for _ in range(3)]
            assert len(set(tasks)) == 3
            if how != "debug":
                assert set(tasks) <= set(made)
        finally:
            loop.__dict__.pop("create_task", None)

    run(main)


@ways
def test_a_stopped_loop(way):
    async def main():
        assert await way(which) is not None
        loop = current_loop.get()
        await loop.stop().wait()
        with pytest.raises(RuntimeError, match="Event loop is stopped"):
            await way(which)

    run(main)
