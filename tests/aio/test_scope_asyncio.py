"""Cancel scopes beside asyncio's own: what the table of pairs does not show."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading

import pytest
from trio_asyncio_c import CancelScope, move_on_after, move_on_at, new_event_loop

from ._scoped import InTask, call_soon, cancel_soon, in_tasks, now, this_task


async def no_ghost():
    """See that nothing is left to be thrown."""
    assert this_task().cancelling() == 0
    await asyncio.sleep(0)
    await asyncio.sleep(1)


# ---- asyncio.timeout() ----


@in_tasks
async def test_timeout_inside_scope_first():
    with move_on_after(1) as scope:
        async with asyncio.timeout(2) as timeout:
            await asyncio.sleep(10)
    assert scope.cancelled_caught and not timeout.expired() and now() == 1
    await no_ghost()


@in_tasks
async def test_timeout_inside_scope_timeout_first():
    with move_on_after(2) as scope:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(10)
    assert not scope.cancelled_caught and now() == 1
    await no_ghost()


@in_tasks
async def test_timeout_inside_scope_same_time():
    with move_on_at(1) as scope:
        async with asyncio.timeout_at(1):
            await asyncio.sleep(10)
    assert scope.cancelled_caught and now() == 1
    await no_ghost()


@in_tasks
async def test_timeout_in_cleanup_of_cancelled_scope():
    """Thrown into again, before the timeout's time."""
    with CancelScope() as scope:
        try:
            cancel_soon(scope)
            await asyncio.sleep(10)
        finally:
            async with asyncio.timeout(0.5):
                await asyncio.sleep(10)
    assert scope.cancelled_caught and now() == 0
    await no_ghost()


@in_tasks
async def test_expired_timeout_in_cleanup_of_cancelled_scope():
    """Expired as it is entered: the count above its baseline is the scope's."""
    await asyncio.sleep(1)
    with CancelScope() as scope:
        try:
            cancel_soon(scope)
            await asyncio.sleep(10)
        finally:
            async with asyncio.timeout_at(0.5):
                await asyncio.sleep(10)
    assert scope.cancelled_caught
    await no_ghost()


@in_tasks
async def test_timeout_in_a_shielded_cleanup():
    with CancelScope() as scope:
        try:
            cancel_soon(scope)
            await asyncio.sleep(10)
        finally:
            with CancelScope(shield=True):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(1):
                        await asyncio.sleep(10)
    assert scope.cancelled_caught and now() == 1
    await no_ghost()


@in_tasks
async def test_scope_in_timeout_scope_first():
    async with asyncio.timeout(2):
        with move_on_after(1) as scope:
            await asyncio.sleep(10)
        assert scope.cancelled_caught
        await asyncio.sleep(0.5)
    await no_ghost()


@in_tasks
async def test_scope_in_timeout_timeout_first():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            with move_on_after(2) as scope:
                await asyncio.sleep(10)
    assert not scope.cancelled_caught
    await no_ghost()


@in_tasks
async def test_scope_in_timeout_both():
    for begin in (1, 3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout_at(begin):
                with move_on_at(begin) as scope:
                    await asyncio.sleep(10)
        assert not scope.cancelled_caught
        await no_ghost()


@in_tasks
async def test_timeouts_and_scopes_in_turns():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            with move_on_after(5) as one:
                async with asyncio.timeout(7):
                    with move_on_after(4) as two:
                        await asyncio.sleep(10)
    assert not one.cancelled_caught and not two.cancelled_caught and now() == 3
    await no_ghost()


@in_tasks
async def test_wait_for_in_scope():
    with move_on_after(1) as scope:
        await asyncio.wait_for(asyncio.sleep(10), 5)
    assert scope.cancelled_caught and now() == 1
    await no_ghost()


@in_tasks
async def test_wait_for_times_out():
    with move_on_after(5) as scope:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(10), 1)
    assert not scope.cancelled_caught and now() == 1
    await no_ghost()


@in_tasks
async def test_wait_for_zero():
    with CancelScope() as scope:
        scope.cancel()
        with pytest.raises(TimeoutError):
            # Nothing blocks, if the Future is one that is cancelled at once.
            await asyncio.wait_for(asyncio.get_running_loop().create_future(), 0)
    task = asyncio.create_task(asyncio.sleep(10))
    await asyncio.sleep(0)
    with CancelScope() as scope:
        scope.cancel()
        await asyncio.wait_for(task, 0)
        raise AssertionError("not thrown")
    assert scope.cancelled_caught and task.cancelled()
    await no_ghost()


# ---- asyncio.TaskGroup ----


@in_tasks
async def test_asyncio_tg_in_scope():
    log = []

    async def child(name):
        try:
            await asyncio.sleep(10)
        finally:
            log.append(name)

    with move_on_after(1) as scope:
        async with asyncio.TaskGroup() as group:
            group.create_task(child("a"))
            group.create_task(child("b"))
    assert scope.cancelled_caught and sorted(log) == ["a", "b"]
    await no_ghost()


@in_tasks
async def test_asyncio_tg_child_error_in_cleanup():
    async def child():
        try:
            await asyncio.sleep(10)
        finally:
            raise LookupError

    with pytest.raises(ExceptionGroup) as info:
        with move_on_after(1) as scope:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                await asyncio.sleep(10)
    assert [type(each) for each in info.value.exceptions] == [LookupError]
    assert not scope.cancelled_caught
    await no_ghost()


@in_tasks
async def test_asyncio_tg_body_error():
    with pytest.raises(ExceptionGroup) as info:
        with move_on_after(1) as scope:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(10))
                try:
                    await asyncio.sleep(10)
                finally:
                    raise LookupError
    assert [type(each) for each in info.value.exceptions] == [LookupError]
    assert not scope.cancelled_caught
    await no_ghost()


@in_tasks
async def test_asyncio_tg_with_slow_children():
    """The group's exit waits anew after each throw: that is limited, and a child is
    cancelled once."""
    cancels = []

    async def child():
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            cancels.append(now())
            await asyncio.sleep(3)
            raise

    with move_on_after(1) as scope:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
    assert scope.cancelled_caught and cancels == [1] and now() == 4
    assert asyncio.get_running_loop()._cancels_thrown <= 50
    await no_ghost()


@in_tasks
async def test_scope_in_tg_body_child_error():
    async def child():
        await asyncio.sleep(1)
        raise LookupError

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            with move_on_after(5) as scope:
                await asyncio.sleep(10)
    assert not scope.cancelled_caught and now() == 1
    await no_ghost()


@in_tasks
async def test_scope_in_tg_body_child_error_same_turn():
    async def child():
        await asyncio.sleep(1)
        raise LookupError

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            with move_on_at(1):
                await asyncio.sleep(10)
            await asyncio.sleep(10)
    assert now() == 1
    await no_ghost()


since_3_15 = pytest.mark.skipif(
    not hasattr(asyncio.TaskGroup, "cancel"), reason="TaskGroup.cancel: CPython 3.15"
)


@since_3_15
@in_tasks
async def test_tg_cancel_315_around():
    """The scope is around the group."""
    with move_on_after(1) as scope:
        async with asyncio.TaskGroup() as group:
            call_soon(group.cancel)
            await asyncio.sleep(10)
        await asyncio.sleep(10)
    assert scope.cancelled_caught and now() == 1
    await no_ghost()


@since_3_15
@in_tasks
async def test_tg_cancel_315_inside():
    """The scope is in the group's body."""
    async with asyncio.TaskGroup() as group:
        with move_on_after(1) as scope:
            call_soon(group.cancel)
            await asyncio.sleep(10)
    assert not scope.cancelled_caught and now() == 0
    await no_ghost()


# ---- gather(), shield(), wait() ----


@in_tasks
async def test_gather_returning_exceptions():
    """It has an answer, so the scope's cancel is the next await's."""
    steps = []
    with move_on_after(1) as scope:
        sleeps = asyncio.sleep(10), asyncio.sleep(20)
        answers = await asyncio.gather(*sleeps, return_exceptions=True)
        steps.append([type(answer) for answer in answers])
        await asyncio.sleep(10)
        steps.append("not reached")
    cancelled = [[asyncio.CancelledError] * 2]
    assert steps in (cancelled, [])
    assert scope.cancelled_caught and now() == 1
    await no_ghost()


@in_tasks
async def test_asyncio_shield_in_scope():
    inner = asyncio.create_task(asyncio.sleep(5, "value"))
    with move_on_after(1) as scope:
        await asyncio.shield(inner)
    assert scope.cancelled_caught and not inner.done()
    assert await inner == "value"
    await no_ghost()


@in_tasks
async def test_wait_leaves_its_futures():
    task = asyncio.create_task(asyncio.sleep(5, "value"))
    with move_on_after(1) as scope:
        await asyncio.wait([task])
    assert scope.cancelled_caught
    assert await task == "value"


@in_tasks
async def test_lock_is_free_after_a_cancelled_wait():
    lock = asyncio.Lock()
    await lock.acquire()
    with move_on_after(1) as scope:
        await lock.acquire()
    assert scope.cancelled_caught
    lock.release()
    async with asyncio.timeout(1), lock:
        pass
    await no_ghost()


@in_tasks
async def test_queue_keeps_its_items():
    queue = asyncio.Queue()
    with move_on_after(1):
        await queue.get()
    queue.put_nowait("item")
    assert await queue.get() == "item"


def test_a_thread_runs_on():
    go_on, ended = threading.Event(), threading.Event()

    def work():
        go_on.wait()
        ended.set()

    async def main():
        loop = asyncio.get_running_loop()
        with CancelScope() as scope:
            loop.call_soon(scope.cancel)
            await asyncio.to_thread(work)
        assert scope.cancelled_caught and not ended.is_set()
        go_on.set()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
    assert ended.wait(60)


def test_real_streams():
    async def main():
        closed = asyncio.Event()

        async def serve(reader, writer):
            await reader.read()
            writer.close()
            closed.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address)
        with move_on_after(0.01) as scope:
            await reader.read()
        assert scope.cancelled_caught
        writer.close()
        await closed.wait()
        server.close()
        await server.wait_closed()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())


# ---- Ctrl-C ----


def interrupt():
    signal.raise_signal(signal.SIGINT)


def run_main(main):
    with asyncio.Runner(loop_factory=InTask.new_loop) as runner:
        return runner.run(main())


def test_runner_ctrl_c():
    async def main():
        with CancelScope():
            call_soon(interrupt)
            await asyncio.sleep(1000)

    with pytest.raises(KeyboardInterrupt):
        run_main(main)


def test_runner_ctrl_c_with_own_pending():
    """The Runner counts what is left: own cancels have been taken back."""

    async def main():
        with CancelScope() as scope:
            scope.cancel()
            for _ in range(3):
                try:
                    await asyncio.sleep(10)
                except asyncio.CancelledError:
                    pass
            try:
                await asyncio.sleep(10)
            finally:
                interrupt()
                await asyncio.sleep(10)

    with pytest.raises(KeyboardInterrupt):
        run_main(main)


def test_runner_ctrl_c_then_own():
    async def main():
        with CancelScope() as scope:
            call_soon(interrupt)
            cancel_soon(scope)
            await asyncio.sleep(10)

    with pytest.raises(KeyboardInterrupt):
        run_main(main)


def test_runner_second_ctrl_c():
    log = []

    async def main():
        with CancelScope():
            try:
                call_soon(interrupt)
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                log.append("first")
            with CancelScope(shield=True):
                try:
                    call_soon(interrupt)
                    await asyncio.sleep(10)
                except asyncio.CancelledError:
                    log.append("at the end")

    with pytest.raises(KeyboardInterrupt):
        run_main(main)
    assert log[0] == "first"


def test_runner_scope_alone():
    async def main():
        with CancelScope() as scope:
            cancel_soon(scope)
            await asyncio.sleep(10)
        return scope.cancelled_caught

    assert run_main(main) is True


# ---- other kinds of Tasks ----


def current_is_seen():
    """From CPython 3.14 on asyncio does not see who runs, of Tasks in Python."""
    return sys.version_info < (3, 14)


@pytest.mark.skipif(not current_is_seen(), reason="asyncio does not know who runs")
def test_tasks_in_python():
    def factory(loop, coro, **kwargs):
        return asyncio.tasks._PyTask(coro, loop=loop, **kwargs)

    async def child(log):
        task = this_task()
        assert type(task) is asyncio.tasks._PyTask
        with move_on_after(1) as scope:
            for _ in range(3):
                try:
                    await asyncio.sleep(10)
                except asyncio.CancelledError:
                    log.append(task.cancelling())
            await asyncio.sleep(0)
        log.append(scope.cancelled_caught)
        with pytest.raises(asyncio.CancelledError, match="stop"):
            with CancelScope() as scope:
                cancel_soon(scope)
                call_soon(task.cancel, "stop")
                await asyncio.sleep(10)
        log.append(task.uncancel())
        future = asyncio.get_running_loop().create_future()
        with CancelScope() as scope:
            call_soon(lambda: (future.set_result("value"), scope.cancel()))
            log.append(await future)

    async def main():
        asyncio.get_running_loop().set_task_factory(factory)
        log = []
        await asyncio.create_task(child(log))
        return log

    assert InTask.run(main) == [1, 2, 3, True, 0, "value"]


def test_a_subclass_with_a_cancel_of_its_own():
    class Counting(asyncio.Task):
        calls = 0

        def cancel(self, msg=None):
            Counting.calls += 1
            return super().cancel(msg)

    async def child():
        with CancelScope() as scope:
            scope.cancel()
            for _ in range(3):
                try:
                    await asyncio.sleep(1)
                except asyncio.CancelledError:
                    pass
        return this_task().cancelling()

    async def main():
        loop = asyncio.get_running_loop()
        return await Counting(child(), loop=loop)

    assert InTask.run(main) == 0
    assert Counting.calls == 3


def test_a_cancel_that_raises():
    """It is told of, and the loop goes on."""
    seen = []

    class Broken(asyncio.Task):
        def cancel(self, msg=None):
            if seen:
                return super().cancel(msg)
            seen.append(msg)
            raise LookupError("broken")

    async def child():
        with CancelScope() as scope:
            scope.cancel()
            await asyncio.sleep(5)
        assert not scope.cancelled_caught
        return this_task().cancelling()

    async def main():
        return await Broken(child(), loop=asyncio.get_running_loop())

    hook, sys.unraisablehook = sys.unraisablehook, lambda args: None
    try:
        assert InTask.run(main) == 0
    finally:
        sys.unraisablehook = hook
    assert len(seen) == 1
