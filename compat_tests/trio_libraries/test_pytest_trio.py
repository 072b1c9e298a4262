"""pytest-trio, in child processes: its fixtures, its clocks, its failures."""

from __future__ import annotations

from ._inner import run_pytest

PLUGIN = "pytest_trio.plugin"

MARKED = """
    import pytest, trio

    pytestmark = pytest.mark.trio
"""


def run_inner(folder, source, *, head=MARKED, plugins=(), options=()):
    return run_pytest(folder, head, source, plugins=[PLUGIN, *plugins], options=options)


def passed(result):
    return {name for name, end in result.outcomes.items() if end == "passed"}


def test_fixtures_of_every_kind(tmp_path):
    result = run_inner(
        tmp_path,
        """
        from contextvars import ContextVar

        who = ContextVar("who")
        events = []

        @pytest.fixture
        def plain():
            return "plain"

        @pytest.fixture
        async def coroutine(plain):
            await trio.sleep(0)
            who.set("set in a fixture")
            return plain, "coroutine"

        @pytest.fixture
        async def generator(coroutine):
            events.append("set up")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                yield *coroutine, "generator", nursery
                nursery.cancel_scope.cancel()
            await trio.lowlevel.checkpoint()
            events.append("torn down")

        @pytest.fixture
        def dependent(generator):
            yield generator[:3]
            events.append("sync, before")

        async def test_values(generator, dependent):
            *values, nursery = generator
            assert values == ["plain", "coroutine", "generator"]
            assert dependent == tuple(values)
            assert len(nursery.child_tasks) == 1
            assert who.get() == "set in a fixture"
            assert events == ["set up"]

        async def test_order_of_teardown():
            assert events == ["set up", "sync, before", "torn down"]
        """,
    )
    assert passed(result) == {"test_values", "test_order_of_teardown"}, result.output


def test_nursery_fixture_serves_and_is_cancelled_at_the_end(tmp_path):
    result = run_inner(
        tmp_path,
        """
        from functools import partial

        ended = []

        async def echo(stream):
            async for chunk in stream:
                await stream.send_all(chunk)

        @pytest.fixture
        async def server(nursery):
            async def serve(task_status):
                try:
                    await trio.serve_tcp(
                        echo, 0, host="127.0.0.1", task_status=task_status)
                finally:
                    ended.append("server")

            listeners = await nursery.start(serve)
            return partial(trio.testing.open_stream_to_socket_listener, listeners[0])

        async def test_echo(server, nursery):
            async def client(message):
                async with await server() as stream:
                    await stream.send_all(message)
                    assert await stream.receive_some() == message

            async with trio.open_nursery() as clients:
                for number in range(5):
                    clients.start_soon(client, b"message %d" % number)
            nursery.start_soon(trio.sleep_forever)

        async def test_server_has_ended():
            assert ended == ["server"]
        """,
    )
    assert passed(result) == {"test_echo", "test_server_has_ended"}, result.output


def test_clocks(tmp_path):
    result = run_inner(
        tmp_path,
        """
        async def test_autojump(autojump_clock):
            assert trio.current_time() == 0
            with trio.move_on_after(7200) as scope:
                await trio.sleep_forever()
            assert scope.cancelled_caught
            assert trio.current_time() == 7200

        async def test_mock(mock_clock, nursery):
            woken = []

            async def sleep(seconds):
                await trio.sleep(seconds)
                woken.append(seconds)

            for seconds in (10, 20):
                nursery.start_soon(sleep, seconds)
            await trio.testing.wait_all_tasks_blocked()
            for jump, expected in ((9, []), (1, [10]), (100, [10, 20])):
                mock_clock.jump(jump)
                await trio.testing.wait_all_tasks_blocked()
                assert woken == expected

        async def test_rate(mock_clock):
            mock_clock.rate = 10_000
            await trio.sleep(100)
            assert trio.current_time() >= 100
        """,
    )
    assert passed(result) == {"test_autojump", "test_mock", "test_rate"}, result.output


def test_failures_are_reported_as_such(tmp_path):
    result = run_inner(
        tmp_path,
        """
        async def fail(text):
            raise LookupError(text)

        @pytest.fixture
        async def broken_setup():
            await fail("in a fixture's setup")

        @pytest.fixture
        async def broken_teardown():
            yield
            await fail("in a fixture's teardown")

        @pytest.fixture
        async def broken_task(nursery):
            nursery.start_soon(fail, "in a fixture's task")
            yield

        async def test_assertion():
            assert await trio.to_thread.run_sync(lambda: 1) == 2

        async def test_child_task():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(fail, "in a child task")

        async def test_setup(broken_setup):
            pass

        async def test_teardown(broken_teardown):
            pass

        async def test_background(broken_task):
            await trio.sleep_forever()

        async def test_timeout(autojump_clock):
            with trio.fail_after(5):
                await trio.sleep_forever()

        async def test_good():
            await trio.sleep(0)

        async def test_skipped():
            pytest.skip("from inside the run")

        @pytest.mark.xfail(strict=True)
        async def test_expected():
            await fail("as expected")
        """,
    )
    assert result.outcomes == {
        "test_assertion": "failed",
        "test_child_task": "failed",
        "test_setup": "failed",
        "test_teardown": "failed",
        "test_background": "failed",
        "test_timeout": "failed",
        "test_good": "passed",
        "test_skipped": "skipped",
        "test_expected": "xfailed",
    }
    for text in (
        "assert 1 == 2",
        "LookupError: in a child task",
        "LookupError: in a fixture's setup",
        "LookupError: in a fixture's teardown",
        "LookupError: in a fixture's task",
        "TooSlowError",
    ):
        assert text in result.output


def test_trio_mode_needs_no_marks(tmp_path):
    result = run_inner(
        tmp_path,
        """
        import trio

        async def test_in_trio():
            await trio.sleep(0)
            assert trio.lowlevel.in_trio_task()
        """,
        head="",
        options=["-o", "trio_mode=true"],
    )
    assert passed(result) == {"test_in_trio"}, result.output


# Hypothesis replays what it found only if the order of tasks is its to decide.
SCHEDULE = """
    import os
    from hypothesis import given, settings, strategies as st
    from trio._core import _run

    async def schedule():
        order = []

        async def child(number):
            for _ in range(3):
                await trio.lowlevel.checkpoint()
                order.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(child, number)
        return tuple(order)

    seen = set()

    @settings(max_examples=10, database=None)
    @given(seed=st.integers(0, 3))
    async def test_every_example_is_a_run(seed):
        assert _run._ALLOW_DETERMINISTIC_SCHEDULING
        seen.add(await schedule())

    async def test_examples_ran_alike():
        assert len(seen) == 1
"""


def test_hypothesis_decides_the_schedule(tmp_path):
    result = run_inner(tmp_path, SCHEDULE, plugins=["_hypothesis_pytestplugin"])
    names = {"test_every_example_is_a_run", "test_examples_ran_alike"}
    assert passed(result) == names, result.output
