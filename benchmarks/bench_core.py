"""What a callback, a task step, a task, a nursery and a cancel scope cost, beside
asyncio, uvloop, rloop and trio.

README.rst beside this file says how to read the numbers. The exit status is 1 if a
case does not run on trio_asyncio_c.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import core_loop_cases
import core_trio_cases
from core_worker import LOOP_PEERS, TRIO_PEERS
from shared.case import OURS
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
SIDES = {
    "asyncio side": (core_loop_cases.CASES, LOOP_PEERS),
    "Trio side": (core_trio_cases.CASES, TRIO_PEERS),
}


class Goal(NamedTuple):
    case: str
    peer: str
    at_most: float  # times the peer's


GOALS = [
    Goal("call_soon chain", "rloop", 0.9),
    Goal("await sleep(0)", "rloop", 0.9),
    Goal("checkpoint()", "trio", 0.1),
    Goal("spawn in one nursery", "trio", 0.1),
    Goal("with CancelScope()", "trio", 0.1),
]


def verdict(row):
    best = row.best_peer()
    ratios = best and row.ratios(best)
    return quartile_words(ratios, of=f" of {best}") if ratios else "-"


def print_table(title, rows, peers):
    print()
    print_line(f"{title}, ns an operation", peers, "ours/best peer")
    for name, row in rows.items():
        print_line(name, map(row.cell, peers), verdict(row))
    print_failures(rows)


def print_goals(rows):
    print("\nGoals")
    for goal in GOALS:
        ratios = rows[goal.case].ratios(goal.peer) if goal.case in rows else None
        words = "not measured"
        if ratios:
            words = f"{goal_words(ratios, goal.at_most)}, {ratios[1]:.3f}"
        print(f"{goal.case:32}at most {goal.at_most} of {goal.peer}'s: {words}")


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
    all_cases = [case for cases, _ in SIDES.values() for case in cases]
    options = parse_options(__doc__.partition("\n\n")[0], all_cases)
    machine = describe(["uvloop", "rloop", "trio"])
    print_machine(machine)
    all_rows = {}
    for title, (cases, peers) in SIDES.items():
        rows = measure(chosen(cases, options.only), peers, WORKER, options)
        if rows:
            print_table(title, rows, peers)
            all_rows |= rows
    print_goals(all_rows)
    if options.json:
        write_json(options.json, machine, rounds_of(all_rows))
    return int(any(OURS in row.failures for row in all_rows.values()))


if __name__ == "__main__":
    sys.exit(main())
