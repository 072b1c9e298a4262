"""Callbacks, finalizers, objects and programs that do what no loop expects.

An exception is a good answer, often the only one; a crash, a hang, or a loop that is
unsound afterwards is none.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import socket
import weakref
from asyncio import format_helpers

import pytest

from tests.capi._helpers import quiet_script, unheard
from trio_asyncio_c import EventLoop, _core, trio

from ._helpers import run_briefly, run_until


class Finalizer:
    """An object that calls a function when it dies."""

    def __init__(self, fn):
        self.fn = fn

    def __call__(self, *args):
        pass

    def __del__(self):
        self.fn()


@pytest.fixture(autouse=True)
def sound_afterwards():
    yield
    loop = EventLoop()
    seen = []
    loop.call_later(0, seen.append, 1)
    loop.run_until_complete(asyncio.sleep(0))
    run_briefly(loop, turns=2)
    loop.close()
    assert seen == [1]


# What closes the loop while it is asked for something


class FileThatCloses:
    def __init__(self, loop):
        self.loop = loop

    def fileno(self):
        self.loop.close()
        return 0


@pytest.mark.parametrize("name", ["_add_reader", "_add_writer", "add_reader"])
def test_a_fileno_that_closes_the_loop(loop, name):
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        getattr(loop, name)(FileThatCloses(loop), print)


@pytest.mark.parametrize(
    "schedule",
    [
        lambda loop: loop.call_soon(print),
        lambda loop: loop.call_later(1, print),
        lambda loop: loop.call_at(1, print),
        lambda loop: loop._add_reader(0, print),
        lambda loop: loop._add_writer(0, print),
    ],
    ids=["call_soon", "call_later", "call_at", "add_reader", "add_writer"],
)
def test_a_source_traceback_that_closes_the_loop(loop, monkeypatch, schedule):
    extract_stack = format_helpers.extract_stack

    def closing(frame):
        loop.close()
        return extract_stack(frame)

    loop.set_debug(True)
    monkeypatch.setattr(format_helpers, "extract_stack", closing)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        schedule(loop)


class ClosesInCreateFuture(EventLoop):
    def create_future(self):
        future = super().create_future()
        self.close()
        return future


class ClosesInExecutorCheck(EventLoop):
    def _check_default_executor(self):
        self.close()


@pytest.mark.parametrize("kind", [ClosesInCreateFuture, ClosesInExecutorCheck])
def test_an_executor_job_for_which_the_loop_is_closed(kind):
    loop = kind()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.run_in_executor(None, print)


class ClosesInCheck(EventLoop):
    def _check_callback(self, callback, method):
        self.close()


def test_debug_mode_checks_that_close_the_loop():
    for method, args in (
        ("call_soon", (print,)),
        ("call_later", (1, print)),
        ("call_soon_threadsafe", (print,)),
        ("run_in_executor", (None, print)),
    ):
        loop = ClosesInCheck()
        loop.set_debug(True)
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            getattr(loop, method)(*args)


def test_finalizers_that_use_the_loop_while_it_closes(loop):
    errors = []

    def use():
        for call in (
            loop.close,
            lambda: loop.call_soon(print),
            lambda: loop.call_later(1, print),
            lambda: loop._add_reader(0, print),
            lambda: loop.remove_reader(0),
            lambda: loop.run_in_executor(None, print),
        ):
            try:
                call()
            except RuntimeError as exc:
                errors.append(str(exc))

    left, right = socket.socketpair()
    loop.call_soon(print, Finalizer(use))
    loop.call_soon(Finalizer(use))
    loop.call_later(5, print, Finalizer(use))
    loop.add_reader(left, print, Finalizer(use))
    loop.add_writer(left, Finalizer(use))
    loop.close()
    left.close()
    right.close()
    assert set(errors) == {"Event loop is closed"}
    assert len(errors) >= 4 * 5


# Handles


def test_an_equality_that_cancels_the_handles(loop):
    class Evil:
        def __call__(self):
            pass

        def __eq__(self, other):
            for handle in handles:
                handle.cancel()
            [object() for _ in range(100)]
            return NotImplemented

    for make in (
        lambda: loop.call_at(5, Evil()),
        lambda: loop.call_at(5, print, Evil()),
    ):
        handles = [make(), make()]
        assert handles[0] != handles[1]
        handles = [make(), make()]
        assert (handles[0] <= handles[1]) is False


def test_reprs_and_hashes_that_cancel_and_collect(loop):
    class Evil:
        def __call__(self):
            pass

        def __repr__(self):
            for handle in handles:
                handle.cancel()
            gc.collect()
            return "<Evil>"

        def __hash__(self):
            gc.collect()
            raise ZeroDivisionError

    loop.set_debug(True)
    handles = [
        loop.call_soon(Evil()),
        loop.call_later(5, Evil(), Evil()),
        loop.call_at(5, print, Evil()),
    ]
    for handle in list(handles):
        repr(handle)
        assert "cancelled" in repr(handle)
    assert {handles[1]: 1}[handles[1]] == 1
    handles.clear()


def test_a_repr_that_raises_leaves_the_handle_cancelled(loop):
    class Evil:
        def __repr__(self):
            raise KeyError("no repr")

        def __call__(self):
            raise AssertionError

    def attempt(loop):
        loop.set_debug(True)
        handles = [loop.call_soon(Evil()), loop.call_later(0, Evil())]
        for handle in handles:
            with pytest.raises(KeyError):
                handle.cancel()
        states = [(handle.cancelled(), handle._callback is None) for handle in handles]
        run_briefly(loop, turns=2)
        return states

    stock = asyncio.SelectorEventLoop()
    expected = attempt(stock)
    stock.close()
    assert attempt(loop) == expected


def test_the_class_of_a_handle_cannot_be_assigned(loop):
    async def main():
        # The collector does not know the handles of a running loop.
        for handle in (loop.call_soon(int), loop.call_later(5, int)):
            kind = type(handle)
            with contextlib.suppress(TypeError):
                # A subclass without a layout of its own.
                kind = type("Evil", (type(handle),), {"__slots__": ()})
            for other in (kind, asyncio.Handle):
                with pytest.raises(AttributeError):
                    handle.__class__ = other
                with pytest.raises(TypeError):
                    object.__dict__["__class__"].__set__(handle, other)
            with pytest.raises(TypeError):
                kind()
            with pytest.raises(TypeError):
                object.__new__(kind)
            handle.cancel()
        await asyncio.sleep(0)

    loop.run_until_complete(main())


def test_handles_that_are_collected_in_any_order():
    # A loop whose __del__ closes nothing, and a timer that the collector comes to
    # before the loop: what the timer is in must not look at a loop that is gone.
    quiet_script(
        """
        import gc, sys
        from trio_asyncio_c import EventLoop, _core

        class Unclosed(EventLoop):
            def __del__(self):
                self._ssock.close()
                self._csock.close()

        def make():
            loop = Unclosed()
            loop.call_later(1, print)
            loop._add_writer(1, print)
            loop.call_soon(print)
            return loop.call_later(100, print)

        sys.unraisablehook = lambda unraisable: None
        handle = make()
        gc.collect()  # moves the loop, which is found through it, behind it
        assert handle._loop is not None
        del handle
        gc.collect()
        gc.collect()
        assert not any(_core._debug_counts().values()), _core._debug_counts()
        print("done")
        """
    )


def test_the_collector_sees_every_object(loop):
    seen = []

    async def main():
        handles = [loop.call_soon(int), loop.call_later(5, int)]
        for thing in gc.get_objects():
            # A class may have a property of that name.
            if str(type(thing).__module__).startswith("trio_asyncio_c"):
                seen.append(len(gc.get_referents(thing)) + len(dir(thing)))
        gc.collect()
        for handle in handles:
            gc.get_referrers(handle)
            handle.cancel()

    loop.run_until_complete(main())
    assert seen


def test_a_weak_reference_that_revives_nothing(loop):
    seen = []

    async def main():
        for _ in range(3):
            for handle in (loop.call_soon(int), loop.call_later(5, int)):
                ref = weakref.ref(handle, lambda ref: seen.append(ref()))
                handle.cancel()
                seen.append(ref)
            del handle
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert [entry for entry in seen if entry is None] == [None] * 6
    seen.clear()


def test_a_finalizer_that_cancels_other_handles(loop):
    seen = []
    handles = []

    def cancel_all():
        seen.append("died")
        for handle in handles:
            handle.cancel()

    handles.append(loop.call_soon(print, Finalizer(cancel_all)))
    handles.append(loop.call_later(0, seen.append, "never"))
    handles.append(loop.call_soon(seen.append, "never"))
    handles[0].cancel()
    assert seen == ["died"]
    run_briefly(loop, turns=2)
    assert seen == ["died"]
    handles.clear()


def test_a_callback_that_drops_its_own_arguments(loop):
    seen = []

    class Callback:
        def __call__(self, thing):
            handle[0].cancel()
            handle.clear()
            gc.collect()
            seen.append(type(thing).__name__)
            return self

        def __del__(self):
            seen.append("deleted")
            loop.call_soon(seen.append, "later")

    handle = [loop.call_soon(Callback(), [])]
    run_briefly(loop, turns=3)
    assert seen == ["list", "deleted", "later"]


# The loop object


def test_methods_of_a_loop_that_was_never_initialised():
    for kind in (EventLoop, _core.LoopCore):
        loop = kind.__new__(kind)
        for name in _core.LoopCore.__dict__:
            if name.startswith("__"):
                continue
            method = getattr(loop, name)
            for args in ((), (1,), (None, int), (int,), (5, int, 1), (1, 2, 3, 4)):
                if callable(method):
                    with contextlib.suppress(
                        TypeError, RuntimeError, AttributeError, ValueError
                    ):
                        result = method(*args)
                        if asyncio.iscoroutine(result):
                            result.close()
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            loop.call_soon(print)
        handle = asyncio.Handle(print, (), loop, None)
        if not loop.is_closed():
            with pytest.raises(RuntimeError, match="Event loop is closed"):
                loop._add_callback(handle)
        loop._closed = True  # or its finalizer would warn


def test_a_loop_is_initialised_once(loop):
    counts = _core._debug_counts()
    for _ in range(3):
        with pytest.raises(RuntimeError, match="cannot be initialised again"):
            loop.__init__()
    assert _core._debug_counts() == counts
    assert loop.run_until_complete(asyncio.sleep(0, "sound")) == "sound"
    loop.close()
    with pytest.raises(RuntimeError, match="cannot be initialised again"):
        loop.__init__()


def test_a_constructor_that_fails(monkeypatch):
    def refuse(*args):
        raise OSError(24, "Too many open files")

    before = _core._debug_counts()
    monkeypatch.setattr(socket, "socketpair", refuse)
    with unheard():
        with pytest.warns(ResourceWarning, match="unclosed event loop"):
            with pytest.raises(OSError, match="Too many open files") as info:
                EventLoop()
            del info
            gc.collect()
    assert _core._debug_counts()["runners"] <= before["runners"]


def test_attaching_to_junk():
    closed = []

    async def main():
        async with trio.open_nursery() as nursery:
            closed.append(nursery)
        loop = _core.LoopCore()
        async with trio.open_nursery() as nursery:
            for args in ((), (1, 2), (nursery,), (closed[0], nursery), (None, None)):
                with pytest.raises((TypeError, RuntimeError)):
                    loop._attach(*args)
            with pytest.raises(RuntimeError):
                loop._attach(nursery, nursery, 5)
            loop._attach(nursery, nursery)
            with pytest.raises(RuntimeError, match="attached once"):
                loop._attach(nursery, nursery)
            loop._dismantle()
            loop._dismantle()

    trio.run(main)
    with pytest.raises(RuntimeError):
        _core.LoopCore()._attach(closed[0], closed[0])
    closed.clear()


def test_attributes_that_are_taken_away(loop):
    for name in ("_thread_id", "_selector", "_ready", "_scheduled", "_current_handle"):
        with contextlib.suppress(AttributeError, TypeError):
            delattr(loop, name)
    loop.mine = 1
    loop.__dict__.clear()
    loop.__dict__ = {"call_at": None}
    del loop.__dict__
    assert loop.run_until_complete(asyncio.sleep(0, "sound")) == "sound"
    for name in ("_ssock", "_csock"):
        getattr(loop, name).close()
        delattr(loop, name)
    # What cannot be closed orderly is let go of all the same.
    with pytest.raises((AttributeError, ValueError)):
        loop.close()
    assert loop.is_closed() or loop._runner is not None
    loop._closed = True


def test_slow_callback_duration_of_any_kind():
    class Loop(EventLoop):
        def __setattr__(self, name, value):
            str(value)  # runs code
            super().__setattr__(name, value)

    class StockLoop(asyncio.SelectorEventLoop):
        pass

    texts = []
    for kind in (Loop, StockLoop):
        loop = kind()
        loop.set_debug(True)
        loop.slow_callback_duration = "x"
        loop.call_soon(int)
        with pytest.raises(TypeError) as info:
            loop.run_forever()
        texts.append(str(info.value))
        del info
        assert loop._current_handle is None
        loop.slow_callback_duration = 10
        run_briefly(loop)
        loop.close()
    assert texts[0] == texts[1]


def test_a_loop_that_is_dismantled_by_a_callback():
    loop = EventLoop()
    seen = []

    def dismantle():
        loop.call_later(0, seen.append, "timer")
        loop._dismantle()
        loop.stop()

    loop.call_soon(dismantle)
    loop.call_soon(seen.append, "queued")
    loop.run_forever()
    assert seen == []
    assert loop.is_closed()
    loop._leave_home()
    loop._ssock.close()
    loop._csock.close()


def test_getattribute_that_closes_collects_and_counts():
    class Loop(EventLoop):
        looked_up = 0

        def __getattribute__(self, name):
            Loop.looked_up += 1
            if Loop.looked_up % 10 == 0:
                gc.collect(0)
            return super().__getattribute__(name)

    async def main():
        async with asyncio.timeout(10):
            await asyncio.gather(*(asyncio.sleep(0) for _ in range(20)))
        return await asyncio.get_running_loop().run_in_executor(None, int)

    loop = Loop()
    loop.set_debug(True)
    assert loop.run_until_complete(main()) == 0
    loop.close()
    assert Loop.looked_up > 50


def test_what_a_subclass_overrides_gets_handles():
    # Recorders wrap call_soon and keep what it returns, of Tasks' steps too.
    kept = []

    class Loop(EventLoop):
        def call_soon(self, callback, *args, **kwargs):
            kept.append(super().call_soon(callback, *args, **kwargs))
            return kept[-1]

    loop = Loop()

    async def main():
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    loop.close()
    assert len(kept) >= 5
    assert all(handle.cancelled() is False for handle in kept)
    kept.clear()


def test_the_first_task_of_a_program_has_its_name():
    quiet_script(
        """
        import asyncio
        from trio_asyncio_c import new_event_loop
        async def main():
            return asyncio.current_task().get_name()
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            assert runner.run(main()) == "Task-1"
        print("done")
        """
    )


# Many hostile things in any order


class Model:
    """A loop under random operations, and what must have come of each."""

    STEPS = 3000

    def __init__(self, loop, seed):
        self.loop = loop
        self.random = random.Random(seed)
        self.steps = 0
        self.ran = set()
        self.must_run = set()
        self.must_not_run = set()
        self.handles = {}
        self.jobs = []
        self.pairs = []
        self.errors = 0
        self.expected_errors = 0
        self.next_id = 0
        loop.set_exception_handler(self.on_error)
        self.operations = [
            self.soon,
            self.soon,
            self.threadsafe,
            self.later,
            self.cancel,
            self.cancel,
            self.fail,
            self.read,
            self.stop_reading,
            self.close_file,
            self.job,
            self.task,
            self.stop,
            self.finalizer,
            self.close_loop,
            self.collect,
            self.nested,
        ]

    def on_error(self, loop, context):
        assert isinstance(context["exception"], ZeroDivisionError), context
        self.errors += 1

    def new_id(self):
        self.next_id += 1
        return self.next_id

    def callback(self, number):
        assert number not in self.must_not_run, "a cancelled callback ran"
        assert number not in self.ran, "a callback ran twice"
        self.ran.add(number)
        self.handles.pop(number, None)
        for _ in range(self.random.randrange(3)):
            self.step()

    def step(self):
        self.steps += 1
        if self.steps < self.STEPS:
            self.random.choice(self.operations)()

    def scheduled(self, number, handle):
        self.must_run.add(number)
        self.handles[number] = handle

    def soon(self):
        number = self.new_id()
        self.scheduled(number, self.loop.call_soon(self.callback, number))

    def threadsafe(self):
        number = self.new_id()
        handle = self.loop.call_soon_threadsafe(self.callback, number)
        self.scheduled(number, handle)

    def later(self):
        number = self.new_id()
        delay = self.random.choice([-1, 0, 0.0005, 0.001])
        self.scheduled(number, self.loop.call_later(delay, self.callback, number))

    def cancel(self):
        if self.handles:
            number = self.random.choice(sorted(self.handles))
            self.handles.pop(number).cancel()
            self.must_run.discard(number)
            self.must_not_run.add(number)

    def fail(self):
        self.expected_errors += 1
        self.loop.call_soon(lambda: 1 / 0)

    def read(self):
        left, right = socket.socketpair()
        left.setblocking(False)
        self.pairs.append((left, right))
        right.send(b"x")
        self.loop.add_reader(left, self.on_readable, left)

    def on_readable(self, sock):
        assert sock.fileno() != -1, "a closed file was readable"
        with contextlib.suppress(BlockingIOError):
            sock.recv(1)
        self.loop.remove_reader(sock)
        self.step()

    def stop_reading(self):
        if self.pairs:
            self.loop.remove_reader(self.random.choice(self.pairs)[0])

    def close_file(self):
        if self.pairs:
            left, right = self.pairs.pop(self.random.randrange(len(self.pairs)))
            self.loop.remove_reader(left)
            left.close()
            right.close()

    def job(self):
        number = self.new_id()
        future = self.loop.run_in_executor(None, int)
        self.must_run.add(number)
        future.add_done_callback(lambda future: self.callback(number))
        self.jobs.append(future)

    def task(self):
        number = self.new_id()

        async def main():
            for _ in range(self.random.randrange(4)):
                await asyncio.sleep(0)
            self.callback(number)

        self.must_run.add(number)
        self.jobs.append(self.loop.create_task(main()))

    def stop(self):
        self.loop.stop()

    def finalizer(self):
        self.loop.call_soon(lambda thing: None, Finalizer(self.step))
        # Its finalizer runs when cancel() comes to it.
        self.handles[self.new_id()] = self.loop.call_later(500, Finalizer(self.soon))
        self.cancel()

    def close_loop(self):
        with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
            self.loop.close()

    def collect(self):
        gc.collect(0)

    def nested(self):
        with pytest.raises(RuntimeError, match="already running"):
            self.loop.run_forever()
        other = EventLoop()
        other.call_soon(print)
        other.close()

    def finish(self):
        """Let everything that is under way come to its end."""
        for number in [n for n in self.handles if n not in self.must_run]:
            self.handles.pop(number).cancel()
        for left, right in self.pairs:
            self.loop.remove_reader(left)
            left.close()
            right.close()
        run_until(self.loop, lambda: self.must_run <= self.ran)
        assert all(job.done() for job in self.jobs)
        run_briefly(self.loop, turns=2)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_random_operations(loop, seed, debug):
    loop.set_debug(debug)
    loop.slow_callback_duration = 60
    model = Model(loop, seed)
    while model.steps < model.STEPS:
        for _ in range(5):
            loop.call_soon(model.step)
        run_briefly(loop, turns=3)
    model.finish()
    assert model.ran == model.must_run
    assert not model.ran & model.must_not_run
    assert model.errors == model.expected_errors
    assert len(model.ran) > 300 and model.errors > 50
    loop.set_exception_handler(None)
    model.__dict__.clear()
