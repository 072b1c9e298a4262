"""The examples of the README and of docs/ run as they stand and print what they say."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ._sources import ROOT

EXAMPLE_TIMEOUT_S = 60
BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?: {4}.*\n|\n)+)", re.MULTILINE)


# What is shown beside ours, which need not be there.
OTHERS = re.compile(r"^(?:import|from) (anyio|quattro)\b", re.MULTILINE)

PAGES = [ROOT / "README.rst", *sorted((ROOT / "docs").glob("*.rst"))]


def examples(page: Path) -> list[str]:
    found = BLOCK.findall(page.read_text())
    return [textwrap.dedent(block) for block in found]


EXAMPLES = {
    f"{page.stem} {number}": code
    for page in PAGES
    for number, code in enumerate(examples(page), 1)
}


@pytest.mark.parametrize(
    ("page", "count"),
    [
        ("README", 4),
        ("anyio", 3),
        ("quattro", 16),
        ("traio", 1),
        ("trio_asyncio", 2),
    ],
)
def test_pages_have_examples(page, count):
    assert f"{page} {count}" in EXAMPLES


def run_example(code):
    """Run it in a process of its own; it must print what it says."""
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


@pytest.mark.parametrize("code", EXAMPLES.values(), ids=EXAMPLES)
def test_example(code):
    if OTHERS.search(code):
        pytest.skip("tests/net/real runs it, where the other libraries are")
    run_example(code)
