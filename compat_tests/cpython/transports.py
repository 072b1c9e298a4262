"""Counts the connections that tests make: whose code moves their bytes.

Those of the standard library are counted where asyncio calls their constructors for the
loop under test, those of our core by itself, for most are made in C. What a test makes
with its own hands does not count, for it chose the class, nor what is made of a mock.
"""

from __future__ import annotations

import functools
import sys
from asyncio import selector_events, sslproto, unix_events
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest import mock

from .._session import Session

TLS = "TLS"
# The standard library's classes, by the kinds that our core tells apart.
CLASSES: dict[str, Any] = {
    "stream": selector_events._SelectorSocketTransport,  # type: ignore[attr-defined]
    "datagram": selector_events._SelectorDatagramTransport,  # type: ignore[attr-defined]
    "read pipe": unix_events._UnixReadPipeTransport,  # type: ignore[attr-defined]
    "write pipe": unix_events._UnixWritePipeTransport,  # type: ignore[attr-defined]
    TLS: sslproto.SSLProtocol,
}
CORE = "trio_asyncio_c._core"
MOCK = mock.NonCallableMock
IN_C = "in C"
INHERITED = "inherited"


class Transports:
    """How many were made, as {"stream in C": 2, "TLS inherited": 1}."""

    def __init__(self) -> None:
        self._inherited: Counter[str] = Counter()
        self._before: dict[str, int] = {}

    def watch(self, loop_class: type) -> None:
        """Count the standard library's own, on loops of that class."""
        for kind, cls in CLASSES.items():
            cls.__init__ = self._counting(cls.__init__, kind, loop_class)

    def _counting(
        self, init: Callable[..., None], kind: str, loop_class: type
    ) -> Callable[..., None]:
        @functools.wraps(init)
        def counting(transport: Any, loop: Any, *args: Any, **kwargs: Any) -> None:
            # A class of ours may run the constructor of the one that it extends.
            own = _package(type(transport).__module__) == "asyncio"
            caller = _package(sys._getframe(1).f_globals["__name__"])
            counts = own and caller == "asyncio" and isinstance(loop, loop_class)
            init(transport, loop, *args, **kwargs)
            # Not those that refuse, a regular file as a pipe.
            if counts and (kind == TLS or not isinstance(args[0], MOCK)):
                self._inherited[kind] += 1

        return counting

    def forget(self) -> None:
        self._inherited.clear()
        self._before = _made_in_c()

    def made(self) -> dict[str, int]:
        """Return how many since `forget`, without those of which there are none."""
        found = {
            f"{kind} {IN_C}": count - self._before.get(kind, 0)
            for kind, count in _made_in_c().items()
        }
        found |= {
            f"{kind} {INHERITED}": count for kind, count in self._inherited.items()
        }
        return {name: count for name, count in found.items() if count}


def _package(module: str) -> str:
    return module.partition(".")[0]


def _made_in_c() -> dict[str, int]:
    core = sys.modules.get(CORE)
    return {} if core is None else core._debug_made()


def total(session: Session) -> Counter[str]:
    """Return how many all tests of a session made."""
    counts: Counter[str] = Counter()
    for result in session.results.values():
        counts.update(result.extra.get("transports", {}))
    return counts


def words(session: Session) -> str:
    """Return that in a line, or nothing."""
    counts = total(session)
    parts = []
    for kind in CLASSES:
        for whose in (IN_C, INHERITED):
            if count := counts[f"{kind} {whose}"]:
                parts.append(f"{kind} {count} {whose}")
    return ", ".join(parts)


def problems(plain: Session, ours: Session) -> list[str]:
    """Say of which kind not all connections were made in C."""
    made, known = total(ours), total(plain)
    found = []
    for kind in CLASSES:
        in_c, inherited = made[f"{kind} {IN_C}"], made[f"{kind} {INHERITED}"]
        if inherited or (known[f"{kind} {INHERITED}"] and not in_c):
            found.append(f"{kind} transports: {in_c} {IN_C}, {inherited} {INHERITED}")
    return found
