"""Datagrams of which several go through one system call: nobody can tell."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import socket
import subprocess
import sys
import warnings

import pytest

from trio_asyncio_c import EventLoop

from ._datagram_helpers import Datagrams, address_of, endpoint, plain
from ._helpers import STOCK, described, on_both, turns, until

COUNT = 40


def burst(peer, transport, count=COUNT):
    for i in range(count):
        peer.sendto(b"%d" % i, address_of(transport))


def numbers(protocol):
    return [int(data) for data, _ in protocol.received]


@pytest.mark.parametrize("kind", ["ipv4", "ipv6", "unix"])
def test_paused_among_many(kind):
    """What has been received already waits, too."""

    async def program(loop, seen):
        def pause(protocol):
            if len(protocol.received) % 3 == 0:
                protocol.transport.pause_reading()

        count = 9 if kind == "unix" else COUNT  # as many as its queue takes
        with plain(kind) as peer:
            protocol = Datagrams(on={"data": pause})
            async with endpoint(lambda: protocol, kind) as (transport, _):
                burst(peer, transport, count)
                while len(protocol.received) < count:
                    await until(
                        lambda: (
                            not transport.is_reading()
                            or len(protocol.received) == count
                        )
                    )
                    await turns(5)
                    seen.append(len(protocol.received))
                    transport.resume_reading()
                seen.append(numbers(protocol) == list(range(count)))

    notes = on_both(program)
    assert notes[:3] == [3, 6, 9]
    assert notes[-1] is True


def test_paused_and_closed_among_many():
    async def program(loop, seen):
        def pause(protocol):
            if len(protocol.received) == 4:
                protocol.transport.pause_reading()

        with plain() as peer:
            protocol = Datagrams(seen, {"data": pause})
            async with endpoint(lambda: protocol) as (transport, _):
                burst(peer, transport)
                await until(lambda: not transport.is_reading())
                transport.close()
                await protocol.until("lost")

    assert len(on_both(program)) == 6


def test_what_a_callback_schedules_goes_first():
    """A Future that is made anew for each datagram is never done twice."""

    async def program(loop, seen):
        class Waited(Datagrams):
            future = None

            def datagram_received(self, data, addr):
                self.future.set_result(data)

        with plain() as peer:
            protocol = Waited()
            protocol.future = loop.create_future()
            async with endpoint(lambda: protocol) as (transport, _):
                burst(peer, transport)
                for _ in range(COUNT):
                    seen.append(await protocol.future)
                    protocol.future = loop.create_future()

    assert on_both(program) == [b"%d" % i for i in range(COUNT)]


def test_callbacks_that_raise_among_many():
    async def program(loop, seen):
        def throw(protocol):
            if len(protocol.received) % 5 == 0:
                raise ValueError(len(protocol.received))

        with plain() as peer:
            protocol = Datagrams(on={"data": throw})
            async with endpoint(lambda: protocol) as (transport, _):
                burst(peer, transport)
                await protocol.until_received(COUNT)
                seen.append(numbers(protocol) == list(range(COUNT)))

    notes = on_both(program)
    assert notes[0] is True
    assert len(notes) == 1 + COUNT // 5


@pytest.mark.parametrize("make", [STOCK, EventLoop])
@pytest.mark.parametrize("exc", [SystemExit(3), KeyboardInterrupt(), None], ids=repr)
def test_a_run_that_ends_among_many(make, exc):
    """The next run goes on with the next datagram."""

    def end(protocol):
        if len(protocol.received) == 3:
            if exc is not None:
                raise exc
            loop.stop()

    loop = make()
    protocol = Datagrams(on={"data": end})
    with plain() as peer:
        transport, _ = loop.run_until_complete(
            loop.create_datagram_endpoint(lambda: protocol, local_addr=("127.0.0.1", 0))
        )
        burst(peer, transport)
        if exc is None:
            loop.run_forever()
        else:
            with pytest.raises(type(exc)):
                loop.run_forever()
            exc.__traceback__ = None
        assert numbers(protocol) == [0, 1, 2]
        loop.run_until_complete(protocol.until_received(COUNT))
        assert numbers(protocol) == list(range(COUNT))
        transport.close()
        loop.run_until_complete(turns(3))
    loop.close()


def test_another_protocol_among_many():
    async def program(loop, seen):
        second = Datagrams()

        def change(protocol):
            if len(protocol.received) == 3:
                protocol.transport.set_protocol(second)

        with plain() as peer:
            first = Datagrams(on={"data": change})
            async with endpoint(lambda: first) as (transport, _):
                burst(peer, transport)
                await second.until_received(COUNT - 3)
                seen += [numbers(first), numbers(second)]

    assert on_both(program) == [[0, 1, 2], list(range(3, COUNT))]


def test_all_from_one_callback_come_back():
    """Many at once, both ways."""

    async def program(loop, seen):
        def answer(protocol):
            protocol.transport.sendto(*protocol.received[-1])

        async with (
            endpoint(lambda: Datagrams(on={"data": answer})) as (server, _),
            endpoint() as (client, protocol),
        ):
            for _ in range(5):
                protocol.received.clear()
                for i in range(100):
                    client.sendto(b"%d" % i, address_of(server))
                await protocol.until_received(100)
                seen.append(numbers(protocol) == list(range(100)))

    assert on_both(program) == [True] * 5


def test_many_to_several():
    """By address, by name, small, large and empty: all arrive, in order."""

    async def program(loop, seen):
        with plain() as one, plain() as two:
            names = [one.getsockname(), two.getsockname()]
            names.append(("localhost", names[0][1]))
            async with endpoint() as (transport, _):
                sent = {one: [], two: []}
                for i in range(90):
                    data = b"%d:" % i + bytes(5000 if i % 7 == 0 else i)
                    buffer = bytearray(data) if i % 5 == 0 else data
                    transport.sendto(buffer, names[i % 3])
                    sent[two if i % 3 == 1 else one].append(data)
                seen.append(transport.get_write_buffer_size())
                for sock, expected in sent.items():
                    got = [await loop.sock_recv(sock, 10000) for _ in expected]
                    seen.append(got == expected)

    assert on_both(program) == [0, True, True]


@pytest.mark.parametrize("how", ["close", "abort"])
def test_many_and_then_the_end(how):
    async def program(loop, seen):
        with plain() as peer:
            async with endpoint() as (transport, protocol):
                for i in range(20):
                    transport.sendto(b"%d" % i, peer.getsockname())
                getattr(transport, how)()
                # They are with the kernel already.
                seen.append([int(peer.recv(10)) for _ in range(20)])
                await protocol.until("lost")

    assert on_both(program) == [list(range(20))]


def test_errors_among_many():
    """One error for each that could not be sent; the others arrive."""

    async def program(loop, seen):
        with plain() as peer:
            name = peer.getsockname()
            async with endpoint() as (transport, protocol):
                for i in range(12):
                    # Nobody can have this port.
                    transport.sendto(b"%d" % i, name if i % 4 else (name[0], 0))
                await turns(3)
                seen.append([note for note in protocol.seen if note[0] == "error"])
                seen.append(transport.is_closing())
                seen.append([int(await loop.sock_recv(peer, 10)) for _ in range(9)])

    errors, closing, got = on_both(program)
    assert errors == [("error", ("OSError", "[Errno 22] Invalid argument"))] * 3
    assert (closing, got) == (False, [i for i in range(12) if i % 4])


def test_errors_among_many_whose_callback_raises():
    async def program(loop, seen):
        def throw(protocol):
            raise ZeroDivisionError("own")

        with plain() as peer:
            name = peer.getsockname()
            protocol = Datagrams(on={"error": throw})
            async with endpoint(lambda: protocol) as (transport, _):
                transport.sendto(b"0", name)
                try:
                    transport.sendto(b"1", (name[0], 0))
                except ZeroDivisionError as exc:
                    # As an event's, which it is if it was not sent at once.
                    loop.call_exception_handler(
                        {"message": "Exception in callback", "exception": exc}
                    )
                    seen.append(described(exc))
                    exc.__traceback__ = None
                await turns(2)
                seen.clear()
                transport.sendto(b"2", name)
                seen.append([await loop.sock_recv(peer, 10) for _ in range(2)])

    first, told = on_both(program)
    assert first == [b"0", b"2"]
    assert told[1] == ("ZeroDivisionError", "own")


def test_kept_addresses_of_senders():
    """The same sender's address may be the same object; another's is its own."""

    async def program(loop, seen):
        with plain() as one, plain() as two:
            async with endpoint() as (transport, protocol):
                for sock in (one, one, two, one, two, two):
                    sock.sendto(b"data", address_of(transport))
                await protocol.until_received(6)
                here = one.getsockname(), two.getsockname()
                seen.append([here.index(addr) for _, addr in protocol.received])
                for _, addr in protocol.received:
                    transport.sendto(b"answer", addr)
                for sock in (one, two) * 3:
                    seen.append(await loop.sock_recv(sock, 10))

    assert on_both(program) == [[0, 0, 1, 0, 1, 1], *[b"answer"] * 6]


def link_local():
    """Return an address of this machine that needs its interface's number."""
    with open("/proc/net/if_inet6") as lines:
        for line in lines:
            digits, index, _, scope, *_ = line.split()
            if scope == "20":
                return str(ipaddress.IPv6Address(int(digits, 16))), 0, 0, int(index, 16)
    pytest.skip("no interface has a link-local address")


def test_addresses_of_one_link():
    async def program(loop, seen):
        name = link_local()
        socks = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(2)]
        for sock in socks:
            sock.setblocking(False)
            sock.bind(name)
        left, peer = socks
        with peer:
            async with endpoint(sock=left) as (transport, protocol):
                peer.sendto(b"data", left.getsockname())
                await protocol.until("data")
                addr = protocol.received[0][1]
                seen.append(addr == peer.getsockname())
                for to in (addr, tuple(list(addr)), peer.getsockname()):
                    transport.sendto(b"answer", to)
                    seen.append(await loop.sock_recv(peer, 10))

    assert on_both(program) == [True, *[b"answer"] * 3]


def test_an_endpoint_that_dies_with_its_inbox():
    """Paused with datagrams in hand, and nobody holds it."""
    for make in (STOCK, EventLoop):
        loop = make()

        async def main(peer):
            protocol = Datagrams(on={"data": lambda p: p.transport.pause_reading()})
            transport, _ = await loop.create_datagram_endpoint(
                lambda: protocol, local_addr=("127.0.0.1", 0)
            )
            burst(peer, transport)
            await protocol.until("data")

        with plain() as peer, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loop.run_until_complete(main(peer))
            loop.run_until_complete(turns(2))
            gc.collect()
        assert any("unclosed transport" in str(w.message) for w in caught)
        loop.close()


def test_what_sendto_audits():
    """A hook sees where to, as for a socket's own method; see sys.addaudithook."""

    script = """
import asyncio, socket, sys
from trio_asyncio_c import EventLoop
seen = []
sys.addaudithook(lambda name, args: name == "socket.sendto" and seen.append(args[1]))
async def main():
    loop = asyncio.get_running_loop()
    t, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    for port in (5, 6, 7):
        t.sendto(b"x", ("127.0.0.1", port))
    t.close()
for make in (asyncio.SelectorEventLoop, EventLoop):
    loop = make()
    loop.run_until_complete(main())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
assert seen == [("127.0.0.1", port) for port in (5, 6, 7)] * 2, seen
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_sockets_of_other_kinds():
    async def program(loop, seen):
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with right:
            try:
                transport, protocol = await loop.create_datagram_endpoint(
                    Datagrams, sock=left
                )
            except ValueError as exc:  # as older ones say
                left.close()
                seen.append(described(exc))
                return
            right.send(b"data")
            await protocol.until("data")
            seen.append(protocol.received)
            transport.close()
            await protocol.until("lost")

    assert len(on_both(program)) == 1

    class Own(socket.socket):
        pass

    async def kinds():
        loop = asyncio.get_running_loop()
        sock = Own(socket.AF_INET, socket.SOCK_DGRAM)
        transport, _ = await loop.create_datagram_endpoint(Datagrams, sock=sock)
        transport.close()
        await turns(2)
        return type(transport)

    loop = EventLoop()
    assert loop.run_until_complete(kinds()).__module__ == "asyncio.selector_events"
    loop.close()


SENDERS = ["127.0.0.1", "127.0.0.10", "127.1.99.100", "127.255.255.254"]


def test_answers_among_many_reach_who_asked():
    """To the sender of what is being told, and to one that was heard of before."""

    async def program(loop, seen):
        class Answering(Datagrams):
            first = None

            def datagram_received(self, data, addr):
                super().datagram_received(data, addr)
                self.first = self.first or addr
                self.transport.sendto(b"yours " + data, addr)
                self.transport.sendto(b"another's " + data, self.first)
                self.transport.sendto(b"equal " + data, tuple(list(addr)))

        async with endpoint(Answering) as (transport, protocol):
            with contextlib.ExitStack() as stack:
                peers = [
                    stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
                    for _ in SENDERS
                ]
                for peer, host in zip(peers, SENDERS):
                    peer.setblocking(False)
                    peer.bind((host, 0))
                for i in range(3):
                    for peer in peers:
                        peer.sendto(b"%d" % i, address_of(transport))
                await protocol.until_received(3 * len(peers))
                right = [peer.getsockname() for peer in peers]
                seen.append([addr for _, addr in protocol.received] == 3 * right)
                for peer in peers:
                    count = 6 + 3 * len(peers) * (peer is peers[0])
                    seen.append([await loop.sock_recv(peer, 99) for _ in range(count)])

    assert on_both(program)[0] is True
