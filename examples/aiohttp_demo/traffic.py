"""The kinds of requests. Each is a context manager around one exchange.

``async with kind(session) as exchange`` prepares what many exchanges share;
``await exchange(number)`` sends one request, or one WebSocket message, and
checks the answer.
"""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle

POLL_S = 0.01


class WrongAnswer(Exception):
    """The server's answer is not what it has to be."""


def expect(answer, expected):
    if answer != expected:
        raise WrongAnswer(f"{answer!r} instead of {expected!r}")


@asynccontextmanager
async def get_json(session):
    async def exchange(number):
        number %= 100
        async with session.get(f"/books/{number}") as response:
            answer = response.status, await response.json()
        book = {"id": number, "title": f"Volume {number}", "pages": 100 + 7 * number}
        expect(answer, (200, book))

    yield exchange


@asynccontextmanager
async def post_json(session):
    async def exchange(number):
        order = {"customer": f"no. {number}", "books": [number % 100, 3]}
        async with session.post("/orders", json=order) as response:
            answer = response.status, await response.json()
        pages = 100 + 7 * (number % 100) + 121
        expect(answer, (201, {"customer": f"no. {number}", "pages": pages}))

    yield exchange


async def get_squares(session, count, pause_s):
    """Have the server square numbers in a Trio nursery."""
    query = {"count": count, "pause": pause_s}
    async with session.get("/squares", params=query) as response:
        answer = response.status, await response.json()
    expect(answer, (200, {"squares": [n * n for n in range(count)]}))


async def tree_in_flight(session, count, tasks):
    """Return the server's task tree when it has so many such requests in it.

    If one of the tasks that send them is done before, there is no more to wait for.
    """
    while True:
        async with session.get("/tree") as response:
            tree = await response.text()
        if tree.count("in_trio.squares") >= count or any(task.done() for task in tasks):
            return tree
        await asyncio.sleep(POLL_S)


@asynccontextmanager
async def nursery(session):
    async def exchange(number):
        await get_squares(session, 2 + number % 4, 0)

    yield exchange


@asynccontextmanager
async def websocket(session):
    async with session.ws_connect("/echo") as socket:
        sent = 0

        async def exchange(number):
            nonlocal sent
            sent += 1
            text = f"message {number}"
            await socket.send_str(text)
            expect(await socket.receive_json(), {"number": sent, "text": text})

        yield exchange


@asynccontextmanager
async def in_turn(session):
    kinds = get_json, post_json, nursery, websocket
    async with AsyncExitStack() as stack:
        exchanges = [await stack.enter_async_context(kind(session)) for kind in kinds]
        turns = cycle(exchanges)

        async def exchange(number):
            await next(turns)(number)

        yield exchange


KINDS = {
    "GET, JSON": get_json,
    "POST, JSON": post_json,
    "GET, nursery": nursery,
    "WebSocket": websocket,
    "all in turn": in_turn,
}
