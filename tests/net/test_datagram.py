"""Datagrams: sending, receiving, and what goes wrong with it."""

from __future__ import annotations

import array
import contextlib
import os
import socket

import pytest

from trio_asyncio_c import EventLoop

from ._datagram_helpers import (
    KINDS,
    Datagrams,
    address_of,
    endpoint,
    plain,
)
from ._helpers import (
    STOCK,
    normal,
    on_both,
    outcome,
    turns,
    until,
)

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
