"""What sniffio says, on both sides of every crossing."""

from __future__ import annotations

import asyncio

import pytest
import trio_asyncio_c
from trio_asyncio_c import trio

sniffio = pytest.importorskip("sniffio", reason="sniffio is optional")


def said():
    """What sniffio says here, or None where it does not know."""
    try:
        return sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        return None


async def ask():
    return said()


def test_in_a_run_with_a_loop_open():
    async def in_asyncio():
        loop = asyncio.get_running_loop()
        answers = [said(), await loop.run_trio(ask), said()]
        await asyncio.sleep(0)
        callback = loop.create_future()
        loop.call_soon(lambda: callback.set_result(said()))
        timer = loop.create_future()
        loop.call_later(0.001, lambda: timer.set_result(said()))
        return [*answers, said(), await callback, await timer]

    async def main():
        answers = [said()]
        async with trio_asyncio_c.open_loop():
            answers.append(said())
            answers += await trio_asyncio_c.run_asyncio(in_asyncio)
            answers.append(said())
            await trio.sleep(0)
            answers.append(said())
        return [*answers, said()]

    before = said()
    assert trio.run(main) == [
        *("trio", "trio"),
        *("asyncio", "trio", "asyncio", "asyncio", "asyncio", "asyncio"),
        *("trio", "trio", "trio"),
    ]
    assert said() == before


def test_in_a_loop_of_its_own():
    async def main():
        loop = asyncio.get_running_loop()
        return [said(), await loop.run_trio(ask), said()]

    before = said()
    with asyncio.Runner(loop_factory=trio_asyncio_c.new_event_loop) as runner:
        for _ in range(2):
            assert runner.run(main()) == ["asyncio", "trio", "asyncio"]
            assert said() == before


def test_after_an_error_left_the_loop():
    def leave():
        raise SystemExit(3)

    loop = trio_asyncio_c.new_event_loop()
    try:
        loop.call_soon(leave)
        with pytest.raises(SystemExit):
            loop.run_forever()
        assert said() is None
    finally:
        loop.close()
