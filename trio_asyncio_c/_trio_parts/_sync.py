"""``trio._sync``: what tasks wait for each other with."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Protocol

import trio as trio  # "from trio._sync import *" has given it always
from trio._core import enable_ki_protection

from trio_asyncio_c._sync import (
    CapacityLimiter,
    CapacityLimiterStatistics,
    Condition,
    ConditionStatistics,
    Event,
    EventStatistics,
    Lock,
    LockStatistics,
    Semaphore,
    StrictFIFOLock,
)

if TYPE_CHECKING:
    from types import TracebackType


class _HasAcquireRelease(Protocol):
    async def acquire(self) -> object: ...

    def release(self) -> object: ...


class AsyncContextManagerMixin:
    """Makes ``async with`` of a class's ``acquire`` and ``release``."""

    @enable_ki_protection  # type: ignore[untyped-decorator, unused-ignore]
    async def __aenter__(self: _HasAcquireRelease) -> None:
        await self.acquire()

    @enable_ki_protection  # type: ignore[untyped-decorator, unused-ignore]
    async def __aexit__(
        self: _HasAcquireRelease,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


# Trio gives its public classes their final names by this mark.
for _cls in (
    CapacityLimiter,
    CapacityLimiterStatistics,
    Condition,
    ConditionStatistics,
    Event,
    EventStatistics,
    Lock,
    LockStatistics,
    Semaphore,
    StrictFIFOLock,
):
    _cls.__module__ = __name__
for _cls in (Event, Lock, Semaphore, StrictFIFOLock):
    typing.final(_cls)  # C has no mark for it, but that they cannot be derived from
