"""trio-asyncio's names for what is not an adapter, and those of its first edition."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import socket
import subprocess
import sys
import warnings

import pytest
import trio_asyncio_c
from trio_asyncio_c import trio

from ._helpers import flatten, open_loop, run

DEPRECATED_MODULES = {
    "async_": "open_loop",
    "base": "TrioExecutor",
    "child": "wait_for_child",
    "handles": "ScopedHandle",
    "loop": "current_loop",
    "sync": "SyncTrioEventLoop",
}


async def double(x):
    await asyncio.sleep(0)
    return 2 * x


@pytest.mark.parametrize("name", DEPRECATED_MODULES)
def test_a_deprecated_submodule_warns_and_works(name):
    with pytest.warns(
        trio_asyncio_c.TrioAsyncioDeprecationWarning, match=f"{name} is deprecated"
    ) as caught:
        module = getattr(trio_asyncio_c, name)
    assert caught[0].filename == __file__
    assert hasattr(module, DEPRECATED_MODULES[name])


@pytest.mark.parametrize("name", ["TrioPolicy", "TrioChildWatcher", "current_policy"])
def test_a_deprecated_name_warns_and_works(name):
    with pytest.warns(FutureWarning, match="with no replacement"):
        assert getattr(trio_asyncio_c, name) is not None
    assert name not in dir(trio_asyncio_c)


def test_an_unknown_name_is_an_attribute_error():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
            trio_asyncio_c.no_such_name  # noqa: B018


def test_run_aio_future_and_coroutine():
    async def main():
        loop = trio_asyncio_c.current_loop.get()
        for where in trio_asyncio_c, loop:
            assert await where.run_aio_coroutine(double(2)) == 4
            task = loop.create_task(double(3))
            assert await where.run_aio_future(task) == 6
        assert isinstance(loop, trio_asyncio_c.BaseTrioEventLoop)

    run(main)


def test_without_a_loop():
    async def main():
        text = "^You are not within a trio_asyncio loop$"
        with pytest.raises(RuntimeError, match=text):
            await trio_asyncio_c.run_aio_coroutine(double(1))
        for start in trio_asyncio_c.run_trio, trio_asyncio_c.run_trio_task:
            with pytest.raises(RuntimeError, match=text):
                start(trio.sleep, 0)

    trio.run(main)


def test_run_task_outside_of_a_run():
    async def main(x, *, y):
        loop = asyncio.get_running_loop()
        return await loop.run_aio_coroutine(double(x)), y

    with trio_asyncio_c.new_event_loop() as loop:
        assert isinstance(loop, trio_asyncio_c.BaseTrioEventLoop)
        assert loop.run_task(main, 4, y=5) == (8, 5)
        assert loop.run_task(main, 5, y=6) == (10, 6)
    assert loop.is_closed()
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        loop.run_task(main, 4, y=5)


def test_the_loop_that_runs_by_itself_is_found():
    async def callee(x):
        await trio.sleep(0)
        return x

    async def main():
        return await trio_asyncio_c.run_trio(callee, 7)

    with trio_asyncio_c.new_event_loop() as loop:
        assert loop.run_until_complete(main()) == 7


def test_what_an_open_loop_is_not():
    async def main():
        async with open_loop() as loop:
            with pytest.raises(RuntimeError, match="open_loop"):
                with loop:
                    pass
            with pytest.raises(RuntimeError, match="open_loop"):
                async with loop:
                    pass
            with pytest.raises(RuntimeError, match="^This is not a sync loop$"):
                loop.run_task(trio.sleep, 0)
            with pytest.raises(RuntimeError, match="open_loop"):
                trio_asyncio_c.new_event_loop()
            with pytest.raises(RuntimeError, match="^You need to stop the loop"):
                loop.close()

    trio.run(main)


def test_stop_returns_an_event_and_what_is_queued_runs():
    async def main():
        async with open_loop() as loop:
            ran = []
            loop.call_soon(ran.append, 1)
            own = trio_asyncio_c.Event()
            assert loop.stop(own) is own
            shared = loop.stop()
            assert loop.stop() is shared
            await loop.wait_stopped()
            await own.wait()
            assert ran == [1]
            with pytest.raises(RuntimeError, match="^Event loop is stopped$"):
                loop.run_trio(trio.sleep, 0)
            loop.close()
            assert loop.is_closed()
            assert loop.time() > 0
            with pytest.raises(RuntimeError, match="^Event loop is closed$"):
                await loop.run_aio_coroutine(double(1))

    trio.run(main)


def test_add_reader_returns_a_handle():
    async def main():
        async with open_loop() as loop:
            a, b = socket.socketpair()
            with a, b:
                seen = loop.create_future()
                handle = loop.add_reader(a, lambda: seen.done() or seen.set_result(1))
                b.send(b"x")
                assert await loop.run_aio_future(seen) == 1
                assert not handle.cancelled()
                assert loop.remove_reader(a)
                assert handle.cancelled()
                assert loop.add_writer(a, int) is not None
                assert loop.remove_writer(a)

    trio.run(main)


def test_any_executor_can_be_the_default():
    class Inline(concurrent.futures.Executor):
        def submit(self, fn, /, *args, **kwargs):
            future = concurrent.futures.Future()
            future.set_result(fn(*args, **kwargs))
            return future

    async def main():
        async with open_loop() as loop:
            executor = Inline()
            assert (
                await loop.run_aio_future(loop.run_in_executor(executor, int, "4")) == 4
            )
            loop.set_default_executor(executor)
            assert await loop.run_aio_future(loop.run_in_executor(None, int, "5")) == 5
            with pytest.raises(TypeError):
                loop.set_default_executor(object())

    trio.run(main)


def test_no_autoclose_of_what_was_not_marked():
    async def main():
        async with open_loop() as loop:
            loop.autoclose(0)
            loop.no_autoclose(0)
            with pytest.raises(KeyError):
                loop.no_autoclose(0)

    trio.run(main)


def test_an_error_of_a_callback_leaves_in_one_group():
    async def main():
        async with open_loop() as loop:
            loop.set_exception_handler(lambda loop, ctx: loop._raise_out(ValueError()))
            loop.call_soon(int, "x")
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        trio.run(main)
    assert [type(e) for e in flatten(caught.value)] == [ValueError]
    assert not isinstance(caught.value.exceptions[0], BaseExceptionGroup)


def test_entry_is_not_cancelled():
    async def main():
        steps = []
        with trio.CancelScope() as scope:
            scope.cancel()
            async with open_loop():
                steps.append("entered")
                await trio.sleep(0)
                steps.append("not reached")
        assert steps == ["entered"]
        assert scope.cancelled_caught

    trio.run(main)


def test_plain_trio_says_what_to_do():
    pytest.importorskip("trio")
    program = (
        "import trio, trio_asyncio_c\n"
        "async def main():\n"
        "    for make in (lambda: trio_asyncio_c.open_loop().__aenter__(),\n"
        "                 lambda: trio_asyncio_c.run_aio_coroutine(None),\n"
        "                 lambda: trio_asyncio_c.run_aio_future(None)):\n"
        "        try:\n"
        "            await make()\n"
        "        except RuntimeError as exc:\n"
        "            print('install_trio()' in str(exc))\n"
        "trio.run(main)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100
    )
    assert done.stdout.split() == ["True"] * 3, done.stderr


def test_autoclose_takes_numbers_and_objects_and_can_be_taken_back():
    async def main():
        pairs = [socket.socketpair() for _ in range(3)]
        (by_number, _), (by_object, _), (taken_back, _) = pairs
        async with open_loop() as loop:
            for _ in range(2):
                loop.autoclose(by_number.fileno())
                loop.autoclose(by_object)
                loop.autoclose(taken_back)
            loop.no_autoclose(taken_back)
            for sock, _ in pairs:
                loop.add_reader(sock, int)
        for sock in by_number, by_object:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(sock.detach())
        os.fstat(taken_back.fileno())
        for sock in (sock for pair in pairs for sock in pair):
            sock.close()

    trio.run(main)
