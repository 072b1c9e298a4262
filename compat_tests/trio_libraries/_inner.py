"""pytest in a child process, on the same core: for libraries that are plugins."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from xml.etree import ElementTree

from .._session import UNWANTED_VARIABLES
from .._suite import SWAP_PLUGIN
from .._swap import is_swapped

# Below what a test may take in all.
LIMIT_S = 40

# An inner run on the other core would prove nothing.
CONFTEST = """\
from compat_tests._swap import is_swapped

assert is_swapped() is {swapped}
"""


@dataclass
class Result:
    """How the tests of an inner run ended."""

    outcomes: dict[str, str]  # by the test's name
    output: str


def run_pytest(folder, *sources: str, plugins: list[str], options=()) -> Result:
    """Run the tests of a file made of `sources` with the named plugins.

    Warnings are errors there too.
    """
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (folder / "test_inner.py").write_text("".join(map(textwrap.dedent, sources)))
    (folder / "conftest.py").write_text(CONFTEST.format(swapped=is_swapped()))
    report = folder / "report.xml"
    done = subprocess.run(
        _command(plugins, [f"--junit-xml={report}", *options]),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout
    cases = ElementTree.parse(report).iter("testcase")
    return Result({case.get("name"): _outcome(case) for case in cases}, done.stdout)


def environment() -> dict[str, str]:
    """Return one in which pytest loads the plugins that are named, and no others."""
    kept = {k: v for k, v in os.environ.items() if k not in UNWANTED_VARIABLES}
    return {**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def _command(plugins: list[str], arguments: list[str]) -> list[str]:
    if is_swapped():
        plugins = [SWAP_PLUGIN, *plugins]
    named = [word for plugin in plugins for word in ("-p", plugin)]
    command = [sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider"]
    return [*command, *named, *arguments]


def _outcome(case: ElementTree.Element) -> str:
    ends = {child.tag: child for child in case}
    if "error" in ends:
        return "error"
    if "failure" in ends:
        return "failed"
    if "skipped" in ends:
        is_xfail = ends["skipped"].get("type") == "pytest.xfail"
        return "xfailed" if is_xfail else "skipped"
    return "passed"
