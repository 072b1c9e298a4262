"""Host loops for guest runs, as small as they can be."""

from __future__ import annotations

import heapq
import itertools
import queue
import sys
import time
from contextlib import contextmanager

import pytest
from trio_asyncio_c import trio

from ._helpers import collect, shape_of

# How long a host waits for anything before it takes the guest for hung.
PATIENCE_S = 50


class QueueHost:
    """A host as GUI toolkits are: one thread runs what is queued.

    Args:
      split: whether the guest gets a scheduling function of its own for the
        host's thread, or uses the thread-safe one for both.
    """

    def __init__(self, split=True):
        self._calls = queue.SimpleQueue()
        self._timers = []
        self._order = itertools.count()
        self._split = split
        self.outcome = None
        self.soon_calls = 0
        self.threadsafe_calls = 0

    def call_soon(self, fn):
        """Schedule a call; in the host's thread."""
        self.soon_calls += 1
        self._calls.put(fn)

    def call_soon_threadsafe(self, fn):
        """Schedule a call; in any thread."""
        self.threadsafe_calls += 1
        self._calls.put(fn)

    def after(self, ms, fn):
        """Schedule a call in some milliseconds, as tkinter's widgets do."""
        when = time.monotonic() + ms / 1000
        heapq.heappush(self._timers, (when, next(self._order), fn))

    def _done(self, outcome):
        assert self.outcome is None
        self.outcome = outcome

    def start(self, fn, *args, **options):
        """Start a guest run of `fn(*args)`."""
        if self._split:
            options.setdefault("run_sync_soon_not_threadsafe", self.call_soon)
        options.setdefault("run_sync_soon_threadsafe", self.call_soon_threadsafe)
        options.setdefault("done_callback", self._done)
        trio.lowlevel.start_guest_run(fn, *args, **options)

    def step(self, patience_s=PATIENCE_S):
        """Wait for the next call or timer, and run it."""
        timeout = patience_s
        if self._timers:
            timeout = max(0, self._timers[0][0] - time.monotonic())
        try:
            fn = self._calls.get(timeout=timeout)
        except queue.Empty:
            assert self._timers, "the guest hangs"
            fn = heapq.heappop(self._timers)[2]
        fn()

    def loop(self):
        """Run until the guest is done."""
        while self.outcome is None:
            self.step()

    def is_idle(self):
        """Whether nothing is queued."""
        return self._calls.empty()

    def run(self, fn, *args, **options):
        """Start a guest run of `fn(*args)` and run until it is done."""
        self.start(fn, *args, **options)
        self.loop()
        return self.take()

    def take(self):
        """What the main task returned or raised."""
        outcome, self.outcome = self.outcome, None
        return outcome.unwrap()

    def when_waiting(self, get_runner, fn):
        """Call `fn` as soon as the guest waits in its thread and nowhere else.

        `get_runner` returns the guest's runner, or None before it has one.
        """
        runner = get_runner()
        if runner is not None and self.is_idle() and not runner.guest_tick_scheduled:
            fn()
        else:
            self.after(1, lambda: self.when_waiting(get_runner, fn))


def guest_run(fn, *args, split=True, **options):
    """Run `fn(*args)` as the guest of a queue; check that nothing is left set."""
    result = QueueHost(split).run(fn, *args, **options)
    assert not trio.lowlevel.in_trio_run()
    assert not trio.lowlevel.in_trio_task()
    return result


class Waiting:
    """Lets a host act while its guest waits.

    The guest's main task calls `enter` and then waits for something; the host calls
    `act` once the guest sleeps in its thread.
    """

    def __init__(self, host, act):
        self._runner = None
        self._act = act
        host.when_waiting(lambda: self._runner, self._call)

    def enter(self):
        """Say that from now on the guest may be waiting; by the guest."""
        self._runner = trio.lowlevel.current_task()._runner

    def _call(self):
        self._runner = None
        self._act()


@contextmanager
def unheard():
    """Let the tasks that a crashed run leaves behind complain of their fate unheard."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
    try:
        yield
        collect()
    finally:
        sys.unraisablehook = hook


def guest_crash(fn, **options):
    """Run `fn` as a guest into a TrioInternalError; the shape of its cause."""
    host = QueueHost()
    host.start(fn, **options)
    host.loop()
    with pytest.raises(trio.TrioInternalError) as info:
        host.take()
    assert not trio.lowlevel.in_trio_run()
    shape = shape_of(info.value.__cause__)
    del host, info
    with unheard():
        return shape
