"""httpx as Trio-flavoured code uses it, in asyncio-flavoured programs.

It asks sniffio which library runs, and has httpcore and anyio do the same. The server
is one of asyncio's, on the same loop.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager

import pytest

from ._programs import require_trio, trio

require_trio()

aiohttp = pytest.importorskip("aiohttp")
httpx = pytest.importorskip("httpx")

import httpcore._backends.trio  # noqa: E402
from aiohttp import web  # noqa: E402

from trio_asyncio_c import aio_as_trio, run_trio, trio_as_aio  # noqa: E402

from ._waiting import Waiting  # noqa: E402

PIECES = [os.urandom(size) for size in (1, 10, 1000, 70_000, 300_000)] * 4


@asynccontextmanager
async def serving(tls=None, **handlers):
    """Serve a handler for each path of one word; gives the URL. Flavor: asyncio."""
    app = web.Application(client_max_size=0)
    for name, handler in handlers.items():
        app.router.add_route("*", f"/{name}", handler)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        port = runner.addresses[0][1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def client(url, tls=None, **options):
    """Return httpx's client, which either flavour can use."""
    return httpx.AsyncClient(
        base_url=url, verify=tls or False, trust_env=False, timeout=60, **options
    )


async def say_hello(request):
    return web.json_response({"hello": request.query["name"]})


async def ask_hello(http, name):
    """Ask for one greeting. Flavor: either, by whoever awaits it."""
    response = await http.get("/hello", params={"name": name})
    response.raise_for_status()
    return response.json()["hello"]


@pytest.fixture(params=["plain", "tls"])
def tls_pair(request):
    """Give the server's and the client's context, or what stands for none."""
    if request.param == "plain":
        return None, None
    return tuple(map(request.getfixturevalue, ("server_tls", "client_tls")))


def test_its_side_is_trios(run_in_asyncio, monkeypatch):
    """The connection is one of Trio's."""
    connected = []
    connect_tcp = httpcore._backends.trio.TrioBackend.connect_tcp

    async def noted(self, *args, **kwargs):
        stream = await connect_tcp(self, *args, **kwargs)
        connected.append(type(stream._stream))
        return stream

    monkeypatch.setattr(httpcore._backends.trio.TrioBackend, "connect_tcp", noted)

    async def fetch(url):
        async with client(url) as http:
            return await ask_hello(http, "you")

    async def main():
        async with serving(hello=say_hello) as url:
            assert await run_trio(fetch, url) == "you"
            assert connected == [trio.SocketStream]
            assert await fetch(url) == "you"  # and asyncio's, through anyio
            assert connected == [trio.SocketStream]

    run_in_asyncio(main)


def test_requests_from_tasks_of_both_flavours(run_in_asyncio, tls_pair):
    server_tls, client_tls = tls_pair
    answers = []

    async def ask_many(url):
        async def ask(http, number):
            answers.append(await ask_hello(http, str(number)))

        async with client(url, client_tls) as http, trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(ask, http, number)

    async def main():
        async with serving(server_tls, hello=say_hello) as url:
            async with client(url, client_tls) as http, asyncio.TaskGroup() as group:
                group.create_task(trio_as_aio_task(ask_many, url))
                for number in range(50, 60):
                    group.create_task(note(http, str(number)))

    async def trio_as_aio_task(fn, *args):
        return await run_trio(fn, *args)

    async def note(http, name):
        answers.append(await ask_hello(http, name))

    run_in_asyncio(main)
    assert sorted(answers) == sorted(map(str, range(60)))


def test_a_client_that_asyncio_opens_and_uses(run_in_asyncio, tls_pair):
    """Each call a crossing; the connections are used again."""
    server_tls, client_tls = tls_pair

    async def main():
        async with serving(server_tls, hello=say_hello) as url:
            async with trio_as_aio(client(url, client_tls)) as http:
                get = trio_as_aio(http.get)
                for number in range(30):
                    response = await get(f"/hello?name={number}")
                    assert response.json() == {"hello": str(number)}
                pool = http._transport._pool
                assert len(pool.connections) == 1
                responses = await asyncio.gather(
                    *[get(f"/hello?name={number}") for number in range(30)]
                )
                assert [r.json()["hello"] for r in responses] == list(
                    map(str, range(30))
                )

    run_in_asyncio(main)


def test_bodies_are_streamed_both_ways(run_in_asyncio, tls_pair):
    """An asyncio-flavoured generator is the request's body, and asyncio-flavoured code
    iterates over the response's."""
    server_tls, client_tls = tls_pair

    async def pieces():
        for piece in PIECES:
            await asyncio.sleep(0)
            yield piece

    async def mirror(request):
        response = web.StreamResponse()
        await response.prepare(request)
        async for piece in request.content.iter_any():
            await response.write(piece)
        return response

    async def main():
        async with serving(server_tls, mirror=mirror) as url:
            async with trio_as_aio(client(url, client_tls)) as http:
                body = aio_as_trio(pieces())
                stream = http.stream("POST", "/mirror", content=body)
                received = bytearray()
                async with trio_as_aio(stream) as response:
                    assert response.status_code == 200
                    async for piece in trio_as_aio(response.aiter_bytes()):
                        received += piece
                assert received == b"".join(PIECES)

    run_in_asyncio(main)


@pytest.mark.parametrize("begin", [False, True], ids=["head", "body"])
def test_a_cancelled_task_ends_the_request(run_in_asyncio, begin):
    """The server sees that the client has gone, and the client's pool goes on."""

    async def fetch(http):
        async with http.stream("GET", "/wait") as response:
            await response.aread()

    async def main():
        waiting = Waiting(begin, asyncio.Event)
        async with serving(hello=say_hello, wait=waiting.handle) as url:
            async with trio_as_aio(client(url)) as http:

                async def ask():
                    await run_trio(fetch, http)

                task = asyncio.create_task(ask())
                await waiting.started.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await waiting.cancelled.wait()
                assert await run_trio(ask_hello, http, "me") == "me"

    run_in_asyncio(main)


def test_time_limits_of_all_three(run_in_asyncio):
    """asyncio's, Trio's and httpx's own."""

    async def within_trio(http):
        with trio.move_on_after(0.1) as scope:
            await http.get("/wait")
        with pytest.raises(trio.TooSlowError):
            with trio.fail_after(0.1):
                await http.get("/wait")
        return scope.cancelled_caught

    async def main():
        waiting = Waiting(begin=False, event=asyncio.Event)
        async with serving(hello=say_hello, wait=waiting.handle) as url:
            async with trio_as_aio(client(url)) as http:
                get = trio_as_aio(http.get)
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await get("/wait")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(get("/wait"), 0.1)
                assert await run_trio(within_trio, http)
                with pytest.raises(httpx.ReadTimeout):
                    await get("/wait", timeout=0.1)
                assert await run_trio(ask_hello, http, "me") == "me"

    run_in_asyncio(main)


# On plain Trio too, httpcore leaves a connection that was cancelled in its TLS
# handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_requests_cancelled_at_any_point(run_in_asyncio, tls_pair):
    server_tls, client_tls = tls_pair

    async def large(request):
        return web.Response(body=bytes(1 << 20))

    async def fetch(http):
        return len((await http.get("/large")).content)

    async def main():
        async with serving(server_tls, large=large) as url:
            async with trio_as_aio(client(url, client_tls)) as http:
                for turns in range(60):
                    future = run_trio(fetch, http)
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    future.cancel()
                    await asyncio.wait([future])
                assert await run_trio(fetch, http) == 1 << 20

    run_in_asyncio(main)


def test_errors_cross(run_in_asyncio, free_port):
    async def fail(request):
        raise web.HTTPConflict(text="as asked")

    async def fetch(http, path):
        (await http.get(path)).raise_for_status()

    async def main():
        async with serving(hello=say_hello, fail=fail) as url:
            async with trio_as_aio(client(url)) as http:
                with pytest.raises(httpx.HTTPStatusError) as caught:
                    await run_trio(fetch, http, "/fail")
                assert caught.value.response.status_code == 409
                with pytest.raises(httpx.ConnectError):
                    await run_trio(fetch, http, f"http://127.0.0.1:{free_port}/")

                async def ask(path):
                    await run_trio(fetch, http, path)

                with pytest.RaisesGroup(httpx.HTTPStatusError):
                    async with asyncio.TaskGroup() as group:
                        group.create_task(ask("/fail"))
                        group.create_task(asyncio.sleep(1000))
                assert await run_trio(ask_hello, http, "me") == "me"

    run_in_asyncio(main)


def test_an_application_of_starlettes_on_trio(run_in_asyncio):
    """FastAPI, called by httpx within a Trio task: its worker threads and streams are
    anyio's, on Trio."""
    fastapi = pytest.importorskip("fastapi")
    from starlette.responses import StreamingResponse

    app = fastapi.FastAPI()

    @app.get("/thread/{number}")
    def in_a_thread(number: int):
        return {"twice": trio.from_thread.run(double, number)}

    async def double(number):
        await trio.sleep(0)
        return 2 * number

    @app.get("/stream")
    async def stream():
        async def pieces():
            for number in range(100):
                await trio.sleep(0)
                yield b"%d;" % number

        return StreamingResponse(pieces())

    async def use():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            answers = [(await http.get(f"/thread/{n}")).json() for n in range(10)]
            return answers, (await http.get("/stream")).content

    async def main():
        answers, body = await run_trio(use)
        assert answers == [{"twice": 2 * number} for number in range(10)]
        assert body == b"".join(b"%d;" % number for number in range(100))

    run_in_asyncio(main)
