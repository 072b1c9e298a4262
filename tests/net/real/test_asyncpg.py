"""asyncpg with a PostgreSQL of our own."""

from __future__ import annotations

import asyncio
import io
import os
import ssl

import pytest

asyncpg = pytest.importorskip("asyncpg")

from ..._real.watch import run  # noqa: E402

POOL_SIZE = 10


@pytest.fixture(params=["tcp", "unix", "tls"])
def where(request, postgres):
    """Give the arguments for a connection of each kind."""
    options = {"port": postgres.port, "user": "tester", "database": "postgres"}
    match request.param:
        case "tcp":
            return {**options, "host": "127.0.0.1", "ssl": False}
        case "unix":
            return {**options, "host": str(postgres.folder)}
        case "tls":
            # What asyncpg does on a connection that is there: loop.start_tls.
            tls = request.getfixturevalue("client_tls")
            return {**options, "host": "127.0.0.1", "ssl": tls}


@pytest.fixture
def over_tcp(postgres):
    return {
        "port": postgres.port,
        "user": "tester",
        "database": "postgres",
        "host": "127.0.0.1",
        "ssl": False,
    }


def connected(program, where):
    """Return a program that runs `program(connection)`."""

    async def main():
        connection = await asyncpg.connect(**where)
        try:
            await program(connection)
        finally:
            await connection.close()

    return main


def test_queries_and_prepared_statements(where):
    async def program(connection):
        assert await connection.fetchval("select 6 * 7") == 42
        statement = await connection.prepare("select $1::int + $2::int, $3::text")
        for number in range(200):
            row = await statement.fetchrow(number, 1, "x" * number)
            assert tuple(row) == (number + 1, "x" * number)
        rows = await connection.fetch("select generate_series(1, 50000) as n")
        assert [row["n"] for row in rows] == list(range(1, 50001))
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.fetchval("select 1 / 0")
        assert await connection.fetchval("select 'still'") == "still"

    run(connected(program, where))


def test_large_values(where):
    data = os.urandom(5 << 20)

    async def program(connection):
        assert await connection.fetchval("select $1::bytea", data) == data

    run(connected(program, where))


def test_transactions(where):
    async def program(connection):
        await connection.execute("create temp table t (n int)")
        async with connection.transaction():
            await connection.executemany(
                "insert into t values ($1)", [(number,) for number in range(1000)]
            )
            with pytest.raises(ZeroDivisionError):
                async with connection.transaction():
                    await connection.execute("delete from t")
                    raise ZeroDivisionError
        assert await connection.fetchval("select count(*) from t") == 1000
        async with connection.transaction():
            cursor = connection.cursor("select n from t order by n", prefetch=10)
            assert [row["n"] async for row in cursor] == list(range(1000))

    run(connected(program, where))


def test_copy(where):
    rows = [(number, "x" * (number % 500)) for number in range(10_000)]
    text = b"".join(b"%d\tline %d\n" % (number, number) for number in range(50_000))

    async def pieces():
        for start in range(0, len(text), 70_000):
            yield text[start : start + 70_000]

    async def program(connection):
        await connection.execute("create temp table t (n int, s text)")
        assert await connection.copy_records_to_table("t", records=rows) == "COPY 10000"
        assert await connection.fetch("select * from t order by n") == rows
        await connection.execute("truncate t")
        await connection.copy_to_table("t", source=pieces())
        received = io.BytesIO()
        await connection.copy_from_query("select * from t order by n", output=received)
        assert received.getvalue() == text

    run(connected(program, where))


def test_pool_with_queries_at_once(where):
    async def main():
        async with asyncpg.create_pool(min_size=2, max_size=POOL_SIZE, **where) as pool:

            async def ask(number):
                async with pool.acquire() as connection:
                    return await connection.fetchval(
                        "select $1::int from pg_sleep(0.01)", number
                    )

            for _ in range(5):
                assert await asyncio.gather(*map(ask, range(20))) == list(range(20))
            assert pool.get_size() == POOL_SIZE

    run(main)


async def wait_until_busy(observer, pid):
    """Wait until that backend is in ``pg_sleep``, and not only at preparing it."""
    question = "select wait_event from pg_stat_activity where pid = $1"
    while await observer.fetchval(question, pid) != "PgSleep":
        await asyncio.sleep(0.01)


def test_running_queries_are_cancelled(where):
    async def program(connection):
        observer = await asyncpg.connect(**where)
        pid = connection.get_server_pid()
        for _ in range(3):
            task = asyncio.create_task(connection.execute("select pg_sleep(1000)"))
            await wait_until_busy(observer, pid)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await connection.fetchval("select 1") == 1
        with pytest.raises(TimeoutError):
            await connection.execute("select pg_sleep(1000)", timeout=0.05)
        assert await connection.fetchval("select 1") == 1
        await observer.close()

    run(connected(program, where))


def test_tasks_that_wait_for_a_pool_are_cancelled(over_tcp):
    async def main():
        async with asyncpg.create_pool(min_size=1, max_size=1, **over_tcp) as pool:

            async def acquire():
                await pool.acquire()

            async with pool.acquire():
                waiting = [asyncio.create_task(acquire()) for _ in range(5)]
                await asyncio.sleep(0)
                for task in waiting:
                    task.cancel()
                ended = await asyncio.gather(*waiting, return_exceptions=True)
                assert {type(exc) for exc in ended} == {asyncio.CancelledError}
                with pytest.raises(TimeoutError):
                    await pool.acquire(timeout=0.02)
            assert await pool.fetchval("select 1") == 1

    run(main)


def test_connects_cancelled_at_any_point(where):
    async def main():
        for turns in range(30):
            task = asyncio.create_task(asyncpg.connect(**where))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                await task.result().close()

    # asyncpg forgets a Future of its own when it is cancelled before TLS.
    run(main, tolerated=["unexpected connection_lost() call"])


def test_listen_and_notify(where):
    async def program(connection):
        heard, all_heard = [], asyncio.Event()

        def hear(connection, pid, channel, payload):
            heard.append(payload)
            if len(heard) == 100:
                all_heard.set()

        other = await asyncpg.connect(**where)
        await connection.add_listener("news", hear)
        for number in range(100):
            await other.execute("select pg_notify('news', $1)", str(number))
        await all_heard.wait()
        assert heard == list(map(str, range(100)))
        await connection.remove_listener("news", hear)
        await other.close()

    run(connected(program, where))


def test_a_connection_that_the_server_ends(where):
    async def program(connection):
        lost = asyncio.Event()
        other = await asyncpg.connect(**where)
        other.add_termination_listener(lambda other: lost.set())
        pid = other.get_server_pid()
        await connection.execute("select pg_terminate_backend($1)", pid)
        await lost.wait()
        assert other.is_closed()
        with pytest.raises(asyncpg.InterfaceError):
            await other.execute("select 1")

    run(connected(program, where))


def test_terminated_in_the_middle_of_a_result(where):
    async def program(connection):
        observer = await asyncpg.connect(**where)
        pid = connection.get_server_pid()
        rows = "repeat('x', 10000), pg_sleep(0.001) from generate_series(1, 1000000)"
        task = asyncio.create_task(connection.fetch(f"select {rows}"))
        await wait_until_busy(observer, pid)
        connection.terminate()
        await observer.close()
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await task

    run(connected(program, where))


def test_the_servers_certificate_is_verified(postgres):
    async def main():
        stranger = ssl.create_default_context()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncpg.connect(
                host="127.0.0.1",
                port=postgres.port,
                user="tester",
                database="postgres",
                ssl=stranger,
            )

    run(main)


def test_nobody_listens(free_port):
    async def main():
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncpg.connect(host="127.0.0.1", port=free_port, user="tester")

    run(main)
