"""Memory channels: queues that pass Python objects between the tasks of one
run.

Nothing in here may be called from another thread than the run's, unless
through `from_thread`.

The two ends are the core's; see csrc/core/channel.h for how they fit together.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TypeVar

from . import _core
from ._core import MemoryReceiveChannel, MemorySendChannel
from ._util import final
from .abc import ReceiveChannel, SendChannel

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
        return _core._open_memory_channel(max_buffer_size)

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


SendChannel.register(MemorySendChannel)
ReceiveChannel.register(MemoryReceiveChannel)
_core._set_hooks(channel_statistics=MemoryChannelStatistics)
