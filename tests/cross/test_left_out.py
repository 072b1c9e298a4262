"""What CPython tests of asyncio and trio-asyncio could not do: its list of tests that it
skips, or expects to fail."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import gc
import multiprocessing
import sys
import threading
import time
import warnings

import pytest

from trio_asyncio_c import current_loop, new_event_loop, to_thread, trio

from ._helpers import both_ways, python

var = contextvars.ContextVar("var", default="main")


# run_coroutine_threadsafe: a Task that is cancelled, a caller that waits no longer


@both_ways
def test_a_task_from_a_thread_that_cancels_itself(way):
    async def cancels_itself():
        asyncio.current_task().cancel()
        await asyncio.sleep(1000)

    def in_thread(loop):
        future = asyncio.run_coroutine_threadsafe(cancels_itself(), loop)
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(60)
        assert future.cancelled()

    async def main():
        await to_thread.run_sync(in_thread, current_loop.get())

    way.run_trio(main)


@both_ways
def test_a_task_from_a_thread_that_is_not_waited_for_to_the_end(way):
    ended = []

    async def waits(begun):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(asyncio.current_task().cancelling())

    def in_thread(loop):
        begun = threading.Event()
        future = asyncio.run_coroutine_threadsafe(waits(begun), loop)
        assert begun.wait(60)
        with pytest.raises(concurrent.futures.TimeoutError):
            future.result(0)
        assert future.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(60)

    async def main():
        loop = current_loop.get()
        await to_thread.run_sync(in_thread, loop)
        while not ended:
            await trio.sleep(0)

    way.run_trio(main)
    assert ended == [1]


# Child processes where the policy has no loop


def test_a_child_where_the_policy_has_no_loop_to_give():
    done = python("""
        import asyncio, sys, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import trio_asyncio_c as t

        async def child():
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", "import sys; sys.exit(4)")
            return await process.wait()

        async def main():
            try:
                asyncio.get_event_loop_policy().get_event_loop()
            except RuntimeError:
                print("none", await child())

        async def opened():
            await t.run_asyncio(main)

        def own():
            with asyncio.Runner(loop_factory=t.new_event_loop) as runner:
                runner.run(main())

        for target in own, lambda: t.run(opened):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    """)
    assert done.stdout.splitlines() == ["none 4"] * 2, done.stderr


# A loop of its own in a new process


# By its source, for these tests need not be importable there.
IN_PROCESS = """
import asyncio
from trio_asyncio_c import new_event_loop, trio

async def callee():
    await trio.sleep(0)
    return 5

async def main():
    return await asyncio.get_running_loop().run_trio(callee)

with new_event_loop() as loop:
    assert loop.run_until_complete(main()) == 5
    raise EOFError("done")
"""


@both_ways
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_loop_in_a_process_that_a_loop_has_started(way, method):
    async def main():
        loop = asyncio.get_running_loop()
        context = multiprocessing.get_context(method)
        with concurrent.futures.ProcessPoolExecutor(1, context) as processes:
            with pytest.raises(EOFError, match="done"):
                await loop.run_in_executor(processes, exec, IN_PROCESS, {})

    way.run_asyncio(main)


# stop() within run_until_complete()


def test_a_loop_that_is_stopped_in_the_midst_and_closed():
    kept = []

    def serve(reader, writer):
        writer.close()

    async def talk():
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        kept.append(await asyncio.open_connection("127.0.0.1", port))
        server.close()
        loop.stop()
        await asyncio.sleep(1000)

    loop = new_event_loop()
    with pytest.raises(RuntimeError, match="stopped before Future completed"):
        loop.run_until_complete(talk())
    # It goes on, with the Task that it had.
    (task,) = asyncio.all_tasks(loop)
    assert loop.run_until_complete(loop.run_trio(trio.sleep, 0)) is None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        kept.clear()
        gc.collect()
    assert {warning.category for warning in caught} == {ResourceWarning}


# sleep(0) is a whole pass of the queue


@both_ways
@pytest.mark.parametrize("make", [asyncio.Task, asyncio.tasks._PyTask])
def test_an_exception_handler_runs_in_the_tasks_context_within_one_pass(way, make):
    seen = []
    expected = "task" if sys.version_info >= (3, 12) else "main"  # as asyncio has it

    async def fails():
        var.set("task")
        1 / 0

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: seen.append(var.get()))
        for rounds in range(1, 4):
            make(fails(), loop=loop)
            await asyncio.sleep(0)
            gc.collect()
            assert seen == [expected] * rounds

    way.run_asyncio(main)


# Slow callbacks


@both_ways
def test_slow_callbacks_are_logged(way, caplog):
    def slow():
        time.sleep(0.002)

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        loop.slow_callback_duration = 0.001
        loop.call_soon(slow)
        await asyncio.sleep(0)
        loop.slow_callback_duration = 100
        loop.call_soon(slow)
        await asyncio.sleep(0)
        loop.set_debug(False)

    way.run_asyncio(main)
    told = [r.getMessage() for r in caplog.records if "slow()" in r.getMessage()]
    (text,) = told
    assert text.startswith("Executing <Handle ")
    assert " took " in text


# A child watcher that does not watch


@both_ways
@pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="CPython has no child watchers any more"
)
@pytest.mark.filterwarnings("ignore:.*child_watcher:DeprecationWarning")
def test_no_child_is_begun_that_nobody_would_watch(way):
    asked = []

    class Inactive:
        def is_active(self):
            asked.append("is it active")
            return False

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def add_child_handler(self, *args):
            asked.append("added")

    async def main():
        policy = asyncio.get_event_loop_policy()
        before, policy._watcher = policy._watcher, Inactive()
        try:
            with pytest.raises(RuntimeError, match="is not activated"):
                await asyncio.create_subprocess_exec(sys.executable, "-c", "pass")
        finally:
            policy._watcher = before

    way.run_asyncio(main)
    assert asked == ["is it active"]
