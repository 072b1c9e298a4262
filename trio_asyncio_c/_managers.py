"""Context managers of one flavour, as seen from the other.

A manager is entered and left in one task of its own flavour, with one context: it may
hold time-outs, nurseries and cancel scopes, which belong to a task. While the body
runs, that task waits for it inside of the manager::

    the manager's task                       the caller
      enters                    <--waits--     __aenter__
      waits for the body's end                 runs the body
      leaves                    <--waits--     __aexit__

The body's outcome is raised inside of the manager. When the manager's task is cancelled
meanwhile, the body is, in its own flavour's way, and waited for.
"""

from __future__ import annotations

import asyncio
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from . import _core, _crossing
from ._cancel_reason import cancel_reason
from ._exceptions import Abort, BrokenResourceError, Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._loop import EventLoop

__all__ = ["AsyncioEntry", "TrioEntry"]


def _split_cancelled(
    error: BaseException | None,
) -> tuple[BaseException | None, BaseException | None]:
    """Split into Trio's cancellations and what else there is."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(Cancelled)
    return (error, None) if isinstance(error, Cancelled) else (None, error)


def _warn_of_abandoned(manager: Any, how: str) -> None:
    warnings.warn(
        f"{manager!r} was entered by {how}(), and never left",
        ResourceWarning,
        stacklevel=2,
        source=manager,
    )


class AsyncioEntry(_core.AioEntry):
    """One use of an asyncio-flavoured manager by a Trio task; a class in C is what the
    two tasks wait for."""

    __slots__ = ()

    # In the manager's Task

    async def _serve(self) -> bool | BaseException:
        """Return whether the body's error is not to be raised, or an error that is no
        Task's to raise, for it would end the loop."""
        self._begun = True
        try:
            async with self._manager as value:
                await self._inside(value)
                if self._watch is not None:
                    self._watch.unpark_all()
                if self._abandoned:
                    _warn_of_abandoned(self._manager, "aio_as_trio")
                    assert self._cancelled is not None
                    raise self._cancelled
                if self._outcome is not None:
                    raise self._outcome
        except (SystemExit, KeyboardInterrupt) as error:
            return False if error is self._outcome else error
        except BaseException as error:
            if error is self._outcome:
                return False
            raise
        return True

    def _close_unused(self) -> None:
        _crossing.close_unused(self._manager)

    def _cancel_body(self) -> None:
        """The Task was cancelled, whose manager the body is in."""
        if self._is_abandoned():
            self._abandon()
            return
        self._scope.cancel(reason="the asyncio Task of a context manager was cancelled")
        if self._watch is None:
            self._watch = _core.ParkingLot()
            self._loop.run_trio_task(self._watch_owner, self._watch)

    def _is_abandoned(self) -> bool:
        """Whether the owner can leave the manager no more: it has ended, or waits
        for the end of the loop."""
        return self._owner._runner is None or self._loop._left_by is self._owner

    async def _watch_owner(self, lot: _core.ParkingLot) -> None:
        """Be a Trio task that waits for the owner's end, lest the manager's Task does
        for ever."""
        if self._is_left:
            return
        try:
            _core.add_parking_lot_breaker(self._owner, lot)
            with _core.CancelScope(shield=True):
                await lot.park()
        except BrokenResourceError:
            if not self._is_left:
                self._abandon()
        else:
            _core.remove_parking_lot_breaker(self._owner, lot)

    # In the Trio task

    def _close_scope(self, error: BaseException) -> BaseException | None:
        """Close the body's scope, and return what is left of its error."""
        try:
            caught = self._scope.__exit__(type(error), error, error.__traceback__)
        except BaseException as rest:
            return rest
        return None if caught else error

    async def _exit(self, error: BaseException) -> bool:
        """Leave the manager, and return whether the body's error is suppressed."""
        rest = self._close_scope(error)
        if rest is not None:
            return await self._exit_with(rest, error)
        cancel = self._cancelled
        try:
            if not await self._leave(cancel):
                assert cancel is not None
                raise cancel
        finally:
            del cancel
        return True

    async def _exit_with(
        self, rest: BaseException, error: BaseException | None = None
    ) -> bool:
        """Do so with what the body's scope has left of its error."""
        cancelled, other = _split_cancelled(rest)
        if cancelled is not None and other is None:
            try:
                return await self._leave(self._cancelled or asyncio.CancelledError())
            except asyncio.CancelledError:
                return False
        assert other is not None
        traceback = other.__traceback__
        suppressed = await self._leave(other)
        other.__traceback__ = traceback  # without the frames of the manager's Task
        if not suppressed:
            if rest is error:
                return False
            raise rest
        if cancelled is not None:
            raise cancelled
        return True


_core._set_hooks(aio_entry=AsyncioEntry)


class _CallOutcome(asyncio.Future[Any]):
    """A Future of what the manager's Trio task does next."""

    def __init__(self, call: _core.TrioCall) -> None:
        super().__init__(
            loop=asyncio.get_running_loop()
        )  # which need not be the call's
        self._call = call
        self._message: Any = None

    def cancel(self, msg: Any = None) -> bool:
        if self.done():
            return False
        self._message = msg
        return self._call.cancel(cancel_reason(self, msg)) or super().cancel(msg)

    def call_cancelled(self) -> None:
        super().cancel(self._message)


class TrioEntry:
    """One use of a Trio-flavoured manager by an asyncio Task."""

    def __init__(self, loop: EventLoop, manager: Any) -> None:
        _crossing.check_running(loop)
        self.owner = asyncio.current_task()
        self._loop = loop
        self._manager = manager
        self._body_begun = False
        self._body_over = False
        self._body_cancelled = False
        self._cancelled_body = False
        self._cancels_then: int | None = None
        self._abandoned = False
        self._outcome: BaseException | None = None
        self._parked: _core.Task | None = None
        self._raise_cancel: Callable[[], Any] | None = None
        self._waited: Any = None
        self._ended = False

    # In the manager's Trio task

    async def _serve(self) -> bool:
        """Return whether the body's error is not to be raised."""
        task = _core.entered_task()
        task.name = type(self._manager).__qualname__
        try:
            async with self._manager as value:
                self._waited.set_result(value)
                await self._wait_for_body(task)
                if self._outcome is not None:
                    raise self._outcome
        except BaseException as error:
            if error is self._outcome:
                return False
            raise
        return True

    async def _wait_for_body(self, task: _core.Task) -> None:
        self._parked = task
        try:
            await _core.wait_task_rescheduled(self._abort)
            if self._abandoned and self._raise_cancel is not None:
                self._raise_cancel()
        finally:
            if self._abandoned:
                _warn_of_abandoned(self._manager, "trio_as_aio")
        if self._body_cancelled and self._raise_cancel is not None:
            self._raise_cancel()

    def _abort(self, raise_cancel: Callable[[], Any]) -> Abort:
        if self.owner is not None and self.owner.done():
            self._abandoned = True
            return Abort.SUCCEEDED  # without having left: nobody will
        self._raise_cancel = raise_cancel
        if self.owner is not None:
            self.owner.add_done_callback(self._owner_ended)
        if self._body_begun and not self._body_over:
            self._cancel_body()
        return Abort.FAILED

    def _owner_ended(self, owner: asyncio.Task[Any]) -> None:
        if not self._body_over:
            self._body_over = self._abandoned = True
            assert self._parked is not None
            _core.reschedule(self._parked)

    def _cancel_body(self) -> None:
        owner = self.owner
        if owner is not None:
            self._cancelled_body = True
            if not getattr(owner, "_must_cancel", False):
                self._cancels_then = owner.cancelling()
            owner.cancel("the Trio task of a context manager was cancelled")

    # What the call tells its sink

    def done(self) -> bool:
        return self._ended

    def set_result(self, value: object) -> None:
        self._ended = True
        if self._waited is not None:
            self._waited.set_result(value)

    def set_exception(self, error: BaseException) -> None:
        self._ended = True
        if self._waited is not None:
            self._waited.set_exception(error)
            return
        self._loop.call_exception_handler(
            {"message": "a context manager that nobody left", "exception": error}
        )

    def _call_cancelled(self) -> None:
        self._ended = True
        if self._waited is not None:
            self._waited.call_cancelled()

    # In the asyncio Task

    async def enter(self) -> Any:
        """Return what the manager gives its body."""
        self._call = _crossing.context_on(self._loop).run(
            _core.TrioCall, self._loop, self, self._serve, (), {}
        )
        self._waited = _CallOutcome(self._call)
        try:
            value = await self._waited
        except asyncio.CancelledError as cancel:
            if self._parked is not None and not self._ended:
                # Cancelled between the entry's end and the body.
                with suppress(asyncio.CancelledError):
                    await self._leave(cancel)
            raise
        finally:
            self._waited = None  # its error has this frame in its traceback
        self._cancels_before = self._count_cancels()
        self._body_begun = True
        if self._raise_cancel is not None:
            self._cancel_body()
        return value

    def _count_cancels(self) -> int:
        return 0 if self.owner is None else self.owner.cancelling()

    async def _take_cancel(self) -> None:
        """Take a cancel that the body did not wait for, if it was the manager's only:
        uncancel() leaves it to the next await, from CPython 3.13 on while there are
        older ones."""
        if self._count_cancels() != self._cancels_then:
            return
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        if self._count_cancels() != self._cancels_then:
            # By somebody else as well meanwhile, who is to be heard.
            assert self.owner is not None
            self.owner.cancel()
            self.owner.uncancel()

    async def _leave(self, error: BaseException | None) -> bool:
        """Have the manager left; return whether nothing is to be raised."""
        self._body_over = True
        self._outcome = error
        if isinstance(error, asyncio.CancelledError):
            self._body_cancelled = True
            if not self._cancelled_body:
                self._call.cancel("the body of its 'async with' was cancelled")
        assert self._parked is not None
        _core.reschedule(self._parked)
        self._waited = _CallOutcome(self._call)
        try:
            return bool(await self._waited)
        finally:
            self._outcome = None
            self._waited = None  # its error has this frame in its traceback

    async def exit(self, error: BaseException | None) -> bool:
        """Leave the manager, and return whether the body's error is suppressed."""
        from_outside = False
        if self._cancelled_body:
            assert self.owner is not None
            self.owner.uncancel()
            if getattr(self.owner, "_must_cancel", False):
                await self._take_cancel()
            from_outside = self._count_cancels() > self._cancels_before
        traceback = None if error is None else error.__traceback__
        try:
            suppressed = await self._leave(error)
        except asyncio.CancelledError:
            if isinstance(error, asyncio.CancelledError):
                return False
            raise
        if error is None:
            return False
        error.__traceback__ = traceback  # without the frames of the manager's task
        if isinstance(error, asyncio.CancelledError) and from_outside:
            return False
        return suppressed
