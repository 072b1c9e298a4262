"""What the tests of the examples share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import trio_asyncio_c

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# The package under test is found in the children too, wherever it is.
PACKAGE_PATH = Path(trio_asyncio_c.__file__).resolve().parents[1]

# Below the time after which pytest takes a test for hanging.
TIMEOUT_S = 50


def run_example(name: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run an example as a user would; warnings are errors, in its children too."""
    path = [str(PACKAGE_PATH), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *args],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "PYTHONIOENCODING": "utf-8",
            "PYTHONWARNINGS": "error",
        },
    )
