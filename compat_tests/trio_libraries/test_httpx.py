"""httpx's AsyncClient under trio, against hypercorn's trio worker on loopback."""

from __future__ import annotations

import ssl

import httpx
import pytest
import trio

from ._asgi import Application, certificate_files, serving

BODY = bytes(range(256)) * 1000


def client(server, **options):
    options = {"timeout": 60, "trust_env": False, **options}
    return httpx.AsyncClient(base_url=server.url, **options)


@pytest.fixture
def trust(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_get_post_and_not_found():
    async with serving() as server, client(server) as http:
        response = await http.get("/thread")
        assert (response.status_code, response.content) == (200, b"from a thread")
        assert response.http_version == "HTTP/1.1"
        assert (await http.post("/echo", content=BODY)).content == BODY
        assert (await http.get("/nowhere")).status_code == 404


async def test_request_body_from_an_async_iterator():
    async def chunks():
        for number in range(10):
            await trio.lowlevel.checkpoint()
            yield b"%d " % number

    async with serving() as server, client(server) as http:
        response = await http.post("/echo", content=chunks())
        assert response.content == b"0 1 2 3 4 5 6 7 8 9 "


async def test_response_is_streamed():
    expected = b"".join(b"%d," % number for number in range(20))
    async with (
        serving() as server,
        client(server) as http,
        http.stream("GET", "/stream") as response,
    ):
        received = [chunk async for chunk in response.aiter_raw()]
    assert b"".join(received) == expected


@pytest.mark.parametrize("http2", [False, True])
async def test_concurrent_requests(http2):
    # Fewer connections than requests: some wait in the pool.
    limits = httpx.Limits(max_connections=5)
    options = {"http1": not http2, "http2": http2, "limits": limits}
    answers = {}

    async def post(http, number):
        content = b"%d" % number * 5000
        answers[number] = (await http.post("/echo", content=content)).content == content

    async with serving() as server, client(server, **options) as http:
        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(post, http, number)
    assert answers == dict.fromkeys(range(40), True)


async def test_connections_are_kept_and_reused():
    async with serving() as server, client(server) as http:
        ports = set()
        for _ in range(5):
            response = await http.get("/thread")
            stream = response.extensions["network_stream"]
            ports.add(stream.get_extra_info("socket").getsockname()[1])
    assert len(ports) == 1


async def test_read_timeout():
    async with serving() as server, client(server) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.get("/hang", timeout=httpx.Timeout(60, read=0.05))
        assert (await http.get("/thread")).status_code == 200


async def test_pool_timeout():
    limits = httpx.Limits(max_connections=1)
    async with serving() as server, client(server, limits=limits) as http:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(http.get, "/hang")
            await server.app.hanging.wait()
            with pytest.raises(httpx.PoolTimeout):
                await http.get("/thread", timeout=httpx.Timeout(60, pool=0.05))
            nursery.cancel_scope.cancel()
        assert (await http.get("/thread")).status_code == 200


async def test_connection_refused():
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with httpx.AsyncClient(trust_env=False) as http:
            with pytest.raises(httpx.ConnectError):
                await http.get(f"http://127.0.0.1:{port}/")


async def test_cancelled_in_the_middle_of_a_request():
    async with serving() as server, client(server) as http:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(http.get, "/hang")
            await server.app.hanging.wait()
            nursery.cancel_scope.cancel()
        # The server is told, and the client can be used on.
        while "http.disconnect" not in server.app.events:
            await trio.sleep(0.01)
        assert (await http.get("/thread")).status_code == 200
    assert nursery.cancel_scope.cancelled_caught


# The body of a request that is cancelled, httpx leaves to the collector.
@pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")
async def test_many_requests_of_which_some_are_cancelled():
    outcomes = []

    async def request(http, number):
        with trio.CancelScope() as scope:
            if number % 3 == 0:
                scope.deadline = trio.current_time() + 0.002 * number
            response = await http.post("/echo", content=BODY)
            assert response.content == BODY
        outcomes.append(scope.cancelled_caught or response.status_code)

    limits = httpx.Limits(max_connections=4)
    async with serving() as server:
        async with client(server, limits=limits) as http:
            async with trio.open_nursery() as nursery:
                for number in range(30):
                    nursery.start_soon(request, http, number)
            assert (await http.get("/thread")).status_code == 200
    assert len(outcomes) == 30
    assert set(outcomes) <= {True, 200} and outcomes.count(200) >= 20


async def test_error_of_the_application_is_a_500():
    async with serving() as server, client(server) as http:
        assert (await http.get("/broken")).status_code == 500
        assert (await http.get("/thread")).status_code == 200
    (record,) = [r for r in server.log.records if r.exc_info]
    assert record.exc_info[0] is LookupError


async def test_first_answer_wins():
    async def race(http, path, winner):
        response = await http.get(path)
        winner.append(response.content)
        nursery.cancel_scope.cancel()

    winner = []
    async with serving() as server, client(server) as http:
        async with trio.open_nursery() as nursery:
            for path in ("/hang", "/hang", "/thread"):
                nursery.start_soon(race, http, path, winner)
    assert winner == [b"from a thread"]


# ---- TLS ----


@pytest.mark.parametrize("http2", [False, True])
async def test_tls_with_an_authority_of_our_own(authority, trust, tmp_path, http2):
    certificate = certificate_files(authority, tmp_path)
    async with serving(certificate=certificate) as server:
        assert server.url.startswith("https://")
        async with client(server, verify=trust, http2=http2) as http:
            response = await http.post("/echo", content=BODY)
            assert response.content == BODY
            assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")


async def test_tls_refuses_an_authority_it_does_not_know(authority, tmp_path):
    certificate = certificate_files(authority, tmp_path)
    async with serving(certificate=certificate) as server:
        async with client(server, verify=ssl.create_default_context()) as http:
            with pytest.raises(httpx.ConnectError) as caught:
                await http.get("/thread")
    cause = caught.value
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__
    assert isinstance(cause, ssl.SSLCertVerificationError)


# ---- without a network ----


async def test_asgi_transport_calls_the_application_itself():
    transport = httpx.ASGITransport(app=Application())
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
        assert (await http.post("/echo", content=BODY)).content == BODY
        with pytest.raises(LookupError, match="in the application"):
            await http.get("/broken")
