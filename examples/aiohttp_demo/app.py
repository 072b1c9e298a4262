"""An ordinary aiohttp application: a JSON API and a WebSocket.

Nothing here knows which event loop it runs on, but for one handler that asks
the running loop whether it can call Trio-flavoured code.
"""

import asyncio
from collections import Counter

from aiohttp import WSCloseCode, WSMsgType, web

from . import in_trio

BOOKS = [{"id": n, "title": f"Volume {n}", "pages": 100 + 7 * n} for n in range(100)]

# What became of the Trio tasks of `squares`, and the open WebSockets.
DIARY = web.AppKey("diary", Counter)
SOCKETS = web.AppKey("sockets", set)

routes = web.RouteTableDef()


@routes.get(r"/books/{number:\d+}")
async def book(request):
    number = int(request.match_info["number"])
    if number >= len(BOOKS):
        raise web.HTTPNotFound(text="no such book")
    return web.json_response(BOOKS[number])


@routes.post("/orders")
async def order(request):
    wanted = await request.json()
    pages = sum(BOOKS[number]["pages"] for number in wanted["books"])
    answer = {"customer": wanted["customer"], "pages": pages}
    return web.json_response(answer, status=201)


@routes.get("/squares")
async def squares(request):
    """Square numbers, each in a task; the query says how many, and how long it
    takes."""
    count = int(request.query["count"])
    pause_s = float(request.query.get("pause", 0))
    loop = asyncio.get_running_loop()
    if hasattr(loop, "run_trio"):
        diary = request.app[DIARY]
        found = await loop.run_trio(in_trio.squares, count, pause_s, diary)
    else:
        found = await squares_in_asyncio(count, pause_s)
    return web.json_response({"squares": found})


async def squares_in_asyncio(count, pause_s):
    async def square(number):
        await asyncio.sleep(pause_s)
        return number * number

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(square(number)) for number in range(count)]
    return [task.result() for task in tasks]


@routes.get("/nap")
async def nap(request):
    await asyncio.sleep(float(request.query["seconds"]))
    return web.json_response({"rested": True})


@routes.get("/echo")
async def echo(request):
    """A WebSocket that sends each message back, with its number."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    request.app[SOCKETS].add(socket)
    try:
        number = 0
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                number += 1
                await socket.send_json({"number": number, "text": message.data})
    finally:
        request.app[SOCKETS].discard(socket)
    return socket


async def close_sockets(app):
    for socket in list(app[SOCKETS]):
        await socket.close(code=WSCloseCode.GOING_AWAY, message=b"shutting down")


def make_app():
    app = web.Application()
    app[DIARY] = Counter()
    app[SOCKETS] = set()
    app.add_routes(routes)
    app.on_shutdown.append(close_sockets)
    return app
