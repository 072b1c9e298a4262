"""Runs tests made for unittest on asyncio's loop and on ours, each in a process of its
own, and compares them one by one."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import subprocess
import sys
import unittest
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import _environment, _interpreters

SIDES = ("asyncio", "ours")


@dataclass(frozen=True)
class Project:
    """Whose tests they are.

    Args:
      group: its group of requirements in ``pyproject.toml``.
      module: the module that the tested process runs: its ``main`` calls `run`.
      find: what finds the tests, given what `locate` returned.
      locate: where they are, in an environment; what it returns goes to `find`.
      set_up: what the tests ask of their process.
      limit_s: seconds for all of them on one loop.
      expected: what fails on ours only, each with its reason.
      expected_on: the same, of some versions of Python.
      use_ours: what is put in the place of asyncio's on our side besides the loop.
    """

    group: str
    module: str
    find: Callable[[str], unittest.TestSuite]
    locate: Callable[[_environment.Environment], str]
    set_up: Callable[[], None]
    limit_s: float
    expected: Mapping[str, str]
    expected_on: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    use_ours: Callable[[], None] = lambda: None


def run(project: Project) -> int:
    """Run what the command line says; return 0 if nothing fails on ours only."""
    if sys.argv[1:2] == ["--child"]:
        _child(project, *sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser(prog=f"python -m {project.module}")
    parser.add_argument("--python", nargs="+", default=[], metavar="VERSION")
    parser.add_argument("--no-build", dest="build", action="store_false")
    options = parser.parse_args()
    found = _interpreters.find() if options.python else {}
    missing = [version for version in options.python if version not in found]
    if missing:
        parser.error(f"no CPython {', '.join(missing)} here")
    chosen = [found[v] for v in options.python] or [_interpreters.running()]
    good = [_compare(project, one, build=options.build) for one in chosen]
    return int(not all(good))


def differences(
    stock: Mapping[str, str], ours: Mapping[str, str], expected: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Return what is worse on ours and not expected, and what is expected in vain."""
    worse = {test for test, end in stock.items() if end == "ok" != ours.get(test)}
    return sorted(worse - set(expected)), sorted(set(expected) - worse)


def _compare(
    project: Project, interpreter: _interpreters.Interpreter, *, build: bool
) -> bool:
    made = _environment.prepare(interpreter, project.group, build=build)
    where = project.locate(made)
    sides = [_run_side(project, made, side, where) for side in SIDES]
    stock, ours = (side["ends"] for side in sides)
    expected = {
        **project.expected,
        **project.expected_on.get(interpreter.version, {}),
    }
    worse, stale = differences(stock, ours, expected)
    for test in list(worse):
        if _run_side(project, made, "asyncio", where, test)["ends"].get(test) != "ok":
            print(f"  fails on asyncio's loop as well, when alone: {test}")
            worse.remove(test)
    passed = [sum(end == "ok" for end in ends.values()) for ends in (stock, ours)]
    print(f"{interpreter.version}: {len(stock)} tests; {passed[0]} pass on asyncio's")
    print(f"  loop, {passed[1]} on ours, of which they made {sides[1]['loops']}.")
    for test in worse:
        print(f"  FAILURE on ours only: {test}: {ours.get(test, 'did not run')}")
    for test in stale:
        print(f"  STALE ENTRY: {test} is on the list, and does not fail")
    for test, reason in expected.items():
        print(f"  on the list: {test}: {reason}")
    return bool(passed[1]) and sides[1]["loops"] > 0 and not (worse or stale)


def _run_side(
    project: Project, made: _environment.Environment, side: str, *what: str
) -> dict[str, Any]:
    command, cwd = made.interpreter.command(
        [made.python, "-P", "-m", project.module, "--child", side, *what]
    )
    done = subprocess.run(
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=project.limit_s,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


# In the tested process


class _Logged(logging.Handler):
    """Counts what is logged as a warning or worse, where no test expects it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


class _Recorder(unittest.TextTestResult):
    logged = _Logged()

    def __init__(self, *arguments: object, **keywords: object) -> None:
        super().__init__(*arguments, **keywords)  # type: ignore[arg-type]
        self.ends: dict[str, str] = {}

    def startTest(self, test: unittest.TestCase) -> None:
        self.logged.messages.clear()
        super().startTest(test)

    def stopTest(self, test: unittest.TestCase) -> None:
        texts = [
            text
            for failed, text in self.failures + self.errors
            if getattr(failed, "test_case", failed) is test  # or a subtest of it
        ]
        end = "ok"
        if texts:
            end = texts[-1].strip().splitlines()[-1]
        elif any(skipped is test for skipped, _ in self.skipped):
            end = "skipped"
        elif self.logged.messages:
            end = f"logged {self.logged.messages[0]!r}"
        self.ends[test.id()] = end
        super().stopTest(test)


def _use_ours() -> Callable[[], int]:
    """Have asyncio make our loops; return what counts them."""
    import trio_asyncio_c

    made = 0

    class Policy(trio_asyncio_c.EventLoopPolicy):
        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            nonlocal made
            made += 1
            return super().new_event_loop()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from 3.14 on policies are deprecated
        asyncio.set_event_loop_policy(Policy())
    return lambda: made


def _only(test: str, tests: unittest.TestSuite) -> unittest.TestSuite:
    """Return the one of that id."""
    found = unittest.TestSuite()
    for inner in tests:
        if isinstance(inner, unittest.TestSuite):
            found.addTests(_only(test, inner))
        elif inner.id() == test:
            found.addTest(inner)
    return found


def _child(project: Project, side: str, where: str, *only: str) -> None:
    warnings.simplefilter("ignore")
    count = _use_ours() if side == "ours" else lambda: 0
    loop = asyncio.new_event_loop()
    assert type(loop).__module__.startswith("trio_asyncio_c") is (side == "ours")
    loop.close()
    if side == "ours":
        project.use_ours()
    logging.getLogger().addHandler(_Recorder.logged)
    project.set_up()
    # False: the warnings are as they were set up.
    runner = unittest.TextTestRunner(resultclass=_Recorder, warnings=False)  # type: ignore[arg-type]
    tests = project.find(where)
    for test in only:
        tests = _only(test, tests)
    result = runner.run(tests)
    assert isinstance(result, _Recorder)
    print(json.dumps({"ends": result.ends, "loops": count() - 1}))
