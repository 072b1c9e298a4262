"""Calls into loops that are stopped or closed, and those that are under way then: rules
44 and 45 of the crossings."""

from __future__ import annotations

import asyncio
import gc
import inspect
import warnings

import pytest

from trio_asyncio_c import (
    aio_as_trio,
    allow_asyncio,
    current_loop,
    new_event_loop,
    open_loop,
    run_aio_generator,
    run_asyncio,
    run_coroutine,
    run_future,
    run_trio,
    run_trio_task,
    testing,
    trio,
    trio_as_aio,
)

STOPPED = "^Event loop is stopped$"
CLOSED = "^Event loop is closed$"

pytestmark = pytest.mark.filterwarnings(
    "ignore:the event loop was stopped while:RuntimeWarning"
)


async def nothing():
    pass


async def wait_long():
    await asyncio.sleep(1000)


async def numbers():
    yield 1


async def slow_numbers():
    await asyncio.sleep(1000)
    yield 1


class Manager:
    """Takes `seconds` to be entered, and whatever happens then."""

    def __init__(self, seconds=1000, swallow=False):
        self.seconds, self.swallow = seconds, swallow
        self.steps = []

    async def __aenter__(self):
        self.steps.append("enter")
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            if not self.swallow:
                raise
        self.steps.append("entered")

    async def __aexit__(self, *error):
        self.steps.append("left")


async def enter(manager):
    async with manager:
        pytest.fail("entered")


# A call into a stopped or closed loop

CALLS = {
    "run_asyncio": lambda loop, coro: run_asyncio(nothing),
    "loop.run_asyncio": lambda loop, coro: loop.run_asyncio(nothing),
    "run_coroutine": lambda loop, coro: run_coroutine(coro),
    "loop.run_coroutine": lambda loop, coro: loop.run_coroutine(coro),
    "run_future": lambda loop, coro: run_future(asyncio.Future(loop=loop)),
    "loop.run_future": lambda loop, coro: loop.run_future(asyncio.Future(loop=loop)),
    "aio_as_trio": lambda loop, coro: aio_as_trio(nothing)(),
    "aio_as_trio, coroutine": lambda loop, coro: aio_as_trio(coro),
    "aio_as_trio, manager": lambda loop, coro: enter(aio_as_trio(Manager(0))),
    "aio_as_trio, iterator": lambda loop, coro: anext(aiter(aio_as_trio(numbers()))),
    "run_aio_generator": lambda loop, coro: anext(run_aio_generator(loop, numbers())),
    "trio_as_aio": lambda loop, coro: trio_as_aio(nothing)(),
    "run_trio": lambda loop, coro: run_trio(nothing),
    "loop.run_trio": lambda loop, coro: loop.run_trio(nothing),
    "loop.trio_as_future": lambda loop, coro: loop.trio_as_future(nothing),
    "run_trio_task": lambda loop, coro: run_trio_task(nothing),
    "loop.run_trio_task": lambda loop, coro: loop.run_trio_task(nothing),
    "run_in_executor": lambda loop, coro: loop.run_in_executor(None, int),
    "synchronize": lambda loop, coro: loop.synchronize(),
    "allow_asyncio": lambda loop, coro: allow_asyncio(loop.create_future),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("closed", [False, True])
def test_a_call_is_refused(name, closed):
    async def main():
        coro = nothing()
        async with open_loop() as loop:
            await loop.stop().wait()
            if closed:
                loop.close()
            with pytest.raises(RuntimeError, match=CLOSED if closed else STOPPED):
                await CALLS[name](loop, coro)
        if "coro" in name:
            assert inspect.getcoroutinestate(coro) == inspect.CORO_CLOSED
        coro.close()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trio.run(main)
        gc.collect()


@pytest.mark.parametrize(
    "call",
    [
        lambda loop: loop.run_trio(nothing),
        lambda loop: loop.run_trio_task(nothing),
        lambda loop: trio_as_aio(nothing, loop=loop)(),
        lambda loop: loop.run_in_executor(None, int),
        lambda loop: loop.run_task(nothing),
    ],
)
def test_a_call_into_a_loop_of_its_own_that_is_closed(call):
    with new_event_loop() as loop:
        loop.run_until_complete(loop.run_trio(trio.sleep, 0))
    with pytest.raises(RuntimeError, match=CLOSED):
        call(loop)


# Calls that are under way

UNDER_WAY = {
    "function": lambda loop: loop.run_asyncio(wait_long),
    "coroutine": lambda loop: loop.run_coroutine(wait_long()),
    "future": lambda loop: loop.run_future(loop.create_future()),
    "item": lambda loop: anext(aiter(aio_as_trio(slow_numbers()))),
    "manager": lambda loop: enter(aio_as_trio(Manager())),
    "Trio function": lambda loop: loop.run_future(loop.run_trio(trio.sleep_forever)),
    "allow_asyncio": lambda loop: allow_asyncio(asyncio.sleep, 1000),
}


@pytest.mark.parametrize("name", UNDER_WAY)
@pytest.mark.parametrize("turns", [0, 1, 20])
@pytest.mark.parametrize("child", [False, True])
def test_who_waits_inside_of_the_block_is_told_of_the_stop(name, turns, child):
    """Or the block would never come to its end, and a cancel would not help."""
    seen = []

    async def waits(loop):
        with pytest.raises(RuntimeError, match=STOPPED):
            await UNDER_WAY[name](loop)
        seen.append("told")

    async def main():
        async with open_loop() as loop:
            with trio.CancelScope() as scope:
                loop.call_later(1, loop.stop)
                if not turns:
                    loop.stop()  # which has not come to pass yet
                if not child:
                    await waits(loop)
                else:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(waits, loop)
                        if turns == 1:
                            await trio.sleep(0)
                            loop.stop()
                await trio.sleep(0)
            assert not scope.cancel_called
        assert loop.is_closed()

    trio.run(main, clock=testing.MockClock(autojump_threshold=0))
    assert seen == ["told"]


@pytest.mark.parametrize("swallow", [False, True])
def test_a_manager_that_nobody_waits_for_any_more_is_left(swallow):
    manager = Manager(swallow=swallow)

    async def main():
        async with open_loop() as loop:
            loop.call_later(1, loop.stop)
            with pytest.raises(RuntimeError, match=STOPPED):
                async with aio_as_trio(manager):
                    pytest.fail("entered")

    trio.run(main, clock=testing.MockClock(autojump_threshold=0))
    assert manager.steps == (["enter", "entered", "left"] if swallow else ["enter"])


def test_what_is_done_when_the_loop_stops_has_its_outcome():
    async def main():
        async with open_loop() as loop:
            future = loop.create_future()

            async def waits():
                assert await run_future(future) == "value"
                with pytest.raises(RuntimeError, match=STOPPED):
                    await run_future(loop.create_future())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(waits)
                await testing.wait_all_tasks_blocked()
                loop.stop()
                future.set_result("value")  # whose callbacks come after the stop

    trio.run(main)


def test_a_cancel_that_was_passed_on_before_is_what_the_waiter_gets():
    async def refuses():
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(1000)

    async def main():
        async with open_loop() as loop:
            loop.call_later(2, loop.stop)
            with trio.move_on_after(1) as scope:
                await loop.run_asyncio(refuses)
            assert scope.cancelled_caught

    trio.run(main, clock=testing.MockClock(autojump_threshold=0))


def test_calls_of_trio_tasks_that_the_loop_started_are_unwound_at_the_end():
    """Theirs and those of tasks around the block keep nothing from its end."""
    seen = []

    async def bottom():
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            seen.append("bottom")

    async def middle():
        try:
            await run_asyncio(bottom)
        except trio.Cancelled:
            seen.append("middle")
            raise

    async def outside(loop):
        with pytest.raises(asyncio.CancelledError):
            await loop.run_asyncio(bottom)
        seen.append("outside")

    async def main():
        async with trio.open_nursery() as nursery:
            async with open_loop() as loop:
                nursery.start_soon(outside, loop)
                future = loop.run_trio(middle)
                loop.run_trio_task(middle)
                await testing.wait_all_tasks_blocked()
                await loop.stop().wait()
                await testing.wait_all_tasks_blocked()
                assert seen == []
            assert future.cancelled()

    with pytest.warns(RuntimeWarning, match="stopped while 3 asyncio tasks"):
        trio.run(main)
    assert sorted(seen) == ["bottom"] * 3 + ["middle"] * 2 + ["outside"]


def test_trio_tasks_of_a_stopped_loop_go_on_until_the_end():
    steps = []

    async def callee(event):
        await event.wait()
        steps.append("went on")
        await trio.sleep(1)
        steps.append("slept")
        return "value"

    async def main():
        async with open_loop() as loop:
            event = trio.Event()
            ends = loop.run_trio(callee, event)
            stays = loop.run_trio(callee, trio.Event())
            await loop.synchronize()
            await loop.stop().wait()
            ends.add_done_callback(lambda _: steps.append("callback"))
            event.set()
            await trio.sleep(2)
            # It has ended; callbacks are halted.
            assert ends.result() == "value"
            assert steps == ["went on", "slept"]
            assert not stays.done()
        assert stays.cancelled()

    trio.run(main, clock=testing.MockClock(autojump_threshold=0))
    assert steps == ["went on", "slept", "callback"]


# Items whose Task has not begun when the loop stops, or ends


@pytest.mark.parametrize("where", ["inside", "outside", "callee"])
@pytest.mark.parametrize("end", ["stop", "leave", "stop and leave"])
@pytest.mark.parametrize("ready", [False, True])
def test_an_item_whose_turn_has_not_come(where, end, ready):
    """Its consumer never hangs, and hears of the end; an item that is there in its
    first turn may be had."""
    outcomes = []

    async def items():
        if not ready:
            await asyncio.sleep(1000)
        yield 1

    async def consume(loop):
        generator = items()
        try:
            outcomes.append(await anext(aiter(aio_as_trio(generator, loop=loop))))
        except (asyncio.CancelledError, RuntimeError) as exc:
            outcomes.append(str(exc) or type(exc).__name__)
        except trio.Cancelled:
            outcomes.append("Cancelled")
            raise

    async def main():
        for turns in range(6):
            async with trio.open_nursery() as around, open_loop() as loop:
                async with trio.open_nursery() as within:
                    started = []

                    def start(loop=loop, started=started):
                        # In this batch, so that the item is queued behind the stop.
                        if where == "callee":
                            started.append(loop.run_trio(consume, loop))
                        else:
                            nursery = within if where == "inside" else around
                            nursery.start_soon(consume, loop)

                    start()
                    for _ in range(turns):
                        await trio.sleep(0)
                    if end != "leave":
                        stopped = loop.stop()
                    if end == "stop":
                        await stopped.wait()
                    if where == "inside":
                        loop.call_later(0.01, loop.stop)
            for future in started:
                assert future.done()
                if not future.cancelled():
                    assert future.exception() is None
        gc.collect()

    trio.run(main)
    assert len(outcomes) == 6 or where == "callee"
    told = {"Event loop is stopped", "Event loop is closed", "CancelledError"}
    assert set(outcomes) <= told | {1} | ({"Cancelled"} if where == "callee" else set())
    assert (1 in outcomes) <= ready


@pytest.mark.parametrize("raised", [ValueError("first step"), SystemExit(3)])
def test_the_error_of_an_item_whose_turn_comes_as_the_loop_ends(raised):
    async def items():
        raise raised
        yield

    async def consume(loop, seen):
        try:
            await anext(aiter(aio_as_trio(items(), loop=loop)))
        except BaseException as exc:
            seen.append(exc)

    async def main():
        for turns in range(5):
            seen = []
            async with trio.open_nursery() as around:
                async with open_loop() as loop:
                    around.start_soon(consume, loop, seen)
                    for _ in range(turns):
                        await trio.sleep(0)
                    loop.stop()
            (error,) = seen
            assert error is raised or isinstance(
                error, (RuntimeError, asyncio.CancelledError)
            )

    trio.run(main)
    raised.__traceback__ = None
    assert current_loop.get() is None
