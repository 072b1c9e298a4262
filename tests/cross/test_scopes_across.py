"""Cancel scopes of the one flavour around code of the other."""

from __future__ import annotations

import asyncio
import math

import pytest
from trio_asyncio_c import (
    CancelScope,
    TooSlowError,
    aio_as_trio,
    current_effective_deadline,
    current_loop,
    current_time,
    fail_after,
    move_on_after,
    trio,
)

from ._helpers import both_ways, open_loop, run_mock


def run_trio(way, fn):
    async def main():
        await fn(current_loop.get())

    way.run_trio(main)


def run_asyncio(way, fn):
    async def main():
        await fn(asyncio.get_running_loop())

    way.run_asyncio(main)


# Trio's scopes around asyncio code ---------------------------------------------------


@both_ways
def test_trio_scope_around_a_plain_task_is_an_edge(way):
    async def asyncio_part(log):
        for _ in range(2):
            try:
                await asyncio.sleep(5)
                log.append("slept")
            except asyncio.CancelledError:
                log.append("cancelled")

    async def main(loop):
        log = []
        with move_on_after(1) as scope:
            await loop.run_asyncio(asyncio_part, log)
        # Nothing was ended by the cancel, so nothing was caught.
        assert log == ["cancelled", "slept"]
        assert scope.cancel_called
        assert not scope.cancelled_caught

    run_trio(way, main)


@both_ways
def test_trio_scope_is_a_level_inside_the_tasks_own_scopes(way):
    async def asyncio_part(log):
        task = asyncio.current_task()
        with CancelScope() as inner:
            for _ in range(3):
                try:
                    await asyncio.sleep(5)
                except asyncio.CancelledError:
                    log.append(task.cancelling())
            await asyncio.sleep(5)
        log.append(inner.cancelled_caught)

    async def main(loop):
        log = []
        with move_on_after(1) as scope:
            await loop.run_asyncio(asyncio_part, log)
        assert log == [1, 2, 3]
        assert scope.cancelled_caught

    run_trio(way, main)


@both_ways
def test_asyncio_shield_keeps_a_trio_scope_out_and_then_it_counts(way):
    async def asyncio_part(log):
        with CancelScope(shield=True):
            log.append(current_effective_deadline())
            await asyncio.sleep(5)
            log.append("shielded")
        await asyncio.sleep(5)
        log.append("not reached")

    async def main(loop):
        log = []
        with move_on_after(1) as scope:
            await loop.run_asyncio(asyncio_part, log)
        assert log == [math.inf, "shielded"]
        assert scope.cancelled_caught

    run_trio(way, main)


@both_ways
def test_trio_shield_keeps_outer_trio_scopes_out_of_asyncio_scopes(way):
    async def asyncio_part(log):
        with CancelScope():
            log.append(current_effective_deadline())
            await asyncio.sleep(5)
        log.append("done")

    async def main(loop):
        log = []
        with move_on_after(1) as outer, CancelScope(shield=True):
            await loop.run_asyncio(asyncio_part, log)
        assert log == [math.inf, "done"]
        assert outer.cancel_called
        assert not outer.cancelled_caught

    run_trio(way, main)


@both_ways
def test_asyncio_scope_that_catches_leaves_the_trio_caller_alone(way):
    async def asyncio_part():
        with move_on_after(1) as scope:
            await asyncio.sleep(5)
        return scope.cancelled_caught

    async def main(loop):
        with CancelScope() as scope:
            assert await loop.run_asyncio(asyncio_part)
        assert not scope.cancel_called

    run_trio(way, main)


@both_ways
def test_cancel_of_others_leaves_a_scope_and_goes_to_trio_as_an_error(way):
    async def asyncio_part():
        asyncio.get_running_loop().call_soon(asyncio.current_task().cancel, "others")
        with CancelScope() as scope:
            try:
                await asyncio.sleep(5)
            finally:
                assert not scope.cancel_called

    async def main(loop):
        with CancelScope() as scope, pytest.raises(asyncio.CancelledError) as caught:
            await loop.run_asyncio(asyncio_part)
        assert caught.value.args == ("others",)
        assert not scope.cancelled_caught

    run_trio(way, main)


@both_ways
def test_scopes_left_behind_by_the_call_do_not_hang_under_the_caller(way):
    async def asyncio_part(scopes):
        scopes.append(CancelScope())
        scopes[0].__enter__()

    async def main(loop):
        scopes = []
        with CancelScope() as scope:
            await loop.run_asyncio(asyncio_part, scopes)
            await trio.sleep(1)
        assert not scope.cancel_called
        scopes[0].cancel()

    run_trio(way, main)


# asyncio's scopes around Trio code ---------------------------------------------------


@both_ways
def test_asyncio_scope_around_run_trio(way):
    async def trio_part(log):
        try:
            await trio.sleep(5)
        finally:
            with CancelScope(shield=True):
                await trio.sleep(1)
            log.append("cleaned up")

    async def main(loop):
        log = []
        task = asyncio.current_task()
        began, before = current_time(), loop._cancels_thrown
        with move_on_after(1) as scope:
            await loop.run_trio(trio_part, log)
        assert scope.cancelled_caught
        assert log == ["cleaned up"]
        assert task.cancelling() == 0
        assert current_time() - began == pytest.approx(2)
        assert loop._cancels_thrown - before == 1

    run_asyncio(way, main)


@both_ways
def test_trio_code_that_ends_in_spite_of_a_cancel_gives_its_value(way):
    async def trio_part():
        with CancelScope(shield=True):
            await trio.sleep(5)
        return "value"

    async def main(loop):
        with move_on_after(1) as scope:
            assert await loop.run_trio(trio_part) == "value"
        assert not scope.cancelled_caught
        assert asyncio.current_task().cancelling() == 0

    run_asyncio(way, main)


@both_ways
def test_trio_code_that_cancels_itself_passes_every_scope(way):
    async def trio_part():
        raise asyncio.CancelledError

    async def main(loop):
        with pytest.raises(asyncio.CancelledError), CancelScope() as scope:
            await loop.run_trio(trio_part)
        assert not scope.cancelled_caught

    run_asyncio(way, main)


@both_ways
def test_cancelled_inside_says_which_asyncio_scope_it_was(way):
    async def trio_part(log):
        try:
            await trio.sleep(5)
        except trio.Cancelled as exc:
            log.append(str(exc))
            raise

    async def main(loop):
        log = []
        with CancelScope() as scope:
            loop.call_later(1, scope.cancel, "enough")
            await loop.run_trio(trio_part, log)
        assert len(log) == 1
        assert f"cancelled by scope {id(scope):#x}: enough" in log[0]

    run_asyncio(way, main)


@both_ways
def test_deadline_of_an_asyncio_scope_is_seen_by_the_trio_callee(way):
    async def trio_part(log):
        log.append(current_effective_deadline())
        with CancelScope(shield=True):
            log.append(current_effective_deadline())
        with move_on_after(1) as inner:
            log.append(current_effective_deadline())
        assert not inner.cancel_called

    async def main(loop):
        log = []
        with move_on_after(5) as scope:
            await loop.run_trio(trio_part, log)
        assert log == [scope.deadline, math.inf, pytest.approx(scope.deadline - 4)]
        await loop.run_trio(trio_part, log)
        assert log[3] == math.inf

    run_asyncio(way, main)


@both_ways
def test_task_of_run_trio_task_sees_no_asyncio_scope(way):
    async def main(loop):
        log = []
        ran = asyncio.Event()

        async def trio_part():
            log.append(current_effective_deadline())
            loop.call_soon(ran.set)

        with move_on_after(5):
            loop.run_trio_task(trio_part)
            await ran.wait()
        assert log == [math.inf]

    run_asyncio(way, main)


@both_ways
def test_asyncio_shield_of_run_trio_lets_it_run_on(way):
    async def main(loop):
        log = []

        async def trio_part():
            await trio.sleep(5)
            log.append("ran on")

        future = loop.run_trio(trio_part)
        with move_on_after(1) as scope:
            await asyncio.shield(future)
        assert scope.cancelled_caught
        assert log == []
        await future
        assert log == ["ran on"]

    run_asyncio(way, main)


# Both, in turns ----------------------------------------------------------------------


@both_ways
def test_a_deadline_crosses_three_times(way):
    async def innermost(log):
        log.append(current_effective_deadline())
        with CancelScope():
            try:
                await asyncio.sleep(5)
            finally:
                log.append("innermost")

    async def middle(log, loop):
        try:
            await loop.run_asyncio(innermost, log)
        finally:
            log.append("middle")

    async def main(loop):
        log = []
        with move_on_after(1) as scope:
            await loop.run_trio(middle, log, loop)
        assert log == [scope.deadline, "innermost", "middle"]
        assert scope.cancelled_caught
        assert asyncio.current_task().cancelling() == 0

    run_asyncio(way, main)


@both_ways
def test_fail_after_across(way):
    async def trio_part():
        await trio.sleep(5)

    async def main(loop):
        with pytest.raises(TooSlowError) as caught, fail_after(1):
            await loop.run_trio(trio_part)
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)

    run_asyncio(way, main)


@pytest.mark.skipif(
    not hasattr(asyncio, "eager_task_factory"), reason="eager Tasks are of 3.12"
)
def test_eager_task_in_a_trio_step_enters_scopes_of_its_own():
    """Its first step is within the step of the Trio task that makes it."""

    async def asyncio_part():
        with move_on_after(1) as scope:
            await asyncio.sleep(5)
        return scope.cancelled_caught

    async def main():
        async with open_loop() as loop:
            loop.set_task_factory(asyncio.eager_task_factory)
            with CancelScope() as outer:
                assert await loop.run_asyncio(asyncio_part)
                assert await aio_as_trio(asyncio_part)()
            assert not outer.cancel_called

    run_mock(main)
