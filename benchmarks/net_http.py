"""The HTTP and WebSocket servers of bench_net: uvicorn with httptools, aiohttp's, and
that of websockets."""

import asyncio
import contextlib
import socket

from net_servers import BACKLOG, body_of, listening_socket


def asgi(body):
    """Return an ASGI application that answers any request so."""
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", b"%d" % len(body)),
    ]

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return application


async def until_started(server, serving):
    """Wait for uvicorn, which has no event for that."""
    while not server.started and not serving.done():
        await asyncio.sleep(0.001)
    if serving.done():
        await serving
        raise RuntimeError("uvicorn ended at once")


def socket_without_protocol():
    """Return one as many make them, whose `proto` is 0, and asyncio's connections
    then have no TCP_NODELAY."""
    return socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)


@contextlib.contextmanager
def bound(listener):
    """Give the socket and its port, and close it in the end.

    Not every loop leaves that to who made it.
    """
    try:
        yield listener, str(listener.getsockname()[1])
    finally:
        with contextlib.suppress(OSError):
            listener.close()


def uvicorn(make_socket=listening_socket):
    @contextlib.asynccontextmanager
    async def start(loop, traffic):
        # Here, for it need not be there.
        import httptools  # noqa: F401
        from uvicorn import Config, Server

        config = Config(
            asgi(body_of(traffic.size)),
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            # The clients pause while the other peers have their turns.
            timeout_keep_alive=3600,
        )
        server = Server(config)
        with bound(make_socket()) as (listener, port):
            serving = loop.create_task(server.serve(sockets=[listener]))
            await until_started(server, serving)
            yield [port]
            server.force_exit = server.should_exit = True
            await serving

    return start


async def whole_response(web, request, body):
    return web.Response(body=body, content_type="text/plain")


async def split_response(web, request, body):
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body)
    await response.write_eof()
    return response


@contextlib.asynccontextmanager
async def aiohttp_serving(web, handle):
    application = web.Application()
    application.router.add_get("/", handle)
    runner = web.AppRunner(application, access_log=None, keepalive_timeout=3600)
    await runner.setup()
    with bound(listening_socket()) as (listener, port):
        await web.SockSite(runner, listener, backlog=BACKLOG).start()
        yield [port]
        await runner.cleanup()


def aiohttp(respond):
    @contextlib.asynccontextmanager
    async def start(loop, traffic):
        from aiohttp import web

        body = body_of(traffic.size)

        async def handle(request):
            return await respond(web, request, body)

        async with aiohttp_serving(web, handle) as address:
            yield address

    return start


@contextlib.asynccontextmanager
async def aiohttp_websocket(loop, traffic):
    from aiohttp import web

    async def echo(request):
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        async for message in connection:
            await connection.send_bytes(message.data)
        return connection

    async with aiohttp_serving(web, echo) as address:
        yield address


@contextlib.asynccontextmanager
async def websockets(loop, traffic):
    from websockets.asyncio.server import serve
    from websockets.exceptions import ConnectionClosed

    async def echo(connection):
        # The clients end without a closing handshake.
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                await connection.send(message)

    with bound(listening_socket()) as (listener, port):
        # No pings, for the clients pause while the other peers have their turns.
        async with serve(echo, sock=listener, ping_interval=None):
            yield [port]
