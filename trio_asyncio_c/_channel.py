"""Memory channels: queues that pass Python objects between the tasks of one
run.

Nothing in here may be called from another thread than the run's, unless
through `from_thread`.

How it fits together: all clones of both ends share one `_ChannelState`. Three
invariants make each operation a matter of looking at one queue:

* C1: while a receiver waits, the buffer is empty and no sender waits.
* C2: while a sender waits, the buffer is full.
* C3: a task is in ``send_tasks`` or ``receive_tasks`` exactly if it is in
  ``_tasks`` of the endpoint that it waits at.

A value is handed to a waiting task directly, so it is received by the task
that was woken for it, and a task that is cancelled while it waits has either
got its value (and is not cancelled any more) or has not changed the channel.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from math import inf
from typing import (
    TYPE_CHECKING,
    Any,
    Self,
    TypeVar,
)

from ._core import (
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    current_task,
    reschedule,
    wait_task_rescheduled,
)
from ._exceptions import (
    Abort,
    BrokenResourceError,
    ClosedResourceError,
    EndOfChannel,
    WouldBlock,
)
from ._ki import enable_ki_protection
from ._outcome import Error, Value
from ._util import final
from .abc import ReceiveChannel, ReceiveType, SendChannel, SendType

if TYPE_CHECKING:
    from types import TracebackType

    from ._core import Task

__all__ = [
    "MemoryChannelStatistics",
    "MemoryReceiveChannel",
    "MemorySendChannel",
    "open_memory_channel",
]

T = TypeVar("T")


@final
class open_memory_channel(tuple["MemorySendChannel[T]", "MemoryReceiveChannel[T]"]):
    """Make a channel: ``sender, receiver = open_memory_channel(10)``.

    Not a checkpoint.

    ``open_memory_channel[int](10)`` tells type checkers what is passed through
    it. (For that it has to be a class, but what it returns is an ordinary
    tuple.)

    A channel costs nothing but memory, and need not be closed. Closing the
    ends that are done with is how the other side learns about it, though,
    instead of waiting for ever.

    Sending and receiving is fair: tasks get their turn in the order in which
    they began to wait. A `send` or `receive` that is cancelled has not
    happened.

    Args:
      max_buffer_size: how many objects are kept in the channel before `send`
        waits, an int or ``math.inf``. With 0, `send` waits until the object
        was received.

    Returns:
      The pair ``(MemorySendChannel, MemoryReceiveChannel)``: objects go from
      left to right.

    Raises:
      TypeError: if ``max_buffer_size`` is neither an int nor ``math.inf``.
      ValueError: if it is negative.
    """

    def __new__(  # type: ignore[misc]
        cls,
        max_buffer_size: int | float,
    ) -> tuple[MemorySendChannel[T], MemoryReceiveChannel[T]]:
        if max_buffer_size != inf and not isinstance(max_buffer_size, int):
            raise TypeError("max_buffer_size must be an integer or math.inf")
        if max_buffer_size < 0:
            raise ValueError("max_buffer_size must be >= 0")
        state = _ChannelState(max_buffer_size)
        sender: MemorySendChannel[T] = MemorySendChannel._create(state)
        receiver: MemoryReceiveChannel[T] = MemoryReceiveChannel._create(state)
        return sender, receiver

    def __init__(self, max_buffer_size: int | float) -> None:
        """Tell type checkers the parameter; it never runs on a plain tuple."""


@dataclass(frozen=True, slots=True)
class MemoryChannelStatistics:
    """What `MemorySendChannel.statistics` and
    `MemoryReceiveChannel.statistics` return, about the whole channel.
    """

    current_buffer_used: int
    """How many objects are in the buffer."""

    max_buffer_size: int | float
    """How many can be."""

    open_send_channels: int
    """How many `MemorySendChannel` objects are open: one, and those made by
    ``clone``, without those closed.
    """

    open_receive_channels: int
    """The same for `MemoryReceiveChannel` objects."""

    tasks_waiting_send: int
    """How many tasks are blocked in ``send``, at any of the clones."""

    tasks_waiting_receive: int
    """How many tasks are blocked in ``receive``, at any of the clones."""

    peak_buffer_used: int
    """How many objects were in the buffer at once at most, since the channel
    was made.
    """


class _ChannelState:
    """What all clones of both ends share."""

    __slots__ = (
        "data",
        "max_buffer_size",
        "open_receive_channels",
        "open_send_channels",
        "peak_buffer_used",
        "receive_tasks",
        "send_tasks",
    )

    def __init__(self, max_buffer_size: int | float) -> None:
        self.max_buffer_size = max_buffer_size
        self.data: deque[Any] = deque()
        self.open_send_channels = 0
        self.open_receive_channels = 0
        self.peak_buffer_used = 0
        # The waiting tasks, longest first, each with the ``_tasks`` of the
        # endpoint that it waits at; a sender also with its value. An
        # OrderedDict gives up its first item in constant time, which a dict
        # does not.
        self.send_tasks: OrderedDict[Task, tuple[set[Task], Any]] = OrderedDict()
        self.receive_tasks: OrderedDict[Task, set[Task]] = OrderedDict()

    def statistics(self) -> MemoryChannelStatistics:
        return MemoryChannelStatistics(
            current_buffer_used=len(self.data),
            max_buffer_size=self.max_buffer_size,
            open_send_channels=self.open_send_channels,
            open_receive_channels=self.open_receive_channels,
            tasks_waiting_send=len(self.send_tasks),
            tasks_waiting_receive=len(self.receive_tasks),
            peak_buffer_used=self.peak_buffer_used,
        )

    def end_receivers(self) -> None:
        """The last sender has gone: nothing will come any more."""
        for task, tasks_of_endpoint in self.receive_tasks.items():
            tasks_of_endpoint.remove(task)
            reschedule(task, Error(EndOfChannel()))
        self.receive_tasks.clear()

    def break_senders(self) -> None:
        """The last receiver has gone: nothing gets anywhere any more."""
        for task, (tasks_of_endpoint, _) in self.send_tasks.items():
            tasks_of_endpoint.remove(task)
            reschedule(task, Error(BrokenResourceError()))
        self.send_tasks.clear()
        self.data.clear()


@final
class MemorySendChannel(SendChannel[SendType]):
    """The end of a memory channel that objects go into. Made by
    `open_memory_channel` and by `clone`.

    Any number of tasks may use one such object, or clones of it, at the same
    time. Both ``with`` and ``async with`` close it at the end of the block.
    """

    _state: _ChannelState
    _closed: bool
    _tasks: set[Task]  # those that wait at this clone

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        raise TypeError(
            f"{cls.__module__}.{cls.__qualname__} has no public constructor"
        )

    @classmethod
    def _create(cls, state: _ChannelState) -> Self:
        self: Self = object.__new__(cls)
        self._state = state
        self._closed = False
        self._tasks = set()
        state.open_send_channels += 1
        return self

    def __repr__(self) -> str:
        buffer = f"using buffer at {id(self._state):#x}"
        return f"<send channel at {id(self):#x}, {buffer}>"

    def statistics(self) -> MemoryChannelStatistics:
        """Return figures for debugging, about the whole channel with all its
        clones. Not a checkpoint.
        """
        return self._state.statistics()

    @enable_ki_protection
    def send_nowait(self, value: SendType) -> None:
        """Send an object without waiting. Not a checkpoint.

        Args:
          value: the object.

        Raises:
          WouldBlock: if the buffer is full.
          BrokenResourceError: if all receiving ends are closed.
          ClosedResourceError: if this object is closed.
        """
        if self._closed:
            raise ClosedResourceError
        state = self._state
        if state.receive_tasks:
            task, tasks_of_endpoint = state.receive_tasks.popitem(last=False)
            tasks_of_endpoint.remove(task)
            reschedule(task, Value(value))
            return
        if not state.open_receive_channels:
            raise BrokenResourceError
        used = len(state.data)
        if used >= state.max_buffer_size:
            raise WouldBlock
        state.data.append(value)
        if used >= state.peak_buffer_used:
            state.peak_buffer_used = used + 1

    @enable_ki_protection
    async def send(self, value: SendType) -> None:
        """Send an object, waiting until there is room for it. A checkpoint.

        Args:
          value: the object.

        Raises:
          BrokenResourceError: if all receiving ends are closed, or get closed
            meanwhile.
          ClosedResourceError: if this object is closed, or gets closed
            meanwhile.
        """
        await checkpoint_if_cancelled()
        state = self._state
        # Asking first is cheaper than to catch WouldBlock afterwards.
        if (
            len(state.data) < state.max_buffer_size
            or state.receive_tasks
            or self._closed
            or not state.open_receive_channels
        ):
            self.send_nowait(value)
            await cancel_shielded_checkpoint()
            return

        task = current_task()
        tasks = self._tasks
        send_tasks = state.send_tasks
        tasks.add(task)
        send_tasks[task] = (tasks, value)

        def abort(_: object) -> Abort:
            tasks.remove(task)
            del send_tasks[task]
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)

    @enable_ki_protection
    def clone(self) -> MemorySendChannel[SendType]:
        """Make a second object for the same end of the channel, to be closed
        by itself. Not a checkpoint.

        The receivers see the end of the channel when the last of the clones is
        closed. So give each producer a clone of its own to close when it is
        done.

        Raises:
          ClosedResourceError: if this object is closed.
        """
        if self._closed:
            raise ClosedResourceError
        return MemorySendChannel._create(self._state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @enable_ki_protection
    def close(self) -> None:
        """Close this object. Not a checkpoint, so it works in a cancelled
        task; a second time it does nothing.

        Tasks that wait in `send` at this object get `ClosedResourceError`. If
        it was the last of the clones, receivers still get what is in the
        buffer, and then `EndOfChannel`.
        """
        if self._closed:
            return
        self._closed = True
        state = self._state
        for task in self._tasks:
            del state.send_tasks[task]
            reschedule(task, Error(ClosedResourceError()))
        self._tasks.clear()
        state.open_send_channels -= 1
        if state.open_send_channels == 0:
            state.end_receivers()

    @enable_ki_protection
    async def aclose(self) -> None:
        """Do the same as `close`. A checkpoint."""
        self.close()
        await checkpoint()


@final
class MemoryReceiveChannel(ReceiveChannel[ReceiveType]):
    """The end of a memory channel that objects come out of. Made by
    `open_memory_channel` and by `clone`.

    Any number of tasks may use one such object, or clones of it, at the same
    time; each object sent is received once. Both ``with`` and ``async with``
    close it at the end of the block. ``async for`` receives until the senders
    are closed.
    """

    _state: _ChannelState
    _closed: bool
    _tasks: set[Task]  # those that wait at this clone

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        raise TypeError(
            f"{cls.__module__}.{cls.__qualname__} has no public constructor"
        )

    @classmethod
    def _create(cls, state: _ChannelState) -> Self:
        self: Self = object.__new__(cls)
        self._state = state
        self._closed = False
        self._tasks = set()
        state.open_receive_channels += 1
        return self

    def __repr__(self) -> str:
        buffer = f"using buffer at {id(self._state):#x}"
        return f"<receive channel at {id(self):#x}, {buffer}>"

    def statistics(self) -> MemoryChannelStatistics:
        """Return figures for debugging, about the whole channel with all its
        clones. Not a checkpoint.
        """
        return self._state.statistics()

    @enable_ki_protection
    def receive_nowait(self) -> ReceiveType:
        """Receive an object without waiting. Not a checkpoint.

        Raises:
          WouldBlock: if there is none at the moment.
          EndOfChannel: if there is none, and all sending ends are closed.
          ClosedResourceError: if this object is closed.
        """
        if self._closed:
            raise ClosedResourceError
        state = self._state
        data = state.data
        if state.send_tasks:
            # The sender's value goes behind those in the buffer, into the
            # place that is about to become free.
            task, (tasks_of_endpoint, value) = state.send_tasks.popitem(last=False)
            tasks_of_endpoint.remove(task)
            reschedule(task)
            data.append(value)
        if data:
            result: ReceiveType = data.popleft()
            return result
        if not state.open_send_channels:
            raise EndOfChannel
        raise WouldBlock

    @enable_ki_protection
    async def receive(self) -> ReceiveType:
        """Receive an object, waiting until there is one. A checkpoint.

        Raises:
          EndOfChannel: if there is none, and all sending ends are closed, or
            get closed meanwhile.
          ClosedResourceError: if this object is closed, or gets closed
            meanwhile.
        """
        await checkpoint_if_cancelled()
        state = self._state
        # Asking first is cheaper than to catch WouldBlock afterwards.
        if (
            state.data
            or state.send_tasks
            or self._closed
            or not state.open_send_channels
        ):
            value = self.receive_nowait()
            await cancel_shielded_checkpoint()
            return value

        task = current_task()
        tasks = self._tasks
        receive_tasks = state.receive_tasks
        tasks.add(task)
        receive_tasks[task] = tasks

        def abort(_: object) -> Abort:
            tasks.remove(task)
            del receive_tasks[task]
            return Abort.SUCCEEDED

        value = await wait_task_rescheduled(abort)
        return value

    @enable_ki_protection
    def clone(self) -> MemoryReceiveChannel[ReceiveType]:
        """Make a second object for the same end of the channel, to be closed
        by itself. Not a checkpoint.

        The clones share what arrives: an object that one of them receives does
        not come out of the others. Senders notice nothing until the last of
        the clones is closed.

        Raises:
          ClosedResourceError: if this object is closed.
        """
        if self._closed:
            raise ClosedResourceError
        return MemoryReceiveChannel._create(self._state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @enable_ki_protection
    def close(self) -> None:
        """Close this object. Not a checkpoint, so it works in a cancelled
        task; a second time it does nothing.

        Tasks that wait in `receive` at this object get `ClosedResourceError`.
        If it was the last of the clones, what is in the buffer is lost, and
        senders get `BrokenResourceError`.
        """
        if self._closed:
            return
        self._closed = True
        state = self._state
        for task in self._tasks:
            del state.receive_tasks[task]
            reschedule(task, Error(ClosedResourceError()))
        self._tasks.clear()
        state.open_receive_channels -= 1
        if state.open_receive_channels == 0:
            state.break_senders()

    @enable_ki_protection
    async def aclose(self) -> None:
        """Do the same as `close`. A checkpoint."""
        self.close()
        await checkpoint()
