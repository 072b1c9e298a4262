"""The command line of ``python -m trio_asyncio_c``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from . import _run_as_main

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["main"]

USAGE = """\
usage: python -m trio_asyncio_c [--debug] SCRIPT [ARGS...]
       python -m trio_asyncio_c [--debug] -m MODULE [ARGS...]
       python -m trio_asyncio_c --trio SCRIPT [ARGS...]
       python -m trio_asyncio_c --trio -m MODULE [ARGS...]\
"""

HELP = """\
Runs an asyncio program with this package's event loop wherever it names no
other one; with --trio, a program that uses the trio package, with Trio's
scheduler replaced by the one in C. Both hold for the program and for the
Python processes that it starts.

  SCRIPT      a file, a folder or zip file with a __main__.py, or - for the
              standard input
  -m MODULE   a module or package, as Python's own -m
  -c COMMAND  statements, as Python's own -c
  --debug     asyncio's debug mode, for the program's processes as well
  --trio      see above
  -h, --help  show this and exit
  --          what follows is SCRIPT [ARGS...]\
"""


def _refuse(message: str) -> NoReturn:
    print(f"{USAGE}\npython -m trio_asyncio_c: {message}", file=sys.stderr)
    sys.exit(2)


def _set_debug() -> None:
    """Turn on debug mode as asyncio does, so that each loop and each process has it."""
    if sys.flags.ignore_environment:
        _refuse("--debug works by the environment, which -E and -I ignore")
    os.environ["PYTHONASYNCIODEBUG"] = "1"


def _split_options(arguments: list[str]) -> tuple[set[str], list[str]]:
    """Divide a command line into our own options and the program's part."""
    options: set[str] = set()
    for index, argument in enumerate(arguments):
        if argument in ("-h", "--help"):
            print(f"{USAGE}\n\n{HELP}")
            sys.exit()
        if argument not in ("--debug", "--trio"):
            return options, arguments[index:]
        options.add(argument)
    return options, []


def _find_program(words: list[str]) -> tuple[Callable[..., None], list[str]]:
    """Return what runs the program that a command line names, and its arguments."""
    if not words:
        _refuse("no program is given")
    option = words[0][:2]
    if option in ("-m", "-c"):
        run = _run_as_main.run_module if option == "-m" else _run_as_main.run_command
        if len(words[0]) > 2:  # -mMODULE
            return run, [words[0][2:], *words[1:]]
        if len(words) == 1:
            _refuse(f"argument expected for the {option} option")
        return run, words[1:]
    if words[0] == "-":
        return _run_as_main.run_stdin, words
    if words[0] == "--":
        words = words[1:]
        if not words:
            _refuse("no program is given after --")
    elif words[0].startswith("-"):
        _refuse(f"unknown option: {words[0]}")
    return _run_as_main.run_path, words


def main() -> None:
    """Do what the command line says.

    Raises:
      SystemExit: with status 2 and a usage message, if it cannot be understood;
        otherwise the program's.
    """
    options, words = _split_options(sys.argv[1:])
    run, words = _find_program(words)
    if "--trio" in options:
        if "--debug" in options:
            _refuse("--debug is asyncio's, and goes without --trio")
        from ._install import install_trio

        install_trio(inherit=True)
    else:
        if "--debug" in options:
            _set_debug()
        from ._policy import replace_defaults

        replace_defaults(inherit=True)
    _run_as_main.run_to_end(run, words)
