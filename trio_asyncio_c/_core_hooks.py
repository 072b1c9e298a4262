"""The Python functions that the core in C calls, where C would gain nothing.

Importing this module hands them over.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
import logging
import threading
import warnings
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from . import _core, _sniffio, _util
from ._clock import SystemClock
from ._ki import enable_ki_protection
from ._outcome import Error, Value, capture
from ._statistics import ParkingLotStatistics, make_run_statistics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator
    from types import FrameType

_instrument_logger = logging.getLogger("trio.abc.Instrument")
_thread_numbers = itertools.count()


class TrioDeprecationWarning(FutureWarning):
    """Warns of what Trio is going to remove.

    A FutureWarning, since it is shown by default.
    """

    __module__ = "trio_asyncio_c"


class CancelReason(NamedTuple):
    """Why a scope was cancelled; what `Cancelled` shows."""

    source: str
    reason: str | None = None
    source_task: str | None = None


def make_outcome(value: object, error: BaseException | None) -> Value[Any] | Error:
    """Make the outcome of which the core keeps the parts only."""
    return Value(value) if error is None else Error(error)


def coroutine_or_error(
    async_fn: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
) -> Coroutine[Any, Any, Any]:
    """Call an async function; see `_util.coroutine_or_error`.

    What is called may be a plain function that asks where it is: in a task.
    """
    if kwargs:
        async_fn = partial(async_fn, **kwargs)
    previous = _sniffio.set_library("trio")
    try:
        return _util.coroutine_or_error(async_fn, *args)
    finally:
        _sniffio.set_library(previous)


async def wrap_awaitable(awaitable: Awaitable[Any]) -> Any:
    """Give an awaitable that is no Python coroutine a frame of its own."""
    return await awaitable


@enable_ki_protection
def call_protected(function: Callable[[Any], Any], arg: Any) -> Any:
    """Call an abort function, on whosever stack, protected from Ctrl-C."""
    return function(arg)


def log_instrument_error(instrument: object, error: BaseException, hook: str) -> None:
    """Log that an instrument raised, and is out."""
    _instrument_logger.error(
        "Exception raised when calling %r on instrument %r. "
        "Instrument has been disabled.",
        hook,
        instrument,
        exc_info=error,
    )


_threads_are_daemons = [True]


def _start_thread(main: Callable[[], object], name: str) -> threading.Thread:
    thread = threading.Thread(target=main, name=name, daemon=_threads_are_daemons[0])
    thread.start()
    return thread


def new_thread(main: Callable[[], object]) -> threading.Thread:
    """Start a worker thread of the thread cache.

    A daemon, so that a job that never ends does not keep the interpreter from
    exiting: the run that waits for the job has ended by then. Isolated
    subinterpreters have no daemon threads, and wait for the job when they end.
    """
    name = f"Trio thread {next(_thread_numbers)}"
    try:
        return _start_thread(main, name)
    except RuntimeError:
        if not _threads_are_daemons[0]:
            raise
        threading_internals: Any = threading
        threading_internals._register_atexit(_core._retire_workers)
        _threads_are_daemons[0] = False
        return _start_thread(main, name)


def run_in_thread(
    function: Callable[[], Any],
    deliver: Callable[[Any], object],
    name: str | None,
) -> None:
    """Run a job of start_thread_soon, in its worker thread."""
    if name is None:
        deliver(capture(function))
        return
    thread = threading.current_thread()
    old_name, thread.name = thread.name, name
    _core._set_os_thread_name(name)
    try:
        outcome = capture(function)
    finally:
        thread.name = old_name
        _core._set_os_thread_name(old_name)
    deliver(outcome)


async def run_sync_soon_task() -> None:
    """The body of the task behind run_sync_soon()."""
    await _core._run_queued_calls()


async def raise_error(error: BaseException) -> None:
    """The body of the system task that brings the run down."""
    raise error


def _is_loose(group: BaseExceptionGroup[Any]) -> bool:
    notes = getattr(group, "__notes__", ())
    return _core._NONSTRICT_NOTE in notes


def _concatenate(
    head: TracebackType | None, tail: TracebackType | None
) -> TracebackType | None:
    """Return a traceback that goes through ``head`` and then ``tail``."""
    entries = []
    while head is not None:
        entries.append(head)
        head = head.tb_next
    for entry in reversed(entries):
        tail = TracebackType(tail, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return tail


def collapse_group(error: BaseException) -> BaseException:
    """Undo the groups of non-strict nurseries that hold a single error."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    members = list(error.exceptions)
    collapsed = [collapse_group(member) for member in members]
    if len(collapsed) == 1 and _is_loose(error):
        only = collapsed[0]
        only.__traceback__ = _concatenate(error.__traceback__, only.__traceback__)
        return only
    if all(new is old for new, old in zip(collapsed, members, strict=True)):
        return error
    return error.derive(collapsed)


def _await_of_asyncgen_step(step: Any) -> tuple[Any, Any] | None:
    """The frame and the await of the generator behind an asend() or athrow(),
    which do not name it.
    """
    for referent in gc.get_referents(step):
        if hasattr(referent, "ag_frame"):
            return referent.ag_frame, referent.ag_await
    return None


def iter_await_frames(coro: Any) -> Iterator[tuple[FrameType, int]]:
    """Walk an await chain from the outermost frame to the innermost."""
    while coro is not None:
        if hasattr(coro, "cr_frame"):
            frame, following = coro.cr_frame, coro.cr_await
        elif hasattr(coro, "gi_frame"):
            frame, following = coro.gi_frame, coro.gi_yieldfrom
        elif type(coro).__name__ in (
            "async_generator_athrow",
            "async_generator_asend",
        ):
            found = _await_of_asyncgen_step(coro)
            if found is None:
                return
            frame, following = found
        else:
            return
        if frame is not None:
            yield frame, frame.f_lineno
        coro = following


_CROSSINGS = (
    "Trio-flavoured code calls an asyncio-flavoured function by "
    "'await aio_as_trio(fn)(...)' or 'await run_asyncio(fn, ...)', and waits for an "
    "asyncio Future or Task by 'await run_future(future)'"
)


def foreign_yield(message: object) -> TypeError:
    """The error for a coroutine that awaited another library's awaitable."""
    text = (
        f"trio.run received unrecognized yield message {message!r}. Are you "
        "trying to use a library written for some other framework like "
        "asyncio? That won't work without some kind of compatibility shim."
    )
    future: Any = message
    if hasattr(future, "_asyncio_future_blocking"):
        # Left set, it would fail the next await of this Future, a right one.
        future._asyncio_future_blocking = False
    elif future is not None:
        return TypeError(text)
    if asyncio._get_running_loop() is not None:
        return TypeError(f"{text} {_CROSSINGS}.")
    # Trio's own words end there, and no crossing is at hand.
    error = TypeError(text)
    error.add_note(f"{_CROSSINGS}, within 'async with open_loop()'.")
    return error


def __aexit__(error: BaseException) -> NoReturn:
    """Raise what leaves a nursery, for its traceback to show that it did."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context
        del error, context  # or they would wait for the collector, with this frame


def warn_nonstrict(what: str, stacklevel: int = 2) -> None:
    """Warn of strict_exception_groups=False."""
    warnings.warn(
        f"{what}(strict_exception_groups=False) is deprecated since Trio "
        "0.25.0; use the default value of True and rewrite exception handlers "
        "to handle ExceptionGroups instead",
        TrioDeprecationWarning,
        stacklevel=stacklevel,
    )


_core._set_hooks(
    coroutine_or_error=coroutine_or_error,
    outcome=make_outcome,
    cancel_reason=CancelReason,
    wrap_awaitable=wrap_awaitable,
    system_clock=SystemClock,
    call_protected=call_protected,
    log_instrument_error=log_instrument_error,
    new_thread=new_thread,
    run_in_thread=run_in_thread,
    raise_error=raise_error,
    raise_in_aexit=__aexit__,
    run_sync_soon_task=run_sync_soon_task,
    collapse_group=collapse_group,
    iter_await_frames=iter_await_frames,
    parking_statistics=ParkingLotStatistics,
    run_statistics=make_run_statistics,
    foreign_yield=foreign_yield,
    warn_nonstrict=warn_nonstrict,
)


if hasattr(inspect, "markcoroutinefunction"):  # since 3.12
    for _owner in (
        _core,
        _core.Event,
        _core.Lock,
        _core.LoopCore,
        _core.MemoryReceiveChannel,
        _core.MemorySendChannel,
        _core.Nursery,
        _core.ParkingLot,
        _core.Semaphore,
        _core.StrictFIFOLock,
    ):
        for _value in list(vars(_owner).values()):
            if type(_value) is _core.AsyncFunction:
                inspect.markcoroutinefunction(_value)
