"""The guard that every test runs under does find what is left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from ._sources import ROOT

SUITE = """
import gc
import pytest
from trio_asyncio_c import trio

KEPT = []

def keep():
    KEPT.append(trio.CancelScope())

def test_clean():
    trio.CancelScope()

def test_garbage():
    cycle = [trio.CancelScope()]
    cycle.append(cycle)

def test_leaking():
    keep()

@pytest.mark.leaks("to see that the guard lets it")
def test_leaking_on_purpose():
    keep()

@pytest.fixture
def kept():
    yield keep()
    KEPT.clear()
    gc.collect()

def test_what_a_fixture_holds(kept):
    pass
"""


def test_leak_guard(tmp_path):
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_suite.py").write_text(SUITE)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml")),
            *("--rootdir", str(tmp_path), "-p", "no:cacheprovider", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    lines = done.stdout.splitlines()
    assert "5 passed, 1 error" in lines[-1], done.stdout
    assert any("ERROR" in line and "::test_leaking -" in line for line in lines)
