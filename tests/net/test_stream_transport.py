"""Stream transports: in which order a protocol is called, and reading."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import weakref

import pytest

from trio_asyncio_c import EventLoop

from ._helpers import (
    KINDS,
    STOCK,
    BufferedRecorder,
    Recorder,
    connected,
    described,
    on_both,
    outcome,
    receive,
    receive_all,
    reset,
    run_on,
    shrink,
    socket_pair,
    turns,
)

RECORDERS = [Recorder, BufferedRecorder]


@pytest.mark.parametrize("recorder", RECORDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_order_of_calls(kind, recorder):
    async def program(loop, seen):
        def new():
            seen.append(("factory",))
            return recorder(seen)

        async with connected(new, kind) as (transport, protocol, peer):
            seen.append(("connected", transport is protocol.transport))
            peer.send(b"hello")
            await protocol.until_received(5)
            transport.write(b"answer")
            seen.append(await receive(peer, 6))
            peer.close()
            await protocol.until("lost")

    assert on_both(program) == [
        ("factory",),
        ("made",),
        ("connected", True),
        ("data", b"hello"),
        b"answer",
        ("eof",),
        ("lost", None),
    ]


@pytest.mark.parametrize("recorder", RECORDERS)
def test_connection_made_comes_by_call_soon_and_before_the_waiter(recorder):
    async def program(loop, seen):
        left, right = socket_pair("unix")
        with right:
            task = asyncio.create_task(
                loop.create_connection(lambda: recorder(seen), sock=left)
            )
            loop.call_soon(seen.append, ("before",))
            await turns(1)
            seen.append(("one turn",))
            await turns(1)
            seen.append(("two turns",))
            transport, _ = await task
            seen.append(("connected",))
            transport.close()
            seen.append(("closed",))
            await turns(1)
            seen.append(("one turn later",))

    notes = on_both(program)
    assert notes[0] == ("before",)
    assert notes.index(("made",)) < notes.index(("connected",))
    assert notes[-2:] == [("lost", None), ("one turn later",)]


@pytest.mark.parametrize("recorder", RECORDERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 1000, 5_000_000])
def test_echo(kind, recorder, size):
    message = os.urandom(size)

    def send_back(protocol):
        protocol.transport.write(protocol.seen.pop()[1])

    async def program(loop, seen):
        factory = recorder
        async with connected(lambda: factory(on={"data": send_back}), kind) as (
            _,
            protocol,
            peer,
        ):
            sending = asyncio.create_task(loop.sock_sendall(peer, message))
            assert await receive(peer, size) == message
            await sending
            seen.append(len(protocol.received))

    assert on_both(program) == [size]


class Keeper(asyncio.Protocol):
    """Keeps every other piece of what it receives, and a view or the hash of it."""

    def __init__(self):
        self.pieces = []  # as they are kept, and a copy made at once
        self.hashes = []

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.hashes.append((hash(data), hash(bytes(bytearray(data)))))
        if len(self.hashes) % 2:
            kept = memoryview(data) if len(self.hashes) % 3 else data
            self.pieces.append((kept, bytearray(data)))
        self.transport.write(data)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_is_not_received_into(kind):
    """The memory of what is dropped is used again, that of what is kept is not."""
    sizes = [1000, 1000, 900, 600, 479, 480, 1000, 5000, 4000, 99_999, 70_000, 1]

    async def program(loop, seen):
        async with connected(Keeper, kind) as (_, keeper, peer):
            for size in sizes * 5:
                message = os.urandom(size)
                sending = asyncio.create_task(loop.sock_sendall(peer, message))
                seen.append(await receive(peer, size) == message)
                await sending
            seen.append(all(kept == copy for kept, copy in keeper.pieces))
            seen.append(all(ours == right for ours, right in keeper.hashes))

    assert on_both(program) == [True] * (5 * len(sizes) + 2)


@pytest.mark.parametrize("recorder", RECORDERS)
def test_one_byte_at_a_time(recorder):
    async def program(loop, seen):
        async with connected(lambda: recorder(seen)) as (transport, protocol, peer):
            for i in range(300):
                peer.send(bytes([i % 256]))
                await protocol.until_received(i + 1)
                transport.write(protocol.received[-1:])
                assert await receive(peer, 1) == bytes([i % 256])

    assert len(on_both(program)) == 2 + 1


def test_one_call_per_readable_event():
    # What came after the read has to wait for the next turn.
    async def program(loop, seen):
        def once(protocol):
            del protocol.on["data"]
            peer.send(b"second")
            loop.call_soon(seen.append, ("turn over",))

        protocol = Recorder(seen, {"data": once})
        async with connected(lambda: protocol) as (_, _, peer):
            peer.send(b"first")
            await protocol.until_received(11)

    assert on_both(program)[1:4] == [
        ("data", b"first"),
        ("turn over",),
        ("data", b"second"),
    ]


@pytest.mark.parametrize("recorder", RECORDERS)
def test_data_and_the_end_together(recorder):
    async def program(loop, seen):
        async with connected(lambda: recorder(seen)) as (_, protocol, peer):
            peer.send(b"last words")
            peer.close()
            await protocol.until("lost")

    assert on_both(program) == [
        ("made",),
        ("data", b"last words"),
        ("eof",),
        ("lost", None),
    ]


@pytest.mark.parametrize("recorder", RECORDERS)
@pytest.mark.parametrize("answer", [None, False, True, 0, 1, "yes", []])
def test_eof_received_decides(recorder, answer):
    async def program(loop, seen):
        protocol = recorder(seen, {"eof": lambda protocol: answer})
        async with connected(lambda: protocol) as (transport, _, peer):
            peer.shutdown(socket.SHUT_WR)
            await protocol.until("eof")
            seen.append((transport.is_closing(), transport.is_reading()))
            await turns(3)
            if not transport.is_closing():
                transport.write(b"still here")
                seen.append(await receive(peer, 10))
                transport.close()
            await protocol.until("lost")
            seen.append(await receive_all(peer))

    notes = on_both(program)
    assert notes.count(("eof",)) == 1
    assert (b"still here" in notes) is bool(answer)


class NoEof:
    """Not of asyncio's classes, and without the calls that not everybody needs."""

    def __init__(self, seen):
        self.seen = seen

    def connection_made(self, transport):
        self.seen.append("made")

    def data_received(self, data):
        self.seen.append(data)

    def connection_lost(self, exc):
        self.seen.append(described(exc))


def test_a_protocol_need_not_be_of_asyncios_classes():
    async def program(loop, seen):
        async with connected(lambda: NoEof(seen)) as (_, _, peer):
            peer.send(b"hello")
            while b"hello" not in seen:
                await asyncio.sleep(0)
            peer.close()
            while seen[-1] == b"hello":
                await asyncio.sleep(0)

    notes = on_both(program)
    assert notes[:2] == ["made", b"hello"]
    # It has no eof_received().
    assert notes[2][0] == "AttributeError"


# Reading, paused and resumed


@pytest.mark.parametrize("recorder", RECORDERS)
def test_pause_and_resume(recorder):
    async def program(loop, seen):
        async with connected(lambda: recorder(seen)) as (transport, protocol, peer):
            seen.append(transport.is_reading())
            seen.append(transport.pause_reading())
            seen.append(transport.is_reading())
            seen.append(transport.pause_reading())
            peer.send(b"kept")
            await turns(5)
            seen.append(transport.resume_reading())
            seen.append(transport.is_reading())
            seen.append(transport.resume_reading())
            await protocol.until_received(4)
            peer.send(b"more")
            await protocol.until_received(8)

    assert on_both(program) == [
        ("made",),
        *(True, None, False, None, None, True, None),
        ("data", b"keptmore"),
        ("lost", None),
    ]


@pytest.mark.parametrize("recorder", RECORDERS)
def test_pause_in_connection_made(recorder):
    async def program(loop, seen):
        protocol = recorder(seen, {"made": lambda p: p.transport.pause_reading()})
        left, peer = socket_pair("unix")
        with peer:
            peer.send(b"early")
            transport, _ = await loop.create_connection(lambda: protocol, sock=left)
            seen.append(transport.is_reading())
            await turns(5)
            transport.resume_reading()
            await protocol.until_received(5)
            transport.close()
            await protocol.until("lost")

    assert on_both(program) == [
        ("made",),
        False,
        ("data", b"early"),
        ("lost", None),
    ]


@pytest.mark.parametrize("recorder", RECORDERS)
def test_pause_in_a_callback_of_reading(recorder):
    async def program(loop, seen):
        def pause(protocol):
            protocol.transport.pause_reading()
            peer.send(b"2")
            loop.call_later(0.001, resume, protocol)

        def resume(protocol):
            seen.append("resume")
            protocol.on.clear()
            protocol.transport.resume_reading()

        protocol = recorder(seen, {"data": pause})
        async with connected(lambda: protocol) as (_, _, peer):
            peer.send(b"1")
            await protocol.until_received(2)

    assert on_both(program)[1:4] == [("data", b"1"), "resume", ("data", b"2")]


def test_the_end_is_not_seen_while_paused():
    async def program(loop, seen):
        async with connected(lambda: Recorder(seen)) as (transport, protocol, peer):
            transport.pause_reading()
            peer.close()
            await turns(5)
            seen.append(transport.is_closing())
            transport.resume_reading()
            await protocol.until("lost")

    assert on_both(program) == [("made",), False, ("eof",), ("lost", None)]


@pytest.mark.parametrize("first", ["pause_reading", "resume_reading", "neither"])
@pytest.mark.parametrize("how", ["close", "abort"])
def test_reading_of_what_is_closed(how, first):
    async def program(loop, seen):
        async with connected(lambda: Recorder(seen)) as (transport, protocol, peer):
            if first != "neither":
                seen.append(outcome(getattr(transport, first)))
            getattr(transport, how)()
            for _ in range(2):
                seen.append(outcome(transport.is_reading))
                seen.append(outcome(transport.pause_reading))
                seen.append(outcome(transport.resume_reading))
                seen.append(outcome(peer.send, b"not wanted"))
                await protocol.until("lost")

    notes = on_both(program)
    assert ("data", b"not wanted") not in notes


@pytest.mark.parametrize("fast", [False, True])
def test_many_pauses_in_one_turn(fast):
    async def program(loop, seen):
        async with connected(lambda: Recorder(seen)) as (transport, protocol, peer):
            peer.send(b"a" * 10)
            for _ in range(1000):
                transport.pause_reading()
                transport.resume_reading()
                if not fast:
                    await turns(1)
            await protocol.until_received(10)
            transport.pause_reading()
            peer.send(b"b")
            await turns(3)
            seen.append(transport.is_reading())

    assert on_both(program) == [("made",), ("data", b"a" * 10), False, ("lost", None)]


# Another protocol, in flight


def test_set_protocol_between_two_pieces():
    async def program(loop, seen):
        first, second = [], []
        async with connected(lambda: Recorder(first)) as (transport, old, peer):
            seen.append(transport.get_protocol() is old)
            peer.send(b"first")
            await old.until_received(5)
            new = Recorder(second)
            seen.append(transport.set_protocol(new))
            seen.append(transport.get_protocol() is new)
            peer.send(b"second")
            await new.until_received(6)
            peer.close()
            await new.until("lost")
        seen += first, second

    assert on_both(program) == [
        *(True, None, True),
        [("made",), ("data", b"first")],
        [("data", b"second"), ("eof",), ("lost", None)],
    ]


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("new", RECORDERS)
@pytest.mark.parametrize("old", RECORDERS)
def test_set_protocol_in_the_callback_of_the_old_one(old, new, paused):
    async def program(loop, seen):
        after = new(seen)

        def switch(protocol):
            peer.send(b"second")
            if paused:
                protocol.transport.pause_reading()
            protocol.transport.set_protocol(after)
            if paused:
                protocol.transport.resume_reading()
            # It may be what the transport would have called next.
            protocol.buffer = None

        before = old(seen, {"data": switch})
        async with connected(lambda: before) as (_, _, peer):
            peer.send(b"first")
            await after.until_received(6)
            peer.close()
            await after.until("lost")
        seen += bytes(before.received), bytes(after.received)

    notes = on_both(program)
    assert notes[-2:] == [b"first", b"second"]


@pytest.mark.parametrize("name", ["made", "eof"])
@pytest.mark.parametrize("new", RECORDERS)
def test_set_protocol_in_other_callbacks(name, new):
    async def program(loop, seen):
        after = new([])

        def switch(protocol):
            after.transport = protocol.transport
            protocol.transport.set_protocol(after)
            return True

        before = Recorder([], {name: switch})
        async with connected(lambda: before) as (transport, _, peer):
            if name == "made":
                peer.send(b"hello")
                await after.until_received(5)
            else:
                peer.shutdown(socket.SHUT_WR)
                await before.until("eof")
                await turns(3)
            transport.close()
            await after.until("lost")
        seen += before.seen, after.seen

    on_both(program)


def test_set_protocol_while_closing():
    async def program(loop, seen):
        async with connected(lambda: Recorder(seen)) as (transport, old, _):
            transport.close()
            new = Recorder(second := [])
            seen.append(outcome(transport.set_protocol, new))
            seen.append(transport.get_protocol() is new)
            await turns(3)
            seen += old.names, second
            # After the end of it.
            seen.append(outcome(transport.get_protocol))
            seen.append(outcome(transport.set_protocol, old))
            seen.append(transport.get_protocol() is old)
            transport.set_protocol(None)

    assert on_both(program)[-5:] == [["made"], [("lost", None)], None, None, True]


@pytest.mark.parametrize("protocol", [None, 1, "text", object(), int])
def test_set_protocol_to_what_is_none(protocol):
    async def program(loop, seen):
        async with connected(lambda: Recorder([])) as (transport, old, peer):
            seen.append(outcome(transport.set_protocol, protocol))
            seen.append(transport.get_protocol() is protocol)
            peer.send(b"hello")
            while not transport.is_closing():
                await turns(1)
            transport.set_protocol(old)
            await old.until("lost")

    assert on_both(program)[:2] == [None, True]


def test_what_a_switch_to_another_kind_reads_into():
    """The old protocol's buffer is not written to any more."""

    async def program(loop, seen):
        old, new = BufferedRecorder([], size=8), BufferedRecorder([], size=4)
        async with connected(lambda: old) as (transport, _, peer):
            peer.send(b"12345678")
            await old.until_received(8)
            transport.set_protocol(new)
            peer.send(b"abcdefgh")
            await new.until_received(8)
            seen += bytes(old.buffer), bytes(new.buffer)
            plain = Recorder([])
            transport.set_protocol(plain)
            peer.send(b"ABC")
            await plain.until_received(3)
            seen += bytes(old.buffer), bytes(new.buffer), plain.seen

    assert on_both(program) == [
        *(b"12345678", b"efgh", b"12345678", b"efgh"),
        [("data", b"ABC"), ("lost", None)],
    ]


def test_methods_are_looked_up_at_each_call():
    """As frameworks do that hand over a connection by replacing a method."""

    async def program(loop, seen):
        async with connected(lambda: Recorder(seen)) as (_, protocol, peer):
            peer.send(b"1")
            await protocol.until_received(1)
            replaced = loop.create_future()
            protocol.data_received = replaced.set_result
            peer.send(b"2")
            seen.append(await replaced)
            lost = loop.create_future()
            protocol.connection_lost = lost.set_result
            peer.close()
            seen.append(await lost)

    assert on_both(program) == [("made",), ("data", b"1"), b"2", ("eof",), None]


# Buffered protocols


class Buffers(Recorder, asyncio.BufferedProtocol):
    """Gives what it is told to as its buffer."""

    data_received = None

    def __init__(self, buffer, seen=None):
        super().__init__(seen)
        self.buffer = buffer

    def get_buffer(self, sizehint):
        if isinstance(self.buffer, BaseException):
            raise self.buffer
        return self.buffer

    def buffer_updated(self, nbytes):
        self.note("updated", nbytes, bytes(self.buffer)[:nbytes])


class LengthOnly:
    def __len__(self):
        return 10


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"",
        lambda: bytearray(),
        lambda: memoryview(b""),
        lambda: memoryview(bytearray(0)),
        lambda: b"read only",
        lambda: memoryview(b"read only"),
        lambda: None,
        lambda: 10,
        lambda: "text",
        lambda: [1, 2],
        lambda: [],
        lambda: LengthOnly(),
        lambda: memoryview(bytearray(10))[::2],
        lambda: ZeroDivisionError("from get_buffer"),
        lambda: ValueError(),
        lambda: OSError(5, "own error"),
    ],
)
def test_buffers_that_are_none(make):
    async def program(loop, seen):
        async with connected(lambda: Buffers(make(), seen)) as (_, protocol, peer):
            peer.send(b"data")
            await protocol.until("lost")

    assert len(on_both(program)) >= 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: bytearray(1),
        lambda: bytearray(3),
        lambda: memoryview(bytearray(10))[5:],
        lambda: memoryview(bytearray(16)).cast("I"),
        lambda: memoryview(bytearray(16)).cast("B", (4, 4)),
    ],
)
def test_buffers_of_other_shapes(make):
    async def program(loop, seen):
        async with connected(lambda: Buffers(make(), seen)) as (_, protocol, peer):
            peer.send(b"0123456789")
            peer.close()
            await protocol.until("lost")

    assert on_both(program)[-2:] == [("eof",), ("lost", None)]


def test_the_hint_of_get_buffer():
    async def program(loop, seen):
        async with connected(BufferedRecorder) as (_, protocol, peer):
            peer.send(b"data")
            await protocol.until_received(4)
            seen.append(set(protocol.hints))

    assert on_both(program) == [{-1}]


def test_a_buffer_may_be_resized_between_calls():
    async def program(loop, seen):
        protocol = Buffers(bytearray(4), seen)
        async with connected(lambda: protocol) as (_, _, peer):
            for size in (4, 8, 2):
                protocol.buffer.clear()
                protocol.buffer += bytes(size)
                peer.send(b"x" * size)
                await protocol._until(lambda n=size: seen[-1][1:2] == (n,))

    assert on_both(program)[1:4] == [
        ("updated", 4, b"xxxx"),
        ("updated", 8, b"xxxxxxxx"),
        ("updated", 2, b"xx"),
    ]


def test_a_buffer_is_let_go_of():
    async def program(loop, seen):
        protocol = Buffers(bytearray(4), [])
        async with connected(lambda: protocol) as (_, _, peer):
            peer.send(b"1234")
            await protocol.until("updated")
            protocol.buffer.clear()  # BufferError if something holds it
            protocol.buffer += bytes(4)
            seen.append(len(protocol.buffer))

    assert on_both(program) == [4]


# What protocols raise

RAISED = [ZeroDivisionError("from a callback"), OSError(5, "own"), ValueError()]


def raising(exc):
    def callback(protocol):
        raise type(exc)(*exc.args)

    return callback


@pytest.mark.parametrize("exc", RAISED, ids=repr)
@pytest.mark.parametrize("recorder", RECORDERS)
@pytest.mark.parametrize("name", ["data", "eof"])
def test_errors_of_reading_callbacks_close(name, recorder, exc):
    async def program(loop, seen):
        protocol = recorder(seen, {name: raising(exc)})
        async with connected(lambda: protocol) as (transport, _, peer):
            peer.send(b"data")
            peer.shutdown(socket.SHUT_WR)
            await protocol.until("lost")
            seen.append(protocol.exc.args)

    assert on_both(program)[-2 if isinstance(exc, OSError) else -3] == (
        "lost",
        described(exc),
    )


def test_an_error_of_connection_made():
    async def program(loop, seen):
        protocol = Recorder(seen, {"made": raising(RAISED[0])})
        async with connected(lambda: protocol) as (transport, _, peer):
            # The connection goes on.
            peer.send(b"data")
            await protocol.until_received(4)
            seen.append(transport.is_closing())

    assert on_both(program)[:3] == [("made",), ("data", b"data"), False]


def test_an_error_of_connection_lost():
    async def program(loop, seen):
        protocol = Recorder(seen, {"lost": raising(RAISED[0])})
        async with connected(lambda: protocol) as (transport, _, peer):
            transport.close()
            await protocol.until("lost")
            await turns(2)
            # It is closed all the same.
            seen.append(await receive_all(peer))

    assert on_both(program)[:3] == [("made",), ("lost", None), b""]


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("make", [STOCK, EventLoop])
@pytest.mark.parametrize("exc", [SystemExit(3), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("recorder", RECORDERS)
@pytest.mark.parametrize("name", ["made", "data", "eof", "lost"])
def test_what_ends_a_run(name, recorder, exc, make, debug):
    """KeyboardInterrupt and SystemExit leave run_forever; the loop can be run again,
    and the connection goes on unless that was its end."""
    loop = make()
    loop.set_debug(debug)
    told = []
    loop.set_exception_handler(lambda loop, context: told.append(context["message"]))

    def throw(protocol):
        protocol.on.clear()
        raise exc

    protocol = recorder(on={name: throw})
    left, peer = socket_pair("unix")

    async def connect():
        transport, _ = await loop.create_connection(lambda: protocol, sock=left)
        peer.send(b"data")
        await protocol.until_received(4)
        peer.shutdown(socket.SHUT_WR)
        await protocol.until("lost")

    task = loop.create_task(connect())
    with pytest.raises(type(exc)) as caught:
        loop.run_until_complete(asyncio.shield(task))
    assert caught.value is exc
    if name == "eof":
        # Nobody said whether to keep it open, and the end is seen but once.
        protocol.transport.close()
    loop.run_until_complete(task)
    assert bytes(protocol.received) == b"data"
    assert protocol.names[-1] == "lost"
    assert told == []
    peer.close()
    loop.close()
    # The shield is still pending in the traceback.
    exc.__traceback__ = caught.value.__traceback__ = None
    del caught, task
    protocol.transport = None
    gc.collect()


@pytest.mark.parametrize("recorder", RECORDERS)
def test_a_reset_while_reading(recorder):
    async def program(loop, seen):
        async with connected(lambda: recorder(seen), "tcp") as (transport, p, peer):
            reset(peer)
            await p.until("lost")
            seen.append(type(p.exc))

    assert on_both(program)[1:] == [
        ("lost", ("ConnectionResetError", "[Errno 104] Connection reset by peer")),
        ConnectionResetError,
    ]


def test_a_reset_after_data():
    async def program(loop, seen):
        async with connected(lambda: Recorder(seen), "tcp") as (_, protocol, peer):
            peer.send(b"data")
            await protocol.until_received(4)
            reset(peer)
            await protocol.until("lost")

    assert on_both(program)[1][1] == b"data"


def test_two_transports_and_a_slow_reader():
    message = os.urandom(1_000_000)

    async def program(loop, seen):
        left, right = socket_pair("unix")
        shrink(left, right)
        reader, writer = Recorder(), Recorder()

        def slowly(protocol):
            protocol.seen.clear()
            protocol.transport.pause_reading()
            loop.call_later(0.0001, protocol.transport.resume_reading)

        reader.on["data"] = slowly
        await loop.create_connection(lambda: reader, sock=left)
        transport, _ = await loop.create_connection(lambda: writer, sock=right)
        transport.write(message)
        transport.close()
        await reader.until("lost")
        seen.append(bytes(reader.received) == message)
        seen.append(writer.names)

    assert on_both(program) == [True, ["made", "pause", "resume", "lost"]]


def test_half_open():
    """Each end is closed on its own."""

    async def program(loop, seen):
        protocol = Recorder(seen, {"eof": lambda protocol: True})
        async with connected(lambda: protocol, "tcp") as (transport, _, peer):
            transport.write_eof()
            seen.append(await receive_all(peer))
            for i in range(3):
                peer.send(b"%d" % i)
                await protocol.until_received(i + 1)
            peer.close()
            await protocol.until("eof")
            await turns(5)
            seen.append(transport.is_closing())
            transport.close()

    assert on_both(program) == [
        *[("made",), b"", ("data", b"012"), ("eof",), False, ("lost", None)],
    ]


def test_many_connections_at_once():
    async def program(loop, seen):
        def send_back(protocol):
            protocol.transport.write(protocol.seen.pop()[1].upper())

        ends = []
        for i in range(200):
            left, right = socket_pair("unix")
            protocol = Recorder(on={"data": send_back})
            await loop.create_connection(lambda p=protocol: p, sock=left)
            right.send(b"message %d" % i)
            ends.append((protocol, right))
        for i, (protocol, right) in enumerate(ends):
            assert await receive(right, len(b"message %d" % i)) == (b"MESSAGE %d" % i)
            right.close()
        for protocol, _ in ends:
            await protocol.until("lost")
        seen.append({tuple(protocol.names) for protocol, _ in ends})

    assert on_both(program) == [{("made", "data", "eof", "lost")}]


@pytest.mark.parametrize("make", [STOCK, EventLoop])
@pytest.mark.parametrize("recorder", RECORDERS)
def test_nothing_is_kept_after_the_end(make, recorder):
    """Neither the protocol, and without the collector, nor the transport."""

    async def program(loop, seen):
        left, peer = socket_pair("unix")
        transport, protocol = await loop.create_connection(recorder, sock=left)
        references = weakref.ref(protocol), weakref.ref(transport)
        peer.send(b"data")
        await protocol.until_received(4)
        transport.write(b"answer")
        await receive(peer, 6)
        peer.close()
        transport.close()
        await protocol.until("lost")
        await turns(2)
        protocol.transport = None
        del protocol
        seen.append(references[0]() is None)
        transport.get_extra_info("peername")
        del transport
        gc.collect()
        seen.append(references[1]() is None)

    gc.disable()
    try:
        assert run_on(make, program) == [True, True]
    finally:
        gc.enable()
