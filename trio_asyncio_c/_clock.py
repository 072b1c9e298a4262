"""The clock of a run that was not given another one."""

from __future__ import annotations

from time import monotonic

from ._util import final
from .abc import Clock

__all__ = ["SystemClock"]


@final
class SystemClock(Clock):
    """Real time: exactly `time.monotonic`, in seconds."""

    __slots__ = ()

    def start_clock(self) -> None:
        """Nothing to prepare."""

    def current_time(self) -> float:
        """Return `time.monotonic()`."""
        return monotonic()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return the seconds from now to ``deadline``; negative if it has
        passed.
        """
        return deadline - monotonic()
