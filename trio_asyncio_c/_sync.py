"""Synchronisation between the tasks of one run: events, locks, semaphores,
conditions, capacity limiters.

Nothing in here may be called from another thread than the run's, unless
through `from_thread`.

`Event`, `Lock`, `StrictFIFOLock` and `Semaphore` are the core's; the others
are made of a `ParkingLot` in the same way. It is first come, first served and
takes a cancelled task out of the queue. What is waited for is handed over by
whoever releases it, in the same step: it never lies around free while somebody
waits, so nobody can jump the queue and a woken task never finds that it came
too late.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from . import _core
from ._core import (
    CancelScope,
    Event,
    Lock,
    ParkingLot,
    Semaphore,
    StrictFIFOLock,
    cancel_shielded_checkpoint,
    checkpoint_if_cancelled,
    current_task,
)
from ._exceptions import WouldBlock
from ._ki import enable_ki_protection
from ._util import final

if TYPE_CHECKING:
    from types import TracebackType

    from ._core import Task

__all__ = [
    "CapacityLimiter",
    "CapacityLimiterStatistics",
    "Condition",
    "ConditionStatistics",
    "Event",
    "EventStatistics",
    "Lock",
    "LockStatistics",
    "Semaphore",
    "StrictFIFOLock",
]


@dataclass(frozen=True, slots=True)
class EventStatistics:
    """What `Event.statistics` returns."""

    tasks_waiting: int
    """How many tasks are blocked in `Event.wait`."""


@dataclass(frozen=True, slots=True)
class CapacityLimiterStatistics:
    """What `CapacityLimiter.statistics` returns."""

    borrowed_tokens: int
    """How many tokens are lent out."""

    total_tokens: int | float
    """How many there are altogether. Can be less than ``borrowed_tokens``
    after it was lowered.
    """

    borrowers: list[Task | object]
    """Who holds a token."""

    tasks_waiting: int
    """How many tasks are blocked in ``acquire`` or ``acquire_on_behalf_of``.
    """


@final
class CapacityLimiter:
    """A number of tokens for tasks to borrow: limits how many of them do
    something at the same time.

    ``async with limiter:`` holds a token during the block. A limiter differs
    from a `Semaphore` in that it knows who has borrowed: nobody can hold two
    tokens, or return one that he does not hold. It is what limits the number
    of worker threads.

    Args:
      total_tokens: the initial `total_tokens`.

    Raises:
      TypeError: if ``total_tokens`` is neither an int nor ``math.inf``.
      ValueError: if it is negative.
    """

    __slots__ = (
        "__weakref__",
        "_borrowers",
        "_lot",
        "_pending_borrowers",
        "_total_tokens",
    )

    def __init__(self, total_tokens: int | float) -> None:
        self._lot = ParkingLot()
        self._borrowers: set[Task | object] = set()
        # On whose behalf the tasks in the lot wait.
        self._pending_borrowers: dict[Task, Task | object] = {}
        self._total_tokens: int | float = 0
        self.total_tokens = total_tokens

    def __repr__(self) -> str:
        return (
            f"<trio.CapacityLimiter at {id(self):#x},"
            f" {len(self._borrowers)}/{self._total_tokens}"
            f" with {len(self._lot)} waiting>"
        )

    @property
    def total_tokens(self) -> int | float:
        """How many tokens there are, lent out or not: an int or ``math.inf``.
        Can be set.

        Raising it wakes as many waiting tasks as there are new tokens.
        Lowering it takes no token away from anybody; there just are no new
        borrowers until enough tokens have come back.
        """
        return self._total_tokens

    @total_tokens.setter
    def total_tokens(self, new_total_tokens: int | float) -> None:
        if not isinstance(new_total_tokens, int) and new_total_tokens != inf:
            raise TypeError("total_tokens must be an int or math.inf")
        if new_total_tokens < 0:
            raise ValueError("total_tokens must be >= 0")
        self._total_tokens = new_total_tokens
        if self._lot:
            self._wake_waiters()

    def _wake_waiters(self) -> None:
        """Lend the tokens that are free to the tasks that wait longest."""
        available = self._total_tokens - len(self._borrowers)
        if available > 0:
            for task in self._lot.unpark(count=available):
                self._borrowers.add(self._pending_borrowers.pop(task))

    @property
    def borrowed_tokens(self) -> int:
        """How many tokens are lent out."""
        return len(self._borrowers)

    @property
    def available_tokens(self) -> int | float:
        """How many tokens are not lent out. Negative after `total_tokens` was
        lowered below what is in use.
        """
        return self._total_tokens - len(self._borrowers)

    def _try_acquire(self, borrower: Task | object) -> bool:
        """Lend a token at once; False if that would block."""
        if borrower in self._borrowers:
            raise RuntimeError(
                "this borrower is already holding one of this CapacityLimiter's tokens"
            )
        # Never go ahead of the tasks in the lot.
        if len(self._borrowers) < self._total_tokens and not self._lot:
            self._borrowers.add(borrower)
            return True
        return False

    @enable_ki_protection
    def acquire_nowait(self) -> None:
        """Borrow a token for the current task without waiting. Not a
        checkpoint.

        Raises:
          WouldBlock: if no token is free.
          RuntimeError: if the task holds one already.
        """
        if not self._try_acquire(current_task()):
            raise WouldBlock

    @enable_ki_protection
    def acquire_on_behalf_of_nowait(self, borrower: Task | object) -> None:
        """Borrow a token for ``borrower`` without waiting. Not a checkpoint.

        Args:
          borrower: a task, or any hashable object that stands for whoever uses
            the token.

        Raises:
          WouldBlock: if no token is free.
          RuntimeError: if ``borrower`` holds one already.
        """
        if not self._try_acquire(borrower):
            raise WouldBlock

    @enable_ki_protection
    async def acquire(self) -> None:
        """Borrow a token for the current task, waiting as long as necessary. A
        checkpoint.

        Raises:
          RuntimeError: if the task holds one already.
        """
        await self.acquire_on_behalf_of(current_task())

    @enable_ki_protection
    async def acquire_on_behalf_of(self, borrower: Task | object) -> None:
        """Borrow a token for ``borrower``, waiting as long as necessary. A
        checkpoint.

        Args:
          borrower: a task, or any hashable object that stands for whoever uses
            the token.

        Raises:
          RuntimeError: if ``borrower`` holds one already.
        """
        await checkpoint_if_cancelled()
        if self._try_acquire(borrower):
            await cancel_shielded_checkpoint()
            return
        task = current_task()
        self._pending_borrowers[task] = borrower
        try:
            await self._lot.park()
        except BaseException:
            # Cancelled or interrupted while in the lot, so nobody has taken
            # the entry out yet.
            self._pending_borrowers.pop(task, None)
            raise

    @enable_ki_protection
    def release(self) -> None:
        """Return the token that the current task holds. Not a checkpoint.

        Raises:
          RuntimeError: if the task holds none.
        """
        self.release_on_behalf_of(current_task())

    @enable_ki_protection
    def release_on_behalf_of(self, borrower: Task | object) -> None:
        """Return the token that ``borrower`` holds. Not a checkpoint.

        Raises:
          RuntimeError: if ``borrower`` holds none.
        """
        if borrower not in self._borrowers:
            raise RuntimeError(
                "this borrower isn't holding any of this CapacityLimiter's tokens"
            )
        self._borrowers.remove(borrower)
        if self._lot:
            self._wake_waiters()

    def statistics(self) -> CapacityLimiterStatistics:
        """Return figures for debugging."""
        return CapacityLimiterStatistics(
            borrowed_tokens=len(self._borrowers),
            total_tokens=self._total_tokens,
            borrowers=list(self._borrowers),
            tasks_waiting=len(self._lot),
        )

    @enable_ki_protection
    async def __aenter__(self) -> None:
        await self.acquire_on_behalf_of(current_task())

    @enable_ki_protection
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release_on_behalf_of(current_task())


@dataclass(frozen=True, slots=True)
class LockStatistics:
    """What `Lock.statistics` returns."""

    locked: bool
    """Whether somebody holds the lock."""

    owner: Task | None
    """The task that holds it."""

    tasks_waiting: int
    """How many tasks are blocked in `Lock.acquire`."""


@dataclass(frozen=True, slots=True)
class ConditionStatistics:
    """What `Condition.statistics` returns."""

    tasks_waiting: int
    """How many tasks are blocked in `Condition.wait`, waiting to be notified.
    """

    lock_statistics: LockStatistics
    """The `Lock.statistics` of the lock."""


@final
class Condition:
    """A lock, and a way for the task that holds it to wait until another one
    says that something has changed.

    ``async with condition:`` holds the lock during the block; it waits at
    entry, not at exit.

    Args:
      lock: the `Lock` to use. By default the condition has one of its own.

    Raises:
      TypeError: if ``lock`` is anything but a `Lock`.
    """

    __slots__ = ("__weakref__", "_lock", "_lot")

    def __init__(self, lock: Lock | None = None) -> None:
        if lock is None:
            lock = Lock()
        if type(lock) is not Lock:
            raise TypeError("lock must be a trio.Lock")
        self._lock = lock
        self._lot = ParkingLot()

    def locked(self) -> bool:
        """Whether somebody holds the lock. Not a checkpoint."""
        return self._lock.locked()

    def acquire_nowait(self) -> None:
        """Take the lock without waiting. Not a checkpoint. Raises as
        `Lock.acquire_nowait`.
        """
        self._lock.acquire_nowait()

    async def acquire(self) -> None:
        """Take the lock, waiting until it is free. A checkpoint. Raises as
        `Lock.acquire`.
        """
        await self._lock.acquire()

    def release(self) -> None:
        """Release the lock. Not a checkpoint. Raises as `Lock.release`."""
        self._lock.release()

    @enable_ki_protection
    async def wait(self) -> None:
        """Release the lock, wait to be notified, and take the lock again. A
        checkpoint.

        The lock is held again in any case, also if the wait is cancelled: then
        `Cancelled` is raised only after the lock was taken, which may take a
        while.

        Raises:
          RuntimeError: if the current task does not hold the lock.
          BrokenResourceError: if the lock cannot be taken again, because the
            task that held it exited.
        """
        if current_task() is not self._lock._owner:
            raise RuntimeError("must hold the lock to wait")
        self._lock.release()
        try:
            # A notification moves the task to the lock's own lot, so that what
            # wakes it is the lock being its own.
            await self._lot.park()
        except BaseException:
            with CancelScope(shield=True):
                await self._lock.acquire()
            raise

    def notify(self, n: int = 1) -> None:
        """Let ``n`` tasks that are in `wait` go on, as soon as they get the
        lock. Not a checkpoint.

        Args:
          n: how many, longest waiting first; fewer if there are not so many.

        Raises:
          RuntimeError: if the current task does not hold the lock.
        """
        if current_task() is not self._lock._owner:
            raise RuntimeError("must hold the lock to notify")
        self._lot.repark(self._lock._lot, count=n)

    def notify_all(self) -> None:
        """Let all tasks that are in `wait` go on, one after the other, as they
        get the lock. Not a checkpoint.

        Raises:
          RuntimeError: if the current task does not hold the lock.
        """
        if current_task() is not self._lock._owner:
            raise RuntimeError("must hold the lock to notify")
        self._lot.repark_all(self._lock._lot)

    def statistics(self) -> ConditionStatistics:
        """Return figures for debugging."""
        return ConditionStatistics(
            tasks_waiting=len(self._lot),
            lock_statistics=self._lock.statistics(),
        )

    @enable_ki_protection
    async def __aenter__(self) -> None:
        await self._lock.acquire()

    @enable_ki_protection
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()


_core._set_hooks(event_statistics=EventStatistics, lock_statistics=LockStatistics)
