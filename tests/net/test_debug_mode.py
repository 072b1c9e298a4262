"""Debug mode names what keeps the loop: a protocol's method is run by no handle here,
but is logged as if it were one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
import time

import pytest

from trio_asyncio_c import EventLoop

from ._helpers import (
    KINDS,
    STOCK,
    BufferedRecorder,
    Recorder,
    connected,
    receive_all,
    run_on,
)

LIMIT = 0.01


def slow(protocol=None):
    """Keep the loop for longer than it likes, and note what it says is running."""
    loop = asyncio.get_running_loop()
    time.sleep(LIMIT * 1.5)
    return repr(loop._current_handle)


def methods_logged(caplog, program):
    """Return for either loop what ran slowly, by the name of its method.

    `program`: awaited with the loop and a list for what `slow` returned.
    """
    answers = []
    for make in (STOCK, EventLoop):
        caplog.clear()

        async def limited(loop, seen):
            loop.slow_callback_duration = LIMIT
            await program(loop, seen)

        with caplog.at_level(logging.WARNING, "asyncio"):
            named = run_on(make, limited, debug=True)
        logged = re.findall(
            r"Executing <Handle (?:cancelled )?(\S+)\(.*\) created at \S+:\d+> took 0.\d+ seconds",
            "\n".join(caplog.messages),
        )
        methods = {name.rpartition(".")[2] for name in logged}
        answers.append(methods)
        for name in named:
            assert re.match(
                r"<Handle (cancelled )?\w+\.\w+\(.*\) created at \S+:\d+>$", name
            ), name
    caplog.clear()
    return answers


def noting(seen):
    return lambda protocol: seen.append(slow())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("recorder", [Recorder, BufferedRecorder])
def test_reading(recorder, kind, caplog):
    async def program(loop, seen):
        on = {"data": noting(seen), "eof": noting(seen)}
        protocol = recorder([], on)
        async with connected(lambda: protocol, kind) as (_transport, _, peer):
            peer.send(b"some")
            await protocol.until("data")
            peer.shutdown(socket.SHUT_WR)
            await protocol.until("eof")
            await protocol.until("lost")
        assert len(seen) == 2

    for logged in methods_logged(caplog, program):
        assert "_read_ready" in logged


def test_writing(caplog):
    async def program(loop, seen):
        protocol = Recorder([], {"resume": noting(seen)})
        async with connected(lambda: protocol, small=True) as (transport, _, peer):
            transport.write(bytes(1 << 18))
            assert "pause" in protocol.names
            reading = asyncio.ensure_future(receive_all(peer))
            await protocol.until("resume")
            transport.close()
            await reading
        assert len(seen) == 1

    stock, ours = methods_logged(caplog, program)
    assert stock & ours & {"_write_ready", "_write_sendmsg"}


def test_beginning_and_end(caplog):
    async def program(loop, seen):
        protocol = Recorder([], {"made": noting(seen), "lost": noting(seen)})
        async with connected(lambda: protocol) as (transport, _, _peer):
            transport.close()
            await protocol.until("lost")
        assert len(seen) == 2

    for logged in methods_logged(caplog, program):
        assert {"connection_made", "_call_connection_lost"} <= logged


class DatagramRecorder(Recorder, asyncio.DatagramProtocol):
    def datagram_received(self, data, addr):
        self.note("data", data)


def test_datagrams(caplog):
    async def program(loop, seen):
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        left.setblocking(False)
        protocol = DatagramRecorder([], {"data": noting(seen)})
        with right:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: protocol, sock=left
            )
            right.send(b"one")
            await protocol.until("data")
            transport.close()
            await protocol.until("lost")
        assert len(seen) == 1

    for logged in methods_logged(caplog, program):
        assert "_read_ready" in logged


def test_sending_datagrams(caplog):
    async def program(loop, seen):
        left, right = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in "12")
        right.bind("")  # with a name, which asyncio asks for before it sends
        left.connect(right.getsockname())
        protocol = DatagramRecorder([], {"resume": noting(seen)})
        with right:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: protocol, sock=left
            )
            transport.set_write_buffer_limits(high=1000, low=300)
            while "pause" not in protocol.names:
                transport.sendto(bytes(100))
            right.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while right.recv(1000):
                    pass
            await protocol.until("resume")
            transport.abort()
            await protocol.until("lost")
        assert len(seen) == 1

    for logged in methods_logged(caplog, program):
        assert "_sendto_ready" in logged


@pytest.mark.parametrize("end", ["data", "eof"])
def test_pipes(end, caplog):
    async def program(loop, seen):
        reader, writer = os.pipe()
        protocol = Recorder([], {end: noting(seen)})
        with open(writer, "wb", 0) as file:
            transport, _ = await loop.connect_read_pipe(
                lambda: protocol, open(reader, "rb", 0)
            )
            file.write(b"some")
            await protocol.until("data")
        await protocol.until("lost")
        transport.close()
        assert len(seen) == 1

    for logged in methods_logged(caplog, program):
        # The end comes by call_soon.
        assert ("_read_ready" if end == "data" else "eof_received") in logged


def test_writing_to_pipes(caplog):
    async def program(loop, seen):
        reader, writer = os.pipe()
        protocol = Recorder([], {"resume": noting(seen)})
        with open(reader, "rb", 0) as file:
            transport, _ = await loop.connect_write_pipe(
                lambda: protocol, open(writer, "wb", 0)
            )
            transport.set_write_buffer_limits(0)
            while "pause" not in protocol.names:
                transport.write(bytes(1 << 16))
            reading = loop.run_in_executor(None, file.readall)
            await protocol.until("resume")
            transport.close()
            await reading
        assert len(seen) == 1

    for logged in methods_logged(caplog, program):
        assert "_write_ready" in logged


def test_tls(caplog):
    pytest.importorskip("trustme")
    from ._tls_helpers import HOST, client_context, server_context

    async def program(loop, seen):
        served = Recorder([], {"data": noting(seen)})
        server = await loop.create_server(
            lambda: served, "127.0.0.1", 0, ssl=server_context()
        )
        async with server:
            address = server.sockets[0].getsockname()[:2]
            client = Recorder([])
            transport, _ = await loop.create_connection(
                lambda: client,
                *address,
                ssl=client_context(),
                server_hostname=HOST,
            )
            transport.write(b"some")
            await served.until("data")
            transport.close()
            await client.until("lost")
            await served.until("lost")
        assert len(seen) == 1

    for logged in methods_logged(caplog, program):
        assert "_read_ready" in logged


def test_an_error_is_told_with_where_the_loop_runs(caplog):
    """The default exception handler shows the stack of the running handle."""

    def fail(protocol):
        raise ValueError("of a protocol")

    async def program(loop, seen):
        loop.set_exception_handler(None)
        protocol = Recorder([], {"data": fail})
        async with connected(lambda: protocol) as (_transport, _, peer):
            peer.send(b"some")
            await protocol.until("lost")

    for make in (STOCK, EventLoop):
        caplog.clear()
        with contextlib.suppress(ValueError):
            run_on(make, program, debug=True)
        (message,) = [text for text in caplog.messages if "Fatal error" in text]
        assert "Handle created at (most recent call last)" in message, message
    caplog.clear()


def test_nothing_is_logged_otherwise(caplog):
    async def program(loop, seen):
        loop.slow_callback_duration = 0
        on = {"data": lambda protocol: seen.append(loop._current_handle)}
        protocol = Recorder([], on)
        async with connected(lambda: protocol) as (_transport, _, peer):
            peer.send(b"some")
            await protocol.until("data")

    assert run_on(EventLoop, program) == [None]
    assert not caplog.messages
