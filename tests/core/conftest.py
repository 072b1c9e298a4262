"""What every test of the core runs under."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def forget_logs(caplog):
    """Drop what was logged: a record's traceback keeps a whole run alive."""
    yield
    caplog.clear()
