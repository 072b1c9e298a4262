"""How much of a server's CPU time is user's, how much the kernel's (net_split.c)."""

import json
import subprocess

from shared.build import program
from shared.machine import keep_away


class Split:
    """What looks at the main thread of a process, from another CPU.

    To be made before this process is pinned to one.
    """

    def __init__(self, pid):
        self._process = None
        try:
            process = subprocess.Popen(
                [str(program("net_split")), str(pid)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
            )
        except FileNotFoundError:
            return  # it could not be compiled
        keep_away(process.pid)
        if json.loads(process.stdout.readline()) == "ready":
            self._process = process
        else:
            self._end(process)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        if self._process is not None:
            self._end(self._process)

    def _end(self, process):
        with process:
            process.kill()

    def read(self):
        """Return (user, system) so far, in ns; None where that cannot be had."""
        if self._process is None:
            return None
        self._process.stdin.write(b"?\n")
        return tuple(json.loads(self._process.stdout.readline()).values())
