"""Serve the application on loopback: ``python -m aiohttp_demo.server LOOP``.

It tells the port, and serves until its standard input ends. LOOP is ``asyncio``
for the stock loop, or ``trio_asyncio_c``; then the server runs within a Trio
cancel scope, and tells what is left when that has been cancelled.
"""

import asyncio
import os
import sys
import time
from contextlib import suppress

import trio_asyncio_c
from aiohttp import web
from trio_asyncio_c import trio

from .app import DIARY, make_app
from .lines import tell

# How long requests in flight may go on when the server is told to stop. aiohttp
# waits as long again before it cancels their handlers.
GRACE_S = 1.2


async def usage(request):
    return web.json_response({"cpu_s": time.process_time()})


async def tree(request):
    return web.Response(text=trio_asyncio_c.format_task_tree())


async def serve(app):
    """Serve until cancelled, as any aiohttp program does; asyncio-flavoured."""
    runner = web.AppRunner(app, shutdown_timeout=GRACE_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        tell(port=runner.addresses[0][1])
        await asyncio.get_running_loop().create_future()
    finally:
        await runner.cleanup()


async def serve_on_asyncio(app):
    loop = asyncio.get_running_loop()
    server = loop.create_task(serve(app))

    def cancel_when_told():
        loop.remove_reader(sys.stdin)
        server.cancel()

    loop.add_reader(sys.stdin, cancel_when_told)
    with suppress(asyncio.CancelledError):
        await server


# The same within a Trio-flavoured program


def count_descriptors():
    return len(os.listdir("/dev/fd"))


def count_tasks():
    return trio.lowlevel.current_statistics().tasks_living


async def cancel_when_told(scope):
    await trio.lowlevel.wait_readable(sys.stdin)
    scope.cancel(reason="told to stop")


async def serve_in_trio(app):
    tasks, descriptors = count_tasks(), count_descriptors()
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_when_told, scope)
            async with trio_asyncio_c.open_loop() as loop:
                await trio_asyncio_c.run_asyncio(serve, app)
    tell(
        after={
            "scope caught its cancel": scope.cancelled_caught,
            "diary": dict(app[DIARY]),
            "loop closed": loop.is_closed(),
            "tasks left": count_tasks() - tasks,
            "asyncio tasks left": len(asyncio.all_tasks(loop)),
            "file descriptors left": count_descriptors() - descriptors,
        }
    )


def main():
    app = make_app()
    app.router.add_get("/usage", usage)
    if sys.argv[1] == "asyncio":
        asyncio.run(serve_on_asyncio(app))
    else:
        app.router.add_get("/tree", tree)
        trio.run(serve_in_trio, app)


if __name__ == "__main__":
    main()
