"""Cancel scopes: delivery, catching, nesting, shielding, reasons, misuse."""

from __future__ import annotations

import contextlib
import math
import pickle
import weakref

import pytest
from trio_asyncio_c import trio

from ._helpers import (
    OUTSIDE_TEXT,
    block,
    capture,
    effectively_cancelled,
    is_cancelled,
    run,
    run_mock,
    settle,
)

lowlevel = trio.lowlevel
SUCCEEDED = lowlevel.Abort.SUCCEEDED
FAILED = lowlevel.Abort.FAILED


def test_cancel_ends_the_block_at_the_next_checkpoint():
    async def main():
        with trio.CancelScope() as scope:
            assert not scope.cancel_called
            scope.cancel()
            assert scope.cancel_called
            assert not scope.cancelled_caught
            reached.append("after cancel")
            await lowlevel.checkpoint()
            reached.append("after checkpoint")
        assert scope.cancelled_caught
        assert scope.cancel_called

    reached = []
    run(main)
    assert reached == ["after cancel"]


def test_cancel_wakes_a_blocked_task():
    async def sleeper(scope):
        with scope:
            await trio.sleep_forever()
        woken.append(scope)

    woken = []

    async def main():
        scopes = [trio.CancelScope() for _ in range(3)]
        async with trio.open_nursery() as nursery:
            for scope in scopes:
                nursery.start_soon(sleeper, scope)
            await settle()
            scopes[1].cancel()
            await settle()
            assert woken == [scopes[1]]
            scopes[0].cancel()
            scopes[2].cancel()
        assert all(scope.cancelled_caught for scope in scopes)

    run(main)


def test_a_scope_cancelled_before_it_is_entered():
    async def main():
        scope = trio.CancelScope()
        scope.cancel()
        assert scope.cancel_called
        with scope:
            assert effectively_cancelled()
            await lowlevel.checkpoint()
            raise AssertionError
        assert scope.cancelled_caught

    run(main)


def test_a_scope_without_a_checkpoint_catches_nothing():
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
        assert scope.cancel_called
        assert not scope.cancelled_caught

    run(main)


def test_cancel_is_idempotent():
    # R15
    async def main():
        with trio.CancelScope() as scope:
            for _ in range(3):
                scope.cancel()
            await lowlevel.checkpoint()
        assert scope.cancelled_caught
        scope.cancel()

    run(main)


def test_enter_returns_the_scope_itself():
    async def main():
        scope = trio.CancelScope()
        with scope as entered:
            assert entered is scope

    run(main)


def test_a_scope_can_be_entered_only_once():
    # R18
    async def main():
        scope = trio.CancelScope()
        with scope:
            with (
                pytest.raises(
                    RuntimeError,
                    match="^Each CancelScope may only be used "
                    "for a single 'with' block$",
                ),
                scope,
            ):
                raise AssertionError
        with (
            pytest.raises(RuntimeError, match="single 'with' block"),
            scope,
        ):
            raise AssertionError

    run(main)


def test_constructor_takes_the_deadline_by_position_too():
    assert trio.CancelScope(1.0).deadline == 1.0
    assert trio.CancelScope(None).deadline == math.inf
    with pytest.raises(TypeError):
        trio.CancelScope(1.0, 2.0)
    with pytest.raises(TypeError):
        trio.CancelScope(bogus=1)


def test_scopes_are_final_hashable_and_weakly_referenceable():
    with pytest.raises(TypeError):
        type("Sub", (trio.CancelScope,), {})
    scope, other = trio.CancelScope(), trio.CancelScope()
    assert scope == scope
    assert scope != other
    assert {scope: 1}[scope] == 1
    assert weakref.ref(scope)() is scope
    with pytest.raises(AttributeError):
        scope.no_such_attribute = 1


def test_read_only_attributes():
    scope = trio.CancelScope()
    with pytest.raises(AttributeError):
        scope.cancel_called = True
    with pytest.raises(AttributeError):
        scope.is_relative = True


# Nesting


def test_an_outer_scope_cancels_all_inside():
    # R11
    async def main():
        with trio.CancelScope() as outer:
            with trio.CancelScope() as middle:
                with trio.CancelScope() as inner:
                    outer.cancel()
                    await trio.sleep_forever()
                raise AssertionError
            raise AssertionError
        assert outer.cancelled_caught
        assert not middle.cancelled_caught
        assert not inner.cancelled_caught
        assert not inner.cancel_called

    run(main)


def test_an_inner_scope_does_not_cancel_the_outer():
    async def main():
        with trio.CancelScope() as outer:
            with trio.CancelScope() as inner:
                inner.cancel()
                await trio.sleep_forever()
            assert inner.cancelled_caught
            assert not await is_cancelled()
        assert not outer.cancelled_caught

    run(main)


def test_when_both_are_cancelled_the_outer_catches():
    # R19
    async def main():
        with trio.CancelScope() as outer:
            with trio.CancelScope() as inner:
                inner.cancel()
                outer.cancel()
                await trio.sleep_forever()
            raise AssertionError
        assert outer.cancelled_caught
        assert not inner.cancelled_caught

    run(main)


def test_cancelled_from_inside_is_caught_by_the_scope_cancelled_later():
    # R19: who catches depends on what is cancelled when the exception passes.
    async def main():
        with trio.CancelScope() as outer:
            with trio.CancelScope() as inner:
                inner.cancel()
                try:
                    await trio.sleep_forever()
                finally:
                    outer.cancel()
            raise AssertionError
        assert outer.cancelled_caught
        assert not inner.cancelled_caught

    run(main)


def test_a_cancelled_exception_that_is_not_ours_passes():
    # R19: kept from a scope that is over, raised again in one that is not
    # cancelled.
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await lowlevel.checkpoint()
            except trio.Cancelled as exc:
                kept = exc
        assert not scope.cancelled_caught
        with pytest.raises(trio.Cancelled), trio.CancelScope() as other:
            raise kept
        assert not other.cancelled_caught

    run(main)


def test_other_exceptions_pass_through_a_cancelled_scope():
    # R19
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await lowlevel.checkpoint()
            except trio.Cancelled:
                raise KeyError("instead") from None

    with pytest.raises(KeyError, match="instead"):
        run(main)


def test_cancelled_is_taken_out_of_a_group():
    # R19
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await lowlevel.checkpoint()
            except trio.Cancelled as exc:
                cancelled = exc
            raise BaseExceptionGroup(
                "both", [cancelled, ValueError(1), BaseExceptionGroup("", [cancelled])]
            )
        assert scope.cancelled_caught

    with pytest.RaisesGroup(ValueError, match="both"):
        run(main)


def test_a_group_of_nothing_but_cancelled_is_swallowed():
    # R19
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await lowlevel.checkpoint()
            except trio.Cancelled as exc:
                cancelled = exc
            raise BaseExceptionGroup("", [cancelled])
        assert scope.cancelled_caught

    run(main)


def test_a_group_without_cancelled_passes_unchanged():
    # R19
    group = ExceptionGroup("mine", [ValueError(1), KeyError(2)])

    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            raise group
        assert not scope.cancelled_caught

    with pytest.raises(ExceptionGroup) as info:
        run(main)
    assert sorted(map(repr, info.value.exceptions)) == ["KeyError(2)", "ValueError(1)"]


def test_what_is_left_of_a_group_keeps_its_context():
    # R19
    async def main():
        context = LookupError("context")
        group = None
        with pytest.RaisesGroup(ValueError) as info, trio.CancelScope() as scope:
            scope.cancel()
            try:
                await lowlevel.checkpoint()
            except trio.Cancelled as exc:
                cancelled = exc
            group = BaseExceptionGroup("", [cancelled, ValueError(1)])
            group.__context__ = context
            raise group
        assert scope.cancelled_caught
        assert info.value.__context__ is context

    run(main)


def test_deep_nesting_does_not_recurse():
    # R11
    depth = 5000

    async def main():
        with contextlib.ExitStack() as stack:
            scopes = [stack.enter_context(trio.CancelScope()) for _ in range(depth)]
            assert not await is_cancelled()
            scopes[0].cancel()
            assert effectively_cancelled()
            await lowlevel.checkpoint()
        assert scopes[0].cancelled_caught
        assert not scopes[-1].cancelled_caught

    run(main)


def test_children_are_cancelled_with_the_scope_around_their_nursery():
    # R23
    async def child():
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.append(1)
            raise

    cancelled = []

    async def main():
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(child)
                await settle()
                scope.cancel()
        assert scope.cancelled_caught

    run(main)
    assert cancelled == [1] * 4


def test_a_scope_of_the_spawner_does_not_reach_a_child_of_an_outer_nursery():
    # R23: children inherit from where the nursery was opened.
    async def child():
        await settle()
        finished.append(await is_cancelled())

    finished = []

    async def main():
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(child)
                scope.cancel()
                await trio.sleep_forever()

    run(main)
    assert finished == [False]


def test_a_scope_of_a_child_does_not_reach_its_siblings():
    async def child(scope):
        with scope:
            await trio.sleep_forever()

    async def main():
        scopes = [trio.CancelScope() for _ in range(2)]
        with trio.CancelScope() as all_:
            async with trio.open_nursery() as nursery:
                for scope in scopes:
                    nursery.start_soon(child, scope)
                await settle()
                scopes[0].cancel()
                await settle()
                assert len(nursery.child_tasks) == 1
                all_.cancel()
        assert scopes[0].cancelled_caught
        assert not scopes[1].cancelled_caught

    run(main)


# Shielding


def test_a_shield_keeps_outer_cancellation_out():
    # R11
    async def main():
        with trio.CancelScope() as outer:
            outer.cancel()
            with trio.CancelScope(shield=True) as inner:
                assert inner.shield
                assert not await is_cancelled()
            assert await is_cancelled()
            await lowlevel.checkpoint()
        assert outer.cancelled_caught

    run(main)


def test_a_shield_does_not_protect_from_its_own_scope_or_from_inner_ones():
    async def main():
        with trio.CancelScope(shield=True) as scope:
            with trio.CancelScope() as inner:
                inner.cancel()
                await trio.sleep_forever()
            assert inner.cancelled_caught
            scope.cancel()
            await trio.sleep_forever()
        assert scope.cancelled_caught

    run(main)


def test_a_shield_put_up_and_taken_down():
    # R11: effectively cancelled can become false again.
    async def main():
        with trio.CancelScope() as outer:
            with trio.CancelScope() as inner:
                outer.cancel()
                assert await is_cancelled()
                inner.shield = True
                assert not effectively_cancelled()
                assert not await is_cancelled()
                inner.shield = False
                assert effectively_cancelled()
                assert await is_cancelled()

    run(main)


def test_taking_a_shield_down_wakes_a_blocked_task():
    # R14
    async def sleeper(scope):
        with scope:
            await trio.sleep_forever()

    async def main():
        shield = trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper, shield)
            await settle()
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await settle()
            assert len(nursery.child_tasks) == 1
            shield.shield = False
        assert not shield.cancelled_caught
        assert nursery.cancel_scope.cancelled_caught

    run(main)


def test_a_shield_around_a_nursery_protects_its_children():
    async def child():
        assert not await is_cancelled()
        done.append(1)

    done = []

    async def main():
        with trio.CancelScope() as outer:
            outer.cancel()
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(child)

    run(main)
    assert done == [1]


def test_whether_a_scope_catches_depends_on_its_shield_at_exit():
    # R19
    async def main():
        with trio.CancelScope() as outer:
            with trio.CancelScope() as inner:
                outer.cancel()
                inner.cancel()
                try:
                    await trio.sleep_forever()
                finally:
                    inner.shield = True
            assert inner.cancelled_caught
            assert await is_cancelled()
        assert not outer.cancelled_caught

        with trio.CancelScope() as outer:
            outer.cancel()
            with trio.CancelScope(shield=True) as inner:
                inner.cancel()
                try:
                    await trio.sleep_forever()
                finally:
                    inner.shield = False
            raise AssertionError
        assert outer.cancelled_caught
        assert not inner.cancelled_caught

    run(main)


def test_shield_must_be_a_bool():
    # section 5
    scope = trio.CancelScope()
    for value in [1, 0, None, "yes"]:
        with pytest.raises(TypeError, match="^shield must be a bool$"):
            scope.shield = value
    assert scope.shield is False
    scope.shield = True
    assert scope.shield is True


def test_shield_set_before_entering():
    async def main():
        scope = trio.CancelScope()
        scope.shield = True
        with trio.CancelScope() as outer:
            outer.cancel()
            with scope:
                assert not await is_cancelled()

    run(main)


# Delivery


def test_abort_is_tried_once_a_block():
    # R13
    calls = []

    def abort(raise_cancel):
        calls.append(raise_cancel)
        return FAILED

    async def main():
        task = lowlevel.current_task()
        with trio.CancelScope() as outer, trio.CancelScope() as inner:
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def cancel():
                    await settle()
                    inner.cancel()
                    assert len(calls) == 1
                    outer.cancel()
                    assert len(calls) == 1
                    lowlevel.reschedule(task)

                with trio.CancelScope() as shield:
                    await lowlevel.wait_task_rescheduled(abort)
                    assert len(calls) == 1
                    # The next block is another chance.
                    assert await is_cancelled()
                    shield.shield = True
                    assert not await is_cancelled()

    run(main)
    assert len(calls) == 1


def test_abort_that_fails_leaves_the_task_blocked():
    # R13
    async def sleeper():
        value = await lowlevel.wait_task_rescheduled(lambda _: FAILED)
        results.append(value)

    results = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper)
            await settle()
            (task,) = nursery.child_tasks
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await settle()
            assert results == []
            lowlevel.reschedule(task)

    run(main)
    assert results == [None]


def test_a_block_in_a_cancelled_scope_is_aborted_at_once():
    # R8, R14
    aborted = []

    def abort(raise_cancel):
        aborted.append(lowlevel.current_task())
        return SUCCEEDED

    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            await lowlevel.wait_task_rescheduled(abort)
        assert scope.cancelled_caught
        assert aborted == [lowlevel.current_task()]

    run(main)


def test_abort_runs_outside_any_task_when_a_deadline_expires():
    # R14
    contexts = []

    def abort(raise_cancel):
        contexts.append((lowlevel.in_trio_run(), lowlevel.in_trio_task()))
        return SUCCEEDED

    async def main():
        with trio.move_on_after(1):
            await lowlevel.wait_task_rescheduled(abort)

    run_mock(main)
    assert contexts == [(True, False)]


def test_abort_runs_inside_the_task_that_cancels():
    # R14
    contexts = []

    def abort(raise_cancel):
        contexts.append(lowlevel.current_task())
        return SUCCEEDED

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lowlevel.wait_task_rescheduled, abort)
            await settle()
            nursery.cancel_scope.cancel()
            assert contexts == [lowlevel.current_task()]

    run(main)


def test_raise_cancel_can_be_called_late():
    # R13: however many scopes later, and under a shield.
    kept = []

    def abort(raise_cancel):
        kept.append(raise_cancel)
        return FAILED

    async def main():
        task = lowlevel.current_task()
        with trio.CancelScope() as scope:
            scope.cancel("slow")
            lowlevel.current_trio_token().run_sync_soon(lowlevel.reschedule, task)
            await lowlevel.wait_task_rescheduled(abort)
            with trio.CancelScope(shield=True):
                await lowlevel.checkpoint()
                with pytest.raises(trio.Cancelled) as info:
                    kept[0]()
                assert info.value.reason == "slow"
                # As often as one likes.
                with pytest.raises(trio.Cancelled):
                    kept[0]()
            kept[0]()
        assert scope.cancelled_caught
        with pytest.raises(trio.Cancelled):
            kept[0]()

    run(main)


def test_a_late_cancellation_is_delivered_with_reschedule():
    # R13
    async def sleeper(scope):
        task = lowlevel.current_task()

        def abort(raise_cancel):
            lowlevel.current_trio_token().run_sync_soon(
                lowlevel.reschedule, task, capture(raise_cancel)
            )
            return FAILED

        with scope:
            await lowlevel.wait_task_rescheduled(abort)

    async def main():
        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper, scope)
            await settle()
            scope.cancel()
        assert scope.cancelled_caught

    run(main)


def test_the_reason_is_read_when_the_cancellation_is_delivered():
    # R13, R15: a parent's reason gets into a child scope that has none.
    async def main():
        with trio.CancelScope() as outer:
            with trio.CancelScope() as inner:
                outer.cancel("from the outer")
                inner.cancel("from the inner")
                with pytest.raises(trio.Cancelled) as info:
                    await lowlevel.checkpoint()
                assert info.value.reason == "from the outer"
                with pytest.raises(trio.Cancelled) as info:
                    await block()
                assert info.value.reason == "from the outer"

    run(main)


def test_the_first_reason_stays():
    # R15
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel("first")
            scope.cancel("second")
            with pytest.raises(trio.Cancelled) as info:
                await lowlevel.checkpoint()
            assert info.value.reason == "first"

    run(main)


def reason_of(exc):
    return exc.source, exc.reason, exc.source_task


def test_reason_of_an_explicit_cancellation():
    # R16
    async def main():
        me = repr(lowlevel.current_task())
        with trio.CancelScope() as scope:
            scope.cancel(reason="because")
            with pytest.raises(trio.Cancelled) as info:
                await trio.sleep_forever()
            assert reason_of(info.value) == ("explicit", "because", me)
            assert str(info.value) == (
                f"cancelled due to explicit with reason 'because' from task {me}"
            )
        with trio.CancelScope() as scope:
            scope.cancel()
            with pytest.raises(trio.Cancelled) as info:
                await trio.sleep_forever()
            assert reason_of(info.value) == ("explicit", None, me)
            assert str(info.value) == f"cancelled due to explicit from task {me}"

    run(main)


def test_reason_of_a_cancellation_from_outside_any_task():
    # R16
    scope = trio.CancelScope()
    scope.cancel("early")

    async def main():
        with scope:
            with pytest.raises(trio.Cancelled) as info:
                await trio.sleep_forever()
            assert reason_of(info.value) == ("explicit", "early", None)
            assert str(info.value) == ("cancelled due to explicit with reason 'early'")

    run(main)


def test_reason_of_a_deadline():
    # R16
    async def main():
        for scope in [
            trio.CancelScope(deadline=trio.current_time() + 1),
            trio.CancelScope(deadline=-math.inf),
        ]:
            with scope:
                with pytest.raises(trio.Cancelled) as info:
                    await trio.sleep_forever()
                assert reason_of(info.value) == ("deadline", None, None)
                assert str(info.value) == "cancelled due to deadline"

    run_mock(main)


def test_reason_of_a_nursery_whose_child_failed():
    # R16
    async def fail():
        tasks.append(repr(lowlevel.current_task()))
        raise ValueError("child")

    tasks = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            with pytest.raises(trio.Cancelled) as info:
                await trio.sleep_forever()
            assert reason_of(info.value) == (
                "nursery",
                "child task raised exception ValueError('child')",
                tasks[0],
            )

    with pytest.RaisesGroup(ValueError):
        run(main)


def test_reason_of_a_nursery_whose_body_failed():
    # R16
    async def child():
        with pytest.raises(trio.Cancelled) as info:
            await trio.sleep_forever()
        seen.append(reason_of(info.value))

    seen = []

    async def main():
        me.append(repr(lowlevel.current_task()))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await settle()
            raise KeyError("body")

    me = []
    with pytest.RaisesGroup(KeyError):
        run(main)
    assert seen == [
        (
            "nursery",
            "Code block inside nursery contextmanager raised exception "
            "KeyError('body')",
            me[0],
        )
    ]


def test_reason_passes_down_to_children():
    # R15
    async def child():
        with trio.CancelScope():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(grandchild)

    async def grandchild():
        try:
            await trio.sleep_forever()
        except trio.Cancelled as exc:
            seen.append(exc.reason)
            raise

    seen = []

    async def main():
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)
                await settle()
                scope.cancel("from above")

    run(main)
    assert seen == ["from above"]


def test_cancelled_cannot_be_made_or_subclassed():
    # R16
    with pytest.raises(TypeError, match="Cancelled has no public constructor"):
        trio.Cancelled()
    with pytest.raises(TypeError):
        trio.Cancelled("text")
    with pytest.raises(TypeError):
        type("Sub", (trio.Cancelled,), {})
    assert issubclass(trio.Cancelled, BaseException)
    assert not issubclass(trio.Cancelled, Exception)


def test_cancelled_create():
    # R16
    exc = trio.Cancelled._create()
    assert reason_of(exc) == ("unknown", None, None)
    assert str(exc) == "cancelled due to unknown"
    exc = trio.Cancelled._create(
        source="nursery", reason="a reason", source_task="<Task>"
    )
    assert str(exc) == (
        "cancelled due to nursery with reason 'a reason' from task <Task>"
    )


def test_cancelled_can_be_pickled():
    # R16
    for kwargs in [
        {},
        {"source": "explicit", "reason": "r", "source_task": "t"},
    ]:
        exc = trio.Cancelled._create(**kwargs)
        copy = pickle.loads(pickle.dumps(exc))
        assert type(copy) is trio.Cancelled
        assert reason_of(copy) == reason_of(exc)
        assert str(copy) == str(exc)


# Misnesting


def test_closing_an_outer_scope_before_an_inner_one():
    # R21
    async def main():
        outer, inner = trio.CancelScope(), trio.CancelScope()
        outer.__enter__()
        inner.__enter__()
        with pytest.raises(
            RuntimeError,
            match=r"(?s)^Cancel scope stack corrupted: attempted to exit <.*"
            r"CancelScope at .*> in <Task .*> that's still within its child "
            r"<.*CancelScope at ",
        ):
            outer.__exit__(None, None, None)
        # The inner one is abandoned: it can be left, and has no further effect.
        inner.__exit__(None, None, None)
        assert not await is_cancelled()

    run(main)


def test_an_error_that_misnests_keeps_the_error_as_its_context():
    # R21
    async def main():
        outer, inner = trio.CancelScope(), trio.CancelScope()
        outer.__enter__()
        inner.__enter__()
        error = KeyError("original")
        with pytest.raises(RuntimeError, match="corrupted") as info:
            outer.__exit__(KeyError, error, None)
        assert info.value.__context__ is error
        inner.__exit__(None, None, None)

    run(main)


def test_scopes_closed_in_another_task():
    # R21
    async def enter(scope):
        scope.__enter__()
        await settle()
        await trio.sleep_forever()

    async def main():
        scope = trio.CancelScope()
        with trio.CancelScope() as all_:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(enter, scope)
                await settle()
                with pytest.raises(
                    RuntimeError,
                    match=r"(?s)^Cancel scope stack corrupted: attempted to exit "
                    r"<.*CancelScope at .*> from unrelated <Task ",
                ):
                    scope.__exit__(None, None, None)
                all_.cancel()

    run(main)


def test_a_scope_closed_twice():
    # R21
    async def main():
        scope = trio.CancelScope()
        with scope:
            pass
        error = KeyError("error")
        with pytest.raises(
            RuntimeError,
            match=r"^Cancel scope stack corrupted: attempted to exit "
            r"<.*CancelScope at .*, exited> which had already been exited$",
        ) as info:
            scope.__exit__(KeyError, error, None)
        assert info.value.__context__ is error
        assert not await is_cancelled()

    run(main)


def test_a_scope_closed_before_it_was_entered():
    # R21
    async def main():
        with pytest.raises(RuntimeError, match="which had already been exited"):
            trio.CancelScope().__exit__(None, None, None)

    run(main)


def test_a_task_whose_scope_was_closed_under_it_ends_with_an_error():
    # R21, R28: a child closes the scope around the nursery that it runs in.
    async def child(scope):
        with pytest.raises(
            RuntimeError,
            match="(?s)^Cancel scope stack corrupted: .*that's still within its child",
        ):
            scope.__exit__(None, None, None)

    async def main():
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child, scope)

    with pytest.raises(
        RuntimeError,
        match=r"^Cancel scope stack corrupted: Cancel scope surrounding "
        r"<Task '.*main' at .*> was closed before the task exited\n",
    ) as info:
        run(main)
    own = info.value.__context__
    assert isinstance(own, RuntimeError)
    assert "which had already been exited" in str(own)


def test_closing_the_scope_of_a_nursery_inside_the_nursery():
    # R21: its children are cancelled, its end complains.
    async def child():
        try:
            await trio.sleep_forever()
        finally:
            ended.append(1)

    ended = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await settle()
            nursery.cancel_scope.__exit__(None, None, None)

    with pytest.raises(RuntimeError, match="which had already been exited"):
        run(main)
    assert ended == [1]


def test_delivery_in_an_abandoned_scope_says_misnesting():
    # R16, R21
    async def child():
        with pytest.raises(trio.Cancelled) as info:
            await trio.sleep_forever()
        seen.append(reason_of(info.value))

    seen = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await settle()
            nursery.cancel_scope.__exit__(None, None, None)

    with pytest.raises(RuntimeError, match="corrupted"):
        run(main)
    assert seen == [("unknown", "misnesting", None)]


def test_exit_does_not_mind_being_called_with_a_foreign_exception():
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            await lowlevel.cancel_shielded_checkpoint()
            with pytest.raises(ValueError, match="x"):
                raise ValueError("x")
        assert not scope.cancelled_caught

    run(main)


def test_a_scope_in_a_context_manager_and_an_exit_stack():
    @contextlib.contextmanager
    def manager():
        with trio.CancelScope() as scope:
            yield scope

    @contextlib.asynccontextmanager
    async def async_manager():
        with trio.CancelScope() as scope:
            yield scope

    async def main():
        with manager() as scope:
            scope.cancel()
            await trio.sleep_forever()
        assert scope.cancelled_caught
        async with async_manager() as scope:
            scope.cancel()
            await trio.sleep_forever()
        assert scope.cancelled_caught
        with contextlib.ExitStack() as stack:
            scope = stack.enter_context(trio.CancelScope())
            scope.cancel()
            await trio.sleep_forever()
        assert scope.cancelled_caught

    run(main)


def test_a_scope_cannot_be_left_outside_a_run():
    scopes = []

    async def main():
        scopes.append(trio.CancelScope())
        scopes[0].__enter__()

    # A main that ends inside its scope is no error for trio: nothing is lost.
    run(main)
    with pytest.raises(RuntimeError, match=OUTSIDE_TEXT):
        scopes[0].__exit__(None, None, None)


def test_cancelling_from_another_tasks_abort_function():
    # R14: an abort function may cancel more.
    async def first(scope, other):
        def abort(raise_cancel):
            other.cancel()
            return SUCCEEDED

        with scope:
            await lowlevel.wait_task_rescheduled(abort)

    async def second(scope):
        with scope:
            await trio.sleep_forever()

    async def main():
        a, b = trio.CancelScope(), trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first, a, b)
            nursery.start_soon(second, b)
            await settle()
            a.cancel()
        assert a.cancelled_caught
        assert b.cancelled_caught

    run(main)
