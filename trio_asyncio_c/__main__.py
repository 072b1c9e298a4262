"""``python -m trio_asyncio_c``: run a program on this package's core."""

from __future__ import annotations

import os
import runpy
import sys

USAGE = """\
usage: python -m trio_asyncio_c --trio SCRIPT [ARGS...]
       python -m trio_asyncio_c --trio -m MODULE [ARGS...]

Runs a program that uses the trio package, with Trio's scheduler replaced by
the one in C, in the program and in the Python processes that it starts.\
"""


def _run_program(arguments: list[str]) -> None:
    """Run a script or a module as Python itself would."""
    if arguments[0] == "-m":
        module, sys.argv = arguments[1], arguments[1:]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        return
    sys.argv = arguments
    # Python puts the script's folder there; for -m it was the current one.
    sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
    runpy.run_path(arguments[0], run_name="__main__")


def main(arguments: list[str]) -> None:
    """Do what the command line says.

    Raises:
      SystemExit: with a usage message, if it cannot be understood.
    """
    if arguments in (["-h"], ["--help"]):
        print(USAGE)
        return
    program = arguments[1:]
    if arguments[:1] != ["--trio"] or not program or program == ["-m"]:
        sys.exit(USAGE)
    from . import install_trio

    install_trio(inherit=True)
    _run_program(program)


if __name__ == "__main__":
    main(sys.argv[1:])
