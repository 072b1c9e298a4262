"""run_in_executor: the default executor is the core's threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
import time

import pytest

from trio_asyncio_c import EventLoop, _core

var = contextvars.ContextVar("var", default="unset")


def test_the_value_comes_back(loop):
    async def main():
        def job(a, b):
            assert threading.current_thread() is not threading.main_thread()
            return a + b

        return await loop.run_in_executor(None, job, 1, 2)

    assert loop.run_until_complete(main()) == 3


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_the_error_comes_back(loop, kind):
    error = kind("x")

    def job():
        raise error

    async def main():
        with pytest.raises(kind) as caught:
            await loop.run_in_executor(None, job)
        assert caught.value is error

    loop.run_until_complete(main())


def test_stop_iteration_becomes_a_runtime_error(loop):
    def job():
        raise StopIteration

    async def main():
        with pytest.raises(RuntimeError, match="StopIteration interacts badly"):
            await loop.run_in_executor(None, job)

    loop.run_until_complete(main())


def test_the_cancelled_error_of_threads_becomes_asyncios(loop):
    def job():
        raise concurrent.futures.CancelledError

    async def main():
        with pytest.raises(asyncio.CancelledError):
            await loop.run_in_executor(None, job)

    loop.run_until_complete(main())


def test_no_more_threads_than_the_limit(loop):
    loop._executor_limit = 2
    running = 0
    most = 0
    lock = threading.Lock()

    def job():
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1

    async def main():
        await asyncio.gather(*[loop.run_in_executor(None, job) for _ in range(10)])

    loop.run_until_complete(main())
    assert most == 2
    assert loop._executor_jobs == 0


def test_a_cancelled_job_that_waits_never_runs(loop):
    loop._executor_limit = 1
    seen = []
    gate = threading.Event()

    async def main():
        first = loop.run_in_executor(None, gate.wait)
        second = loop.run_in_executor(None, seen.append, "second")
        third = loop.run_in_executor(None, seen.append, "third")
        assert second.cancel()
        gate.set()
        await first
        await third
        assert second.cancelled()

    loop.run_until_complete(main())
    assert seen == ["third"]


def test_a_cancelled_job_that_runs_is_not_heard(loop):
    gate = threading.Event()

    async def main():
        future = loop.run_in_executor(None, gate.wait)
        await asyncio.sleep(0.005)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future
        gate.set()
        await loop.shutdown_default_executor()

    loop.run_until_complete(main())


def test_jobs_show_in_the_tree(loop):
    gate = threading.Event()

    async def main():
        future = loop.run_in_executor(None, gate.wait)
        names = [task.name for task in loop._nursery.child_tasks]
        assert "<asyncio executor job>" in names
        gate.set()
        await future

    loop.run_until_complete(main())


def test_other_executors_work(loop):
    with concurrent.futures.ThreadPoolExecutor(1) as executor:

        async def main():
            return await loop.run_in_executor(executor, lambda: 5)

        assert loop.run_until_complete(main()) == 5


def test_a_default_executor_that_was_set_is_used(loop):
    executor = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine")
    loop.set_default_executor(executor)

    async def main():
        name = await loop.run_in_executor(None, lambda: threading.current_thread().name)
        await loop.shutdown_default_executor()
        return name

    assert loop.run_until_complete(main()).startswith("mine")


def test_shutdown_waits_for_jobs_and_takes_no_more(loop):
    seen = []

    def job():
        time.sleep(0.01)
        seen.append("done")

    async def main():
        loop.run_in_executor(None, job)
        await loop.shutdown_default_executor()
        assert seen == ["done"]
        with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
            loop.run_in_executor(None, job)

    loop.run_until_complete(main())


def test_close_does_not_wait_for_running_jobs():
    loop = EventLoop()
    gate = threading.Event()
    ended = threading.Event()

    def job():
        gate.wait(10)
        ended.set()

    async def main():
        loop.run_in_executor(None, job)
        loop._executor_limit = 1
        loop.run_in_executor(None, job)

    loop.run_until_complete(main())
    loop.close()
    gate.set()
    assert ended.wait(10)


def test_the_context_is_not_copied_as_in_asyncio(loop):
    async def main():
        var.set("main")
        return await loop.run_in_executor(None, var.get)

    assert loop.run_until_complete(main()) == "unset"


def test_bad_arguments(loop):
    with pytest.raises(TypeError):
        loop.run_in_executor(None)
    with pytest.raises(TypeError):
        loop.run_in_executor(None, print, flush=True)
    loop.set_debug(True)
    with pytest.raises(TypeError, match="a callable object was expected"):
        loop.run_in_executor(None, 5)
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.run_in_executor(None, print)


def test_getaddrinfo(loop):
    async def main():
        return await loop.getaddrinfo("localhost", 80)

    assert loop.run_until_complete(main())


def test_nothing_is_left(loop):
    before = _core._debug_counts()

    async def main():
        await asyncio.gather(*[loop.run_in_executor(None, int) for _ in range(100)])

    loop.run_until_complete(main())
    assert _core._debug_counts()["tasks"] == before["tasks"]


def test_arguments_by_name(loop):
    async def main():
        assert await loop.run_in_executor(executor=None, func=int) == 0
        assert await loop.run_in_executor(None, func=int) == 0
        with pytest.raises(TypeError, match="func"):
            loop.run_in_executor(None)
        with pytest.raises(TypeError, match="fun"):
            loop.run_in_executor(None, fun=int)

    loop.run_until_complete(main())
