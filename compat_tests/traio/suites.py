"""How traio's tests are run on this package."""

from __future__ import annotations

from pathlib import Path

from .._environment import Environment
from .._suite import SWAP_PLUGIN, Part, Subject, Suite, Tests
from ..trio.suites import unpacked_sdist
from . import NAME, OURS

HERE = Path(__file__).resolve().parent
_VERSION = "from importlib.metadata import version; print(version('traio'))"

# What the specification of our scopes names as different, and nothing else.
DIFFERENT = r"tests/test_join\.py::test_join_cleanup_fast"


def traio_tests(environment: Environment) -> Tests:
    """traio has its tests, and pytest's settings, in its sdist only."""
    version = environment.output("-c", _VERSION).strip()
    folder = unpacked_sdist(environment, "traio", version, settings="setup.cfg")
    return Tests(folder, folder / "setup.cfg", (str(folder / "tests"),))


SUITES = {
    "traio": Suite(
        name="traio",
        group="compat-traio",
        locate=traio_tests,
        parts=(
            # A thread's job takes the time that it takes.
            Part(
                "jumps",
                ("--ignore={rootdir}/tests/test_executor.py",),
                ids=r"(?!tests/test_executor\.py).*",
                ours=("compat_tests.quattro.clock",),
            ),
            Part("waits"),
        ),
        ours=(SWAP_PLUGIN, "compat_tests.traio.alias"),
        plugins=("compat_tests.traio.loops",),
        plain="traio",
        subject=Subject(NAME, OURS),
        expected=HERE / "expected.toml",
        may_be_listed=DIFFERENT,
    ),
}
