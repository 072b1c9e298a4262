"""``trio._channel``: memory channels."""

from __future__ import annotations

import typing

from trio._abc import ReceiveChannel, SendChannel

from trio_asyncio_c._channel import (
    MemoryChannelStatistics,
    MemoryReceiveChannel,
    MemorySendChannel,
    open_memory_channel,
)
from trio_asyncio_c._safe_channel import (
    OnDemandReceiveChannel as RecvChanWrapper,
    as_safe_channel,
)

SendChannel.register(MemorySendChannel)
ReceiveChannel.register(MemoryReceiveChannel)
ReceiveChannel.register(RecvChanWrapper)

# Trio gives its public names their final home by this mark.
for _thing in (
    MemoryChannelStatistics,
    MemoryReceiveChannel,
    MemorySendChannel,
    as_safe_channel,
    open_memory_channel,
):
    _thing.__module__ = __name__
for _cls in (MemoryReceiveChannel, MemorySendChannel):
    typing.final(_cls)  # C has no mark for it, but that they cannot be derived from
