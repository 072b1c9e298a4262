"""Send requests to both servers: ``python -m aiohttp_demo.client SECONDS PORT PORT``.

SECONDS is how long to send to each. The first port is that of the server on
trio_asyncio_c, the second of the one on asyncio. The client itself always runs
on asyncio's own loop.
"""

import asyncio
import sys
import time
from collections import Counter

import aiohttp

from . import cancel
from .lines import tell
from .traffic import KINDS, WrongAnswer, get_squares, in_turn, tree_in_flight

CONNECTIONS = 8
ROUNDS = 4
# Answers come within milliseconds; this is for a server that hangs.
TIMEOUT = aiohttp.ClientTimeout(total=10)
WARM_UP = 0.2  # of a slice
PROBLEMS_TOLD = 3

TREE_S = 0.4

# What an exchange fails with if the server does not do its part.
FAILURES = (aiohttp.ClientError, WrongAnswer, TimeoutError, ValueError, TypeError)


def open_session(port):
    return aiohttp.ClientSession(
        f"http://127.0.0.1:{port}",
        timeout=TIMEOUT,
        connector=aiohttp.TCPConnector(limit=0),
    )


async def cpu_s(session):
    async with session.get("/usage") as response:
        return (await response.json())["cpu_s"]


class Load:
    """The exchanges of one kind with one server."""

    def __init__(self, session, kind):
        self.session = session
        self.kind = kind
        self.count = 0
        self.seconds = 0.0
        self.cpu_s = 0.0
        self.problems = Counter()

    async def _work(self, until):
        """Exchange after exchange on a connection, till the time is up."""
        try:
            async with self.kind(self.session) as exchange:
                while time.monotonic() < until:
                    await exchange(self.count)
                    self.count += 1
        except FAILURES as problem:
            self.problems[repr(problem)] += 1

    async def run(self, seconds):
        cpu = await cpu_s(self.session)
        begin = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(self._work(begin + seconds))
        self.seconds += time.monotonic() - begin
        self.cpu_s += await cpu_s(self.session) - cpu

    def result(self):
        return {
            "count": self.count,
            "rate": self.count / self.seconds,
            "cpu_ms": 1e3 * self.cpu_s / max(self.count, 1),
            "problems": [
                f"{problem} ({times} times)"
                for problem, times in self.problems.most_common(PROBLEMS_TOLD)
            ],
        }


async def measure(kind, sessions, slice_s):
    """Send one kind of requests to each server in turn, slice by slice."""
    loads = [Load(session, kind) for session in sessions]
    for load in loads:
        warm_up = Load(load.session, kind)
        await warm_up.run(WARM_UP * slice_s)
        load.problems += warm_up.problems
    for _ in range(ROUNDS):
        for load in loads:
            await load.run(slice_s)
    tell(measured=[load.result() for load in loads])


async def show_tree(session):
    """Have the server's task tree while it is busy, with two requests that take
    longer."""
    load = Load(session, in_turn)
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(TREE_S))
        tasks = [group.create_task(get_squares(session, 3, TREE_S)) for _ in range(2)]
        tree = await tree_in_flight(session, len(tasks), tasks)
    tell(tree=[tree, load.result()])


async def main(seconds, ports):
    slice_s = seconds / len(KINDS) / ROUNDS
    async with open_session(ports[0]) as first, open_session(ports[1]) as second:
        for kind in KINDS.values():
            await measure(kind, [first, second], slice_s)
        await show_tree(first)
    async with open_session(ports[0]) as session:
        await cancel.watch(session, ports[0])


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
