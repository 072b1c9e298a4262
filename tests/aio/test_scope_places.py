"""Cancel scopes where there is no Task of ours, and a checkpoint in one."""

from __future__ import annotations

import asyncio
import threading

import pytest
from trio_asyncio_c import (
    CancelScope,
    checkpoint,
    current_effective_deadline,
    move_on_after,
    new_event_loop,
)


def run(main, loop_factory=new_event_loop):
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main())


@pytest.mark.parametrize(
    "use",
    [lambda: CancelScope().__enter__(), current_effective_deadline],
    ids=["enter", "current_effective_deadline"],
)
def test_on_somebody_elses_loop_the_error_names_it_and_ours(use):
    async def main():
        with pytest.raises(RuntimeError) as caught:
            use()
        assert repr(asyncio.get_running_loop()) in str(caught.value)
        assert "loop_factory=trio_asyncio_c.new_event_loop" in str(caught.value)

    run(main, asyncio.SelectorEventLoop)


def test_outside_of_any_loop():
    with pytest.raises(RuntimeError, match="must be called from async context"):
        CancelScope().__enter__()


def test_in_a_callback_there_is_no_task_to_cancel():
    async def main():
        loop = asyncio.get_running_loop()
        told = loop.create_future()

        def callback():
            with pytest.raises(RuntimeError, match="not for the loop's callbacks"):
                CancelScope().__enter__()
            told.set_result(True)

        loop.call_soon(callback)
        assert await told

    run(main)


def test_another_thread_is_told_what_to_use():
    async def main():
        loop = asyncio.get_running_loop()
        with CancelScope() as scope:
            errors = []

            def other_thread():
                for use in [
                    scope.cancel,
                    lambda: setattr(scope, "shield", True),
                    lambda: setattr(scope, "deadline", 0),
                ]:
                    try:
                        use()
                    except RuntimeError as exc:
                        errors.append(str(exc))
                loop.call_soon_threadsafe(scope.cancel)

            thread = threading.Thread(target=other_thread)
            thread.start()
            await asyncio.Event().wait()
        thread.join()
        assert scope.cancelled_caught
        assert len(errors) == 3
        assert all("loop.call_soon_threadsafe(scope.cancel)" in e for e in errors)

    run(main)


def test_checkpoint_lets_others_run_and_finds_a_cancel():
    async def main():
        ran = []
        asyncio.get_running_loop().call_soon(ran.append, True)
        assert await checkpoint() is None
        assert ran
        with CancelScope() as scope:
            scope.cancel()
            await checkpoint()
            ran.append("not reached")
        assert scope.cancelled_caught
        assert ran == [True]

    run(main)


def test_checkpoint_once_only():
    async def main():
        once = checkpoint()
        await once
        with pytest.raises(RuntimeError, match="cannot reuse already awaited"):
            await once

    run(main)


def test_statistics_count_the_cancels_that_scopes_have_thrown():
    async def main():
        loop = asyncio.get_running_loop()
        assert loop.statistics().cancel_deliveries == 0
        with move_on_after(0):
            await asyncio.sleep(1)
        assert loop.statistics().cancel_deliveries == 1

    run(main)
