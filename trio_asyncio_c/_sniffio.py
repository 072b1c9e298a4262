"""Tells the sniffio library, where it is installed, which flavour runs."""

from __future__ import annotations

from typing import Any

from . import _core

try:
    import sniffio  # type: ignore[import-not-found, unused-ignore]
except ImportError:

    def set_library(name: str | None) -> str | None:
        """Do nothing: nobody can ask."""
        return None

else:
    _state: Any = sniffio.thread_local

    def set_library(name: str | None) -> str | None:
        """Say that the library ``name`` runs in this thread now, as the core does
        whenever the flavour of what it steps changes.

        Returns:
          what was said before.
        """
        previous: str | None = _state.name
        _state.name = name
        return previous

    _core._set_hooks(library_local=_state)
