"""Worker threads, and the way back from them into the run."""

from __future__ import annotations

import contextvars
import queue
import sys
import threading
import time
import weakref
from functools import partial

import pytest
from trio_asyncio_c import trio

from ._helpers import cancel, refused_when_cancelled, run_mock, settle, start

to_thread = trio.to_thread
from_thread = trio.from_thread
lowlevel = trio.lowlevel

# Nothing takes as long; a test that waits for it has failed.
LONG = 60

NOT_A_TASK = "this is a blocking function; call it from a thread"

variable = contextvars.ContextVar("variable", default="unset")


class Gate:
    """A blocking function that tells when it has begun and waits to go on."""

    def __init__(self):
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.ended = threading.Event()

    def __call__(self):
        self.begun.set()
        try:
            assert self.go_on.wait(LONG)
        finally:
            self.ended.set()

    async def wait_begun(self):
        while not self.begun.is_set():
            await trio.lowlevel.checkpoint()

    async def wait_ended(self):
        while not self.ended.is_set():
            await trio.lowlevel.checkpoint()


def in_foreign_thread(fn, *args):
    """Start `fn(*args)` in a thread of its own; return a way to join it."""
    results = queue.SimpleQueue()

    def body():
        results.put(lowlevel.capture(fn, *args))

    thread = threading.Thread(target=body)
    thread.start()

    def join():
        result = results.get(timeout=LONG)
        thread.join(LONG)
        assert not thread.is_alive()
        return result.unwrap()

    return join


# ---- into a thread ----


def test_runs_in_another_thread_and_returns_the_value():
    async def main():
        def work(*args):
            return threading.get_ident(), args

        ident, args = await to_thread.run_sync(work, 1, 2)
        assert ident != threading.get_ident()
        assert args == (1, 2)
        keywords = partial(sorted, reverse=True)
        assert await to_thread.run_sync(keywords, [1, 3, 2]) == [3, 2, 1]

    trio.run(main)


@pytest.mark.parametrize("kind", [KeyError, KeyboardInterrupt, SystemExit])
def test_raises_what_the_function_raises(kind):
    async def main():
        error = kind("x")

        def work():
            raise error

        with pytest.raises(kind) as caught:
            await to_thread.run_sync(work)
        assert caught.value is error

    trio.run(main)


def test_a_stop_iteration_is_not_taken_for_the_end_of_the_task():
    async def main():
        with pytest.raises(RuntimeError) as caught:
            await to_thread.run_sync(next, iter([]))
        assert type(caught.value.__cause__) is StopIteration

    trio.run(main)


def test_returns_even_an_outcome_unchanged():
    async def main():
        value = lowlevel.Error(KeyError())
        assert await to_thread.run_sync(lambda: value) is value

    trio.run(main)


def test_other_tasks_go_on():
    async def main():
        gate = Gate()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(to_thread.run_sync, gate)
            await gate.wait_begun()
            for _ in range(10):
                await lowlevel.checkpoint()
            gate.go_on.set()

    trio.run(main)


def test_is_a_checkpoint():
    async def main():
        with trio.testing.assert_checkpoints():
            await to_thread.run_sync(int)

    trio.run(main)


def test_threads_are_used_again():
    async def main():
        idents = set()
        for _ in range(20):
            idents.add(await to_thread.run_sync(threading.get_ident))
            await settle()
        assert len(idents) < 20

    trio.run(main)


def test_threads_are_daemons():
    async def main():
        thread = await to_thread.run_sync(threading.current_thread)
        assert thread.daemon

    trio.run(main)


def test_an_async_function_is_refused():
    async def main():
        async def work():
            raise AssertionError("unreachable")

        text = "Trio expected a sync function, but '.*work' appears to be asy"
        with pytest.raises(TypeError, match=text):
            await to_thread.run_sync(work)
        assert to_thread.current_default_thread_limiter().borrowed_tokens == 0

    trio.run(main)


def test_it_can_be_nested():
    async def main():
        def work(depth):
            if depth == 0:
                return threading.get_ident()
            return from_thread.run(to_thread.run_sync, work, depth - 1)

        assert await to_thread.run_sync(work, 5) != threading.get_ident()

    trio.run(main)


# ---- names ----


def os_thread_name():
    with open(f"/proc/self/task/{threading.get_native_id()}/comm") as file:
        return file.read().strip()


def thread_name():
    return threading.current_thread().name


def test_thread_name():
    async def main():
        name = await to_thread.run_sync(thread_name, thread_name="my thread")
        assert name == "my thread"
        name = await to_thread.run_sync(thread_name)
        assert name == f"thread_name from {lowlevel.current_task().name}"
        name = await to_thread.run_sync(partial(thread_name))
        assert name == f"None from {lowlevel.current_task().name}"

    trio.run(main)


def test_thread_name_is_put_back():
    async def main():
        threads = []
        for _ in range(3):
            thread = await to_thread.run_sync(
                threading.current_thread, thread_name="for a while"
            )
            threads.append(thread)
        gate = Gate()
        async with trio.open_nursery() as nursery:
            # Once the thread has something else to do it is named for that.
            nursery.start_soon(partial(to_thread.run_sync, gate))
            await gate.wait_begun()
            gate.go_on.set()
        deadline = time.monotonic() + LONG
        while any(thread.name == "for a while" for thread in threads):
            assert time.monotonic() < deadline
            await lowlevel.checkpoint()

    trio.run(main)


@pytest.mark.skipif(
    not sys.platform.startswith("linux"),
    reason="reads a thread's name in /proc",
)
def test_thread_name_for_the_operating_system():
    async def main():
        name = await to_thread.run_sync(os_thread_name, thread_name="short")
        assert name == "short"
        name = await to_thread.run_sync(
            os_thread_name, thread_name="more than fifteen characters"
        )
        assert name == "more than fifte"
        name = await to_thread.run_sync(os_thread_name, thread_name="ä")
        assert name == "?"

    trio.run(main)


# ---- context variables ----


def test_the_thread_has_a_copy_of_the_context():
    async def main():
        variable.set("main")

        def work():
            before = variable.get()
            variable.set("thread")
            return before, variable.get()

        assert await to_thread.run_sync(work) == ("main", "thread")
        assert variable.get() == "main"

    trio.run(main)


def test_calls_back_have_a_copy_of_the_threads_context():
    async def main():
        variable.set("main")

        def sync_read():
            before = variable.get()
            variable.set("sync")
            return before

        async def async_read():
            before = variable.get()
            await lowlevel.checkpoint()
            assert variable.get() == before
            variable.set("async")
            await lowlevel.checkpoint()
            assert variable.get() == "async"
            return before

        def work(**kwargs):
            variable.set("thread")
            seen = [
                from_thread.run_sync(sync_read, **kwargs),
                from_thread.run(async_read, **kwargs),
                variable.get(),
            ]
            assert seen == ["thread"] * 3

        await to_thread.run_sync(work)
        assert variable.get() == "main"
        await to_thread.run_sync(work, abandon_on_cancel=True)
        token = lowlevel.current_trio_token()
        await to_thread.run_sync(partial(work, trio_token=token))
        assert variable.get() == "main"

    trio.run(main)


def test_nothing_of_the_caller_is_kept_after_the_call():
    class Thing:
        pass

    async def main():
        thing = Thing()
        variable.set(thing)
        refs = [weakref.ref(thing)]
        await to_thread.run_sync(lambda argument: None, thing)
        variable.set("unset")
        argument = Thing()
        refs.append(weakref.ref(argument))
        await to_thread.run_sync(id, argument)
        del thing, argument
        deadline = time.monotonic() + LONG
        while any(ref() is not None for ref in refs):
            assert time.monotonic() < deadline
            await lowlevel.checkpoint()

    trio.run(main)


# ---- cancelling ----


def test_in_a_cancelled_scope_no_thread_is_started():
    async def main():
        def work():
            raise AssertionError("unreachable")

        await refused_when_cancelled(to_thread.run_sync, work)
        assert to_thread.current_default_thread_limiter().borrowed_tokens == 0

    trio.run(main)


def test_cancelling_waits_for_the_thread():
    async def main():
        gate = Gate()
        async with trio.open_nursery() as nursery:
            call = await start(nursery, to_thread.run_sync, gate)
            await gate.wait_begun()
            call.scope.cancel()
            await settle()
            assert not call.done
            gate.go_on.set()
        # What the thread returned counts, the cancellation came too late.
        assert call.scope.cancel_called
        assert not call.cancelled

    trio.run(main)


def test_cancelling_abandons_the_thread():
    async def main():
        gate = Gate()
        limiter = trio.CapacityLimiter(1)
        run = partial(to_thread.run_sync, gate, abandon_on_cancel=True, limiter=limiter)
        async with trio.open_nursery() as nursery:
            call = await start(nursery, run)
            await gate.wait_begun()
            await cancel(call)
            # The thread goes on, and keeps its token.
            assert not gate.ended.is_set()
            assert limiter.borrowed_tokens == 1
            gate.go_on.set()
            async with limiter:
                assert gate.ended.is_set()

    trio.run(main)


def test_what_an_abandoned_thread_raises_is_dropped():
    async def main():
        gate = Gate()

        def work():
            gate()
            raise KeyError

        with trio.move_on_after(1) as scope:
            await to_thread.run_sync(work, abandon_on_cancel=True)
        assert scope.cancelled_caught
        gate.go_on.set()
        await gate.wait_ended()
        await trio.testing.wait_all_threads_completed()
        limiter = to_thread.current_default_thread_limiter()
        while limiter.borrowed_tokens:
            await lowlevel.checkpoint()

    run_mock(main)


def test_a_run_may_end_before_a_thread_that_it_abandoned():
    gate = Gate()
    reports = []

    class Limiter:
        async def acquire_on_behalf_of(self, borrower):
            reports.append("acquire")

        def release_on_behalf_of(self, borrower):
            reports.append("release")

    async def main():
        with trio.move_on_after(1):
            await to_thread.run_sync(gate, abandon_on_cancel=True, limiter=Limiter())

    run_mock(main)
    gate.go_on.set()
    assert gate.ended.wait(LONG)

    # It has nobody to report to now, neither the result nor the token.
    assert reports == ["acquire"]


def test_abandon_on_cancel_is_looked_at_before_anything_happens():
    class Undecided:
        def __bool__(self):
            raise ZeroDivisionError

    async def main():
        with pytest.raises(ZeroDivisionError):
            await to_thread.run_sync(int, abandon_on_cancel=Undecided())
        assert to_thread.current_default_thread_limiter().borrowed_tokens == 0

    trio.run(main)


# ---- limiters ----


def test_default_limiter():
    async def main():
        limiter = to_thread.current_default_thread_limiter()
        assert type(limiter) is trio.CapacityLimiter
        assert limiter.total_tokens == 40
        assert to_thread.current_default_thread_limiter() is limiter
        limiter.total_tokens = 1
        gate = Gate()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(to_thread.run_sync, gate)
            await gate.wait_begun()
            (borrower,) = limiter.statistics().borrowers
            assert "trio.to_thread.run_sync-" in repr(borrower)
            assert limiter.borrowed_tokens == 1
            call = await start(nursery, to_thread.run_sync, int)
            assert not call.done
            gate.go_on.set()
        assert call.done
        return limiter

    # Each run has one of its own.
    assert trio.run(main) is not trio.run(main)


def test_default_limiter_outside_of_a_run():
    with pytest.raises(RuntimeError):
        to_thread.current_default_thread_limiter()


def test_a_limiter_bounds_the_number_of_threads():
    async def main():
        limiter = trio.CapacityLimiter(3)
        lock = threading.Lock()
        running = 0
        highest = 0

        def work():
            nonlocal running, highest
            with lock:
                running += 1
                highest = max(highest, running)
            time.sleep(0.005)
            with lock:
                running -= 1

        async with trio.open_nursery() as nursery:
            for _ in range(12):
                run = partial(to_thread.run_sync, work, limiter=limiter)
                nursery.start_soon(run)
        assert highest == 3
        assert limiter.borrowed_tokens == 0

    trio.run(main)


def test_waiting_for_the_limiter_can_be_cancelled():
    async def main():
        limiter = trio.CapacityLimiter(0)
        run = partial(to_thread.run_sync, int, limiter=limiter)
        async with trio.open_nursery() as nursery:
            await cancel(await start(nursery, run))
        assert trio.testing.active_thread_count() == 0

    trio.run(main)


class RecordingLimiter:
    """An object that is not a CapacityLimiter, but does as one."""

    def __init__(self, acquire_error=None, release_error=None):
        self.acquire_error = acquire_error
        self.release_error = release_error
        self.calls = []

    async def acquire_on_behalf_of(self, borrower):
        self.calls.append(("acquire", borrower))
        if self.acquire_error is not None:
            raise self.acquire_error

    def release_on_behalf_of(self, borrower):
        self.calls.append(("release", borrower))
        if self.release_error is not None:
            raise self.release_error


def test_custom_limiter():
    async def main():
        limiter = RecordingLimiter()
        assert await to_thread.run_sync(int, limiter=limiter) == 0
        with pytest.raises(ZeroDivisionError):
            await to_thread.run_sync(divmod, 1, 0, limiter=limiter)
        names = [name for name, _ in limiter.calls]
        assert names == ["acquire", "release"] * 2
        borrowers = [borrower for _, borrower in limiter.calls]
        assert borrowers[0] is borrowers[1]
        assert borrowers[2] is borrowers[3]
        assert borrowers[0] is not borrowers[2]

    trio.run(main)


def test_custom_limiter_that_does_not_lend():
    async def main():
        limiter = RecordingLimiter(acquire_error=KeyError("acquire"))
        with pytest.raises(KeyError, match="acquire"):
            await to_thread.run_sync(int, limiter=limiter)
        assert len(limiter.calls) == 1

    trio.run(main)


def test_custom_limiter_whose_release_fails():
    async def main():
        limiter = RecordingLimiter(release_error=KeyError("release"))
        with pytest.raises(KeyError, match="release") as caught:
            await to_thread.run_sync(int, limiter=limiter)
        assert caught.value.__context__ is None

        limiter = RecordingLimiter(release_error=KeyError("release"))
        with pytest.raises(KeyError, match="release") as caught:
            await to_thread.run_sync(divmod, 1, 0, limiter=limiter)
        assert type(caught.value.__context__) is ZeroDivisionError

    trio.run(main)


def test_a_thread_that_cannot_be_started(monkeypatch):
    from trio_asyncio_c import _threads

    def refuse(*args):
        raise RuntimeError("can't start new thread")

    async def main():
        limiter = RecordingLimiter()
        with monkeypatch.context() as patch:
            patch.setattr(_threads, "start_thread_soon", refuse)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await to_thread.run_sync(int, limiter=limiter)
        names = [name for name, _ in limiter.calls]
        assert names == ["acquire", "release"]
        assert trio.testing.active_thread_count() == 0

    trio.run(main)


# ---- back from a worker thread ----


def test_run_sync_calls_in_the_thread_of_the_run():
    async def main():
        home = threading.get_ident()

        def work():
            assert threading.get_ident() != home
            assert from_thread.run_sync(threading.get_ident) == home
            assert from_thread.run_sync(divmod, 7, 2) == (3, 1)
            with pytest.raises(ZeroDivisionError):
                from_thread.run_sync(divmod, 1, 0)
            return "done"

        assert await to_thread.run_sync(work) == "done"

    trio.run(main)


def test_run_runs_in_the_thread_of_the_run():
    async def main():
        home = threading.get_ident()

        async def divide(a, b):
            await lowlevel.checkpoint()
            assert threading.get_ident() == home
            return a // b

        def work():
            assert from_thread.run(divide, 7, 2) == 3
            with pytest.raises(ZeroDivisionError):
                from_thread.run(divide, 1, 0)
            return "done"

        assert await to_thread.run_sync(work) == "done"

    trio.run(main)


def test_calls_back_are_made_by_the_task_that_waits():
    async def main():
        async def get_task():
            await lowlevel.checkpoint()
            return lowlevel.current_task()

        def work():
            return (
                from_thread.run_sync(lowlevel.current_task),
                from_thread.run(get_task),
            )

        task = lowlevel.current_task()
        assert await to_thread.run_sync(work) == (task, task)

        # Not so if it may leave at any time.
        others = await to_thread.run_sync(work, abandon_on_cancel=True)
        assert task not in others

    trio.run(main)


def test_calls_back_are_inside_the_scopes_of_the_task_that_waits():
    async def main():
        with trio.CancelScope(deadline=trio.current_time() + 1000) as scope:
            deadline = await to_thread.run_sync(
                from_thread.run_sync, trio.current_effective_deadline
            )
            assert deadline == scope.deadline

    trio.run(main)


def test_calls_back_are_cancelled_with_the_task_that_waits():
    async def main():
        def work():
            with pytest.raises(trio.Cancelled):
                from_thread.run(trio.sleep_forever)
            # It stays cancelled, but functions can be called.
            with pytest.raises(trio.Cancelled):
                from_thread.run(lowlevel.checkpoint)
            return from_thread.run_sync(int)

        with trio.move_on_after(1) as scope:
            assert await to_thread.run_sync(work) == 0
        assert scope.cancel_called
        assert not scope.cancelled_caught

    run_mock(main)


def test_cancelled_raised_in_the_thread_is_caught_by_the_scope():
    async def main():
        def work():
            from_thread.run(trio.sleep_forever)

        with trio.move_on_after(1) as scope:
            await to_thread.run_sync(work)
        assert scope.cancelled_caught

    run_mock(main)


def test_calls_back_of_the_wrong_kind():
    async def main():
        async def async_fn():
            raise AssertionError("unreachable")

        def sync_fn():
            pass

        async def generator_fn():
            yield

        def work():
            text = "Trio expected a synchronous function, but '.*async_fn' app"
            with pytest.raises(TypeError, match=text):
                from_thread.run_sync(async_fn)
            text = "Trio expected an async function, but '.*sync_fn' appears t"
            with pytest.raises(TypeError, match=text):
                from_thread.run(sync_fn)
            with pytest.raises(TypeError, match="got an async generator <"):
                from_thread.run(generator_fn)
            coroutine = async_fn()
            with pytest.raises(TypeError, match="got a coroutine object <cor"):
                from_thread.run(coroutine)
            with pytest.raises(TypeError, match="asyncio/twisted/tornado"):
                from_thread.run(i for i in range(3))
            with pytest.raises(TypeError, match=r"missing .*required"):
                from_thread.run(trio.sleep)
            return "done"

        assert await to_thread.run_sync(work) == "done"
        kept = partial(to_thread.run_sync, work, abandon_on_cancel=True)
        assert await kept() == "done"

    trio.run(main)


def test_keyboard_interrupt_can_reach_calls_back():
    async def main():
        async def check():
            return lowlevel.currently_ki_protected()

        def work(**kwargs):
            return [
                from_thread.run_sync(lowlevel.currently_ki_protected, **kwargs),
                from_thread.run(check, **kwargs),
            ]

        assert await to_thread.run_sync(work) == [False, False]
        token = lowlevel.current_trio_token()
        run = partial(work, trio_token=token)
        assert await to_thread.run_sync(run) == [False, False]

    trio.run(main)


# ---- back from any thread ----


def test_with_a_token_from_a_foreign_thread():
    async def main():
        token = lowlevel.current_trio_token()
        home = threading.get_ident()

        async def get_ident():
            await lowlevel.checkpoint()
            return threading.get_ident()

        def work():
            call = partial(from_thread.run_sync, trio_token=token)
            assert call(threading.get_ident) == home
            with pytest.raises(ZeroDivisionError):
                call(divmod, 1, 0)
            assert from_thread.run(get_ident, trio_token=token) == home
            return "done"

        join = in_foreign_thread(work)
        assert await to_thread.run_sync(join) == "done"

    trio.run(main)


def test_with_a_token_it_runs_in_a_system_task():
    async def main():
        token = lowlevel.current_trio_token()
        me = lowlevel.current_task()

        async def get_task():
            task = lowlevel.current_task()
            return task, task.parent_nursery.parent_task, task.name

        def work():
            return from_thread.run(get_task, trio_token=token)

        task, parent, name = await to_thread.run_sync(work)
        assert task is not me
        assert parent is lowlevel.current_root_task()
        assert name.endswith("get_task")

    trio.run(main)


def test_with_a_token_the_waiting_task_can_be_cancelled_meanwhile():
    async def main():
        token = lowlevel.current_trio_token()
        event = trio.Event()

        def work():
            from_thread.run(event.wait, trio_token=token)

        async with trio.open_nursery() as nursery:
            call = await start(nursery, to_thread.run_sync, work)
            call.scope.cancel()
            await settle()
            assert not call.done
            event.set()
        assert not call.cancelled

    trio.run(main)


def test_without_a_token_from_a_foreign_thread():
    text = "this thread wasn't created by Trio, pass kwarg trio_token=..."

    async def check():
        raise AssertionError("unreachable")

    def work():
        with pytest.raises(RuntimeError, match=text):
            from_thread.run_sync(int)
        with pytest.raises(RuntimeError, match=text):
            from_thread.run(check)
        text_2 = "this thread wasn't created by Trio, can't check for cancell"
        with pytest.raises(RuntimeError, match=text_2):
            from_thread.check_cancelled()
        return "done"

    assert in_foreign_thread(work)() == "done"


@pytest.mark.parametrize("token", [object(), 1, "token"])
def test_with_something_that_is_no_token(token):
    text = "Passed kwarg trio_token is not of type TrioToken"
    with pytest.raises(RuntimeError, match=text):
        from_thread.run_sync(int, trio_token=token)


def test_in_the_thread_of_the_run_itself():
    async def main():
        token = lowlevel.current_trio_token()
        with pytest.raises(RuntimeError, match=NOT_A_TASK):
            from_thread.run_sync(int, trio_token=token)
        with pytest.raises(RuntimeError, match=NOT_A_TASK):
            from_thread.run(trio.sleep, 0, trio_token=token)
        text = "this thread wasn't created by Trio"
        with pytest.raises(RuntimeError, match=text):
            from_thread.run_sync(int)
        with pytest.raises(RuntimeError, match=text):
            from_thread.check_cancelled()

    trio.run(main)


def test_after_the_run_has_ended():
    async def main():
        return lowlevel.current_trio_token()

    token = trio.run(main)
    with pytest.raises(trio.RunFinishedError):
        from_thread.run_sync(int, trio_token=token)
    with pytest.raises(trio.RunFinishedError):
        from_thread.run(trio.sleep, 0, trio_token=token)


def test_while_the_run_is_ending():
    joins = []

    async def main():
        token = lowlevel.current_trio_token()

        async def system_task():
            try:
                await trio.sleep_forever()
            finally:
                # The system nursery is cancelled, but not closed yet.
                closing.set()

        closing = threading.Event()
        lowlevel.spawn_system_task(system_task)
        await lowlevel.checkpoint()

        def call_in_a_loop():
            while True:
                try:
                    from_thread.run(lowlevel.checkpoint, trio_token=token)
                except trio.Cancelled:
                    pass
                except trio.RunFinishedError as error:
                    return str(error)

        joins.append(in_foreign_thread(call_in_a_loop))
        await lowlevel.checkpoint()

    trio.run(main)
    (join,) = joins
    text = join()
    assert text in {"system nursery is closed", "run() has exited"}


def test_a_function_that_runs_when_the_run_ends_is_cancelled():
    async def main():
        token = lowlevel.current_trio_token()
        began = trio.Event()

        async def sleep():
            began.set()
            await trio.sleep_forever()

        def work():
            with pytest.raises(trio.Cancelled):
                from_thread.run(sleep, trio_token=token)
            return "done"

        join = in_foreign_thread(work)
        await began.wait()
        return join

    assert trio.run(main)() == "done"


# ---- check_cancelled ----


@pytest.mark.parametrize("abandon", [False, True])
def test_check_cancelled_is_silent_as_long_as_nothing_is_cancelled(abandon):
    async def main():
        def work():
            for _ in range(3):
                assert from_thread.check_cancelled() is None
            from_thread.run_sync(int)
            from_thread.run(trio.sleep, 0)
            from_thread.check_cancelled()
            return "done"

        run = partial(to_thread.run_sync, work, abandon_on_cancel=abandon)
        assert await run() == "done"

    trio.run(main)


def test_check_cancelled_ends_a_thread_that_is_waited_for():
    async def main():
        gate = Gate()

        def work():
            gate()
            from_thread.check_cancelled()
            raise AssertionError("unreachable")

        async with trio.open_nursery() as nursery:
            call = await start(nursery, to_thread.run_sync, work)
            await gate.wait_begun()
            call.scope.cancel(reason="enough")
            await settle()
            assert not call.done
            gate.go_on.set()
        assert call.cancelled

    trio.run(main)


def test_check_cancelled_raises_again_and_with_the_reason():
    async def main():
        gate = Gate()

        def work():
            gate()
            for _ in range(3):
                with pytest.raises(trio.Cancelled) as caught:
                    from_thread.check_cancelled()
                assert caught.value.source == "explicit"
                assert caught.value.reason == "enough"
            return "survived"

        async with trio.open_nursery() as nursery:
            call = await start(nursery, to_thread.run_sync, work)
            await gate.wait_begun()
            call.scope.cancel(reason="enough")
            gate.go_on.set()
        assert call.result == "survived"
        assert not call.cancelled

    trio.run(main)


def test_check_cancelled_ends_a_thread_that_was_abandoned():
    async def main():
        gate = Gate()
        outcomes = queue.SimpleQueue()

        def work():
            try:
                gate()
                from_thread.check_cancelled()
            except BaseException as error:
                outcomes.put(type(error))
                raise

        with trio.move_on_after(1) as scope:
            await to_thread.run_sync(work, abandon_on_cancel=True)
        assert scope.cancelled_caught
        gate.go_on.set()
        get = partial(outcomes.get, timeout=LONG)
        assert await to_thread.run_sync(get) is trio.Cancelled

    run_mock(main)


def test_calls_back_from_a_thread_that_was_abandoned_still_work():
    async def main():
        gate = Gate()
        outcomes = queue.SimpleQueue()

        async def answer():
            await lowlevel.checkpoint()
            return "async"

        def work():
            gate()
            outcomes.put(from_thread.run_sync(str, "sync"))
            outcomes.put(from_thread.run(answer))

        with trio.move_on_after(1):
            await to_thread.run_sync(work, abandon_on_cancel=True)
        gate.go_on.set()
        get = partial(outcomes.get, timeout=LONG)
        assert await to_thread.run_sync(get) == "sync"
        assert await to_thread.run_sync(get) == "async"

    run_mock(main)


# ---- many at a time ----


def test_many_threads_calling_back():
    async def main():
        total = 0

        def add(number):
            nonlocal total
            total += number

        async def add_later(number):
            await lowlevel.checkpoint()
            add(number)

        def work():
            for number in range(10):
                from_thread.run_sync(add, number)
                from_thread.run(add_later, number)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(to_thread.run_sync, work)
        assert total == 20 * 2 * 45

    trio.run(main)
