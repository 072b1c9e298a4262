"""How the processes of the demo talk: one JSON object a line.

A child is told to stop, or to go on, by the end of its standard input, which
also comes when its parent has died.
"""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent

# Longer than a line ever is: a task tree has some kilobytes.
LINE_LIMIT = 2**20


def tell(**event):
    """Send an event to the parent."""
    print(json.dumps(event), flush=True)


class ChildFailed(Exception):
    """A child did not say what it had to."""


class Child:
    """A running module of this package."""

    def __init__(self, process, name):
        self._process = process
        self.name = name

    async def hear(self, key):
        """Return what the child's next event has under a key.

        Raises:
          ChildFailed: it said something else, or nothing more.
        """
        line = await self._process.stdout.readline()
        event = json.loads(line) if line else {}
        if key not in event:
            said = sorted(event) or "nothing more"
            raise ChildFailed(f"{self.name} was to say {key!r}, but said {said}")
        return event[key]

    def give_sign(self):
        self._process.stdin.close()

    async def exit_code(self):
        return await self._process.wait()


@asynccontextmanager
async def running(name, module, *args):
    """Run a module of this package as a process, which does not outlive the block."""
    path = os.pathsep.join(filter(None, [str(EXAMPLES), os.environ.get("PYTHONPATH")]))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"{__package__}.{module}",
        *args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        limit=LINE_LIMIT,
        start_new_session=True,  # Ctrl-C is for the demo, which ends its children
    )
    try:
        yield Child(process, name)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
