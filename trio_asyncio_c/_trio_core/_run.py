"""``trio._core._run``: the scheduler's public face, on the core in C.

What runs once a step, task or scope is the core's; what runs once a run is
`trio_asyncio_c._run` and `trio_asyncio_c._guest`, with Trio's own handling of
Ctrl-C and async generators plugged in. Here are the names by which Trio, its
tests and other libraries know all that.
"""

from __future__ import annotations

import random
import weakref
from contextvars import copy_context
from math import inf
from typing import TYPE_CHECKING, Any, Final, NoReturn

import outcome
from trio._abc import Clock
from trio._core import _asyncgens, _ki
from trio._core._exceptions import TrioInternalError
from trio._core._run_context import GLOBAL_RUN_CONTEXT as GLOBAL_RUN_CONTEXT
from trio._core._traps import (
    CancelShieldedCheckpoint,
    PermanentlyDetachCoroutineObject,
    WaitTaskRescheduled,
)
from trio._deprecate import warn_deprecated

from trio_asyncio_c import _core, _guest, _ki as _own_ki, _run as _own_run
from trio_asyncio_c._clock import SystemClock
from trio_asyncio_c._core import (
    CancelScope,
    CancelStatus as CancelStatus,
    Nursery,
    NurseryManager,
    Runner as Runner,
    Task,
    TaskStatus as _TaskStatus,  # noqa: F401
    add_instrument as add_instrument,
    add_parking_lot_breaker,
    checkpoint,
    checkpoint_if_cancelled,
    current_clock as current_clock,
    current_effective_deadline as current_effective_deadline,
    current_root_task as current_root_task,
    current_statistics as current_statistics,
    current_task as current_task,
    current_time as current_time,
    current_trio_token as current_trio_token,
    in_trio_run as in_trio_run,
    in_trio_task as in_trio_task,
    notify_closing as notify_closing,
    open_nursery,
    remove_instrument as remove_instrument,
    remove_parking_lot_breaker,
    reschedule as reschedule,
    spawn_system_task as spawn_system_task,
    wait_all_tasks_blocked,
    wait_readable,
    wait_writable,
)
from trio_asyncio_c._core_hooks import (
    CancelReason as CancelReason,
    collapse_group as collapse_exception_group,  # noqa: F401
    foreign_yield as _own_foreign_yield,
)
from trio_asyncio_c._statistics import IOStatistics as IOStatistics, RunStatistics
from trio_asyncio_c._task_status import (
    TASK_STATUS_IGNORED as TASK_STATUS_IGNORED,
    TaskStatus,
)


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from types import TracebackType

    from trio._abc import Instrument

_r: random.Random = random.Random()
"""Seeds the order of tasks in each run."""
_ALLOW_DETERMINISTIC_SCHEDULING = False
"""True: the order is a function of the seed alone. Read when a run starts."""

DEADLINE_HEAP_MIN_PRUNE_THRESHOLD: Final = 1000
_MAX_TIMEOUT: Final = 24 * 60 * 60
_NO_SEND: Final = object()
NONSTRICT_EXCEPTIONGROUP_NOTE: Final = _core._NONSTRICT_NOTE
_STRICT_INSTEAD = (
    "the default value of True and rewrite exception handlers to handle "
    "ExceptionGroups. See https://trio.readthedocs.io/en/stable/"
    "reference-core.html#designing-for-multiple-errors"
)

EventResult = bool
"""What `TheIOManager.get_events` returns: whether there were any."""

GuestState = _guest.Guest


def _public(function: Any) -> Any:
    """Mark a method as public; only for Trio's own generated code."""
    return function


def _hypothesis_plugin_setup() -> None:
    """Called by Hypothesis through Trio's entry point: repeatable runs."""
    from hypothesis import register_random

    global _ALLOW_DETERMINISTIC_SCHEDULING
    _ALLOW_DETERMINISTIC_SCHEDULING = True
    register_random(_r)


def _count_context_run_tb_frames() -> int:
    """Count the frames that Context.run() itself adds to a traceback: none in
    CPython, where it is C; the core adds none either.
    """

    def fail() -> NoReturn:
        raise TrioInternalError

    code = fail.__code__
    try:
        copy_context().run(fail)
    except TrioInternalError as error:
        # The first entry is this function's own.
        entry: TracebackType | None = error.__traceback__
        assert entry is not None
        count = -1
        while entry.tb_frame.f_code is not code:
            count += 1
            assert entry.tb_next is not None
            entry = entry.tb_next
        return count
    raise TrioInternalError("Context.run() swallowed an exception")


# Waiting for the kernel --------------------------------------------------------

_PATCHABLE: dict[str, Any] = {
    "wait_readable": wait_readable,
    "wait_writable": wait_writable,
}
_NATIVE = {name: function._function for name, function in _PATCHABLE.items()}


class _IOManagerType(type):
    """Lets a patched method of the class be what the public function calls."""

    def __setattr__(cls, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name not in _PATCHABLE:
            return

        def call_patched(fd: Any) -> Any:
            return getattr(GLOBAL_RUN_CONTEXT.runner.io_manager, name)(fd)

        original = value is _ORIGINAL_METHODS[name]
        _PATCHABLE[name]._function = _NATIVE[name] if original else call_patched


class TheIOManager(metaclass=_IOManagerType):
    """What waits for the kernel, as Trio's own managers are shaped.

    The core does without it, but in guest mode, and where a method is patched.
    """

    def __init__(self, runner: _core.Runner) -> None:
        # The runner owns this object; whoever calls it holds the runner.
        self._runner = weakref.ref(runner)

    def _get_runner(self) -> _core.Runner:
        runner = self._runner()
        if runner is None:
            raise RuntimeError("the run is gone")
        return runner

    def get_events(self, timeout: float) -> EventResult:
        """Look for events, or wait for some at most ``timeout`` seconds."""
        return self._get_runner().get_events(timeout)

    def process_events(self, events: EventResult) -> None:
        """Nothing to do: a turn's second half looks for itself."""

    def force_wakeup(self) -> None:
        """End the current wait. Thread- and signal-safe."""
        self._get_runner().entry_queue.run_sync_soon(int)

    def statistics(self) -> IOStatistics:
        """Return what `current_statistics` has in ``io_statistics``."""
        return self._get_runner().current_statistics().io_statistics

    def close(self) -> None:
        """Nothing to do: the run closes what it waits on."""

    async def wait_readable(self, fd: Any) -> None:
        """As `trio.lowlevel.wait_readable`."""
        await _NATIVE["wait_readable"](fd)

    async def wait_writable(self, fd: Any) -> None:
        """As `trio.lowlevel.wait_writable`."""
        await _NATIVE["wait_writable"](fd)

    def notify_closing(self, fd: Any) -> None:
        """As `trio.lowlevel.notify_closing`."""
        notify_closing(fd)


_ORIGINAL_METHODS = {name: vars(TheIOManager)[name] for name in _PATCHABLE}


class _Deadlines:
    """The run's deadlines, as far as others ask."""

    def __init__(self, runner: _core.Runner) -> None:
        self._runner = weakref.ref(runner)

    def next_deadline(self) -> float:
        """Return when the first one is due, by the run's clock; inf if none."""
        runner = self._runner()
        if runner is None:
            return inf
        seconds: float = runner.current_statistics().seconds_to_next_deadline
        return runner.clock.current_time() + seconds


# Plugging Trio's own parts into the runs ------------------------------------


class _Marks:
    """Trio's table of functions that Ctrl-C spares or does not."""

    def set(self, code: Any, protected: bool) -> None:
        _ki._CODE_KI_PROTECTION_STATUS_WMAP[code] = protected

    def get(self, code: Any) -> bool | None:
        try:
            return bool(_ki._CODE_KI_PROTECTION_STATUS_WMAP[code])
        except KeyError:
            return None


def _make_outcome(value: object, error: BaseException | None) -> Any:
    return outcome.Value(value) if error is None else outcome.Error(error)


def _prepare(runner: _core.Runner) -> None:
    runner.io_manager = TheIOManager(runner)
    runner.deadlines = _Deadlines(runner)


def _foreign_yield(message: Any) -> Any:
    """Take what Trio's own functions would yield; see `_core_hooks`."""
    if message is CancelShieldedCheckpoint:
        return _core.PARK_YIELD, None
    if type(message) is WaitTaskRescheduled:
        return _core.PARK_WAIT, message.abort_func
    if type(message) is PermanentlyDetachCoroutineObject:
        return _core.PARK_DETACH, message.final_outcome
    return _own_foreign_yield(message)


def _warn_nonstrict(what: str) -> None:
    warn_deprecated(
        f"{what}(..., strict_exception_groups=False)",
        version="0.25.0",
        issue=2929,
        instead=_STRICT_INSTEAD,
        use_triodeprecationwarning=True,
        stacklevel=3,
    )


def _warn_open_nursery(what: str) -> None:
    # C has no frame: this one's caller is the user's.
    warn_deprecated(
        f"{what}(strict_exception_groups=False)",
        version="0.25.0",
        issue=2929,
        instead=_STRICT_INSTEAD,
        use_triodeprecationwarning=True,
        stacklevel=2,
    )


def _plug_in() -> None:
    Clock.register(SystemClock)
    _own_ki.share_marks(_Marks())
    _own_run.environment = _own_run.Environment(
        asyncgens=_asyncgens.AsyncGenerators,
        ki_manager=_ki.KIManager,
        outcome=_make_outcome,
        random=_r,
        is_deterministic=lambda: _ALLOW_DETERMINISTIC_SCHEDULING,
        prepare=_prepare,
    )
    _core._set_hooks(
        outcome=_make_outcome,
        foreign_yield=_foreign_yield,
        warn_nonstrict=_warn_open_nursery,
    )


# Running ----------------------------------------------------------------------


def run(
    async_fn: Callable[..., Awaitable[Any]],
    *args: Any,
    clock: Clock | None = None,
    instruments: Sequence[Instrument] = (),
    restrict_keyboard_interrupt_to_checkpoints: bool = False,
    strict_exception_groups: bool = True,
) -> Any:
    """Run a Trio-flavoured async function, and return what it returns; see
    `trio_asyncio_c.run`.
    """
    __tracebackhide__ = True
    if strict_exception_groups is not None and not strict_exception_groups:
        _warn_nonstrict("trio.run")
    return _own_run.run_to_end(
        _own_run.Run(
            clock,
            instruments,
            restrict_keyboard_interrupt_to_checkpoints,
            bool(strict_exception_groups),
        ),
        async_fn,
        args,
    )


def start_guest_run(
    async_fn: Callable[..., Awaitable[Any]],
    *args: Any,
    run_sync_soon_threadsafe: Callable[[Callable[[], object]], object],
    done_callback: Callable[[Any], object],
    run_sync_soon_not_threadsafe: (
        Callable[[Callable[[], object]], object] | None
    ) = None,
    host_uses_signal_set_wakeup_fd: bool = False,
    clock: Clock | None = None,
    instruments: Sequence[Instrument] = (),
    restrict_keyboard_interrupt_to_checkpoints: bool = False,
    strict_exception_groups: bool = True,
) -> None:
    """Start a run as a guest of another event loop; see
    `trio_asyncio_c.lowlevel.start_guest_run`.
    """
    if strict_exception_groups is not None and not strict_exception_groups:
        _warn_nonstrict("trio.start_guest_run")
    one_run = _own_run.Run(
        clock,
        instruments,
        restrict_keyboard_interrupt_to_checkpoints,
        bool(strict_exception_groups),
        guest=True,
    )
    io_manager = one_run.runner.io_manager
    _guest.begin_guest_run(
        one_run,
        async_fn,
        args,
        run_sync_soon_threadsafe,
        run_sync_soon_not_threadsafe,
        done_callback,
        host_uses_signal_set_wakeup_fd,
        # Looked up at each call, for it may be patched meanwhile.
        lambda timeout: io_manager.get_events(timeout),
    )


def _adopt(things: Iterable[Any]) -> None:
    """Let Trio give its public names to what the core calls otherwise."""
    for thing in things:
        thing.__module__ = __name__


_adopt(
    (
        CancelScope,
        Nursery,
        NurseryManager,
        RunStatistics,
        SystemClock,
        TaskStatus,
        Task,
        checkpoint,
        checkpoint_if_cancelled,
        wait_all_tasks_blocked,
        wait_readable,
        wait_writable,
    )
)
type(TASK_STATUS_IGNORED).__module__ = "trio"


def name_builtin_functions() -> None:
    """Let the functions of C say that they are Trio's, after its import."""
    function: Any
    for function in (current_effective_deadline, current_time, open_nursery):
        function.__module__ = "trio"
    for function in (
        add_instrument,
        add_parking_lot_breaker,
        current_clock,
        current_root_task,
        current_statistics,
        current_task,
        current_trio_token,
        in_trio_run,
        in_trio_task,
        notify_closing,
        remove_instrument,
        remove_parking_lot_breaker,
        reschedule,
        spawn_system_task,
    ):
        function.__module__ = "trio.lowlevel"


_plug_in()
