"""The scheduler's own interface: for those who build a new kind of waiting, or
want to look inside a run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeAlias

from ._core import (
    ParkingLot,
    RunVar,
    RunVarToken,
    Task,
    TrioToken,
    add_instrument,
    add_parking_lot_breaker,
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    current_clock,
    current_root_task,
    current_statistics,
    current_task,
    current_trio_token,
    in_trio_run,
    in_trio_task,
    notify_closing,
    permanently_detach_coroutine_object,
    reattach_detached_coroutine_object,
    remove_instrument,
    remove_parking_lot_breaker,
    reschedule,
    spawn_system_task,
    start_thread_soon,
    temporarily_detach_coroutine_object,
    wait_readable,
    wait_task_rescheduled,
    wait_writable,
)
from ._exceptions import Abort
from ._guest import start_guest_run
from ._ki import (
    currently_ki_protected,
    disable_ki_protection,
    enable_ki_protection,
)
from ._outcome import Error, Outcome, Value, acapture, capture
from ._statistics import IOStatistics, ParkingLotStatistics, RunStatistics

RaiseCancelT: TypeAlias = Callable[[], NoReturn]
"""What an abort function is called with: a function that raises the
cancellation in whoever calls it.
"""

__all__ = [
    "Abort",
    "Error",
    "IOStatistics",
    "Outcome",
    "ParkingLot",
    "ParkingLotStatistics",
    "RaiseCancelT",
    "RunStatistics",
    "RunVar",
    "RunVarToken",
    "Task",
    "TrioToken",
    "Value",
    "acapture",
    "add_instrument",
    "add_parking_lot_breaker",
    "cancel_shielded_checkpoint",
    "capture",
    "checkpoint",
    "checkpoint_if_cancelled",
    "current_clock",
    "current_root_task",
    "current_statistics",
    "current_task",
    "current_trio_token",
    "currently_ki_protected",
    "disable_ki_protection",
    "enable_ki_protection",
    "in_trio_run",
    "in_trio_task",
    "notify_closing",
    "permanently_detach_coroutine_object",
    "reattach_detached_coroutine_object",
    "remove_instrument",
    "remove_parking_lot_breaker",
    "reschedule",
    "spawn_system_task",
    "start_guest_run",
    "start_thread_soon",
    "temporarily_detach_coroutine_object",
    "wait_readable",
    "wait_task_rescheduled",
    "wait_writable",
]

from ._util import publish as _publish  # noqa: E402

_publish(__name__, globals())
del _publish
