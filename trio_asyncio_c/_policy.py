"""The event loop policy, for programs that choose their loop by policy."""

from __future__ import annotations

import warnings
from asyncio import events, unix_events
from typing import Any

from ._loop import EventLoop

__all__ = ["EventLoopPolicy", "install"]

# The public names of these warn from CPython 3.14 on, and go with 3.16.
_DefaultPolicy: Any = getattr(unix_events, "_UnixDefaultEventLoopPolicy", object)


class EventLoopPolicy(_DefaultPolicy):  # type: ignore[misc]
    """The default policy of the platform, with `EventLoop` as its loop."""

    __module__ = "trio_asyncio_c"

    _loop_factory = EventLoop

    def new_event_loop(self) -> EventLoop:
        """Return a new `EventLoop`."""
        return EventLoop()


def install() -> None:
    """Make `EventLoop` the loop of ``asyncio.run`` and ``asyncio.new_event_loop``, by
    setting the policy.

    Raises:
      RuntimeError: this Python has no policies; pass
        ``loop_factory=trio_asyncio_c.new_event_loop`` instead.
    """
    set_policy = getattr(events, "_set_event_loop_policy", None) or getattr(
        events, "set_event_loop_policy", None
    )
    if set_policy is None:
        raise RuntimeError(
            "this Python has no event loop policies: pass "
            "loop_factory=trio_asyncio_c.new_event_loop to asyncio.run"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        set_policy(EventLoopPolicy())
