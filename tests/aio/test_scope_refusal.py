"""Cancel scopes in asyncio Tasks: who refuses to be cancelled is asked again, less and
less often, and costs next to nothing."""

from __future__ import annotations

import asyncio
import time

import pytest
from trio_asyncio_c import CancelScope, fail_after, move_on_after, new_event_loop

from ._scoped import call_soon, cancel_soon, in_tasks, now, this_task

FREE_THROWS = 32


def thrown():
    """Return how many cancels the running loop has thrown for scopes."""
    return asyncio.get_running_loop()._cancels_thrown


async def swallow_until(when, pause):
    while now() < when:
        try:
            await asyncio.sleep(pause)
        except asyncio.CancelledError:
            pass


class Refusing(asyncio.Future):
    """A Future that does not let itself be cancelled."""

    calls = 0

    def cancel(self, msg=None):
        self.calls += 1
        return False


@in_tasks
async def test_swallow_loop_is_rate_limited(caplog):
    with move_on_after(1) as scope:
        await swallow_until(4, 0.5)
    assert not scope.cancelled_caught and this_task().cancelling() == 0
    assert FREE_THROWS < thrown() <= 50
    (record,) = caplog.records
    assert "goes on although" in record.message and record.name == "asyncio"
    # It says who, and where that is.
    assert "in swallow_until" in record.message
    assert this_task().get_name() in record.message


@in_tasks
async def test_the_pauses_get_longer():
    times = []
    with CancelScope() as scope:
        scope.cancel()
        while len(times) < FREE_THROWS + 15:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                times.append(now())
    assert times[:FREE_THROWS] == [0] * FREE_THROWS
    pauses = [b - a for a, b in zip(times[FREE_THROWS - 1 :], times[FREE_THROWS:])]
    wanted = [min(0.001 * 2**n, 1) for n in range(15)]
    assert pauses == pytest.approx(wanted)


@in_tasks
async def test_a_shorter_await_completes_undisturbed():
    """When throws have become rare."""
    ended = 0
    with CancelScope() as scope:
        scope.cancel()
        await swallow_until(10, 1)
        for _ in range(5):
            try:
                await asyncio.sleep(0.1)
                ended += 1
            except asyncio.CancelledError:
                pass
    assert ended >= 4


@in_tasks
async def test_the_allowance_is_each_scopes():
    for _ in range(3):
        with CancelScope() as scope:
            scope.cancel()
            for _ in range(FREE_THROWS - 1):
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    pass
            await asyncio.sleep(1000)
        assert scope.cancelled_caught
    assert now() == 0 and this_task().cancelling() == 0


@in_tasks
async def test_yields_are_limited_too():
    """Bare yields: the Task keeps the loop busy by itself, not by our cancels."""
    count = 0
    with CancelScope() as scope:
        scope.cancel()
        for _ in range(1000):
            try:
                await asyncio.sleep(0)
                count += 1
            except asyncio.CancelledError:
                pass
    assert count > 900
    assert FREE_THROWS <= thrown() <= 50
    assert not scope.cancelled_caught


@in_tasks
async def test_condition_lock_held():
    """Condition.wait() must have the lock back before it can end."""
    condition = asyncio.Condition()
    holding = asyncio.Event()

    async def hold():
        async with condition:
            holding.set()
            with CancelScope(shield=True):
                await asyncio.sleep(0.09)

    async def waiter():
        async with condition:
            with CancelScope() as scope:
                cancel_at_hold(scope)
                try:
                    await condition.wait()
                finally:
                    assert condition.locked()
            return scope.cancelled_caught

    def cancel_at_hold(scope):
        async def cancel():
            await holding.wait()
            scope.cancel()

        tasks.append(asyncio.create_task(cancel()))

    tasks = []
    waiting = asyncio.create_task(waiter())
    await asyncio.sleep(0.001)
    tasks.append(asyncio.create_task(hold()))
    assert await waiting is True
    assert waiting.cancelling() == 0
    assert thrown() <= 50
    assert now() == pytest.approx(0.091)
    await asyncio.gather(*tasks)


@in_tasks
async def test_condition_lock_held_with_outside():
    condition = asyncio.Condition()
    scopes = []

    async def waiter():
        async with condition:
            with CancelScope() as scope:
                scopes.append(scope)
                await condition.wait()

    waiting = asyncio.create_task(waiter())
    await asyncio.sleep(0.001)
    async with condition:
        scopes[0].cancel()
        await asyncio.sleep(0.04)
        waiting.cancel("stop")
        await asyncio.sleep(0.05)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert waiting.cancelling() == 1 and not scopes[0].cancelled_caught
    assert thrown() <= 50


@in_tasks
async def test_refusing_future_no_retry():
    future = Refusing()
    asyncio.get_running_loop().call_later(100, future.set_result, "late")
    with CancelScope() as scope:
        cancel_soon(scope)
        await future
        raise AssertionError("not thrown")
    assert future.calls == 1 and now() == 100
    assert scope.cancelled_caught and this_task().cancelling() == 0


@in_tasks
async def test_refusing_future_and_an_outside_cancel():
    task = this_task()
    future = Refusing()
    loop = asyncio.get_running_loop()
    loop.call_later(1, task.cancel, "stop")
    loop.call_later(2, future.set_result, None)
    with pytest.raises(asyncio.CancelledError) as info:
        with CancelScope() as scope:
            cancel_soon(scope)
            await future
    assert info.value.args == ("stop",)
    assert task.cancelling() == 1 and not scope.cancelled_caught
    task.uncancel()


@in_tasks
async def test_slow_task_cleanup_not_interrupted(caplog):
    """A plain Task that is awaited has one second for its cleanup."""
    log = []

    async def child():
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(0.5)
            log.append(now())

    task = asyncio.create_task(child())
    with move_on_after(1) as scope:
        await task
    assert scope.cancelled_caught and log == [1.5] and thrown() == 1
    assert not caplog.records


@in_tasks
async def test_slow_task_is_asked_again(caplog):
    log = []

    async def child():
        for _ in range(8):
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                log.append(now())

    task = asyncio.create_task(child())
    await asyncio.sleep(0)
    with CancelScope() as scope:
        cancel_soon(scope)
        await task
    assert log == [0, 1, 3, 7, 15, 31, 61, 91]
    assert this_task().cancelling() == 0 and not scope.cancelled_caught
    (record,) = caplog.records
    assert "goes on although" in record.message
    assert "waits for <Task cancelling" in record.message
    assert "in child" in record.message


@in_tasks
async def test_one_warning_an_episode(caplog):
    """However it refuses."""

    async def stubborn():
        for _ in range(4):
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                pass

    tasks = [asyncio.create_task(stubborn()) for _ in range(3)]
    await asyncio.sleep(0)
    with CancelScope() as scope:
        scope.cancel()
        for task in tasks:
            await task
        await swallow_until(300, 1)
    assert len(caplog.records) == 1
    with CancelScope() as scope:
        scope.cancel()
        await swallow_until(400, 1)
    assert len(caplog.records) == 2


@in_tasks
async def test_retries_stop_with_the_scope():
    async def child():
        await swallow_until(10, 1)

    task = asyncio.create_task(child())
    with CancelScope() as outer:
        with CancelScope(shield=True) as scope:
            call_soon(outer.cancel)
            await asyncio.sleep(1)
        assert not scope.cancel_called
    count = thrown()
    await asyncio.sleep(100)
    assert thrown() == count and task.done()


@in_tasks
async def test_a_shield_round_what_refuses_ends_the_retries():
    log = []

    async def child():
        for _ in range(2):
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                log.append(now())

    task = asyncio.create_task(child())

    def protect():
        inner.shield = True

    with CancelScope() as outer:
        with CancelScope() as inner:
            cancel_soon(outer)
            asyncio.get_running_loop().call_later(0.5, protect)
            await task
    assert log == [0] and now() == 20
    assert this_task().cancelling() == 0


@in_tasks
async def test_gather_child_swallows():
    log = []

    async def child(times):
        for _ in range(times):
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                log.append((times, now()))
        await asyncio.sleep(1000)

    loop = asyncio.get_running_loop()
    with CancelScope() as scope:
        loop.call_later(1, scope.cancel)
        # It ends when the first of its children is cancelled.
        await asyncio.gather(child(2), child(2), child(3))
    assert log == [(2, 1), (2, 1), (3, 1), (2, 2), (2, 2), (3, 2), (3, 4)]
    assert scope.cancelled_caught and now() == 4
    assert this_task().cancelling() == 0


@in_tasks
async def test_cleanup_of_awaits_is_thrown_into():
    """Level: a cleanup that awaits without a shield is thrown out of, as in Trio."""
    log = []
    with move_on_after(1) as scope:
        try:
            await asyncio.sleep(10)
        finally:
            log.append("cleanup")
            await asyncio.sleep(1)
            log.append("not reached")
    assert log == ["cleanup"] and scope.cancelled_caught and now() == 1


@in_tasks
async def test_too_slow_to_refuse():
    with pytest.raises(TimeoutError):
        with fail_after(1):
            await swallow_until(2, 0.1)
            await asyncio.sleep(100)
    assert this_task().cancelling() == 0


def test_refusing_costs_next_to_nothing():
    """By the process's clock, in real time."""

    async def main():
        loop = asyncio.get_running_loop()
        with CancelScope() as scope:
            scope.cancel()
            await refuse(0.2)
            used, began = time.process_time(), loop.time()
            await refuse(1.5)
            used = time.process_time() - used
            return used / (loop.time() - began), loop._cancels_thrown

    async def refuse(seconds):
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            try:
                await asyncio.sleep(end - loop.time())
            except asyncio.CancelledError:
                pass

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        share, throws = runner.run(main())
    assert share < 0.1
    assert throws <= 50
