"""The client's part when the server is cancelled: what became of requests in flight."""

import asyncio
from collections import Counter

import aiohttp

from .lines import tell
from .traffic import WrongAnswer, expect, get_squares, tree_in_flight

EACH = 4
TASKS = 3
# Within the time of grace that the server gives, and far beyond it.
QUICK_S = 0.5
SLOW_S = 60

PATIENCE_S = 15


async def quick(session):
    await get_squares(session, TASKS, QUICK_S)
    return "answered"


async def slow(session):
    await get_squares(session, TASKS, SLOW_S)
    return "answered"


async def nap(session):
    async with session.get("/nap", params={"seconds": SLOW_S}) as response:
        expect(await response.json(), {"rested": True})
    return "answered"


async def listen(session):
    async with session.ws_connect("/echo") as socket:
        await socket.send_str("hello")
        expect(await socket.receive_json(), {"number": 1, "text": "hello"})
        await socket.receive()
        return f"closed with code {socket.close_code}"


async def ending(request, session):
    """Return how a request ended, in a few words.

    After a disconnect aiohttp's client tries once more by itself, and reports
    how that ended if nobody listens any more.
    """
    try:
        return await request(session)
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
        return "disconnected"
    except (aiohttp.ClientError, TimeoutError, WrongAnswer) as error:
        return repr(error)


async def refuses(port):
    """Say whether nobody listens on a port of this machine."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    await writer.wait_closed()
    return False


async def watch(session, port):
    """Put requests in flight, have the server cancelled, and tell how they ended."""
    requests = {}

    def start(request):
        tasks = [group.create_task(ending(request, session)) for _ in range(EACH)]
        requests[request.__name__] = tasks
        return tasks

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        start(listen)
        start(nap)
        await tree_in_flight(session, EACH, start(slow))
        await tree_in_flight(session, 2 * EACH, start(quick))
        tell(in_flight={"each": EACH, "tasks": TASKS})
    endings = {
        name: Counter(task.result() for task in tasks)
        for name, tasks in requests.items()
    }
    tell(endings=endings)
    tell(refused=await refuses(port))
