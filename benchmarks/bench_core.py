"""What a callback, a task step, a task, a nursery and a cancel scope cost, beside
asyncio, uvloop, rloop and trio.

README.rst beside this file says how to read the numbers. The exit status is 1 if a
case does not run on trio_asyncio_c.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

import core_loop_cases
import core_trio_cases
from core_worker import LOOP_PEERS, OURS, TRIO_PEERS
from shared.interleave import take_turns
from shared.machine import describe

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


class Row:
    """What was measured of one case.

    `ns` is {peer: nanoseconds an operation, one a round}; the rounds of all peers were
    run in turns, so those with one index are neighbours. `failures` is {peer: words}.
    """

    def __init__(self, peers):
        self.ns = {peer: [] for peer in peers}
        self.failures = {}

    def add(self, workers, clock):
        for peer, worker in workers.items():
            if worker.failure is None:
                self.ns[peer] += [result[clock] for result in worker.rounds]
            else:
                self.failures[peer] = worker.failure
                self.ns[peer] = []

    def median(self, peer):
        return statistics.median(self.ns[peer])

    def best_peer(self):
        measured = [peer for peer in self.ns if peer != OURS and self.ns[peer]]
        return min(measured, key=self.median, default=None)

    def ratios(self, peer):
        """Return the quartiles of ours/peer, of neighbouring rounds, or None."""
        ratios = [ours / theirs for ours, theirs in zip(self.ns[OURS], self.ns[peer])]
        if not ratios:
            return None
        if len(ratios) == 1:
            return ratios * 3
        return statistics.quantiles(ratios, method="inclusive")

    def cell(self, peer):
        if not self.ns[peer]:
            return self.failures[peer].partition(":")[0]
        return f"{self.median(peer):.0f}"

    def verdict(self):
        best = self.best_peer()
        ratios = best and self.ratios(best)
        if not ratios:
            return "-"
        low, ratio, high = ratios
        return f"{ratio:.3f} of {best} ({low:.3f} to {high:.3f})"


def chosen(cases, names):
    return [
        case
        for case in cases
        if not names or any(name.lower() in case.name.lower() for name in names)
    ]


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="fewer and shorter measurements"
    )
    parser.add_argument(
        "--repeat",
        type=int,
        metavar="N",
        help="processes a case and peer (default 5, quick 1)",
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="cases with NAME in their name; can be repeated",
    )
    parser.add_argument(
        "--wall", action="store_true", help="show the time that passes, not the CPU's"
    )
    parser.add_argument("--json", metavar="FILE", help="write all rounds there")
    options = parser.parse_args()
    if not any(chosen(cases, options.only) for cases, _ in SIDES.values()):
        parser.error(f"no case has {' or '.join(options.only)} in its name")
    options.repeat = options.repeat or (1 if options.quick else 5)
    options.warm_up_s, options.seconds = (0.05, 0.1) if options.quick else (0.1, 0.25)
    return options


def show_progress(words):
    if sys.stderr.isatty():
        print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)


def measure(cases, peers, options):
    """Return {case: Row}.

    All cases are gone through before they are repeated, in new processes.
    """
    rows = {case.name: Row(peers) for case in cases}
    for repeat in range(options.repeat):
        for case in cases:
            show_progress(f"repeat {repeat + 1} of {options.repeat}: {case.name}")
            row = rows[case.name]
            commands = {
                peer: [sys.executable, WORKER, peer, case.name, str(options.warm_up_s)]
                for peer in peers
                if peer not in row.failures
            }
            clock = "wall" if options.wall else case.clock
            row.add(take_turns(commands, options.seconds), clock)
    show_progress("")
    return rows


def print_machine(machine):
    width = max(map(len, machine))
    for what, words in machine.items():
        print(f"{what:{width}}  {words}")


def print_line(head, cells, tail):
    print(f"{head:32}" + "".join(f"{cell:>9}" for cell in cells) + f"   {tail}")


def print_table(title, rows, peers):
    print()
    print_line(f"{title}, ns an operation", peers, "ours/best peer")
    for name, row in rows.items():
        print_line(name, map(row.cell, peers), row.verdict())
    for name, row in rows.items():
        for peer, failure in row.failures.items():
            if ":" in failure:
                print(f"{name}, {peer} {failure}")


def print_goals(rows):
    print("\nGoals")
    for goal in GOALS:
        ratios = rows[goal.case].ratios(goal.peer) if goal.case in rows else None
        verdict = "not measured"
        if ratios:
            met = "met" if ratios[1] <= goal.at_most else "not met"
            verdict = f"{met}, {ratios[1]:.3f}"
        print(f"{goal.case:32}at most {goal.at_most} of {goal.peer}'s: {verdict}")


def main():
    options = parse_options()
    machine = describe(["uvloop", "rloop", "trio"])
    print_machine(machine)
    all_rows = {}
    for title, (cases, peers) in SIDES.items():
        rows = measure(chosen(cases, options.only), peers, options)
        if rows:
            print_table(title, rows, peers)
            all_rows |= rows
    print_goals(all_rows)
    if options.json:
        rounds = {
            name: {"ns": row.ns, "failures": row.failures}
            for name, row in all_rows.items()
        }
        Path(options.json).write_text(
            json.dumps({"machine": machine, "cases": rounds}, indent=1) + "\n"
        )
    return int(any(OURS in row.failures for row in all_rows.values()))


if __name__ == "__main__":
    sys.exit(main())
