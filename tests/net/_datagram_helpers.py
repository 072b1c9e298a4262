"""What the tests of datagram transports share."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from ._helpers import (
    described,
    turns,
    until,
)


class Datagrams(asyncio.DatagramProtocol):
    """Notes what it is told; see _helpers.Recorder."""

    def __init__(self, seen=None, on=None):
        self.seen = [] if seen is None else seen
        self.on = on or {}
        self.received = []
        self.transport = None
        self.names = []

    def note(self, name, *value):
        self.names.append(name)
        self.seen.append((name, *value))
        if name in self.on:
            self.on[name](self)

    def connection_made(self, transport):
        self.transport = transport
        self.note("made")

    def datagram_received(self, data, addr):
        assert type(data) is bytes
        self.received.append((data, addr))
        self.note("data", data)

    def error_received(self, exc):
        self.note("error", described(exc))

    def connection_lost(self, exc):
        self.note("lost", described(exc))

    def pause_writing(self):
        self.note("pause")

    def resume_writing(self):
        self.note("resume")

    async def until(self, name):
        await until(lambda: name in self.names)

    async def until_received(self, count):
        await until(lambda: len(self.received) >= count)


@contextlib.contextmanager
def plain(kind="ipv4"):
    """Give a plain datagram socket that is bound."""
    if kind == "unix":
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind("")  # to a name that the kernel chooses
    else:
        family = socket.AF_INET6 if kind == "ipv6" else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.bind(("::1" if kind == "ipv6" else "127.0.0.1", 0))
    sock.setblocking(False)
    with sock:
        yield sock


@contextlib.asynccontextmanager
async def endpoint(factory=Datagrams, kind="ipv4", remote=None, sock=None):
    """Give a transport and its protocol; closed afterwards."""
    loop = asyncio.get_running_loop()
    options = {}
    if sock is not None:
        options["sock"] = sock
    elif kind == "unix":
        mine = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        mine.bind("")
        if remote is not None:
            mine.connect(remote)
        options["sock"] = mine
    else:
        options["local_addr"] = ("::1" if kind == "ipv6" else "127.0.0.1", 0)
        if remote is not None:
            options["remote_addr"] = remote
    transport, protocol = await loop.create_datagram_endpoint(factory, **options)
    try:
        yield transport, protocol
    finally:
        if transport.get_extra_info("socket").fileno() != -1:
            transport.abort()
        await turns(2)


KINDS = ["ipv4", "ipv6", "unix"]


def address_of(transport):
    return transport.get_extra_info("sockname")


def clogged():
    """Return a Unix socket that takes little, since nobody reads at its other end,
    and that other end."""
    left, right = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    right.bind("")
    left.connect(right.getsockname())
    left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    right.setblocking(False)
    return left, right


def fill(transport, size=100):
    """Send until something has to be kept; return how many datagrams it were."""
    count = 0
    while not transport.get_write_buffer_size():
        assert not transport.is_closing()
        transport.sendto(b"%d:" % count + bytes(size))
        count += 1
    return count


def number(data):
    return int(data.split(b":")[0])
