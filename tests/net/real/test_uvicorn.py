"""uvicorn over httptools, in the test's own loop."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket

import pytest

aiohttp = pytest.importorskip("aiohttp")
pytest.importorskip("uvicorn")
pytest.importorskip("httptools")
pytest.importorskip("websockets")

from trio_asyncio_c import EventLoop  # noqa: E402

from ..._real.watch import loop_class, run  # noqa: E402
from ._uvicorn import serving  # noqa: E402
from .plain_app import MEGABYTE, app  # noqa: E402


def client(tls=True):
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=tls))


@pytest.fixture(params=["plain", "tls"])
def scheme(request, tmp_path):
    """Give uvicorn's options, the client's context, and the URL's scheme."""
    if request.param == "plain":
        return {}, True, "http"
    certificate = request.getfixturevalue("certificate")
    path = tmp_path / "server.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(path)
    options = {"ssl_certfile": str(path)}
    return options, request.getfixturevalue("client_tls"), "https"


def test_plaintext_and_what_the_application_sees(scheme):
    options, tls, name = scheme

    async def main():
        async with serving(app, **options) as server, client(tls) as http:
            url = f"{name}://127.0.0.1:{server.port}"

            async def ask(_):
                async with http.get(f"{url}/plain") as response:
                    return await response.read()

            assert set(await asyncio.gather(*map(ask, range(200)))) == {
                b"Hello, world!"
            }
            async with http.get(f"{url}/about") as response:
                said = json.loads(await response.read())
            async with http.get(f"{url}/none") as response:
                assert response.status == 404
            loop = type(asyncio.get_running_loop())
            assert said["loop"] == [loop.__module__, loop.__qualname__]
            assert said["pid"] == os.getpid()
            assert said["state"] == {"started": True}

    run(main)


def test_1_mb_bodies(scheme):
    options, tls, name = scheme
    body = os.urandom(1 << 20)

    async def main():
        async with serving(app, **options) as server, client(tls) as http:
            url = f"{name}://127.0.0.1:{server.port}"

            async def echo(_):
                data = io.BytesIO(body)
                async with http.post(f"{url}/echo", data=data) as response:
                    return await response.read() == body

            async def download(_):
                async with http.get(f"{url}/large") as response:
                    return await response.read() == MEGABYTE

            assert all(
                await asyncio.gather(*map(echo, range(5)), *map(download, range(5)))
            )

    run(main)


def test_streaming_response(scheme):
    options, tls, name = scheme

    async def main():
        async with serving(app, **options) as server, client(tls) as http:
            url = f"{name}://127.0.0.1:{server.port}/stream?2000"

            async def read(_):
                async with http.get(url) as response:
                    assert response.headers["Transfer-Encoding"] == "chunked"
                    return await response.read()

            expected = b"".join(b"%d;" % number * 100 for number in range(2000))
            assert set(await asyncio.gather(*map(read, range(10)))) == {expected}

    run(main)


def test_a_client_that_reads_slowly_slows_the_application_down(scheme):
    options, tls, name = scheme
    piece, count, sent = bytes(1 << 16), 500, []

    async def pour(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(count):
            body = {"type": "http.response.body", "body": piece, "more_body": True}
            await send(body)
            sent.append(len(piece))
        await send({"type": "http.response.body", "body": b""})

    async def main():
        async with serving(pour, lifespan="off", **options) as server:
            async with client(tls) as http:
                url = f"{name}://127.0.0.1:{server.port}/"
                async with http.get(url) as response:
                    for _ in range(500):
                        await asyncio.sleep(0)
                    assert len(sent) < count
                    received = 0
                    async for data in response.content.iter_any():
                        received += len(data)
        assert received == count * len(piece)

    run(main)


def test_client_leaves_in_the_middle_of_a_response(scheme):
    options, tls, name = scheme

    async def main():
        gone = asyncio.Event()

        async def endless(scope, receive, send):
            async def heed():
                while (await receive())["type"] != "http.disconnect":
                    pass
                gone.set()

            heeding = asyncio.create_task(heed())
            await send({"type": "http.response.start", "status": 200, "headers": []})
            message = {"type": "http.response.body", "more_body": True}
            while not gone.is_set():
                await send({**message, "body": bytes(1000)})
                await asyncio.sleep(0)
            await heeding

        async with serving(endless, lifespan="off", **options) as server:
            async with client(tls) as http:
                response = await http.get(f"{name}://127.0.0.1:{server.port}/")
                await response.content.readexactly(10_000)
                response.close()
                await gone.wait()

    run(main)


def test_websockets(scheme):
    options, tls, name = scheme
    messages = ["hello", "x" * 70_000, b"\0\1", os.urandom(1 << 20)]

    async def main():
        async with serving(app, **options) as server, client(tls) as http:
            url = f"{name}://127.0.0.1:{server.port}/"

            async def talk(_):
                async with http.ws_connect(url, compress=15) as ws:
                    for message in messages:
                        if isinstance(message, str):
                            await ws.send_str(message)
                        else:
                            await ws.send_bytes(message)
                        assert (await ws.receive()).data == message
                    await ws.send_str("please close")
                    assert (await ws.receive()).data == 4001

            await asyncio.gather(*map(talk, range(20)))

    run(main)


def test_shutdown_with_open_websockets_and_keep_alive_connections(scheme):
    options, tls, name = scheme

    async def main():
        async with client(tls) as http:
            async with serving(app, **options) as server:
                url = f"{name}://127.0.0.1:{server.port}"
                async with http.get(f"{url}/plain") as response:
                    await response.read()
                ws = await http.ws_connect(f"{url}/")
            message = await ws.receive()
            assert message.type is aiohttp.WSMsgType.CLOSE
            assert message.data in (1001, 1012)
            await ws.close()
            with pytest.raises(aiohttp.ClientConnectionError):
                await http.get(f"{url}/plain")

    run(main)


def test_shutdown_waits_for_a_request(scheme):
    options, tls, name = scheme

    async def main():
        started, release = asyncio.Event(), asyncio.Event()

        async def slow(scope, receive, send):
            started.set()
            await release.wait()
            await app({**scope, "path": "/plain"}, receive, send)

        async with client(tls) as http:
            async with serving(slow, lifespan="off", **options) as server:

                async def ask():
                    url = f"{name}://127.0.0.1:{server.port}/"
                    async with http.get(url) as response:
                        return await response.read()

                asked = asyncio.create_task(ask())
                await started.wait()
                asyncio.get_running_loop().call_later(0.25, release.set)
            assert await asked == b"Hello, world!"

    run(main)


def test_an_application_that_fails(caplog):
    async def main():
        async with serving(app) as server, client() as http:
            url = f"http://127.0.0.1:{server.port}"
            async with http.get(f"{url}/fail") as response:
                assert response.status == 500
            async with http.get(f"{url}/plain") as response:
                assert response.status == 200

    run(main)
    assert "RuntimeError: as asked" in caplog.text
    caplog.clear()


def request_parts(turn):
    """Return a request's text, cut at a place that moves from turn to turn."""
    body = b"%d" % turn * 50
    head = b"POST /echo HTTP/1.1\r\nhost: here\r\ncontent-length: %d\r\n\r\n"
    text = head % len(body) + body
    cuts = {
        0: [text.index(b"\r\n\r\n") + 4],  # between head and body
        1: [turn % len(text)],
        2: range(0, len(text), 7),
    }[turn % 3]
    edges = [0, *cuts, len(text)]
    return body, [text[start:end] for start, end in zip(edges, edges[1:])]


async def read_response(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    _, _, rest = head.partition(b"content-length: ")
    return await reader.readexactly(int(rest.partition(b"\r\n")[0]))


def test_keep_alive_with_requests_that_come_in_parts():
    async def main():
        async with serving(app) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            for turn in range(60):
                body, parts = request_parts(turn)
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
                assert await read_response(reader) == body
            assert len(server.server_state.connections) == 1
            writer.close()
            await writer.wait_closed()

    run(main)


def test_pipelined_requests():
    async def main():
        async with serving(app) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            requests = [request_parts(turn) for turn in range(30)]
            writer.write(b"".join(b"".join(parts) for _, parts in requests))
            for body, _ in requests:
                assert await read_response(reader) == body
            writer.close()
            await writer.wait_closed()

    run(main)


@pytest.mark.parametrize("bound", ["by the loop", "before"])
def test_small_responses_are_not_held_back(bound):
    """A listener that somebody else has bound names no protocol number.

    asyncio's own transports turn Nagle's algorithm off by that number, and stall for
    40 ms a keep-alive request; ours go by the address family.
    """

    async def main():
        sockets = None
        if bound == "before":
            sock = socket.socket(socket.AF_INET)  # as uvicorn's --workers does
            sock.bind(("127.0.0.1", 0))
            sockets = [sock]
        async with serving(app, sockets) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"".join(request_parts(0)[1]))
            await read_response(reader)
            [connection] = server.server_state.connections
            is_ours = loop_class() is EventLoop
            if is_ours:
                transport = type(connection.transport)
                assert transport.__module__ == "trio_asyncio_c._core"
            if is_ours or bound == "by the loop":
                sock = connection.transport.get_extra_info("socket")
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            writer.close()
            await writer.wait_closed()

    run(main)


def test_unix_socket(tmp_path):
    path = str(tmp_path / "socket")

    async def main():
        async with serving(app, uds=path):
            connector = aiohttp.UnixConnector(path)
            async with aiohttp.ClientSession(connector=connector) as http:
                data = io.BytesIO(MEGABYTE)
                async with http.post("http://here/echo", data=data) as response:
                    assert await response.read() == MEGABYTE

    run(main)


def test_lifespan(capsys):
    async def main():
        async with serving(app):
            assert capsys.readouterr().err == "lifespan: started\n"
        assert capsys.readouterr().err == "lifespan: ended\n"

    run(main)
