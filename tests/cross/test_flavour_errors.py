"""One flavour's awaits in the other's code, with no crossing between: an error at
once, of trio-asyncio's type, that names the function to use."""

from __future__ import annotations

import asyncio

import pytest

from trio_asyncio_c import current_loop, new_event_loop, run_asyncio, run_future, trio

from ._helpers import open_loop, run

IN_TRIO = (
    r"^trio\.run received unrecognized yield message .*aio_as_trio\(fn\)"
    r".*run_asyncio\(fn, \.\.\.\).*run_future\(future\)"
)
IN_ASYNCIO = r"asyncio-flavoured code.*trio_as_aio\(fn\).*loop\.run_trio\(fn, \.\.\.\)"


def in_open_loop(fn):
    """Run a Trio-flavoured function in an `open_loop` block."""
    return run(fn)


def in_own_loop(fn):
    """Run a Trio-flavoured function as the callee of a loop with its own runner."""

    async def main():
        return await asyncio.get_running_loop().run_trio(fn)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main())


both_ways = pytest.mark.parametrize("runs_trio", [in_open_loop, in_own_loop])


# asyncio in Trio-flavoured code


async def wait_bare():
    await asyncio.sleep(0)


async def wait_sleep():
    await asyncio.sleep(1000)


async def wait_future():
    await asyncio.get_running_loop().create_future()


async def wait_task():
    await asyncio.create_task(asyncio.sleep(0))


async def wait_gather():
    await asyncio.gather(asyncio.Event().wait(), asyncio.sleep(1000))


async def wait_event():
    await asyncio.Event().wait()


async def wait_queue():
    await asyncio.Queue().get()


async def wait_thread():
    await asyncio.to_thread(int)


async def wait_stream():
    await asyncio.StreamReader().read()


async def wait_trio_future():
    await asyncio.get_running_loop().run_trio(trio.sleep, 0)


async def wait_wrapped():
    await asyncio.wrap_future(
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), asyncio.get_running_loop())
    )


@both_ways
@pytest.mark.parametrize(
    "waits",
    [
        wait_bare,
        wait_sleep,
        wait_future,
        wait_task,
        wait_gather,
        wait_event,
        wait_queue,
        wait_thread,
        wait_stream,
        wait_trio_future,
        wait_wrapped,
    ],
)
def test_an_asyncio_wait_in_trio_code(runs_trio, waits):
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            with pytest.raises(TypeError, match=IN_TRIO):
                await waits()
            # Neither this task nor the others nor the loop have come to harm.
            await trio.sleep(0)
            assert len(nursery.child_tasks) == 1
            nursery.cancel_scope.cancel()
        assert await asyncio.get_running_loop().run_asyncio(asyncio.sleep, 0, 5) == 5
        for task in asyncio.all_tasks():
            if "sleep" in repr(task.get_coro()) or "Event" in repr(task.get_coro()):
                task.cancel()

    runs_trio(main)


@both_ways
@pytest.mark.parametrize(
    ("waits", "text"),
    [
        (
            lambda: asyncio.timeout(1).__aenter__(),
            "Timeout should be used inside a task",
        ),
        (
            lambda: asyncio.TaskGroup().__aenter__(),
            "cannot determine the parent task",
        ),
    ],
)
def test_what_needs_an_asyncio_task(runs_trio, waits, text):
    async def main():
        assert asyncio.current_task() is None
        with pytest.raises(RuntimeError, match=text):
            await waits()

    runs_trio(main)


@both_ways
def test_what_waits_for_nothing_is_fine(runs_trio):
    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        done.set_result(3)
        assert await done == 3
        await asyncio.Lock().acquire()
        event = asyncio.Event()
        event.set()
        await event.wait()
        task = asyncio.create_task(asyncio.sleep(0, 4))
        assert await loop.run_future(task) == 4
        assert await task == 4

    runs_trio(main)


def test_the_future_is_as_good_as_before():
    async def main():
        loop = current_loop.get()
        future = loop.create_future()
        with pytest.raises(TypeError, match=IN_TRIO):
            await future
        assert not future.done()

        async def in_asyncio():
            return await future

        task = loop.create_task(in_asyncio())
        await loop.synchronize()
        future.set_result(8)
        assert await run_future(task) == 8
        assert await run_future(future) == 8

    run(main)


def test_an_asyncio_wait_below_trio_code_that_cleans_up():
    events = []

    async def worker():
        try:
            await asyncio.sleep(0)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0)
            events.append("cleaned up")

    async def main():
        with pytest.RaisesGroup(pytest.RaisesExc(TypeError, match=IN_TRIO)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(worker)
                await trio.sleep_forever()
        assert events == ["cleaned up"]

    run(main)


def test_without_a_loop_the_advice_is_a_note():
    # Trio's own text ends where it does in Trio.
    async def main():
        loop = asyncio.SelectorEventLoop()
        try:
            with pytest.raises(TypeError) as caught:
                await loop.create_future()
        finally:
            loop.close()
        assert str(caught.value).endswith("some kind of compatibility shim.")
        (note,) = caught.value.__notes__
        assert "aio_as_trio(fn)" in note
        assert "open_loop()" in note

    trio.run(main)


def test_another_frameworks_message_gets_no_advice():
    class Foreign:
        def __await__(self):
            yield "something else"

    async def main():
        with pytest.raises(TypeError, match="received unrecognized") as caught:
            await Foreign()
        assert str(caught.value).endswith("some kind of compatibility shim.")
        assert not hasattr(caught.value, "__notes__")

    run(main)


# Trio in asyncio-flavoured code


async def enter_nursery():
    async with trio.open_nursery():
        pass


async def send_to_channel():
    send, _receive = trio.open_memory_channel(0)
    await send.send(1)


async def receive_from_channel():
    _send, receive = trio.open_memory_channel(0)
    await receive.receive()


async def enter_lock():
    async with trio.Lock():
        pass


async def enter_open_loop():
    async with open_loop():
        pass


@pytest.mark.parametrize(
    "waits",
    [
        lambda: trio.sleep(1),
        lambda: trio.sleep(0),
        lambda: trio.sleep_forever(),
        lambda: trio.Event().wait(),
        lambda: trio.Semaphore(0).acquire(),
        lambda: trio.CapacityLimiter(1).acquire(),
        lambda: trio.Condition().acquire(),
        lambda: trio.to_thread.run_sync(int),
        lambda: trio.lowlevel.cancel_shielded_checkpoint(),
        lambda: trio.lowlevel.wait_task_rescheduled(lambda _: None),
        lambda: trio.lowlevel.ParkingLot().park(),
        lambda: trio.lowlevel.wait_readable(0),
        enter_nursery,
        send_to_channel,
        receive_from_channel,
        enter_lock,
        enter_open_loop,
    ],
)
def test_a_trio_wait_in_asyncio_code(waits):
    async def in_asyncio():
        with pytest.raises(RuntimeError, match=IN_ASYNCIO):
            await waits()
        await asyncio.sleep(0)
        return "alive"

    async def main():
        return await run_asyncio(in_asyncio)

    assert run(main) == "alive"
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(in_asyncio()) == "alive"


def test_a_trio_wait_deep_in_a_sandwich():
    async def bottom():
        await trio.sleep(0)

    async def middle():
        await bottom()

    async def top():
        await run_asyncio(middle)

    async def main():
        with pytest.raises(RuntimeError, match=IN_ASYNCIO):
            await current_loop.get().run_future(current_loop.get().run_trio(top))

    run(main)


def test_an_async_generator_that_goes_on_in_the_other_flavour():
    async def numbers():
        await trio.sleep(0)
        yield 1
        await trio.sleep(0)
        yield 2

    async def main():
        generator = numbers()
        assert await anext(generator) == 1

        async def in_asyncio():
            return await anext(generator)

        with pytest.raises(RuntimeError, match=IN_ASYNCIO):
            await run_asyncio(in_asyncio)

    run(main)


def test_a_stock_loop_has_no_crossing_to_name():
    async def main():
        with pytest.raises(RuntimeError) as caught:
            await trio.sleep(0)
        assert str(caught.value) == "must be called from async context"

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(main())
