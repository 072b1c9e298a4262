"""A pytest plugin that writes what happens, as the events of _events.py.

Besides there is `trio`: its version; whether it runs on the C core, here and in
children; and of the package that is tested, if that is another, the name it really has.
"""

from __future__ import annotations

import importlib
import platform
from collections.abc import Callable
from importlib import metadata

import pytest

from ._events import read_ids, write
from ._swap import child_is_swapped, is_swapped

# From the harmless to the grave; a test's outcome is the gravest of its phases.
OUTCOMES = ("passed", "skipped", "xfailed", "xpassed", "failed", "error")
DETAIL_LIMIT = 500
STRICT_XPASS = "[XPASS(strict)]"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("compat", "comparison of test suites")
    group.addoption("--compat-report", metavar="FILE", help="write the events here")
    group.addoption("--compat-trio", action="store_true", help="tell which trio it is")
    group.addoption("--compat-subject", metavar="NAME", help="tell what this import is")
    group.addoption("--compat-only", metavar="FILE", help="run these ids, one a line")
    group.addoption("--compat-done", metavar="FILE", help="do not run these ids")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("compat_report"):
        config.pluginmanager.register(Reporter(config), "compat-reporter")


class Reporter:
    """Writes the events of one session."""

    def __init__(self, config: pytest.Config) -> None:
        self._path = config.getoption("compat_report")
        self._tell_trio = config.getoption("compat_trio")
        self._subject = config.getoption("compat_subject")
        self._only = read_ids(config.getoption("compat_only"))
        self._done = read_ids(config.getoption("compat_done"))
        self._outcome = ""
        self._detail = ""
        self._seconds = 0.0

    def _write(self, event: str, **facts: object) -> None:
        write(self._path, event, **facts)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        self._write(
            "start", python=platform.python_version(), pytest=pytest.__version__
        )
        if self._tell_trio:
            self._write(
                "trio",
                trio=metadata.version("trio"),
                swapped=is_swapped(),
                child_swapped=child_is_swapped(),
                subject=self._subject
                and importlib.import_module(self._subject).__name__,
            )

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        if self._only:
            _keep(config, items, lambda item: item.nodeid in self._only)
        self._write("collected", ids=[item.nodeid for item in items])
        _keep(config, items, lambda item: item.nodeid not in self._done)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.outcome != "passed":
            outcome = "skipped" if report.skipped else "error"
            self._write(
                "module", id=report.nodeid, outcome=outcome, detail=_detail(report)
            )

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._outcome, self._detail, self._seconds = "passed", "", 0.0
        self._write("begin", id=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome = _outcome(report)
        self._seconds += report.duration
        if OUTCOMES.index(outcome) > OUTCOMES.index(self._outcome):
            self._outcome, self._detail = outcome, _detail(report)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._write(
            "result",
            id=nodeid,
            outcome=self._outcome,
            seconds=round(self._seconds, 3),
            detail=self._detail,
        )

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self._write("finish", status=int(exitstatus))


def _keep(
    config: pytest.Config,
    items: list[pytest.Item],
    wanted: Callable[[pytest.Item], bool],
) -> None:
    dropped = [item for item in items if not wanted(item)]
    if dropped:
        items[:] = [item for item in items if wanted(item)]
        config.hook.pytest_deselected(items=dropped)


def _outcome(report: pytest.TestReport) -> str:
    """Return the outcome that pytest prints for this phase of a test."""
    if hasattr(report, "context"):
        # A subtest: one that was skipped does not make its test a skipped one.
        return "failed" if report.failed else "passed"
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    if report.failed and report.longreprtext.startswith(STRICT_XPASS):
        return "xpassed"
    if report.failed and report.when != "call":
        return "error"
    return report.outcome


def _detail(report: pytest.CollectReport | pytest.TestReport) -> str:
    """Return what is said shortly of a failure, or why it was skipped."""
    if isinstance(report.longrepr, tuple):  # a skip: file, line, reason
        text = report.longrepr[2]
    elif hasattr(report, "wasxfail"):
        text = report.wasxfail
    elif crash := getattr(report.longrepr, "reprcrash", None):
        text = f"{crash.message} ({crash.path}:{crash.lineno})"
    else:
        text = report.longreprtext[-DETAIL_LIMIT:]
    return text[:DETAIL_LIMIT]
