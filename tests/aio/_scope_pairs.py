"""Cancel scopes beside all else that cancels in asyncio: each pair nested either way,
with every order of causes.

A row is a nest of two, in which `stage.scope` is the scope that is cancelled; a column
says what happens while its inmost part waits:

    S  the scope is cancelled           D  its deadline passes
    O  others do task.cancel("O")       E  the code raises an error
    T  the other construct's time is up, or others cancel it by its own means

and where there are two, how they follow each other: together in one callback, in two
callbacks of one turn, the second during the cleanup from the first (which awaits), or
running in that cleanup, without any await between it and the scope's end.

A cell has what leaves the outer construct, how often the Task is still cancelled, and
whether the scope caught.  `python -m tests.aio._scope_pairs` prints the table.
"""

from __future__ import annotations

import asyncio
import sys

from trio_asyncio_c import CancelScope, TaskGroup, fail_after, move_on_after, trio

from ._scoped import WAYS

__all__ = ["ROWS", "USUAL", "WITH_TIME", "cells", "expected", "measure", "play"]

LONG_S = 1000


class RowError(Exception):
    """What the code raises in column E."""


# How the second of two causes follows the first.
ORDERS = {
    "S+O": ("together", "turn", "cleanup", "running"),
    "O+S": ("together", "turn", "cleanup"),
    "S+T": ("together", "turn"),
    "T+S": ("together", "turn"),
}
SINGLE = ("S", "D", "O", "E")
CAUSES = [
    *SINGLE,
    *(f"{causes} {order}" for causes in ("S+O", "O+S") for order in ORDERS[causes]),
]
WITH_TIME = [
    *CAUSES,
    "T",
    *(f"{causes} {order}" for causes in ("S+T", "T+S") for order in ORDERS[causes]),
]

# What most rows show: a scope ends what is its own alone.
USUAL = {
    "S": "none 0 caught",
    "D": "none 0 caught",
    "O": "O 1",
    "E": "RowError 0",
    "S+O together": "O 1",
    "S+O turn": "O 1",
    "S+O cleanup": "O 1",
    # Theirs was not thrown yet: it is at the next await.
    "S+O running": "none 1 caught, then O",
    "O+S together": "O 1",
    "O+S turn": "O 1",
    "O+S cleanup": "O 1",
}
GROUP = {"E": "ExceptionGroup 0"}


class Stage:
    """What one run of a row works with."""

    def __init__(self, column):
        causes, _, order = column.partition(" ")
        self.causes, self.order = causes.split("+"), order
        self.scope = CancelScope()
        self.host = asyncio.current_task()
        self.loop = asyncio.get_running_loop()
        self.time_out = None  # what cause T does

    def do(self, cause):
        if cause == "S":
            self.scope.cancel()
        elif cause == "D":
            self.scope.deadline = self.loop.time()
        elif cause == "O":
            self.host.cancel("O")
        else:
            self.time_out()

    def do_all(self, causes):
        for cause in causes:
            self.do(cause)

    def start(self):
        """Have what the column says happen once this Task waits."""
        if self.order == "together":
            self.loop.call_soon(self.do_all, self.causes)
        elif self.order == "turn":
            for cause in self.causes:
                self.loop.call_soon(self.do, cause)
        else:
            self.loop.call_soon(self.do, self.causes[0])

    async def clean_up(self):
        """What the code does that is cancelled."""
        if self.order == "running":
            self.do(self.causes[1])
        elif self.order == "cleanup":
            if self.causes[1] == "O":
                self.do("O")
            else:
                self.loop.call_soon(self.do, self.causes[1])
            await asyncio.sleep(LONG_S)

    async def block(self, wait=None):
        """Wait, inmost in the row."""
        if self.causes == ["E"]:
            raise RowError
        self.start()
        try:  # `wait` makes what is awaited
            await (asyncio.sleep(LONG_S) if wait is None else wait())
        except asyncio.CancelledError:
            await self.clean_up()
            raise

    def timeout(self, seconds=LONG_S / 2):
        timeout = asyncio.timeout(seconds)
        self.time_out = timeout._on_timeout
        return timeout


ROWS = {}


def row(number, expected=(), columns=CAUSES, since=(3, 11), **more):
    """Register a row under its number in the specification."""

    def register(fn):
        wanted = {**USUAL, **dict(expected), **more}
        if sys.version_info >= since:
            ROWS[f"{number} {fn.__name__}"] = (
                fn,
                {column: wanted[column] for column in columns if wanted[column]},
            )
        return fn

    return register


def only(*columns):
    return [column for column in CAUSES if column in columns]


async def plain_child():
    await asyncio.sleep(LONG_S)


# ---- scopes ----


@row(1)
async def body_in_scope(stage):
    with stage.scope:
        await stage.block()


@row(1, S="TooSlowError 0 caught", D="TooSlowError 0 caught")
async def body_in_failing_scope(stage):
    stage.scope._raise_on_cancel = True
    # As at "running", where TooSlowError is raised in place of nothing.
    if stage.order == "running":
        stage.scope._raise_on_cancel = False
    with stage.scope:
        await stage.block()


@row(2)
async def inner_scope_in_scope(stage):
    with CancelScope() as outer:
        with stage.scope:
            await stage.block()
    assert not outer.cancelled_caught


@row(2)
async def scope_in_cancelled_scope(stage):
    with stage.scope:
        with CancelScope() as inner:
            await stage.block()
    assert not inner.cancelled_caught


@row(2)
async def both_scopes_inner_first(stage):
    """It is the outer one that catches."""
    inner = CancelScope()
    cancel = stage.scope.cancel
    deadline_column = stage.causes == ["D"]

    def do(cause):
        if cause == "S" or deadline_column:
            inner.cancel()
            cancel()
        else:
            Stage.do(stage, cause)

    stage.do = do
    with stage.scope:
        with inner:
            await stage.block()
    assert not inner.cancelled_caught


SHIELDED = {
    # It waits till the shield is left; nothing is thrown before.
    "S+O cleanup": "none 0 caught",
    "S+O running": "none 0 caught",
}


@row(3, SHIELDED)
async def shield_in_scope(stage):
    with stage.scope:
        with CancelScope(shield=True) as inner:
            await stage.block()
        assert not inner.cancelled_caught
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0)


# ---- asyncio.timeout and wait_for ----

TIME_IN_SCOPE = {
    "T": "TimeoutError 0",
    # The scope's cancel is thrown when the callback is through: too late.
    "S+T together": "TimeoutError 0",
    "S+T turn": "none 0 caught",
    "T+S together": "TimeoutError 0",
    "T+S turn": "TimeoutError 0",
}
SCOPE_IN_TIME = {
    "T": "TimeoutError 0",
    "S+T together": "TimeoutError 0",
    "S+T turn": "TimeoutError 0",
    "T+S together": "TimeoutError 0",
    "T+S turn": "TimeoutError 0",
}


@row(4, TIME_IN_SCOPE, WITH_TIME)
async def timeout_in_scope(stage):
    with stage.scope:
        async with stage.timeout():
            await stage.block()


# What cleans up there awaits.
CLEANUP_AWAITS = {"S+O running": "O 1"}


@row(5, CLEANUP_AWAITS)
async def timeout_in_cleanup_of_scope(stage):
    with stage.scope:
        try:
            await stage.block()
        finally:
            async with asyncio.timeout(2):
                await asyncio.sleep(1)


@row(6, SCOPE_IN_TIME, WITH_TIME)
async def scope_in_timeout(stage):
    async with stage.timeout():
        with stage.scope:
            await stage.block()


# What is waited for has a Task of its own till CPython 3.12.
IN_ITS_TASK = CLEANUP_AWAITS if sys.version_info < (3, 12) else {}


@row(7, IN_ITS_TASK)
async def wait_for_in_scope(stage):
    with stage.scope:
        await asyncio.wait_for(stage.block(), LONG_S / 2)


@row(7)
async def wait_for_without_time_in_scope(stage):
    with stage.scope:
        await asyncio.wait_for(stage.block(), None)


# ---- asyncio.TaskGroup ----


# The group waits for its children before the scope is left.
@row(8, {**GROUP, **CLEANUP_AWAITS})
async def asyncio_group_in_scope(stage):
    with stage.scope:
        async with asyncio.TaskGroup() as group:
            child = group.create_task(plain_child())
            await stage.block()
    assert child.cancelled()


@row(8, {**GROUP, **CLEANUP_AWAITS})
async def asyncio_group_at_its_end_in_scope(stage):
    """The block is that of the group."""

    async def child():
        if stage.causes == ["E"]:
            raise RowError
        try:
            await plain_child()
        except asyncio.CancelledError:
            if stage.order != "":
                await stage.clean_up()
            raise

    with stage.scope:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            await asyncio.sleep(1)
            if stage.causes != ["E"]:
                stage.start()


# The scope has caught when the body's next await has the other.
@row(9, {**GROUP, "S+O running": "O 1 caught"})
async def scope_in_body_of_asyncio_group(stage):
    async with asyncio.TaskGroup() as group:
        child = group.create_task(asyncio.sleep(1, "value"))
        with stage.scope:
            await stage.block()
        assert await child == "value"


# Till CPython 3.13 the cancel stays that tells the parent of an error.
CHILD_ERROR = "ExceptionGroup 0" + " or ExceptionGroup 1" * (sys.version_info < (3, 13))


@row(
    10,
    {"E": CHILD_ERROR},
    [column for column in CAUSES if "running" not in column],
    O="none 0",
    **{column: "none 0" for column in CAUSES if "+" in column},
)
async def scope_in_child_of_asyncio_group(stage):
    """A child that others cancel ends, and the group does not mind."""
    log = []

    async def child():
        stage.host = asyncio.current_task()
        with stage.scope:
            await stage.block()
        log.append("ended")

    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(1))
        task = group.create_task(child())
    assert task.cancelled() == ("O" in stage.causes)
    assert log == ([] if task.cancelled() else ["ended"])


GROUP_CANCEL_IN_SCOPE = {
    "T": "none 0",
    # The group's is thrown first, and ends it; the scope's is for a next await.
    "S+T together": "none 0",
    "S+T turn": "none 0 caught",
    "T+S together": "none 0",
    "T+S turn": "none 0",
}


@row(11, {**GROUP, **GROUP_CANCEL_IN_SCOPE}, WITH_TIME, since=(3, 15))
async def asyncio_group_with_cancel_in_scope(stage):
    with stage.scope:
        async with asyncio.TaskGroup() as group:
            stage.time_out = group.cancel
            await stage.block()


SCOPE_IN_GROUP_CANCEL = {
    "T": "none 0",
    "S+T together": "none 0",
    "S+T turn": "none 0",
    "T+S together": "none 0",
    "T+S turn": "none 0",
}


@row(12, {**GROUP, **SCOPE_IN_GROUP_CANCEL}, WITH_TIME, since=(3, 15))
async def scope_in_asyncio_group_with_cancel(stage):
    async with asyncio.TaskGroup() as group:
        stage.time_out = group.cancel
        with stage.scope:
            await stage.block()


# ---- gather, shield, Condition, Futures ----


# asyncio cancels the children a second time, and the first error counts: its message
# is ours, so there is none.
MERGED_IN_CHILD = {
    "S+O turn": "CancelledError 1",
    "S+O cleanup": "CancelledError 1",
    "S+O running": "CancelledError 1",
}


@row(13, MERGED_IN_CHILD)
async def gather_in_scope(stage):
    with stage.scope:
        await asyncio.gather(stage.block(), plain_child())


@row(14)
async def asyncio_shield_in_scope(stage):
    """It leaves what it holds to itself."""
    inner = asyncio.ensure_future(asyncio.sleep(2, "value"))
    try:
        with stage.scope:
            await stage.block(lambda: asyncio.shield(inner))
    finally:
        assert not inner.done()


@row(15, {"E": None})
async def condition_in_scope(stage):
    condition = asyncio.Condition()
    async with condition:
        with stage.scope:
            try:
                await stage.block(condition.wait)
            finally:
                assert condition.locked()


class Refusing(asyncio.Future):
    def cancel(self, msg=None):
        return False


@row(17)
async def refusing_future_in_scope(stage):
    future = Refusing()
    stage.loop.call_later(1, future.set_result, None)

    async def wait():
        await future

    with stage.scope:
        await stage.block(wait)


# ---- other things to wait for ----


async def wait_for_queue():
    await asyncio.Queue().get()


async def wait_for_lock():
    lock = asyncio.Lock()
    await lock.acquire()
    await lock.acquire()


async def wait_for_as_completed():
    for each in asyncio.as_completed([plain_child(), plain_child()]):
        await each


async def wait_for_stream():
    reader = asyncio.StreamReader()
    await reader.readline()


WAITS = {
    "wait": lambda: asyncio.wait([asyncio.get_running_loop().create_future()]),
    "as_completed": wait_for_as_completed,
    "event": lambda: asyncio.Event().wait(),
    "queue": wait_for_queue,
    "lock": wait_for_lock,
    "semaphore": lambda: asyncio.Semaphore(0).acquire(),
    "barrier": lambda: asyncio.Barrier(2).wait(),
    "stream": wait_for_stream,
}


def row_of_wait(name, make):
    async def waits(stage):
        with stage.scope:
            await stage.block(make)

    waits.__name__ = f"{name}_in_scope"
    row(24)(waits)


for name in WAITS:
    row_of_wait(name, WAITS[name])


# Eager ones have begun.
NEW = {"S+O turn": "O 1 or CancelledError 1"}


@row(13, NEW)
async def gather_of_new_ones_in_scope(stage):
    """Their first steps are still to come."""
    with stage.scope:
        await stage.block(lambda: asyncio.gather(plain_child(), plain_child()))


@row(26, {"S+O turn": "CancelledError 1"})
async def task_in_scope(stage):
    task = asyncio.create_task(plain_child())
    await asyncio.sleep(0)
    with stage.scope:
        await stage.block(lambda: task)


@row(26, NEW)
async def new_task_in_scope(stage):
    with stage.scope:
        await stage.block(lambda: asyncio.create_task(plain_child()))


@row(26, {"S+O turn": "CancelledError 1", "S+O running": "CancelledError 1"})
async def scope_in_task_in_scope(stage):
    """One of the Task that is awaited, which nobody cancels."""

    async def child():
        with move_on_after(LONG_S / 4), fail_after(LONG_S / 4):
            await stage.block()

    with stage.scope:
        await asyncio.create_task(child())


# ---- our TaskGroup ----


@row(19, {**GROUP, **CLEANUP_AWAITS})
async def group_in_scope(stage):
    async def child():
        await plain_child()

    with stage.scope:
        async with TaskGroup() as group:
            task = group.create_task(child())
            await stage.block()
    assert task.cancelled()


@row(19, {**GROUP, **CLEANUP_AWAITS})
async def group_at_its_end_in_scope(stage):
    async def child():
        if stage.causes == ["E"]:
            raise RowError
        try:
            await plain_child()
        except asyncio.CancelledError:
            if stage.order != "":
                await stage.clean_up()
            raise

    with stage.scope:
        async with TaskGroup() as group:
            group.create_task(child())
            await asyncio.sleep(1)
            if stage.causes != ["E"]:
                stage.start()


@row(20, {**GROUP, "S+O running": "O 1 caught"})
async def scope_in_body_of_group(stage):
    async with TaskGroup() as group:
        child = group.create_task(asyncio.sleep(1, "value"))
        with stage.scope:
            await stage.block()
        assert await child == "value"


@row(
    20,
    GROUP,
    [column for column in CAUSES if "running" not in column],
    O="none 0",
    **{column: "none 0" for column in CAUSES if "+" in column},
)
async def scope_in_child_of_group(stage):
    log = []

    async def child():
        stage.host = asyncio.current_task()
        with stage.scope:
            await stage.block()
        log.append("ended")

    async with TaskGroup() as group:
        task = group.create_task(child())
        group.create_task(asyncio.sleep(1))
    assert task.cancelled() == ("O" in stage.causes)
    assert log == ([] if task.cancelled() else ["ended"])


@row(20, GROUP, ("E",))
async def scope_beside_a_failing_child_of_group(stage):
    """The group's scope is cancelled, which is further out: the other's has caught
    nothing."""

    async def fail():
        await asyncio.sleep(1)
        raise RowError

    async with TaskGroup() as group:
        group.create_task(fail())
        with stage.scope:
            await plain_child()
    raise AssertionError("the group has ended without an error")


GROUP_IN_TIME = {
    "T": "TimeoutError 0",
    "S+T together": "TimeoutError 0",
    "S+T turn": "TimeoutError 0",
    "T+S together": "TimeoutError 0",
    "T+S turn": "TimeoutError 0",
}


@row(
    21,
    {**GROUP, **CLEANUP_AWAITS, **GROUP_IN_TIME},
    WITH_TIME,
)
async def group_in_timeout(stage):
    """The scope is the group's own."""
    async with stage.timeout():
        async with TaskGroup() as group:
            stage.scope = group.cancel_scope
            group.create_task(plain_child())
            await stage.block()


# ---- Trio-flavoured code ----


@row(25)
async def run_trio_in_scope(stage):
    async def work():
        await trio.sleep(LONG_S)

    with stage.scope:
        await stage.block(lambda: stage.loop.run_trio(work))


@row(25)
async def run_trio_that_cleans_up_in_scope(stage):
    async def work():
        try:
            await trio.sleep(LONG_S)
        finally:
            with CancelScope(shield=True):
                await trio.sleep(1)

    with stage.scope:
        await stage.block(lambda: stage.loop.run_trio(work))


# ---- running them ----


def name_of(exc):
    if exc is None:
        return "none"
    if isinstance(exc, asyncio.CancelledError) and exc.args == ("O",):
        return "O"
    return type(exc).__name__


async def play(fn, column):
    stage = Stage(column)
    left = then = None
    try:
        await fn(stage)
    except BaseException as exc:
        left = name_of(exc)
        if isinstance(exc, AssertionError):
            raise
    cell = f"{left or name_of(None)} {asyncio.current_task().cancelling()}"
    if stage.scope.cancelled_caught:
        cell += " caught"
    try:
        await asyncio.sleep(0)
        await asyncio.sleep(3)
    except asyncio.CancelledError as exc:
        then = name_of(exc)
    while asyncio.current_task().cancelling():
        asyncio.current_task().uncancel()
    return cell if then is None else f"{cell}, then {then}"


def measure(way, name, column):
    """Return what a cell shows."""
    return way.run(play, ROWS[name][0], column)


def expected(name, column):
    """Return what a cell may show."""
    return ROWS[name][1][column].split(" or ")


def cells():
    return [(name, column) for name in ROWS for column in ROWS[name][1]]


def main():
    bad = 0
    for name in ROWS:
        print(name.replace("_", " "))
        for column, wanted in ROWS[name][1].items():
            shown = {measure(way, name, column) for way in WAYS}
            good = shown <= set(expected(name, column))
            bad += not good
            mark = "" if good else f"   but {wanted} is right"
            print(f"    {column:14} {' | '.join(sorted(shown))}{mark}")
    print(f"{len(cells())} cells, {bad} of them wrong")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
