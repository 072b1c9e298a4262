"""Async generators: hooks for the run only, and their finalisation."""

from __future__ import annotations

import asyncio
import gc
import sys

import pytest

from ._helpers import run_briefly


async def numbers(seen):
    try:
        yield 1
        yield 2
    finally:
        await asyncio.sleep(0)
        seen.append("closed")


def test_hooks_are_set_for_the_run_only(loop):
    before = sys.get_asyncgen_hooks()

    async def main():
        return sys.get_asyncgen_hooks()

    hooks = loop.run_until_complete(main())
    assert hooks != before
    assert sys.get_asyncgen_hooks() == before


def test_hooks_come_back_after_an_error(loop):
    before = sys.get_asyncgen_hooks()
    loop.call_soon(sys.exit, 3)
    with pytest.raises(SystemExit):
        loop.run_forever()
    assert sys.get_asyncgen_hooks() == before


def test_a_dropped_generator_is_closed_on_the_loop(loop):
    seen = []

    async def main():
        generator = numbers(seen)
        assert await anext(generator) == 1
        del generator
        gc.collect()
        for _ in range(5):
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert seen == ["closed"]


def test_shutdown_closes_what_is_alive(loop):
    seen = []
    generators = []

    async def main():
        generators.append(numbers(seen))
        await anext(generators[0])

    loop.run_until_complete(main())
    assert seen == []
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert seen == ["closed"]


def test_a_late_generator_warns(loop):
    async def main():
        await loop.shutdown_asyncgens()
        generator = numbers([])
        with pytest.warns(ResourceWarning, match="asynchronous generator"):
            await anext(generator)
        await generator.aclose()

    loop.run_until_complete(main())
    run_briefly(loop)
