"""Cancel scopes in asyncio Tasks that are entered and left as they must not be: an
error says so, and everything goes on."""

from __future__ import annotations

import asyncio
import gc
import sys

import pytest
from trio_asyncio_c import CancelScope, move_on_after, new_event_loop

from ._scoped import call_soon, cancel_soon, in_tasks, now, this_task


async def still_works():
    """See that this Task is in no scope, and scopes do what they should."""
    assert this_task().cancelling() == 0
    await asyncio.sleep(0)
    began = now()
    with move_on_after(1) as scope:
        await asyncio.sleep(10)
    assert scope.cancelled_caught and now() == began + 1
    await asyncio.sleep(1)


@in_tasks
async def test_entered_twice():
    scope = CancelScope()
    with scope:
        pass
    with pytest.raises(RuntimeError, match="only be used for a single 'with' block"):
        with scope:
            raise AssertionError("entered")
    with CancelScope() as scope:
        with pytest.raises(RuntimeError, match="single 'with' block"):
            scope.__enter__()
        cancel_soon(scope)
        await asyncio.sleep(1)
    assert scope.cancelled_caught
    await still_works()


@in_tasks
async def test_exit_in_other_task():
    entered, leave = asyncio.Event(), asyncio.Event()
    scope = CancelScope()

    async def other():
        scope.__enter__()
        entered.set()
        await leave.wait()
        return this_task().cancelling()

    task = asyncio.create_task(other())
    await entered.wait()
    with pytest.raises(RuntimeError, match="from unrelated") as info:
        try:
            raise LookupError("body")
        except LookupError as exc:
            scope.__exit__(type(exc), exc, exc.__traceback__)
    assert "stack corrupted" in str(info.value)
    assert repr(info.value.__context__) == "LookupError('body')"
    await still_works()
    # Nothing has changed over there.
    scope.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await still_works()


@in_tasks
async def test_exit_in_other_task_which_has_scopes():
    scope = CancelScope()

    async def other():
        scope.__enter__()
        await asyncio.sleep(100)

    task = asyncio.create_task(other())
    await asyncio.sleep(0)
    with CancelScope() as mine:
        with pytest.raises(RuntimeError, match="from unrelated"):
            scope.__exit__(None, None, None)
        cancel_soon(mine)
        await asyncio.sleep(1)
    assert mine.cancelled_caught
    task.cancel()
    await asyncio.wait([task])
    await still_works()


@in_tasks
async def test_misnested():
    outer, inner = CancelScope(), CancelScope()
    outer.__enter__()
    inner.__enter__()
    with pytest.raises(RuntimeError, match="still within its child") as info:
        try:
            raise LookupError("body")
        except LookupError as exc:
            outer.__exit__(type(exc), exc, exc.__traceback__)
    assert repr(info.value.__context__) == "LookupError('body')"
    inner.__exit__(None, None, None)
    await still_works()


@in_tasks
async def test_misnested_while_cancelled():
    """What was thrown for both is taken back, and ends at the one left last."""
    for which in ("outer", "inner"):
        outer, inner = CancelScope(), CancelScope()
        outer.__enter__()
        inner.__enter__()
        {"outer": outer, "inner": inner}[which].cancel()
        with pytest.raises(asyncio.CancelledError) as thrown:
            await asyncio.sleep(1)
        exc = thrown.value
        assert this_task().cancelling() == 1
        with pytest.raises(RuntimeError, match="still within its child") as info:
            outer.__exit__(type(exc), exc, exc.__traceback__)
        assert this_task().cancelling() == 0
        assert info.value.__context__ is exc
        assert inner.__exit__(type(exc), exc, exc.__traceback__) is True
        del exc, thrown, info
        await still_works()


@in_tasks
async def test_an_abandoned_scope_does_not_end_others_cancels():
    task = this_task()
    outer, inner = CancelScope(), CancelScope()
    outer.__enter__()
    inner.__enter__()
    with pytest.raises(RuntimeError, match="still within its child"):
        outer.__exit__(None, None, None)
    task.cancel("stop")
    with pytest.raises(asyncio.CancelledError, match="stop") as info:
        await asyncio.sleep(1)
    exc = info.value
    assert inner.__exit__(type(exc), exc, exc.__traceback__) is False
    assert task.uncancel() == 0
    await still_works()


@in_tasks
async def test_three_misnested():
    scopes = [CancelScope() for _ in range(3)]
    for scope in scopes:
        scope.__enter__()
    scopes[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(1)
    with pytest.raises(RuntimeError, match="still within its child"):
        scopes[0].__exit__(None, None, None)
    assert this_task().cancelling() == 0
    await asyncio.sleep(0)
    for scope in reversed(scopes[1:]):
        scope.__exit__(None, None, None)
    await still_works()


@in_tasks
async def test_exit_twice():
    with CancelScope() as scope:
        pass
    with pytest.raises(RuntimeError, match="already been exited"):
        scope.__exit__(None, None, None)
    await still_works()


@in_tasks
async def test_exit_without_entry():
    with pytest.raises(RuntimeError):
        CancelScope().__exit__(None, None, None)
    await still_works()


@in_tasks
async def test_left_open_by_a_task_that_ends():
    scope = move_on_after(5)

    async def child():
        scope.__enter__()
        await asyncio.sleep(1)

    await asyncio.create_task(child())
    thrown = asyncio.get_running_loop()._cancels_thrown
    scope.cancel()
    await asyncio.sleep(10)
    assert asyncio.get_running_loop()._cancels_thrown == thrown
    with pytest.raises(RuntimeError):
        scope.__exit__(None, None, None)
    await still_works()


@in_tasks
async def test_done_task_left_in_scope_no_spin():
    """A Task that has ended cancelled inside its scope gets nothing more."""
    loop = asyncio.get_running_loop()
    scopes = []

    async def child():
        scopes.append(CancelScope().__enter__())
        await asyncio.sleep(100)

    task = asyncio.create_task(child())
    await asyncio.sleep(0)
    scopes[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    thrown = loop._cancels_thrown
    await asyncio.sleep(100)
    assert loop._cancels_thrown == thrown
    assert task.cancelling() == 1
    await still_works()


async def numbers(log, seconds=5):
    with move_on_after(seconds) as scope:
        try:
            yield 1
            yield 2
        finally:
            log.append(scope)


@in_tasks
async def test_generator_left_open_scope():
    """The Task ends with the generator suspended: its scope is abandoned, and the
    deadline is nobody's."""
    log = []
    generator = numbers(log)
    loop = asyncio.get_running_loop()

    async def child():
        return await anext(generator)

    assert await asyncio.create_task(child()) == 1
    thrown = loop._cancels_thrown
    await asyncio.sleep(100)
    assert loop._cancels_thrown == thrown and not log
    with pytest.raises(RuntimeError):
        await generator.aclose()
    assert len(log) == 1 and not log[0].cancelled_caught
    await still_works()


@in_tasks
async def test_generator_closed_by_another_task():
    log = []
    generator = numbers(log, 100)
    hold = asyncio.Event()

    async def child():
        await anext(generator)
        await hold.wait()

    task = asyncio.create_task(child())
    await asyncio.sleep(1)
    with pytest.raises(RuntimeError, match="from unrelated"):
        await generator.aclose()
    await still_works()
    hold.set()
    await task
    await still_works()


@in_tasks
async def test_generator_closed_by_the_loop():
    """The generator dies with its Task: the loop closes it in another one."""
    problems = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: problems.append(context))
    log = []

    async def child():
        await anext(numbers(log))

    await asyncio.create_task(child())
    while not problems:
        await asyncio.sleep(1)
        gc.collect()
    assert len(log) == 1
    assert [type(each["exception"]) for each in problems] == [RuntimeError]
    problems.clear()
    loop.set_exception_handler(None)
    await still_works()


@in_tasks
async def test_generator_scope_is_the_consumers_till_it_is_left():
    """Trio's users know it: a scope round a yield is one of the consumer's."""
    log = []
    generator = numbers(log, 1)
    assert await anext(generator) == 1
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(10)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(10)
    assert this_task().cancelling() == 2
    await generator.aclose()
    assert not log[0].cancelled_caught
    await still_works()


@in_tasks
async def test_scope_dies_entered():
    """Nobody but the Task holds the scope that it is in."""

    async def child():
        CancelScope().__enter__()
        gc.collect()
        await asyncio.sleep(1)
        gc.collect()
        return "ended"

    assert await asyncio.create_task(child()) == "ended"
    await still_works()


@in_tasks
async def test_task_dies_in_its_scope(monkeypatch):
    """A Task that nobody holds, with the Future it waits for: its coroutine is closed
    where the collector runs."""
    scope = CancelScope()
    loop = asyncio.get_running_loop()
    problems, unraisable = [], []
    loop.set_exception_handler(lambda loop, context: problems.append(str(context)))
    monkeypatch.setattr(
        sys, "unraisablehook", lambda args: unraisable.append(str(args))
    )

    async def child():
        with scope:
            await loop.create_future()

    asyncio.create_task(child())
    await asyncio.sleep(0)
    while not problems:
        await asyncio.sleep(1)
        gc.collect()
    scope.cancel()
    await asyncio.sleep(10)
    assert len(problems) == 1 and "destroyed but it is pending" in problems[0]
    assert len(unraisable) == 1 and "already been exited" in unraisable[0]
    loop.set_exception_handler(None)
    await still_works()


def test_left_open_when_the_loop_closes():
    loop = new_event_loop()

    async def main():
        CancelScope(loop.time() + 1000).__enter__()
        call_soon(loop.stop)
        await loop.create_future()

    task = loop.create_task(main())
    loop.run_forever()
    loop.close()
    assert not task.done()
    task.get_coro().close()
    task._log_destroy_pending = False


@in_tasks
async def test_inside_a_cancelled_one_nothing_is_reported(caplog):
    for _ in range(3):
        with CancelScope() as scope:
            scope.cancel()
            await asyncio.sleep(1)
    assert not caplog.records
