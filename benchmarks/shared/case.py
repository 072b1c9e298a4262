"""A case, and the side of the worker process that runs it."""

import json
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from .interleave import MISSING, READY


class Case(NamedTuple):
    """Something that is done again and again.

    `function` is called with what it is done with (a loop, or a module) and with
    `count`, how often it does the operation a round. `clock` says which time is shown:
    the CPU time of the thread, user and system ("cpu"), which leaves out what else the
    machine does meanwhile; or, where other threads are waited for, the time that
    passes ("wall").
    """

    name: str
    function: Callable[[Any, int], Coroutine[Any, Any, None]]
    count: int
    clock: str = "cpu"


def say(message):
    print(json.dumps(message), flush=True)


def say_missing():
    """Tell the process that compares that the peer is not installed."""
    say(MISSING)


async def serve_rounds(case, subject, warm_up_s):
    """Warm up, then run a round for each line on stdin and say what it took.

    That is nanoseconds an operation, by each of the clocks. The process blocks between
    its rounds, for then it is the other peers' turn.
    """
    began = time.perf_counter()
    while True:
        await case.function(subject, case.count)
        if time.perf_counter() - began > warm_up_s:
            break
    say(READY)
    while sys.stdin.readline():
        wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
        await case.function(subject, case.count)
        cpu, wall = time.thread_time_ns() - cpu, time.perf_counter_ns() - wall
        say({"cpu": cpu / case.count, "wall": wall / case.count})
