"""The result of a call, kept as an object: a `Value` or an `Error`.

This is what `trio_asyncio_c.lowlevel.reschedule` passes to a sleeping task.
Objects of the ``outcome`` library, or anything else with an attribute
``error`` or ``value``, do as well; these here are for code that does not use
that library.
"""

from __future__ import annotations

from typing import (
    TYPE_CHECKING,
    Generic,
    NoReturn,
    ParamSpec,
    TypeAlias,
    TypeVar,
    final,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Error", "Outcome", "Value", "acapture", "capture"]

T = TypeVar("T")
P = ParamSpec("P")


@final
class Value(Generic[T]):
    """A call that returned.

    Args:
      value: what it returned; kept as the attribute ``value``.
    """

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def unwrap(self) -> T:
        """Return the value. Not a checkpoint."""
        return self.value

    def __repr__(self) -> str:
        return f"Value({self.value!r})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Value):
            return bool(self.value == other.value)
        return NotImplemented

    def __hash__(self) -> int:
        return hash((Value, self.value))


@final
class Error:
    """A call that raised.

    Args:
      error: the exception; kept as the attribute ``error``.

    Raises:
      TypeError: if ``error`` is not an exception object.
    """

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        if not isinstance(error, BaseException):
            raise TypeError(f"an Error holds an exception object, not {error!r}")
        self.error = error

    def unwrap(self) -> NoReturn:
        """Raise the exception. Not a checkpoint."""
        captured_error = self.error
        try:
            raise captured_error
        finally:
            # The traceback now leads to this frame: without its variables that
            # is no reference cycle.
            del captured_error, self

    def __repr__(self) -> str:
        return f"Error({self.error!r})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Error):
            return self.error == other.error
        return NotImplemented

    def __hash__(self) -> int:
        return hash((Error, self.error))


Outcome: TypeAlias = Value[T] | Error
"""Either of the two."""


def _without_own_frame(error: BaseException) -> BaseException:
    """Drop the capturing function's frame, the outermost, from the traceback:
    it says nothing about the error.
    """
    traceback = error.__traceback__
    assert traceback is not None
    return error.with_traceback(traceback.tb_next)


def capture(sync_fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Outcome[T]:
    """Call ``sync_fn(*args, **kwargs)`` and keep what it returns or raises.
    Not a checkpoint.

    Returns:
      A `Value`, or an `Error` for any exception, `BaseException` included.
    """
    try:
        return Value(sync_fn(*args, **kwargs))
    except BaseException as error:
        return Error(_without_own_frame(error))


async def acapture(
    async_fn: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
) -> Outcome[T]:
    """Await ``async_fn(*args, **kwargs)`` and keep what it returns or raises.

    A checkpoint exactly if ``async_fn`` is one.

    Returns:
      A `Value`, or an `Error` for any exception, `BaseException` included.
    """
    try:
        return Value(await async_fn(*args, **kwargs))
    except BaseException as error:
        return Error(_without_own_frame(error))
