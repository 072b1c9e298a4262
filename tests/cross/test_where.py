"""At every point of both flavours: what sniffio, asyncio.get_running_loop(),
asyncio.current_task() and current_loop say."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import threading

import pytest

from trio_asyncio_c import (
    _core,
    current_loop,
    new_event_loop,
    open_loop,
    run_asyncio,
    run_future,
    run_trio,
    run_trio_task,
    trio,
)

from ._helpers import run

try:
    import sniffio
except ImportError:
    sniffio = None


def library():
    """What sniffio says; None: there is none, or it does not know."""
    if sniffio is None:
        return None
    try:
        said = sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        said = None
    # The two ways to ask are never at odds.
    assert said == sniffio.thread_local.name
    return said


def where():
    """Return (flavour, running loop, current loop, asyncio's current task) of here,
    having compared all the ways to ask."""
    running = asyncio._get_running_loop()
    task = None
    if running is None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.current_task()
    else:
        assert asyncio.get_running_loop() is asyncio.get_event_loop() is running
        assert running.is_running()
        task = asyncio.current_task()
        assert asyncio.current_task(running) is task
    flavour = library()
    assert _core.in_trio_task() == (flavour == "trio") or sniffio is None
    return flavour, running, current_loop.get(), task


def name(flavour):
    return flavour if sniffio is not None else None


def in_trio(loop):
    return name("trio"), loop, loop, None


def in_callback(loop):
    return name("asyncio"), loop, loop, None


def in_task(loop, task):
    assert task is not None
    return name("asyncio"), loop, loop, task


def in_open_loop(fn):
    """Run an asyncio-flavoured function by a crossing from an `open_loop` block."""

    async def main():
        assert where() == in_trio(current_loop.get())
        result = await run_asyncio(fn)
        assert where() == in_trio(current_loop.get())
        return result

    before = where()
    result = run(main)
    assert where() == before
    return result


def in_own_loop(fn):
    """Run an asyncio-flavoured function as the main task of a loop with its own
    runner."""
    before = where()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        result = runner.run(fn())
        assert where() == before
    assert where() == before
    return result


both_ways = pytest.mark.parametrize("runs", [in_open_loop, in_own_loop])


async def answer_of(schedule):
    """Have `where` called by a callback, and return what it said."""
    future = asyncio.get_running_loop().create_future()

    def callback(*args):
        if not future.done():
            future.set_result(where())

    schedule(callback)
    return await future


@both_ways
def test_in_callbacks(runs):
    async def main():
        loop = asyncio.get_running_loop()
        me = in_task(loop, asyncio.current_task())
        assert where() == me
        done = loop.create_future()
        done.set_result(None)
        for schedule in (
            loop.call_soon,
            loop.call_soon_threadsafe,
            lambda callback: loop.call_later(0, callback),
            lambda callback: loop.call_later(0.001, callback),
            lambda callback: loop.call_at(loop.time(), callback),
            done.add_done_callback,
            lambda callback: loop.create_task(asyncio.sleep(0)).add_done_callback(
                callback
            ),
            lambda callback: loop.run_trio(trio.sleep, 0).add_done_callback(callback),
            lambda callback: threading.Thread(
                target=loop.call_soon_threadsafe, args=(callback,)
            ).start(),
        ):
            assert await answer_of(schedule) == in_callback(loop)
            assert where() == me

    runs(main)


@both_ways
def test_in_fd_callbacks(runs):
    async def main():
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        with left, right:
            left.send(b"x")
            for add, remove in (
                (loop.add_reader, loop.remove_reader),
                (loop.add_writer, loop.remove_writer),
            ):
                said = await answer_of(lambda callback: add(right, callback))
                assert said == in_callback(loop)
                remove(right)

    runs(main)


@both_ways
def test_in_protocol_callbacks(runs):
    async def main():
        loop = asyncio.get_running_loop()
        said = []

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport):
                said.append(where())

            def data_received(self, data):
                said.append(where())

            def connection_lost(self, exc):
                said.append(where())
                lost.set_result(None)

        lost = loop.create_future()
        left, right = socket.socketpair()
        left.setblocking(False)
        await loop.create_connection(Protocol, sock=right)
        await loop.sock_sendall(left, b"x")
        left.close()
        await lost
        assert len(said) == 3
        # connection_made() is the only one that asyncio may call from the Task.
        assert said[1:] == [in_callback(loop)] * 2
        assert said[0][:3] == in_callback(loop)[:3]

    runs(main)


@both_ways
def test_in_a_signal_handler(runs):
    async def main():
        loop = asyncio.get_running_loop()

        def schedule(callback):
            loop.add_signal_handler(signal.SIGUSR1, callback)
            os.kill(os.getpid(), signal.SIGUSR1)

        assert await answer_of(schedule) == in_callback(loop)
        loop.remove_signal_handler(signal.SIGUSR1)

    runs(main)


@both_ways
def test_in_the_exception_handler(runs):
    async def main():
        loop = asyncio.get_running_loop()

        def schedule(callback):
            loop.set_exception_handler(callback)
            loop.call_soon(lambda: 1 / 0)

        assert await answer_of(schedule) == in_callback(loop)
        loop.set_exception_handler(None)

    runs(main)


def has_no_loop():
    with pytest.raises(RuntimeError, match="no current event loop"):
        asyncio.get_event_loop()
    return True


@both_ways
def test_in_threads(runs):
    async def callee():
        return await trio.to_thread.run_sync(where)

    async def main():
        loop = asyncio.get_running_loop()
        me = in_task(loop, asyncio.current_task())
        assert await loop.run_in_executor(None, has_no_loop)
        for said in (
            await loop.run_in_executor(None, where),
            await asyncio.to_thread(where),
            await loop.run_trio(callee),
        ):
            flavour, running, _current, task = said
            assert (flavour, running, task) == (None, None, None)
        assert where() == me

    runs(main)


@both_ways
def test_after_each_await_of_asyncio_code(runs):
    async def main():
        loop = asyncio.get_running_loop()
        me = in_task(loop, asyncio.current_task())
        event = asyncio.Event()
        loop.call_soon(event.set)
        for step in (
            asyncio.sleep(0),
            asyncio.sleep(0.001),
            event.wait(),
            loop.create_task(asyncio.sleep(0)),
            asyncio.gather(asyncio.sleep(0), asyncio.sleep(0)),
            asyncio.wait_for(asyncio.sleep(0), 1000),
            loop.run_in_executor(None, int),
            loop.run_trio(trio.sleep, 0),
            asyncio.shield(loop.run_trio(trio.sleep, 0.001)),
        ):
            await step
            assert where() == me
        with pytest.raises(ZeroDivisionError):
            await loop.run_trio(divide)
        assert where() == me
        future = loop.run_trio(trio.sleep_forever)
        await asyncio.sleep(0)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future
        assert where() == me

    async def divide():
        await trio.sleep(0)
        1 / 0

    runs(main)


@both_ways
def test_after_each_await_of_trio_code(runs):
    async def callee():
        loop = asyncio.get_running_loop()
        here = in_trio(loop)
        assert where() == here
        for step in (
            trio.sleep(0),
            trio.sleep(0.001),
            trio.lowlevel.checkpoint(),
            trio.to_thread.run_sync(int),
            run_asyncio(asyncio.sleep, 0),
            run_asyncio(asyncio.sleep, 0.001),
            run_future(loop.create_task(asyncio.sleep(0))),
            run_future(run_trio(trio.sleep, 0)),
        ):
            await step
            assert where() == here
        with trio.move_on_after(0.001) as scope:
            await run_asyncio(asyncio.sleep, 1000)
        assert scope.cancelled_caught
        assert where() == here
        async with trio.open_nursery() as nursery:
            said = []
            nursery.start_soon(record, said)
        assert said == [here]
        assert where() == here

    async def record(said):
        await trio.sleep(0)
        said.append(where())

    async def main():
        await asyncio.get_running_loop().run_trio(callee)

    runs(main)


@both_ways
def test_in_finally_blocks(runs):
    async def main():
        loop = asyncio.get_running_loop()
        said = []
        began = asyncio.Event()

        async def in_asyncio():
            began.set()
            try:
                await asyncio.sleep(1000)
            finally:
                said.append(where() == in_task(loop, asyncio.current_task()))
                await asyncio.sleep(0)
                said.append(where() == in_task(loop, asyncio.current_task()))
                # A sandwich that is made while unwinding.
                said.append(await loop.run_trio(here) == in_trio(loop))
                said.append(where() == in_task(loop, asyncio.current_task()))

        async def here():
            return where()

        async def in_trio_code():
            try:
                await run_asyncio(in_asyncio)
            finally:
                said.append(where() == in_trio(loop))
                with trio.CancelScope(shield=True):
                    await trio.sleep(0)
                    said.append(where() == in_trio(loop))

        future = loop.run_trio(in_trio_code)
        await began.wait()
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future
        assert said == [True] * 6

    runs(main)


def test_in_what_the_end_of_a_block_cancels():
    said = []

    async def in_asyncio():
        loop = asyncio.get_running_loop()
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            said.append(where() == in_task(loop, asyncio.current_task()))

    async def in_trio_code():
        loop = asyncio.get_running_loop()
        try:
            await trio.sleep_forever()
        finally:
            said.append(where() == in_trio(loop))
            with trio.CancelScope(shield=True):
                await run_asyncio(asyncio.sleep, 0)
            said.append(where() == in_trio(loop))

    async def main():
        before = where()
        async with open_loop() as loop:
            task = loop.create_task(in_asyncio())
            run_trio_task(in_trio_code)
            await loop.synchronize()
        assert task.cancelled()
        assert said == [True] * 3
        assert where() == before == (name("trio"), None, None, None)

    trio.run(main)


@both_ways
@pytest.mark.parametrize("end", ["break", "collected", "shutdown"])
def test_in_the_finaliser_of_an_asyncio_generator(runs, end):
    said = []
    kept = []

    async def generator():
        try:
            yield 1
            yield 2
        finally:
            said.append(where()[:3])
            await asyncio.sleep(0)
            said.append(where()[:3])

    async def main():
        loop = asyncio.get_running_loop()
        iterator = generator()
        await anext(iterator)
        if end == "break":
            await iterator.aclose()
        elif end == "collected":
            del iterator
            gc.collect()
            while len(said) < 2:
                await asyncio.sleep(0)
        else:
            kept.append(iterator)
        return loop

    loop = runs(main)
    assert said == [in_callback(loop)[:3]] * 2


@both_ways
@pytest.mark.parametrize("ask", ["collected", "aclose"])
def test_in_the_finaliser_of_a_trio_generator(runs, ask):
    said = []

    async def generator():
        try:
            yield 1
            yield 2
        finally:
            said.append(library())
            with trio.CancelScope(shield=True):
                await trio.sleep(0)
            said.append(library())

    async def callee():
        iterator = generator()
        await anext(iterator)
        if ask == "aclose":
            await iterator.aclose()
            return
        with pytest.warns(ResourceWarning, match="Async generator"):
            del iterator
            gc.collect()
            while not said:
                await trio.sleep(0)

    async def main():
        await asyncio.get_running_loop().run_trio(callee)

    runs(main)
    # One that was collected is not allowed to wait any more.
    assert set(said) == {name("trio")}


def test_by_the_loop_that_is_called_not_by_the_callers():
    async def ask_trio():
        await trio.sleep(0)
        said = where()
        assert await run_asyncio(ask_asyncio, said[1])
        return said

    async def ask_asyncio(loop):
        for _ in range(2):
            assert where() == in_task(loop, asyncio.current_task())
            await asyncio.sleep(0)
        said = await run_trio(answer)
        assert said == in_trio(loop)
        return True

    async def answer():
        return where()

    async def main():
        async with open_loop() as outer, open_loop() as inner:
            here = in_trio(inner)
            assert where() == here
            for loop in (outer, inner):
                # The body's context says inner; the callees are told otherwise.
                assert await run_future(loop.run_trio(ask_trio)) == in_trio(loop)
                assert where() == here
                assert await loop.run_asyncio(ask_asyncio, loop)
                assert where() == here
                said = loop.create_future()
                loop.call_soon(lambda: said.set_result(where()))
                assert await run_future(said) == in_callback(loop)
                said = loop.create_future()
                loop.call_later(0.001, lambda: said.set_result(where()))
                assert await run_future(said) == in_callback(loop)
                assert where() == here

    trio.run(main)


def test_a_handle_runs_where_its_loop_says():
    said = []

    async def task():
        said.append(where())

    async def main():
        async with open_loop() as outer, open_loop():
            handle = outer.run_trio_task(task)
            while not handle.done():
                await trio.sleep(0)
            assert said == [in_trio(outer)]

    trio.run(main)


def test_setting_the_current_loop():
    async def which():
        return asyncio.get_running_loop()

    async def main():
        async with open_loop() as outer, open_loop() as inner:
            token = current_loop.set(outer)
            assert current_loop.get() is outer
            assert await run_asyncio(which) is outer
            current_loop.reset(token)
            assert current_loop.get() is inner
            assert await run_asyncio(which) is inner
            with pytest.raises(RuntimeError, match="already been used"):
                current_loop.reset(token)
        assert current_loop.get() is None
        assert current_loop.get("nothing") == "nothing"
        assert repr(current_loop) == "<current_loop: None>"
        assert current_loop.name == "current_loop"

    trio.run(main)


def test_module_functions_in_a_loop_of_its_own():
    async def callee():
        return await run_asyncio(asyncio.sleep, 0, "from the bottom")

    async def main():
        handle = run_trio_task(trio.sleep, 0)
        assert await run_trio(callee) == "from the bottom"
        assert handle.done()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())


def test_beside_a_stock_loop():
    async def main():
        assert current_loop.get() is None
        assert not _core.in_trio_task()

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(main())


def test_a_trio_generator_that_outlives_its_run():
    said = []
    kept = []

    async def generator():
        try:
            yield 1
        finally:
            said.append(library())

    async def callee():
        kept.append(generator())
        await anext(kept[0])

    async def main():
        await asyncio.get_running_loop().run_trio(callee)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        loop = runner.get_loop()
        runner.run(main())
        runner.run(asyncio.sleep(0))
        assert said == []
    assert said == [name("trio")]
    assert loop.is_closed()
