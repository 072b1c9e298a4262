"""Help for testing asynchronous code: make time pass, make tasks take turns,
check for checkpoints.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import asynccontextmanager, contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from ._core import current_task, wait_all_tasks_blocked
from ._exceptions import Cancelled
from ._mock_clock import MockClock
from ._run import run
from ._sync import Event
from ._threads import active_thread_count, wait_all_threads_completed
from ._util import final
from .abc import Clock, Instrument

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
    from contextlib import AbstractContextManager

__all__ = [
    "MockClock",
    "Sequencer",
    "active_thread_count",
    "assert_checkpoints",
    "assert_no_checkpoints",
    "trio_test",
    "wait_all_tasks_blocked",
    "wait_all_threads_completed",
]

P = ParamSpec("P")
RetT = TypeVar("RetT")


def trio_test(fn: Callable[P, Awaitable[RetT]]) -> Callable[P, RetT]:
    """Make an async test function an ordinary one, which is run by ``run``.

    If one of the keyword arguments that the test is called with, which is how
    pytest passes fixtures, is an `abc.Clock`, then the run uses it; all those
    that are an `abc.Instrument` are the run's instruments.

    Raises:
      ValueError: when the test is called, if there is more than one clock.
    """

    @wraps(fn)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> RetT:
        __tracebackhide__ = True
        clocks = [value for value in kwargs.values() if isinstance(value, Clock)]
        if len(clocks) > 1:
            raise ValueError("too many clocks spoil the broth!")
        return run(
            partial(fn, *args, **kwargs),
            clock=clocks[0] if clocks else None,
            instruments=[
                value for value in kwargs.values() if isinstance(value, Instrument)
            ],
        )

    return wrapper


def _count_points() -> tuple[int, int]:
    """How often the current task has given the scheduler a chance to cancel
    it, and one to run others.
    """
    task = current_task()
    return task._cancel_points, task._schedule_points


@contextmanager
def _assert_checkpoints() -> Generator[None, None, None]:
    __tracebackhide__ = True
    before = _count_points()
    yield
    if any(now == then for now, then in zip(_count_points(), before, strict=True)):
        raise AssertionError("assert_checkpoints block did not yield!")


@contextmanager
def _assert_no_checkpoints() -> Generator[None, None, None]:
    __tracebackhide__ = True
    before = _count_points()
    try:
        yield
    finally:
        if _count_points() != before:
            raise AssertionError("assert_no_checkpoints block yielded!")


def assert_checkpoints() -> AbstractContextManager[None]:
    """Check that a block of code is a checkpoint: ``with assert_checkpoints():
    await something()``.

    That is, that it can be cancelled and lets other tasks run. A block that
    raises passes.

    Raises:
      AssertionError: at the end of the block, if it is not.
    """
    return _assert_checkpoints()


def assert_no_checkpoints() -> AbstractContextManager[None]:
    """Check that a block of code neither can be cancelled nor lets other tasks
    run.

    Raises:
      AssertionError: at the end of the block, if it does, even if the block
        raises as well.
    """
    return _assert_no_checkpoints()


@final
class Sequencer:
    """Makes blocks of code in different tasks run in a given order.

    ``async with seq(n):`` waits until the block ``n - 1`` has ended; block 0
    does not wait. Entering is a checkpoint only if it has to wait. Each number
    can be used once. If a task is cancelled while it waits for its turn, then
    the sequence is broken, and everybody in it gets an error.
    """

    def __init__(self) -> None:
        self._turns: defaultdict[int, Event] = defaultdict(Event)
        self._claimed: set[int] = set()
        self._broken = False

    @asynccontextmanager
    async def __call__(self, position: int) -> AsyncGenerator[None, None]:
        """Return the context manager for one block.

        Args:
          position: the number of the block, from 0.

        Raises:
          RuntimeError: when the block is entered, if the number was used
            before or the sequence is broken.
        """
        if position in self._claimed:
            raise RuntimeError(f"Attempted to reuse sequence point {position}")
        if self._broken:
            raise RuntimeError("sequence broken!")
        self._claimed.add(position)
        if position != 0:
            await self._wait_for_turn(position)
        try:
            yield
        finally:
            self._turns[position + 1].set()

    async def _wait_for_turn(self, position: int) -> None:
        try:
            await self._turns[position].wait()
        except Cancelled:
            self._broken = True
            for turn in self._turns.values():
                turn.set()
            raise RuntimeError("Sequencer wait cancelled -- sequence broken") from None
        if self._broken:
            raise RuntimeError("sequence broken!")


from ._util import publish as _publish  # noqa: E402

_publish(__name__, globals())
del _publish
