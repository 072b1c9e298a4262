"""Fixtures of the crossings' tests."""

from __future__ import annotations

import pytest

from ._both_ways import Program


@pytest.fixture
def program(request):
    """A program whose loop was opened in the way that the test's parameter says."""
    return Program(request.param)
