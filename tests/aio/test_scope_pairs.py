"""Each cell of the table in _scope_pairs.py."""

from __future__ import annotations

import pytest

from . import _scope_pairs as pairs
from ._scoped import ways


@ways
@pytest.mark.parametrize(
    "name, column",
    pairs.cells(),
    ids=[f"{name}-{column}".replace(" ", "-") for name, column in pairs.cells()],
)
def test_pair(way, name, column):
    assert pairs.measure(way, name, column) in pairs.expected(name, column)
