"""What every test of Trio on the core runs under."""

from __future__ import annotations

import importlib.metadata
import sys

import pytest

from ._helpers import Programs


@pytest.fixture(autouse=True)
def need_trio():
    """Skip where Trio is not installed; it is not imported into this process."""
    try:
        importlib.metadata.version("trio")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("trio is not installed")
    before = "trio" in sys.modules
    yield
    assert ("trio" in sys.modules) == before


@pytest.fixture
def programs(tmp_path):
    """Runs programs in interpreters of their own."""
    return Programs(tmp_path)
