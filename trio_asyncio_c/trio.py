"""The Trio-flavoured API under Trio's own names: ``from trio_asyncio_c import
trio``.

`run` in here starts a bare run, without an asyncio loop; `open_loop` opens one
in it when it is needed.
"""

from . import abc, from_thread, lowlevel, testing, to_thread
from ._channel import (
    MemoryChannelStatistics,
    MemoryReceiveChannel,
    MemorySendChannel,
    open_memory_channel,
)
from ._core import (
    CancelScope,
    Nursery,
    current_effective_deadline,
    current_time,
    fail_after,
    fail_at,
    move_on_after,
    move_on_at,
    open_nursery,
    sleep,
    sleep_forever,
    sleep_until,
)
from ._exceptions import (
    BrokenResourceError,
    BusyResourceError,
    Cancelled,
    ClosedResourceError,
    EndOfChannel,
    NeedHandshakeError,
    RunFinishedError,
    TooSlowError,
    TrioInternalError,
    WouldBlock,
)
from ._resource import aclose_forcefully
from ._run import run
from ._safe_channel import as_safe_channel
from ._sync import (
    CapacityLimiter,
    CapacityLimiterStatistics,
    Condition,
    ConditionStatistics,
    Event,
    EventStatistics,
    Lock,
    LockStatistics,
    Semaphore,
    StrictFIFOLock,
)
from ._task_status import TASK_STATUS_IGNORED, TaskStatus

__all__ = [
    "BrokenResourceError",
    "BusyResourceError",
    "CancelScope",
    "Cancelled",
    "CapacityLimiter",
    "CapacityLimiterStatistics",
    "ClosedResourceError",
    "Condition",
    "ConditionStatistics",
    "EndOfChannel",
    "Event",
    "EventStatistics",
    "Lock",
    "LockStatistics",
    "MemoryChannelStatistics",
    "MemoryReceiveChannel",
    "MemorySendChannel",
    "NeedHandshakeError",
    "Nursery",
    "RunFinishedError",
    "Semaphore",
    "StrictFIFOLock",
    "TASK_STATUS_IGNORED",
    "TaskStatus",
    "TooSlowError",
    "TrioInternalError",
    "WouldBlock",
    "abc",
    "aclose_forcefully",
    "as_safe_channel",
    "current_effective_deadline",
    "current_time",
    "fail_after",
    "fail_at",
    "from_thread",
    "lowlevel",
    "move_on_after",
    "move_on_at",
    "open_memory_channel",
    "open_nursery",
    "run",
    "sleep",
    "sleep_forever",
    "sleep_until",
    "testing",
    "to_thread",
]
