"""Stream transports under random operations, beside a model of what they promise."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from trio_asyncio_c import EventLoop

from ._helpers import (
    STOCK,
    BufferedRecorder,
    Recorder,
    receive,
    run_on,
    shrink,
    socket_pair,
    turns,
    until,
)

STEPS = 120


class Model:
    """What one connection has been through, and the rules that it is held to."""

    def __init__(self, kind, recorder, rng):
        self.rng = rng
        self.recorder = recorder
        self.left, self.peer = socket_pair(kind)
        if kind == "unix" and rng.random() < 0.5:
            shrink(self.left, self.peer)
        self.sent = bytearray()  # accepted by write(), as it was then
        self.got = bytearray()  # read at the other end
        self.given = bytearray()  # written at the other end
        self.received = bytearray()  # told to the protocols
        self.paused_writing = False
        self.paused_reading = False
        self.eof = self.closed = self.aborted = self.peer_eof = self.lost = False
        # What was given and never read makes the kernel reset the connection.
        self.reset = False
        self.inside = 0
        self.failure = None
        self.protocol = None

    async def start(self):
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_connection(
            self.new_protocol, sock=self.left
        )

    def new_protocol(self):
        protocol = self.recorder()
        self.protocol = protocol
        model = self

        def told(name, *value):
            try:
                check(name, *value)
            except AssertionError as exc:
                model.failure = exc
                raise
            return name == "eof"

        def check(name, *value):
            assert not model.inside or name in ("pause", "resume"), (
                f"{name} from within a call"
            )
            assert not model.lost, f"{name} after connection_lost"
            if protocol is not model.protocol:
                assert name != "data", "the old protocol is told"
            getattr(model, f"on_{name}")(*value)

        protocol.note = told
        return protocol

    def on_made(self):
        assert self.sent == b""

    def on_data(self, data):
        assert not self.paused_reading, "data while paused"
        assert not self.closed
        self.received += data
        assert self.given.startswith(self.received), "not what was sent"
        if self.rng.random() < 0.2:
            self.random_call()

    def on_eof(self):
        assert self.peer_eof
        assert self.received == self.given

    def on_pause(self):
        assert not self.paused_writing
        self.paused_writing = True
        assert self.transport.get_write_buffer_size() > 0

    def on_resume(self):
        assert self.paused_writing
        self.paused_writing = False

    def on_lost(self, exc):
        self.lost = True
        assert exc is None
        assert self.closed

    # What may be done

    @contextlib.contextmanager
    def call(self):
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    def random_call(self):
        with self.call():
            self.rng.choice(self.CALLS)(self)

    def piece(self):
        size = self.rng.choice([0, 1, 10, 1000, 20_000, 100_000])
        data = self.rng.randbytes(size)
        return self.rng.choice([bytes, bytearray, memoryview])(data)

    def write(self):
        if self.eof or self.lost:
            return
        data = self.piece()
        taken = self.is_taken()
        self.transport.write(data)
        if taken:
            self.sent += data
        if isinstance(data, bytearray) and not self.is_standard():
            data[:] = bytes(len(data))  # it was written as it was

    def writelines(self):
        if self.eof or self.closed or self.lost:
            return
        pieces = [self.piece() for _ in range(self.rng.randrange(5))]
        if self.is_standard():
            # Empty ones are never done with; see test_writelines_of_nothing_at_all.
            pieces = [piece for piece in pieces if piece]
        self.transport.writelines(pieces)
        self.sent += b"".join(pieces)

    def is_standard(self):
        return type(self.transport).__module__.startswith("asyncio.")

    def is_taken(self):
        """Once it is closing, what is written only goes behind what still waits."""
        return not self.closed or self.transport.get_write_buffer_size() > 0

    def pause(self):
        self.paused_reading = True
        self.transport.pause_reading()
        assert not self.transport.is_reading()

    def resume(self):
        self.paused_reading = False
        self.transport.resume_reading()
        assert self.transport.is_reading() is not self.closed

    def marks(self):
        high = self.rng.choice([0, 1, 100, 10_000, 100_000])
        self.transport.set_write_buffer_limits(high=high)
        assert self.transport.get_write_buffer_limits() == (high // 4, high)

    def set_protocol(self):
        if not self.lost:
            self.recorder = self.rng.choice([Recorder, BufferedRecorder])
            self.transport.set_protocol(self.new_protocol())

    def write_eof(self):
        if self.closed or self.lost or self.rng.random() < 0.8:
            return
        self.eof = True
        self.transport.write_eof()

    def close(self):
        if self.lost or self.rng.random() < 0.8:
            return
        self.closed = True
        self.transport.close()
        assert self.transport.is_closing()

    def abort(self):
        if self.lost or self.rng.random() < 0.95:
            return
        self.closed = self.aborted = True
        self.transport.abort()
        assert self.transport.get_write_buffer_size() == 0

    CALLS = [write] * 4 + [writelines] * 2 + [pause, resume, resume]
    CALLS += [marks, set_protocol, write_eof, close, abort]

    # The other end

    async def read_some(self):
        try:
            self.take(self.peer.recv(self.rng.choice([1, 1000, 50_000])))
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self.reset = True

    def take(self, data):
        self.got += data
        assert self.sent.startswith(self.got), "not what was written"

    async def give_some(self):
        if self.peer_eof or self.closed:
            return
        data = self.rng.randbytes(self.rng.choice([1, 100, 5000]))
        with contextlib.suppress(BlockingIOError):
            count = self.peer.send(data)
            self.given += data[:count]

    async def until(self, condition):
        await until(lambda: self.failure or condition())
        self.check()

    def check(self):
        if self.failure:
            raise self.failure

    async def step(self):
        self.check()
        what = self.rng.random()
        if what < 0.5:
            self.random_call()
        elif what < 0.7:
            await self.read_some()
        elif what < 0.85:
            await self.give_some()
        else:
            await turns(self.rng.randrange(1, 4))

    async def finish(self):
        """Close it if it is not, and see that nothing is missing."""
        if not self.closed:
            self.resume()
            await self.until(lambda: self.received == self.given)
            with self.call():
                self.closed = True
                self.transport.close()
        with contextlib.suppress(ConnectionResetError):
            while data := await receive(self.peer, 65536):
                self.take(data)
            assert self.aborted or self.reset or self.got == self.sent
        await self.until(lambda: self.lost)
        await turns(2)
        self.peer.close()
        self.protocol.note = None


@pytest.mark.parametrize("make", [STOCK, EventLoop], ids=["stock", "ours"])
@pytest.mark.parametrize("kind", ["unix", "tcp"])
@pytest.mark.parametrize("seed", range(10))
def test_random_operations(make, kind, seed):
    rng = random.Random(f"{kind}-{seed}")

    async def program(loop, seen):
        models = [
            Model(kind, rng.choice([Recorder, BufferedRecorder]), rng) for _ in range(3)
        ]
        for model in models:
            await model.start()
        for _ in range(STEPS):
            await rng.choice(models).step()
        for model in models:
            await model.finish()

    assert run_on(make, program) == []
