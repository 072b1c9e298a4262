"""What the ``statistics`` functions of the core return."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["IOStatistics", "LoopStatistics", "ParkingLotStatistics", "RunStatistics"]


@dataclass(frozen=True, slots=True)
class IOStatistics:
    """How many tasks wait for file descriptors."""

    tasks_waiting_read: int
    """Tasks in `wait_readable`."""
    tasks_waiting_write: int
    """Tasks in `wait_writable`."""
    backend: str
    """The kernel's interface that is used, such as ``"epoll"``."""


@dataclass(frozen=True, slots=True)
class RunStatistics:
    """What a run is doing right now; see `current_statistics`."""

    tasks_living: int
    """Tasks that have been spawned and have not exited, those in C included."""
    tasks_runnable: int
    """Tasks that the next batch will run."""
    seconds_to_next_deadline: float
    """Seconds of the run's clock; inf if nothing waits for a time."""
    io_statistics: IOStatistics
    run_sync_soon_queue_size: int
    """Calls that wait for their turn in the run's thread."""


@dataclass(frozen=True, slots=True)
class LoopStatistics:
    """What an event loop has done so far; see `EventLoop.statistics`."""

    cancel_deliveries: int
    """How often a cancel of a scope was thrown into an asyncio Task."""


@dataclass(frozen=True, slots=True)
class ParkingLotStatistics:
    """What `ParkingLot.statistics` returns."""

    tasks_waiting: int
    """Tasks that are parked in the lot."""


for _cls in (IOStatistics, RunStatistics, ParkingLotStatistics):
    _cls.__module__ = "trio_asyncio_c.lowlevel"


def make_run_statistics(
    living: int,
    runnable: int,
    next_deadline: float,
    readers: int,
    writers: int,
    queue_size: int,
    backend: str,
) -> RunStatistics:
    """Put the numbers that the core hands over into a `RunStatistics`."""
    io_statistics = IOStatistics(readers, writers, backend)
    return RunStatistics(living, runnable, next_deadline, io_statistics, queue_size)
