"""python -m compat_tests.nest_asyncio_own: nest_asyncio's own tests on our loop.

They are in its sdist only, and never copied here. They run on asyncio's own loop and on
ours; what passes there must pass here. From CPython 3.14 on one fails on both: there
nest_asyncio's Tasks in Python are unknown to ``asyncio.timeout``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import unittest
import warnings

from . import _environment, _interpreters
from .trio.suites import unpacked_sdist

GROUP = "compat-nest-asyncio"
VERSION = "1.6.0"
LIMIT_S = 120


def main() -> int:
    """Run what the command line says; return 0 if nothing fails on ours only."""
    parser = argparse.ArgumentParser(prog="python -m compat_tests.nest_asyncio_own")
    parser.add_argument("--python", nargs="+", default=[], metavar="VERSION")
    parser.add_argument("--no-build", dest="build", action="store_false")
    options = parser.parse_args()
    found = _interpreters.find() if options.python else {}
    missing = [version for version in options.python if version not in found]
    if missing:
        parser.error(f"no CPython {', '.join(missing)} here")
    chosen = [found[v] for v in options.python] or [_interpreters.running()]
    return int(any([not compare(one, build=options.build) for one in chosen]))


def compare(interpreter: _interpreters.Interpreter, *, build: bool) -> bool:
    """Run the tests on both loops, say how they ended; was ours no worse?"""
    made = _environment.prepare(interpreter, GROUP, build=build)
    folder = unpacked_sdist(made, "nest_asyncio", VERSION)
    stock, ours = (_run(made, str(folder / "tests"), side) for side in SIDES)
    worse = [test for test, end in stock.items() if end == "ok" != ours.get(test)]
    passed = [sum(end == "ok" for end in side.values()) for side in (stock, ours)]
    print(f"{interpreter.version}: {len(stock)} tests; {passed[0]} pass on asyncio's")
    print(f"  loop, {passed[1]} on ours; on ours only fail: {worse or 'none'}")
    return bool(stock) and not worse


def _run(made: _environment.Environment, folder: str, side: str) -> dict[str, str]:
    command, cwd = made.interpreter.command(
        [made.python, "-P", "-m", __spec__.name, "--child", side, folder]
    )
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


# In the tested process

SIDES = ("asyncio", "ours")


class _Recorder(unittest.TextTestResult):
    def __init__(self, *arguments: object, **keywords: object) -> None:
        super().__init__(*arguments, **keywords)  # type: ignore[arg-type]
        self.ends: dict[str, str] = {}

    def stopTest(self, test: unittest.TestCase) -> None:
        bad = [failed for failed, _ in [*self.failures, *self.errors]]
        self.ends[test.id()] = "failed" if test in bad else "ok"
        super().stopTest(test)


def child(side: str, folder: str) -> None:
    """Run the tests in this process, and print a line of JSON."""
    warnings.simplefilter("ignore")
    if side == "ours":
        import trio_asyncio_c

        asyncio.set_event_loop_policy(trio_asyncio_c.EventLoopPolicy())
    made = asyncio.new_event_loop()
    assert type(made).__module__.startswith("trio_asyncio_c") is (side == "ours")
    made.close()
    sys.path.insert(0, folder)
    tests = unittest.defaultTestLoader.loadTestsFromName("nest_test")
    runner = unittest.TextTestRunner(resultclass=_Recorder, warnings="ignore")
    print(json.dumps(runner.run(tests).ends))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        sys.exit(main())
