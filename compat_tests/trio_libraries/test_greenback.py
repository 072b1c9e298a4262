"""greenback: it puts a coroutine of its own in the place of a task's."""

from __future__ import annotations

import contextlib
import contextvars
import inspect

import greenback
import pytest
import trio.testing

local = contextvars.ContextVar("local", default="unset")


def run_await(fn, *args):
    """Await from where there is no await."""
    return greenback.await_(fn(*args))


async def test_await_from_a_synchronous_function():
    async def add(a, b):
        await trio.lowlevel.checkpoint()
        return a + b

    await greenback.ensure_portal()
    assert greenback.has_portal()
    assert run_await(add, 40, 2) == 42
    # Awaiting as usual goes on working in the same task.
    assert await add(1, 2) == 3


async def test_portal_replaces_the_coroutine_of_a_running_task():
    task = trio.lowlevel.current_task()
    before = task.coro
    assert not greenback.has_portal()
    with pytest.raises(RuntimeError, match="must create a greenback portal"):
        run_await(trio.sleep, 0)
    await greenback.ensure_portal()
    assert task.coro is not before
    assert inspect.iscoroutine(task.coro)
    assert inspect.getcoroutinestate(task.coro) == inspect.CORO_RUNNING
    assert task.coro.cr_code.co_name == "greenback_shim"
    await greenback.ensure_portal()
    run_await(trio.sleep, 0)


async def test_portal_bestowed_on_a_blocked_task():
    event = trio.Event()
    results = []

    async def child():
        await event.wait()
        assert greenback.has_portal()
        results.append(run_await(trio.to_thread.run_sync, lambda: "thread"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
        await trio.testing.wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        greenback.bestow_portal(task)
        assert greenback.has_portal(task)
        event.set()
    assert results == ["thread"]


async def test_callbacks_of_synchronous_code_do_asynchronous_work():
    send, receive = trio.open_memory_channel(0)
    received = []

    def key(value):
        run_await(send.send, value)
        return -value

    async def consume():
        async for value in receive:
            received.append(value)

    await greenback.ensure_portal()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        assert sorted([1, 3, 2], key=key) == [3, 2, 1]
        await send.aclose()
    assert received == [1, 3, 2]


async def test_await_within_await_within_await():
    async def descend(depth):
        await trio.lowlevel.checkpoint()
        if depth == 0:
            return [trio.lowlevel.current_task()]
        return [depth, *run_await(descend, depth - 1)]

    await greenback.ensure_portal()
    *depths, task = run_await(descend, 10)
    assert depths == list(range(10, 0, -1))
    assert task is trio.lowlevel.current_task()


async def test_exceptions_cross_with_their_chain():
    async def fail():
        await trio.lowlevel.checkpoint()
        raise LookupError("inner")

    def translate():
        try:
            run_await(fail)
        except LookupError as error:
            raise ValueError("outer") from error

    await greenback.ensure_portal()
    with pytest.raises(ValueError, match="outer") as caught:
        translate()
    assert isinstance(caught.value.__cause__, LookupError)
    assert caught.value.__cause__.__traceback__ is not None


async def test_cancellation_reaches_the_synchronous_function():
    cleaned = []

    def wait():
        try:
            run_await(trio.sleep_forever)
        finally:
            with trio.CancelScope(shield=True):
                run_await(trio.sleep, 0)
                cleaned.append("shielded")
            with pytest.raises(trio.Cancelled):
                run_await(trio.lowlevel.checkpoint)

    await greenback.ensure_portal()
    with trio.move_on_after(0.01) as scope:
        wait()
    assert scope.cancelled_caught and cleaned == ["shielded"]
    with trio.CancelScope() as scope:
        scope.cancel("before the first checkpoint")
        wait()
    assert scope.cancelled_caught
    run_await(trio.sleep, 0)


async def test_scopes_and_nurseries_entered_by_synchronous_code():
    finished = []

    async def child(number):
        await trio.sleep(0)
        finished.append(number)

    def use_nursery():
        with greenback.async_context(trio.open_nursery()) as nursery:
            for number in range(3):
                nursery.start_soon(child, number)
        with trio.move_on_after(0.01) as scope:
            with greenback.async_context(trio.open_nursery()) as nursery:
                nursery.start_soon(trio.sleep_forever)
        return scope

    await greenback.ensure_portal()
    scope = use_nursery()
    assert sorted(finished) == [0, 1, 2] and scope.cancelled_caught


async def test_iterators_and_exit_stacks():
    closed = []

    async def count():
        try:
            for number in range(3):
                await trio.sleep(0)
                yield number
        finally:
            closed.append("generator")

    @contextlib.asynccontextmanager
    async def manager():
        await trio.sleep(0)
        try:
            yield "value"
        finally:
            await trio.sleep(0)
            closed.append("manager")

    def use():
        with greenback.async_context(manager()) as value:
            return value, list(greenback.async_iter(count()))

    await greenback.ensure_portal()
    assert use() == ("value", [0, 1, 2])
    assert closed == ["generator", "manager"]


async def test_with_portal_run_has_a_portal_for_its_call_only():
    async def inside(value):
        assert greenback.has_portal()
        await trio.sleep(0)
        run_await(trio.sleep, 0)
        return value

    def inside_sync(value):
        run_await(trio.sleep, 0)
        return value

    coro = trio.lowlevel.current_task().coro
    assert await greenback.with_portal_run(inside, 1) == 1
    assert await greenback.with_portal_run_sync(inside_sync, 2) == 2
    assert not greenback.has_portal()
    assert trio.lowlevel.current_task().coro is coro


async def test_with_portal_run_of_traps_themselves():
    await greenback.with_portal_run(trio.lowlevel.checkpoint)
    with trio.move_on_after(0.01) as scope:
        await greenback.with_portal_run(trio.sleep_forever)
    assert scope.cancelled_caught


async def test_portal_tree_covers_children_and_only_those():
    seen = {}

    async def child(name):
        seen[name] = greenback.has_portal()
        if seen[name]:
            run_await(trio.sleep, 0)

    async def tree(outer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, "inner")
            outer.start_soon(child, "outer")
            await child("itself")

    async with trio.open_nursery() as outer:
        await greenback.with_portal_run_tree(tree, outer)
    assert seen == {"inner": True, "outer": False, "itself": True}


async def test_portals_for_tree_gives_the_task_its_coroutine_back():
    task = trio.lowlevel.current_task()
    before = task.coro

    async def child():
        run_await(trio.sleep, 0)

    async with greenback.portals_for_tree():
        assert task.coro is not before
        run_await(trio.sleep, 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
    assert task.coro is before and not greenback.has_portal()
    await trio.sleep(0)


def test_instrument_gives_every_task_a_portal():
    async def system():
        assert greenback.has_portal()

    async def main():
        run_await(trio.sleep, 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(system)
        trio.lowlevel.spawn_system_task(system)
        await trio.testing.wait_all_tasks_blocked()
        return "done"

    instrument = greenback.AutoPortalInstrument()
    assert trio.run(main, instruments=[instrument]) == "done"


async def test_context_variables_are_those_of_the_task():
    async def set_local(value):
        local.set(value)
        await trio.sleep(0)

    await greenback.ensure_portal()
    run_await(set_local, "set in a coroutine")
    assert local.get() == "set in a coroutine"
    task = trio.lowlevel.current_task()
    assert task.context[local] == "set in a coroutine"
    other = contextvars.copy_context()
    other.run(local.set, "of the other context")
    task.context = other
    run_await(trio.sleep, 0)
    assert local.get() == "of the other context"


async def test_sockets_are_served_from_synchronous_code():
    async def handle(stream):
        await greenback.ensure_portal()
        for line in greenback.async_iter(stream):
            run_await(stream.send_all, line.upper())

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(
            lambda task_status: trio.serve_tcp(
                handle, 0, host="127.0.0.1", task_status=task_status
            )
        )
        async with await trio.testing.open_stream_to_socket_listener(
            listener
        ) as stream:
            for word in (b"one", b"two"):
                await stream.send_all(word)
                assert await stream.receive_some() == word.upper()
        nursery.cancel_scope.cancel()


async def test_many_tasks_with_portals_interleave():
    results = []

    async def child(number):
        await greenback.ensure_portal()
        total = 0
        for step in range(20):
            total += run_await(double, step)
            if step % 3 == number % 3:
                await trio.lowlevel.checkpoint()
        results.append(total)

    async def double(value):
        await trio.lowlevel.checkpoint()
        return 2 * value

    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(child, number)
    assert results == [380] * 30
