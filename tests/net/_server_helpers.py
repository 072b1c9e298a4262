"""What the tests of servers share."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from ._helpers import (
    Recorder,
    receive,
    turns,
)

NEW_IN_3_12 = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="as fixed in CPython 3.12.1"
)
NEW_IN_3_13 = pytest.mark.skipif(
    sys.version_info < (3, 13), reason="came with CPython 3.13"
)


def send_back(protocol):
    protocol.transport.write(protocol.seen.pop()[1].upper())


class Clients:
    """A protocol factory that keeps what it has made."""

    def __init__(self, on=None):
        self.on = {"data": send_back} if on is None else on
        self.made = []

    def __call__(self):
        protocol = Recorder(on=dict(self.on))
        self.made.append(protocol)
        return protocol

    async def all_lost(self):
        for protocol in self.made:
            await protocol.until("lost")
        await turns(1)


def connect(address, family=socket.AF_INET):
    """Return a plain socket that is connected; the backlog takes it at once."""
    sock = socket.socket(family)
    sock.connect(address)
    sock.setblocking(False)
    return sock


async def ask(address, family=socket.AF_INET, text=b"hello"):
    """Return what the server at an address answers."""
    loop = asyncio.get_running_loop()
    with socket.socket(family) as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        await loop.sock_sendall(sock, text)
        return await receive(sock, len(text))


async def end(server, clients=None):
    server.close()
    if clients is not None:
        await clients.all_lost()
    await server.wait_closed()
