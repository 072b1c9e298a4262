"""python -m compat_tests.trio_libraries: these tests, on our core."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from .. import _environment, _interpreters
from .._cli import heed_signals
from .._paths import ROOT
from .._suite import SWAP_PLUGIN
from ._inner import environment

GROUP = "compat-libraries"
HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run what the command line says; return 0 if pytest ended well everywhere."""
    parser = _parser()
    options, pytest_arguments = parser.parse_known_args()
    heed_signals()
    found = _interpreters.find() if options.python else {}
    missing = [version for version in options.python if version not in found]
    if missing:
        parser.error(f"no CPython {', '.join(missing)} here")
    chosen = [found[v] for v in options.python] or [_interpreters.running()]
    ended = [run(interpreter, options, pytest_arguments) for interpreter in chosen]
    return int(any(ended))


def run(
    interpreter: _interpreters.Interpreter,
    options: argparse.Namespace,
    pytest_arguments: list[str],
) -> int:
    """Run the tests on one interpreter, in an environment made for them."""
    made = _environment.prepare(interpreter, GROUP, build=options.build)
    # -P: the root must not get on the path; and no file of a cache is left in it.
    arguments = [made.python, "-P", "-m", "pytest", "-p", "no:cacheprovider"]
    if not options.plain:
        arguments += ["-p", SWAP_PLUGIN]
    arguments += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    command, folder = interpreter.command([*arguments, *pytest_arguments, str(HERE)])
    return subprocess.run(
        command, cwd=folder, env=environment(), check=False
    ).returncode


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m compat_tests.trio_libraries",
        description="Let libraries made for trio work on our core.",
        epilog="Other arguments are pytest's.",
    )
    parser.add_argument("--plain", action="store_true", help="on trio's own core")
    parser.add_argument(
        "--python",
        nargs="+",
        default=[],
        metavar="VERSION",
        help="such as 3.12; default: this one",
    )
    parser.add_argument(
        "--no-build",
        dest="build",
        action="store_false",
        help="take the extension as it is",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
