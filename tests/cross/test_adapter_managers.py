"""Context managers crossed: entered and left in one task, with one context."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from contextlib import asynccontextmanager

import pytest

from trio_asyncio_c import (
    Cancelled,
    aio_as_trio,
    current_loop,
    open_loop,
    run_asyncio,
    testing,
    trio,
    trio_as_aio,
)

from ._both_ways import opened_both_ways
from ._helpers import flatten, run, run_mock
from ._managers import Manager, asyncio_manager, trio_manager, var


class Side:
    """One direction: how the manager is made and used, in which program."""

    def __init__(self, program, name):
        self.wrap = {"aio_as_trio": aio_as_trio, "trio_as_aio": trio_as_aio}[name]
        into_asyncio = name == "aio_as_trio"
        self.make = asyncio_manager if into_asyncio else trio_manager
        self.run = program.run_trio if into_asyncio else program.run_asyncio
        self.sleep = trio.sleep if into_asyncio else asyncio.sleep


@pytest.fixture(params=["aio_as_trio", "trio_as_aio"])
def side(program, request):
    return Side(program, request.param)


ALL_STEPS = ["enter", "entered", "body", "exit", "left"]


@opened_both_ways
def test_enter_body_exit(side):
    async def main():
        var.set("caller")
        manager = side.make()
        async with side.wrap(manager) as value:
            assert value is manager
            assert var.get() == "caller"
            await side.sleep(1)
            manager.steps.append("body")
        assert manager.steps == ALL_STEPS
        assert manager.seen is None
        assert (manager.context_value, var.get()) == ("caller", "caller")

    side.run(main)


@opened_both_ways
@pytest.mark.parametrize(
    "error", [KeyError("it"), StopIteration(1), StopAsyncIteration(1), SystemExit(3)]
)
def test_an_error_of_the_body(side, error):
    async def main():
        manager = side.make()
        with pytest.raises(type(error)) as caught:
            async with side.wrap(manager):
                manager.steps.append("body")
                raise error
        assert caught.value is manager.seen is error
        assert manager.steps == ALL_STEPS
        names = [entry.name for entry in caught.traceback]
        assert not [name for name in names if "_serve" in name]
        error.__traceback__ = None

    side.run(main)


@opened_both_ways
def test_a_suppressed_error(side):
    async def main():
        manager = side.make(suppress=True)
        async with side.wrap(manager):
            raise KeyError("suppressed")
        assert isinstance(manager.seen, KeyError)

    side.run(main)


@opened_both_ways
@pytest.mark.parametrize("body", [KeyError("body"), None])
@pytest.mark.parametrize("error", [ValueError("exit"), SystemExit(3)])
def test_an_error_of_the_exit(side, body, error):
    async def main():
        manager = side.make(error=error)
        with pytest.raises(type(error)) as caught:
            async with side.wrap(manager):
                if body is not None:
                    raise body
        assert caught.value is error
        assert error.__context__ is body

    side.run(main)
    error.__traceback__ = error.__context__ = None
    if body is not None:
        body.__traceback__ = None


@opened_both_ways
@pytest.mark.parametrize("error", [ValueError("enter"), SystemExit(3)])
def test_an_error_of_the_entry(side, error):
    class Fails(Manager):
        async def __aenter__(self):
            await self.sleep(1)
            raise error

    async def main():
        made = side.make()
        with pytest.raises(type(error)) as caught:
            async with side.wrap(Fails(made.sleep, made.current_task)):
                pytest.fail("entered")
        assert caught.value is error

    side.run(main)
    error.__traceback__ = None


@opened_both_ways
def test_a_factory_instead_of_a_manager(side):
    name = side.wrap.__name__
    text = f"^Call '{name}\\(ctxfactory\\(\\*args\\)\\)', not '{name}\\(ctxfactory"

    @asynccontextmanager
    async def factory():
        yield

    async def main():
        for wrong in (factory, Manager, 5):
            with pytest.raises(RuntimeError, match=text):
                async with side.wrap(wrong):
                    pytest.fail("entered")

    side.run(main)


@opened_both_ways
def test_one_adapter_entered_many_times(side):
    async def main():
        made = side.make()
        managers = side.wrap(Counts(made.sleep, made.current_task))
        async with managers as first:
            async with managers as second:
                assert first is second
        assert first.steps == ["enter", "entered"] * 2 + ["exit", "left"] * 2

    class Counts(Manager):
        async def __aexit__(self, *error):
            self.steps += ["exit", "left"]

    side.run(main)


def test_a_lock_shared_by_trio_tasks():
    order = []

    async def user(lock, i):
        async with lock:
            order.append(i)
            await trio.sleep(1)
            order.append(i)

    async def main():
        lock = aio_as_trio(asyncio.Lock())
        async with trio.open_nursery() as nursery:
            for i in range(5):
                nursery.start_soon(user, lock, i)
        assert order[::2] == order[1::2]
        assert sorted(order[::2]) == list(range(5))

    run_mock(main)


def test_the_managers_loop_is_the_given_one():
    @asynccontextmanager
    async def which():
        yield asyncio.get_running_loop(), current_loop.get()

    async def trio_side():
        async with open_loop() as outer:
            async with open_loop() as inner:
                async with aio_as_trio(which()) as loops:
                    assert loops == (inner, inner)
                async with aio_as_trio(which(), loop=outer) as loops:
                    assert loops == (outer, outer)

                async def asyncio_side():
                    for loop in (inner, outer):
                        async with trio_as_aio(which(), loop=loop) as loops:
                            assert loops == (loop, loop)
                            await asyncio.sleep(0)

                await run_asyncio(asyncio_side)

    trio.run(trio_side)


# An asyncio-flavoured manager, and Trio's cancels


@opened_both_ways
def test_the_exit_begins_under_a_cancel(program):
    async def main():
        manager = asyncio_manager()
        with trio.move_on_after(2) as scope:
            async with aio_as_trio(manager):
                await trio.sleep(60)
        assert scope.cancelled_caught
        # One cancel, one CancelledError: the body's.
        assert manager.steps == ["enter", "entered", "exit", "left"]
        assert isinstance(manager.seen, asyncio.CancelledError)
        assert manager.task.cancelling() == 0

    program.run_trio(main)


@opened_both_ways
@pytest.mark.parametrize("error", [None, KeyError])
def test_the_exit_hears_of_a_cancel_that_the_body_did_not(program, error):
    """At its first await, and may go on after that."""
    steps = []

    @asynccontextmanager
    async def slow():
        try:
            yield
        finally:
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(60)
            await asyncio.sleep(1)
            steps.append("left")

    async def main():
        start = trio.current_time()
        with trio.CancelScope() as scope:
            async with aio_as_trio(slow()):
                scope.cancel()
                if error is not None:
                    raise error
        assert steps == ["left"]
        assert trio.current_time() == pytest.approx(start + 1)

    if error is None:
        program.run_trio(main)
    else:
        with pytest.raises(BaseException) as caught:
            program.run_trio(main)
        assert [type(leaf) for leaf in flatten(caught.value)] == [error]


@opened_both_ways
def test_a_cancel_during_the_exit(program):
    async def main():
        manager = asyncio_manager()
        with trio.move_on_after(1.5) as scope:
            async with aio_as_trio(manager):
                pass
        assert scope.cancelled_caught
        assert manager.steps[-1] == "CancelledError"
        assert manager.seen is None

    program.run_trio(main)


@opened_both_ways
def test_a_cancel_during_the_entry(program):
    async def main():
        manager = asyncio_manager()
        with trio.move_on_after(0.5) as scope:
            async with aio_as_trio(manager):
                pytest.fail("entered")
        assert scope.cancelled_caught
        assert manager.steps == ["enter"]

    program.run_trio(main)


@opened_both_ways
def test_a_cancel_before_the_entry(program):
    async def main():
        manager = asyncio_manager()
        with trio.CancelScope() as scope:
            scope.cancel()
            async with aio_as_trio(manager):
                pytest.fail("entered")
        assert scope.cancelled_caught
        assert manager.steps == []

    program.run_trio(main)


class CoroutineManager:
    """A coroutine and its manager in one, as libraries make them for ``await open()``
    and ``async with open()``."""

    def __init__(self):
        self._coro = self._open()

    async def _open(self):
        return "open"

    def send(self, value):
        return self._coro.send(value)

    def throw(self, *error):
        return self._coro.throw(*error)

    def close(self):
        return self._coro.close()

    def __await__(self):
        return self._coro.__await__()

    async def __aenter__(self):
        return await self._coro

    async def __aexit__(self, *error):
        pass


Coroutine.register(CoroutineManager)


@opened_both_ways
def test_a_cancel_before_the_entry_of_a_coroutine(program):
    """That nobody awaits it is no mistake of the program's, and not warned of."""

    async def main():
        async with aio_as_trio(CoroutineManager()) as value:
            assert value == "open"
        assert await aio_as_trio(CoroutineManager()) == "open"
        with trio.CancelScope() as scope:
            scope.cancel()
            async with aio_as_trio(CoroutineManager()):
                pytest.fail("entered")
        assert scope.cancelled_caught
        with trio.CancelScope() as scope:
            scope.cancel()
            await aio_as_trio(CoroutineManager())
        assert scope.cancelled_caught
        gc.collect()

    program.run_trio(main)


def test_the_entry_of_a_coroutine_without_a_loop():
    async def main():
        with pytest.raises(RuntimeError, match="not within"):
            async with aio_as_trio(CoroutineManager()):
                pytest.fail("entered")
        async with open_loop() as loop:
            pass
        with pytest.raises(RuntimeError, match="closed"):
            async with aio_as_trio(CoroutineManager(), loop=loop):
                pytest.fail("entered")

    trio.run(main)
    gc.collect()


@opened_both_ways
def test_a_suppressed_trio_cancel(program):
    @asynccontextmanager
    async def suppresses():
        try:
            yield
        except asyncio.CancelledError:
            pass

    async def main():
        with trio.CancelScope() as scope:
            async with aio_as_trio(suppresses()):
                scope.cancel()
                await trio.sleep(1)
            with pytest.raises(Cancelled):
                await trio.sleep(1)

    program.run_trio(main)


@opened_both_ways
def test_a_body_that_ends_with_cancelled_and_an_error(program):
    seen = []

    @asynccontextmanager
    async def records():
        try:
            yield
        except BaseException as error:
            seen.append(error)
            raise

    async def fail():
        raise KeyError("it")

    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            with trio.CancelScope() as scope:
                async with aio_as_trio(records()):
                    scope.cancel()
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(fail)
                        await trio.sleep(1)
        assert [type(leaf) for leaf in flatten(caught.value)] == [KeyError]
        assert [type(leaf) for leaf in flatten(seen.pop())] == [KeyError]

    program.run_trio(main)


# What asyncio-flavoured managers cancel


@opened_both_ways
def test_asyncio_timeout_in_trio_code(program):
    async def main():
        with pytest.raises(TimeoutError):
            async with aio_as_trio(asyncio.timeout(1)) as timeout:
                await trio.sleep(60)
        assert timeout.expired()
        async with aio_as_trio(asyncio.timeout(1)) as timeout:
            await trio.sleep(0.5)
        assert not timeout.expired()

    program.run_trio(main)


@opened_both_ways
def test_asyncio_timeout_inside_of_a_trio_timeout(program):
    async def main():
        with trio.move_on_after(1) as scope:
            async with aio_as_trio(asyncio.timeout(2)) as timeout:
                await trio.sleep(60)
        assert scope.cancelled_caught
        assert not timeout.expired()
        with pytest.raises(TimeoutError):
            with trio.move_on_after(2) as scope:
                async with aio_as_trio(asyncio.timeout(1)):
                    await trio.sleep(60)
        assert not scope.cancel_called

    program.run_trio(main)


@opened_both_ways
def test_asyncio_task_group_in_trio_code(program):
    steps = []

    async def child(i):
        await asyncio.sleep(i)
        steps.append(i)

    async def fail():
        await asyncio.sleep(0.5)
        raise KeyError("it")

    async def main():
        async with aio_as_trio(asyncio.TaskGroup()) as group:
            group.create_task(child(1))
            steps.append("body")
        assert steps == ["body", 1]
        with pytest.raises(ExceptionGroup) as caught:
            async with aio_as_trio(asyncio.TaskGroup()) as group:
                group.create_task(fail())
                group.create_task(child(2))
                await trio.sleep(60)
        assert [type(leaf) for leaf in flatten(caught.value)] == [KeyError]
        assert steps == ["body", 1]

    program.run_trio(main)


@opened_both_ways
def test_a_body_is_waited_for_when_its_manager_is_cancelled(program):
    steps = []

    async def main():
        with pytest.raises(TimeoutError):
            async with aio_as_trio(asyncio.timeout(1)):
                try:
                    await trio.sleep(60)
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(1)
                    steps.append("body")
        assert steps == ["body"]

    program.run_trio(main)


@opened_both_ways
def test_a_manager_whose_task_is_cancelled_by_somebody(program):
    @asynccontextmanager
    async def gives_task():
        yield asyncio.current_task()

    async def main():
        with pytest.raises(asyncio.CancelledError):
            async with aio_as_trio(gives_task()) as task:
                task.cancel()
                await trio.sleep(60)

    program.run_trio(main)


def test_the_loops_end_ends_a_body():
    steps = []

    async def holder(loop):
        manager = asyncio_manager()
        with pytest.raises(asyncio.CancelledError):
            async with aio_as_trio(manager, loop=loop):
                steps.append("body")
                await trio.sleep(60)
        steps.extend(manager.steps)

    async def main():
        async with trio.open_nursery() as nursery:
            async with open_loop() as loop:
                nursery.start_soon(holder, loop)
                await trio.sleep(2)
        assert steps == ["body", "enter", "entered", "exit", "left"]

    run_mock(main)


@pytest.mark.filterwarnings("ignore:the event loop was stopped:RuntimeWarning")
def test_a_loop_that_is_stopped_in_the_body():
    manager = asyncio_manager()

    async def main():
        async with open_loop() as loop:
            with pytest.raises(RuntimeError, match="Event loop is stopped"):
                async with aio_as_trio(manager):
                    await loop.stop().wait()

    trio.run(main, clock=testing.MockClock(autojump_threshold=0))
    # The exit ran when the block's end let the Tasks unwind, cancelled as they are.
    assert manager.steps[:3] == ["enter", "entered", "exit"]


# Both at once


@opened_both_ways
def test_managers_in_a_sandwich(program):
    steps = []

    @asynccontextmanager
    async def trio_level():
        async with aio_as_trio(asyncio.timeout(60)):
            async with trio.open_nursery() as nursery:
                yield nursery

    async def child():
        await trio.sleep(1)
        steps.append("child")

    async def main():
        async with trio_as_aio(trio_level()) as nursery:
            nursery.start_soon(child)
        assert steps == ["child"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                async with trio_as_aio(trio_level()) as nursery:
                    nursery.start_soon(child)
        assert steps == ["child"]

    program.run_asyncio(main)


def test_nothing_is_kept():
    async def body():
        async with trio_as_aio(trio.open_nursery()):
            pass

    async def main():
        adapted = aio_as_trio(asyncio.Lock())

        async def use(count):
            for _ in range(count):
                async with adapted:
                    pass
                await run_asyncio(body)

        await use(10)
        gc.collect()
        before = len(gc.get_objects())
        await use(200)
        gc.collect()
        assert len(gc.get_objects()) < before + 200

    run(main)


def test_nothing_is_left_to_the_collector():
    """Neither by managers and iterators that end, nor by their errors."""

    async def items():
        yield 1

    @asynccontextmanager
    async def fails_at_exit():
        yield
        raise ValueError

    async def fail_in_trio():
        with pytest.raises(KeyError):
            async with aio_as_trio(asyncio.Lock()):
                raise KeyError("body")
        with pytest.raises(ValueError):
            async with aio_as_trio(fails_at_exit()):
                pass
        async for _ in aio_as_trio(items()):
            pass

    async def fail_in_asyncio():
        with pytest.raises(ExceptionGroup):
            async with trio_as_aio(trio.open_nursery()):
                raise KeyError("body")
        with pytest.raises(ValueError):
            async with trio_as_aio(fails_at_exit()):
                pass
        async for _ in trio_as_aio(items()):
            pass

    def left():
        modules = "trio_asyncio_c._managers", "trio_asyncio_c._iterators"
        return [
            type(obj).__name__
            for obj in gc.get_objects()
            if type(obj).__module__ in modules
        ]

    async def main():
        gc.collect()
        gc.disable()
        try:
            await fail_in_trio()
            assert left() == []
            await run_asyncio(fail_in_asyncio)
            assert left() == []
        finally:
            gc.enable()

    run_mock(main)
