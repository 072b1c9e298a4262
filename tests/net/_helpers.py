"""What the tests of transports and servers share.

Nearly every test is one program that runs twice, on the standard library's loop and on
ours, and notes what it saw: `on_both` compares the notes.  So a wrong expectation shows
on the standard library's loop, and a missing one is filled in by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import socket
import struct
import sys

from trio_asyncio_c import EventLoop

STOCK = asyncio.SelectorEventLoop
# A guard against hanging, not a measure of anything.
TIME_LIMIT = 30
# So that little is taken by the kernel before a transport has to buffer.
SMALL_BUFFER = 4096
# More than any socket's buffers take.
LARGE = 16 << 20

KINDS = ["unix", "tcp"]


# Comparing


def normal(text):
    """Take out of a text what differs between two runs or two loops of any kind."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    text = re.sub(r"(fd=|File descriptor )\d+", r"\1", text)
    text = re.sub(r"<[\w.]*Transport\b", "<Transport", text)
    text = text.replace("_UnixSelectorEventLoop", "EventLoop")
    if text.startswith("Exception in callback"):
        # What a loop calls its own callbacks is its own affair.
        text = "Exception in callback"
    # Which class of the hierarchy has a method.
    return re.sub(r"\b_?[A-Z]\w*\.(\w+\(\))", r"\1", text)


def described(value):
    """Return what of an outcome is to be the same on both loops."""
    if isinstance(value, BaseExceptionGroup):
        return type(value).__name__, [described(exc) for exc in value.exceptions]
    if isinstance(value, BaseException):
        return type(value).__name__, normal(str(value))
    return value


def outcome(call, *args, **kwargs):
    """Return what a call comes to: its value, or the class and text of its error."""
    try:
        return call(*args, **kwargs)
    except Exception as exc:
        return described(exc)


async def outcome_of(awaitable):
    """Return what waiting comes to."""
    try:
        return await awaitable
    except (Exception, asyncio.CancelledError) as exc:
        return described(exc)


def heard(context):
    """Return what an exception handler was told, without the objects."""
    message = normal(context["message"])
    keys = set(context)
    if message == "Exception in callback":
        keys -= {"handle", "source_traceback"}
    return message, described(context.get("exception")), sorted(keys)


def open_fds():
    """Return the descriptors of this process and what each of them is."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the directory's own, and others' ends
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def new_fds(before):
    gc.collect()
    after = open_fds()
    return {fd: what for fd, what in after.items() if before.get(fd) != what}


async def _guarded(program, loop, seen):
    async with asyncio.timeout(TIME_LIMIT):
        await program(loop, seen)


def run_on(make, program, *, debug=False):
    """Run ``await program(loop, seen)`` on a new loop; return what was appended to
    `seen`, and then what the exception handler was told.

    No descriptor is left open, and no transport unclosed.
    """
    gc.collect()  # so that the descriptors of earlier tests are not counted
    before = open_fds()
    seen, errors = [], []
    loop = make()
    loop.set_debug(debug)
    loop.set_exception_handler(lambda loop, context: errors.append(heard(context)))
    try:
        loop.run_until_complete(_guarded(program, loop, seen))
        # What was closed last is told in the next turns.
        loop.run_until_complete(turns(3))
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.set_exception_handler(None)
        loop.close()
    del loop
    leaked = new_fds(before)
    assert not leaked, f"{make.__name__} leaves {leaked} open"
    return [*seen, *errors]


def on_both(program, *, debug=False):
    """Do `run_on` with the standard library's loop and with ours; return what both
    have noted, which must be the same."""
    stock = run_on(STOCK, program, debug=debug)
    ours = run_on(EventLoop, program, debug=debug)
    assert ours == stock, f"{ours}\ninstead of\n{stock}"
    return ours


async def turns(count):
    """Let whole turns of the loop pass."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition):
    """Wait until a condition holds that no future tells of."""
    while not condition():
        await asyncio.sleep(0.001)


def need_own(transport):
    """Fail where the standard library's transport is used for one of ours."""
    name = f"{type(transport).__module__}.{type(transport).__name__}"
    assert name.startswith("trio_asyncio_c."), name


def on_ours(program, why):
    """Do `run_on` with our loop alone; `why` is what the standard library's transports
    do instead."""
    return run_on(EventLoop, program)


# Protocols


class Recorder(asyncio.Protocol):
    """Notes what it is told, and does what a test wants done in a callback.

    Args:
      seen: the list to append to; data that comes in pieces is noted as one, since
        how many there are is up to the kernel.
      on: by the name of a note, a function to be called with the protocol; what it
        returns is returned, what it raises is raised.
    """

    def __init__(self, seen=None, on=None):
        self.seen = [] if seen is None else seen
        self.on = on or {}
        self.transport = None
        self.names = []
        self.received = bytearray()
        self.waiters = []
        self.exc = None

    def note(self, name, *value):
        last = self.seen[-1] if self.seen else None
        if name == "data" and isinstance(last, tuple) and last[:1] == ("data",):
            self.seen[-1] = ("data", last[1] + value[0])
        else:
            self.seen.append((name, *value))
        self.names.append(name)
        for condition, future in self.waiters:
            if not future.done() and condition():
                future.set_result(None)
        if name in self.on:
            return self.on[name](self)
        return None

    async def _until(self, condition):
        if condition():
            return
        future = asyncio.get_running_loop().create_future()
        entry = condition, future
        self.waiters.append(entry)
        await future
        self.waiters.remove(entry)

    async def until(self, name):
        """Wait until something was noted, and the callback has returned."""
        await self._until(lambda: name in self.names)

    async def until_received(self, count):
        await self._until(lambda: len(self.received) >= count)

    def connection_made(self, transport):
        self.transport = transport
        self.note("made")

    def data_received(self, data):
        assert type(data) is bytes
        self.received += data
        self.note("data", data)

    def eof_received(self):
        return self.note("eof")

    def connection_lost(self, exc):
        self.exc = exc
        self.note("lost", described(exc))

    def pause_writing(self):
        self.note("pause")

    def resume_writing(self):
        self.note("resume")


class BufferedRecorder(Recorder, asyncio.BufferedProtocol):
    """The same with a buffer of its own."""

    data_received = None

    def __init__(self, seen=None, on=None, size=65536):
        super().__init__(seen, on)
        self.buffer = bytearray(size)
        self.hints = []

    def get_buffer(self, sizehint):
        self.hints.append(sizehint)
        return self.buffer

    def buffer_updated(self, nbytes):
        data = bytes(self.buffer[:nbytes])
        self.received += data
        self.note("data", data)


class Quiet(Recorder):
    """Notes nothing where others look."""

    def __init__(self, on=None):
        super().__init__([], on)


# Connections


def tcp_pair(family=socket.AF_INET):
    """Return two connected TCP sockets."""
    address = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with socket.create_server((address, 0), family=family) as listener:
        left = socket.create_connection(listener.getsockname()[:2])
        right, _ = listener.accept()
    return left, right


def socket_pair(kind):
    pair = tcp_pair() if kind == "tcp" else socket.socketpair()
    for sock in pair:
        sock.setblocking(False)
    return pair


def shrink(*socks):
    """Have the kernel take little at once."""
    for sock in socks:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)


@contextlib.asynccontextmanager
async def connected(factory, kind="unix", small=False):
    """Give a transport, its protocol and the plain socket at the other end; both are
    closed afterwards, whatever the test has done to them."""
    left, right = socket_pair(kind)
    if small:
        shrink(left, right)
    loop = asyncio.get_running_loop()
    with right:
        transport, protocol = await loop.create_connection(factory, sock=left)
        try:
            yield transport, protocol, right
        finally:
            # Afterwards, since asyncio's fails when it has been closed in full.
            if transport.get_extra_info("socket").fileno() != -1:
                transport.abort()
            await turns(2)


async def receive(peer, count):
    """Return exactly so many bytes from a socket, fewer at the end of the stream."""
    loop = asyncio.get_running_loop()
    data = bytearray()
    while len(data) < count:
        piece = await loop.sock_recv(peer, min(count - len(data), 1 << 20))
        if not piece:
            break
        data += piece
    return bytes(data)


async def receive_all(peer):
    return await receive(peer, sys.maxsize)


async def fill(transport):
    """Write until the transport has to keep something; return what was written."""
    written = bytearray()
    while not transport.get_write_buffer_size():
        piece = os.urandom(1 << 16)
        transport.write(piece)
        written += piece
    return bytes(written)


def reset(sock):
    """Close a TCP socket with a reset instead of an end of the stream."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
