"""What the tests of the Trio-flavoured API share."""

from __future__ import annotations

from trio_asyncio_c import trio

settle = trio.testing.wait_all_tasks_blocked


def run_mock(fn, *args):
    """Run `fn(*args)` on a clock that jumps whenever all tasks are blocked."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(fn, *args, clock=clock)


class Call:
    """An async call in a task of its own, and what became of it."""

    def __init__(self):
        self.scope = trio.CancelScope()
        self.done = False
        self.result = None
        self.error = None

    async def run(self, fn, *args):
        with self.scope:
            try:
                self.result = await fn(*args)
            except Exception as error:
                self.error = error
        self.done = True

    @property
    def cancelled(self):
        return self.scope.cancelled_caught


async def start(nursery, fn, *args):
    """Call `fn(*args)` in the nursery; return when all tasks are blocked."""
    call = Call()
    nursery.start_soon(call.run, fn, *args)
    await settle()
    return call


async def cancel(call):
    """Cancel a call that is blocked, and check that it takes notice."""
    assert not call.done
    call.scope.cancel()
    await settle()
    assert call.done
    assert call.cancelled
    assert call.error is None


async def refused_when_cancelled(fn, *args):
    """Check that `fn(*args)` in a cancelled scope raises Cancelled."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await fn(*args)
    assert scope.cancelled_caught
