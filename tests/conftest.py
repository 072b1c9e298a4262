"""What every test runs under: no object of the core outlives its test."""

from __future__ import annotations

import gc
import sys
import time

import pytest

# How often, and how far apart, the counts are looked at before what is left
# counts as leaked: a worker thread may be about to let go of the last one.
SETTLE_ATTEMPTS = 50
SETTLE_PAUSE_S = 0.02

# After so many tests the collector is told again to leave alone what there is.
FREEZE_INTERVAL = 50
_finished = 0

FAILED_CALL = pytest.StashKey[bool]()


def _counts() -> dict[str, int]:
    """Return the core's live object counts; none where it is not loaded."""
    core = sys.modules.get("trio_asyncio_c._core")
    return {} if core is None else core._debug_counts()


def _grown(before: dict[str, int]) -> dict[str, str]:
    after = _counts()
    return {
        name: f"{before.get(name, 0)} -> {count}"
        for name, count in after.items()
        if count > before.get(name, 0)
    }


def _leaked(before: dict[str, int]) -> dict[str, str]:
    """Return what grew since `before` and stays so after collections."""
    for attempt in range(SETTLE_ATTEMPTS):
        if not _grown(before):
            return {}
        gc.collect()
        if attempt > 1:
            time.sleep(SETTLE_PAUSE_S)
    return _grown(before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        item.stash[FAILED_CALL] = True
    return report


@pytest.fixture(autouse=True)
def leak_guard(request, caplog):
    """Fail a test after which more objects of the core live than before.

    Autouse fixtures are set up first and torn down last, so what a test's
    other fixtures hold is gone when the counts are compared.  The traceback
    of a failed test keeps its locals alive: that test is not asked.
    """
    before = _counts()
    yield
    # A logged exception keeps the frames of its traceback.
    caplog.get_records("call").clear()
    if FAILED_CALL in request.node.stash or not before:
        return
    if request.node.get_closest_marker("leaks") is not None:
        return
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        assert sniffio.thread_local.name is None, "sniffio was left with it"
    leaked = _leaked(before)
    assert not leaked, f"objects of the core outlive the test: {leaked}"


def pytest_collection_modifyitems(items):
    for item in items:
        marker = item.get_closest_marker("leaks")
        if marker is not None and not (marker.args or marker.kwargs):
            raise pytest.UsageError(f"{item.nodeid}: leaks needs its reason")


def _freeze():
    """Keep the collector to what the tests make: they collect thousands of times."""
    gc.collect()  # garbage that is frozen stays for good
    gc.freeze()


def pytest_collection_finish(session):
    _freeze()


def pytest_runtest_logfinish(nodeid, location):
    """Freeze now and then what pytest keeps of the tests that have run."""
    global _finished
    _finished += 1
    if _finished % FREEZE_INTERVAL == 0:
        _freeze()
