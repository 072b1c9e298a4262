"""Context variables across the boundary: the callee gets a copy of the caller's."""

from __future__ import annotations

import asyncio
import contextvars

from trio_asyncio_c import EventLoop, current_loop, run_asyncio, run_coroutine, trio

from ._helpers import run

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


def test_asyncio_to_trio_copies_at_the_call():
    async def callee():
        assert var.get() == "caller"
        var.set("callee")
        await trio.sleep(0)
        assert var.get() == "callee"

    loop = EventLoop()

    async def main():
        var.set("caller")
        future = loop.run_trio(callee)
        var.set("later")
        await future
        assert var.get() == "later"

    loop.run_until_complete(main())
    loop.close()


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
