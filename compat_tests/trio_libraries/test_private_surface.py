"""The private fields of Trio's classes, as libraries and debuggers read them."""

from __future__ import annotations

import contextvars
import inspect
import math
import weakref

import outcome
import pytest
import trio.testing
from trio._core import _run

inf = math.inf


def the_task():
    return trio.lowlevel.current_task()


def the_runner():
    return _run.GLOBAL_RUN_CONTEXT.runner


async def settled():
    await trio.testing.wait_all_tasks_blocked()


async def fail(error):
    raise error


# ---- CancelScope ----


def test_cancel_scope_before_it_is_entered():
    scope = trio.CancelScope(deadline=7, shield=True)
    assert scope._cancel_status is None
    assert scope._has_been_entered is False
    assert scope._registered_deadline == inf
    assert scope._cancel_called is False and scope.cancelled_caught is False
    assert scope._cancel_reason is None
    assert scope._deadline == scope.deadline == 7
    assert scope._shield is scope.shield is True
    assert scope.is_relative is False
    relative = trio.CancelScope(relative_deadline=3)
    assert relative.is_relative is True and relative.relative_deadline == 3
    with pytest.raises(RuntimeError, match="does not have an absolute deadline"):
        relative.deadline


async def test_cancel_scope_while_it_is_entered():
    with trio.CancelScope() as scope:
        assert scope._has_been_entered is True and scope.is_relative is None
        assert scope._cancel_status == the_task()._cancel_status
        assert scope._registered_deadline == inf
        scope.deadline = the_runner().clock.current_time() + 3600
        assert scope._registered_deadline == scope._deadline == scope.deadline
        assert scope.relative_deadline == pytest.approx(3600, abs=60)
        scope.relative_deadline = 7200
        assert scope._deadline - trio.current_time() == pytest.approx(7200, abs=60)
        scope.shield = True
        assert scope._shield is True
        with pytest.raises(TypeError):
            scope.shield = 1
    assert scope._cancel_status is None and scope._registered_deadline == inf


async def test_cancel_scope_that_is_cancelled_keeps_the_reason():
    with trio.CancelScope() as scope:
        scope.cancel("enough")
        assert scope._cancel_called is scope.cancel_called is True
        reason = scope._cancel_reason
        assert (reason.source, reason.reason) == ("explicit", "enough")
        assert reason.source_task == repr(the_task())
        scope.cancel("again")
        assert scope._cancel_reason == reason
        await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_cancel_scope_private_cancel_and_close():
    with trio.CancelScope() as scope:
        scope._cancel(_run.CancelReason(source="nursery", reason="told so"))
        with pytest.raises(trio.Cancelled, match=r"nursery.*told so"):
            await trio.lowlevel.checkpoint()
    by_hand = trio.CancelScope()
    by_hand.__enter__()
    assert by_hand._close(None) is None
    again = by_hand._close(None)
    assert isinstance(again, RuntimeError) and "already been exited" in str(again)


async def test_cancel_scope_deadline_that_has_passed_is_called(autojump):
    scope = trio.CancelScope(deadline=trio.current_time() + 1)
    assert not scope.cancel_called
    await trio.sleep(1)
    assert scope.cancel_called and scope._cancel_reason.source == "deadline"


def test_cancel_scope_is_an_identity_with_weak_references():
    scope, other = trio.CancelScope(), trio.CancelScope()
    assert scope != other and len({scope, other}) == 2
    assert weakref.ref(scope)() is scope
    assert not hasattr(scope, "__dict__")
    with pytest.raises(AttributeError):
        scope.note = "of one's own"
    with pytest.raises(TypeError):  # the first is the deadline here, as in quattro
        trio.CancelScope(inf, inf)
    with pytest.raises(TypeError):
        type("Sub", (trio.CancelScope,), {})


# ---- CancelStatus ----


async def test_cancel_status_is_a_tree_beside_the_scopes():
    with trio.CancelScope() as outer, trio.CancelScope() as inner:
        above, below = outer._cancel_status, inner._cancel_status
        assert isinstance(above, _run.CancelStatus)
        assert above._scope is outer
        assert below._parent == below.parent == above
        assert below in above._children and above.children == {below}
        assert isinstance(above.children, frozenset)
        assert below._tasks == {the_task()} == below.tasks
        assert isinstance(below.tasks, frozenset) and not above.tasks
        assert above.encloses(below) and not below.encloses(above)
        assert above.encloses(above)
        assert above.abandoned_by_misnesting is False
    assert not above.tasks and not above.children
    assert above.parent is None and below.parent is None
    # A second end changes nothing.
    below.close()
    assert not below.abandoned_by_misnesting


async def test_cancel_status_effects_follow_shields():
    with trio.CancelScope() as outer, trio.CancelScope(shield=True) as inner:
        above, below = outer._cancel_status, inner._cancel_status
        outer.cancel()
        assert above.effectively_cancelled is True
        assert below.effectively_cancelled is False
        inner.shield = False
        assert below.effectively_cancelled is True
        inner.shield = True
        assert below.effectively_cancelled is False


async def test_cancel_status_effective_deadline():
    now = trio.current_time()
    with trio.CancelScope(deadline=now + 20) as outer:
        with trio.CancelScope(deadline=now + 30) as inner:
            status = inner._cancel_status
            assert status.effective_deadline() == now + 20
            inner.shield = True
            assert status.effective_deadline() == now + 30
            inner.shield = False
            outer.cancel()
            assert status.effective_deadline() == -inf


async def test_cancel_status_of_a_nursery_has_the_tasks_of_its_children():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        nursery.start_soon(trio.sleep_forever)
        status = nursery._cancel_status
        assert status == nursery.cancel_scope._cancel_status
        assert status.tasks == {the_task(), *nursery.child_tasks}
        nursery.cancel_scope.cancel()


async def test_cancel_status_parent_can_be_set_and_recalculated():
    with trio.CancelScope() as first:
        status = first._cancel_status
        upper = status.parent
        status.parent = None
        assert status._parent is None and status not in upper.children
        status.parent = upper
        assert status.parent == upper and status in upper.children
        status.recalculate()
        assert status.effectively_cancelled is False


async def test_cancel_status_of_what_is_left_inside_is_abandoned():
    outer, inner = trio.CancelScope(), trio.CancelScope()
    outer.__enter__()
    inner.__enter__()
    status = inner._cancel_status
    with pytest.raises(RuntimeError, match="Cancel scope stack corrupted"):
        outer.__exit__(None, None, None)
    assert status.abandoned_by_misnesting is True
    assert status.effectively_cancelled is True
    inner.__exit__(None, None, None)


# ---- Task ----


async def test_task_fields_that_can_be_set():
    task = the_task()
    assert inspect.getcoroutinestate(task.coro) == inspect.CORO_RUNNING
    name, context = task.name, task.context
    task.name = "renamed"
    assert repr(task) == f"<Task 'renamed' at {id(task):#x}>"
    task.name = name
    assert task.custom_sleep_data is None
    task.custom_sleep_data = ("anything", 1)
    assert task.custom_sleep_data == ("anything", 1)
    # A task that runs on has not slept: its sleep's data is gone.
    await trio.lowlevel.checkpoint()
    assert task.custom_sleep_data is None
    variable = contextvars.ContextVar("variable")
    task.context = contextvars.copy_context()
    task.context.run(variable.set, "in the new one")
    await trio.lowlevel.checkpoint()
    assert variable.get() == "in the new one"
    task.context = context
    await trio.lowlevel.checkpoint()
    assert variable.get(None) is None


async def test_task_knows_its_nurseries_and_runner():
    task = the_task()
    assert task._runner is the_runner()
    assert task.parent_nursery is task._parent_nursery
    assert task.eventual_parent_nursery is task._eventual_parent_nursery is None
    depth = len(task.child_nurseries)
    async with trio.open_nursery() as outer, trio.open_nursery() as inner:
        assert task.child_nurseries[depth:] == [outer, inner]
        assert task._child_nurseries == task.child_nurseries
        assert task.child_nurseries is not task._child_nurseries
        inner.start_soon(trio.sleep, 0)
        (child,) = inner.child_tasks
        assert child.parent_nursery is inner
        assert child.parent_nursery.parent_task is task
    assert len(task.child_nurseries) == depth


async def test_task_between_start_and_started():
    seen = []

    async def child(*, task_status):
        task = the_task()
        seen.append((task.parent_nursery, task.eventual_parent_nursery))
        assert nursery._pending_starts == 1
        task_status.started()
        seen.append((task.parent_nursery, task.eventual_parent_nursery))

    async with trio.open_nursery() as nursery:
        await nursery.start(child)
        assert nursery._pending_starts == 0
    (temporary, eventual), after = seen
    assert temporary is not nursery and eventual is nursery
    assert after == (nursery, None)


async def test_task_that_sleeps_and_is_rescheduled():
    def abort(raise_cancel):
        return trio.lowlevel.Abort.SUCCEEDED

    async def child():
        return await trio.lowlevel.wait_task_rescheduled(abort)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
        (task,) = nursery.child_tasks
        # Not begun: scheduled with nothing to send.
        assert task._next_send_fn is not None and task._next_send is None
        assert task._abort_func is None
        await settled()
        assert task._abort_func is abort
        assert task._next_send_fn is None and task._next_send is None
        trio.lowlevel.reschedule(task, outcome.Value("result"))
        assert task._abort_func is None and task._next_send_fn is not None
        assert task._next_send == outcome.Value("result")


async def test_task_counts_its_checkpoints():
    task = the_task()
    before = task._cancel_points, task._schedule_points
    await trio.lowlevel.checkpoint()
    await trio.lowlevel.cancel_shielded_checkpoint()
    await trio.lowlevel.checkpoint_if_cancelled()
    after = task._cancel_points, task._schedule_points
    assert (after[0] - before[0], after[1] - before[1]) == (2, 2)


async def test_task_counter_grows_and_protection_is_known():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        (first,) = nursery.child_tasks
        nursery.start_soon(trio.sleep_forever)
        (second,) = nursery.child_tasks - {first}
        assert the_task()._counter < first._counter < second._counter
        assert first._ki_protected is False
        system = trio.lowlevel.spawn_system_task(trio.sleep, 0)
        assert system._ki_protected is True
        nursery.cancel_scope.cancel()


async def test_task_cancel_status_is_that_of_the_innermost_scope():
    task = the_task()
    outside = task._cancel_status
    with trio.CancelScope() as scope:
        assert task._cancel_status == scope._cancel_status
        assert task._cancel_status.effectively_cancelled is False
        scope.cancel()
        assert task._cancel_status.effectively_cancelled is True
    assert task._cancel_status == outside


async def test_task_awaits_are_shown():
    async def inner():
        await trio.sleep_forever()

    async def outer():
        await inner()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(outer)
        await settled()
        (task,) = nursery.child_tasks
        frames = list(task.iter_await_frames())
        names = [frame.f_code.co_name for frame, _ in frames]
        assert names[:3] == ["outer", "inner", "sleep_forever"]
        assert all(line == frame.f_lineno for frame, line in frames)
        nursery.cancel_scope.cancel()


async def test_task_is_an_identity_with_weak_references():
    task = the_task()
    assert hash(task) == hash(task) and {task: 1}[the_task()] == 1
    assert weakref.ref(task)() is task
    assert weakref.proxy(task).name == task.name
    assert not hasattr(task, "__dict__")
    assert type(task) is trio.lowlevel.Task is _run.Task
    with pytest.raises(TypeError):
        trio.lowlevel.Task()
    with pytest.raises(TypeError):
        type("Sub", (trio.lowlevel.Task,), {})


# ---- Nursery ----


async def test_nursery_fields():
    async with trio.open_nursery() as nursery:
        assert nursery.parent_task is nursery._parent_task is the_task()
        assert nursery._closed is False
        assert nursery._nested_child_running is True
        assert nursery._parent_waiting_in_aexit is False
        assert nursery._pending_starts == 0 and nursery._pending_excs == []
        assert nursery._strict_exception_groups is True
        assert nursery._cancel_status == nursery.cancel_scope._cancel_status
        assert nursery._children == nursery.child_tasks == frozenset()
        nursery.start_soon(trio.sleep, 0, name="child")
        assert isinstance(nursery._children, set)
        assert isinstance(nursery.child_tasks, frozenset)
        (child,) = nursery._children
        assert nursery.child_tasks == {child} and child.name == "child"
    assert nursery._closed is True and not nursery.child_tasks


async def test_nursery_that_waits_for_its_children():
    seen = []

    async def child():
        await settled()
        seen.append((nursery._nested_child_running, nursery._parent_waiting_in_aexit))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
    assert seen == [(False, True)]


async def test_nursery_collects_errors_in_their_order():
    first, second = LookupError("first"), ValueError("second")
    with pytest.RaisesGroup(LookupError, ValueError) as caught:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope(shield=True):
                nursery.start_soon(fail, first)
                await settled()
                assert nursery._pending_excs == [first]
                nursery.start_soon(fail, second)
                await settled()
                assert nursery._pending_excs == [first, second]
    assert list(caught.value.exceptions) == [first, second]
    assert nursery._closed is True
    # What it raised is not kept alive by it.
    assert not hasattr(nursery, "_pending_excs")


async def test_nursery_instance_has_a_dict():
    async with trio.open_nursery() as nursery:
        started = []
        nursery.start_soon = lambda *args: started.append(args)
        nursery.label = "of one's own"
        nursery.start_soon(trio.sleep, 0)
        assert started == [(trio.sleep, 0)] and not nursery.child_tasks
        assert vars(nursery)["label"] == "of one's own"
        type(nursery).start_soon(nursery, trio.sleep, 0)
        assert len(nursery.child_tasks) == 1
        del nursery.start_soon
        nursery.start_soon(trio.sleep, 0)
        assert len(nursery.child_tasks) == 2
        assert weakref.ref(nursery)() is nursery
        assert weakref.WeakKeyDictionary({nursery: 1})[nursery] == 1


async def test_nursery_has_no_public_constructor():
    assert _run.Nursery is trio.Nursery
    async with trio.open_nursery() as nursery:
        for arguments in ((), (the_task(), nursery.cancel_scope, True)):
            with pytest.raises(TypeError):
                trio.Nursery(*arguments)
        with pytest.raises(TypeError):
            type("Sub", (trio.Nursery,), {})


async def test_nursery_manager_fields():
    manager = trio.open_nursery()
    assert isinstance(manager, _run.NurseryManager)
    assert manager.strict_exception_groups is True
    nursery = await manager.__aenter__()
    assert manager._nursery is nursery
    assert manager._scope is nursery.cancel_scope
    await manager.__aexit__(None, None, None)
    with pytest.raises(RuntimeError, match="use 'async with open_nursery"):
        with trio.open_nursery():
            pass


async def test_task_status_takes_attributes():
    async def child(*, task_status):
        assert isinstance(task_status, _run._TaskStatus)
        assert repr(task_status) == f"<Task status object at {id(task_status):#x}>"
        told = []
        task_status.started = told.append
        task_status.started("to the instance")
        type(task_status).started(task_status, *told)

    async with trio.open_nursery() as nursery:
        assert await nursery.start(child) == "to the instance"
    assert repr(trio.TASK_STATUS_IGNORED) == "TASK_STATUS_IGNORED"


# ---- Runner ----


async def test_runner_fields():
    runner, task = the_runner(), the_task()
    assert isinstance(runner, _run.Runner)
    assert task in runner.tasks and len(runner.tasks) == 3
    assert {type(t) for t in runner.tasks} == {trio.lowlevel.Task}
    assert runner.main_task is task and runner.main_task_outcome is None
    assert runner.init_task is trio.lowlevel.current_root_task()
    assert isinstance(runner.system_nursery, trio.Nursery)
    assert runner.system_nursery.parent_task is runner.init_task
    assert isinstance(runner.system_context, contextvars.Context)
    # Made when it is asked for.
    assert trio.lowlevel.current_trio_token() is runner.trio_token
    assert runner.clock is trio.lowlevel.current_clock()
    assert runner.clock_autojump_threshold == inf
    assert runner.ki_pending is False and runner.strict_exception_groups is True
    assert runner.is_guest is False
    assert isinstance(runner._locals, dict)
    assert runner.clock.current_time() <= trio.current_time()


async def test_runner_instruments_are_known_by_hook():
    class Instrument(trio.abc.Instrument):
        def task_spawned(self, task):
            spawned.append(task)

    spawned = []
    instrument = Instrument()
    trio.lowlevel.add_instrument(instrument)
    runner = the_runner()
    assert "task_spawned" in runner.instruments
    assert "before_run" not in runner.instruments
    trio.lowlevel.remove_instrument(instrument)
    assert "task_spawned" not in runner.instruments
    runner.instruments = runner.instruments


async def test_runner_runs_jobs_of_other_threads_and_system_tasks():
    runner, done = the_runner(), []
    finished = trio.Event()

    async def system():
        done.append(the_task().parent_nursery is runner.system_nursery)
        finished.set()

    task = runner.spawn_system_task(system, name="by the runner")
    assert task.name == "by the runner" and task in runner.tasks
    await finished.wait()
    finished = trio.Event()
    await trio.to_thread.run_sync(runner.entry_queue.run_sync_soon, finished.set)
    await finished.wait()
    assert done == [True]


async def test_runner_spawns_tasks_into_a_nursery():
    runner = the_runner()
    variable = contextvars.ContextVar("variable", default="outside")
    context = contextvars.copy_context()
    context.run(variable.set, "inside")
    seen = []

    async def child(argument):
        seen.append((argument, variable.get()))

    async with trio.open_nursery() as nursery:
        task = runner.spawn_impl(child, (1,), nursery, "by hand")
        assert task in nursery.child_tasks and task.name == "by hand"
        runner.spawn_impl(child, (2,), nursery, None, context=context)
    assert sorted(seen) == [(1, "outside"), (2, "inside")]


async def test_runner_knows_what_is_alive_of_async_generators():
    async def generate():
        yield 1

    generator = generate()
    await anext(generator)
    assert generator in the_runner().asyncgens.alive
    await generator.aclose()


async def test_runner_has_the_parts_that_debuggers_look_for():
    runner = the_runner()
    assert runner.guest_tick_scheduled is False
    for name in ("deadlines", "io_manager", "ki_manager", "entry_queue", "instruments"):
        assert getattr(runner, name) is not None
    for name in ("deliver_ki", "close", "force_guest_tick_asap", "spawn_impl"):
        assert callable(getattr(runner, name))


async def test_runner_reschedules():
    async def child():
        values.append(
            await trio.lowlevel.wait_task_rescheduled(
                lambda _: trio.lowlevel.Abort.FAILED
            )
        )

    values = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
        await settled()
        (task,) = nursery.child_tasks
        the_runner().reschedule(task, outcome.Value(42))
        with pytest.raises(AssertionError):
            the_runner().reschedule(task)
    assert values == [42]


async def test_runner_current_functions_are_methods():
    runner = the_runner()
    assert runner.current_time() <= trio.current_time()
    assert runner.current_clock() is trio.lowlevel.current_clock()
    assert runner.current_trio_token() is trio.lowlevel.current_trio_token()
    assert runner.current_root_task() is trio.lowlevel.current_root_task()
    assert runner.current_statistics().tasks_living == 3


def test_runner_keeps_the_outcome_of_the_main_task():
    async def main():
        return the_runner()

    runner = trio.run(main)
    assert runner.main_task_outcome.value is runner
    assert not runner.tasks


async def test_deadlines_of_the_runner_are_known(autojump):
    statistics = the_runner().current_statistics
    with trio.CancelScope(deadline=trio.current_time() + 10):
        assert statistics().seconds_to_next_deadline == pytest.approx(10)


# ---- the I/O manager ----


async def expect_closing(sock):
    with pytest.raises(trio.ClosedResourceError):
        await trio.lowlevel.wait_readable(sock.fileno())


async def test_io_manager_counts_who_waits():
    manager = the_runner().io_manager
    assert isinstance(manager, _run.TheIOManager)
    left, right = trio.socket.socketpair()
    with left, right:
        await settled()
        before = manager.statistics()
        assert before.backend in {"epoll", "kqueue"}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.wait_readable, left)
            nursery.start_soon(expect_closing, right)
            await settled()
            during = manager.statistics()
            if before.backend == "epoll":
                assert during.tasks_waiting_read == before.tasks_waiting_read + 2
                assert during.tasks_waiting_write == before.tasks_waiting_write
            with pytest.raises(trio.BusyResourceError):
                await manager.wait_readable(left)
            manager.notify_closing(right)
            await settled()
            nursery.cancel_scope.cancel()
        after = manager.statistics()
        if before.backend == "epoll":
            assert after.tasks_waiting_read == before.tasks_waiting_read
        await manager.wait_writable(left)


async def test_io_manager_is_woken_by_force():
    manager = the_runner().io_manager
    await trio.to_thread.run_sync(manager.force_wakeup)
    await settled()
    for name in ("get_events", "process_events", "close", "wait_writable"):
        assert callable(getattr(manager, name))
    # Nothing is due: what is returned says so, as a truth value.
    assert not manager.get_events(0)
    manager.process_events([])


async def test_io_manager_class_can_be_patched(monkeypatch):
    seen = []
    original = _run.TheIOManager.wait_readable

    async def recorded(self, fd):
        seen.append(fd)
        await original(self, fd)

    monkeypatch.setattr(_run.TheIOManager, "wait_readable", recorded)
    left, right = trio.socket.socketpair()
    with left, right:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.wait_readable, left)
            await settled()
            await right.send(b"x")
        assert left in seen
