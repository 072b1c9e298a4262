"""The harness of compat_tests lets nothing pass that it should not."""

from __future__ import annotations

import importlib
import importlib.util
import io
import itertools
import re
import signal
import subprocess
import sys
import textwrap
import types

import pytest

from ._sources import ROOT


def load(name: str) -> types.ModuleType:
    """Import a module of compat_tests; the checkout's root is not on the path."""
    if "compat_tests" not in sys.modules:
        folder = ROOT / "compat_tests"
        spec = importlib.util.spec_from_file_location(
            "compat_tests",
            folder / "__init__.py",
            submodule_search_locations=[str(folder)],
        )
        sys.modules["compat_tests"] = package = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(package)
    return importlib.import_module(f"compat_tests.{name}")


_cli = load("_cli")
_compare = load("_compare")
_environment = load("_environment")
_expected = load("_expected")
_interpreters = load("_interpreters")
_report = load("_report")
_session = load("_session")
_suite = load("_suite")
suites = load("trio.suites")
drop_in = load("trio_asyncio.suites")
Result, Session, Verdict = _session.Result, _session.Session, _compare.Verdict

NAME = "trio/_tests/test_exports.py::test_static_tool_sees_class_members[mypy-trio]"
RUN_PYTEST = "import sys; sys.path.append({!r}); import pytest; sys.exit(pytest.main())"


def session(**outcomes: str) -> Session:
    results = {name: Result(outcome, "why") for name, outcome in outcomes.items()}
    return Session(collected=[*results, "another"], results=results)


def compare(plain, ours, expected=(), *, whole=True, all_run=True):
    """Return {id: verdict} of what the comparison has to say."""
    found = _compare.compare(
        session(**plain),
        session(**ours),
        dict.fromkeys(expected, "reason"),
        whole=whole,
        all_run=all_run,
    )
    return {difference.test_id: difference.verdict for difference in found}


# Comparison


@pytest.mark.parametrize("outcome", ["passed", "skipped", "xfailed", "missing"])
def test_nothing_is_said_of_equal_outcomes(outcome):
    assert _compare.judge(outcome, outcome) == Verdict.SAME


@pytest.mark.parametrize(
    "ours",
    [
        "failed",
        "error",
        "crashed",
        "hung",
        "flaky",
        "skipped",
        "xfailed",
        "xpassed",
        "missing",
    ],
)
def test_what_passes_on_plain_must_pass_on_ours(ours):
    assert _compare.judge("passed", ours) == Verdict.FAILURE


@pytest.mark.parametrize(
    ("plain", "ours", "verdict"),
    [
        ("failed", "failed", Verdict.FAILS_ON_BOTH),
        ("failed", "error", Verdict.FAILS_ON_BOTH),
        ("failed", "passed", Verdict.FIXED),
        ("failed", "crashed", Verdict.FAILURE),
        ("failed", "hung", Verdict.FAILURE),
        ("failed", "flaky", Verdict.FAILS_ON_BOTH),
        ("flaky", "flaky", Verdict.FAILS_ON_BOTH),
        ("flaky", "passed", Verdict.FIXED),
        ("flaky", "failed", Verdict.FAILURE),
        ("failed", "skipped", Verdict.FAILURE),
        ("failed", "missing", Verdict.FAILURE),
        ("crashed", "crashed", Verdict.FAILS_ON_BOTH),
        ("crashed", "failed", Verdict.FAILS_ON_BOTH),
        ("xfailed", "xpassed", Verdict.FIXED),
        ("xfailed", "passed", Verdict.FIXED),
        ("xfailed", "failed", Verdict.FAILURE),
        ("xfailed", "skipped", Verdict.FAILURE),
        ("xpassed", "passed", Verdict.FIXED),
        ("xpassed", "xfailed", Verdict.FAILURE),
        ("xpassed", "failed", Verdict.FAILURE),
        ("skipped", "passed", Verdict.ONLY_HERE),
        ("skipped", "failed", Verdict.FAILURE),
        ("skipped", "missing", Verdict.FAILURE),
        ("missing", "passed", Verdict.ONLY_HERE),
        ("missing", "error", Verdict.FAILURE),
    ],
)
def test_judge(plain, ours, verdict):
    assert _compare.judge(plain, ours) == verdict


def test_only_these_verdicts_count():
    assert [verdict for verdict in Verdict if verdict.counts] == [
        Verdict.FAILURE,
        Verdict.STALE,
    ]


@pytest.mark.parametrize("ours", ["failed", "error"])
def test_listed_test_may_fail(ours):
    assert compare({"a": "passed"}, {"a": ours}, ["a"]) == {"a": Verdict.LISTED}


@pytest.mark.parametrize("ours", ["crashed", "hung", "flaky", "skipped", "missing"])
def test_list_excuses_failures_only(ours):
    sides = {"a": "passed"}, {"a": ours} if ours != "missing" else {}
    assert compare(*sides, ["a"])["a"].counts


@pytest.mark.parametrize("ours", ["passed", "xfailed"])
def test_listed_test_must_fail(ours):
    assert compare({"a": ours}, {"a": ours}, ["a"]) == {"a": Verdict.STALE}


def test_listed_test_that_is_skipped():
    sides = {"a": "skipped"}, {"a": "skipped"}
    assert compare(*sides, ["a"]) == {"a": Verdict.STALE}
    assert compare(*sides, ["a"], all_run=False) == {}
    assert compare(*sides, ["a"], whole=False) == {}


def test_listed_test_must_be_collected():
    assert compare({}, {}, ["a"]) == {"a": Verdict.STALE}
    assert compare({}, {}, ["a"], whole=False) == {}


@pytest.mark.parametrize("outcome", ["failed", "skipped", "missing"])
def test_listed_module_excuses_only_what_is_missing(outcome):
    plain = {"m.py::a": "passed", "m.py::b": "passed"}
    ours = {"m.py": "error", "m.py::a": outcome}
    if outcome == "missing":
        del ours["m.py::a"]
    found = compare(plain, ours, ["m.py"])
    listed = Verdict.LISTED
    expected = listed if outcome == "missing" else Verdict.FAILURE
    assert found == {"m.py": listed, "m.py::a": expected, "m.py::b": listed}
    assert compare(plain, ours, ["m.py"], whole=False) == found


def test_listed_module_that_can_be_collected():
    found = compare({"m.py::a": "passed"}, {"m.py::a": "passed"}, ["m.py"])
    assert found == {"m.py": Verdict.STALE}
    found = compare({"m.py::a": "passed"}, {}, ["m.py"])
    assert found == {"m.py::a": Verdict.FAILURE, "m.py": Verdict.STALE}


def test_both_sides_must_test_what_they_are_said_to():
    def named(name):
        return Session(facts={"subject": name}, collected=["a"])

    wanted = "theirs", "ours"
    right = [named(name) for name in wanted]
    assert _compare.wrong_subject(*right, wanted) == []
    assert len(_compare.wrong_subject(*reversed(right), wanted)) == 2
    assert len(_compare.wrong_subject(named("theirs"), named("theirs"), wanted)) == 1
    assert len(_compare.wrong_subject(right[0], Session(collected=["a"]), wanted)) == 1
    assert _compare.wrong_subject(Session(), Session(), wanted) == []


def side(*, ours=False, **facts):
    facts = {"swapped": ours, "child_swapped": ours, **facts}
    return Session(facts=facts, collected=["a"])


def test_both_sides_must_be_what_they_are_called():
    assert _compare.wrong_trio(side(), side(ours=True)) == []
    assert len(_compare.wrong_trio(side(ours=True), side())) == 4
    half = side(ours=True, child_swapped=False)
    assert len(_compare.wrong_trio(side(), half)) == 1
    unknown = Session(collected=["a"])
    assert len(_compare.wrong_trio(unknown, unknown)) == 4


def test_side_without_tests_is_one_problem():
    one = session(a="passed")
    for sides in ((one, Session()), (Session(), one)):
        assert _compare.compare(*sides, {}, whole=True, all_run=True) == []
    empty = Session(problems=["no test was collected"])
    assert len(_compare.problems(one, empty)) == 1
    assert len(_compare.problems(empty, one)) == 1
    assert _compare.wrong_trio(side(), empty) == []


def test_tests_that_were_asked_for_must_be_there():
    found = _compare.problems(side(), side(ours=True), wanted=("a", "b"))
    assert found == ["there is no test b"]


# The list of expected failures


def load_list(tmp_path, text):
    path = tmp_path / "expected.toml"
    path.write_text(textwrap.dedent(text))
    return _expected.load(path, suites.STATIC_TYPING)


def test_list(tmp_path):
    entries = load_list(
        tmp_path,
        f"""
        [[expected]]
        id = "{NAME}"
        reason = "mypy reads the sources"
        python = ["3.14"]
        """,
    )
    assert _expected.for_python(entries, "3.14") == {NAME: "mypy reads the sources"}
    assert _expected.for_python(entries, "3.13") == {}
    assert _expected.for_python(entries, "3.14", "trio/.*") != {}
    assert _expected.for_python(entries, "3.14", "tests/.*") == {}


@pytest.mark.parametrize(
    "entry",
    [
        'reason = "it has no id"',
        f'id = "{NAME}"',
        f'id = "{NAME}"\nreason = " "',
        f'id = "{NAME}"\nreason = "x"\npython = []',
        f'id = "{NAME}"\nreason = "x"\npython = ["all"]',
        f'id = "{NAME}"\nreason = "x"\nskip = true',
        'id = "trio/_core/_tests/test_run.py::test_basic"\nreason = "x"',
        f'id = "{NAME}"\nreason = "x"\n[[expected]]\nid = "{NAME}"\nreason = "x"',
    ],
)
def test_list_with_an_error(tmp_path, entry):
    with pytest.raises(_expected.ListError):
        load_list(tmp_path, f"[[expected]]\n{entry}")


@pytest.mark.parametrize(
    "suite",
    [*suites.SUITES.values(), *drop_in.SUITES.values()],
    ids=lambda suite: suite.name,
)
def test_the_lists_of_the_suites(suite):
    entries = suite.load_expected()
    for entry in entries:
        parts = [part for part in suite.parts if re.fullmatch(part.ids, entry.id)]
        assert parts, entry.id


# Sessions


@pytest.fixture
def files(tmp_path):
    found = _session.Files(tmp_path / "session")
    found.clear()
    return found


def run_pytest(files, **modules):
    """Run modules of tests as the harness runs a suite."""
    tests = files.folder / "tests"
    tests.mkdir()
    for name, text in modules.items():
        (tests / f"{name}.py").write_text(textwrap.dedent(text))
    (tests / "pytest.ini").write_text("[pytest]\nxfail_strict = true\n")
    arguments = [
        *(sys.executable, "-c", RUN_PYTEST.format(str(ROOT))),
        *("-c", str(tests / "pytest.ini"), "--rootdir", str(tests)),
        *("-p", "compat_tests._report_plugin", "-p", "no:cacheprovider"),
        *("--compat-report", str(files.report), "--compat-done", str(files.done)),
        *("--continue-on-collection-errors", str(tests)),
    ]
    return _session.run((arguments, files.cwd), files)


def outcomes(session):
    return {name: result.outcome for name, result in session.results.items()}


def test_outcomes(files):
    ran = run_pytest(
        files,
        test_broken="import there_is_no_such_module",
        test_skipped="""
            import pytest
            pytest.skip("all of it", allow_module_level=True)
        """,
        test_tests="""
            import unittest
            import pytest

            def test_pass(): pass
            def test_fail(): assert 1 == 2
            def test_skip(): pytest.skip("not here")
            @pytest.fixture
            def broken(): raise ValueError
            def test_error(broken): pass
            @pytest.fixture
            def breaks():
                yield
                raise ValueError
            def test_teardown(breaks): pass
            @pytest.mark.xfail
            def test_xfail(): assert False
            @pytest.mark.xfail
            def test_xpass(): pass
            @pytest.mark.xfail(strict=False)
            def test_loose_xpass(): pass

            class TestSubtests(unittest.TestCase):
                def test_some(self):
                    with self.subTest(1):
                        assert False
                    with self.subTest(2):
                        pass
        """,
    )
    assert ran.problems == []
    assert outcomes(ran) == {
        "test_broken.py": "error",
        "test_skipped.py": "skipped",
        "test_tests.py::test_pass": "passed",
        "test_tests.py::test_fail": "failed",
        "test_tests.py::test_skip": "skipped",
        "test_tests.py::test_error": "error",
        "test_tests.py::test_teardown": "error",
        "test_tests.py::test_xfail": "xfailed",
        "test_tests.py::test_xpass": "xpassed",
        "test_tests.py::test_loose_xpass": "xpassed",
        "test_tests.py::TestSubtests::test_some": "failed",
    }
    assert "assert 1 == 2" in ran.results["test_tests.py::test_fail"].detail
    assert ran.results["test_tests.py::test_skip"].detail == "Skipped: not here"


def test_crash_costs_one_test(files):
    ran = run_pytest(
        files,
        test_crashing="""
            import os
            def test_before(): pass
            def test_crash(): os.kill(os.getpid(), 9)
            def test_exit(): os._exit(3)
            def test_interrupt(): raise KeyboardInterrupt
            def test_after(): pass
        """,
    )
    assert ran.problems == []
    assert [*outcomes(ran).values()] == ["passed", *["crashed"] * 3, "passed"]
    details = [result.detail for result in ran.results.values()]
    assert details[1].startswith("the process died of SIGKILL")
    assert details[2].startswith("the process ended with status 3")
    assert details[3].startswith("the process ended with status 2")


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("import os; os._exit(3)", "ended with status 3, before the first test"),
        ("", "no test was collected"),
        (
            """
            import atexit, os
            def test_pass(): atexit.register(os.abort)
            """,
            "after all tests, the process died of SIGABRT",
        ),
    ],
)
def test_crash_outside_of_tests(files, module, words):
    ran = run_pytest(files, test_module=module)
    assert any(words in problem for problem in ran.problems), ran


FAKE_PYTEST = """
import json, signal, sys
report, done = sys.argv[1:]
# Whatever started this process, SIGABRT must end it.
signal.signal(signal.SIGABRT, signal.SIG_DFL)

def write(**event):
    with open(report, "a") as file:
        print(json.dumps(event), file=file)

def result(name):
    write(event="begin", id=name)
    write(event="result", id=name, outcome="passed", detail="", seconds=0)

write(event="collected", ids=["a", "b", "c"])
if not open(done).read():
    result("a")
    write(event="begin", id="b")
    signal.pause()
result("c")
write(event="finish", status=0)
"""


@pytest.mark.parametrize("limit", ["stall_limit", "process_limit"])
def test_hang_costs_one_test(files, monkeypatch, limit):
    seconds = 0.0

    def monotonic():
        """Let a million seconds pass at each look once the second test has begun."""
        nonlocal seconds
        if files.report.exists() and '"id": "b"' in files.report.read_text():
            seconds += 1e6
        return seconds

    monkeypatch.setattr(_session, "time", types.SimpleNamespace(monotonic=monotonic))
    limits = {"stall_limit": 1e9, "process_limit": 1e9, limit: 1e5}
    arguments = [sys.executable, "-c", FAKE_PYTEST, str(files.report), str(files.done)]
    ran = _session.run((arguments, files.cwd), files, **limits)
    assert outcomes(ran) == {"a": "passed", "b": "hung", "c": "passed"}
    assert ran.results["b"].detail.startswith("the process was stopped")
    assert ran.problems == []


def test_crashes_without_end(files, monkeypatch):
    monkeypatch.setattr(_session, "MAX_PROCESSES", 2)
    ran = run_pytest(
        files,
        test_crashing="""
            import os, pytest
            @pytest.mark.parametrize("number", range(5))
            def test_crash(number): os._exit(3)
        """,
    )
    assert [*outcomes(ran).values()] == ["crashed"] * 2
    assert ran.problems == ["gave up after 2 processes"]


def test_variables_that_would_change_the_run(files, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    monkeypatch.setenv("TRIO_ASYNCIO_C_TRIO", "1")
    ran = run_pytest(
        files,
        test_clean="""
            import os
            def test_variables(): assert "TRIO_ASYNCIO_C_TRIO" not in os.environ
        """,
    )
    assert (ran.problems, [*outcomes(ran).values()]) == ([], ["passed"])


@pytest.fixture
def restored_signals():
    before = [
        (name, signal.getsignal(name)) for name in (signal.SIGINT, signal.SIGTERM)
    ]
    yield
    for name, handler in before:
        signal.signal(name, handler)


def test_interrupts_work_in_the_background(files, restored_signals):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _cli.heed_signals()
    ran = run_pytest(
        files,
        test_signals="""
            import signal
            def test_handler():
                handler = signal.getsignal(signal.SIGINT)
                assert handler is signal.default_int_handler
        """,
    )
    assert (ran.problems, [*outcomes(ran).values()]) == ([], ["passed"])


def test_termination_ends_the_session(files, monkeypatch, restored_signals):
    _cli.heed_signals()
    started = []

    def watch(process, *limits):
        started.append(process)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(_session, "_watch", watch)
    with pytest.raises(SystemExit):
        run_pytest(files, test_hanging="def test_hang(): import signal; signal.pause()")
    assert started[0].returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("side", "swap"), [("plain", []), ("ours", ["trio_asyncio_c.pytest_trio"])]
)
def test_swap_comes_before_what_imports_trio(files, side, swap):
    suite = suites.SUITES["trio"]
    python = _interpreters.running()
    environment = _environment.Environment(python, python.executable, files.folder)
    runner = _suite.Runner(suite, _suite.Choice(keyword="x"), say=print)
    words = runner._arguments(
        environment, suite.locate(environment), suite.parts[1], side, files
    )
    plugins = [after for word, after in itertools.pairwise(words) if word == "-p"]
    assert plugins == [
        *suite.early_plugins,
        *swap,
        *suite.plugins,
        "compat_tests._report_plugin",
        "no:cacheprovider",
    ]
    assert {"--run-slow", "--compat-trio", "-k"} <= {*words}


@pytest.mark.parametrize(
    ("ids", "fast", "chosen"),
    [
        ((), False, {"a": (), "b": ()}),
        (("a::1",), False, {"a": ("a::1",)}),
        (("b::1",), False, {"b": ("b::1",)}),
        (("b::1", "a::1"), False, {"a": ("a::1",), "b": ("b::1",)}),
        (("c::1", "b::1"), False, {"a": ("c::1",), "b": ("c::1", "b::1")}),
        ((), True, {"a": ()}),
        (("b::1",), True, {"a": ("b::1",)}),
    ],
)
def test_single_tests_are_asked_of_the_parts_that_have_them(ids, fast, chosen):
    parts = _suite.Part("a", ids="a::.*"), _suite.Part("b", ids="b::.*")
    suite = _suite.Suite("suite", "group", locate=None, parts=parts)
    runner = _suite.Runner(suite, _suite.Choice(ids=ids, fast=fast), say=print)
    assert {part.name: runner._ids(part) for part in runner.parts()} == chosen


class Located(dict):
    """Stands in for an environment: nothing is fetched."""

    python = sys.executable
    version = "3.13"


@pytest.mark.parametrize("part", drop_in.SUITES["trio-asyncio"].parts)
@pytest.mark.parametrize("side", ["plain", "ours"])
def test_alias_is_on_our_side_only(files, side, part):
    suite = drop_in.SUITES["trio-asyncio"]
    runner = _suite.Runner(suite, _suite.Choice(), say=print)
    tests = _suite.Tests(files.folder, files.folder / "x.toml", ("tests",))
    words = runner._arguments(Located(), tests, part, side, files)
    plugins = [after for word, after in itertools.pairwise(words) if word == "-p"]
    theirs = ["compat_tests._report_plugin", "no:cacheprovider"]
    ours = ["trio_asyncio_c.pytest_trio", "compat_tests.trio_asyncio.alias", *part.ours]
    assert plugins == (ours if side == "ours" else []) + theirs
    assert words[words.index("--compat-subject") + 1] == "trio_asyncio"
    ignored = [word for word in words if word.startswith("--ignore")]
    assert ignored
    assert all(str(files.folder) in word for word in ignored)


def test_alias_stands_in_for_the_package_and_no_more():
    script = """
import sys
import compat_tests.trio_asyncio.alias
import trio_asyncio, trio_asyncio_c
assert trio_asyncio is trio_asyncio_c
from trio_asyncio._loop import TrioPolicy
try:
    import trio_asyncio._open_loop
except ModuleNotFoundError:
    pass
else:
    raise AssertionError
import asyncio
loop = asyncio.new_event_loop()
loop.close()
assert type(loop) is trio_asyncio_c.EventLoop
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_marks_of_cpythons_tests_go():
    script = """
from types import SimpleNamespace
import pytest
from compat_tests.trio_asyncio import CPYTHON, cpython

def marks(nodeid):
    names = "skip", "trio", "xfail"
    own = [getattr(pytest.mark, name).mark for name in names]
    cpython.pytest_collection_modifyitems([SimpleNamespace(nodeid=nodeid, own_markers=own)])
    return [mark.name for mark in own]

assert marks(CPYTHON + "3.13/test_asyncio/test_x.py::test_y") == ["trio"]
assert marks("tests/test_x.py::test_y") == ["skip", "trio", "xfail"]
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_tests_that_trio_asyncio_leaves_out():
    plain = session(
        **{
            "/Python-3.13/test_asyncio/x.py::a": "skipped",
            "/Python-3.13/test_asyncio/x.py::b": "xfailed",
            "/Python-3.13/test_asyncio/x.py::c": "skipped",
            "tests/x.py::d": "xfailed",
        }
    )
    plain.results[
        "/Python-3.13/test_asyncio/x.py::a"
    ].detail = "Skipped: unconditional skip"
    ours = session(**dict.fromkeys(plain.results, "passed"))
    made = comparison(plain=plain, ours=ours)
    file = io.StringIO()
    drop_in.print_left_out([made], file)
    rows = [line.split() for line in file.getvalue().splitlines()]
    assert rows[-2:] == [
        ["3.13", "x.py::a", "skipped", "passed"],
        ["3.13", "x.py::b", "xfailed", "passed"],
    ]
    assert drop_in.left_out(comparison()) == []


# The report


def comparison(**facts):
    facts = {"differences": [], "problems": [], **facts}
    return _report.Comparison("3.13", "default", **facts)


def difference(test_id, verdict=Verdict.FAILURE, ours="failed"):
    return _compare.Difference(test_id, verdict, "passed", ours, "why")


@pytest.mark.parametrize(
    ("facts", "failures"),
    [
        ({}, 0),
        ({"problems": ["x"]}, 1),
        ({"differences": [difference("a"), difference("b", Verdict.STALE)]}, 2),
        ({"differences": [difference("a", Verdict.LISTED)]}, 0),
        ({"differences": [difference("a", Verdict.FAILS_ON_BOTH)]}, 0),
    ],
)
def test_failures_of_a_comparison(facts, failures):
    made = comparison(**facts)
    assert made.failures == failures
    assert _report.as_json("suite", [made])["passed"] == (failures == 0)
    assert _report.totals([made]).startswith(f"{failures or 'no'} failures")


def test_printed_report():
    sides = session(a="passed", b="skipped"), session(a="failed", b="skipped")
    lost = [difference(f"m.py::{name}", ours="missing") for name in "cd"]
    made = comparison(
        plain=sides[0],
        ours=sides[1],
        differences=[
            difference("x", Verdict.LISTED),
            difference("b", Verdict.FIXED),
            difference("a"),
            *lost,
        ],
    )
    file = io.StringIO()
    _report.print_table("suite", [made], file)
    _report.print_differences(made, file)
    lines = file.getvalue().splitlines()
    rows = [line.split() for line in lines if line.startswith("3.13  ")]
    assert rows == [
        ["3.13", "default", "plain", "trio", "2", "1", "0", "1", "0", "0.0"],
        ["3.13", "default", "ours", "2", "0", "1", "1", "0", "0.0", "3"],
    ]
    said = [line.strip() for line in lines[lines.index("3.13 default:") + 1 :]]
    assert said == [
        "FAILURE: a: passed on plain, failed on ours",
        "why",
        "FAILURE: m.py: 2 tests were not collected, or not reached",
        "on the list: x: passed on plain, failed on ours",
        "why",
        "better than on plain: b: passed on plain, failed on ours",
    ]


# Interpreters


def test_running_interpreter_is_found():
    running = _interpreters.running()
    assert _interpreters._ask(running.executable).version == running.version
    assert _interpreters._ask("there-is-no-such-python") is None


def test_command_in_a_chroot(tmp_path):
    inside = _interpreters.Interpreter("3.14", "python", ("enter", "3.14"))
    command, folder = inside.command(["python", "-V"], tmp_path)
    assert command == ["enter", "3.14", "env", "-C", str(tmp_path), "python", "-V"]
    assert folder == ROOT
    outside = _interpreters.Interpreter("3.13", "python")
    assert outside.command(["python"], tmp_path) == (["python"], tmp_path)


def test_signal_names():
    assert _session._Ended(-signal.SIGSEGV, "").how() == "died of SIGSEGV"
