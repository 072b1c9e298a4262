"""Datagram transports: how they are made and how they end."""

from __future__ import annotations

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

from ._datagram_helpers import (
    Datagrams,
    address_of,
    clogged,
    endpoint,
    fill,
    plain,
)
from ._helpers import (
    STOCK,
    described,
    normal,
    on_both,
    outcome,
    outcome_of,
    run_on,
    turns,
)

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
