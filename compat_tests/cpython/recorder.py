"""A unittest result that reports each test as an event, with what loops it made."""

from __future__ import annotations

import re
import time
import traceback
import unittest
from collections.abc import Callable
from test import support
from typing import Any

from .substitute import Loops

PREFIX = "test.test_asyncio."
DETAIL_LIMIT = 500
# From the harmless to the grave; of a test with subtests the gravest counts.
OUTCOMES = ("passed", "skipped", "xfailed", "xpassed", "failed", "error")
# What unittest calls a failure outside of a test: "setUpClass (module.Class)".
FIXTURE = re.compile(r"(\w+) \((.*)\)")

Error = tuple[Any, Any, Any]  # as of sys.exc_info()


def short_id(test_id: str) -> str:
    """Return the id that is reported: test_tasks.SleepTests.test_sleep."""
    return test_id.removeprefix(PREFIX)


class Recorder(unittest.TestResult):
    """Reports what happens to the tests whose ids are `planned`.

    A test's result is reported when the next one starts, or by `flush`: some close
    their loop after unittest is through with them, and can hang or crash there.
    """

    def __init__(
        self, write: Callable[..., None], loops: Loops, planned: list[str]
    ) -> None:
        super().__init__()
        self._write = write
        self._loops = loops
        self._left = dict.fromkeys(planned)
        self._running = self._ended = ""
        self._outcome = self._detail = ""
        self._started = self._seconds = 0.0

    def startTest(self, test: unittest.TestCase) -> None:
        self.flush()
        super().startTest(test)
        self._running = short_id(test.id())
        self._outcome, self._detail = "passed", ""
        support.environment_altered = False
        self._loops.forget()
        self._write("begin", id=self._running)
        self._started = time.monotonic()

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        # Some versions stop what was never started, a test that its class skips.
        self._ended, self._running = self._running, ""
        self._seconds = round(time.monotonic() - self._started, 3)

    def flush(self) -> None:
        """Report the test that ended last, if it was not yet."""
        test_id, self._ended = self._ended, ""
        if not test_id:
            return
        extra: dict[str, Any] = {"made": self._loops.made, "ran": self._loops.ran}
        if transports := self._loops.transports.made():
            extra["transports"] = transports
        if support.environment_altered:
            extra["altered"] = True
        self._end(test_id, self._outcome, self._detail, self._seconds, extra)

    def addError(self, test: unittest.TestCase, err: Error) -> None:
        self._fail(test, "error", err)

    def addFailure(self, test: unittest.TestCase, err: Error) -> None:
        self._fail(test, "failed", err)

    def addSubTest(
        self, test: unittest.TestCase, subtest: unittest.TestCase, err: Error | None
    ) -> None:
        if err is not None:
            failed = issubclass(err[0], test.failureException)
            self._fail(test, "failed" if failed else "error", err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._note(test, "skipped", reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: Error) -> None:
        self._note(test, "xfailed", _detail(err))

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self._note(test, "xpassed", "")

    def addDuration(self, test: unittest.TestCase, elapsed: float) -> None:
        pass

    def _fail(self, test: unittest.TestCase, outcome: str, err: Error) -> None:
        print(f"--- {outcome}: {test.id()}", flush=True)
        print("".join(traceback.format_exception(*err)), flush=True)
        self._note(test, outcome, _detail(err))

    def _note(self, test: unittest.TestCase, outcome: str, detail: str) -> None:
        if self._running:
            if OUTCOMES.index(outcome) > OUTCOMES.index(self._outcome):
                self._outcome, self._detail = outcome, detail
            return
        self.flush()
        if fixture := FIXTURE.fullmatch(test.id()):
            self._note_fixture(fixture[1], short_id(fixture[2]), outcome, detail)
        else:
            self._end(short_id(test.id()), outcome, detail)

    def _note_fixture(self, name: str, where: str, outcome: str, detail: str) -> None:
        """Note a failure of a class or a module, for the tests that it costs."""
        detail = f"{name}: {detail}"
        if name.startswith("tearDown"):  # they have had their turn
            self._end(f"{where}.{name}", outcome, detail)
            return
        for test_id in [*self._left]:
            if test_id.startswith(f"{where}."):
                self._end(test_id, outcome, detail)

    def _end(
        self,
        test_id: str,
        outcome: str,
        detail: str,
        seconds: float = 0.0,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self._left.pop(test_id, None)
        self._write(
            "result",
            id=test_id,
            outcome=outcome,
            detail=detail[:DETAIL_LIMIT],
            seconds=seconds,
            extra=extra or {},
        )


def _detail(err: Error) -> str:
    """Return what is said shortly of a failure: what, and where in the tests."""
    text = f"{err[0].__name__}: {err[1]}"
    frames = traceback.extract_tb(err[2])
    places = [frame for frame in frames if "/unittest/" not in frame.filename]
    in_tests = [frame for frame in places if "/test_asyncio/" in frame.filename]
    for frame in (in_tests or places)[-1:]:
        text += f" ({frame.filename.rpartition('/')[2]}:{frame.lineno})"
    return text
