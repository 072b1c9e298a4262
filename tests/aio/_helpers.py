"""What the tests of the event loop share."""

from __future__ import annotations


def run_briefly(loop, turns=1):
    """Run whole turns of a loop."""
    for _ in range(turns):
        loop.call_soon(loop.stop)
        loop.run_forever()


def run_until(loop, condition, turns=1000, pause=0.005):
    """Run a loop until a condition holds."""
    for _ in range(turns):
        if condition():
            return
        loop.call_later(pause, loop.stop)
        loop.run_forever()
    raise AssertionError("the condition never came true")
