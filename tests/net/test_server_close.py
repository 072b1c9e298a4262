"""Servers: how they close, and what they bear."""

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
    on_both,
    outcome_of,
    receive,
    receive_all,
    run_on,
    turns,
    until,
)
from ._server_helpers import (
    NEW_IN_3_12,
    NEW_IN_3_13,
    Clients,
    ask,
    connect,
    end,
    send_back,
)

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
