"""loop.run_trio: asyncio-flavoured code starts a Trio task and gets a Future."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from trio_asyncio_c import (
    EventLoop,
    TrioExecutor,
    _core,
    run_asyncio,
    to_thread,
    trio,
)

from ._helpers import run_mock


@pytest.fixture
def loop(request):
    loop = EventLoop()
    yield loop
    loop.close()
    request.node.funcargs.clear()


async def add(a, b=0, *, c=0):
    await trio.sleep(0)
    return a + b + c


def test_the_value_comes_back_with_all_kinds_of_arguments(loop):
    async def main():
        assert await loop.run_trio(add, 1) == 1
        assert await loop.run_trio(add, 1, 2, c=4) == 7
        assert await loop.run_trio(add, a=1, c=2) == 3
        assert await loop.trio_as_future(add, 1, 1) == 2

    loop.run_until_complete(main())


def test_it_is_a_future_of_the_loop(loop):
    future = loop.run_trio(add, 1)
    assert isinstance(future, asyncio.Future)
    assert future.get_loop() is loop
    assert not future.done()
    assert loop.run_until_complete(future) == 1
    assert future.cancel() is False


def test_calls_start_in_the_order_of_callbacks(loop):
    seen = []

    async def record(what):
        seen.append(what)

    async def main():
        loop.call_soon(seen.append, "callback before")
        future = loop.run_trio(record, "trio")
        loop.call_soon(seen.append, "callback after")
        assert seen == []
        await future

    loop.run_until_complete(main())
    assert seen == ["callback before", "trio", "callback after"]


def test_the_callee_is_trio_flavoured(loop):
    async def callee():
        assert asyncio.current_task() is None
        assert asyncio.get_running_loop() is loop
        assert _core.in_trio_task()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0)
        with trio.move_on_after(0.01) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        return "done"

    async def main():
        assert not _core.in_trio_task()
        assert asyncio.current_task() is not None
        result = await loop.run_trio(callee)
        assert asyncio.current_task() is not None
        return result

    assert loop.run_until_complete(main()) == "done"


def test_a_call_from_plain_sync_code_before_the_run(loop):
    future = loop.run_trio(add, 2)
    assert loop.run_until_complete(future) == 2


def test_a_task_is_parked_between_runs_and_goes_on(loop):
    seen = []

    async def callee():
        seen.append("began")
        await trio.sleep(0.02)
        seen.append("ended")

    future = loop.run_trio(callee)
    loop.run_until_complete(asyncio.sleep(0))
    assert seen == ["began"]
    loop.run_until_complete(future)
    assert seen == ["began", "ended"]


def test_many_at_once(loop):
    async def main():
        return await asyncio.gather(*[loop.run_trio(add, i) for i in range(500)])

    assert loop.run_until_complete(main()) == list(range(500))


def test_close_cancels_and_waits(loop):
    seen = []

    async def callee():
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
            assert asyncio.get_running_loop() is loop
            seen.append("cleaned up")

    future = loop.run_trio(callee)
    loop.run_until_complete(asyncio.sleep(0.001))
    loop.close()
    assert seen == ["cleaned up"]
    assert future.cancelled()


def test_run_trio_task_runs_unwatched(loop):
    seen = []

    async def callee(what, *, times):
        await trio.sleep(0)
        seen.append(what * times)

    handle = loop.run_trio_task(callee, "x", times=3)
    assert not handle.done()
    loop.run_until_complete(asyncio.sleep(0.01))
    assert seen == ["xxx"]
    assert handle.done()
    assert not handle.cancelled()


def test_run_trio_task_tells_the_exception_handler(loop):
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    error = ValueError("x")

    async def callee():
        raise error

    handle = loop.run_trio_task(callee)
    loop.run_until_complete(asyncio.sleep(0.001))
    (context,) = contexts
    assert context["exception"] is error
    assert context["handle"] is handle
    assert "message" in context
    contexts.clear()
    loop.set_exception_handler(None)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_run_trio_task_lets_what_ends_a_run_out(loop, kind):
    async def callee():
        raise kind

    loop.run_trio_task(callee)
    with pytest.raises(kind):
        loop.run_until_complete(asyncio.sleep(1))


@pytest.mark.parametrize("turns", [0, 0.001])
def test_cancelling_a_run_trio_task_is_silent(loop, turns):
    seen = []

    async def callee():
        seen.append("began")
        await trio.sleep_forever()

    handle = loop.run_trio_task(callee)
    if turns:
        loop.run_until_complete(asyncio.sleep(turns))
    handle.cancel()
    handle.cancel()
    loop.run_until_complete(asyncio.sleep(0.001))
    assert handle.done()
    assert handle.cancelled()
    assert seen == (["began"] if turns else [])


def test_a_future_that_somebody_else_resolved(loop):
    async def main():
        future = loop.run_trio(trio.sleep, 0.001)
        future.set_result("mine")
        assert await future == "mine"
        await asyncio.sleep(0.01)

    loop.run_until_complete(main())


def test_arguments_are_let_go(loop):
    import weakref

    class Thing:
        pass

    async def callee(thing):
        pass

    thing = Thing()
    alive = weakref.ref(thing)
    future = loop.run_trio(callee, thing)
    del thing
    loop.run_until_complete(future)
    assert alive() is None


def test_under_a_mock_clock():
    async def aio_main():
        loop = asyncio.get_running_loop()
        began = loop.time()
        await loop.run_trio(trio.sleep, 1000)
        await asyncio.sleep(1000)
        return loop.time() - began

    async def main():
        return await run_asyncio(aio_main)

    assert run_mock(main) == pytest.approx(2000)


def test_context_managers_of_asyncio_around_it(loop):
    async def main():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.005):
                await loop.run_trio(trio.sleep_forever)
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(wait(loop.run_trio(trio.sleep_forever)))
                group.create_task(wait(loop.run_trio(fail)))

    async def wait(future):
        return await future

    async def fail():
        await trio.sleep(0)
        raise ValueError

    loop.run_until_complete(main())


def test_debug_mode_tells_of_a_foreign_thread(loop):
    loop.set_debug(True)
    refused = []

    def in_thread():
        for start in (
            lambda: loop.run_trio(trio.sleep, 0),
            lambda: loop.run_trio_task(trio.sleep, 0),
            lambda: loop.run_in_executor(TrioExecutor(1), int),
        ):
            with pytest.raises(RuntimeError, match="^Non-thread-safe operation"):
                start()
            refused.append(start)

    loop.run_until_complete(loop.run_trio(to_thread.run_sync, in_thread))
    assert len(refused) == 3
