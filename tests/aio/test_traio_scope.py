"""traio's Scope: its block, awaiting it, and how its cancels end."""

from __future__ import annotations

import asyncio
import threading
from asyncio import CancelledError

import pytest
import trio_asyncio_c
from trio_asyncio_c import (
    CancelScope,
    Scope,
    current_effective_deadline,
    move_on_after,
    new_event_loop,
)

from ._scoped import call_soon, in_tasks, now, this_task
from ._traio import (
    FOREVER,
    INF,
    fail,
    is_clean,
    note_cancels,
    raise_when_cancelled,
    swallow_for_ever,
)


# ---- the block ----


@in_tasks
async def test_the_block_waits_for_its_tasks():
    began = now()
    async with Scope() as scope:
        tasks = [scope.spawn(asyncio.sleep(n, n)) for n in (1, 3, 2)]
        last = scope << asyncio.sleep(0.5, "last")
        assert not scope.done()
    assert now() == began + 3
    assert [task.result() for task in tasks] == [1, 3, 2] and last.result() == "last"
    assert scope.done() and scope.result() is None
    assert not scope.cancel_scope.cancel_called


@in_tasks
async def test_the_end_of_an_empty_block_yields_once():
    turns = []
    call_soon(turns.append, 1)
    async with Scope(timeout=5) as scope:
        pass
    assert turns == [1] and scope.result() is None


@in_tasks
async def test_an_error_of_the_block_cancels_the_tasks_and_is_raised_bare():
    seen, error = [], ValueError("boom")
    with pytest.raises(ValueError) as caught:
        async with Scope() as scope:
            scope << note_cancels(seen)
            await asyncio.sleep(1)
            raise error
    assert caught.value is error and scope.exception() is error
    assert len(seen) == 1 and is_clean()


@in_tasks
async def test_an_error_of_a_task_cancels_the_block_and_the_rest():
    seen, error = [], ValueError("boom")
    with pytest.raises(ValueError) as caught:
        async with Scope() as scope:
            scope << note_cancels(seen)
            scope << fail(error, 1)
            await note_cancels(seen)
    assert caught.value is error and scope.exception() is error
    assert len(seen) == 2 and is_clean() and now() == 1


@in_tasks
async def test_what_an_error_was_raised_in_stays():
    async def wrapping():
        await asyncio.sleep(1)
        try:
            raise KeyError("first")
        except KeyError as first:
            raise ValueError("second") from first

    with pytest.raises(ValueError) as caught:
        async with Scope() as scope:
            scope << wrapping()
            await asyncio.sleep(FOREVER)
    assert isinstance(caught.value.__context__, KeyError)
    assert caught.value.__cause__ is caught.value.__context__


@in_tasks
async def test_the_first_error_wins():
    with pytest.raises(ValueError, match="first"):
        async with Scope() as scope:
            scope << raise_when_cancelled(KeyError("later"))
            scope << fail(ValueError("first"), 1)
    assert is_clean()


@in_tasks
async def test_tasks_and_block_are_cancelled_at_each_await():
    in_task, in_block = [], []
    async with Scope() as scope:
        scope << note_cancels(in_task, awaits=5)
        await asyncio.sleep(1)
        scope.cancel()
        await note_cancels(in_block, awaits=5)
    assert len(in_task) == len(in_block) == 5 and is_clean()
    assert now() == 1


@in_tasks
async def test_a_shield_holds_the_cancel_off():
    done = []

    async def careful():
        with CancelScope(shield=True):
            await asyncio.sleep(0.5)
            done.append(now())
        await asyncio.sleep(FOREVER)

    async with Scope() as scope:
        scope << careful()
        scope << careful()
        await asyncio.sleep(0.1)
        scope.cancel()
    assert done == [0.5, 0.5] and now() == 0.5


@in_tasks
async def test_a_task_begins_even_in_a_cancelled_scope():
    seen = []

    async def task():
        seen.append("begun")
        await asyncio.sleep(FOREVER)

    async with Scope() as scope:
        scope << task()
        scope.cancel()
        assert now() == 0
    assert seen == ["begun"]


@in_tasks
async def test_tasks_may_spawn_while_the_block_waits():
    async def spawn(depth):
        await asyncio.sleep(1)
        if depth:
            Scope.get_current() << spawn(depth - 1)

    async with Scope() as scope:
        scope << spawn(3)
    assert now() == 4


@in_tasks
async def test_a_block_is_entered_once_by_async_with():
    scope = Scope()
    with pytest.raises(RuntimeError, match="'async with'"):
        with scope:
            pass
    async with scope:
        with pytest.raises(AssertionError, match="can only enter scope context once"):
            async with scope:
                pass
    with pytest.raises(AssertionError):
        async with scope:
            pass


@in_tasks
async def test_a_task_of_the_scope_cannot_enter_it():
    async def enter(scope):
        async with scope:
            raise AssertionError("entered")

    scope = Scope()
    task = scope << enter(scope)
    with pytest.raises(RuntimeError, match="a task of the scope cannot enter it"):
        await task
    async with scope:
        scope << asyncio.sleep(1)
    assert now() == 1


@in_tasks
async def test_tasks_of_before_the_entry_are_in_the_block_s_scopes():
    scope, seen = Scope(), []
    scope << note_cancels(seen)
    await asyncio.sleep(1)
    with move_on_after(1) as outer:
        async with scope:
            assert current_effective_deadline() == 2
            await asyncio.sleep(FOREVER)
    assert outer.cancelled_caught and len(seen) == 1 and is_clean() and now() == 2


@in_tasks
async def test_cancelled_before_the_entry():
    for error in (None, ValueError("boom")):
        scope, seen = Scope(), []
        scope.cancel(error)
        assert scope.done()
        try:
            async with scope:
                await note_cancels(seen)
        except ValueError as caught:
            assert caught is error
        assert len(seen) == 1 and is_clean()


@in_tasks
async def test_cancelled_before_the_entry_with_tasks_left():
    scope, seen = Scope(), []
    scope << note_cancels(seen, awaits=2)
    await asyncio.sleep(1)
    scope.cancel()
    async with scope:
        await note_cancels(seen)
    assert len(seen) == 3 and is_clean() and scope.result() is None


@in_tasks
async def test_the_block_is_closed_with_its_coroutine():
    seen = []

    async def block():
        async with Scope() as scope:
            scopes.append(scope)
            scope << note_cancels(seen)
            await asyncio.sleep(FOREVER)

    scopes = []
    coro = block()
    future = coro.send(None)
    await asyncio.sleep(0)
    future.cancel()
    coro.close()
    assert Scope.get_current() is None
    with pytest.raises(CancelledError):
        await scopes[0]
    assert len(seen) == 1


@in_tasks
async def test_a_generator_that_is_closed_in_its_block():
    seen, scopes = [], []

    async def generate():
        async with Scope() as scope:
            scopes.append(scope)
            scope << note_cancels(seen)
            while True:
                yield await asyncio.sleep(1)

    generator = generate()
    async for _ in generator:
        break
    await generator.aclose()
    await asyncio.wait(scopes)
    assert scopes[0].cancelled() and len(seen) == 1 and is_clean()
    assert current_effective_deadline() == INF


@in_tasks
async def test_a_group_raised_in_a_silently_cancelled_block_keeps_what_is_no_cancel():
    error = ValueError("boom")
    with pytest.raises(ExceptionGroup) as caught:
        async with Scope() as scope:
            scope.cancel()
            try:
                await asyncio.sleep(FOREVER)
            except CancelledError as cancel:
                raise BaseExceptionGroup("both", [cancel, error]) from None
    assert caught.value.exceptions == (error,) and is_clean()


@in_tasks
async def test_stop_iteration_out_of_a_block():
    async def block():
        async with Scope() as scope:
            scopes.append(scope)
            raise StopIteration("value")

    scopes = []
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        await block()
    assert isinstance(scopes[0].exception(), RuntimeError)


def test_keyboard_interrupt_of_a_task_ends_the_scope():
    scopes, seen = [], []

    async def main():
        async with Scope() as scope:
            scopes.append(scope)
            scope.spawn(fail(KeyboardInterrupt()), bubble=False)
            scope << note_cancels(seen)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        with pytest.raises(KeyboardInterrupt):
            runner.run(main())
        task = asyncio.all_tasks(runner.get_loop())
        assert task
        with pytest.raises(KeyboardInterrupt):
            runner.get_loop().run_until_complete(asyncio.gather(*task))
    assert seen


# ---- without a block ----


@in_tasks
async def test_traio_finalize_await_without_with():
    scope = Scope()
    for n in (1, 3, 2):
        scope << asyncio.sleep(n)
    scope.finalize()
    scope.finalize()
    assert await scope is None
    assert now() == 3 and not asyncio.all_tasks() - {this_task(), *by_others()}


def by_others():
    """Return the tasks that wait for this one."""
    return [t for t in asyncio.all_tasks() if t._fut_waiter is this_task()]


@in_tasks
async def test_a_scope_that_is_not_finalized_goes_on_without_tasks():
    scope = Scope(timeout=5)
    scope << asyncio.sleep(1)
    with pytest.raises(TimeoutError):
        await scope
    assert now() == 5


@in_tasks
async def test_finalized_without_tasks_it_is_done_at_once():
    scope = Scope()
    scope.finalize()
    assert scope.done() and await scope is None


@in_tasks
async def test_finalized_in_its_block_it_ends_with_the_last_awaited_task():
    seen = []
    async with Scope() as scope:
        scope << asyncio.sleep(1)
        scope.finalize()
        await note_cancels(seen)
    assert now() == 1 and len(seen) == 1 and is_clean()


@in_tasks
async def test_an_error_is_raised_by_the_await():
    error = ValueError("boom")
    scope, seen = Scope(), []
    scope << note_cancels(seen)
    scope << fail(error, 1)
    for _ in range(2):
        with pytest.raises(ValueError) as caught:
            await scope
        assert caught.value is error
    assert len(seen) == 1


@in_tasks
async def test_awaiting_is_cancelled_when_the_scope_has_ended():
    """Which cancels the scope, as of any Future."""
    scope, ended = Scope(), []

    async def cleans_up():
        try:
            await asyncio.sleep(FOREVER)
        finally:
            with CancelScope(shield=True):
                await asyncio.sleep(2)
            ended.append(now())

    async def wait():
        await scope

    task = asyncio.create_task(wait())
    scope.spawn(cleans_up(), cancel_timeout=None)
    await asyncio.sleep(1)
    task.cancel("enough")
    with pytest.raises(CancelledError, match="enough"):
        await task
    assert ended == [3] == [now()] and scope.result() is None


@in_tasks
async def test_awaiting_in_a_cancelled_scope():
    scope = Scope()
    scope << asyncio.sleep(FOREVER)
    with move_on_after(1) as outer:
        await scope
    assert outer.cancelled_caught and is_clean() and scope.result() is None
    assert now() == 1


@in_tasks
async def test_wait_for_ends_it_and_shield_keeps_it():
    scope = Scope()
    scope << asyncio.sleep(3)
    scope.finalize()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(scope), 1)
    assert not scope.done()
    await asyncio.wait_for(asyncio.shield(scope), 10)
    assert now() == 3

    scope = Scope()
    scope << asyncio.sleep(FOREVER)
    try:
        await asyncio.wait_for(scope, 1)
    except TimeoutError:
        pass  # on 3.11 it has a result by then
    assert scope.done() and now() == 4 and is_clean()


@in_tasks
async def test_a_dropped_scope_is_collected():
    Scope(timeout=1)
    Scope().fork()
    await asyncio.sleep(2)


def test_made_before_the_loop_runs():
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        scope = Scope(timeout=1000)
        scope << asyncio.sleep(0)
        scope.finalize()
        loop.run_until_complete(scope)
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    assert scope.result() is None


# ---- cancelling ----


@in_tasks
async def test_cancel_is_silent_or_raises_and_the_first_one_counts():
    error = ValueError("boom")
    for exceptions, wanted in (
        [(None, None), None],
        [(error, KeyError("late")), error],
        [(None, KeyError("late")), None],
        [(error, None), error],
    ):
        scope = Scope()
        scope << asyncio.sleep(FOREVER)
        caught = None
        try:
            async with scope:
                for each in exceptions:
                    assert scope.cancel(each) is False
        except ValueError as raised:
            caught = raised
        assert caught is wanted is scope.exception()
        scope.cancel(KeyError("too late"))
        assert scope.exception() is wanted and is_clean()


@in_tasks
async def test_cancel_takes_a_class_but_no_stop_iteration():
    scope = Scope()
    with pytest.raises(TypeError, match="StopIteration"):
        scope.cancel(StopIteration)
    scope.cancel(ValueError)
    with pytest.raises(ValueError):
        await scope


@in_tasks
async def test_cancelled_by_a_task_of_its_own():
    async def cleaner():
        await asyncio.sleep(1)
        Scope.get_current().cancel()
        await asyncio.sleep(FOREVER)

    async with Scope() as scope:
        scope << cleaner()
        await asyncio.sleep(FOREVER)
    assert now() == 1 and is_clean()


@in_tasks
async def test_its_cancel_scope_can_be_cancelled_too():
    async with Scope() as scope:
        scope << asyncio.sleep(FOREVER)
        call_soon(scope.cancel_scope.cancel)
        await asyncio.sleep(FOREVER)
    assert is_clean() and scope.result() is None

    scope = Scope()
    call_soon(scope.cancel_scope.cancel)
    await scope
    assert scope.result() is None


@in_tasks
async def test_cancel_from_a_thread_by_way_of_the_loop():
    loop = asyncio.get_running_loop()
    async with Scope() as scope:
        scope << asyncio.Event().wait()
        thread = threading.Thread(
            target=loop.call_soon_threadsafe, args=(scope.cancel, None)
        )
        thread.start()
        await asyncio.Event().wait()
    thread.join()
    assert is_clean()


@in_tasks
async def test_traio_silent_cancel_keeps_outside():
    """traio itself swallows everything after a silent cancel."""
    seen = []

    async def block(error):
        async with Scope() as scope:
            scope.cancel()
            try:
                await asyncio.sleep(FOREVER)
            except CancelledError:
                seen.append(1)
                with CancelScope(shield=True):
                    if error is None:
                        await asyncio.sleep(FOREVER)
                    raise error from None

    with pytest.raises(ValueError, match="not of the cancel"):
        await block(ValueError("not of the cancel"))
    task = asyncio.create_task(block(None))
    await asyncio.sleep(1)
    task.cancel("from outside")
    with pytest.raises(CancelledError, match="from outside"):
        await task
    assert task.cancelling() == 1 and len(seen) == 2


@in_tasks
async def test_cancelling_the_host():
    for cancels in (1, 2):
        seen, scopes = [], []

        async def host():
            async with Scope() as scope:
                scopes.append(scope)
                scope << note_cancels(seen, awaits=3)

        task = asyncio.create_task(host())
        await asyncio.sleep(1)
        for n in range(cancels):
            task.cancel(f"no. {n}")
        with pytest.raises(CancelledError):
            await task
        assert task.cancelling() == cancels and len(seen) == 3
        assert scopes[0].cancelled()


@in_tasks
async def test_cancelling_the_host_while_it_waits_for_cleanup():
    """It waits on, and gets the last one."""
    ended = []

    async def cleans_up():
        try:
            await asyncio.sleep(FOREVER)
        finally:
            with CancelScope(shield=True):
                await asyncio.sleep(5)
            ended.append(now())

    async def host():
        async with Scope() as scope:
            scope.spawn(cleans_up(), cancel_timeout=None)
            await asyncio.sleep(1)
            scope.cancel()

    task = asyncio.create_task(host())
    for n in range(3):
        await asyncio.sleep(1.5)
        task.cancel(f"no. {n}")
    with pytest.raises(CancelledError) as caught:
        await task
    assert caught.value.args == ("no. 2",) and task.cancelling() == 3
    assert ended == [6]


@in_tasks
async def test_an_error_and_a_cancel_of_the_host():
    """The error is raised, and the cancel by the next await."""
    steps = []

    async def host():
        try:
            async with Scope() as scope:
                scope << raise_when_cancelled(KeyError("late"))
                scope.cancel(ValueError("boom"))
                with CancelScope(shield=True):
                    await asyncio.sleep(FOREVER)
        except ValueError:
            steps.append("error")
        try:
            await asyncio.sleep(FOREVER)
        except CancelledError as cancel:
            steps.append(cancel.args)
            raise

    task = asyncio.create_task(host())
    await asyncio.sleep(1)
    task.cancel("host")
    with pytest.raises(CancelledError):
        await task
    assert steps == ["error", ("host",)] and task.cancelling() == 1


@in_tasks
async def test_a_task_that_somebody_cancelled_does_not_cancel_the_scope():
    """But a block that lets that CancelledError out is left by it."""
    async with Scope() as scope:
        task = scope << asyncio.sleep(FOREVER)
        scope << asyncio.sleep(2)
        await asyncio.sleep(1)
        assert task.cancel()
    assert task.cancelled() and now() == 2
    assert task.cancel() is False

    with pytest.raises(CancelledError):
        async with Scope() as scope:
            task = scope << asyncio.sleep(FOREVER)
            call_soon(task.cancel)
            await task
    assert scope.cancelled() and is_clean()


@in_tasks
async def test_in_a_scope_that_is_cancelled():
    seen = []
    with move_on_after(1) as outer:
        async with Scope() as scope:
            scope << note_cancels(seen, awaits=3)
            await note_cancels(seen)
    assert outer.cancelled_caught and scope.cancelled() and is_clean()
    assert len(seen) == 4 and now() == 1

    with move_on_after(1) as outer:
        async with Scope() as scope:
            scope << note_cancels(seen, awaits=3)
    assert outer.cancelled_caught and scope.cancelled() and is_clean()
    assert len(seen) == 7 and now() == 2


@in_tasks
async def test_in_asyncio_timeout():
    seen = []
    for in_body in (True, False):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                async with Scope() as scope:
                    scope << note_cancels(seen)
                    if in_body:
                        await asyncio.sleep(FOREVER)
        assert scope.cancelled() and is_clean()
    assert len(seen) == 2 and now() == 2


@in_tasks
async def test_asyncio_timeout_in_it():
    async with Scope() as scope:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(FOREVER)
        scope.cancel()
        async with asyncio.timeout(1):
            await asyncio.sleep(FOREVER)
    assert now() == 1 and is_clean()


@in_tasks
async def test_awaiting_a_task_of_the_scope_as_that_is_cancelled():
    """The task is cancelled by level, and not a second time by its awaiter."""
    counts = []

    async def careful():
        try:
            await asyncio.sleep(FOREVER)
        finally:
            with CancelScope(shield=True):
                await asyncio.sleep(5)
            counts.append(this_task().cancelling())

    async with Scope() as scope:
        task = scope.spawn(careful(), cancel_timeout=None)
        call_soon(scope.cancel)
        await task
    assert counts == [1] and now() == 5 and is_clean()


@in_tasks
async def test_a_future_that_is_no_task_is_cancelled_by_its_own_method():
    loop = asyncio.get_running_loop()
    future, other = loop.create_future(), asyncio.create_task(asyncio.sleep(FOREVER))
    async with Scope() as scope:
        scope << future
        assert (scope << other).awaitable is other
        await asyncio.sleep(1)
        scope.cancel()
    assert future.cancelled() and other.cancelled()


# ---- time ----


@in_tasks
async def test_traio_timeout_set_live():
    seen = []
    with pytest.raises(TimeoutError):
        async with Scope(timeout=5) as scope:
            assert scope.timeout == 5 and current_effective_deadline() == 5
            scope << note_cancels(seen)
            await asyncio.sleep(1)
            scope.timeout = 0.5
            assert current_effective_deadline() == 1.5
            await note_cancels(seen)
    assert now() == 1.5 and len(seen) == 2 and is_clean()
    assert isinstance(scope.exception(), TimeoutError)


@in_tasks
async def test_timeout_zero_removes_it():
    async with Scope(timeout=1) as scope:
        scope.timeout = 0
        assert current_effective_deadline() == INF
        await asyncio.sleep(5)
    assert now() == 5 and scope.timeout == 0


@in_tasks
async def test_tasks_see_the_timeout():
    seen = []

    async def look():
        seen.append(current_effective_deadline())

    scope = Scope(timeout=2)
    await (scope << look())
    scope.timeout = 7
    await (scope << look())
    scope.finalize()
    await scope
    assert seen == [2, 7]


@in_tasks
async def test_a_timeout_runs_from_the_making_on_and_uses_no_task():
    before = asyncio.all_tasks()
    scope = Scope(timeout=3)
    assert asyncio.all_tasks() == before
    await asyncio.sleep(2)
    with pytest.raises(TimeoutError):
        async with scope:
            await asyncio.sleep(FOREVER)
    assert now() == 3


@in_tasks
async def test_negative_timeouts():
    for bad in (-1, float("nan")):
        with pytest.raises(AssertionError, match="positive"):
            Scope(timeout=bad)
        async with Scope() as scope:
            with pytest.raises(AssertionError, match="positive"):
                scope.timeout = bad
            with pytest.raises(AssertionError, match="positive"):
                scope.fork(timeout=bad)


@in_tasks
async def test_traio_cancel_timeout_oserror(caplog):
    thrown = asyncio.get_running_loop()._cancels_thrown
    with pytest.raises(OSError, match="Could not cancel Scope"):
        async with Scope(timeout=0.1) as scope:
            task = scope.spawn(swallow_for_ever(), cancel_timeout=0.5)
            scope.spawn(raise_when_cancelled(KeyError()), cancel_timeout=None)
    assert now() == pytest.approx(0.6) and is_clean()
    assert isinstance(scope.exception(), OSError)
    assert not task.done() and scope.get_tasks() == {}
    # It is asked on, and must not spin.
    await asyncio.sleep(3)
    assert asyncio.get_running_loop()._cancels_thrown - thrown < 60
    assert "goes on although" in caplog.text
    # So that the loop can be closed.
    task.awaitable.get_coro().close()


@in_tasks
async def test_what_could_not_be_cancelled_is_told_when_the_rest_has_ended():
    scope = Scope()
    task = scope.spawn(swallow_for_ever(), cancel_timeout=0)
    scope.spawn(fail_slowly(), cancel_timeout=None)
    await asyncio.sleep(1)
    scope.cancel(ValueError("in whose place"))
    with pytest.raises(OSError):
        await scope
    assert now() == 4
    task.awaitable.get_coro().close()


async def fail_slowly():
    try:
        await asyncio.sleep(FOREVER)
    finally:
        with CancelScope(shield=True):
            await asyncio.sleep(3)


@in_tasks
async def test_a_cancel_from_another_thread_changes_nothing():
    scope, errors = Scope(), []
    scope << asyncio.sleep(5)

    def cancel():
        try:
            scope.cancel()
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=cancel)
    thread.start()
    thread.join()
    assert "not thread-safe" in errors[0]
    scope.finalize()
    await scope
    assert now() == 5


@in_tasks
async def test_a_future_that_raises_when_it_is_cancelled():
    class Bad(asyncio.Future):
        def cancel(self, msg=None):
            raise ValueError("bad class")

    contexts, seen = [], []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    bad = Bad()
    async with Scope() as scope:
        scope.spawn(bad, cancel_timeout=None)
        scope << note_cancels(seen)
        scope.cancel()
        loop.call_later(5, bad.set_result, None)
    (context,) = contexts
    assert "cannot be cancelled" in context["message"] and len(seen) == 1
    assert isinstance(context["exception"], ValueError) and now() == 5


@in_tasks
async def test_a_task_whose_result_somebody_has_set():
    async with Scope() as scope:
        task = scope << asyncio.sleep(5)
        task.set_result("early")
        assert await task == "early" and now() == 0
    assert now() == 5


@in_tasks
async def test_left_in_another_task():
    scope = Scope()

    async def enter():
        await scope.__aenter__()
        scope << asyncio.sleep(1)

    await asyncio.create_task(enter())
    with pytest.raises(RuntimeError, match="Cancel scope stack corrupted"):
        await scope.__aexit__(None, None, None)
    assert is_clean() and current_effective_deadline() == INF


@in_tasks
async def test_a_task_that_ends_the_scope_in_its_first_step():
    """Which with eager Tasks is before anybody has the task."""
    seen = []

    async def ends_it():
        scope = Scope.get_current()
        assert len(scope.get_tasks()) == 1
        scope.cancel()
        await note_cancels(seen)

    async with Scope() as scope:
        scope.spawn(ends_it(), cancel_timeout=5)
        await note_cancels(seen)
    assert len(seen) == 2 and is_clean()


@in_tasks
async def test_around_trio_flavoured_code():
    cleaned = []

    async def callee():
        try:
            await trio_asyncio_c.sleep_forever()
        finally:
            with CancelScope(shield=True):
                await trio_asyncio_c.sleep(2)
            cleaned.append(trio_asyncio_c.current_time())

    loop = asyncio.get_running_loop()
    deadlines = []

    async def asks():
        deadlines.append(current_effective_deadline())

    async def waits():
        await loop.run_trio(asks)
        await loop.run_trio(callee)

    began = trio_asyncio_c.current_time()
    with pytest.raises(TimeoutError):
        async with Scope(timeout=1) as scope:
            scope.spawn(waits(), cancel_timeout=None)
            scope.spawn(loop.run_trio(callee), cancel_timeout=None)
    assert cleaned == [began + 3] * 2 and deadlines == [began + 1] and is_clean()


def test_trio_flavoured_code_has_no_block():
    async def main():
        async with trio_asyncio_c.open_loop() as loop:
            made = []
            await loop.run_asyncio(make, made)
            with pytest.raises(
                RuntimeError, match="asyncio Task|no running event loop"
            ):
                await made[0].__aenter__()

    async def make(made):
        made.append(Scope())

    trio_asyncio_c.run(main)
