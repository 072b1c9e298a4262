"""Cancel scopes in asyncio Tasks, as far as it runs once an error: what a cancel says,
and whose a CancelledError is that may stand for several.

The rules are in csrc/aio/scoped.h.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import traceback
import weakref
from asyncio import CancelledError
from itertools import filterfalse
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any

from . import _core
from ._core_hooks import iter_await_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["ScopeCancel"]

# What the cancels said from which Tasks clean up, that have been thrown into by scopes.
_unwound: weakref.WeakKeyDictionary[asyncio.Task[Any], tuple[Any, ...]]
_unwound = weakref.WeakKeyDictionary()

_logger = logging.getLogger("asyncio")

# How many exceptions are looked at that one was raised in, at most.
_CHAIN_LIMIT = 64

# How many Tasks are looked at, each of which waits for the next.
_TASKS_AT_MOST = 8

# What a coroutine or generator has that it waits for, and which types these are.
_AWAITS = "cr_await", "gi_yieldfrom", "ag_await"
_CORO_TYPES = CoroutineType, GeneratorType, AsyncGeneratorType

# What csrc/aio/scoped_catch.c has found by counting.
_OURS, _OTHERS, _BY_CHAIN = range(3)


class ScopeCancel(str):
    """The message of a CancelledError that was thrown for a cancel scope.

    asyncio hands it on through awaited tasks, gather(), shield(), locks and so on, as
    it is. Pickled, or copied, it is a plain string.
    """

    __slots__ = ("_scope", "foreign")
    __module__ = "trio_asyncio_c"

    # Whether the error stands for somebody else's cancel too, so that no scope may
    # end it.
    foreign: bool
    _scope: weakref.ref[_core.CancelScope]

    @property
    def scope(self) -> _core.CancelScope | None:
        """The scope, or None if that has gone."""
        return self._scope()

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


# The latest scope that was asked for, and its text: thousands of Tasks may be in it.
_latest: tuple[weakref.ref[_core.CancelScope], str] | None = None


def make_message(scope: _core.CancelScope) -> ScopeCancel:
    """Return the message of one cancel."""
    global _latest
    latest = _latest
    if latest is None or latest[0]() is not scope:
        latest = _latest = weakref.ref(scope), _describe(scope)
    message = ScopeCancel(latest[1])
    message.foreign = False
    message._scope = latest[0]
    return message


def _describe(scope: _core.CancelScope) -> str:
    reason: Any = scope._cancel_reason
    text = f"cancelled by scope {id(scope):#x}"
    if reason is not None and reason.source == "deadline":
        text += ": its deadline has passed"
    elif reason is not None and reason.reason is not None:
        text += f": {reason.reason}"
    return text


def _message_of(exc: BaseException) -> object:
    return exc.args[0] if exc.args else None


def says_scope(exc: BaseException) -> bool:
    """Whether an error, by its own message, stands for a scope's cancel alone."""
    message = _message_of(exc)
    return isinstance(message, ScopeCancel) and not message.foreign


def _chain(exc: BaseException) -> Iterator[CancelledError]:
    """Yield an error and those that it was raised in, the CancelledErrors only."""
    seen: set[int] = set()
    current: BaseException | None = exc
    while current is not None and id(current) not in seen and len(seen) < _CHAIN_LIMIT:
        seen.add(id(current))
        if isinstance(current, CancelledError):
            yield current
        current = current.__context__


def _is_own(exc: BaseException) -> bool:
    """Whether an error stands for cancels of scopes alone."""
    return all(map(says_scope, _chain(exc)))


def _awaited(coro: Any) -> Iterator[Any]:
    """Yield a coroutine and the coroutines and generators that it waits for."""
    while coro is not None:
        for name in _AWAITS:
            if hasattr(coro, name):
                yield coro
                coro = getattr(coro, name)
                break
        else:  # what wraps one does not name it
            inside = gc.get_referents(coro)
            coro = next(
                (each for each in inside if isinstance(each, _CORO_TYPES)), None
            )


def _awaited_tasks(task: asyncio.Task[Any]) -> Iterator[asyncio.Task[Any]]:
    """Yield a Task, the Task that it waits for, and so on, some of them at most."""
    for _ in range(_TASKS_AT_MOST):
        yield task
        waiter: Any = getattr(task, "_fut_waiter", None)
        if not hasattr(waiter, "get_coro"):
            return
        task = waiter


def is_unwinding(task: asyncio.Task[Any]) -> bool:
    """Whether a Task is in the cleanup from a cancel that was none of a scope's.

    An error that is being handled is told by nothing but the collector: __context__ is
    not set where a coroutine inside waits before it lets an error out.
    """
    for each_task in _awaited_tasks(task):
        for coro in _awaited(each_task.get_coro()):
            for each in gc.get_referents(coro):
                if isinstance(each, BaseException):
                    for leaf in filterfalse(_is_own, _leaves(each)):
                        _unwound[task] = _args_in_chain(leaf)
                        return True
    return False


def _leaves(exc: BaseException) -> Iterator[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        for each in exc.exceptions:
            yield from _leaves(each)
    else:
        yield exc


def _args_in_chain(exc: BaseException) -> tuple[Any, ...]:
    """Return what the last error says in a chain that is none of ours."""
    for each in _chain(exc):
        if not isinstance(_message_of(each), ScopeCancel):
            return each.args
    return ()


def _args_of_others(exc: BaseException, task: asyncio.Task[Any]) -> tuple[Any, ...]:
    """Return what an error would have said had there been no scope."""
    unwound = _unwound.pop(task, ())
    last = getattr(task, "_cancel_message", None)
    if last is not None and not isinstance(last, ScopeCancel):
        return (last,)
    return _args_in_chain(exc) or unwound


def _disown(exc: BaseException, task: asyncio.Task[Any]) -> None:
    """Make an error of ours, or each in a group, somebody else's."""
    if isinstance(exc, BaseExceptionGroup):
        for each in exc.exceptions:
            _disown(each, task)
        return
    message = _message_of(exc)
    if isinstance(exc, CancelledError) and isinstance(message, ScopeCancel):
        args = _args_of_others(exc, task)
        message.foreign = True
        exc.args = args


def _is_cancelled(exc: BaseException) -> bool:
    return isinstance(exc, CancelledError)


def _is_cancelled_by_us(exc: BaseException) -> bool:
    return _is_cancelled(exc) and _is_own(exc)


def end_cancel(
    exc: BaseException, task: asyncio.Task[Any], verdict: int
) -> tuple[BaseException | None, bool]:
    """Return what goes on of an error that leaves a scope, and whether anything of it
    has ended there."""
    ends: Callable[[BaseException], bool] = {
        _OURS: _is_cancelled,
        _OTHERS: lambda _: False,
        _BY_CHAIN: _is_cancelled_by_us,
    }[verdict]
    caught: BaseException | None = None
    rest: BaseException | None = exc
    if isinstance(exc, BaseExceptionGroup):
        caught, rest = exc.split(ends)
    elif ends(exc):
        caught, rest = exc, None
    if rest is not None:
        if caught is None:
            rest = exc  # the very object
        if verdict != _OURS:
            _disown(rest, task)
    return rest, caught is not None


def _wait_chain(task: asyncio.Task[Any]) -> Iterator[str]:
    """Yield the lines of a Task's stack, of that of the Task it waits for, and so on."""
    for each in _awaited_tasks(task):
        frames = iter_await_frames(each.get_coro())
        yield from traceback.StackSummary.extract(frames).format()
        waiter = getattr(each, "_fut_waiter", None)
        if waiter is not None:
            yield f"  waits for {waiter!r}\n"


def log_refusal(task: asyncio.Task[Any], scope: _core.CancelScope) -> None:
    """Warn of a Task that goes on in spite of its cancel."""
    _logger.warning(
        "%r goes on although %r, which it is in, is cancelled: "
        "it will be cancelled again, less and less often\n%s",
        task,
        scope,
        "".join(_wait_chain(task)).rstrip(),
    )


def check_outside() -> None:
    """Raise RuntimeError if a scope is used on somebody else's event loop."""
    loop = asyncio._get_running_loop()
    if loop is not None and not isinstance(loop, _core.LoopCore):
        raise RuntimeError(
            f"cancel scopes need the event loop of trio_asyncio_c, and {loop!r} is "
            "running: use asyncio.run(main(), "
            "loop_factory=trio_asyncio_c.new_event_loop), "
            "or start the program by 'python -m trio_asyncio_c'"
        )


_core._set_hooks(
    log_refusal=log_refusal,
    cancel_message=make_message,
    end_cancel=end_cancel,
    is_unwinding=is_unwinding,
    check_outside=check_outside,
)
