"""What a call from Trio to asyncio or back costs, beside trio-asyncio on the trio
package, and beside the same without a crossing.

README.rst beside this file says how to read the numbers. The exit status is 1 if a
case does not run on trio_asyncio_c.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import crossing_cases
from crossing_worker import CASES, NO_CROSSING, PEERS, PLAIN
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

WORKER = str(Path(__file__).resolve().with_name("crossing_worker.py"))


class Section(NamedTuple):
    """Cases with one goal: at most so many times what the first peer takes."""

    title: str
    cases: list[Case]
    peers: list[str]
    goal: float | None = None
    divisor: int = 1


SECTIONS = [
    Section("crossings, ns each", crossing_cases.PACKAGES, PEERS, 1 / 30),
    Section("ns each", crossing_cases.NOTHING, [NO_CROSSING, OURS], 3),
    Section("100 000 crossings, KiB grown", crossing_cases.MEMORY, PEERS, None, 1024),
]


def verdict(row, section):
    ratios = row.ratios(section.peers[0])
    if section.goal is None or not ratios:
        return ""
    return f"{quartile_words(ratios):26}{goal_words(ratios, section.goal)}"


def print_table(section, rows):
    print()
    goal = f"ours/{section.peers[0]}, goal {section.goal:.3g}" if section.goal else ""
    print_line(section.title, section.peers, goal)
    for name, row in rows.items():
        cells = (row.cell(peer, section.divisor) for peer in section.peers)
        print_line(name, cells, verdict(row, section))
    print_failures(rows)


def main():
    options = parse_options(__doc__.partition("\n\n")[0], CASES)
    machine = describe(["trio", "trio-asyncio"])
    print_machine(machine)
    print(f"{PLAIN}: trio-asyncio on the trio package; {NO_CROSSING}: nothing crossed")
    all_rows = {}
    for section in SECTIONS:
        rows = measure(
            chosen(section.cases, options.only), section.peers, WORKER, options
        )
        if rows:
            print_table(section, rows)
            all_rows |= rows
    if options.json:
        write_json(options.json, machine, as_json(all_rows))
    return int(any(OURS in row.failures for row in all_rows.values()))


if __name__ == "__main__":
    sys.exit(main())
