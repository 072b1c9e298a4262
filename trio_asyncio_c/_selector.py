"""The inert selector: what the standard library's loop code sees in place of a real
one.

Readiness is libev's business; this object only answers questions. The inherited code
and debuggers ask which fds are watched and by
which handles, and a selector passed to a loop's constructor is expected to be
somewhere.
"""

from __future__ import annotations

import selectors
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from ._loop import EventLoop

__all__ = ["LoopSelector"]


class _WatchMap(Mapping[Any, selectors.SelectorKey]):
    """A live view of what a loop watches, by fd or file object."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop

    def _keys(self) -> dict[int, selectors.SelectorKey]:
        keys = {}
        for fd, file, reader, writer in self._loop._fd_watches():
            events = (selectors.EVENT_READ if reader is not None else 0) | (
                selectors.EVENT_WRITE if writer is not None else 0
            )
            keys[fd] = selectors.SelectorKey(file, fd, events, (reader, writer))
        return keys

    def __getitem__(self, file: Any) -> selectors.SelectorKey:
        keys = self._keys()
        fd = file if isinstance(file, int) else file.fileno()
        if fd not in keys:
            raise KeyError(f"{file!r} is not registered")
        return keys[fd]

    def __len__(self) -> int:
        return len(self._keys())

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys())


class LoopSelector:
    """A selector that selects nothing: the loop polls by itself.

    Args:
      loop: the loop to answer for.
    """

    resolution = 1e-3
    """Seconds; the attribute that real selectors have."""

    def __init__(self, loop: EventLoop) -> None:
        self._map = _WatchMap(loop)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return what is watched, as a mapping from fd to key; a key's data is the
        pair of handles (reader, writer)."""
        return self._map

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Return the key of an fd or file object, or raise KeyError."""
        return self._map[fileobj]

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """Return an empty list, at once."""
        return []

    def _refuse(self, *args: object) -> NoReturn:
        raise RuntimeError(
            "this loop's fds are watched by add_reader() and add_writer() only"
        )

    register = modify = unregister = _refuse

    def close(self) -> None:
        """Do nothing: there is nothing to close."""
