"""A pytest plugin: our loop in CPython's tests of asyncio, and none of them left out.

trio-asyncio's conftest collects them, and marks those that its loop has to skip or fails
in. The marks go, so that they run and have to pass.
"""

from __future__ import annotations

import asyncio

import pytest

from ..cpython.substitute import Loops, substitute
from . import CPYTHON

asyncio.set_event_loop_policy(None)  # what is substituted is the default's loop
substitute("trio_asyncio_c:EventLoop", Loops())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(CPYTHON):
            item.own_markers[:] = [
                mark for mark in item.own_markers if mark.name not in ("skip", "xfail")
            ]
