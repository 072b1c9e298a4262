"""A suite, and one run of it: each part, on each interpreter, on both sides."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from . import _compare, _environment, _expected, _session
from ._interpreters import SUPPORTED, Interpreter
from ._paths import BUILD
from ._report import Comparison
from ._session import Files, Session

REPORT_PLUGIN = "compat_tests._report_plugin"
SWAP_PLUGIN = "trio_asyncio_c.pytest_trio"
PLAIN, OURS = "plain", "ours"


@dataclass(frozen=True)
class Part:
    """A way to run a suite: its name and what pytest is told besides.

    "{rootdir}" in an argument is that of the tests.
    `all_run` says that no other part runs a test that this one skips; `ids` is the
    pattern of the tests' ids, where not each part has them all. `ours` are plugins for
    our side.
    """

    name: str
    arguments: tuple[str, ...] = ()
    all_run: bool = True
    ids: str = ".*"
    ours: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tests:
    """Where the tests are on one interpreter: paths, and pytest's arguments."""

    rootdir: Path
    config: Path
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    """A package that we stand in for: what its import gives on each side."""

    name: str
    ours: str


@dataclass(frozen=True)
class Suite:
    """Another project's tests, and how they are run.

    `versions` are those of Python that the project itself runs on. `early_plugins`
    are loaded before trio is imported, on our side `ours` then, `plugins` after. The
    parts are in order, the fastest first. `plain` is what the other side is called.
    `subject` is for a suite of what is not trio. `more` prints what is to be said
    besides.
    """

    name: str
    group: str
    locate: Callable[[_environment.Environment], Tests]
    parts: tuple[Part, ...] = (Part("all"),)
    versions: tuple[str, ...] = SUPPORTED
    early_plugins: tuple[str, ...] = ()
    ours: tuple[str, ...] = (SWAP_PLUGIN,)
    plugins: tuple[str, ...] = ()
    plain: str = "plain trio"
    subject: Subject | None = None
    more: Callable[[list[Comparison], TextIO], None] | None = None
    expected: Path | None = None
    may_be_listed: str = ""

    def load_expected(self) -> list[_expected.Entry]:
        if self.expected is None:
            return []
        return _expected.load(self.expected, self.may_be_listed)


@dataclass(frozen=True)
class Choice:
    """What the user chose of it; nothing means all."""

    keyword: str = ""
    ids: tuple[str, ...] = ()
    fast: bool = False
    build: bool = True
    test_limit: float = _session.STALL_LIMIT_S

    @property
    def whole(self) -> bool:
        return not (self.keyword or self.ids)


@dataclass
class Runner:
    """Runs a suite on one interpreter after the other."""

    suite: Suite
    choice: Choice
    say: Callable[[str], None]
    expected: list[_expected.Entry] = field(init=False)

    def __post_init__(self) -> None:
        self.expected = self.suite.load_expected()

    def parts(self) -> tuple[Part, ...]:
        """Return those to run; of tests that were asked for, where they can be."""
        parts = self.suite.parts[:1] if self.choice.fast else self.suite.parts
        if not self.choice.ids:
            return parts
        return tuple(part for part in parts if self._ids(part)) or parts[:1]

    def _ids(self, part: Part) -> tuple[str, ...]:
        """Return the tests that were asked for and belong to a part, or to none."""
        return tuple(
            name
            for name in self.choice.ids
            if re.fullmatch(part.ids, name)
            or not any(re.fullmatch(p.ids, name) for p in self.suite.parts)
            or self.choice.fast
        )

    def run(self, interpreter: Interpreter) -> list[Comparison]:
        """Run all parts on both sides."""
        try:
            environment = _environment.prepare(
                interpreter, self.suite.group, build=self.choice.build
            )
            tests = self.suite.locate(environment)
        except subprocess.CalledProcessError as error:
            problem = f"no environment to run in: {error}"
            return [
                Comparison(interpreter.version, part.name, [], [problem])
                for part in self.parts()
            ]
        return [self._compare(environment, tests, part) for part in self.parts()]

    def _compare(
        self, environment: _environment.Environment, tests: Tests, part: Part
    ) -> Comparison:
        plain, ours = (
            self._session(environment, tests, part, side) for side in (PLAIN, OURS)
        )
        differences = _compare.compare(
            plain,
            ours,
            _expected.for_python(self.expected, environment.version, part.ids),
            whole=self.choice.whole,
            all_run=part.all_run,
        )
        problems = _compare.problems(plain, ours, wanted=self._ids(part))
        if SWAP_PLUGIN in self.suite.ours:
            problems += _compare.wrong_trio(plain, ours)
        if self.suite.subject is not None:
            names = self.suite.subject.name, self.suite.subject.ours
            problems += _compare.wrong_subject(plain, ours, names)
        return Comparison(
            environment.version, part.name, differences, problems, plain, ours
        )

    def _session(
        self,
        environment: _environment.Environment,
        tests: Tests,
        part: Part,
        side: str,
    ) -> Session:
        where = f"{environment.version}-{part.name}-{side}"
        self.say(f"{self.suite.name} on {environment.version}, {part.name}, {side}")
        files = Files(BUILD / self.suite.name / where)
        files.clear()
        if self.choice.ids:
            files.only.write_text("".join(f"{name}\n" for name in self._ids(part)))
        arguments = self._arguments(environment, tests, part, side, files)
        command = environment.interpreter.command(arguments, files.cwd)
        session = _session.run(
            command, files, stall_limit=self.choice.test_limit, say=self.say
        )
        self.say(f"    {session.seconds:.1f} s, output in {files.log}")
        return session

    def _arguments(
        self,
        environment: _environment.Environment,
        tests: Tests,
        part: Part,
        side: str,
        files: Files,
    ) -> list[str]:
        swap = (*self.suite.ours, *part.ours) if side == OURS else ()
        plugins = (
            *self.suite.early_plugins,
            *swap,
            *self.suite.plugins,
            REPORT_PLUGIN,
        )
        arguments = [environment.python, "-m", "pytest", "-q", "-ra"]
        arguments += ["-c", str(tests.config), "--rootdir", str(tests.rootdir)]
        arguments += [word for plugin in plugins for word in ("-p", plugin)]
        arguments += ["-p", "no:cacheprovider", "--continue-on-collection-errors"]
        arguments += ["--compat-trio", "--compat-report", str(files.report)]
        arguments += ["--compat-done", str(files.done)]
        if self.suite.subject is not None:
            arguments += ["--compat-subject", self.suite.subject.name]
        if self.choice.ids:
            arguments += ["--compat-only", str(files.only)]
        if self.choice.keyword:
            arguments += ["-k", self.choice.keyword]
        arguments += [word.format(rootdir=tests.rootdir) for word in part.arguments]
        return [*arguments, *tests.arguments]
