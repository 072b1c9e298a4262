"""The table of the modules, and the JSON of all of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, TextIO

from .._compare import FAILED
from .._report import Comparison, as_json, print_rows
from .._session import Result, Session
from . import transports
from .runner import module_of

TOTAL = "all of them"
HEADS = {
    "module": "module",
    "tests": "tests",
    "not_applicable": "n/a",
    "applicable": "applicable",
    "ran": "ran",
    "passed": "passed",
    "failed": "failed",
    "flaky": "flaky",
    "skipped": "skipped",
    "plain_passed": "on asyncio",
    "seconds": "seconds",
    "failures": "beyond the list",
}


@dataclass
class Row:
    """What became of the tests of one module.

    `applicable` are those in which the loop under test was made; `ran` of these those
    in which it was run as well, and each of them is one of `passed`, `failed` (with
    errors, crashes and hangs), `flaky` and `skipped`. `plain_passed` of them pass on
    asyncio's own loop. `failures` are beyond the list, of the others too.
    """

    module: str
    tests: int = 0
    not_applicable: int = 0
    applicable: int = 0
    ran: int = 0
    passed: int = 0
    failed: int = 0
    flaky: int = 0
    skipped: int = 0
    plain_passed: int = 0
    altered: int = 0
    plain_altered: int = 0
    seconds: float = 0.0
    failures: int = 0

    def __iadd__(self, other: Row) -> Row:
        for field in fields(self)[1:]:
            value = getattr(self, field.name) + getattr(other, field.name)
            setattr(self, field.name, value)
        return self


def rows(comparison: Comparison) -> list[Row]:
    """Count the tests of each module, and in the last row all of them."""
    found: dict[str, Row] = {}
    plain, ours = comparison.plain or Session(), comparison.ours or Session()
    for test_id in {**plain.results, **ours.results}:
        module = module_of(test_id)
        row = found.setdefault(module, Row(module))
        _count(plain.results.get(test_id), ours.results.get(test_id), row)
    for difference in comparison.differences:
        module = module_of(difference.test_id)
        row = found.setdefault(module, Row(module))
        row.failures += difference.verdict.counts
    total = Row(TOTAL)
    for row in found.values():
        total += row
    total.failures += len(comparison.problems)
    return [*sorted(found.values(), key=lambda row: row.module), total]


def _count(plain: Result | None, ours: Result | None, row: Row) -> None:
    """Add one test."""
    extras = [result.extra if result else {} for result in (plain, ours)]
    outcome = ours.outcome if ours else "missing"
    row.tests += 1
    row.seconds += ours.seconds if ours else 0.0
    row.plain_altered += extras[0].get("altered", False)
    row.altered += extras[1].get("altered", False)
    # Of one that crashed or hung it is not known here; but there it is.
    if not any(extra.get("made") for extra in extras):
        row.not_applicable += 1
        return
    row.applicable += 1
    row.ran += any(extra.get("ran") for extra in extras)
    row.passed += outcome in ("passed", "xfailed")
    row.flaky += outcome == "flaky"
    row.failed += outcome == "missing" or (outcome in FAILED and outcome != "flaky")
    row.skipped += outcome == "skipped"
    row.plain_passed += plain is not None and plain.outcome in ("passed", "xfailed")


def print_table(loop: str, comparison: Comparison, file: TextIO) -> None:
    """Print a line for each module."""
    facts = comparison.ours.facts if comparison.ours is not None else {}
    python = facts.get("python", comparison.version)
    print(f"\nCPython {python}: its tests of asyncio on {loop}\n", file=file)
    found = rows(comparison)
    print_rows([[*HEADS.values()], *map(_cells, found)], 1, file)
    for side, session in (("", comparison.ours), (", on asyncio", comparison.plain)):
        if session is not None and (words := transports.words(session)):
            print(f"\ntransports{side}: {words}", file=file)
    total = found[-1]
    if total.altered or total.plain_altered:
        print(
            f"\nthreads or processes were left by {total.altered} tests,"
            f" on asyncio by {total.plain_altered}",
            file=file,
        )


def print_totals(comparisons: list[Comparison], file: TextIO) -> None:
    """Print a line for each interpreter, if there are several."""
    if len(comparisons) < 2:
        return
    totals = [rows(comparison)[-1] for comparison in comparisons]
    for total, comparison in zip(totals, comparisons, strict=True):
        total.module = comparison.version
    heads = {**HEADS, "module": "python"}
    print(file=file)
    print_rows([[*heads.values()], *map(_cells, totals)], 1, file)


def _cells(row: Row) -> list[str]:
    values = {**asdict(row), "seconds": f"{row.seconds:.1f}"}
    return [str(values[name]) for name in HEADS]


def as_json_with_modules(loop: str, comparisons: list[Comparison]) -> dict[str, Any]:
    """Return everything: the modules, and each test on both sides."""
    made = as_json("cpython", comparisons)
    made["loop"] = loop
    for run, comparison in zip(made["runs"], comparisons, strict=True):
        *modules, total = map(asdict, rows(comparison))
        run["modules"], run["total"] = modules, total
        run["transports"] = {
            side: dict(transports.total(session))
            for side, session in (
                ("plain", comparison.plain),
                ("ours", comparison.ours),
            )
            if session is not None
        }
    return made
