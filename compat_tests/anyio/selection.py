"""A pytest plugin: of a test that runs on several backends, only what is asyncio's own.

uvloop is none of ours, and anyio on Trio is what compat_tests.trio_libraries has.
"""

from __future__ import annotations

import pytest

OTHERS = ("trio", "uvloop")

# What our backend is about; all other files test sockets, processes, files and so on.
ABOUT_TASKS = (
    "test_contextmanagers",
    "test_debugging",
    "test_eventloop",
    "test_from_thread",
    "test_futures",
    "test_lowlevel",
    "test_synchronization",
    "test_taskgroups",
    "test_to_thread",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--anyio-part", choices=["tasks", "rest"], help="which files")


def _is_others(item: pytest.Item) -> bool:
    *_, parameters = item.name.rpartition("[")
    words = parameters.replace("+", "-").rstrip("]").split("-")
    return "[" in item.name and any(other in words for other in OTHERS)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    tasks = config.getoption("anyio_part") == "tasks"
    items[:] = [
        item
        for item in items
        if not _is_others(item) and (item.path.stem in ABOUT_TASKS) is tasks
    ]
