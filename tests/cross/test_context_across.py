"""Context variables across the boundary: the callee gets a copy of the caller's."""

from __future__ import annotations

import asyncio
import contextvars

from trio_asyncio_c import (
    EventLoop,
    current_loop,
    run_asyncio,
    run_coroutine,
    run_future,
    trio,
    trio_as_aio,
)

from ._helpers import both_ways, open_loop, run

var = contextvars.ContextVar("var", default="unset")


def test_trio_to_asyncio_copies():
    async def callee():
        assert var.get() == "caller"
        var.set("callee")
        await asyncio.sleep(0)
        assert var.get() == "callee"

    async def main():
        var.set("caller")
        await run_asyncio(callee)
        assert var.get() == "caller"
        await run_coroutine(callee())
        assert var.get() == "caller"

    run(main)


@both_ways
def test_asyncio_to_trio_copies_at_the_call(way):
    async def callee():
        assert var.get() == "caller"
        var.set("callee")
        await trio.sleep(0)
        assert var.get() == "callee"

    async def main():
        loop = asyncio.get_running_loop()
        for start in loop.run_trio, trio_as_aio(callee, loop=loop):
            var.set("caller")
            future = start(*([callee] if start == loop.run_trio else []))
            var.set("later")
            await future
            assert var.get() == "later"
        var.set("caller")
        handle = loop.run_trio_task(callee)
        var.set("later")
        while not handle.done():
            await asyncio.sleep(0)
        assert var.get() == "later"

    way.run_asyncio(main)


def test_from_plain_sync_code():
    seen = []

    async def callee():
        seen.append(var.get())

    loop = EventLoop()
    context = contextvars.copy_context()
    context.run(var.set, "sync")
    future = context.run(loop.run_trio, callee)
    loop.run_until_complete(future)
    loop.close()
    assert seen == ["sync"]


def test_the_executor_of_an_open_loop_copies():
    async def main():
        var.set("caller")
        loop = current_loop.get()
        assert await loop.run_future(loop.run_in_executor(None, var.get)) == "caller"

    run(main)


@both_ways
def test_a_trio_callee_has_its_loop_as_the_current_one(way):
    async def callee():
        await trio.sleep(0)
        assert current_loop.get() is asyncio.get_running_loop()
        return current_loop.get()

    async def main():
        loop = asyncio.get_running_loop()
        before = current_loop.get()
        assert await loop.run_trio(callee) is loop
        assert current_loop.get() is before

    way.run_asyncio(main)


def test_a_trio_callee_of_another_loop():
    async def callee():
        assert current_loop.get() is asyncio.get_running_loop()
        return current_loop.get(), await run_asyncio(which)

    async def which():
        return asyncio.get_running_loop()

    async def main():
        async with open_loop() as outer, open_loop() as inner:
            assert current_loop.get() is inner
            future = outer.run_trio(callee)
            assert await run_future(future) == (outer, outer)
            assert await run_future(inner.run_trio(callee)) == (inner, inner)
            assert current_loop.get() is inner

    trio.run(main)


def test_current_loop_travels_with_the_context():
    async def inner():
        assert current_loop.get() is asyncio.get_running_loop()

    async def middle():
        loop = asyncio.get_running_loop()
        assert current_loop.get() is loop
        await loop.run_trio(inner)

    async def main():
        await run_asyncio(middle)

    run(main)
    assert current_loop.get() is None


@both_ways
def test_nothing_comes_back_from_either_side(way):
    async def asyncio_side():
        assert var.get() == "trio"
        var.set("asyncio")
        await asyncio.sleep(0)
        assert await asyncio.get_running_loop().run_trio(innermost) == "asyncio"
        assert var.get() == "asyncio"

    async def innermost():
        seen = var.get()
        var.set("innermost")
        await trio.sleep(0)
        assert var.get() == "innermost"
        return seen

    async def main():
        var.set("trio")
        loop = asyncio.get_running_loop()
        await loop.run_asyncio(asyncio_side)
        assert var.get() == "trio"

    way.run_trio(main)


@both_ways
def test_a_coroutine_that_was_made_earlier_runs_in_the_context_of_the_call(way):
    async def callee():
        return var.get()

    async def main():
        loop = asyncio.get_running_loop()
        coro = callee()
        var.set("later")
        assert await loop.run_coroutine(coro) == "later"

    way.run_trio(main)


@both_ways
def test_a_trio_nursery_and_an_asyncio_task_below_a_crossing(way):
    async def tell(seen):
        seen.append(var.get())

    async def trio_side(seen):
        var.set("callee")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell, seen)

    async def asyncio_side(seen):
        var.set("callee")
        await asyncio.create_task(tell(seen))

    async def main():
        seen = []
        loop = asyncio.get_running_loop()
        var.set("main")
        await loop.run_trio(trio_side, seen)
        await loop.run_trio(loop.run_asyncio, asyncio_side, seen)
        assert seen == ["callee", "callee"]
        assert var.get() == "main"

    way.run_asyncio(main)


@both_ways
def test_callbacks_get_the_context_of_the_trio_code_that_scheduled_them(way):
    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        var.set("first")
        loop.call_soon(lambda: seen.append(var.get()))
        loop.call_later(1, lambda: seen.append(var.get()))
        future = loop.create_future()
        future.add_done_callback(lambda _: seen.append(var.get()))
        var.set("second")
        own = contextvars.Context()
        loop.call_later(2, lambda: seen.append(var.get()), context=own)
        future.set_result(None)
        await trio.sleep(3)
        assert seen == ["first", "first", "first", "unset"]

    way.run_trio(main)


@both_ways
def test_the_running_loop_and_task_in_callbacks_that_trio_code_scheduled(way):
    async def main():
        loop = asyncio.get_running_loop()
        seen = []

        def callback():
            seen.append((asyncio.get_running_loop() is loop, asyncio.current_task()))

        loop.call_soon(callback)
        loop.call_later(1, callback)
        assert asyncio.current_task() is None
        await trio.sleep(2)
        assert seen == [(True, None), (True, None)]

    way.run_trio(main)


def test_a_callback_of_an_outer_loop_sees_that_one():
    async def main():
        seen = {}

        def callback(name):
            seen[name] = asyncio.get_running_loop()

        async with open_loop() as outer, open_loop() as inner:
            outer.call_soon(callback, "outer")
            inner.call_soon(callback, "inner")
            outer.call_later(0.001, callback, "timer")
            assert asyncio.get_running_loop() is inner
            while len(seen) < 3:
                await trio.sleep(0.001)
            assert asyncio.get_running_loop() is inner
        assert seen == {"outer": outer, "inner": inner, "timer": outer}

    trio.run(main)


def test_a_worker_thread_has_the_callers_context():
    async def main():
        var.set("caller")
        assert await trio.to_thread.run_sync(var.get) == "caller"
        loop = current_loop.get()
        with_context = await loop.run_asyncio(asyncio.to_thread, var.get)
        assert with_context == "caller"

    run(main)
