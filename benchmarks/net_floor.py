"""The echo server in C (net_floor.c) in the place of a loop."""

import contextlib
import json
import os
import subprocess
import tempfile

from net_clients import SPARE_FILES, Used, clients
from net_split import Split
from shared.build import program
from shared.case import Case
from shared.machine import allow_open_files, keep_together


class Floor:
    """The server and its clients, each a process."""

    def __init__(self, server, them, split):
        self._server = server
        self._them = them
        self._split = split

    def _used(self):
        self._server.stdin.write(b"?\n")
        used = Used(**json.loads(self._server.stdout.readline()))
        return used.seen_by(self._split)

    async def exchange(self, count):
        before = self._used()
        latencies = await self._them.exchange(count)
        return self._used().since(before, count) | latencies


async def exchange(floor, count):
    return await floor.exchange(count)


@contextlib.contextmanager
def _address(where):
    """Give what net_floor is told, what the clients are, and both's descriptors."""
    if where == "pipes":
        (here, there), (back, forth) = os.pipe(), os.pipe()
        ends = [here, there, back, forth]
        try:
            yield f"{here}:{forth}", f"{back}:{there}", (here, forth), (back, there)
        finally:
            for end in ends:
                os.close(end)
    elif where == "unix":
        with tempfile.TemporaryDirectory() as folder:
            yield f"{folder}/socket", f"{folder}/socket", (), ()
    else:
        yield "tcp", None, (), ()


@contextlib.contextmanager
def _server(kind, address, descriptors):
    process = subprocess.Popen(
        [str(program("net_floor")), kind, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        pass_fds=descriptors,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def floor_case(case, kind, where, traffic):
    """Return the case with net_floor's `kind` ("stream", "udp", "close"), `where` it
    is reached: "tcp", "unix" or "pipes"."""

    @contextlib.asynccontextmanager
    async def prepare(loop):
        # The server in C inherits it.
        allow_open_files(traffic.connections + SPARE_FILES)
        with _address(where) as (served, reached, here, there):
            with _server(kind, served, here) as server, Split(server.pid) as split:
                said = json.loads(server.stdout.readline())
                async with clients(traffic, reached or said, there) as them:
                    keep_together(server.pid)
                    yield Floor(server, them, split)

    return Case(case.name, exchange, case.count, case.shown, prepare=prepare)
