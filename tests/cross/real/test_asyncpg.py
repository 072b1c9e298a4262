"""asyncpg, with a PostgreSQL of our own, in Trio-flavoured programs."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

asyncpg = pytest.importorskip("asyncpg")

from trio_asyncio_c import aio_as_trio, run_asyncio, trio_as_aio  # noqa: E402

from ._programs import trio  # noqa: E402

FOREVER = "select pg_sleep(1000)"


@pytest.fixture(params=["tcp", "tls"])
def where(request, postgres):
    """Give the arguments for a connection of each kind."""
    options = {"port": postgres.port, "user": "tester", "database": "postgres"}
    tls = request.param == "tls" and request.getfixturevalue("client_tls")
    return {**options, "host": "127.0.0.1", "ssl": tls}


@pytest.fixture
def over_tcp(postgres):
    options = {"port": postgres.port, "user": "tester", "database": "postgres"}
    return {**options, "host": "127.0.0.1", "ssl": False}


@asynccontextmanager
async def connection(where):
    """Give a connection. Flavor: Trio."""
    opened = await aio_as_trio(asyncpg.connect)(**where)
    try:
        yield opened
    finally:
        with trio.CancelScope(shield=True):
            await aio_as_trio(opened.close)()


def pool(where, size=4):
    return aio_as_trio(asyncpg.create_pool(min_size=1, max_size=size, **where))


async def wait_until_sleeping(observer, count=1):
    """Wait until that many backends are in ``pg_sleep``."""
    question = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
    while await aio_as_trio(observer.fetchval)(question) != count:
        await trio.sleep(0.01)


def test_queries_and_prepared_statements(run_in_trio, where):
    async def main():
        async with connection(where) as db:
            assert await aio_as_trio(db.fetchval)("select 6 * 7") == 42
            add = await aio_as_trio(db.prepare)("select $1::int + 1")
            answers = [await aio_as_trio(add.fetchval)(n) for n in range(100)]
            assert answers == list(range(1, 101))
            rows = await aio_as_trio(db.fetch)("select generate_series(1, 20000) as n")
            assert [row["n"] for row in rows] == list(range(1, 20001))

    run_in_trio(main)


def test_a_pool_for_a_nursery(run_in_trio, where):
    answers = set()

    async def ask(connections, number):
        async with aio_as_trio(connections.acquire()) as db:
            question = "select $1::int from pg_sleep(0.01)"
            answers.add(await aio_as_trio(db.fetchval)(question, number))

    async def main():
        async with pool(where) as connections:
            async with trio.open_nursery() as nursery:
                for number in range(40):
                    nursery.start_soon(ask, connections, number)
            assert connections.get_size() == 4

    run_in_trio(main)
    assert answers == set(range(40))


def test_a_deadline_cancels_the_query(run_in_trio, over_tcp):
    """In the server as well; the connection is used again afterwards."""

    async def main():
        async with pool(over_tcp, size=1) as connections, connection(over_tcp) as other:
            pid = await aio_as_trio(connections.fetchval)("select pg_backend_pid()")
            for _ in range(3):
                with trio.move_on_after(0.1) as scope:
                    await aio_as_trio(connections.fetchval)(FOREVER)
                assert scope.cancelled_caught
                await wait_until_sleeping(other, 0)
            with pytest.raises(trio.TooSlowError):
                with trio.fail_after(0.1):
                    async with aio_as_trio(connections.acquire()) as db:
                        await aio_as_trio(db.execute)(FOREVER)
            with trio.move_on_after(60) as scope:
                with pytest.raises(TimeoutError):
                    await aio_as_trio(connections.fetchval)(FOREVER, timeout=0.1)
            assert not scope.cancelled_caught
            assert pid == await aio_as_trio(connections.fetchval)(
                "select pg_backend_pid()"
            )

    run_in_trio(main)


def test_a_scope_cancels_many_queries(run_in_trio, where):
    async def sleep(connections):
        await aio_as_trio(connections.execute)(FOREVER)

    async def main():
        async with pool(where) as connections, connection(where) as other:
            async with trio.open_nursery() as nursery:
                for _ in range(10):  # six of them wait for a connection
                    nursery.start_soon(sleep, connections)
                await wait_until_sleeping(other, 4)
                nursery.cancel_scope.cancel()
            await wait_until_sleeping(other, 0)
            assert await aio_as_trio(connections.fetchval)("select 'still'") == "still"

    run_in_trio(main)


def test_an_error_in_a_nursery_cancels_its_queries(run_in_trio, over_tcp):
    async def sleep(connections):
        await aio_as_trio(connections.execute)(FOREVER)

    async def fail(connections, other):
        await wait_until_sleeping(other)
        await aio_as_trio(connections.execute)("select 1 / 0")

    async def main():
        async with pool(over_tcp) as connections, connection(over_tcp) as other:
            with pytest.RaisesGroup(asyncpg.DivisionByZeroError):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(sleep, connections)
                    nursery.start_soon(fail, connections, other)
            await wait_until_sleeping(other, 0)
            assert await aio_as_trio(connections.fetchval)("select 1") == 1

    run_in_trio(main)


@pytest.mark.parametrize("how", ["cancel", "deadline", "error"])
def test_transactions_are_rolled_back(run_in_trio, over_tcp, how):
    """By a Trio cancel in the body of the transaction, or an error there."""

    async def transfer(db, scope):
        async with aio_as_trio(db.transaction()):
            await aio_as_trio(db.execute)("insert into t values (1)")
            if how == "error":
                raise ZeroDivisionError
            if how == "cancel":
                scope.cancel()
            await trio.sleep_forever()

    async def main():
        async with connection(over_tcp) as db:
            await aio_as_trio(db.execute)("create temp table t (n int)")
            for _ in range(20):
                scope = trio.CancelScope()
                if how == "deadline":
                    scope.deadline = trio.current_time() + 0.05
                with pytest.raises(ZeroDivisionError) if how == "error" else scope:
                    await transfer(db, scope)
                assert scope.cancelled_caught is (how != "error")
                # What the transaction's end sent was cancelled in its turn, so its
                # answer is waited for by the next query.
                assert await aio_as_trio(db.fetchval)("select count(*) from t") == 0
                assert not db.is_in_transaction()

    run_in_trio(main)


def test_transactions_are_committed_and_nested(run_in_trio, where):
    async def main():
        async with connection(where) as db:
            await aio_as_trio(db.execute)("create temp table t (n int)")
            async with aio_as_trio(db.transaction()):
                insert = "insert into t select generate_series(1, 1000)"
                await aio_as_trio(db.execute)(insert)
                with pytest.raises(asyncpg.DivisionByZeroError):
                    async with aio_as_trio(db.transaction()):
                        await aio_as_trio(db.execute)("delete from t")
                        await aio_as_trio(db.execute)("select 1 / 0")
                with trio.CancelScope() as scope:
                    async with aio_as_trio(db.transaction()):
                        await aio_as_trio(db.execute)("delete from t")
                        scope.cancel()
                        await trio.lowlevel.checkpoint()
                assert scope.cancelled_caught
                cursor = db.cursor("select n from t order by n", prefetch=10)
                rows = [row["n"] async for row in aio_as_trio(cursor)]
                assert rows == list(range(1, 1001))
            assert await aio_as_trio(db.fetchval)("select count(*) from t") == 1000

    run_in_trio(main)


def test_a_cursor_that_is_left_early(run_in_trio, where):
    async def main():
        async with connection(where) as db:
            for _ in range(5):
                async with aio_as_trio(db.transaction()):
                    cursor = db.cursor("select generate_series(1, 100000)")
                    rows = aio_as_trio(cursor).__aiter__()
                    assert [tuple(await rows.__anext__()) for _ in range(3)] == [
                        (1,),
                        (2,),
                        (3,),
                    ]
            assert await aio_as_trio(db.fetchval)("select 'still'") == "still"

    run_in_trio(main)


def test_copy_from_a_generator_of_trios(run_in_trio, where):
    text = b"".join(b"%d\tline %d\n" % (number, number) for number in range(20_000))
    received = bytearray()

    async def pieces():
        for start in range(0, len(text), 70_000):
            await trio.lowlevel.checkpoint()
            yield text[start : start + 70_000]

    @trio_as_aio
    async def take(piece):
        await trio.lowlevel.checkpoint()
        received.extend(piece)

    async def take_all(piece):
        await take(piece)

    async def main():
        async with connection(where) as db:
            await aio_as_trio(db.execute)("create temp table t (n int, s text)")
            copy = aio_as_trio(db.copy_to_table)
            assert await copy("t", source=trio_as_aio(pieces())) == "COPY 20000"
            question = "select * from t order by n"
            await aio_as_trio(db.copy_from_query)(question, output=take_all)

    run_in_trio(main)
    assert received == text


def test_notifications_go_into_a_memory_channel(run_in_trio, where):
    async def main():
        send, receive = trio.open_memory_channel(float("inf"))

        def hear(db, pid, channel, payload):
            send.send_nowait((channel, payload))

        async with connection(where) as db, connection(where) as other:
            await aio_as_trio(db.add_listener)("news", hear)

            async def tell():
                for number in range(100):
                    notify = "select pg_notify('news', $1)"
                    await aio_as_trio(other.execute)(notify, str(number))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(tell)
                heard = [await receive.receive() for _ in range(100)]
            assert heard == [("news", str(number)) for number in range(100)]
            await aio_as_trio(db.remove_listener)("news", hear)
        send.close()
        with pytest.raises(trio.EndOfChannel):
            await receive.receive()
        receive.close()

    run_in_trio(main)


def test_the_server_ends_a_connection(run_in_trio, where):
    async def main():
        lost = trio.Event()
        async with connection(where) as db, connection(where) as other:
            other.add_termination_listener(lambda other: lost.set())
            pid = other.get_server_pid()

            async def ask():
                with pytest.raises(asyncpg.ConnectionDoesNotExistError):
                    await aio_as_trio(other.execute)(FOREVER)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await wait_until_sleeping(db)
                await aio_as_trio(db.execute)("select pg_terminate_backend($1)", pid)
            await lost.wait()
            with pytest.raises(asyncpg.InterfaceError):
                await aio_as_trio(other.execute)("select 1")

    run_in_trio(main)


def test_connects_cancelled_at_any_point(run_in_trio, where):
    async def connect(scope):
        with scope:
            async with connection(where):
                scope.cancel()

    async def main():
        for turns in range(40):
            scope = trio.CancelScope()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connect, scope)
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        async with connection(where) as db:
            assert await aio_as_trio(db.fetchval)("select 1") == 1

    # asyncpg forgets a Future of its own when it is cancelled before TLS.
    run_in_trio(main, tolerated=["unexpected connection_lost() call"])


def test_a_pool_in_a_scope_that_is_cancelled(run_in_trio, where):
    async def main():
        async with connection(where) as other:
            with trio.CancelScope() as scope:
                async with pool(where) as connections:
                    async with trio.open_nursery() as nursery:
                        for _ in range(4):
                            nursery.start_soon(
                                aio_as_trio(connections.execute), FOREVER
                            )
                        await wait_until_sleeping(other, 4)
                        scope.cancel()
            assert scope.cancelled_caught
            await wait_until_sleeping(other, 0)

    run_in_trio(main)


def test_asyncio_code_works_on_the_same_pool(run_in_trio, over_tcp):
    """A Task that times out, and Trio tasks that do not, share the connections."""

    async def in_asyncio(connections):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), connections.acquire() as db:
                await db.execute(FOREVER)
        return await connections.fetchval("select 'asyncio'")

    async def main():
        async with pool(over_tcp, size=2) as connections:
            answers = []

            async def ask():
                answers.append(await run_asyncio(in_asyncio, connections))

            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(ask)
                    await aio_as_trio(connections.execute)("select pg_sleep(0.01)")
            assert answers == ["asyncio"] * 4

    run_in_trio(main)
