"""Debug mode: stacks, thread checks, slow callbacks, as in asyncio."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import time

import pytest

from trio_asyncio_c import EventLoop

from ._helpers import run_briefly


@pytest.fixture
def debug_loop(loop):
    loop.set_debug(True)
    return loop


def test_the_source_traceback_ends_at_the_caller(debug_loop):
    loop = debug_loop
    for schedule in (
        lambda: loop.call_soon(print),
        lambda: loop.call_later(10, print),
        lambda: loop.call_at(loop.time() + 10, print),
    ):
        handle = schedule()
        assert handle._source_traceback[-1].filename == __file__
        assert handle._source_traceback[-1].name == "<lambda>"
        assert "created at" in repr(handle)
        handle.cancel()


def test_the_repr_survives_a_cancel(debug_loop):
    def callback():
        pass

    handle = debug_loop.call_soon(callback)
    handle.cancel()
    assert "callback" in repr(handle)


def test_there_is_no_source_traceback_else(loop):
    handle = loop.call_soon(print)
    assert handle._source_traceback is None
    handle.cancel()


def test_another_thread_is_refused(debug_loop):
    errors = []

    def in_thread():
        for call in (
            lambda: debug_loop.call_soon(print),
            lambda: debug_loop.call_later(1, print),
            lambda: debug_loop.call_at(1, print),
        ):
            try:
                call()
            except RuntimeError as exc:
                errors.append(str(exc))

    async def main():
        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()

    debug_loop.run_until_complete(main())
    assert len(errors) == 3
    assert all(
        text.startswith("Non-thread-safe operation invoked on an event loop")
        for text in errors
    )


def test_coroutines_and_non_callables_are_refused(debug_loop):
    async def coroutine_function():
        pass

    coro = coroutine_function()
    with pytest.raises(TypeError, match="coroutines cannot be used with call_soon"):
        debug_loop.call_soon(coro)
    coro.close()
    with pytest.raises(TypeError, match="coroutines cannot be used with call_at"):
        debug_loop.call_at(1, coroutine_function)
    with pytest.raises(TypeError, match="a callable object was expected by call_soon"):
        debug_loop.call_soon(5)
    with pytest.raises(TypeError, match="call_soon_threadsafe"):
        debug_loop.call_soon_threadsafe(5)


def test_slow_callbacks_are_logged(debug_loop, caplog):
    debug_loop.slow_callback_duration = 0.005

    def slow():
        assert "slow" in repr(debug_loop._current_handle)
        time.sleep(0.01)

    debug_loop.call_soon(slow)
    with caplog.at_level(logging.WARNING, "asyncio"):
        run_briefly(debug_loop)
    assert debug_loop._current_handle is None
    assert [
        record
        for record in caplog.messages
        if record.startswith("Executing <Handle") and "slow" in record
    ]


def test_slow_tasks_are_logged_as_tasks(debug_loop, caplog):
    debug_loop.slow_callback_duration = 0.005

    async def slow():
        time.sleep(0.01)

    with caplog.at_level(logging.WARNING, "asyncio"):
        debug_loop.run_until_complete(slow())
    assert [
        record for record in caplog.messages if record.startswith("Executing <Task")
    ]


def test_origin_tracking_is_set_for_the_run_only(debug_loop):
    before = sys.get_coroutine_origin_tracking_depth()

    async def main():
        return sys.get_coroutine_origin_tracking_depth()

    assert debug_loop.run_until_complete(main()) > 0
    assert sys.get_coroutine_origin_tracking_depth() == before


def test_an_unclosed_loop_warns():
    loop = EventLoop()
    with pytest.warns(ResourceWarning, match="unclosed event loop <EventLoop"):
        del loop
        gc.collect()


def test_debug_can_change_in_a_run(loop):
    async def main():
        assert loop.call_soon(lambda: None)._source_traceback is None
        loop.set_debug(True)
        await asyncio.sleep(0)
        assert loop.call_soon(lambda: None)._source_traceback
        loop.set_debug(False)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
