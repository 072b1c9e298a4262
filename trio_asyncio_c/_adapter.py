"""The adapters: one flavour's functions, managers and iterators, as seen from the
other.

`aio_as_trio` makes asyncio-flavoured things Trio-flavoured, `trio_as_aio` the other way
round. An adapter holds no loop unless it was given one: it is looked up at each use.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import types
from typing import TYPE_CHECKING, Any, overload

from . import _core, _crossing
from ._crossing import run_asyncio_on, run_trio_on
from ._iterators import AsyncioIterator, TrioIterator
from ._managers import TrioEntry

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterable,
        Awaitable,
        Callable,
        Coroutine,
        Generator,
    )
    from contextlib import AbstractAsyncContextManager

    from ._loop import EventLoop

__all__ = [
    "aio2trio",
    "aio_as_trio",
    "allow_asyncio",
    "asyncio_as_trio",
    "run_aio_generator",
    "run_asyncio",
    "run_generator",
    "run_iterator",
    "trio2aio",
    "trio_as_aio",
    "trio_as_asyncio",
    "wrap_generator",
    "wrap_trio_context",
]


def _makes_iterator(fn: Any) -> bool:
    """Whether calling `fn` makes an async generator, and not an awaitable."""
    kinds = types.FunctionType, types.MethodType, functools.partial
    return isinstance(fn, kinds) and inspect.isasyncgenfunction(fn)


class _Adapter:
    """What both directions share but for what their base in C has: the call of a plain
    function, ``__doc__``, ``__module__`` and binding to an instance."""

    _maker: str
    _entered: dict[object, list[Any]] | None = None

    if TYPE_CHECKING:  # of the base in C

        @property
        def _wrapped(self) -> Any: ...
        @property
        def _loop(self) -> Any: ...

    # An adapter is often made for one call only: the rest of the wrapped function's
    # face is put on when somebody looks at it.

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        if "__wrapped__" not in own and callable(self._wrapped):
            self._put_on_face(own)
            if name in own:
                return own[name]
        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}"
        )

    def _put_on_face(self, own: dict[str, Any]) -> None:
        """Do as `functools.update_wrapper`, but keep what is set here."""
        wrapped = own["__wrapped__"] = self._wrapped
        for name in functools.WRAPPER_ASSIGNMENTS:
            if name in ("__doc__", "__module__"):
                continue
            if name not in own and hasattr(wrapped, name):
                own[name] = getattr(wrapped, name)
        for name, value in getattr(wrapped, "__dict__", {}).items():
            if name != "_entered":
                own.setdefault(name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._wrapped, self._loop), self.__dict__ or None

    def __repr__(self) -> str:
        return f"<{self._maker} of {self._wrapped!r}>"

    def _find_loop(self) -> EventLoop:
        return self._loop or _crossing._require_loop()

    def _check_has(self, method: str, what: str) -> None:
        if not hasattr(type(self._wrapped), method):
            raise RuntimeError(
                f"Call '{self._maker}({what}(*args))', "
                f"not '{self._maker}({what}, *args)'"
            )

    # Context managers: each entry is one of its own, for a lock may be shared.

    def _push(self, entry: Any) -> None:
        if self._entered is None:
            self._entered = {}
        self._entered.setdefault(entry.owner, []).append(entry)

    def _pop(self, owner: object) -> Any:
        assert self._entered is not None
        entries = self._entered[owner]
        entry = entries.pop()
        if not entries:
            del self._entered[owner]
        return entry


class _AioAsTrio(_core.AioAsTrio, _Adapter):
    """Something asyncio-flavoured, to be used by Trio-flavoured code."""

    _maker = "aio_as_trio"
    _is_coroutine = getattr(asyncio.coroutines, "_is_coroutine", None)

    def _call(self, /, *args: Any, **kwargs: Any) -> Any:
        """Do what a call does in general: of any callable, on any loop."""
        fn = self._wrapped
        if _makes_iterator(fn):
            return _AioAsTrio(fn(*args, **kwargs), self._loop)
        return run_asyncio_on(self._loop, fn, args, kwargs)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._await().__await__()

    async def _await(self) -> Any:
        wrapped = self._wrapped
        if not inspect.isawaitable(wrapped):
            return await run_asyncio_on(self._loop, wrapped, (), {})
        with _crossing.closing_unused(wrapped):
            loop = self._find_loop()
            _crossing.check_trio_caller(loop, self._maker)
            future: Any = wrapped
            if not asyncio.isfuture(wrapped):
                future = _crossing.context_on(loop).run(
                    asyncio.ensure_future, wrapped, loop=loop
                )
        return await _core.wait_future(future)

    async def _enter_slowly(self) -> Any:
        """Enter the manager where something is against it, in words."""
        self._check_has("__aenter__", "ctxfactory")
        with _crossing.closing_unused(self._wrapped):
            loop = self._find_loop()
            _crossing.check_trio_caller(loop, "aio_as_trio")
        return await self._enter(loop)

    def __aiter__(self) -> AsyncioIterator:
        self._check_has("__aiter__", "gen")
        return AsyncioIterator(self._find_loop(), self._wrapped)


class _TrioAsAio(_core.TrioAsAio, _Adapter):
    """Something Trio-flavoured, to be used by asyncio-flavoured code.

    Not marked as a coroutine function: a call starts the task and returns its Future,
    so it may be given to `call_soon` and its like.
    """

    _maker = "trio_as_aio"

    def _call(self, /, *args: Any, **kwargs: Any) -> Any:
        """Do what a call does in general: of any callable, on any loop."""
        fn = self._wrapped
        if _makes_iterator(fn):
            return _TrioAsAio(fn(*args, **kwargs), self._loop)
        return run_trio_on(self._find_loop(), fn, args, kwargs)

    async def __aenter__(self) -> Any:
        self._check_has("__aenter__", "ctxfactory")
        entry = TrioEntry(self._find_loop(), self._wrapped)
        value = await entry.enter()
        self._push(entry)
        return value

    async def __aexit__(self, *error: Any) -> bool:
        entry: TrioEntry = self._pop(asyncio.current_task())
        return await entry.exit(error[1])

    def __aiter__(self) -> TrioIterator:
        self._check_has("__aiter__", "gen")
        return TrioIterator(self._find_loop(), self._wrapped)


def aio_as_trio(proc: Any, *, loop: EventLoop | None = None) -> Any:
    """Adapt something asyncio-flavoured for Trio-flavoured code.

    ``await aio_as_trio(fn)(*args, **kwargs)`` calls an async function (or whatever
    returns an awaitable) in an asyncio Task of its own; as a decorator it does so for
    functions and methods. Of an async generator function the
    call returns an iterator. ``await aio_as_trio(awaitable)`` waits for a coroutine, a
    Future or a Task, ``async with aio_as_trio(manager)`` and ``async for item in
    aio_as_trio(iterator)`` do what they say.

    A manager is entered and left in one Task, with one context; when that Task is
    cancelled in between, as by ``asyncio.timeout()``, the body is.

    Args:
      proc: what to adapt.
      loop: where to run it; None: on the current loop at each use.

    Flavor: sync; what it returns is Trio-flavoured, and a checkpoint. Raises:
    RuntimeError, at the use, when there is no loop or it is closed or stopped.
    """
    return _AioAsTrio(proc, loop)


def trio_as_aio(proc: Any, *, loop: EventLoop | None = None) -> Any:
    """Adapt something Trio-flavoured for asyncio-flavoured code.

    ``trio_as_aio(fn)(*args, **kwargs)`` starts an async function as a Trio task and
    returns a Future of its outcome; as a decorator it does so for functions and
    methods. Of an async generator function the call returns an iterator. ``async with
    trio_as_aio(manager)`` and ``async for item in trio_as_aio(iterator)`` do what they
    say; coroutine objects are not Trio's way, so there is no form for them.

    A manager is entered and left in one Trio task, with one context, so nurseries and
    cancel scopes in it work; when one of them is cancelled, the body is.

    Args:
      proc: what to adapt.
      loop: whose task it is to be; None: the current loop's at each use.

    Flavor: sync; what it returns is asyncio-flavoured. Raises: RuntimeError, at the
    use, when there is no loop or it is closed or stopped.
    """
    return _TrioAsAio(proc, loop)


def _adapt_asyncio(thing: Any, loop: EventLoop | None) -> Any:
    """Adapt an async iterator or context manager; None: it is neither."""
    kind = type(thing)
    if hasattr(kind, "__aiter__") or hasattr(kind, "__aenter__"):
        return _AioAsTrio(thing, loop)
    return None


_core._set_hooks(adapt_asyncio=_adapt_asyncio)


@overload
def run_asyncio(
    fn: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any
) -> Coroutine[Any, Any, Any]: ...
@overload
def run_asyncio(
    fn: AsyncIterable[Any] | AbstractAsyncContextManager[Any, Any], /
) -> Any: ...
def run_asyncio(fn: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Call an asyncio-flavoured function on the current loop and wait for it; see
    `EventLoop.run_asyncio`.

    Args:
      fn: the function; or an async iterator or context manager, whose
        `aio_as_trio` is returned then.

    Flavor: trio. Checkpoint: yes.
    """
    if not (callable(fn) or args or kwargs):
        adapter = _adapt_asyncio(fn, None)
        if adapter is not None:
            return adapter
    return _crossing.run_asyncio_later(fn, args, kwargs)


if hasattr(inspect, "markcoroutinefunction"):  # since 3.12
    inspect.markcoroutinefunction(_AioAsTrio)
    inspect.markcoroutinefunction(run_asyncio)

asyncio_as_trio = aio_as_trio
trio_as_asyncio = trio_as_aio

# Named by who calls whom.
aio2trio = trio_as_aio
trio2aio = aio_as_trio

# Of the first edition, for iterators and managers only.
run_generator = run_iterator = aio_as_trio
wrap_trio_context = trio_as_aio


def wrap_generator(proc: Callable[..., Any], /, *args: Any) -> Any:
    """Do ``aio_as_trio(proc(*args))``, as the first edition had it.

    Flavor: sync; what it returns is Trio-flavoured.
    """
    return aio_as_trio(proc(*args))


def run_aio_generator(loop: EventLoop | None, async_generator: Any) -> AsyncioIterator:
    """Return a Trio-flavoured iterator over an asyncio-flavoured one, which runs on
    `loop`; None: on the current one.

    Flavor: sync; the iterator is Trio-flavoured, and each item a checkpoint.
    """
    return AsyncioIterator(loop or _crossing._require_loop(), async_generator)


# Both flavours in one task

_mixing: set[_core.Task] = set()
"""The tasks in which asyncio's Futures can be awaited."""


@types.coroutine
def _wait_for_futures(coro: Any) -> Generator[Any, Any, Any]:
    """Run a coroutine, turning what asyncio awaits into Trio-flavoured waits."""
    step, value = coro.send, None
    while True:
        try:
            yielded = step(value)
        except StopIteration as stop:
            return stop.value
        step, value = coro.send, None
        try:
            if yielded is None:
                yield from _core.checkpoint().__await__()
            elif asyncio.isfuture(yielded):
                yielded._asyncio_future_blocking = False
                yield from _core.wait_future(yielded).__await__()
            else:
                value = yield yielded
        except BaseException as error:
            step, value = coro.throw, error


async def allow_asyncio(fn: Callable[..., Awaitable[Any]], /, *args: Any) -> Any:
    """Call a function that awaits things of both flavours, in the running task.

    There is no asyncio Task: what needs one, as ``asyncio.timeout()`` does, cannot be
    used, and a cancel is Trio's `Cancelled` everywhere.

    Args:
      fn: an async function, or a function that returns an awaitable, such as a Future;
        called with `args`.

    Flavor: trio. Checkpoint: if `fn` is one.

    Returns:
      what `fn` did.

    Raises:
      RuntimeError: the caller is no Trio task.
    """
    _crossing.check_in_trio("allow_asyncio")
    task = _core.entered_task()
    if task in _mixing:
        return await fn(*args)
    _mixing.add(task)
    try:
        return await _wait_for_futures(_crossing.call_awaited(fn, args, {}))
    finally:
        _mixing.discard(task)
