"""Servers: create_server, create_unix_server and what they return."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import json
import os
import socket
import subprocess
import sys
import warnings
import weakref

import pytest

from trio_asyncio_c import EventLoop

from ._helpers import (
    STOCK,
    Recorder,
    need_own,
    normal,
    on_both,
    on_ours,
    outcome,
    outcome_of,
    receive,
    receive_all,
    reset,
    run_on,
    turns,
    until,
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


# Serving


@pytest.mark.parametrize("backlog", [None, 1, 5, 1000])
def test_a_server_answers(backlog):
    async def program(loop, seen):
        clients = Clients()
        options = {} if backlog is None else {"backlog": backlog}
        server = await loop.create_server(clients, "127.0.0.1", 0, **options)
        seen.append((type(server).__name__, server.is_serving()))
        seen.append(server.get_loop() is loop)
        address = server.sockets[0].getsockname()
        for _ in range(20):
            seen.append(await ask(address))
        await end(server, clients)
        seen.append(server.is_serving())
        seen.append({tuple(protocol.names) for protocol in clients.made})

    assert on_both(program) == [
        *[("Server", True), True],
        *[b"HELLO"] * 20,
        *[False, {("made", "data", "eof", "lost")}],
    ]


def test_many_clients_at_once():
    async def program(loop, seen):
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0, backlog=200)
        address = server.sockets[0].getsockname()
        answers = await asyncio.gather(
            *[ask(address, text=b"client %d" % i) for i in range(150)]
        )
        seen.append(answers == [b"CLIENT %d" % i for i in range(150)])
        await end(server, clients)
        seen.append(len(clients.made))

    assert on_both(program) == [True, 150]


def test_what_an_accepted_transport_knows():
    async def program(loop, seen):
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        with connect(address) as sock:
            await until(lambda: clients.made and clients.made[0].transport)
            (protocol,) = clients.made
            get = protocol.transport.get_extra_info
            seen.append(get("peername") == sock.getsockname())
            seen.append(get("sockname") == address)
            seen.append(get("socket").type)
            seen.append(isinstance(protocol.transport, asyncio.Transport))
            no_delay = get("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            seen.append(bool(no_delay))
            seen.append(os.get_inheritable(get("socket").fileno()))
            seen.append(normal(repr(protocol.transport)))
        await end(server, clients)

    assert on_both(program)[:2] == [True, True]


def test_a_listener_without_a_protocol_number():
    """uvicorn #3149: what it accepts waits for no acknowledgement either."""

    async def program(loop, seen):
        clients = Clients()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0) as sock:
            sock.bind(("127.0.0.1", 0))
            server = await loop.create_server(clients, sock=sock)
            with connect(sock.getsockname()):
                await until(lambda: clients.made and clients.made[0].transport)
                transport = clients.made[0].transport
            try:
                need_own(transport)
                accepted = transport.get_extra_info("socket")
                option = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                seen.append(bool(option))
            finally:
                await end(server, clients)

    assert on_ours(program, "the protocol's number decides") == [True]


@pytest.mark.parametrize("keyword", [False, True])
def test_start_serving(keyword):
    async def program(loop, seen):
        clients = Clients()
        options = {"start_serving": False} if keyword else {}
        server = await loop.create_server(clients, "127.0.0.1", 0, **options)
        address = server.sockets[0].getsockname()
        seen.append(server.is_serving())
        if keyword:
            with socket.socket() as sock:
                seen.append(outcome(sock.connect, address))
        for _ in range(2):
            seen.append(await server.start_serving())
            seen.append(server.is_serving())
        seen.append(await ask(address))
        await end(server, clients)
        seen.append(await outcome_of(server.start_serving()))

    notes = on_both(program)
    assert notes[0] is not keyword
    assert b"HELLO" in notes


def test_a_client_that_came_before_the_serving():
    async def program(loop, seen):
        clients = Clients()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            with connect(listener.getsockname()) as sock:
                sock.send(b"early")
                server = await loop.create_server(clients, sock=listener)
                seen.append(await receive(sock, 5))
            await end(server, clients)

    assert on_both(program) == [b"EARLY"]


def test_clients_that_reset_before_they_are_accepted():
    async def program(loop, seen):
        clients = Clients()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            for _ in range(5):
                reset(connect(listener.getsockname()))
            server = await loop.create_server(clients, sock=listener)
            seen.append(await ask(listener.getsockname()))
            await end(server, clients)
            seen.append({protocol.names[-1] for protocol in clients.made})

    assert on_both(program) == [b"HELLO", {"lost"}]


# asyncio leaves the socket of a connection that it drops so to the collector.
@pytest.mark.filterwarnings("ignore:.*unclosed <socket")
def test_a_factory_that_raises():
    async def program(loop, seen):
        answers = [ZeroDivisionError("from the factory"), OSError(5, "own")]
        clients = Clients()

        def factory():
            if answers:
                raise answers.pop()
            return clients()

        server = await loop.create_server(factory, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        for _ in range(2):
            with connect(address) as sock:
                # The connection is dropped.
                seen.append(await outcome_of(receive_all(sock)))
        seen.append(await ask(address))
        await end(server, clients)

    notes = on_both(program)
    assert notes[:3] == [b"", b"", b"HELLO"]


@pytest.mark.parametrize("name", ["made", "data", "eof", "lost"])
def test_callbacks_that_raise(name):
    async def program(loop, seen):
        def throw(protocol):
            raise ZeroDivisionError("from a callback")

        clients = Clients({name: throw})
        server = await loop.create_server(clients, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        for _ in range(2):
            with connect(address) as sock:
                await loop.sock_sendall(sock, b"data")
                sock.shutdown(socket.SHUT_WR)
                seen.append(await outcome_of(receive_all(sock)))
        await end(server, clients)
        seen.append([protocol.names for protocol in clients.made])

    on_both(program)


# Where to serve


def test_several_hosts():
    async def program(loop, seen):
        clients = Clients()
        hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
        server = await loop.create_server(clients, hosts, 0)
        addresses = [sock.getsockname() for sock in server.sockets]
        seen.append(sorted(host for host, _ in addresses))
        for address in addresses:
            seen.append(await ask(address))
        await end(server, clients)

    assert on_both(program) == [
        ["127.0.0.1", "127.0.0.2", "127.0.0.3"],
        *[b"HELLO"] * 3,
    ]


@pytest.mark.parametrize("host", [None, "", "localhost", ["127.0.0.1", "::1"], "::1"])
def test_hosts_of_several_families(host):
    async def program(loop, seen):
        clients = Clients()
        server = await loop.create_server(clients, host, 0)
        seen.append(sorted(sock.family for sock in server.sockets))
        for sock in server.sockets:
            address = "::1" if sock.family == socket.AF_INET6 else "127.0.0.1"
            port = sock.getsockname()[1]
            seen.append(await ask((address, port), sock.family))
            if sock.family == socket.AF_INET6:
                only = sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
                seen.append(only)
        await end(server, clients)

    assert b"HELLO" in on_both(program)


@pytest.mark.parametrize("family", [socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6])
def test_family(family):
    async def program(loop, seen):
        for host in ("127.0.0.1", "::1", None):
            server = await outcome_of(
                loop.create_server(Clients(), host, 0, family=family)
            )
            if isinstance(server, tuple):
                seen.append(server)
            else:
                seen.append(sorted(sock.family for sock in server.sockets))
                await end(server)

    on_both(program)


def test_the_same_port_twice():
    async def program(loop, seen):
        server = await loop.create_server(Clients(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        answer = await outcome_of(loop.create_server(Clients(), "127.0.0.1", port))
        seen.append((answer[0], answer[1].replace(str(port), "PORT")))
        answer = await outcome_of(
            loop.create_server(Clients(), ["127.0.0.2", "127.0.0.1"], port)
        )
        seen.append((answer[0], answer[1].replace(str(port), "PORT")))
        await end(server)
        # Nothing of it is left: it can be had again.
        server = await loop.create_server(Clients(), "127.0.0.1", port)
        await end(server)

    notes = on_both(program)
    assert notes[0][0] == "OSError"
    assert "address already in use" in notes[0][1].lower()


def test_reuse_port():
    async def program(loop, seen):
        servers = []
        port = 0
        for _ in range(3):
            server = await loop.create_server(
                Clients(), "127.0.0.1", port, reuse_port=True
            )
            servers.append(server)
            port = server.sockets[0].getsockname()[1]
        for server in servers:
            (sock,) = server.sockets
            seen.append(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))
        seen.append(await ask(("127.0.0.1", port)))
        for server in servers:
            server.close()
        for server in servers:
            await end(server, server._protocol_factory)

    assert on_both(program) == [1, 1, 1, b"HELLO"]


@pytest.mark.parametrize("reuse", [None, False, True])
def test_reuse_address(reuse):
    async def program(loop, seen):
        server = await loop.create_server(
            Clients(), "127.0.0.1", 0, reuse_address=reuse
        )
        (sock,) = server.sockets
        seen.append(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR))
        await end(server)

    assert on_both(program) == [0 if reuse is False else 1]


@NEW_IN_3_13
@pytest.mark.parametrize("keep_alive", [None, False, True])
def test_keep_alive(keep_alive):
    async def program(loop, seen):
        clients = Clients()
        server = await loop.create_server(
            clients, "127.0.0.1", 0, keep_alive=keep_alive
        )
        (sock,) = server.sockets
        seen.append(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        with connect(sock.getsockname()):
            await until(lambda: clients.made and clients.made[0].transport)
            accepted = clients.made[0].transport.get_extra_info("socket")
            seen.append(accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        await end(server, clients)

    assert on_both(program) == [int(keep_alive is True)] * 2


BAD_SERVERS = {
    "nothing": lambda loop, sock: loop.create_server(Recorder),
    "host and sock": lambda loop, sock: loop.create_server(
        Recorder, "127.0.0.1", 0, sock=sock
    ),
    "ssl of a wrong type": lambda loop, sock: loop.create_server(
        Recorder, "127.0.0.1", 0, ssl=True
    ),
    "ssl as a number": lambda loop, sock: loop.create_server(
        Recorder, "127.0.0.1", 0, ssl=1
    ),
    "handshake timeout without ssl": lambda loop, sock: loop.create_server(
        Recorder, "127.0.0.1", 0, ssl_handshake_timeout=1
    ),
    "shutdown timeout without ssl": lambda loop, sock: loop.create_server(
        Recorder, "127.0.0.1", 0, ssl_shutdown_timeout=1
    ),
    "a datagram socket": lambda loop, sock: loop.create_server(Recorder, sock=sock),
    "a name that is none": lambda loop, sock: loop.create_server(
        Recorder, "host.invalid", 0
    ),
    "an address of others": lambda loop, sock: loop.create_server(
        Recorder, "192.0.2.1", 0
    ),
    "a port out of range": lambda loop, sock: loop.create_server(
        Recorder, "127.0.0.1", 70000
    ),
    "a service that is none": lambda loop, sock: loop.create_server(
        Recorder, "127.0.0.1", "no-such-service"
    ),
    "a port as text": lambda loop, sock: loop.create_server(Recorder, "127.0.0.1", "x"),
    "a host that is none": lambda loop, sock: loop.create_server(Recorder, 5, 0),
    "no hosts": lambda loop, sock: loop.create_server(Recorder, [], 0),
    "hosts that are none": lambda loop, sock: loop.create_server(Recorder, [5], 0),
    "a path as host": lambda loop, sock: loop.create_server(Recorder, "/tmp/x", 0),
    "an unknown keyword": lambda loop, sock: loop.create_server(
        Recorder, "127.0.0.1", 0, nonsense=1
    ),
    "unix: nothing": lambda loop, sock: loop.create_unix_server(Recorder),
    "unix: path and sock": lambda loop, sock: loop.create_unix_server(
        Recorder, "/tmp/x", sock=sock
    ),
    "unix: a datagram socket": lambda loop, sock: loop.create_unix_server(
        Recorder, sock=sock
    ),
    "unix: ssl of a wrong type": lambda loop, sock: loop.create_unix_server(
        Recorder, "/tmp/x", ssl=True
    ),
    "unix: timeouts without ssl": lambda loop, sock: loop.create_unix_server(
        Recorder, "/tmp/x", ssl_handshake_timeout=1
    ),
    "unix: no such folder": lambda loop, sock: loop.create_unix_server(
        Recorder, "/nonexistent/folder/socket"
    ),
    "unix: too long": lambda loop, sock: loop.create_unix_server(
        Recorder, "/tmp/" + "x" * 200
    ),
    "unix: a number": lambda loop, sock: loop.create_unix_server(Recorder, 5),
}


@pytest.mark.parametrize("name", BAD_SERVERS)
def test_arguments_that_are_refused(name):
    async def program(loop, seen):
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            try:
                server = await BAD_SERVERS[name](loop, sock)
            except Exception as exc:
                seen.append((type(exc).__name__, normal(str(exc))))
            else:
                seen.append("accepted")
                server.close()
                await server.wait_closed()

    on_both(program)


# Sockets of one's own


@pytest.mark.parametrize("kind", ["listening", "bound", "blocking"])
def test_a_socket_that_is_given(kind):
    async def program(loop, seen):
        clients = Clients()
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        if kind == "listening":
            sock.listen(1)
        sock.setblocking(kind == "blocking")
        address = sock.getsockname()
        server = await loop.create_server(clients, sock=sock)
        seen.append(server.sockets[0].fileno() == sock.fileno())
        seen.append(sock.gettimeout())
        seen.append(await ask(address))
        await end(server, clients)
        # It is the server's, which has closed it.
        seen.append(sock.fileno())
        with socket.socket() as other:
            seen.append(outcome(other.connect, address)[0])

    assert on_both(program) == [True, 0.0, b"HELLO", -1, "ConnectionRefusedError"]


def test_sockets_property():
    async def program(loop, seen):
        server = await loop.create_server(Clients(), ["127.0.0.1", "127.0.0.2"], 0)
        seen.append((type(server.sockets).__name__, len(server.sockets)))
        for sock in server.sockets:
            seen.append(type(sock).__name__)
            seen.append((sock.family, sock.type))
            seen.append(loop._transports.get(sock.fileno()))
        seen.append(outcome(setattr, server, "sockets", ())[0])
        sockets = server.sockets
        await end(server)
        seen.append(server.sockets)
        seen.append([sock.fileno() for sock in sockets])

    assert on_both(program)[-2:] == [(), [-1, -1]]


def test_repr():
    async def program(loop, seen):
        server = await loop.create_server(Clients(), "127.0.0.1", 0)
        port = str(server.sockets[0].getsockname()[1])
        seen.append(normal(repr(server)).replace(port, "PORT"))
        await end(server)
        seen.append(repr(server))

    assert on_both(program)[-1] == "<Server sockets=()>"


# Closing


@pytest.mark.parametrize("first", ["server", "clients"])
def test_close_in_all_orders(first):
    async def program(loop, seen):
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        with connect(address) as sock:
            await until(lambda: clients.made and clients.made[0].transport)
            if first == "server":
                seen.append(server.close())
                seen.append(server.close())
                # Who is connected stays so.
                await loop.sock_sendall(sock, b"still there")
                seen.append(await receive(sock, 11))
                clients.made[0].transport.close()
            else:
                clients.made[0].transport.close()
                await clients.made[0].until("lost")
                seen.append(await ask(address))
                server.close()
            seen.append(server.is_serving())
            await clients.all_lost()
            seen.append(await server.wait_closed())
            seen.append(await server.wait_closed())

    on_both(program)


def test_nobody_is_accepted_after_close():
    async def program(loop, seen):
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0)
        with connect(server.sockets[0].getsockname()) as sock:
            # It waits in the backlog.
            server.close()
            await server.wait_closed()
            seen.append(await outcome_of(receive_all(sock)))
        seen.append(len(clients.made))

    assert on_both(program)[-1] == 0


@pytest.mark.parametrize("clients_first", [False, True])
def test_wait_closed(clients_first):
    """What the running version has it wait for: it was changed in 3.12."""

    async def program(loop, seen):
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0)
        with connect(server.sockets[0].getsockname()):
            await until(lambda: clients.made and clients.made[0].transport)
            waiting = [asyncio.create_task(server.wait_closed()) for _ in range(3)]

            async def note(what):
                await turns(3)
                seen.append((what, [task.done() for task in waiting]))

            await note("open")
            for what in ["clients", "server"][:: 1 if clients_first else -1]:
                if what == "server":
                    server.close()
                else:
                    clients.made[0].transport.close()
                    await clients.all_lost()
                await note(what)
            await asyncio.gather(*waiting)
            await server.wait_closed()

    notes = on_both(program)
    if sys.version_info >= (3, 12):
        assert notes[0] == ("open", [False] * 3)


def test_wait_closed_cancelled():
    async def program(loop, seen):
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0)
        with connect(server.sockets[0].getsockname()):
            await until(lambda: clients.made and clients.made[0].transport)
            first = asyncio.create_task(server.wait_closed())
            await turns(2)
            first.cancel()
            seen.append(await outcome_of(first))
            server.close()
            clients.made[0].transport.abort()
            seen.append(await server.wait_closed())

    assert on_both(program)[-1] is None


@NEW_IN_3_13
@pytest.mark.parametrize("how", ["close_clients", "abort_clients"])
@pytest.mark.parametrize("close_first", [False, True])
def test_close_clients_and_abort_clients(how, close_first):
    async def program(loop, seen):
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(connect(address)) for _ in range(3)]
            await until(lambda: len(clients.made) == 3)
            for protocol in clients.made:
                await protocol.until("made")
                if how == "abort_clients":
                    protocol.transport.write(bytes(16 << 20))
            if close_first:
                server.close()
            seen.append(getattr(server, how)())
            seen.append(getattr(server, how)())
            server.close()
            await server.wait_closed()
            seen.append([protocol.names[-1] for protocol in clients.made])
            for sock in socks:
                data = await receive_all(sock)
                seen.append(len(data) < 16 << 20)
        seen.append(getattr(server, how)())

    assert on_both(program) == [None, None, ["lost"] * 3, True, True, True, None]


@NEW_IN_3_13
def test_a_client_that_is_forgotten_is_no_client():
    async def program(loop, seen):
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0)
        with connect(server.sockets[0].getsockname()):
            await until(lambda: clients.made and clients.made[0].transport)
            await turns(3)
            clients.made[0].transport.pause_reading()
            reference = weakref.ref(clients.made[0].transport)
            clients.made.clear()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                gc.collect()
            assert any("unclosed transport" in str(w.message) for w in caught)
            caught.clear()  # the warnings know the transport
            gc.collect()
            seen.append(reference())
        server.close()
        seen.append(await server.wait_closed())

    assert on_both(program) == [None, None]


def test_async_with():
    async def program(loop, seen):
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0, start_serving=False)
        async with server as same:
            seen.append((same is server, server.is_serving()))
            await server.start_serving()
            seen.append(await ask(server.sockets[0].getsockname()))
            await clients.all_lost()
        seen.append((server.is_serving(), server.sockets))

    assert on_both(program) == [(True, False), b"HELLO", (False, ())]


@NEW_IN_3_12
@pytest.mark.parametrize("by", ["close", "cancel"])
def test_serve_forever_ends(by):
    """uvloop #602: close() ends it, too."""

    async def program(loop, seen):
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0, start_serving=False)
        task = asyncio.create_task(server.serve_forever())
        await turns(2)
        seen.append(server.is_serving())
        seen.append((await outcome_of(server.serve_forever()))[0])
        seen.append(await ask(server.sockets[0].getsockname()))
        await clients.all_lost()
        if by == "close":
            server.close()
        else:
            task.cancel()
        seen.append(await outcome_of(task))
        seen.append((server.is_serving(), server.sockets))
        seen.append(await server.wait_closed())
        answer = await outcome_of(server.serve_forever())
        seen.append(answer)

    notes = on_both(program)
    assert notes[:4] == [True, "RuntimeError", b"HELLO", ("CancelledError", "")]
    assert notes[-1] == ("RuntimeError", "server <Server sockets=()> is closed")


def test_the_clients_when_serve_forever_is_cancelled():
    """zuvloop #156: it waits for them; from 3.14 on it closes them first."""

    async def program(loop, seen):
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0)
        task = asyncio.create_task(server.serve_forever())
        with connect(server.sockets[0].getsockname()) as sock:
            await until(lambda: clients.made and clients.made[0].transport)
            task.cancel()
            await turns(3)
            await loop.sock_sendall(sock, b"still there")
            seen.append(await receive(sock, 11))
        await clients.all_lost()
        seen.append(await outcome_of(task))

    assert on_both(program) == [
        b"STILL THERE" if sys.version_info < (3, 14) else b"",
        ("CancelledError", ""),
    ]


@pytest.mark.parametrize("make", [STOCK, EventLoop])
def test_a_server_that_is_left_open_when_the_loop_closes(make):
    loop = make()
    server = loop.run_until_complete(loop.create_server(Clients(), "127.0.0.1", 0))
    address = server.sockets[0].getsockname()
    loop.close()
    with pytest.warns(ResourceWarning, match="unclosed <socket"):
        del server
        gc.collect()
    with socket.socket() as sock, pytest.raises(ConnectionRefusedError):
        sock.connect(address)


@pytest.mark.parametrize("where", ["made", "data", "lost"])
def test_close_in_a_callback(where):
    async def program(loop, seen):
        protocol = Recorder(seen, {where: lambda protocol: server.close()})
        server = await loop.create_server(lambda: protocol, "127.0.0.1", 0)
        with connect(server.sockets[0].getsockname()) as sock:
            sock.send(b"data")
            await protocol.until_received(4)
        await protocol.until("lost")
        await server.wait_closed()

    assert on_both(program) == [("made",), ("data", b"data"), ("eof",), ("lost", None)]


# Unix servers


@pytest.mark.parametrize("make_path", [str, os.fsencode, lambda path: path])
def test_a_path(tmp_path, make_path):
    async def program(loop, seen):
        path = tmp_path / "socket"
        clients = Clients()
        server = await loop.create_unix_server(clients, make_path(path))
        seen.append(path.is_socket())
        seen.append(await ask(str(path), socket.AF_UNIX))
        seen.append(await ask(str(path), socket.AF_UNIX))
        await end(server, clients)
        get = clients.made[0].transport.get_extra_info
        seen.append((get("peername"), get("sockname") == str(path)))
        # Removed from 3.13 on.
        seen.append(path.exists())
        path.unlink(missing_ok=True)

    assert on_both(program)[-1] is (sys.version_info < (3, 13))


def test_abstract_names():
    async def program(loop, seen):
        name = f"\0trio-asyncio-c-{os.getpid()}"
        for path in (name, name.encode()):
            clients = Clients()
            server = await loop.create_unix_server(clients, path)
            seen.append(await ask(path, socket.AF_UNIX))
            seen.append(server.sockets[0].getsockname() == name.encode())
            again = await outcome_of(loop.create_unix_server(clients, path))
            seen.append(again[0])
            await end(server, clients)

    assert on_both(program) == [b"HELLO", True, "OSError"] * 2


def test_what_is_in_the_way(tmp_path):
    async def program(loop, seen):
        path = tmp_path / "socket"
        # A socket that nobody uses is replaced.
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
        server = await loop.create_unix_server(Clients(), path)
        # So is one that somebody uses; but not through the same server's close.
        second = await outcome_of(loop.create_unix_server(Clients(), path))
        if isinstance(second, tuple):
            seen.append((second[0], second[1].replace(str(path), "PATH")))
        else:
            second.close()
            await second.wait_closed()
            seen.append("replaced")
        await end(server)
        path.unlink(missing_ok=True)
        path.write_text("a file")
        answer = await outcome_of(loop.create_unix_server(Clients(), path))
        seen.append((answer[0], answer[1].replace(str(path), "PATH")))
        seen.append(path.read_text())
        path.unlink()

    on_both(program)


@NEW_IN_3_13
@pytest.mark.parametrize("cleanup", [None, True, False])
def test_cleanup_socket(tmp_path, cleanup):
    async def program(loop, seen):
        path = tmp_path / "socket"
        options = {} if cleanup is None else {"cleanup_socket": cleanup}
        server = await loop.create_unix_server(Clients(), path, **options)
        server.close()
        seen.append(path.exists())
        await server.wait_closed()
        path.unlink(missing_ok=True)

        # Somebody else's by now.
        server = await loop.create_unix_server(Clients(), path, **options)
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            await end(server)
            seen.append(path.exists())
        path.unlink(missing_ok=True)

        # Gone already.
        server = await loop.create_unix_server(Clients(), path, **options)
        path.unlink()
        await end(server)
        seen.append(path.exists())

    assert on_both(program) == [cleanup is False, True, False]


@pytest.mark.parametrize("cleanup", [None, True, False])
def test_a_socket_that_is_handed_over(tmp_path, cleanup):
    """cpython #133354: as by systemd, which uses it again for the next process; the
    path goes or stays as the running version has it."""
    if cleanup is not None and sys.version_info < (3, 13):
        pytest.skip("cleanup_socket came with CPython 3.13")

    async def program(loop, seen):
        path = tmp_path / "socket"
        options = {} if cleanup is None else {"cleanup_socket": cleanup}
        with socket.socket(socket.AF_UNIX) as parents:
            parents.bind(str(path))
            parents.listen()
            ours = socket.socket(fileno=os.dup(parents.fileno()))
            clients = Clients()
            server = await loop.create_unix_server(clients, sock=ours, **options)
            seen.append(await ask(str(path), socket.AF_UNIX))
            await end(server, clients)
            seen.append(path.exists())
            if path.exists():
                # It goes on listening.
                with connect(str(path), socket.AF_UNIX):
                    parents.setblocking(False)
                    accepted, _ = parents.accept()
                    accepted.close()
        path.unlink(missing_ok=True)

    assert on_both(program)[0] == b"HELLO"


def test_a_tcp_socket_that_is_handed_over():
    async def program(loop, seen):
        with socket.create_server(("127.0.0.1", 0)) as parents:
            for _ in range(2):
                ours = socket.socket(fileno=os.dup(parents.fileno()))
                clients = Clients()
                server = await loop.create_server(clients, sock=ours)
                seen.append(await ask(parents.getsockname()))
                await end(server, clients)
            with connect(parents.getsockname()):
                accepted, _ = parents.accept()
                accepted.close()

    assert on_both(program) == [b"HELLO", b"HELLO"]


# Bad times

OUT_OF_DESCRIPTORS = """
import asyncio, json, os, resource, socket, sys
import asyncio.constants
asyncio.constants.ACCEPT_RETRY_DELAY = 0.05
import trio_asyncio_c

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        made.append(self)
    def data_received(self, data):
        self.transport.write(data)

made, told = [], set()

def handler(loop, context):
    if "socket" not in context:
        return  # asyncio tries again even when the server has been closed
    told.add((context["message"], type(context["exception"]).__name__,
              context["exception"].errno, type(context["socket"]).__name__))

async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(handler)
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    clients = [socket.socket() for _ in range(5)]
    for client in clients:
        client.setblocking(False)
    wasted = []
    highest = max(int(name) for name in os.listdir("/proc/self/fd")) + 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, highest))
    while True:
        try:
            wasted.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            break
    for client in clients:
        await loop.sock_connect(client, address)
    while not told:
        await asyncio.sleep(0.01)
    before = len(made), server.is_serving()
    for fd in wasted:
        os.close(fd)
    clients[0].send(b"hello")
    answer = await asyncio.wait_for(loop.sock_recv(clients[0], 5), 30)
    for client in clients:
        client.close()
    for protocol in made:
        protocol.transport.abort()
    server.close()
    await asyncio.sleep(0)
    await server.wait_closed()
    print(json.dumps([sorted(told), before, answer.decode()]))

make = {"stock": asyncio.SelectorEventLoop, "ours": trio_asyncio_c.EventLoop}[sys.argv[1]]
loop = make()
loop.run_until_complete(main())
loop.run_until_complete(asyncio.sleep(0.2))
loop.close()
"""


def test_out_of_descriptors():
    """The server backs off, says so and goes on once there are some again."""
    answers = []
    for which in ("stock", "ours"):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", OUT_OF_DESCRIPTORS, which],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        answers.append(json.loads(done.stdout))
    stock, ours = answers
    assert ours == stock
    told, before, answer = ours
    assert told == [
        ["socket.accept() out of system resource", "OSError", 24, "TransportSocket"]
    ]
    assert (before, answer) == ([0, True], "hello")


def test_servers_of_several_loops_on_one_socket():
    """Neither is disturbed when the other has taken the client."""
    with socket.create_server(("127.0.0.1", 0)) as parents:
        loops = [STOCK(), EventLoop(), EventLoop()]
        clients = [Clients() for _ in loops]
        servers = [
            loop.run_until_complete(
                loop.create_server(
                    made, sock=socket.socket(fileno=os.dup(parents.fileno()))
                )
            )
            for loop, made in zip(loops, clients, strict=True)
        ]
        for loop in loops:
            assert loop.run_until_complete(ask(parents.getsockname())) == b"HELLO"
        for loop, server, made in zip(loops, servers, clients, strict=True):
            loop.run_until_complete(end(server, made))
            loop.close()
    assert [len(made.made) for made in clients] == [1, 1, 1]


@pytest.mark.parametrize("make", [STOCK, EventLoop])
def test_nothing_is_kept_of_closed_servers(make):
    async def program(loop, seen):
        references = []
        for _ in range(5):
            clients = Clients()
            server = await loop.create_server(clients, "127.0.0.1", 0)
            await ask(server.sockets[0].getsockname())
            await end(server, clients)
            references += weakref.ref(server), weakref.ref(clients)
            references += [weakref.ref(protocol) for protocol in clients.made]
            del server, clients
        await turns(2)
        gc.collect()
        seen.append([reference() for reference in references])

    assert run_on(make, program) == [[None] * 15]


def test_streams_servers():
    async def program(loop, seen):
        async def serve(reader, writer):
            while line := await reader.readline():
                writer.write(line.upper())
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            address = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"one\ntwo\n")
            seen.append([await reader.readline(), await reader.readline()])
            writer.write_eof()
            seen.append(await reader.read())
            writer.close()
            await writer.wait_closed()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    assert on_both(program) == [[b"ONE\n", b"TWO\n"], b""]


# asyncio leaves the socket of a connection that it drops so to the collector.
@pytest.mark.filterwarnings("ignore:.*unclosed <socket")
def test_a_factory_may_be_anything_that_can_be_called():
    async def program(loop, seen):
        for factory in (functools.partial(Recorder, [], {"data": send_back}),):
            server = await loop.create_server(factory, "127.0.0.1", 0)
            seen.append(await ask(server.sockets[0].getsockname()))
            await end(server)
            await turns(5)
        for factory in (None, 5):
            server = await loop.create_server(factory, "127.0.0.1", 0)
            with connect(server.sockets[0].getsockname()) as sock:
                seen.append(await outcome_of(receive_all(sock)))
            await end(server)

    on_both(program)


@pytest.mark.parametrize("name", ["_attach", "_detach"])
def test_a_server_that_counts_in_its_own_way(name, monkeypatch):
    original = getattr(asyncio.base_events.Server, name)

    async def program(loop, seen):
        def counting(server, *args):
            seen.append(name)
            return original(server, *args)

        monkeypatch.setattr(asyncio.base_events.Server, name, counting)
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        transport, protocol = await loop.create_connection(Recorder, *address)
        transport.close()
        await protocol.until("lost")
        server.close()
        await server.wait_closed()
        monkeypatch.undo()

    assert name in on_both(program)
