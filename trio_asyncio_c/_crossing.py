"""The crossings' Python half: handles, checks, and the functions on the current
loop."""

from __future__ import annotations

import asyncio
import sys
from asyncio import events
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any

from . import _core
from ._cancel_reason import cancel_reason
from ._install import is_trio_installed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from contextvars import Context, Token

    from ._loop import EventLoop

__all__ = [
    "current_loop",
    "run_aio_coroutine",
    "run_aio_future",
    "run_coroutine",
    "run_future",
    "run_trio",
    "run_trio_task",
]

_loop_var: ContextVar[EventLoop | None] = ContextVar("current_loop", default=None)

_core._set_hooks(current_loop=_loop_var, crossing_reason=cancel_reason)


class CurrentLoop:
    """The loop that crossings of the running code go to; used as a `ContextVar` is.

    In asyncio-flavoured code that is the loop that runs it, which may be in nobody's
    context; in Trio-flavoured code that of the innermost `open_loop` block around it,
    or the one that it was called by, unless `set` has said otherwise.
    """

    __module__ = "trio_asyncio_c"

    name = "current_loop"

    def get(self, default: Any = None) -> Any:
        """Return the loop, or `default` where there is none.

        Flavor: sync. Thread-safe: yes.
        """
        if not _core.in_trio_task():
            running = events._get_running_loop()
            if isinstance(running, _core.LoopCore):
                return running
        loop = _loop_var.get()
        return default if loop is None else loop

    def set(self, loop: EventLoop | None) -> Token[EventLoop | None]:
        """Have the crossings of the current Trio task, and of those that it starts, go
        to `loop`.

        Returns:
          what `reset` takes.

        Flavor: sync.
        """
        return _loop_var.set(loop)

    def reset(self, token: Token[EventLoop | None]) -> None:
        """Undo a `set`.

        Flavor: sync.

        Raises:
          ValueError: `token` is another context's or another variable's.
          RuntimeError: `token` has been used.
        """
        _loop_var.reset(token)

    def __repr__(self) -> str:
        return f"<current_loop: {self.get()!r}>"


current_loop = CurrentLoop()


class TrioTaskHandle:
    """What `run_trio_task` returns: a Trio task that nobody waits for."""

    def __init__(
        self,
        loop: EventLoop,
        fn: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._loop = loop
        self._done = False
        check_running(loop)
        self._call = _core.TrioCall(loop, self, fn, args, kwargs)

    def cancel(self) -> None:
        """Cancel the task, or keep it from starting; idempotent."""
        self._call.cancel("its handle was cancelled")

    def cancelled(self) -> bool:
        """Return whether `cancel` was called."""
        return self._call.cancel_called

    def done(self) -> bool:
        """Return whether the task has ended."""
        return self._done

    # What the call tells its sink

    def set_result(self, value: object) -> None:
        self._done = True

    def set_exception(self, exc: BaseException) -> None:
        self._done = True
        errors, fatal = _split_fatal(exc)
        if fatal is not None:
            self._loop._raise_from_task(fatal)
        if errors is not None:
            context = {
                "message": "Unhandled error in a Trio task",
                "exception": errors,
                "handle": self,
            }
            self._loop.call_exception_handler(context)

    def _call_cancelled(self) -> None:
        self._done = True


def _split_fatal(
    exc: BaseException,
) -> tuple[BaseException | None, BaseException | None]:
    """Split into what is an Exception, and what is not and must not be held back by a
    handler."""
    if isinstance(exc, Exception):
        return exc, None
    if isinstance(exc, BaseExceptionGroup):
        return exc.split(Exception)
    return None, exc


# Checks


def check_running(loop: EventLoop) -> None:
    """Raise RuntimeError unless the loop can take a crossing."""
    loop._check_closed()
    if loop._ending:
        raise RuntimeError("Event loop is closed")
    if loop._halted:
        raise RuntimeError("Event loop is stopped")


def _plain_trio_advice() -> str:
    """Say what to do if it is the plain ``trio`` package that runs the caller."""
    trio: Any = sys.modules.get("trio")
    if trio is None or is_trio_installed():
        return ""
    try:
        trio.lowlevel.current_task()
    except (AttributeError, RuntimeError):
        return ""
    return (
        ". This program runs on the plain trio package's own scheduler: call "
        "trio_asyncio_c.install_trio() before trio is imported, or start the program "
        "by 'python -m trio_asyncio_c --trio'"
    )


def check_not_plain_trio(name: str) -> None:
    """Raise RuntimeError, with advice, in a task of the plain ``trio`` package."""
    if _core.in_trio_task():
        return
    advice = _plain_trio_advice()
    if advice:
        raise RuntimeError(f"{name}() was called in a run that is not ours{advice}")


def check_in_trio(name: str) -> None:
    """Raise RuntimeError unless a Trio task is running."""
    if not _core.in_trio_task():
        check_not_plain_trio(name)
        raise RuntimeError(
            f"{name}() must be called from async context: from a Trio task. "
            "In asyncio-flavoured code just await the function."
        )


def check_trio_caller(loop: EventLoop, name: str) -> None:
    """Raise RuntimeError unless a Trio task is running and the loop can take its
    call."""
    check_in_trio(name)
    check_running(loop)


def close_unused(coro: Any) -> None:
    """Close what is a coroutine and was not used, so that it does not warn of that."""
    if asyncio.iscoroutine(coro):
        coro.close()


@contextmanager
def closing_unused(coro: Any) -> Iterator[None]:
    """Close a coroutine that an error keeps from being used, so that it does not warn
    on top of that."""
    try:
        yield
    except BaseException:
        close_unused(coro)
        raise


async def call_awaited(
    fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call a function inside of the Task, so that its synchronous part sees the Task
    too."""
    return await fn(*args, **kwargs)


# On the current loop


def _require_loop() -> EventLoop:
    loop: EventLoop | None = current_loop.get()
    if loop is None:
        raise RuntimeError(
            "You are not within a trio_asyncio loop" + _plain_trio_advice()
        )
    return loop


# On a loop that need not be the current one


def context_on(loop: EventLoop) -> Context:
    """A copy of the caller's context, with `loop` as the current one."""
    context = copy_context()
    if context.get(_loop_var) is not loop:
        context.run(_loop_var.set, loop)
    return context


async def _call_on(
    loop: EventLoop,
    fn: Callable[..., Awaitable[Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    current_loop.set(loop)
    return await fn(*args, **kwargs)


async def run_asyncio_later(
    fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    return await run_asyncio_on(_require_loop(), fn, args, kwargs)


def run_asyncio_on(
    loop: EventLoop | None,
    fn: Callable[..., Awaitable[Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Awaitable[Any]:
    """Do `run_asyncio` on a loop that is the callee's current one then; None: on the
    caller's."""
    current: EventLoop | None = current_loop.get()
    if loop is None:
        if current is None:
            return run_asyncio_later(fn, args, kwargs)
        loop = current
    if loop is current:
        return loop.run_asyncio(fn, *args, **kwargs)
    return loop.run_asyncio(_call_on, loop, fn, args, kwargs)


def run_trio_on(
    loop: EventLoop,
    fn: Callable[..., Awaitable[Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> asyncio.Future[Any]:
    """Do `run_trio` on a loop that is the callee's current one then."""
    current: EventLoop | None = current_loop.get()
    if loop is current:
        return loop.run_trio(fn, *args, **kwargs)
    return context_on(loop).run(loop.run_trio, fn, *args, **kwargs)


async def run_coroutine(coro: Awaitable[Any]) -> Any:
    """Run an asyncio-flavoured coroutine on the current loop and wait for it; see
    `EventLoop.run_coroutine`.

    Flavor: trio. Checkpoint: yes.
    """
    with closing_unused(coro):
        loop = _require_loop()
    return await loop.run_coroutine(coro)


async def run_future(future: asyncio.Future[Any]) -> Any:
    """Wait for an asyncio Future or Task of any loop in this run, which is cancelled
    if this is.

    Flavor: trio. Checkpoint: yes.
    """
    check_not_plain_trio("run_future")
    return await _core.wait_future(future)


# trio-asyncio's names
run_aio_coroutine = run_coroutine
run_aio_future = run_future


def run_trio(
    fn: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any
) -> asyncio.Future[Any]:
    """Start a Trio-flavoured function on the current loop; see `EventLoop.run_trio`.

    Flavor: sync.
    """
    return _require_loop().run_trio(fn, *args, **kwargs)


def run_trio_task(
    fn: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any
) -> TrioTaskHandle:
    """Start a Trio-flavoured function that nobody waits for; see
    `EventLoop.run_trio_task`.

    Flavor: sync.
    """
    return _require_loop().run_trio_task(fn, *args, **kwargs)
