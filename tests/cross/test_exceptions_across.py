"""Exceptions across the boundary arrive as they are; those of scopes never do."""

from __future__ import annotations

import asyncio

import pytest

from trio_asyncio_c import EventLoop, current_loop, run_asyncio, run_trio_task, trio

from ._helpers import flatten, open_loop, run, run_mock


def in_asyncio(fn):
    """Run an asyncio-flavoured main function on a loop of its own."""
    loop = EventLoop()
    try:
        return loop.run_until_complete(fn(loop))
    finally:
        loop.close()


def test_trio_to_asyncio_same_object():
    error = ValueError("x")

    async def callee():
        raise error

    async def main(loop):
        with pytest.raises(ValueError) as caught:
            await loop.run_trio(callee)
        assert caught.value is error

    in_asyncio(main)


def test_asyncio_to_trio_same_object():
    async def main():
        error = ValueError("x")

        async def callee():
            raise error

        with pytest.raises(ValueError) as caught:
            await run_asyncio(callee)
        assert caught.value is error

    run(main)


def test_groups_pass_whole():
    async def main(loop):
        async def callee():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail, ValueError("a"))
                nursery.start_soon(fail, KeyError("b"))

        with pytest.raises(ExceptionGroup) as caught:
            await loop.run_trio(callee)
        assert {type(exc) for exc in caught.value.exceptions} == {ValueError, KeyError}

    async def fail(exc):
        raise exc

    in_asyncio(main)


def test_cancelled_is_split_off():
    async def main(loop):
        async def callee():
            try:
                await trio.sleep_forever()
            except trio.Cancelled as exc:
                raise BaseExceptionGroup("both", [ValueError("x"), exc]) from None

        future = loop.run_trio(callee)
        await asyncio.sleep(0.001)
        future.cancel()
        with pytest.raises(ExceptionGroup) as caught:
            await future
        assert [type(exc) for exc in flatten(caught.value)] == [ValueError]

    in_asyncio(main)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_run_is_set_on_the_future(kind):
    async def callee():
        raise kind

    async def main(loop):
        with pytest.raises(kind):
            await loop.run_trio(callee)
        return "caught"

    assert in_asyncio(main) == "caught"


def test_stop_iteration():
    class Awaitable:
        def __await__(self):
            yield from ()

    def raises():
        raise StopIteration

    async def main(loop):
        with pytest.raises(RuntimeError):
            await loop.run_trio(raises)

    in_asyncio(main)


def test_stop_async_iteration():
    async def callee():
        raise StopAsyncIteration

    async def main(loop):
        with pytest.raises(StopAsyncIteration):
            await loop.run_trio(callee)

    async def trio_main():
        with pytest.raises(StopAsyncIteration):
            await run_asyncio(callee)

    in_asyncio(main)
    run(trio_main)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_run_reaches_a_trio_waiter(kind):
    async def callee():
        await asyncio.sleep(0)
        raise kind

    async def main():
        with pytest.raises(kind):
            await run_asyncio(callee)
        await run_asyncio(asyncio.sleep, 0)
        return "went on"

    assert run(main) == "went on"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_run_leaves_the_block_when_nobody_waits(kind):
    async def task():
        raise kind

    async def main():
        current_loop.get().create_task(task())
        await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        run(main)
    assert [type(exc) for exc in flatten(caught.value)] == [kind]


def test_an_error_in_a_callback_cancels_the_body_and_leaves_the_block(caplog):
    def fail():
        raise ValueError("x")

    async def main():
        current_loop.get().call_later(1, fail)
        await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        run_mock(main)
    assert [type(exc) for exc in caught.value.exceptions] == [ValueError]
    caplog.clear()  # records hold tracebacks


def test_an_error_in_a_timer_during_a_crossing(caplog):
    def fail():
        raise ValueError("x")

    async def main():
        current_loop.get().call_later(1, fail)
        await run_asyncio(asyncio.sleep, 100)

    with pytest.raises(ExceptionGroup) as caught:
        run_mock(main)
    assert [type(exc) for exc in flatten(caught.value)] == [ValueError]
    caplog.clear()  # records hold tracebacks


def test_a_custom_handler_keeps_the_block_alive():
    contexts = []

    async def main():
        loop = current_loop.get()
        loop.set_exception_handler(
            lambda loop, context: contexts.append(context["exception"])
        )
        loop.call_soon(lambda: 1 / 0)
        await trio.sleep(1)
        return "alive"

    assert run_mock(main) == "alive"
    assert [type(exc) for exc in contexts] == [ZeroDivisionError]
    contexts.clear()


def test_a_forgotten_future_does_not_end_the_block():
    async def main():
        loop = current_loop.get()
        loop.create_future().set_exception(ValueError("x"))
        await trio.sleep(1)
        return "alive"

    assert run_mock(main) == "alive"


def test_run_trio_task_ends_the_block(caplog):
    async def fail():
        raise ValueError("x")

    async def main():
        run_trio_task(fail)
        await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        run_mock(main)
    assert [type(exc) for exc in flatten(caught.value)] == [ValueError]
    caplog.clear()  # records hold tracebacks


def test_the_body_is_wrapped_in_exactly_one_group():
    async def main():
        async with open_loop():
            raise ValueError("x")

    with pytest.raises(ExceptionGroup) as caught:
        trio.run(main)
    assert [type(exc) for exc in caught.value.exceptions] == [ValueError]


def test_an_error_while_unwinding_leaves_the_block():
    async def task():
        try:
            await asyncio.sleep(100)
        finally:
            raise ValueError("while unwinding")

    async def main():
        current_loop.get().create_task(task())
        await trio.sleep(0.001)

    with pytest.raises(ExceptionGroup) as caught:
        run(main)
    assert [type(exc) for exc in flatten(caught.value)] == [ValueError]
