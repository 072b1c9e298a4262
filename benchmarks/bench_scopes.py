"""What cancel scopes and task groups cost in asyncio Tasks, beside asyncio's own,
anyio's and trio's.

README.rst beside this file says how to read the numbers. The exit status is 1 if a
case does not run on trio_asyncio_c.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import scope_cases
from scope_worker import ANYIO, ASYNCIO, ON_OURS, PEERS
from shared.case import OURS, Case
from shared.machine import describe
from shared.measure import measure
from shared.options import chosen, parse_options
from shared.report import (
    as_json,
    goal_words,
    print_failures,
    print_line,
    print_machine,
    quartile_words,
    write_json,
)

WORKER = str(Path(__file__).resolve().with_name("scope_worker.py"))
NS_PER_MS = 1_000_000
CANCEL_LIMIT_MS = 50


class Section(NamedTuple):
    """Cases, and what each peer's figure may be multiplied with at most."""

    title: str
    cases: list[Case]
    goals: dict[str, float]
    divisor: int = 1


SECTIONS = [
    Section(
        "ns each", scope_cases.SCOPE, {ASYNCIO: 1 / 5, ON_OURS: 1 / 5, ANYIO: 1 / 10}
    ),
    Section("ns a group", scope_cases.GROUP, {ASYNCIO: 1 / 2, ON_OURS: 1 / 2}),
    Section("ns a Task", scope_cases.OPEN, {}),
    Section(
        f"cancelling, ms, goal {CANCEL_LIMIT_MS}", scope_cases.CANCEL, {}, NS_PER_MS
    ),
]


def verdicts(row, section):
    for peer, goal in section.goals.items():
        ratios = row.ratios(peer)
        if ratios:
            words = quartile_words(ratios)
            yield f"  ours/{peer} {words} goal {goal:.3g} {goal_words(ratios, goal)}"


def print_table(section, rows):
    print()
    print_line(section.title, PEERS, "")
    for name, row in rows.items():
        print_line(name, (row.cell(peer, section.divisor) for peer in PEERS), "")
        for verdict in verdicts(row, section):
            print(verdict)
    print_failures(rows)


def main():
    options = parse_options(__doc__.partition("\n\n")[0], scope_cases.CASES)
    machine = describe(["anyio", "trio"])
    print_machine(machine)
    all_rows = {}
    for section in SECTIONS:
        rows = measure(chosen(section.cases, options.only), PEERS, WORKER, options)
        if rows:
            print_table(section, rows)
            all_rows |= rows
    if options.json:
        write_json(options.json, machine, as_json(all_rows))
    return int(any(OURS in row.failures for row in all_rows.values()))


if __name__ == "__main__":
    sys.exit(main())
