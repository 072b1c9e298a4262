"""Small helpers shared by the Python half of the package. Nothing in here is
public.
"""

from __future__ import annotations

import collections.abc
import inspect
import typing
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, TypeVarTuple

from ._exceptions import Cancelled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_SHIM_ADVICE = (
    "are you trying to use a library written for asyncio/twisted/tornado or "
    "similar? That won't work without some sort of compatibility shim."
)


def _refuse_subclass(cls: type[object], **kwargs: object) -> NoReturn:
    raise TypeError(f"{cls.__module__}.{cls.__qualname__} does not support subclassing")


if TYPE_CHECKING:
    from typing import final as final
else:

    def final(cls: type[T]) -> type[T]:
        """Mark a class as final for type checkers, and make an attempt to
        subclass it a `TypeError`.
        """
        cls.__init_subclass__ = classmethod(_refuse_subclass)
        return typing.final(cls)


def _is_other_librarys_awaitable(value: object) -> bool:
    """Guess whether ``value`` comes from asyncio, tornado or twisted. Only
    called when something is wrong already.
    """
    return (
        isinstance(value, collections.abc.Generator)
        or getattr(value, "_asyncio_future_blocking", None) is not None
        or type(value).__name__ in ("Future", "Deferred")
    )


def _raise_not_async_fn(async_fn: object) -> None:
    """Explain why calling ``async_fn`` failed if the caller passed ``fn()`` or
    a future instead of ``fn``.
    """
    if isinstance(async_fn, collections.abc.Coroutine):
        # The caller cannot get at this coroutine any more: close it, or there
        # is a second warning about it.
        async_fn.close()
        name = getattr(async_fn, "__name__", "fn")
        raise TypeError(
            "Trio was expecting an async function, but instead it got "
            f"a coroutine object {async_fn!r}\n\n"
            "Probably you did something like:\n\n"
            f"  trio.run({name}(...))            # incorrect!\n"
            f"  nursery.start_soon({name}(...))  # incorrect!\n\n"
            "Instead, you want (notice the parentheses!):\n\n"
            f"  trio.run({name}, ...)            # correct!\n"
            f"  nursery.start_soon({name}, ...)  # correct!"
        ) from None
    if _is_other_librarys_awaitable(async_fn):
        raise TypeError(
            "Trio was expecting an async function, but instead it got "
            f"{async_fn!r} – {_SHIM_ADVICE}"
        ) from None


def _raise_not_coroutine(async_fn: object, result: object) -> NoReturn:
    """Explain why ``result``, which calling ``async_fn`` returned, cannot be
    run as a task.
    """
    if _is_other_librarys_awaitable(result):
        raise TypeError(f"Trio got unexpected {result!r} – {_SHIM_ADVICE}")
    if inspect.isasyncgen(result):
        raise TypeError(
            "start_soon expected an async function but got an async "
            f"generator {result!r}"
        )
    name = getattr(async_fn, "__qualname__", async_fn)
    raise TypeError(
        f"Trio expected an async function, but {name!r} appears to be synchronous"
    )


def coroutine_or_error(
    async_fn: Callable[[*Ts], Awaitable[T]], *args: *Ts
) -> Coroutine[Any, Any, T]:
    """Call ``async_fn(*args)`` and return the coroutine object that it makes.

    Raises:
      TypeError: with advice, if there is no coroutine: the usual slips are
        ``fn()`` for ``fn``, a synchronous function, an async generator, and a
        future of another library.
    """
    try:
        coro = async_fn(*args)
    except TypeError:
        _raise_not_async_fn(async_fn)
        raise
    if not isinstance(coro, collections.abc.Coroutine):
        _raise_not_coroutine(async_fn, coro)
    return coro


def raise_keeping_context(error: BaseException) -> NoReturn:
    """Raise ``error`` as it is: ``__context__`` stays what it was, whatever
    exception is being handled now.
    """
    __tracebackhide__ = True
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context
        # The traceback leads to this frame: without its variables that is no
        # reference cycle.
        del error, context


class MultipleExceptionError(Exception):
    """`raise_single_exception_from_group` found more than one exception that
    matters.
    """


def raise_single_exception_from_group(
    group: BaseExceptionGroup[BaseException],
) -> NoReturn:
    """Raise the one exception in ``group`` that is not a `Cancelled`, bare,
    with its own context and cause.

    A group that has nothing but `Cancelled` in it raises the first of them. An
    inner group counts as one exception. `KeyboardInterrupt` and `SystemExit`
    take precedence: a new one is raised, with the group as its cause.

    Raises:
      MultipleExceptionError: if two or more exceptions are not a `Cancelled`.
    """
    others = [error for error in group.exceptions if not isinstance(error, Cancelled)]
    for error in others:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise type(error)(*error.args) from group
    if len(others) > 1:
        raise MultipleExceptionError(
            "the group holds more than one exception that is not a Cancelled"
        ) from group
    raise_keeping_context(others[0] if others else group.exceptions[0])


def publish(module: str, namespace: dict[str, Any]) -> None:
    """Let the public names of a namespace say that they are defined there.

    Tracebacks, reprs and documentation then show the name that users import.
    A name that several modules publish stays with the first.

    Args:
      module: the public module's name.
      namespace: its globals, with ``__all__``.
    """
    for name in namespace["__all__"]:
        value = namespace[name]
        home = getattr(value, "__module__", None)
        if isinstance(home, str) and home.startswith("trio_asyncio_c._"):
            try:
                value.__module__ = module
            except (AttributeError, TypeError):
                pass  # a type of C's, or a builtin function: says what it says
