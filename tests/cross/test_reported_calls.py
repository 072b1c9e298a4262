"""What users of trio-asyncio reported, by the number of its issue: calls
across. Those that are a rule of their own are in that rule's file."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import socket
import sys
import threading
from functools import partial

import pytest

from trio_asyncio_c import (
    EventLoop,
    TrioExecutor,
    current_loop,
    new_event_loop,
    run_asyncio,
    run_future,
    run_trio,
    trio,
)

from ._helpers import flatten, open_loop, run, run_mock


class Leave(Exception):
    pass


# 161, 140: cancelled while it is queued


def test_161_a_future_whose_handle_was_cancelled_before_it_started():
    # Of the loop's own, too: nothing that was queued behind it is lost.
    ran = []

    async def callee(i):
        ran.append(i)

    async def main():
        loop = current_loop.get()
        futures = [loop.run_trio(callee, i) for i in range(1000)]
        handles = [loop.run_trio_task(callee, 1000 + i) for i in range(1000)]
        for odd in range(1, 1000, 2):
            assert futures[odd].cancel("not any more")
            assert not futures[odd].done()
            handles[odd].cancel()
        await loop.synchronize()
        for i, future in enumerate(futures):
            if i % 2:
                with pytest.raises(asyncio.CancelledError, match="not any more"):
                    await run_future(future)
            else:
                assert await run_future(future) is None
            assert future.done()
        await trio.sleep(0)
        assert sorted(ran) == [*range(0, 1000, 2), *range(1000, 2000, 2)]
        assert all(handle.done() for handle in handles)

    run(main)


def test_161_jobs_cancelled_before_they_started():
    ran = []

    async def main():
        loop = current_loop.get()
        futures = [loop.run_in_executor(None, ran.append, i) for i in range(200)]
        for future in futures:
            future.cancel()
        for future in futures:
            try:
                await run_future(future)
            except asyncio.CancelledError:
                pass
            assert future.done()
        assert await run_future(loop.run_in_executor(None, int, "5")) == 5

    run(main)
    assert len(ran) == len(set(ran))


def test_161_the_callers_task_is_cancelled_with_it():
    async def callee():
        raise AssertionError("it was to be cancelled before it began")

    async def in_asyncio():
        await asyncio.get_running_loop().run_trio(callee)

    async def main():
        loop = current_loop.get()
        task = loop.create_task(in_asyncio())
        # Between the Task's first step, which makes the call, and the call's turn.
        loop.call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await run_future(task)

    async def at_once():
        with trio.move_on_after(1000) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run_asyncio, in_asyncio)
                await trio.lowlevel.checkpoint()
                scope.cancel()
        assert scope.cancelled_caught

    run(main)
    run(at_once)


# 130, 141: no limit that nobody asked for


def test_130_200_000_callbacks_at_once():
    count = 0

    def callback():
        nonlocal count
        count += 1

    async def main():
        loop = current_loop.get()
        for _ in range(200_000):
            loop.call_soon(callback)
        await loop.synchronize()
        assert count == 200_000
        handles = [loop.call_later(1000, callback) for _ in range(1000)]
        for handle in handles:
            handle.cancel()

    run(main)


def test_130_10_000_crossings_at_once():
    async def add_one(i):
        await trio.sleep(0)
        return i + 1

    async def in_asyncio():
        loop = asyncio.get_running_loop()
        calls = [loop.run_trio(add_one, i) for i in range(10_000)]
        return await asyncio.gather(*calls)

    async def main():
        assert await run_asyncio(in_asyncio) == list(range(1, 10_001))

    run(main)


# 104, 103: an error in a callback while a crossing waits


@pytest.mark.parametrize("how", ["soon", "later", "reader", "task", "threadsafe"])
def test_104_an_error_in_a_callback_during_a_crossing(how, caplog):
    ended = []

    def fail():
        raise Leave

    async def task():
        fail()

    def begin(loop, left, right):
        if how == "soon":
            loop.call_soon(fail)
        elif how == "later":
            loop.call_later(0.001, fail)
        elif how == "reader":
            loop.add_reader(left, fail)
            right.send(b"x")
        elif how == "task":
            loop.call_later(0.001, lambda: loop.create_task(task()) and None)
        else:
            loop.call_soon_threadsafe(fail)

    async def sleeps():
        left, right = socket.socketpair()
        with left, right:
            loop = asyncio.get_running_loop()
            begin(loop, left, right)
            try:
                await asyncio.sleep(1000)
            finally:
                loop.remove_reader(left)
                ended.append("slept")

    async def main():
        await run_asyncio(sleeps)

    with pytest.raises(ExceptionGroup) as caught:
        run(main)
    assert {type(exc) for exc in flatten(caught.value)} == {Leave}
    assert ended == ["slept"]


# 133: asyncio starts first


def test_133_asyncio_first_then_trio_then_asyncio():
    async def bottom():
        return asyncio.get_running_loop()

    async def callee():
        await trio.sleep(0)
        return await run_asyncio(bottom)

    async def main():
        return await run_trio(callee)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(main()) is runner.get_loop()
    loop = EventLoop()
    try:
        assert loop.run_until_complete(main()) is loop
    finally:
        loop.close()


# 92: hooks of async generators


def test_92_generators_of_two_loops_and_of_trio():
    said = []

    async def asyncio_numbers(loop):
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            said.append(("asyncio", asyncio.get_running_loop() is loop))

    async def trio_numbers():
        try:
            yield 1
        finally:
            with pytest.raises(trio.Cancelled):
                await trio.sleep(0)
            said.append(("trio", True))

    async def begin(generator):
        return await anext(generator)

    async def main():
        alive = []
        async with open_loop() as outer, open_loop() as inner:
            for loop in (outer, inner):
                for keep in (alive.append, lambda generator: None):
                    generator = asyncio_numbers(loop)
                    await loop.run_asyncio(begin, generator)
                    keep(generator)
                    del generator
            generator = trio_numbers()
            await anext(generator)
            with pytest.warns(ResourceWarning, match="Async generator"):
                del generator
                gc.collect()
                while len(said) < 3:
                    await trio.sleep(0)
            assert sorted(said) == [("asyncio", True)] * 2 + [("trio", True)]
            alive.append(trio_numbers())
            await anext(alive[-1])
        assert sorted(said) == [("asyncio", True)] * 4 + [("trio", True)]
        kept.extend(alive)

    kept = []
    hooks = sys.get_asyncgen_hooks()
    trio.run(main)
    assert sorted(said) == [("asyncio", True)] * 4 + [("trio", True)] * 2
    assert sys.get_asyncgen_hooks() == hooks


# 143, 116: tokens of a limiter


@pytest.mark.parametrize("tokens", [1, 3])
def test_143_100_jobs_and_few_tokens(tokens):
    most = []

    def job(i):
        most.append(limiter.borrowed_tokens)
        return i

    async def in_asyncio(executor):
        loop = asyncio.get_running_loop()
        jobs = [loop.run_in_executor(executor, job, i) for i in range(100)]
        return await asyncio.gather(*jobs)

    async def main():
        executor = TrioExecutor(limiter=limiter)
        assert await run_asyncio(in_asyncio, executor) == list(range(100))
        assert max(most) <= tokens
        while limiter.borrowed_tokens:
            await trio.sleep(0)
        assert limiter.available_tokens == limiter.total_tokens == tokens

    limiter = trio.CapacityLimiter(tokens)
    run(main)


# 22: other executors


def test_22_any_executor():
    class Inline(concurrent.futures.Executor):
        def submit(self, fn, /, *args, **kwargs):
            future = concurrent.futures.Future()
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as exc:
                future.set_exception(exc)
            return future

    async def main():
        loop = current_loop.get()
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            for executor in (threads, Inline()):
                job = loop.run_in_executor(executor, divmod, 7, 3)
                assert await run_future(job) == (2, 1)
                with pytest.raises(ZeroDivisionError):
                    await run_future(loop.run_in_executor(executor, divmod, 7, 0))
            loop.set_default_executor(threads)
            assert await run_future(loop.run_in_executor(None, int, "3")) == 3

    run(main)


# 140, 135: the caller hears of a cancel when the callee has ended


def test_140_a_callee_takes_a_second_to_clean_up():
    order = []

    async def callee():
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            order.append(("callee ended", trio.current_time()))

    async def in_asyncio():
        try:
            await asyncio.get_running_loop().run_trio(callee)
        except asyncio.CancelledError:
            order.append(("asyncio caller", trio.current_time()))
            raise

    async def main():
        began = trio.current_time()
        with trio.move_on_after(2) as scope:
            try:
                await run_asyncio(in_asyncio)
            except trio.Cancelled:
                order.append(("trio caller", trio.current_time()))
                raise
        assert scope.cancelled_caught
        names = [name for name, _ in order]
        assert names == ["callee ended", "asyncio caller", "trio caller"]
        assert all(at - began == pytest.approx(3) for _, at in order)

    run_mock(main)


def test_135_two_loops_calling_into_each_other():
    async def ping(depth, loops):
        if depth == 0:
            return [asyncio.get_running_loop()]
        other = loops[depth % 2]
        answer = await other.run_asyncio(pong, depth - 1, loops)
        return [*answer, other]

    async def pong(depth, loops):
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        if depth == 0:
            return [loop]
        return [*await loop.run_trio(ping, depth - 1, loops), loop]

    async def user(mine, loops):
        assert len(await ping(10, loops)) == 11

    async def main():
        async with open_loop() as one, open_loop() as two:
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(user, one, (one, two))
                    nursery.start_soon(user, two, (two, one))

    trio.run(main)


def test_135_one_loop_ends_while_the_other_waits_for_it():
    seen = []

    began = trio.Event()

    async def bottom():
        began.set()
        try:
            await asyncio.sleep(1000)
        finally:
            seen.append("bottom")

    async def main():
        async with open_loop() as outer:
            async with open_loop() as inner:

                async def middle():
                    try:
                        await inner.run_asyncio(bottom)
                    except asyncio.CancelledError:
                        seen.append("middle")
                        raise

                future = outer.run_trio(middle)
                await began.wait()
            # The end of the inner loop cancelled its Task: the callee of the outer one
            # heard of that as of any other error.
            with pytest.raises(asyncio.CancelledError):
                await run_future(future)
        assert seen == ["bottom", "middle"]

    trio.run(main)


# Crossings that begin in callbacks


def test_run_trio_from_all_kinds_of_callbacks():
    async def callee(name):
        await trio.sleep(0)
        return name

    async def main():
        loop = current_loop.get()
        futures = {}

        def start(name):
            futures.setdefault(name, loop.run_trio(callee, name))
            if name == "reader":
                loop.remove_reader(left)
            elif name == "writer":
                loop.remove_writer(left)

        left, right = socket.socketpair()
        with left, right:
            right.send(b"x")
            loop.call_soon(start, "soon")
            loop.call_later(0.001, start, "later")
            loop.call_soon_threadsafe(start, "threadsafe")
            loop.add_reader(left, start, "reader")
            loop.add_writer(left, start, "writer")
            done = loop.run_trio(trio.sleep, 0)
            done.add_done_callback(lambda _: start("done"))
            while len(futures) < 6:
                await trio.sleep(0.001)
            for name, future in futures.items():
                assert await run_future(future) == name

    run(main)


def test_ten_levels_alternating_with_errors_values_and_cancels():
    ended = []

    async def go_down(depth, end):
        # Of which flavour a level is, is seen by how it goes on.
        if depth == 0:
            return await end()
        try:
            if depth % 2:
                loop = asyncio.get_running_loop()
                return await loop.run_trio(go_down, depth - 1, end)
            return await run_asyncio(go_down, depth - 1, end)
        finally:
            ended.append(depth)

    async def value():
        await trio.sleep(0)
        return "value"

    async def error():
        await trio.sleep(0)
        raise Leave

    async def wait_for_cancel(scope):
        scope.cancel()
        await trio.sleep_forever()

    async def main():
        for _ in range(10):
            assert await go_down(10, value) == "value"
            with pytest.raises(Leave):
                await go_down(10, error)
            with trio.CancelScope() as scope:
                await go_down(10, partial(wait_for_cancel, scope))
            assert scope.cancelled_caught
        assert ended == [*range(1, 11)] * 30

    run(main)


def test_ten_loops_in_each_other_calling_all_of_those_around():
    async def who(expected):
        await asyncio.sleep(0)
        assert asyncio.get_running_loop() is current_loop.get() is expected
        return await run_trio(who_in_trio, expected)

    async def who_in_trio(expected):
        await trio.sleep(0)
        assert asyncio.get_running_loop() is current_loop.get() is expected
        return expected

    async def level(loops):
        for loop in loops:
            assert await loop.run_asyncio(who, loop) is loop
            assert await run_future(loop.run_trio(who_in_trio, loop)) is loop
        if len(loops) < 10:
            async with open_loop() as loop:
                await level([*loops, loop])
        for loop in reversed(loops):
            assert await loop.run_asyncio(who, loop) is loop

    trio.run(level, [])


@pytest.mark.parametrize("opened", [True, False])
def test_a_thousand_coroutines_from_a_thread_cancelled(opened):
    # Of CPython's tests that trio-asyncio leaves out, as it failed now and then.
    async def sleeps(began, ended):
        began.set()
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append(asyncio.current_task().cancelling())

    def in_thread(loop, ended):
        for number in range(1000):
            began = threading.Event()
            future = asyncio.run_coroutine_threadsafe(sleeps(began, ended), loop)
            if number % 2:
                assert began.wait(60)
            assert future.cancel()
            with pytest.raises(concurrent.futures.CancelledError):
                future.result()

    async def main():
        ended = []
        await trio.to_thread.run_sync(in_thread, current_loop.get(), ended)
        while asyncio.all_tasks(current_loop.get()):
            await trio.sleep(0)
        assert set(ended) == {1}
        assert len(ended) >= 500

    if opened:
        run(main)
    else:
        with new_event_loop() as loop:
            loop.run_task(main)
