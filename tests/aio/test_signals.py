"""Signal handlers, which are the standard library's own."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import pytest

from trio_asyncio_c import new_event_loop

from ._helpers import run_briefly, run_until


def test_a_handler_runs_as_a_callback(loop):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, 1)
    loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
    run_until(loop, lambda: seen)
    assert seen == [1]
    assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert loop.remove_signal_handler(signal.SIGUSR1) is False


def test_a_signal_between_runs_is_not_lost(loop):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, 1)
    os.kill(os.getpid(), signal.SIGUSR1)
    run_until(loop, lambda: seen)
    assert seen == [1]


def test_a_signal_ends_the_wait(loop):
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    thread = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
    began = time.monotonic()
    thread.start()
    guard = loop.call_later(10, loop.stop)
    loop.run_forever()
    guard.cancel()
    assert time.monotonic() - began < 5
    thread.join()


def test_a_plain_python_handler_runs_while_the_loop_waits(loop):
    seen = []
    old = signal.signal(
        signal.SIGUSR1, lambda *args: (seen.append(1), loop.call_soon(loop.stop))
    )
    try:
        thread = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
        thread.start()
        guard = loop.call_later(5, loop.stop)
        loop.run_forever()
        guard.cancel()
        thread.join()
        assert seen == [1]
    finally:
        signal.signal(signal.SIGUSR1, old)


def test_interrupt_leaves_run_forever_and_the_loop_goes_on(loop):
    loop.call_soon(signal.raise_signal, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    seen = []
    loop.call_soon(seen.append, 1)
    run_briefly(loop)
    assert seen == [1]


def test_interrupt_while_the_loop_waits(loop):
    thread = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT))
    thread.start()
    guard = loop.call_later(10, loop.stop)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    thread.join()
    guard.cancel()
    assert not loop.is_running()
    run_briefly(loop)


def test_interrupt_under_asyncio_run():
    seen = []

    async def main():
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with (
        pytest.raises(KeyboardInterrupt),
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        runner.run(main())
    assert seen == ["cancelled"]


def test_bad_signals(loop):
    with pytest.raises(RuntimeError, match="sig 9 cannot be caught"):
        loop.add_signal_handler(signal.SIGKILL, print)
    with pytest.raises(ValueError, match="invalid signal number"):
        loop.add_signal_handler(10_000, print)
