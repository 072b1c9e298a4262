"""Abstract base classes: what a clock, an instrument, a closable resource and
a channel look like.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from ._exceptions import EndOfChannel

if TYPE_CHECKING:
    from types import TracebackType

    from ._core import Task

__all__ = [
    "AsyncResource",
    "Channel",
    "Clock",
    "Instrument",
    "ReceiveChannel",
    "SendChannel",
]

T = TypeVar("T")
SendType = TypeVar("SendType", contravariant=True)
ReceiveType = TypeVar("ReceiveType", covariant=True)


class Clock(ABC):
    """Where a run takes its time from; given to ``run(..., clock=...)``.

    All methods are called in the thread of the run, with `KeyboardInterrupt`
    held back, and must not block. An error in one of them ends the run with
    `TrioInternalError`.
    """

    __slots__ = ()

    @abstractmethod
    def start_clock(self) -> None:
        """Prepare the clock. Called once, at the beginning of the run, before
        any task exists.
        """

    @abstractmethod
    def current_time(self) -> float:
        """Return the time now, in seconds, counted from any point that stays
        the same during the run.
        """

    @abstractmethod
    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Translate a deadline into a wait in real time. Called before the run
        waits for I/O.

        Args:
          deadline: a time of this clock, in seconds; may be infinite.

        Returns:
          Real seconds to wait at most before the clock should be looked at
          again. Zero or less if the deadline is reached; ``math.inf`` if real
          time alone never brings the clock there.
        """


class Instrument(ABC):
    """Hooks that a run calls as it goes; given to ``run(...,
    instruments=[...])`` or ``lowlevel.add_instrument``.

    An instrument need not derive from this class, and needs only the methods
    that it wants called. Which ones it has is looked up once, when it is
    added. A hook that raises is reported to the logger
    ``trio.abc.Instrument``, and its instrument is taken out of the run; the
    run itself goes on.

    All hooks are synchronous, run in the thread of the run and delay it as
    long as they last.
    """

    __slots__ = ()

    def before_run(self) -> None:
        """Called first of all, before the run has any task."""

    def after_run(self) -> None:
        """Called last of all, after every task has ended and just before
        ``run`` returns.
        """

    def task_spawned(self, task: Task) -> None:
        """Called when ``task`` has been made, before it is scheduled for its
        first step.
        """

    def task_scheduled(self, task: Task) -> None:
        """Called when ``task`` becomes runnable. Others that are runnable too
        may still go first.
        """

    def before_task_step(self, task: Task) -> None:
        """Called immediately before ``task`` is resumed."""

    def after_task_step(self, task: Task) -> None:
        """Called when ``task`` has given control back to the scheduler."""

    def task_exited(self, task: Task) -> None:
        """Called when ``task`` has ended, by returning or by raising."""

    def before_io_wait(self, timeout: float) -> None:
        """Called before the run asks the system for I/O events.

        Args:
          timeout: seconds that it is going to wait at most.
        """

    def after_io_wait(self, timeout: float) -> None:
        """Called after the I/O events have been handled.

        Args:
          timeout: seconds that the run was willing to wait, not those that it
            did wait.
        """


class AsyncResource(ABC):
    """Something to be closed, where closing it well may take time.

    As an async context manager it closes itself at the end of the block.
    Entering the block is not a checkpoint.
    """

    __slots__ = ()

    @abstractmethod
    async def aclose(self) -> None:
        """Close the resource, waiting as long as a clean shutdown takes. A
        checkpoint.

        The resource is closed afterwards *in any case*. If this method raises,
        or is cancelled, then what failed is the clean shutdown, not the
        closing. Closing a second time does nothing.

        Operations that are under way or come later fail, as a rule with
        `ClosedResourceError`.
        """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class SendChannel(AsyncResource, Generic[SendType]):
    """The end of a channel that Python objects go into."""

    __slots__ = ()

    @abstractmethod
    async def send(self, value: SendType) -> None:
        """Pass an object to whoever receives at the other end, waiting as long
        as necessary. A checkpoint.

        Args:
          value: the object.

        Raises:
          BrokenResourceError: if it cannot get there, for example because the
            receiving end is closed.
          ClosedResourceError: if this end was closed before, or is closed by
            another task meanwhile.
          BusyResourceError: if another task is sending, and this kind of
            channel takes one sender at a time.
        """


class ReceiveChannel(AsyncResource, Generic[ReceiveType]):
    """The end of a channel that Python objects come out of.

    ``async for value in channel`` receives until the senders are gone, and
    then ends without an error.
    """

    __slots__ = ()

    @abstractmethod
    async def receive(self) -> ReceiveType:
        """Wait for the next object and return it. A checkpoint.

        Raises:
          EndOfChannel: if the sending end was closed and nothing is left to
            receive.
          ClosedResourceError: if this end was closed before, or is closed by
            another task meanwhile.
          BrokenResourceError: if the channel broke.
          BusyResourceError: if another task is receiving, and this kind of
            channel takes one receiver at a time.
        """

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ReceiveType:
        try:
            return await self.receive()
        except EndOfChannel:
            raise StopAsyncIteration from None


class Channel(SendChannel[T], ReceiveChannel[T]):
    """A channel whose one object both sends and receives."""

    __slots__ = ()
