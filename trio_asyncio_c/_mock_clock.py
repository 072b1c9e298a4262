"""A clock for tests, which moves when the test says so."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING
from weakref import WeakSet

from . import _core
from ._util import final
from .abc import Clock

if TYPE_CHECKING:
    from ._core import Runner

__all__ = ["MockClock"]


@final
class MockClock(Clock):
    """A clock that stands still, is pushed forward by hand, runs at a chosen
    speed, or skips all waiting.

    Every sleep and every deadline of the run follows it. It starts at zero.

    Args:
      rate: the initial `rate`.
      autojump_threshold: the initial `autojump_threshold`, in real seconds.

    Raises:
      ValueError: if ``rate`` is negative.
    """

    def __init__(self, rate: float = 0.0, autojump_threshold: float = inf) -> None:
        # When the real clock showed _real_base, this one showed _virtual_base;
        # _rate holds since then.
        self._runners: WeakSet[Runner] = WeakSet()
        self._real_clock = time.monotonic
        self._real_base = 0.0
        self._virtual_base = 0.0
        self._rate = 0.0
        self._autojump_threshold = inf
        self.rate = rate
        self.autojump_threshold = autojump_threshold

    def __repr__(self) -> str:
        now = f"time={self.current_time():.7f}, rate={self._rate}"
        return f"<MockClock, {now} @ {id(self):#x}>"

    @property
    def rate(self) -> float:
        """Seconds of this clock that pass in one real second. 0 means that it
        stands still, which is the default.

        Setting it, to a number that is not negative (`ValueError` otherwise),
        takes effect from now on.
        """
        return self._rate

    @rate.setter
    def rate(self, new_rate: float) -> None:
        if new_rate < 0:
            raise ValueError("rate must be >= 0")
        now = self._real_clock()
        self._virtual_base = self._to_virtual(now)
        self._real_base = now
        self._rate = float(new_rate)

    @property
    def autojump_threshold(self) -> float:
        """Real seconds of idleness after which the clock jumps to the next
        deadline. Default: `math.inf`, never.

        Idle means that all tasks are blocked, no callback of an asyncio loop is
        queued, and no job runs in an executor of one. With 0 a test that sleeps and
        times out, but does no I/O, takes no time at all. A test with I/O under
        way needs a threshold longer than that I/O ever takes. A task in
        ``wait_all_tasks_blocked`` goes first: as long as there is one, the
        clock does not jump.

        Setting it takes effect at once, also in a run that is under way.
        """
        return self._autojump_threshold

    @autojump_threshold.setter
    def autojump_threshold(self, new_threshold: float) -> None:
        self._autojump_threshold = float(new_threshold)
        self._tell_runner()

    def _tell_runner(self) -> None:
        """Hand the threshold to the runners that this is the clock of: they are
        the ones who notice idleness. A loop's own may be paused.
        """
        try:
            runner = _core.current_runner()
        except RuntimeError:
            pass
        else:
            if runner.clock is self:
                self._runners.add(runner)
        for runner in self._runners:
            runner.clock_autojump_threshold = self._autojump_threshold

    def _autojump(self) -> None:
        """Skip to the next deadline. The runner calls this when it has been
        idle for the threshold.
        """
        seconds = _core.current_statistics().seconds_to_next_deadline
        if 0 < seconds < inf:
            self.jump(seconds)

    def _to_virtual(self, real: float) -> float:
        return self._virtual_base + self._rate * (real - self._real_base)

    def start_clock(self) -> None:
        """Called by the run. Does not set the clock back: a clock used for a
        second run goes on where it was.
        """
        self._tell_runner()

    def current_time(self) -> float:
        """Return the time that this clock shows, in seconds."""
        return self._to_virtual(self._real_clock())

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return the real seconds to ``deadline`` at the present `rate`:
        infinite if the clock stands still.
        """
        seconds = deadline - self.current_time()
        if seconds <= 0:
            return 0.0
        if self._rate > 0:
            return seconds / self._rate
        return inf

    def jump(self, seconds: float) -> None:
        """Move the clock forward. Not a checkpoint: deadlines that are passed
        fire at the next turn of the run.

        Args:
          seconds: how far, in seconds.

        Raises:
          ValueError: if ``seconds`` is negative.
        """
        if seconds < 0:
            raise ValueError("time can't go backwards")
        self._virtual_base += seconds
