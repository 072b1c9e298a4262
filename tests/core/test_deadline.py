"""Deadlines of scopes, sleeping, and the functions that make timeouts."""

from __future__ import annotations

import math
import random
import time

import pytest
from trio_asyncio_c import trio

from ._helpers import (
    OUTSIDE_TEXT,
    effectively_cancelled,
    is_cancelled,
    run,
    run_mock,
    settle,
)

lowlevel = trio.lowlevel
inf = math.inf
nan = math.nan


def now():
    return trio.current_time()


# The constructor and the attributes


def test_defaults():
    scope = trio.CancelScope()
    assert scope.deadline == inf
    assert scope.relative_deadline == inf
    assert scope.is_relative is False
    assert scope.shield is False


def test_absolute_deadline_before_entering():
    scope = trio.CancelScope(deadline=5)
    assert scope.deadline == 5
    assert scope.is_relative is False
    with pytest.raises(
        RuntimeError,
        match="^Unentered non-relative cancel scope does not have a relative deadline$",
    ):
        scope.relative_deadline  # noqa: B018
    with pytest.raises(RuntimeError, match="^Unentered non-relative cancel scope"):
        scope.relative_deadline = 3
    scope.deadline = 7
    assert scope.deadline == 7


def test_relative_deadline_before_entering():
    # R22
    scope = trio.CancelScope(relative_deadline=5)
    assert scope.relative_deadline == 5
    assert scope.is_relative is True
    with pytest.raises(
        RuntimeError,
        match=r"^Unentered relative cancel scope does not have an absolute deadline\.$",
    ):
        scope.deadline  # noqa: B018
    with pytest.raises(RuntimeError, match="^Unentered relative cancel scope"):
        scope.deadline = 3
    scope.relative_deadline = 8
    assert scope.relative_deadline == 8


def test_a_plain_scope_can_be_given_either_kind():
    scope = trio.CancelScope()
    scope.relative_deadline = 2
    assert scope.is_relative is True
    scope = trio.CancelScope()
    scope.deadline = 2
    assert scope.is_relative is False
    with pytest.raises(RuntimeError):
        scope.relative_deadline = 2


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"deadline": nan}, "deadline must not be NaN"),
        ({"relative_deadline": nan}, "relative deadline must not be NaN"),
        ({"relative_deadline": -1}, "timeout must be non-negative"),
        ({"relative_deadline": -inf}, "timeout must be non-negative"),
        (
            {"relative_deadline": 1, "deadline": 2},
            "Cannot specify both a deadline and a relative deadline",
        ),
    ],
)
def test_constructor_checks(kwargs, text):
    # section 5
    with pytest.raises(ValueError, match=f"^{text}$"):
        trio.CancelScope(**kwargs)


def test_setters_check():
    # section 5
    scope = trio.CancelScope()
    with pytest.raises(ValueError, match="^deadline must not be NaN$"):
        scope.deadline = nan
    with pytest.raises(ValueError, match="^relative deadline must not be NaN$"):
        scope.relative_deadline = nan
    with pytest.raises(ValueError, match="^relative deadline must be non-negative$"):
        scope.relative_deadline = -1
    assert scope.deadline == inf
    assert scope.relative_deadline == inf


def test_deadlines_of_the_wrong_type_are_refused():
    with pytest.raises(TypeError):
        trio.CancelScope(deadline="soon")
    with pytest.raises(TypeError):
        trio.CancelScope().deadline = "soon"
    with pytest.raises(TypeError):
        trio.CancelScope(relative_deadline=None)


def test_integers_will_do():
    async def main():
        with trio.CancelScope(deadline=int(now()) + 2) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        with trio.CancelScope() as scope:
            scope.deadline = int(now()) + 3
            assert isinstance(scope.deadline, float)
            await trio.sleep_forever()
        assert scope.cancelled_caught

    run_mock(main)


def test_a_relative_deadline_becomes_absolute_at_entry():
    # R18, R22
    async def main():
        scope = trio.CancelScope(relative_deadline=5)
        await trio.sleep(3)
        start = now()
        with scope:
            assert scope.is_relative is None
            assert scope.deadline == start + 5
            assert scope.relative_deadline == 5
            await trio.sleep(1)
            assert scope.relative_deadline == pytest.approx(4)
            scope.relative_deadline = 10
            assert scope.deadline == pytest.approx(start + 11)
            await trio.sleep_forever()
        assert now() == pytest.approx(start + 11)
        assert scope.relative_deadline == pytest.approx(0)

    run_mock(main)


def test_relative_deadline_outside_a_run():
    scopes = []

    async def main():
        with trio.CancelScope(deadline=5) as scope:
            scopes.append(scope)

    run(main)
    with pytest.raises(RuntimeError, match=OUTSIDE_TEXT):
        scopes[0].relative_deadline  # noqa: B018
    assert scopes[0].deadline == 5


# Expiry


def test_a_deadline_cancels_its_scope():
    async def main():
        start = now()
        with trio.CancelScope(deadline=start + 5) as scope:
            await trio.sleep(4)
            assert not scope.cancel_called
            await trio.sleep_forever()
        assert scope.cancel_called
        assert scope.cancelled_caught
        assert now() == start + 5

    run_mock(main)


@pytest.mark.parametrize("deadline", [-inf, -1.0, 0])
def test_a_deadline_in_the_past_cancels_at_entry(deadline):
    # R18
    async def main():
        with trio.CancelScope(deadline=deadline) as scope:
            assert scope.cancel_called
            assert effectively_cancelled()
            await lowlevel.checkpoint()
            raise AssertionError
        assert scope.cancelled_caught

    run_mock(main)


def test_a_deadline_of_just_now_has_expired():
    # R17, R18: at the deadline counts as past it.
    async def main():
        with trio.CancelScope(deadline=now()) as scope:
            assert scope.cancel_called
        with trio.CancelScope(relative_deadline=0) as scope:
            assert scope.cancel_called
        assert lowlevel.current_statistics().seconds_to_next_deadline == inf

    run_mock(main)


def test_moving_a_deadline_takes_effect_at_once():
    # R17
    async def sleeper(scope, log):
        with scope:
            await trio.sleep_forever()
        log.append(now())

    async def main():
        start = now()
        log = []
        scope = trio.CancelScope(deadline=start + 100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper, scope, log)
            await trio.sleep(1)
            scope.deadline = start + 200
            await trio.sleep(110)
            assert log == []
            scope.deadline = start + 120
            await trio.sleep(10)
        assert log == [start + 120]

    run_mock(main)


def test_setting_a_past_deadline_cancels_at_the_next_turn():
    # R17
    async def main():
        with trio.CancelScope() as scope:
            scope.deadline = now() - 1
            # The loop finds out, or whoever asks the scope.
            await lowlevel.cancel_shielded_checkpoint()
            await lowlevel.checkpoint()
            raise AssertionError
        assert scope.cancelled_caught

    run_mock(main)


def test_a_deadline_taken_away_does_not_expire():
    # R17
    async def main():
        with trio.CancelScope(deadline=now() + 1) as scope:
            scope.deadline = inf
            await trio.sleep(5)
            assert lowlevel.current_statistics().seconds_to_next_deadline == inf
        assert not scope.cancel_called

    run_mock(main)


def test_only_active_scopes_expire():
    # R17: not before they are entered, not after they are left.
    async def main():
        start = now()
        early = trio.CancelScope(deadline=start + 1)
        assert lowlevel.current_statistics().seconds_to_next_deadline == inf
        with trio.CancelScope(deadline=start + 2) as late:
            assert lowlevel.current_statistics().seconds_to_next_deadline == 2
        assert lowlevel.current_statistics().seconds_to_next_deadline == inf
        await trio.sleep(5)
        assert not late.cancel_called
        # Asking an unentered one is another matter.
        assert early.cancel_called

    run_mock(main)


def test_a_cancelled_scope_has_no_deadline_to_wait_for():
    # R17
    async def main():
        with trio.CancelScope(deadline=now() + 10) as scope:
            scope.cancel()
            assert lowlevel.current_statistics().seconds_to_next_deadline == inf
            assert scope.deadline == now() + 10

    run_mock(main)


def test_cancel_called_notices_a_deadline_that_has_passed():
    # R12
    async def main():
        clock = lowlevel.current_clock()
        scope = trio.CancelScope(deadline=now() + 1)
        assert not scope.cancel_called
        clock.jump(2)
        assert scope.cancel_called
        with trio.CancelScope(deadline=now() + 1) as scope:
            assert not scope.cancel_called
            assert not effectively_cancelled()
            clock.jump(2)
            assert not effectively_cancelled()
            assert scope.cancel_called
            assert effectively_cancelled()
            with pytest.raises(trio.Cancelled) as info:
                await lowlevel.checkpoint()
            assert info.value.source == "deadline"
        # Once it is left, time makes no difference.
        with trio.CancelScope(deadline=now() + 1) as scope:
            pass
        clock.jump(2)
        assert not scope.cancel_called

    run(main, clock=trio.testing.MockClock())


def test_cancel_called_with_a_deadline_needs_a_clock():
    # R12
    scope = trio.CancelScope(deadline=1)
    with pytest.raises(RuntimeError, match=OUTSIDE_TEXT):
        scope.cancel_called  # noqa: B018
    scope.cancel()
    assert scope.cancel_called


def test_deadlines_expire_in_the_order_of_time():
    async def sleeper(delay, log):
        with trio.move_on_after(delay):
            await trio.sleep_forever()
        log.append(delay)

    async def main():
        delays = list(range(1, 200))
        random.Random(7).shuffle(delays)
        log = []
        async with trio.open_nursery() as nursery:
            for delay in delays:
                nursery.start_soon(sleeper, delay, log)
        assert log == sorted(delays)

    run_mock(main)


def test_equal_deadlines_expire_together():
    async def sleeper(deadline, log):
        await trio.sleep_until(deadline)
        log.append(now())

    async def main():
        log = []
        deadline = now() + 3
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(sleeper, deadline, log)
        assert log == [deadline] * 50

    run_mock(main)


def test_random_changes_of_many_deadlines():
    # R17
    rng = random.Random(11)

    async def sleeper(scope, log):
        with scope:
            await trio.sleep_forever()
        log.append((now(), scope))

    async def main():
        start = now()
        scopes = [
            trio.CancelScope(deadline=start + rng.randrange(1, 1000))
            for _ in range(100)
        ]
        log = []
        async with trio.open_nursery() as nursery:
            for scope in scopes:
                nursery.start_soon(sleeper, scope, log)
            await settle()
            for _ in range(3000):
                scope = rng.choice(scopes)
                scope.deadline = rng.choice([inf, start + rng.randrange(1, 1000)])
            for scope in scopes:
                if scope.deadline == inf:
                    scope.deadline = start + rng.randrange(1, 1000)
        assert sorted(time for time, _ in log) == [time for time, _ in log]
        assert all(time == scope.deadline for time, scope in log)
        assert len(log) == 100

    run_mock(main)


def test_toggling_deadlines_leaves_nothing_behind():
    # R17
    async def main():
        with trio.CancelScope() as scope:
            for i in range(5000):
                scope.deadline = now() + 1000 + i % 2
                scope.deadline = inf
            statistics = lowlevel.current_statistics()
            assert statistics.seconds_to_next_deadline == inf
            await lowlevel.checkpoint()

    run_mock(main)


def test_an_abort_function_may_move_other_deadlines_while_they_expire():
    # R14, R17
    async def main():
        deadline = now() + 1
        a, b = trio.CancelScope(deadline=deadline), trio.CancelScope(deadline=deadline)
        spared = []

        async def sleeper(mine, other):
            def abort(raise_cancel):
                other.deadline = inf
                spared.append(other)
                return lowlevel.Abort.SUCCEEDED

            with mine:
                await lowlevel.wait_task_rescheduled(abort)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper, a, b)
            nursery.start_soon(sleeper, b, a)
            await trio.sleep(2)
            # Whichever expired first has saved the other one.
            (scope,) = spared
            assert not scope.cancel_called
            scope.cancel()

    run_mock(main)


# The effective deadline


def test_current_effective_deadline_is_the_nearest():
    # R22
    async def main():
        start = now()
        assert trio.current_effective_deadline() == inf
        with trio.CancelScope(deadline=start + 10) as outer:
            assert trio.current_effective_deadline() == start + 10
            with trio.CancelScope(deadline=start + 20) as inner:
                assert trio.current_effective_deadline() == start + 10
                inner.deadline = start + 5
                assert trio.current_effective_deadline() == start + 5
                inner.deadline = start + 20
                inner.shield = True
                assert trio.current_effective_deadline() == start + 20
                outer.cancel()
                assert trio.current_effective_deadline() == start + 20
                inner.shield = False
                assert trio.current_effective_deadline() == -inf
            assert trio.current_effective_deadline() == -inf
        assert trio.current_effective_deadline() == inf

    run_mock(main)


def test_children_have_the_effective_deadline_of_their_nursery():
    # R22, R23
    async def child():
        assert trio.current_effective_deadline() == deadline
        checked.append(1)

    checked = []
    deadline = None

    async def main():
        nonlocal deadline
        deadline = now() + 10
        with trio.CancelScope(deadline=deadline):
            async with trio.open_nursery() as nursery:
                with trio.CancelScope(deadline=now() + 5):
                    nursery.start_soon(child)
                    await settle()

    run_mock(main)
    assert checked == [1]


# Sleeping


def test_sleep_sleeps():
    async def main():
        start = now()
        await trio.sleep(5)
        assert now() == start + 5
        await trio.sleep_until(start + 7)
        assert now() == start + 7
        await trio.sleep_until(start)
        await trio.sleep(0)
        assert now() == start + 7

    run_mock(main)


def test_sleep_on_the_real_clock():
    async def main():
        start = time.monotonic()
        await trio.sleep(0.02)
        return time.monotonic() - start

    assert run(main) >= 0.0199


def test_sleep_checks_its_argument():
    async def main():
        with pytest.raises(ValueError, match="^`seconds` must be non-negative$"):
            await trio.sleep(-1)
        with pytest.raises(ValueError, match="must not be NaN"):
            await trio.sleep(nan)
        with pytest.raises(ValueError, match="^deadline must not be NaN$"):
            await trio.sleep_until(nan)
        with pytest.raises(TypeError):
            await trio.sleep("long")
        with pytest.raises(TypeError):
            await trio.sleep()
        await trio.sleep(0)

    run(main)


def test_sleep_of_infinity_lasts_until_cancelled():
    async def main():
        for wait in [
            lambda: trio.sleep(inf),
            lambda: trio.sleep_until(inf),
            trio.sleep_forever,
        ]:
            with trio.move_on_after(1000) as scope:
                await wait()
            assert scope.cancelled_caught

    run_mock(main)


def test_sleep_can_be_cancelled():
    async def main():
        start = now()
        with trio.move_on_after(1) as scope:
            await trio.sleep(5)
        assert scope.cancelled_caught
        assert now() == start + 1

    run_mock(main)


def test_a_cancelled_sleep_leaves_no_deadline_behind():
    async def main():
        with trio.move_on_after(1):
            await trio.sleep(5)
        assert lowlevel.current_statistics().seconds_to_next_deadline == inf

    run_mock(main)


def test_sleep_under_a_shield_in_a_cancelled_scope():
    async def main():
        start = now()
        with trio.CancelScope() as scope:
            scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
        assert now() == start + 5

    run_mock(main)


def test_a_sleep_whose_end_is_the_scopes_end():
    # When both expire in one turn the sleep is cancelled by the outer scope.
    async def main():
        with trio.move_on_at(now() + 5) as scope:
            await trio.sleep_until(now() + 5)
            reached.append(await is_cancelled())
        assert scope.cancel_called

    reached = []
    run_mock(main)
    assert reached in ([], [True])


# move_on and fail


def test_move_on_after_counts_from_entry():
    async def main():
        scope = trio.move_on_after(5)
        assert scope.is_relative
        await trio.sleep(3)
        start = now()
        with scope:
            await trio.sleep_forever()
        assert now() == start + 5
        assert scope.cancelled_caught

    run_mock(main)


def test_move_on_at():
    async def main():
        deadline = now() + 4
        with trio.move_on_at(deadline) as scope:
            await trio.sleep_forever()
        assert now() == deadline
        assert scope.cancelled_caught

    run_mock(main)


def test_fail_after_and_fail_at():
    async def main():
        start = now()
        with pytest.raises(trio.TooSlowError), trio.fail_after(5) as scope:
            await trio.sleep_forever()
        assert now() == start + 5
        assert scope.cancelled_caught
        with pytest.raises(trio.TooSlowError), trio.fail_at(start + 8) as scope:
            await trio.sleep_forever()
        assert now() == start + 8
        with trio.fail_after(5) as scope:
            await trio.sleep(1)
        assert not scope.cancel_called

    run_mock(main)


def test_fail_after_that_is_cancelled_from_outside_is_not_too_slow():
    async def main():
        with trio.move_on_after(1) as outer:
            with trio.fail_after(5):
                await trio.sleep_forever()
        assert outer.cancelled_caught

    run_mock(main)


def test_timeouts_take_a_shield():
    async def main():
        with trio.CancelScope() as outer:
            outer.cancel()
            for make in [trio.move_on_after, trio.fail_after]:
                with make(10, shield=True) as scope:
                    assert scope.shield
                    await trio.sleep(1)
            for make in [trio.move_on_at, trio.fail_at]:
                with make(now() + 10, shield=True) as scope:
                    await trio.sleep(1)

    run_mock(main)


def test_timeouts_check_their_arguments():
    async def main():
        for make in [trio.move_on_after, trio.fail_after]:
            for value in [-1, nan]:
                with pytest.raises(ValueError, match="`seconds` must"), make(value):
                    raise AssertionError
        for make in [trio.move_on_at, trio.fail_at]:
            with (
                pytest.raises(ValueError, match="deadline must not be NaN"),
                make(nan),
            ):
                raise AssertionError

    run(main)
