"""Context variables in the callbacks of a connection, as on asyncio of each version.

Up to 3.14 each callback that a transport schedules has a copy of its own; later all of
a connection's run in one context, a server's connection in a copy of the server's.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket

import pytest

from trio_asyncio_c import EventLoop

from ._helpers import on_both, run_on
from ._tls_helpers import HOST, client_context, server_context

WHERE = contextvars.ContextVar("where")
TRAIL = contextvars.ContextVar("trail", default=())

TLS = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


def pass_by(name):
    """Add to the trail of the context that a callback runs in; return it all."""
    TRAIL.set((*TRAIL.get(), name))
    return WHERE.get("nowhere"), TRAIL.get()


class Passing(asyncio.Protocol):
    """Notes the trail of each of its callbacks."""

    def __init__(self, who, seen):
        self.who = who
        self.seen = seen
        self.note("made of")
        self.lost = asyncio.get_running_loop().create_future()

    def note(self, what):
        self.seen.setdefault(self.who, []).append((what, pass_by(f"{self.who} {what}")))

    def connection_made(self, transport):
        self.note("made")
        self.transport = transport
        self.answers()

    def answers(self):
        pass

    def data_received(self, data):
        self.note("data")
        self.answer(data)

    def answer(self, data):
        self.transport.close()

    def eof_received(self):
        self.note("eof")

    def connection_lost(self, exc):
        self.note("lost")
        self.lost.set_result(None)


class Echoing(Passing):
    def answer(self, data):
        self.transport.write(data)


class Asking(Passing):
    def answers(self):
        self.transport.write(b"x")


@TLS
@pytest.mark.parametrize("start_later", [False, True])
def test_of_a_server(tls, start_later):
    """Two connections of one server: what one sets, the other does not see."""

    async def program(loop, seen):
        trails = {}
        servers_side = []

        def factory():
            protocol = Echoing(f"server {len(servers_side)}", trails)
            servers_side.append(protocol)
            return protocol

        WHERE.set("at the server's making")
        server = await loop.create_server(
            factory,
            HOST,
            0,
            ssl=server_context() if tls else None,
            start_serving=not start_later,
        )
        WHERE.set("after the server's making")
        if start_later:
            await server.start_serving()
        address = server.sockets[0].getsockname()
        WHERE.set("before the clients")
        for who in ("client 0", "client 1"):
            _, client = await loop.create_connection(
                lambda who=who: Asking(who, trails),
                *address,
                ssl=client_context() if tls else None,
                server_hostname="localhost" if tls else None,
            )
            await client.lost
            await servers_side[-1].lost
        server.close()
        await server.wait_closed()
        seen.extend(sorted(trails.items()))
        seen.append(pass_by("end"))

    on_both(program)


@TLS
def test_of_a_pair(tls):
    """Sockets that were connected already."""

    async def program(loop, seen):
        trails = {}
        here, there = socket.socketpair()
        WHERE.set("at the making")
        (_, server), (_, client) = await asyncio.gather(
            loop.connect_accepted_socket(
                lambda: Echoing("server", trails),
                here,
                ssl=server_context() if tls else None,
            ),
            loop.create_connection(
                lambda: Asking("client", trails),
                sock=there,
                ssl=client_context() if tls else None,
                server_hostname="localhost" if tls else None,
            ),
        )
        WHERE.set("after the making")
        await client.lost
        await server.lost
        seen.extend(sorted(trails.items()))

    on_both(program)


def test_reading_resumed_elsewhere():
    """What resumes reading does it in its own context, if it is up to asyncio."""

    async def program(loop, seen):
        trails = {}
        here, there = socket.socketpair()
        there.setblocking(False)

        class Pausing(Echoing):
            def answers(self):
                self.transport.pause_reading()

        WHERE.set("at the making")
        transport, protocol = await loop.connect_accepted_socket(
            lambda: Pausing("server", trails), here
        )
        WHERE.set("at the resuming")
        transport.resume_reading()
        await loop.sock_sendall(there, b"x")
        await loop.sock_recv(there, 1)
        WHERE.set("after the resuming")
        there.close()
        await protocol.lost
        seen.extend(sorted(trails.items()))

    on_both(program)


def test_a_factory_in_an_eager_task_of_the_servers_context():
    """A task factory that begins at once is inside of nobody's context."""
    factory = getattr(asyncio, "eager_task_factory", None)
    if factory is None:
        pytest.skip("eager tasks came with 3.12")

    async def program(loop, seen):
        loop.set_task_factory(factory)
        trails = {}
        WHERE.set("at the server's making")
        server = await loop.create_server(
            lambda: Echoing("server", trails), HOST, 0, ssl=server_context()
        )
        _, client = await loop.create_connection(
            lambda: Asking("client", trails),
            *server.sockets[0].getsockname(),
            ssl=client_context(),
            server_hostname="localhost",
        )
        await client.lost
        server.close()
        await server.wait_closed()
        seen.extend(what for what, _ in trails["server"])

    assert run_on(EventLoop, program)[:2] == ["made of", "made"]
