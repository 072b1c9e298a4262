"""Event loops with faults, which compat_tests.cpython must notice.

They are asyncio's own but for that, where nothing else is said, and most meet their fault only in the tests that
are meant to.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio import selector_events

import trio_asyncio_c


class Dropping(asyncio.SelectorEventLoop):
    """Every third callback is dropped; it does not wait for what cannot come."""

    calls = 0

    def call_soon(self, callback, *args, context=None):
        self.calls += 1
        if self.calls % 3 == 0:
            callback, args = _nothing, ()
        return super().call_soon(callback, *args, context=context)

    def _run_once(self):
        if not self._ready and not self._scheduled:
            raise RuntimeError("nothing is left to do")
        super()._run_once()


class BadAtSignals(asyncio.SelectorEventLoop):
    """A signal nobody asked for is an error."""

    def _handle_signal(self, number):
        if number not in self._signal_handlers:
            raise LookupError(number)
        super()._handle_signal(number)


class Faulty(asyncio.SelectorEventLoop):
    """It meets a fault in some of the tests of threads, when it is run first."""

    instances = 0
    was_run = False

    def __init__(self, selector=None):
        super().__init__(selector)
        Faulty.instances += 1

    def run_forever(self):
        was_run, self.was_run = self.was_run, True
        fault = FAULTS.get(_test_name())
        if fault is not None and not was_run:
            fault()
        super().run_forever()


class InheritedDatagrams(trio_asyncio_c.EventLoop):
    """Ours, but datagrams are moved by asyncio's transports."""

    _make_datagram_transport = (
        selector_events.BaseSelectorEventLoop._make_datagram_transport
    )


def _nothing():
    pass


def _test_name():
    """Return the name of the test that is run here."""
    frame = sys._getframe()
    while frame is not None:
        name = getattr(frame.f_locals.get("self"), "_testMethodName", None)
        if name is not None:
            return name
        frame = frame.f_back
    return None


def _fail():
    raise RuntimeError("this loop is faulty")


def _fail_among_others():
    # Some are made when the harness looks whether it gets this one.
    if Faulty.instances > FIRST_TEST_HAS:
        _fail()


def _hang():
    while True:
        pass


FIRST_TEST_HAS = 1 + sum(
    hasattr(asyncio, name)
    for name in ("SelectorEventLoop", "EventLoop", "new_event_loop")
)
# In their order: crash, passing, failure, hang, passing, failure if not alone.
FAULTS = {
    "test_to_thread": os.abort,
    "test_to_thread_concurrent": _fail,
    "test_to_thread_contextvars": _hang,
    "test_to_thread_once": _fail_among_others,
}
