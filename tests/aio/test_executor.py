"""run_in_executor: the default executor is the core's threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import multiprocessing
import sys
import threading
import time

import pytest

from trio_asyncio_c import (
    CapacityLimiter,
    EventLoop,
    TrioExecutor,
    _core,
    from_thread,
    trio,
)

from ..trio_swap._helpers import run_python

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


def most_at_once(loop, executor, count):
    """Run jobs, and return how many of them ran at a time."""
    running, most, lock = 0, 0, threading.Lock()

    def job():
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1

    async def main():
        jobs = [loop.run_in_executor(executor, job) for _ in range(count)]
        await asyncio.gather(*jobs)

    loop.run_until_complete(main())
    return most


def test_no_more_threads_than_the_limit(loop):
    loop._executor_limit = 2
    assert most_at_once(loop, None, 10) == 2
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
        with pytest.raises(TypeError, match="func"):
            loop.run_in_executor(None, fun=int)
        with pytest.raises(TypeError, match="multiple values"):
            loop.run_in_executor(None, int, func=int)

    loop.run_until_complete(main())


# As in asyncio

METHODS = ["spawn", "fork", "forkserver"]


def both_loops(scenario, *, debug=False):
    """Run a scenario on asyncio's loop and on ours; what it returned, or the type and
    words of its error."""
    outcomes = []
    for make in (asyncio.SelectorEventLoop, EventLoop):
        loop = make()
        loop.set_debug(debug)
        try:
            outcomes.append(loop.run_until_complete(scenario(loop)))
        except BaseException as exc:
            outcomes.append((type(exc), str(exc)))
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
    return outcomes


def raise_it(error):
    raise error


async def a_coroutine_function():
    raise AssertionError("is not called")


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    "func", [5, None, a_coroutine_function], ids=["5", "None", "coroutine"]
)
def test_what_is_no_function(func, debug):
    async def scenario(loop):
        result = await loop.run_in_executor(None, func)
        if asyncio.iscoroutine(result):
            result.close()
            return "coroutine"
        return result

    stock, ours = both_loops(scenario, debug=debug)
    assert ours == stock


@pytest.mark.parametrize(
    "kind",
    [
        KeyError,
        SystemExit,
        GeneratorExit,
        asyncio.CancelledError,
        TimeoutError,
        concurrent.futures.InvalidStateError,
        *([StopIteration] if sys.version_info >= (3, 13) else []),  # 3.12.1 hangs
    ],
)
def test_errors_are_asyncios(kind):
    async def scenario(loop):
        try:
            await loop.run_in_executor(None, raise_it, kind("words"))
        except BaseException as exc:
            return type(exc), str(exc), type(exc.__cause__)

    stock, ours = both_loops(scenario)
    assert ours == stock


@pytest.mark.parametrize("bad", [None, 5, concurrent.futures.ProcessPoolExecutor])
def test_default_executors_that_asyncio_refuses(bad):
    async def scenario(loop):
        loop.set_default_executor(bad)

    stock, ours = both_loops(scenario)
    assert ours == stock
    assert ours[0] is TypeError


@pytest.mark.parametrize("used", [False, True])
def test_after_the_shutdown(used):
    async def scenario(loop):
        if used:
            await loop.run_in_executor(None, int)
        await loop.shutdown_default_executor()
        with concurrent.futures.ThreadPoolExecutor(1) as own:
            assert await loop.run_in_executor(own, int) == 0
        await loop.run_in_executor(None, int)

    stock, ours = both_loops(scenario)
    assert ours == stock == (RuntimeError, "Executor shutdown has been called")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there is no timeout")
def test_a_shutdown_that_takes_too_long(loop):
    gate = threading.Event()

    async def main():
        loop.run_in_executor(None, gate.wait)
        await loop.shutdown_default_executor(timeout=0.001)

    loop.run_until_complete(main())
    gate.set()


def test_to_thread_copies_the_context(loop):
    async def main():
        var.set("main")
        return await asyncio.to_thread(var.get)

    assert loop.run_until_complete(main()) == "main"


# Other executors


@pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # fork
@pytest.mark.parametrize("method", METHODS)
def test_processes(loop, method):
    async def main():
        context = multiprocessing.get_context(method)
        with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
            assert await loop.run_in_executor(pool, divmod, 7, 2) == (3, 1)
            with pytest.raises(ZeroDivisionError):
                await loop.run_in_executor(pool, divmod, 7, 0)

    loop.run_until_complete(main())


@pytest.mark.skipif(
    not hasattr(concurrent.futures, "InterpreterPoolExecutor"), reason="3.14 has it"
)
def test_interpreters(loop):
    async def main():
        with concurrent.futures.InterpreterPoolExecutor(1) as pool:
            assert await loop.run_in_executor(pool, divmod, 7, 2) == (3, 1)
            with pytest.raises(ZeroDivisionError):
                await loop.run_in_executor(pool, divmod, 7, 0)
        loop.set_default_executor(concurrent.futures.InterpreterPoolExecutor(1))
        assert await loop.run_in_executor(None, divmod, 7, 2) == (3, 1)
        await loop.shutdown_default_executor()

    loop.run_until_complete(main())


# The loop's and the interpreter's end


def test_jobs_that_wait_are_run_after_the_loop_was_closed():
    loop = EventLoop()
    loop._executor_limit = 1
    gate, ended, seen = threading.Event(), threading.Event(), []
    loop.run_in_executor(None, gate.wait)
    for i in range(3):
        future = loop.run_in_executor(None, seen.append, i)
    future.cancel()
    loop.run_in_executor(None, ended.set)
    loop.close()
    assert seen == []
    gate.set()
    assert ended.wait(50)
    assert seen == [0, 1]


def test_jobs_that_wait_behind_one_that_was_not_heard_are_run():
    loop = EventLoop()
    loop._executor_limit = 1
    ended = threading.Event()
    loop.run_in_executor(None, int)
    loop.run_in_executor(None, ended.set)
    while loop._executor_jobs != 2 or threading.active_count() < 2:
        time.sleep(0.001)
    time.sleep(0.01)  # the first has ended as a rule; either way is right
    loop.close()
    assert ended.wait(50)


EXIT = """
import asyncio, sys, threading, time
import trio_asyncio_c

def job(seconds, word):
    time.sleep(seconds)
    print(word, flush=True)

loop = {make}()
loop.run_in_executor(None, job, 0.1, "first")
loop.run_in_executor(None, job, 0.2, "second")
if {close}:
    loop.close()
"""


@pytest.mark.parametrize("close", [True, False])
def test_the_exit_waits_for_jobs_as_with_asyncio(tmp_path, close):
    outputs = []
    for make in ("asyncio.SelectorEventLoop", "trio_asyncio_c.EventLoop"):
        program = EXIT.format(make=make, close=close)
        outputs.append(run_python("-c", program, cwd=tmp_path).stdout)
    assert outputs == ["first\nsecond\n"] * 2


def test_the_exit_of_a_fork_does_not_wait_for_the_parents_jobs(tmp_path):
    program = """
import os, threading, trio_asyncio_c
gate = threading.Event()
loop = trio_asyncio_c.EventLoop()
loop.run_in_executor(None, gate.wait)
child = os.fork()
if child:
    print(os.waitpid(child, 0)[1])
    gate.set()
"""
    result = run_python("-W", "ignore", "-c", program, cwd=tmp_path)
    assert result.stdout == "0\n", result.stderr


# TrioExecutor


@pytest.fixture(params=["given", "default"])
def trio_executor(request, loop):
    """Give a `TrioExecutor` of two workers, and what to pass for it."""
    executor = TrioExecutor(2, "mine")
    if request.param == "given":
        return executor, executor
    loop.set_default_executor(executor)
    return executor, None


def test_jobs_in_trios_threads(loop, trio_executor):
    _, passed = trio_executor

    def job(a, b):
        assert threading.current_thread() is not threading.main_thread()
        here = from_thread.run_sync(threading.current_thread)
        assert here is threading.main_thread()
        return a + b, threading.current_thread().name, var.get()

    async def main():
        var.set("copied")
        total, name, value = await loop.run_in_executor(passed, job, 1, 2)
        assert (total, value) == (3, "copied")
        assert name.startswith("mine_")

    loop.run_until_complete(main())


def test_no_more_workers_than_said(loop, trio_executor):
    _, passed = trio_executor
    assert most_at_once(loop, passed, 8) == 2


@pytest.mark.parametrize("kind", [KeyError, SystemExit, StopIteration])
def test_errors_of_trios_threads(loop, trio_executor, kind):
    _, passed = trio_executor
    error = kind("words")

    async def main():
        seen = RuntimeError if kind is StopIteration else kind
        with pytest.raises(seen) as caught:
            await loop.run_in_executor(passed, raise_it, error)
        assert error in (caught.value, caught.value.__cause__)
        assert await loop.run_in_executor(passed, int) == 0

    loop.run_until_complete(main())


def test_cancelled_jobs_of_trios_threads(loop, trio_executor):
    executor, passed = trio_executor
    gate, begun, seen = threading.Event(), [], []

    def wait():
        begun.append(True)
        return gate.wait(60)

    async def main():
        running = [loop.run_in_executor(passed, wait) for _ in range(2)]
        waiting = loop.run_in_executor(passed, seen.append, "waiting")
        while len(begun) < 2:
            await asyncio.sleep(0)
        new = loop.run_in_executor(passed, seen.append, "new")
        for future in (running[0], waiting, new):
            assert future.cancel("why")
            assert not future.done()
        for future in (waiting, new):
            with pytest.raises(asyncio.CancelledError, match="^why$"):
                await future
        # What a thread has begun is waited for, and its value is not lost.
        assert not running[0].done()
        gate.set()
        assert await asyncio.gather(*running) == [True, True]
        assert not running[0].cancel()
        assert await loop.run_in_executor(passed, int) == 0
        await loop.shutdown_default_executor()
        assert passed is not None or not executor._unfinished

    loop.run_until_complete(main())
    assert seen == []


def test_one_worker_keeps_the_order(loop):
    executor, seen = TrioExecutor(1), []

    async def main():
        futures = [
            loop.run_in_executor(executor, seen.append, number) for number in range(50)
        ]
        await asyncio.gather(*futures)

    loop.run_until_complete(main())
    assert seen == list(range(50))


def test_the_shutdown_waits_for_trios_threads(loop):
    seen = []

    def job(i):
        time.sleep(0.005)
        seen.append(i)

    async def main():
        loop.set_default_executor(TrioExecutor(max_workers=1))
        for i in range(3):
            loop.run_in_executor(None, job, i)
        await loop.shutdown_default_executor()
        assert seen == [0, 1, 2]
        with pytest.raises(RuntimeError, match="^Executor shutdown has been called$"):
            loop.run_in_executor(None, job, 3)

    loop.run_until_complete(main())


def test_closing_the_loop_does_not_wait_for_trios_threads():
    loop, gate = EventLoop(), threading.Event()
    executor = TrioExecutor(1)

    async def main():
        loop.run_in_executor(executor, gate.wait)
        loop.run_in_executor(executor, int)
        await asyncio.sleep(0.01)

    loop.run_until_complete(main())
    loop.close()
    gate.set()


def test_a_trio_executor_that_was_shut_down(loop):
    with TrioExecutor(1) as executor:
        pass
    with pytest.raises(RuntimeError, match="^cannot schedule new futures after"):
        loop.run_in_executor(executor, int)
    with pytest.raises(TypeError, match="no map"):
        executor.map(int, "12")


def test_what_a_trio_executor_is_made_of(loop):
    limiter = CapacityLimiter(1)
    assert TrioExecutor(limiter)._limiter is limiter
    assert TrioExecutor(3)._limiter.total_tokens == 3
    assert TrioExecutor(max_workers=4)._limiter.total_tokens == 4
    assert TrioExecutor()._limiter is None
    assert TrioExecutor(limiter, max_workers=1)._limiter is limiter
    with pytest.raises(ValueError, match="greater than 0"):
        TrioExecutor(0)


def test_debug_mode_looks_at_the_function(loop, trio_executor):
    _, passed = trio_executor
    loop.set_debug(True)
    with pytest.raises(TypeError, match="coroutines cannot be used with run_in_exec"):
        loop.run_in_executor(passed, a_coroutine_function)
    with pytest.raises(TypeError, match="a callable object was expected"):
        loop.run_in_executor(passed, 5)


def test_trio_code_submits_too():
    executor = TrioExecutor(1)

    async def main():
        assert await executor.submit(int, "11", base=2) == 3
        executor.shutdown()
        with pytest.raises(RuntimeError, match="after shutdown"):
            await executor.submit(int)

    trio.run(main)


def test_no_thread_is_left_behind():
    before = threading.active_count()

    async def main():
        await asyncio.gather(*[asyncio.to_thread(time.sleep, 0) for _ in range(8)])

    for _ in range(20):
        with asyncio.Runner(loop_factory=EventLoop) as runner:
            runner.run(main())
        assert threading.active_count() <= before
