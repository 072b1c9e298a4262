"""A pytest plugin that keeps, of attrs' fields, the arguments they were made with.

attrs gives each field an alias, so it cannot be told later whether one was asked for.
One of Trio's tests wants to know, and runs only where a plugin like this is active,
which it tells by a mark on attrs.field. It must be loaded before trio is.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import attrs

_attrs_field = attrs.field


@functools.wraps(_attrs_field)
def field(*, metadata: Mapping[Any, Any] | None = None, **arguments: Any) -> Any:
    kept = {**(metadata or {}), "trio_original_args": arguments}
    return _attrs_field(metadata=kept, **arguments)


vars(field)["trio_modded"] = True
attrs.field = field
