"""The command line that all suites share, and what others take from it."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from . import _interpreters, _report
from ._expected import ListError
from ._session import STALL_LIMIT_S
from ._suite import Choice, Runner, Suite


def main(program: str, suites: dict[str, Suite]) -> int:
    """Run what the command line says; return 0 if nothing is beyond the list."""
    parser = _parser(program, suites)
    options = parser.parse_args()
    choice = Choice(
        keyword=options.k,
        ids=tuple(options.test),
        fast=options.fast,
        build=options.build,
        test_limit=options.limit,
    )
    heed_signals()
    suite = suites[options.suite]
    try:
        interpreters = chosen(options, suite.versions)
        runner = Runner(suite, choice, say=say)
    except (LookupError, ListError) as error:
        parser.error(str(error))
    comparisons = []
    for interpreter in interpreters:
        comparisons += runner.run(interpreter)
    _show(suite, comparisons, options.json)
    return int(any(comparison.failures for comparison in comparisons))


def heed_signals() -> None:
    """Let signals have the effect that the tests and who ends this process rely on.

    A shell lets a command in the background ignore SIGINT, and with it all that it
    starts; tests raise it. SIGTERM must end the session that runs, too.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def _parser(program: str, suites: dict[str, Suite]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Run another project's tests on plain trio and on our core.",
    )
    parser.add_argument("--suite", choices=suites, default=next(iter(suites)))
    add_options(parser)
    parser.add_argument("-k", default="", metavar="EXPR", help="as pytest's")
    return parser


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is the same for all suites, those that pytest does not run included."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--python", nargs="+", metavar="VERSION", help="such as 3.12; default: this one"
    )
    which.add_argument(
        "--all",
        action="store_true",
        help="every version there is that the suite runs on",
    )
    parser.add_argument(
        "--fast", action="store_true", help="only the suite's fast part"
    )
    parser.add_argument(
        "--test", nargs="+", default=[], metavar="ID", help="only these tests"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all of it here"
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=STALL_LIMIT_S,
        metavar="SECONDS",
        help="for each test",
    )
    parser.add_argument(
        "--no-build",
        dest="build",
        action="store_false",
        help="take the extension as it is",
    )


def chosen(
    options: argparse.Namespace, versions: tuple[str, ...]
) -> list[_interpreters.Interpreter]:
    """Return the interpreters that were asked for, of `versions` with --all.

    Raises:
      LookupError: one that was named is not here.
    """
    if not options.python and not options.all:
        return [_interpreters.running()]
    found = _interpreters.find()
    wanted = options.python or versions
    missing = [version for version in wanted if version not in found]
    if missing:
        text = f"no CPython {', '.join(missing)} here; there is {', '.join(found)}"
        if not options.all:
            raise LookupError(text)
        say(text)
    return [found[version] for version in wanted if version in found]


def say(text: str) -> None:
    """Tell how it goes on; what comes of it is printed elsewhere."""
    print(text, file=sys.stderr, flush=True)


def _show(
    suite: Suite, comparisons: list[_report.Comparison], path: Path | None
) -> None:
    _report.print_table(suite.name, comparisons, sys.stdout, suite.plain)
    for comparison in comparisons:
        _report.print_differences(comparison, sys.stdout)
    if suite.more is not None:
        suite.more(comparisons, sys.stdout)
    print(f"\n{_report.totals(comparisons)}")
    if path is not None:
        text = json.dumps(_report.as_json(suite.name, comparisons), indent=1)
        path.write_text(text + "\n", encoding="utf-8")
