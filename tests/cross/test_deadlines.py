"""Deadlines across the boundary: a Trio scope's ends asyncio code called inside, and
asyncio's end Trio code; and what is raised says whose it was."""

from __future__ import annotations

import asyncio
import sys

import pytest
from trio_asyncio_c import run_future, trio

from ._helpers import both_ways

OPENERS = {
    "move_on_after": lambda: trio.move_on_after(5),
    "move_on_at": lambda: trio.move_on_at(trio.current_time() + 5),
    "deadline": lambda: trio.CancelScope(deadline=trio.current_time() + 5),
}


async def aio(fn, *args):
    """Call an asyncio-flavoured function on the task's loop."""
    return await asyncio.get_running_loop().run_asyncio(fn, *args)


async def sleep_and_tell(seen, seconds=100):
    """Sleep, asyncio-flavoured, and keep the text of what ended it."""
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError as exc:
        seen.append(str(exc))
        raise


async def trio_sleep_and_tell(seen, seconds=100):
    """Sleep, Trio-flavoured, and keep the text of what ended it."""
    try:
        await trio.sleep(seconds)
    except trio.Cancelled as exc:
        seen.append(str(exc))
        raise


# A Trio deadline, asyncio code inside


@both_ways
@pytest.mark.parametrize("opener", OPENERS)
def test_a_trio_deadline_ends_asyncio_code(way, opener):
    async def main():
        seen = []
        began = trio.current_time()
        with OPENERS[opener]() as scope:
            await aio(sleep_and_tell, seen)
        assert scope.cancelled_caught
        assert trio.current_time() - began == 5
        # Neither the scope nor the task has changed since.
        assert seen == [
            f"cancelled due to deadline, by {scope!r}".replace("exited", "active")
            + f" around {trio.lowlevel.current_task()!r}"
        ]

    way.run_trio(main)


@both_ways
@pytest.mark.parametrize("kind", ["fail_after", "fail_at"])
def test_a_trio_time_out(way, kind):
    async def main():
        seen = []
        opened = {
            "fail_after": lambda: trio.fail_after(5),
            "fail_at": lambda: trio.fail_at(trio.current_time() + 5),
        }[kind]()
        with pytest.raises(trio.TooSlowError), opened as scope:
            await aio(sleep_and_tell, seen)
        assert len(seen) == 1
        assert "deadline" in seen[0]
        assert f"{id(scope):x}" in seen[0]

    way.run_trio(main)


@both_ways
def test_a_time_out_that_the_callee_answers_with_a_value(way):
    async def callee():
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            return "value"

    async def main():
        with trio.fail_after(5) as scope:
            value = await aio(callee)
        assert value == "value"
        assert not scope.cancelled_caught

    way.run_trio(main)


@both_ways
def test_the_outer_of_two_scopes_is_named(way):
    async def main():
        seen = []
        with trio.move_on_after(5) as outer, trio.move_on_after(50) as inner:
            await aio(sleep_and_tell, seen)
        assert outer.cancelled_caught
        assert not inner.cancelled_caught
        assert f"{id(outer):x}" in seen[0]
        assert f"{id(inner):x}" not in seen[0]

    way.run_trio(main)


@both_ways
def test_an_explicit_cancel_says_why_and_by_whom(way):
    async def main():
        seen = []
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(aio, sleep_and_tell, seen)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel("enough")
        assert "explicit" in seen[0]
        assert "'enough'" in seen[0]
        assert repr(trio.lowlevel.current_task()) in seen[0]
        assert f"{id(scope):x}" in seen[0]

    way.run_trio(main)


@both_ways
def test_a_failing_sibling_is_named(way):
    async def fail():
        await trio.sleep(5)
        raise ValueError("of the sibling")

    async def main():
        seen = []
        with pytest.raises(ExceptionGroup):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                nursery.start_soon(aio, sleep_and_tell, seen)
        assert "nursery" in seen[0]
        assert "of the sibling" in seen[0]

    way.run_trio(main)


@both_ways
def test_a_trio_shield_keeps_the_deadline_out(way):
    async def main():
        began = trio.current_time()
        with trio.move_on_after(5) as scope:
            with trio.CancelScope(shield=True):
                assert await aio(asyncio.sleep, 20, "slept") == "slept"
            assert trio.current_time() - began == 20
            await aio(asyncio.sleep, 1)
        assert scope.cancelled_caught
        assert trio.current_time() - began == 20

    way.run_trio(main)


@both_ways
def test_a_shield_that_is_lifted_lets_the_deadline_in(way):
    async def main():
        seen = []
        began = trio.current_time()

        async def lift(shield):
            await trio.sleep(10)
            shield.shield = False

        async with trio.open_nursery() as nursery:
            with trio.move_on_after(5) as scope:
                with trio.CancelScope(shield=True) as shield:
                    nursery.start_soon(lift, shield)
                    await aio(sleep_and_tell, seen)
        assert scope.cancelled_caught
        assert trio.current_time() - began == 10
        assert "deadline" in seen[0]
        assert f"{id(scope):x}" in seen[0]

    way.run_trio(main)


@both_ways
def test_a_deadline_inside_of_a_shield_works(way):
    async def main():
        with trio.CancelScope() as outer:
            outer.cancel()
            with trio.move_on_after(5, shield=True) as inner:
                await aio(asyncio.sleep, 100)
            assert inner.cancelled_caught
            with pytest.raises(trio.Cancelled):
                await trio.lowlevel.checkpoint()

    way.run_trio(main)


@both_ways
def test_a_deadline_that_is_moved_while_asyncio_code_runs(way):
    async def main():
        began = trio.current_time()
        with trio.move_on_after(5) as scope:

            async def callee():
                scope.deadline += 10
                await asyncio.sleep(100)

            await aio(callee)
        assert scope.cancelled_caught
        assert trio.current_time() - began == 15

    way.run_trio(main)


@both_ways
def test_asyncio_code_cancels_the_trio_scope_around_it(way):
    async def main():
        seen = []
        with trio.CancelScope() as scope:

            async def callee():
                scope.cancel("from inside")
                await sleep_and_tell(seen)

            await aio(callee)
        assert scope.cancelled_caught
        assert "'from inside'" in seen[0]

    way.run_trio(main)


@both_ways
def test_asyncio_shield_under_a_trio_deadline(way):
    async def main():
        loop = asyncio.get_running_loop()
        inner = loop.create_task(asyncio.sleep(20, "slept"))
        began = trio.current_time()
        with trio.move_on_after(5) as scope:
            await run_future(asyncio.shield(inner))
        assert scope.cancelled_caught
        assert trio.current_time() - began == 5
        assert await run_future(inner) == "slept"
        assert trio.current_time() - began == 20

    way.run_trio(main)


# An asyncio deadline, Trio code inside


@both_ways
def test_an_asyncio_timeout_ends_trio_code(way):
    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        began = loop.time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5) as timeout:
                await loop.run_trio(trio_sleep_and_tell, seen)
        assert timeout.expired()
        assert loop.time() - began == 5
        expiring = f"timeout() due at {timeout.when():.3f}"
        name = asyncio.current_task().get_name()
        assert seen == [
            "cancelled due to explicit with reason 'its asyncio caller was cancelled: "
            f"{expiring} of asyncio task {name} has expired'"
        ]

    way.run_asyncio(main)


@both_ways
def test_the_outer_of_two_timeouts_is_named(way):
    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5) as outer, asyncio.timeout(50):
                await loop.run_trio(trio_sleep_and_tell, seen)
        assert f"due at {outer.when():.3f} of" in seen[0]

    way.run_asyncio(main)


@both_ways
@pytest.mark.parametrize("seconds", [5, 0])
def test_wait_for_ends_trio_code(way, seconds):
    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        began = loop.time()

        async def call():
            await loop.run_trio(trio_sleep_and_tell, seen)

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.run_trio(trio_sleep_and_tell, seen), seconds)
        assert loop.time() - began == seconds
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call(), seconds)
        assert loop.time() - began == 2 * seconds
        if seconds:
            assert len(seen) == 2
            ending = (
                "wait_for(timeout=5)" if sys.version_info < (3, 12) else "timeout() due"
            )
            assert all(ending in text and "has expired" in text for text in seen)
        else:  # neither had begun
            assert seen == []

    way.run_asyncio(main)


@both_ways
def test_a_wait_for_that_is_cancelled_has_not_expired(way):
    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        waiting = asyncio.create_task(
            asyncio.wait_for(loop.run_trio(trio_sleep_and_tell, seen), 50)
        )
        await asyncio.sleep(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert len(seen) == 1
        assert "expired" not in seen[0]

    way.run_asyncio(main)


@both_ways
def test_the_message_of_a_cancel_is_told(way):
    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        future = loop.run_trio(trio_sleep_and_tell, seen)
        await asyncio.sleep(1)
        future.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await future
        task = asyncio.create_task(call(loop, seen))
        await asyncio.sleep(1)
        task.cancel(("not", "text"))
        with pytest.raises(asyncio.CancelledError):
            await task
        before = "cancelled due to explicit with reason "
        assert seen == [
            f"{before}'its asyncio caller was cancelled: enough'",
            f"{before}\"its asyncio caller was cancelled: ('not', 'text')\"",
        ]

    async def call(loop, seen):
        await loop.run_trio(trio_sleep_and_tell, seen)

    way.run_asyncio(main)


@both_ways
def test_the_task_that_waits_is_told(way):
    async def main():
        loop = asyncio.get_running_loop()
        asyncio.current_task().set_name("main")
        seen = []
        task = asyncio.create_task(call(loop, seen), name="waiter")
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        task = asyncio.create_task(call(loop, seen), name="waiter")
        await asyncio.sleep(1)
        loop.call_soon(task.cancel)
        await asyncio.wait([task])
        future = loop.run_trio(trio_sleep_and_tell, seen)
        await asyncio.sleep(1)
        future.cancel()
        await asyncio.wait([future])
        before = "cancelled due to explicit with reason 'its"
        waiter = "asyncio caller was cancelled: asyncio task waiter, which waits for it"
        assert seen == [
            f"{before} {waiter}, by task main'",
            f"{before} {waiter}'",
            f"{before} Future was cancelled, by task main'",
        ]

    async def call(loop, seen):
        await loop.run_trio(trio_sleep_and_tell, seen)

    way.run_asyncio(main)


@both_ways
def test_an_asyncio_shield_keeps_the_deadline_out(way):
    async def main():
        loop = asyncio.get_running_loop()
        began = loop.time()
        future = loop.run_trio(trio.sleep, 20)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.shield(future)
        assert loop.time() - began == 5
        assert not future.done()
        assert await future is None
        assert loop.time() - began == 20

    way.run_asyncio(main)


@both_ways
def test_a_trio_shield_inside_of_an_asyncio_timeout(way):
    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        began = loop.time()

        async def callee():
            with trio.CancelScope(shield=True):
                await trio.sleep(20)
            seen.append(trio.current_effective_deadline())
            await trio_sleep_and_tell(seen)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await loop.run_trio(callee)
        assert loop.time() - began == 20
        assert seen[0] == -float("inf")
        assert "has expired" in seen[1]

    way.run_asyncio(main)


@both_ways
def test_a_timeout_passes_silently_if_the_value_came_after_all(way):
    async def main():
        loop = asyncio.get_running_loop()

        async def callee():
            with trio.CancelScope(shield=True):
                await trio.sleep(20)
            return "late"

        # What asyncio itself does where a Future takes its cancel and brings a value.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                value = await loop.run_trio(callee)
                assert value == "late"
                await asyncio.sleep(0)
                assert asyncio.current_task().cancelling() == 1
                raise asyncio.CancelledError
        async with asyncio.timeout(5) as timeout:
            value = await loop.run_trio(callee)
        assert value == "late"
        assert timeout.expired()
        assert asyncio.current_task().cancelling() == 0

    way.run_asyncio(main)


@both_ways
def test_a_timeout_that_is_rescheduled_by_trio_code(way):
    async def main():
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def callee(timeout):
            timeout.reschedule(loop.time() + 15)
            await trio.sleep(100)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5) as timeout:
                await loop.run_trio(callee, timeout)
        assert loop.time() - began == 15

    way.run_asyncio(main)


# Through several levels


@both_ways
@pytest.mark.parametrize("levels", [1, 2, 10])
def test_the_outermost_deadline_is_named_at_every_level(way, levels):
    async def trio_side(seen, depth):
        try:
            await aio(asyncio_side, seen, depth)
        except trio.Cancelled as exc:
            seen.append(exc)
            raise

    async def asyncio_side(seen, depth):
        loop = asyncio.get_running_loop()
        try:
            if depth == 0:
                await asyncio.sleep(100)
            else:
                await loop.run_trio(trio_side, seen, depth - 1)
        except asyncio.CancelledError as exc:
            seen.append(exc)
            raise

    async def main():
        seen = []
        with trio.move_on_after(5) as scope:
            await trio_side(seen, levels)
        assert scope.cancelled_caught
        texts = [str(exc) for exc in seen]
        seen.clear()  # they hold each other's tracebacks
        assert len(texts) == 2 * levels + 2
        # The outermost one is of the scope's own task.
        assert texts.pop() == "cancelled due to deadline"
        for text in texts:
            assert f"cancelled due to deadline, by <{scope_name(scope)}" in text
            assert len(text) < 400

    def scope_name(scope):
        return repr(scope)[1:].partition(",")[0]

    way.run_trio(main)


@both_ways
def test_an_asyncio_deadline_is_named_at_every_level(way):
    async def trio_side(seen):
        await aio(sleep_and_tell, seen)

    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5) as timeout:
                await loop.run_trio(trio_side, seen)
        when = f"timeout() due at {timeout.when():.3f}"
        name = asyncio.current_task().get_name()
        assert seen == [
            f"its asyncio caller was cancelled: {when} of asyncio task {name} "
            "has expired"
        ]

    way.run_asyncio(main)


@both_ways
def test_the_nearer_of_two_deadlines_of_both_kinds(way):
    async def sandwich(trio_seconds, asyncio_seconds):
        began = trio.current_time()
        seen = []

        async def middle():
            async with asyncio.timeout(asyncio_seconds):
                await asyncio.get_running_loop().run_trio(trio_sleep_and_tell, seen)

        with trio.move_on_after(trio_seconds) as scope:
            await aio(middle)
        assert scope.cancelled_caught
        return trio.current_time() - began, seen[0]

    async def main():
        took, text = await sandwich(5, 50)
        assert took == 5
        assert "deadline, by" in text
        with pytest.raises(TimeoutError):
            await sandwich(50, 5)

    way.run_trio(main)


@both_ways
def test_both_deadlines_at_one_instant(way):
    async def main():
        began = trio.current_time()

        async def middle():
            async with asyncio.timeout(5):
                await asyncio.get_running_loop().run_trio(trio.sleep, 100)

        with trio.move_on_after(5) as scope:
            try:
                await aio(middle)
            except TimeoutError:
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert trio.current_time() - began == 5

    way.run_trio(main)
