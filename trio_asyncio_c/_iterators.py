"""Async iterators of one flavour, as seen from the other.

Each item is a crossing of its own, by the rules of all crossings; all items of an
iterator share one context, so that it reads as if it ran in one task.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from . import _core, _crossing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextvars import Context

    from ._loop import EventLoop

__all__ = ["AsyncioIterator", "TaskOutcome", "TrioIterator"]


class TaskOutcome(asyncio.Future[Any]):
    """The outcome of a Task, unless something else is set before.

    Args:
      task: the Task, which a cancel goes to.
      cancel_at_await: a cancel finds it at its next await, not before its next step:
        for what has to clean up whoever is cancelled.
    """

    def __init__(
        self, task: asyncio.Task[Any], *, cancel_at_await: bool = False
    ) -> None:
        super().__init__(loop=task.get_loop())
        self._task = task
        self._cancel_at_await = cancel_at_await
        task.add_done_callback(self._take_outcome)

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the Task."""
        if self._cancel_at_await:
            self.get_loop().call_soon(self._task.cancel, msg)
            return True
        return self._task.cancel(msg)

    def _take_outcome(self, task: asyncio.Task[Any]) -> None:
        if self.done():
            return
        if task.cancelled():
            super().cancel()
            return
        error = task.exception()
        if error is None:
            self.set_result(task.result())
        else:
            self.set_exception(error)


class _Sending:
    """What async generators have beyond iterators."""

    if TYPE_CHECKING:  # each flavour's own
        _inner: Any

        def _call(
            self, fn: Callable[..., Awaitable[Any]], /, *args: Any
        ) -> Awaitable[Any]: ...

    def asend(self, value: Any) -> Awaitable[Any]:
        """Send a value into the generator, and wait for the next item."""
        return self._call(self._inner.asend, value)

    def athrow(self, *error: Any) -> Awaitable[Any]:
        """Raise an error in the generator, and wait for the next item."""
        return self._call(self._inner.athrow, *error)


class AsyncioIterator(_core.AioIterator, _Sending):
    """A Trio-flavoured iterator over an asyncio-flavoured one."""

    def _start_closing(self, close: Callable[[], Awaitable[Any]]) -> TaskOutcome:
        _crossing.check_trio_caller(self._loop, "aio_as_trio")
        coro = _crossing.call_awaited(close, (), {})
        task = self._loop.create_task(coro, context=self._context)
        return TaskOutcome(task, cancel_at_await=True)

    async def aclose(self) -> None:
        """Close the wrapped iterator, if it can be closed: its ``finally`` clauses run
        to their first await at least, also when the caller is cancelled."""
        close = getattr(self._inner, "aclose", None)
        if close is not None:
            # No variable holds the Future: it would be in the traceback of its error.
            await _core.wait_future(self._start_closing(close))


async def _step(fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> Any:
    return await fn(*args)


class TrioIterator(_Sending):
    """An asyncio-flavoured iterator over a Trio-flavoured one."""

    def __init__(self, loop: EventLoop, iterable: Any) -> None:
        self._inner = iterable.__aiter__()
        self._loop = loop
        self._context: Context | None = None

    def __aiter__(self) -> Any:
        return self

    def __anext__(self) -> Awaitable[Any]:
        return self._call(self._inner.__anext__)

    def _call(self, fn: Callable[..., Awaitable[Any]], /, *args: Any) -> Awaitable[Any]:
        if self._context is None:
            self._context = _crossing.context_on(self._loop)
        return self._loop._run_trio_in(self._context, _step, fn, args)

    async def aclose(self) -> None:
        """Close the wrapped iterator, if it can be closed."""
        close = getattr(self._inner, "aclose", None)
        if close is not None:
            await self._call(close)
