"""What runs in the tested process: one module of test.test_asyncio, on one loop.

Or, without a module, it says which modules there are, having put the loop in place.
"""

from __future__ import annotations

import argparse
import faulthandler
import fnmatch
import functools
import importlib
import json
import platform
import signal
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from test import support, test_asyncio

from .._events import read_ids, write
from . import substitute
from .recorder import PREFIX, Recorder, short_id


def main(arguments: list[str]) -> int:
    """Do what the arguments say; return the status to end with."""
    options = _parser().parse_args(arguments)
    faulthandler.enable()
    # A command in the background is started with it ignored, and tests raise it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    support.verbose = 0
    # None of the costly ones; None would be all of them.
    support.use_resources = {}
    loops = substitute.Loops()
    cls = substitute.substitute(options.loop, loops)
    name = f"{cls.__module__}.{cls.__qualname__}"
    if options.module is None:
        print(json.dumps({"loop": name, "modules": module_names()}))
        return 0
    substitute.spare_missing_executor(cls)
    report = functools.partial(write, options.report)
    ours = substitute.is_ours(cls)
    report("start", python=platform.python_version(), loop=name, ours=ours)
    _run(options, report, loops)
    report("finish", status=0)
    return 0


def module_names() -> list[str]:
    """Return the modules of tests that this interpreter has."""
    [folder] = test_asyncio.__path__
    return sorted(path.stem for path in Path(folder).glob("test_*.py"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", required=True)
    parser.add_argument("--module")
    parser.add_argument("--report")
    parser.add_argument("--done")
    parser.add_argument("--only")
    parser.add_argument("-k", action="append", default=[])
    return parser


def _run(
    options: argparse.Namespace, report: Callable[..., None], loops: substitute.Loops
) -> None:
    """Run those of the module's tests that are wanted and not done."""
    try:
        module = importlib.import_module(PREFIX + options.module)
    except unittest.SkipTest as skipped:
        report("collected", ids=[options.module])
        report("module", id=options.module, outcome="skipped", detail=str(skipped))
        return
    loaded = unittest.defaultTestLoader.loadTestsFromModule(module)
    tests = {short_id(test.id()): test for test in _flat(loaded)}
    wanted = _wanted([*tests], options)
    report("collected", ids=wanted)
    done = read_ids(options.done)
    left = [name for name in wanted if name not in done]
    recorder = Recorder(report, loops, left)
    unittest.TestSuite(tests[name] for name in left).run(recorder)
    recorder.flush()


def _flat(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _flat(test)
        else:
            yield test


def _wanted(names: list[str], options: argparse.Namespace) -> list[str]:
    """Leave out what was not asked for."""
    only = set(names) if options.only is None else read_ids(options.only)
    patterns = options.k or ["*"]
    return [
        name
        for name in names
        if name in only and any(_matches(name, pattern) for pattern in patterns)
    ]


def _matches(name: str, pattern: str) -> bool:
    """Whether the pattern is a part of the name, or, with a star in it, all of it."""
    return fnmatch.fnmatchcase(name, pattern if "*" in pattern else f"*{pattern}*")
