"""Cancel scopes in asyncio Tasks: which CancelledError ends where, and who is counted.

A scope ends its own cancels and no others': what anybody else has asked for with
task.cancel() arrives, with its message, whatever happened before.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from trio_asyncio_c import CancelScope, TooSlowError, fail_after, move_on_after

from ._scoped import call_soon, cancel_soon, in_tasks, now, this_task


async def forget_cancel():
    """Take all cancels of this Task back, and see that none is left to be thrown."""
    task = this_task()
    while task.cancelling():
        task.uncancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


@in_tasks
async def test_outside_cancel_passes():
    task = this_task()
    with pytest.raises(asyncio.CancelledError) as info:
        with CancelScope() as scope:
            call_soon(task.cancel, "stop")
            await asyncio.sleep(1)
    assert info.value.args == ("stop",)
    assert task.cancelling() == 1 and not scope.cancelled_caught
    await forget_cancel()


@in_tasks
async def test_merge_own_then_outside():
    task = this_task()
    with pytest.raises(asyncio.CancelledError) as info:
        with CancelScope() as scope:
            cancel_soon(scope)
            call_soon(task.cancel, "stop")
            await asyncio.sleep(1)
    assert info.value.args == ("stop",)
    assert task.cancelling() == 1 and not scope.cancelled_caught
    await forget_cancel()


@in_tasks
async def test_merge_outside_then_own():
    task = this_task()
    with pytest.raises(asyncio.CancelledError) as info:
        with CancelScope() as scope:
            call_soon(task.cancel, "stop")
            cancel_soon(scope)
            await asyncio.sleep(1)
    assert info.value.args == ("stop",)
    assert task.cancelling() == 1 and not scope.cancelled_caught
    await forget_cancel()


@in_tasks
async def test_merge_with_two_outside_messages():
    """asyncio has one place for a message that waits: the last one shows."""
    task = this_task()
    with pytest.raises(asyncio.CancelledError) as info:
        with CancelScope() as scope:
            cancel_soon(scope)
            call_soon(task.cancel, "first")
            call_soon(task.cancel, "second")
            await asyncio.sleep(1)
    assert info.value.args == ("second",)
    assert task.cancelling() == 2
    await forget_cancel()


@in_tasks
async def test_outside_without_a_message():
    task = this_task()
    with pytest.raises(asyncio.CancelledError) as info:
        with CancelScope() as scope:
            cancel_soon(scope)
            call_soon(task.cancel)
            await asyncio.sleep(1)
    assert info.value.args == ()
    await forget_cancel()


@in_tasks
async def test_outside_during_refusing_cleanup():
    task = this_task()
    with pytest.raises(asyncio.CancelledError) as info:
        with CancelScope() as scope:
            scope.cancel()
            for _ in range(4):
                try:
                    await asyncio.sleep(1)
                except asyncio.CancelledError:
                    pass
            task.cancel("stop")
            await asyncio.sleep(1)
    assert info.value.args == ("stop",)
    assert task.cancelling() == 1 and not scope.cancelled_caught
    await forget_cancel()


@in_tasks
async def test_outside_swallowed_in_our_episode_passes_all_the_same():
    """Nobody took it back: asyncio.timeout() reads it so too."""
    task = this_task()
    with pytest.raises(asyncio.CancelledError) as info:
        with CancelScope() as scope:
            scope.cancel()
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                task.cancel("stop")
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                pass
            await asyncio.sleep(1)
    assert info.value.args == ("stop",)
    assert task.cancelling() == 1
    await forget_cancel()


@in_tasks
async def test_own_only_refusing_cleanup():
    with CancelScope() as scope:
        scope.cancel()
        for _ in range(4):
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                pass
        await asyncio.sleep(1)
    assert scope.cancelled_caught and this_task().cancelling() == 0


@in_tasks
async def test_outside_swallowed_before_entry():
    task = this_task()
    try:
        call_soon(task.cancel)
        await asyncio.sleep(1)
    except asyncio.CancelledError:
        pass
    assert task.cancelling() == 1
    with move_on_after(1) as scope:
        await asyncio.sleep(10)
    assert scope.cancelled_caught and task.cancelling() == 1
    task.uncancel()


@in_tasks
async def test_outside_swallowed_inside_before_episode():
    task = this_task()
    with move_on_after(1) as scope:
        try:
            call_soon(task.cancel)
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            pass
        await asyncio.sleep(10)
    assert scope.cancelled_caught and task.cancelling() == 1
    task.uncancel()


@in_tasks
async def test_outside_swallowed_inside_and_a_shielded_cleanup():
    """The cleanup has a scope of its own, which ends first."""
    task = this_task()
    with move_on_after(1) as scope:
        try:
            call_soon(task.cancel)
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            pass
        try:
            await asyncio.sleep(10)
        finally:
            with move_on_after(1, shield=True) as inner:
                await asyncio.sleep(10)
            assert inner.cancelled_caught
    assert scope.cancelled_caught and task.cancelling() == 1
    task.uncancel()


@in_tasks
async def test_own_in_finally_of_outside():
    task = this_task()
    with pytest.raises(asyncio.CancelledError) as info:
        with CancelScope() as scope:
            try:
                call_soon(task.cancel, "stop")
                await asyncio.sleep(10)
            finally:
                cancel_soon(scope)
                await asyncio.sleep(10)
    assert info.value.args == ("stop",)
    assert task.cancelling() == 1 and not scope.cancelled_caught
    await forget_cancel()


async def rest(seconds=10):
    await asyncio.sleep(seconds)


async def guarded(body, cleanup):
    try:
        await body()
    except BaseException:
        await cleanup()
        raise


async def shielded():
    with CancelScope(shield=True):
        await asyncio.sleep(1)


async def generator_with(cleanup):
    try:
        yield await rest()
    finally:
        await cleanup()


async def consume(cleanup):
    async for _ in generator_with(cleanup):
        pass


@contextlib.asynccontextmanager
async def manager(cleanup):
    try:
        yield
    finally:
        await cleanup()


async def use_manager(cleanup):
    async with manager(cleanup):
        await rest()


class Awaitable:
    """What wraps a coroutine, and does not tell."""

    def __init__(self, coro):
        self.coro = coro

    def __await__(self):
        return self.coro.__await__()


async def group_of_asyncio(cleanup):
    async with asyncio.TaskGroup():
        await guarded(rest, cleanup)


CLEANUPS = {
    "coroutine": lambda cleanup: guarded(rest, cleanup),
    "generator": consume,
    "manager": use_manager,
    "awaitable": lambda cleanup: Awaitable(guarded(rest, cleanup)),
    "TaskGroup": group_of_asyncio,
    "task": lambda cleanup: asyncio.create_task(guarded(rest, cleanup)),
}


@pytest.mark.parametrize("kind", CLEANUPS)
@in_tasks
async def test_own_in_a_cleanup_of_outside_that_cleans_up_too(kind):
    """By then the error does not know any more what it was raised in."""
    task = this_task()
    asyncio.get_running_loop().call_later(0.5, task.cancel, "stop")
    with pytest.raises(asyncio.CancelledError, match="stop"):
        with move_on_after(1) as scope:
            await CLEANUPS[kind](lambda: guarded(rest, shielded))
    assert task.cancelling() == 1 and not scope.cancelled_caught
    await forget_cancel()


@in_tasks
async def test_self_cancel_while_own_in_flight():
    """Nothing has been thrown for it when the scope is left: it is the next await's."""
    task = this_task()
    with CancelScope() as scope:
        try:
            cancel_soon(scope)
            await asyncio.sleep(10)
        finally:
            task.cancel("stop")
    assert scope.cancelled_caught and task.cancelling() == 1
    with pytest.raises(asyncio.CancelledError, match="stop"):
        await asyncio.sleep(0)
    await forget_cancel()


@in_tasks
async def test_scope_and_task_cancel_while_running():
    task = this_task()
    with pytest.raises(asyncio.CancelledError) as info:
        with CancelScope() as scope:
            scope.cancel()
            task.cancel("stop")
            await asyncio.sleep(1)
    assert info.value.args == ("stop",)
    assert task.cancelling() == 1 and not scope.cancelled_caught
    await forget_cancel()


@in_tasks
async def test_passed_on_token_is_foreign():
    """The scope further out, cancelled while it unwinds, does not take it for its
    own."""
    task = this_task()
    with pytest.raises(asyncio.CancelledError) as info:
        with CancelScope() as outer:
            try:
                with CancelScope() as inner:
                    cancel_soon(inner)
                    call_soon(task.cancel, "stop")
                    await asyncio.sleep(1)
            finally:
                cancel_soon(outer)
                try:
                    await asyncio.sleep(1)
                except asyncio.CancelledError:
                    pass
    assert info.value.args == ("stop",)
    assert task.cancelling() == 1
    assert not inner.cancelled_caught and not outer.cancelled_caught
    await forget_cancel()


@in_tasks
async def test_replaced_cancellederror_is_swallowed():
    with CancelScope() as scope:
        scope.cancel()
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError as exc:
            raise asyncio.CancelledError("another") from exc
    assert scope.cancelled_caught and this_task().cancelling() == 0


@in_tasks
async def test_cancellederror_subclass():
    class Ours(asyncio.CancelledError):
        pass

    with CancelScope() as scope:
        scope.cancel()
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError as exc:
            raise Ours from exc
    assert scope.cancelled_caught


@in_tasks
async def test_stray_child_cancel_not_swallowed():
    """A cancel that was not thrown yet ends nobody's CancelledError."""
    child = asyncio.create_task(asyncio.sleep(10))
    await asyncio.sleep(0)
    child.cancel("child")
    await asyncio.wait([child])
    with pytest.raises(asyncio.CancelledError) as info:
        with CancelScope() as scope:
            scope.cancel()
            await child
    assert info.value.args == ("child",)
    assert scope.cancel_called and not scope.cancelled_caught
    assert this_task().cancelling() == 0


@in_tasks
async def test_stray_child_cancel_in_a_live_scope():
    child = asyncio.create_task(asyncio.sleep(10))
    with pytest.raises(asyncio.CancelledError):
        with CancelScope() as scope:
            call_soon(child.cancel)
            await child
    assert not scope.cancelled_caught
    assert this_task().cancelling() == 0


@in_tasks
async def test_errors_pass():
    for error in (LookupError("x"), KeyboardInterrupt, SystemExit(3), GeneratorExit):
        scope = CancelScope()
        try:
            with scope:
                scope.cancel()
                try:
                    await asyncio.sleep(1)
                finally:
                    raise error
        except BaseException as exc:
            assert exc is error or type(exc) is error
            assert isinstance(exc.__context__, asyncio.CancelledError)
        else:
            raise AssertionError("swallowed")
        assert not scope.cancelled_caught
        assert this_task().cancelling() == 0
        await asyncio.sleep(0)


@in_tasks
async def test_group_split_keeps_rest_context():
    origin = OSError("origin")
    with pytest.raises(ExceptionGroup) as info:
        with CancelScope() as scope:
            scope.cancel()
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError as exc:
                group = BaseExceptionGroup("two", [exc, ValueError("rest")])
                group.add_note("a note")
                raise group from origin
    assert scope.cancelled_caught and this_task().cancelling() == 0
    rest = info.value
    assert rest.message == "two"
    assert [repr(each) for each in rest.exceptions] == ["ValueError('rest')"]
    assert rest.__cause__ is origin
    assert rest.__notes__ == ["a note"]


@in_tasks
async def test_group_of_nothing_else_ends():
    with CancelScope() as scope:
        scope.cancel()
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError as exc:
            inner = BaseExceptionGroup("inner", [exc])
            raise BaseExceptionGroup("outer", [inner, asyncio.CancelledError()])
    assert scope.cancelled_caught and this_task().cancelling() == 0


@in_tasks
async def test_group_without_a_cancel_is_untouched():
    group = ExceptionGroup("errors", [ValueError(), OSError()])
    with pytest.raises(ExceptionGroup) as info:
        with CancelScope() as scope:
            scope.cancel()
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                raise group from None
    assert info.value is group and not scope.cancelled_caught


@in_tasks
async def test_group_with_an_outside_cancel_passes():
    task = this_task()
    with pytest.raises(BaseExceptionGroup) as info:
        with CancelScope() as scope:
            cancel_soon(scope)
            call_soon(task.cancel, "stop")
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError as exc:
                raise BaseExceptionGroup("two", [exc, ValueError("rest")]) from None
    cancelled, error = info.value.exceptions
    assert cancelled.args == ("stop",) and repr(error) == "ValueError('rest')"
    assert not scope.cancelled_caught and task.cancelling() == 1
    await forget_cancel()


# ---- two scopes ----


@in_tasks
async def test_nested_outer_visible_moves_counts():
    task = this_task()
    with CancelScope() as outer:
        with CancelScope() as inner:
            try:
                cancel_soon(outer)
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                pass
            try:
                await asyncio.sleep(1)
            finally:
                assert task.cancelling() == 2
        raise AssertionError("ended too early")
    assert outer.cancelled_caught and not inner.cancelled_caught
    assert task.cancelling() == 0


@in_tasks
async def test_counts_stay_when_an_inner_scope_is_left():
    task = this_task()
    with CancelScope() as outer:
        with CancelScope() as inner:
            try:
                cancel_soon(outer)
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                pass
        assert not inner.cancelled_caught
        assert task.cancelling() == 1
    assert not outer.cancelled_caught
    assert task.cancelling() == 0


@in_tasks
async def test_nested_inner_first_then_outer():
    with CancelScope() as outer:
        with CancelScope() as inner:
            try:
                cancel_soon(inner)
                await asyncio.sleep(1)
            finally:
                outer.cancel()
        raise AssertionError("ended too early")
    assert outer.cancelled_caught and not inner.cancelled_caught
    assert this_task().cancelling() == 0


@in_tasks
async def test_inner_ends_outer_lives():
    with CancelScope() as outer:
        with CancelScope() as inner:
            cancel_soon(inner)
            await asyncio.sleep(1)
        assert inner.cancelled_caught and this_task().cancelling() == 0
        await asyncio.sleep(1)
        cancel_soon(outer)
        await asyncio.sleep(1)
        raise AssertionError("not thrown")
    assert outer.cancelled_caught and this_task().cancelling() == 0


@in_tasks
async def test_a_scope_entered_in_cleanup():
    """Two episodes, one in the other's cleanup under a shield."""
    task = this_task()
    with CancelScope() as outer:
        try:
            cancel_soon(outer)
            await asyncio.sleep(10)
        finally:
            with CancelScope(shield=True):
                with move_on_after(1) as inner:
                    await asyncio.sleep(10)
                assert inner.cancelled_caught and task.cancelling() == 1
                await asyncio.sleep(1)
    assert outer.cancelled_caught and task.cancelling() == 0
    assert now() == 2


@in_tasks
async def test_outside_cancel_through_three():
    task = this_task()
    with pytest.raises(asyncio.CancelledError, match="stop"):
        with CancelScope() as one, CancelScope(shield=True), move_on_after(5) as three:
            call_soon(task.cancel, "stop")
            cancel_soon(one)
            await asyncio.sleep(10)
    assert not one.cancelled_caught and not three.cancelled_caught
    assert task.cancelling() == 1
    await forget_cancel()


# ---- the counts ----


@in_tasks
async def test_what_cancelling_shows():
    task = this_task()
    shown = [task.cancelling()]
    with CancelScope() as scope:
        scope.cancel()
        shown.append(task.cancelling())
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            shown.append(task.cancelling())
        with CancelScope(shield=True):
            await asyncio.sleep(1)
            shown.append(task.cancelling())
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            shown.append(task.cancelling())
    shown.append(task.cancelling())
    assert shown == [0, 0, 1, 1, 2, 0]


@in_tasks
async def test_the_count_is_taken_back_however_it_is_left():
    task = this_task()

    async def leave(how):
        with CancelScope() as scope:
            scope.cancel()
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                if how == "error":
                    raise LookupError from None
                if how == "return":
                    return
                if how == "raise":
                    raise

    for how in ("raise", "return", "clean"):
        await leave(how)
        assert task.cancelling() == 0
    with pytest.raises(LookupError):
        await leave("error")
    assert task.cancelling() == 0
    await asyncio.sleep(0)


@in_tasks
async def test_user_uncancel_documented():
    """N1: a user's uncancel() of our count is not seen; the count never gets
    negative, and with an outside cancel waiting it is that one which is forgiven."""
    task = this_task()
    with CancelScope() as scope:
        scope.cancel()
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            assert task.uncancel() == 0
        try:
            await asyncio.sleep(1)
        finally:
            assert task.cancelling() == 1
    assert scope.cancelled_caught and task.cancelling() == 0
    with CancelScope() as scope:
        cancel_soon(scope)
        call_soon(task.cancel, "stop")
        try:
            await asyncio.sleep(1)
        finally:
            assert task.uncancel() == 1
    assert scope.cancelled_caught and task.cancelling() == 0
    await asyncio.sleep(0)


@in_tasks
async def test_a_task_that_ends_in_its_scopes_has_the_count():
    """Who asks a Task that has ended sees what was left."""

    async def child():
        with CancelScope() as scope:
            cancel_soon(scope)
            await asyncio.sleep(1)
        return this_task().cancelling()

    assert await asyncio.create_task(child()) == 0


# ---- errors in place of it ----


@in_tasks
async def test_fail_after_raises_TooSlowError():
    with pytest.raises(TooSlowError) as info:
        with fail_after(1) as scope:
            await asyncio.sleep(10)
    assert isinstance(info.value, TimeoutError)
    assert isinstance(info.value.__cause__, asyncio.CancelledError)
    assert scope.cancelled_caught and this_task().cancelling() == 0
    assert now() == 1


@in_tasks
async def test_fail_after_raises_for_cancel_too():
    with pytest.raises(TooSlowError):
        with fail_after(10) as scope:
            cancel_soon(scope)
            await asyncio.sleep(5)
    assert now() == 0


@in_tasks
async def test_fail_after_in_time():
    with fail_after(10) as scope:
        await asyncio.sleep(5)
    assert not scope.cancelled_caught
    with fail_after(1) as scope:
        await asyncio.sleep(0.5)
        scope.cancel()
    assert not scope.cancelled_caught


@in_tasks
async def test_fail_after_lets_others_cancels_pass():
    task = this_task()
    with pytest.raises(asyncio.CancelledError, match="stop"):
        with fail_after(1):
            call_soon(task.cancel, "stop")
            await asyncio.sleep(5)
    await forget_cancel()
    with CancelScope() as outer:
        with fail_after(1):
            with CancelScope(shield=True):
                await asyncio.sleep(5)
            outer.cancel()
            await asyncio.sleep(5)
    assert outer.cancelled_caught


@in_tasks
async def test_fail_after_with_another_error():
    with pytest.raises(LookupError):
        with fail_after(1) as scope:
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                raise LookupError from None
    assert scope.cancel_called and not scope.cancelled_caught


@in_tasks
async def test_fail_after_with_a_group():
    """What is not its own goes on in place of TooSlowError; if all is, that comes."""
    with pytest.raises(ExceptionGroup) as info:
        with fail_after(1) as scope:
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError as exc:
                raise BaseExceptionGroup("two", [exc, OSError("rest")]) from None
    assert (
        scope.cancelled_caught and repr(info.value.exceptions[0]) == "OSError('rest')"
    )
    with pytest.raises(TooSlowError) as info:
        with fail_after(1):
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError as exc:
                raise BaseExceptionGroup("one", [exc]) from None
