"""start_thread_soon(): the cache of worker threads."""

from __future__ import annotations

import gc
import queue
import threading
import time
import weakref

import pytest
from trio_asyncio_c import trio

from ._helpers import run

start_thread_soon = trio.lowlevel.start_thread_soon


def in_thread(fn, **kwargs):
    """Start `fn` in a worker thread; a function that waits for its outcome."""
    outcomes = queue.Queue()
    start_thread_soon(fn, outcomes.put, **kwargs)
    return lambda: outcomes.get(timeout=30)


def test_delivers_a_value():
    outcome = in_thread(lambda: threading.get_ident())()
    assert outcome.value != threading.get_ident()


def test_delivers_an_error():
    def fail():
        raise KeyError("in the thread")

    outcome = in_thread(fail)()
    assert isinstance(outcome.error, KeyError)
    with pytest.raises(KeyError, match="in the thread"):
        outcome.unwrap()


def test_base_exceptions_are_delivered_too():
    def fail():
        raise SystemExit(1)

    assert isinstance(in_thread(fail)().error, SystemExit)


def test_deliver_is_called_in_the_worker_thread():
    seen = queue.Queue()
    start_thread_soon(
        threading.get_ident,
        lambda outcome: seen.put((outcome.value, threading.get_ident())),
    )
    worker, deliverer = seen.get(timeout=30)
    assert worker == deliverer != threading.get_ident()


def test_many_at_once():
    barrier = threading.Barrier(20, timeout=30)
    waits = [in_thread(barrier.wait) for _ in range(20)]
    assert sorted(wait().value for wait in waits) == list(range(20))


def test_threads_are_used_again():
    # An idle worker takes the next job, so few threads do many jobs in turn.
    idents = set()
    for _ in range(50):
        idents.add(in_thread(threading.get_ident)().value)
        time.sleep(0.0005)
    assert len(idents) < 40


def test_workers_do_not_keep_the_process_alive():
    assert in_thread(lambda: threading.current_thread().daemon)().value is True


def test_a_name_can_be_given():
    name = in_thread(lambda: threading.current_thread().name, name="my worker")().value
    assert name == "my worker"
    assert in_thread(lambda: threading.current_thread().name)().value != "my worker"


def test_a_worker_keeps_nothing_of_its_job():
    class Thing:
        pass

    def job():
        return weakref.ref(made.pop())

    made = [Thing()]
    ref = in_thread(job)().value
    gc.collect()
    assert ref() is None


def test_a_worker_wakes_a_run():
    async def main():
        task = trio.lowlevel.current_task()
        token = trio.lowlevel.current_trio_token()

        def deliver(outcome):
            token.run_sync_soon(trio.lowlevel.reschedule, task, outcome)

        def abort(raise_cancel):
            return trio.lowlevel.Abort.FAILED

        start_thread_soon(lambda: "from the thread", deliver)
        assert await trio.lowlevel.wait_task_rescheduled(abort) == "from the thread"

        start_thread_soon(lambda: 1 / 0, deliver)
        with pytest.raises(ZeroDivisionError):
            await trio.lowlevel.wait_task_rescheduled(abort)

    run(main)
