"""Runs the modules of the tests, each in processes of its own, several at a time."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from .. import _compare, _expected, _session
from .._environment import Environment
from .._paths import ROOT
from .._report import Comparison
from .._session import Files, Result, Session
from . import transports
from .substitute import PLAIN

MODULE_LIMIT_S = 3600
# A hang is known by the time it took: once is enough.
TRIED_AGAIN = ("failed", "error", "crashed", "xpassed")
# What asyncio's own developers run the tests with.
PYTHON_OPTIONS = ("-W", "default", "-bb")
PROGRAM = """
import sys
sys.path[:0] = {paths!r}
from compat_tests.cpython.child import main
sys.exit(main(sys.argv[1:]))
"""
NOT_MADE = "passed, but no loop was made or run in it, as on plain asyncio"


class Stopped(BaseException):
    """The command ends, so its sessions have to."""


@dataclass(frozen=True)
class Choice:
    """What the user chose of it; nothing means all.

    `logs` is the folder for all that the processes leave.
    """

    loop: str
    logs: Path
    modules: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    test_limit: float = _session.STALL_LIMIT_S
    jobs: int = 1

    @property
    def whole(self) -> bool:
        """Whether all tests of the chosen modules are run."""
        return not (self.patterns or self.ids)


@dataclass(frozen=True)
class Found:
    """What an environment has: the loop's class, and the modules of tests."""

    loop: str
    modules: tuple[str, ...]


class Runner:
    """Runs the tests in one environment, on the loop and on plain asyncio."""

    def __init__(
        self,
        environment: Environment,
        choice: Choice,
        expected: list[_expected.Entry],
        say: Callable[[str], None],
    ) -> None:
        self._environment = environment
        self._choice = choice
        self._expected = _expected.for_python(expected, environment.version)
        self._say = say
        self._stopped = threading.Event()
        self._paths = _paths(environment)

    def find(self) -> Found:
        """Ask the environment; a subprocess.CalledProcessError says what failed."""
        arguments = self._arguments(self._choice.loop)
        answer = json.loads(self._environment.output(*arguments))
        return Found(answer["loop"], tuple(answer["modules"]))

    def run(self, modules: Sequence[str]) -> Comparison:
        """Run these modules on both sides and compare."""
        sides = {"ours": self._choice.loop, "plain": PLAIN}
        jobs = [(module, *side) for module in modules for side in sides.items()]
        with ThreadPoolExecutor(self._choice.jobs) as executor:
            futures = [executor.submit(self._run_module, *job) for job in jobs]
            try:
                sessions = [future.result() for future in futures]
            except BaseException:
                self._stopped.set()
                executor.shutdown(cancel_futures=True)
                raise
        ours, plain = _merged(sessions[::2]), _merged(sessions[1::2])
        _demand_loops(plain, ours)
        return self._compared(plain, ours, {*modules})

    def _compared(self, plain: Session, ours: Session, modules: set[str]) -> Comparison:
        expected = {
            test_id: reason
            for test_id, reason in self._expected.items()
            if module_of(test_id) in modules or not self._choice.modules
        }
        differences = _compare.compare(
            plain, ours, expected, whole=self._choice.whole, all_run=True
        )
        problems = _compare.problems(plain, ours, wanted=self._choice.ids)
        if ours.facts.get("ours"):
            problems += transports.problems(plain, ours)
        if not (plain.collected or ours.collected or problems):
            problems.append("there is no such test")
        version = self._environment.version
        return Comparison(version, "all", differences, problems, plain, ours)

    def _run_module(self, module: str, side: str, loop: str) -> Session:
        """Run one module on one side, and what failed there once more, alone."""
        folder = self._choice.logs / self._environment.version / f"{module}-{side}"
        session = self._session(module, loop, folder, self._choice.ids)
        for test_id in session.collected:
            result = session.results.get(test_id)
            if result is not None and result.outcome in TRIED_AGAIN:
                alone = self._session(module, loop, folder / test_id, (test_id,))
                session.results[test_id] = _judge_again(result, alone.outcome(test_id))
        session.problems = [f"{module}: {problem}" for problem in session.problems]
        failed = session.count(*_compare.FAILED)
        self._say(
            f"{self._environment.version} {module}, {side}: {len(session.results)}"
            f" tests, {failed} failed, {session.seconds:.1f} s"
        )
        return session

    def _session(
        self, module: str, loop: str, folder: Path, only: tuple[str, ...]
    ) -> Session:
        files = Files(folder)
        files.clear()
        arguments = [self._environment.python, *self._arguments(loop)]
        arguments += ["--module", module]
        arguments += ["--report", str(files.report), "--done", str(files.done)]
        arguments += [f"-k={pattern}" for pattern in self._choice.patterns]
        if only:
            files.only.write_text("".join(f"{name}\n" for name in only))
            arguments += ["--only", str(files.only)]
        return _session.run(
            self._environment.interpreter.command(arguments, files.cwd),
            files,
            stall_limit=self._choice.test_limit,
            process_limit=MODULE_LIMIT_S,
            need_tests=False,
            check=self._check,
        )

    def _arguments(self, loop: str) -> list[str]:
        program = PROGRAM.format(paths=self._paths)
        return [*PYTHON_OPTIONS, "-c", program, "--loop", loop]

    def _check(self) -> None:
        if self._stopped.is_set():
            raise Stopped


def module_of(test_id: str) -> str:
    """Return the module that a test is in: test_tasks."""
    return test_id.partition(".")[0]


def _paths(environment: Environment) -> list[str]:
    """Return the path that a process of ours must have; one made for us has it."""
    if environment.python != sys.executable:
        return []
    return [str(Path(path).resolve()) for path in (*sys.path, str(ROOT))]


def _judge_again(result: Result, alone: str) -> Result:
    """Say what a failure is worth after the test was run alone."""
    extra = {**result.extra, "first": result.outcome, "alone": alone}
    outcome = "flaky" if alone == "passed" else result.outcome
    return replace(result, outcome=outcome, extra=extra)


def _merged(sessions: list[Session]) -> Session:
    """Make one of the sessions of one side."""
    merged = Session()
    for session in sessions:
        merged.facts |= session.facts
        merged.collected += session.collected
        merged.results |= session.results
        merged.problems += session.problems
        merged.seconds += session.seconds
    return merged


def _demand_loops(plain: Session, ours: Session) -> None:
    """Let a test fail that passes on our side without the loops of the other."""
    for test_id, result in ours.results.items():
        other = plain.results.get(test_id)
        if result.outcome != "passed" or other is None:
            continue
        if any(other.extra.get(k) and not result.extra.get(k) for k in ("made", "ran")):
            ours.results[test_id] = replace(result, outcome="failed", detail=NOT_MADE)
