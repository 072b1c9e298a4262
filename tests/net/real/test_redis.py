"""redis-py's asyncio half with a Redis of our own."""

from __future__ import annotations

import asyncio
import os

import pytest

redis = pytest.importorskip("redis.asyncio")

from redis import exceptions  # noqa: E402

from ..._real.watch import run  # noqa: E402


@pytest.fixture(params=["tcp", "unix", "tls"])
def connect(request, redis_server, authority, tmp_path):
    """Give a function that returns a new client, over each kind of connection."""
    match request.param:
        case "tcp":
            where = {"host": "127.0.0.1", "port": redis_server.port}
        case "unix":
            where = {"unix_socket_path": str(redis_server.folder / "redis.sock")}
        case "tls":
            path = tmp_path / "ca.pem"
            authority.cert_pem.write_to_path(path)
            where = {
                "host": "127.0.0.1",
                "port": redis_server.tls_port,
                "ssl": True,
                "ssl_ca_certs": str(path),
            }
    return lambda **options: redis.Redis(**where, **options)


def emptied(program, connect, **options):
    """Return a program that runs `program(client)` on an empty database."""

    async def main():
        async with connect(**options) as client:
            await client.flushall()
            await program(client)

    return main


def test_commands(connect):
    async def program(client):
        assert await client.ping()
        for number in range(200):
            await client.set(f"key:{number}", number)
        assert [int(value) for value in await client.mget("key:0", "key:199")] == [
            0,
            199,
        ]
        names = [name async for name in client.scan_iter("key:*", count=10)]
        assert len(names) == len(set(names)) == 200
        await client.hset("hash", mapping={"a": 1, "b": "x" * 100_000})
        assert (await client.hgetall("hash"))[b"b"] == b"x" * 100_000
        with pytest.raises(exceptions.ResponseError):
            await client.lpush("hash", 1)
        assert await client.get("key:1") == b"1"

    run(emptied(program, connect))


def test_large_values(connect):
    data = os.urandom(5 << 20)

    async def program(client):
        await client.set("large", data)
        assert await client.get("large") == data

    run(emptied(program, connect))


def test_pipelines_and_transactions(connect):
    async def program(client):
        async with client.pipeline(transaction=False) as pipe:
            for number in range(5000):
                pipe.rpush("list", number)
            assert await pipe.execute() == list(range(1, 5001))

        async def increment():
            while True:
                async with client.pipeline() as pipe:
                    try:
                        await pipe.watch("counter")
                        value = int(await pipe.get("counter") or 0)
                        pipe.multi()
                        pipe.set("counter", value + 1)
                        await pipe.execute()
                        return
                    except exceptions.WatchError:
                        continue

        await asyncio.gather(*[increment() for _ in range(10)])
        assert await client.get("counter") == b"10"

    run(emptied(program, connect))


def test_publish_and_subscribe(connect):
    async def program(client):
        async def hear(ready, count):
            heard = []
            async with client.pubsub(ignore_subscribe_messages=False) as pubsub:
                await pubsub.subscribe("news")
                async for message in pubsub.listen():
                    if message["type"] == "subscribe":
                        ready.set()
                    else:
                        heard.append(int(message["data"]))
                    if len(heard) == count:
                        await pubsub.unsubscribe("news")
                        return heard

        events = [asyncio.Event() for _ in range(5)]
        listeners = [asyncio.create_task(hear(event, 300)) for event in events]
        for event in events:
            await event.wait()
        for number in range(300):
            assert await client.publish("news", number) == 5
        for listener in listeners:
            assert await listener == list(range(300))

    run(emptied(program, connect))


async def wait_until_blocked(client, count):
    while (await client.info("clients"))["blocked_clients"] != count:
        await asyncio.sleep(0.01)


def test_blocking_pop_is_cancelled(connect):
    async def program(client):
        for _ in range(5):
            popping = asyncio.create_task(client.blpop("empty", timeout=0))
            await wait_until_blocked(client, 1)
            popping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await popping
            await wait_until_blocked(client, 0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.blpop("empty", timeout=0)
        await wait_until_blocked(client, 0)
        await client.rpush("empty", "value")
        assert await client.blpop("empty", timeout=0) == [b"empty", b"value"]

    run(emptied(program, connect, protocol=3))


def test_blocking_pop_is_served(connect):
    async def program(client):
        popping = [
            asyncio.create_task(client.blpop("queue", timeout=0)) for _ in range(10)
        ]
        await wait_until_blocked(client, 10)
        await client.rpush("queue", *range(10))
        popped = await asyncio.gather(*popping)
        assert sorted(int(value) for _, value in popped) == list(range(10))

    run(emptied(program, connect))


def test_a_time_limit_of_the_client(connect):
    async def program(client):
        async with connect(socket_timeout=0.05, retry=None) as hasty:
            with pytest.raises(exceptions.TimeoutError):
                await hasty.blpop("empty", timeout=0)
        await wait_until_blocked(client, 0)

    run(emptied(program, connect))


def test_50_clients_at_once(connect, request):
    # With TLS each loads the system's certificates, which takes its time.
    count = 15 if "tls" in request.node.callspec.id else 50

    async def program(client):
        async def work(number):
            async with connect(single_connection_client=True) as own:
                for turn in range(10):
                    value = b"%d %d" % (number, turn) * 50
                    await own.set(f"own:{number}", value)
                    assert await own.get(f"own:{number}") == value

        await asyncio.gather(*map(work, range(count)))
        assert await client.dbsize() == count

    run(emptied(program, connect))


def test_connects_cancelled_at_any_point(connect):
    async def program(client):
        for turns in range(40):
            other = connect()
            task = asyncio.create_task(other.ping())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await other.aclose()
        assert await client.ping()

    run(emptied(program, connect))


def test_a_client_that_the_server_ends(connect):
    async def program(client):
        async with connect(single_connection_client=True, retry=None) as other:
            number = await other.client_id()
            popping = asyncio.create_task(other.blpop("empty", timeout=0))
            await wait_until_blocked(client, 1)
            await client.client_kill_filter(_id=number)
            with pytest.raises(exceptions.ConnectionError):
                await popping
            assert await other.ping()  # it connects again
            assert await other.client_id() != number

    run(emptied(program, connect))


def test_the_servers_certificate_is_verified(redis_server):
    async def main():
        async with redis.Redis(
            host="127.0.0.1",
            port=redis_server.tls_port,
            ssl=True,
            retry=None,
        ) as client:
            with pytest.raises(
                exceptions.ConnectionError, match="certificate verify failed"
            ):
                await client.ping()

    run(main)


def test_nobody_listens(free_port):
    async def main():
        async with redis.Redis(host="127.0.0.1", port=free_port, retry=None) as client:
            with pytest.raises(exceptions.ConnectionError):
                await client.ping()

    run(main)
