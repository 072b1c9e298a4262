"""The entry queue: TrioToken.run_sync_soon from tasks, threads and signals."""

from __future__ import annotations

import gc
import signal
import socket
import threading
import time

import pytest
from trio_asyncio_c import trio

from ._helpers import Value, block, crash, run, settle

lowlevel = trio.lowlevel


def my_token():
    return lowlevel.current_trio_token()


def test_a_call_from_a_task_is_made_soon_but_not_at_once():
    async def main():
        calls = []
        my_token().run_sync_soon(calls.append, 1)
        assert calls == []
        await settle()
        assert calls == [1]

    run(main)


def test_calls_are_made_in_the_order_they_came():
    # R34
    async def main():
        calls = []
        for i in range(1000):
            my_token().run_sync_soon(calls.append, i)
        await settle()
        assert calls == list(range(1000))

    run(main)


def test_idempotent_calls_are_made_once():
    # R34
    async def main():
        calls = []
        token = my_token()
        for i in [1, 2, 1, 3, 2, 1]:
            token.run_sync_soon(calls.append, i, idempotent=True)
        assert lowlevel.current_statistics().run_sync_soon_queue_size == 3
        await settle()
        assert calls == [1, 2, 3]
        token.run_sync_soon(calls.append, 1, idempotent=True)
        await settle()
        assert calls == [1, 2, 3, 1]

    run(main)


def test_idempotent_calls_differ_in_function_and_arguments():
    # R34
    async def main():
        first, second = [], []
        append = first.append
        token = my_token()
        token.run_sync_soon(append, 1, idempotent=True)
        token.run_sync_soon(append, 1.0, idempotent=True)  # equal
        token.run_sync_soon(append, 2, idempotent=True)
        token.run_sync_soon(lambda: second.append(1), idempotent=True)
        token.run_sync_soon(append, 1)  # not idempotent: a call of its own
        await settle()
        assert sorted(first) == [1, 1, 2]
        assert second == [1]

    run(main)


def test_idempotent_arguments_must_be_hashable():
    # R34
    async def main():
        with pytest.raises(TypeError, match="unhashable"):
            my_token().run_sync_soon(print, [], idempotent=True)
        await settle()

    run(main)


def test_an_idempotent_call_may_ask_for_itself_again():
    # R34: it is taken out of the queue before it is made.
    async def main():
        calls = []
        token = my_token()

        def again():
            calls.append(1)
            if len(calls) < 5:
                token.run_sync_soon(again, idempotent=True)

        token.run_sync_soon(again, idempotent=True)
        await settle()
        assert len(calls) == 5

    run(main)


def test_a_pass_is_bounded_by_what_was_there_at_its_start():
    # R34: a callback that always asks for itself starves nobody.
    async def main():
        token = my_token()
        calls = []
        done = []

        def again():
            calls.append(1)
            if not done:
                token.run_sync_soon(again)

        token.run_sync_soon(again)
        with trio.move_on_after(0.02):
            await trio.sleep_forever()
        assert len(calls) > 1
        done.append(1)

    run(main)


def test_the_queue_size_is_told():
    async def main():
        token = my_token()

        def size():
            return lowlevel.current_statistics().run_sync_soon_queue_size

        assert size() == 0
        token.run_sync_soon(int)
        token.run_sync_soon(int)
        token.run_sync_soon(int, idempotent=True)
        token.run_sync_soon(int, idempotent=True)
        assert size() == 3
        await settle()
        assert size() == 0

    run(main)


def test_calls_from_another_thread():
    async def main():
        token = my_token()
        calls = []

        def thread():
            for i in range(1000):
                token.run_sync_soon(calls.append, i)
            token.run_sync_soon(done.set)

        done = trio.Event()
        worker = threading.Thread(target=thread)
        worker.start()
        await done.wait()
        worker.join()
        assert calls == list(range(1000))

    run(main)


def test_calls_from_many_threads_at_once():
    # R34: none is lost, and each thread's are in order.
    async def main():
        token = my_token()
        calls = []
        counts = [0]

        def finish():
            counts[0] += 1
            if counts[0] == 8:
                done.set()

        def thread(name):
            for i in range(300):
                token.run_sync_soon(calls.append, (name, i))
            token.run_sync_soon(finish)

        done = trio.Event()
        workers = [threading.Thread(target=thread, args=(n,)) for n in range(8)]
        for worker in workers:
            worker.start()
        await done.wait()
        for worker in workers:
            worker.join()
        for name in range(8):
            assert [i for n, i in calls if n == name] == list(range(300))

    run(main)


def test_a_call_wakes_a_run_that_sleeps():
    # R34
    async def main():
        token = my_token()
        task = lowlevel.current_task()

        def thread():
            time.sleep(0.01)
            token.run_sync_soon(lowlevel.reschedule, task, Value("woken"))

        worker = threading.Thread(target=thread)
        worker.start()
        assert await block() == "woken"
        worker.join()

    run(main)


def test_calls_from_a_signal_handler():
    # R34
    async def main():
        token = my_token()
        task = lowlevel.current_task()
        calls = []

        def handler(signum, frame):
            token.run_sync_soon(calls.append, signum)
            token.run_sync_soon(calls.append, signum, idempotent=True)

        before = signal.signal(signal.SIGUSR1, handler)
        try:
            for _ in range(3):
                signal.raise_signal(signal.SIGUSR1)
            await settle()
            assert calls == [signal.SIGUSR1] * 4

            # And while the run is blocked in the poll.
            def thread():
                time.sleep(0.01)
                signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

            def wake(signum, frame):
                token.run_sync_soon(lowlevel.reschedule, task)

            signal.signal(signal.SIGUSR1, wake)
            worker = threading.Thread(target=thread)
            worker.start()
            await block()
            worker.join()
        finally:
            signal.signal(signal.SIGUSR1, before)

    run(main)


def test_a_signal_handler_may_interrupt_run_sync_soon_itself():
    # R34: the handler runs at any byte code, also in the middle of a call.
    async def main():
        token = my_token()
        calls = []

        def handler(signum, frame):
            token.run_sync_soon(calls.append, "signal")

        class Noisy:
            def __hash__(self):
                signal.raise_signal(signal.SIGUSR1)
                return 1

            def __eq__(self, other):
                return self is other

        before = signal.signal(signal.SIGUSR1, handler)
        try:
            token.run_sync_soon(calls.append, Noisy(), idempotent=True)
            await settle()
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert "signal" in calls

    run(main)


def test_the_wakeup_fd_of_signals_is_the_runs_own_and_given_back():
    # R43
    async def main():
        await settle()
        mine = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(mine)
        return mine

    assert run(main) != -1
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    assert before == -1


def test_a_wakeup_fd_that_is_in_use_already_warns():
    # R43: and is put back afterwards.
    async def main():
        await settle()
        return "fine"

    a, b = socket.socketpair()
    with a, b:
        a.setblocking(False)
        before = signal.set_wakeup_fd(a.fileno())
        try:
            with pytest.warns(
                RuntimeWarning,
                match="^It looks like Trio's signal handling code might have collided",
            ):
                assert run(main) == "fine"
            assert signal.set_wakeup_fd(before) == a.fileno()
        finally:
            signal.set_wakeup_fd(before)


def test_the_callbacks_run_in_a_system_task():
    async def main():
        seen = []

        def look():
            seen.append(lowlevel.current_task())
            seen.append(lowlevel.currently_ki_protected())

        my_token().run_sync_soon(look)
        await settle()
        task, protected = seen
        assert task.name == "<TrioToken.run_sync_soon task>"
        assert task is not lowlevel.current_task()
        assert protected

    run(main)


def test_a_callback_that_fails_is_an_internal_error():
    # R34, R30: and the later ones are still made.
    calls = []

    def fail():
        raise KeyError("callback")

    async def main():
        token = my_token()
        token.run_sync_soon(calls.append, 1)
        token.run_sync_soon(fail)
        token.run_sync_soon(calls.append, 2)
        try:
            await trio.sleep_forever()
        finally:
            calls.append("main cancelled")

    _, cause = crash(main)
    assert calls == [1, 2, "main cancelled"]
    assert cause == [["KeyError('callback')"]]


def test_a_callback_that_fails_late_in_the_shutdown():
    # R34: the system nursery is closed, so the queue's own nursery takes it.
    kept = []

    def fail():
        raise KeyError("late")

    async def generator():
        try:
            yield
        finally:
            my_token().run_sync_soon(fail)
            my_token().run_sync_soon(kept.append, "made")

    async def main():
        agen = generator()
        kept.append(agen)
        await agen.asend(None)

    _, cause = crash(main)
    assert kept[1:] == ["made"]
    assert cause == ["KeyError('late')"]


def test_calls_at_the_very_end_are_made_or_refused():
    # R32, R34: a call that is not refused is made.
    for _ in range(20):
        calls, accepted = [], []
        stop = threading.Event()

        async def main(calls=calls, accepted=accepted, stop=stop):
            token = my_token()

            def thread():
                i = 0
                while not stop.is_set():
                    try:
                        token.run_sync_soon(calls.append, i)
                    except trio.RunFinishedError:
                        return
                    accepted.append(i)
                    i += 1

            worker = threading.Thread(target=thread)
            worker.start()
            await lowlevel.checkpoint()
            return worker

        worker = run(main)
        worker.join(10)
        stop.set()
        assert not worker.is_alive()
        assert calls == accepted


class SlowlyHashed:
    """A callable that another thread hashes till the run has come to its end."""

    def __init__(self):
        self.calls = 0
        self.being_hashed = threading.Event()

    def __call__(self):
        self.calls += 1

    def __hash__(self):
        self.being_hashed.set()
        time.sleep(0.2)  # longer than the run takes that is waiting for it
        return 1


def test_a_call_that_is_hashed_while_the_run_ends_is_made_or_refused():
    # R32, R34
    call = SlowlyHashed()
    accepted = []

    async def main():
        token = my_token()

        def push():
            try:
                token.run_sync_soon(call, idempotent=True)
            except trio.RunFinishedError:
                return
            accepted.append(call)

        worker = threading.Thread(target=push)
        worker.start()
        call.being_hashed.wait(60)
        return worker

    run(main).join(60)
    assert call.calls == len(accepted) == 1


class Pusher:
    """A thread's calls, with a run coming to its end while the collector is at work
    in one of them (up to 3.11, where making a tuple may start it)."""

    def __init__(self, token):
        self.token = token
        self.called = self.accepted = 0
        self.is_pushing = False
        self.is_collecting, self.has_ended = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.push)

    def call(self):
        self.called += 1

    def on_collection(self, phase, info):
        if self.is_pushing and threading.current_thread() is self.thread:
            self.is_collecting.set()
            self.has_ended.wait(0.2)

    def push(self):
        # Bound before, that the queue's tuples alone start the collector.
        run_sync_soon, call = self.token.run_sync_soon, self.call
        thresholds = gc.get_threshold()
        gc.callbacks.append(self.on_collection)
        gc.set_threshold(1)
        try:
            for _ in range(5000):  # more tuples than the interpreter has in store
                self.is_pushing = True
                run_sync_soon(call)
                self.is_pushing = False
                self.accepted += 1
        except trio.RunFinishedError:
            pass
        finally:
            gc.set_threshold(*thresholds)
            gc.callbacks.remove(self.on_collection)
            self.is_collecting.set()


def test_a_call_during_which_the_collector_runs_is_made_or_refused():
    # R32, R34
    async def main():
        pusher = Pusher(my_token())
        pusher.thread.start()
        pusher.is_collecting.wait(60)
        return pusher

    pusher = run(main)
    pusher.has_ended.set()
    pusher.thread.join(60)
    assert pusher.called == pusher.accepted


def test_calls_made_while_main_exits_are_made():
    # R32
    async def main():
        my_token().run_sync_soon(calls.append, 1)

    calls = []
    run(main)
    assert calls == [1]


def test_one_token_a_run():
    # R34
    async def main():
        assert my_token() is my_token()
        return my_token()

    first, second = run(main), run(main)
    assert first is not second
    assert isinstance(first, lowlevel.TrioToken)


def test_tokens_have_no_constructor_and_compare_by_identity():
    with pytest.raises(TypeError):
        lowlevel.TrioToken()
    with pytest.raises(TypeError):
        type("Sub", (lowlevel.TrioToken,), {})


def test_run_sync_soon_takes_no_other_keywords():
    async def main():
        with pytest.raises(TypeError):
            my_token().run_sync_soon(print, bogus=1)
        with pytest.raises(TypeError):
            my_token().run_sync_soon()

    run(main)


def test_a_finished_run_drops_its_calls_function_and_arguments():
    # R32
    class Thing:
        pass

    async def main():
        return my_token()

    token = run(main)
    with pytest.raises(trio.RunFinishedError):
        token.run_sync_soon(print, Thing(), idempotent=True)
    assert issubclass(trio.RunFinishedError, RuntimeError)
