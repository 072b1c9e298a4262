"""anyio on our loop, by its backend there: what it promises of cancellation and of task
groups, and what asyncio's own cancels do to that."""

from __future__ import annotations

import asyncio
import contextvars
import importlib.metadata
import math
import sys
import threading
from contextlib import asynccontextmanager

import pytest

anyio = pytest.importorskip("anyio", reason="the backend is anyio's")

import sniffio  # noqa: E402
import trio_asyncio_c  # noqa: E402
from anyio import from_thread, to_thread  # noqa: E402
from anyio._core._eventloop import loaded_backends  # noqa: E402
from anyio.abc import AsyncBackend  # noqa: E402
from anyio.lowlevel import (  # noqa: E402
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
)

from trio_asyncio_c import _core  # noqa: E402

LIMIT_S = 50


@pytest.fixture(autouse=True)
def installed():
    """Have anyio use our backend, during the test only."""
    before = dict(loaded_backends)
    trio_asyncio_c.install_anyio()
    yield
    loaded_backends.clear()
    loaded_backends.update(before)


def by_anyio(main):
    return anyio.run(main, backend="trio_asyncio_c")


def by_asyncio(main):
    with asyncio.Runner(loop_factory=trio_asyncio_c.new_event_loop) as runner:
        return runner.run(main())


@pytest.fixture(params=[by_anyio, by_asyncio])
def run(request):
    """Give what runs a main function on our loop, in both ways that there are."""

    def run(main):
        async def limited():
            async with asyncio.timeout(LIMIT_S):
                result = await main()
            # Whatever was cancelled, no count is left.
            assert asyncio.current_task().cancelling() == 0
            await asyncio.sleep(0)
            return result

        return request.param(limited)

    return run


def thrown():
    """Return how many cancels of scopes the loop has thrown."""
    return asyncio.get_running_loop()._cancels_thrown


async def blocked():
    """Let the other tasks come to where they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


# Which backend it is


def test_scopes_are_the_cores(run):
    async def main():
        assert isinstance(asyncio.get_running_loop(), trio_asyncio_c.EventLoop)
        assert sniffio.current_async_library() == "asyncio"
        assert anyio.get_cancelled_exc_class() is asyncio.CancelledError
        scope = anyio.CancelScope()
        assert isinstance(scope, anyio.CancelScope)
        with scope:
            (inside,) = [
                scope for scope in [scope._scope] if type(scope) is _core.CancelScope
            ]
            assert inside._has_been_entered

    run(main)


def test_another_loop_has_anyios_own():
    async def main():
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep(LIMIT_S)
        assert scope.cancelled_caught
        assert await to_thread.run_sync(from_thread.run, anyio.sleep, 0) is None
        assert await to_thread.run_sync(from_thread.run_sync, str, 1) == "1"
        return type(scope).__module__

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        assert runner.run(main()) == "anyio._backends._asyncio"
    factory = {"loop_factory": asyncio.SelectorEventLoop}
    assert anyio.run(main, backend_options=factory) == "anyio._backends._asyncio"


def test_loops_of_both_kinds_in_threads_at_once(run):
    names = {}

    async def note(name):
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0)
        names[name] = type(group.cancel_scope).__module__

    def other():
        factory = {"loop_factory": asyncio.SelectorEventLoop}
        anyio.run(note, "other", backend_options=factory)

    async def main():
        await to_thread.run_sync(other)
        await note("ours")

    run(main)
    assert names["other"] == "anyio._backends._asyncio"
    assert names["ours"].startswith("trio_asyncio_c.")


def test_every_method_is_there():
    assert not loaded_backends["asyncio"].__abstractmethods__
    names = {name for name in vars(AsyncBackend) if not name.startswith("_")}
    assert names <= set(vars(loaded_backends["asyncio"]))


def test_installing_again_changes_nothing():
    before = dict(loaded_backends)
    trio_asyncio_c.install_anyio()
    assert loaded_backends == before


def test_a_version_that_does_not_fit(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "4.14.0")
    with pytest.raises(ImportError, match="anyio 4.14.0 does not fit"):
        trio_asyncio_c.install_anyio()


def test_there_is_no_anyio(monkeypatch):
    monkeypatch.setitem(sys.modules, "anyio", None)
    with pytest.raises(ImportError):
        trio_asyncio_c.install_anyio()


def test_an_event_loop_that_is_not_ours_is_refused():
    options = {"use_uvloop": True}
    with pytest.raises(ValueError, match="has an event loop of its own"):
        anyio.run(checkpoint, backend="trio_asyncio_c", backend_options=options)

    async def enter():
        with anyio.CancelScope():
            pass

    loaded_backends["asyncio"] = loaded_backends["trio_asyncio_c"]
    options = {"loop_factory": asyncio.SelectorEventLoop}
    with pytest.raises(RuntimeError):
        anyio.run(enter, backend="trio_asyncio_c", backend_options=options)


# Cancelling


def test_a_groups_scope_cancels_all_that_is_in_it(run):
    ended = []

    async def wait(name):
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(name)

    async def nest():
        async with anyio.create_task_group() as inner:
            inner.start_soon(wait, "nested")
            await wait("host")

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(wait, "child")
            group.start_soon(nest)
            await blocked()
            group.cancel_scope.cancel()
            assert not group.cancel_scope.cancelled_caught
        assert group.cancel_scope.cancel_called
        assert group.cancel_scope.cancelled_caught

    run(main)
    assert sorted(ended) == ["child", "host", "nested"]


def test_a_new_task_runs_to_its_first_wait(run):
    events = []

    async def child():
        events.append("begun")
        await checkpoint()
        events.append("not reached")

    async def main():
        async with anyio.create_task_group() as group:
            group.cancel_scope.cancel()
            group.start_soon(child)
            events.append("started")

    run(main)
    assert events == ["started", "begun"]


def test_each_wait_raises_until_the_scope_is_left(run):
    async def main():
        caught = 0
        with anyio.CancelScope() as scope:
            scope.cancel()
            for _ in range(5):
                try:
                    await anyio.Event().wait()
                except asyncio.CancelledError:
                    caught += 1
        assert caught == 5
        assert not scope.cancelled_caught  # nothing came to its end
        await checkpoint()

    run(main)


def test_a_refusing_condition_costs_next_to_nothing(run):
    """asyncio's waits for its lock whatever is thrown: anyio would throw every turn."""

    async def main():
        condition = asyncio.Condition()
        async with anyio.create_task_group() as group:

            async def wait():
                async with condition:
                    await condition.wait()

            group.start_soon(wait)
            await blocked()
            async with condition:
                before = thrown()
                group.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    for _ in range(2000):
                        await asyncio.sleep(0)
                assert thrown() - before < 50
        assert not condition.locked()

    run(main)


def test_timeouts(run):
    async def main():
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.01):
                await anyio.sleep_forever()
        with anyio.fail_after(None) as scope:
            await checkpoint()
        assert not scope.cancel_called
        with anyio.move_on_after(0) as scope:
            await anyio.sleep(LIMIT_S)
        assert scope.cancelled_caught

    run(main)


def test_the_deadline_that_counts(run):
    async def main():
        assert anyio.current_effective_deadline() == math.inf
        now = anyio.current_time()
        with anyio.move_on_at(now + 1000) as outer:
            with anyio.move_on_at(now + 2000) as inner:
                assert inner.deadline == now + 2000
                assert anyio.current_effective_deadline() == now + 1000
                inner.shield = True
                assert anyio.current_effective_deadline() == now + 2000
                inner.deadline = now + 500
                assert anyio.current_effective_deadline() == now + 500
                inner.shield = False
                outer.cancel()
                assert anyio.current_effective_deadline() == -math.inf
        answer = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(
            lambda: answer.set_result(anyio.current_effective_deadline())
        )
        assert await answer == math.inf  # no task's scopes

    run(main)


@pytest.mark.parametrize("deadline", [math.nan, float("nan")])
def test_no_deadline(run, deadline):
    async def main():
        with pytest.raises(ValueError, match="deadline must not be NaN"):
            anyio.CancelScope(deadline=deadline)
        scope = anyio.CancelScope()
        with pytest.raises(ValueError, match="deadline must not be NaN"):
            scope.deadline = deadline

    run(main)


def test_a_deadline_moved_into_the_past(run):
    async def main():
        with anyio.CancelScope() as scope:
            scope.deadline = anyio.current_time() - 1
            await anyio.sleep(LIMIT_S)
        assert scope.cancelled_caught

    run(main)


def test_a_shield_keeps_outer_scopes_out(run):
    async def main():
        events = []
        with anyio.CancelScope() as outer:
            with anyio.CancelScope(shield=True) as inner:
                outer.cancel()
                await checkpoint()
                events.append("shielded")
                inner.shield = False
                await checkpoint()
                events.append("not reached")
        assert events == ["shielded"]
        assert outer.cancelled_caught and not inner.cancelled_caught

    run(main)


def test_a_cleanup_with_a_limit_of_its_own(run):
    async def main():
        events = []
        with anyio.move_on_after(0.01) as scope:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.move_on_after(0.01, shield=True) as cleanup:
                    await checkpoint()
                    events.append("cleaning")
                    await anyio.sleep_forever()
                events.append("limited")
        assert events == ["cleaning", "limited"]
        assert cleanup.cancelled_caught and scope.cancelled_caught

    run(main)


def test_checkpoints(run):
    async def main():
        turns = []
        asyncio.get_running_loop().call_soon(turns.append, 1)
        await checkpoint_if_cancelled()
        assert not turns
        await cancel_shielded_checkpoint()
        assert turns
        with anyio.CancelScope() as scope:
            scope.cancel()
            await cancel_shielded_checkpoint()
            with pytest.raises(asyncio.CancelledError):
                await checkpoint_if_cancelled()
            with pytest.raises(asyncio.CancelledError):
                await checkpoint()

    run(main)


def test_the_message_names_reason_and_task(run):
    async def main():
        asyncio.current_task().set_name("bookkeeper")
        with anyio.CancelScope() as scope:
            scope.cancel("out of paper")
            scope.cancel("another reason")
            with pytest.raises(asyncio.CancelledError) as caught:
                await checkpoint()
        (message,) = caught.value.args
        assert "out of paper" in message and "bookkeeper" in message

    run(main)


def test_scopes_that_are_left_in_a_wrong_way(run):
    async def main():
        outer, inner = anyio.CancelScope(), anyio.CancelScope()
        with pytest.raises(RuntimeError, match="not active"):
            outer.__exit__(None, None, None)
        outer.__enter__()
        with pytest.raises(RuntimeError, match="single 'with' block"):
            outer.__enter__()
        inner.__enter__()
        with pytest.raises(RuntimeError, match="current cancel scope"):
            outer.__exit__(None, None, None)

        async def leave():
            inner.__exit__(None, None, None)

        with pytest.raises(RuntimeError, match="different task"):
            await asyncio.create_task(leave())
        inner.__exit__(None, None, None)
        outer.__exit__(None, None, None)
        with pytest.raises(RuntimeError, match="not active"):
            outer.__exit__(None, None, None)

    run(main)


def test_a_group_across_the_yield_of_a_manager(run):
    @asynccontextmanager
    async def ticking(ticks):
        async def tick():
            while True:
                ticks.append(1)
                await checkpoint()

        async with anyio.create_task_group() as group:
            group.start_soon(tick)
            yield group
            group.cancel_scope.cancel()

    async def main():
        ticks = []
        async with ticking(ticks):
            await blocked()
            assert ticks
        number = len(ticks)
        await blocked()
        assert len(ticks) == number

    run(main)


def test_who_was_cancelled_gets_no_lock(run):
    """A cancel has its effect before what the same callback does next."""

    async def main():
        for lock in (anyio.Lock(), anyio.Semaphore(1)):
            got = []

            async def wait():
                async with lock:
                    got.append("lock")

            await lock.acquire()
            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await blocked()
                group.cancel_scope.cancel()
                lock.release()
            assert not got
            lock.acquire_nowait()
            lock.release()

    run(main)


def test_streams_lose_nothing(run):
    async def main():
        send, receive = anyio.create_memory_object_stream(0)
        with send, receive:
            received = []
            async with anyio.create_task_group() as group:

                async def take():
                    received.append(await receive.receive())

                group.start_soon(take)
                await blocked()
                group.cancel_scope.cancel()
                with pytest.raises(anyio.WouldBlock):
                    send.send_nowait("item")
            assert not received

    run(main)


# With asyncio's own cancels, and our own scopes


def test_a_cancel_from_outside_passes(run):
    async def main():
        scopes = []

        async def wait():
            with anyio.CancelScope(shield=True) as scope:
                scopes.append(scope)
                async with anyio.create_task_group() as group:
                    scopes.append(group.cancel_scope)
                    group.start_soon(anyio.sleep_forever)
                    await anyio.sleep_forever()

        task = asyncio.create_task(wait())
        await blocked()
        task.cancel("from outside")
        with pytest.raises(asyncio.CancelledError, match="from outside"):
            await task
        assert task.cancelled() and task.cancelling() == 1
        assert not any(scope.cancelled_caught for scope in scopes)

    run(main)


def test_both_cancels_at_once(run):
    async def main():
        async def wait(order):
            with anyio.CancelScope() as scope:
                asyncio.get_running_loop().call_soon(order, scope, task)
                await anyio.sleep_forever()
            raise AssertionError("the scope has eaten the other cancel")

        def scope_first(scope, task):
            scope.cancel()
            task.cancel()

        def task_first(scope, task):
            task.cancel()
            scope.cancel()

        for order in (scope_first, task_first):
            task = asyncio.create_task(wait(order))
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelling() == 1

    run(main)


def test_asyncios_timeouts_and_groups(run):
    async def main():
        with anyio.move_on_after(0.01) as scope:
            async with asyncio.timeout(LIMIT_S):
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                with anyio.move_on_after(LIMIT_S) as scope:
                    await anyio.sleep_forever()
        assert not scope.cancelled_caught
        with anyio.move_on_after(0.01) as scope:
            async with asyncio.TaskGroup() as group:
                group.create_task(anyio.sleep_forever())
        assert scope.cancelled_caught

    run(main)


def test_scopes_of_both_kinds_nest(run):
    async def main():
        with trio_asyncio_c.move_on_after(0.01) as outer:
            with anyio.CancelScope() as inner:
                await anyio.sleep_forever()
        assert outer.cancelled_caught and not inner.cancelled_caught
        with anyio.move_on_after(0.01) as outer:
            with trio_asyncio_c.CancelScope() as inner:
                await anyio.sleep_forever()
        assert outer.cancelled_caught and not inner.cancelled_caught

    run(main)


# Task groups


def test_handles(run):
    async def double(number):
        await checkpoint()
        return 2 * number

    async def fail():
        raise ZeroDivisionError

    async def main():
        async with anyio.create_task_group() as group:
            handle = group.start_soon(double, 4, name="doubler")
            other = group.create_task(double(5))
            waiting = group.start_soon(anyio.sleep_forever)
            assert handle.name == "doubler"
            assert handle.status is anyio.TaskHandle.Status.PENDING
            assert (await handle, await other) == (8, 10)
            waiting.cancel()
            with pytest.raises(anyio.TaskCancelled):
                await waiting
            assert waiting.status is anyio.TaskHandle.Status.CANCELLED
            assert not group.cancel_scope.cancel_called
        with pytest.raises(ExceptionGroup):
            async with anyio.create_task_group() as group:
                handle = group.start_soon(fail)
        assert isinstance(handle.exception, ZeroDivisionError)

    run(main)


def test_the_first_error_cancels_the_others(run):
    ended = []

    async def wait():
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("waiting")

    async def fail(error):
        await checkpoint()
        raise error

    async def main():
        errors = [ValueError("child"), KeyError("body")]
        with pytest.raises(ExceptionGroup) as caught:
            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                group.start_soon(fail, errors[0])
                try:
                    await anyio.sleep_forever()
                finally:
                    raise errors[1]
        assert sorted(caught.value.exceptions, key=str) == sorted(errors, key=str)
        assert caught.value.__cause__ is None
        del caught

    run(main)
    assert ended == ["waiting"]


def test_a_child_that_asyncio_cancels_ends_the_group(run):
    """As anyio has it: the group is cancelled, and nothing raised."""

    async def main():
        tasks = []

        async def child():
            tasks.append(asyncio.current_task())
            await anyio.sleep_forever()

        async with anyio.create_task_group() as group:
            group.start_soon(child)
            group.start_soon(anyio.sleep_forever)
            await blocked()
            tasks[0].cancel()
        assert group.cancel_scope.cancel_called

    run(main)


def test_a_group_that_is_not_there(run):
    async def main():
        group = anyio.create_task_group()
        with pytest.raises(RuntimeError, match="not active"):
            group.start_soon(checkpoint)
        async with group:
            pass
        with pytest.raises(RuntimeError, match="not active"):
            group.start_soon(checkpoint)
        with pytest.raises(RuntimeError, match="more than once"):
            async with group:
                pass

    run(main)


def test_an_empty_group_is_a_checkpoint(run):
    async def main():
        turns = []
        asyncio.get_running_loop().call_soon(turns.append, 1)
        async with anyio.create_task_group():
            pass
        assert turns

    run(main)


def test_context_of_a_child(run):
    variable = contextvars.ContextVar("variable")

    async def main():
        seen = []

        async def child():
            seen.append(variable.get())
            variable.set("changed")

        variable.set("inherited")
        given = contextvars.copy_context()
        given.run(variable.set, "given")
        async with anyio.create_task_group() as group:
            group.start_soon(child)
            group.create_task(child(), context=given)
        assert seen == ["inherited", "given"]
        assert variable.get() == "inherited"

    run(main)


# start()


def test_start_gives_the_value(run):
    async def serve(port, *, task_status):
        await checkpoint()
        task_status.started(port)
        await anyio.sleep_forever()

    async def main():
        async with anyio.create_task_group() as group:
            assert await group.start(serve, 80) == 80
            handle = await group.start(serve, 81, return_handle=True)
            assert handle.start_value == 81
            group.cancel_scope.cancel()

    run(main)


def test_start_of_what_does_not_start(run):
    async def fail(*, task_status):
        raise ValueError

    async def end(*, task_status):
        pass

    async def twice(*, task_status):
        task_status.started()
        task_status.started()

    async def main():
        async with anyio.create_task_group() as group:
            with pytest.raises(ValueError):
                await group.start(fail)
            with pytest.raises(RuntimeError, match="without calling task_status"):
                await group.start(end)
            assert not group.cancel_scope.cancel_called
        with pytest.raises(ExceptionGroup) as caught:
            async with anyio.create_task_group() as group:
                await group.start(twice)
        assert "'started' twice" in str(caught.value.exceptions[0])
        del caught

    run(main)


def test_until_it_has_started_a_task_is_in_its_callers_scope(run):
    events = []

    async def begin(*, task_status):
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await blocked()
            events.append("cleaned up")

    async def main():
        async with anyio.create_task_group() as group:
            with anyio.move_on_after(0.01) as scope:
                await group.start(begin)
            assert scope.cancelled_caught
            assert events == ["cleaned up"]
            assert not group.cancel_scope.cancel_called

    run(main)


def test_once_it_has_started_it_is_in_the_groups(run):
    async def serve(*, task_status):
        task_status.started()
        await anyio.sleep_forever()

    async def main():
        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                handle = await group.start(serve, return_handle=True)
                scope.cancel()
            await blocked()
            assert handle.status is anyio.TaskHandle.Status.PENDING
            group.cancel_scope.cancel()
        assert handle.status is anyio.TaskHandle.Status.CANCELLED

    run(main)


def test_the_groups_cancel_waits_for_the_start(run):
    """Trio's rule: what has not started yet is none of the group's."""

    async def serve(*, task_status):
        await blocked()
        task_status.started()
        await anyio.sleep_forever()

    async def main():
        async with anyio.create_task_group() as outer:
            async with anyio.create_task_group() as group:
                group.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    handle = await group.start(serve, return_handle=True)
            assert handle.status is anyio.TaskHandle.Status.CANCELLED
            assert not outer.cancel_scope.cancel_called

    run(main)


# What is told of tasks


def test_task_info(run):
    async def main():
        async def child():
            infos.append(anyio.get_current_task())
            await anyio.sleep_forever()

        infos = []
        me = anyio.get_current_task()
        async with anyio.create_task_group() as group:
            group.start_soon(child, name="child")
            await blocked()
            (info,) = infos
            assert (info.name, info.parent_id) == ("child", me.id)
            assert {me, info} <= set(anyio.get_running_tasks())
            assert not info.has_pending_cancellation()
            group.cancel_scope.cancel()
            assert info.has_pending_cancellation()
            assert me.has_pending_cancellation()
            with anyio.CancelScope(shield=True):
                assert not me.has_pending_cancellation()
        assert not me.has_pending_cancellation()

    run(main)


@pytest.mark.skipif(
    not hasattr(asyncio, "eager_task_factory"), reason="from CPython 3.12 on"
)
def test_eager_factories(run):
    """anyio's tasks begin in a turn of their own whatever the factory."""

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        events = []

        async def child():
            events.append("child")
            await anyio.sleep_forever()

        async with anyio.create_task_group() as group:
            group.start_soon(child)
            events.append("body")
            await blocked()
            group.cancel_scope.cancel()
        assert events == ["body", "child"]
        assert loop.get_task_factory() is asyncio.eager_task_factory

    run(main)


def test_a_task_factory_that_fails(run):
    async def main():
        def factory(loop, coro, **kwargs):
            raise ZeroDivisionError

        loop = asyncio.get_running_loop()
        async with anyio.create_task_group() as group:
            loop.set_task_factory(factory)
            with pytest.raises(ZeroDivisionError):
                group.start_soon(checkpoint)
            loop.set_task_factory(None)

    run(main)


# Threads


def test_a_thread_is_waited_for_unless_abandoned(run):
    async def main():
        go = threading.Event()
        with anyio.CancelScope() as scope:
            scope.cancel()
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as group:
                    group.start_soon(to_thread.run_sync, go.wait)
                    await blocked()
                    group.cancel_scope.cancel()
                    asyncio.get_running_loop().call_later(0.02, go.set)
        assert go.is_set()
        go.clear()
        with anyio.move_on_after(0.01) as scope:
            await to_thread.run_sync(go.wait, abandon_on_cancel=True)
        assert scope.cancelled_caught and not go.is_set()
        go.set()

    run(main)


def test_a_thread_asks_whether_it_was_cancelled(run):
    async def main():
        begun = asyncio.Event()

        def work(loop):
            loop.call_soon_threadsafe(begun.set)
            while True:
                from_thread.check_cancelled()

        async with anyio.create_task_group() as group:
            loop = asyncio.get_running_loop()
            group.start_soon(to_thread.run_sync, work, loop)
            await begun.wait()
            group.cancel_scope.cancel()
        with anyio.move_on_after(0.01) as scope:
            await to_thread.run_sync(work, loop)
        assert scope.cancelled_caught
        await checkpoint()

    run(main)


def test_a_threads_calls_are_in_its_tasks_scopes(run):
    async def main():
        async def wait():
            ready.set()
            await anyio.sleep_forever()

        ready = asyncio.Event()
        errors = []

        def work():
            assert from_thread.run(answer) == 42
            assert from_thread.run_sync(len, "four") == 4
            try:
                from_thread.run(wait)
            except BaseException as exc:
                errors.append(type(exc).__name__)
                raise

        async def answer():
            await checkpoint()
            return 42

        async with anyio.create_task_group() as group:
            group.start_soon(to_thread.run_sync, work)
            await ready.wait()
            group.cancel_scope.cancel()
        assert errors == ["CancelledError"]

    with pytest.raises(BaseException) as caught:
        run(main)
        raise KeyError("none")
    assert isinstance(caught.value, KeyError)
    del caught


def test_a_portal():
    with from_thread.start_blocking_portal(backend="trio_asyncio_c") as portal:

        async def wait():
            with anyio.CancelScope() as scope:
                started.set()
                await anyio.sleep_forever()
            return scope

        started = threading.Event()
        future = portal.start_task_soon(wait)
        assert started.wait(LIMIT_S)
        future.cancel()
        assert portal.call(type(None)) is None
        loop = portal.call(asyncio.get_running_loop)
        assert isinstance(loop, trio_asyncio_c.EventLoop)
        del loop


def test_streams_over_loopback(run):
    async def echo(stream):
        async with stream:
            async for data in stream:
                await stream.send(data)

    async def main():
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            async with anyio.create_task_group() as group:
                group.start_soon(listener.serve, echo)
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    await stream.send(b"hello")
                    assert await stream.receive() == b"hello"
                    with anyio.move_on_after(0.01) as scope:
                        await stream.receive()
                    assert scope.cancelled_caught
                    await stream.send(b"again")
                    assert await stream.receive() == b"again"
                group.cancel_scope.cancel()

    run(main)


# At the crossings


def test_a_trio_scope_reaches_anyios():
    async def in_asyncio():
        assert anyio.current_effective_deadline() < math.inf
        raised = 0
        with anyio.CancelScope() as scope:
            for _ in range(3):
                try:
                    await anyio.sleep_forever()
                except asyncio.CancelledError:
                    raised += 1
            await anyio.sleep_forever()
        raise AssertionError(f"what is not {scope}'s went no further")

    async def main():
        with trio_asyncio_c.move_on_after(0.01) as scope:
            await trio_asyncio_c.run_asyncio(in_asyncio)
        assert scope.cancelled_caught

    trio_asyncio_c.run(main)


def test_an_anyio_scope_reaches_trios(run):
    ended = []

    async def in_trio():
        try:
            await trio_asyncio_c.sleep_forever()
        finally:
            with trio_asyncio_c.CancelScope(shield=True):
                await trio_asyncio_c.sleep(0)
            ended.append("in Trio")

    async def call():
        await trio_asyncio_c.run_trio(in_trio)

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await blocked()
            group.cancel_scope.cancel()
        assert ended == ["in Trio"]

    run(main)
