"""aio_as_trio and trio_as_aio: every form of functions, methods and awaitables."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import sys
import warnings
import weakref

import pytest
import trio_asyncio_c
from trio_asyncio_c import (
    aio2trio,
    aio_as_trio,
    allow_asyncio,
    asyncio_as_trio,
    current_loop,
    lowlevel,
    open_loop,
    run_asyncio,
    trio,
    trio2aio,
    trio_as_aio,
    trio_as_asyncio,
)

from ._both_ways import opened_both_ways
from ._helpers import run

NO_LOOP = "^You are not within a trio_asyncio loop$"


def assert_in_asyncio():
    assert asyncio.current_task() is not None
    assert not trio_asyncio_c._core.in_trio_task()


def assert_in_trio():
    assert asyncio.current_task() is None
    assert lowlevel.current_task() is not None


async def add(x, y=0, *, z=0):
    """Add numbers."""
    assert_in_asyncio()
    await asyncio.sleep(0)
    return x + y + z


async def trio_add(x, y=0, *, z=0):
    """Add numbers."""
    assert_in_trio()
    await trio.sleep(0)
    return x + y + z


class Adapted:
    @aio_as_trio
    async def aio_method(self, x):
        return self, await add(x)

    @staticmethod
    @aio_as_trio
    async def aio_static(x):
        return await add(x)

    @classmethod
    @aio_as_trio
    async def aio_class(cls, x):
        return cls, await add(x)

    @trio_as_aio
    async def trio_method(self, x):
        return self, await trio_add(x)

    @staticmethod
    @trio_as_aio
    async def trio_static(x):
        return await trio_add(x)

    @classmethod
    @trio_as_aio
    async def trio_class(cls, x):
        return cls, await trio_add(x)

    async def plain(self):
        return self, await add(0)


def test_names_are_the_same_objects():
    assert asyncio_as_trio is aio_as_trio is trio2aio
    assert trio_as_asyncio is trio_as_aio is aio2trio
    assert trio_asyncio_c.run_generator is trio_asyncio_c.run_iterator is aio_as_trio
    assert trio_asyncio_c.wrap_trio_context is trio_as_aio


# Functions


@opened_both_ways
def test_asyncio_function(program):
    async def main():
        assert await aio_as_trio(add)(1, 2, z=4) == 7
        assert await aio_as_trio(functools.partial(add, 1, z=2))(3) == 6
        assert await aio_as_trio(lambda x: add(x))(5) == 5

    program.run_trio(main)


@opened_both_ways
def test_asyncio_function_that_returns_other_awaitables(program):
    def future_of(value):
        assert_in_asyncio()
        future = asyncio.get_running_loop().create_future()
        future.set_result(value)
        return future

    async def main():
        assert await aio_as_trio(future_of)(5) == 5
        assert await aio_as_trio(lambda: asyncio.create_task(add(6)))() == 6

    program.run_trio(main)


@opened_both_ways
def test_await_without_a_call(program):
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_later(1, future.set_result, 7)
        adapted = Adapted()
        assert await aio_as_trio(functools.partial(add, 1)) == 1
        assert await aio_as_trio(add(2)) == 2
        assert await aio_as_trio(future) == 7
        assert await aio_as_trio(loop.create_task(add(3))) == 3
        assert await aio_as_trio(asyncio.gather(future, loop.create_task(add(4)))) == [
            7,
            4,
        ]
        assert await aio_as_trio(adapted.plain) == (adapted, 0)

    program.run_trio(main)


def test_a_coroutine_runs_in_a_task_of_its_own():
    async def which():
        await asyncio.sleep(0)  # or asyncio may have dropped the coroutine
        return asyncio.current_task()

    async def main():
        first = await aio_as_trio(which())
        second = await aio_as_trio(which)()
        assert first is not None is not second
        assert first is not second
        assert second.get_coro().__qualname__ == which.__qualname__

    run(main)


def test_a_future_of_another_loop():
    async def main():
        async with open_loop() as outer:
            future = outer.create_future()
            async with open_loop():
                outer.call_soon(future.set_result, 5)
                assert await aio_as_trio(future) == 5

    trio.run(main)


@opened_both_ways
def test_trio_function(program):
    async def main():
        future = trio_as_aio(trio_add)(1, 2, z=4)
        assert isinstance(future, asyncio.Future)
        assert future.get_loop() is asyncio.get_running_loop()
        assert not future.done()
        assert await future == 7
        assert await trio_as_aio(functools.partial(trio_add, 1, z=2))(3) == 6
        assert await trio_as_aio(lambda x: trio_add(x))(5) == 5
        coro = trio_add(6)
        assert await trio_as_aio(lambda: coro)() == 6

    program.run_asyncio(main)


@opened_both_ways
def test_a_trio_function_called_from_trio_code(program):
    async def main():
        future = trio_as_aio(trio_add)(1)
        assert await aio_as_trio(future) == 1

    program.run_trio(main)


def test_the_trio_task_has_the_functions_name():
    @trio_as_aio
    async def named(x):
        return lowlevel.current_task().name

    async def main():
        assert named.__qualname__ in await named(x=1)

    run(run_asyncio, main)


def test_trio_function_that_is_none():
    async def main():
        with pytest.raises(
            TypeError, match="can't be used in 'await'|can't be awaited"
        ):
            await trio_as_aio(trio_add)
        coro = trio_add(1)
        future = trio_as_aio(coro)()
        with pytest.raises(TypeError, match="async function"):
            await future

    run(run_asyncio, main)


def test_a_sync_function_that_raises_stop_iteration():
    def stop():
        raise StopIteration(5)

    async def main():
        with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
            await trio_as_aio(stop)()

    run(run_asyncio, main)


def test_asyncio_function_that_is_none():
    async def main():
        with pytest.raises(TypeError, match="int"):
            await aio_as_trio(lambda: 5)()
        coro = add(1)
        with pytest.raises(TypeError, match="'coroutine' object is not callable"):
            await aio_as_trio(coro)()
        coro.close()
        with pytest.raises(TypeError, match="'int' object is not callable"):
            await aio_as_trio(5)

    run(main)


@pytest.mark.parametrize("adapter", [aio_as_trio, trio_as_aio])
def test_positional_arguments_are_refused(adapter):
    with pytest.raises(TypeError):
        adapter(add, 1)
    with pytest.raises(TypeError):
        adapter(add, x=1)


@opened_both_ways
def test_errors_are_the_same_objects(program):
    error = KeyError("it")

    @aio_as_trio
    async def fail():
        raise error

    @trio_as_aio
    async def trio_fail():
        await fail()

    async def main():
        with pytest.raises(KeyError) as caught:
            await trio_fail()
        assert caught.value is error
        error.__traceback__ = None

    program.run_asyncio(main)


# Methods


@opened_both_ways
def test_asyncio_methods(program):
    async def main():
        adapted = Adapted()
        assert await adapted.aio_method(1) == (adapted, 1)
        assert await Adapted.aio_method(adapted, 2) == (adapted, 2)
        assert await adapted.aio_static(3) == await Adapted.aio_static(3) == 3
        assert await adapted.aio_class(4) == (Adapted, 4)
        assert await Adapted.aio_class(5) == (Adapted, 5)

    program.run_trio(main)


@opened_both_ways
def test_trio_methods(program):
    async def main():
        adapted = Adapted()
        assert await adapted.trio_method(1) == (adapted, 1)
        assert await Adapted.trio_method(adapted, 2) == (adapted, 2)
        assert await adapted.trio_static(3) == await Adapted.trio_static(3) == 3
        assert await adapted.trio_class(4) == (Adapted, 4)
        assert await Adapted.trio_class(5) == (Adapted, 5)

    program.run_asyncio(main)


# The wrapped function's face


@pytest.mark.parametrize(
    ("adapter", "fn"), [(aio_as_trio, add), (trio_as_aio, trio_add)]
)
def test_looks_like_what_it_wraps(adapter, fn):
    fn.mark = "mark"
    adapted = adapter(fn)
    for name in (*functools.WRAPPER_ASSIGNMENTS, "mark"):
        assert getattr(adapted, name, None) == getattr(fn, name, None), name
    assert adapted.__wrapped__ is fn
    assert inspect.signature(adapted) == inspect.signature(fn)
    assert inspect.unwrap(adapted) is fn
    assert repr(fn) in repr(adapted)
    adapted.own = 5
    adapted.__name__ = adapted.__doc__ = "changed"
    assert (adapted.own, adapted.__name__, adapted.__doc__) == (
        5,
        "changed",
        "changed",
    )
    assert fn.__name__ != "changed" != fn.__doc__
    del fn.mark


@pytest.mark.parametrize("adapter", [aio_as_trio, trio_as_aio])
def test_a_face_that_is_put_on_it(adapter):
    """What another decorator sets stays, also where the class has the same name."""
    adapted = functools.wraps(run)(adapter(add))
    for name in functools.WRAPPER_ASSIGNMENTS:
        assert getattr(adapted, name, None) == getattr(run, name, None), name
    del adapted.__module__
    assert adapted.__module__ == add.__module__
    assert type(adapted).__module__ == "trio_asyncio_c._adapter"
    assert adapter(5).__doc__ == type(adapted).__doc__ != add.__doc__


@pytest.mark.parametrize("count", [0, 1, 8, 9, 50])
def test_any_number_of_arguments(count):
    async def collect(*args, **kwargs):
        return args, kwargs

    async def main():
        args = tuple(range(count))
        kwargs = {f"k{number}": number for number in args}
        assert await aio_as_trio(collect)(*args, **kwargs) == (args, kwargs)
        across = aio_as_trio(trio_as_aio(collect))
        assert await across(*args, **kwargs) == (args, kwargs)

    run(main)


def test_adapters_in_a_cycle_are_collected():
    def program():
        cycle = []
        partial = functools.partial(add, cycle)
        cycle.append(aio_as_trio(partial))
        return weakref.ref(partial)

    found = program()
    gc.collect()
    assert found() is None


def test_a_callable_objects_attributes_are_not_the_adapters():
    class Callable:
        def __init__(self):
            self._loop = self._wrapped = self._entered = self.mark = "mine"

        async def __call__(self, x):
            return await add(x)

    async def main():
        wrapped = Callable()
        adapted = aio_as_trio(wrapped)
        assert (adapted.mark, adapted.__wrapped__) == ("mine", wrapped)
        assert await adapted(1) == 1
        # An adapter of an adapter crosses there and back.
        around = trio_as_aio(adapted)
        assert around.__wrapped__ is adapted
        assert around.mark == "mine"
        assert await aio_as_trio(around)(2) == 2

    run(main)


def test_what_is_no_function_has_no_face():
    coro = add(1)
    adapted = aio_as_trio(coro)
    for name in ("__name__", "__wrapped__", "mark"):
        assert not hasattr(adapted, name)
    coro.close()
    adapted = aio_as_trio(add)
    for _ in range(2):
        with pytest.raises(AttributeError, match="'no_such'"):
            adapted.no_such
    assert copy.copy(adapted).__wrapped__ is add


def test_bound_methods_have_the_functions_face():
    method = Adapted().aio_method
    assert method.__name__ == "aio_method"
    assert list(inspect.signature(method).parameters) == ["x"]


def test_what_is_marked_as_a_coroutine_function():
    method = Adapted().aio_method
    for marked in (aio_as_trio(add), method):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            assert asyncio.iscoroutinefunction(marked)
        if sys.version_info >= (3, 12):
            assert inspect.iscoroutinefunction(marked)
    # This one can be given to call_soon(), which refuses coroutine functions.
    assert not inspect.iscoroutinefunction(trio_as_aio(trio_add))


def test_a_trio_function_as_a_callback():
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        done = loop.create_future()

        @trio_as_aio
        async def callback(value):
            await trio.sleep(0)
            done.set_result(value)

        loop.call_soon(callback, 5)
        assert await done == 5

    run(run_asyncio, main)


# The loop


def test_without_a_loop():
    adapted = aio_as_trio(add)

    async def main():
        with pytest.raises(RuntimeError, match=NO_LOOP):
            await adapted(1)
        with pytest.raises(RuntimeError, match=NO_LOOP):
            await aio_as_trio(functools.partial(add, 1))
        with pytest.raises(RuntimeError, match=NO_LOOP):
            await aio_as_trio(add(1))  # closed: no warning
        with pytest.raises(RuntimeError, match=NO_LOOP):
            trio_as_aio(trio_add)(1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trio.run(main)
        gc.collect()


def test_with_a_closed_loop():
    async def main():
        async with open_loop() as loop:
            pass
        assert loop.is_closed()
        for adapted in (aio_as_trio(add, loop=loop)(1), aio_as_trio(add(1), loop=loop)):
            with pytest.raises(RuntimeError, match="Event loop is closed"):
                await adapted
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            trio_as_aio(trio_add, loop=loop)(1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trio.run(main)
        gc.collect()


def test_the_loop_is_looked_up_at_the_call():
    @aio_as_trio
    async def which():
        return asyncio.get_running_loop()

    async def main():
        async with open_loop() as outer:
            async with open_loop() as inner:
                assert await which() is inner
            assert await which() is outer

    trio.run(main)


def test_a_call_that_was_made_before_there_was_a_loop():
    call = aio_as_trio(add)(5)

    async def main():
        assert await call == 5

    run(main)


def test_the_callees_loop_is_the_given_one():
    async def loops():
        return asyncio.get_running_loop(), current_loop.get()

    async def trio_loops():
        await trio.sleep(0)
        return (*await loops(), await aio_as_trio(loops)())

    async def main():
        async with open_loop() as outer:
            async with open_loop() as inner:
                for coro in (loops, loops()):
                    assert await aio_as_trio(coro, loop=outer) == (outer, outer)
                future = trio_as_aio(trio_loops, loop=outer)()
                assert future.get_loop() is outer
                assert await aio_as_trio(future) == (outer, outer, (outer, outer))
                assert await loops() == (inner, inner)

    trio.run(main)


def test_in_a_program_of_asyncio():
    async def loops():
        return asyncio.get_running_loop(), current_loop.get()

    async def trio_side():
        return await aio_as_trio(loops)(), await loops()

    async def main():
        loop = asyncio.get_running_loop()
        # Started by the loop's own method, which leaves the context as it is.
        assert await loop.run_trio(aio_as_trio(loops)) == (loop, loop)
        assert await trio_as_aio(trio_side)() == ((loop, loop), (loop, loop))
        assert current_loop.get() is loop

    loop = trio_asyncio_c.new_event_loop()
    loop.run_until_complete(main())
    loop.close()


def test_asyncio_function_called_in_asyncio_code():
    async def main():
        with pytest.raises(RuntimeError, match="from a Trio task"):
            await aio_as_trio(add)(1)
        with pytest.raises(RuntimeError, match="from a Trio task"):
            await aio_as_trio(add(1))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(run_asyncio, main)
        gc.collect()


# Cancellation, where the adapter has a part in it


@opened_both_ways
def test_a_pending_cancel_keeps_the_function_from_running(program):
    async def never():
        pytest.fail("it ran")

    async def main():
        for call in (aio_as_trio(never), aio_as_trio(never())):
            with trio.CancelScope() as scope:
                scope.cancel()
                await call
            assert scope.cancelled_caught

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        program.run_trio(main)
        gc.collect()


@opened_both_ways
def test_cancel_is_waited_for(program):
    steps = []

    @aio_as_trio
    async def callee():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
            steps.append("callee")
            raise

    async def main():
        with trio.move_on_after(1) as scope:
            try:
                await callee()
            finally:
                steps.append("caller")
        assert scope.cancelled_caught
        assert steps == ["callee", "caller"]

    program.run_trio(main)


@opened_both_ways
def test_asyncio_timeout_around_a_trio_function(program):
    steps = []

    @trio_as_aio
    async def callee():
        try:
            await trio.sleep(60)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            steps.append("callee")

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await callee()
        assert steps == ["callee"]

    program.run_asyncio(main)


def test_an_adapter_within_allow_asyncio():
    async def mixed():
        return await aio_as_trio(add)(1) + await aio_as_trio(add(2))

    async def main():
        assert await allow_asyncio(mixed) == 3
        assert await allow_asyncio(aio_as_trio(add), 4) == 4

    run(main)


def test_many_calls_leave_nothing_behind():
    adapted = aio_as_trio(add)
    back = trio_as_aio(trio_add)

    async def calls(count):
        for i in range(count):
            assert await adapted(i) == i
            assert await aio_as_trio(back)(i) == i

    async def main():
        await calls(10)
        gc.collect()
        before = len(gc.get_objects())
        await calls(1000)
        gc.collect()
        assert len(gc.get_objects()) < before + 500

    run(main)
