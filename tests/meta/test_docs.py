"""The README's examples run as they stand and print what they say."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap

import pytest

from ._sources import ROOT

EXAMPLE_TIMEOUT_S = 60
BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?: {4}.*\n|\n)+)", re.MULTILINE)


def examples() -> list[str]:
    found = BLOCK.findall((ROOT / "README.rst").read_text())
    return [textwrap.dedent(block) for block in found]


def test_readme_has_examples():
    assert len(examples()) >= 3


@pytest.mark.parametrize("code", examples(), ids=range(1, len(examples()) + 1))
def test_readme_example(code):
    expected = re.findall(r"^# prints: (.*)$", code, re.MULTILINE)
    assert expected, "an example must say what it prints"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=EXAMPLE_TIMEOUT_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == expected
