"""The list of tests that are expected to fail on our core, with their reasons.

[[expected]]
id = "trio/_tests/test_x.py::test_y[z]"
reason = "why it cannot pass"
python = ["3.14"]          # only there; without it everywhere

The id of a module, without a test's name, is for one that cannot be imported.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_VERSION = re.compile(r"3\.\d+")


class ListError(ValueError):
    """The list says what it may not."""


@dataclass(frozen=True)
class Entry:
    """A test that is expected to fail; everywhere, or on some versions of Python."""

    id: str
    reason: str
    python: tuple[str, ...] | None = None

    def counts_on(self, version: str) -> bool:
        return self.python is None or version in self.python


def load(path: Path, may_be_listed: str) -> list[Entry]:
    """Return the entries; each id must match the pattern of those that may be there."""
    tables = tomllib.loads(path.read_text(encoding="utf-8")).get("expected", [])
    try:
        entries = [_entry(table) for table in tables]
        _check_ids([entry.id for entry in entries], may_be_listed)
    except ListError as error:
        raise ListError(f"{path}: {error}") from None
    return entries


def for_python(entries: list[Entry], version: str, ids: str = ".*") -> dict[str, str]:
    """Return {id: reason} of the entries that count for one version, of those whose
    ids match a pattern."""
    return {
        entry.id: entry.reason
        for entry in entries
        if entry.counts_on(version) and re.fullmatch(ids, entry.id)
    }


def _entry(table: dict[str, Any]) -> Entry:
    if unknown := sorted(table.keys() - {"id", "reason", "python"}):
        raise ListError(f"what is {', '.join(unknown)} in {table}?")
    for key in ("id", "reason"):
        if not isinstance(table.get(key), str) or not table[key].strip():
            raise ListError(f"there is no {key} in {table}")
    if "python" not in table:
        return Entry(table["id"], table["reason"].strip())
    versions = table["python"]
    if not isinstance(versions, list) or not versions:
        raise ListError(f"{table['id']}: python must be a list of versions")
    if not all(_VERSION.fullmatch(str(version)) for version in versions):
        raise ListError(f"{table['id']}: python must be like 3.14: {versions}")
    return Entry(table["id"], table["reason"].strip(), tuple(versions))


def _check_ids(ids: list[str], may_be_listed: str) -> None:
    for name, count in Counter(ids).items():
        if not re.fullmatch(may_be_listed, name):
            raise ListError(f"{name}: this test may not be on the list")
        if count > 1:
            raise ListError(f"{name}: listed {count} times")
