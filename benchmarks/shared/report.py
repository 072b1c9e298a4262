"""What the scripts that compare print and write."""

import json
from pathlib import Path


def quartile_words(quartiles, of=""):
    low, ratio, high = quartiles
    return f"{ratio:.3f}{of} ({low:.3f} to {high:.3f})"


def goal_words(quartiles, at_most):
    return "met" if quartiles[1] <= at_most else "not met"


def print_machine(machine):
    width = max(map(len, machine))
    for what, words in machine.items():
        print(f"{what:{width}}  {words}")


def print_line(head, cells, tail, width=9, head_width=32):
    line = (
        f"{head:{head_width}}"
        + "".join(f"{cell:>{width}}" for cell in cells)
        + f"   {tail}"
    )
    print(line.rstrip())


def print_failures(rows):
    for name, row in rows.items():
        for peer, failure in row.failures.items():
            if ":" in failure:
                print(f"{name}, {peer} {failure}")


def as_json(rows):
    """Return what the rounds were, for `write_json`."""
    return {
        name: {"rounds": row.rounds, "failures": row.failures}
        for name, row in rows.items()
    }


def write_json(path, machine, cases):
    Path(path).write_text(
        json.dumps({"machine": machine, "cases": cases}, indent=1) + "\n"
    )
