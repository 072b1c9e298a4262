"""What users of trio-asyncio reported, by the number of its issue: the life of loops
and of what runs on them. Those that are a rule of their own are in that rule's file."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import warnings

import pytest

from trio_asyncio_c import (
    EventLoop,
    current_loop,
    new_event_loop,
    run_asyncio,
    run_future,
    run_trio,
    trio,
)

from ._helpers import flatten, open_loop, python, run

ROUNDS = 1000


# 96, 56, 89, 95, 91, 108: leaving the block while crossings are under way


class Leave(Exception):
    pass


def leave_normally(scope):
    pass


def leave_by_an_error(scope):
    raise Leave


def leave_by_a_deadline(scope):
    scope.deadline = trio.current_time()


@pytest.mark.parametrize(
    "leave", [leave_normally, leave_by_an_error, leave_by_a_deadline]
)
@pytest.mark.parametrize("turns", [0, 1, 20])
def test_96_leaving_with_sandwiches_of_three_levels_alive(leave, turns):
    ended = []

    async def bottom():
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("bottom")
            await asyncio.sleep(0)

    async def middle():
        try:
            await run_asyncio(bottom)
        finally:
            ended.append("middle")

    async def top():
        try:
            await asyncio.get_running_loop().run_trio(middle)
        finally:
            ended.append("top")

    async def one_round():
        with trio.CancelScope() as scope:
            async with open_loop() as loop, trio.open_nursery() as nursery:
                task = loop.create_task(top())
                future = loop.run_trio(middle)
                nursery.start_soon(run_future, loop.create_task(top()))
                for _ in range(turns):
                    await trio.sleep(0)
                leave(scope)
                nursery.cancel_scope.cancel()
            return loop, task, future
        return None

    async def main():
        for _ in range(ROUNDS):
            began = len(ended)
            try:
                result = await one_round()
            except ExceptionGroup as group:
                assert leave is leave_by_an_error
                assert {type(exc) for exc in flatten(group)} == {Leave}
            else:
                assert leave is not leave_by_an_error
                if result is not None:
                    loop, task, future = result
                    assert loop.is_closed()
                    assert task.cancelled()
                    assert future.cancelled()
            # From the inside out, whatever had begun.
            levels = ended[began:]
            assert levels.count("bottom") <= levels.count("middle")
            if turns == 20:
                assert sorted(levels) == ["bottom"] * 3 + ["middle"] * 3 + ["top"] * 2

    trio.run(main)


def test_56_a_loop_with_its_own_runner_closed_with_sandwiches_alive():
    ended = []

    async def bottom():
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)  # needs the loop, still
            ended.append("bottom")

    async def middle():
        try:
            await run_asyncio(bottom)
        finally:
            ended.append("middle")

    for _ in range(ROUNDS):
        ended.clear()
        loop = new_event_loop()
        future = loop.run_trio(middle)
        loop.run_until_complete(asyncio.sleep(0.0001))
        assert not future.done()
        loop.close()
        assert future.cancelled()
        assert ended in ([], ["middle"], ["bottom", "middle"])
    assert ended


def test_115_a_sibling_that_fails_before_the_first_checkpoint():
    async def opens(seen):
        async with open_loop():
            seen.append("body")
            await trio.sleep_forever()

    async def fails():
        raise Leave

    async def main():
        for first in (True, False):
            seen = []
            with pytest.RaisesGroup(Leave):
                async with trio.open_nursery() as nursery:
                    if first:
                        nursery.start_soon(opens, seen)
                        nursery.start_soon(fails)
                    else:
                        nursery.start_soon(fails)
                        nursery.start_soon(opens, seen)
            assert seen == ["body"]

    trio.run(main)


def test_115_an_error_in_the_body_before_its_first_checkpoint():
    async def main():
        with pytest.RaisesGroup(Leave):
            async with open_loop() as loop:
                loop.create_task(asyncio.sleep(1000))
                loop.run_trio(trio.sleep_forever)
                raise Leave

    trio.run(main)


# 58, 60, 81: stop() by hand


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("tasks", [0, 3])
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("from_callback", [False, True])
def test_58_stopped_and_left(times, tasks, waits, from_callback):
    unwound = []

    async def asyncio_task():
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            unwound.append("asyncio")

    async def trio_task():
        try:
            await trio.sleep_forever()
        finally:
            unwound.append("trio")

    async def main():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            async with open_loop() as loop:
                for _ in range(tasks):
                    loop.create_task(asyncio_task())
                    loop.run_trio_task(trio_task)
                await loop.synchronize()
                for _ in range(times):
                    if from_callback:
                        loop.call_soon(loop.stop)
                    else:
                        loop.stop()
                if waits:
                    await loop.wait_stopped()
        assert loop.is_closed()
        texts = [str(warning.message) for warning in caught]
        if not tasks:
            assert texts == []
        else:
            assert all("3 asyncio tasks were alive" in text for text in texts)

    trio.run(main)
    assert sorted(unwound) == ["asyncio"] * tasks + ["trio"] * tasks


def test_58_stopped_by_an_asyncio_task_of_its_own():
    async def stops():
        asyncio.get_running_loop().stop()
        await asyncio.sleep(1000)

    async def main():
        with pytest.warns(RuntimeWarning, match="was stopped while"):
            async with open_loop() as loop:
                task = loop.create_task(stops())
                await loop.wait_stopped()
        assert task.cancelled()

    trio.run(main)


# 134: the exception handler after close


def test_134_the_exception_handler_after_close(caplog):
    class Dying:
        def __init__(self, loop):
            self.loop = loop

        def __del__(self):
            self.loop.call_exception_handler({"message": "said while dying"})

    async def main():
        async with open_loop() as loop:
            pass
        loop.call_exception_handler({"message": "said afterwards"})
        loop.call_exception_handler({"message": "with one", "exception": Leave()})
        dying = Dying(loop)
        del dying
        gc.collect()
        loop.default_exception_handler({"message": "by the default's name"})

    trio.run(main)
    assert [record.message.splitlines()[0] for record in caplog.records] == [
        "said afterwards",
        "with one",
        "said while dying",
        "by the default's name",
    ]


def test_134_a_task_that_dies_unretrieved_after_its_loop(caplog):
    async def fails():
        raise Leave

    async def main():
        with pytest.RaisesGroup(Leave):
            async with open_loop() as loop:
                task = loop.create_task(fails())
                await loop.synchronize()
                del task
                gc.collect()
                await trio.sleep_forever()

    trio.run(main)
    (record,) = caplog.records
    assert "Task exception was never retrieved" in record.message


# 44: call_soon from __del__


def test_44_call_soon_in_a_destructor():
    said = []

    class Dying:
        def __init__(self, loop):
            self.loop = loop

        def __del__(self):
            self.loop.call_soon(said.append, "callback")
            self.loop.run_trio_task(self.close)

        @staticmethod
        async def close():
            await trio.sleep(0)
            said.append("trio task")

    async def main():
        loop = current_loop.get()
        dying = Dying(loop)
        del dying
        gc.collect()
        while len(said) < 2:
            await trio.sleep(0)

    run(main)
    assert said == ["callback", "trio task"]


# 34: a nursery outside of the loop


def test_34_a_nursery_around_the_loop_whose_child_goes_on():
    # It sees a closed loop, at once, and is no reason to wait for ever.
    async def child(closed, seen):
        await closed.wait()
        for call in (
            lambda: run_asyncio(asyncio.sleep, 0),
            lambda: current_loop.get().run_coroutine(asyncio.sleep(0)),
            lambda: run_trio(trio.sleep, 0),
            lambda: current_loop.get().synchronize(),
            lambda: asyncio.get_running_loop().create_task(forgotten),
        ):
            try:
                await call()
            except RuntimeError as exc:
                seen.append(str(exc))

    forgotten = asyncio.sleep(0)

    async def main():
        closed = trio.Event()
        seen = []
        async with trio.open_nursery() as nursery:
            async with open_loop():
                nursery.start_soon(child, closed, seen)
                await trio.sleep(0)
            closed.set()
        assert seen == ["Event loop is closed"] * 5

    try:
        trio.run(main)
    finally:
        forgotten.close()


def test_34_a_child_that_waits_for_asyncio_when_the_loop_ends():
    began = trio.Event()

    async def sleeps():
        began.set()
        await asyncio.sleep(1000)

    async def waits(seen):
        try:
            await run_asyncio(sleeps)
        except asyncio.CancelledError:
            seen.append("CancelledError")

    async def main():
        seen = []
        async with trio.open_nursery() as nursery:
            async with open_loop():
                nursery.start_soon(waits, seen)
                await began.wait()
        # The block's end cancelled the asyncio side; Trio's was not cancelled.
        assert seen == ["CancelledError"]

    trio.run(main)


# 121: errors of fds


def test_121_a_socket_closed_in_its_own_callback():
    async def main():
        loop = current_loop.get()
        left, right = socket.socketpair()
        called = []

        def reader():
            called.append(left.recv(1))
            loop.remove_reader(left)
            left.close()

        loop.add_reader(left, reader)
        right.send(b"x")
        while not called:
            await trio.sleep(0)
        await trio.sleep(0.001)
        right.close()
        # Closed before the loop ever looked at it.
        left, right = socket.socketpair()
        loop.add_reader(left, called.append, "never")
        loop.add_writer(left, called.append, "never")
        loop.remove_reader(left)
        loop.remove_writer(left)
        left.close()
        right.close()
        await trio.sleep(0.001)
        assert called == [b"x"]

    run(main)


# In processes of their own: what once was a deadlock


@pytest.mark.parametrize("kind", ["SystemExit(42)", "KeyboardInterrupt()"])
@pytest.mark.parametrize("waits", [True, False])
def test_118_what_ends_a_program_raised_by_asyncio_code(kind, waits):
    call = (
        "await t.run_asyncio(leaves)"
        if waits
        else "t.current_loop.get().create_task(leaves()); await trio.sleep_forever()"
    )
    result = python(f"""
        import asyncio
        import trio_asyncio_c as t
        from trio_asyncio_c import trio

        async def leaves():
            try:
                await asyncio.sleep(0)
                raise {kind}
            finally:
                print("asyncio left")

        async def main():
            try:
                {call}
            finally:
                print("trio left")

        try:
            t.run(main)
        except* (SystemExit, KeyboardInterrupt) as group:
            inner = group
            while isinstance(inner, BaseExceptionGroup):
                (inner,) = inner.exceptions
            print(repr(inner))
    """)
    assert result.stdout.splitlines() == ["asyncio left", "trio left", kind]
    assert result.returncode == 0, result.stderr


def test_149_exit_in_asyncio_run():
    result = python("""
        import asyncio, sys
        import trio_asyncio_c as t
        from trio_asyncio_c import trio

        async def waits():
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(0)
                print("task cancelled")

        async def waits_in_trio():
            try:
                await trio.sleep_forever()
            finally:
                print("trio task cancelled")

        async def numbers():
            try:
                yield 1
            finally:
                print("generator closed")

        async def main():
            loop = asyncio.get_running_loop()
            loop.run_trio_task(waits_in_trio)
            kept.append(asyncio.create_task(waits()))
            kept.append(numbers())
            await anext(kept[-1])
            await asyncio.sleep(0.001)
            sys.exit(42)

        kept = []
        with asyncio.Runner(loop_factory=t.new_event_loop) as runner:
            runner.run(main())
    """)
    assert sorted(result.stdout.splitlines()) == [
        "generator closed",
        "task cancelled",
        "trio task cancelled",
    ]
    assert result.returncode == 42, result.stderr
    assert "Event loop stopped" not in result.stderr


def test_23_a_loop_in_another_thread_with_a_policy_of_its_own():
    seen = []

    def in_thread():
        async def main():
            seen.append(type(asyncio.get_running_loop()))

        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(main())

    async def main():
        before = asyncio.get_running_loop()
        thread = threading.Thread(target=in_thread)
        thread.start()
        await trio.to_thread.run_sync(thread.join)
        assert asyncio.get_running_loop() is before
        await trio.to_thread.run_sync(in_thread)

    run(main)
    assert len(seen) == 2
    assert not any(issubclass(kind, EventLoop) for kind in seen)
