"""Starting and ending runs: the part that runs once a run."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
import warnings
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, TypeVarTuple

from . import _core, _core_hooks
from ._asyncgens import AsyncGenerators
from ._core_hooks import CancelReason, make_outcome
from ._exceptions import RunFinishedError, TrioInternalError
from ._ki import KIManager, enable_ki_protection, in_main_thread

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
                CancelReason(
                    "shutdown", "main task done, shutting down system tasks", who
                )
            )
        await asyncgens.finalize_remaining(runner)
        entry_nursery.cancel_scope._cancel(
            CancelReason(
                "shutdown",
                "main task done, shutting down run_sync_soon callbacks",
                who,
            )
        )


_left_open: list[_SignalWakeup] = []
# The descriptors that signals write to: a child process has to let go of them.
wakeup_fds: set[int] = set()


class _SignalWakeup:
    """Makes signals end the wait in the kernel: CPython's handler writes a
    byte to a socket that the poller watches. Main thread only.
    """

    def __init__(self, runner: _core.Runner) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        runner.watch_signals(self._read.fileno())
        wakeup_fds.add(self._write.fileno())
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
        wakeup_fds.discard(self._write.fileno())
        self._read.close()
        self._write.close()


class Environment(NamedTuple):
    """What a run sets up around the core."""

    asyncgens: Callable[[], Any]
    """Makes the run's async generator hooks, as `AsyncGenerators`."""
    ki_manager: Callable[[], Any]
    """Makes its handler of Ctrl-C, as `KIManager`."""
    outcome: Callable[[Any, BaseException | None], Any]
    """Makes an outcome of (value, error)."""
    random: random.Random
    """Seeds the scheduler's own generator."""
    is_deterministic: Callable[[], bool]
    """Whether the order of tasks shall be a function of the seed."""
    prepare: Callable[[_core.Runner], object]
    """Gives a new runner the attributes that others expect of it."""


environment = Environment(
    asyncgens=AsyncGenerators,
    ki_manager=KIManager,
    outcome=make_outcome,
    random=random.Random(),
    is_deterministic=lambda: False,
    prepare=lambda runner: None,
)
"""Trio's own parts take the place of these where Trio runs on the core, so
that both packages' runs know of the same generators and protected functions.
"""


def _check_not_nested(*, guest: bool) -> None:
    """Refuse a run inside of a run.

    A callback of a loop that has a run of its own is no such place, nor is,
    for a guest run, any loop's: the loop is the host then.
    """
    if guest and _core._has_guest():
        raise RuntimeError("Attempted to call run() from inside a run()")
    if not _core.in_trio_run():
        return
    loop = asyncio._get_running_loop()
    hosted = isinstance(loop, _core.LoopCore) and not _core.in_trio_task()
    if not hosted or not (guest or hasattr(loop, "_own_runner")):
        raise RuntimeError("Attempted to call run() from inside a run()")


class Run:
    """One run, from start to end: what `run` and a guest run share."""

    def __init__(
        self,
        clock: Clock | None,
        instruments: Iterable[Instrument],
        restrict_ki: bool,
        strict: bool,
        *,
        guest: bool = False,
    ) -> None:
        _check_not_nested(guest=guest)
        self._clock = clock
        self.runner = runner = _core.Runner(
            clock, copy_context(), environment.random.getrandbits(64), strict
        )
        runner.deterministic = environment.is_deterministic()
        self._asyncgens = environment.asyncgens()
        self._ki = environment.ki_manager()
        self._wakeup: _SignalWakeup | None = None
        runner.asyncgens = self._asyncgens
        runner.ki_manager = self._ki
        environment.prepare(runner)
        for instrument in instruments:
            runner.add_instrument(instrument)
        self.host_hooks = sys.get_asyncgen_hooks()
        self._asyncgens.install_hooks(runner)
        self._ki.install(self._deliver_ki, restrict_ki)

    def _deliver_ki(self) -> None:
        self.runner.ki_pending = True
        try:
            self.runner.run_sync_soon(self.runner.deliver_ki)
        except RunFinishedError:
            pass  # raised at the end of the run

    def start(
        self,
        async_fn: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        wake_on_signals: bool,
    ) -> None:
        """Spawn the first task. To be called inside of the runner."""
        runner = self.runner
        if wake_on_signals and in_main_thread():
            self._wakeup = _SignalWakeup(runner)
        runner.call_instruments(_BEFORE_RUN)
        if self._clock is not None:
            self._clock.start_clock()
        runner.spawn_init(_init, (runner, self._asyncgens, async_fn, args))

    def close(self) -> None:
        """Undo all that was set up."""
        self.runner.close()
        self._asyncgens.close()
        self.runner.call_instruments(_AFTER_RUN)
        if in_main_thread():
            self._ki.close()
            if self._wakeup is not None:
                self._wakeup.close()
        elif self._wakeup is not None:
            # A guest run of the main thread that was closed in another one,
            # where signal handlers cannot be changed. The descriptors stay
            # open: signals would write to whatever gets their numbers next.
            _left_open.append(self._wakeup)

    def get_outcome(self) -> tuple[Any, BaseException | None]:
        """Return the main task's (value, error); a Ctrl-C that nobody took is
        the error.
        """
        value, error = self.runner.get_outcome() or (None, None)
        if self.runner.ki_pending:
            interrupt = KeyboardInterrupt()
            interrupt.__context__ = error
            return None, interrupt
        return value, error

    @enable_ki_protection
    def drive(
        self, async_fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...]
    ) -> None:
        """Run it all. To be called inside of the runner."""
        try:
            self.start(async_fn, args, wake_on_signals=True)
            self.runner.drive()
        except TrioInternalError:
            raise
        except BaseException as error:
            raise TrioInternalError(
                "internal error in Trio - please file a bug!"
            ) from error
        finally:
            self.close()


@enable_ki_protection
def run_to_end(
    one_run: Run, async_fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...]
) -> Any:
    """Run ``async_fn(*args)`` and return or raise its outcome."""
    __tracebackhide__ = True
    one_run.runner.call_inside(one_run.drive, async_fn, args)
    value, error = one_run.get_outcome()
    if error is None:
        return value
    try:
        raise error
    finally:
        # No cycle by way of this frame, which is in the traceback.
        del error, value, one_run, args


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
    if not strict_exception_groups:
        _core_hooks.warn_nonstrict("trio.run", stacklevel=3)
    one_run = Run(
        clock,
        instruments,
        restrict_keyboard_interrupt_to_checkpoints,
        bool(strict_exception_groups),
    )
    value: T = run_to_end(one_run, async_fn, args)
    return value


def make_paused_runner(
    main: Callable[..., Awaitable[Any]], *args: Any, clock: Clock | None = None
) -> _core.Runner:
    """Return a runner whose main task ``main(*args)`` has called
    ``current_runner().pause()``, and which is driven whenever its owner likes.

    It handles no signals and installs no hooks: that is the owner's affair.
    """
    seed = environment.random.getrandbits(64)
    runner = _core.Runner(clock, copy_context(), seed, True)
    asyncgens = environment.asyncgens()
    runner.asyncgens = asyncgens
    if clock is not None:
        runner.call_inside(clock.start_clock)
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
    _, error = runner.get_outcome() or (None, None)
    if error is not None:
        raise error


def _after_fork_in_child() -> None:
    """A child is in no run, has none of the worker threads, and must not wake
    its parent when it gets a signal.
    """
    _core._after_fork_in_child()
    if wakeup_fds:
        fd = signal.set_wakeup_fd(-1)
        if fd not in wakeup_fds:
            signal.set_wakeup_fd(fd)
        wakeup_fds.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
