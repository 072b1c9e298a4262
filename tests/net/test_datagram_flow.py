"""Datagrams that the kernel does not take at once."""

from __future__ import annotations

import contextlib

import pytest

from ._datagram_helpers import (
    Datagrams,
    clogged,
    endpoint,
    fill,
    number,
)
from ._helpers import (
    need_own,
    on_both,
    on_ours,
    turns,
)


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
