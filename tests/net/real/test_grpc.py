"""grpcio's aio: its own poller thread beside the loop, server and client."""

from __future__ import annotations

import asyncio
import io
import logging
from contextlib import contextmanager

import pytest

grpc = pytest.importorskip("grpc")

from ..._real.grpc_loop import let_go  # noqa: E402, F401
from ..._real.watch import run  # noqa: E402

SERVICE = "real.Service"


@contextmanager
def logged():
    """Give what grpc logs, as text: records would hold the server's frames."""
    text = io.StringIO()
    logger, handler = logging.getLogger("grpc"), logging.StreamHandler(text)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield text
    finally:
        logger.propagate = True
        logger.removeHandler(handler)


async def unary(request, context):
    """Answer in upper case, with metadata of both kinds."""
    if request == b"refuse":
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "as asked")
    if request == b"fail":
        raise RuntimeError("as asked")
    await context.send_initial_metadata([("first", "1")])
    context.set_trailing_metadata([("last", "2")])
    return request.upper()


async def collect(requests, context):
    return b"".join([request async for request in requests])


async def count(request, context):
    for number in range(int(request)):
        yield b"%d" % number


async def mirror(requests, context):
    async for request in requests:
        yield request[::-1]


async def mirror_by_methods(requests, context):
    """Do what `mirror` does by reading and writing, and not as a generator."""
    while (request := await context.read()) is not grpc.aio.EOF:
        await context.write(request[::-1])


class Endless:
    """A handler that waits, and tells that it does and that it was cancelled."""

    def __init__(self):
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def unary(self, request, context):
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def stream(self, request, context):
        yield b"first"
        await self.unary(request, context)


def handlers(endless):
    return {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Collect": grpc.stream_unary_rpc_method_handler(collect),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Mirror": grpc.stream_stream_rpc_method_handler(mirror),
        "Mirror2": grpc.stream_stream_rpc_method_handler(mirror_by_methods),
        "Endless": grpc.unary_unary_rpc_method_handler(endless.unary),
        "EndlessStream": grpc.unary_stream_rpc_method_handler(endless.stream),
    }


def not_sockets(name):
    """Whether a descriptor is one that grpc's own threads keep for the process."""
    return not name.startswith("socket:")


def served(program, where="127.0.0.1:0"):
    """Return a program that runs `program(channel, endless)` beside a server."""

    async def main():
        endless = Endless()
        server = grpc.aio.server()
        generic = grpc.method_handlers_generic_handler(SERVICE, handlers(endless))
        server.add_generic_rpc_handlers([generic])
        port = server.add_insecure_port(where)
        await server.start()
        target = where if where.startswith("unix:") else f"127.0.0.1:{port}"
        async with grpc.aio.insecure_channel(target) as channel:
            await program(channel, endless)
        await server.stop(None)

    return main


def test_unary_calls():
    async def program(channel, endless):
        call = channel.unary_unary(f"/{SERVICE}/Unary")
        for number in range(100):
            assert await call(b"hello %d" % number) == b"HELLO %d" % number
        answers = await asyncio.gather(*[call(b"%d" % n) for n in range(200)])
        assert answers == [b"%d" % number for number in range(200)]

    run(served(program), not_sockets)


def test_metadata_and_status():
    async def program(channel, endless):
        call = channel.unary_unary(f"/{SERVICE}/Unary")(b"hello")
        assert ("first", "1") in [tuple(pair) for pair in await call.initial_metadata()]
        assert await call == b"HELLO"
        assert await call.code() is grpc.StatusCode.OK
        assert ("last", "2") in [tuple(pair) for pair in await call.trailing_metadata()]

    run(served(program), not_sockets)


@pytest.mark.parametrize("stream", ["Mirror", "Mirror2"])
def test_bidirectional_stream(stream):
    async def program(channel, endless):
        call = channel.stream_stream(f"/{SERVICE}/{stream}")()
        for number in range(100):
            await call.write(b"ab%d" % number)
            assert await call.read() == (b"ab%d" % number)[::-1]
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF

        async def requests():
            for number in range(200):
                yield b"%d" % number

        call = channel.stream_stream(f"/{SERVICE}/{stream}")
        answers = [answer async for answer in call(requests())]
        assert answers == [(b"%d" % number)[::-1] for number in range(200)]

    run(served(program), not_sockets)


def test_streams_in_one_direction():
    async def program(channel, endless):
        call = channel.unary_stream(f"/{SERVICE}/Count")

        async def read():
            return [answer async for answer in call(b"500")]

        expected = [b"%d" % number for number in range(500)]
        assert await asyncio.gather(*[read() for _ in range(5)]) == [expected] * 5
        pieces = [bytes([number]) * 1000 for number in range(200)]
        collect = channel.stream_unary(f"/{SERVICE}/Collect")
        assert await collect(iter(pieces)) == b"".join(pieces)

    run(served(program), not_sockets)


def test_large_messages():
    data = bytes(range(256)) * 12_000

    async def program(channel, endless):
        mirror = channel.stream_stream(f"/{SERVICE}/Mirror")()
        for _ in range(5):
            await mirror.write(data)
            assert await mirror.read() == data[::-1]
        await mirror.done_writing()
        assert await mirror.code() is grpc.StatusCode.OK

    run(served(program), not_sockets)


@pytest.mark.parametrize("method", ["Endless", "EndlessStream"])
def test_deadline_exceeded(method):
    async def program(channel, endless):
        assert await channel.unary_unary(f"/{SERVICE}/Unary")(b"hello") == b"HELLO"
        # The server has to see the call before its time is over.
        if method == "Endless":
            call = channel.unary_unary(f"/{SERVICE}/{method}")(b"", timeout=1)
        else:
            call = channel.unary_stream(f"/{SERVICE}/{method}")(b"", timeout=1)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            if method == "Endless":
                await call
            else:
                async for answer in call:
                    assert answer == b"first"
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await endless.cancelled.wait()

    run(served(program), not_sockets)


@pytest.mark.parametrize("method", ["Endless", "EndlessStream"])
def test_calls_are_cancelled(method):
    async def program(channel, endless):
        if method == "Endless":
            call = channel.unary_unary(f"/{SERVICE}/{method}")(b"")
        else:
            call = channel.unary_stream(f"/{SERVICE}/{method}")(b"")
            assert await call.read() == b"first"
        await endless.waiting.wait()
        assert call.cancel()
        with pytest.raises(asyncio.CancelledError):
            if method == "Endless":
                await call
            else:
                await call.read()
        assert call.cancelled()
        await endless.cancelled.wait()

    run(served(program), not_sockets)


def test_a_task_that_waits_for_a_call_is_cancelled():
    async def program(channel, endless):
        async def ask():
            await channel.unary_unary(f"/{SERVICE}/Endless")(b"")

        task = asyncio.create_task(ask())
        await endless.waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await endless.cancelled.wait()

    run(served(program), not_sockets)


def test_errors():
    async def program(channel, endless):
        call = channel.unary_unary(f"/{SERVICE}/Unary")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"refuse")
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details() == "as asked"
        with pytest.raises(grpc.aio.AioRpcError) as caught, logged() as text:
            await call(b"fail")
        assert "RuntimeError: as asked" in text.getvalue()
        assert caught.value.code() is grpc.StatusCode.UNKNOWN
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(f"/{SERVICE}/None")(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert await call(b"still") == b"STILL"

    run(served(program), not_sockets)


def test_nobody_listens(free_port):
    async def main():
        async with grpc.aio.insecure_channel(f"127.0.0.1:{free_port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(f"/{SERVICE}/Unary")(b"")
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    run(main, not_sockets)


def test_unix_socket(tmp_path):
    async def program(channel, endless):
        assert await channel.unary_unary(f"/{SERVICE}/Unary")(b"hello") == b"HELLO"

    run(served(program, f"unix:{tmp_path}/socket"), not_sockets)


def test_loops_one_after_another():
    async def program(channel, endless):
        assert await channel.unary_unary(f"/{SERVICE}/Unary")(b"hello") == b"HELLO"

    for _ in range(5):
        run(served(program), not_sockets)
