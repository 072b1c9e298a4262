"""The names that trio-asyncio has been warning of since its release 0.11, each made
when it is asked for."""

from __future__ import annotations

import math
import os
import sys
import warnings
from contextvars import ContextVar
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

from . import _core, _crossing
from ._loop import EventLoop
from ._policy import EventLoopPolicy
from ._sync import CapacityLimiter
from ._threads import to_thread_run_sync

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TrioAsyncioDeprecationWarning"]

_PACKAGE = "trio_asyncio_c"

_SUBMODULES = {
    "adapter": (
        "aio_as_trio",
        "allow_asyncio",
        "asyncio_as_trio",
        "trio_as_aio",
        "trio_as_asyncio",
    ),
    "async_": ("TrioEventLoop", "open_loop"),
    "base": ("BaseTrioEventLoop", "TrioExecutor"),
    "child": ("wait_for_child",),
    "handles": ("AsyncHandle", "ScopedHandle"),
    "loop": (
        "TrioChildWatcher",
        "TrioPolicy",
        "current_loop",
        "current_policy",
        "open_loop",
        "run",
        "run_aio_coroutine",
        "run_trio",
        "run_trio_task",
    ),
    "sync": ("SyncTrioEventLoop",),
    "util": ("run_aio_future", "run_aio_generator"),
}
"""trio-asyncio's own submodules, and what users took from them."""


class TrioAsyncioDeprecationWarning(FutureWarning):
    """Somebody uses a name that trio-asyncio has deprecated."""

    __module__ = _PACKAGE


async def wait_for_child(pid: int) -> int:
    """Wait, in a thread, for the end of a child process.

    Returns:
      its exit status, negative for a signal; 255 if somebody else was told of it.

    Flavor: trio. Checkpoint: yes.
    """
    try:
        _, status = await to_thread_run_sync(
            os.waitpid,
            pid,
            0,
            abandon_on_cancel=True,
            limiter=CapacityLimiter(math.inf),
        )
    except ChildProcessError:
        return 255
    return os.waitstatus_to_exitcode(status)


class TrioChildWatcher:
    """A child watcher of the kind that asyncio had up to CPython 3.13. Neither asyncio
    nor the event loop needs it: children are waited for without one."""

    __module__ = _PACKAGE

    def __init__(self) -> None:
        self._loop: EventLoop | None = None
        self._handles: dict[int, _crossing.TrioTaskHandle] = {}

    def attach_loop(self, loop: EventLoop | None) -> None:
        """Use this loop from now on."""
        self._loop = loop

    def is_active(self) -> bool:
        """Return whether there is a loop to wait on."""
        return self._loop is not None

    def add_child_handler(
        self, pid: int, callback: Callable[..., object], *args: Any
    ) -> None:
        """Call ``callback(pid, returncode, *args)`` when the child has ended.

        Flavor: sync. Thread-safe: no.

        Raises:
          RuntimeError: no loop is attached.
        """
        loop = self._loop
        if loop is None:
            raise RuntimeError("the child watcher has no loop attached")

        async def wait() -> None:
            code = await wait_for_child(pid)
            self._handles.pop(pid, None)
            loop.call_soon(callback, pid, code, *args)

        self.remove_child_handler(pid)
        self._handles[pid] = loop.run_trio_task(wait)

    def remove_child_handler(self, pid: int) -> bool:
        """Wait for a child no more; return whether that was done before."""
        handle = self._handles.pop(pid, None)
        if handle is None:
            return False
        handle.cancel()
        return True

    def close(self) -> None:
        """Forget all children, and the loop."""
        for pid in tuple(self._handles):
            self.remove_child_handler(pid)
        self._loop = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


_current_policy: ContextVar[Any] = ContextVar("current_policy", default=None)

# Only reached through what is deprecated.
_HIDDEN: dict[str, Any] = {
    "AsyncHandle": _crossing.TrioTaskHandle,
    "ScopedHandle": _core.Handle,
    "SyncTrioEventLoop": EventLoop,
    "TrioChildWatcher": TrioChildWatcher,
    "TrioPolicy": EventLoopPolicy,
    "current_policy": _current_policy,
    "wait_for_child": wait_for_child,
}
_TOP_LEVEL = ("TrioChildWatcher", "TrioPolicy", "current_policy")


def _make_submodule(name: str) -> ModuleType:
    module = ModuleType(f"{_PACKAGE}.{name}", "A submodule of trio-asyncio's.")
    package = sys.modules[_PACKAGE]
    for member in _SUBMODULES[name]:
        known = _HIDDEN if member in _HIDDEN else vars(package)
        setattr(module, member, known[member])
    return module


def get_deprecated(name: str) -> Any:
    """Do the package's ``__getattr__``: warn, and return what a deprecated name stands
    for.

    Raises:
      AttributeError: there is no such name.
    """
    if name in _SUBMODULES:
        value: Any = _make_submodule(name)
        advice = f"; use an import from the top-level {_PACKAGE} package instead"
    elif name in _TOP_LEVEL:
        value = _HIDDEN[name]
        advice = " with no replacement"
    else:
        raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r}")
    warnings.warn(
        TrioAsyncioDeprecationWarning(
            f"{_PACKAGE}.{name} is deprecated since trio-asyncio 0.11.0{advice} "
            "(https://github.com/python-trio/trio-asyncio/issues/64)"
        ),
        stacklevel=2,
    )
    return value
