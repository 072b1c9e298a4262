"""psycopg's asynchronous half with a PostgreSQL of our own: libpq's sockets, watched by
``add_reader`` and ``add_writer``."""

from __future__ import annotations

import asyncio
import os

import pytest

psycopg = pytest.importorskip("psycopg")
psycopg_pool = pytest.importorskip("psycopg_pool")

from ..._real.watch import run  # noqa: E402


@pytest.fixture(params=["tcp", "unix", "tls"])
def where(request, postgres, authority, tmp_path):
    """Give the connection string of each kind."""
    shared = f"port={postgres.port} user=tester dbname=postgres"
    match request.param:
        case "tcp":
            return f"{shared} host=127.0.0.1 sslmode=disable"
        case "unix":
            return f"{shared} host={postgres.folder}"
        case "tls":
            authority.cert_pem.write_to_path(tmp_path / "ca.pem")
            return (
                f"{shared} host=127.0.0.1 sslmode=verify-full"
                f" sslrootcert={tmp_path}/ca.pem"
            )


def connected(program, where):
    """Return a program that runs `program(connection)`, with every statement its own
    transaction."""

    async def main():
        async with await psycopg.AsyncConnection.connect(
            where, autocommit=True
        ) as connection:
            await program(connection)

    return main


async def value(connection, query, *arguments, **options):
    cursor = await connection.execute(query, arguments, **options)
    return (await cursor.fetchone())[0]


def test_queries_and_prepared_statements(where):
    async def program(connection):
        for number in range(200):
            query = "select %s::int + 1"
            assert await value(connection, query, number, prepare=True) == number + 1
        cursor = await connection.execute("select generate_series(1, 50000)")
        assert [n async for (n,) in cursor] == list(range(1, 50001))
        with pytest.raises(psycopg.errors.DivisionByZero):
            await value(connection, "select 1 / 0")
        assert await value(connection, "select 'still'") == "still"

    run(connected(program, where))


def test_large_values(where):
    data = os.urandom(5 << 20)

    async def program(connection):
        cursor = connection.cursor(binary=True)
        await cursor.execute("select %b::bytea", [data])
        assert (await cursor.fetchone())[0] == data

    run(connected(program, where))


def test_transactions_and_server_side_cursors(where):
    async def program(connection):
        await connection.execute("create temp table t (n int)")
        async with connection.transaction():
            async with connection.cursor() as cursor:
                await cursor.executemany(
                    "insert into t values (%s)", [(number,) for number in range(1000)]
                )
            with pytest.raises(ZeroDivisionError):
                async with connection.transaction():
                    await connection.execute("delete from t")
                    raise ZeroDivisionError
        assert await value(connection, "select count(*) from t") == 1000
        async with connection.transaction():
            async with connection.cursor("named") as cursor:
                cursor.itersize = 10
                await cursor.execute("select n from t order by n")
                assert [n async for (n,) in cursor] == list(range(1000))

    run(connected(program, where))


def test_copy(where):
    rows = [(number, "x" * (number % 500)) for number in range(20_000)]

    async def program(connection):
        await connection.execute("create temp table t (n int, s text)")
        async with connection.cursor() as cursor:
            async with cursor.copy("copy t from stdin") as copy:
                for row in rows:
                    await copy.write_row(row)
            async with cursor.copy("copy (table t order by n) to stdout") as copy:
                copy.set_types(["int4", "text"])
                assert [row async for row in copy.rows()] == rows

    run(connected(program, where))


def test_pipeline(where):
    async def program(connection):
        async with connection.pipeline():
            cursors = [
                await connection.execute("select %s::int", [number])
                for number in range(500)
            ]
            fetched = [(await cursor.fetchone())[0] for cursor in cursors]
        assert fetched == list(range(500))

    run(connected(program, where))


def test_pool_with_queries_at_once(where):
    async def main():
        async with psycopg_pool.AsyncConnectionPool(
            where, min_size=2, max_size=10, open=False
        ) as pool:

            async def ask(number):
                async with pool.connection() as connection:
                    query = "select %s::int from pg_sleep(0.01)"
                    return await value(connection, query, number)

            for _ in range(3):
                assert await asyncio.gather(*map(ask, range(20))) == list(range(20))

    run(main)


def test_running_queries_are_cancelled(where):
    async def program(connection):
        observer = await psycopg.AsyncConnection.connect(where, autocommit=True)
        pid = connection.info.backend_pid
        for _ in range(3):
            task = asyncio.create_task(connection.execute("select pg_sleep(1000)"))
            question = "select state from pg_stat_activity where pid = %s"
            while await value(observer, question, pid) != "active":
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await value(connection, "select 1") == 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await connection.execute("select pg_sleep(1000)")
        assert await value(connection, "select 1") == 1
        await observer.close()

    run(connected(program, where))


def test_listen_and_notify(where):
    async def program(connection):
        other = await psycopg.AsyncConnection.connect(where, autocommit=True)
        await connection.execute("listen news")

        async def tell():
            for number in range(100):
                await other.execute("select pg_notify('news', %s)", [str(number)])

        telling = asyncio.create_task(tell())
        heard = []
        async for note in connection.notifies(stop_after=100):
            heard.append(note.payload)
        # More than were asked for come when they arrive in one packet.
        assert heard == list(map(str, range(100)))
        await telling
        await other.close()

    run(connected(program, where))


def test_notifications_that_do_not_come(where):
    async def program(connection):
        await connection.execute("listen silence")
        assert [note async for note in connection.notifies(timeout=0.05)] == []

    run(connected(program, where))


def test_a_connection_that_the_server_ends(where):
    async def program(connection):
        other = await psycopg.AsyncConnection.connect(where, autocommit=True)
        waiting = asyncio.create_task(other.execute("select pg_sleep(1000)"))
        pid = other.info.backend_pid
        await asyncio.sleep(0)
        await value(connection, "select pg_terminate_backend(%s)", pid)
        with pytest.raises(psycopg.OperationalError):
            await waiting
        assert other.closed
        await other.close()

    run(connected(program, where))


def test_nobody_listens(free_port):
    async def main():
        with pytest.raises(psycopg.OperationalError, match="[Rr]efused"):
            await psycopg.AsyncConnection.connect(f"host=127.0.0.1 port={free_port}")

    run(main)
