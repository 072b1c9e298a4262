"""Async generators in a run with several loops: each is finalised in the flavour and
on the loop that it began in, whether it is collected or still alive at the end."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings

import pytest
from trio_asyncio_c import _core, open_loop, trio

from ._helpers import run_mock

pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")


def where():
    """The flavour of the running code, and the running loop."""
    flavour = "trio" if _core.in_trio_task() else "asyncio"
    return flavour, asyncio._get_running_loop()


async def numbers(name, seen, pause=None):
    """Yield, and tell where the end is."""
    try:
        yield 1
        yield 2
    finally:
        seen[name] = where()
        if pause is not None:
            await pause(0)


async def begin(agen, kept):
    kept.append(agen)
    return await anext(agen)


async def in_trio_callee(loop, agen, kept):
    """Begin a generator in a Trio task that asyncio code has started."""

    async def caller():
        await loop.run_trio(begin, agen, kept)

    await loop.run_asyncio(caller)


async def settle(*loops):
    for _ in range(3):
        await trio.testing.wait_all_tasks_blocked()
        for loop in loops:
            await loop.synchronize()


@pytest.mark.parametrize("order", ["outer first", "inner first"])
@pytest.mark.parametrize("collected", [True, False])
def test_two_loops_and_both_flavours(order, collected):
    async def main():
        seen, kept = {}, []
        async with open_loop() as outer:
            async with open_loop() as inner:
                loops = [outer, inner] if order == "outer first" else [inner, outer]
                for loop in loops:
                    name = "outer" if loop is outer else "inner"
                    agen = numbers(name, seen, asyncio.sleep)
                    await loop.run_asyncio(begin, agen, kept)
                    await in_trio_callee(loop, numbers(f"{name} callee", seen), kept)
                await begin(numbers("body", seen), kept)
                del agen
                if collected:
                    kept.clear()
                    gc.collect()
                    await settle(outer, inner)
                    assert len(seen) == 5
                else:
                    assert seen == {}
            assert seen["inner"] == ("asyncio", inner)
            assert ("outer" in seen) is collected
        assert seen["outer"] == ("asyncio", outer)
        # The others are the run's.
        kept_till_the_end.extend(kept)
        return seen

    kept_till_the_end = []
    hooks = sys.get_asyncgen_hooks()
    seen = trio.run(main)
    assert sys.get_asyncgen_hooks() == hooks
    kept_till_the_end.clear()
    assert {name: flavour for name, (flavour, _) in seen.items()} == {
        "outer": "asyncio",
        "inner": "asyncio",
        "outer callee": "trio",
        "inner callee": "trio",
        "body": "trio",
    }


def test_a_trio_generator_that_is_collected_after_the_last_loop_was_closed():
    async def main():
        seen, kept = {}, []
        async with open_loop():
            await begin(numbers("body", seen), kept)
        assert seen == {}
        kept.clear()
        gc.collect()
        await trio.testing.wait_all_tasks_blocked()
        assert seen == {"body": ("trio", None)}

    trio.run(main)


def test_an_id_is_used_again_by_a_generator_of_the_other_flavour():
    async def main(loop):
        ended, seen, kept = {}, {}, []

        async def exhaust():
            return [number async for number in numbers("ended", ended)]

        # Until one has the address of one before it.
        used = set()
        for _ in range(1000):
            agen = numbers("ended", ended)
            used.add(id(agen))
            assert await loop.run_asyncio(anext, agen) == 1
            assert await loop.run_asyncio(anext, agen) == 2
            with pytest.raises(StopAsyncIteration):
                await loop.run_asyncio(anext, agen)
            del agen
            agen = numbers("mine", seen)
            if id(agen) in used:
                break
        else:  # of a sanitizer's allocator, which keeps what is freed
            pytest.skip("no address came again")
        await begin(agen, kept)
        del agen
        kept.clear()
        gc.collect()
        await settle(loop)
        assert seen["mine"][0] == "trio"

    async def opened():
        async with open_loop() as loop:
            await main(loop)

    trio.run(opened)


def test_loops_are_finalised_one_after_the_other():
    async def main():
        seen, kept, times = {}, [], []

        async def slow(seconds):
            times.append(trio.current_time())
            await asyncio.sleep(5)
            times.append(trio.current_time())

        began = trio.current_time()
        async with open_loop() as outer, open_loop() as inner:
            await outer.run_asyncio(begin, numbers("outer", seen, slow), kept)
            await inner.run_asyncio(begin, numbers("inner", seen, slow), kept)
        assert [at - began for at in times] == [0, 5, 5, 10]
        assert seen == {"inner": ("asyncio", inner), "outer": ("asyncio", outer)}

    run_mock(main)


def test_loops_side_by_side():
    async def user(seen, kept, i, opened):
        async with open_loop() as loop:
            await loop.run_asyncio(begin, numbers(i, seen, asyncio.sleep), kept)
            await in_trio_callee(loop, numbers((i, "trio"), seen), kept)
            opened[i] = loop
            await trio.testing.wait_all_tasks_blocked()

    async def main():
        seen, kept, opened = {}, [], {}
        async with trio.open_nursery() as nursery:
            for i in range(5):
                nursery.start_soon(user, seen, kept, i, opened)
        assert seen == {i: ("asyncio", opened[i]) for i in range(5)}
        kept.clear()
        gc.collect()
        await trio.testing.wait_all_tasks_blocked()
        assert {seen[i, "trio"][0] for i in range(5)} == {"trio"}

    trio.run(main)


def test_one_that_is_closed_by_hand_across():
    async def main():
        seen = {}
        async with open_loop() as loop:
            agen = numbers("asyncio", seen, asyncio.sleep)
            await loop.run_asyncio(anext, agen)
            await loop.run_asyncio(agen.aclose)
            assert seen == {"asyncio": ("asyncio", loop)}
            trios = numbers("trio", seen, trio.sleep)

            async def step(fn, *args):
                await loop.run_trio(fn, *args)

            await loop.run_asyncio(step, anext, trios)
            await loop.run_asyncio(step, trios.aclose)
            assert seen["trio"] == ("trio", loop)
        assert set(seen) == {"asyncio", "trio"}

    trio.run(main)


def test_a_finaliser_that_crosses_into_trio():
    async def main():
        seen, kept = {}, []
        async with open_loop() as loop:

            async def cross(_):
                seen["crossed"] = await loop.run_trio(tell)

            await loop.run_asyncio(begin, numbers("asyncio", seen, cross), kept)
            kept.clear()
            gc.collect()
            await settle(loop)
            assert seen["crossed"] == ("trio", loop)

    async def tell():
        await trio.sleep(0)
        return where()

    trio.run(main)


def test_a_finaliser_that_raises_is_reported_to_its_loop():
    async def main():
        told, kept = [], []

        async def fail(_):
            raise ValueError("from a finaliser")

        async with open_loop() as loop:
            loop.set_exception_handler(
                lambda loop, context: told.append((loop, type(context["exception"])))
            )
            await loop.run_asyncio(begin, numbers("a", {}, fail), kept)
        assert told == [(loop, ValueError)]

    trio.run(main)


def test_a_stopped_loop_closes_its_generators():
    async def main():
        seen, kept = {}, []
        async with open_loop() as loop:
            await loop.run_asyncio(begin, numbers("a", seen, asyncio.sleep), kept)
            await loop.stop().wait()
        assert seen == {"a": ("asyncio", loop)}

    trio.run(main)


def test_an_error_for_a_warning_does_not_keep_a_stopped_loop_open(recwarn):
    async def task():
        await asyncio.sleep(1000)

    async def main():
        async with open_loop() as loop:
            loop.create_task(task())
            await trio.sleep(0)
            await loop.stop().wait()

    with pytest.raises(ExceptionGroup) as caught:
        warnings.simplefilter("error")
        trio.run(main)
    assert [type(exc) for exc in caught.value.exceptions] == [RuntimeWarning]
