"""Guest mode: a run on top of another event loop.

The host loop calls the halves of each turn. While nothing is due, a thread of
the thread cache waits for the kernel, and asks the host to go on when there
are events. The host's own code runs between the turns: it may cancel scopes,
spawn tasks and reschedule, which ends the wait.
"""

from __future__ import annotations

import sys
import warnings
from asyncio import events
from typing import TYPE_CHECKING, Any

from . import _core, _core_hooks, _run
from ._exceptions import TrioInternalError
from ._ki import enable_ki_protection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable

    from .abc import Clock, Instrument

    Schedule = Callable[[Callable[[], object]], object]

__all__ = ["start_guest_run"]

# The turns in which the init task gets as far as its second nursery.
_MAX_FIRST_TURNS = 5


@enable_ki_protection
def _turns(
    one_run: _run.Run,
    async_fn: Callable[..., Awaitable[Any]],
    args: tuple[Any, ...],
    wake_on_signals: bool,
) -> Generator[float, object, None]:
    """The run as a generator: yields how long the host may wait, is sent
    whether there were events.

    Nothing that it refers to refers to it: if the host forgets the run, it is
    closed by the garbage collector.
    """
    runner = one_run.runner
    try:
        runner.call_inside(one_run.start, async_fn, args, wake_on_signals)
        goes_on = True
        while goes_on:
            timeout: float = runner.call_inside(runner.begin_turn)
            found = yield timeout
            goes_on = runner.call_inside(runner.finish_turn, found)
    except GeneratorExit:
        warnings.warn(
            "Trio guest run got abandoned without properly finishing... weird "
            "stuff might happen",
            RuntimeWarning,
            stacklevel=1,
        )
    except TrioInternalError:
        raise
    except BaseException as error:
        raise TrioInternalError(
            "internal error in Trio - please file a bug!"
        ) from error
    finally:
        # The hooks are the host's own affair, whoever closes the run.
        hooks = sys.get_asyncgen_hooks()
        one_run.close()
        sys.set_asyncgen_hooks(*hooks)
        runner.detach()


class Guest:
    """What the host's callbacks drive."""

    def __init__(
        self,
        one_run: _run.Run,
        turns: Generator[float, object, None],
        threadsafe: Schedule,
        not_threadsafe: Schedule,
        done_callback: Callable[[Any], object],
        get_events: Callable[[float], object],
    ) -> None:
        self._run = one_run
        self._turns = turns
        self._threadsafe = threadsafe
        self._not_threadsafe = not_threadsafe
        self._done_callback = done_callback
        self._get_events = get_events
        self._hooks = sys.get_asyncgen_hooks()
        # What the generator gets next: events, or an error to throw into it.
        self._events: object = None
        self._error: BaseException | None = None

    def first_turns(self) -> None:
        """Run the turns before any code of the user's, so that an error that
        is there from the start is raised by start_guest_run().
        """
        runner = self._run.runner
        for _ in range(_MAX_FIRST_TURNS):
            if runner.system_nursery is not None:
                break
            if self._resume() != 0:
                self._turns.throw(
                    TrioInternalError(
                        "Guest runner blocked before system nursery was initialized"
                    )
                )
        else:
            self._turns.throw(
                TrioInternalError(
                    "Guest runner yielded too many times before system nursery "
                    "was initialized"
                )
            )
        self._not_threadsafe(self.tick)

    def _resume(self) -> float:
        # What belongs to the thread is the run's own during a turn only.
        host_loop = events._get_running_loop()
        host_hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(*self._hooks)
        try:
            error, self._error = self._error, None
            if error is not None:
                return self._turns.throw(error)
            found, self._events = self._events, None
            return self._turns.send(found)
        finally:
            sys.set_asyncgen_hooks(*host_hooks)
            events._set_running_loop(host_loop)

    def _look(self, timeout: float) -> None:
        """Wait at most ``timeout`` seconds; in any thread."""
        try:
            self._events = self._get_events(timeout)
        except BaseException as error:
            self._error = error

    def tick(self) -> None:
        """Run one turn, and see to it that the next one is run."""
        try:
            timeout = self._resume()
        except StopIteration:
            self._finish()
            return
        except TrioInternalError as error:
            self._done_callback(_run.environment.outcome(None, error))
            return
        self._look(0)
        if timeout <= 0 or self._error is not None or self._events:
            self._not_threadsafe(self.tick)
        else:
            self._run.runner.guest_tick_scheduled = False
            _core.start_thread_soon(lambda: self._look(timeout), self._wake_host)

    def _wake_host(self, _: object) -> None:
        self._threadsafe(self._tick_after_wait)

    def _tick_after_wait(self) -> None:
        self._run.runner.guest_tick_scheduled = True
        self.tick()

    def _finish(self) -> None:
        self._done_callback(_run.environment.outcome(*self._run.get_outcome()))


def begin_guest_run(
    one_run: _run.Run,
    async_fn: Callable[..., Awaitable[Any]],
    args: tuple[Any, ...],
    threadsafe: Schedule,
    not_threadsafe: Schedule | None,
    done_callback: Callable[[Any], object],
    host_uses_signal_set_wakeup_fd: bool,
    get_events: Callable[[float], object],
) -> None:
    """Start a run that was made with ``guest=True``."""
    try:
        one_run.runner.attach()
    except BaseException:
        one_run.close()
        raise
    turns = _turns(one_run, async_fn, args, not host_uses_signal_set_wakeup_fd)
    guest = Guest(
        one_run,
        turns,
        threadsafe,
        not_threadsafe or threadsafe,
        done_callback,
        get_events,
    )
    sys.set_asyncgen_hooks(*one_run.host_hooks)
    guest.first_turns()


def start_guest_run(
    async_fn: Callable[..., Awaitable[Any]],
    *args: Any,
    run_sync_soon_threadsafe: Schedule,
    done_callback: Callable[[Any], object],
    run_sync_soon_not_threadsafe: Schedule | None = None,
    host_uses_signal_set_wakeup_fd: bool = False,
    clock: Clock | None = None,
    instruments: Iterable[Instrument] = (),
    restrict_keyboard_interrupt_to_checkpoints: bool = False,
    strict_exception_groups: bool = True,
) -> None:
    """Start a run as a guest of another event loop, and return at once.

    Args:
      async_fn: an async function; the main task calls it with ``args``.
      run_sync_soon_threadsafe: makes the host loop call a function soon, in
        this thread; called from other threads.
      done_callback: called by the host loop with the main task's outcome, a
        `lowlevel.Value` or `lowlevel.Error`.
      run_sync_soon_not_threadsafe: the same as the first, called in this
        thread only; for speed.
      host_uses_signal_set_wakeup_fd: leave signal.set_wakeup_fd() alone; the
        host loop sees to it that signals end its waits.

    The others are those of `run`.

    Raises:
      RuntimeError: when called inside of a run.
      TrioInternalError: when the run cannot be started.

    Checkpoint: no. Thread-safety: to be called in the host's thread.
    """
    if not strict_exception_groups:
        _core_hooks.warn_nonstrict("trio.start_guest_run", stacklevel=3)
    one_run = _run.Run(
        clock,
        instruments,
        restrict_keyboard_interrupt_to_checkpoints,
        bool(strict_exception_groups),
        guest=True,
    )
    begin_guest_run(
        one_run,
        async_fn,
        args,
        run_sync_soon_threadsafe,
        run_sync_soon_not_threadsafe,
        done_callback,
        host_uses_signal_set_wakeup_fd,
        one_run.runner.get_events,
    )
