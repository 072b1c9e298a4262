"""The clients of bench_net (net_load.c), a process of their own, as the server sees it;
and what the server's process has used of the machine."""

import asyncio
import contextlib
import functools
import json
import os
import resource
import subprocess
import time
from typing import NamedTuple

from net_split import Split
from shared.build import program
from shared.case import Case
from shared.machine import allow_open_files, keep_apart, peak_bytes

SPARE_FILES = 100


class Traffic(NamedTuple):
    """What the clients do: see net_load.c."""

    kind: str
    size: int
    connections: int
    tls: bool = False

    def command(self, address):
        words = [self.kind, address, str(self.size), str(self.connections)]
        return [str(program("net_load")), *words, *["tls"] * self.tls]


class ClientsFailed(Exception):
    """What they say is the reason."""


class Clients:
    def __init__(self, process):
        self._process = process

    def _read_line(self):
        line = self._process.stdout.readline()
        if not line:
            reason = self._process.stderr.read().decode(errors="replace").strip()
            raise ClientsFailed(reason or "the clients ended early")
        return json.loads(line)

    async def hear(self):
        """Let the loop work until the clients say something; return that.

        A thread waits for it, for that works on every loop.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, self._read_line)

    async def exchange(self, count):
        """Let the clients exchange `count` messages; return their latencies."""
        self._process.stdin.write(b"%d\n" % count)
        return await self.hear()


@contextlib.asynccontextmanager
async def clients(traffic, address, descriptors=()):
    """Run the block with connected clients, on another CPU than this process."""
    allow_open_files(traffic.connections + SPARE_FILES)
    process = subprocess.Popen(
        traffic.command(address),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        pass_fds=descriptors,
    )
    with process:
        keep_apart(process.pid)
        them = Clients(process)
        try:
            await them.hear()
            yield them
        finally:
            process.kill()


class Used(NamedTuple):
    """Of CPU time, in ns, since a process began, and its memory's peak, in bytes.

    `user` and `system` are as the kernel says, which misses much, or what was seen.
    """

    user: int
    system: int
    process: int
    peak: int

    def seen_by(self, split):
        """Return this with what a Split knows better."""
        seen = split.read()
        return self if seen is None else self._replace(user=seen[0], system=seen[1])

    def since(self, before, count):
        """Return the figures of `count` operations."""
        return {
            "user": (self.user - before.user) / count,
            "system": (self.system - before.system) / count,
            "process": (self.process - before.process) / count,
            "peak": self.peak,
        }


@functools.cache
def split_here():
    """Return what looks at this process, as long as that lives."""
    return Split(os.getpid())


def used_here():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    user, system = usage.ru_utime * 1e9, usage.ru_stime * 1e9
    used = Used(user, system, time.process_time_ns(), peak_bytes())
    return used.seen_by(split_here())


def counted(function):
    """Return a case's function that adds to the figures what was used."""

    @functools.wraps(function)
    async def wrapper(subject, count):
        before = used_here()
        further = await function(subject, count)
        return used_here().since(before, count) | (further or {})

    return wrapper


@counted
async def exchange(them, count):
    return await them.exchange(count)


def server_case(name, start, traffic, count):
    """Return the case of a server under load.

    `start(loop, traffic)` makes an async context manager that gives its address.
    """

    @contextlib.asynccontextmanager
    async def prepare(loop):
        allow_open_files(traffic.connections + SPARE_FILES)
        async with start(loop, traffic) as address:
            async with clients(traffic, *address) as them:
                yield them

    return Case(name, exchange, count, shown="process", prepare=prepare)
