"""How the ends of child processes are seen on CPython 3.11, whose own default is a
thread for each of them. Later versions use pidfds by themselves."""

from __future__ import annotations

import asyncio
import os
from asyncio import log, unix_events
from collections.abc import Callable
from typing import Any

__all__ = ["use_pidfds"]


def _can_use_pidfds() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):  # an old kernel, or a sandbox that refuses it
        return False
    return True


def _take_status(pid: int) -> int:
    """Return the return code of a child that has ended; 255 if somebody else did."""
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        log.logger.warning(
            "child process pid %d exit status already read: "
            " will report returncode 255",
            pid,
        )
        return 255
    return os.waitstatus_to_exitcode(status)


class PidfdChildWatcher(unix_events.AbstractChildWatcher):
    """Watches each child in the loop that started it, whichever that is."""

    def __enter__(self) -> PidfdChildWatcher:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def is_active(self) -> bool:
        return True

    def attach_loop(self, loop: Any) -> None:
        pass

    def close(self) -> None:
        pass

    def remove_child_handler(self, pid: int) -> bool:
        return True  # as of ThreadedChildWatcher, which cannot either

    def add_child_handler(  # type: ignore[override]
        self, pid: int, callback: Callable[..., object], *args: Any
    ) -> None:
        loop: Any = asyncio.get_running_loop()
        pidfd = os.pidfd_open(pid)

        def ended() -> None:
            loop._remove_reader(pidfd)
            os.close(pidfd)
            callback(pid, _take_status(pid), *args)

        loop._add_reader(pidfd, ended)


def use_pidfds() -> None:
    """Have the default policy use pidfds, unless somebody chose another watcher."""
    policy: Any = asyncio.get_event_loop_policy()
    default: Any = unix_events._UnixDefaultEventLoopPolicy
    if isinstance(policy, default) and policy._watcher is None and _can_use_pidfds():
        policy.set_child_watcher(PidfdChildWatcher())
