"""How quattro's tests are run on this package."""

from __future__ import annotations

from pathlib import Path

from .._environment import Environment
from .._suite import SWAP_PLUGIN, Part, Subject, Suite, Tests
from ..trio.suites import unpacked_sdist
from . import alias

HERE = Path(__file__).resolve().parent
_VERSION = "from importlib.metadata import version; print(version('quattro'))"

# What the specification of our scopes names as different, and nothing else.
DIFFERENT = (
    r"tests/test_fail_after\.py::test_(double_cancel_protection|"
    r"fail_after_cancel_myself|deadline_outside_context)"
)


def quattro_tests(environment: Environment) -> Tests:
    """quattro has its tests, and pytest's settings, in its sdist only."""
    version = environment.output("-c", _VERSION).strip()
    folder = unpacked_sdist(environment, "quattro", version)
    return Tests(folder, folder / "pyproject.toml", (str(folder / "tests"),))


SUITES = {
    "quattro": Suite(
        name="quattro",
        group="compat-quattro",
        locate=quattro_tests,
        parts=(Part("jumps", ours=("compat_tests.quattro.clock",)), Part("waits")),
        ours=(SWAP_PLUGIN, "compat_tests.quattro.alias"),
        plain="quattro",
        subject=Subject(alias.NAME, alias.OURS),
        expected=HERE / "expected.toml",
        may_be_listed=DIFFERENT,
    ),
}
