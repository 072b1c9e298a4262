"""TaskGroup: children of an asyncio Task in a cancel scope of their own.

What runs once a child is in csrc/aio/group.c.
"""

from __future__ import annotations

import asyncio
import types
from asyncio import CancelledError, Semaphore
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from . import _core
from ._task_scopes import says_scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator
    from types import TracebackType
    from typing import Self

__all__ = ["TaskGroup"]

_T = TypeVar("_T")

_INF = float("inf")
_PENDING: Any = object()


@types.coroutine
def _yield() -> Generator[None, None, None]:
    """Let others run once: asyncio.sleep(0), in one frame."""
    yield


class _Limit:
    """Runs so many coroutines at a time."""

    def __init__(self, limit: int) -> None:
        self._semaphore = Semaphore(limit)
        self._not_begun: set[Coroutine[Any, Any, Any]] = set()

    def wrap(self, coro: Coroutine[Any, Any, _T]) -> Coroutine[Any, Any, _T]:
        """Return a coroutine that runs `coro` when it is its turn."""
        self._not_begun.add(coro)
        return self._run(coro)

    async def _run(self, coro: Coroutine[Any, Any, _T]) -> _T:
        self._not_begun.discard(coro)
        try:
            async with self._semaphore:
                return await coro
        finally:
            coro.close()  # it may never have begun

    def close(self) -> None:
        """Close what belonged to Tasks that were cancelled before their first step."""
        while self._not_begun:
            self._not_begun.pop().close()


class _TaskStatus(Generic[_T]):
    """What a child that `TaskGroup.start` has made reports by."""

    __slots__ = ("_coro", "_group", "_scope", "_task", "_value", "_waiter")

    def __init__(
        self, group: TaskGroup, scope: _core.CancelScope, waiter: asyncio.Future[None]
    ) -> None:
        self._group = group
        # Those of the caller, as long as it waits.
        self._scope: _core.CancelScope | None = scope
        self._waiter = waiter
        self._coro: Any = None
        self._task: asyncio.Task[Any] | None = None
        self._value: Any = _PENDING

    def started(self, value: Any = None) -> None:
        """Report that the child is ready: from now on it is the group's.

        Ignored once whoever called `TaskGroup.start` was cancelled.

        Args:
          value: what `TaskGroup.start` is to return.

        Raises:
          RuntimeError: if it was called before.

        Flavor: asyncio. Checkpoint: no. Thread-safe: no.
        """
        if self._value is not _PENDING:
            raise RuntimeError("called 'started' twice on the same task status")
        self._value = value
        if self._scope is None or self._scope.cancel_called:
            return
        self._scope = None
        if self._task is None:
            task = asyncio.current_task()
            if task is not None and task.get_coro() is self._coro:
                self._task = task  # it was begun eagerly
        self._adopt()
        if not self._waiter.done():
            self._waiter.set_result(None)

    def _adopt(self) -> None:
        """Move the Task, unless it is still being made, to the group's scope."""
        if self._scope is None and self._task is not None:
            loop = self._group._loop
            assert loop is not None
            loop._move_task(self._task, self._group.cancel_scope)

    def _has_task(self, task: asyncio.Task[Any]) -> None:
        self._task = task
        self._adopt()  # if it was ready before it was here

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        if self._scope is None:
            self._group._task_done(task)
            return
        # Its error is not the group's.
        if not self._waiter.done():
            self._waiter.set_result(None)
        self._group._forget(task)


class TaskGroup(_core.TaskGroupCore, asyncio.TaskGroup):
    """Children of an asyncio Task, none of which outlives the ``async with`` block.

    The block and its children are in one cancel scope, `cancel_scope`: cancelled is who
    is in there at each of its awaits, not once. The first error of a child, or of the
    block, cancels all others; when all have ended, the errors are raised as an
    exception group. A child that was cancelled on its own is not an error.

    Args:
      concurrency_limit: how many children run at a time, those in the background
        apart; None: no limit.

    Raises:
      ValueError: if the limit is less than 1.

    Flavor: asyncio, on loops of this package. Thread-safe: no.
    """

    __module__ = "trio_asyncio_c"

    _close_wrapped: Callable[[], None] | None = None
    # Of the instance once there is an error.
    _errors: list[BaseException] | None = None
    _base_error: BaseException | None = None

    def __init__(self, *, concurrency_limit: int | None = None) -> None:
        # Not super().__init__(): what that sets is in the C half.
        if concurrency_limit is not None:
            if concurrency_limit < 1:
                raise ValueError("concurrency_limit must be >= 1")
            limit = _Limit(concurrency_limit)
            self._wrap, self._close_wrapped = limit.wrap, limit.close

    def __repr__(self) -> str:
        words = [""]
        if self._tasks:
            words.append(f"tasks={len(self._tasks)}")
        if self._errors:
            words.append(f"errors={len(self._errors)}")
        if self.cancel_scope.cancel_called:
            words.append("cancelling")
        elif self._entered:
            words.append("entered")
        return f"<TaskGroup{' '.join(words)}>"

    def cancel(self, reason: str | None = None) -> None:
        """Cancel the block and all children; the block is left without an error.

        Args:
          reason: what the CancelledErrors say.

        Legal before the block is entered. Flavor: asyncio. Checkpoint: no.
        Thread-safe: no.
        """
        self.cancel_scope.cancel(reason)

    async def __aenter__(self) -> Self:
        if not self._enter():
            raise self._why_not_entered()
        return self

    def _why_not_entered(self) -> RuntimeError:
        if self._entered:
            return RuntimeError(f"TaskGroup {self!r} has already been entered")
        if asyncio.current_task() is None:
            return RuntimeError(f"TaskGroup {self!r} cannot determine the parent task")
        self.cancel_scope.__enter__()  # says that this loop is none of ours
        raise AssertionError("a scope was entered, and a group was not")

    async def __aexit__(  # type: ignore[override]  # None, says typeshed
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        has_tasks = self._leave()
        cancelled = None
        if exc is not None:
            if isinstance(exc, CancelledError):
                cancelled = exc
            elif isinstance(exc, (KeyboardInterrupt, SystemExit)):
                self._base_error = self._base_error or exc
            self.cancel_scope.cancel("the body of a TaskGroup was left by an error")
        try:
            if has_tasks:
                # Scopes do not cancel this wait, for the children are in there
                # themselves; any other cancel does, and the last one counts.
                with _core.CancelScope(shield=True):
                    while self._tasks:
                        self._waiter = self._loop.create_future()
                        try:
                            await self._waiter
                        except CancelledError as error:
                            cancelled = error
                            self.cancel_scope.cancel("its host was cancelled")
                self._waiter = None
                if (
                    exc is cancelled is None
                    and not self._errors
                    and _core.current_effective_deadline() == -_INF
                ):
                    # The children have noticed; now give it to the scope, which may
                    # be one that the group is in.
                    try:
                        await _yield()
                    except CancelledError as error:
                        cancelled = error
            elif exc is None:
                with _core.CancelScope(shield=True):
                    await _yield()
            return self._finish(exc, cancelled)
        finally:
            # Errors are large, and have frames that refer to what caught them.
            self._end()
            if self._close_wrapped is not None:
                self._close_wrapped()
            self._errors = self._base_error = None
            del exc, traceback, cancelled

    def _finish(
        self, exc: BaseException | None, cancelled: CancelledError | None
    ) -> bool:
        """Leave the scope, and say as __aexit__() what becomes of the block's error."""
        rest = self.cancel_scope._close(exc if cancelled is None else cancelled)
        if rest is exc is None and not self._errors:
            return True
        errors, base_error = self._errors or [], self._base_error
        try:
            if base_error is not None:
                if base_error is exc:
                    return False
                raise base_error
            if exc is not None and not isinstance(exc, CancelledError):
                if isinstance(exc, GeneratorExit) and not errors:
                    return False
                last = rest if cancelled is None else exc
                if last is not None:
                    errors.append(last)
            if errors:
                if self._others_inside() > 0:
                    self._cancel_again(self._parent_task, cancelled)
                raise BaseExceptionGroup(
                    "unhandled errors in a TaskGroup", errors
                ) from None
            if rest is None:
                return True
            if rest is exc:
                return False
            raise rest
        finally:
            del exc, cancelled, rest, errors, base_error

    @staticmethod
    def _cancel_again(
        host: asyncio.Task[Any], cancelled: CancelledError | None
    ) -> None:
        """A cancel that gives way to errors is not lost: it is thrown at the host's
        next await."""
        if not getattr(host, "_must_cancel", False):
            host.uncancel()
            if cancelled is None or not cancelled.args or says_scope(cancelled):
                host.cancel()
            else:
                host.cancel(cancelled.args[0])

    def _task_failed(self, task: asyncio.Task[Any], exc: BaseException) -> None:
        """A child has ended with an error: called from C."""
        if self._errors is None:
            self._errors = []
        self._errors.append(exc)
        if isinstance(exc, (KeyboardInterrupt, SystemExit)):
            self._base_error = self._base_error or exc
        host = self._parent_task
        if host is None or host.done():
            asyncio.get_running_loop().call_exception_handler(
                {
                    "message": f"Task {task!r} has errored out but its parent "
                    f"task {host} is already completed",
                    "exception": exc,
                    "task": task,
                }
            )
            return
        self.cancel_scope.cancel("a child of a TaskGroup has failed")

    async def start(
        self,
        fn: Callable[..., Awaitable[Any]],
        /,
        *args: Any,
        name: str | None = None,
    ) -> Any:
        """Run ``fn(*args, task_status=...)`` as a child, and wait till it is ready.

        Until it calls ``task_status.started(value)`` it is in the scopes of the caller,
        and its error is raised here, bare, and does not cancel the group.

        Args:
          fn: an async function.
          name: of the Task; None: that of the function.

        Returns:
          The value.

        Raises:
          RuntimeError: if the group has not been entered or is finished, or the child
            has returned without a call of ``started()``.

        Flavor: asyncio. Checkpoint: yes. Thread-safe: no.
        """
        self._check_open()
        with _core.CancelScope() as scope:
            status: _TaskStatus[Any] = _TaskStatus(
                self, scope, self._loop.create_future()
            )
            coro = fn(*args, task_status=status)
            status._coro = coro
            task = self._start(scope, fn, coro, name, status._task_done)
            status._has_task(task)
            try:
                await status._waiter
            except CancelledError as error:
                if status._scope is not None:
                    scope.cancel("whoever waited for it to start was cancelled")
                    await self._give_up(status, task, error)
                raise
        if status._scope is None:
            return status._value
        task.result()
        raise RuntimeError("child exited without calling task_status.started()")

    async def _give_up(
        self, status: _TaskStatus[Any], task: asyncio.Task[Any], error: CancelledError
    ) -> None:
        """Wait for a child that was cancelled with the caller of start(), whatever
        else is cancelled meanwhile."""
        with _core.CancelScope(shield=True):
            while not task.done():
                status._waiter = self._loop.create_future()
                try:
                    await status._waiter
                except CancelledError as again:
                    error = again
        if task.cancelled() or task.exception() is None:
            return
        if not says_scope(error):
            host = asyncio.current_task()
            assert host is not None
            self._cancel_again(host, error)
        task.result()
