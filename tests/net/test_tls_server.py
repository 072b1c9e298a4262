"""Connections to TLS servers, from their acceptance to the end of the handshake."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings

import pytest

from trio_asyncio_c import EventLoop

from ._helpers import STOCK, on_both, on_ours, run_on
from ._tls_helpers import HOST, client_context, server_context


class Noting(asyncio.Protocol):
    """Notes what a server's protocol is told."""

    def __init__(self, seen):
        self.seen = seen
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.seen.append("made")

    def data_received(self, data):
        self.seen.append(data)
        self.transport.write(data)

    def connection_lost(self, exc):
        self.seen.append("lost")
        self.lost.set_result(None)


async def serve(loop, factory, **options):
    server = await loop.create_server(
        factory, "127.0.0.1", 0, ssl=server_context(), **options
    )
    return server, server.sockets[0].getsockname()


async def exchange(*args, **kwargs):
    """Be a client that gets an answer; return that."""
    reader, writer = await asyncio.open_connection(
        *args, ssl=client_context(), server_hostname=HOST, **kwargs
    )
    writer.write(b"hello")
    answer = await reader.readexactly(5)
    writer.close()
    await writer.wait_closed()
    return answer


def test_an_exchange():
    async def program(loop, seen):
        made = []

        def factory():
            made.append(Noting(seen))
            return made[-1]

        server, address = await serve(loop, factory)
        seen.append(await exchange(*address))
        await made[0].lost
        names = [
            made[0].transport.get_extra_info(name) for name in ("peername", "sockname")
        ]
        server.close()
        await server.wait_closed()
        seen.append([name and name[0] for name in names])

    assert on_both(program)[:2] == ["made", b"hello"]


def test_what_is_known_of_it():
    async def program(loop, seen):
        class Asking(Noting):
            def connection_made(self, transport):
                super().connection_made(transport)
                get = transport.get_extra_info
                seen.append((get("sockname"), get("peername")) == (address, peer()))
                seen.append(get("socket").fileno() >= 0)
                seen.append(get("ssl_object") is not None)
                seen.append(get("sslcontext") is not None)

        def peer():
            return sock.getsockname()

        server, address = await serve(loop, lambda: Asking(seen))
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
            seen.append(await exchange(sock=sock))
        server.close()
        await server.wait_closed()

    assert on_both(program)[:5] == ["made", True, True, True, True]


def test_no_socket_object():
    async def program(loop, seen):
        class Asking(Noting):
            def connection_made(self, transport):
                super().connection_made(transport)
                below = transport._ssl_protocol._transport
                seen.append(below._made_sock)

        server, address = await serve(loop, lambda: Asking(seen))
        await exchange(*address)
        server.close()
        await server.wait_closed()

    why = "a socket object is made for each connection"
    assert on_ours(program, why)[:2] == ["made", None]


def test_a_unix_socket(tmp_path):
    async def program(loop, seen):
        path = str(tmp_path / type(loop).__name__)
        server = await loop.create_unix_server(
            lambda: Noting(seen), path, ssl=server_context()
        )
        reader, writer = await asyncio.open_unix_connection(
            path, ssl=client_context(), server_hostname=HOST
        )
        writer.write(b"hello")
        seen.append(await reader.readexactly(5))
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    assert on_both(program)[:2] == ["made", b"hello"]


async def ended_by_server(loop, address, data=b""):
    """Be a client that sends something else; return when the server closes."""
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        await loop.sock_sendall(sock, data)
        try:
            while await loop.sock_recv(sock, 1000):
                pass
        except ConnectionError:
            pass


GARBAGE = b"GET / HTTP/1.0\r\n\r\n" * 10


@pytest.mark.parametrize("debug", [False, True])
def test_a_handshake_that_fails(debug):
    """Only debug mode says something about it."""

    async def program(loop, seen):
        server, address = await serve(loop, lambda: Noting(seen))
        await ended_by_server(loop, address, GARBAGE)
        server.close()
        await server.wait_closed()

    notes = on_both(program, debug=debug)
    assert len(notes) == (1 if debug else 0)


def test_a_client_that_goes():
    async def program(loop, seen):
        server, address = await serve(loop, lambda: Noting(seen))
        for data in (b"", b"\x16\x03\x01"):
            with socket.create_connection(address) as sock:
                sock.sendall(data)
        seen.append(await exchange(*address))
        server.close()
        await server.wait_closed()

    assert b"hello" in on_both(program)


def test_a_handshake_that_takes_too_long():
    async def program(loop, seen):
        server, address = await serve(
            loop, lambda: Noting(seen), ssl_handshake_timeout=0.05
        )
        await ended_by_server(loop, address)
        server.close()
        await server.wait_closed()

    assert on_both(program) == []


def test_a_factory_that_raises():
    async def program(loop, seen):
        def factory():
            raise ZeroDivisionError

        server, address = await serve(loop, factory)
        await ended_by_server(loop, address)
        server.close()
        await server.wait_closed()

    assert on_ours(program, "the socket is left to the collector") == []


@pytest.mark.parametrize("make", [STOCK, EventLoop])
def test_the_run_ends_during_a_handshake(make):
    """What asyncio.Runner cancels at its end closes the connection."""

    async def main():
        loop = asyncio.get_running_loop()
        accepted = loop.create_future()

        def factory():
            accepted.set_result(None)
            return asyncio.Protocol()

        _, address = await serve(loop, factory)
        sock = socket.create_connection(address)
        await accepted
        await asyncio.sleep(0)
        return sock

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with asyncio.Runner(loop_factory=make) as runner:
            sock = runner.run(main())
        gc.collect()
    with sock:
        sock.settimeout(10)
        assert sock.recv(1) == b""
    if make is EventLoop:
        assert [str(w.message) for w in caught if "transport" in str(w.message)] == []


REPLACED = ["_accept_connection", "_accept_connection2", "_make_ssl_transport"]


@pytest.mark.parametrize("name", REPLACED)
def test_a_method_of_a_subclass(name):
    seen = []
    original = getattr(EventLoop, name)

    def method(*args, **kwargs):
        seen.append(name)
        return original(*args, **kwargs)

    async def program(loop, seen):
        server, address = await serve(loop, lambda: Noting([]))
        await exchange(*address)
        server.close()
        await server.wait_closed()

    run_on(type("Subclass", (EventLoop,), {name: method}), program)
    assert len(seen) >= (2 if name == "_make_ssl_transport" else 1)
