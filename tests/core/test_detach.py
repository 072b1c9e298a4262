"""Coroutine objects that leave the scheduler, for good or for a while."""

from __future__ import annotations

import asyncio
import types

import pytest
from trio_asyncio_c import trio

from ._helpers import Error, Value, block, capture, run, settle

lowlevel = trio.lowlevel
detach = lowlevel.temporarily_detach_coroutine_object
reattach = lowlevel.reattach_detached_coroutine_object
leave = lowlevel.permanently_detach_coroutine_object


@types.coroutine
def yield_to_foreign(value):
    """Block in another coroutine runner."""
    return (yield value)


def no_abort(raise_cancel):
    raise AssertionError("must not be aborted")


# For good


def test_a_detached_task_ends_with_the_outcome_given():
    # R44
    async def child():
        coros.append(lowlevel.current_task().coro)
        events.append("in trio")
        received = await leave(Value("ignored"))
        events.append(("outside", received, lowlevel.in_trio_run()))
        received = await yield_to_foreign("yielded")
        events.append(received)
        return "the end"

    coros, events = [], []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            (task,) = nursery.child_tasks
        assert events == ["in trio"]
        assert list(nursery.child_tasks) == []
        assert lowlevel.current_statistics().tasks_living == 3
        return task

    run(main)
    (coro,) = coros
    assert coro.send("first") == "yielded"
    with pytest.raises(StopIteration) as info:
        coro.send("second")
    assert info.value.value == "the end"
    assert events == ["in trio", ("outside", "first", False), "second"]


def test_detaching_with_an_error_fails_the_task():
    # R44
    coros = []

    async def child():
        coros.append(lowlevel.current_task().coro)
        await leave(Error(KeyError("final")))

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)

    with pytest.RaisesGroup(pytest.RaisesExc(KeyError, match="final")):
        run(main)
    with pytest.raises(StopIteration):
        coros[0].send(None)


def test_main_can_leave():
    # R44
    coros = []

    async def main():
        coros.append(lowlevel.current_task().coro)
        await leave(Value("result of the run"))
        return "result of the coroutine"

    assert run(main) == "result of the run"
    with pytest.raises(StopIteration) as info:
        coros[0].send(None)
    assert info.value.value == "result of the coroutine"


def test_throwing_into_a_coroutine_that_left():
    # R44
    coros = []

    async def main():
        coros.append(lowlevel.current_task().coro)
        with pytest.raises(LookupError, match="thrown"):
            await leave(Value(None))
        return "caught"

    run(main)
    with pytest.raises(StopIteration) as info:
        coros[0].throw(LookupError("thrown"))
    assert info.value.value == "caught"


def test_no_task_leaves_with_open_nurseries():
    # R44
    async def main():
        async with trio.open_nursery():
            with pytest.raises(
                RuntimeError,
                match="^can't permanently detach a coroutine object "
                "with open nurseries$",
            ):
                await leave(Value(None))
        return "stayed"

    assert run(main) == "stayed"


def test_a_coroutine_that_left_can_go_on_in_asyncio():
    coros = []

    async def main():
        coros.append(lowlevel.current_task().coro)
        await leave(Value(None))
        await asyncio.sleep(0)
        return asyncio.get_running_loop() is not None

    async def aio_main():
        # The coroutine has been started already; the loop simply goes on with it.
        return await asyncio.ensure_future(coros[0])

    run(main)
    assert asyncio.run(aio_main()) is True


# For a while


def test_there_and_back_again():
    # R44
    async def child():
        task = lowlevel.current_task()
        tasks.append(task)
        events.append("in trio")
        received = await detach(no_abort)
        events.append(("out", received))
        received = await yield_to_foreign(1)
        events.append(("out", received))
        await reattach(task, "byebye")
        events.append("back")
        assert lowlevel.current_task() is task
        await lowlevel.checkpoint()
        return "ignored"

    tasks, events = [], []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await settle()
            (task,) = tasks
            assert events == ["in trio"]
            assert task in nursery.child_tasks
            # What is sent in is passed on as it is.
            assert task.coro.send("raw") == 1
            assert task.coro.send(Value("not unwrapped")) == "byebye"
            assert events[1] == ("out", "raw")
            assert events[2][1].value == "not unwrapped"
            assert "back" not in events
        assert events[-1] == "back"

    run(main)


def test_an_error_thrown_in_while_detached():
    # R44
    async def child():
        task = lowlevel.current_task()
        tasks.append(task)
        with pytest.raises(LookupError, match="thrown"):
            await detach(no_abort)
        await reattach(task, None)
        raise KeyError("back in trio")

    tasks = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await settle()
            assert tasks[0].coro.throw(LookupError("thrown")) is None

    with pytest.RaisesGroup(pytest.RaisesExc(KeyError, match="back in trio")):
        run(main)


def test_reattaching_from_another_coroutine():
    # R44, section 5
    async def child():
        tasks.append(lowlevel.current_task())
        await detach(no_abort)
        await reattach(tasks[0], None)

    async def impostor():
        await reattach(tasks[0], None)

    tasks = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await settle()
            coro = impostor()
            with pytest.raises(
                RuntimeError, match="^given task does not match calling coroutine$"
            ):
                coro.send(None)
            assert tasks[0].coro.send(None) is None

    run(main)


def test_cancelling_a_detached_task():
    # R44: the abort function has to bring it back.
    async def child():
        task = lowlevel.current_task()
        tasks.append(task)
        kept = []

        def abort(raise_cancel):
            kept.append(raise_cancel)
            return lowlevel.Abort.FAILED

        await detach(abort)
        await reattach(task, "coming back")
        events.append("back")
        (raise_cancel,) = kept
        raise_cancel()

    tasks, events = [], []

    async def main():
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)
                await settle()
                scope.cancel()
                assert tasks[0].coro.send(None) == "coming back"
        assert scope.cancelled_caught
        assert events == ["back"]

    run(main)


def test_a_detached_task_that_is_shown():
    async def child():
        tasks.append(lowlevel.current_task())
        await detach(no_abort)
        await yield_to_foreign(None)
        await reattach(tasks[0], None)

    tasks = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await settle()
            (task,) = tasks
            names = [frame.f_code.co_name for frame, _ in task.iter_await_frames()]
            assert names[0] == "child"
            task.coro.send(None)
            names = [frame.f_code.co_name for frame, _ in task.iter_await_frames()]
            assert names[:2] == ["child", "yield_to_foreign"]
            task.coro.send(None)

    run(main)


def test_a_reattached_task_blocks_as_any_other():
    async def child():
        task = lowlevel.current_task()
        tasks.append(task)
        for _ in range(3):
            await detach(no_abort)
            await reattach(task, None)
            results.append(await block())

    tasks, results = [], []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            for i in range(3):
                await settle()
                tasks[0].coro.send(None)
                await settle()
                lowlevel.reschedule(tasks[0], Value(i))

    run(main)
    assert results == [0, 1, 2]


def test_an_error_of_the_outcome_kind_is_not_mistaken():
    # R44: an Error that is sent in is a value like any other while detached.
    async def child():
        tasks.append(lowlevel.current_task())
        received.append(await detach(no_abort))
        await reattach(tasks[0], None)

    tasks, received = [], []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await settle()
            tasks[0].coro.send(capture(lambda: 1 / 0))

    run(main)
    assert isinstance(received[0], Error)
    assert isinstance(received[0].error, ZeroDivisionError)
