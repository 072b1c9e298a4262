"""Lets processes, one a peer, take turns with short rounds: A B A B, so that what disturbs the machine disturbs all alike."""

import json
import os
import subprocess
import threading
import time

TIMEOUT_S = 60
READY = "ready"
MISSING = "missing"
# What would slow down some loops and not others.
UNWANTED = {"PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHONMALLOC", "PYTHONTRACEMALLOC"}


class Worker:
    """A process that runs one case with one peer.

    `rounds` are its results so far. `failure` says in words why there are none, or no more of them; None while all is well.
    """

    def __init__(self, command):
        self.rounds = []
        self.failure = None
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if name not in UNWANTED},
        )

    def _hear(self):
        """Return what the process says next, or None if it fails to."""
        hangs = threading.Event()
        watchdog = threading.Timer(TIMEOUT_S, lambda: (hangs.set(), self._process.kill()))
        watchdog.start()
        line = self._process.stdout.readline()
        watchdog.cancel()
        if line:
            return json.loads(line)
        errors = self._process.communicate()[1].strip().splitlines() or [f"exit status {self._process.returncode}"]
        self.failure = "hangs" if hangs.is_set() else f"fails: {errors[-1]}"
        return None

    def wait_ready(self):
        if self._hear() == MISSING:
            self.failure = MISSING

    def run_round(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        result = self._hear()
        if result is not None:
            self.rounds.append(result)

    def close(self):
        self._process.communicate()


def take_turns(commands, seconds):
    """Run {peer: command} side by side, each for about `seconds`, and return {peer: worker}."""
    workers = {peer: Worker(command) for peer, command in commands.items()}
    for worker in workers.values():
        worker.wait_ready()
    end = time.perf_counter() + seconds * len(workers)
    while running := [worker for worker in workers.values() if worker.failure is None]:
        for worker in running:
            worker.run_round()
        if time.perf_counter() > end:
            break
    for worker in workers.values():
        worker.close()
    return workers
