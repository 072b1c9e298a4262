"""What code that runs in the middle of a transport's work can do to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap

import pytest

from trio_asyncio_c import EventLoop, _core
from trio_asyncio_c._transports import (
    DatagramTransport,
    ReadPipeTransport,
    StreamTransport,
    WritePipeTransport,
)

from ._helpers import Recorder, connected, on_ours, turns


@pytest.mark.parametrize(
    "kind",
    [StreamTransport, DatagramTransport, ReadPipeTransport, WritePipeTransport],
)
def test_a_loop_that_was_never_initialised(kind):
    left, right = socket.socketpair()
    with left, right, pytest.raises(RuntimeError, match="Event loop is closed"):
        kind(_core.LoopCore.__new__(_core.LoopCore), left, Recorder())


def fill(fd):
    """Write until the kernel takes no more; return how much it was."""
    count = 0
    os.set_blocking(fd, False)
    for size in (1 << 16, 1):
        try:
            while True:
                count += os.write(fd, bytes(size))
        except BlockingIOError:
            pass
    return count


def emptied(fd):
    """Return how many bytes can be read."""
    count = 0
    os.set_blocking(fd, False)
    try:
        while piece := os.read(fd, 1 << 16):
            count += len(piece)
    except BlockingIOError:
        pass
    return count


def blocked_in(write, aborted, reader):
    """Call `write`, which waits for the kernel, until a signal's handler has called
    `aborted`; should it wait on, a later one makes room for it."""
    counts = []

    def on_signal(*args):
        if counts:
            counts.append(emptied(reader))
        else:
            counts.append(0)
            aborted()

    before = signal.signal(signal.SIGALRM, on_signal)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        write()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return sum(counts)


# Somebody else has the same open file, and makes it block.


def test_a_signal_handler_aborts_a_stream_that_is_sending():
    async def program(loop, seen):
        async with connected(lambda: Recorder([])) as (transport, protocol, peer):
            fd = transport.get_extra_info("socket").fileno()
            filled = fill(fd)
            os.set_blocking(fd, True)

            def write():
                transport.write(b"never to be sent")
                transport.get_write_buffer_size()

            got = blocked_in(write, transport.abort, peer.fileno())
            await protocol.until("lost")
            seen.append(got + emptied(peer.fileno()) - filled)

    assert on_ours(program, "waits on, in C code that the handler does not reach") == [
        0
    ]


def test_a_signal_handler_aborts_a_pipe_that_is_written_to():
    async def program(loop, seen):
        reader, writer = os.pipe()
        filled = fill(writer)
        transport, protocol = await loop.connect_write_pipe(
            lambda: Recorder([]), open(writer, "wb", 0)
        )
        os.set_blocking(writer, True)
        write = lambda: transport.write(b"never to be sent")  # noqa: E731
        got = blocked_in(write, transport.abort, reader)
        await protocol.until("lost")
        seen.append(got + emptied(reader) - filled)
        os.close(reader)

    assert on_ours(program, "waits on, in C code that the handler does not reach") == [
        0
    ]


def test_a_stream_is_read_from_after_a_signal():
    async def program(loop, seen):
        async with connected(lambda: Recorder([])) as (transport, protocol, peer):
            os.set_blocking(transport.get_extra_info("socket").fileno(), True)

            def read():
                transport._read_ready()  # nothing is there

            blocked_in(read, lambda: seen.append("handled"), peer.fileno())
            peer.send(b"some")
            await protocol.until("data")
            seen.append(bytes(protocol.received))

    assert on_ours(program, "reads until there is something") == ["handled", b"some"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_an_audit_hook_aborts_a_datagram_transport_that_is_sending(host):
    """Hooks cannot be removed, hence the child process."""
    script = """
        import asyncio, socket, sys
        import trio_asyncio_c

        transport = None

        def hook(event, args):
            if event == "socket.sendto" and armed:
                armed.clear()
                transport.abort()

        armed = []
        sys.addaudithook(hook)

        async def main():
            global transport
            loop = asyncio.get_running_loop()
            transport, protocol = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
            )
            port = transport.get_extra_info("sockname")[1]
            transport.sendto(b"first", ("127.0.0.1", port))
            armed.append(True)
            # By the socket object, which knows names, or at the end of the turn.
            transport.sendto(b"second", (sys.argv[1], port))
            print(transport.is_closing(), armed)

        loop = trio_asyncio_c.new_event_loop()
        loop.run_until_complete(main())
        loop.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), host],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("True []\n", "", 0)


class LosesItself(Recorder):
    """Ends what has ended, in all ways there are."""

    def connection_lost(self, exc):
        super().connection_lost(exc)
        transport = self.transport
        if self.names.count("lost") == 1:
            transport._call_connection_lost(None)
        transport.abort()
        transport.close()
        transport.write(b"nobody")
        transport.set_protocol(Recorder())


def test_whatever_is_called_at_the_end():
    async def program(loop, seen):
        protocol = LosesItself(seen)
        async with connected(lambda: protocol) as (transport, _, _peer):
            transport.abort()
            await protocol.until("lost")
            await turns(3)

    notes = on_ours(program, "fails, for its loop is gone")
    assert [note[0] for note in notes if note[0] != "made"] == ["lost", "lost"]


def test_data_received_that_closes_stops_and_interrupts():
    left, right = socket.socketpair()
    loop = EventLoop()

    class Interrupts(Recorder):
        def data_received(self, data):
            loop.stop()
            with pytest.raises(RuntimeError):
                loop.close()
            self.transport.write(bytes(1 << 20))
            self.transport.abort()
            raise KeyboardInterrupt

    async def main():
        protocol = Interrupts([])
        await loop.create_connection(lambda: protocol, sock=left)
        right.send(b"some")
        await protocol.until("lost")

    with right:
        task = loop.create_task(main())
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(task)
        loop.run_until_complete(task)
    loop.close()
