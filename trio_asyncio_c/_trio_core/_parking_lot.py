"""``trio._core._parking_lot``: where tasks wait for each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from trio_asyncio_c._core import (
    ParkingLot,
    Task,
    _parking_lot_breakers,
    add_parking_lot_breaker as add_parking_lot_breaker,
    remove_parking_lot_breaker as remove_parking_lot_breaker,
)
from trio_asyncio_c._statistics import ParkingLotStatistics


class _Breakers(Mapping[Task, "list[ParkingLot]"]):
    """Who breaks which lots by exiting; the core keeps it."""

    def __getitem__(self, task: Task) -> list[ParkingLot]:
        return _parking_lot_breakers()[task]

    def __iter__(self) -> Iterator[Task]:
        return iter(_parking_lot_breakers())

    def __len__(self) -> int:
        return len(_parking_lot_breakers())

    def __repr__(self) -> str:
        return repr(_parking_lot_breakers())


GLOBAL_PARKING_LOT_BREAKER: Final = _Breakers()


def _init(self: ParkingLot) -> None:
    """Make a lot with nobody in it."""


# As a Python function it takes part in how Trio names its public API.
_init.__module__ = __name__
_init.__name__ = "__init__"
_init.__qualname__ = "ParkingLot.__init__"
ParkingLot.__init__ = _init  # type: ignore[method-assign, assignment]

for _cls in (ParkingLot, ParkingLotStatistics):
    _cls.__module__ = __name__
