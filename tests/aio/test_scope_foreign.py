"""Cancel scopes beside those of other libraries, and in Tasks of other classes."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest
from trio_asyncio_c import CancelScope, TaskGroup, move_on_after

from ._scoped import InTask, call_soon, cancel_soon, in_tasks, now, this_task


def library(name):
    """Return a library, or skip the test where it is not installed."""
    return pytest.importorskip(name)


async def has_a_clean_end():
    """Whether the Task counts no cancel, and none is on its way."""
    if this_task().cancelling():
        return False
    for _ in range(3):
        await asyncio.sleep(0)
    await asyncio.sleep(1)
    return True


# Blocks that time out: each is an async context manager, and yields what says whether.


@contextlib.asynccontextmanager
async def by_anyio(delay):
    with library("anyio").move_on_after(delay) as scope:
        assert not isinstance(scope, CancelScope)
        yield lambda: scope.cancelled_caught


@contextlib.asynccontextmanager
async def by_quattro(delay):
    with library("quattro").move_on_after(delay) as scope:
        yield lambda: scope.cancelled_caught


@contextlib.asynccontextmanager
async def raising(manager):
    """What raises TimeoutError where others go on behind the block."""
    said = []
    try:
        async with manager:
            yield lambda: bool(said)
    except TimeoutError:
        said.append(True)


def by_async_timeout(delay):
    return raising(library("async_timeout").timeout(delay))


def by_aiotools(delay):
    return raising(library("aiotools").timeout(delay))


def by_aiotools_scope(delay):
    return raising(library("aiotools").TaskScope(timeout=delay))


def by_aiotools_shield(delay):
    return raising(library("aiotools").ShieldScope(timeout=delay))


CLEAN = [by_anyio, by_quattro, by_async_timeout, by_aiotools]
# These leave the count of their own cancel behind, on any loop.
COUNTING = [by_aiotools_scope, by_aiotools_shield]
each_foreign = pytest.mark.parametrize("foreign", CLEAN + COUNTING)
each_but_shields = pytest.mark.parametrize("foreign", [*CLEAN, by_aiotools_scope])


@each_foreign
@in_tasks
async def test_a_foreign_block_alone(foreign):
    """What the tests below take for granted, of the libraries as they are here."""
    async with foreign(1) as timed_out:
        await asyncio.sleep(10)
    assert timed_out() and now() == 1
    assert this_task().cancelling() == (foreign in COUNTING)


@each_but_shields
@in_tasks
async def test_ours_ends_a_foreign_block_in_it(foreign):
    with move_on_after(1) as scope:
        async with foreign(10) as timed_out:
            await asyncio.sleep(20)
        pytest.fail("the cancel ended too soon")
    assert now() == 1
    assert scope.cancelled_caught and not timed_out()
    assert await has_a_clean_end()


@each_foreign
@in_tasks
async def test_a_foreign_block_in_ours_times_out(foreign):
    with move_on_after(10) as scope:
        async with foreign(1) as timed_out:
            await asyncio.sleep(20)
        assert timed_out() and now() == 1
        assert this_task().cancelling() == (foreign in COUNTING)
    assert not scope.cancelled_caught


@each_but_shields
@in_tasks
async def test_ours_in_a_foreign_block_is_cancelled(foreign):
    async with foreign(10) as timed_out:
        with move_on_after(1) as scope:
            await asyncio.sleep(20)
        assert scope.cancelled_caught and now() == 1
        assert await has_a_clean_end()
    assert not timed_out()
    assert await has_a_clean_end()


@each_foreign
@in_tasks
async def test_a_foreign_block_ends_ours_in_it(foreign):
    async with foreign(1) as timed_out:
        with move_on_after(10) as scope:
            await asyncio.sleep(20)
        pytest.fail("the cancel ended too soon")
    assert timed_out() and not scope.cancelled_caught
    assert now() == 1
    assert this_task().cancelling() == (foreign in COUNTING)


@pytest.mark.parametrize("inner", [True, False])
@pytest.mark.parametrize("foreign", CLEAN)
@in_tasks
async def test_both_at_one_time(foreign, inner):
    """The outer one ends it, or the inner one before it hears of that."""
    scope = CancelScope(now() + 1)
    async with contextlib.AsyncExitStack() as stack:
        if inner:
            stack.enter_context(scope)
        timed_out = await stack.enter_async_context(foreign(1))
        if not inner:
            stack.enter_context(scope)
        await asyncio.sleep(10)
    assert now() == 1
    assert timed_out() or scope.cancelled_caught
    assert await has_a_clean_end()


@pytest.mark.parametrize("inner", [True, False])
@each_but_shields
@in_tasks
async def test_a_tasks_own_cancel_passes_both(foreign, inner):
    task = this_task()
    scope = CancelScope(now() + 10)
    asyncio.get_running_loop().call_later(1, task.cancel, "stop")
    with pytest.raises(asyncio.CancelledError):
        async with contextlib.AsyncExitStack() as stack:
            if inner:
                stack.enter_context(scope)
            await stack.enter_async_context(foreign(10))
            if not inner:
                stack.enter_context(scope)
            await asyncio.sleep(20)
    assert now() == 1 and not scope.cancelled_caught
    assert task.uncancel() == 0
    assert await has_a_clean_end()


# aiotools' groups


ignore_deprecation = pytest.mark.filterwarnings("ignore:Use aiotools")


@ignore_deprecation
@pytest.mark.parametrize(
    "name", ["TaskScope", "TaskGroup", "PersistentTaskGroup", "Supervisor"]
)
@in_tasks
async def test_groups_of_aiotools_in_ours(name):
    ended = []

    async def child():
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0.5)
            ended.append(now())

    with move_on_after(1) as scope:
        async with getattr(library("aiotools"), name)() as group:
            group.create_task(child())
            group.create_task(child())
            await asyncio.sleep(20)
    assert scope.cancelled_caught
    assert ended == [1.5, 1.5]
    assert await has_a_clean_end()


@ignore_deprecation
@pytest.mark.parametrize("name", ["TaskScope", "TaskGroup", "PersistentTaskGroup"])
@in_tasks
async def test_ours_in_groups_of_aiotools(name):
    async def child(scope):
        with scope:
            await asyncio.sleep(10)
        return await has_a_clean_end()

    scopes = [CancelScope(now() + 1) for _ in range(2)]
    async with getattr(library("aiotools"), name)() as group:
        tasks = [group.create_task(child(scope)) for scope in scopes]
        with move_on_after(2) as scope:
            await asyncio.sleep(10)
        assert await has_a_clean_end()
    assert [await task for task in tasks] == [True, True]
    assert all(each.cancelled_caught for each in (*scopes, scope))
    assert await has_a_clean_end()


@in_tasks
async def test_an_error_in_a_group_of_aiotools_in_ours():
    async def fail():
        await asyncio.sleep(1)
        raise ValueError("child")

    with pytest.raises(BaseExceptionGroup) as caught:
        with move_on_after(10) as scope:
            async with library("aiotools").TaskGroup() as group:
                group.create_task(fail())
                await asyncio.sleep(20)
    assert [str(error) for error in caught.value.exceptions] == ["child"]
    assert not scope.cancelled_caught
    assert await has_a_clean_end()


# aiotools' shields, which keep all cancels of the Task until they are left


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING, "asyncio")
    yield caplog
    assert [record.getMessage() for record in caplog.records] == []


@in_tasks
async def test_a_foreign_shield_is_left_before_ours_is_cancelled(warnings):
    loop = asyncio.get_running_loop()
    with move_on_after(1) as scope:
        with library("aiotools").ShieldScope():
            for _ in range(50):
                await asyncio.sleep(0.1)
        assert now() == pytest.approx(5)
        assert this_task().cancelling() == 0
        assert loop.statistics().cancel_deliveries == 0
        await asyncio.sleep(10)
        pytest.fail("the scope is cancelled")
    assert scope.cancelled_caught and now() == pytest.approx(5)
    assert loop.statistics().cancel_deliveries == 1
    assert await has_a_clean_end()


@in_tasks
async def test_a_long_wait_in_a_foreign_shield(warnings):
    with move_on_after(1) as scope:
        with library("aiotools").ShieldScope():
            await asyncio.sleep(100)
    assert now() == 100 and not scope.cancelled_caught
    assert await has_a_clean_end()


@in_tasks
async def test_cleanup_in_a_foreign_shield(warnings):
    with move_on_after(1) as scope:
        try:
            await asyncio.sleep(10)
        finally:
            with library("aiotools").ShieldScope():
                for _ in range(50):
                    await asyncio.sleep(0.1)
            assert this_task().cancelling() == 1
    assert scope.cancelled_caught and now() == pytest.approx(6)
    assert await has_a_clean_end()


@in_tasks
async def test_children_of_a_foreign_shield(warnings):
    with move_on_after(1) as scope:
        async with library("aiotools").ShieldScope() as shield:
            task = shield.create_task(asyncio.sleep(5, "value"))
        assert now() == 5
        await asyncio.sleep(10)
    assert scope.cancelled_caught and now() == 5
    assert task.result() == "value"
    assert await has_a_clean_end()


@in_tasks
async def test_ours_in_a_foreign_shield_leaves_no_cancel_behind(warnings):
    """As asyncio.timeout there: no cancel comes, neither in the shield nor later."""
    with library("aiotools").ShieldScope():
        with move_on_after(1) as scope:
            await asyncio.sleep(5)
        assert not scope.cancelled_caught and now() == 5
        async with asyncio.timeout(1):
            await asyncio.sleep(5)
    assert await has_a_clean_end()


@pytest.mark.parametrize("ours_first", [True, False])
@in_tasks
async def test_a_tasks_own_cancel_in_a_foreign_shield(ours_first):
    task = this_task()
    delay = 2 if ours_first else 0.5
    asyncio.get_running_loop().call_later(delay, lambda: task.cancel("stop"))
    with pytest.raises(asyncio.CancelledError):
        with move_on_after(1) as scope:
            with library("aiotools").ShieldScope():
                await asyncio.sleep(5)
            pytest.fail("the shield raises what it has kept")
    assert now() == 5 and not scope.cancelled_caught
    assert task.cancelling() == 1
    # Its exit cancels the running Task, on top of what it raises.
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
    assert task.uncancel() == 0
    assert await has_a_clean_end()


@in_tasks
async def test_what_was_kept_back_is_no_part_of_the_next_scope():
    """A cancel that somebody swallows before the next scope is not that scope's."""
    task = this_task()
    with move_on_after(1):
        with library("aiotools").ShieldScope():
            await asyncio.sleep(2)
    with CancelScope() as scope:
        call_soon(task.cancel, "swallowed")
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1)
        cancel_soon(scope)
        await asyncio.sleep(1)
    assert scope.cancelled_caught
    assert task.uncancel() == 0
    assert await has_a_clean_end()


# Tasks of another class, that have no _fut_waiter and no _must_cancel


class Bare(asyncio.Future):
    """A Task with names of its own for what asyncio calls _fut_waiter and so on."""

    blind = False

    def __init__(self, coro, *, loop, name=None, **kwargs):
        super().__init__(loop=loop)
        self.coro, self.name = coro, name
        self.waits_for = self.due = None
        self.count = 0
        asyncio._register_task(self)
        loop.call_soon(self.step)

    def cancel(self, msg=None):
        if self.done():
            return False
        self.count += 1
        if self.waits_for is None or not self.waits_for.cancel(msg=msg):
            self.due = asyncio.CancelledError(*[] if msg is None else [msg])
        return True

    def cancelling(self):
        return self.count

    def uncancel(self):
        self.count = max(self.count - 1, 0)
        return self.count

    def get_coro(self):
        return self.coro

    def get_name(self):
        return self.name

    def set_name(self, name):
        self.name = name

    def step(self, future=None):
        self.waits_for = None
        error, self.due = self.due, None
        if future is not None and error is None:
            error = future.exception() if not future.cancelled() else None
            if future.cancelled():
                error = asyncio.CancelledError()
        asyncio._enter_task(self._loop, self)
        try:
            if error is None:
                waited = self.coro.send(None)
            else:
                waited = self.coro.throw(error)
        except StopIteration as exc:
            self.set_result(exc.value)
        except asyncio.CancelledError:
            super().cancel()
        except BaseException as exc:
            self.set_exception(exc)
        else:
            self.wait(waited)
        finally:
            asyncio._leave_task(self._loop, self)
            error = None

    def wait(self, waited):
        wake = (lambda *args: self.step(*args)) if self.blind else self.step
        if waited is None:
            self._loop.call_soon(wake)
        else:
            waited._asyncio_future_blocking = False
            self.waits_for = waited
            waited.add_done_callback(wake)


class BareAndBlind(Bare):
    """One of whose steps the loop cannot tell that they are a Task's, too."""

    blind = True


def in_bare(kind, fn, **kwargs):
    def make_loop():
        loop = InTask.new_loop()
        loop.set_task_factory(
            lambda loop, coro, **names: kind(coro, loop=loop, **names)
        )
        return loop

    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(fn(**kwargs))


each_bare = pytest.mark.parametrize("kind", [Bare, BareAndBlind])


@each_bare
def test_bare_tasks_are_cancelled(kind):
    async def main():
        assert type(this_task()) is kind
        with move_on_after(1) as scope:
            await asyncio.sleep(10)
        assert scope.cancelled_caught and now() == 1
        with move_on_after(1) as outer:
            with move_on_after(5) as inner:
                await asyncio.sleep(10)
        assert (inner.cancelled_caught, outer.cancelled_caught) == (False, True)
        with CancelScope() as scope:
            scope.cancel()
            with CancelScope(shield=True):
                await asyncio.sleep(1)
            await asyncio.sleep(10)
        assert scope.cancelled_caught and now() == 3
        return await has_a_clean_end()

    assert in_bare(kind, main)


def test_a_bare_task_is_cancelled_at_each_await():
    assert in_bare(Bare, swallow_thrice) == [1, 1, 1, 1]


def test_a_bare_task_whose_steps_are_not_seen_is_cancelled_again_later(caplog):
    """Once, and after 1 s and 2 s again: it might be the same wait."""
    assert in_bare(BareAndBlind, swallow_thrice) == [1, 2, 4, 4]
    (record,) = caplog.records
    assert "goes on although" in record.getMessage()


async def swallow_thrice():
    times = []
    with move_on_after(1):
        for _ in range(3):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(10)
            times.append(now())
        assert this_task().cancelling() == 3
    times.append(now())
    assert await has_a_clean_end()
    return times


@each_bare
def test_others_cancels_pass_a_bare_tasks_scopes(kind):
    async def main():
        task = this_task()
        with pytest.raises(asyncio.CancelledError):
            with move_on_after(10) as scope:
                call_soon(task.cancel, "stop")
                await asyncio.sleep(20)
        assert not scope.cancelled_caught and now() == 0
        assert task.uncancel() == 0
        return await has_a_clean_end()

    assert in_bare(kind, main)


@each_bare
def test_bare_tasks_as_children(kind):
    """Of asyncio's groups and ours, which make them by the factory."""

    async def child():
        with move_on_after(1) as scope:
            await asyncio.sleep(10)
        return scope.cancelled_caught

    async def main():

        for make in (asyncio.TaskGroup, TaskGroup):
            async with make() as group:
                tasks = [group.create_task(child()) for _ in range(2)]
            assert [task.result() for task in tasks] == [True, True]
        with move_on_after(1) as scope:
            async with TaskGroup() as group:
                group.create_task(asyncio.sleep(10))
        assert scope.cancelled_caught
        return await has_a_clean_end()

    assert in_bare(kind, main)
