"""Tasks: spawn, step, reschedule, exit."""

from __future__ import annotations

import collections.abc
import contextvars
import functools
import sys
import types
import weakref

import pytest
from trio_asyncio_c import trio

from ._helpers import (
    Error,
    Recorder,
    Value,
    block,
    nonblocking_pair,
    run,
    run_mock,
    settle,
)

VAR = contextvars.ContextVar("VAR", default="default")


async def hold():
    await trio.sleep_forever()


class Holder:
    async def method(self):
        await trio.sleep_forever()

    async def __call__(self):
        await trio.sleep_forever()


def spawned(nursery, *args, **kwargs):
    """start_soon(), and the task that it made."""
    before = nursery.child_tasks
    nursery.start_soon(*args, **kwargs)
    (task,) = nursery.child_tasks - before
    return task


def names_of(*calls):
    """The names of the tasks that start_soon makes of each (args, kwargs)."""

    async def main():
        async with trio.open_nursery() as nursery:
            result = [spawned(nursery, *args, **kwargs).name for args, kwargs in calls]
            nursery.cancel_scope.cancel()
        return result

    return run(main)


def test_a_task_is_named_after_its_function():
    # R29
    holder = Holder()
    names = names_of(
        ((hold,), {}),
        ((holder.method,), {}),
        ((functools.partial(hold),), {}),
    )
    assert names == [
        f"{__name__}.hold",
        f"{__name__}.Holder.method",
        f"{__name__}.hold",
    ]


def test_only_one_partial_is_unwrapped_for_the_name():
    # R29: functools itself flattens partials of partials, a subclass does not.
    class Partial(functools.partial):
        pass

    inner = Partial(hold)
    inner.tag = 1  # a partial with attributes is not flattened
    (name,) = names_of(((functools.partial(inner),), {}))
    assert name == repr(inner)


def test_a_callable_without_a_name_gives_its_repr():
    # R29
    holder = Holder()
    (name,) = names_of(((holder,), {}))
    assert name == repr(holder)


def test_the_name_argument_wins():
    # R29
    names = names_of(
        ((hold,), {"name": "given"}),
        ((hold,), {"name": Holder}),
        ((hold,), {"name": functools.partial(block)}),
        ((hold,), {"name": 12}),
    )
    assert names == ["given", f"{__name__}.Holder", f"{block.__module__}.block", "12"]


def test_name_can_be_assigned():
    async def main():
        task = trio.lowlevel.current_task()
        task.name = "other"
        assert "'other'" in repr(task)

    run(main)


def test_current_task_stays_the_same_through_checkpoints():
    async def main():
        task = trio.lowlevel.current_task()
        await trio.lowlevel.checkpoint()
        assert trio.lowlevel.current_task() is task

    run(main)


def test_tasks_can_be_keys_and_weakly_referenced():
    async def main():
        task = trio.lowlevel.current_task()
        assert {task: 1}[task] == 1
        assert weakref.ref(task)() is task
        assert task == task
        assert task != trio.lowlevel.current_root_task()
        weak = weakref.WeakKeyDictionary({task: 2})
        assert weak[task] == 2

    run(main)


def test_task_has_no_constructor_and_no_subclasses():
    with pytest.raises(TypeError):
        trio.lowlevel.Task()
    with pytest.raises(TypeError):
        type("Sub", (trio.lowlevel.Task,), {})


def test_a_task_starts_with_its_arguments_once_its_spawner_waits():
    async def child(*args):
        seen.append(args)

    seen = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, 1, "two")
            assert seen == []
            await settle()
            assert seen == [(1, "two")]

    run(main)


def test_return_values_of_children_are_dropped():
    async def child():
        return 5

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)

    assert run(main) is None


def test_a_sync_function_that_returns_a_coroutine_will_do():
    async def inner(x):
        seen.append(x)

    def outer(x):
        return inner(x + 1)

    seen = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outer, 1)
            nursery.start_soon(lambda: inner(5))

    run(main)
    assert sorted(seen) == [2, 5]


def test_the_functions_of_the_core_can_be_tasks():
    # R29: what they return is no Python coroutine, so the task wraps it.
    lot = trio.lowlevel.ParkingLot()

    async def main():
        with nonblocking_pair() as (a, b):
            async with trio.open_nursery() as nursery:
                tasks = [
                    spawned(nursery, trio.lowlevel.checkpoint),
                    spawned(nursery, trio.lowlevel.cancel_shielded_checkpoint),
                    spawned(nursery, trio.lowlevel.checkpoint_if_cancelled),
                    spawned(nursery, lot.park),
                    spawned(nursery, trio.lowlevel.wait_readable, a),
                    spawned(nursery, trio.sleep, 0),
                    spawned(
                        nursery,
                        trio.lowlevel.wait_task_rescheduled,
                        lambda _: trio.lowlevel.Abort.SUCCEEDED,
                    ),
                    spawned(nursery, trio.testing.wait_all_tasks_blocked),
                ]
                for task in tasks:
                    assert isinstance(task.coro, types.CoroutineType)
                await settle()
                lot.unpark()
                b.send(b"x")
                trio.lowlevel.reschedule(tasks[6])

    run(main)


def test_core_awaitables_are_coroutines():
    async def main():
        for awaitable in [
            trio.sleep(0),
            trio.lowlevel.checkpoint(),
            trio.lowlevel.cancel_shielded_checkpoint(),
            trio.lowlevel.checkpoint_if_cancelled(),
            trio.testing.wait_all_tasks_blocked(),
        ]:
            assert isinstance(awaitable, collections.abc.Coroutine)
            assert await awaitable is None

    run(main)


def test_a_coroutine_like_object_of_another_make_can_be_a_task():
    # R29
    class Coroutine(collections.abc.Coroutine):
        def __init__(self, coro):
            self.coro = coro

        def send(self, value):
            return self.coro.send(value)

        def throw(self, *exc):
            return self.coro.throw(*exc)

        def close(self):
            self.coro.close()

        def __await__(self):
            return self.coro.__await__()

    async def work():
        await trio.lowlevel.checkpoint()
        seen.append(1)

    seen = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: Coroutine(work()))

    run(main)
    assert seen == [1]


def test_generator_based_coroutines_can_be_awaited():
    @types.coroutine
    def legacy():
        yield from trio.lowlevel.checkpoint().__await__()
        return 3

    async def main():
        return await legacy()

    assert run(main) == 3


def test_a_task_copies_the_context_of_its_spawner():
    # R29
    async def child():
        seen.append(VAR.get())
        VAR.set("child")

    seen = []

    async def main():
        VAR.set("main")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            VAR.set("later")
        assert VAR.get() == "later"

    run(main)
    assert seen == ["main"]


def test_a_system_task_has_the_context_of_the_run():
    # R29
    async def system():
        seen.append(VAR.get())
        VAR.set("system")

    seen = []

    async def main():
        VAR.set("main")
        trio.lowlevel.spawn_system_task(system)
        await settle()
        trio.lowlevel.spawn_system_task(system)
        await settle()

    token = VAR.set("outside")
    try:
        run(main)
    finally:
        VAR.reset(token)
    assert seen == ["outside", "outside"]


def test_a_context_given_to_a_system_task_is_used_itself():
    # R29: not a copy.
    async def system():
        seen.append(VAR.get())
        VAR.set("set by the task")

    seen = []

    async def main():
        context = contextvars.copy_context()
        context.run(VAR.set, "given")
        task = trio.lowlevel.spawn_system_task(system, context=context)
        assert task.context is context
        await settle()
        assert context[VAR] == "set by the task"

    run(main)
    assert seen == ["given"]


def test_the_synchronous_part_of_a_task_function_runs_in_its_context():
    # R29
    async def inner():
        seen.append(VAR.get())

    def outer():
        VAR.set("sync part")
        return inner()

    seen = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outer)
        assert VAR.get() == "default"

    run(main)
    assert seen == ["sync part"]


def test_spawn_system_task_returns_its_task():
    async def system(*args):
        seen.append((trio.lowlevel.current_task(), args))

    seen = []

    async def main():
        task = trio.lowlevel.spawn_system_task(system, 1, 2, name="worker")
        assert task.name == "worker"
        await settle()
        assert seen == [(task, (1, 2))]

    run(main)


def test_context_is_read_again_at_every_step():
    # R7
    async def main():
        task = trio.lowlevel.current_task()
        VAR.set("first")
        old = task.context
        new = contextvars.copy_context()
        new.run(VAR.set, "second")
        task.context = new
        assert VAR.get() == "first"
        await trio.lowlevel.checkpoint()
        assert VAR.get() == "second"
        task.context = old
        await trio.lowlevel.checkpoint()
        assert VAR.get() == "first"

    run(main)


def test_a_context_that_cannot_be_entered_is_the_tasks_error():
    # R7
    outer = contextvars.copy_context()

    async def child():
        await trio.sleep_forever()

    async def main():
        async with trio.open_nursery() as nursery:
            task = spawned(nursery, child)
            await settle()
            task.context = outer
            trio.lowlevel.reschedule(task)

    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="is already entered")):
        outer.run(run, main)


def test_coro_is_read_again_at_every_step():
    # A library may put a coroutine of its own around the task's.
    async def child():
        events.append("one")
        await block()
        events.append("two")
        await trio.lowlevel.checkpoint()
        events.append("three")

    @types.coroutine
    def shim(inner):
        value = yield "primed"
        while True:
            try:
                message = inner.send(value)
            except StopIteration as stop:
                return stop.value
            events.append("through the shim")
            value = yield message

    async def wrap(inner):
        return await shim(inner)

    events = []

    async def main():
        async with trio.open_nursery() as nursery:
            task = spawned(nursery, child)
            await settle()
            wrapper = wrap(task.coro)
            assert wrapper.send(None) == "primed"
            task.coro = wrapper
            trio.lowlevel.reschedule(task)

    run(main)
    assert events == ["one", "two", "through the shim", "three"]


def test_reschedule_delivers_values_and_errors():
    async def main():
        task = trio.lowlevel.current_task()

        async def wake(outcome):
            await settle()
            trio.lowlevel.reschedule(task, outcome)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wake, Value("value"))
            assert await block() == "value"
            nursery.start_soon(wake, Value((1, 2)))
            assert await block() == (1, 2)
            nursery.start_soon(wake, Value(None))
            assert await block() is None
            nursery.start_soon(wake, Error(KeyError("error")))
            with pytest.raises(KeyError, match="error"):
                await block()
            await settle()
            nursery.start_soon(lambda: wake_bare(task))
            assert await block() is None

    async def wake_bare(task):
        trio.lowlevel.reschedule(task)

    run(main)


def test_a_task_may_reschedule_itself_before_it_blocks_on_nothing():
    # R6: once a block; the wake-up may come from inside the abort function's owner.
    async def main():
        task = trio.lowlevel.current_task()
        token = trio.lowlevel.current_trio_token()
        token.run_sync_soon(trio.lowlevel.reschedule, task, Value("soon"))
        assert await block() == "soon"

    run(main)


def test_rescheduling_twice_is_an_assertion_error():
    # R6
    async def main():
        async with trio.open_nursery() as nursery:
            task = spawned(nursery, block)
            await settle()
            trio.lowlevel.reschedule(task)
            with pytest.raises(AssertionError):
                trio.lowlevel.reschedule(task)

    run(main)


def test_reschedule_clears_custom_sleep_data():
    # R6
    async def sleeper():
        trio.lowlevel.current_task().custom_sleep_data = "mine"
        await block()

    async def main():
        assert trio.lowlevel.current_task().custom_sleep_data is None
        async with trio.open_nursery() as nursery:
            task = spawned(nursery, sleeper)
            await settle()
            assert task.custom_sleep_data == "mine"
            trio.lowlevel.reschedule(task)
            assert task.custom_sleep_data is None

    run(main)


def test_a_rescheduled_task_is_not_aborted():
    # R6
    aborted = []

    def abort(raise_cancel):
        aborted.append(1)
        return trio.lowlevel.Abort.SUCCEEDED

    async def sleeper(scope):
        with scope:
            results.append(await trio.lowlevel.wait_task_rescheduled(abort))

    results = []

    async def main():
        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            task = spawned(nursery, sleeper, scope)
            await settle()
            trio.lowlevel.reschedule(task, Value("first"))
            scope.cancel()
        assert scope.cancel_called
        assert not scope.cancelled_caught

    run(main)
    assert results == ["first"]
    assert aborted == []


def test_stop_iteration_as_an_error_becomes_a_runtime_error():
    # R20
    async def sleeper():
        try:
            await block()
        except RuntimeError as exc:
            assert isinstance(exc.__cause__ or exc.__context__, StopIteration)
            seen.append(str(exc))
        else:
            seen.append("returned")

    seen = []

    async def main():
        async with trio.open_nursery() as nursery:
            task = spawned(nursery, sleeper)
            await settle()
            trio.lowlevel.reschedule(task, Error(StopIteration("value")))

    run(main)
    assert seen == ["coroutine raised StopIteration"]


def test_an_error_is_chained_to_what_is_being_handled():
    # R20
    async def main():
        task = trio.lowlevel.current_task()
        token = trio.lowlevel.current_trio_token()
        try:
            raise KeyError("handled")
        except KeyError as handled:
            token.run_sync_soon(
                trio.lowlevel.reschedule, task, Error(ValueError("delivered"))
            )
            with pytest.raises(ValueError, match="delivered") as info:
                await block()
            assert info.value.__context__ is handled

    run(main)


def test_exc_info_survives_a_block():
    # R20: also in a coroutine below the one that handles the exception.
    async def nested():
        task = trio.lowlevel.current_task()
        await trio.lowlevel.checkpoint()
        assert isinstance(sys.exc_info()[1], KeyError)
        trio.lowlevel.current_trio_token().run_sync_soon(
            trio.lowlevel.reschedule, task, Error(ValueError("woken"))
        )
        with pytest.raises(ValueError, match="woken"):
            await block()
        assert isinstance(sys.exc_info()[1], KeyError)
        raise  # noqa: PLE0704

    async def main():
        with pytest.raises(KeyError, match="handled"):
            try:
                raise KeyError("handled")
            except KeyError:
                await nested()
        assert sys.exc_info() == (None, None, None)

    run(main)


def test_a_cancellation_is_chained_to_what_is_being_handled():
    # R20
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                raise KeyError("handled")
            except KeyError as handled:
                with pytest.raises(trio.Cancelled) as info:
                    await trio.lowlevel.checkpoint()
                assert info.value.__context__ is handled

    run(main)


def test_an_error_of_one_task_is_not_chained_to_anothers():
    async def fail(event):
        await event.wait()
        raise ValueError

    async def handle(event):
        try:
            raise KeyError
        except KeyError:
            event.set()
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def main():
        event = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, event)
            nursery.start_soon(handle, event)

    with pytest.RaisesGroup(ValueError) as info:
        run(main)
    assert info.value.exceptions[0].__context__ is None


@pytest.mark.parametrize(
    "kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit]
)
def test_whatever_a_child_raises_goes_into_the_group(kind):
    # R7
    async def child():
        raise kind

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await trio.sleep_forever()

    with pytest.RaisesGroup(kind):
        run(main)


def test_the_traceback_of_a_child_begins_in_the_child():
    # R7
    async def child():
        await nested()

    async def nested():
        await trio.lowlevel.checkpoint()
        raise ValueError

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)

    with pytest.RaisesGroup(ValueError) as info:
        run(main)
    traceback = info.value.exceptions[0].__traceback__
    assert traceback.tb_frame.f_code is child.__code__
    assert traceback.tb_next.tb_frame.f_code is nested.__code__
    assert traceback.tb_next.tb_next is None


def test_the_same_error_for_several_tasks_does_not_grow_a_long_traceback():
    # R37 makes copies; whoever hands one object to many tasks gets them all.
    error = KeyError("shared")

    async def sleeper():
        with pytest.raises(KeyError) as info:
            await block()
        assert info.value is error

    async def main():
        async with trio.open_nursery() as nursery:
            tasks = [spawned(nursery, sleeper) for _ in range(5)]
            await settle()
            for task in tasks:
                trio.lowlevel.reschedule(task, Error(error))

    run(main)


def test_exit_breaks_off_before_the_hook_is_told():
    # R28
    seen = []

    class Look(trio.abc.Instrument):
        def task_exited(self, task):
            if task.name == "child":
                seen.append(task in nursery.child_tasks)
                seen.append(nursery._closed)

    async def child():
        pass

    async def main():
        nonlocal nursery
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, name="child")

    nursery = None
    run(main, instruments=[Look()])
    assert seen == [False, True]


def test_a_new_task_is_spawned_then_scheduled_then_stepped():
    # R38, R39
    recorder = Recorder()
    tasks = []

    async def child():
        await trio.lowlevel.checkpoint()

    async def main():
        async with trio.open_nursery() as nursery:
            tasks.append(spawned(nursery, child))

    run(main, instruments=[recorder])
    assert recorder.of(tasks[0]) == [
        "spawned",
        "scheduled",
        "before",
        "scheduled",
        "after",
        "before",
        "exited",
        "after",
    ]


def test_many_tasks_all_run():
    async def child(i):
        await trio.lowlevel.checkpoint()
        done.add(i)

    done = set()

    async def main():
        async with trio.open_nursery() as nursery:
            for i in range(2000):
                nursery.start_soon(child, i)

    run(main)
    assert done == set(range(2000))


def test_task_outlives_its_run_harmlessly():
    tasks = []

    async def main():
        tasks.append(trio.lowlevel.current_task())
        async with trio.open_nursery() as nursery:
            tasks.append(spawned(nursery, trio.sleep, 1))

    run_mock(main)
    for task in tasks:
        assert "Task" in repr(task)
        assert task.child_nurseries == []
        assert list(task.iter_await_frames()) == []
