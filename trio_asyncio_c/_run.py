"""Starting and ending runs: the part that runs once a run."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import warnings
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from . import _core, _core_hooks
from ._asyncgens import AsyncGenerators
from ._exceptions import RunFinishedError, TrioInternalError
from ._ki import KIManager, enable_ki_protection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from .abc import Clock, Instrument

__all__ = ["run"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_BEFORE_RUN, _AFTER_RUN = 0, 1


async def _init(
    runner: _core.Runner,
    asyncgens: AsyncGenerators,
    async_fn: Callable[..., Awaitable[Any]],
    args: tuple[Any, ...],
) -> None:
    """The root of the task tree.

    Three nurseries, one in the other, for three lives: run_sync_soon outlives
    the async generators' finalisation, which follows the system tasks' end,
    which follows the main task's.
    """
    who = repr(runner.init_task)
    async with _core.open_nursery() as entry_nursery:
        async with _core.open_nursery() as system_nursery:
            runner.system_nursery = system_nursery
            async with _core.open_nursery() as main_nursery:
                try:
                    runner.spawn_main(async_fn, args, main_nursery)
                except BaseException as error:
                    runner.fail_main(error)
                    return
                runner.start_entry_queue(entry_nursery)
            system_nursery.cancel_scope._cancel(
                "shutdown", "main task done, shutting down system tasks", who
            )
        await asyncgens.finalize_remaining(runner)
        entry_nursery.cancel_scope._cancel(
            "shutdown",
            "main task done, shutting down run_sync_soon callbacks",
            who,
        )


class _SignalWakeup:
    """Makes signals end the wait in the kernel: CPython's handler writes a
    byte to a socket that the poller watches. Main thread only.
    """

    def __init__(self, runner: _core.Runner) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        runner.watch_signals(self._read.fileno())
        self._old = signal.set_wakeup_fd(
            self._write.fileno(), warn_on_full_buffer=False
        )
        if self._old != -1:
            warnings.warn(
                "It looks like Trio's signal handling code might have "
                "collided with another library you're using: something else "
                "had called signal.set_wakeup_fd() in this thread.",
                RuntimeWarning,
                stacklevel=2,
            )

    def close(self) -> None:
        signal.set_wakeup_fd(self._old)
        self._read.close()
        self._write.close()


class _Run:
    """One call of run(), from start to end."""

    def __init__(self, clock: Clock | None, strict: bool) -> None:
        self.clock = clock
        self.runner = _core.Runner(
            clock, copy_context(), random.getrandbits(64), strict
        )
        self.asyncgens = AsyncGenerators()
        self.runner.asyncgens = self.asyncgens
        self._ki = KIManager()
        self._wakeup: _SignalWakeup | None = None

    def _deliver_ki(self) -> None:
        self.runner.ki_pending = True
        try:
            self.runner.run_sync_soon(self.runner.deliver_ki)
        except RunFinishedError:
            pass  # raised at the end of run()

    def _open(self, restrict_ki: bool) -> None:
        self.asyncgens.install(self.runner)
        self._ki.install(self._deliver_ki, restrict_ki)
        if threading.current_thread() is threading.main_thread():
            self._wakeup = _SignalWakeup(self.runner)

    def _close(self) -> None:
        self.runner.close()
        self.asyncgens.close()
        self.runner.call_instruments(_AFTER_RUN)
        self._ki.close()
        if self._wakeup is not None:
            self._wakeup.close()

    @enable_ki_protection
    def _drive(
        self, async_fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...]
    ) -> None:
        runner = self.runner
        try:
            runner.call_instruments(_BEFORE_RUN)
            if self.clock is not None:
                self.clock.start_clock()
            runner.spawn_init(_init, (runner, self.asyncgens, async_fn, args))
            runner.drive()
        except TrioInternalError:
            raise
        except BaseException as error:
            raise TrioInternalError(
                "internal error in Trio - please file a bug!"
            ) from error
        finally:
            self._close()

    @enable_ki_protection
    def run(
        self,
        async_fn: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        instruments: Iterable[Instrument],
        restrict_ki: bool,
    ) -> Any:
        __tracebackhide__ = True
        runner = self.runner
        for instrument in instruments:
            runner.add_instrument(instrument)
        self._open(restrict_ki)
        runner.call_inside(self._drive, async_fn, args)
        value, error = runner.take_outcome() or (None, None)
        if runner.ki_pending:
            interrupt = KeyboardInterrupt()
            interrupt.__context__ = error
            error = interrupt
        if error is None:
            return value
        try:
            raise error
        finally:
            # No cycle by way of this frame, which is in the traceback.
            del error, value, self, runner, args


def run(
    async_fn: Callable[[*Ts], Awaitable[T]],
    *args: *Ts,
    clock: Clock | None = None,
    instruments: Iterable[Instrument] = (),
    restrict_keyboard_interrupt_to_checkpoints: bool = False,
    strict_exception_groups: bool = True,
) -> T:
    """Run a Trio-flavoured async function, and return what it returns.

    Args:
      async_fn: an async function; the main task calls it with ``args``.
      clock: an `abc.Clock`, or None for the system's monotonic clock.
      instruments: `abc.Instrument` objects that watch the run.
      restrict_keyboard_interrupt_to_checkpoints: raise KeyboardInterrupt only
        at checkpoints of the main task.
      strict_exception_groups: False to let single errors leave nurseries
        bare (deprecated).

    Raises:
      RuntimeError: when called inside of a run.
      TrioInternalError: when the run loop itself fails.
      BaseException: whatever ``async_fn`` raises.
    """
    __tracebackhide__ = True
    if _core.in_trio_run():
        raise RuntimeError("Attempted to call run() from inside a run()")
    if not strict_exception_groups:
        _core_hooks.warn_nonstrict("trio.run")
    one_run = _Run(clock, bool(strict_exception_groups))
    value: T = one_run.run(
        async_fn,
        args,
        instruments,
        restrict_keyboard_interrupt_to_checkpoints,
    )
    return value


def make_paused_runner(main: Callable[..., Awaitable[Any]], *args: Any) -> _core.Runner:
    """Return a runner whose main task ``main(*args)`` has called
    ``current_runner().pause()``, and which is driven whenever its owner likes.

    It handles no signals and installs no hooks: that is the owner's affair.
    """
    runner = _core.Runner(None, copy_context(), random.getrandbits(64), True)
    asyncgens = AsyncGenerators()
    runner.asyncgens = asyncgens
    runner.call_inside(runner.spawn_init, _init, (runner, asyncgens, main, args))
    runner.drive()
    return runner


def finish_paused_runner(runner: _core.Runner) -> None:
    """Drive a runner whose main task is about to end till all of it has
    ended, and close it.

    Raises:
      BaseException: whatever the main task raised.
    """
    try:
        while runner.tasks:
            runner.drive()
    finally:
        runner.close()
    _, error = runner.take_outcome() or (None, None)
    if error is not None:
        raise error


if hasattr(os, "register_at_fork"):
    # A child is in no run, and has none of the worker threads.
    os.register_at_fork(after_in_child=_core._after_fork_in_child)
