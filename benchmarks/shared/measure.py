"""Lets all cases be run by all peers."""

import sys

from .case import CLOCKS
from .interleave import take_turns
from .row import Row


def show_progress(words):
    if sys.stderr.isatty():
        print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)


def command(worker, peer, case, options):
    """Return the command that runs `worker`, a script, for one peer and case."""
    return [sys.executable, worker, peer, case.name, str(options.warm_up_s)]


def _shown(case, options):
    return "wall" if options.wall and case.shown in CLOCKS else case.shown


def measure(cases, peers, worker, options):
    """Return {case: Row}.

    All cases are gone through before they are repeated, in new processes.
    """
    rows = {case.name: Row(peers, _shown(case, options)) for case in cases}
    for repeat in range(options.repeat):
        for case in cases:
            show_progress(f"repeat {repeat + 1} of {options.repeat}: {case.name}")
            row = rows[case.name]
            commands = {
                peer: command(worker, peer, case, options)
                for peer in peers
                if peer not in row.failures
            }
            seconds = 0 if case.once else options.seconds
            row.add(take_turns(commands, seconds, options.timeout_s))
    show_progress("")
    return rows
