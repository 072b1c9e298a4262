"""What the tests of the event loop share."""

from __future__ import annotations

import asyncio

from trio_asyncio_c import EventLoop


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


def as_on_stock(program):
    """Run `program(loop, seen)` on the standard library's loop and on ours; what both
    have appended to `seen`, which must be the same."""
    answers = []
    for make in (asyncio.SelectorEventLoop, EventLoop):
        loop, seen = make(), []
        try:
            program(loop, seen)
        finally:
            loop.set_exception_handler(None)
            loop.set_task_factory(None)
            loop.close()
        answers.append(seen)
    stock, ours = answers
    assert ours == stock, f"{ours} instead of {stock}"
    return ours
