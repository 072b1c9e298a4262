"""Cancel scopes in asyncio Tasks: when a CancelledError is thrown, and what it says."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import sys

import pytest
from trio_asyncio_c import CancelScope, move_on_after, move_on_at

from ._scoped import Eager, call_soon, cancel_soon, in_tasks, now, this_task

since_3_12 = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="eager tasks came with CPython 3.12"
)


@in_tasks
async def test_deadline_caught():
    began = now()
    with move_on_after(5) as scope:
        await asyncio.sleep(10)
        raise AssertionError("the sleep was not cut")
    assert now() == began + 5
    assert scope.cancel_called and scope.cancelled_caught
    assert this_task().cancelling() == 0


@in_tasks
async def test_a_deadline_that_is_not_reached_does_nothing():
    with move_on_after(5) as scope:
        await asyncio.sleep(4)
    await asyncio.sleep(10)
    assert not scope.cancel_called and not scope.cancelled_caught


@in_tasks
async def test_level_each_await_raises():
    caught = []
    with CancelScope() as scope:
        scope.cancel()
        for pause in (0, 1, 0, 2, 1):
            try:
                await asyncio.sleep(pause)
            except asyncio.CancelledError:
                caught.append(this_task().cancelling())
    assert caught == [1, 2, 3, 4, 5]
    assert not scope.cancelled_caught
    assert this_task().cancelling() == 0
    assert now() == 0


@in_tasks
async def test_enter_cancelled_raises_at_first_block():
    scope = CancelScope()
    scope.cancel()
    reached = False
    with scope:
        reached = True
        await asyncio.sleep(1)
        raise AssertionError("not thrown")
    assert reached and scope.cancelled_caught


@in_tasks
async def test_a_deadline_in_the_past_is_cancelled_at_entry():
    await asyncio.sleep(10)
    with move_on_at(9) as scope:
        assert scope.cancel_called
        await asyncio.sleep(0)
        raise AssertionError("not thrown")
    assert scope.cancelled_caught


@in_tasks
async def test_cancelled_no_await_is_clean():
    with CancelScope() as scope:
        await asyncio.sleep(0)
        scope.cancel()
    assert scope.cancel_called and not scope.cancelled_caught
    await asyncio.sleep(0)
    await asyncio.sleep(1)
    assert this_task().cancelling() == 0


@in_tasks
async def test_result_on_the_way_is_kept():
    future = asyncio.get_running_loop().create_future()
    steps = []

    def answer():
        future.set_result("value")
        scope.cancel()

    with CancelScope() as scope:
        call_soon(answer)
        steps.append(await future)
        await asyncio.sleep(1)
        steps.append("not reached")
    assert steps == ["value"]
    assert scope.cancelled_caught


@in_tasks
async def test_error_on_the_way_is_kept():
    future = asyncio.get_running_loop().create_future()

    def answer():
        future.set_exception(LookupError("answer"))
        scope.cancel()

    with pytest.raises(LookupError, match="answer"):
        with CancelScope() as scope:
            call_soon(answer)
            await future
    assert not scope.cancelled_caught
    assert this_task().cancelling() == 0


@in_tasks
async def test_sleep0_is_checkpoint():
    with CancelScope() as scope:
        scope.cancel()
        await asyncio.sleep(0)
        raise AssertionError("not thrown")
    assert scope.cancelled_caught


@in_tasks
async def test_nonsuspending_await_is_no_checkpoint():
    queue = asyncio.Queue()
    lock = asyncio.Lock()
    for item in range(3):
        queue.put_nowait(item)
    with CancelScope() as scope:
        scope.cancel()
        assert [await queue.get() for _ in range(3)] == [0, 1, 2]
        async with lock:
            pass
        await queue.put(4)
    assert not scope.cancelled_caught
    assert await queue.get() == 4


@in_tasks
async def test_delivery_is_before_the_next_callback():
    """What is thrown in a turn is there before anything else of that turn."""
    future = asyncio.get_running_loop().create_future()
    seen = []
    with CancelScope() as scope:
        cancel_soon(scope)
        call_soon(lambda: seen.append(future.cancelled()))
        await future
    assert seen == [True]


@in_tasks
async def test_cancel_by_another_task():
    async def other():
        await asyncio.sleep(3)
        scope.cancel("enough")

    task = asyncio.create_task(other())
    with CancelScope() as scope:
        await asyncio.sleep(10)
    assert now() == 3 and scope.cancelled_caught
    await task


@in_tasks
async def test_cancel_of_many_at_once():
    """Tasks whose scopes are cancelled by one callback."""
    scopes = []

    async def child():
        with CancelScope() as scope:
            scopes.append(scope)
            await asyncio.sleep(100)
        return scope.cancelled_caught

    tasks = [asyncio.create_task(child()) for _ in range(50)]
    await asyncio.sleep(1)
    call_soon(lambda: [scope.cancel() for scope in scopes])
    assert await asyncio.gather(*tasks) == [True] * 50
    assert now() == 1


@in_tasks
async def test_what_is_awaited_is_cancelled():
    future = asyncio.get_running_loop().create_future()
    child = asyncio.create_task(asyncio.sleep(100))
    with move_on_after(1) as scope:
        await future
    assert future.cancelled() and scope.cancelled_caught
    with move_on_after(1) as scope:
        await child
    assert child.cancelled() and scope.cancelled_caught


@in_tasks
async def test_plain_child_does_not_inherit():
    """create_task makes what may outlive the block: it is not of the scope."""
    log = []

    async def child():
        for _ in range(3):
            await asyncio.sleep(1)
            log.append(now())

    with CancelScope() as scope:
        task = asyncio.create_task(child())
        await asyncio.sleep(0)
        scope.cancel()
        await asyncio.sleep(0)
    assert scope.cancelled_caught and not task.done()
    await task
    assert log == [1, 2, 3]


# ---- shields ----


@in_tasks
async def test_shield_holds_then_raises():
    task = this_task()
    with CancelScope() as outer:
        with CancelScope(shield=True) as inner:
            outer.cancel()
            await asyncio.sleep(1)
            assert task.cancelling() == 0
        assert not inner.cancelled_caught
        await asyncio.sleep(0)
        raise AssertionError("not thrown")
    assert outer.cancelled_caught and now() == 1


@in_tasks
async def test_unshield_delivers():
    """In the very turn."""
    future = asyncio.get_running_loop().create_future()
    seen = []

    def unshield():
        inner.shield = False

    with CancelScope() as outer:
        outer.cancel()
        with CancelScope(shield=True) as inner:
            call_soon(unshield)
            call_soon(lambda: seen.append(future.cancelled()))
            await future
    assert seen == [True]
    assert outer.cancelled_caught and not inner.cancelled_caught


@in_tasks
async def test_shield_set_too_late():
    def late():
        scope.shield = True

    with CancelScope() as outer:
        with CancelScope() as scope:
            cancel_soon(outer)
            call_soon(late)
            await asyncio.sleep(1)
        assert not scope.cancelled_caught
        raise AssertionError("not thrown")
    assert outer.cancelled_caught
    assert this_task().cancelling() == 0


@in_tasks
async def test_shield_does_not_stop_task_cancel():
    task = this_task()
    with pytest.raises(asyncio.CancelledError, match="stop"):
        with CancelScope(shield=True) as scope:
            call_soon(task.cancel, "stop")
            await asyncio.sleep(1)
    assert not scope.cancelled_caught
    assert task.cancelling() == 1
    task.uncancel()


@in_tasks
async def test_a_shields_own_cancel():
    with CancelScope() as outer:
        with CancelScope(shield=True) as inner:
            cancel_soon(inner)
            await asyncio.sleep(1)
        assert inner.cancelled_caught
        await asyncio.sleep(1)
    assert not outer.cancel_called


@in_tasks
async def test_shield_inside_cancelled_cleanup():
    steps = []
    with CancelScope() as scope:
        try:
            cancel_soon(scope)
            await asyncio.sleep(10)
        finally:
            count = this_task().cancelling()
            with CancelScope(shield=True):
                await asyncio.sleep(2)
                steps.append(this_task().cancelling())
            steps.append(count)
    assert steps == [1, 1]
    assert scope.cancelled_caught and now() == 2
    assert this_task().cancelling() == 0


@in_tasks
async def test_shield_with_a_deadline_in_cleanup():
    with CancelScope() as scope:
        try:
            cancel_soon(scope)
            await asyncio.sleep(10)
        finally:
            with move_on_after(3, shield=True) as inner:
                await asyncio.sleep(10)
            assert inner.cancelled_caught
            assert this_task().cancelling() == 1
    assert scope.cancelled_caught and now() == 3
    assert this_task().cancelling() == 0


# ---- what it says ----


async def thrown_by(scope):
    with scope:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError as exc:
            return exc


@in_tasks
async def test_message():
    scope = CancelScope()
    scope.cancel("no time")
    exc = await thrown_by(scope)
    (message,) = exc.args
    assert str(message) == f"cancelled by scope {id(scope):#x}: no time"
    assert message.scope is scope and message.foreign is False
    assert type(pickle.loads(pickle.dumps(message))) is str
    assert copy.copy(message) == message


@in_tasks
async def test_message_of_a_deadline_and_without_a_reason():
    exc = await thrown_by(move_on_after(0.5))
    assert str(exc).endswith(": its deadline has passed")
    scope = CancelScope()
    scope.cancel()
    assert str(await thrown_by(scope)) == f"cancelled by scope {id(scope):#x}"


@in_tasks
async def test_only_the_first_reason_is_kept():
    scope = CancelScope()
    scope.cancel("first")
    scope.cancel("second")
    assert str(await thrown_by(scope)).endswith(": first")


@in_tasks
async def test_the_message_outlives_its_scope():
    async def gone():
        scope = CancelScope()
        scope.cancel()
        return (await thrown_by(scope)).args[0]

    message = await gone()
    await asyncio.sleep(0)  # the step that it was thrown in holds the error
    gc.collect()
    assert message.scope is None


@in_tasks
async def test_each_throw_has_a_message_of_its_own():
    messages = []
    with CancelScope() as scope:
        scope.cancel()
        for _ in range(3):
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError as exc:
                messages.append(exc.args[0])
    assert len({id(message) for message in messages}) == 3


# ---- eager tasks ----


@since_3_12
def test_eager_enters_cancelled_scope():
    log = []

    async def child(scope):
        with scope:
            log.append("in")
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                log.append("thrown")
                raise
        log.append("out")
        return scope.cancelled_caught

    async def main():
        scope = CancelScope()
        scope.cancel()
        task = asyncio.create_task(child(scope))
        log.append("made")
        assert this_task().cancelling() == 0
        await asyncio.sleep(0)
        assert await task
        assert this_task().cancelling() == 0
        return log

    assert Eager.run(main) == ["in", "made", "thrown", "out"]


@since_3_12
def test_eager_cancels_itself_and_ends():
    async def child():
        with CancelScope() as scope:
            scope.cancel()
        return scope.cancelled_caught

    async def main():
        task = asyncio.create_task(child())
        assert task.done() and task.result() is False
        await asyncio.sleep(0)

    Eager.run(main)


@since_3_12
def test_eager_child_in_its_creators_cancelled_scope():
    """It is not in there: it is a plain child, and goes on."""

    async def child():
        await asyncio.sleep(1)
        with move_on_after(1) as scope:
            await asyncio.sleep(10)
        return scope.cancelled_caught

    async def main():
        with CancelScope() as scope:
            scope.cancel()
            task = asyncio.create_task(child())
            await asyncio.sleep(0)
        assert scope.cancelled_caught
        assert await task
        assert now() == 2

    Eager.run(main)
