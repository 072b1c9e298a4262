"""The event loop policy, for programs that choose their loop by policy, and for those
that choose none."""

from __future__ import annotations

import asyncio
import os
import warnings
from asyncio import events, unix_events
from typing import Any

from ._loop import EventLoop, check_no_trio_task

__all__ = ["EventLoopPolicy", "install"]

INHERITED_VARIABLE = "TRIO_ASYNCIO_C_ASYNCIO"
"""Set to 1 in the environment, each Python process does `replace_defaults`."""

# The public names of these warn from CPython 3.14 on, and go with 3.16.
_DefaultPolicy: Any = getattr(unix_events, "_UnixDefaultEventLoopPolicy", object)


class EventLoopPolicy(_DefaultPolicy):  # type: ignore[misc]
    """The default policy of the platform, with `EventLoop` as its loop."""

    __module__ = "trio_asyncio_c"

    _loop_factory = EventLoop

    def new_event_loop(self) -> EventLoop:
        """Return a new `EventLoop`; a subclass may have another ``_loop_factory``.

        Raises:
          RuntimeError: a Trio task is running.
        """
        check_no_trio_task()
        return self._loop_factory()


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


def replace_defaults(*, inherit: bool = False) -> None:
    """Make `EventLoop` the loop of a whole process, wherever no other one is named.

    For ``python -m trio_asyncio_c``, which knows nothing of the program to run: besides
    the policy, the names by which asyncio and others ask for the platform's own loop or
    policy say ours. So it is still there after ``set_event_loop_policy(None)``.

    Args:
      inherit: let Python processes that this one starts do the same, by the
        environment variable ``TRIO_ASYNCIO_C_ASYNCIO``.
    """
    names: Any = asyncio
    names.SelectorEventLoop = EventLoop
    if hasattr(asyncio, "EventLoop"):  # from 3.13 on
        names.EventLoop = EventLoop
    if "DefaultEventLoopPolicy" in vars(asyncio):
        names.DefaultEventLoopPolicy = EventLoopPolicy
    elif hasattr(unix_events, "_DefaultEventLoopPolicy"):  # from 3.14 on
        unix_events._DefaultEventLoopPolicy = EventLoopPolicy
    if _DefaultPolicy is not object:
        install()
    if inherit:
        os.environ[INHERITED_VARIABLE] = "1"
