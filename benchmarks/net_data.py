"""The database clients of bench_net: asyncpg, and redis-py with hiredis."""

import asyncio
import contextlib
import os
import time

from net_clients import counted
from net_services import port_of_service
from shared.case import Case
from shared.machine import keep_here

POOL_SIZE = 10
TOGETHER = 50  # tasks
ROWS = 1_000
PIPELINED = 100


def check(answer, right):
    if answer != right:
        raise RuntimeError(f"wrong answer: {answer!r}")


def latencies_of(times):
    """Return the figures of the times of single operations, in ns."""
    times.sort()
    last = len(times) - 1
    return {"p50": times[last // 2], "p99": times[last * 99 // 100]}


def one_by_one(operation):
    """Return a case's function that calls `operation(client, number)` in turn."""

    @counted
    async def run(client, count):
        times = []
        for number in range(count):
            began = time.perf_counter_ns()
            await operation(client, number)
            times.append(time.perf_counter_ns() - began)
        return latencies_of(times)

    return run


def together(operation):
    """Return a case's function in which tasks call `operation(client, number)`."""

    @counted
    async def run(client, count):
        times, numbers = [], iter(range(count))

        async def work():
            for number in numbers:
                began = time.perf_counter_ns()
                await operation(client, number)
                times.append(time.perf_counter_ns() - began)

        async with asyncio.TaskGroup() as group:
            for _ in range(TOGETHER):
                group.create_task(work())
        return latencies_of(times)

    return run


def postgres_address():
    return {
        "host": "127.0.0.1",
        "port": port_of_service("postgres"),
        "user": "tester",
        "database": "postgres",
        "ssl": False,
    }


@contextlib.asynccontextmanager
async def postgres_connection(loop):
    import asyncpg

    keep_here()
    connection = await asyncpg.connect(**postgres_address())
    yield connection
    await connection.close()


@contextlib.asynccontextmanager
async def postgres_pool(loop):
    import asyncpg

    keep_here()
    async with asyncpg.create_pool(
        min_size=POOL_SIZE, max_size=POOL_SIZE, **postgres_address()
    ) as pool:
        yield pool


async def select_row(client, number):
    row = await client.fetchrow("select $1::int as n, 'a text' as text", number)
    check(tuple(row), (number, "a text"))


async def select_rows(client, number):
    rows = await client.fetch(
        "select n, 'a text' as text from generate_series(1, $1::int) n", ROWS
    )
    check((len(rows), tuple(rows[-1])), (ROWS, (ROWS, "a text")))


@contextlib.asynccontextmanager
async def redis_client(loop):
    import hiredis  # noqa: F401
    from redis.asyncio import Redis

    keep_here()
    async with Redis(host="127.0.0.1", port=port_of_service("redis")) as client:
        yield client


@contextlib.asynccontextmanager
async def redis_pool(loop):
    import hiredis  # noqa: F401
    from redis.asyncio import BlockingConnectionPool, Redis

    keep_here()
    pool = BlockingConnectionPool(
        host="127.0.0.1",
        port=port_of_service("redis"),
        max_connections=POOL_SIZE,
    )
    async with Redis.from_pool(pool) as client:
        yield client


def key(number):
    """Return one that no other process uses: they all warm up at a time."""
    return f"{os.getpid()}:{number}"


async def set_and_get(client, number):
    name, value = key(number), b"%d" % number
    await client.set(name, value)
    check(await client.get(name), value)


async def pipeline(client, number):
    value = b"%d" % number
    async with client.pipeline(transaction=False) as commands:
        for index in range(PIPELINED // 2):
            commands.set(key(index), value)
            commands.get(key(index))
        answers = await commands.execute()
    check(answers, [True, value] * (PIPELINED // 2))


def case(name, function, count, prepare):
    return Case(name, function, count, shown="process", prepare=prepare)


POSTGRES = [
    case("asyncpg, a row", one_by_one(select_row), 100, postgres_connection),
    case("asyncpg, 1 000 rows", one_by_one(select_rows), 10, postgres_connection),
    case("asyncpg, 50 tasks, pool of 10", together(select_row), 500, postgres_pool),
]
REDIS = [
    case("redis-py, SET and GET", one_by_one(set_and_get), 100, redis_client),
    case("redis-py, pipeline of 100", one_by_one(pipeline), 10, redis_client),
    case("redis-py, 50 tasks, pool of 10", together(set_and_get), 500, redis_pool),
]
