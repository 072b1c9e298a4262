"""How anyio's tests are run on this package's backend."""

from __future__ import annotations

from pathlib import Path

from .._environment import Environment
from .._suite import Part, Suite, Tests
from ..trio.suites import unpacked_sdist
from .selection import ABOUT_TASKS

HERE = Path(__file__).resolve().parent
_VERSION = "from importlib.metadata import version; print(version('anyio'))"

_IDS = rf"tests/({'|'.join(ABOUT_TASKS)})\.py::.*"


def anyio_tests(environment: Environment) -> Tests:
    """anyio has its tests, and pytest's settings, in its sdist only."""
    version = environment.output("-c", _VERSION).strip()
    folder = unpacked_sdist(environment, "anyio", version)
    return Tests(folder, folder / "pyproject.toml", (str(folder / "tests"),))


SUITES = {
    "anyio": Suite(
        name="anyio",
        group="compat-anyio",
        locate=anyio_tests,
        parts=(
            Part("tasks", ("--anyio-part=tasks",), ids=_IDS),
            Part("rest", ("--anyio-part=rest",), ids=rf"(?!{_IDS}).*"),
        ),
        ours=("compat_tests.anyio.backend",),
        plugins=("compat_tests.anyio.selection",),
        plain="asyncio",
        expected=HERE / "expected.toml",
        may_be_listed=r"tests/test_taskgroups\.py::test_cancel_with_nested_task_groups.*",
    ),
}
