"""What the unmodified trio package costs on our core, beside trio on its own:
scheduling, servers, memory.

README.rst beside this file says how to read the numbers. The exit status is 1 if a
case does not run on our core.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import trio_cases
import trio_servers
from shared.case import OURS, Case
from shared.interleave import MISSING, is_missing, profile
from shared.machine import describe
from shared.measure import command, measure, show_progress
from shared.options import chosen, parse_options
from shared.profile import what_is_left
from shared.report import (
    goal_words,
    print_failures,
    print_line,
    print_machine,
    quartile_words,
    write_json,
)
from trio_worker import CASES, PEERS, PLAIN

WORKER = str(Path(__file__).resolve().with_name("trio_worker.py"))


class Section(NamedTuple):
    """Cases with one goal: at most so many times what plain trio takes."""

    title: str
    cases: list[Case]
    goal: float
    divisor: int = 1
    digits: int = 0


SECTIONS = [
    Section("scheduler, ns an operation", trio_cases.SCHEDULER, 0.1),
    Section("servers, CPU us a message", trio_servers.CASES, 0.5, 1000, 1),
    Section("memory, bytes a task", trio_cases.MEMORY, 1.0),
]


def profile_misses(cases, rows, goal, options):
    """Return {case: words}: what is left on our core where the goal is not met."""
    words = {}
    for case in cases:
        ratios = rows[case.name].ratios(PLAIN)
        if ratios and ratios[1] > goal and not case.once:
            show_progress(f"profile: {case.name}")
            parts = profile(command(WORKER, OURS, case, options))
            words[case.name] = what_is_left(parts) if parts else ""
    show_progress("")
    return words


def verdict(row, goal, left):
    ratios = row.ratios(PLAIN)
    if not ratios:
        return "-"
    return f"{quartile_words(ratios):26}{goal_words(ratios, goal):9}{left}"


def print_table(section, rows, left):
    print()
    goal = f"ours/trio, goal {section.goal}"
    print_line(section.title, PEERS, f"{goal:35}what is left")
    for name, row in rows.items():
        cells = (row.cell(peer, section.divisor, section.digits) for peer in PEERS)
        print_line(name, cells, verdict(row, section.goal, left.get(name, "")))
    print_failures(rows)


def server_cells(row, peer):
    """Return {column: words} of what else is known of a server."""
    return {
        "user us": f"{row.median(peer, 'user') / 1e3:.1f}",
        "sys us": f"{row.median(peer, 'system') / 1e3:.1f}",
        "msg/s": f"{1e9 / row.median(peer, 'wall'):.0f}",
        "p50 ms": f"{row.median(peer, 'p50') / 1e6:.2f}",
        "p99 ms": f"{row.median(peer, 'p99') / 1e6:.2f}",
        "peak MiB": f"{row.median(peer, 'peak') / 2**20:.1f}",
    }


def print_servers(rows):
    """Print a line a server and peer."""
    lines = {
        f"{name}, {peer}": server_cells(row, peer)
        for name, row in rows.items()
        for peer in PEERS
        if row.rounds[peer]
    }
    for number, (head, cells) in enumerate(lines.items()):
        if number == 0:
            print()
            print_line("servers, a message", cells, "")
        print_line(head, cells.values(), "")


def measure_section(section, options):
    """Measure and print; return {case: Row} and {case: what is left}."""
    cases = chosen(section.cases, options.only)
    rows = measure(cases, PEERS, WORKER, options)
    left = profile_misses(cases, rows, section.goal, options)
    if rows:
        print_table(section, rows, left)
    if rows and section.cases is trio_servers.CASES:
        print_servers(rows)
    return rows, left


def as_json(rows, left):
    return {
        name: {
            "rounds": row.rounds,
            "failures": row.failures,
            "left": left.get(name),
        }
        for name, row in rows.items()
    }


def main():
    options = parse_options(__doc__.partition("\n\n")[0], CASES)
    machine = describe(["trio", "hypercorn"])
    print_machine(machine)
    all_rows, all_left = {}, {}
    for section in SECTIONS:
        rows, left = measure_section(section, options)
        all_rows |= rows
        all_left |= left
    if options.json:
        write_json(options.json, machine, as_json(all_rows, all_left))
    failures = [row.failures.get(OURS, MISSING) for row in all_rows.values()]
    return int(any(not is_missing(failure) for failure in failures))


if __name__ == "__main__":
    sys.exit(main())
