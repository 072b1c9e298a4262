"""Tells the sniffio library, where it is installed, which flavour runs."""

from __future__ import annotations

from typing import Any

from . import _core

try:
    from sniffio import thread_local as _state
except ImportError:  # nobody can ask then
    _state = None  # type: ignore[assignment]


def set_library(name: str | None) -> None:
    """Say that the library ``name`` runs in this thread now."""
    _state.name = name


def enter(name: str | None) -> Any:
    """Say so for the time of a run.

    Returns:
      what was said before, for `leave`.
    """
    if _state is None:
        return None
    previous, _state.name = _state.name, name
    return previous


def leave(previous: Any) -> None:
    """Say again what was said before `enter`."""
    if _state is not None:
        _state.name = previous


if _state is not None:
    _core._set_hooks(set_library=set_library)
