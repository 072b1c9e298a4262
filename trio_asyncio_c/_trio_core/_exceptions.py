"""``trio._core._exceptions``: the exceptions that the core in C raises."""

from trio_asyncio_c._exceptions import (
    BrokenResourceError,
    BusyResourceError,
    Cancelled,
    CancelReasonLiteral as CancelReasonLiteral,
    ClosedResourceError,
    EndOfChannel,
    RunFinishedError,
    TrioInternalError,
    WouldBlock,
)

# Trio gives its public classes their final names by this mark.
for _cls in (
    BrokenResourceError,
    BusyResourceError,
    Cancelled,
    ClosedResourceError,
    EndOfChannel,
    RunFinishedError,
    TrioInternalError,
    WouldBlock,
):
    _cls.__module__ = __name__
