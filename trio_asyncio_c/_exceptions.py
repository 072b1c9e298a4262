"""Exceptions of the package, and the answer that an abort function gives.

The C core imports this module while it is being initialised, so nothing here
may import from the package. All classes name ``trio_asyncio_c`` as their
module: that is where users import them from, what tracebacks print and what
pickle looks up.
"""

from __future__ import annotations

import enum
from functools import partial
from typing import TYPE_CHECKING, Literal, NoReturn, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Abort",
    "BrokenResourceError",
    "BusyResourceError",
    "Cancelled",
    "ClosedResourceError",
    "EndOfChannel",
    "NeedHandshakeError",
    "RunFinishedError",
    "TooSlowError",
    "TrioInternalError",
    "WouldBlock",
]

CancelReasonLiteral: TypeAlias = Literal[
    "KeyboardInterrupt",
    "deadline",
    "explicit",
    "nursery",
    "shutdown",
    "unknown",
    "misnesting",
]
"""What can set off a cancellation: the values of `Cancelled.source`."""


class Abort(enum.Enum):
    """What an abort function returns to
    `trio_asyncio_c.lowlevel.wait_task_rescheduled`.
    """

    SUCCEEDED = 1
    """The operation was called off; the task is to be woken with the
    cancellation, and by nobody else.
    """

    FAILED = 2
    """The operation goes on; whoever completes it still has to reschedule the
    task.
    """


class TrioInternalError(Exception):
    """The scheduler found its own state broken, through a bug or through
    misuse of the low-level functions.

    After this error nothing can be said about the tasks of the run any more.
    """

    __module__ = "trio_asyncio_c"


class RunFinishedError(RuntimeError):
    """A run was asked, usually by another thread, to do something after it had
    ended.
    """

    __module__ = "trio_asyncio_c"


class WouldBlock(Exception):
    """A ``*_nowait`` function cannot do its work without waiting."""

    __module__ = "trio_asyncio_c"


class Cancelled(BaseException):
    """Raised by a checkpoint inside a cancelled scope, so that the code in the
    scope unwinds.

    Let it pass: the scope that caused it catches it. It is a `BaseException`,
    so ``except Exception`` does not stop it. Only the scheduler makes
    instances; calling the class raises `TypeError`. To cancel something, call
    `CancelScope.cancel`.

    Attributes:
      source: what set off the cancellation, one of ``"deadline"``,
        ``"explicit"``, ``"nursery"``, ``"shutdown"``, ``"KeyboardInterrupt"``,
        ``"misnesting"`` and ``"unknown"``.
      reason: the text given to ``cancel()``, or one that the scheduler wrote,
        or None.
      source_task: the ``repr`` of the task that called ``cancel()``, or None.
        A text, so that the task is not kept alive.
    """

    __module__ = "trio_asyncio_c"
    __slots__ = ("__weakref__", "reason", "source", "source_task")

    source: CancelReasonLiteral
    reason: str | None
    source_task: str | None

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        raise TypeError(
            f"{cls.__module__}.{cls.__qualname__} has no public constructor"
        )

    def __init_subclass__(cls, **kwargs: object) -> NoReturn:
        raise TypeError(
            f"{cls.__module__}.{cls.__qualname__} does not support subclassing"
        )

    @classmethod
    def _create(
        cls,
        *,
        source: CancelReasonLiteral = "unknown",
        source_task: str | None = None,
        reason: str | None = None,
    ) -> Cancelled:
        """Make an instance; the scheduler's way in, past the closed
        constructor.
        """
        self: Cancelled = BaseException.__new__(cls)
        self.source = source
        self.source_task = source_task
        self.reason = reason
        return self

    def __str__(self) -> str:
        text = f"cancelled due to {self.source}"
        if self.reason is not None:
            text += f" with reason {self.reason!r}"
        if self.source_task is not None:
            text += f" from task {self.source_task}"
        return text

    def __repr__(self) -> str:
        return (
            f"Cancelled(source={self.source!r},"
            f" source_task={self.source_task!r}, reason={self.reason!r})"
        )

    def __reduce__(self) -> tuple[Callable[[], Cancelled], tuple[()]]:
        # Pickle can only pass positional arguments on, and _create takes none.
        remake = partial(
            type(self)._create,
            source=self.source,
            source_task=self.source_task,
            reason=self.reason,
        )
        return remake, ()


class BusyResourceError(Exception):
    """Another task is already using this resource, and using it twice at a
    time would garble something.
    """

    __module__ = "trio_asyncio_c"


class ClosedResourceError(Exception):
    """The resource was closed by this side, before or during the call.

    Trouble that comes from elsewhere, such as a peer that hung up, is a
    `BrokenResourceError` or an `OSError`.
    """

    __module__ = "trio_asyncio_c"


class BrokenResourceError(Exception):
    """The resource can no longer be used because of something that this side
    did not do.

    ``__cause__`` holds the underlying error where there is one.
    """

    __module__ = "trio_asyncio_c"


class EndOfChannel(Exception):
    """The channel has no more items, and none will come: all its senders are
    closed.
    """

    __module__ = "trio_asyncio_c"


class NeedHandshakeError(Exception):
    """An attribute of a TLS stream was asked for that is only known after the
    handshake.
    """

    __module__ = "trio_asyncio_c"


class TooSlowError(TimeoutError):
    """The block under `fail_after` or `fail_at` was cut short by its scope.

    It is a `TimeoutError`, which is what asyncio code expects of a timeout.
    """

    __module__ = "trio_asyncio_c"
