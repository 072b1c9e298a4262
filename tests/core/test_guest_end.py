"""Guest mode: Ctrl-C, signals, hosts that fail or forget, and what is left after."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
import warnings
import weakref
from contextlib import contextmanager

import pytest
from trio_asyncio_c import trio

from ..capi._helpers import quiet_script
from ._guest_hosts import PATIENCE_S, QueueHost, Waiting, guest_run, unheard
from ._helpers import collect, nonblocking_pair

lowlevel = trio.lowlevel
ABANDONED = "Trio guest run got abandoned without properly finishing"


# Ctrl-C


@pytest.fixture
def default_sigint():
    """SIGINT as Python sets it up, whatever the test runner's shell did."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt():
    signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("default_sigint")
def test_interrupt_in_the_host_reaches_the_guests_main_task():
    # R35
    async def main():
        Waiting(host, interrupt).enter()
        with pytest.raises(KeyboardInterrupt):
            await trio.sleep_forever()
        return "went on"

    host = QueueHost()
    assert host.run(main) == "went on"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("default_sigint")
def test_interrupt_of_the_waiting_host_by_the_kernel():
    async def main():
        def kill():
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=kill)
        Waiting(host, thread.start).enter()
        with pytest.raises(KeyboardInterrupt):
            await trio.sleep_forever()
        thread.join()

    host = QueueHost()
    host.run(main)


@pytest.mark.usefixtures("default_sigint")
def test_interrupt_in_the_guests_own_code():
    async def main():
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        await lowlevel.checkpoint()

    guest_run(main)


@pytest.mark.usefixtures("default_sigint")
def test_restricted_interrupt_waits_for_a_checkpoint():
    async def main():
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            await lowlevel.checkpoint()

    guest_run(main, restrict_keyboard_interrupt_to_checkpoints=True)


@pytest.mark.usefixtures("default_sigint")
def test_an_interrupt_that_nobody_took_is_the_outcome():
    # R35
    async def main():
        interrupt()
        raise KeyError("main")

    with pytest.raises(KeyboardInterrupt) as info:
        guest_run(main, restrict_keyboard_interrupt_to_checkpoints=True)
    assert repr(info.value.__context__) == "KeyError('main')"


@pytest.mark.usefixtures("default_sigint")
def test_a_host_with_a_handler_of_its_own_keeps_it():
    heard = []

    def handler(signum, frame):
        heard.append(signum)

    async def main():
        Waiting(host, interrupt).enter()
        while not heard:
            await trio.sleep(0.005)
        assert signal.getsignal(signal.SIGINT) is handler

    signal.signal(signal.SIGINT, handler)
    host = QueueHost()
    host.run(main)
    assert signal.getsignal(signal.SIGINT) is handler


# Other signals, and who has set_wakeup_fd()


@pytest.mark.parametrize("hosted", [True, False], ids=["host's", "guest's"])
def test_a_signal_handler_wakes_the_guest(hosted):
    async def main():
        Waiting(host, lambda: signal.raise_signal(signal.SIGUSR1)).enter()
        await event.wait()

    event = trio.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: event.set())
    host = QueueHost()
    try:
        host.run(main, host_uses_signal_set_wakeup_fd=hosted)
    finally:
        signal.signal(signal.SIGUSR1, before)


def wakeup_fd():
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
    return fd


def test_the_wakeup_fd_is_the_guests_and_given_back():
    async def main():
        return wakeup_fd()

    before = wakeup_fd()
    assert guest_run(main) not in (-1, before)
    assert wakeup_fd() == before


def test_a_host_that_uses_set_wakeup_fd_is_warned_of_a_collision():
    # R43
    async def main():
        return wakeup_fd()

    with nonblocking_pair() as (a, _):
        signal.set_wakeup_fd(a.fileno(), warn_on_full_buffer=False)
        try:
            with pytest.warns(RuntimeWarning, match="signal handling code.*collided"):
                assert guest_run(main) != a.fileno()
            assert wakeup_fd() == a.fileno()
            # It says so: no warning, nothing set.
            used = guest_run(main, host_uses_signal_set_wakeup_fd=True)
            assert used == wakeup_fd() == a.fileno()
        finally:
            signal.set_wakeup_fd(-1)


def wait_until(condition):
    """Ask until it is so."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@contextmanager
def warns_of_abandoned():
    """Expect the warning; a main task that never began may say so as well."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "coroutine .* was never awaited")
        with pytest.warns(RuntimeWarning, match=ABANDONED):
            yield


# Hosts that fail


def test_an_error_of_a_host_callback_is_the_hosts():
    def fail():
        raise KeyError("host")

    async def main():
        host.call_soon(fail)
        await trio.sleep(0.01)
        return "done"

    host = QueueHost()
    host.start(main)
    with pytest.raises(KeyError, match="host"):
        host.loop()
    host.loop()
    assert host.take() == "done"


def test_an_error_of_done_callback_is_the_hosts():
    def done(outcome):
        raise KeyError(outcome.value)

    async def main():
        return "result"

    host = QueueHost()
    host.start(main, done_callback=done)
    with pytest.raises(KeyError, match="result"):
        host.loop()
    assert not lowlevel.in_trio_run()
    assert host.is_idle()


def test_a_host_that_cannot_schedule_the_first_turn():
    def refuse(fn):
        raise KeyError("closed")

    async def main():
        raise AssertionError("must not run")

    with warns_of_abandoned(), unheard():
        with pytest.raises(KeyError, match="closed") as info:
            QueueHost().start(main, run_sync_soon_not_threadsafe=refuse)
        del info
    assert not lowlevel.in_trio_run()
    trio.run(trio.sleep, 0)


def test_a_host_that_cannot_be_woken_by_the_waiting_thread():
    # The thread can tell nobody but the interpreter; the guest is abandoned.
    def refuse(fn):
        refused.set()
        raise KeyError("closed")

    def run_host():
        host = QueueHost()
        host.start(trio.sleep, 0.005, run_sync_soon_threadsafe=refuse)
        while not refused.is_set():
            host.call_soon(int)
            host.step()

    heard = []
    refused = threading.Event()
    thread = threading.Thread(target=run_host)
    hook, sys.unraisablehook = sys.unraisablehook, heard.append
    try:
        with warns_of_abandoned():
            thread.start()
            thread.join()
            wait_until(lambda: collect() or heard)
            reported = [repr(unraisable.exc_value) for unraisable in heard]
            heard.clear()
            collect()
    finally:
        sys.unraisablehook = hook
    heard.clear()
    assert "KeyError('closed')" in reported


# Hosts that forget their guest


def abandon(turns, clock=None):
    """Begin a guest run and drop it after some turns."""

    async def main():
        while True:
            await lowlevel.checkpoint()

    host = QueueHost()
    host.start(main, clock=clock)
    for _ in range(turns):
        host.step()


@pytest.mark.parametrize("turns", [0, 1, 5])
def test_an_abandoned_guest_warns_and_leaves_the_thread_free(turns):
    # R42
    with warns_of_abandoned(), unheard():
        abandon(turns)
    assert not lowlevel.in_trio_run()
    trio.run(trio.sleep, 0)
    assert guest_run(trio.sleep, 0) is None


def test_an_abandoned_guest_leaves_signals_and_hooks_as_they_were():
    before = signal.getsignal(signal.SIGINT), wakeup_fd()
    with warns_of_abandoned(), unheard():
        abandon(3)
    assert (signal.getsignal(signal.SIGINT), wakeup_fd()) == before


def test_a_guest_that_waits_is_not_forgotten_before_its_wait_ends():
    # The waiting thread holds it, and then asks the host to go on.
    async def main():
        Waiting(host, lambda: None).enter()
        await trio.sleep(0.05)
        return "done"

    host = QueueHost()
    host.start(main)
    collect()
    host.loop()
    assert host.take() == "done"


def test_a_guest_that_is_collected_by_another_thread():
    # The thread of the host must not go on to believe in it.
    def begin():
        abandon(3)
        abandoned.set()
        try:
            assert collected.wait(PATIENCE_S)
            seen.append(lowlevel.in_trio_run())
            trio.run(trio.sleep, 0)
            seen.append("ran")
        except BaseException as exc:
            seen.append(repr(exc))

    seen = []
    mine = (lambda agen: None), (lambda agen: None)
    abandoned, collected = threading.Event(), threading.Event()
    thread = threading.Thread(target=begin)
    hooks = sys.get_asyncgen_hooks()
    gc.disable()
    try:
        thread.start()
        assert abandoned.wait(PATIENCE_S)
        # What the host's thread holds of the run goes with the thread.
        sys.set_asyncgen_hooks(*mine)
        with warns_of_abandoned(), unheard():
            collect()
            collected.set()
            thread.join()
        assert sys.get_asyncgen_hooks() == mine
    finally:
        sys.set_asyncgen_hooks(*hooks)
        gc.enable()
    assert seen == [False, "ran"]


def test_a_host_that_ends_while_its_guest_waits_in_the_thread():
    # The late wake-up finds the queue of a host that is no more.  A main task that
    # knew the host would keep it: the thread's async generator hooks know the run.
    def begin():
        def wake(fn):
            host.call_soon_threadsafe(fn)
            woken.set()

        stopped = []
        host = QueueHost()
        host.start(trio.sleep, 0.02, run_sync_soon_threadsafe=wake)
        runner = lowlevel.current_root_task()._runner
        host.when_waiting(lambda: runner, lambda: stopped.append(1))
        while not stopped:
            host.step()
        return weakref.ref(host)

    woken = threading.Event()
    with warns_of_abandoned(), unheard():
        forgotten = begin()
        assert woken.wait(PATIENCE_S)
        wait_until(lambda: collect() or forgotten() is None)
    assert not lowlevel.in_trio_run()


# Threads, forks, leftovers


def test_the_host_may_be_any_thread():
    async def main():
        assert threading.current_thread() is not threading.main_thread()
        with nonblocking_pair() as (a, b):
            Waiting(host, lambda: b.send(b"x")).enter()
            await lowlevel.wait_readable(a)
        await trio.sleep(0.01)
        return await trio.to_thread.run_sync(threading.get_ident)

    def run_host():
        before = lowlevel.in_trio_run()
        results.append((before, host.run(main), lowlevel.in_trio_run()))

    results = []
    host = QueueHost()
    thread = threading.Thread(target=run_host)
    thread.start()
    thread.join()
    [(before, ident, after)] = results
    assert ident != thread.ident
    assert (before, after) == (False, False)


def test_a_host_whose_only_way_in_is_a_timer():
    # As tkinter's: after() for its own thread; here, frames are drawn meanwhile.
    frames = []

    def draw():
        frames.append(1)
        if len(frames) < 5:
            host.after(2, draw)
        else:
            event.set()

    async def main():
        host.after(2, draw)
        with trio.fail_after(PATIENCE_S):
            await event.wait()
        await trio.sleep(0.005)
        return len(frames)

    event = trio.Event()
    host = QueueHost()
    soon = host.run(main, run_sync_soon_not_threadsafe=lambda fn: host.after(0, fn))
    assert soon == 5


def open_fds():
    return set(os.listdir("/dev/fd"))


def test_a_thousand_guest_runs_leave_no_fd_and_no_thread():
    async def main():
        with nonblocking_pair() as (a, b):
            b.send(b"x")
            await lowlevel.wait_readable(a)
        await trio.sleep(0.0001)

    # The first makes what lives as long as the process.
    guest_run(main)
    before = len(open_fds()), threading.active_count()
    for _ in range(1000):
        guest_run(main)
    fds, threads = len(open_fds()), threading.active_count()
    assert fds == before[0]
    assert threads <= before[1] + 2


@pytest.mark.parametrize("ends", ["return", "crash", "no start"])
def test_fds_are_closed_however_a_guest_run_ends(ends):
    class Clock(trio.abc.Clock):
        def start_clock(self):
            if ends == "no start":
                raise ZeroDivisionError

        def current_time(self):
            return 0.0

        def deadline_to_sleep_time(self, deadline):
            if ends == "crash":
                raise ZeroDivisionError
            return 0

    async def main():
        with trio.move_on_after(1):
            await lowlevel.checkpoint()

    def once():
        try:
            guest_run(main, clock=Clock())
        except trio.TrioInternalError:
            assert ends != "return"
        else:
            assert ends == "return"

    with unheard():
        once()
    before = open_fds()
    with unheard():
        for _ in range(20):
            once()
    assert len(open_fds()) == len(before)


def test_the_waits_own_fds_are_not_inherited():
    async def main():
        mine = open_fds() - before
        return [fd for fd in map(int, mine) if is_open(fd) and os.get_inheritable(fd)]

    def is_open(fd):
        try:
            os.fstat(fd)
        except OSError:
            return False
        return True

    before = open_fds()
    assert guest_run(main) == []


def test_fork_in_a_guest_leaves_the_child_in_no_run():
    quiet_script(
        """
        import os, queue, sys, threading, warnings
        from trio_asyncio_c import trio

        warnings.simplefilter("ignore", DeprecationWarning)
        calls = queue.SimpleQueue()
        outcomes = []

        async def main():
            await trio.sleep(0.01)
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    assert not trio.lowlevel.in_trio_task()
                    assert not trio.lowlevel.in_trio_run()
                    trio.run(trio.sleep, 0.01)
                    status = 0
                finally:
                    os._exit(status)
            _, status = await trio.to_thread.run_sync(os.waitpid, pid, 0)
            await trio.sleep(0.01)
            return status

        trio.lowlevel.start_guest_run(
            main,
            run_sync_soon_threadsafe=calls.put,
            done_callback=outcomes.append,
        )
        while not outcomes:
            calls.get(timeout=50)()
        assert outcomes[0].unwrap() == 0
        print("done")
        """
    )


def test_fork_in_the_host_while_the_guest_waits():
    quiet_script(
        """
        import os, queue, warnings
        from trio_asyncio_c import trio

        warnings.simplefilter("ignore", DeprecationWarning)
        calls = queue.SimpleQueue()
        outcomes = []
        statuses = []

        def fork():
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    assert not trio.lowlevel.in_trio_run()
                    trio.run(trio.sleep, 0.01)
                    status = 0
                finally:
                    os._exit(status)
            statuses.append(os.waitpid(pid, 0)[1])
            event.set()

        async def main():
            calls.put(fork)
            await event.wait()
            await trio.sleep(0.01)

        event = trio.Event()
        trio.lowlevel.start_guest_run(
            main,
            run_sync_soon_threadsafe=calls.put,
            done_callback=outcomes.append,
        )
        while not outcomes:
            calls.get(timeout=50)()
        outcomes[0].unwrap()
        assert statuses == [0]
        print("done")
        """
    )


def test_an_interpreter_that_ends_amid_a_guest_run():
    quiet_script(
        """
        import queue, warnings
        from trio_asyncio_c import trio

        warnings.simplefilter("ignore")
        calls = queue.SimpleQueue()

        async def main():
            await trio.sleep(0.001)
            while True:
                await trio.lowlevel.checkpoint()

        trio.lowlevel.start_guest_run(
            main, run_sync_soon_threadsafe=calls.put, done_callback=print
        )
        for _ in range(30):
            calls.get(timeout=50)()
        print("done")
        """,
        options=("-X", "dev"),
    )
