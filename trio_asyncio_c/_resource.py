"""Closing a resource without ceremony."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._core import CancelScope

if TYPE_CHECKING:
    from .abc import AsyncResource

__all__ = ["aclose_forcefully"]


async def aclose_forcefully(resource: AsyncResource) -> None:
    """Close a resource at once, without its clean shutdown. A checkpoint.

    It is closed in a scope that is cancelled already, so whatever would block
    in its ``aclose`` is cut short.

    Args:
      resource: what to close.
    """
    with CancelScope() as scope:
        scope.cancel(reason="aclose_forcefully")
        await resource.aclose()
