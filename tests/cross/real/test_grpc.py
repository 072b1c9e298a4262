"""grpcio's aio, its server and its client, in Trio-flavoured programs."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

grpc = pytest.importorskip("grpc")

from trio_asyncio_c import aio_as_trio, trio_as_aio  # noqa: E402

from ..._real.grpc_loop import let_go  # noqa: E402, F401
from ._programs import trio  # noqa: E402

SERVICE = "real.Service"


def not_sockets(name):
    """Whether a descriptor is one that grpc's own threads keep for the process."""
    return not name.startswith("socket:")


class Service:
    """Handlers whose work is done by Trio tasks."""

    def __init__(self):
        self.waiting = trio.Event()
        self.cancelled = trio.Event()
        self._work = trio_as_aio(self._upper)
        self._wait = trio_as_aio(self._wait_in_trio)

    async def _upper(self, request):
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 0.001)
        if request == b"fail":
            raise ZeroDivisionError
        return request.upper()

    async def _wait_in_trio(self):
        self.waiting.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.cancelled.set()
            raise

    async def unary(self, request, context):
        try:
            return await self._work(request)
        except ZeroDivisionError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "as asked")

    async def collect(self, requests, context):
        return b"".join([request async for request in requests])

    async def count(self, request, context):
        async for answer in trio_as_aio(count_in_trio(int(request))):
            yield answer

    async def mirror(self, requests, context):
        async for request in requests:
            yield (await self._work(request))[::-1]

    async def endless(self, request, context):
        await self._wait()

    async def endless_stream(self, request, context):
        yield b"first"
        await self._wait()

    def handlers(self):
        return {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Collect": grpc.stream_unary_rpc_method_handler(self.collect),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Mirror": grpc.stream_stream_rpc_method_handler(self.mirror),
            "Endless": grpc.unary_unary_rpc_method_handler(self.endless),
            "EndlessStream": grpc.unary_stream_rpc_method_handler(self.endless_stream),
        }


async def count_in_trio(limit):
    for number in range(limit):
        await trio.lowlevel.checkpoint()
        yield b"%d" % number


@asynccontextmanager
async def serving():
    """Give a channel to a server, and its service. Flavor: Trio."""
    service = Service()
    server = grpc.aio.server()
    generic = grpc.method_handlers_generic_handler(SERVICE, service.handlers())
    server.add_generic_rpc_handlers([generic])
    port = server.add_insecure_port("127.0.0.1:0")
    await aio_as_trio(server.start)()
    try:
        async with aio_as_trio(
            grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        ) as channel:
            yield channel, service
    finally:
        with trio.CancelScope(shield=True):
            await aio_as_trio(server.stop)(None)


def test_unary_calls_from_a_nursery(run_in_trio):
    answers = {}

    async def ask(channel, number):
        call = channel.unary_unary(f"/{SERVICE}/Unary")
        answers[number] = await aio_as_trio(call)(b"hello %d" % number)

    async def main():
        async with serving() as (channel, service):
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(ask, channel, number)

    run_in_trio(main, not_sockets)
    assert answers == {number: b"HELLO %d" % number for number in range(100)}


def test_server_streams_are_iterated(run_in_trio):
    async def read(channel, answers):
        call = channel.unary_stream(f"/{SERVICE}/Count")(b"300")
        answers.append([answer async for answer in aio_as_trio(call)])

    async def main():
        async with serving() as (channel, service):
            answers = []
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(read, channel, answers)
            assert answers == [[b"%d" % number for number in range(300)]] * 3

    run_in_trio(main, not_sockets)


def test_a_generator_of_trios_is_the_requests(run_in_trio):
    async def main():
        async with serving() as (channel, service):
            collect = aio_as_trio(channel.stream_unary(f"/{SERVICE}/Collect"))
            expected = b"".join([answer async for answer in count_in_trio(300)])
            assert await collect(trio_as_aio(count_in_trio(300))) == expected
            mirror = channel.stream_stream(f"/{SERVICE}/Mirror")
            call = mirror(trio_as_aio(count_in_trio(100)))
            answers = [answer async for answer in aio_as_trio(call)]
            assert answers == [(b"%d" % number)[::-1] for number in range(100)]

    run_in_trio(main, not_sockets)


def test_a_bidirectional_stream(run_in_trio):
    """Asked and answered by turns, and then written and read by two tasks."""

    async def main():
        async with serving() as (channel, service):
            call = channel.stream_stream(f"/{SERVICE}/Mirror")()
            read, write = aio_as_trio(call.read), aio_as_trio(call.write)
            for number in range(50):
                await write(b"ab%d" % number)
                assert await read() == (b"AB%d" % number)[::-1]

            async def write_all():
                for number in range(100):
                    await write(b"%d" % number)
                await aio_as_trio(call.done_writing)()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(write_all)
                for number in range(100):
                    assert await read() == (b"%d" % number)[::-1]
            assert await read() is grpc.aio.EOF
            assert await aio_as_trio(call.code)() is grpc.StatusCode.OK

    run_in_trio(main, not_sockets)


async def wait_for_end(channel, method, **options):
    """Call a method that never ends."""
    if method == "Endless":
        await aio_as_trio(channel.unary_unary(f"/{SERVICE}/{method}"))(b"", **options)
        return
    call = channel.unary_stream(f"/{SERVICE}/{method}")(b"", **options)
    try:
        async for answer in aio_as_trio(call):
            assert answer == b"first"
    finally:
        # A cancel between two answers is not heard of by grpc.
        call.cancel()


endless_methods = pytest.mark.parametrize("method", ["Endless", "EndlessStream"])


@endless_methods
def test_a_cancelled_scope_ends_the_call(run_in_trio, method):
    """In the server too, down to the Trio task there."""

    async def main():
        async with serving() as (channel, service):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait_for_end, channel, method)
                await service.waiting.wait()
                nursery.cancel_scope.cancel()
            assert nursery.cancel_scope.cancelled_caught
            await service.cancelled.wait()
            call = aio_as_trio(channel.unary_unary(f"/{SERVICE}/Unary"))
            assert await call(b"still") == b"STILL"

    run_in_trio(main, not_sockets)


@endless_methods
def test_deadlines_of_trios_and_of_grpcs(run_in_trio, method):
    async def main():
        async with serving() as (channel, service):
            await aio_as_trio(channel.channel_ready)()
            with trio.move_on_after(0.5) as scope:
                await wait_for_end(channel, method)
            assert scope.cancelled_caught
            with trio.move_on_after(60) as scope:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await wait_for_end(channel, method, timeout=0.5)
            assert not scope.cancelled_caught
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            await service.cancelled.wait()

    run_in_trio(main, not_sockets)


def test_calls_that_are_cancelled_by_their_own_method(run_in_trio):
    async def main():
        async with serving() as (channel, service):
            call = channel.unary_unary(f"/{SERVICE}/Endless")(b"")

            async def cancel():
                await service.waiting.wait()
                assert call.cancel()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel)
                with pytest.raises(asyncio.CancelledError):
                    await aio_as_trio(call)
            assert call.cancelled()
            await service.cancelled.wait()

    run_in_trio(main, not_sockets)


def test_errors_cross(run_in_trio):
    async def main():
        async with serving() as (channel, service):
            call = aio_as_trio(channel.unary_unary(f"/{SERVICE}/Unary"))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"fail")
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert caught.value.details() == "as asked"
            with pytest.RaisesGroup(grpc.aio.AioRpcError):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(wait_for_end, channel, "EndlessStream")
                    await service.waiting.wait()
                    await call(b"fail")
            await service.cancelled.wait()
            assert await call(b"still") == b"STILL"

    run_in_trio(main, not_sockets)


def test_the_server_stops_under_a_call(run_in_trio):
    async def main():
        statuses = []

        async def ask(channel):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await wait_for_end(channel, "EndlessStream")
            statuses.append(caught.value.code())

        async with trio.open_nursery() as nursery:
            service = Service()
            server = grpc.aio.server()
            generic = grpc.method_handlers_generic_handler(SERVICE, service.handlers())
            server.add_generic_rpc_handlers([generic])
            port = server.add_insecure_port("127.0.0.1:0")
            await aio_as_trio(server.start)()
            target = f"127.0.0.1:{port}"
            async with aio_as_trio(grpc.aio.insecure_channel(target)) as channel:
                nursery.start_soon(ask, channel)
                await service.waiting.wait()
                await aio_as_trio(server.stop)(0)
                await service.cancelled.wait()
                while not statuses:
                    await trio.sleep(0.01)
        assert statuses in (
            [grpc.StatusCode.UNAVAILABLE],
            [grpc.StatusCode.CANCELLED],
        )

    run_in_trio(main, not_sockets)
