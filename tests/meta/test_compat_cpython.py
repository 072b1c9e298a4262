"""compat_tests.cpython notices whatever can be wrong with a loop."""

from __future__ import annotations

import json
import os
import signal
import types
import unittest

import pytest

from ._sources import ROOT
from .test_compat_harness import load, restored_signals  # noqa: F401  (a fixture)

_environment = load("_environment")
_session = load("_session")
command = load("cpython.__main__")
recorder = load("cpython.recorder")
runner = load("cpython.runner")
substitute = load("cpython.substitute")
table = load("cpython.table")
Result, Session = _session.Result, _session.Session

CLASS = "test_threads.ToThreadTests"
SIGNALS = "test_unix_events.SelectorEventLoopSignalTests"
UNKNOWN_SIGNAL = f"{SIGNALS}.test_handle_signal_no_handler"
CANCELLED_HANDLER = f"{SIGNALS}.test_handle_signal_cancelled_handler"


@pytest.fixture
def run(tmp_path, monkeypatch, restored_signals):  # noqa: F811
    """Run the command; return its status and what it writes."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "meta")

    def run(*arguments):
        report = tmp_path / "report.json"
        report.unlink(missing_ok=True)
        status = command.main(
            [*arguments, "--json", str(report), "--logs", str(tmp_path / "logs")]
        )
        return status, json.loads(report.read_text())["runs"][0]

    return run


def outcomes(report, side="ours"):
    return {
        test_id.rpartition(".")[2]: result["outcome"]
        for test_id, result in report[side]["tests"].items()
    }


def verdicts(report):
    return {found["test_id"]: found["verdict"] for found in report["differences"]}


# Loops


def test_our_loop(run, capsys):
    status, report = run("test_threads", "test_windows_utils")
    assert (status, report["failures"]) == (0, 0)
    facts = report["ours"]["facts"]
    assert (facts["loop"], facts["ours"]) == ("trio_asyncio_c.EventLoop", True)
    facts = report["plain"]["facts"]
    assert (facts["loop"][:8], facts["ours"]) == ("asyncio.", False)
    total = report["total"]
    tests = total["tests"] - 1
    assert tests >= 6  # and the other module, which is for Windows
    for name in ("applicable", "ran", "passed", "plain_passed"):
        assert total[name] == tests, name
    assert total["not_applicable"] == 1
    assert outcomes(report)["test_windows_utils"] == "skipped"
    printed = capsys.readouterr().out.splitlines()
    assert "no failures beyond the list" in printed
    cells = next(line.split() for line in printed if line.startswith("test_threads"))
    assert cells[1:6] == [str(tests), "0", *[str(tests)] * 3]


STREAMS = (
    "test_streams.StreamTests.test_open_connection",
    "test_streams.StreamTests.test_open_unix_connection",
)
DATAGRAMS = "test_events.EPollEventLoopTests.test_create_datagram_endpoint"


def test_connections_of_our_loop_are_in_c(run, capsys):
    status, report = run("--test", *STREAMS)
    made = report["transports"]
    assert status == 0
    assert [*made["ours"]] == ["stream in C"]
    assert made["ours"]["stream in C"] == made["plain"]["stream inherited"] >= 2
    words = f"transports: stream {made['ours']['stream in C']} in C"
    assert words in capsys.readouterr().out.splitlines()


def test_connections_that_are_not_in_c(run):
    loop = "_faulty_loops:InheritedDatagrams"
    status, report = run("--test", DATAGRAMS, "--loop", loop)
    assert (status, report["total"]["passed"]) == (1, 1)
    inherited = report["transports"]["ours"]["datagram inherited"]
    assert inherited == report["transports"]["plain"]["datagram inherited"] > 0
    assert report["problems"] == [f"datagram transports: 0 in C, {inherited} inherited"]
    # Of another loop it is not demanded.
    assert run("--test", DATAGRAMS, "--loop", "_faulty_loops:BadAtSignals")[0] == 0


def test_dropped_callbacks(run):
    ids = "test_locks.EventTests.test_wait", "test_locks.LockTests.test_acquire"
    status, report = run("--test", *ids, "--loop", "_faulty_loops:Dropping")
    assert (status, report["total"]["plain_passed"]) == (1, 2)
    assert report["failures"] == report["total"]["failed"] > 0
    assert report["total"]["applicable"] == report["total"]["tests"]


def test_crash_hang_failure_and_flaky_test(run, tmp_path, monkeypatch, capsys):
    seconds = 0.0
    logs = tmp_path / "logs" / _environment.as_it_is().version

    def monotonic():
        """Let much time pass at each look while the test that hangs runs."""
        nonlocal seconds
        report = logs / "test_threads-ours" / "report.jsonl"
        last = report.read_text().splitlines()[-1:] if report.exists() else []
        if last and '"begin"' in last[0] and "test_to_thread_contextvars" in last[0]:
            seconds += 1500
        return seconds

    monkeypatch.setattr(_session, "time", types.SimpleNamespace(monotonic=monotonic))
    status, report = run(
        *("test_threads", "--loop", "_faulty_loops:Faulty"),
        *("--jobs", "1", "--limit", "1000"),
    )
    assert status == 1
    assert outcomes(report) == {
        "test_to_thread": "crashed",
        "test_to_thread_args_kwargs": "passed",
        "test_to_thread_concurrent": "error",
        "test_to_thread_contextvars": "hung",
        "test_to_thread_exception": "passed",
        "test_to_thread_once": "flaky",
    }
    assert {*outcomes(report, "plain").values()} == {"passed"}
    total = report["total"]
    counted = {
        name: total[name] for name in ("tests", "applicable", "passed", "failed")
    }
    assert counted == {"tests": 6, "applicable": 6, "passed": 2, "failed": 3}
    assert (total["flaky"], total["failures"]) == (1, 4)
    details = {name: found["detail"] for name, found in report["ours"]["tests"].items()}
    assert "died of SIGABRT" in details[f"{CLASS}.test_to_thread"]
    assert "nothing ended in 1000 s" in details[f"{CLASS}.test_to_thread_contextvars"]
    assert "_faulty_loops.py" in details[f"{CLASS}.test_to_thread_contextvars"]
    assert "this loop is faulty" in details[f"{CLASS}.test_to_thread_once"]
    alone = report["ours"]["tests"][f"{CLASS}.test_to_thread_concurrent"]["extra"]
    assert (alone["first"], alone["alone"]) == ("error", "error")
    assert "4 failures beyond the list" in capsys.readouterr().out


def test_loop_that_cannot_be_made(run):
    status, report = run("test_threads", "--loop", "_faulty_loops:NoSuchLoop")
    assert (status, report["failures"], len(report["problems"])) == (1, 1, 1)


def test_module_and_test_that_are_not_there(run):
    status, report = run("test_nothing", "--test", f"{CLASS}.test_nothing")
    assert status == 1
    assert report["problems"] == [
        f"there is no test {CLASS}.test_nothing",
        "there is no module test_nothing",
    ]


def test_pattern_that_no_test_matches(run):
    status, report = run("test_threads", "-k", "nothing_like_it")
    assert (status, report["problems"]) == (1, ["there is no such test"])


def test_pattern(run):
    status, report = run("test_threads", "-k", "_once", "-k", "*.test_to_thread")
    assert (status, [*outcomes(report)]) == (
        0,
        ["test_to_thread", "test_to_thread_once"],
    )


def test_termination_ends_all_processes(run, monkeypatch):
    watch, started = _session._watch, []

    def watch_and_terminate(process, *limits):
        started.append(process)
        os.kill(os.getpid(), signal.SIGTERM)
        return watch(process, *limits)

    monkeypatch.setattr(_session, "_watch", watch_and_terminate)
    test_id = f"{CLASS}.test_to_thread_contextvars"
    with pytest.raises(SystemExit) as raised:
        run("--loop", "_faulty_loops:Faulty", "--test", test_id, "--jobs", "1")
    assert raised.value.code == 128 + signal.SIGTERM
    assert [process.returncode for process in started] == [-signal.SIGKILL]


# The list


@pytest.fixture
def expected(tmp_path):
    def write(*ids):
        path = tmp_path / "expected.toml"
        text = [f'[[expected]]\nid = "{name}"\nreason = "why"\n' for name in ids]
        path.write_text("".join(text))
        return "--expected", str(path)

    return write


def test_listed_failure(run, expected):
    arguments = "--loop", "_faulty_loops:BadAtSignals", "--test", UNKNOWN_SIGNAL
    assert run(*arguments)[0] == 1
    status, report = run(*arguments, *expected(UNKNOWN_SIGNAL))
    assert (status, verdicts(report)) == (0, {UNKNOWN_SIGNAL: "on the list"})


def test_listed_test_that_passes(run, expected):
    ids = CANCELLED_HANDLER, UNKNOWN_SIGNAL
    status, report = run("--test", *ids, *expected(CANCELLED_HANDLER))
    assert (status, verdicts(report)) == (1, {CANCELLED_HANDLER: "STALE ENTRY"})


def test_only_private_details_may_be_listed(run, expected, capsys):
    with pytest.raises(SystemExit) as raised:
        run("test_threads", *expected(f"{CLASS}.test_to_thread"))
    assert raised.value.code == 2
    assert "may not be on the list" in capsys.readouterr().err


def test_our_list_holds_what_it_may():
    options = command._parser().parse_args([])
    assert command._load_expected(options) == []
    peer = command._parser().parse_args(["--loop", "uvloop:Loop"])
    assert command._load_expected(peer) == []


def compared(listed, modules, choice=()):
    """Return the verdicts where test_unix_events and test_threads passed."""
    chosen = runner.Choice(loop="x:y", logs=ROOT, modules=choice)
    entries = [load("_expected").Entry(name, "why") for name in listed]
    runs = runner.Runner(_environment.as_it_is(), chosen, entries, print)
    sides = [
        Session(collected=["a"], results={f"{module}.C.test": Result("passed")})
        for module in modules
    ]
    return {
        found.test_id: found.verdict.name
        for found in runs._compared(sides[0], sides[0], {*modules}).differences
    }


def test_listed_test_that_is_gone():
    assert compared([UNKNOWN_SIGNAL], ["test_unix_events"]) == {UNKNOWN_SIGNAL: "STALE"}
    # Nor is the module there any more; but not if it was left out.
    assert compared([UNKNOWN_SIGNAL], ["test_x"]) == {UNKNOWN_SIGNAL: "STALE"}
    assert compared([UNKNOWN_SIGNAL], ["test_x"], ("test_x",)) == {}


# What is counted


def test_test_that_never_runs_the_loop():
    """A test may pass because it never came to what it tests."""
    extra = {"made": 1, "ran": 2}
    results = {name: Result("passed", extra=extra) for name in "abcd"}
    plain = Session(results=results)
    ours = Session(
        results={
            "a": Result("passed", extra={"made": 1, "ran": 1}),
            "b": Result("passed", extra={"made": 1, "ran": 0}),
            "c": Result("passed", extra={"made": 0, "ran": 0}),
            "d": Result("skipped"),
        }
    )
    runner._demand_loops(plain, ours)
    found = {name: result.outcome for name, result in ours.results.items()}
    assert found == {"a": "passed", "b": "failed", "c": "failed", "d": "skipped"}


class _Tests:
    """Not collected from here."""

    class Outcomes(unittest.TestCase):
        def test_pass(self):
            LOOPS.made += 1
            LOOPS.ran += 2

        def test_fail(self):
            self.assertEqual(1, 2)

        def test_error(self):
            raise ValueError

        def test_skip(self):
            self.skipTest("not here")

        @unittest.expectedFailure
        def test_expected(self):
            self.assertEqual(1, 2)

        @unittest.expectedFailure
        def test_unexpected(self):
            pass

        def test_subtests(self):
            with self.subTest(1):
                raise ValueError
            with self.subTest(2):
                self.assertEqual(1, 2)

        def test_teardown(self):
            self.addCleanup(_raise, ValueError)

    @unittest.skip("none of it")
    class Skipped(unittest.TestCase):
        def test_one(self):
            raise ValueError

    class SetUp(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            raise ValueError

        def test_one(self):
            pass

        def test_two(self):
            pass

    class SkipsInSetUp(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            raise unittest.SkipTest

        def test_one(self):
            pass

    class TearDown(unittest.TestCase):
        @classmethod
        def tearDownClass(cls):
            raise ValueError

        def test_one(self):
            pass


def _raise(exception):
    raise exception


LOOPS = substitute.Loops()


def recorded(case):
    """Run the tests of a class; return {name: outcome} and the results."""
    events = []
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    ids = [recorder.short_id(test.id()) for test in suite]
    result = recorder.Recorder(
        lambda event, **facts: events.append((event, facts)), LOOPS, ids
    )
    suite.run(result)
    result.flush()
    ended = {facts["id"]: facts for event, facts in events if event == "result"}
    # The reader must be able to tell in which test a process ends.
    begun = [facts["id"] for event, facts in events if event == "begin"]
    assert {*begun} <= {*ended}
    return {name.rpartition(".")[2]: facts for name, facts in ended.items()}


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (
            _Tests.Outcomes,
            {
                "test_pass": "passed",
                "test_fail": "failed",
                "test_error": "error",
                "test_skip": "skipped",
                "test_expected": "xfailed",
                "test_unexpected": "xpassed",
                "test_subtests": "error",
                "test_teardown": "error",
            },
        ),
        (_Tests.Skipped, {"test_one": "skipped"}),
        (_Tests.SetUp, {"test_one": "error", "test_two": "error"}),
        (_Tests.SkipsInSetUp, {"test_one": "skipped"}),
        (_Tests.TearDown, {"test_one": "passed", "tearDownClass": "error"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_recorded_outcomes(case, expected):
    found = recorded(case)
    assert {name: facts["outcome"] for name, facts in found.items()} == expected


def test_recorded_facts():
    found = recorded(_Tests.Outcomes)
    assert found["test_pass"]["extra"] == {"made": 1, "ran": 2}
    assert found["test_fail"]["extra"] == {"made": 0, "ran": 0}
    assert found["test_fail"]["detail"].startswith("AssertionError: 1 != 2 (test_")
    assert found["test_skip"]["detail"] == "not here"


def test_loop_with_other_arguments_takes_a_selector():
    class Closed:
        closed = False

        def close(self):
            self.closed = True

    class Loop:
        def __init__(self, length=3):
            self.length = length

    loops, selector = substitute.Loops(), Closed()
    loop = substitute.counting(Loop, loops)(selector)
    assert (loop.length, selector.closed, loops.made) == (3, True, 1)
    assert isinstance(loop, Loop)
