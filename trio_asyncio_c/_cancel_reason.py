"""Why asyncio code cancelled a Trio task, in words: the `reason` of its Cancelled.

Looked for only once a cancel has happened; nothing is kept for it.
"""

from __future__ import annotations

import asyncio
import reprlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType, FrameType

__all__ = ["cancel_reason"]

_PREFIX = "its asyncio caller was cancelled: "


def _code_of(function: Any) -> CodeType | None:
    return getattr(function, "__code__", None)


# Where asyncio itself cancels what has taken too long. From 3.12 on wait_for() is a
# timeout() block, but for times that are not positive.
_ON_TIMEOUT = _code_of(getattr(asyncio.Timeout, "_on_timeout", None))
_WAIT_FOR = _code_of(asyncio.wait_for)


def _is_cancelled(task: asyncio.Task[Any] | None) -> bool:
    return task is not None and task.cancelling() > 0


def _current_task(future: asyncio.Future[Any]) -> asyncio.Task[Any] | None:
    return asyncio.current_task(future.get_loop())


def _expired(frame: FrameType | None, current: asyncio.Task[Any] | None) -> str | None:
    """Return what asyncio's deadline is called that the cancel comes from, if it does:
    the function that it expires in is still running."""
    while frame is not None:
        code = frame.f_code
        if code is _ON_TIMEOUT:
            return f"timeout() due at {frame.f_locals['self'].when():.3f}"
        if code is _WAIT_FOR and not _is_cancelled(current):
            return f"wait_for(timeout={frame.f_locals['timeout']!r})"
        frame = frame.f_back
    return None


def _waiting_task(future: asyncio.Future[Any]) -> asyncio.Task[Any] | None:
    for callback, _ in getattr(future, "_callbacks", None) or ():
        task = getattr(callback, "__self__", None)
        if isinstance(task, asyncio.Task):
            return task
    return None


def _whose(task: asyncio.Task[Any] | None) -> str:
    return "" if task is None else f" of asyncio task {task.get_name()}"


def cancel_reason(future: asyncio.Future[Any], message: Any) -> str:
    """Return why a Future's Trio task is cancelled.

    Args:
      future: the Future, whose ``cancel()`` is the caller.
      message: what ``cancel()`` was given.
    """
    if message is not None:
        text = message if isinstance(message, str) else reprlib.repr(message)
        return text if text.startswith(_PREFIX) else _PREFIX + text
    waiting, current = _waiting_task(future), _current_task(future)
    expired = _expired(sys._getframe(1), current)
    if expired is not None:
        return f"{_PREFIX}{expired}{_whose(waiting or current)} has expired"
    by = f", by task {current.get_name()}" if current not in (None, waiting) else ""
    if waiting is not None and _is_cancelled(waiting):
        return f"{_PREFIX}asyncio task {waiting.get_name()}, which waits for it{by}"
    return f"its Future{_whose(waiting)} was cancelled{by}"
