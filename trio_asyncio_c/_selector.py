"""What the standard library's loop code sees in place of a selector.

Readiness is libev's business; this object answers questions. The inherited code and
debuggers ask which fds are watched and by which handles, and a selector passed to a
loop's constructor is expected to be somewhere.

Code with a turn of its own in place of the loop's, such as nest_asyncio, expects that
``select()`` waits for whatever there is to do. The callbacks and timers are not where it
looks for them, so ``select()`` runs them itself: it is one turn.
"""

from __future__ import annotations

import selectors
import sys
from asyncio import events, tasks
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from ._loop import EventLoop

__all__ = ["LoopSelector"]

# The current Task of each loop; from CPython 3.14 on of Tasks in Python only.
_current_tasks: dict[Any, Any] = tasks._current_tasks  # type: ignore[attr-defined]

if sys.version_info >= (3, 14):
    _swap_c_task: Any = tasks._swap_current_task  # type: ignore[attr-defined]
else:

    def _swap_c_task(loop: Any, task: Any) -> Any:
        return None


@contextmanager
def _no_current_task(loop: EventLoop) -> Iterator[None]:
    """Put the current Task aside, if there is one, so that others can step."""
    if events._get_running_loop() is not loop:
        yield
        return
    task, c_task = _current_tasks.pop(loop, None), _swap_c_task(loop, None)
    try:
        yield
    finally:
        _swap_c_task(loop, c_task)
        if task is not None:
            _current_tasks[loop] = task


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
        for fd, events in self._loop._member_watches():
            if events:  # transports in C have no handles
                keys[fd] = selectors.SelectorKey(fd, fd, events, (None, None))
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
    """A selector whose ``select()`` is a turn of the loop, which polls by itself.

    Args:
      loop: the loop to answer for.
    """

    resolution = 1e-3
    """Seconds; the attribute that real selectors have."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
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
        """Run one turn of the loop, also inside of one of its callbacks.

        Args:
          timeout: seconds that the turn may wait for something to do; None: no limit.

        Returns:
          An empty list, for it is all done.

        Flavor: sync. Thread-safe: no.

        Raises:
          RuntimeError: the loop is closed, or runs in another thread, or is between
            two callbacks.
        """
        with _no_current_task(self._loop):
            self._loop._turn(timeout)
        return []

    def _refuse(self, *args: object) -> NoReturn:
        raise RuntimeError(
            "this loop's fds are watched by add_reader() and add_writer() only"
        )

    register = modify = unregister = _refuse

    def close(self) -> None:
        """Do nothing: there is nothing to close."""
