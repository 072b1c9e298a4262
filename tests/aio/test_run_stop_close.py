"""run_forever, run_until_complete, stop, close, and what they refuse."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from trio_asyncio_c import EventLoop, EventLoopPolicy, new_event_loop, trio

from ._helpers import run_briefly


def test_the_loop_is_a_base_event_loop(loop):
    assert isinstance(loop, asyncio.SelectorEventLoop)
    assert isinstance(loop, asyncio.BaseEventLoop)
    assert repr(loop) == "<EventLoop running=False closed=False debug=False>"
    assert loop._default_executor is None
    assert loop._internal_fds == 1


def test_run_until_complete(loop):
    async def main():
        await asyncio.sleep(0)
        assert asyncio.get_running_loop() is loop
        assert loop.is_running()
        return 5

    assert loop.run_until_complete(main()) == 5
    assert not loop.is_running()
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_asyncio_run_and_runner():
    async def main():
        return type(asyncio.get_running_loop())

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(main()) is EventLoop
        assert runner.run(main()) is EventLoop


def test_stop_lets_the_batch_finish(loop):
    seen = []
    loop.call_soon(loop.stop)
    loop.call_soon(seen.append, 1)
    loop.call_soon(loop.call_soon, seen.append, 2)
    loop.run_forever()
    assert seen == [1]
    run_briefly(loop)
    assert seen == [1, 2]


def test_stop_before_the_run_makes_it_one_turn_that_polls(loop):
    left, right = socket.socketpair()
    seen = []
    loop.add_reader(left, lambda: seen.append(left.recv(1)))
    right.send(b"x")
    loop.stop()
    loop.run_forever()
    assert seen == [b"x"]
    loop.remove_reader(left)
    left.close()
    right.close()


def test_timers_and_tasks_go_on_in_the_next_run(loop):
    task = loop.create_task(asyncio.sleep(0.01, "value"))
    run_briefly(loop)
    assert not task.done()
    assert loop.run_until_complete(task) == "value"


def test_nested_runs_are_refused(loop):
    other = EventLoop()

    async def main():
        with pytest.raises(RuntimeError, match="This event loop is already running"):
            loop.run_forever()
        with pytest.raises(
            RuntimeError,
            match="Cannot run the event loop while another loop is running",
        ):
            other.run_forever()
        assert loop.is_running()

    loop.run_until_complete(main())
    assert not loop.is_running()
    other.close()


def test_a_loop_can_be_made_and_closed_inside_of_another(loop):
    async def main():
        inner = EventLoop()
        assert asyncio.get_running_loop() is loop
        inner.close()
        assert asyncio.get_running_loop() is loop
        await asyncio.sleep(0)

    loop.run_until_complete(main())


def test_a_future_of_another_loop_is_refused(loop):
    other = EventLoop()
    future = other.create_future()
    with pytest.raises(ValueError, match="belongs to a different loop"):
        loop.run_until_complete(future)
    other.close()


def test_close_is_idempotent_and_final(loop):
    loop.close()
    loop.close()
    assert loop.is_closed()
    assert "closed=True" in repr(loop)
    for call in (
        lambda: loop.call_soon(print),
        lambda: loop.call_soon_threadsafe(print),
        lambda: loop.call_later(1, print),
        lambda: loop.call_at(1, print),
        lambda: loop.run_forever(),
        lambda: loop.run_in_executor(None, print),
        lambda: loop.add_signal_handler(10, print),
        lambda: loop.run_trio(asyncio.sleep, 1),
        lambda: loop._drive(),
        lambda: loop._run_once(),
    ):
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            call()
    coro = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.run_until_complete(coro)
    coro.close()


def test_close_of_a_running_loop_is_refused(loop):
    async def main():
        with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
            loop.close()

    loop.run_until_complete(main())


def test_an_uninitialised_loop_is_refused():
    loop = EventLoop.__new__(EventLoop)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.call_soon(print)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop._drive()
    loop._closed = True  # or its finaliser would warn


def test_a_selector_is_closed():
    import selectors

    selector = selectors.SelectSelector()
    loop = EventLoop(selector)
    assert selector.get_map() is None
    loop.close()


def test_run_once_can_be_overridden(loop):
    turns = 0
    run_once = loop._run_once

    def counting():
        nonlocal turns
        turns += 1
        run_once()

    loop._run_once = counting

    async def main():
        for _ in range(5):
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert turns >= 6
    del loop._run_once


def test_run_in_another_thread_than_it_was_made_in():
    loop = EventLoop()
    result = []

    def in_thread():
        result.append(loop.run_until_complete(asyncio.sleep(0.01, "value")))
        loop.close()

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert result == ["value"]


def test_loops_in_several_threads():
    results = []

    def in_thread(i):
        loop = EventLoop()

        async def main():
            for _ in range(100):
                await asyncio.sleep(0)
            return i

        results.append(loop.run_until_complete(main()))
        loop.close()

    threads = [threading.Thread(target=in_thread, args=(i,)) for i in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(5))


def test_policy():
    loop = EventLoopPolicy().new_event_loop()
    assert type(loop) is EventLoop
    loop.close()


def test_flags_cannot_be_deleted(loop):
    for name in ("_debug", "_closed", "_stopping"):
        with pytest.raises(AttributeError):
            delattr(loop, name)


def test_a_loop_takes_attributes_but_has_none_in_its_dict(loop):
    # Whatever is in the dict is searched at every call of the loop's methods.
    async def main():
        await asyncio.sleep(0)
        await loop.run_in_executor(None, int)
        await loop.run_trio(trio.sleep, 0)

    loop.run_until_complete(main())
    assert vars(loop) == {}
    loop.mine = 1
    loop.call_later = None
    assert vars(loop) == {"mine": 1, "call_later": None}
    del loop.call_later
