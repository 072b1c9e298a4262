"""How trio-asyncio's tests are run on this package, and what is printed of them."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from .._report import Comparison, print_rows
from .._session import Result
from .._suite import SWAP_PLUGIN, Part, Subject, Suite
from ..trio.suites import SUITES as ON_TRIO
from . import CPYTHON

HERE = Path(__file__).resolve().parent
# What pytest says of a test that has a mark, and not the test itself a reason.
MARKED_SKIP = "Skipped: unconditional skip"

# Tests of private modules, or of the policy that trio-asyncio patches into asyncio.
PRIVATE_OR_PATCHED = (
    r"tests/test_concurrent\.py::test_same_task|tests/test_deprecate\.py"
)


def left_out(comparison: Comparison) -> list[tuple[str, str, str]]:
    """Return CPython's tests that trio-asyncio has marked: id, outcome there, ours."""
    if comparison.plain is None or comparison.ours is None:
        return []
    return [
        (test_id, result.outcome, comparison.ours.outcome(test_id))
        for test_id, result in comparison.plain.results.items()
        if test_id.startswith(CPYTHON) and _is_marked(result)
    ]


def _is_marked(result: Result) -> bool:
    return result.outcome in ("xfailed", "xpassed") or (
        result.outcome == "skipped" and result.detail == MARKED_SKIP
    )


def print_left_out(comparisons: list[Comparison], file: TextIO) -> None:
    """Print the table of these."""
    rows = [
        [comparison.version, test_id.partition("test_asyncio/")[2], *outcomes]
        for comparison in comparisons
        for test_id, *outcomes in left_out(comparison)
    ]
    if not rows:
        return
    print("\nCPython's tests that trio-asyncio skips, or expects to fail:\n", file=file)
    print_rows([["python", "test", "trio-asyncio", "ours"], *rows], 4, file)


SUITES = {
    "trio-asyncio": Suite(
        name="trio-asyncio-alias",
        group=ON_TRIO["trio-asyncio"].group,
        locate=ON_TRIO["trio-asyncio"].locate,
        parts=(
            # Of a group's traceback pytest 8 must not drop each frame: that would end
            # the session, and there is none of Python's where the core makes groups.
            Part(
                "own",
                ("--ignore={rootdir}/tests/python", "--full-trace"),
                ids="tests/.*",
            ),
            Part(
                "asyncio",
                (
                    "--ignore={rootdir}/tests/aiotest",
                    "--ignore={rootdir}/tests/interop",
                    "--ignore-glob={rootdir}/tests/test_*.py",
                ),
                ids=f"{CPYTHON}.*",
                ours=("compat_tests.trio_asyncio.cpython",),
            ),
        ),
        versions=ON_TRIO["trio-asyncio"].versions,
        ours=(SWAP_PLUGIN, "compat_tests.trio_asyncio.alias"),
        plain="trio-asyncio",
        subject=Subject("trio_asyncio", "trio_asyncio_c"),
        more=print_left_out,
        expected=HERE / "expected.toml",
        may_be_listed=PRIVATE_OR_PATCHED,
    ),
}
