"""trio-websocket: a server and several clients over loopback."""

from __future__ import annotations

import os
import ssl
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio.testing
import trio_websocket
from trio_websocket import ConnectionClosed, open_websocket

# A connection that the other side ended, it leaves to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

BLOB = os.urandom(200_000)


async def echo(request):
    websocket = await request.accept()
    while True:
        try:
            message = await websocket.get_message()
            await websocket.send_message(message)
        except ConnectionClosed:
            return


@asynccontextmanager
async def serving(handler=echo, *, ssl_context=None, **options):
    """Serve on a port of the kernel's choice; the server, and its port in it."""
    async with trio.open_nursery() as nursery:
        serve = partial(
            trio_websocket.serve_websocket, handler, "127.0.0.1", 0, ssl_context
        )
        yield await nursery.start(partial(serve, **options))
        nursery.cancel_scope.cancel()


def connecting(server, resource="/", *, use_ssl=False, host="127.0.0.1", **options):
    return open_websocket(host, server.port, resource, use_ssl=use_ssl, **options)


async def test_text_and_bytes_come_back_as_they_went():
    async with serving() as server, connecting(server) as websocket:
        for message in ("text", "ünï", b"\x00\xff", BLOB, "", b""):
            await websocket.send_message(message)
            assert await websocket.get_message() == message


async def test_several_clients_at_once():
    answers = {}

    async def client(server, number):
        async with connecting(server) as websocket:
            for step in range(10):
                await websocket.send_message(f"{number}.{step}")
                answers.setdefault(number, []).append(await websocket.get_message())

    async with serving() as server, trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(client, server, number)
    assert answers == {n: [f"{n}.{step}" for step in range(10)] for n in range(10)}


async def test_broadcast_to_all_who_are_connected():
    members = set()
    joined = trio.Event()

    async def chat(request):
        websocket = await request.accept()
        members.add(websocket)
        if len(members) == 5:
            joined.set()
        try:
            while True:
                message = await websocket.get_message()
                async with trio.open_nursery() as nursery:
                    for member in members:
                        nursery.start_soon(member.send_message, message)
        except ConnectionClosed:
            members.remove(websocket)

    heard = []

    async def listen(server):
        async with connecting(server) as websocket:
            heard.append(await websocket.get_message())

    async with serving(chat) as server:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(listen, server)
            async with connecting(server) as websocket:
                await joined.wait()
                await websocket.send_message("hear, hear")
                heard.append(await websocket.get_message())
    assert heard == ["hear, hear"] * 5 and not members


async def test_pings_are_answered_also_many_at_once():
    async with serving() as server, connecting(server) as websocket:
        await websocket.ping()
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(websocket.ping, b"ping %d" % number)
        with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="in flight")):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(websocket.ping, b"twice")
                nursery.start_soon(websocket.ping, b"twice")
        await websocket.pong(b"nobody asked")
        await websocket.send_message("alive")
        assert await websocket.get_message() == "alive"


async def test_close_codes_and_reasons_cross():
    seen = trio.Event()
    reasons = {}

    async def handler(request):
        websocket = await request.accept()
        if request.path == "/server-closes":
            await websocket.aclose(code=4000, reason="enough")
        else:
            with pytest.raises(ConnectionClosed):
                await websocket.get_message()
            reasons["server"] = websocket.closed.code, websocket.closed.reason
            seen.set()

    async with serving(handler) as server:
        async with connecting(server) as websocket:
            await websocket.aclose(code=4001, reason="goodbye")
            await seen.wait()
        async with connecting(server, "/server-closes") as websocket:
            with pytest.raises(ConnectionClosed) as caught:
                await websocket.get_message()
            reasons["client"] = caught.value.reason.code, caught.value.reason.reason
            with pytest.raises(ConnectionClosed):
                await websocket.send_message("too late")
    assert reasons == {"server": (4001, "goodbye"), "client": (4000, "enough")}


async def test_handler_that_raises_closes_with_an_error_code():
    async def handler(request):
        async with await request.accept():
            raise LookupError("in the handler")

    with pytest.RaisesGroup(LookupError, flatten_subgroups=True):
        async with serving(handler) as server, connecting(server) as websocket:
            with pytest.raises(ConnectionClosed):
                await websocket.get_message()
            await trio.sleep_forever()


async def test_server_rejects_with_a_status():
    async def handler(request):
        await request.reject(403, body=b"not you")

    async with serving(handler) as server:
        with pytest.raises(trio_websocket.ConnectionRejected) as caught:
            async with connecting(server):
                pytest.fail("the server has rejected this connection")
    assert (caught.value.status_code, caught.value.body) == (403, b"not you")


async def test_message_too_big():
    async with serving(max_message_size=100) as server, connecting(server) as websocket:
        await websocket.send_message(b"x" * 101)
        with pytest.raises(ConnectionClosed) as caught:
            await websocket.get_message()
        assert caught.value.reason.code == 1009


async def test_subprotocol_and_headers():
    async def handler(request):
        assert request.proposed_subprotocols == ("chat", "echo")
        assert (b"x-token", b"secret") in request.headers
        async with await request.accept(
            subprotocol="echo", extra_headers=[(b"x-answer", b"42")]
        ) as websocket:
            await websocket.send_message(request.path)

    async with (
        serving(handler) as server,
        connecting(
            server,
            "/resource?query",
            subprotocols=["chat", "echo"],
            extra_headers=[(b"X-Token", b"secret")],
        ) as websocket,
    ):
        assert websocket.subprotocol == "echo"
        assert (b"x-answer", b"42") in websocket.handshake_headers
        assert await websocket.get_message() == "/resource?query"


# ---- cancellation ----


async def test_receiving_can_be_cancelled_and_taken_up_again():
    async with serving() as server, connecting(server) as websocket:
        for number in range(5):
            with trio.move_on_after(0.01) as scope:
                await websocket.get_message()
            assert scope.cancelled_caught
            await websocket.send_message(f"message {number}")
            assert await websocket.get_message() == f"message {number}"


async def test_client_cancelled_in_the_middle_leaves_the_server_well():
    async with serving() as server:
        with trio.move_on_after(0.05) as scope:
            async with connecting(server) as websocket:
                while True:
                    await websocket.send_message("again")
                    await websocket.get_message()
        assert scope.cancelled_caught
        async with connecting(server) as websocket:
            await websocket.send_message("still there")
            assert await websocket.get_message() == "still there"


async def test_cancelled_server_ends_its_clients():
    with trio.CancelScope() as scope:
        async with serving() as server, connecting(server) as websocket:
            scope.cancel()
            await websocket.get_message()
    assert scope.cancelled_caught


async def test_error_of_the_user_comes_out_alone():
    async with serving() as server:
        with pytest.raises(LookupError, match="of the user"):
            async with connecting(server):
                raise LookupError("of the user")


async def test_cancelled_in_the_handshake():
    left, right = trio.testing.memory_stream_pair()
    async with left, right, trio.open_nursery() as nursery:
        with trio.move_on_after(0.01) as scope:
            await trio_websocket.wrap_client_stream(nursery, left, "host", "/")
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()


# ---- other transports ----


async def test_over_tls(authority):
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    async with (
        serving(ssl_context=server_context) as server,
        connecting(server, host="localhost", use_ssl=client_context) as websocket,
    ):
        await websocket.send_message(BLOB)
        assert await websocket.get_message() == BLOB


async def test_over_a_stream_of_memory():
    left, right = trio.testing.memory_stream_pair()

    async def serve():
        request = await trio_websocket.wrap_server_stream(nursery, right)
        await echo(request)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        websocket = await trio_websocket.wrap_client_stream(nursery, left, "host", "/")
        async with websocket:
            await websocket.send_message("over memory")
            assert await websocket.get_message() == "over memory"
