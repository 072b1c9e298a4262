"""`TrioExecutor`: an executor for `EventLoop.run_in_executor` whose jobs run in Trio's
worker threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
from asyncio import futures
from collections import deque
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from ._clock import SystemClock
from ._core import CancelScope, set_task_home
from ._exceptions import Cancelled
from ._sync import CapacityLimiter
from ._threads import current_default_thread_limiter, to_thread_run_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._loop import EventLoop

__all__ = ["TrioExecutor"]


def _storable(error: BaseException) -> BaseException:
    """Return what a Future can hold in place of an error."""
    if isinstance(error, StopIteration):
        converted = RuntimeError(
            "StopIteration interacts badly with generators and cannot be raised into "
            "a Future"
        )
        converted.__cause__ = error
        return converted
    asyncio_internals: Any = futures
    return asyncio_internals._convert_future_exc(error)  # type: ignore[no-any-return]


class _HoldingLimiter:
    """A limiter whose tokens keep the clock from jumping."""

    def __init__(self, limiter: Any, runner: Any) -> None:
        self._limiter = limiter
        self._runner = runner

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        await self._limiter.acquire_on_behalf_of(borrower)
        self._runner.clock_holds += 1

    def release_on_behalf_of(self, borrower: object) -> None:
        self._runner.clock_holds -= 1
        self._limiter.release_on_behalf_of(borrower)


class _JobFuture(asyncio.Future[Any]):
    """The Future of a job. As with `EventLoop.run_trio`, it is not done before the
    callee is: what a thread has begun cannot be undone."""

    def __init__(self, job: _Job, loop: EventLoop) -> None:
        super().__init__(loop=loop)
        self.job: _Job | None = job  # till it is done

    def cancel(self, msg: Any | None = None) -> bool:
        if self.job is None or self.done():
            return super().cancel(msg)
        self.job.cancel(msg)
        return True


class _Job:
    """A call that `run_in_executor` has been asked for."""

    def __init__(self, loop: EventLoop, fn: Callable[[], Any]) -> None:
        self.future = _JobFuture(self, loop)
        self.ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._loop = loop
        self._fn: Callable[[], Any] = partial(copy_context().run, fn)
        self._scope: CancelScope | None = None
        self._cancelled = self._begun = self._has_outcome = False
        self._message: Any = None
        self._value: Any = None
        self._error: BaseException | None = None

    def cancel(self, message: Any) -> None:
        """Keep the job from being done, or tell it when it looks for that."""
        # In this order: a thread that begins just now looks at it in the other one.
        self._cancelled, self._message = True, message
        if self._scope is not None and (self._loop._waits_for_jobs or not self._begun):
            self._scope.cancel(reason="the Future was cancelled")

    def _run(self) -> None:
        """Do the call, in a worker thread."""
        self._begun = True
        try:
            if not self._cancelled:
                self._value = self._fn()
                self._has_outcome = True
        except Cancelled:
            pass  # of from_thread.check_cancelled()
        except BaseException as exc:
            self._error = exc
            self._has_outcome = True
        finally:
            del self._fn
            self.ended.set_result(None)

    async def do(self, name: str | None, limiter: Any) -> None:
        """Have a thread do the call, once there is a token, and tell the Future."""
        runner: Any = self._loop._runner
        if not isinstance(runner.clock, SystemClock):
            limiter = limiter or current_default_thread_limiter()
            limiter = _HoldingLimiter(limiter, runner)
        try:
            with CancelScope() as self._scope:
                if self._cancelled:
                    self._scope.cancel(reason="the Future was cancelled")
                await to_thread_run_sync(
                    self._run,
                    thread_name=name,
                    abandon_on_cancel=not self._loop._waits_for_jobs,
                    limiter=limiter,
                )
        except Exception as exc:  # of a limiter, or there are no more threads
            self._error = exc
            self._has_outcome = True
        finally:
            self._scope = None
            if not self._begun:
                self.ended.cancel()
            self._resolve()

    def _resolve(self) -> None:
        error, self._error = self._error, None
        future = self.future
        future.job = None
        if future.done() or self._loop.is_closed():
            return
        if not self._has_outcome:
            future.cancel(self._message)
        elif error is None:
            future.set_result(self._value)
        else:
            future.set_exception(_storable(error))


class TrioExecutor(concurrent.futures.ThreadPoolExecutor):
    """An executor whose jobs run in Trio's worker threads.

    For `EventLoop.run_in_executor` and ``set_default_executor``; the default one of
    `open_loop`. The jobs see a copy of the caller's context variables and can call back
    by `trio_asyncio_c.from_thread`; each holds one token of the limiter, which is
    shared with `to_thread.run_sync`. A Future whose job has begun is not done before
    the job is, also if it is cancelled, and then has its value. Jobs that still wait
    for a token when the loop is closed are cancelled; those in threads are waited for
    at the end of an `open_loop` block, but not by ``close()`` of a loop of its own.

    Args:
      limiter: a `CapacityLimiter` or one like it; or an int, which is taken for
        `max_workers`. None: Trio's default limiter, unless there is `max_workers`.
      thread_name_prefix: what the names of threads begin with while they run a job.
      max_workers: the number of threads at a time, if no limiter is given.

    Raises:
      ValueError: `max_workers` is not positive.
    """

    __module__ = "trio_asyncio_c"

    def __init__(
        self,
        limiter: CapacityLimiter | int | None = None,
        thread_name_prefix: str | None = None,
        max_workers: int | None = None,
    ) -> None:
        if isinstance(limiter, int):
            max_workers, limiter = limiter, None
        super().__init__(max_workers, thread_name_prefix or "")
        self._limiter = limiter
        if limiter is None and max_workers is not None:
            self._limiter = CapacityLimiter(max_workers)
        self._numbers = itertools.count()
        # Jobs without a task, by loop: one that begins takes the oldest, for tasks are
        # begun in no certain order.
        self._queues: WeakKeyDictionary[EventLoop, deque[_Job]] = WeakKeyDictionary()
        # Weak: a job that is dropped with its loop never ends.
        self._unfinished: WeakSet[concurrent.futures.Future[None]] = WeakSet()

    def _check_open(self) -> None:
        if self._shutdown:
            raise RuntimeError("cannot schedule new futures after shutdown")

    async def submit(  # type: ignore[override]
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        """Call a function in a worker thread, and wait for it.

        Flavor: trio. Checkpoint: yes.

        Raises:
          RuntimeError: the executor was shut down.
        """
        self._check_open()
        return await to_thread_run_sync(
            partial(fn, *args, **kwargs), limiter=self._limiter
        )

    def map(self, *args: Any, **kwargs: Any) -> Iterable[Any]:  # type: ignore[override]
        """Refuse: the jobs need a task that waits for them.

        Raises:
          TypeError: always.
        """
        raise TypeError("a TrioExecutor's jobs are awaited: it has no map()")

    def _start(
        self, loop: EventLoop, fn: Callable[..., Any], args: tuple[Any, ...]
    ) -> asyncio.Future[Any]:
        """Start a job on a loop; the Future of its outcome."""
        self._check_open()
        queue = self._queues.setdefault(loop, deque())
        loop._start_job(self._do_next, loop, queue)
        job = _Job(loop, partial(fn, *args))
        queue.append(job)
        self._unfinished.add(job.ended)
        return job.future

    async def _do_next(self, loop: EventLoop, queue: deque[_Job]) -> None:
        """Do the oldest job that nobody does."""
        set_task_home(loop)
        name = None
        if self._thread_name_prefix:
            name = f"{self._thread_name_prefix}_{next(self._numbers)}"
        await queue.popleft().do(name, self._limiter)

    async def _wait_unfinished(self, timeout: float | None) -> None:
        """Wait, asyncio-flavoured, until no job of any loop is in a thread."""
        if self._unfinished:
            await asyncio.wait(
                [asyncio.wrap_future(ended) for ended in tuple(self._unfinished)],
                timeout=timeout,
            )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more jobs.

        Args:
          wait, cancel_futures: accepted and ignored: the jobs need the loop to go on.
        """
        self._shutdown = True
