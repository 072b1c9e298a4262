"""Datagram endpoints."""

from __future__ import annotations

import array
import asyncio
import contextlib
import gc
import logging
import os
import socket
import sys
import warnings
import weakref

import pytest

from trio_asyncio_c import EventLoop

from ._helpers import (
    STOCK,
    described,
    need_own,
    normal,
    on_both,
    on_ours,
    outcome,
    outcome_of,
    run_on,
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


# Sending and receiving


@pytest.mark.parametrize("kind", KINDS)
def test_not_connected(kind):
    async def program(loop, seen):
        with plain(kind) as one, plain(kind) as two:
            async with endpoint(lambda: Datagrams(seen), kind) as (transport, protocol):
                here = address_of(transport)
                for i, sock in enumerate((one, two, one)):
                    sock.sendto(b"%d" % i, here)
                await protocol.until_received(3)
                senders = [addr for _, addr in protocol.received]
                seen.append(senders == [s.getsockname() for s in (one, two, one)])
                for sock in (one, two):
                    seen.append(transport.sendto(b"answer", sock.getsockname()))
                    data, addr = await loop.sock_recvfrom(sock, 100)
                    seen.append((data, addr == here))

    assert on_both(program) == [
        *[("made",), ("data", b"0"), ("data", b"1"), ("data", b"2"), True],
        *[None, (b"answer", True)] * 2,
        ("lost", None),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_connected(kind):
    """uvloop #403: AF_UNIX, too."""

    async def program(loop, seen):
        with plain(kind) as peer, plain(kind) as stranger:
            name = peer.getsockname()
            async with endpoint(
                lambda: Datagrams(seen), kind, name[:2] if kind != "unix" else name
            ) as (transport, protocol):
                here = address_of(transport)
                if kind != "unix":
                    # Of others nothing is received.
                    stranger.sendto(b"not heard", here)
                seen.append(transport.sendto(b"hello"))
                seen.append(await loop.sock_recv(peer, 100))
                seen.append(transport.sendto(b"hello", None))
                seen.append(await loop.sock_recv(peer, 100))
                seen.append(transport.get_extra_info("peername") == name)
                peer.sendto(b"answer", here)
                await protocol.until("data")
                seen.append(protocol.received[0][1] == name)

    assert on_both(program) == [
        *[("made",), None, b"hello", None, b"hello", True],
        *[("data", b"answer"), True, ("lost", None)],
    ]


def test_the_peers_address_may_be_given_again():
    async def program(loop, seen):
        with plain() as peer, plain() as other:
            name = peer.getsockname()
            async with endpoint(remote=name) as (transport, _):
                for addr in (name, list(name), other.getsockname(), "x", 0, ()):
                    answer = outcome(transport.sendto, b"data", addr)
                    seen.append(hide(answer, name, other.getsockname()))
                seen.append(await loop.sock_recv(peer, 10))

    on_both(program)


def hide(answer, *addresses):
    """Ports differ from run to run."""
    text = normal(str(answer))
    for i, address in enumerate(addresses):
        text = text.replace(str(address[1]), f"PORT{i}")
    return text


@pytest.mark.parametrize(
    "make",
    [
        bytes,
        bytearray,
        memoryview,
        lambda data: memoryview(b"#" + data)[1:],
        lambda data: memoryview(bytearray(data)),
    ],
)
def test_types_that_are_taken(make):
    async def program(loop, seen):
        with plain() as peer:
            async with endpoint(remote=peer.getsockname()) as (transport, _):
                transport.sendto(make(b"data"))
                seen.append(await loop.sock_recv(peer, 100))

    assert on_both(program) == [b"data"]


@pytest.mark.parametrize(
    "data", [None, 1, "text", [1], array.array("B", b"a"), object, 1.5]
)
@pytest.mark.parametrize("connected", [False, True])
def test_types_that_are_refused(data, connected):
    async def program(loop, seen):
        with plain() as peer:
            name = peer.getsockname()
            async with endpoint(
                lambda: Datagrams(seen), remote=name if connected else None
            ) as (transport, _):
                args = (data,) if connected else (data, name)
                seen.append(outcome(transport.sendto, *args))
                transport.sendto(b"goes on", None if connected else name)
                seen.append(await loop.sock_recv(peer, 100))

    notes = on_both(program)
    assert notes[1][0] == "TypeError"
    assert b"goes on" in notes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("empty", [b"", bytearray(), memoryview(b"")])
def test_empty_datagrams(kind, empty):
    """Sent since 3.12 or 3.13, before that dropped; received ever since."""

    async def program(loop, seen):
        with plain(kind) as peer:
            async with endpoint(lambda: Datagrams(seen), kind) as (transport, protocol):
                peer.sendto(b"", address_of(transport))
                peer.sendto(b"after", address_of(transport))
                await protocol.until_received(2)
                transport.sendto(empty, peer.getsockname())
                transport.sendto(b"after", peer.getsockname())
                received = [await loop.sock_recv(peer, 100)]
                while received[-1] != b"after":
                    received.append(await loop.sock_recv(peer, 100))
                seen.append(received)

    notes = on_both(program)
    assert notes[:3] == [("made",), ("data", b""), ("data", b"after")]


@pytest.mark.parametrize("size", [1, 1472, 9000, 65507])
@pytest.mark.parametrize("kind", KINDS)
def test_sizes(kind, size):
    message = os.urandom(min(size, 65487 if kind == "ipv6" else size))

    async def program(loop, seen):
        with plain(kind) as peer:
            async with endpoint(Datagrams, kind) as (transport, protocol):
                peer.sendto(message, address_of(transport))
                await protocol.until("data")
                seen.append(protocol.received[0][0] == message)
                transport.sendto(message, peer.getsockname())
                seen.append(await loop.sock_recv(peer, 1 << 17) == message)

    assert on_both(program) == [True, True]


@pytest.mark.parametrize("connected", [False, True])
def test_too_large(connected):
    async def program(loop, seen):
        with plain() as peer:
            name = peer.getsockname()
            async with endpoint(
                lambda: Datagrams(seen), remote=name if connected else None
            ) as (transport, protocol):
                args = () if connected else (name,)
                seen.append(outcome(transport.sendto, bytes(1 << 16), *args))
                await turns(2)
                # The endpoint goes on (uvloop #338).
                transport.sendto(b"goes on", *args)
                seen.append(await loop.sock_recv(peer, 100))
                seen.append((transport.is_closing(), transport.get_write_buffer_size()))

    assert on_both(program) == [
        ("made",),
        ("error", ("OSError", "[Errno 90] Message too long")),
        *[None, b"goes on", (False, 0), ("lost", None)],
    ]


def test_many_in_one_turn():
    """In the order sent, each by itself."""
    count = 150

    async def program(loop, seen):
        async with endpoint() as (sender, _), endpoint() as (receiver, protocol):
            for i in range(count):
                sender.sendto(b"%d" % i, address_of(receiver))
            seen.append(sender.get_write_buffer_size())
            await protocol.until_received(count)
            seen.append([int(data) for data, _ in protocol.received])

    assert on_both(program) == [0, list(range(count))]


def test_many_that_came_at_once():
    count = 150

    async def program(loop, seen):
        with plain() as peer:
            async with endpoint() as (transport, protocol):
                for i in range(count):
                    peer.sendto(b"%d" % i, address_of(transport))
                await protocol.until_received(count)
                seen.append([int(data) for data, _ in protocol.received])

    assert on_both(program) == [list(range(count))]


@pytest.mark.parametrize("how", ["close", "abort"])
def test_ended_among_many(how):
    """Nothing is received once it is closing, whatever has been read already."""

    async def program(loop, seen):
        def end(protocol):
            if len(protocol.received) == 3:
                getattr(protocol.transport, how)()

        with plain() as peer:
            protocol = Datagrams(seen, {"data": end})
            async with endpoint(lambda: protocol) as (transport, _):
                for i in range(10):
                    peer.sendto(b"%d" % i, address_of(transport))
                await protocol.until("lost")

    assert on_both(program) == [
        *[("made",), ("data", b"0"), ("data", b"1"), ("data", b"2"), ("lost", None)],
    ]


def test_what_is_sent_before_the_loop_stops_arrives():
    for make in (STOCK, EventLoop):
        loop = make()

        async def main():
            transport, protocol = await loop.create_datagram_endpoint(
                Datagrams, remote_addr=peer.getsockname()
            )
            transport.sendto(b"one")
            transport.sendto(b"two")
            return transport

        with plain() as peer:
            transport = loop.run_until_complete(main())
            assert peer.recv(100) == b"one"
            assert peer.recv(100) == b"two"
            # Nor does it wait for a loop that does not run.
            transport.sendto(b"three")
            assert peer.recv(100) == b"three"
            transport.close()
            loop.run_until_complete(turns(3))
        loop.close()


def test_a_buffer_that_is_changed_after_it_was_sent():
    async def program(loop, seen):
        with plain() as peer:
            async with endpoint(remote=peer.getsockname()) as (transport, _):
                buffer = bytearray(b"one")
                transport.sendto(buffer)
                buffer[:] = b"two"
                transport.sendto(memoryview(buffer))
                buffer[:] = b"xyz"
                seen.append(await loop.sock_recv(peer, 100))
                seen.append(await loop.sock_recv(peer, 100))

    assert on_both(program) == [b"one", b"two"]


def test_sendto_from_callbacks():
    async def program(loop, seen):
        def send_back(protocol):
            protocol.transport.sendto(*protocol.received[-1])

        def greet(protocol):
            protocol.transport.sendto(b"greetings", peer.getsockname())

        with plain() as peer:
            protocol = Datagrams(on={"data": send_back, "made": greet})
            async with endpoint(lambda: protocol) as (transport, _):
                seen.append(await loop.sock_recv(peer, 100))
                peer.sendto(b"hello", address_of(transport))
                seen.append(await loop.sock_recv(peer, 100))

    assert on_both(program) == [b"greetings", b"hello"]


# Errors


def test_a_peer_that_is_gone():
    """The refusal is told, again and again, and closes nothing (uvloop #338)."""

    async def program(loop, seen):
        with plain() as peer:
            name = peer.getsockname()
        async with endpoint(lambda: Datagrams(seen), remote=name) as (transport, p):
            for count in (1, 2, 3):
                transport.sendto(b"anybody there?")
                await until(lambda n=count: p.names.count("error") >= n)
            seen.append(transport.is_closing())
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                peer.bind(name)
                peer.setblocking(False)
                transport.sendto(b"now?")
                seen.append(await loop.sock_recv(peer, 100))

    assert on_both(program) == [
        ("made",),
        *[("error", ("ConnectionRefusedError", "[Errno 111] Connection refused"))] * 3,
        *[False, b"now?", ("lost", None)],
    ]


@pytest.mark.parametrize(
    "addr",
    [
        None,
        (),
        5,
        "text",
        ("127.0.0.1",),
        ("127.0.0.1", "x"),
        ("127.0.0.1", 70000),
        ("127.0.0.1", -1),
        ("127.0.0.1", 0),
        ("255.255.255.255", 9),
        ("::1", 9),
        (5, 9),
        ("host with spaces", 9),
        ("host.invalid", 9),
    ],
    ids=repr,
)
def test_bad_addresses(addr):
    async def program(loop, seen):
        async with endpoint(lambda: Datagrams(seen)) as (transport, protocol):
            seen.append(outcome(transport.sendto, b"data", addr))
            await turns(3)
            seen.append(transport.is_closing())

    on_both(program)


@pytest.mark.parametrize("connected", [False, True])
def test_unix_peers_that_are_gone(connected, tmp_path):
    async def program(loop, seen):
        path = str(tmp_path / "socket")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        mine = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.bind(path)
            if connected:
                mine.connect(path)
        args = () if connected else (path,)
        async with endpoint(lambda: Datagrams(seen), sock=mine) as (transport, _):
            transport.sendto(b"data", *args)
            await turns(2)
            os.unlink(path)
            transport.sendto(b"data", *args)
            await turns(2)
            seen.append(transport.is_closing())

    notes = on_both(program)
    assert notes[1][1][0] == "ConnectionRefusedError"
    assert notes[-2:] == [False, ("lost", None)]


@pytest.mark.parametrize("exc", [ZeroDivisionError("own"), OSError(5, "own")], ids=repr)
@pytest.mark.parametrize("name", ["made", "data", "error", "lost"])
def test_callbacks_that_raise(name, exc):
    async def program(loop, seen):
        def throw(protocol):
            raise type(exc)(*exc.args)

        with plain() as peer:
            protocol = Datagrams(seen, {name: throw})
            async with endpoint(lambda: protocol) as (transport, _):
                peer.sendto(b"data", address_of(transport))
                await protocol.until("data")
                if name == "error":
                    seen.append(
                        outcome(transport.sendto, bytes(1 << 16), peer.getsockname())
                    )
                await turns(3)
                seen.append(transport.is_closing())
                transport.close()
                await protocol.until("lost")

    on_both(program)


@pytest.mark.parametrize("exc", [SystemExit(3), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("make", [STOCK, EventLoop])
def test_what_ends_a_run(make, exc):
    def throw(protocol):
        protocol.on.clear()
        raise exc

    loop = make()
    protocol = Datagrams(on={"data": throw})
    with plain() as peer:
        transport, _ = loop.run_until_complete(
            loop.create_datagram_endpoint(lambda: protocol, local_addr=("127.0.0.1", 0))
        )
        peer.sendto(b"one", address_of(transport))
        with pytest.raises(type(exc)):
            loop.run_forever()
        peer.sendto(b"two", address_of(transport))
        loop.run_until_complete(protocol.until_received(2))
        transport.close()
        loop.run_until_complete(turns(3))
    loop.close()
    assert protocol.names == ["made", "data", "data", "lost"]
    exc.__traceback__ = None


# Flow control


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


def test_flow_control():
    async def program(loop, seen):
        left, peer = clogged()
        with peer:
            async with endpoint(lambda: Datagrams(seen), sock=left) as (transport, p):
                transport.set_write_buffer_limits(high=1000, low=300)
                count = fill(transport)
                seen.append(p.names)
                while "pause" not in p.names:
                    assert transport.get_write_buffer_size() <= 1000
                    transport.sendto(b"%d:" % count + bytes(100))
                    count += 1
                got = [number(await loop.sock_recv(peer, 1000)) for _ in range(count)]
                seen.append(got == list(range(count)))
                await p.until("resume")
                await turns(2)
                transport.sendto(b"last")
                seen.append(await loop.sock_recv(peer, 1000))

    notes = on_both(program)
    assert [note[0] for note in notes if isinstance(note, tuple)] == [
        *["made", "pause", "resume", "lost"],
    ]
    assert notes[-2] == b"last"


@pytest.mark.parametrize("how", ["close", "abort"])
def test_the_end_with_something_to_send(how):
    async def program(loop, seen):
        left, peer = clogged()
        with peer:
            async with endpoint(lambda: Datagrams(seen), sock=left) as (transport, p):
                count = fill(transport)
                getattr(transport, how)()
                seen.append(transport.is_closing())
                await turns(5)
                seen.append("lost" in p.names)
                got = []
                while True:
                    try:
                        got.append(number(peer.recv(1000)))
                    except BlockingIOError:
                        if "lost" in p.names:
                            break
                        await turns(1)
                seen.append(got == list(range(count)))

    notes = on_both(program)
    assert notes.count(("lost", None)) == 1
    assert notes[-1] is (how == "close")


def test_the_size_of_what_waits():
    async def program(loop, seen):
        left, peer = clogged()
        with peer:
            async with endpoint(sock=left) as (transport, _):
                need_own(transport)
                fill(transport)
                before = transport.get_write_buffer_size()
                transport.sendto(b"12345")
                more = transport.get_write_buffer_size() - before
                seen.append(more in (5, 5 + 8))
                while transport.get_write_buffer_size():
                    with contextlib.suppress(BlockingIOError):
                        peer.recv(1000)
                    await turns(1)
                seen.append(transport.get_write_buffer_size())

    assert on_ours(program, "the size goes up and never down again") == [True, 0]


def test_a_buffer_that_is_changed_while_it_waits():
    async def program(loop, seen):
        left, peer = clogged()
        with peer:
            async with endpoint(sock=left) as (transport, _):
                count = fill(transport)
                buffer = bytearray(b"waits")
                transport.sendto(buffer)
                buffer[:] = b"XXXXX"
                got = [await loop.sock_recv(peer, 1000) for _ in range(count + 1)]
                seen.append(got[-1])

    assert on_both(program) == [b"waits"]


# Making endpoints

BAD_ENDPOINTS = {
    "nothing": {},
    "a family alone": {"family": socket.AF_INET},
    "a family that is none": {"family": 12345},
    "families that differ": {
        "local_addr": ("127.0.0.1", 0),
        "remote_addr": ("::1", 9),
    },
    "a local address of another family": {
        "family": socket.AF_INET6,
        "local_addr": ("127.0.0.1", 0),
    },
    "a local address of others": {"local_addr": ("192.0.2.1", 0)},
    "a local name that is none": {"local_addr": ("host.invalid", 0)},
    "a remote name that is none": {"remote_addr": ("host.invalid", 9)},
    "a local address of a wrong type": {"local_addr": 5},
    "a local address as text": {"local_addr": "127.0.0.1"},
    "a local address of three": {"local_addr": ("127.0.0.1", 0, 0)},
    "a remote address of one": {"remote_addr": ("127.0.0.1",)},
    "a remote address as a list": {"remote_addr": "ab"},
    "unix: a number": {"family": socket.AF_UNIX, "local_addr": 5},
    "unix: a pair": {"family": socket.AF_UNIX, "local_addr": ("127.0.0.1", 0)},
    "unix: remote number": {"family": socket.AF_UNIX, "remote_addr": 5},
    "unix: no such file": {
        "family": socket.AF_UNIX,
        "remote_addr": "/nonexistent/socket",
    },
    "unix: no such folder": {
        "family": socket.AF_UNIX,
        "local_addr": "/nonexistent/socket",
    },
    "broadcast without leave": {"remote_addr": ("255.255.255.255", 9)},
    "a protocol that is none": {"local_addr": ("127.0.0.1", 0), "proto": 6},
    "an unknown keyword": {"nonsense": 1},
    "reuse_address": {"local_addr": ("127.0.0.1", 0), "reuse_address": True},
}


@pytest.mark.parametrize("name", BAD_ENDPOINTS)
def test_arguments_that_are_refused(name):
    async def program(loop, seen):
        try:
            transport, _ = await loop.create_datagram_endpoint(
                Datagrams, **BAD_ENDPOINTS[name]
            )
        except Exception as exc:
            seen.append(described(exc))
            exc.__traceback__ = None
        else:
            seen.append("accepted")
            transport.close()

    assert len(on_both(program)) == 1


@pytest.mark.parametrize(
    "option",
    [
        {"local_addr": ("127.0.0.1", 0)},
        {"remote_addr": ("127.0.0.1", 9)},
        {"family": socket.AF_INET},
        {"proto": 17},
        {"flags": 1},
        {"reuse_port": True},
        {"allow_broadcast": True},
        {"local_addr": ("127.0.0.1", 0), "flags": 1},
        {"reuse_port": False},
    ],
    ids=repr,
)
def test_sock_and_something_else(option):
    async def program(loop, seen):
        with plain() as sock:
            answer = await outcome_of(
                loop.create_datagram_endpoint(Datagrams, sock=sock, **option)
            )
            if isinstance(answer[0], str):
                seen.append(answer)
            else:
                answer[0].close()
                await turns(2)

    on_both(program)


def test_sockets_that_are_none():
    async def program(loop, seen):
        with socket.socket() as stream:
            for sock in (stream, 5, "sock"):
                try:
                    await loop.create_datagram_endpoint(Datagrams, sock=sock)
                except Exception as exc:
                    seen.append(described(exc))

    assert len(on_both(program)) == 3


@pytest.mark.parametrize(
    "factory", [None, 5, lambda: 1 // 0], ids=["None", "5", "raises"]
)
def test_factories_that_are_none(factory):
    async def program(loop, seen):
        with plain() as sock:
            seen.append(
                await outcome_of(loop.create_datagram_endpoint(factory, sock=sock))
            )

    on_both(program)


def test_options():
    async def program(loop, seen):
        for options in (
            {},
            {"reuse_port": True},
            {"reuse_port": False},
            {"allow_broadcast": True},
            {"allow_broadcast": False},
            {"proto": socket.IPPROTO_UDP},
            {"family": socket.AF_INET},
            {"flags": socket.AI_PASSIVE},
        ):
            transport, protocol = await loop.create_datagram_endpoint(
                Datagrams, local_addr=("127.0.0.1", 0), **options
            )
            sock = transport.get_extra_info("socket")
            seen.append(
                [
                    sock.getsockopt(socket.SOL_SOCKET, option)
                    for option in (
                        socket.SO_REUSEADDR,
                        socket.SO_REUSEPORT,
                        socket.SO_BROADCAST,
                    )
                ]
            )
            seen.append((sock.family, sock.type, sock.gettimeout()))
            transport.close()
            await protocol.until("lost")

    on_both(program)


def test_reuse_port():
    async def program(loop, seen):
        async with contextlib.AsyncExitStack() as stack:
            address = "127.0.0.1", 0
            for _ in range(3):
                transport, _ = await loop.create_datagram_endpoint(
                    Datagrams, local_addr=address, reuse_port=True
                )
                stack.callback(transport.close)
                address = address_of(transport)
            seen.append(
                (
                    await outcome_of(
                        loop.create_datagram_endpoint(Datagrams, local_addr=address)
                    )
                )[0]
            )
        await turns(3)

    assert on_both(program) == ["OSError"]


@pytest.mark.parametrize("remote", ["localhost", "127.0.0.1", "::1"])
def test_remote_addresses(remote):
    async def program(loop, seen):
        with plain("ipv6" if ":" in remote else "ipv4") as peer:
            transport, protocol = await loop.create_datagram_endpoint(
                Datagrams, remote_addr=(remote, peer.getsockname()[1])
            )
            name = transport.get_extra_info("peername")
            seen.append(name == peer.getsockname())
            transport.sendto(b"hello")
            seen.append(await loop.sock_recv(peer, 10))
            transport.close()
            await protocol.until("lost")

    assert on_both(program) == [True, b"hello"]


def test_unix_paths(tmp_path):
    async def program(loop, seen):
        one, two = str(tmp_path / "one"), str(tmp_path / "two")
        first, protocol = await loop.create_datagram_endpoint(
            Datagrams, local_addr=one, family=socket.AF_UNIX
        )
        second, other = await loop.create_datagram_endpoint(
            Datagrams, local_addr=two, remote_addr=one, family=socket.AF_UNIX
        )
        second.sendto(b"hello")
        await protocol.until("data")
        seen.append(protocol.received[0][1] == two)
        first.sendto(b"answer", two)
        await other.until("data")
        seen.append(other.received[0][1] == one)
        # A socket left behind by an earlier process is replaced.
        first.close()
        await protocol.until("lost")
        seen.append(os.path.exists(one))
        third, _ = await loop.create_datagram_endpoint(
            Datagrams, local_addr=one, family=socket.AF_UNIX
        )
        second.close()
        third.close()
        await turns(3)
        seen.append(await unix_pair_without_names(loop))
        os.unlink(one)
        os.unlink(two)

    assert on_both(program) == [True, True, True, [(b"data", None)]]


async def unix_pair_without_names(loop):
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with right:
        transport, protocol = await loop.create_datagram_endpoint(Datagrams, sock=left)
        right.send(b"data")
        await protocol.until("data")
        transport.close()
        await protocol.until("lost")
    return protocol.received


@pytest.mark.parametrize("count", range(5))
def test_cancelled(count):
    async def program(loop, seen):
        task = asyncio.create_task(
            loop.create_datagram_endpoint(Datagrams, local_addr=("localhost", 0))
        )
        await turns(count)
        task.cancel()
        answer = await outcome_of(task)
        if not isinstance(answer[0], str):
            answer[0].close()
        await turns(3)

    assert on_both(program) == []


# The end, and what it says of itself


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("name", ["made", "data", "error", "lost"])
def test_ending_in_a_callback(name, how):
    async def program(loop, seen):
        def end(protocol):
            if name != "lost" or how == "close":
                getattr(protocol.transport, how)()
            seen.append(protocol.transport.is_closing())

        with plain() as peer:
            protocol = Datagrams(seen, {name: end})
            async with endpoint(lambda: protocol) as (transport, _):
                if name == "error":
                    transport.sendto(bytes(1 << 16), peer.getsockname())
                elif name == "data":
                    peer.sendto(b"data", address_of(transport))
                elif name == "lost":
                    transport.close()
                await protocol.until("lost")
                await turns(3)
                seen.append(protocol.names.count("lost"))

    assert on_both(program)[-1] == 1


def test_sending_after_the_end(caplog):
    async def program(loop, seen):
        with plain() as peer:
            for remote in (None, peer.getsockname()):
                async with endpoint(remote=remote) as (transport, protocol):
                    transport.abort()
                    for _ in range(8):
                        addr = None if remote else peer.getsockname()
                        seen.append(outcome(transport.sendto, b"data", addr))
                        seen.append(len(caplog.records))
                    await protocol.until("lost")
                    await turns(1)
                    if remote:
                        seen.append(outcome(transport.sendto, b"data"))
                        seen.append(len(caplog.records))

    caplog.set_level(logging.WARNING, "asyncio")
    answers = []
    for make in (STOCK, EventLoop):
        caplog.clear()
        seen = run_on(make, program)
        answers.append((seen, [record.getMessage() for record in caplog.records]))
    caplog.clear()
    stock, ours = answers
    assert ours == stock
    assert set(stock[1]) == {"socket.send() raised exception."}


def test_an_unclosed_endpoint_warns():
    for make in (STOCK, EventLoop):
        gc.collect()
        loop = make()

        async def main():
            transport, protocol = await loop.create_datagram_endpoint(
                Datagrams, local_addr=("127.0.0.1", 0)
            )
            fd = transport.get_extra_info("socket").fileno()
            transport.pause_reading()  # nothing of the loop's holds it then
            return weakref.ref(transport), fd

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            reference, fd = loop.run_until_complete(main())
            gc.collect()
        assert any("unclosed transport" in str(w.message) for w in caught)
        caught.clear()  # the warnings know the transport
        gc.collect()
        assert reference() is None
        with pytest.raises(OSError):
            os.fstat(fd)
        loop.close()


def test_what_it_says_of_itself():
    async def program(loop, seen):
        with plain() as peer:
            for remote in (None, peer.getsockname()):
                async with endpoint(remote=remote) as (transport, protocol):
                    for kind in (
                        asyncio.DatagramTransport,
                        asyncio.BaseTransport,
                        asyncio.Transport,
                        asyncio.WriteTransport,
                        asyncio.ReadTransport,
                    ):
                        seen.append(isinstance(transport, kind))
                    get = transport.get_extra_info
                    seen.append(get("peername") == remote)
                    seen.append(get("nonsense", "default"))
                    seen.append(type(get("socket")).__name__)
                    seen.append(get("socket").type)
                    seen.append(transport.get_write_buffer_limits())
                    seen.append(outcome(transport.set_write_buffer_limits, 5, 10))
                    seen.append(transport.get_protocol() is protocol)
                    seen.append(normal(repr(transport)))
                    fd = get("socket").fileno()
                    seen.append(loop._transports[fd] is transport)
                    seen.append(outcome(loop.add_reader, fd, print))
                    transport.own = 1
                    seen.append(weakref.ref(transport)() is transport)
                    transport.close()
                    seen.append(normal(repr(transport)))
                    await protocol.until("lost")
                    await turns(1)
                    seen.append(normal(repr(transport)))
                    seen.append(outcome(transport.close))
                    seen.append(transport.is_closing())

    assert on_both(program)


def test_set_protocol():
    async def program(loop, seen):
        with plain() as peer:
            new = Datagrams(seen)
            async with endpoint() as (transport, old):
                here = address_of(transport)
                peer.sendto(b"one", here)
                await old.until("data")
                transport.set_protocol(new)
                peer.sendto(b"two", here)
                await new.until("data")
                seen.append([data for data, _ in old.received])

    assert on_both(program) == [("data", b"two"), [b"one"], ("lost", None)]


def test_debug_mode():
    async def program(loop, seen):
        with plain() as peer:
            name = peer.getsockname()
            async with endpoint(lambda: Datagrams(seen), remote=name) as (transport, _):
                transport.sendto(b"hello")
                seen.append(await loop.sock_recv(peer, 10))

    assert on_both(program, debug=True) == [("made",), b"hello", ("lost", None)]


def test_many_endpoints():
    async def program(loop, seen):
        async with contextlib.AsyncExitStack() as stack:
            made = [await stack.enter_async_context(endpoint()) for _ in range(50)]
            for i, (transport, _) in enumerate(made):
                for j in range(3):
                    to = made[(i + j + 1) % len(made)][0]
                    transport.sendto(b"%d" % i, address_of(to))
            for i, (_, protocol) in enumerate(made):
                await protocol.until_received(3)
                got = sorted(int(data) for data, _ in protocol.received)
                seen.append(got == sorted((i - j - 1) % len(made) for j in range(3)))

    assert on_both(program) == [True] * 50


if sys.version_info >= (3, 13):
    # Those that had none sent are empty before; see test_empty_datagrams.
    def test_an_empty_datagram_that_waits():
        async def program(loop, seen):
            left, peer = clogged()
            with peer:
                async with endpoint(sock=left) as (transport, _):
                    count = fill(transport)
                    transport.sendto(b"")
                    transport.sendto(b"after")
                    got = [await loop.sock_recv(peer, 1000) for _ in range(count + 2)]
                    seen.append(got[-2:])

        assert on_both(program) == [[b"", b"after"]]
