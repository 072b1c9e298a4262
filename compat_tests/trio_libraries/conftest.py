"""Runs tests that are coroutine functions under trio, each within a time limit."""

from __future__ import annotations

import functools
import gc
import inspect
import sys
import time

import pytest
import trio.testing
import trustme

from .._suite import SWAP_PLUGIN
from .._swap import is_swapped

# Below the time after which pytest takes a test for hanging, so that a test
# that waits for ever shows where it did.
LIMIT_S = 45

SETTLE_ATTEMPTS = 50
SETTLE_PAUSE_S = 0.02


def pytest_configure(config):
    """A run on the core that was not asked for would prove nothing."""
    asked_for = config.pluginmanager.has_plugin(SWAP_PLUGIN)
    if asked_for != is_swapped():
        raise pytest.UsageError(f"{SWAP_PLUGIN} and the trio that runs do not agree")


def pytest_report_header():
    core = "the core of trio_asyncio_c" if is_swapped() else "its own core"
    return f"trio {trio.__version__} on {core}"


async def _limited(test):
    with trio.fail_after(LIMIT_S):
        await test()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run an async test on the clock that it asked for, or on the system's."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {
        name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames
    }
    clocks = [v for v in arguments.values() if isinstance(v, trio.abc.Clock)]
    test = functools.partial(pyfuncitem.obj, **arguments)
    trio.run(_limited, test, clock=clocks[0] if clocks else None)
    return True


@pytest.fixture
def autojump():
    """A clock that jumps to the next deadline whenever all tasks are blocked."""
    return trio.testing.MockClock(autojump_threshold=0)


@pytest.fixture(scope="session")
def authority():
    """The only certificate authority that the tests' clients believe in."""
    return trustme.CA()


def _live_objects():
    """Return how many objects of our core there are, by kind; it may not be here."""
    core = sys.modules.get("trio_asyncio_c._core")
    return {} if core is None else core._debug_counts()


def _grown(before):
    gc.collect()
    return {k: (before[k], v) for k, v in _live_objects().items() if v > before[k]}


@pytest.fixture(autouse=True)
def nothing_outlives(request):
    """What a test leaves unclosed, or alive in our core, is its own failure."""
    before, failures = _live_objects(), request.session.testsfailed
    yield
    grown = _grown(before)
    # A traceback keeps the objects of a test that failed.
    for _ in range(SETTLE_ATTEMPTS):
        if not grown or request.session.testsfailed > failures:
            return
        # A worker thread may be about to let go of the last one.
        time.sleep(SETTLE_PAUSE_S)
        grown = _grown(before)
    assert not grown, f"objects of the core outlive the test: {grown}"
