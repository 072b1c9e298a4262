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

from ._core import CancelScope
from ._sync import CapacityLimiter
from ._threads import to_thread_run_sync

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


class _Job:
    """A call that `run_in_executor` has been asked for."""

    def __init__(
        self, future: asyncio.Future[Any], queue: deque[_Job], fn: Callable[[], Any]
    ) -> None:
        self.future = future
        self.ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._fn: Callable[[], Any] = partial(copy_context().run, fn)
        self._queue = queue
        self._scope: CancelScope | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        queue.append(self)
        future.add_done_callback(self._follow)

    def _follow(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled():
            return
        if self._scope is not None:
            self._scope.cancel(reason="the Future was cancelled")
        elif self in self._queue:
            self._queue.remove(self)
            self.ended.cancel()

    def run(self, scope: CancelScope) -> None:
        """Do the call, in a worker thread. `scope` is around who waits for it."""
        self._scope = scope
        try:
            if not self.future.cancelled():
                self._value = self._fn()
        except BaseException as exc:
            self._error = exc
        finally:
            del self._fn
            self.ended.set_result(None)

    def resolve(self) -> None:
        """Tell the Future, in the loop's thread."""
        error, self._error = self._error, None
        if self.future.done():
            return
        if error is None:
            self.future.set_result(self._value)
        else:
            self.future.set_exception(_storable(error))


class TrioExecutor(concurrent.futures.ThreadPoolExecutor):
    """An executor whose jobs run in Trio's worker threads.

    For `EventLoop.run_in_executor` and ``set_default_executor``. The jobs see a copy of
    the caller's context variables and can call back by `trio_asyncio_c.from_thread`;
    the tokens of the limiter are shared with `to_thread.run_sync`. Jobs that still
    wait for a token when the loop is closed are dropped.

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
        # Jobs without a thread, by loop: a task that gets a token takes the oldest,
        # for tasks are run in no certain order.
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
        job = _Job(loop.create_future(), queue, partial(fn, *args))
        loop.run_trio_task(self._run_next, queue)
        self._unfinished.add(job.ended)
        return job.future

    async def _run_next(self, queue: deque[_Job]) -> None:
        """Wait for a token, and do the oldest job that there is by then."""
        job: _Job | None = None
        name = None
        if self._thread_name_prefix:
            name = f"{self._thread_name_prefix}_{next(self._numbers)}"

        def work() -> None:
            nonlocal job
            if queue:
                job = queue.popleft()
                job.run(scope)

        with CancelScope() as scope:
            await to_thread_run_sync(
                work, thread_name=name, abandon_on_cancel=True, limiter=self._limiter
            )
        if job is not None:
            job.resolve()

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
