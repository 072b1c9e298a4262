"""What libraries do to Trio behind its public API, each use by itself."""

from __future__ import annotations

import contextlib
import importlib.metadata
import inspect
import os
import queue
import random
import types
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import greenlet
import outcome
import pytest
import sniffio
import trio.testing
from trio._core import _run
from trio._core._run import (
    GLOBAL_RUN_CONTEXT,
    CancelShieldedCheckpoint,
    PermanentlyDetachCoroutineObject,
    WaitTaskRescheduled,
)


async def add(a, b):
    await trio.lowlevel.checkpoint()
    return a + b


def the_task():
    return trio.lowlevel.current_task()


# ---- names that are imported ----


@pytest.mark.parametrize(
    "name",
    [
        "CancelScope",
        "CancelShieldedCheckpoint",
        "CancelStatus",
        "GLOBAL_RUN_CONTEXT",
        "Nursery",
        "NurseryManager",
        "PermanentlyDetachCoroutineObject",
        "Runner",
        "SystemClock",
        "Task",
        "TaskStatus",
        "TheIOManager",
        "WaitTaskRescheduled",
        "_ALLOW_DETERMINISTIC_SCHEDULING",
        "_TaskStatus",
        "_r",
        "collapse_exception_group",
    ],
)
def test_name_of_the_scheduler_is_importable(name):
    assert hasattr(_run, name)
    assert trio._core._run is _run


def test_classes_are_those_that_trio_makes_public():
    assert _run.Task is trio.lowlevel.Task
    assert _run.Nursery is trio.Nursery
    assert _run.CancelScope is trio.CancelScope
    assert trio._core._traps.WaitTaskRescheduled is WaitTaskRescheduled


# ---- the thread's run context ----

# The process has one descriptor to be woken by signals; the inner run is told
# that it was the outer run's, and the outer that it is no longer.
nests_runs = pytest.mark.filterwarnings("ignore:It looks like Trio's signal handling")


def nested_run(fn, *args):
    """Run trio inside of a task, which trio itself forbids."""
    saved = GLOBAL_RUN_CONTEXT.__dict__.copy()
    GLOBAL_RUN_CONTEXT.__dict__.clear()
    try:
        return trio.run(fn, *args)
    finally:
        GLOBAL_RUN_CONTEXT.__dict__.update(saved)


def nested_run_by_attributes(fn, *args):
    """The same, one attribute after the other."""
    runner, task = GLOBAL_RUN_CONTEXT.runner, GLOBAL_RUN_CONTEXT.task
    del GLOBAL_RUN_CONTEXT.task
    del GLOBAL_RUN_CONTEXT.runner
    try:
        return trio.run(fn, *args)
    finally:
        GLOBAL_RUN_CONTEXT.runner = runner
        GLOBAL_RUN_CONTEXT.task = task


def test_run_context_is_empty_outside_of_a_run():
    assert not hasattr(GLOBAL_RUN_CONTEXT, "runner")
    assert not hasattr(GLOBAL_RUN_CONTEXT, "task")
    assert GLOBAL_RUN_CONTEXT.__dict__.copy() == {}
    with pytest.raises(AttributeError):
        del GLOBAL_RUN_CONTEXT.task


async def test_run_context_has_runner_and_task():
    assert GLOBAL_RUN_CONTEXT.task is the_task()
    assert GLOBAL_RUN_CONTEXT.runner is the_task()._runner
    saved = GLOBAL_RUN_CONTEXT.__dict__.copy()
    assert saved["task"] is the_task()
    assert saved["runner"] is the_task()._runner


@nests_runs
@pytest.mark.parametrize("nest", [nested_run, nested_run_by_attributes])
async def test_run_within_a_task_of_another_run(nest):
    task, runner = the_task(), GLOBAL_RUN_CONTEXT.runner

    async def inner(a, b):
        assert GLOBAL_RUN_CONTEXT.runner is not runner
        with trio.move_on_after(0.01):
            await trio.sleep_forever()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, lambda: None)
        return await add(a, b)

    with pytest.raises(RuntimeError, match="from inside"):
        trio.run(inner, 1, 2)
    for number in range(3):
        assert nest(inner, 40, number) == 40 + number
        assert the_task() is task and GLOBAL_RUN_CONTEXT.runner is runner
        await trio.lowlevel.checkpoint()
    with pytest.raises(LookupError):
        nest(fail)
    assert await add(1, 2) == 3


async def fail():
    raise LookupError


@nests_runs
async def test_run_within_a_run_within_a_run():
    async def descend(depth):
        await trio.lowlevel.checkpoint()
        below = nested_run(descend, depth - 1) if depth else []
        await trio.lowlevel.checkpoint()
        return [depth, *below]

    assert await descend(5) == [5, 4, 3, 2, 1, 0]


def take_turns(count):
    """Make runs in greenlets, and leave and enter each within steps of its task."""

    def turn():
        saved = GLOBAL_RUN_CONTEXT.__dict__.copy()
        GLOBAL_RUN_CONTEXT.__dict__.clear()
        greenlet.getcurrent().parent.switch()
        GLOBAL_RUN_CONTEXT.__dict__.update(saved)

    async def main(name):
        task = the_task()
        for step in range(4):
            order.append((step, name))
            turn()
            assert the_task() is task
            await trio.lowlevel.checkpoint()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 0)
        return name

    order, results = [], []
    runs = [
        greenlet.greenlet(lambda name: results.append(trio.run(main, name)))
        for _ in range(count)
    ]
    for name, run in enumerate(runs):
        run.switch(name)
    while any(runs):
        for run in filter(None, runs):
            run.switch()
    return order, results


def test_runs_in_greenlets_of_one_thread_take_turns():
    # Not in the main thread, whose signals only one run at a time can have.
    with ThreadPoolExecutor(1) as thread:
        order, results = thread.submit(take_turns, 3).result(40)
    assert order == [(step, name) for step in range(4) for name in range(3)]
    assert sorted(results) == [0, 1, 2]


@nests_runs
async def test_fork_within_a_task_starts_a_run_of_its_own():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            if trio.lowlevel.in_trio_task():
                del GLOBAL_RUN_CONTEXT.task
                del GLOBAL_RUN_CONTEXT.runner
            status = trio.run(add, 40, 2)
        finally:
            os._exit(status)
    _, status = await trio.to_thread.run_sync(os.waitpid, pid, 0)
    assert os.waitstatus_to_exitcode(status) == 42
    assert await add(1, 2) == 3


# ---- tasks ----


async def test_task_through_a_weak_proxy():
    async def child():
        with trio.CancelScope() as scope:
            proxies.append(weakref.proxy(the_task()))
            assert proxies[0]._cancel_status.effectively_cancelled is False
            scope.cancel()
            assert proxies[0]._cancel_status.effectively_cancelled is True

    proxies = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
    with contextlib.suppress(ReferenceError):
        # If the task is kept by anyone, it is not cancelled any more.
        assert not proxies[0]._cancel_status


async def test_task_tree_is_walked_from_the_root():
    def walk(task):
        yield task
        for nursery in task.child_nurseries:
            for child in nursery.child_tasks:
                assert child.parent_nursery.parent_task is task
                yield from walk(child)

    root = trio.lowlevel.current_root_task()
    assert root.parent_nursery is None
    tasks = list(walk(root))
    assert the_task() in tasks and len(tasks) == 3
    assert all(inspect.iscoroutine(task.coro) for task in tasks)
    assert all(isinstance(task.name, str) for task in tasks)


async def test_coroutine_of_a_task_is_replaced_while_it_runs():
    @types.coroutine
    def shim(coro):
        sent = yield "ready"
        while True:
            steps.append(1)
            try:
                sent = yield coro.send(sent)
            except StopIteration as stop:
                return stop.value

    async def wrapped(coro):
        return await shim(coro)

    async def child():
        task, original = the_task(), the_task().coro
        replacement = wrapped(original)
        assert replacement.send(None) == "ready"
        task.coro = replacement
        assert task.coro is replacement
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        await trio.sleep(0.001)
        task.coro = original
        results.append(len(steps))
        # The step that runs now still is the shim's.
        task.coro = replacement
        await trio.lowlevel.checkpoint()

    steps, results = [], []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
    assert results == [4] and len(steps) == 5


async def test_task_is_known_by_its_module():
    assert type(the_task()).__module__.startswith("trio.")
    assert weakref.WeakKeyDictionary({the_task(): 1})[the_task()] == 1


async def test_clock_of_the_run_is_read_through_the_task():
    now = the_task()._runner.clock.current_time()
    assert now <= trio.current_time()


# ---- traps of one's own ----


async def test_foreign_coroutine_yields_the_traps_themselves():
    @types.coroutine
    def trap(message):
        return (yield message)

    async def child():
        await trap(CancelShieldedCheckpoint)
        result = await trap(WaitTaskRescheduled(lambda _: trio.lowlevel.Abort.FAILED))
        # What is sent is an outcome, which its receiver unwraps.
        results.append(result.unwrap())

    results = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
        await trio.testing.wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        trio.lowlevel.reschedule(task, outcome.Value("rescheduled"))
    assert results == ["rescheduled"]


async def test_foreign_coroutine_detaches_itself():
    @types.coroutine
    def detach(final):
        return (yield PermanentlyDetachCoroutineObject(final))

    async def child():
        coroutines.append(the_task().coro)
        coroutines.append(await detach(outcome.Value("final")))

    coroutines = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
    with pytest.raises(StopIteration):
        coroutines[0].send("by another scheduler")
    assert coroutines[1] == "by another scheduler"


async def test_traps_are_coroutines_that_can_be_driven():
    coroutine = trio.lowlevel.wait_task_rescheduled(lambda _: None)
    assert hasattr(coroutine, "send") and hasattr(coroutine, "throw")
    message = coroutine.send(None)
    assert message is not None
    with pytest.raises(LookupError):
        coroutine.throw(LookupError())


# ---- cancellation ----


def test_cancelled_is_made_from_nothing():
    cancelled = trio.Cancelled._create()
    assert isinstance(cancelled, trio.Cancelled)
    with pytest.raises(TypeError):
        trio.Cancelled()


# ---- the order of tasks ----


async def order_of_tasks():
    order = []

    async def child(number):
        await trio.lowlevel.checkpoint()
        order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(child, number)
    return order


def test_order_of_tasks_is_repeated_by_seed(monkeypatch):
    monkeypatch.setattr(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    orders = []
    for seed in (1, 1, 2):
        _run._r.seed(seed)
        orders.append(trio.run(order_of_tasks))
    assert orders[0] == orders[1] != orders[2]
    state = _run._r.getstate()
    first = trio.run(order_of_tasks)
    _run._r.setstate(state)
    assert trio.run(order_of_tasks) == first


def test_generator_of_randomness_is_one_that_hypothesis_takes():
    assert isinstance(_run._r, random.Random)
    (entry,) = [
        entry
        for entry in importlib.metadata.entry_points(group="hypothesis")
        if entry.name == "trio"
    ]
    assert entry.load() is _run._hypothesis_plugin_setup


# ---- functions whose bytecode is rewritten ----


@contextlib.contextmanager
def rewritten(function, calls):
    """Count the calls of a function by changing its code, not its name."""
    original = types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    original.__kwdefaults__ = function.__kwdefaults__

    def count(*args, **kwargs):
        calls.append(args)
        return original(*args, **kwargs)

    # The code gets at what it needs through a default: it may have no closure.
    def shim(*args, _count, **kwargs):
        return _count(*args, **kwargs)

    saved = function.__code__, function.__kwdefaults__
    function.__code__ = shim.__code__
    function.__kwdefaults__ = {"_count": count}
    try:
        yield
    finally:
        function.__code__, function.__kwdefaults__ = saved


def test_run_is_wrapped_by_its_code():
    calls = []
    with rewritten(trio.run, calls):
        assert trio.run(add, 40, 2) == 42
    assert calls == [(add, 40, 2)]
    assert trio.run(add, 1, 2) == 3


def guest_run(fn, *args):
    """Run trio as the guest of a host that is a queue."""
    todo, done = queue.SimpleQueue(), []
    trio.lowlevel.start_guest_run(
        fn,
        *args,
        run_sync_soon_threadsafe=todo.put,
        done_callback=done.append,
    )
    while not done:
        todo.get(timeout=40)()
    return done[0].unwrap()


def test_guest_run_is_wrapped_by_its_code():
    calls = []
    with rewritten(trio.lowlevel.start_guest_run, calls):
        assert guest_run(add, 40, 2) == 42
    assert calls == [(add, 40, 2)]


def test_guest_run_of_a_host_with_one_way_in():
    async def main():
        await trio.sleep(0.01)
        return await trio.to_thread.run_sync(lambda: sniffio.thread_local.name)

    assert guest_run(main) is None
    assert guest_run(add, 40, 2) == 42


# ---- what else is touched ----


def test_name_of_the_library_is_saved_and_restored():
    async def main():
        assert sniffio.thread_local.name == "trio"
        return sniffio.current_async_library()

    previous, sniffio.thread_local.name = sniffio.thread_local.name, "of the host"
    try:
        assert trio.run(main) == "trio"
        assert sniffio.thread_local.name == "of the host"
    finally:
        sniffio.thread_local.name = previous


async def test_wakeup_of_the_entry_queue_is_patched(monkeypatch):
    from trio._core._wakeup_socketpair import WakeupSocketpair

    assert inspect.isfunction(WakeupSocketpair.drain)
    monkeypatch.setattr(WakeupSocketpair, "drain", WakeupSocketpair.drain)


def test_group_of_a_loose_nursery_is_collapsed():
    error = LookupError("the only one")
    group = ExceptionGroup("strict", [error])
    assert _run.collapse_exception_group(group) is group
    group.add_note(_run.NONSTRICT_EXCEPTIONGROUP_NOTE)
    assert _run.collapse_exception_group(group) is error
