"""Tells the sniffio library, where it is installed, which flavour runs."""

from __future__ import annotations

from typing import Any

try:
    from sniffio import thread_local as _state
except ImportError:  # nobody can ask then
    _state = None  # type: ignore[assignment]


def enter(library: str | None) -> Any:
    """Say that ``library`` runs in this thread now.

    Returns:
      what was said before, for `leave`.
    """
    if _state is None:
        return None
    previous, _state.name = _state.name, library
    return previous


def leave(previous: Any) -> None:
    """Say again what was said before `enter`."""
    if _state is not None:
        _state.name = previous
