"""aiohttp: its server and its client, on one loop."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import socket
import ssl
from contextlib import asynccontextmanager

import pytest

aiohttp = pytest.importorskip("aiohttp")

from aiohttp import web  # noqa: E402

from ..._real.watch import run  # noqa: E402

FIVE_MB = 5 << 20
REQUESTS = 200


def digest(data):
    return hashlib.sha256(data).hexdigest()


async def hello(request):
    return web.json_response({"path": request.path, "query": dict(request.query)})


async def read_whole(request):
    return web.Response(text=digest(await request.read()))


async def read_pieces(request):
    """Answer with the digest of a body that is taken as it comes."""
    hashed = hashlib.sha256()
    async for piece in request.content.iter_any():
        hashed.update(piece)
    return web.Response(text=hashed.hexdigest())


async def send_chunks(request):
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    for number in range(int(request.query["count"])):
        await response.write(b"%d;" % number * 100)
    await response.write_eof()
    return response


async def send_large(request):
    return web.Response(body=request.app[LARGE])


async def echo_messages(request):
    ws = web.WebSocketResponse(max_msg_size=0)
    await ws.prepare(request)
    async for message in ws:
        if message.type is aiohttp.WSMsgType.TEXT:
            if message.data == "please close":
                await ws.close(code=4001, message=b"as you wish")
            else:
                await ws.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await ws.send_bytes(message.data)
    return ws


LARGE = web.AppKey("large", bytes)


def make_app():
    app = web.Application(client_max_size=2 * FIVE_MB)
    app[LARGE] = os.urandom(FIVE_MB)
    app.router.add_get("/hello/{name}", hello)
    app.router.add_post("/whole", read_whole)
    app.router.add_post("/pieces", read_pieces)
    app.router.add_get("/chunks", send_chunks)
    app.router.add_get("/large", send_large)
    app.router.add_get("/ws", echo_messages)
    return app


@asynccontextmanager
async def serving(app, tls=None, **options):
    """Serve an application on loopback; gives its URL."""
    runner = web.AppRunner(app, **options)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = runner.addresses[0][1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def client(tls=True, **options):
    """Return a client session that may open any number of connections."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=tls), **options
    )


@pytest.fixture(params=["plain", "tls"])
def tls_pair(request):
    """Give the server's and the client's context, or what stands for none."""
    if request.param == "plain":
        return None, True
    return tuple(map(request.getfixturevalue, ("server_tls", "client_tls")))


def test_200_requests_at_once(tls_pair):
    server_tls, client_tls = tls_pair

    async def main():
        async with serving(make_app(), server_tls) as url, client(client_tls) as http:

            async def ask(number):
                async with http.get(f"{url}/hello/{number}?n={number}") as response:
                    assert response.status == 200
                    return await response.json()

            answers = await asyncio.gather(*map(ask, range(REQUESTS)))
            assert answers == [
                {"path": f"/hello/{number}", "query": {"n": str(number)}}
                for number in range(REQUESTS)
            ]

    run(main)


def test_keep_alive_connections_are_used_again(tls_pair):
    server_tls, client_tls = tls_pair

    async def main():
        async with serving(make_app(), server_tls) as url:
            async with client(client_tls) as http:
                for number in range(50):
                    body = b"x" * number * 100
                    async with http.post(f"{url}/whole", data=body) as response:
                        assert await response.text() == digest(body)
                assert sum(map(len, http.connector._conns.values())) == 1

    run(main)


def test_chunked_bodies(tls_pair):
    server_tls, client_tls = tls_pair
    pieces = [os.urandom(size) for size in (1, 10, 1000, 70_000, 300_000)] * 4

    async def upload():
        for piece in pieces:
            yield piece
            await asyncio.sleep(0)

    async def main():
        async with serving(make_app(), server_tls) as url, client(client_tls) as http:
            async with http.post(f"{url}/pieces", data=upload()) as response:
                assert await response.text() == digest(b"".join(pieces))
            async with http.get(f"{url}/chunks?count=2000") as response:
                assert response.headers["Transfer-Encoding"] == "chunked"
                answer = await response.read()
            assert answer == b"".join(b"%d;" % number * 100 for number in range(2000))

    run(main)


def test_5_mb_bodies(tls_pair):
    server_tls, client_tls = tls_pair
    app, body = make_app(), os.urandom(FIVE_MB)

    async def main():
        async with serving(app, server_tls) as url, client(client_tls) as http:

            async def upload(path):
                async with http.post(url + path, data=io.BytesIO(body)) as response:
                    return await response.text() == digest(body)

            async def download():
                async with http.get(f"{url}/large") as response:
                    return await response.read() == app[LARGE]

            assert all(
                await asyncio.gather(
                    upload("/whole"), upload("/pieces"), download(), download()
                )
            )

    run(main)


def test_a_client_that_reads_slowly_slows_the_server_down(tls_pair):
    server_tls, client_tls = tls_pair
    app, piece = make_app(), bytes(1 << 16)
    sent = []

    async def pour(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(piece)
            sent.append(len(piece))
        return response

    app.router.add_get("/pour", pour)

    async def main():
        async with serving(app, server_tls) as url, client(client_tls) as http:
            async with http.get(f"{url}/pour") as response:
                for _ in range(100):  # other requests are served meanwhile
                    async with http.get(f"{url}/hello/you") as other:
                        await other.read()
                assert sum(sent) < 1000 * len(piece)
                received = 0
                async for data in response.content.iter_any():
                    received += len(data)
            assert received == 1000 * len(piece)

    run(main)


def test_websocket_echo(tls_pair):
    server_tls, client_tls = tls_pair
    messages = ["", "hello", "x" * 70_000, b"", b"\0\1", os.urandom(1 << 20)]

    async def main():
        async with serving(make_app(), server_tls) as url, client(client_tls) as http:
            async with http.ws_connect(f"{url}/ws", max_msg_size=0) as ws:
                for message in messages * 3:
                    if isinstance(message, str):
                        await ws.send_str(message)
                    else:
                        await ws.send_bytes(message)
                    assert (await ws.receive()).data == message
                await ws.ping()
                await ws.send_str("please close")
                message = await ws.receive()
                assert message.type is aiohttp.WSMsgType.CLOSE
                assert (message.data, message.extra) == (4001, "as you wish")
            assert ws.close_code == 4001

    run(main)


def test_100_websockets_at_once():
    async def main():
        async with serving(make_app()) as url, client() as http:

            async def talk(number):
                async with http.ws_connect(f"{url}/ws", compress=15) as ws:
                    for turn in range(10):
                        await ws.send_str(f"{number} {turn}")
                        assert await ws.receive_str() == f"{number} {turn}"

            await asyncio.gather(*map(talk, range(100)))

    run(main)


def test_client_leaves_in_the_middle_of_a_response(tls_pair):
    server_tls, client_tls = tls_pair
    app = make_app()

    async def main():
        gone = asyncio.Event()

        async def endless(request):
            response = web.StreamResponse()
            await response.prepare(request)
            try:
                while True:
                    await response.write(bytes(10_000))
                    await asyncio.sleep(0)
            except ConnectionResetError:
                gone.set()
            return response

        app.router.add_get("/endless", endless)
        async with serving(app, server_tls) as url, client(client_tls) as http:
            response = await http.get(f"{url}/endless")
            await response.content.readexactly(100_000)
            response.close()
            await gone.wait()
            async with http.get(f"{url}/hello/still") as response:
                assert response.status == 200

    run(main)


def test_handler_is_cancelled_when_the_client_leaves(tls_pair):
    server_tls, client_tls = tls_pair
    app = make_app()

    async def main():
        gone = asyncio.Event()

        async def waiting(request):
            response = web.StreamResponse()
            await response.prepare(request)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                gone.set()
                raise

        app.router.add_get("/waiting", waiting)
        async with serving(app, server_tls, handler_cancellation=True) as url:
            async with client(client_tls) as http:
                response = await http.get(f"{url}/waiting")
                response.close()
                await gone.wait()

    run(main)


def test_shutdown_with_open_keep_alive_connections(tls_pair):
    server_tls, client_tls = tls_pair

    async def main():
        async with client(client_tls) as http:
            async with serving(make_app(), server_tls) as url:

                async def ask(number):
                    async with http.get(f"{url}/hello/{number}") as response:
                        return await response.read()

                await asyncio.gather(*map(ask, range(20)))
                assert sum(map(len, http.connector._conns.values())) > 1
            with pytest.raises(aiohttp.ClientConnectionError):
                await ask(0)

    run(main)


def test_shutdown_waits_for_a_request(tls_pair):
    server_tls, client_tls = tls_pair
    app = make_app()

    async def main():
        started, release = asyncio.Event(), asyncio.Event()

        async def slow(request):
            started.set()
            await release.wait()
            return web.Response(text="done")

        app.router.add_get("/slow", slow)
        async with client(client_tls) as http:
            async with serving(app, server_tls) as url:

                async def ask():
                    async with http.get(f"{url}/slow") as response:
                        return await response.text()

                asked = asyncio.create_task(ask())
                await started.wait()
                asyncio.get_running_loop().call_later(0.05, release.set)
            assert await asked == "done"

    run(main)


def test_time_limit_in_the_middle_of_a_body(tls_pair):
    server_tls, client_tls = tls_pair
    app = make_app()

    async def main():
        release = asyncio.Event()

        async def stall(request):
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"beginning")
            await release.wait()
            return response

        app.router.add_get("/stall", stall)
        async with serving(app, server_tls) as url, client(client_tls) as http:
            limit = aiohttp.ClientTimeout(sock_read=1)
            async with http.get(f"{url}/stall", timeout=limit) as response:
                assert await response.content.readexactly(9) == b"beginning"
                with pytest.raises(aiohttp.SocketTimeoutError):
                    await response.content.read()
            release.set()

    run(main)


def test_requests_cancelled_at_any_point(tls_pair):
    """Requests are cancelled while they connect, shake hands, wait and read."""
    server_tls, client_tls = tls_pair

    async def main():
        async with serving(make_app(), server_tls) as url:
            async with client(client_tls) as http:

                async def ask():
                    async with http.get(f"{url}/large") as response:
                        return await response.read()

                for turns in range(40):
                    task = asyncio.create_task(ask())
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.wait([task])
                assert len(await ask()) == FIVE_MB

    run(main)


def test_static_files_by_sendfile(tls_pair, tmp_path):
    server_tls, client_tls = tls_pair
    data = os.urandom(FIVE_MB)
    (tmp_path / "file").write_bytes(data)
    app = make_app()
    app.router.add_static("/static", tmp_path)

    async def main():
        async with serving(app, server_tls) as url, client(client_tls) as http:
            async with http.get(f"{url}/static/file") as response:
                assert await response.read() == data
            headers = {"Range": "bytes=100000-199999"}
            async with http.get(f"{url}/static/file", headers=headers) as response:
                assert response.status == 206
                assert await response.read() == data[100_000:200_000]

    run(main)


def test_unix_socket(tmp_path):
    path = str(tmp_path / "socket")

    async def main():
        runner = web.AppRunner(make_app())
        await runner.setup()
        await web.UnixSite(runner, path).start()
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as http:
            body = os.urandom(1 << 20)
            async with http.post("http://here/whole", data=body) as response:
                assert await response.text() == digest(body)
        await runner.cleanup()

    run(main)


def test_certificates_are_verified(server_tls, client_tls):
    stranger = ssl.create_default_context()

    async def main():
        async with serving(make_app(), server_tls) as url:
            async with client(stranger) as http:
                with pytest.raises(aiohttp.ClientConnectorCertificateError):
                    await http.get(f"{url}/hello/you")
            async with client(client_tls) as http:
                with pytest.raises(aiohttp.ClientConnectorCertificateError):
                    await http.get(f"{url}/hello/you", server_hostname="other.example")
                async with http.get(f"{url}/hello/you") as response:
                    assert response.status == 200

    run(main)


def test_client_certificates(authority, server_tls, client_tls):
    authority.configure_trust(server_tls)
    server_tls.verify_mode = ssl.CERT_REQUIRED
    # A refusal after the handshake, as in TLS 1.3, may cut the request off.
    server_tls.maximum_version = ssl.TLSVersion.TLSv1_2
    app = make_app()

    async def who(request):
        peer = request.transport.get_extra_info("peercert")
        return web.Response(text=peer["subjectAltName"][0][1])

    app.router.add_get("/who", who)

    async def main():
        async with serving(app, server_tls) as url:
            async with client(client_tls) as http:
                with pytest.raises(aiohttp.ClientConnectorError):
                    await http.get(f"{url}/who")
            authority.issue_cert("me@here.example").configure_cert(client_tls)
            async with client(client_tls) as http:
                async with http.get(f"{url}/who") as response:
                    assert await response.text() == "me@here.example"

    run(main)


async def forward(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


async def connect_proxy(reader, writer):
    """Be a proxy that knows the method CONNECT."""
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.split(b" ", 2)
    assert method == b"CONNECT"
    host, port = target.decode().split(":")
    far_reader, far_writer = await asyncio.open_connection(host, int(port))
    writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
    await asyncio.gather(forward(reader, far_writer), forward(far_reader, writer))
    for each in (writer, far_writer):
        await each.wait_closed()


def test_tls_through_a_proxy(server_tls, client_tls):
    """TLS is started on a connection that carried plain text before."""
    body = os.urandom(FIVE_MB)

    async def main():
        proxy = await asyncio.start_server(connect_proxy, "127.0.0.1", 0)
        address = "http://127.0.0.1:%d" % proxy.sockets[0].getsockname()[1]
        async with serving(make_app(), server_tls) as url:
            async with client(client_tls) as http:

                async def upload():
                    async with http.post(
                        f"{url}/pieces", data=io.BytesIO(body), proxy=address
                    ) as response:
                        return await response.text() == digest(body)

                assert all(await asyncio.gather(*[upload() for _ in range(3)]))
        proxy.close()
        await proxy.wait_closed()

    run(main)


def test_garbage_and_silence_do_not_harm_the_server(tls_pair):
    server_tls, client_tls = tls_pair
    garbage = [b"", b"\0" * 100, b"GET", b"\x16\x03\x01\x02\x00\x01", os.urandom(5000)]

    async def main():
        async with serving(make_app(), server_tls) as url:
            port = int(url.rpartition(":")[2])
            for data in garbage:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(data)
                writer.close()
            with socket.create_connection(("127.0.0.1", port)):
                async with client(client_tls) as http:
                    async with http.get(f"{url}/hello/still") as response:
                        assert response.status == 200

    run(main)
