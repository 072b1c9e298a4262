"""call_soon_threadsafe: wakes the loop and keeps its place in the order."""

from __future__ import annotations

import asyncio
import functools
import signal
import threading
import time

import pytest

from trio_asyncio_c import _loop_hooks

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


# Many threads


def run_threads(*functions):
    """Start a thread for each function; the threads."""
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    return threads


def test_nothing_is_lost_and_each_threads_order_is_kept(loop):
    count, width = 10_000, 8
    seen = [[] for _ in range(width)]

    def in_thread(number):
        for i in range(count):
            loop.call_soon_threadsafe(seen[number].append, i)

    threads = run_threads(*(functools.partial(in_thread, i) for i in range(width)))
    run_until(loop, lambda: all(len(part) == count for part in seen))
    for thread in threads:
        thread.join()
    assert seen == [list(range(count))] * width


def test_closing_while_threads_call(loop):
    seen, refused = [], []
    started = threading.Barrier(5)

    def in_thread():
        started.wait()
        for i in range(100_000):
            try:
                loop.call_soon_threadsafe(seen.append, i)
            except RuntimeError as exc:
                refused.append(str(exc))
                return

    threads = run_threads(*[in_thread] * 4)
    started.wait()
    run_briefly(loop, turns=3)
    loop.close()
    for thread in threads:
        thread.join()
    assert set(refused) <= {"Event loop is closed"}
    done = len(seen)
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        loop.call_soon_threadsafe(seen.append, 0)
    assert len(seen) == done


def test_handles_of_a_closed_loop_can_be_cancelled(loop):
    handle = loop.call_soon_threadsafe(print)
    loop.close()
    handle.cancel()
    assert handle.cancelled()


@pytest.mark.parametrize(
    "arguments", [(), (3,), (None, 1)], ids=["none", "no function", "None"]
)
@pytest.mark.parametrize("debug", [False, True])
def test_bad_arguments_are_asyncios(loop, arguments, debug):
    stock = asyncio.SelectorEventLoop()
    outcomes = []
    for one in (stock, loop):
        one.set_debug(debug)
        try:
            outcomes.append(type(one.call_soon_threadsafe(*arguments).cancel()))
        except Exception as exc:
            # A function of C has no class in front of its name there.
            outcomes.append((type(exc), str(exc).removeprefix("BaseEventLoop.")))
    stock.close()
    assert outcomes[1] == outcomes[0]


# Signal handlers


@pytest.fixture
def on_signal():
    """Set a Python signal handler for SIGUSR1."""
    before = signal.getsignal(signal.SIGUSR1)
    yield functools.partial(signal.signal, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def kill_main_thread():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)


def test_a_signal_handler_wakes_a_loop_that_sleeps(loop, on_signal):
    seen = []

    def stop():
        seen.append("stop")
        loop.stop()

    on_signal(lambda *_: loop.call_soon_threadsafe(stop))
    # Without a wakeup fd: the wait itself is interrupted.
    timer = threading.Timer(0.05, kill_main_thread)
    timer.start()
    loop.run_forever()
    timer.join()
    assert seen == ["stop"]


def test_a_signal_handler_while_the_loop_is_busy(loop, on_signal):
    seen = []

    def handler(*_):
        loop.call_soon_threadsafe(seen.append, "signal")
        seen.append("handler")

    def busy():
        loop.call_soon(seen.append, "before")
        kill_main_thread()
        while "handler" not in seen:
            pass
        loop.call_soon(seen.append, "after")
        loop.call_soon(loop.stop)

    on_signal(handler)
    loop.call_soon(busy)
    loop.run_forever()
    assert seen == ["handler", "before", "signal", "after"]


def test_a_signal_handler_in_the_middle_of_c_code_that_runs_python(loop, on_signal):
    seen = []

    class Key:
        def __lt__(self, other):
            if not seen:
                kill_main_thread()
            return False

    def busy():
        [Key(), Key(), Key()].sort()
        loop.call_soon(seen.append, "busy")
        loop.call_soon(loop.stop)

    on_signal(lambda *_: loop.call_soon_threadsafe(seen.append, "signal"))
    loop.call_soon(busy)
    loop.run_forever()
    assert set(seen) == {"signal", "busy"}
    assert seen[-1] == "busy"


# Handles


def test_handles_count_as_asyncios(loop):
    plain = loop.call_soon(print)
    timer = loop.call_later(9, print)
    threadsafe = loop.call_soon_threadsafe(print)
    assert isinstance(plain, asyncio.Handle)
    assert not isinstance(plain, asyncio.TimerHandle)
    assert isinstance(timer, asyncio.TimerHandle)
    assert isinstance(threadsafe, asyncio.Handle)
    own_class = getattr(asyncio.events, "_ThreadSafeHandle", asyncio.Handle)
    assert isinstance(threadsafe, own_class)
    assert repr(threadsafe).startswith(f"<{own_class.__name__} print(")
    for handle in (plain, timer, threadsafe):
        handle.cancel()


@pytest.fixture
def locking_loop(loop, monkeypatch):
    """Give a loop whose handles are those of CPython 3.14 and later."""
    if not hasattr(asyncio.events, "_ThreadSafeHandle"):
        later = type("_ThreadSafeHandle", (asyncio.Handle,), {"__slots__": ()})
        monkeypatch.setattr(asyncio.events, "_ThreadSafeHandle", later, raising=False)
        _loop_hooks.learn_asyncio()
    yield loop
    monkeypatch.undo()
    _loop_hooks.learn_asyncio()


@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize("question", ["cancel", "cancelled"])
def test_other_threads_wait_for_a_running_callback(locking_loop, question, width):
    loop, seen = locking_loop, []
    running, asking = threading.Event(), threading.Barrier(width + 1)

    def callback():
        running.set()
        asking.wait()
        time.sleep(0.05)  # in which the others would go on if they could
        seen.append("end")

    handle = loop.call_soon_threadsafe(callback)

    def in_thread():
        running.wait()
        asking.wait()
        seen.append(getattr(handle, question)())

    threads = run_threads(*[in_thread] * width)
    run_briefly(loop)
    for thread in threads:
        thread.join()
    answer = None if question == "cancel" else False
    assert seen == ["end"] + [answer] * width
    assert handle.cancelled() == (question == "cancel")


def test_the_callback_itself_does_not_wait(locking_loop):
    seen = []

    def callback():
        seen.append(handle.cancelled())
        handle.cancel()
        seen.append(handle.cancelled())

    handle = locking_loop.call_soon_threadsafe(callback)
    run_briefly(locking_loop)
    assert seen == [False, True]
    assert handle._callback is None


def test_a_handle_that_another_thread_runs_as_well(locking_loop):
    loop, seen = locking_loop, []
    running, asking = threading.Event(), threading.Event()

    def callback():
        seen.append("begin")
        running.set()
        asking.wait()
        time.sleep(0.02)
        seen.append("end")

    handle = loop.call_soon_threadsafe(callback)

    def in_thread():
        running.wait()
        asking.set()
        handle._run()

    threads = run_threads(in_thread)
    run_briefly(loop)
    threads[0].join()
    assert seen == ["begin", "end"] * 2


def test_who_waits_can_be_interrupted(locking_loop, on_signal):
    loop = locking_loop
    running, asking, interrupted = (threading.Event() for _ in range(3))

    class Interrupt(Exception):
        pass

    def handler(*_):
        raise Interrupt

    def callback():
        running.set()
        asking.wait()
        time.sleep(0.02)
        kill_main_thread()
        interrupted.wait()

    on_signal(handler)
    handle = loop.call_soon_threadsafe(callback)
    threads = run_threads(functools.partial(run_briefly, loop))
    running.wait()
    with pytest.raises(Interrupt):
        asking.set()
        handle.cancel()
    interrupted.set()
    threads[0].join()
    assert not handle.cancelled()


def test_an_error_of_the_callback_lets_the_waiters_go_on(locking_loop, errors):
    loop, seen = locking_loop, []
    running = threading.Event()

    def callback():
        running.set()
        time.sleep(0.02)
        raise KeyError("shown")

    handle = loop.call_soon_threadsafe(callback)

    def in_thread():
        running.wait()
        seen.append(handle.cancelled())

    threads = run_threads(in_thread)
    run_briefly(loop)
    threads[0].join()
    assert seen == [False]
    assert [str(context["exception"]) for context in errors] == ["'shown'"]


def test_the_stack_of_who_scheduled_it_ends_in_that_line(locking_loop):
    locking_loop.set_debug(True)
    handle = locking_loop.call_soon_threadsafe(print)
    assert handle._source_traceback[-1].name.startswith("test_the_stack")
    handle.cancel()
    assert handle.cancelled()
    assert "cancelled" in repr(handle)
