"""A case, and how its rounds are timed."""

import json
import statistics
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

MIN_ROUNDS = 3


class Case(NamedTuple):
    """Something that is done again and again.

    `function` is called with what it is done with (a loop, or a module) and with `count`, how often it does the operation a
    round. `clock` says which time is shown: the CPU time of the thread, user and system ("cpu"), which leaves out what else the
    machine does meanwhile, or where other threads are waited for, the time that passes ("wall").
    """

    name: str
    function: Callable[[Any, int], Coroutine[Any, Any, None]]
    count: int
    clock: str = "cpu"


async def measure(case, subject, seconds):
    """Return the median round's nanoseconds an operation, by each of the clocks.

    There are rounds for `seconds`, after a quarter of that as a warm-up.
    """
    began = time.perf_counter()
    while True:
        await case.function(subject, case.count)
        if time.perf_counter() - began > seconds / 4:
            break
    rounds = {"cpu": [], "wall": []}
    began = time.perf_counter()
    while len(rounds["cpu"]) < MIN_ROUNDS or time.perf_counter() - began < seconds:
        wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
        await case.function(subject, case.count)
        rounds["cpu"].append(time.thread_time_ns() - cpu)
        rounds["wall"].append(time.perf_counter_ns() - wall)
    return {clock: statistics.median(times) / case.count for clock, times in rounds.items()}


def say(result):
    """Hand a result, or None if the peer is not installed, to the process that compares."""
    print(json.dumps(result))
