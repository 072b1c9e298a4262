"""Cancel scopes made for a timeout. The functions that sleep are part of the
core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._core import CancelScope
from ._exceptions import TooSlowError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType

__all__ = ["fail_after", "fail_at", "move_on_after", "move_on_at"]


def move_on_at(deadline: float, *, shield: bool = False) -> CancelScope:
    """Make a cancel scope with a deadline: ``with move_on_at(deadline) as
    scope: ...``.

    When the time comes, the block is cancelled and the program goes on behind
    it; ``scope.cancelled_caught`` tells. Not a checkpoint, neither at entry
    nor at exit.

    Args:
      deadline: a time of the run's clock, in seconds, as `current_time` counts
        them.
      shield: whether the block is shielded from cancellation that comes from
        outside of it.

    Raises:
      ValueError: if ``deadline`` is NaN.
    """
    return CancelScope(deadline=deadline, shield=shield)


def move_on_after(seconds: float, *, shield: bool = False) -> CancelScope:
    """Make a cancel scope with a timeout: ``with move_on_after(seconds) as
    scope: ...``.

    As `move_on_at`, with the deadline ``seconds`` after the block was entered,
    not after the scope was made.

    Args:
      seconds: the timeout, in seconds; may be infinite.
      shield: whether the block is shielded from cancellation that comes from
        outside of it.

    Raises:
      ValueError: if ``seconds`` is negative or NaN.
    """
    # CancelScope checks this as well, but it would name a parameter that the
    # caller has not used.
    if seconds < 0:
        raise ValueError("`seconds` must be non-negative")
    if seconds != seconds:
        raise ValueError("`seconds` must not be NaN")
    return CancelScope(relative_deadline=seconds, shield=shield)


class _FailScope:
    """Context manager around a cancel scope, which turns a block that was cut
    short into a `TooSlowError`.
    """

    __slots__ = ("_scope",)

    def __init__(self, scope: CancelScope) -> None:
        self._scope = scope

    def __enter__(self) -> CancelScope:
        return self._scope.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        swallowed = self._scope.__exit__(exc_type, exc_value, traceback)
        if self._scope.cancelled_caught:
            raise TooSlowError
        return swallowed


def fail_at(
    deadline: float, *, shield: bool = False
) -> AbstractContextManager[CancelScope]:
    """Put a deadline on a block: ``with fail_at(deadline) as scope: ...``.

    As `move_on_at`, but a block that the scope cancelled ends with an error.
    That includes ``scope.cancel()``.

    Args:
      deadline: a time of the run's clock, in seconds, as `current_time` counts
        them.
      shield: whether the block is shielded from cancellation that comes from
        outside of it.

    Raises:
      TooSlowError: at the end of the block, if the scope caught a cancellation
        there.
      ValueError: if ``deadline`` is NaN.
    """
    return _FailScope(move_on_at(deadline, shield=shield))


def fail_after(
    seconds: float, *, shield: bool = False
) -> AbstractContextManager[CancelScope]:
    """Put a timeout on a block: ``with fail_after(seconds) as scope: ...``.

    As `move_on_after`, but a block that the scope cancelled ends with an
    error. That includes ``scope.cancel()``.

    Args:
      seconds: the timeout, in seconds, counted from when the block was
        entered; may be infinite.
      shield: whether the block is shielded from cancellation that comes from
        outside of it.

    Raises:
      TooSlowError: at the end of the block, if the scope caught a cancellation
        there.
      ValueError: if ``seconds`` is negative or NaN.
    """
    return _FailScope(move_on_after(seconds, shield=shield))
