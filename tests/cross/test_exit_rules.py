"""The end of an `open_loop` block, rule by rule: 49 to 57 of the crossings."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys

import pytest
from trio_asyncio_c import (
    aio_as_trio,
    current_loop,
    new_event_loop,
    open_loop,
    run_asyncio,
    run_future,
    testing,
    trio,
    trio_as_aio,
)

from ._helpers import flatten, run_mock


class Leave(Exception):
    pass


def run_on_clock(fn, *args):
    return trio.run(fn, *args, clock=testing.MockClock(autojump_threshold=0))


# 49, 50: all tasks are cancelled at one instant, once, and waited for


@pytest.mark.parametrize("how", ["normally", "error", "cancel", "deadline"])
def test_both_flavours_are_cancelled_at_one_instant(how):
    seen = []

    async def asyncio_task():
        try:
            await asyncio.sleep(1000)
        finally:
            seen.append(("asyncio", asyncio.get_running_loop().time()))
            await asyncio.sleep(2)

    async def trio_task():
        try:
            await trio.sleep(1000)
        finally:
            seen.append(("trio", trio.current_time()))
            with trio.CancelScope(shield=True):
                await trio.sleep(3)

    async def body(scope, loop):
        loop.create_task(asyncio_task())
        loop.run_trio_task(trio_task)
        loop.run_trio(trio_task).add_done_callback(lambda _: seen.append("done"))
        await trio.sleep(1)
        if how == "error":
            raise Leave
        if how == "cancel":
            scope.cancel()
            await trio.sleep(0)
        if how == "deadline":
            await trio.sleep_forever()

    async def main():
        start = trio.current_time()
        deadline = start + 1 if how == "deadline" else float("inf")
        try:
            with trio.CancelScope(deadline=deadline) as scope:
                async with open_loop() as loop:
                    await body(scope, loop)
        except ExceptionGroup as group:
            assert how == "error"
            assert [type(leaf) for leaf in flatten(group)] == [Leave]
        assert scope.cancelled_caught is (how in ("cancel", "deadline"))
        assert trio.current_time() - start == 4
        assert loop.is_closed()
        return start

    start = run_on_clock(main)
    assert sorted(seen[:-1]) == [
        ("asyncio", start + 1),
        ("trio", start + 1),
        ("trio", start + 1),
    ]
    assert seen[-1] == "done"


def test_a_task_that_refuses_is_waited_for_past_a_deadline():
    cancels = []

    async def refuses():
        until = asyncio.get_running_loop().time() + 100
        while (left := until - asyncio.get_running_loop().time()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                cancels.append(asyncio.current_task().cancelling())
        return "refused"

    async def main():
        start = trio.current_time()
        with trio.move_on_after(1) as scope:
            async with open_loop() as loop:
                task = loop.create_task(refuses())
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert trio.current_time() - start == 100
        assert task.result() == "refused"

    run_on_clock(main)
    assert cancels == [1]


def test_what_begins_while_tasks_are_cancelled(caplog):
    seen, late = [], []

    async def late_trio():
        seen.append("trio began")
        try:
            await trio.sleep_forever()
        finally:
            seen.append("trio ended")

    async def late_asyncio():
        await asyncio.sleep(1000)

    async def asyncio_task(loop):
        try:
            await asyncio.sleep(1000)
        finally:
            # It is not cancelled, and not waited for.
            late.append(loop.create_task(late_asyncio()))
            loop.run_trio_task(late_trio)
            with pytest.raises(asyncio.CancelledError):
                await loop.run_trio(late_trio)
            await asyncio.sleep(0)

    async def main():
        async with open_loop() as loop:
            task = loop.create_task(asyncio_task(loop))
            await loop.synchronize()
        assert task.cancelled()

    trio.run(main)
    assert seen == ["trio began", "trio ended"] * 2 or sorted(seen) == [
        "trio began",
        "trio began",
        "trio ended",
        "trio ended",
    ]
    (task,) = late
    assert not task.done()
    assert not task.cancelling()
    task._log_destroy_pending = False
    task.get_coro().close()


def test_trio_tasks_may_call_asyncio_while_they_unwind():
    seen = []

    async def in_asyncio():
        await asyncio.sleep(1)
        seen.append(asyncio.current_task() is not None)
        return "value"

    async def callee():
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                seen.append(await run_asyncio(in_asyncio))
                async with aio_as_trio(asyncio.timeout(5)):
                    await trio.sleep(1)
                seen.append("manager left")

    async def main():
        async with open_loop() as loop:
            loop.run_trio_task(callee)
            await loop.synchronize()

    run_on_clock(main)
    assert seen == [True, "value", "manager left"]


def test_asyncio_tasks_get_cancelled_futures_for_trio_calls_while_they_unwind():
    seen = []

    async def callee(seconds):
        await trio.sleep(seconds)
        return "value"

    async def asyncio_task():
        try:
            await asyncio.sleep(1000)
        finally:
            for seconds in (0, 5):
                try:
                    seen.append(await trio_as_aio(callee)(seconds))
                except asyncio.CancelledError:
                    seen.append("cancelled")

    async def main():
        start = trio.current_time()
        async with open_loop() as loop:
            loop.create_task(asyncio_task())
            await loop.synchronize()
        assert trio.current_time() == start

    run_on_clock(main)
    assert seen == ["cancelled"] * 2


# 51: errors meanwhile


@pytest.mark.parametrize("body", [False, True])
def test_errors_while_tasks_unwind_leave_with_that_of_the_body(body):
    async def asyncio_task(number):
        try:
            await asyncio.sleep(1000)
        finally:
            raise KeyError(number)

    async def trio_task():
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("trio")

    async def main():
        async with open_loop() as loop:
            for number in range(2):
                loop.create_task(asyncio_task(number))
            await loop.synchronize()
            future = loop.run_trio(trio_task)
            await loop.synchronize()
            await trio.sleep(0)
            futures.append(future)
            if body:
                raise Leave

    futures = []
    with pytest.raises(ExceptionGroup) as caught:
        trio.run(main)
    leaves = flatten(caught.value)
    assert len(caught.value.exceptions) == len(leaves)
    errors = sorted(leaf.args[0] for leaf in leaves if type(leaf) is KeyError)
    assert errors == [0, 1]
    assert sum(type(leaf) is Leave for leaf in leaves) == body
    # That of a Trio call is its Future's.
    assert repr(futures.pop().exception()) == "KeyError('trio')"


# 52: what works meanwhile


def test_all_of_the_loop_works_while_tasks_unwind():
    async def serve(reader, writer):
        writer.write(await reader.readexactly(4))
        await writer.drain()
        writer.close()

    async def asyncio_task(loop, server):
        try:
            await asyncio.sleep(1000)
        finally:
            host, port = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"four")
            seen.append(await reader.read())
            writer.close()
            await writer.wait_closed()
            seen.append(await loop.run_in_executor(None, int, "7"))
            address = await loop.getaddrinfo("localhost", 80)
            assert address
            seen.append(await asyncio.wait_for(asyncio.sleep(0.001, "slept"), 100))
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", "print('child')", stdout=subprocess.PIPE
            )
            out, _ = await process.communicate()
            seen.append(out.strip())
            done = loop.create_future()
            loop.add_signal_handler(signal.SIGUSR1, done.set_result, "signal")
            os.kill(os.getpid(), signal.SIGUSR1)
            seen.append(await done)
            server.close()

    async def main():
        async with open_loop() as loop:
            server = await run_asyncio(asyncio.start_server, serve, "127.0.0.1", 0)
            loop.create_task(asyncio_task(loop, server))
            await loop.synchronize()

    seen = []
    trio.run(main)
    assert seen == [b"four", 7, "slept", b"child", "signal"]


# 53: async generators are closed, which an outer cancel may cut short


def test_the_end_of_generators_comes_after_that_of_tasks():
    seen = []

    async def generator():
        try:
            yield
        finally:
            await asyncio.sleep(1)
            seen.append("generator")

    async def asyncio_task():
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(5)
            seen.append("asyncio")

    async def trio_task():
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(9)
            seen.append("trio")

    async def main():
        start = trio.current_time()
        async with open_loop() as loop:
            alive = generator()
            await run_asyncio(alive.__anext__)
            loop.create_task(asyncio_task())
            loop.run_trio_task(trio_task)
            await loop.synchronize()
        assert trio.current_time() - start == 10
        return alive

    run_on_clock(main)
    assert seen == ["asyncio", "trio", "generator"]


# 54: the stop


def test_a_task_of_an_outer_nursery_calls_in_while_the_loop_ends():
    seen = []

    async def in_asyncio():
        await asyncio.sleep(0)
        return "value"

    async def outside(loop, ending):
        await ending.wait()
        while True:
            try:
                seen.append(await loop.run_asyncio(in_asyncio))
            except asyncio.CancelledError:
                seen.append("cancelled")
            except RuntimeError as exc:
                seen.append(str(exc))
                return

    async def asyncio_task(ending):
        try:
            await asyncio.sleep(1000)
        finally:
            ending.set()
            await asyncio.sleep(0.01)

    async def main():
        async with trio.open_nursery() as nursery:
            async with open_loop() as loop:
                ending = trio.Event()
                nursery.start_soon(outside, loop, ending)
                loop.create_task(asyncio_task(ending))
                await loop.synchronize()

    trio.run(main)
    assert seen[0] == "value"
    assert seen[-1] == "Event loop is closed"
    assert set(seen[1:-1]) <= {"value", "cancelled"}


@pytest.mark.parametrize("turns", [0, 1, 2, 5, 50])
@pytest.mark.parametrize("late", range(0, 24, 3))
def test_a_call_that_an_outer_nursery_makes_late_is_ended(turns, late):
    # It would wait for ever, and no cancel would help: an end that comes too late
    # is no end.
    async def in_asyncio():
        for _ in range(turns):
            await asyncio.sleep(0)
        return "value"

    async def outside(loop, seen):
        for _ in range(late):
            await trio.sleep(0)
        while True:
            try:
                assert await loop.run_asyncio(in_asyncio) == "value"
            except asyncio.CancelledError:
                seen.append("cancelled")
            except RuntimeError as exc:
                seen.append(str(exc))
                return

    async def main():
        seen = []
        async with trio.open_nursery() as nursery:
            async with open_loop() as loop:
                nursery.start_soon(outside, loop, seen)
        assert seen[-1] == "Event loop is closed"
        assert set(seen[:-1]) <= {"cancelled"}

    trio.run(main)


@pytest.mark.parametrize("by_hand", [True, False])
def test_who_waits_for_a_future_of_a_loop_that_is_closed(by_hand):
    seen = []

    async def waits(future, loop):
        with pytest.raises(RuntimeError, match="^Event loop is closed$"):
            await (run_future(future) if loop is None else loop.run_future(future))
        with pytest.raises(RuntimeError, match="^Event loop is closed$"):
            await run_future(future)
        seen.append("told")

    async def main():
        async with trio.open_nursery() as nursery:
            async with open_loop() as loop:
                nursery.start_soon(waits, loop.create_future(), None)
                nursery.start_soon(waits, loop.create_future(), loop)
                done = loop.create_future()
                nursery.start_soon(run_future, done)
                await trio.sleep(0)
                if by_hand:
                    await loop.stop().wait()
                    with pytest.raises(RuntimeError, match="^Event loop is stopped$"):
                        await run_future(loop.create_future())
                    # Its callback will not run any more, but it has an outcome.
                    done.set_result(None)
                    loop.close()
                else:
                    done.set_result(None)
            await trio.testing.wait_all_tasks_blocked()
            assert seen == ["told"] * 2

    trio.run(main)


def test_a_cancel_that_was_passed_on_to_a_future_of_a_loop_that_is_closed():
    class Deaf(asyncio.Future):
        def cancel(self, msg=None):
            return True

    async def main():
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                async with open_loop() as loop:
                    nursery.start_soon(run_future, Deaf(loop=loop))
                    await trio.sleep(0)
                    scope.cancel()
        assert scope.cancelled_caught

    trio.run(main)


# 55, 56: what is given back


def test_what_the_loop_had_is_given_back():
    called = []

    async def main():
        before = signal.getsignal(signal.SIGUSR1)
        hooks = sys.get_asyncgen_hooks()
        read, write = os.pipe()
        left, right = socket.socketpair()
        token = current_loop.set(None)
        with left, right:
            async with open_loop() as loop:
                loop.add_signal_handler(signal.SIGUSR1, called.append, "signal")
                loop.call_later(1000, called.append, "timer")
                loop.autoclose(read)
                loop.autoclose(write)
                loop.add_reader(read, called.append, "reader")
                loop.add_reader(left, called.append, "reader")
                selector, executor = loop._selector, loop._default_executor
                assert current_loop.get() is loop
            assert signal.getsignal(signal.SIGUSR1) is before
            assert sys.get_asyncgen_hooks() == hooks
            assert current_loop.get() is None
            assert loop.is_closed()
            assert not loop.is_running()
            assert asyncio._get_running_loop() is None
            # Only what it still watched then.
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(read)
            os.fstat(write)
            os.close(write)
            os.fstat(left.fileno())
            right.send(b"x")
            await trio.sleep(0.001)
            with pytest.raises(RuntimeError, match="after shutdown"):
                await executor.submit(int)
            assert not selector.get_map()
        current_loop.reset(token)

    trio.run(main)
    assert called == []


def test_names_of_a_closed_loop():
    async def nothing():
        pass

    async def main():
        async with open_loop() as loop:
            pass
        text = "^Event loop is closed$"
        for call in (
            lambda: loop.call_soon(int),
            lambda: loop.call_soon_threadsafe(int),
            lambda: loop.call_later(1, int),
            lambda: loop.call_at(1, int),
            lambda: loop.run_in_executor(None, int),
            lambda: loop.add_signal_handler(signal.SIGUSR1, int),
            lambda: loop.run_trio(trio.sleep, 0),
            lambda: loop.trio_as_future(trio.sleep, 0),
            lambda: loop.run_trio_task(trio.sleep, 0),
        ):
            with pytest.raises(RuntimeError, match=text):
                call()
        for start in (
            lambda: loop.run_aio_coroutine(nothing()),
            lambda: loop.run_asyncio(nothing),
            lambda: loop.synchronize(),
            lambda: aio_as_trio(nothing, loop=loop)(),
        ):
            with pytest.raises(RuntimeError, match=text):
                await start()
        for run_it in loop.run_forever, lambda: loop.run_until_complete(nothing()):
            with pytest.raises(RuntimeError, match="^This is not a sync loop$"):
                run_it()
        loop.close()
        assert loop.stop().is_set()

    trio.run(main)


# 57: what is left alone


def test_a_child_process_outlives_the_block():
    async def main():
        async with open_loop() as loop:
            process = await run_asyncio(
                asyncio.create_subprocess_exec,
                sys.executable,
                "-c",
                "input()",
                stdin=read,
            )
            assert loop is current_loop.get()
            return process.pid, process

    read, write = os.pipe()
    try:
        with pytest.warns(ResourceWarning):
            pid, process = trio.run(main)
            os.kill(pid, 0)  # it is there
            os.write(write, b"\n")
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            del process
            gc.collect()
    finally:
        os.close(read)
        os.close(write)


# The same for a loop with a runner of its own, as far as asyncio has it so


def test_the_end_of_a_loop_of_its_own():
    seen = []

    async def asyncio_task():
        try:
            await asyncio.sleep(1000)
        finally:
            await run_trio_in_vain()
            seen.append("asyncio")

    async def run_trio_in_vain():
        loop = asyncio.get_running_loop()
        seen.append(await loop.run_trio(callee, "value"))

    async def callee(value):
        await trio.sleep(0)
        return value

    async def trio_task():
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.001)
                seen.append(await run_asyncio(asyncio.sleep, 0, "from trio"))
            seen.append("trio")

    async def main():
        loop = asyncio.get_running_loop()
        loop.run_trio_task(trio_task)
        kept.append(loop.create_task(asyncio_task()))
        await asyncio.sleep(0.001)

    # As asyncio has it: first its tasks, which may call Trio, then, with close(), Trio's.
    kept = []
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
    assert seen == ["value", "asyncio", "from trio", "trio"]


def test_a_block_in_a_block_ends_from_the_inside_out():
    seen = []

    async def sleeper(name):
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            seen.append(name)

    async def main():
        async with open_loop() as outer:
            outer.create_task(sleeper("outer"))
            async with open_loop() as inner:
                inner.create_task(sleeper("inner"))
                await outer.synchronize()
                await inner.synchronize()
            assert seen == ["inner"]
            assert not outer.is_closed()
            assert await outer.run_asyncio(asyncio.sleep, 0, "alive") == "alive"

    run_mock(main)
    assert seen == ["inner", "outer"]
