"""What an idle connection keeps in memory."""

from __future__ import annotations

import asyncio
import gc
import struct
import sys

import pytest

from ._helpers import on_ours, until

WHY = "the standard library's transports are made of other objects"
POINTER = struct.calcsize("P")


class Echo(asyncio.Protocol):
    def __init__(self):
        self.received = 0

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += len(data)
        self.transport.write(data)


class Asking(asyncio.Protocol):
    def __init__(self):
        self.received = 0

    def connection_made(self, transport):
        transport.write(b"x" * 1024)

    def data_received(self, data):
        self.received += len(data)


def state_of(transport):
    return next(o for o in gc.get_referents(transport) if type(o).__name__ == "Stream")


@pytest.mark.skipif(POINTER != 8, reason="the bound is that of 64 bits")
def test_state_of_a_connection_that_answered_is_small():
    async def program(loop, seen):
        accepted = []

        def factory():
            accepted.append(Echo())
            return accepted[-1]

        server = await loop.create_server(factory, "127.0.0.1", 0)
        transport, client = await loop.create_connection(
            Asking, *server.sockets[0].getsockname()
        )
        await until(lambda: client.received == 1024)
        for end in (transport, accepted[0].transport):
            seen.append(sys.getsizeof(state_of(end)) <= 416)
        transport.close()
        server.close()
        await server.wait_closed()

    assert on_ours(program, WHY) == [True, True]


def test_extra_info_is_made_when_it_is_asked_for():
    class Accepted(asyncio.Protocol):
        def __init__(self, lost):
            self.lost = lost

        def connection_lost(self, exc):
            self.lost.set_result(None)

    async def program(loop, seen):
        lost = loop.create_future()
        server = await loop.create_server(lambda: Accepted(lost), "127.0.0.1", 0)
        name = server.sockets[0].getsockname()
        transport, _ = await loop.create_connection(asyncio.Protocol, *name)
        seen.append(any(type(o) is dict for o in gc.get_referents(transport)))
        seen.append(transport.get_extra_info("peername") == name)
        seen.append(any(type(o) is dict for o in gc.get_referents(transport)))
        transport.close()
        await lost  # or the accepted one may be open still at the end
        server.close()
        await server.wait_closed()

    assert on_ours(program, WHY) == [False, True, True]
