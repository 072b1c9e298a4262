"""Pipe transports: pipes, FIFOs, sockets and terminals."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import pty
import re
import socket
import tty
import warnings
import weakref

import pytest

from trio_asyncio_c import EventLoop

from ._helpers import (
    LARGE,
    STOCK,
    Recorder,
    described,
    normal,
    on_both,
    outcome,
    outcome_of,
    run_on,
    turns,
    until,
)

KINDS = ["pipe", "fifo", "socket", "terminal"]


def ends(kind, tmp_path):
    """Return two descriptors: what is written to the second is read from the first."""
    if kind == "pipe":
        return os.pipe()
    if kind == "fifo":
        path = tmp_path / "fifo"
        if not path.exists():
            os.mkfifo(path)
        read = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        return read, os.open(path, os.O_WRONLY)
    if kind == "socket":
        return [sock.detach() for sock in socket.socketpair()]
    master, slave = pty.openpty()
    tty.setraw(slave)
    return master, slave


@contextlib.asynccontextmanager
async def reading(factory=Recorder, kind="pipe", tmp_path=None):
    """Give a read transport, its protocol and the descriptor to write to."""
    loop = asyncio.get_running_loop()
    read, write = ends(kind, tmp_path)
    transport, protocol = await loop.connect_read_pipe(factory, open(read, "rb", 0))
    with open(write, "wb", 0) as peer:
        try:
            yield transport, protocol, peer
        finally:
            if not transport.is_closing():
                transport.close()
            await turns(2)


@contextlib.asynccontextmanager
async def writing(factory=Recorder, kind="pipe", tmp_path=None):
    """Give a write transport, its protocol and the descriptor to read from."""
    loop = asyncio.get_running_loop()
    read, write = ends(kind, tmp_path)
    os.set_blocking(read, False)
    transport, protocol = await loop.connect_write_pipe(factory, open(write, "wb", 0))
    with open(read, "rb", 0) as peer:
        try:
            yield transport, protocol, peer
        finally:
            if "lost" not in protocol.names:
                transport.abort()
            await turns(2)


async def receive(peer, count):
    """Return exactly so many bytes from a file, fewer at its end."""
    data = bytearray()
    while len(data) < count:
        piece = peer.read(min(count - len(data), 1 << 16))
        if piece == b"":
            break
        if piece is None:
            await asyncio.sleep(0.0005)
        else:
            data += piece
    return bytes(data)


def fill(transport):
    """Write until something has to be kept; return what was written."""
    written = bytearray()
    while not transport.get_write_buffer_size():
        piece = os.urandom(1 << 12)
        transport.write(piece)
        written += piece
    return bytes(written)


# Reading


@pytest.mark.parametrize("kind", KINDS)
def test_reading(kind, tmp_path):
    async def program(loop, seen):
        async with reading(lambda: Recorder(seen), kind, tmp_path) as (
            transport,
            protocol,
            peer,
        ):
            seen.append(transport.is_reading())
            peer.write(b"hello")
            await protocol.until_received(5)
            peer.write(b"more")
            await protocol.until_received(9)
            peer.close()
            await protocol.until("lost")
            seen.append(transport.is_closing())

    notes = on_both(program)
    assert notes[:3] == [("made",), True, ("data", b"hellomore")]
    if kind != "terminal":  # whose end is an error of input
        assert notes[3:] == [("eof",), ("lost", None), True]


@pytest.mark.parametrize("kind", ["pipe", "fifo", "socket"])
@pytest.mark.parametrize("size", [1, 100_000, 5_000_000])
def test_much(kind, size, tmp_path):
    message = os.urandom(size)

    async def program(loop, seen):
        read, write = ends(kind, tmp_path)
        reader, protocol = await loop.connect_read_pipe(Recorder, open(read, "rb", 0))
        writer, other = await loop.connect_write_pipe(Recorder, open(write, "wb", 0))
        writer.write(message)
        writer.close()
        await protocol.until("lost")
        seen.append(bytes(protocol.received) == message)
        await other.until("lost")
        seen.append([n for n in other.names if n not in ("pause", "resume")])

    assert on_both(program) == [True, ["made", "lost"]]


def test_pause_and_resume_reading():
    async def program(loop, seen):
        async with reading(lambda: Recorder(seen)) as (transport, protocol, peer):
            seen.append(transport.pause_reading())
            seen.append(transport.pause_reading())
            seen.append(transport.is_reading())
            peer.write(b"kept")
            await turns(5)
            seen.append(transport.resume_reading())
            seen.append(transport.resume_reading())
            seen.append(transport.is_reading())
            await protocol.until_received(4)
            transport.pause_reading()
            peer.close()
            await turns(5)
            transport.resume_reading()
            await protocol.until("lost")

    assert on_both(program) == [
        *[("made",), None, None, False, None, None, True],
        *[("data", b"kept"), ("eof",), ("lost", None)],
    ]


def test_pause_in_connection_made():
    async def program(loop, seen):
        protocol = Recorder(seen, {"made": lambda p: p.transport.pause_reading()})
        async with reading(lambda: protocol) as (transport, _, peer):
            peer.write(b"early")
            await turns(5)
            seen.append(transport.is_reading())
            transport.resume_reading()
            await protocol.until_received(5)

    assert on_both(program) == [
        *[("made",), False, ("data", b"early"), ("lost", None)],
    ]


@pytest.mark.parametrize("name", ["made", "data", "eof", "lost"])
def test_closing_in_a_callback(name):
    async def program(loop, seen):
        def close(protocol):
            protocol.transport.close()
            seen.append(protocol.transport.is_closing())

        protocol = Recorder(seen, {name: close})
        async with reading(lambda: protocol) as (_, _, peer):
            if name != "made":
                peer.write(b"data")
                await protocol.until_received(4)
            peer.close()
            await protocol.until("lost")
            await turns(3)
            seen.append(protocol.names.count("lost"))

    assert on_both(program)[-1] == 1


@pytest.mark.parametrize("exc", [ZeroDivisionError("own"), OSError(5, "own")], ids=repr)
@pytest.mark.parametrize("name", ["made", "data", "eof", "lost"])
def test_callbacks_that_raise(name, exc):
    async def program(loop, seen):
        def throw(protocol):
            raise type(exc)(*exc.args)

        protocol = Recorder(seen, {name: throw})
        async with reading(lambda: protocol) as (transport, _, peer):
            peer.write(b"data")
            await protocol.until_received(4)
            await turns(2)
            peer.close()
            await protocol.until("lost")

    notes = on_both(program)
    assert notes[-1][0] == "Exception in callback"


def test_set_protocol():
    async def program(loop, seen):
        async with reading(lambda: Recorder(seen)) as (transport, old, peer):
            seen.append(transport.get_protocol() is old)
            new = Recorder(seen)
            peer.write(b"one")
            await old.until_received(3)
            transport.set_protocol(new)
            peer.write(b"two")
            await new.until_received(3)
            seen.append(bytes(new.received))
            peer.close()
            await new.until("lost")
            seen.append(old.names)

    assert on_both(program)[-1] == ["made", "data"]


# Writing


@pytest.mark.parametrize("kind", KINDS)
def test_writing(kind, tmp_path):
    async def program(loop, seen):
        async with writing(lambda: Recorder(seen), kind, tmp_path) as (
            transport,
            protocol,
            peer,
        ):
            seen.append(transport.write(b"bytes,"))
            transport.write(bytearray(b"bytearray,"))
            transport.write(memoryview(b"view,"))
            transport.write(b"")
            transport.writelines([b"a", b"b", b"", b"c"])
            seen.append(await receive(peer, 6 + 10 + 5 + 3))
            seen.append(transport.get_write_buffer_size())
            seen.append(transport.can_write_eof())
            transport.close()
            await protocol.until("lost")

    assert on_both(program) == [
        *[("made",), None, b"bytes,bytearray,view,abc", 0, True, ("lost", None)],
    ]


@pytest.mark.parametrize("data", [None, 1, "text", [b"a"], object], ids=str)
def test_types_that_are_refused(data):
    async def program(loop, seen):
        async with writing() as (transport, _, peer):
            answer = outcome(transport.write, data)
            seen.append(answer[0])
            transport.write(b"goes on")
            seen.append(await receive(peer, 7))

    assert on_both(program)[-1] == b"goes on"


@pytest.mark.parametrize("how", ["write_eof", "close", "abort"])
@pytest.mark.parametrize("busy", [False, True])
def test_ending(how, busy):
    async def program(loop, seen):
        async with writing(lambda: Recorder(seen)) as (transport, protocol, peer):
            transport.set_write_buffer_limits(high=LARGE)
            data = fill(transport) if busy else b"something"
            if not busy:
                transport.write(data)
            seen.append(getattr(transport, how)())
            seen.append(transport.is_closing())
            if how != "abort":
                # Only abort() is not the same the second time.
                seen.append(outcome(transport.write_eof))
                seen.append(outcome(transport.close))
            seen.append("called")
            received = await receive(peer, LARGE)
            await protocol.until("lost")
            await turns(1)
            seen.append(received == data)
            seen.append(outcome(transport.write, b"more"))
            seen.append(outcome(transport.close))
            seen.append(outcome(transport.write_eof))
            seen.append(outcome(transport.get_write_buffer_size))

    notes = on_both(program)
    assert notes.count(("lost", None)) == 1
    assert notes.index(("lost", None)) > notes.index("called")


def test_flow_control():
    async def program(loop, seen):
        async with writing(lambda: Recorder(seen)) as (transport, protocol, peer):
            seen.append(transport.get_write_buffer_limits())
            seen.append(outcome(transport.set_write_buffer_limits, 5, 10))
            transport.set_write_buffer_limits(high=20_000, low=10_000)
            data = fill(transport)
            while transport.get_write_buffer_size() <= 20_000:
                transport.write(bytes(1000))
                data += bytes(1000)
            seen.append("full")
            received = await receive(peer, len(data))
            seen.append(received == data)
            await protocol.until("resume")
            await until(lambda: not transport.get_write_buffer_size())

    assert [n for n in on_both(program) if n is not True] == [
        ("made",),
        (16384, 65536),
        ("ValueError", "high (5) must be >= low (10) must be >= 0"),
        *[("pause",), "full", ("resume",), ("lost", None)],
    ]


def test_a_buffer_that_is_changed_while_it_waits():
    async def program(loop, seen):
        async with writing() as (transport, _, peer):
            data = fill(transport)
            buffer = bytearray(b"waits")
            transport.write(buffer)
            buffer[:] = b"XXXXX"
            transport.write(memoryview(buffer))
            buffer[:] = b"YYYYY"
            received = await receive(peer, len(data) + 10)
            seen.append(received[-10:])

    assert on_both(program) == [b"waitsXXXXX"]


@pytest.mark.parametrize("kind", ["pipe", "fifo", "socket"])
@pytest.mark.parametrize("busy", [False, True])
def test_the_reader_is_gone(kind, busy, tmp_path):
    async def program(loop, seen):
        async with writing(lambda: Recorder(seen), kind, tmp_path) as (
            transport,
            protocol,
            peer,
        ):
            transport.set_write_buffer_limits(high=LARGE)
            if busy:
                fill(transport)
            peer.close()
            await protocol.until("lost")
            seen.append(transport.is_closing())

    notes = on_both(program)
    if not busy:
        assert notes == [("made",), ("lost", None), True]
    else:
        assert notes[1][1][0] == "BrokenPipeError"


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_warnings_of_writing_to_nobody(kind, caplog):
    async def program(loop, seen):
        async with writing(kind=kind) as (transport, protocol, peer):
            peer.close()
            for _ in range(10):
                transport.write(b"data")
                seen.append(len(caplog.records))
            await protocol.until("lost")
            seen.append(described(protocol.exc))
            transport.write(b"data")
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
    assert set(stock[1]) == {
        "pipe closed by peer or os.write(pipe, data) raised exception."
    }


@pytest.mark.parametrize("name", ["pause", "resume"])
def test_errors_of_flow_control(name):
    async def program(loop, seen):
        def throw(protocol):
            raise ZeroDivisionError("own")

        protocol = Recorder(seen, {name: throw})
        async with writing(lambda: protocol) as (transport, _, peer):
            transport.set_write_buffer_limits(high=0)
            data = fill(transport)
            assert await receive(peer, len(data)) == data
            await protocol.until("resume")
            transport.write(b"goes on")
            seen.append(await receive(peer, 7))

    notes = on_both(program)
    assert b"goes on" in notes
    assert notes[-1][0] == f"protocol.{name}_writing() failed"


def test_what_is_written_before_the_loop_stops_arrives():
    for make in (STOCK, EventLoop):
        loop = make()
        read, write = os.pipe()

        async def main():
            transport, _ = await loop.connect_write_pipe(Recorder, open(write, "wb", 0))
            transport.write(b"last ")
            transport.write(b"words")
            return transport

        transport = loop.run_until_complete(main())
        assert os.read(read, 100) == b"last words"
        transport.write(b"not running")
        assert os.read(read, 100) == b"not running"
        transport.close()
        loop.run_until_complete(turns(3))
        assert os.read(read, 100) == b""
        os.close(read)
        loop.close()


def test_both_ways_through_a_terminal():
    """One descriptor, as terminals of programs are used."""

    async def program(loop, seen):
        master, slave = pty.openpty()
        tty.setraw(slave)
        writer, one = await loop.connect_write_pipe(
            Recorder, open(os.dup(slave), "wb", 0)
        )
        reader, two = await loop.connect_read_pipe(
            Recorder, open(os.dup(slave), "rb", 0)
        )
        os.close(slave)
        writer.write(b"to the terminal")
        seen.append(os.read(master, 100))
        os.write(master, b"from it")
        await two.until_received(7)
        seen.append(bytes(two.received))
        reader.close()
        writer.close()
        await one.until("lost")
        await two.until("lost")
        os.close(master)

    assert on_both(program) == [b"to the terminal", b"from it"]


# Making and ending

BAD_PIPES = {
    "a regular file": lambda path: open(path, "r+b", 0),
    "a number": lambda path: 5_000_000,
    "None": lambda path: None,
    "text": lambda path: "text",
    "a closed file": lambda path: closed(open(path, "rb", 0)),
    "an object": lambda path: object(),
}


def closed(file):
    file.close()
    return file


# asyncio's half-made transports complain when they go.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed transport")
@pytest.mark.parametrize("method", ["connect_read_pipe", "connect_write_pipe"])
@pytest.mark.parametrize("name", BAD_PIPES)
def test_what_is_no_pipe(name, method, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")

    async def program(loop, seen):
        pipe = BAD_PIPES[name](path)
        connecting = getattr(loop, method)(Recorder, pipe)
        seen.append(await outcome_of(connecting))
        if hasattr(pipe, "close"):
            seen.append(pipe.closed)
            pipe.close()

    notes = on_both(program)
    if name == "a regular file":
        assert notes[0][0] == "ValueError"


@pytest.mark.parametrize("method", ["connect_read_pipe", "connect_write_pipe"])
@pytest.mark.parametrize(
    "factory", [None, 5, lambda: 1 // 0], ids=["None", "5", "raises"]
)
def test_factories_that_are_none(factory, method):
    async def program(loop, seen):
        read, write = os.pipe()
        with open(read, "rb", 0) as reader, open(write, "wb", 0) as writer:
            pipe = reader if "read" in method else writer
            seen.append(await outcome_of(getattr(loop, method)(factory, pipe)))

    on_both(program)


def test_null_device():
    async def program(loop, seen):
        transport, protocol = await loop.connect_write_pipe(
            Recorder, open(os.devnull, "wb", 0)
        )
        transport.write(b"into nothing")
        seen.append(transport.get_write_buffer_size())
        transport.close()
        await protocol.until("lost")

    # epoll takes it neither here nor there, and nobody asks it to.
    assert on_both(program) == [0]


def test_what_they_say_of_themselves():
    async def program(loop, seen):
        async with reading() as (reader, one, _), writing() as (writer, two, peer):
            for transport, protocol in ((reader, one), (writer, two)):
                for kind in (
                    asyncio.ReadTransport,
                    asyncio.WriteTransport,
                    asyncio.Transport,
                    asyncio.BaseTransport,
                ):
                    seen.append(isinstance(transport, kind))
                get = transport.get_extra_info
                seen.append(type(get("pipe")).__name__)
                seen.append(os.get_blocking(get("pipe").fileno()))
                for name in ("socket", "peername", "sockname", "nonsense"):
                    seen.append(get(name))
                    seen.append(get(name, "default"))
                seen.append(transport.get_protocol() is protocol)
                seen.append(normal(repr(transport)))
                transport.own = 1
                seen.append(weakref.ref(transport)() is transport)
            reader.pause_reading()
            seen.append(normal(repr(reader)))
            reader.resume_reading()
            fill(writer)
            seen.append("polling" in repr(writer))
            for transport, protocol in ((reader, one), (writer, two)):
                transport.close() if transport is reader else transport.abort()
                seen.append(normal(repr(transport)))
                await protocol.until("lost")
                await turns(1)
                seen.append(normal(repr(transport)))
                seen.append(transport.is_closing())
                seen.append(transport.get_extra_info("pipe").closed)

    assert on_both(program)


@pytest.mark.parametrize("method", ["connect_read_pipe", "connect_write_pipe"])
@pytest.mark.parametrize("make", [STOCK, EventLoop])
def test_an_unclosed_transport_warns(make, method):
    gc.collect()
    loop = make()
    # A terminal, for of a pipe the loop watches the writing end, too.
    other, mine = pty.openpty()

    async def main():
        pipe = open(mine, "rb" if "read" in method else "wb", 0)
        transport, protocol = await getattr(loop, method)(Recorder, pipe)
        if "read" in method:
            transport.pause_reading()  # what the loop watches, it keeps
        return weakref.ref(transport)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reference = loop.run_until_complete(main())
        gc.collect()
    assert any("unclosed transport" in str(w.message) for w in caught)
    caught.clear()  # the warnings know the transport
    gc.collect()
    assert reference() is None
    with pytest.raises(OSError):
        os.fstat(mine)
    os.close(other)
    loop.close()


def test_debug_mode(caplog):
    async def program(loop, seen):
        async with reading(lambda: Recorder(seen)) as (transport, protocol, peer):
            transport.pause_reading()
            transport.resume_reading()
            peer.write(b"data")
            await protocol.until_received(4)
            peer.close()
            await protocol.until("lost")
        async with writing(lambda: Recorder(seen)) as (transport, protocol, peer):
            transport.write(b"data")
            peer.close()
            await protocol.until("lost")

    caplog.set_level(logging.DEBUG, "asyncio")
    answers = []
    for make in (STOCK, EventLoop):
        caplog.clear()
        run_on(make, program, debug=True)
        texts = [
            re.sub(r" pipe \d+", " pipe", normal(record.getMessage()))
            for record in caplog.records
        ]
        # When they were, some of these tell how long they took.
        answers.append([text for text in texts if "Transport" in text])
    caplog.clear()
    stock, ours = answers
    assert ours == stock


def test_many_pipes():
    async def program(loop, seen):
        made = []
        for i in range(100):
            read, write = os.pipe()
            reader, one = await loop.connect_read_pipe(Recorder, open(read, "rb", 0))
            writer, two = await loop.connect_write_pipe(Recorder, open(write, "wb", 0))
            writer.write(b"%d" % i)
            writer.close()
            made.append((one, two))
        for i, (one, two) in enumerate(made):
            await one.until("lost")
            await two.until("lost")
            assert bytes(one.received) == b"%d" % i
        seen.append({tuple(one.names) for one, _ in made})

    assert on_both(program) == [{("made", "data", "eof", "lost")}]


def test_streams():
    async def program(loop, seen):
        read, write = os.pipe()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), open(read, "rb", 0)
        )
        transport, protocol = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, open(write, "wb", 0)
        )
        writer = asyncio.StreamWriter(transport, protocol, None, loop)
        for i in range(5):
            writer.write(b"line %d\n" % i)
            await writer.drain()
            seen.append(await reader.readline())
        writer.close()
        seen.append(await reader.read())

    assert on_both(program)[-1] == b""
