"""python -m compat_tests.tornado_own: Tornado's own tests on our loop.

They are in its wheel. All modules of its suite run, on asyncio's own loop and on ours,
under the warnings that are errors in Tornado's own runs; what passes there must pass
here, and log no more.
"""

from __future__ import annotations

import logging
import sys
import unittest
import warnings

from . import _both_loops, _environment


def locate(made: _environment.Environment) -> str:
    """Return the name of the module that lists the others."""
    return "tornado.test.runtests"


def find(name: str) -> unittest.TestSuite:
    """Return the tests, of libraries that are not installed too: they skip."""
    from tornado.test import runtests

    assert name == runtests.__name__
    return unittest.defaultTestLoader.loadTestsFromNames(runtests.TEST_MODULES)


def set_up() -> None:
    """Make warnings errors, as Tornado's runner does; requests are not of interest."""
    warnings.resetwarnings()
    warnings.filterwarnings("error")
    warnings.filterwarnings("ignore", category=ImportWarning)
    for category in (DeprecationWarning, PendingDeprecationWarning):
        warnings.filterwarnings("ignore", category=category)
        warnings.filterwarnings("error", category=category, module=r"tornado\..*")
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)


PROJECT = _both_loops.Project(
    group="compat-tornado",
    module=__spec__.name,
    find=find,
    locate=locate,
    set_up=set_up,
    limit_s=300,
    expected={},
)

if __name__ == "__main__":
    sys.exit(_both_loops.run(PROJECT))
