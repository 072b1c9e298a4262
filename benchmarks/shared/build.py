"""Compiles the programs in C that take part."""

import os
import shlex
import subprocess
from pathlib import Path

from .machine import build_folder

FOLDER = Path(__file__).resolve().parents[1]
FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra"]


def program(name):
    """Return where the compiled `name`.c of the benchmarks' folder is, or will be."""
    return build_folder() / name


def _compiler():
    flags = [os.environ.get(name, "") for name in ("CPPFLAGS", "CFLAGS", "LDFLAGS")]
    return shlex.split(" ".join([os.environ.get("CC", "cc"), *flags]))


def compile_program(name, *libraries):
    """Compile `name`.c, if it is newer than its program.

    Returns: None, or in words why it cannot be compiled.
    """
    source, target = FOLDER / f"{name}.c", program(name)
    if target.exists() and target.stat().st_mtime > source.stat().st_mtime:
        return None
    # Another run may be executing the old one, or compile it as well.
    fresh = target.with_name(f"{name}.{os.getpid()}")
    command = [*_compiler(), *FLAGS, str(source), "-o", str(fresh)]
    try:
        result = subprocess.run(
            [*command, *(f"-l{library}" for library in libraries)],
            capture_output=True,
            text=True,
        )
    except FileNotFoundError as error:
        return f"there is no compiler {error.filename}"
    if result.returncode != 0:
        return result.stderr
    fresh.replace(target)
    return None
