"""``trio._core._parking_lot``: where tasks wait for each other."""

from __future__ import annotations

from typing import Final

from trio_asyncio_c._core import (
    ParkingLot,
    Task,
    _parking_lot_breakers,
    add_parking_lot_breaker as add_parking_lot_breaker,
    remove_parking_lot_breaker as remove_parking_lot_breaker,
)
from trio_asyncio_c._statistics import ParkingLotStatistics

GLOBAL_PARKING_LOT_BREAKER: Final[dict[Task, list[ParkingLot]]] = _parking_lot_breakers


def _init(self: ParkingLot) -> None:
    """Make a lot with nobody in it."""


# As a Python function it takes part in how Trio names its public API.
_init.__module__ = __name__
_init.__name__ = "__init__"
_init.__qualname__ = "ParkingLot.__init__"
ParkingLot.__init__ = _init  # type: ignore[method-assign, assignment]

for _cls in (ParkingLot, ParkingLotStatistics):
    _cls.__module__ = __name__
