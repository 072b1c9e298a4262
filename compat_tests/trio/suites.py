"""Where the tests of Trio and of trio-asyncio are, and how each project runs them."""

from __future__ import annotations

import tarfile
from pathlib import Path

from .._environment import Environment
from .._paths import BUILD
from .._suite import Part, Suite, Tests

HERE = Path(__file__).resolve().parent
SDISTS = BUILD / "sdists"
_VERSION = "from importlib.metadata import version; print(version({!r}))"

# Those that compare what a static tool sees in Trio's sources with the members that
# the classes have when they run; nothing else may ever be on the list.
STATIC_TYPING = (
    r"trio/_tests/test_exports\.py::test_static_tool_sees_class_members"
    r"\[(mypy|jedi)-trio(\.lowlevel)?\]"
)


def trio_tests(environment: Environment) -> Tests:
    """Trio's wheel has its tests in it."""
    return Tests(environment.purelib, HERE / "pytest.ini", ("--pyargs", "trio"))


def trio_asyncio_tests(environment: Environment) -> Tests:
    """trio-asyncio has its tests, and pytest's settings, in its sdist only."""
    version = environment.output("-c", _VERSION.format("trio-asyncio")).strip()
    folder = unpacked_sdist(environment, "trio-asyncio", version)
    return Tests(folder, folder / "pyproject.toml", (str(folder / "tests"),))


def unpacked_sdist(
    environment: Environment,
    project: str,
    version: str,
    *,
    settings: str = "pyproject.toml",
) -> Path:
    """Fetch and unpack the tests of a project's sdist; once is enough.

    The package itself stays out: what is tested is the installed one. `settings` is the
    file with pytest's.
    """
    name = f"{project.replace('-', '_')}-{version}"
    if not (SDISTS / name / settings).exists():
        environment.output(
            *("-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-binary", project, "--dest", str(SDISTS)),
            f"{project}=={version}",
        )
        with tarfile.open(SDISTS / f"{name}.tar.gz") as sdist:
            wanted = [
                member
                for member in sdist.getmembers()
                if member.name.startswith(f"{name}/tests/")
            ]
            sdist.extractall(SDISTS, wanted, filter="data")
            # Last: that it is there says that all is.
            sdist.extract(f"{name}/{settings}", SDISTS, filter="data")
    return SDISTS / name


SUITES = {
    "trio": Suite(
        name="trio",
        group="compat-trio",
        locate=trio_tests,
        parts=(
            Part("default", ("--skip-optional-imports",), all_run=False),
            Part("slow", ("--run-slow", "--skip-optional-imports")),
        ),
        early_plugins=("compat_tests.trio.attrs_aliases",),
        plugins=("trio._tests.pytest_plugin",),
        expected=HERE / "expected.toml",
        may_be_listed=STATIC_TYPING,
    ),
    "trio-asyncio": Suite(
        name="trio-asyncio",
        group="compat-trio-asyncio",
        locate=trio_asyncio_tests,
        # It asks asyncio for what 3.14 has no longer, when it is imported.
        versions=("3.11", "3.12", "3.13"),
    ),
}
