"""traio's Scope: what its tasks are, its forks, its log, and the samples of traio's
README."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time

import pytest
from trio_asyncio_c import (
    CancelScope,
    Scope,
    ScopeTask,
    current_effective_deadline,
    move_on_after,
    new_event_loop,
)

from ._scoped import in_tasks, now
from ._traio import (
    FOREVER,
    INF,
    fail,
    is_clean,
    note_cancels,
    raise_when_cancelled,
    swallow_for_ever,
)

# ---- bubble, master, awaited ----


@in_tasks
async def test_without_bubble_an_error_is_the_task_s_own(caplog):
    async with Scope() as scope:
        task = scope.spawn(fail(ValueError("boom"), 1), bubble=False)
        scope << asyncio.sleep(2)
    assert now() == 2 and isinstance(task.exception(), ValueError)
    del task, scope
    assert not caplog.records  # nobody says that it was never retrieved


@in_tasks
async def test_traio_bubble_off_by_await():
    async with Scope() as scope:
        task = scope << fail(ValueError("boom"), 1)
        assert task.bubble is True
        with pytest.raises(ValueError):
            await task
        assert task.bubble is False
        await asyncio.sleep(1)
    assert scope.result() is None


@in_tasks
async def test_traio_bubble_off_by_callback():
    called = []
    async with Scope() as scope:
        task = scope << fail(ValueError("boom"), 1)
        task.add_done_callback(called.append)
        await asyncio.sleep(2)
        assert called == [task] and task.bubble is False


@pytest.mark.parametrize(
    "wait",
    [
        lambda task: asyncio.gather(task),
        lambda task: asyncio.gather(task, return_exceptions=True),
        lambda task: asyncio.wait([task]),
        lambda task: asyncio.wait_for(task, 5),
        lambda task: asyncio.shield(task),
        lambda task: next(iter(asyncio.as_completed([task]))),
    ],
    ids=["gather", "gather_results", "wait", "wait_for", "shield", "as_completed"],
)
@in_tasks
async def test_traio_bubble_off_by_gather(wait):
    async with Scope() as scope:
        task = scope << fail(ValueError("boom"), 1)
        try:
            await wait(task)
        except ValueError:
            pass
        assert task.bubble is False and now() == 1
        await asyncio.sleep(1)
    assert scope.result() is None and is_clean()


@in_tasks
async def test_awaiting_too_late_undoes_nothing():
    with pytest.raises(ValueError):
        async with Scope() as scope:
            task = scope << fail(ValueError("boom"), 1)
            try:
                await asyncio.sleep(FOREVER)
            finally:
                with pytest.raises(ValueError):
                    await task
    assert is_clean()


@pytest.mark.parametrize("awaited", [True, False])
@pytest.mark.parametrize("bubble", [True, False])
@in_tasks
async def test_traio_master(bubble, awaited):
    seen = []
    async with Scope() as scope:
        scope << note_cancels(seen)
        scope.spawn(asyncio.sleep(1), master=True, bubble=bubble, awaited=awaited)
        await note_cancels(seen)
    assert now() == 1 and len(seen) == 2 and is_clean()


@pytest.mark.parametrize("awaited", [True, False])
@in_tasks
async def test_traio_master_raises(awaited):
    with pytest.raises(ValueError):
        async with Scope() as scope:
            scope << asyncio.sleep(FOREVER)
            scope.spawn(fail(ValueError("boom"), 1), master=True, awaited=awaited)
    async with Scope() as scope:
        scope << asyncio.sleep(FOREVER)
        scope.spawn(
            fail(ValueError("boom"), 1), master=True, awaited=awaited, bubble=False
        )
    assert now() == 2 and scope.result() is None


@in_tasks
async def test_cancelling_the_master_ends_the_scope():
    async with Scope() as scope:
        scope << asyncio.sleep(FOREVER)
        task = scope.spawn(asyncio.sleep(FOREVER), master=True)
        await asyncio.sleep(1)
        task.cancel()
    assert now() == 1


@in_tasks
async def test_traio_unawaited():
    """It is cancelled with the last that is awaited, and its cleanup waited for."""
    seen = []
    async with Scope() as scope:
        scope.spawn(note_cancels(seen, awaits=2), awaited=False)
        scope << asyncio.sleep(2)
        await asyncio.sleep(1)
    assert now() == 2 and len(seen) == 2 and is_clean()

    async with Scope() as scope:
        scope.spawn(note_cancels(seen), awaited=False)
    assert now() == 2 and len(seen) == 3


# ---- forks ----


@in_tasks
async def test_traio_fork_parent_dies():
    seen = []
    with pytest.raises(TimeoutError):
        async with Scope(timeout=1) as parent:
            async with parent.fork(timeout=5) as inner:
                inner << note_cancels(seen)
                assert current_effective_deadline() == 1
    assert len(seen) == 1 and now() == 1 and inner.done() and is_clean()

    parent = Scope()
    inner = parent.fork()
    innermost = inner.fork()
    innermost << note_cancels(seen)
    await asyncio.sleep(1)
    parent.cancel(ValueError("parent's"))
    await innermost
    await inner
    with pytest.raises(ValueError):
        await parent
    assert len(seen) == 2 and now() == 2


@in_tasks
async def test_traio_fork_error_isolated():
    async with Scope() as parent:
        inner = parent.fork()
        inner << fail(ValueError("boom"), 1)
        with pytest.raises(ValueError):
            await inner
        ignored = parent.fork()
        ignored << fail(ValueError("boom"), 1)
        parent << asyncio.sleep(5)
    assert now() == 6 and parent.result() is None
    assert isinstance(ignored.exception(), ValueError)

    with pytest.raises(TimeoutError):
        async with Scope() as parent:
            parent << asyncio.sleep(FOREVER)
            async with parent.fork(timeout=1) as inner:
                inner << asyncio.sleep(FOREVER)
    assert now() == 7 and parent.exception() is inner.exception()


@in_tasks
async def test_traio_fork_dead():
    scope = Scope()
    async with scope:
        pass
    coro = asyncio.sleep(1)
    for use, message in (
        (scope.fork, "fork a dead"),
        (lambda: scope.spawn(coro), "spawn tasks on dead"),
        (lambda: setattr(scope, "timeout", 1), "set timeout on dead"),
    ):
        with pytest.raises(AssertionError, match=message):
            use()
    dying = Scope()
    dying << asyncio.sleep(FOREVER)
    dying.cancel()
    with pytest.raises(AssertionError):
        dying.fork()
    await dying


@in_tasks
async def test_a_parent_waits_for_its_fork():
    async with Scope() as parent:
        inner = parent.fork()
        inner << asyncio.sleep(1)
        asyncio.get_running_loop().call_later(3, inner.finalize)
    assert now() == 3 and inner.done()


@in_tasks
async def test_a_fork_ends_with_a_scope_around_its_parent():
    """Though the parent's host is shielded, and tells nobody."""
    seen = []
    with move_on_after(1) as outer:
        async with Scope() as parent:
            inner = parent.fork()
            inner << note_cancels(seen)
            with CancelScope(shield=True):
                await asyncio.sleep(5)
                assert inner.done() and len(seen) == 1
            await asyncio.sleep(FOREVER)
    assert outer.cancelled_caught and is_clean()


@in_tasks
async def test_a_fork_entered_elsewhere_is_where_it_is_entered():
    async def enter(scope):
        with move_on_after(1) as around:
            async with scope:
                deadlines.append(current_effective_deadline())
                await asyncio.sleep(FOREVER)
        return around.cancelled_caught

    deadlines = []
    async with Scope(timeout=5) as parent:
        inner = parent.fork(timeout=3)
        assert await asyncio.create_task(enter(inner))
    assert deadlines == [1] and inner.cancelled() and now() == 1


@in_tasks
async def test_forks_and_tasks_are_listed():
    async with Scope() as outer:
        for n in range(1, 4):
            outer.spawn(asyncio.sleep(FOREVER), name=f"no. {n}")
            assert len(outer.get_tasks()) == n
        await asyncio.sleep(2)
        async with outer.fork(name="inner") as inner:
            task = inner << asyncio.sleep(FOREVER)
            await asyncio.sleep(1)
            tasks = outer.get_tasks()
            assert tasks[repr(inner)] == {repr(task): 1} == inner.get_tasks()
            assert list(tasks.values()) == [3, 3, 3, {repr(task): 1}]
            assert repr(inner) == f"Scope({id(inner)}, inner)"
            assert repr(outer) == f"Scope({id(outer)}, -)"
            assert repr(task) == f"Task({id(task)}, sleep)"
            outer.cancel()
    assert outer.get_tasks() == inner.get_tasks() == {}


# ---- the current scope ----


@in_tasks
async def test_traio_get_current_context():
    assert Scope.get_current() is None
    outer = Scope()

    async def sees(wanted):
        assert Scope.get_current() is wanted

    async def sub():
        assert Scope.get_current() is outer
        async with outer.fork() as inner:
            assert Scope.get_current() is inner
            await sees(inner)
            await asyncio.create_task(sees(inner))
            inner << sees(inner)
            outer << sees(outer)

    async with outer:
        assert Scope.get_current() is outer
        outer << sub()
    assert Scope.get_current() is None
    with pytest.raises(ValueError):
        async with Scope():
            raise ValueError("boom")
    assert Scope.get_current() is None


@in_tasks
async def test_a_plain_task_has_the_name_but_not_the_cancellation():
    async def plain():
        scope = Scope.get_current()
        await asyncio.sleep(2)
        return scope, current_effective_deadline()

    async with Scope(timeout=10) as scope:
        task = asyncio.create_task(plain())
        await asyncio.sleep(1)
        scope.cancel()
    assert await task == (scope, INF) and now() == 2


# ---- names and log ----


class Lines(logging.Handler):
    """Collects (level, message)."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append((record.levelname, record.getMessage()))


def new_logger():
    """Return a logger of its own, and the list of what it logs."""
    logger, handler = logging.Logger("own", logging.DEBUG), Lines()
    logger.addHandler(handler)
    return logger, handler.lines


@in_tasks
async def test_traio_log_lines():
    logger, lines = new_logger()
    async with Scope(logger=logger, name="main", timeout=5) as scope:
        good = scope.spawn(asyncio.sleep(1), name="good")
        bad = scope.spawn(fail(ValueError("boom"), 2), name="bad", bubble=False)
        gone = scope.spawn(asyncio.sleep(FOREVER), name="gone")
        await asyncio.sleep(3)
        gone.cancel()
    assert repr(scope) == f"Scope({id(scope)}, main)"
    assert lines == [
        ("DEBUG", f"creating {scope}"),
        ("DEBUG", f"adding {good} to {scope}"),
        ("DEBUG", f"adding {bad} to {scope}"),
        ("DEBUG", f"adding {gone} to {scope}"),
        ("DEBUG", f"{good} done"),
        ("DEBUG", f"{bad} got an exception: [ValueError] boom"),
        ("DEBUG", f"{gone} got cancelled"),
    ]


@in_tasks
async def test_traio_log_lines_of_an_end():
    logger, lines = new_logger()
    with pytest.raises(OSError):
        async with Scope(logger=logger, timeout=1) as scope:
            late = scope.spawn(raise_when_cancelled(KeyError("late")), name="late")
            stuck = scope.spawn(swallow_for_ever(), cancel_timeout=0.5)
            fork = scope.fork(name="fork")
            del lines[:]
    assert fork.logger is logger
    (wrapper,) = (line for _, line in lines if "fork" in line and "from" in line)
    wrapper = wrapper.split(" ", 2)[2].rpartition(" from ")[0]
    assert lines == [
        ("INFO", f"timeout on scope {scope}"),
        ("DEBUG", f"cancelling active {late} from {scope}"),
        ("DEBUG", f"cancelling active {stuck} from {scope}"),
        ("DEBUG", f"cancelling active {wrapper} from {scope}"),
        ("DEBUG", f"{wrapper} done"),
        ("DEBUG", f"{late} got an exception: [KeyError] 'late'"),
        ("WARNING", f"{late} got an exception after cancellation: KeyError 'late'"),
        ("ERROR", f"{stuck} could not be cancelled in time"),
    ]
    stuck.awaitable.get_coro().close()


@in_tasks
async def test_the_logger_is_traio_s_and_silent_by_default():
    scope = Scope()
    scope.finalize()
    assert scope.logger is logging.getLogger("traio")
    assert scope.logger.level == logging.CRITICAL
    Scope.set_debug(True)
    assert scope.logger.level == logging.DEBUG
    Scope.set_debug(False)
    assert scope.logger.level == logging.CRITICAL


@in_tasks
async def test_names_and_what_else_a_task_says():
    async with Scope(name="s") as scope:
        before = time.time()
        task = scope.spawn(
            asyncio.sleep(1), name="n", master=True, awaited=False, cancel_timeout=7
        )
        assert isinstance(task, ScopeTask) and isinstance(task, asyncio.Future)
        assert before <= task.start_time <= time.time()
        assert (task.name, task.master, task.bubble) == ("n", True, True)
        assert (task.awaited, task.cancel_timeout) == (False, 7)
        assert task.awaitable.get_name() == "n"
        future = asyncio.get_running_loop().create_future()
        named = repr(future)
        assert scope.spawn(future).name == named
        future.set_result(None)
    assert scope.name == "s"


# ---- what can be spawned ----


@pytest.mark.parametrize("thing", [None, 1, "hello", len, asyncio.sleep])
@in_tasks
async def test_what_is_not_awaitable_is_an_oserror(thing):
    with pytest.raises(OSError, match="this thing is not awaitable"):
        async with Scope() as scope:
            scope.spawn(thing)


@in_tasks
async def test_any_awaitable():
    class Awaitable:
        def __await__(self):
            return asyncio.sleep(1, "slept").__await__()

    async with Scope() as scope:
        assert await scope.spawn(Awaitable()) == "slept"
        task = scope << asyncio.sleep(1, "again")
        assert await (scope << task) == "again"


@in_tasks
async def test_a_future_of_another_loop():
    other = new_event_loop()
    try:
        async with Scope() as scope:
            with pytest.raises(ValueError):
                scope << other.create_future()
            assert scope.get_tasks() == {}
    finally:
        other.close()


def run(fn):
    """Run a test in real time."""

    @functools.wraps(fn)
    def test():
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(fn())

    return test


@run
async def test_executor_futures():
    loop, release = asyncio.get_running_loop(), threading.Event()
    async with Scope() as scope:
        task = scope << loop.run_in_executor(None, lambda: 42)
        assert await task == 42
        bad = scope << loop.run_in_executor(None, lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await bad
    ran = []

    def job():
        started.set()
        release.wait()
        ran.append(1)

    started = threading.Event()
    with pytest.raises(TimeoutError):
        async with Scope() as scope:
            stuck = scope << loop.run_in_executor(None, job)
            await loop.run_in_executor(None, started.wait)
            scope.timeout = 0.001
    # The thread runs on.
    assert stuck.cancelled() and not ran
    release.set()
    await loop.shutdown_default_executor()
    assert ran


def test_a_foreign_loop_is_refused():
    async def main():
        Scope()

    loop = asyncio.SelectorEventLoop()
    try:
        with pytest.raises(RuntimeError, match="needs an event loop of trio_asyncio_c"):
            loop.run_until_complete(main())
    finally:
        loop.close()


@in_tasks
async def test_many_tasks_are_cancelled_together():
    ended = []

    async def task():
        try:
            await asyncio.sleep(FOREVER)
        finally:
            ended.append(1)

    async with Scope() as scope:
        for _ in range(1000):
            scope << task()
        await asyncio.sleep(1)
        scope.cancel()
    assert len(ended) == 1000 and now() == 1 and len(scope._timers) == 0


@in_tasks
async def test_a_scope_lets_go_of_its_tasks():
    scope = Scope()
    tasks = [scope << asyncio.sleep(0) for _ in range(10)]
    await asyncio.wait(tasks)
    assert scope.get_tasks() == {} and all(task._scope is None for task in tasks)
    scope.finalize()


# ---- traio's README, each sample with what it says of it ----


async def sleep_3(x=None):
    await asyncio.sleep(3)


async def fetch_url():
    await asyncio.sleep(10)


@in_tasks
async def test_readme_simple_scope():
    async with Scope(timeout=10) as scope:
        for i in range(10):
            scope.spawn(sleep_3(i))
    assert now() == 3


@in_tasks
async def test_readme_without_context_manager():
    scope = Scope(timeout=10)
    for i in range(10):
        scope << sleep_3(i)
    scope.finalize()
    await scope
    assert now() == 3


@in_tasks
async def test_readme_bubble():
    async def trivial():
        await asyncio.sleep(0.01)
        raise ValueError("not interesting")

    with pytest.raises(TimeoutError):
        async with Scope(timeout=0.5) as n:
            n << fetch_url()
            n.spawn(trivial(), bubble=False)
    assert now() == 0.5


@in_tasks
async def test_readme_master():
    async def trivial():
        await asyncio.sleep(0.01)

    async with Scope(timeout=0.5) as n:
        n << fetch_url()
        n.spawn(trivial(), master=True)
    assert now() == 0.01


@in_tasks
async def test_readme_awaited():
    times = []

    async def background():
        while True:
            times.append(now())
            await asyncio.sleep(1)

    async with Scope() as n:
        task = n.spawn(background(), awaited=False)
        n << fetch_url()
    assert now() == 10 and task.cancelled() and times[:10] == list(range(10))


@in_tasks
async def test_readme_flags_combined():
    """Not bubbling and master: it ends silently, even with an exception."""
    async with Scope() as n:
        n << fetch_url()
        n.spawn(fail(ValueError("boom"), 1), bubble=False, master=True)
    assert now() == 1


@in_tasks
async def test_readme_nested():
    with pytest.raises(TimeoutError):
        async with Scope(timeout=0.2) as parent:
            async with parent.fork(timeout=0.5) as inner:
                inner << fetch_url()
    assert now() == 0.2


@run
async def test_readme_executor():
    release = threading.Event()
    with pytest.raises(TimeoutError):
        async with Scope(timeout=0.01) as scope:
            scope << asyncio.get_event_loop().run_in_executor(None, release.wait)
    release.set()
    await asyncio.get_running_loop().shutdown_default_executor()


@in_tasks
async def test_readme_current_scope():
    ran = []

    async def do_something(client):
        ran.append((client, Scope.get_current()))

    async def handler(client):
        async with Scope.get_current().fork() as s:
            s << do_something(client)
            s << do_something(client + 1)
            forks.append(s)

    async def server(main_scope):
        main_scope.spawn(handler(1))

    forks = []
    async with Scope() as main_scope:
        main_scope << server(main_scope)
        main_scope << do_something(0)
    (fork,) = forks
    assert sorted(ran) == [(0, main_scope), (1, fork), (2, fork)]
