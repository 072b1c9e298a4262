"""`getaddrinfo` of numeric addresses, without libc and without a thread.

What libc answers for a numeric address depends on the address in one place only: the
socket address in each row. The rest, how many rows of which type and protocol, depends on
what was asked for. So libc's own answer to the first question of a kind is kept, and
later ones are answered from it. No table of what libc does is needed, and what it
refuses stays its to refuse.
"""

from __future__ import annotations

import _socket
import socket
from asyncio import base_events
from typing import Any, NamedTuple

__all__ = ["Question", "ask", "is_replaced"]

_PYTHON_FUNCTION = socket.getaddrinfo
_C_FUNCTION = _socket.getaddrinfo

# The answer to any other flag can depend on the state of the network.
_FLAGS = socket.AI_PASSIVE | socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_SHAPES_AT_MOST = 256

_Row = tuple[Any, Any, int, str, Any]
_shapes: dict[tuple[Any, ...], list[tuple[Any, Any, int]]] = {}


def is_replaced() -> bool:
    """Whether somebody has replaced the function that asyncio would call."""
    module: Any = base_events.socket  # type: ignore[attr-defined]
    return (
        module.getaddrinfo is not _PYTHON_FUNCTION
        or _socket.getaddrinfo is not _C_FUNCTION
    )


def _port_number(port: Any) -> int:
    """Return the number, or -1 for what libc has to look at."""
    if port is None:
        return 0
    if type(port) is bytes:
        port = port.decode("latin-1")
    if type(port) is str:
        if not (port.isascii() and port.isdigit() and len(port) < 6):
            return -1
        if port[0] == "0" and port != "0":
            return -1
        port = int(port)
    return port if type(port) is int and 0 <= port < 65536 else -1


def _address(host: Any, port: int) -> tuple[int, Any] | None:
    """Return the family and the socket address of a numeric address."""
    if type(host) is bytes:
        host = host.decode("latin-1")
    if type(host) is not str:
        return None
    try:
        if ":" not in host:
            text = socket.inet_ntop(
                socket.AF_INET, socket.inet_pton(socket.AF_INET, host)
            )
            # Libc reads some more spellings, but this one in one way only.
            return (socket.AF_INET, (text, port)) if text == host else None
        packed = socket.inet_pton(socket.AF_INET6, host)
    except (OSError, ValueError):  # a name, or a zone
        return None
    if packed[:12] == b"\0" * 10 + b"\xff\xff":  # libc may make it an IPv4 one
        return None
    return socket.AF_INET6, (socket.inet_ntop(socket.AF_INET6, packed), port, 0, 0)


class Question(NamedTuple):
    """A question about a numeric address."""

    shape: tuple[Any, ...]
    address: Any

    def answer(self) -> list[_Row] | None:
        """Return the answer, if that to another one of the kind is known."""
        shape = _shapes.get(self.shape)
        if shape is None:
            return None
        return [(*row, "", self.address) for row in shape]

    def learn(self, answer: list[_Row]) -> None:
        """Keep what libc answered."""
        if len(_shapes) < _SHAPES_AT_MOST and all(
            name == "" and address == self.address for *_, name, address in answer
        ):
            _shapes[self.shape] = [row[:3] for row in answer]


def ask(
    host: Any, port: Any, family: Any, type: Any, proto: Any, flags: Any
) -> Question | None:
    """Return the question that a call of `getaddrinfo` asks; None: it is for libc."""
    number = _port_number(port)
    if number < 0 or not all(isinstance(x, int) for x in (family, type, proto, flags)):
        return None
    if flags & ~_FLAGS:
        return None
    found = _address(host, number)
    if found is None:
        return None
    shape = (found[0], port is None, number == 0, family, type, proto, flags)
    return Question(shape, found[1])
