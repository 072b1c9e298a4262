"""python -m compat_tests.cpython"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from .. import _cli, _environment, _expected, _interpreters, _report
from .._paths import BUILD
from . import table
from .runner import Choice, Runner, module_of

OURS = "trio_asyncio_c:EventLoop"
GROUP = "compat-cpython"
EXPECTED = Path(__file__).resolve().parent / "expected.toml"
# Those that look at how the selector loop is made: its selector, its self-pipe, its
# turn and how it keeps signals. Nothing else may ever be on the list.
PRIVATE_DETAILS = (
    r"test_events\.\w+EventLoopTests\.test_(internal_fds|timeout_rounding)"
    r"|test_unix_events\.SelectorEventLoopSignalTests\.\w+"
    r"|test_unix_events\.SelectorEventLoopUnixSockSendfileTests\.\w+"
)
# Most of what is applicable, without those that take most of the time.
FAST = (
    "test_base_events",
    "test_buffered_proto",
    "test_context",
    "test_eager_task_factory",
    "test_events",
    "test_futures2",
    "test_graph",
    "test_locks",
    "test_queues",
    "test_runners",
    "test_sendfile",
    "test_server",
    "test_sock_lowlevel",
    "test_staggered",
    "test_streams",
    "test_threads",
    "test_timeouts",
    "test_unix_events",
    "test_waitfor",
)


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line says; return 0 if nothing is beyond the list."""
    parser = _parser()
    options = parser.parse_args(arguments)
    _cli.heed_signals()
    try:
        interpreters = _cli.chosen(options, _interpreters.SUPPORTED)
        expected = _load_expected(options)
    except (LookupError, _expected.ListError) as error:
        parser.error(str(error))
    comparisons = [_run(each, options, expected) for each in interpreters]
    for comparison in comparisons:
        table.print_table(options.loop, comparison, sys.stdout)
        _report.print_differences(comparison, sys.stdout)
    table.print_totals(comparisons, sys.stdout)
    print(f"\n{_report.totals(comparisons)}")
    if options.json is not None:
        made = table.as_json_with_modules(options.loop, comparisons)
        options.json.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return int(any(comparison.failures for comparison in comparisons))


def _run(
    interpreter: _interpreters.Interpreter,
    options: argparse.Namespace,
    expected: list[_expected.Entry],
) -> _report.Comparison:
    """Run the chosen tests on one interpreter, on both loops."""
    choice = Choice(
        loop=options.loop,
        logs=options.logs.resolve(),
        modules=_wanted_modules(options),
        patterns=tuple(options.k),
        ids=tuple(options.test),
        test_limit=options.limit,
        jobs=options.jobs,
    )
    try:
        environment = _environment_of(interpreter, options)
        runner = Runner(environment, choice, expected, _cli.say)
        found = runner.find()
    except subprocess.CalledProcessError as error:
        problem = f"there is nothing to run, or nothing to run it in: {error}"
        return _report.Comparison(interpreter.version, "all", [], [problem])
    _cli.say(f"{interpreter.version}: {found.loop}")
    wanted = choice.modules or found.modules
    comparison = runner.run([name for name in found.modules if name in wanted])
    comparison.problems.extend(
        f"there is no module {name}"
        for name in options.modules
        if name not in found.modules
    )
    return comparison


def _environment_of(
    interpreter: _interpreters.Interpreter, options: argparse.Namespace
) -> _environment.Environment:
    """Return this process's, where no interpreter was named: nothing is needed."""
    if not options.python and not options.all:
        return _environment.as_it_is()
    return _environment.prepare(interpreter, GROUP, build=options.build)


def _wanted_modules(options: argparse.Namespace) -> tuple[str, ...]:
    """Return the modules that were asked for; none means all."""
    named = [*options.modules, *map(module_of, options.test)]
    return tuple(named) or (FAST if options.fast else ())


def _load_expected(options: argparse.Namespace) -> list[_expected.Entry]:
    """Load the list, which is about our loop; with another there is none."""
    path = options.expected or (EXPECTED if options.loop == OURS else None)
    return [] if path is None else _expected.load(path, PRIVATE_DETAILS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m compat_tests.cpython",
        description="Run the interpreter's own tests of asyncio on another loop.",
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="test_tasks ...")
    _cli.add_options(parser)
    parser.add_argument(
        "-k",
        action="append",
        default=[],
        metavar="PATTERN",
        help="as unittest's: a part of the test's id, or with * all of it",
    )
    parser.add_argument(
        "--loop", default=OURS, metavar="MODULE:NAME", help="a class or a factory"
    )
    parser.add_argument(
        "--jobs", type=int, default=2, metavar="N", help="modules at a time"
    )
    parser.add_argument(
        "--logs",
        type=Path,
        default=BUILD / "cpython",
        metavar="FOLDER",
        help="for what the processes print; below the checkout",
    )
    parser.add_argument(
        "--expected", type=Path, metavar="FILE", help="another list of failures"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
