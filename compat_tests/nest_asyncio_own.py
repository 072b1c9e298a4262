"""python -m compat_tests.nest_asyncio_own: nest_asyncio's own tests on our loop.

They are in its sdist only, and never copied here. They run on asyncio's own loop and on
ours; what passes there must pass here. From CPython 3.14 on one fails on both: there
nest_asyncio's Tasks in Python are unknown to ``asyncio.timeout``.
"""

from __future__ import annotations

import logging
import sys
import unittest

from . import _both_loops, _environment
from .trio.suites import unpacked_sdist

VERSION = "1.6.0"


def locate(made: _environment.Environment) -> str:
    """Return the folder of the tests."""
    return str(unpacked_sdist(made, "nest_asyncio", VERSION) / "tests")


def find(folder: str) -> unittest.TestSuite:
    """Return the tests."""
    sys.path.insert(0, folder)
    return unittest.defaultTestLoader.loadTestsFromName("nest_test")


def set_up() -> None:
    """What is logged is no failure: nothing there looks at it."""
    logging.disable()


PROJECT = _both_loops.Project(
    group="compat-nest-asyncio",
    module=__spec__.name,
    find=find,
    locate=locate,
    set_up=set_up,
    limit_s=120,
    expected={},
)

if __name__ == "__main__":
    sys.exit(_both_loops.run(PROJECT))
