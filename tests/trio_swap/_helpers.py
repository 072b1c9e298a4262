"""Running programs in interpreters of their own: the swap is a process's affair."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import trio_asyncio_c

# The package under test is found in the children too, wherever it is.
PACKAGE_PATH = Path(trio_asyncio_c.__file__).resolve().parents[1]
# Below the time after which pytest takes a test for hanging.
TIMEOUT_S = 50
VARIABLE = "TRIO_ASYNCIO_C_TRIO"

STRICT = ("-X", "dev", "-W", "error")
SWAP = "import trio_asyncio_c; trio_asyncio_c.install_trio()\n"
IS_SWAPPED = "trio.lowlevel.Task is trio_asyncio_c.lowlevel.Task"


def make_environment(**variables):
    """Environment variables in which children find the package and inherit no swap."""
    path = [str(PACKAGE_PATH), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PYTHONIOENCODING": "utf-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        **variables,
    }
    if VARIABLE not in variables:
        environment.pop(VARIABLE, None)
    return environment


def run_python(*arguments, cwd, python=sys.executable, **variables):
    """Run the interpreter with a command line; what became of it."""
    return subprocess.run(
        [python, *map(str, arguments)],
        capture_output=True,
        cwd=cwd,
        env=make_environment(**variables),
        text=True,
        encoding="utf-8",
        errors="backslashreplace",
        timeout=TIMEOUT_S,
        check=False,
    )


def check(result, status=0):
    """Check that a program ended well and complained of nothing; its output."""
    said = f"status {result.returncode}\n{result.stdout}\n{result.stderr}"
    assert result.returncode == status, said
    if status == 0:
        assert result.stderr == "", said
    return result.stdout


class Programs:
    """Runs programs given as source text, in a folder of their own."""

    def __init__(self, folder):
        self.folder = folder
        self._count = 0

    def write(self, source, name=None):
        """Write a program to a file; its path."""
        self._count += 1
        path = self.folder / (name or f"program_{self._count}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return path

    def bare(self, source, *options):
        """Run a program that does all by itself; its output."""
        return check(run_python(*STRICT, *options, self.write(source), cwd=self.folder))

    def swapped(self, source, *options):
        """Run a program on the core, after ``import trio``; its output."""
        head = f"{SWAP}import trio\nassert {IS_SWAPPED}\n"
        return self.bare(head + textwrap.dedent(source), *options)

    def plain(self, source, *options):
        """Run a program on plain Trio, after ``import trio``; its output."""
        # As many lines as above, for those that print line numbers.
        return self.bare("\nimport trio\n\n" + textwrap.dedent(source), *options)

    def same(self, source, *options):
        """Run a program on plain Trio and on the core; check that both print the
        same, addresses and the script's name aside, and return it."""
        plain = normalize(self.plain(source, *options))
        swapped = normalize(self.swapped(source, *options))
        difference = difflib.unified_diff(
            plain.splitlines(), swapped.splitlines(), "plain", "swapped", "", "", 0, ""
        )
        assert swapped == plain, "\n".join(difference)
        assert plain
        return plain


def normalize(output):
    """Output without what differs from run to run."""
    output = re.sub(r"0x[0-9a-f]+", "0x...", output)
    return re.sub(r"program_\d+", "program", output)
