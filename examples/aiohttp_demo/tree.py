"""Make a task tree short enough to read."""

import re
from itertools import groupby

# "│  ├─ name": what is above, the branch, and what is on it.
LINE = re.compile(r"([│ ]*)([├└]─ )?(.*)")
ASYNCIO_TASK = re.compile(r"^asyncio task \S+: ")


def _parse(tree):
    """Return (indent, branch, name, has children) of each line."""
    lines = [LINE.fullmatch(line).groups(default="") for line in tree.splitlines()]
    depths = [len(indent + branch) for indent, branch, _ in lines] + [0]
    return [
        (*line, depths[number + 1] > depths[number])
        for number, line in enumerate(lines)
    ]


def _merge(siblings):
    """Have one line for all childless siblings of one name."""
    indent, branch, _, _ = siblings[-1]
    counts = {}
    for *_, name, _ in siblings:
        name = ASYNCIO_TASK.sub("asyncio task: ", name)
        counts[name] = counts.get(name, 0) + 1
    *others, last = [
        name if count == 1 else f"{name}  × {count}" for name, count in counts.items()
    ]
    return [f"{indent}├─ {name}" for name in others] + [f"{indent}{branch}{last}"]


def shorten(tree):
    """Return the lines of a tree, with one for all childless siblings of one name."""
    short = []
    by_place = groupby(_parse(tree), key=lambda line: (line[0], line[3]))
    for (indent, has_children), lines in by_place:
        if has_children:
            short += [f"{indent}{branch}{name}" for _, branch, name, _ in lines]
        else:
            short += _merge(list(lines))
    return short
