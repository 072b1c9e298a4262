"""An ASGI application that the tests of uvicorn serve, in their own process and not."""

from __future__ import annotations

import asyncio
import json
import os
import sys

MEGABYTE = bytes(range(256)) * 4096


async def body_of(receive):
    """Return a request's body, or None if the client left before it was whole."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message["body"]
        if not message["more_body"]:
            return body


async def respond(send, body, status=200):
    length = str(len(body)).encode()
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-length", length)],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def stream(send, pieces):
    """Send pieces as they come, chunked."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    async for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def numbers(count):
    for number in range(count):
        yield b"%d;" % number * 100
        if number % 10 == 0:
            await asyncio.sleep(0)


async def about(scope, receive, send):
    loop = asyncio.get_running_loop()
    said = {
        "loop": [type(loop).__module__, type(loop).__qualname__],
        "pid": os.getpid(),
        "http_version": scope["http_version"],
        "state": scope.get("state"),
    }
    await respond(send, json.dumps(said).encode())


async def http(scope, receive, send):
    match scope["path"]:
        case "/plain":
            await respond(send, b"Hello, world!")
        case "/about":
            await about(scope, receive, send)
        case "/large":
            await respond(send, MEGABYTE)
        case "/echo":
            await respond(send, await body_of(receive))
        case "/stream":
            await stream(send, numbers(int(scope["query_string"])))
        case "/announced":  # says that it has begun, and goes on when asked
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send(
                {"type": "http.response.body", "body": b"begun;", "more_body": True}
            )
            body = await body_of(receive)
            await send({"type": "http.response.body", "body": body})
        case "/fail":
            raise RuntimeError("as asked")
        case _:
            await respond(send, b"", 404)


async def websocket(scope, receive, send):
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "please close":
            await send({"type": "websocket.close", "code": 4001})
        else:
            message["type"] = "websocket.send"
            await send(message)


async def lifespan(scope, receive, send):
    assert (await receive())["type"] == "lifespan.startup"
    scope["state"]["started"] = True
    print("lifespan: started", file=sys.stderr)
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    print("lifespan: ended", file=sys.stderr)
    await send({"type": "lifespan.shutdown.complete"})


async def app(scope, receive, send):
    """Answer, by the kind of what is asked."""
    kinds = {"http": http, "websocket": websocket, "lifespan": lifespan}
    await kinds[scope["type"]](scope, receive, send)
