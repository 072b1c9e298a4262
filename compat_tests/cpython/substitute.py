"""Puts a loop where asyncio's tests make one, and counts what is made and run.

The names are replaced before any module of the tests is imported: some keep them as
attributes of classes. What the tests build to test the very thing (a bare
BaseEventLoop, utils.TestLoop, the selector loop with a mocked selector) stays theirs,
and counts as not applicable.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from asyncio import unix_events
from dataclasses import dataclass, field
from typing import Any

from .transports import Transports

PLAIN = "asyncio:SelectorEventLoop"


@dataclass
class Loops:
    """How many of the substitute were made, how often they were run, and what
    transports they have made."""

    made: int = 0
    ran: int = 0
    transports: Transports = field(default_factory=Transports)

    def forget(self) -> None:
        self.made = self.ran = 0
        self.transports.forget()


def substitute(spec: str, loops: Loops) -> type:
    """Put the loop that `spec` (MODULE:NAME, a class or a factory) names everywhere.

    Returns its class; what is made in its stead is a subclass that counts.
    """
    cls = _resolve(spec)
    substitute_class = counting(cls, loops)
    _replace_in_own_module(cls, substitute_class)
    for module in (asyncio, unix_events):
        for name in ("SelectorEventLoop", "EventLoop"):
            if hasattr(module, name):
                setattr(module, name, substitute_class)
    # Not a policy of our own: the end of each module resets that, and tests derive
    # from this one. It is behind new_event_loop(), run() and Runner.
    policy: Any = unix_events._UnixDefaultEventLoopPolicy
    policy._loop_factory = substitute_class
    _check(substitute_class)
    loops.transports.watch(substitute_class)
    loops.forget()
    return cls


def counting(cls: type, loops: Loops) -> type:
    """Return a subclass that counts, and that takes a selector as asyncio's does."""
    takes_selector = _takes_selector(cls)

    class Substitute(cls):  # type: ignore[valid-type,misc]
        __slots__ = ()

        if takes_selector:

            def __init__(self, selector: Any = None) -> None:
                loops.made += 1
                super().__init__(selector)

        else:

            def __new__(cls, selector: Any = None) -> Any:
                return super().__new__(cls)

            def __init__(self, selector: Any = None) -> None:
                loops.made += 1
                if selector is not None:
                    selector.close()
                super().__init__()

        def run_forever(self) -> None:
            loops.ran += 1
            super().run_forever()

        def run_until_complete(self, future: Any) -> Any:
            loops.ran += 1
            return super().run_until_complete(future)

    for name in ("__name__", "__qualname__", "__module__"):
        setattr(Substitute, name, getattr(cls, name))
    return Substitute


def spare_missing_executor(cls: type) -> None:
    """Let the tests' clean-up pass where a loop has no `_default_executor`.

    Nearly all of them end with it, so a peer without that private name would fail
    them all, whatever they test.
    """
    from test.test_asyncio import utils

    if hasattr(cls, "_default_executor"):
        return
    close_loop = utils.TestCase.close_loop

    def close_loop_without(loop: Any) -> None:
        if hasattr(loop, "_default_executor"):
            close_loop(loop)
        else:
            loop.close()

    utils.TestCase.close_loop = staticmethod(close_loop_without)


def is_ours(cls: type) -> bool:
    """Whether a loop's class is the one of this project, or derived from it."""
    package = sys.modules.get("trio_asyncio_c")
    # Not its EventLoop: that is a substitute by now.
    return package is not None and issubclass(cls, package._core.LoopCore)


def _resolve(spec: str) -> type:
    module, _, path = spec.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    if isinstance(found, type):
        return found
    loop = found()
    loop.close()
    return type(loop)


def _takes_selector(cls: type) -> bool:
    try:
        return "selector" in inspect.signature(cls).parameters
    except ValueError:  # a type in C that does not say
        return False


def _replace_in_own_module(cls: type, substitute_class: type) -> None:
    """Also where a peer that patches asyncio makes its loops itself."""
    module = sys.modules.get(cls.__module__)
    if cls.__module__.partition(".")[0] == "asyncio":
        return
    if getattr(module, cls.__name__, None) is cls:
        setattr(module, cls.__name__, substitute_class)


def _check(substitute_class: type) -> None:
    """See that it took, whichever way a loop is made."""
    factories = [asyncio.new_event_loop, asyncio.SelectorEventLoop]
    factories += filter(None, [getattr(asyncio, "EventLoop", None)])
    for factory in factories:
        loop = factory()
        loop.close()
        if not isinstance(loop, substitute_class):
            raise RuntimeError(f"{factory} makes {type(loop)}")
