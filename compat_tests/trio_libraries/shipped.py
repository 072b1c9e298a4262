"""python -m compat_tests.trio_libraries.shipped: the tests in libraries' wheels."""

from __future__ import annotations

import sys
from pathlib import Path

from .._cli import main
from .._environment import Environment
from .._suite import Suite, Tests
from .__main__ import GROUP

HERE = Path(__file__).resolve().parent
CONFIG = HERE / "shipped.ini"


def _suite(name: str, **expectations: object) -> Suite:
    def locate(environment: Environment) -> Tests:
        package = name.replace("-", "_")
        return Tests(environment.purelib, CONFIG, ("--pyargs", package))

    return Suite(name, GROUP, locate, **expectations)


SUITES = {
    suite.name: suite
    for suite in (
        _suite("greenback"),
        _suite("pytest-trio"),
        _suite(
            "stackscope",
            expected=HERE / "stackscope.toml",
            may_be_listed=r"stackscope/_tests/test_traceback\.py::test_trio_threads",
        ),
        _suite("tricycle"),
    )
}

if __name__ == "__main__":
    sys.exit(main("python -m compat_tests.trio_libraries.shipped", SUITES))
