"""nginx as a reverse proxy, before uvicorn in the test's own loop."""

from __future__ import annotations

import asyncio
import io
import os
import tempfile

import pytest

aiohttp = pytest.importorskip("aiohttp")
pytest.importorskip("uvicorn")
pytest.importorskip("httptools")
pytest.importorskip("websockets")

from ..._real import servers  # noqa: E402
from ..._real.watch import run  # noqa: E402
from ._uvicorn import serving  # noqa: E402
from .plain_app import MEGABYTE, app  # noqa: E402


@pytest.fixture(scope="module")
def upstream():
    """Give the path of the Unix socket that nginx passes requests on to."""
    with tempfile.TemporaryDirectory(prefix="real-") as folder:
        yield f"{folder}/app"


@pytest.fixture(scope="module")
def nginx(upstream, start):
    with start(servers.nginx(upstream)) as address:
        yield f"http://127.0.0.1:{address.port}"


def proxied(program, nginx, upstream):
    """Return a program that runs `program(client)`; that asks nginx."""

    async def main():
        async with serving(app, uds=upstream):
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(nginx, connector=connector) as client:
                await program(client)

    return main


async def get(client, path):
    async with client.get(path) as response:
        assert response.status == 200
        return await response.read()


def test_requests_at_once(nginx, upstream):
    async def program(client):
        answers = await asyncio.gather(*[get(client, "/plain") for _ in range(200)])
        assert set(answers) == {b"Hello, world!"}

    run(proxied(program, nginx, upstream))


@pytest.mark.parametrize("prefix", ["", "/unbuffered"])
def test_bodies_and_streams(nginx, upstream, prefix):
    body = os.urandom(5 << 20)

    async def program(client):
        assert await get(client, f"{prefix}/large") == MEGABYTE
        data = io.BytesIO(body)
        async with client.post(f"{prefix}/echo", data=data) as response:
            assert await response.read() == body
        expected = b"".join(b"%d;" % number * 100 for number in range(1000))
        assert await get(client, f"{prefix}/stream?1000") == expected

    run(proxied(program, nginx, upstream))


def test_client_leaves_in_the_middle_of_an_upload(nginx, upstream):
    async def program(client):
        async def endless():
            while True:
                yield bytes(10_000)
                sent.set()

        sent = asyncio.Event()
        task = asyncio.create_task(client.post("/unbuffered/echo", data=endless()))
        await sent.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await get(client, "/plain") == b"Hello, world!"

    run(proxied(program, nginx, upstream))


def test_websockets(nginx, upstream):
    async def program(client):
        async def talk(number):
            async with client.ws_connect("/") as ws:
                for turn in range(10):
                    await ws.send_str(f"{number} {turn}")
                    assert await ws.receive_str() == f"{number} {turn}"

        await asyncio.gather(*map(talk, range(30)))

    run(proxied(program, nginx, upstream))
