"""What a tested process reports: lines of JSON, each when it happens.

So the reader knows how each test ended without reading the terminal's text, and,
where the process crashed or was stopped, in which test that was.

    start       the version of Python, and what else the tests run on
    collected   the ids of all tests that were selected
    module      a module that was skipped as a whole, or could not be collected
    begin       a test starts
    result      a test ended: its outcome, its seconds, the short text of a failure
    finish      the session ended, with the process's status
"""

from __future__ import annotations

import json


def write(path: str, event: str, **facts: object) -> None:
    """Append one event to the file."""
    # Not kept open: tests count the file descriptors.
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps({"event": event, **facts}) + "\n")


def read_ids(path: str | None) -> set[str]:
    """Return the ids of tests in a file, one a line; none without a file."""
    if path is None:
        return set()
    with open(path, encoding="utf-8") as file:
        return set(file.read().splitlines())
