"""`open_loop`: an asyncio event loop as a part of a Trio-flavoured program.

The loop lives in a subtree of the task that opened it::

    task that entered open_loop()
      nursery: errors that leave callbacks; around the body
        keeper task, shielded
          nursery: the loop's host, readers, writers
            nursery: jobs of executors
              nursery: Trio tasks started by asyncio code

An outer cancel reaches the body only. When the body has ended, the tasks of both
flavours are cancelled at one instant and waited for, while callbacks, fds, timers and
executors still work; only then is the loop closed.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import sys
import threading
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from . import _asyncgen_dispatch, _core, _crossing, _run
from ._crossing import current_loop
from ._executor import TrioExecutor
from ._ki import enable_ki_protection
from ._loop import EventLoop, _with_keywords
from ._sync import Event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from .abc import Clock

__all__ = ["TrioEventLoop", "open_loop", "run"]


def _live_tasks(loop: EventLoop) -> set[asyncio.Task[Any]]:
    loop._get_waits()  # an item that waits for its turn has a Task then
    return {task for task in asyncio.all_tasks(loop) if not task.done()}


class TrioEventLoop(EventLoop):
    """The loop of an `open_loop` block. It runs as long as the block does;
    `run_forever` is not for it."""

    __module__ = "trio_asyncio_c"

    _waits_for_jobs = True

    __slots__ = (
        "_jobs",
        "_left_by",
        "_nurseries",
        "_stop_asked",
        "_stop_waiters",
        "_stopped",
        "_unwinding",
    )

    def __init__(
        self,
        nursery: _core.Nursery,
        jobs: _core.Nursery,
        calls: _core.Nursery,
        errors: _core.Nursery,
        queue_limit: int,
    ) -> None:
        self._nurseries = (nursery, calls, errors)
        self._jobs = jobs
        self._stopped: Event | None = None
        self._stop_waiters: list[Event] = []
        self._stop_asked = False
        self._unwinding = False
        self._left_by = None
        super().__init__()
        self._default_executor = TrioExecutor()
        self._thread_id = threading.get_ident()
        self._queue_limit = queue_limit

    def _find_home(self, clock: Clock | None) -> None:
        self._attach(*self._nurseries)
        del self._nurseries

    def _leave_home(self) -> None:
        """Do nothing: the runner is not this loop's."""

    def _raise_from_task(self, exc: BaseException) -> None:
        self._raise_out(exc)

    def _start_job(self, fn: Callable[..., Awaitable[Any]], *args: Any) -> None:
        _crossing.check_running(self)
        self._jobs.start_soon(fn, *args)

    def run_forever(self) -> None:
        """Raise RuntimeError: the loop runs already, within its run."""
        raise RuntimeError("This is not a sync loop")

    def run_until_complete(self, future: Any) -> Any:
        """Raise RuntimeError: the loop runs already, within its run. Use `run_future`
        or `run_coroutine`."""
        if asyncio.iscoroutine(future):
            future.close()
        raise RuntimeError("This is not a sync loop")

    def run_task(
        self, fn: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any
    ) -> NoReturn:
        """Raise RuntimeError: the loop runs already, within its run."""
        raise RuntimeError("This is not a sync loop")

    def __enter__(self) -> NoReturn:
        """Raise RuntimeError: the loop is closed by the end of its block."""
        raise RuntimeError(
            "use 'async with open_loop()', or a loop made by new_event_loop()"
        )

    def __exit__(self, *exc_info: object) -> NoReturn:
        """Raise RuntimeError, as `__enter__` does."""
        self.__enter__()

    def stop(self, waiter: Event | None = None) -> Event:  # type: ignore[override]
        """Run what is queued, then no more callbacks.

        Args:
          waiter: an Event to set when the loop has stopped; None: one that all such
            calls share.

        Returns:
          that Event.

        Flavor: sync. Thread-safe: no.
        """
        if waiter is None:
            waiter = self._get_stopped()
        if self._halted or self._closed or self._unwinding:
            waiter.set()
            return waiter
        self._stop_waiters.append(waiter)
        if not self._stop_asked:
            self._stop_asked = True
            self._call_without_limit(self._tell_stopped)
            self._halt()
        return waiter

    def _get_stopped(self) -> Event:
        if self._stopped is None:
            self._stopped = Event()
            if self._halted or self._closed:
                self._stopped.set()
        return self._stopped

    def _tell_stopped(self) -> None:
        for waiter in self._stop_waiters:
            waiter.set()
        self._stop_waiters.clear()
        self._get_stopped().set()
        # Else nothing could end them: the block's end waits for who waits.
        self._end_inner_waits()

    async def wait_stopped(self) -> None:
        """Wait until the loop has been stopped by somebody.

        Flavor: trio. Checkpoint: yes.
        """
        await self._get_stopped().wait()

    async def synchronize(self) -> None:
        """Wait until everything that `call_soon` has queued so far has run.

        Flavor: trio. Checkpoint: yes.
        """
        _crossing.check_running(self)
        await self._drain()

    async def _drain(self) -> None:
        reached = self.create_future()
        self._call_without_limit(reached.set_result, None)
        await _core.wait_future(reached)

    def _call_without_limit(self, fn: Callable[..., object], *args: Any) -> None:
        self.call_soon_threadsafe(fn, *args)  # a full queue refuses none of these

    def add_reader(  # type: ignore[override]
        self, fd: Any, callback: Any, *args: Any, **kwargs: Any
    ) -> _core.Handle:
        """Run ``callback(*args, **kwargs)`` whenever `fd` can be read from.

        Returns:
          a handle, to be cancelled instead of ``remove_reader``.

        Flavor: sync. Thread-safe: no.
        """
        self._ensure_fd_no_transport(fd)
        return self._add_reader(fd, _with_keywords(callback, kwargs), *args)

    def add_writer(  # type: ignore[override]
        self, fd: Any, callback: Any, *args: Any, **kwargs: Any
    ) -> _core.Handle:
        """Run ``callback(*args, **kwargs)`` whenever `fd` can be written to; see
        `add_reader`.

        Flavor: sync. Thread-safe: no.
        """
        self._ensure_fd_no_transport(fd)
        return self._add_writer(fd, _with_keywords(callback, kwargs), *args)

    def set_default_executor(self, executor: concurrent.futures.Executor) -> None:
        """Have ``run_in_executor(None, ...)`` use this executor; any kind will do.

        Flavor: sync. Thread-safe: no.

        Raises:
          TypeError: it is none.
        """
        if not isinstance(executor, concurrent.futures.Executor):
            raise TypeError("executor must be a concurrent.futures.Executor instance")
        self._default_executor = executor

    def close(self) -> None:
        """Close the loop, as the end of its block does; idempotent.

        Raises:
          RuntimeError: it has not been stopped.
        """
        if self._closed:
            return
        if self._thread_id is not None and not self._halted:
            raise RuntimeError("You need to stop the loop before closing it")
        self._thread_id = None
        self._set_coroutine_origin_tracking(False)  # of debug mode, for all code
        super().close()

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log as asyncio does, then cancel the body and raise the error out of
        `open_loop`.

        A Future's exception that nobody retrieved is logged only.
        """
        super().default_exception_handler(context)
        future = context.get("future")
        if self._closed or (
            future is not None and not isinstance(future, asyncio.Task)
        ):
            return
        self._raise_out(
            context.get("exception")
            or RuntimeError(context.get("message", "Unhandled error in event loop"))
        )

    # The end of the block, step by step

    def _has_trio_tasks(self) -> bool:
        return False  # the block's end waits for them

    async def _restart_if_stopped(self) -> None:
        self._unwinding = True
        self._queue_limit = sys.maxsize
        if not self._stop_asked:
            return
        while not self._halted:  # the stop is still in the queue
            await _core.checkpoint()
        self._resume()
        tasks = _live_tasks(self)
        if not tasks:
            return
        try:
            warnings.warn(
                f"the event loop was stopped while {len(tasks)} asyncio tasks were "
                "alive; it goes on to let them unwind",
                RuntimeWarning,
                stacklevel=2,
            )
        except RuntimeWarning as exc:  # a filter makes it an error
            self._raise_out(exc)

    async def _unwind_tasks(self, tasks: set[asyncio.Task[Any]]) -> None:
        """Cancel asyncio Tasks and wait for them; what they raise leaves the block."""
        for task in tasks:
            task.cancel()
        for task in tasks:
            try:
                await _core.wait_future(task)
            except asyncio.CancelledError:
                pass
            except BaseException as exc:
                self._raise_out(exc)

    async def _finalize_asyncgens(self, shield: _core.CancelScope) -> None:
        """Close the async generators. An outer cancel may cut them short, but only
        when each has begun to end; it is heard of also if they end before it comes
        to that."""
        are_any = bool(self._asyncgens)
        task = self.create_task(self.shutdown_asyncgens())
        await self.synchronize()  # it has gathered them
        await self.synchronize()  # they have begun
        shield.shield = not are_any
        try:
            await _core.wait_future(task)
            await _core.checkpoint_if_cancelled()
        finally:
            shield.shield = True

    async def _end_late_calls(self) -> None:
        """Cancel the Tasks of calls that Trio tasks around the block have made
        meanwhile; who waits is told of that."""
        self._ending = True
        tasks = [task for task in self._get_waits() if isinstance(task, asyncio.Task)]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(BaseException):
                await _core.wait_future(task)

    async def _unwind(self, keeper: _Keeper, shield: _core.CancelScope) -> None:
        """End everything that the loop started; `shield` is the scope that keeps
        cancels away."""
        await self._restart_if_stopped()
        await self.synchronize()
        keeper.cancel_calls()
        await self._unwind_tasks(_live_tasks(self))
        await keeper.end_calls()
        try:
            await self._finalize_asyncgens(shield)
        finally:
            await keeper.end_jobs()
            await self._end_late_calls()
            await self._drain()
            if self._stopped is not None:
                self._stopped.set()
            self._thread_id = None
            self.close()


class _Keeper:
    """The tasks that keep a loop's nurseries open, and end the loop, out of reach of
    cancels from outside."""

    def __init__(self, errors: _core.Nursery, queue_limit: int) -> None:
        self._errors = errors
        self._queue_limit = queue_limit
        self._opened = Event()
        self._no_more_calls = Event()
        self._calls_done = Event()
        self._no_more_jobs = Event()
        self._jobs_done = Event()
        self._closed = Event()
        self._loop: TrioEventLoop | None = None

    @enable_ki_protection
    async def _keep(self) -> None:
        with _core.CancelScope(shield=True):
            async with _core.open_nursery() as nursery:
                async with _core.open_nursery() as jobs:
                    async with _core.open_nursery() as calls:
                        # A loop that is closed has them no more.
                        self._calls, self._jobs = calls, jobs
                        try:
                            self._loop = TrioEventLoop(
                                nursery, jobs, calls, self._errors, self._queue_limit
                            )
                        finally:
                            self._opened.set()
                        with _core.CancelScope(shield=True):
                            await self._no_more_calls.wait()
                    self._calls_done.set()
                    with _core.CancelScope(shield=True):
                        await self._no_more_jobs.wait()
                self._jobs_done.set()
                await self._closed.wait()

    def cancel_calls(self) -> None:
        """Cancel the Trio tasks that asyncio code has started."""
        self._calls.cancel_scope.cancel(reason="the open_loop() block has ended")

    async def end_calls(self) -> None:
        """Wait for those tasks."""
        self._no_more_calls.set()
        await self._calls_done.wait()

    async def end_jobs(self) -> None:
        """Wait for the jobs that are in threads, and cancel those that are not."""
        self._jobs.cancel_scope.cancel(reason="the open_loop() block has ended")
        self._no_more_jobs.set()
        await self._jobs_done.wait()

    async def open(self) -> TrioEventLoop | None:
        """Start the keeper and return its loop, or None if that failed, in which case
        the errors' nursery knows."""
        self._errors.start_soon(self._keep, name="<asyncio event loop keeper>")
        interrupt: KeyboardInterrupt | None = None
        while not self._opened.is_set():
            try:
                with _core.CancelScope(shield=True):
                    await self._opened.wait()
            except KeyboardInterrupt as exc:
                interrupt = exc
        if interrupt is not None:
            raise interrupt
        return self._loop

    @enable_ki_protection
    async def _end(self) -> None:
        assert self._loop is not None
        try:
            with _core.CancelScope(shield=True) as shield:
                if self._loop.is_closed():
                    self.cancel_calls()
                    await self.end_calls()
                    await self.end_jobs()
                else:
                    await self._loop._unwind(self, shield)
        finally:
            self._no_more_calls.set()
            self._no_more_jobs.set()
            self._closed.set()

    def close(self) -> None:
        """End the loop and let the keeper go. The errors' nursery waits for it.

        The body's task would be the wrong one to do it: a Ctrl-C goes to the main
        task's next checkpoint, shielded or not, and would leave the end half done.
        """
        if self._loop is not None:
            self._loop._left_by = self._errors.parent_task
            self._errors.start_soon(self._end, name="<end of an asyncio event loop>")


class _OpenLoop:
    """What `open_loop` returns. A class, not a generator: Ctrl-C could be raised in
    the frames of contextlib, around the generator."""

    def __init__(self, queue_limit: int) -> None:
        self._nursery = _core.open_nursery(strict_exception_groups=True)
        self._queue_limit = queue_limit

    @enable_ki_protection
    async def __aenter__(self) -> TrioEventLoop:
        errors = await self._nursery.__aenter__()
        self._keeper = _Keeper(errors, self._queue_limit)
        try:
            loop = await self._keeper.open()
            assert loop is not None or errors.cancel_scope.cancel_called
        except BaseException as exc:
            self._keeper.close()
            await self._nursery.__aexit__(type(exc), exc, exc.__traceback__)
            raise
        if loop is None:
            await self._nursery.__aexit__(None, None, None)  # raises why
            raise AssertionError
        _asyncgen_dispatch.install()
        self._token = current_loop.set(loop)
        self._home = _core.set_task_home(loop)
        return loop

    @enable_ki_protection
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self._keeper.close()
        try:
            return await self._nursery.__aexit__(exc_type, exc, traceback)
        finally:
            _core.set_task_home(self._home)
            current_loop.reset(self._token)
            _asyncgen_dispatch.uninstall()


def _to_limit(queue_len: float | None) -> int:
    if queue_len is None or queue_len == math.inf:
        return sys.maxsize
    if not isinstance(queue_len, int):
        raise TypeError("queue_len must be an integer or math.inf")
    if queue_len < 0:
        raise ValueError("queue_len must be >= 0")
    return min(queue_len, sys.maxsize)


def open_loop(
    queue_len: float | None = None,
) -> AbstractAsyncContextManager[TrioEventLoop]:
    """Open an asyncio event loop in the running program: ``async with open_loop() as
    loop``.

    Loops can be opened side by side and inside of each other. The block's end cancels
    all tasks that the loop started, of both
    flavours, and waits for them.

    Args:
      queue_len: how many callbacks, Tasks and calls of Trio functions may wait for
        their turn, beyond the next one. ``call_soon``, ``create_task``,
        ``trio_as_future`` and all that is made of them raise WouldBlock while there
        are more. What goes on with work that was begun is never refused: Tasks that
        wake up, timers, fds, other threads. None, or ``math.inf``: no limit.

    Flavor: trio. Checkpoint: yes, at both ends; the entry is never cancelled.

    Raises:
      ExceptionGroup: one level around what the body and the loop's callbacks raised.
      RuntimeError: no Trio task is running, or one of the plain trio package.
      TypeError, ValueError: `queue_len` is no number of callbacks.
    """
    _crossing.check_not_plain_trio("open_loop")
    return _OpenLoop(_to_limit(queue_len))


def run(
    fn: Callable[..., Awaitable[Any]],
    *args: Any,
    queue_len: float | None = None,
    **options: Any,
) -> Any:
    """Run a Trio-flavoured main function with an asyncio loop open around it.

    Args:
      fn: the async function, called with `args`.
      queue_len: as for `open_loop`.
      options: what `trio_asyncio_c.trio.run` takes, such as ``clock`` and
        ``instruments``.

    Returns:
      what `fn` returned.

    Flavor: sync.
    """

    _crossing.check_not_plain_trio("run")

    async def main() -> Any:
        async with open_loop(queue_len=queue_len):
            return await fn(*args)

    return _run.run(main, **options)
