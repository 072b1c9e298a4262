"""What the tests of the core share."""

from __future__ import annotations

import gc
import signal
import socket
import sys
import warnings
from contextlib import contextmanager

from trio_asyncio_c import lowlevel, trio

Value = lowlevel.Value
Error = lowlevel.Error

OUTSIDE_TEXT = "must be called from async context"


def run(fn, *args, **kwargs):
    """Run `fn(*args)` and check that the run leaves its thread as it found it."""
    hooks = sys.get_asyncgen_hooks()
    handler = signal.getsignal(signal.SIGINT)
    try:
        return trio.run(fn, *args, **kwargs)
    finally:
        assert not trio.lowlevel.in_trio_run()
        assert not trio.lowlevel.in_trio_task()
        assert sys.get_asyncgen_hooks() == hooks
        assert signal.getsignal(signal.SIGINT) is handler


def run_mock(fn, *args, **kwargs):
    """Run `fn(*args)` on a clock that jumps whenever all tasks are blocked."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    return run(fn, *args, clock=clock, **kwargs)


def run_loose(fn, *args, **kwargs):
    """Run `fn(*args)` with strict_exception_groups=False."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run(fn, *args, strict_exception_groups=False, **kwargs)


def crash(fn, *args, **kwargs):
    """Run `fn(*args)` into a TrioInternalError; its text and the shape of its cause.

    The shape of an exception is its repr, that of a group the list of the shapes of
    its exceptions.  What a crashed run leaves behind is collected here, and may
    complain of its fate unheard.
    """
    text = shape = None
    try:
        run(fn, *args, **kwargs)
    except trio.TrioInternalError as exc:
        text, shape = str(exc), shape_of(exc.__cause__)
    assert text is not None, "the run did not crash"
    hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
    try:
        collect()
    finally:
        sys.unraisablehook = hook
    return text, shape


def shape_of(exc):
    """The repr of an exception, or the list of the shapes of a group's."""
    if isinstance(exc, BaseExceptionGroup):
        return [shape_of(inner) for inner in exc.exceptions]
    return repr(exc)


def capture(fn, *args):
    """Call `fn(*args)`; its result as a Value, or its error as an Error."""
    try:
        return Value(fn(*args))
    except BaseException as exc:
        return Error(exc.with_traceback(None))


def collect():
    """Run the collector until nothing more can come of it."""
    for _ in range(4):
        gc.collect()


async def settle():
    """Wait until every other task is blocked."""
    await trio.testing.wait_all_tasks_blocked()


async def block():
    """Block until cancelled or rescheduled; the value it is rescheduled with."""
    return await trio.lowlevel.wait_task_rescheduled(
        lambda _: trio.lowlevel.Abort.SUCCEEDED
    )


def points():
    """How many cancel points and schedule points the current task has had."""
    task = trio.lowlevel.current_task()
    return task._cancel_points, task._schedule_points


def effectively_cancelled():
    """Whether the next checkpoint of the current task would raise Cancelled."""
    return trio.current_effective_deadline() == -float("inf")


async def is_cancelled():
    """Whether a checkpoint made here and now raises Cancelled."""
    try:
        await trio.lowlevel.checkpoint()
    except trio.Cancelled:
        return True
    return False


@contextmanager
def nonblocking_pair():
    """Two connected non-blocking sockets."""
    a, b = socket.socketpair()
    with a, b:
        a.setblocking(False)
        b.setblocking(False)
        yield a, b


def fill(sock):
    """Write to a non-blocking socket until it would block; how much it took."""
    total = 0
    try:
        while True:
            total += sock.send(b"x" * 65536)
    except BlockingIOError:
        return total


def drain(sock):
    """Read all that a non-blocking socket has; how much that was."""
    total = 0
    try:
        while data := sock.recv(65536):
            total += len(data)
    except BlockingIOError:
        pass
    return total


class Recorder(trio.abc.Instrument):
    """An instrument that keeps a list of all it is told."""

    def __init__(self):
        self.events = []

    def _note(self, *event):
        self.events.append(event)

    def before_run(self):
        self._note("before_run")

    def after_run(self):
        self._note("after_run")

    def task_spawned(self, task):
        self._note("spawned", task)

    def task_scheduled(self, task):
        self._note("scheduled", task)

    def before_task_step(self, task):
        self._note("before", task)

    def after_task_step(self, task):
        self._note("after", task)

    def task_exited(self, task):
        self._note("exited", task)

    def before_io_wait(self, timeout):
        self._note("before_io", timeout)

    def after_io_wait(self, timeout):
        self._note("after_io", timeout)

    def of(self, task):
        """The names of the events of one task, in order."""
        return [event[0] for event in self.events if event[1:] == (task,)]
