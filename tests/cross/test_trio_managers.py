"""Trio-flavoured context managers in asyncio code, and asyncio's cancels."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from trio_asyncio_c import (
    Cancelled,
    lowlevel,
    new_event_loop,
    open_loop,
    run_asyncio,
    trio,
    trio_as_aio,
)

from ._both_ways import opened_both_ways
from ._helpers import flatten, run
from ._managers import trio_manager

# A Trio-flavoured manager, and asyncio's cancels


@opened_both_ways
def test_asyncio_cancels_the_body_of_a_trio_manager(program):
    async def main():
        manager = trio_manager()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                async with trio_as_aio(manager):
                    await asyncio.sleep(60)
        # A Trio-flavoured exit finds its scope cancelled, as always.
        assert manager.steps == ["enter", "entered", "exit", "Cancelled"]
        assert isinstance(manager.seen, Cancelled)

    program.run_asyncio(main)


@opened_both_ways
def test_asyncio_cancels_the_entry_of_a_trio_manager(program):
    async def main():
        manager = trio_manager()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                async with trio_as_aio(manager):
                    pytest.fail("entered")
        assert manager.steps == ["enter"]

    program.run_asyncio(main)


@opened_both_ways
def test_asyncio_cancels_the_exit_of_a_trio_manager(program):
    async def main():
        manager = trio_manager()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                async with trio_as_aio(manager):
                    pass
        assert manager.steps == ["enter", "entered", "exit", "Cancelled"]

    program.run_asyncio(main)


@opened_both_ways
def test_a_trio_nursery_in_asyncio_code(program):
    steps = []

    async def child(i):
        await trio.sleep(i)
        steps.append(i)

    async def fail():
        await trio.sleep(0.5)
        raise KeyError("it")

    async def main():
        async with trio_as_aio(trio.open_nursery()) as nursery:
            nursery.start_soon(child, 1)
            steps.append("body")
        assert steps == ["body", 1]
        with pytest.raises(ExceptionGroup) as caught:
            async with trio_as_aio(trio.open_nursery()) as nursery:
                nursery.start_soon(fail)
                nursery.start_soon(child, 2)
                await asyncio.sleep(60)
        assert [type(leaf) for leaf in flatten(caught.value)] == [KeyError]
        assert steps == ["body", 1]
        assert asyncio.current_task().cancelling() == 0

    program.run_asyncio(main)


@opened_both_ways
def test_a_nursery_that_is_cancelled_in_asyncio_code(program):
    async def main():
        async with trio_as_aio(trio.open_nursery()) as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.cancel_scope.cancel()
            await asyncio.sleep(60)
            pytest.fail("not cancelled")
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(1)

    program.run_asyncio(main)


@opened_both_ways
def test_a_nursery_whose_body_is_cancelled_by_asyncio(program):
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                async with trio_as_aio(trio.open_nursery()) as nursery:
                    nursery.start_soon(trio.sleep_forever)
                    await asyncio.sleep(60)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                async with trio_as_aio(trio.open_nursery()) as nursery:
                    nursery.start_soon(trio.sleep_forever)

    program.run_asyncio(main)


@opened_both_ways
def test_a_nursery_cancelled_by_both(program):
    async def main():
        task = asyncio.current_task()
        with pytest.raises(asyncio.CancelledError):
            async with trio_as_aio(trio.open_nursery()) as nursery:
                nursery.cancel_scope.cancel()
                task.cancel()
                await asyncio.sleep(60)
        assert task.uncancel() == 0

    program.run_asyncio(main)


@opened_both_ways
def test_a_trio_scope_within_a_manager_cancels_the_asyncio_body(program):
    @asynccontextmanager
    async def limited(seconds):
        with trio.move_on_after(seconds) as scope:
            yield scope

    async def main():
        async with trio_as_aio(limited(1)) as scope:
            await asyncio.sleep(60)
            pytest.fail("not cancelled")
        assert scope.cancelled_caught
        async with trio_as_aio(limited(2)) as scope:
            await asyncio.sleep(1)
        assert not scope.cancel_called

    program.run_asyncio(main)


@opened_both_ways
def test_an_asyncio_body_that_refuses_the_cancel(program):
    @asynccontextmanager
    async def limited(seconds):
        with trio.move_on_after(seconds) as scope:
            yield scope

    async def main():
        async with trio_as_aio(limited(1)) as scope:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass
            await asyncio.sleep(1)
        assert scope.cancel_called
        assert asyncio.current_task().cancelling() == 0

    program.run_asyncio(main)


# Cancels of asyncio's at any point of a Trio-flavoured manager


class TurnsManager:
    """Trio-flavoured: takes some turns to be entered and left, and counts."""

    def __init__(self, turns):
        self.turns = turns
        self.inside = 0
        self.errors = []

    async def __aenter__(self):
        await self._take_turns()
        self.inside += 1

    async def __aexit__(self, exc_type, error, traceback):
        self.errors.append(error)
        self.inside -= 1
        with trio.CancelScope(shield=True):
            await self._take_turns()

    async def _take_turns(self):
        for _ in range(self.turns):
            await lowlevel.checkpoint()


@opened_both_ways
@pytest.mark.parametrize("turns", [0, 1, 3])
def test_a_trio_manager_is_left_wherever_it_was_cancelled(program, turns):
    counts = set()

    async def use(manager):
        begun = False
        try:
            async with trio_as_aio(manager):
                begun = True
                await asyncio.sleep(1000)
        finally:
            counts.add((begun, len(manager.errors)))

    async def main():
        for steps in range(30):
            manager = TurnsManager(turns)
            task = asyncio.create_task(use(manager))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert manager.inside == 0
        assert task.cancelling() == 1

    program.run_asyncio(main)
    assert {(False, 0), (True, 1)} <= counts <= {(False, 0), (False, 1), (True, 1)}


@opened_both_ways
@pytest.mark.parametrize("fails", [False, True])
def test_a_cancel_between_the_entry_of_a_trio_manager_and_the_body(program, fails):
    """There is no body then, but the manager is left, with the cancel."""
    steps = []

    class CancelsItsUser:
        async def __aenter__(self):
            loop = asyncio.get_running_loop()
            loop.call_soon(self.user.cancel, "too soon")

        async def __aexit__(self, exc_type, exc, traceback):
            steps.append(exc_type)
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            steps.append("left")
            if fails:
                raise KeyError("it")
            return True

    async def use(manager):
        manager.user = asyncio.current_task()
        async with trio_as_aio(manager):
            pytest.fail("begun")

    async def main():
        task = asyncio.create_task(use(CancelsItsUser()))
        expected = KeyError if fails else asyncio.CancelledError
        with pytest.raises(expected, match="it" if fails else "too soon"):
            await task

    program.run_asyncio(main)
    assert steps == [Cancelled, "left"]


@opened_both_ways
@pytest.mark.parametrize("turns", [0, 1, 3])
def test_a_time_limit_at_any_point_of_a_trio_manager(program, turns):
    """Its cancel is counted right, so that it becomes a TimeoutError."""

    async def use(manager, limit):
        async with limit, trio_as_aio(manager):
            await asyncio.sleep(1000)

    async def main():
        loop = asyncio.get_running_loop()
        for steps in range(30):
            manager = TurnsManager(turns)
            limit = asyncio.timeout(None)
            task = asyncio.create_task(use(manager, limit))
            for _ in range(steps):
                await asyncio.sleep(0)
            if steps > 0:
                limit.reschedule(loop.time())
                with pytest.raises(TimeoutError):
                    await task
                assert task.cancelling() == 0
            else:
                task.cancel()
                await asyncio.wait([task])
            assert manager.inside == 0

    program.run_asyncio(main)


@opened_both_ways
def test_a_trio_manager_cancelled_as_its_entry_ends(program):
    """By Trio: the body begins, and finds the cancel at its first await."""
    steps = []

    class Scope:
        async def __aenter__(self):
            self.scope = trio.CancelScope()
            self.scope.__enter__()
            self.scope.cancel()

        async def __aexit__(self, *error):
            return self.scope.__exit__(*error)

    async def main():
        async with trio_as_aio(Scope()):
            steps.append("begun")
            try:
                await asyncio.sleep(0)
            finally:
                steps.append("ended")
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0)

    program.run_asyncio(main)
    assert steps == ["begun", "ended"]


def test_a_trio_manager_that_nobody_leaves():
    """The loop can be closed all the same."""
    manager = TurnsManager(0)

    async def enter():
        await trio_as_aio(manager).__aenter__()

    async def main():
        async with open_loop():
            await run_asyncio(enter)
            assert manager.inside == 1

    with pytest.warns(ResourceWarning, match="TurnsManager.* and never left"):
        run(main)
    assert manager.inside == 0
    with (
        pytest.warns(ResourceWarning, match="TurnsManager.* and never left"),
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        runner.run(enter())
        assert manager.inside == 1
    assert manager.inside == 0


@opened_both_ways
@pytest.mark.parametrize("older", ["none", "before", "inside"])
def test_a_nursery_that_is_cancelled_by_the_bodys_last_line(program, older):
    """The cancel that nobody has waited for goes no further, on any CPython, whatever
    the Task has overcome before."""

    async def overcome_cancel():
        asyncio.current_task().cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(0)

    async def main():
        if older == "before":
            await overcome_cancel()
        async with trio_as_aio(trio.open_nursery()) as nursery:
            nursery.start_soon(trio.sleep_forever)
            await asyncio.sleep(1)
            if older == "inside":
                await overcome_cancel()
            nursery.cancel_scope.cancel()
        assert asyncio.current_task().cancelling() == (older != "none")
        await asyncio.sleep(0)

    program.run_asyncio(main)


@opened_both_ways
@pytest.mark.parametrize("later", [False, True])
def test_a_nursery_and_its_user_are_cancelled_by_the_bodys_last_line(program, later):
    async def use():
        async with trio_as_aio(trio.open_nursery()) as nursery:
            nursery.start_soon(trio.sleep_forever)
            await asyncio.sleep(1)
            cancel = asyncio.current_task().cancel
            if later:
                asyncio.get_running_loop().call_soon(cancel, "the user")
            else:
                cancel("the user")
            nursery.cancel_scope.cancel()
        await asyncio.sleep(1)
        pytest.fail("not cancelled")

    async def main():
        task = asyncio.create_task(use())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1

    program.run_asyncio(main)
