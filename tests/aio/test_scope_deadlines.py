"""Cancel scopes in asyncio Tasks: deadlines, what is asked of them, bad arguments."""

from __future__ import annotations

import asyncio
import math
import threading

import pytest
import trio_asyncio_c
from trio_asyncio_c import (
    CancelScope,
    current_effective_deadline,
    current_time,
    fail_after,
    fail_at,
    move_on_after,
    move_on_at,
)

from ._scoped import call_soon, in_tasks, now, this_task

inf = math.inf


@in_tasks
async def test_deadline_moved_removed_past():
    with move_on_after(5) as scope:
        assert scope.deadline == 5
        scope.deadline = 20
        await asyncio.sleep(10)
        scope.deadline = None
        assert scope.deadline == inf
        await asyncio.sleep(100)
        scope.deadline = now() + 5
        await asyncio.sleep(10)
        raise AssertionError("not thrown")
    assert scope.cancelled_caught and now() == 115


@in_tasks
async def test_deadline_set_to_the_past_by_a_callback():
    def set_deadline():
        scope.deadline = 1

    await asyncio.sleep(2)
    with CancelScope() as scope:
        call_soon(set_deadline)
        await asyncio.sleep(10)
    assert scope.cancelled_caught and now() == 2


@in_tasks
async def test_deadline_set_to_the_past_by_its_own_task():
    await asyncio.sleep(2)
    with CancelScope() as scope:
        scope.deadline = 1
        await asyncio.sleep(10)
    assert scope.cancelled_caught and now() == 2


@in_tasks
async def test_a_later_deadline_does_not_uncancel():
    with move_on_after(1) as scope:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            scope.deadline = inf
        await asyncio.sleep(10)
    assert scope.cancelled_caught and now() == 1


@in_tasks
async def test_relative_deadline():
    with CancelScope(relative_deadline=10) as scope:
        assert scope.is_relative is None
        assert scope.deadline == 10 and scope.relative_deadline == 10
        await asyncio.sleep(4)
        assert scope.relative_deadline == 6
        scope.relative_deadline = 3
        assert scope.deadline == 7
        await asyncio.sleep(10)
    assert scope.cancelled_caught and now() == 7


@in_tasks
async def test_relative_until_entry():
    scope = move_on_after(5)
    assert scope.is_relative
    await asyncio.sleep(10)
    with scope:
        await asyncio.sleep(10)
    assert scope.cancelled_caught and now() == 15


@in_tasks
async def test_positional_deadline():
    with CancelScope(3) as scope:
        await asyncio.sleep(10)
    assert scope.cancelled_caught and now() == 3
    with CancelScope(None) as scope:
        await asyncio.sleep(10)
    assert not scope.cancel_called


@in_tasks
async def test_helpers():
    for make, when in (
        (lambda: move_on_after(5), 5),
        (lambda: move_on_at(now() + 5), 5),
        (lambda: fail_after(5), 5),
        (lambda: fail_at(now() + 5), 5),
    ):
        began = now()
        scope = make()
        assert type(scope) is CancelScope and not scope.shield
        try:
            with scope:
                await asyncio.sleep(10)
        except trio_asyncio_c.TooSlowError:
            pass
        assert scope.cancelled_caught and now() == began + when
    for make in (move_on_after, move_on_at, fail_after, fail_at):
        assert make(1, shield=True).shield is True


@in_tasks
async def test_a_deadline_of_now():
    with move_on_after(0) as scope:
        assert scope.cancel_called
        await asyncio.sleep(0)
        raise AssertionError("not thrown")
    assert scope.cancelled_caught
    with pytest.raises(TimeoutError):
        with fail_after(0):
            await asyncio.sleep(0)


@in_tasks
async def test_a_deadline_and_a_result_in_one_turn():
    """Either the sleep ends, or it is cut; no trace is left."""
    with move_on_after(5) as scope:
        await asyncio.sleep(5)
    assert scope.cancel_called
    assert now() == 5 and this_task().cancelling() == 0
    await asyncio.sleep(0)


@in_tasks
async def test_deadline_after_exit_does_nothing():
    with move_on_after(5) as scope:
        pass
    await asyncio.sleep(10)
    assert not scope.cancelled_caught
    assert not scope.cancel_called


@in_tasks
async def test_cancel_after_exit_and_before_entry():
    with CancelScope() as scope:
        pass
    scope.cancel()
    await asyncio.sleep(0)
    scope = CancelScope()
    scope.cancel()
    await asyncio.sleep(1)
    with scope:
        await asyncio.sleep(10)
    assert scope.cancelled_caught and now() == 1


@in_tasks
async def test_the_earlier_of_two_deadlines():
    with move_on_after(5) as outer, move_on_after(3) as inner:
        await asyncio.sleep(10)
    assert inner.cancelled_caught and not outer.cancelled_caught
    with move_on_after(3) as outer, move_on_after(5) as inner:
        await asyncio.sleep(10)
    assert outer.cancelled_caught and not inner.cancelled_caught
    assert now() == 6


@in_tasks
async def test_two_deadlines_at_once():
    with move_on_after(5) as outer:
        with move_on_after(5) as inner:
            await asyncio.sleep(10)
    assert outer.cancelled_caught and not inner.cancelled_caught


@in_tasks
async def test_many_deadlines_of_one_time():
    async def child():
        with move_on_after(5) as scope:
            await asyncio.sleep(10)
        return scope.cancelled_caught

    children = [asyncio.create_task(child()) for _ in range(100)]
    assert await asyncio.gather(*children) == [True] * 100
    assert now() == 5


# ---- what is asked ----


@in_tasks
async def test_effective_deadline_matrix():
    assert current_effective_deadline() == inf
    with CancelScope():
        assert current_effective_deadline() == inf
    with move_on_at(10):
        assert current_effective_deadline() == 10
        with move_on_at(20):
            assert current_effective_deadline() == 10
        with move_on_at(5):
            assert current_effective_deadline() == 5
            with CancelScope(shield=True) as shield:
                assert current_effective_deadline() == inf
                shield.deadline = 30
                assert current_effective_deadline() == 30
                with move_on_at(40):
                    assert current_effective_deadline() == 30
                shield.shield = False
                assert current_effective_deadline() == 5
        assert current_effective_deadline() == 10
        with CancelScope() as scope:
            scope.cancel()
            assert current_effective_deadline() == -inf
            with CancelScope(shield=True):
                assert current_effective_deadline() == inf
            with move_on_at(5):
                assert current_effective_deadline() == -inf
        assert current_effective_deadline() == 10
    assert current_effective_deadline() == inf


@in_tasks
async def test_effective_deadline_of_a_plain_child():
    async def child():
        seen = [current_effective_deadline()]
        with move_on_at(20):
            seen.append(current_effective_deadline())
        return seen

    with move_on_at(10):
        assert await asyncio.create_task(child()) == [inf, 20]
        assert await asyncio.gather(child()) == [[inf, 20]]
    with CancelScope() as scope:
        scope.cancel()
        task = asyncio.create_task(child())
    assert await task == [inf, 20]


@in_tasks
async def test_current_time():
    assert current_time() == now() == 0
    await asyncio.sleep(3)
    assert current_time() == now() == 3


# ---- bad calls ----


@in_tasks
async def test_bad_seconds():
    for make in (move_on_after, fail_after):
        with pytest.raises(ValueError, match="non-negative"):
            make(-1)
    for make in (move_on_after, fail_after, move_on_at, fail_at):
        with pytest.raises(ValueError, match="NaN"):
            make(math.nan)
        with pytest.raises(TypeError):
            make("soon")
    with pytest.raises(ValueError, match="NaN"):
        CancelScope(math.nan)
    with pytest.raises(ValueError, match="both"):
        CancelScope(3, relative_deadline=5)


@in_tasks
async def test_bad_shield():
    with pytest.raises(TypeError):
        CancelScope(shield=1)
    with pytest.raises(TypeError):
        CancelScope().shield = None
    for make in (move_on_after, fail_after, move_on_at, fail_at):
        with pytest.raises(TypeError):
            make(1, shield="yes")


@in_tasks
async def test_bad_values_leave_a_live_scope_as_it_is():
    with move_on_after(5) as scope:
        for value, error in ((math.nan, ValueError), ("soon", TypeError)):
            with pytest.raises(error):
                scope.deadline = value
        with pytest.raises(TypeError):
            scope.shield = 1
        assert scope.deadline == 5 and scope.shield is False
        await asyncio.sleep(10)
    assert scope.cancelled_caught


@in_tasks
async def test_from_another_thread():
    errors = []

    def elsewhere():
        for call in (
            scope.cancel,
            lambda: setattr(scope, "deadline", 0),
            lambda: setattr(scope, "shield", True),
        ):
            try:
                call()
            except RuntimeError as exc:
                errors.append(str(exc))

    with CancelScope() as scope:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        await asyncio.sleep(0)
    assert len(errors) == 3
    assert all("call_soon_threadsafe" in error for error in errors)
    assert not scope.cancel_called


@in_tasks
async def test_through_the_loop_from_another_thread():
    loop = asyncio.get_running_loop()
    with CancelScope() as scope:
        await asyncio.to_thread(loop.call_soon_threadsafe, scope.cancel, "thread")
        await loop.create_future()
    assert scope.cancelled_caught


@in_tasks
async def test_in_a_callback_there_is_no_task():
    future = asyncio.get_running_loop().create_future()

    def callback():
        try:
            with CancelScope():
                future.set_result(None)
        except RuntimeError as exc:
            future.set_exception(exc)

    call_soon(callback)
    with pytest.raises(RuntimeError, match="Task"):
        await future


def test_no_loop_runs():
    with pytest.raises(RuntimeError):
        CancelScope().__enter__()
    with pytest.raises(RuntimeError):
        current_effective_deadline()
