"""What a callback, a task step, a task, a nursery and a cancel scope cost, beside asyncio, uvloop, rloop and trio.

README.rst beside this file says how to read the numbers. Exits with 1 if a case does not run on trio_asyncio_c.
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
from shared.interleave import run_interleaved
from shared.machine import describe

HERE = Path(__file__).resolve().parent
WORKER = str(HERE / "core_worker.py")
SIDES = {"asyncio side": (core_loop_cases.CASES, LOOP_PEERS), "Trio side": (core_trio_cases.CASES, TRIO_PEERS)}


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
    """The results of one case: `ns` {peer: nanoseconds, one a repeat} and `failures` {peer: in words}."""

    def __init__(self, results, clock):
        self.failures = {peer: found for peer, found in results.items() if isinstance(found, str)}
        self.ns = {
            peer: [times[clock] for times in found] for peer, found in results.items() if peer not in self.failures
        }

    def median(self, peer):
        return statistics.median(self.ns[peer])

    def best_peer(self):
        return min((peer for peer in self.ns if peer != OURS), key=self.median, default=None)

    def ratio(self, peer):
        """Return ours/peer by the medians, or None if one of them is missing."""
        if peer not in self.ns or OURS not in self.ns:
            return None
        return self.median(OURS) / self.median(peer)

    def spread(self, peer):
        """Return the least and the greatest ratio of one repeat."""
        ratios = [ours / theirs for ours, theirs in zip(self.ns[OURS], self.ns[peer])]
        return min(ratios), max(ratios)

    def cell(self, peer):
        return f"{self.median(peer):.0f}" if peer in self.ns else self.failures[peer].partition(":")[0]

    def verdict(self):
        best = self.best_peer()
        if best is None or OURS not in self.ns:
            return "-"
        low, high = self.spread(best)
        return f"{self.ratio(best):.3f} of {best} ({low:.3f} to {high:.3f})"


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter measurements")
    parser.add_argument("--repeat", type=int, metavar="N", help="processes a case and peer (default 5, quick 3)")
    parser.add_argument("--only", action="append", metavar="NAME", help="cases with NAME in their name; can be repeated")
    parser.add_argument("--wall", action="store_true", help="show the time that passes, not the CPU's")
    parser.add_argument("--json", metavar="FILE", help="write all results there")
    options = parser.parse_args()
    options.repeat = options.repeat or (3 if options.quick else 5)
    options.seconds = 0.05 if options.quick else 0.3
    return options


def chosen(cases, names):
    return [case for case in cases if not names or any(name.lower() in case.name.lower() for name in names)]


def show_progress(repeat, case):
    if sys.stderr.isatty():
        print(f"\r\033[Krepeat {repeat + 1}: {case}", end="", file=sys.stderr, flush=True)


def measure_side(cases, peers, options):
    plan = {
        case.name: {peer: [WORKER, peer, case.name, str(options.seconds)] for peer in peers} for case in cases
    }
    results = run_interleaved(plan, options.repeat, show_progress)
    show_progress(options.repeat - 1, "done\n")
    return results


def print_machine(machine):
    width = max(map(len, machine))
    for what, words in machine.items():
        print(f"{what:{width}}  {words}")


def print_table(title, rows, peers):
    print(f"\n{f'{title}, ns an operation':30}" + "".join(f"{peer:>9}" for peer in peers) + "   ours/best peer")
    for name, row in rows.items():
        print(f"{name:30}" + "".join(f"{row.cell(peer):>9}" for peer in peers) + f"   {row.verdict()}")


def print_failures(rows):
    for name, row in rows.items():
        for peer, failure in row.failures.items():
            if ":" in failure:
                print(f"{name}, {peer} {failure}")


def print_goals(rows):
    print("\nGoals")
    for goal in GOALS:
        ratio = rows[goal.case].ratio(goal.peer) if goal.case in rows else None
        verdict = "not measured" if ratio is None else f"{'met' if ratio <= goal.at_most else 'not met'}, {ratio:.3f}"
        print(f"{goal.case:30}at most {goal.at_most} of {goal.peer}'s: {verdict}")


def main():
    options = parse_options()
    machine = describe(["trio_asyncio_c", "uvloop", "rloop", "trio"])
    print_machine(machine)
    all_rows, all_results = {}, {}
    for title, (cases, peers) in SIDES.items():
        cases = chosen(cases, options.only)
        if not cases:
            continue
        results = measure_side(cases, peers, options)
        rows = {case.name: Row(results[case.name], "wall" if options.wall else case.clock) for case in cases}
        print_table(title, rows, peers)
        print_failures(rows)
        all_results[title] = results
        all_rows |= rows
    print_goals(all_rows)
    if options.json:
        Path(options.json).write_text(json.dumps({"machine": machine, "results": all_results}, indent=1) + "\n")
    return any(OURS in row.failures for row in all_rows.values())


if __name__ == "__main__":
    sys.exit(main())
