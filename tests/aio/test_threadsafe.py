"""call_soon_threadsafe: wakes the loop and keeps its place in the order."""

from __future__ import annotations

import asyncio
import threading
import time

from ._helpers import run_briefly, run_until


def test_it_wakes_a_loop_that_sleeps(loop):
    def in_thread():
        time.sleep(0.02)
        loop.call_soon_threadsafe(loop.stop)

    guard = loop.call_later(10, loop.stop)
    thread = threading.Thread(target=in_thread)
    began = time.monotonic()
    thread.start()
    loop.run_forever()
    assert time.monotonic() - began < 5
    thread.join()
    guard.cancel()


def test_the_order_is_that_of_the_calls(loop):
    seen = []
    for i in range(0, 100, 2):
        loop.call_soon(seen.append, i)
        thread = threading.Thread(
            target=loop.call_soon_threadsafe, args=(seen.append, i + 1)
        )
        thread.start()
        thread.join()
    run_briefly(loop)
    assert seen == list(range(100))


def test_the_handle_can_be_cancelled(loop):
    seen = []
    handle = loop.call_soon_threadsafe(seen.append, 1)
    assert not handle.cancelled()
    handle.cancel()
    assert handle.cancelled()
    run_briefly(loop)
    assert seen == []


def test_many_threads(loop):
    seen = []

    def in_thread(i):
        for j in range(200):
            loop.call_soon_threadsafe(seen.append, (i, j))

    threads = [threading.Thread(target=in_thread, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    run_until(loop, lambda: len(seen) == 1600)
    for thread in threads:
        thread.join()
    for i in range(8):
        assert [j for k, j in seen if k == i] == list(range(200))


def test_run_coroutine_threadsafe(loop):
    results = []

    def in_thread():
        future = asyncio.run_coroutine_threadsafe(asyncio.sleep(0.005, "value"), loop)
        results.append(future.result(10))
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=in_thread)
    thread.start()
    loop.run_forever()
    thread.join()
    assert results == ["value"]


def test_run_coroutine_threadsafe_and_cancel_many_times(loop):
    def in_thread():
        for _ in range(200):
            future = asyncio.run_coroutine_threadsafe(asyncio.sleep(10), loop)
            future.cancel()
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=in_thread)
    thread.start()
    loop.run_forever()
    thread.join()
    run_briefly(loop, turns=5)
    assert not asyncio.all_tasks(loop)
