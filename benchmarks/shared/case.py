"""A case, and the side of the worker process that runs it."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from .interleave import MISSING, PROFILE, READY, ROUND
from .profile import profiled

OURS = "ours"  # the name of the peer that is this project
FLOOR = "C floor"  # of the one that is no peer, but what the kernel costs
CLOCKS = {
    "wall": time.perf_counter_ns,
    "process": time.process_time_ns,
    "cpu": time.thread_time_ns,
}


@contextlib.asynccontextmanager
async def nothing(subject):
    """Prepare nothing."""
    yield subject


class Case(NamedTuple):
    """Something that is done again and again.

    `function` is called with what it is done with (a loop, or a module) and with
    `count`, how often it does the operation a round. It may return {name: number} of
    further figures that it measured itself.

    `shown` says which figure goes into the table. Each round has the CPU time, user
    and system, of the thread ("cpu") or of the process ("process"), which both leave
    out what else the machine does meanwhile, and the time that passes ("wall"), for
    what waits for another thread; all of these are for one operation.

    `prepare` makes an async context manager around all rounds, and the value that it
    gives takes the subject's place. What can be measured only `once` a process has no
    warm-up, and one round.
    """

    name: str
    function: Callable[[Any, int], Coroutine[Any, Any, dict[str, float] | None]]
    count: int
    shown: str = "cpu"
    prepare: Callable[[Any], contextlib.AbstractAsyncContextManager[Any]] = nothing
    once: bool = False


def say(message):
    print(json.dumps(message), flush=True)


def say_missing(what=""):
    """Tell the process that compares that the peer is not installed, or in words what
    else is not."""
    say(f"{MISSING}: {what}" if what else MISSING)


async def _warm_up(case, subject, seconds):
    began = time.perf_counter()
    while True:
        await case.function(subject, case.count)
        if time.perf_counter() - began > seconds:
            break


async def _run_round(case, subject):
    """Return the figures of a round: {name of a clock: ns an operation}, and more."""
    began = {name: read() for name, read in CLOCKS.items()}
    further = await case.function(subject, case.count)
    # In the opposite order: the thread's clock is the one that times least else.
    ended = {name: read() for name, read in reversed(CLOCKS.items())}
    times = {name: (ended[name] - began[name]) / case.count for name in CLOCKS}
    return times | (further or {})


async def _run_profiled(case, subject):
    """Return what is left of the costs: see profile.py."""
    return await profiled(lambda: case.function(subject, case.count), case.count)


ANSWERS = {ROUND: _run_round, PROFILE: _run_profiled}


async def serve_rounds(case, subject, warm_up_s):
    """Warm up, then for each line on stdin run a round and say what it took.

    The process blocks between its rounds, for then it is the other peers' turn.
    """
    async with case.prepare(subject) as prepared:
        if not case.once:
            await _warm_up(case, prepared, warm_up_s)
        say(READY)
        while request := sys.stdin.readline():
            say(await ANSWERS[request.strip()](case, prepared))
