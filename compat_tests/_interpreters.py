"""The CPython interpreters of this machine, and how to run commands on each.

Of the supported versions: those on PATH and those of pyenv; and newer ones in a
chroot, where the tool that makes it stands beside the checkout.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ._paths import ROOT

SUPPORTED = ("3.11", "3.12", "3.13", "3.14", "3.15")
NEWER_PYTHON = ROOT.parent / "shared" / "tools" / "newer-python"
NEWER_PYTHON_ROOT = "/srv/newer-python"
NEWER_VERSIONS = ("3.14", "3.15")
_QUESTION = """
import sys
print(sys.implementation.name, "%d.%d" % sys.version_info[:2], sys.executable)
"""


@dataclass(frozen=True)
class Interpreter:
    """One version of CPython.

    `prefix` is the command that enters the chroot it is in; what follows it runs
    in the checkout's root, seen there at the same path as outside.
    """

    version: str
    executable: str
    prefix: tuple[str, ...] = ()

    def command(
        self, arguments: list[str], folder: Path = ROOT
    ) -> tuple[list[str], Path]:
        """Return the command that runs `arguments` in `folder`, and where to run it."""
        if not self.prefix:
            return arguments, folder
        return [*self.prefix, "env", "-C", str(folder), *arguments], ROOT


def running() -> Interpreter:
    """Return the interpreter that this is."""
    return Interpreter("{}.{}".format(*sys.version_info[:2]), sys.executable)


def find() -> dict[str, Interpreter]:
    """Return all there are, by version, the oldest first."""
    found = {
        interpreter.version: interpreter
        for interpreter in (*_newer(), *reversed([*_on_this_machine()]))
    }
    return {version: found[version] for version in SUPPORTED if version in found}


def _on_this_machine() -> Iterator[Interpreter]:
    """Give those that run as they are; the first of a version is the one to use."""
    for candidate in _candidates():
        interpreter = _ask(candidate)
        if interpreter is not None:
            yield interpreter


def _candidates() -> Iterator[str]:
    yield "python3"
    for folder in os.get_exec_path():
        yield from sorted(
            str(path)
            for path in Path(folder).glob("python3.*")
            if re.fullmatch(r"python3\.\d+", path.name)
        )
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(map(str, pyenv.glob("versions/*/bin/python3.[0-9][0-9]")))


def _ask(candidate: str) -> Interpreter | None:
    try:
        done = subprocess.run(
            [candidate, "-c", _QUESTION],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    name, version, executable = done.stdout.strip().split(" ", 2)
    if name != "cpython" or version not in SUPPORTED:
        return None
    return Interpreter(version, executable)


def _newer() -> Iterator[Interpreter]:
    """Give those of the chroot, which only root can enter."""
    if not os.access(NEWER_PYTHON, os.X_OK) or os.geteuid() != 0:
        return
    _drop_stale_mount()
    for version in NEWER_VERSIONS:
        yield Interpreter(version, "python", (str(NEWER_PYTHON), "run", version))


def _drop_stale_mount() -> None:
    """Let go of an earlier checkout at this path that the chroot still shows."""
    chroot = os.environ.get("NEWER_PYTHON_ROOT", NEWER_PYTHON_ROOT)
    seen = f"{chroot}{ROOT}"
    if os.path.ismount(seen) and not os.path.samefile(seen, ROOT):
        subprocess.run(["umount", seen], check=True)
