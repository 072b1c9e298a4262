"""The virtual environment that a suite runs in, one for each interpreter."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from ._interpreters import Interpreter, running
from ._paths import ROOT

_PURELIB = "import sysconfig; print(sysconfig.get_path('purelib'))"


@dataclass(frozen=True)
class Environment:
    """A virtual environment with a suite's requirements and this checkout in it."""

    interpreter: Interpreter
    python: str
    purelib: Path

    @property
    def version(self) -> str:
        return self.interpreter.version

    def output(self, *arguments: str) -> str:
        """Run its Python with `arguments` and return what that prints."""
        return _run(self.interpreter, [self.python, *arguments], capture=True)


def prepare(interpreter: Interpreter, group: str, *, build: bool) -> Environment:
    """Make the environment with a group of pyproject.toml's requirements.

    Does nothing that is done already. With `build`, the extension is brought up to
    date for this interpreter. A subprocess.CalledProcessError says what failed.
    """
    venv = ROOT / f".venv-{group}-{interpreter.version}"
    python = str(venv / "bin" / "python")
    _run(interpreter, ["tools/venv.sh", interpreter.executable, str(venv), group])
    if build:
        _run(interpreter, [python, "setup.py", "--quiet", "build_ext", "--inplace"])
    purelib = _run(interpreter, [python, "-c", _PURELIB], capture=True).strip()
    return Environment(interpreter, python, Path(purelib))


def as_it_is() -> Environment:
    """Return the environment that this process runs in, with nothing made in it."""
    return Environment(running(), sys.executable, Path(sysconfig.get_path("purelib")))


def _run(
    interpreter: Interpreter, arguments: list[str], *, capture: bool = False
) -> str:
    """Run it; what it prints is returned, or shown beside our own progress."""
    command, folder = interpreter.command(arguments)
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if capture else sys.stderr,
        text=True,
        check=True,
    )
    return done.stdout or ""
