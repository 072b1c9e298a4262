"""A pytest plugin, for both sides: it runs what is marked with ``asyncio``.

As pytest-asyncio did when traio was written: each test on a new loop, which is closed
with whatever is left on it. Today's cancels that, and waits for ever for the task of
one test that refuses. The tests that are plain functions have a loop to find as well,
which asyncio made for them then.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "asyncio: runs on an event loop")


@pytest.fixture(autouse=True)
def compat_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    assert pyfuncitem.get_closest_marker("asyncio") is not None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    loop = pyfuncitem.funcargs["compat_loop"]
    loop.run_until_complete(pyfuncitem.obj(**arguments))
    return True
