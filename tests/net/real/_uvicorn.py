"""uvicorn in the test's own loop."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import uvicorn


class Server(uvicorn.Server):
    """uvicorn's server, with a Future of its start."""

    def __init__(self, config):
        super().__init__(config)
        self.ready = asyncio.get_running_loop().create_future()

    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.ready.set_result(None)

    @property
    def port(self):
        return self.servers[0].sockets[0].getsockname()[1]


@asynccontextmanager
async def serving(app, sockets=None, **options):
    """Serve an application on 127.0.0.1 over httptools; gives the `Server`."""
    defaults = {
        "host": "127.0.0.1",
        "port": 0,
        "http": "httptools",
        "ws": "websockets-sansio",
        "log_level": "warning",
        "log_config": None,
    }
    server = Server(uvicorn.Config(app, **{**defaults, **options}))
    serve = asyncio.create_task(server.serve(sockets))
    await asyncio.wait([serve, server.ready], return_when=asyncio.FIRST_COMPLETED)
    try:
        if server.ready.done():
            yield server
    finally:
        server.should_exit = True
        await serve
