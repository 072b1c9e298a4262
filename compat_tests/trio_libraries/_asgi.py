"""An ASGI application, and hypercorn's trio worker serving it on loopback."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.trio import serve


class Records(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@dataclass
class Application:
    """Echoes, streams, hangs, works in threads; remembers what became of it."""

    events: list[str] = field(default_factory=list)
    hanging: trio.Event = field(default_factory=trio.Event)
    released: trio.Event = field(default_factory=trio.Event)

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await self.lifespan(scope, receive, send)
        elif scope["type"] == "websocket":
            await self.websocket(receive, send)
        else:
            handler = getattr(self, "get_" + scope["path"].strip("/"), None)
            await (handler or self.not_found)(scope, receive, send)

    async def lifespan(self, scope, receive, send) -> None:
        while True:
            message = await receive()
            self.events.append(message["type"])
            if message["type"] == "lifespan.startup":
                scope["state"]["started"] = "by the lifespan"
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def websocket(self, receive, send) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            if message.get("text") == "close, please":
                await send({"type": "websocket.close", "code": 4002})
                return
            await send({**message, "type": "websocket.send"})
        self.events.append(message["type"])

    async def get_echo(self, scope, receive, send) -> None:
        await respond(send, await body(receive))

    async def get_stream(self, scope, receive, send) -> None:
        await start(send)
        for number in range(20):
            await send_chunk(send, b"%d," % number)
            await trio.lowlevel.checkpoint()
        await send_chunk(send, b"", more=False)

    async def get_hang(self, scope, receive, send) -> None:
        """Answer when released; tell the cancellation, or that the client left."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.watch, receive, nursery.cancel_scope)
                self.hanging.set()
                await self.released.wait()
                nursery.cancel_scope.cancel()
        except* trio.Cancelled:
            self.events.append("cancelled")
            raise
        await respond(send, b"released")

    async def watch(self, receive, scope) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            pass
        self.events.append(message["type"])
        scope.cancel()

    async def get_thread(self, scope, receive, send) -> None:
        value = await trio.to_thread.run_sync(lambda: b"from a thread")
        await respond(send, value)

    async def get_state(self, scope, receive, send) -> None:
        await respond(send, scope["state"]["started"].encode())

    async def get_version(self, scope, receive, send) -> None:
        await respond(send, scope["http_version"].encode())

    async def get_broken(self, scope, receive, send) -> None:
        raise LookupError("in the application")

    async def not_found(self, scope, receive, send) -> None:
        await respond(send, b"no such page", status=404)


async def body(receive) -> bytes:
    received = b""
    while True:
        message = await receive()
        received += message.get("body", b"")
        if not message.get("more_body"):
            return received


async def start(send, *, status: int = 200, headers=()) -> None:
    await send(
        {"type": "http.response.start", "status": status, "headers": list(headers)}
    )


async def send_chunk(send, chunk: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": more})


async def respond(send, content: bytes, *, status: int = 200) -> None:
    headers = [(b"content-length", b"%d" % len(content))]
    await start(send, status=status, headers=headers)
    await send_chunk(send, content, more=False)


@dataclass
class Server:
    """Where an application is served, and the way to end that."""

    url: str
    app: Application
    stop: trio.Event
    log: Records


@asynccontextmanager
async def serving(app=None, *, certificate=None, **settings):
    """Serve an application up to the end of the block, then shut down in peace."""
    app = app or Application()
    log = Records()
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = logging.Logger("hypercorn")
    config.errorlog.addHandler(log)
    for name, value in {**settings, **(certificate or {})}.items():
        assert hasattr(config, name), name
        setattr(config, name, value)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        binds = await nursery.start(
            partial(serve, app, config, shutdown_trigger=stop.wait)
        )
        try:
            yield Server(binds[0], app, stop, log)
        finally:
            stop.set()


def certificate_files(authority, folder) -> dict[str, str]:
    """Return the settings of a server that is localhost by `authority`'s word."""
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    key = folder / "key.pem"
    chain = folder / "chain.pem"
    certificate.private_key_pem.write_to_path(str(key))
    for number, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(str(chain), append=number > 0)
    return {"keyfile": str(key), "certfile": str(chain)}
