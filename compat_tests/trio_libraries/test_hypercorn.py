"""hypercorn's trio worker: protocols, websockets, lifespan, shutting down."""

from __future__ import annotations

import ssl

import h11
import httpx
import pytest
import trio.testing
from trio_websocket import ConnectionClosed, open_websocket_url

from ._asgi import certificate_files, serving

# A connection that the other side ended, trio-websocket leaves to the collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def address(server):
    host, _, port = server.url.rpartition("/")[2].partition(":")
    return host, int(port)


def client(server, **options):
    options = {"timeout": 60, "trust_env": False, **options}
    return httpx.AsyncClient(base_url=server.url, **options)


class Conversation:
    """HTTP/1.1 by hand: what a client library would not send."""

    def __init__(self, stream):
        self.stream = stream
        self.http = h11.Connection(h11.CLIENT)

    async def send(self, *events):
        data = b"".join(self.http.send(event) or b"" for event in events)
        await self.stream.send_all(data)

    async def receive(self):
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.stream.receive_some())
        return event

    async def response(self):
        status, content = None, b""
        while not isinstance(event := await self.receive(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                content += event.data
        return status, content


def request(path, method="GET", **headers):
    return h11.Request(
        method=method, target=path, headers=[("host", "here"), *headers.items()]
    )


# ---- HTTP/1.1 ----


async def test_http_1_keeps_the_connection():
    async with serving() as server:
        async with await trio.open_tcp_stream(*address(server)) as stream:
            talk = Conversation(stream)
            for path, expected in [
                ("/state", (200, b"by the lifespan")),
                ("/version", (200, b"1.1")),
                ("/nowhere", (404, b"no such page")),
            ]:
                await talk.send(request(path), h11.EndOfMessage())
                assert await talk.response() == expected
                talk.http.start_next_cycle()


async def test_http_1_body_in_pieces():
    async with serving() as server:
        async with await trio.open_tcp_stream(*address(server)) as stream:
            talk = Conversation(stream)
            await talk.send(request("/echo", "POST", **{"content-length": "6"}))
            for piece in (b"ab", b"cd", b"ef"):
                await talk.send(h11.Data(data=piece))
                await trio.sleep(0)
            await talk.send(h11.EndOfMessage())
            assert await talk.response() == (200, b"abcdef")


async def test_http_1_garbage_is_refused():
    async with serving() as server:
        async with await trio.open_tcp_stream(*address(server)) as stream:
            await stream.send_all(b"this is not HTTP\r\n\r\n")
            answer = b"".join([chunk async for chunk in stream])
    assert answer.startswith(b"HTTP/1.1 400")


async def test_idle_connection_is_closed_by_the_server():
    async with serving(keep_alive_timeout=1) as server:
        async with await trio.open_tcp_stream(*address(server)) as stream:
            talk = Conversation(stream)
            await talk.send(request("/version"), h11.EndOfMessage())
            assert await talk.response() == (200, b"1.1")
            assert await stream.receive_some() == b""


async def test_client_that_leaves_is_noticed():
    async with serving() as server:
        async with await trio.open_tcp_stream(*address(server)) as stream:
            await Conversation(stream).send(request("/hang"), h11.EndOfMessage())
            await server.app.hanging.wait()
        while "http.disconnect" not in server.app.events:
            await trio.sleep(0.01)


async def test_many_connections():
    done = 0

    async def talk_once(server):
        nonlocal done
        async with await trio.open_tcp_stream(*address(server)) as stream:
            talk = Conversation(stream)
            for _ in range(3):
                await talk.send(request("/stream"), h11.EndOfMessage())
                status, content = await talk.response()
                assert (status, content[-3:]) == (200, b"19,")
                talk.http.start_next_cycle()
        done += 1

    async with serving() as server, trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(talk_once, server)
    assert done == 50


# ---- HTTP/2 ----


async def test_http_2_over_tls_runs_streams_on_one_connection(authority, tmp_path):
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    ports = set()

    async def post(http, number):
        content = b"%d" % number * 10_000
        response = await http.post("/echo", content=content)
        assert response.http_version == "HTTP/2" and response.content == content
        stream = response.extensions["network_stream"]
        ports.add(stream.get_extra_info("client_addr"))

    certificate = certificate_files(authority, tmp_path)
    async with serving(certificate=certificate) as server:
        async with client(server, http2=True, verify=trust) as http:
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(post, http, number)
            assert (await http.get("/version")).text == "2"
    assert len(ports) == 1


async def test_http_2_stream_that_is_cancelled_leaves_the_others():
    async with serving(graceful_timeout=0.1) as server:
        async with client(server, http1=False, http2=True) as http:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(http.get, "/hang")
                await server.app.hanging.wait()
                assert (await http.get("/version")).text == "2"
                nursery.cancel_scope.cancel()
            assert (await http.get("/version")).text == "2"
        while "http.disconnect" not in server.app.events:
            await trio.sleep(0.01)


# ---- websockets ----


def websocket(server):
    return open_websocket_url(server.url.replace("http", "ws") + "/socket")


async def test_websocket_upgrade_and_echo():
    async with serving() as server:
        async with websocket(server) as socket:
            for message in ("text", b"bytes", "x" * 100_000):
                await socket.send_message(message)
                assert await socket.get_message() == message
            await socket.ping(b"ping")
        while "websocket.disconnect" not in server.app.events:
            await trio.sleep(0.01)


async def test_websocket_closed_by_the_application():
    async with serving() as server, websocket(server) as socket:
        await socket.send_message("close, please")
        with pytest.raises(ConnectionClosed) as caught:
            await socket.get_message()
    assert caught.value.reason.code == 4002


async def test_websockets_beside_requests():
    heard = []

    async def chat(server, number):
        async with websocket(server) as socket:
            for step in range(5):
                await socket.send_message(f"{number}.{step}")
                heard.append(await socket.get_message())

    async with serving() as server, client(server) as http:
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(chat, server, number)
                nursery.start_soon(http.get, "/stream")
    assert sorted(heard) == sorted(f"{n}.{s}" for n in range(8) for s in range(5))


# ---- from beginning to end ----


async def test_lifespan_surrounds_the_requests():
    async with serving() as server, client(server) as http:
        assert (await http.get("/state")).text == "by the lifespan"
        assert server.app.events == ["lifespan.startup"]
    assert server.app.events == ["lifespan.startup", "lifespan.shutdown"]


async def test_graceful_shutdown_lets_requests_finish():
    async with serving() as server, client(server) as http:
        answers = []

        async def get():
            answers.append((await http.get("/hang")).text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(get)
            await server.app.hanging.wait()
            server.stop.set()
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(OSError):
                await trio.open_tcp_stream(*address(server))
            assert not answers
            server.app.released.set()
        assert answers == ["released"]
    assert server.app.events[-1] == "lifespan.shutdown"
    assert "cancelled" not in server.app.events


async def test_shutdown_cancels_what_takes_too_long():
    async with serving(graceful_timeout=0.05) as server:
        async with client(server) as http, trio.open_nursery() as nursery:

            async def get():
                with pytest.raises(httpx.RemoteProtocolError):
                    await http.get("/hang")

            nursery.start_soon(get)
            await server.app.hanging.wait()
            server.stop.set()
    assert "cancelled" in server.app.events


async def test_server_ends_when_its_task_is_cancelled():
    with trio.CancelScope() as scope:
        async with serving() as server, client(server) as http:
            assert (await http.get("/thread")).status_code == 200
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_worker_ends_after_so_many_requests():
    settings = {"max_requests": 3, "graceful_timeout": 0.1}
    async with serving(**settings) as server, client(server) as http:
        for _ in range(3):
            assert (await http.get("/thread")).status_code == 200
        while "lifespan.shutdown" not in server.app.events:
            with trio.move_on_after(0.1):
                with pytest.raises(httpx.HTTPError):
                    while True:
                        await http.get("/thread")
