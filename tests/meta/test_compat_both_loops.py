"""compat_tests/_both_loops.py lets nothing pass that fails on our loop only."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import types
import unittest

import pytest

from ._sources import ROOT
from .test_compat_harness import load

both = load("_both_loops")
_environment = load("_environment")
_interpreters = load("_interpreters")


# What is said of the ends


@pytest.mark.parametrize(
    ("stock", "ours", "worse"),
    [
        ("ok", "ok", []),
        ("ok", "AssertionError", ["a"]),
        ("ok", "skipped", ["a"]),
        ("ok", "logged 'words'", ["a"]),
        ("ok", None, ["a"]),  # it did not run
        ("AssertionError", "AssertionError", []),
        ("AssertionError", "ValueError", []),
        ("AssertionError", "ok", []),
        ("skipped", "ok", []),
        ("logged 'words'", "ValueError", []),
    ],
)
def test_what_is_worse(stock, ours, worse):
    ends = {} if ours is None else {"a": ours}
    assert both.differences({"a": stock}, ends, {}) == (worse, [])
    # On the list it is no failure; and if it is not worse, the list is.
    listed = both.differences({"a": stock}, ends, {"a": "reason"})
    assert listed == ([], [] if worse else ["a"])


def test_an_entry_for_a_test_that_is_not_there_is_stale():
    assert both.differences({}, {}, {"gone": "reason"}) == ([], ["gone"])


def test_all_are_named_in_order():
    ends = dict.fromkeys("cab", "ok")
    assert both.differences(ends, {}, {}) == (["a", "b", "c"], [])


# In the tested process


class Example(unittest.TestCase):
    def passes(self):
        pass

    def fails(self):
        self.fail("words")

    def errs(self):
        raise ValueError("words")

    def skips(self):
        self.skipTest("words")

    def logs(self):
        logging.getLogger("some.library").warning("words of %s", "warning")
        logging.getLogger("some.library").info("no words")

    def in_parts(self):
        for number in range(3):
            with self.subTest(number=number):
                if number == 1:
                    self.fail("words")


@pytest.fixture
def recorder():
    root = logging.getLogger()
    root.addHandler(both._Recorder.logged)
    yield both._Recorder
    root.removeHandler(both._Recorder.logged)
    both._Recorder.logged.messages.clear()


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("passes", "ok"),
        ("fails", "AssertionError: words"),
        ("errs", "ValueError: words"),
        ("skips", "skipped"),
        ("logs", "logged 'words of warning'"),
        ("in_parts", "AssertionError: words"),
    ],
)
def test_how_a_test_ended(recorder, name, end):
    tests = unittest.TestSuite([Example("logs"), Example(name), Example("passes")])
    with open(os.devnull, "w") as nowhere:
        runner = unittest.TextTestRunner(nowhere, resultclass=recorder)
        result = runner.run(tests)
    assert [*result.ends.values()][-1] == "ok"
    assert result.ends[Example(name).id()] == ("ok" if name == "passes" else end)


def test_one_of_many():
    wanted = Example("fails").id()
    inner = unittest.TestSuite([Example("passes"), Example("fails")])
    tests = unittest.TestSuite([Example("skips"), inner, unittest.TestSuite()])
    assert [test.id() for test in flatten(both._only(wanted, tests))] == [wanted]
    assert flatten(both._only("no.such.test", tests)) == []


def flatten(tests):
    return [
        inner
        for test in tests
        for inner in (flatten(test) if isinstance(test, unittest.TestSuite) else [test])
    ]


# As a whole, on tests that are made for it

TOY = """
    import asyncio, logging, sys, unittest
    from compat_tests import _both_loops
    before = []
    def find(where):
        assert where == "where they are"
        return unittest.defaultTestLoader.loadTestsFromTestCase(Toy)
    class Toy(unittest.TestCase):
        def setUp(self):
            self.loop = asyncio.new_event_loop()
            self.ours = type(self.loop).__module__.startswith("trio_asyncio_c")
        def tearDown(self):
            self.loop.close()
        def test_0_passes(self):
            before.append(self)
            self.loop.run_until_complete(asyncio.sleep(0))
        def test_fails(self):
            self.fail()
        TESTS
    PROJECT = _both_loops.Project(
        group="toy", module="toy_own", find=find, locate=lambda made: "where they are",
        set_up=lambda: None, limit_s=100, expected=EXPECTED)
    if __name__ == "__main__":
        sys.exit(_both_loops.run(PROJECT))
"""
WORSE = "def test_worse(self): assert not self.ours"
LOGS = "def test_logs(self): self.ours and logging.warning('words')"
SKIPS = "def test_skips(self): self.ours and self.skipTest('here')"
# On asyncio's loop it passes by the grace of another that has run before.
LEANS = "def test_leans(self): assert before and not self.ours"
BETTER = "def test_better(self): assert self.ours"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Make a project of toy tests; a function that compares it and says how that
    was."""

    def prepare(interpreter, group, *, build):
        assert (group, build) == ("toy", False)
        return types.SimpleNamespace(python=sys.executable, interpreter=interpreter)

    def compare(*tests, expected=None):
        source = textwrap.dedent(TOY).replace("TESTS", "\n    ".join(tests) or "pass")
        source = source.replace("EXPECTED", repr(expected or {}))
        (tmp_path / "toy_own.py").write_text(source)
        namespace = {"__name__": "toy_own"}
        exec(compile(source, "toy_own.py", "exec"), namespace)
        return both.run(namespace["PROJECT"])

    monkeypatch.setattr(_environment, "prepare", prepare)
    monkeypatch.setattr(sys, "argv", ["toy", "--no-build"])
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{tmp_path}")
    return compare


@pytest.mark.parametrize(
    ("tests", "name"), [([WORSE], "worse"), ([LOGS], "logs"), ([SKIPS], "skips")]
)
def test_what_fails_on_ours_only_fails(toy, capsys, tests, name):
    assert toy(*tests) == 1
    said = capsys.readouterr().out
    assert f"FAILURE on ours only: toy_own.Toy.test_{name}: " in said.replace(
        "__main__", "toy_own"
    )
    assert said.count("FAILURE") == 1


def test_what_fails_on_both_or_on_asyncios_does_not(toy, capsys):
    assert toy(BETTER, LEANS) == 0
    said = capsys.readouterr().out
    assert "4 tests; 2 pass on asyncio's" in said
    assert "loop, 2 on ours, of which they made 4." in said
    assert "fails on asyncio's loop as well, when alone: " in said
    assert "test_leans" in said
    assert "FAILURE" not in said


def test_the_list_is_held_to(toy, capsys):
    # The tested module is the process's main one.
    name = "__main__.Toy.test_worse"
    assert toy(WORSE, expected={name: "the reason"}) == 0
    assert f"on the list: {name}: the reason" in capsys.readouterr().out
    assert toy(expected={name: "the reason"}) == 1
    assert f"STALE ENTRY: {name}" in capsys.readouterr().out


def test_tests_that_make_no_loop_of_ours_show_nothing(toy, capsys):
    setting_up = "def setUp(self): pass", "def tearDown(self): pass"
    passing = "def test_0_passes(self): pass"
    assert toy(*setting_up, passing) == 1
    assert "of which they made 0." in capsys.readouterr().out


def test_a_process_that_dies_is_no_comparison(toy):
    with pytest.raises(subprocess.CalledProcessError):
        toy("def test_dies(self): import os; os._exit(3)")


def test_an_interpreter_that_is_not_there(toy, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["toy", "--python", "3.0"])
    monkeypatch.setattr(_interpreters, "find", dict)
    with pytest.raises(SystemExit):
        toy()
    assert "no CPython 3.0 here" in capsys.readouterr().err


@pytest.mark.parametrize("side", both.SIDES)
def test_the_sides_loops_are_what_they_say(side):
    """And what was to be ours is no more asyncio's than the other way round."""
    program = (
        "import asyncio, sys\n"
        "from compat_tests import _both_loops as both\n"
        f"count = both._use_ours() if {side!r} == 'ours' else lambda: 0\n"
        "loop = asyncio.new_event_loop()\n"
        "print(type(loop).__module__.partition('.')[0], count())\n"
        "loop.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
        timeout=100,
    )
    expected = ["trio_asyncio_c", "1"] if side == "ours" else ["asyncio", "0"]
    assert done.stdout.split() == expected
