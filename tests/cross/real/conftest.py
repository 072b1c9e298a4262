"""Fixtures of the tests of real components at the crossings."""

from __future__ import annotations

import pytest

from ..._real.fixtures import *  # noqa: F403
from ._programs import WAYS


@pytest.fixture(params=WAYS)
def run_in_trio(request):
    """Give what runs a Trio-flavoured main function on a loop, opened in one way."""
    return request.param().run_trio


@pytest.fixture(params=WAYS)
def run_in_asyncio(request):
    """Give what runs an asyncio-flavoured main function on a loop, opened in one
    way."""
    return request.param().run_asyncio
