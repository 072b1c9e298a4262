"""An asyncio event loop and Trio's structured concurrency on one scheduler in C.

asyncio programs set `EventLoop` as their loop and run as they are; their code
can call Trio-flavoured code with ``loop.run_trio``. Trio-flavoured programs
open a loop with `open_loop` and call asyncio code with `run_asyncio`.

The Trio-flavoured API is here under Trio's own names, and in
`trio_asyncio_c.trio` as one namespace. Importing the package changes nothing
of other libraries; anyio can find the backend of its name from then on.
"""

# First, for where the environment names our loop this import imports more of ours.
import asyncio as _asyncio  # noqa: F401
from typing import TYPE_CHECKING as _TYPE_CHECKING

from . import _core_hooks  # noqa: F401  (hands the core its Python functions)
from . import abc, from_thread, lowlevel, testing, to_thread, trio
from ._adapter import (
    aio2trio,
    aio_as_trio,
    allow_asyncio,
    asyncio_as_trio,
    run_aio_generator,
    run_asyncio,
    run_generator,
    run_iterator,
    trio2aio,
    trio_as_aio,
    trio_as_asyncio,
    wrap_generator,
    wrap_trio_context,
)
from ._channel import (
    MemoryChannelStatistics,
    MemoryReceiveChannel,
    MemorySendChannel,
    open_memory_channel,
)
from ._core import (
    CancelScope,
    Nursery,
    checkpoint,
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
from ._core import current_effective_deadline as get_current_effective_deadline
from ._crossing import (
    current_loop,
    run_aio_coroutine,
    run_aio_future,
    run_coroutine,
    run_future,
    run_trio,
    run_trio_task,
)
from ._deprecated import TrioAsyncioDeprecationWarning
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
from ._executor import TrioExecutor
from ._install import install_trio
from ._install_anyio import install_anyio
from ._loop import BaseTrioEventLoop, EventLoop, new_event_loop
from ._open_loop import TrioEventLoop, open_loop, run
from ._policy import EventLoopPolicy, install
from ._resource import aclose_forcefully
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
from ._core_hooks import TrioDeprecationWarning
from ._task_group import TaskGroup
from ._task_status import TASK_STATUS_IGNORED, TaskStatus
from ._traio import Scope, ScopeTask
from ._tree import format_task_tree
from ._version import __version__

__all__ = [
    "BaseTrioEventLoop",
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
    "EventLoop",
    "EventLoopPolicy",
    "EventStatistics",
    "Lock",
    "LockStatistics",
    "MemoryChannelStatistics",
    "MemoryReceiveChannel",
    "MemorySendChannel",
    "NeedHandshakeError",
    "Nursery",
    "RunFinishedError",
    "Scope",
    "ScopeTask",
    "Semaphore",
    "StrictFIFOLock",
    "TASK_STATUS_IGNORED",
    "TaskGroup",
    "TaskStatus",
    "TooSlowError",
    "TrioAsyncioDeprecationWarning",
    "TrioDeprecationWarning",
    "TrioEventLoop",
    "TrioExecutor",
    "TrioInternalError",
    "WouldBlock",
    "__version__",
    "abc",
    "aclose_forcefully",
    "aio2trio",
    "aio_as_trio",
    "allow_asyncio",
    "as_safe_channel",
    "asyncio_as_trio",
    "checkpoint",
    "current_effective_deadline",
    "current_loop",
    "current_time",
    "fail_after",
    "fail_at",
    "format_task_tree",
    "from_thread",
    "get_current_effective_deadline",
    "install",
    "install_anyio",
    "install_trio",
    "lowlevel",
    "move_on_after",
    "move_on_at",
    "new_event_loop",
    "open_loop",
    "open_memory_channel",
    "open_nursery",
    "run",
    "run_aio_coroutine",
    "run_aio_future",
    "run_aio_generator",
    "run_asyncio",
    "run_coroutine",
    "run_future",
    "run_generator",
    "run_iterator",
    "run_trio",
    "run_trio_task",
    "sleep",
    "sleep_forever",
    "sleep_until",
    "testing",
    "to_thread",
    "trio",
    "trio2aio",
    "trio_as_aio",
    "trio_as_asyncio",
    "wrap_generator",
    "wrap_trio_context",
]

if not _TYPE_CHECKING:  # or every name would seem to be there
    from ._deprecated import get_deprecated as __getattr__  # noqa: F401

from ._util import publish as _publish  # noqa: E402

_publish(__name__, globals())
del _publish
