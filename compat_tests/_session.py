"""One test session of one side: tests in a process, and what it reported.

A process that crashes, or that was stopped because no test ended for too long, costs
the test it was in; the session goes on with the others in a new process.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STALL_LIMIT_S = 300  # for one test
PROCESS_LIMIT_S = 4 * 3600
ABORT_GRACE_S = 60  # for the stacks of all threads to be written
POLL_S = 0.2
MAX_PROCESSES = 25
TAIL_LINES = 40

# As faulthandler writes them.
RUNNER_FRAME = re.compile(
    r'  File ".*/(_pytest|pytest|pluggy|unittest)/|  File "<frozen runpy>"'
)

PYTEST_OK, PYTEST_FAILURES, PYTEST_NOTHING_RUN = 0, 1, 5

# What would change how a session goes, or make the plain side another one.
UNWANTED_VARIABLES = (
    "PYTEST_ADDOPTS",
    "PYTEST_PLUGINS",
    "PYTHONASYNCIODEBUG",
    "PYTHONDEVMODE",
    "PYTHONPATH",
    "PYTHONWARNINGS",
    "TRIO_ASYNCIO_C_TRIO",
)


@dataclass
class Result:
    """How one test ended, or a module that was not collected.

    Beside the reporter's outcomes there are `crashed`, the process ended in this test,
    and `hung`, it was stopped there. `extra` is what else the reporter says of it.
    """

    outcome: str
    detail: str = ""
    seconds: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass
class Session:
    """All that is known of one side's run.

    `facts` are the versions, and which trio it was; `problems` spoil the whole.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    collected: list[str] = field(default_factory=list)
    results: dict[str, Result] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def outcome(self, test_id: str) -> str:
        result = self.results.get(test_id)
        return "missing" if result is None else result.outcome

    def count(self, *outcomes: str) -> int:
        return sum(result.outcome in outcomes for result in self.results.values())


@dataclass(frozen=True)
class Files:
    """The files of one session, all in one folder that is its own."""

    folder: Path

    @property
    def report(self) -> Path:
        return self.folder / "report.jsonl"

    @property
    def log(self) -> Path:
        return self.folder / "output.txt"

    @property
    def done(self) -> Path:
        return self.folder / "done.txt"

    @property
    def only(self) -> Path:
        return self.folder / "only.txt"

    @property
    def cwd(self) -> Path:
        """Where the tests run: an empty folder, seen in the chroot too."""
        return self.folder / "cwd"

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.cwd.mkdir(parents=True)


@dataclass
class _Ended:
    """How a process ended, and what it reported until then.

    `stopped` says why it was, and is empty where it ended by itself.
    """

    status: int
    stopped: str
    output: str = ""
    finished: int | None = None  # the tests' status, if they came to their end
    running: str | None = None

    def how(self) -> str:
        if self.stopped:
            return self.stopped
        if self.status < 0:
            return f"died of {signal.Signals(-self.status).name}"
        return f"ended with status {self.status}"

    def tail(self) -> str:
        """Return the last lines of its output, of stacks not what runs the tests."""
        lines = self.output.splitlines()
        shown = [line for line in lines if not RUNNER_FRAME.match(line)]
        return "\n".join(shown[-TAIL_LINES:])


def run(
    command: tuple[list[str], Path],
    files: Files,
    *,
    stall_limit: float = STALL_LIMIT_S,
    process_limit: float = PROCESS_LIMIT_S,
    need_tests: bool = True,
    check: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda text: None,
) -> Session:
    """Run the tests until each has had its turn; return what was reported.

    `command` is (arguments, folder): pytest with the report plugin, or another program
    that writes the same events, told of the report and done files here. `check` is
    called every now and then, and what it raises ends the session.
    """
    session = Session()
    begun = time.monotonic()
    for _ in range(MAX_PROCESSES):
        files.done.write_text("".join(f"{test}\n" for test in session.results))
        ended = _run_process(command, files, stall_limit, process_limit, check)
        _read_report(files.report, session, ended)
        if ended.running is None:
            _note_end(session, ended, need_tests)
            break
        detail = f"the process {ended.how()}\n{ended.tail()}"
        outcome = "hung" if ended.stopped else "crashed"
        session.results[ended.running] = Result(outcome, detail)
        say(f"{ended.running}: the process {ended.how()}; going on without it")
    else:
        session.problems.append(f"gave up after {MAX_PROCESSES} processes")
    session.seconds = time.monotonic() - begun
    return session


def _run_process(
    command: tuple[list[str], Path],
    files: Files,
    stall_limit: float,
    process_limit: float,
    check: Callable[[], None],
) -> _Ended:
    arguments, folder = command
    files.report.write_text("")
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in UNWANTED_VARIABLES
    }
    with open(files.log, "ab") as log:
        before = log.tell()
        process = subprocess.Popen(
            arguments,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        stopped = _watch(process, files.report, stall_limit, process_limit, check)
    finally:
        # Its group: a test that was cut off may have left child processes.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    output = files.log.read_bytes()[before:].decode(errors="replace")
    return _Ended(process.returncode, stopped, output)


def _watch(
    process: subprocess.Popen[bytes],
    report: Path,
    stall_limit: float,
    process_limit: float,
    check: Callable[[], None],
) -> str:
    """Wait for the process; return why it was stopped, if it was."""
    started = moved = time.monotonic()
    size = 0
    while True:
        try:
            process.wait(POLL_S)
            return ""
        except subprocess.TimeoutExpired:
            now = time.monotonic()
        check()
        if report.stat().st_size != size:
            size, moved = report.stat().st_size, now
        if now - moved > stall_limit:
            return _abort(process, f"was stopped: nothing ended in {stall_limit:g} s")
        if now - started > process_limit:
            return _abort(process, f"was stopped after {process_limit:g} s")


def _abort(process: subprocess.Popen[bytes], reason: str) -> str:
    """End it in a way that has its faulthandler write where it was."""
    process.send_signal(signal.SIGABRT)
    with contextlib.suppress(subprocess.TimeoutExpired):  # the caller kills it
        process.wait(ABORT_GRACE_S)
    return reason


def _read_report(path: Path, session: Session, ended: _Ended) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            break  # the process ended while it wrote this
        _absorb(event, session, ended)


def _absorb(event: dict[str, Any], session: Session, ended: _Ended) -> None:
    match event["event"]:
        case "start" | "trio":
            session.facts |= event
        case "collected":
            session.collected = session.collected or event["ids"]
        case "begin":
            ended.running = event["id"]
        case "result" | "module":
            ended.running = None
            session.results[event["id"]] = Result(
                event["outcome"],
                event["detail"],
                event.get("seconds", 0.0),
                event.get("extra", {}),
            )
        case "finish":
            ended.finished = event["status"]


def _note_end(session: Session, ended: _Ended, need_tests: bool) -> None:
    """Note what was wrong with the end of the last process, outside of all tests."""
    if ended.finished is None:
        when = "after the last test" if session.collected else "before the first test"
        problem = f"the process {ended.how()}, {when}"
    elif ended.status != ended.finished:
        problem = f"after all tests, the process {ended.how()}"
    elif ended.status not in (PYTEST_OK, PYTEST_FAILURES, PYTEST_NOTHING_RUN):
        problem = f"the tests ended with status {ended.status}"
    else:
        problem = ""
    if problem:
        session.problems.append(f"{problem}\n{ended.tail()}")
    if need_tests and not session.collected:
        session.problems.append("no test was collected")
