"""Processes that a test starts: servers, and programs on the loop."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import trio_asyncio_c

# The package under test is found in the children too, wherever it is.
PACKAGE_PATH = Path(trio_asyncio_c.__file__).resolve().parents[1]
# For a server to start, say something or end; the usual is a second.
LIMIT_S = 40


def environment(folder, **variables):
    """Return environment variables by which children find the package, and modules in
    the folder."""
    path = [str(PACKAGE_PATH), str(folder), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PYTHONDONTWRITEBYTECODE": "1",
        **variables,
    }


def free_port():
    """Return a port of 127.0.0.1 that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def dying_with_us(arguments):
    """Wrap a command so that it does not outlive this process, where that is known."""
    if shutil.which("setpriv") is None:
        return list(map(str, arguments))
    return ["setpriv", "--pdeathsig", "TERM", *map(str, arguments)]


class Child:
    """A process with its output read as it comes; as a context it is ended by pid.

    Args:
      arguments: the command line.
      end_signal: what asks it to end.
      options: as of subprocess.Popen.
    """

    def __init__(self, arguments, *, end_signal=signal.SIGTERM, **options):
        self._end_signal = end_signal
        self._lines = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            dying_with_us(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **options,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with self.process.stdout as stream:
            for line in stream:
                with self._changed:
                    self._lines.append(line.decode(errors="backslashreplace"))
                    self._changed.notify_all()
        with self._changed:
            self._lines.append(None)
            self._changed.notify_all()

    @property
    def output(self):
        """What it has said so far."""
        with self._changed:
            return "".join(line for line in self._lines if line is not None)

    def wait_for(self, pattern, count=1):
        """Wait until it has said that often what matches; return the first groups.

        Raises:
          RuntimeError: it ended, or said nothing of the kind for LIMIT_S seconds.
        """
        found = []

        def enough():
            found[:] = re.finditer(pattern, self.output)
            return len(found) >= count or None in self._lines

        with self._changed:
            self._changed.wait_for(enough, LIMIT_S)
        if len(found) < count:
            raise RuntimeError(f"{pattern!r} does not come from:\n{self.output}")
        return [match[match.re.groups and 1] for match in found]

    def end(self):
        """Ask it to end, and `wait` for that."""
        if self.process.poll() is None:
            self.process.send_signal(self._end_signal)
        return self.wait()

    def wait(self):
        """Wait for its end, return its status.

        Raises:
          subprocess.TimeoutExpired: it had to be killed.
        """
        try:
            return self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._reader.join(LIMIT_S)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.end()


def wait_until_gone(pid):
    """Wait for the end of a process that is not our child."""
    limit = time.monotonic() + LIMIT_S
    while time.monotonic() < limit:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} is still there")


def started(make, ready, attempts=3):
    """Start a server that needs a port of its own, with another one if it is taken.

    Args:
      make: called with a port number, returns a `Child`.
      ready: what it says when it takes connections.

    Returns:
      the child and its port.
    """
    for attempt in range(attempts):
        port = free_port()
        child = make(port)
        try:
            child.wait_for(ready)
            return child, port
        except BaseException as exc:
            child.end()
            if attempt == attempts - 1 or not isinstance(exc, RuntimeError):
                raise
