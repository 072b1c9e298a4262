"""aiohttp, its server and its client, in Trio-flavoured programs."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager

import pytest

aiohttp = pytest.importorskip("aiohttp")

from aiohttp import web  # noqa: E402

from trio_asyncio_c import aio_as_trio, run_asyncio, run_trio, trio_as_aio  # noqa: E402

from ._programs import trio  # noqa: E402
from ._waiting import Waiting  # noqa: E402

PIECES = [os.urandom(size) for size in (1, 10, 1000, 70_000, 300_000)] * 4


@asynccontextmanager
async def serving(app, **options):
    """Serve an application on loopback; gives its URL. Flavor: asyncio."""
    runner = web.AppRunner(app, **options)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def application(**handlers):
    """Return an application with a handler for each path of one word."""
    app = web.Application(client_max_size=0)
    for name, handler in handlers.items():
        app.router.add_route("*", f"/{name}", handler)
    return app


@asynccontextmanager
async def session(app, **options):
    """Give the session of a client that asks an application. Flavor: Trio."""
    async with aio_as_trio(serving(app, **options)) as url:
        connector = aiohttp.TCPConnector(limit=0)
        client = aiohttp.ClientSession(url, connector=connector)
        async with aio_as_trio(client) as http:
            yield http


async def say_hello(request):
    return web.json_response({"hello": request.query["name"]})


async def ask_hello(http, name):
    """Ask as Trio-flavoured code does, a crossing for each await."""
    async with aio_as_trio(http.get("/hello", params={"name": name})) as response:
        assert response.status == 200
        return await aio_as_trio(response.json)()


def test_requests_from_a_nursery(run_in_trio):
    answers = {}

    async def ask(http, name):
        answers[name] = await ask_hello(http, name)

    async def main():
        async with session(application(hello=say_hello)) as http:
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(ask, http, str(number))
            # And a whole function of asyncio's flavour.
            assert await run_asyncio(fetch, http) == {"hello": "you"}

    async def fetch(http):
        async with http.get("/hello?name=you") as response:
            return await response.json()

    run_in_trio(main)
    assert answers == {str(n): {"hello": str(n)} for n in range(100)}


def test_connections_are_used_again(run_in_trio):
    async def main():
        async with session(application(hello=say_hello)) as http:
            for number in range(30):
                await ask_hello(http, str(number))
            assert sum(map(len, http.connector._conns.values())) == 1

    run_in_trio(main)


def test_trio_does_the_servers_work(run_in_trio):
    """The handlers' work is done by Trio tasks, with nurseries and scopes."""

    async def work(limit):
        with trio.move_on_after(limit) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 0)
                nursery.start_soon(trio.sleep, 0.01)
        return web.Response(text=str(scope.cancelled_caught))

    @trio_as_aio
    async def by_decorator(request):
        return await work(60)

    async def handler(request):
        if "limit" in request.query:
            return await work_in_trio(float(request.query["limit"]))
        return await by_decorator(request)

    work_in_trio = trio_as_aio(work)

    async def ask(http, path, expected):
        async with aio_as_trio(http.get(path)) as response:
            assert await aio_as_trio(response.text)() == expected

    async def main():
        async with session(application(work=handler)) as http:
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(ask, http, "/work?limit=60", "False")
                    nursery.start_soon(ask, http, "/work?limit=0", "True")
                    nursery.start_soon(ask, http, "/work", "False")

    run_in_trio(main)


def test_bodies_are_streamed_both_ways(run_in_trio):
    """A Trio-flavoured generator is the body of the request, and the response's is
    iterated by Trio-flavoured code."""

    async def pieces():
        for piece in PIECES:
            await trio.lowlevel.checkpoint()
            yield piece

    async def mirror(request):
        response = web.StreamResponse()
        await response.prepare(request)
        async for piece in request.content.iter_any():
            await response.write(piece)
        return response

    async def main():
        async with session(application(mirror=mirror)) as http:
            for _ in range(3):
                body = trio_as_aio(pieces())
                received = bytearray()
                async with aio_as_trio(http.post("/mirror", data=body)) as response:
                    assert response.headers["Transfer-Encoding"] == "chunked"
                    async for piece in aio_as_trio(response.content.iter_any()):
                        received += piece
                assert received == b"".join(PIECES)

    run_in_trio(main)


def test_an_error_in_the_middle_of_a_body_crosses(run_in_trio):
    failed = []

    async def pieces():
        yield b"beginning"
        raise ZeroDivisionError

    async def read(request):
        try:
            await request.read()
        except (OSError, aiohttp.ClientError, web.RequestPayloadError) as exc:
            failed.append(exc)
        return web.Response()

    async def main():
        async with session(application(read=read, hello=say_hello)) as http:
            with pytest.raises(aiohttp.ClientConnectionError) as caught:
                async with aio_as_trio(http.post("/read", data=trio_as_aio(pieces()))):
                    raise AssertionError("that was answered")
            assert isinstance(caught.value.__cause__, ZeroDivisionError)
            caught = None
            await ask_hello(http, "you")

    run_in_trio(main)


async def echo_by_asyncio(request):
    ws = web.WebSocketResponse(max_msg_size=0)
    await ws.prepare(request)
    async for message in ws:
        if message.type is aiohttp.WSMsgType.TEXT:
            await ws.send_str(message.data)
        else:
            await ws.send_bytes(message.data)
    return ws


async def echo_by_trio(request):
    ws = web.WebSocketResponse(max_msg_size=0)
    await ws.prepare(request)

    async def echo():
        async for message in aio_as_trio(ws):
            send = aio_as_trio(
                ws.send_str if message.type is aiohttp.WSMsgType.TEXT else ws.send_bytes
            )
            await send(message.data)

    await run_trio(echo)
    return ws


@pytest.mark.parametrize("echo", [echo_by_asyncio, echo_by_trio])
def test_websockets_from_a_nursery(run_in_trio, echo):
    messages = ["", "hello", "x" * 70_000, b"", b"\0\1", os.urandom(300_000)]

    async def talk(http):
        async with aio_as_trio(http.ws_connect("/ws", max_msg_size=0)) as ws:
            for message in messages:
                is_text = isinstance(message, str)
                await aio_as_trio(ws.send_str if is_text else ws.send_bytes)(message)
                assert (await aio_as_trio(ws.receive)()).data == message
        assert ws.close_code == 1000

    async def main():
        async with session(application(ws=echo)) as http:
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(talk, http)

    run_in_trio(main)


def test_a_websocket_is_read_by_one_task_and_written_by_another(run_in_trio):
    heard = []

    async def listen(ws):
        async for message in aio_as_trio(ws):
            heard.append(message.data)

    async def main():
        async with session(application(ws=echo_by_trio)) as http:
            async with aio_as_trio(http.ws_connect("/ws")) as ws:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(listen, ws)
                    for number in range(100):
                        await aio_as_trio(ws.send_str)(str(number))
                    while len(heard) < 100:
                        await trio.sleep(0.01)
                    nursery.cancel_scope.cancel()

    run_in_trio(main)
    assert heard == list(map(str, range(100)))


@pytest.mark.parametrize("begin", [False, True], ids=["head", "body"])
def test_a_cancelled_scope_ends_the_request(run_in_trio, begin):
    """The server sees that the client has gone, and the session goes on."""

    async def ask(http, scope):
        with scope:
            async with aio_as_trio(http.get("/wait")) as response:
                assert begin
                await aio_as_trio(response.content.readexactly)(9)
                await aio_as_trio(response.read)()

    async def main():
        waiting = Waiting(begin, trio.Event)
        app = application(wait=waiting.handle, hello=say_hello)
        async with session(app, handler_cancellation=True) as http:
            await ask_hello(http, "you")
            scope = trio.CancelScope()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, http, scope)
                await waiting.started.wait()
                scope.cancel()
            assert scope.cancelled_caught
            await waiting.cancelled.wait()
            assert await ask_hello(http, "me") == {"hello": "me"}

    run_in_trio(main)


def test_a_request_that_asyncio_cancels_within_trio(run_in_trio):
    """A cancel from the Task around `run_trio` goes through the Trio task into the
    request's."""

    async def main():
        waiting = Waiting(begin=False, event=trio.Event)
        app = application(wait=waiting.handle, hello=say_hello)
        async with session(app, handler_cancellation=True) as http:

            async def ask():
                try:
                    async with aio_as_trio(http.get("/wait")):
                        raise AssertionError("that was answered")
                except trio.Cancelled:
                    seen.append("Trio")
                    raise

            async def asked():
                try:
                    await run_trio(ask)
                except asyncio.CancelledError:
                    seen.append("asyncio")
                    raise

            seen = []
            task = asyncio.get_running_loop().create_task(asked())
            await waiting.started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await aio_as_trio(task)
            assert seen == ["Trio", "asyncio"]
            await waiting.cancelled.wait()
            await ask_hello(http, "you")

    run_in_trio(main)


def test_deadlines_and_time_limits(run_in_trio):
    """Trio's deadlines end requests, aiohttp's limits are its own error."""

    async def main():
        waiting = Waiting(begin=True, event=trio.Event)
        app = application(wait=waiting.handle, hello=say_hello)
        async with session(app, handler_cancellation=True) as http:

            async def ask(**options):
                async with aio_as_trio(http.get("/wait", **options)) as response:
                    await aio_as_trio(response.read)()

            with trio.move_on_after(0.1) as scope:
                await ask()
            assert scope.cancelled_caught
            with pytest.raises(trio.TooSlowError):
                with trio.fail_after(0.1):
                    await ask()
            with trio.move_on_after(60) as scope:
                with pytest.raises(TimeoutError):
                    await ask(timeout=aiohttp.ClientTimeout(total=0.1))
            assert not scope.cancelled_caught
            with pytest.raises(TimeoutError):
                async with aio_as_trio(asyncio.timeout(0.1)):
                    await ask()
            with trio.CancelScope() as scope:
                scope.cancel()
                await ask()
            assert scope.cancelled_caught
            await ask_hello(http, "you")

    run_in_trio(main)


def test_requests_cancelled_at_any_point(run_in_trio):
    """Scopes are cancelled while requests connect, wait and read."""

    async def large(request):
        return web.Response(body=bytes(1 << 20))

    async def ask(http):
        async with aio_as_trio(http.get("/large")) as response:
            return await aio_as_trio(response.read)()

    async def ask_within(http, scope):
        with scope:
            await ask(http)

    async def main():
        async with session(application(large=large)) as http:
            for turns in range(60):
                scope = trio.CancelScope()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask_within, http, scope)
                    for _ in range(turns):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
            assert len(await ask(http)) == 1 << 20

    run_in_trio(main)


def test_errors_cross(run_in_trio, free_port):
    async def fail(request):
        raise web.HTTPConflict(text="as asked")

    async def main():
        async with session(application(fail=fail, hello=say_hello)) as http:
            with pytest.raises(aiohttp.ClientResponseError) as caught:
                async with aio_as_trio(http.get("/fail", raise_for_status=True)):
                    raise AssertionError("that was a success")
            assert caught.value.status == 409
            with pytest.raises(aiohttp.ClientConnectorError):
                async with aio_as_trio(http.get(f"http://127.0.0.1:{free_port}")):
                    raise AssertionError("somebody listens")
            caught = None
            with pytest.RaisesGroup(aiohttp.ClientResponseError):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep_forever)
                    async with aio_as_trio(http.get("/fail", raise_for_status=True)):
                        raise AssertionError("that was a success")
            await ask_hello(http, "you")

    run_in_trio(main)


def test_a_server_in_a_nursery(run_in_trio):
    """The server is a Trio task: started by `start()`, ended by its scope, which
    cancels the handlers that are at work."""

    async def serve(app, task_status=trio.TASK_STATUS_IGNORED):
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01)
        await aio_as_trio(runner.setup)()
        try:
            await aio_as_trio(web.TCPSite(runner, "127.0.0.1", 0).start)()
            task_status.started(f"http://127.0.0.1:{runner.addresses[0][1]}")
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await aio_as_trio(runner.cleanup)()

    async def ask(http, url):
        with pytest.raises(aiohttp.ClientConnectionError):
            async with aio_as_trio(http.get(f"{url}/wait")):
                raise AssertionError("that was answered")

    async def main():
        waiting = Waiting(begin=False, event=trio.Event)
        async with aio_as_trio(aiohttp.ClientSession()) as http:
            async with trio.open_nursery() as outer:
                async with trio.open_nursery() as nursery:
                    app = application(wait=waiting.handle)
                    url = await nursery.start(serve, app)
                    outer.start_soon(ask, http, url)
                    await waiting.started.wait()
                    nursery.cancel_scope.cancel()
            assert waiting.cancelled.is_set()

    run_in_trio(main)
