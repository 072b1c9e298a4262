"""Async generator hooks for threads in which both flavours run.

A generator belongs to the flavour and loop in which it was first iterated, and is
finalised there. The hooks are the thread's, so all
loops of a run share one dispatcher, which is installed while at least one of them is
open.
"""

from __future__ import annotations

import sys
import threading
from asyncio import events
from typing import TYPE_CHECKING, Any

from . import _core

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ._loop import EventLoop

__all__ = ["install", "install_for_own_runner", "uninstall"]


class _Dispatcher:
    """The hooks while loops are open, and those that were there before.

    A generator keeps the finalizer of its beginning, and with it this, however long
    it lives; nothing else does.
    """

    def __init__(self) -> None:
        self.users = 0
        self.previous = sys.get_asyncgen_hooks()
        # By id: when a generator is finalised, weak references to it are gone already.
        self.owners: dict[int, EventLoop] = {}

    def firstiter(self, agen: AsyncGenerator[Any, Any]) -> None:
        loop: Any = None if _core.in_trio_task() else events._get_running_loop()
        if isinstance(loop, _core.LoopCore):
            self.owners[id(agen)] = loop  # type: ignore[assignment]
            loop._asyncgen_firstiter_hook(agen)  # type: ignore[attr-defined]
            return
        # Of one that has ended by itself, which nobody tells of, that had this id.
        self.owners.pop(id(agen), None)
        if self.previous.firstiter is not None:
            self.previous.firstiter(agen)

    def finalizer(self, agen: AsyncGenerator[Any, Any]) -> None:
        loop: Any = self.owners.pop(id(agen), None)
        if loop is not None:
            loop._asyncgen_finalizer_hook(agen)
        elif self.previous.finalizer is not None:
            self.previous.finalizer(agen)


class _Thread(threading.local):
    dispatcher: _Dispatcher | None = None


_thread = _Thread()


def install() -> None:
    """Put a dispatcher in place of the thread's hooks; calls nest."""
    if _thread.dispatcher is None:
        _thread.dispatcher = _Dispatcher()
        sys.set_asyncgen_hooks(
            _thread.dispatcher.firstiter, _thread.dispatcher.finalizer
        )
    _thread.dispatcher.users += 1


def uninstall() -> None:
    """Undo one `install`; the last one restores the hooks of before the first."""
    dispatcher = _thread.dispatcher
    assert dispatcher is not None
    dispatcher.users -= 1
    if dispatcher.users == 0:
        _thread.dispatcher = None
        sys.set_asyncgen_hooks(*dispatcher.previous)
        dispatcher.owners.clear()


class _OwnRunnerHooks:
    """The hooks while a loop runs that owns its runner: asyncio's and the runner's."""

    def __init__(self, aio: Any, trio: Any) -> None:
        self._aio = aio
        self._trio = trio
        self._trio_ids: set[int] = set()  # by id, as above

    def firstiter(self, agen: AsyncGenerator[Any, Any]) -> None:
        if _core.in_trio_task():
            self._trio_ids.add(id(agen))
            self._trio.firstiter(agen)
        else:
            self._trio_ids.discard(id(agen))
            self._aio.firstiter(agen)

    def finalizer(self, agen: AsyncGenerator[Any, Any]) -> None:
        hooks = self._trio if id(agen) in self._trio_ids else self._aio
        self._trio_ids.discard(id(agen))
        hooks.finalizer(agen)


def install_for_own_runner(runner: _core.Runner) -> None:
    """Put hooks for both flavours in place of those that asyncio has just set."""
    aio = sys.get_asyncgen_hooks()
    # Those of the trio package keep what they find, which is in no collector's sight:
    # asyncio's would never let go of the loop.
    sys.set_asyncgen_hooks(None, None)
    runner.asyncgens.install_hooks(runner)
    hooks = _OwnRunnerHooks(aio, sys.get_asyncgen_hooks())
    sys.set_asyncgen_hooks(hooks.firstiter, hooks.finalizer)
