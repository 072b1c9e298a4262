"""What a callback, a task step, a task, a nursery and a cancel scope cost, beside
asyncio, uvloop, rloop, zuvloop and trio, and how the costs grow.

README.rst beside this file says how to read the numbers. The exit status is 1 if a
case does not run on trio_asyncio_c.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import core_loop_cases
import core_trio_cases
from core_worker import GROWTH_PEERS, LOOP_PEERS, TRIO_PEERS
from shared.case import OURS, Case
from shared.machine import describe
from shared.measure import measure
from shared.options import chosen, parse_options
from shared.report import (
    goal_words,
    print_failures,
    print_line,
    print_machine,
    quartile_words,
    write_json,
)

WORKER = str(Path(__file__).resolve().with_name("core_worker.py"))


class Side(NamedTuple):
    title: str
    cases: list[Case]
    peers: list[str]
    goal: float  # our time as a part of the best peer's, at most


SIDES = [
    Side("asyncio side", core_loop_cases.CASES, list(LOOP_PEERS), 0.9),
    Side("Trio side", core_trio_cases.CASES, list(TRIO_PEERS), 0.1),
    Side("beside many", core_loop_cases.GROWTH_CASES, list(GROWTH_PEERS), 1.1),
]


def verdict(row):
    best = row.best_peer()
    ratios = best and row.ratios(best)
    return quartile_words(ratios, of=f" of {best}") if ratios else "-"


def goal_verdict(row, goal):
    best = row.best_peer()
    ratios = best and row.ratios(best)
    return goal_words(ratios, goal) if ratios else ""


def print_table(side, rows):
    print()
    print_line(
        f"{side.title}, ns an operation",
        side.peers,
        f"{'ours/best peer':33}goal {side.goal}",
    )
    for name, row in rows.items():
        cells = map(row.cell, side.peers)
        print_line(name, cells, f"{verdict(row):33}{goal_verdict(row, side.goal)}")
    print_failures(rows)


def rounds_of(rows):
    """Return what --json writes: {case: {"ns": {peer: rounds}, "failures": ...}}."""
    return {
        name: {
            "ns": {peer: row.shown(peer) for peer in row.rounds},
            "failures": row.failures,
        }
        for name, row in rows.items()
    }


def main():
    all_cases = [case for side in SIDES for case in side.cases]
    options = parse_options(__doc__.partition("\n\n")[0], all_cases)
    machine = describe(["uvloop", "rloop", "zuvloop", "trio"])
    print_machine(machine)
    all_rows = {}
    for side in SIDES:
        rows = measure(chosen(side.cases, options.only), side.peers, WORKER, options)
        if rows:
            print_table(side, rows)
            all_rows |= rows
    if options.json:
        write_json(options.json, machine, rounds_of(all_rows))
    return int(any(OURS in row.failures for row in all_rows.values()))


if __name__ == "__main__":
    sys.exit(main())
