"""Wrong arguments and wrong places get clear errors, and nothing hangs."""

from __future__ import annotations

import asyncio

import pytest

from trio_asyncio_c import (
    EventLoop,
    _core,
    current_loop,
    run_asyncio,
    run_coroutine,
    run_future,
    run_trio,
    run_trio_task,
    trio,
)

from ._helpers import open_loop, run


@pytest.fixture
def loop(request):
    loop = EventLoop()
    yield loop
    loop.close()
    request.node.funcargs.clear()


async def nothing():
    pass


@pytest.mark.parametrize("wrong", [5, None, "text", len])
def test_run_trio_of_what_is_no_async_function(loop, wrong):
    async def main():
        with pytest.raises(TypeError):
            await loop.run_trio(wrong)

    loop.run_until_complete(main())


def test_run_trio_of_a_coroutine(loop):
    async def main():
        with pytest.raises(TypeError, match="async function"):
            await loop.run_trio(nothing())

    loop.run_until_complete(main())


def test_run_trio_with_wrong_arguments(loop):
    async def main():
        with pytest.raises(TypeError, match="positional argument"):
            await loop.run_trio(nothing, 1, 2)
        with pytest.raises(TypeError, match="keyword argument"):
            await loop.run_trio(nothing, x=1)

    loop.run_until_complete(main())


def test_run_trio_of_an_asyncio_function(loop):
    async def main():
        with pytest.raises(TypeError, match="unrecognized yield message"):
            await loop.run_trio(asyncio.sleep, 1)
        return "alive"

    assert loop.run_until_complete(main()) == "alive"


def test_run_asyncio_of_a_trio_function():
    async def main():
        with pytest.raises(RuntimeError, match=r"loop\.run_trio"):
            await run_asyncio(trio.sleep, 0)
        return "alive"

    assert run(main) == "alive"


def test_run_asyncio_of_what_is_no_async_function():
    async def main():
        with pytest.raises(TypeError):
            await run_asyncio(5)
        with pytest.raises(TypeError):
            await run_asyncio(len, "abc")
        with pytest.raises(TypeError, match="not callable"):
            coro = nothing()
            try:
                await run_asyncio(coro)
            finally:
                coro.close()

    run(main)


def test_run_asyncio_in_asyncio_code(loop):
    async def main():
        with pytest.raises(RuntimeError, match="from a Trio task"):
            await loop.run_asyncio(nothing)
        with pytest.raises(RuntimeError, match="from a Trio task"):
            await loop.run_coroutine(nothing())
        with pytest.raises(RuntimeError, match="from a Trio task"):
            await loop.run_future(loop.create_future())

    loop.run_until_complete(main())


def test_run_future_of_something_else():
    async def main():
        for wrong in (5, None, object()):
            with pytest.raises(TypeError, match="Future is needed"):
                await run_future(wrong)
        with pytest.raises(TypeError):
            await run_coroutine(5)

    run(main)


def test_module_functions_without_a_loop():
    for call in (lambda: run_trio(nothing), lambda: run_trio_task(nothing)):
        with pytest.raises(RuntimeError, match="not within a trio_asyncio loop"):
            call()

    async def main():
        with pytest.raises(RuntimeError, match="not within a trio_asyncio loop"):
            await run_coroutine(nothing())

    trio.run(main)


def test_open_loop_outside_of_a_run():
    async def main():
        async with open_loop():
            pass

    coro = main()
    with pytest.raises(RuntimeError, match="must be called from async context"):
        coro.send(None)


def test_core_functions_check_their_arguments(loop):
    with pytest.raises(TypeError):
        _core.TrioCall(loop)
    with pytest.raises(TypeError):
        _core.TrioCall(5, None, nothing, (), {})
    with pytest.raises(TypeError):
        _core.wait_future(5)
    with pytest.raises(RuntimeError):
        _core.set_task_home(loop)
    with pytest.raises(TypeError):
        loop._attach(5)
    with pytest.raises(RuntimeError):
        loop._attach(loop._nursery, loop._nursery)
    with pytest.raises(TypeError, match="exception and a loop inside a run"):
        loop._raise_out(ValueError())

    async def main():
        with pytest.raises(TypeError, match="an event loop or None"):
            _core.set_task_home(5)

    trio.run(main)


def test_a_future_waited_for_twice_at_once():
    async def main():
        future = current_loop.get().create_future()
        results = []

        async def wait():
            results.append(await run_future(future))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait)
            await trio.sleep(0.001)
            future.set_result(5)
        assert results == [5, 5]

    run(main)


def test_wait_future_is_a_coroutine_that_warns_when_dropped(loop):
    future = loop.create_future()
    with pytest.warns(RuntimeWarning, match="'wait_future' was never awaited"):
        _core.wait_future(future)
