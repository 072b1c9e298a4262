"""A pytest plugin: of a test that runs on several backends, only what is asyncio's own.

uvloop is none of ours, and anyio on Trio is what compat_tests.trio_libraries has.

Where "localhost" has no IPv6 address, what needs one is skipped. anyio's tests ask only
whether ::1 can be bound, and fail at the name; the sockets that they leave then are
closed by the collector, whose warning fails whatever test runs at that time.

Before each test those worker threads are waited for that anyio has told to end: some of
the tests count threads, and one of an earlier test may be still there as they begin.
"""

from __future__ import annotations

import socket
import threading

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


THREAD_LIMIT_S = 10


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--anyio-part", choices=["tasks", "rest"], help="which files")


def _is_others(item: pytest.Item) -> bool:
    *_, parameters = item.name.rpartition("[")
    words = parameters.replace("+", "-").rstrip("]").split("-")
    return "[" in item.name and any(other in words for other in OTHERS)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    for thread in threading.enumerate():
        if getattr(thread, "stopping", False):
            thread.join(THREAD_LIMIT_S)


def _localhost_has_ipv6() -> bool:
    try:
        return bool(socket.getaddrinfo("localhost", 0, socket.AF_INET6))
    except OSError:
        return False


def _needs_ipv6(item: pytest.Item) -> bool:
    *_, parameters = item.name.rpartition("[")
    return "ipv6" in parameters.rstrip("]").split("-")


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
    if not _localhost_has_ipv6():
        reason = "localhost has no IPv6 address here"
        for item in filter(_needs_ipv6, items):
            item.add_marker(pytest.mark.skip(reason=reason))
