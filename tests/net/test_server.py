"""Servers: accepting, where, and on which sockets."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from ._helpers import (
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
    turns,
    until,
)
from ._server_helpers import NEW_IN_3_13, Clients, ask, connect, end

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


def test_no_socket_object_is_made():
    async def program(loop, seen):
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0)
        await ask(server.sockets[0].getsockname())
        seen.append(clients.made[0].transport._made_sock)
        await end(server, clients)

    why = "a socket object is made for each connection"
    assert on_ours(program, why) == [None]


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


NAMES = ["socket", "sockname", "peername"]


@pytest.mark.parametrize("before", [[], ["socket"], ["sockname"], ["peername"]])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_an_accepted_transport_knows_afterwards(host, before):
    """Whatever was asked while there was a connection, and in whatever order."""

    async def program(loop, seen):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        for names in (NAMES, NAMES[::-1]):
            clients = Clients()
            server = await loop.create_server(clients, host, 0)
            address = server.sockets[0].getsockname()
            with connect(address, family) as sock:
                await until(lambda: clients.made and clients.made[0].transport)
                get = clients.made[0].transport.get_extra_info
                for name in before:
                    assert get(name)
                peer = sock.getsockname()
            await end(server, clients)
            known = {name: get(name) for name in names}
            seen.append((known["sockname"] == address, known["peername"] == peer))
            seen.append((known["socket"].fileno(), known["socket"].family))

    assert on_both(program)[::2] == [(True, True)] * 2


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


@pytest.mark.parametrize("name", ["_attach", "_detach"])
def test_a_server_that_counts_in_its_own_way(name, monkeypatch):
    original = getattr(asyncio.base_events.Server, name)

    async def program(loop, seen):
        def counting(server, *args):
            seen.append(name)
            return original(server, *args)

        monkeypatch.setattr(asyncio.base_events.Server, name, counting)
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        transport, protocol = await loop.create_connection(Recorder, *address)
        await until(lambda: clients.made)
        transport.close()
        await protocol.until("lost")
        await end(server, clients)
        await turns(2)
        monkeypatch.undo()

    assert name in on_both(program)
