"""The core counts the connections of each kind that it has made."""

from __future__ import annotations

import asyncio
import os
import socket

from trio_asyncio_c import _core

from ._helpers import on_ours
from ._tls_helpers import client_context, server_context

WHY = "the standard library counts nothing"


def grown(before):
    made = _core._debug_made()
    return {kind: made[kind] - count for kind, count in before.items()}


def test_each_kind_is_counted():
    async def program(loop, seen):
        before = _core._debug_made()
        sockets = socket.socketpair(type=socket.SOCK_DGRAM)
        made = [
            await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=sock)
            for sock in sockets
        ]
        seen.append(grown(before))
        read, write = os.pipe()
        made += [
            await loop.connect_read_pipe(asyncio.Protocol, open(read, "rb", 0)),
            await loop.connect_write_pipe(asyncio.BaseProtocol, open(write, "wb", 0)),
        ]
        seen.append(grown(before))
        here, there = socket.socketpair()
        made += await asyncio.gather(
            loop.connect_accepted_socket(asyncio.Protocol, here, ssl=server_context()),
            loop.create_connection(
                asyncio.Protocol,
                sock=there,
                ssl=client_context(),
                server_hostname="localhost",
            ),
        )
        seen.append(grown(before))
        for transport, _ in made:
            transport.close()

    none = dict.fromkeys(_core._debug_made(), 0)
    datagrams = {**none, "datagram": 2}
    pipes = {**datagrams, "read pipe": 1, "write pipe": 1}
    assert on_ours(program, WHY) == [datagrams, pipes, {**pipes, "stream": 2, "TLS": 2}]
