"""Blocking functions in worker threads, and the way back from there:
`to_thread` and `from_thread`.

While a task is in `to_thread_run_sync` it is the *host* of its worker thread:
it does not just wait for the result, but also runs what the thread asks for by
`from_thread_run` and `from_thread_run_sync`. What the thread has to say
reaches the host as a message that it is rescheduled with:

* an outcome: the thread has finished, and this is what its function returned
  or raised;
* an `_AsyncCall` or a `_SyncCall`: run this, put the outcome into the queue in
  which the thread waits for it, go on.

A thread whose host may have left (``abandon_on_cancel``), or that a
`TrioToken` was given to, has no host to talk to. Its calls are run by a system
task, or by the run's entry queue.
"""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from contextvars import Context, copy_context
from itertools import count
from queue import SimpleQueue
from types import CoroutineType
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    NoReturn,
    TypeAlias,
    TypeVar,
    TypeVarTuple,
)

from ._core import (
    RunVar,
    TrioToken,
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    current_task,
    current_trio_token,
    in_trio_run,
    reschedule,
    spawn_system_task,
    start_thread_soon,
    wait_task_rescheduled,
)
from ._exceptions import Abort, RunFinishedError
from ._ki import disable_ki_protection, enable_ki_protection
from ._outcome import Error, Outcome, Value, acapture, capture
from ._sync import CapacityLimiter, Event
from ._util import coroutine_or_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._core import Task

    RaiseCancelT: TypeAlias = Callable[[], NoReturn]

__all__ = [
    "active_thread_count",
    "current_default_thread_limiter",
    "from_thread_check_cancelled",
    "from_thread_run",
    "from_thread_run_sync",
    "to_thread_run_sync",
    "wait_all_threads_completed",
]

RetT = TypeVar("RetT")
Ts = TypeVarTuple("Ts")

DEFAULT_LIMIT = 40
"""How many worker threads a run uses at a time by default. Enough for blocking
I/O, too few to swamp a machine.
"""

_default_limiter: RunVar[CapacityLimiter] = RunVar("limiter")
_thread_numbers = count()


class _Host:
    """The task that waits for a worker thread, seen from that thread. Both
    look at it, at different times.
    """

    __slots__ = ("abandon_on_cancel", "raise_cancel", "task", "token")

    def __init__(self, task: Task, token: TrioToken, abandon_on_cancel: bool) -> None:
        self.task: Task | None = task  # None once the host has abandoned the thread
        self.token = token
        self.abandon_on_cancel = abandon_on_cancel
        self.raise_cancel: RaiseCancelT | None = (
            None  # set once the host has been cancelled
        )

    def abort(self, raise_cancel: RaiseCancelT) -> Abort:
        """The abort function of the host's wait."""
        self.raise_cancel = raise_cancel
        if self.abandon_on_cancel:
            self.task = None
            return Abort.SUCCEEDED
        return Abort.FAILED

    def send(self, message: object) -> None:
        """Wake the host with a message. Called in its thread, by way of the
        entry queue.
        """
        if self.task is not None:
            reschedule(self.task, Value(message))


class _ThreadData(threading.local):
    """What a worker thread knows about the call that it runs: nothing unless
    it runs one.
    """

    host: _Host


_thread_data = _ThreadData()


class _ActiveThreads:
    """The worker threads of a run that have not reported back to it yet."""

    __slots__ = ("all_done", "count")

    def __init__(self) -> None:
        self.count = 0
        self.all_done = Event()

    def remove_one(self) -> None:
        self.count -= 1
        if self.count == 0:
            self.all_done.set()
            self.all_done = Event()


_active_threads: RunVar[_ActiveThreads] = RunVar("active_threads")


def _get_active_threads() -> _ActiveThreads:
    try:
        return _active_threads.get()
    except LookupError:
        active = _ActiveThreads()
        _active_threads.set(active)
        return active


async def wait_all_threads_completed() -> None:
    """Wait until no task is in `to_thread.run_sync` with a thread of its own.
    A checkpoint. For tests.

    A thread that was abandoned does not count any more. Since a task may start
    a thread at any time, a test that wants everything to come to rest repeats
    this, and `wait_all_tasks_blocked`, until `active_thread_count` is zero.
    """
    await checkpoint()
    active = _get_active_threads()
    while active.count:
        await active.all_done.wait()


def active_thread_count() -> int:
    """Return how many worker threads tasks of this run are waiting for. Not a
    checkpoint. For tests.
    """
    return _get_active_threads().count


def current_default_thread_limiter() -> CapacityLimiter:
    """Return the limiter that `to_thread.run_sync` uses if it is given none.
    Not a checkpoint.

    There is one for each run. Set its ``total_tokens`` to allow more or fewer
    threads at a time than the default of 40.
    """
    try:
        return _default_limiter.get()
    except LookupError:
        limiter = CapacityLimiter(DEFAULT_LIMIT)
        _default_limiter.set(limiter)
        return limiter


class ThreadPlaceholder:
    """Stands for a worker thread as the borrower of a limiter's token."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"ThreadPlaceholder(name={self.name!r})"


def _reject_coroutine(result: object, sync_fn: object, expected: str) -> None:
    """Complain if ``sync_fn`` turned out to be an async function."""
    if isinstance(result, CoroutineType):
        # There is an error to report already: do not let a warning about a
        # dropped coroutine follow.
        result.close()
        name = getattr(sync_fn, "__qualname__", sync_fn)
        raise TypeError(
            f"Trio expected a {expected} function, but {name!r} "
            "appears to be asynchronous"
        )


def _copy_context_for_thread() -> Context:
    """Copy the current context for a function that will not run in an event
    loop.

    The sniffio library, if the program uses it, has a context variable that
    names the event loop one is in. Nobody has to set it, but if somebody has,
    then it must not be taken over.
    """
    context = copy_context()
    variable = getattr(sys.modules.get("sniffio"), "current_async_library_cvar", None)
    if variable is not None:
        context.run(variable.set, None)
    return context


class _AsyncCall(Generic[RetT]):
    """A request of a thread: run this async function in the run's thread."""

    __slots__ = ("afn", "args", "context", "result")

    def __init__(
        self, afn: Callable[..., Awaitable[RetT]], args: tuple[object, ...]
    ) -> None:
        self.afn = afn
        self.args = args
        self.context = copy_context()
        self.result: SimpleQueue[Outcome[RetT]] = SimpleQueue()

    @disable_ki_protection
    async def _run_unprotected(self) -> RetT:
        return await coroutine_or_error(self.afn, *self.args)

    async def run_in_host(self) -> None:
        """Run it in the current task, but in the context of the thread."""
        task = current_task()
        host_context = task.context
        task.context = self.context.copy()
        # The scheduler enters a task's context when it resumes the task.
        await cancel_shielded_checkpoint()
        result = await acapture(self._run_unprotected)
        task.context = host_context
        await cancel_shielded_checkpoint()
        self.result.put_nowait(result)

    async def _run_in_system_task(self) -> None:
        self.result.put_nowait(await acapture(self._run_unprotected))

    def run_in_system_nursery(self) -> None:
        """Run it in a task of its own. Called in the run's thread, by way of
        the entry queue.
        """
        try:
            spawn_system_task(
                self._run_in_system_task, name=self.afn, context=self.context
            )
        except RuntimeError:
            self.result.put_nowait(Error(RunFinishedError("system nursery is closed")))


class _SyncCall(Generic[RetT]):
    """A request of a thread: call this function in the run's thread."""

    __slots__ = ("args", "context", "fn", "result")

    def __init__(self, fn: Callable[..., RetT], args: tuple[object, ...]) -> None:
        self.fn = fn
        self.args = args
        self.context = copy_context()
        self.result: SimpleQueue[Outcome[RetT]] = SimpleQueue()

    @disable_ki_protection
    def _run_unprotected(self) -> RetT:
        result = self.context.run(self.fn, *self.args)
        _reject_coroutine(result, self.fn, "synchronous")
        return result

    def run(self) -> None:
        """Call it in the thread's context. Runs in the run's thread."""
        self.result.put_nowait(capture(self._run_unprotected))


class _WorkerCall(Generic[RetT]):
    """One call of `to_thread_run_sync`: what its thread runs, and how the
    result gets back.
    """

    __slots__ = ("_job", "borrower", "host", "limiter")

    def __init__(
        self,
        sync_fn: Callable[..., RetT],
        args: tuple[object, ...],
        host: _Host,
        limiter: CapacityLimiter,
    ) -> None:
        self._job = (_copy_context_for_thread(), sync_fn, args)
        self.host = host
        self.limiter = limiter
        self.borrower = ThreadPlaceholder(
            f"trio.to_thread.run_sync-{next(_thread_numbers)}"
        )

    def work(self) -> RetT:
        """Runs in the worker thread."""
        # The thread may hold on to this object for a while after the host has
        # gone on, but must not keep what belongs to the caller alive.
        context, sync_fn, args = self._job
        del self._job
        _thread_data.host = self.host
        try:
            result = context.run(sync_fn, *args)
            _reject_coroutine(result, sync_fn, "sync")
            return result
        finally:
            del _thread_data.host

    def deliver(self, result: Outcome[RetT]) -> None:
        """Runs in the worker thread, after `work`, with what that returned or
        raised.
        """
        # If the whole run is over, the host has abandoned this thread long
        # ago, and nobody is interested.
        with suppress(RunFinishedError):
            self.host.token.run_sync_soon(self._report, result)

    def _report(self, result: Outcome[RetT]) -> None:
        """Runs in the run's thread, by way of the entry queue, also if the
        host has abandoned the thread.
        """
        try:
            self.limiter.release_on_behalf_of(self.borrower)
        except BaseException as error:
            # The limiter may be anybody's object. Its error counts, with the
            # one of the function as its context.
            if error.__context__ is None:
                error.__context__ = getattr(result, "error", None)
            result = Error(error)
        self.host.send(result)


@enable_ki_protection
async def to_thread_run_sync(
    sync_fn: Callable[[*Ts], RetT],
    *args: *Ts,
    thread_name: str | None = None,
    abandon_on_cancel: bool = False,
    limiter: CapacityLimiter | None = None,
) -> RetT:
    """Call a blocking function in a worker thread, while the other tasks go
    on. A checkpoint.

    In the thread, the functions of `from_thread` call back into the run, in
    the context of this very task. Threads are kept and used again. The
    function sees a copy of the caller's context variables.

    Args:
      sync_fn: the function.
      *args: its positional arguments.
      thread_name: a name for the thread while it runs the function, also for
        the operating system, which cuts it to 15 characters. Default: the
        names of the function and of the task.
      abandon_on_cancel: what to do if the call is cancelled while the function
        runs. False: wait for the function as if nothing had happened; it can
        take notice by `from_thread.check_cancelled`. True: raise `Cancelled`
        at once and leave the function to itself; what it returns or raises is
        thrown away.
      limiter: who limits the number of threads: a `CapacityLimiter`, or an
        object with its methods ``acquire_on_behalf_of`` and
        ``release_on_behalf_of``. The token is held until the function has
        really ended, also if it was abandoned; if the run has ended by then,
        it is not returned at all. Default: `current_default_thread_limiter`.

    Returns:
      What the function returned.

    Raises:
      Exception: whatever the function raised.
      Cancelled: before the thread was started, or with ``abandon_on_cancel``
        at any time.
      TypeError: if ``sync_fn`` is an async function.
    """
    await checkpoint_if_cancelled()
    task = current_task()
    host = _Host(task, current_trio_token(), bool(abandon_on_cancel))
    if limiter is None:
        limiter = current_default_thread_limiter()
    if thread_name is None:
        thread_name = f"{getattr(sync_fn, '__name__', None)} from {task.name}"
    call = _WorkerCall(sync_fn, args, host, limiter)

    await limiter.acquire_on_behalf_of(call.borrower)
    active = _get_active_threads()
    active.count += 1
    try:
        try:
            start_thread_soon(call.work, call.deliver, thread_name)
        except BaseException:
            limiter.release_on_behalf_of(call.borrower)
            raise
        while True:
            message: Any = await wait_task_rescheduled(host.abort)
            if isinstance(message, _AsyncCall):
                await message.run_in_host()
            elif isinstance(message, _SyncCall):
                message.run()
            else:
                try:
                    result: RetT = message.unwrap()
                    return result
                finally:
                    # An error leads to this frame by its traceback: without
                    # this variable that is no reference cycle.
                    del message
            # The request may hold on to much, and the next message may take
            # its time.
            del message
    finally:
        active.remove_one()


def from_thread_check_cancelled() -> None:
    """Raise `Cancelled` if the task that waits for this thread was cancelled.

    For functions that run under `to_thread.run_sync` and take long: called now
    and then, it lets them end early. Does not block.

    Note that it looks back: it tells whether a cancellation has ever reached
    the waiting task, even if a scope in between has been shielded since.

    Raises:
      Cancelled: if so. `to_thread.run_sync` lets it out in the waiting task,
        where its scope catches it.
      RuntimeError: if this thread was not started by `to_thread.run_sync`.
    """
    try:
        host = _thread_data.host
    except AttributeError:
        raise RuntimeError(
            "this thread wasn't created by Trio, can't check for cancellation"
        ) from None
    if host.raise_cancel is not None:
        host.raise_cancel()


def _find_run(trio_token: TrioToken | None) -> tuple[TrioToken, _Host | None]:
    """Find out which run this thread wants to call into, and which task there
    waits for it, if any.
    """
    if trio_token is not None:
        if not isinstance(trio_token, TrioToken):
            raise RuntimeError("Passed kwarg trio_token is not of type TrioToken")
        return trio_token, None
    try:
        host = _thread_data.host
    except AttributeError:
        raise RuntimeError(
            "this thread wasn't created by Trio, pass kwarg trio_token=..."
        ) from None
    # A host that may leave at any time must not be given work.
    return host.token, None if host.abandon_on_cancel else host


def _check_not_in_run() -> None:
    """In the thread of a run a blocking call would stop the very run that has
    to answer.
    """
    if in_trio_run():
        raise RuntimeError("this is a blocking function; call it from a thread")


def from_thread_run(
    afn: Callable[[*Ts], Awaitable[RetT]],
    *args: *Ts,
    trio_token: TrioToken | None = None,
) -> RetT:
    """Run an async function in the thread of a run, and block this thread
    until it is done.

    Without ``trio_token`` it is run by the task that waits for this thread in
    `to_thread.run_sync`, inside all the cancel scopes of that task. With
    ``trio_token``, or in a thread started with ``abandon_on_cancel=True``, it
    is run in a system task. It sees a copy of this thread's context variables.

    Args:
      afn: the async function.
      *args: its positional arguments.
      trio_token: which run; see `lowlevel.current_trio_token`. Needed in
        threads not started by `to_thread.run_sync`.

    Returns:
      What the function returned.

    Raises:
      Exception: whatever the function raised.
      Cancelled: if the function was cancelled: with the task that waits for
        this thread, or at the end of the run.
      RunFinishedError: if the run has ended, or is about to end and starts no
        new tasks.
      RuntimeError: if this is the thread of a run, or no run was given and
        none is known.
      TypeError: if ``afn`` is not an async function.
    """
    token, host = _find_run(trio_token)
    _check_not_in_run()
    call = _AsyncCall(afn, args)
    if host is None:
        token.run_sync_soon(call.run_in_system_nursery)
    else:
        token.run_sync_soon(host.send, call)
    return call.result.get().unwrap()


def from_thread_run_sync(
    fn: Callable[[*Ts], RetT],
    *args: *Ts,
    trio_token: TrioToken | None = None,
) -> RetT:
    """Call a function in the thread of a run, and block this thread until it
    is done.

    Without ``trio_token`` it is called by the task that waits for this thread
    in `to_thread.run_sync`. With ``trio_token``, or in a thread started with
    ``abandon_on_cancel=True``, the run's entry queue calls it. It sees a copy
    of this thread's context variables, and must not block.

    Args:
      fn: the function.
      *args: its positional arguments.
      trio_token: which run; see `lowlevel.current_trio_token`. Needed in
        threads not started by `to_thread.run_sync`.

    Returns:
      What the function returned.

    Raises:
      Exception: whatever the function raised.
      RunFinishedError: if the run has ended.
      RuntimeError: if this is the thread of a run, or no run was given and
        none is known.
      TypeError: if ``fn`` is an async function.
    """
    token, host = _find_run(trio_token)
    _check_not_in_run()
    call = _SyncCall(fn, args)
    if host is None:
        token.run_sync_soon(call.run)
    else:
        token.run_sync_soon(host.send, call)
    return call.result.get().unwrap()
