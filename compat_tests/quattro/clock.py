"""A pytest plugin: loops whose clock jumps when all wait, for tests that measure time.

They ask the time module for it, which tells that of the running loop. So what they
measure does not depend on how busy the machine is, and takes no time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

import trio_asyncio_c
from trio_asyncio_c.testing import MockClock


class _Policy(trio_asyncio_c.EventLoopPolicy):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return trio_asyncio_c.new_event_loop(clock=MockClock(autojump_threshold=0))


def _of_the_loop(real: Callable[[], float]) -> Callable[[], float]:
    def now() -> float:
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:
            return real()

    return now


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    asyncio.set_event_loop_policy(_Policy())
    time.time = _of_the_loop(time.time)
    time.monotonic = _of_the_loop(time.monotonic)
