"""What programs written for trio-asyncio rely on: its names, how they are called, and
what a wrong use says. Each check takes the `trio` namespace that the program uses."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import signal
import threading
import warnings
from contextlib import contextmanager

import trio_asyncio_c as trio_asyncio

# As of trio-asyncio 0.16: parameters by name; "*x": any number of them.
FUNCTIONS = {
    "open_loop": ["queue_len"],
    "run": ["proc", "*args", "queue_len", "**options"],
    "aio_as_trio": ["proc", "loop"],
    "asyncio_as_trio": ["proc", "loop"],
    "trio_as_aio": ["proc", "loop"],
    "trio_as_asyncio": ["proc", "loop"],
    "allow_asyncio": ["fn", "*args"],
    "run_aio_future": ["future"],
    "run_aio_coroutine": ["coro"],
    "run_aio_generator": ["loop", "async_generator"],
    "run_trio": ["proc", "*args"],
    "run_trio_task": ["proc", "*args"],
    "TrioExecutor": ["limiter", "thread_name_prefix", "max_workers"],
}
METHODS = {
    "run_aio_future": ["future"],
    "run_aio_coroutine": ["self", "coro"],
    "trio_as_future": ["self", "proc", "*args"],
    "run_trio_task": ["self", "proc", "*args"],
    "synchronize": ["self"],
    "wait_stopped": ["self"],
    "autoclose": ["self", "fd"],
    "no_autoclose": ["self", "fd"],
    "stop": ["self", "waiter"],
    "close": ["self"],
    "time": ["self"],
    "call_later": ["self", "delay", "callback", "*args", "context"],
    "call_soon_threadsafe": ["self", "callback", "*args", "context"],
    "add_reader": ["self", "fd", "callback", "*args"],
    "add_writer": ["self", "fd", "callback", "*args"],
    "run_in_executor": ["self", "executor", "func", "*args"],
    "set_default_executor": ["self", "executor"],
    "add_signal_handler": ["self", "sig", "callback", "*args"],
    "default_exception_handler": ["self", "context"],
    "run_forever": ["self"],
    "run_until_complete": ["self", "future"],
}
CALLED_BY_POSITION = {"proc", "fn", "self", "callback", "func"}
NO_LOOP = "You are not within a trio_asyncio loop"


@contextmanager
def raises(kind, text):
    """Expect an exception of exactly this class that says this."""
    try:
        yield
    except BaseException as exc:
        assert type(exc) is kind, repr(exc)
        assert text in str(exc), str(exc)
    else:
        raise AssertionError(f"{kind.__name__} was not raised: {text}")


async def sleep_and_return(value=None):
    await asyncio.sleep(0)
    return value


class Manager:
    async def __aenter__(self):
        await asyncio.sleep(0)
        return "entered"

    async def __aexit__(self, *error):
        await asyncio.sleep(0)


async def numbers():
    await asyncio.sleep(0)
    yield 1


# Names and how they are called


def compare(fn, expected):
    signature = inspect.signature(fn)
    given = signature.parameters
    kinds = [parameter.kind for parameter in given.values()]
    for position, name in enumerate(expected):
        if name.startswith("**"):
            assert inspect.Parameter.VAR_KEYWORD in kinds
        elif name.startswith("*"):
            assert inspect.Parameter.VAR_POSITIONAL in kinds
        elif name in CALLED_BY_POSITION:
            assert kinds[position] <= inspect.Parameter.POSITIONAL_OR_KEYWORD
        elif name in given:
            parameter = given[name]
            assert parameter.kind is not inspect.Parameter.POSITIONAL_ONLY, name
        else:
            assert inspect.Parameter.VAR_KEYWORD in kinds, name
    required = [
        parameter
        for parameter in given.values()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind <= inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    assert len(required) <= len([name for name in expected if name[0] != "*"])


def check_signatures(trio):
    for name, expected in FUNCTIONS.items():
        fn = getattr(trio_asyncio, name)
        compare(fn, expected)
        assert fn.__module__ == "trio_asyncio_c", name
        assert name in trio_asyncio.__all__
        assert name in dir(trio_asyncio)
    for kind in trio_asyncio.TrioEventLoop, trio_asyncio.BaseTrioEventLoop:
        for name in METHODS if kind is trio_asyncio.TrioEventLoop else ():
            compare(getattr(kind, name), METHODS[name])
        assert kind.__module__ == "trio_asyncio_c"
        assert issubclass(kind, asyncio.SelectorEventLoop)
    assert issubclass(trio_asyncio.TrioEventLoop, trio_asyncio.BaseTrioEventLoop)
    assert issubclass(trio_asyncio.TrioExecutor, concurrent.futures.ThreadPoolExecutor)
    assert trio_asyncio.asyncio_as_trio is trio_asyncio.aio_as_trio
    assert trio_asyncio.trio_as_asyncio is trio_asyncio.trio_as_aio
    assert issubclass(trio_asyncio.TrioAsyncioDeprecationWarning, FutureWarning)
    assert isinstance(trio_asyncio.__version__, str)
    assert trio_asyncio.current_loop.name == "current_loop"
    assert trio_asyncio.current_loop.get() is None


def check_use_by_keyword(trio):
    async def trio_sleep():
        await trio.sleep(0)
        return "trio"

    async def main():
        async with trio_asyncio.open_loop(queue_len=None) as loop:
            assert trio_asyncio.current_loop.get() is loop
            for where in trio_asyncio, loop:
                coro = sleep_and_return(1)
                assert await where.run_aio_coroutine(coro=coro) == 1
                task = loop.create_task(sleep_and_return(2))
                assert await where.run_aio_future(future=task) == 2
            made = trio_asyncio.run_aio_generator(loop=loop, async_generator=numbers())
            assert [number async for number in made] == [1]
            adapted = trio_asyncio.aio_as_trio(proc=sleep_and_return, loop=loop)
            assert await adapted(value=3) == 3
            future = trio_asyncio.trio_as_aio(proc=trio_sleep, loop=loop)()
            assert await loop.run_aio_future(future) == "trio"
            executor = trio_asyncio.TrioExecutor(
                limiter=None, thread_name_prefix="mine", max_workers=1
            )
            assert await executor.submit(int, "4") == 4
            job = loop.run_in_executor(executor=executor, func=int)
            assert await loop.run_aio_future(job) == 0
            waiter = trio.Event()
            assert loop.stop(waiter=waiter) is waiter
            await loop.wait_stopped()
        return "value"

    assert trio_asyncio.run(main, queue_len=None) == "value"
    assert trio_asyncio.run(sleep_in(trio), 5, strict_exception_groups=True) == 5


def sleep_in(trio):
    async def sleeps(value):
        await trio.sleep(0)
        return value

    return sleeps


# Misuse: of section 1.1 of the contract


def check_misuse_of_open_loop(trio):
    with raises(RuntimeError, "must be called from async context"):
        trio_asyncio.open_loop()

    async def main():
        async with trio_asyncio.open_loop() as loop:
            for use in (lambda: loop.__enter__(), lambda: loop.__aenter__()):
                with raises(RuntimeError, "open_loop()"):
                    use()
            with raises(TypeError, "context manager"):
                with trio_asyncio.open_loop():
                    raise AssertionError
        assert trio_asyncio.current_loop.get() is None

    trio.run(main)


def check_misuse_of_run(trio):
    async def main():
        with raises(RuntimeError, "Attempted to call run() from inside a run()"):
            trio_asyncio.run(sleep_and_return)

    trio.run(main)
    trio_asyncio.run(main)


def check_misuse_of_adapters(trio):
    for adapter in trio_asyncio.aio_as_trio, trio_asyncio.trio_as_aio:
        with raises(TypeError, "positional argument"):
            adapter(sleep_and_return, None)
        name = adapter.__name__

        async def main():
            adapt = trio_asyncio.aio_as_trio

            async def in_asyncio():
                text = f"Call '{name}(ctxfactory(*args))', not '{name}(ctxfactory, *"
                with raises(RuntimeError, text):
                    async with adapter(Manager):
                        pass
                with raises(RuntimeError, f"Call '{name}(gen(*args))', not"):
                    async for _ in adapter(numbers):
                        pass

            if adapter is adapt:
                await in_asyncio()
            else:
                await adapt(in_asyncio)()

        trio_asyncio.run(main)


def check_use_without_a_loop(trio):
    async def main():
        future = asyncio.Future(loop=asyncio.SelectorEventLoop())
        for start in (
            lambda: trio_asyncio.run_aio_coroutine(sleep_and_return()),
            lambda: trio_asyncio.aio_as_trio(sleep_and_return)(),
            lambda: trio_asyncio.aio_as_trio(sleep_and_return())._await(),
            lambda: trio_asyncio.aio_as_trio(Manager()).__aenter__(),
            lambda: trio_asyncio.run_asyncio(sleep_and_return),
            lambda: trio_asyncio.run_coroutine(sleep_and_return()),
        ):
            with raises(RuntimeError, NO_LOOP):
                await start()
        for call in (
            lambda: trio_asyncio.run_trio(trio.sleep, 0),
            lambda: trio_asyncio.run_trio_task(trio.sleep, 0),
            lambda: trio_asyncio.trio_as_aio(trio.sleep)(0),
            lambda: trio_asyncio.aio_as_trio(numbers()).__aiter__(),
            lambda: trio_asyncio.run_aio_generator(None, numbers()),
        ):
            with raises(RuntimeError, NO_LOOP):
                call()
        # It needs no loop of ours.
        future.get_loop().call_soon(future.set_result, "value")
        future.get_loop().run_until_complete(future)
        future.get_loop().close()
        with raises(RuntimeError, "Event loop is closed"):
            await trio_asyncio.run_aio_future(future)

    trio.run(main)


def check_misuse_of_futures(trio):
    async def main():
        for wrong in 3, None, sleep_and_return, object():
            for where in trio_asyncio, trio_asyncio.current_loop.get():
                # trio-asyncio said AttributeError, for want of a check.
                with raises(TypeError, "an asyncio Future is needed, not"):
                    await where.run_aio_future(wrong)

    trio_asyncio.run(main)


def check_misuse_of_an_executor(trio):
    async def main():
        executor = trio_asyncio.TrioExecutor()
        executor.shutdown()
        with raises(RuntimeError, "after shutdown"):
            await executor.submit(int)
        loop = trio_asyncio.current_loop.get()
        with raises(RuntimeError, "after shutdown"):
            loop.run_in_executor(executor, int)
        with raises(TypeError, "Executor"):
            loop.set_default_executor(5)

    trio_asyncio.run(main)


def check_deprecated_names(trio):
    for name in "TrioPolicy", "adapter", "loop":
        assert name not in dir(trio_asyncio)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with raises(trio_asyncio.TrioAsyncioDeprecationWarning, "/issues/64"):
                getattr(trio_asyncio, name)
    with raises(AttributeError, "has no attribute 'nothing_of_the_sort'"):
        trio_asyncio.nothing_of_the_sort  # noqa: B018


# Misuse: of section 1.2 of the contract


def check_misuse_of_a_loop(trio):
    async def main():
        loop = trio_asyncio.current_loop.get()
        with raises(RuntimeError, "You need to stop the loop before closing it"):
            loop.close()
        for use in loop.run_forever, lambda: loop.run_until_complete(None):
            with raises(RuntimeError, "This is not a sync loop"):
                use()
        with raises(KeyError, "0"):
            loop.no_autoclose(0)
        with raises(RuntimeError, "cannot be caught"):
            loop.add_signal_handler(signal.SIGKILL, int)
        # As asyncio, where trio-asyncio was stricter, or returned nothing.
        handle = loop.call_later(-1, int)
        assert isinstance(handle, asyncio.TimerHandle)
        assert isinstance(loop.call_soon_threadsafe(int), asyncio.Handle)
        loop.add_signal_handler(signal.SIGUSR1, int)
        loop.add_signal_handler(signal.SIGUSR1, int)
        loop.remove_signal_handler(signal.SIGUSR1)
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            assert await loop.run_aio_future(loop.run_in_executor(threads, int)) == 0
        with raises(RuntimeError, "open_loop()"):
            trio_asyncio.new_event_loop()
        waiter = trio.Event()
        waiter.set()
        assert loop.stop(waiter) is waiter  # an error in trio-asyncio

    trio_asyncio.run(main)


def check_a_foreign_thread(trio):
    async def main():
        loop = trio_asyncio.current_loop.get()
        loop.set_debug(True)
        seen = []

        def in_thread():
            for use in (
                lambda: loop.call_soon(int),
                lambda: loop.call_later(1, int),
                lambda: loop.trio_as_future(trio.sleep, 0),
                lambda: loop.run_trio_task(trio.sleep, 0),
                lambda: loop.run_in_executor(None, int),
            ):
                try:
                    use()
                except RuntimeError as exc:
                    seen.append(str(exc).startswith("Non-thread-safe operation"))

        thread = threading.Thread(target=in_thread)
        thread.start()
        await trio.to_thread.run_sync(thread.join)
        assert seen == [True] * 5, seen

    trio_asyncio.run(main)


def check_a_closed_loop(trio):
    async def main():
        async with trio_asyncio.open_loop() as loop:
            await loop.stop().wait()
            loop.close()
            loop.close()
            before = loop.time()
        # An error in trio-asyncio; asyncio's closed loops tell the time, and code that
        # cleans up asks them.
        assert loop.time() >= before > 0
        coro = sleep_and_return()
        with raises(RuntimeError, "Event loop is closed"):
            await loop.run_aio_coroutine(coro)
        assert inspect.getcoroutinestate(coro) == inspect.CORO_CLOSED
        for call in (
            lambda: loop.call_soon(int),
            lambda: loop.trio_as_future(trio.sleep, 0),
            lambda: loop.run_trio_task(trio.sleep, 0),
        ):
            with raises(RuntimeError, "Event loop is closed"):
                call()
        for use in loop.run_forever, lambda: loop.run_until_complete(None):
            with raises(RuntimeError, "This is not a sync loop"):
                use()

    trio.run(main)


CHECKS = {
    name: check for name, check in list(globals().items()) if name[:6] == "check_"
}
