"""FastAPI on uvicorn and httptools: threads, background tasks, streams, websockets."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import os
import sys
from pathlib import Path

import pytest

aiohttp = pytest.importorskip("aiohttp")
pytest.importorskip("fastapi")
pytest.importorskip("python_multipart")
pytest.importorskip("uvicorn")
pytest.importorskip("httptools")
pytest.importorskip("websockets")

from ..._real.child import Child, environment  # noqa: E402
from ..._real.watch import loop_class, run  # noqa: E402
from ._uvicorn import serving  # noqa: E402
from .fastapi_app import EVENTS, app  # noqa: E402

HERE = Path(__file__).resolve().parent


def served(program):
    """Return a program that runs `program(client)`; that knows the server's URL."""

    async def main():
        EVENTS.clear()
        async with serving(app) as server:
            async with aiohttp.ClientSession(
                f"http://127.0.0.1:{server.port}",
                connector=aiohttp.TCPConnector(limit=0),
            ) as client:
                assert EVENTS[0] == "started"
                await program(client)
        assert EVENTS[-1] == "ended"

    return main


async def get(client, path):
    async with client.get(path) as response:
        assert response.status == 200
        return await response.json()


def test_the_loop_and_the_state_of_the_lifespan():
    async def program(client):
        loop = loop_class()
        name = f"{loop.__module__}.{loop.__qualname__}"
        assert await get(client, "/loop") == {"loop": name, "answer": 42}

    run(served(program))


def test_functions_in_threads():
    async def program(client):
        answers = await asyncio.gather(
            *[get(client, f"/sync/{number}") for number in range(100)]
        )
        assert answers == [{"number": number, "main": False} for number in range(100)]
        while EVENTS.count("closed") < 100:
            await asyncio.sleep(0.01)
        assert EVENTS.count("opened") == 100

    run(served(program))


def test_validation():
    async def program(client):
        item = {"name": "tea", "prices": [1.5, 2.5]}
        async with client.post("/items", json=item) as response:
            assert await response.json() == {"name": "tea", "total": 4}
        async with client.post("/items", json={"name": "tea"}) as response:
            assert response.status == 422
        async with client.get("/sync/many") as response:
            assert response.status == 422
        async with client.get("/missing") as response:
            assert (response.status, await response.json()) == (
                404,
                {"detail": "not here"},
            )

    run(served(program))


def test_background_tasks():
    async def program(client):
        async def ask(number):
            async with client.post(f"/later/{number}") as response:
                assert await response.json() == "accepted"

        await asyncio.gather(*map(ask, range(30)))

    run(served(program))
    # Shutdown waits for them.
    for number in range(30):
        assert EVENTS.index(f"thread {number}") < EVENTS.index(f"loop {number}")


def test_upload_and_stream():
    data = os.urandom(3 << 20)

    async def program(client):
        form = aiohttp.FormData()
        form.add_field("file", io.BytesIO(data), filename="file")
        async with client.post("/upload", data=form) as response:
            assert await response.json() == len(data)
        async with client.get("/lines/2000") as response:
            assert await response.text() == "".join(
                f"line {number}\n" for number in range(2000)
            )

    run(served(program))


def test_client_leaves_in_the_middle_of_a_stream():
    async def program(client):
        response = await client.get("/lines/1000000")
        await response.content.readexactly(100_000)
        response.close()
        assert (await get(client, "/loop"))["answer"] == 42

    run(served(program))


def test_websocket():
    async def program(client):
        async def talk(number):
            async with client.ws_connect("/ws") as ws:
                for turn in range(10):
                    await ws.send_json([number, turn])
                    assert await ws.receive_json() == {"got": [number, turn]}

        await asyncio.gather(*map(talk, range(20)))
        while EVENTS.count("disconnected") < 20:
            await asyncio.sleep(0.01)

    run(served(program))


def test_as_a_program_under_python_m():
    command = "-m trio_asyncio_c -m uvicorn fastapi_app:app --port 0 --http httptools"
    arguments = [sys.executable, "-W", "error", *command.split(), "--loop", "asyncio"]
    with Child(arguments, env=environment(HERE)) as child:
        port = int(child.wait_for(r"running on http://127\.0\.0\.1:(\d+)")[0])
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for path in ("/loop", "/sync/1", "/loop"):
            connection.request("GET", path)
            answer = json.loads(connection.getresponse().read())
        assert answer == {"loop": "trio_asyncio_c.EventLoop", "answer": 42}
        connection.close()
    for word in ("Traceback", "Warning", "ERROR"):
        assert word not in child.output
