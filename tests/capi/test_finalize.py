"""Interpreter exit: whatever is left behind, nothing is printed and nothing crashes.

Each program runs in an interpreter of its own, with warnings as errors.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time

import pytest

from ._helpers import quiet_script, script

PREAMBLE = """
import atexit, gc, os, sys, threading, time
from trio_asyncio_c import trio
from trio_asyncio_c.lowlevel import Value, Error
lowlevel = trio.lowlevel
"""


def quiet(source, **kwargs):
    quiet_script(PREAMBLE + textwrap.dedent(source), **kwargs)


def test_importing_it_is_all():
    quiet("print('done')")


def test_a_run_that_ended_well():
    quiet(
        """
        async def main():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 0)

        trio.run(main)
        print("done")
        """
    )


def test_objects_of_a_run_kept_in_globals():
    quiet(
        """
        var = lowlevel.RunVar("var")

        async def main():
            global task, nursery, scope, lot, token, clock, statistics, root, reset
            task = lowlevel.current_task()
            root = lowlevel.current_root_task()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 0)
            with trio.CancelScope(deadline=trio.current_time() + 5) as scope:
                pass
            lot = lowlevel.ParkingLot()
            lot.break_lot()
            token = lowlevel.current_trio_token()
            clock = lowlevel.current_clock()
            statistics = lowlevel.current_statistics()
            reset = var.set(task)

        trio.run(main)
        print("done")
        """
    )


@pytest.mark.parametrize(
    "wait",
    [
        "trio.sleep_forever",
        "lambda: trio.sleep(1000)",
        "lowlevel.ParkingLot().park",
        "lambda: lowlevel.wait_readable(os.pipe()[0])",
    ],
)
def test_a_run_parked_in_a_daemon_thread(wait):
    # The run never ends; its thread is stopped by the interpreter's exit.
    quiet(
        f"""
        parked = threading.Event()

        async def child():
            await ({wait})()

        async def main():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)
                nursery.start_soon(child)
                await trio.testing.wait_all_tasks_blocked()
                parked.set()

        threading.Thread(target=trio.run, args=(main,), daemon=True).start()
        parked.wait()
        print("done")
        """
    )


def test_a_busy_run_in_a_daemon_thread():
    quiet(
        """
        busy = threading.Event()

        async def main():
            while True:
                await lowlevel.checkpoint()
                busy.set()

        threading.Thread(target=trio.run, args=(main,), daemon=True).start()
        busy.wait()
        print("done", flush=True)
        """
    )


def test_a_parked_run_with_objects_that_have_finalizers():
    quiet(
        """
        parked = threading.Event()

        class Thing:
            def __del__(self):
                lowlevel.in_trio_run()

        async def main():
            thing = Thing()
            lowlevel.current_task().custom_sleep_data = thing
            parked.set()
            await trio.sleep_forever()

        threading.Thread(target=trio.run, args=(main,), daemon=True).start()
        parked.wait()
        time.sleep(0.01)
        print("done")
        """
    )


def test_exit_inside_a_task():
    quiet(
        """
        async def main():
            print("done")
            sys.exit(0)

        trio.run(main)
        """
    )


def test_exit_inside_a_child():
    # A group of SystemExit is no SystemExit: the program says how it ends.
    quiet(
        """
        async def child():
            sys.exit(0)

        async def main():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)
                nursery.start_soon(trio.sleep_forever)

        try:
            trio.run(main)
        except* SystemExit:
            print("done")
        """
    )


def test_hard_exit_inside_a_run():
    quiet(
        """
        async def main():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                await trio.sleep(0)
                print("done", flush=True)
                os._exit(0)

        trio.run(main)
        """
    )


def test_a_coroutine_that_left_and_is_never_finished():
    quiet(
        """
        async def main():
            global coro
            coro = lowlevel.current_task().coro
            await lowlevel.permanently_detach_coroutine_object(Value(None))

        trio.run(main)
        print("done")
        """
    )


def test_a_coroutine_waiting_in_another_framework():
    quiet(
        """
        import types

        @types.coroutine
        def foreign():
            yield "foreign"

        async def main():
            global coro
            coro = lowlevel.current_task().coro
            await lowlevel.permanently_detach_coroutine_object(Value(None))
            await foreign()

        trio.run(main)
        assert coro.send(None) == "foreign"
        print("done")
        """
    )


def test_closed_awaitables_in_globals():
    quiet(
        """
        lot = lowlevel.ParkingLot()
        awaitables = [trio.sleep(1), lowlevel.checkpoint(), lot.park()]
        for awaitable in awaitables:
            awaitable.close()
        print("done")
        """
    )


def test_a_run_in_an_exit_handler():
    quiet(
        """
        async def main():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 0)
            print("done", flush=True)

        atexit.register(trio.run, main)
        """
    )


def test_the_token_of_a_finished_run_in_an_exit_handler():
    quiet(
        """
        async def main():
            return lowlevel.current_trio_token()

        token = trio.run(main)

        @atexit.register
        def late():
            try:
                token.run_sync_soon(print)
            except trio.RunFinishedError:
                print("done", flush=True)
        """
    )


def test_a_finalizer_in_a_module_that_uses_the_core():
    quiet(
        """
        class Thing:
            def __del__(self, in_trio_run=lowlevel.in_trio_run, Scope=trio.CancelScope):
                assert not in_trio_run()
                Scope().cancel()

        thing = Thing()
        cycle = [Thing()]
        cycle.append(cycle)
        print("done", flush=True)
        """
    )


def test_worker_threads_that_are_idle():
    quiet(
        """
        import queue

        outcomes = queue.Queue()
        lowlevel.start_thread_soon(lambda: 5, outcomes.put)
        assert outcomes.get().value == 5
        print("done")
        """
    )


def test_worker_threads_that_are_busy():
    quiet(
        """
        started = threading.Event()

        def work():
            started.set()
            time.sleep(100)

        lowlevel.start_thread_soon(work, print)
        started.wait()
        print("done")
        """
    )


def test_an_unfinished_generator_in_globals():
    quiet(
        """
        async def generator():
            yield 1

        async def main():
            global agen
            agen = generator()
            await anext(agen)

        trio.run(main)
        print("done")
        """
    )


def test_a_crashed_run_left_in_a_traceback():
    # What the crash leaves behind is not ours to judge; the exit is.
    result = script(
        PREAMBLE
        + textwrap.dedent(
            """
            async def main():
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await lowlevel.wait_task_rescheduled(lambda _: 5)

            try:
                trio.run(main)
            except trio.TrioInternalError as exc:
                kept = exc
            print("done")
            """
        )
    )
    assert result.stdout == "done\n"
    assert result.returncode == 0


def test_an_error_ends_the_program_as_usual():
    result = script(
        PREAMBLE
        + textwrap.dedent(
            """
            async def main():
                await trio.sleep(0)
                raise KeyError("the end")

            trio.run(main)
            """
        )
    )
    assert result.returncode == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "KeyError: 'the end'"


def test_a_group_ends_the_program_as_usual():
    result = script(
        PREAMBLE
        + textwrap.dedent(
            """
            async def child():
                raise KeyError("the end")

            async def main():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(child)

            trio.run(main)
            """
        )
    )
    assert result.returncode == 1
    assert "Exceptions from Trio nursery (1 sub-exception)" in result.stderr
    assert "KeyError: 'the end'" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send there")
def test_control_c_ends_the_program_as_usual():
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            PREAMBLE
            + textwrap.dedent(
                """
                import signal
                signal.signal(signal.SIGINT, signal.default_int_handler)

                async def main():
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(trio.sleep_forever)
                        print("ready", flush=True)
                        try:
                            await trio.sleep_forever()
                        finally:
                            print("unwound", flush=True)

                try:
                    trio.run(main)
                except* KeyboardInterrupt:
                    print("interrupted", flush=True)
                """
            ),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert errors == ""
    assert output == "unwound\ninterrupted\n"
    assert process.returncode == 0
