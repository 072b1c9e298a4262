"""The table, the list of differences, and the same as JSON."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from ._compare import FAILED, Difference, Verdict
from ._session import Session

COUNTS = ("collected", "passed", "failed", "skipped", "xfailed")
MISSING = "were not collected, or not reached"
# Of the others it is enough to know which they are.
EXPLAINED = (Verdict.FAILURE, Verdict.STALE, Verdict.LISTED)


@dataclass(frozen=True)
class Comparison:
    """One part of a suite on one interpreter, both sides.

    `problems` are those of the whole; without the sessions nothing could be run.
    """

    version: str
    part: str
    differences: list[Difference]
    problems: list[str]
    plain: Session | None = None
    ours: Session | None = None

    @property
    def failures(self) -> int:
        counting = sum(difference.verdict.counts for difference in self.differences)
        return counting + len(self.problems)


def counts(session: Session) -> dict[str, int]:
    """Count a session's tests; what it skipped as a module counts as one of them."""
    return {
        "collected": len(session.results),
        "passed": session.count("passed"),
        "failed": session.count(*FAILED),
        "skipped": session.count("skipped"),
        "xfailed": session.count("xfailed"),
    }


def print_table(
    name: str, comparisons: list[Comparison], file: TextIO, plain: str = "plain trio"
) -> None:
    """Print two lines for each comparison; `plain` is what the one side is called."""
    head = ["python", "part", "on", *COUNTS, "seconds", "beyond the list"]
    rows = [head]
    for comparison in comparisons:
        rows += _rows(comparison, plain)
    print(f"\n{name}: its tests on {plain} and on ours\n", file=file)
    print_rows(rows, 3, file)


def print_rows(rows: list[list[str]], words: int, file: TextIO) -> None:
    """Print a table: so many columns of words, the others of numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:words], widths)]
        right = [cell.rjust(width) for cell, width in zip(row[words:], widths[words:])]
        print("  ".join(left + right).rstrip(), file=file)


def _rows(comparison: Comparison, plain: str) -> list[list[str]]:
    rows = []
    for side, session in ((plain, comparison.plain), ("ours", comparison.ours)):
        cells = ["-"] * len(COUNTS) + [""]
        if session is not None:
            cells = [str(count) for count in counts(session).values()]
            cells.append(f"{session.seconds:.1f}")
        verdict = "" if side == plain else str(comparison.failures)
        rows.append([comparison.version, comparison.part, side, *cells, verdict])
    return rows


def print_differences(comparison: Comparison, file: TextIO) -> None:
    """Print what is to be said of one comparison, what counts first."""
    if not comparison.differences and not comparison.problems:
        return
    print(f"\n{comparison.version} {comparison.part}:", file=file)
    for problem in comparison.problems:
        print(f"  FAILURE: {_indented(problem)}", file=file)
    ordered = sorted(comparison.differences, key=lambda item: not item.verdict.counts)
    for _, group in itertools.groupby(ordered, key=_grouping):
        _print_group(list(group), file)


def _grouping(difference: Difference) -> tuple[str, ...]:
    """Tests of one module that are missing are one line, others one each."""
    counting = difference.verdict in (Verdict.FAILURE, Verdict.LISTED)
    if counting and difference.ours == "missing":
        return (difference.verdict, difference.test_id.partition("::")[0])
    return (difference.verdict, difference.test_id, "")


def _print_group(group: list[Difference], file: TextIO) -> None:
    first = group[0]
    if len(group) > 1:
        module = first.test_id.partition("::")[0]
        print(f"  {first.verdict}: {module}: {len(group)} tests {MISSING}", file=file)
        return
    print(
        f"  {first.verdict}: {first.test_id}: {first.plain} on plain,"
        f" {first.ours} on ours",
        file=file,
    )
    if first.detail and first.verdict in EXPLAINED:
        print(f"      {_indented(first.detail)}", file=file)


def _indented(text: str) -> str:
    return text.strip().replace("\n", "\n      ")


def totals(comparisons: list[Comparison]) -> str:
    """Return the last line: is there anything beyond the list?"""
    failures = sum(comparison.failures for comparison in comparisons)
    verdicts = Counter(
        difference.verdict
        for comparison in comparisons
        for difference in comparison.differences
        if not difference.verdict.counts
    )
    others = "".join(f", {count} {name}" for name, count in sorted(verdicts.items()))
    return f"{failures or 'no'} failures beyond the list{others}"


def as_json(name: str, comparisons: list[Comparison]) -> dict[str, Any]:
    """Return everything, each test's outcome on both sides included."""
    return {
        "suite": name,
        "passed": not any(comparison.failures for comparison in comparisons),
        "runs": [_run_as_json(comparison) for comparison in comparisons],
    }


def _run_as_json(comparison: Comparison) -> dict[str, Any]:
    sides = {"plain": comparison.plain, "ours": comparison.ours}
    return {
        "python": comparison.version,
        "part": comparison.part,
        "failures": comparison.failures,
        "problems": comparison.problems,
        "differences": [asdict(difference) for difference in comparison.differences],
        **{
            side: session and _session_as_json(session)
            for side, session in sides.items()
        },
    }


def _session_as_json(session: Session) -> dict[str, Any]:
    return {
        "facts": session.facts,
        "seconds": round(session.seconds, 1),
        "counts": counts(session),
        "tests": {name: asdict(result) for name, result in session.results.items()},
    }
