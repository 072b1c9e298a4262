"""Whether the trio of this process runs on the C core.

Run as a module it says so of a new process, which a test session uses to see
that the child processes of its tests would be what it is.
"""

from __future__ import annotations

import subprocess
import sys


def is_swapped() -> bool:
    """Import trio; say whether its tasks are those of the C core."""
    import trio.lowlevel

    if "trio_asyncio_c" not in sys.modules:
        return False
    import trio_asyncio_c.lowlevel

    return trio.lowlevel.Task is trio_asyncio_c.lowlevel.Task


def child_is_swapped() -> bool:
    """Say the same of a child process that is started as tests start theirs."""
    done = subprocess.run(
        [sys.executable, "-m", __name__], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip() == "swapped"


if __name__ == "__main__":
    print("swapped" if is_swapped() else "plain")
