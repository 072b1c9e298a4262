"""run_asyncio of async iterators and context managers: the first edition's forms."""

from __future__ import annotations

import asyncio
import inspect

import pytest
import trio_asyncio_c
from trio_asyncio_c import current_loop, new_event_loop, run_asyncio, trio

from ._helpers import both_ways


async def count_down(number):
    while number:
        await asyncio.sleep(0.01)
        yield number
        number -= 1


class Manager:
    def __init__(self):
        self.tasks = []

    async def __aenter__(self):
        await asyncio.sleep(0.01)
        self.tasks.append(asyncio.current_task())
        return "entered"

    async def __aexit__(self, *error):
        await asyncio.sleep(0.01)
        self.tasks.append(asyncio.current_task())


class Request:
    """As some libraries have it: it can be awaited or entered."""

    def __await__(self):
        yield from asyncio.sleep(0.01).__await__()
        return "awaited"

    async def __aenter__(self):
        await asyncio.sleep(0)
        return "entered"

    async def __aexit__(self, *error):
        await asyncio.sleep(0)


@pytest.fixture(params=["module", "method"])
def run_it(request):
    def run_it(*args, **kwargs):
        if request.param == "module":
            return run_asyncio(*args, **kwargs)
        return current_loop.get().run_asyncio(*args, **kwargs)

    return run_it


@both_ways
def test_iterators_and_managers(way, run_it):
    async def main():
        assert [number async for number in run_it(count_down(3))] == [3, 2, 1]
        manager = Manager()
        async with run_it(manager) as value:
            assert value == "entered"
            await trio.sleep(0.01)
        assert len(set(manager.tasks)) == 1
        assert manager.tasks[0] is not None
        with pytest.raises(TimeoutError):
            async with run_it(asyncio.timeout(0.01)):
                await trio.sleep(60)
        assert await run_it(Request()) == "awaited"
        async with run_it(Request()) as value:
            assert value == "entered"

    way.run_trio(main)


@both_ways
def test_what_can_be_called_is_called(way, run_it):
    class Both(Manager):
        def __call__(self, value):
            return asyncio.sleep(0, value)

    async def main():
        assert await run_it(Both(), "called") == "called"
        assert await run_it(asyncio.sleep, 0, result="slept") == "slept"

    way.run_trio(main)


@both_ways
def test_what_is_neither(way, run_it):
    async def main():
        for args in (5,), (None,), (Manager(), 5), (asyncio.sleep(0),):
            with pytest.raises(TypeError, match="is not callable"):
                await run_it(*args)
            if inspect.iscoroutine(args[0]):
                args[0].close()
        with pytest.raises(TypeError, match="is not callable"):
            await run_it(Manager(), word=5)
        with pytest.raises(TypeError, match="missing 1 required positional"):
            await run_it()

    way.run_trio(main)


def test_the_loop_is_the_methods():
    seen = []

    async def loops():
        yield asyncio.get_running_loop()

    async def main():
        async with trio_asyncio_c.open_loop() as outer:
            async with trio_asyncio_c.open_loop() as inner:
                for run_it in (outer.run_asyncio, inner.run_asyncio, run_asyncio):
                    async for loop in run_it(loops()):
                        seen.append(loop)
                assert seen == [outer, inner, inner]
            with pytest.raises(RuntimeError, match="^Event loop is closed$"):
                async with inner.run_asyncio(Manager()):
                    pass

    trio.run(main)


def test_the_forms_without_a_loop():
    async def main():
        text = "^You are not within a trio_asyncio loop$"
        with pytest.raises(RuntimeError, match=text):
            async with run_asyncio(Manager()):
                pass
        with pytest.raises(RuntimeError, match=text):
            async for _ in run_asyncio(count_down(1)):
                pass
        with pytest.raises(RuntimeError, match=text):
            await run_asyncio(asyncio.sleep, 0)

    trio.run(main)


def test_a_class_that_raises_when_it_is_asked():
    # What a class says of itself can run code, which may raise.
    class Meta(type):
        def __getattr__(cls, name):
            raise KeyError(name)

    class Odd(metaclass=Meta):
        pass

    loop = new_event_loop()
    try:
        with pytest.raises(KeyError, match="__aiter__"):
            loop.run_asyncio(Odd())
        with pytest.raises(KeyError, match="__aiter__"):
            run_asyncio(Odd())
    finally:
        loop.close()


@pytest.mark.skipif(
    not hasattr(inspect, "markcoroutinefunction"), reason="since CPython 3.12"
)
def test_it_is_known_as_an_async_function():
    for fn in run_asyncio, trio_asyncio_c.EventLoop.run_asyncio:
        assert inspect.iscoroutinefunction(fn)
