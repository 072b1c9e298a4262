"""Run a function of either flavour in a program whose loop was opened in one of the
two ways: as a block of a Trio-flavoured run, or by itself, with a runner of its own."""

from __future__ import annotations

import pytest

from trio_asyncio_c import EventLoop, run, run_asyncio, testing

__all__ = ["Program", "opened_both_ways"]


class Program:
    """A program with a loop, on a clock that jumps when nothing else can happen."""

    def __init__(self, owns_runner):
        self.owns_runner = owns_runner
        self.clock = testing.MockClock(autojump_threshold=0)

    def run_trio(self, fn):
        """Run a Trio-flavoured function."""
        if not self.owns_runner:
            return run(fn, clock=self.clock)
        return self._run_own(lambda loop: loop.run_trio(fn))

    def run_asyncio(self, fn):
        """Run an asyncio-flavoured function."""
        if not self.owns_runner:
            return run(run_asyncio, fn, clock=self.clock)
        return self._run_own(lambda loop: fn())

    def _run_own(self, start):
        loop = EventLoop(clock=self.clock)
        try:
            return loop.run_until_complete(start(loop))
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


opened_both_ways = pytest.mark.parametrize(
    "program",
    [pytest.param(False, id="open_loop"), pytest.param(True, id="own_runner")],
    indirect=True,
)
