"""Lets processes, one a peer, take turns with short rounds: A B A B, so that what
disturbs the machine disturbs all alike."""

import contextlib
import json
import os
import select
import subprocess
import time

TIMEOUT_S = 60  # for one round, or to start or end, unless said otherwise
READY = "ready"
MISSING = "missing"
ROUND = "round"
PROFILE = "profile"
# What would slow down some peers and not others, or put ours in another's place.
UNWANTED = {
    "PYTHONASYNCIODEBUG",
    "PYTHONDEVMODE",
    "PYTHONMALLOC",
    "PYTHONTRACEMALLOC",
    "TRIO_ASYNCIO_C_TRIO",
}


def is_missing(failure):
    """Return whether that says of something that it is not installed, not that it
    fails."""
    return failure.partition(":")[0] == MISSING


def _last_words(errors):
    """Return the last line that says something, without an exception group's frame."""
    lines = [line.strip(" |+-") for line in errors.splitlines()]
    return next((line for line in reversed(lines) if line), "")


class Worker:
    """A process that runs one case with one peer.

    `rounds` are its results so far. `failure` says in words why there are none, or no
    more of them; None while all is well.
    """

    def __init__(self, command, timeout_s=TIMEOUT_S):
        self.rounds = []
        self.failure = None
        self._timeout_s = timeout_s
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                name: value
                for name, value in os.environ.items()
                if name not in UNWANTED
            },
        )

    def _give_up(self):
        self.failure = "hangs"
        self._process.kill()

    def _end(self):
        """Let the process end, and find out whether it failed."""
        try:
            errors = self._process.communicate(timeout=self._timeout_s)[1]
        except subprocess.TimeoutExpired:
            self._give_up()
            errors = self._process.communicate()[1]
        if self.failure is None and self._process.returncode != 0:
            words = _last_words(errors) or f"exit status {self._process.returncode}"
            self.failure = f"fails: {words}"

    def _hear(self):
        """Return what the process says next, or None: it ended, so it failed."""
        if not select.select([self._process.stdout], [], [], self._timeout_s)[0]:
            self._give_up()
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._end()
        self.failure = self.failure or "fails: ended early"
        return None

    def wait_ready(self):
        heard = self._hear()
        if heard is not None and is_missing(heard):
            self._end()
            self.failure = heard

    def _ask(self, request):
        """Return the answer, or None: it ended, so it failed."""
        # A process that is gone has nothing to say either: see _hear.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(request + "\n")
            self._process.stdin.flush()
        return self._hear()

    def run_round(self):
        result = self._ask(ROUND)
        if result is not None:
            self.rounds.append(result)

    def run_profiled(self):
        return self._ask(PROFILE)

    def close(self):
        if self.failure is None:
            self._end()


def take_turns(commands, seconds, timeout_s=TIMEOUT_S):
    """Let {peer: command} take turns, each for about `seconds` in all.

    At least one round each; one that fails is left out from then on, as is one that
    takes more than `timeout_s` for a round.

    Returns:
      {peer: Worker}.
    """
    workers = {peer: Worker(command, timeout_s) for peer, command in commands.items()}
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


def profile(command):
    """Return what profile.py knows of the case with one peer, or None."""
    worker = Worker(command)
    worker.wait_ready()
    parts = worker.run_profiled() if worker.failure is None else None
    worker.close()
    return parts
