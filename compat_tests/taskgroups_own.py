"""python -m compat_tests.taskgroups_own: CPython's tests of asyncio.TaskGroup on ours.

They are ``test.test_asyncio.test_taskgroups`` of the interpreter. On the one side they
run as they are, on the other on our loop with our TaskGroup under asyncio's name.
"""

from __future__ import annotations

import asyncio
import sys
import unittest
from collections.abc import Iterator

from . import _both_loops, _environment

MODULE = "test.test_asyncio.test_taskgroups"


def locate(made: _environment.Environment) -> str:
    """Return the name of the module."""
    return MODULE


BY_CHANCE = "test_taskgroup_25"
"""What is left out. Its children create more of them after a sleep, until one of them
fails: whether the sleep of another is over then is a matter of milliseconds. If it is,
that child goes on here (see KEEPS_RESULTS), is refused, and its error is in the group."""


def _each(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _each(test)
        else:
            yield test


def find(name: str) -> unittest.TestSuite:
    """Return the tests, but for the one that ends by chance."""
    found = unittest.defaultTestLoader.loadTestsFromName(name)
    return unittest.TestSuite(
        test for test in _each(found) if not test.id().endswith(f".{BY_CHANCE}")
    )


class _NewLoop:
    """Stands for asyncio's class of loops, which tests name as their loop's factory."""

    def __new__(cls) -> asyncio.AbstractEventLoop:  # type: ignore[misc]
        return asyncio.new_event_loop()


def use_ours() -> None:
    """Put our TaskGroup in the place of asyncio's."""
    import trio_asyncio_c

    names = vars(asyncio)
    names["TaskGroup"] = vars(asyncio.taskgroups)["TaskGroup"] = (
        trio_asyncio_c.TaskGroup
    )
    names["EventLoop"] = names["SelectorEventLoop"] = _NewLoop


def _listed(names: str, reason: str) -> dict[str, str]:
    return {f"{MODULE}.{name}": reason for name in names.split()}


CLOSES = _listed(
    "TestTaskGroup.test_taskgroup_finished "
    "TestTaskGroup.test_taskgroup_not_entered "
    "TestTaskGroup.test_taskgroup_without_parent_task "
    "TestTaskGroup.test_taskgroup_no_create_task_after_failure",
    "It awaits the coroutine that create_task() has refused. Ours closes it, as "
    "asyncio's does in later releases of this version and in later versions.",
)
KEEPS_RESULTS = _listed(
    "TestTaskGroup.test_taskgroup_cancel_one_winner "
    "TestEagerTaskTaskGroup.test_taskgroup_cancel_one_winner",
    "A child whose result is on its way when the group is cancelled gets that, and the "
    "cancel at its next await that blocks, as in Trio. asyncio's loses the result.",
)

PROJECT = _both_loops.Project(
    group="compat-cpython",
    module=__spec__.name,
    find=find,
    locate=locate,
    set_up=lambda: None,
    use_ours=use_ours,
    limit_s=300,
    expected={},
    expected_on={"3.11": CLOSES, "3.12": CLOSES, "3.15": KEEPS_RESULTS},
)

if __name__ == "__main__":
    sys.exit(_both_loops.run(PROJECT))
