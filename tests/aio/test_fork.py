"""Child processes by fork: a child can run a loop of its own, and nothing that it does
reaches its parent.

Each program runs in an interpreter of its own. Those that need no more than asyncio run
on the standard library's loop as well, and must print the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")

PREAMBLE = """
import asyncio, gc, os, signal, sys, threading, time, warnings
warnings.simplefilter("error")
# A process that has threads is told not to fork.
warnings.simplefilter("ignore", DeprecationWarning)
from trio_asyncio_c import EventLoop
Loop = asyncio.SelectorEventLoop if sys.argv[1] == "stock" else EventLoop

def in_child(fn, *args):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = fn(*args) or 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

class Pipe:
    '''A pipe that a loop reads from.'''

    def __init__(self):
        self.reader, self.writer = os.pipe()
        self.got = b""
        self.event = asyncio.Event()

    def watch(self, loop):
        loop.add_reader(self.reader, self.read)

    def read(self):
        self.got += os.read(self.reader, 100)
        self.event.set()

    def write(self, data=b"x"):
        os.write(self.writer, data)

    def close(self):
        os.close(self.reader)
        os.close(self.writer)

async def use_everything():
    loop = asyncio.get_running_loop()
    pipe = Pipe()
    pipe.watch(loop)
    loop.call_later(0.01, pipe.write)
    await pipe.event.wait()
    assert loop.remove_reader(pipe.reader)
    pipe.close()
    assert await loop.run_in_executor(None, len, "four") == 4
    done = loop.create_future()
    thread = threading.Thread(
        target=loop.call_soon_threadsafe, args=(done.set_result, None))
    thread.start()
    await done
    thread.join()
    await loop.shutdown_default_executor()

def run_a_loop():
    loop = Loop()
    loop.run_until_complete(use_everything())
    loop.close()
    return 7

def main_on(main):
    loop = Loop()
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop.close()
"""


def output(source, kind, *, timeout=120):
    """Run a program; what it printed. It must end well and complain of nothing."""
    result = subprocess.run(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(source), kind],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert result.stderr == ""
    assert result.returncode == 0
    return result.stdout


def on_both(source):
    """Run a program on the standard library's loop and on ours; what both print."""
    expected = output(source, "stock")
    assert output(source, "ours") == expected
    return expected


def on_ours(source):
    return output(source, "ours")


def test_a_child_makes_and_runs_a_loop():
    assert (
        on_both(
            """
            async def main(loop):
                pipe = Pipe()
                pipe.watch(loop)
                loop.call_later(0.05, pipe.write, b"timer")
                await asyncio.sleep(0)
                print(in_child(run_a_loop))
                await pipe.event.wait()
                print(pipe.got)
                loop.remove_reader(pipe.reader)

            main_on(main)
            """
        )
        == "7\nb'timer'\n"
    )


def test_no_loop_runs_in_a_child():
    assert (
        on_both(
            """
            def child():
                try:
                    asyncio.get_running_loop()
                except RuntimeError as exc:
                    print(exc)
                print(asyncio._get_running_loop())
                print(asyncio.run(asyncio.sleep(0, "ran")))

            async def main(loop):
                print(in_child(child))
                assert asyncio.get_running_loop() is loop

            main_on(main)
            """
        )
        == "no running event loop\nNone\nran\n0\n"
    )


def test_a_child_of_an_executor_s_thread():
    assert (
        on_both(
            """
            async def main(loop):
                pipe = Pipe()
                pipe.watch(loop)
                print(await loop.run_in_executor(None, in_child, run_a_loop))
                pipe.write()
                await pipe.event.wait()
                print(pipe.got)
                loop.remove_reader(pipe.reader)
                await loop.shutdown_default_executor()

            main_on(main)
            """
        )
        == "7\nb'x'\n"
    )


def test_a_child_of_a_thread_while_the_loop_sleeps():
    assert (
        on_ours(
            """
            async def main(loop):
                pipe = Pipe()
                pipe.watch(loop)

                def child():
                    # Wakes nobody: the parent has an eventfd of its own.
                    loop.call_soon_threadsafe(print, "never")
                    return run_a_loop()

                def thread():
                    time.sleep(0.05)
                    print(in_child(child))
                    pipe.write()

                worker = threading.Thread(target=thread)
                worker.start()
                await pipe.event.wait()
                worker.join()
                print(pipe.got)
                loop.remove_reader(pipe.reader)

            main_on(main)
            """
        )
        == "7\nb'x'\n"
    )


@pytest.mark.parametrize(
    "deed",
    [
        "loop.remove_reader(pipe.reader)",
        "loop.add_reader(other.reader, print)",
        "loop.add_writer(other.writer, print)",
        "loop.close()",
        "loop.call_soon_threadsafe(print)",
        "os.close(pipe.reader)",
        "os.close(pipe.reader); loop.remove_reader(pipe.reader)",
        "os.dup2(other.reader, pipe.reader)",
        "loop.call_soon(loop.stop); loop.run_forever()",
        "loop.remove_reader(pipe.reader); loop.call_soon(loop.stop);"
        "loop.run_forever(); loop.close()",
        "other.write(); loop.add_reader(other.reader, loop.stop); loop.run_forever()",
        "del globals()['loop']; gc.collect()",
    ],
)
def test_what_a_child_does_to_a_paused_loop(deed):
    # The descriptor is registered with the kernel before the fork.
    assert (
        on_ours(
            f"""
            warnings.simplefilter("ignore", ResourceWarning)
            loop = Loop()
            pipe, other = Pipe(), Pipe()
            pipe.watch(loop)
            loop.call_later(0.001, loop.stop)
            loop.run_forever()

            def child():
                global loop
                {deed}
                return 3

            print(in_child(child))
            for _ in range(3):
                pipe.write()
                pipe.event.clear()
                loop.run_until_complete(pipe.event.wait())
            print(pipe.got)
            loop.close()
            """
        )
        == "3\nb'xxx'\n"
    )


def test_a_child_cannot_close_the_loop_that_runs():
    assert (
        on_both(
            """
            async def main(loop):
                pipe = Pipe()
                pipe.watch(loop)
                await asyncio.sleep(0.001)

                def child():
                    try:
                        loop.close()
                    except RuntimeError as exc:
                        print(exc)

                print(in_child(child))
                pipe.write()
                await pipe.event.wait()
                print(pipe.got)
                loop.remove_reader(pipe.reader)

            main_on(main)
            """
        )
        == "Cannot close a running event loop\n0\nb'x'\n"
    )


def test_what_a_child_does_to_the_loop_that_runs():
    # The standard library's loop would tell the kernel, and so the parent's.
    assert (
        on_ours(
            """
            async def main(loop):
                pipe, other = Pipe(), Pipe()
                pipe.watch(loop)
                await asyncio.sleep(0.001)

                def child():
                    loop.remove_reader(pipe.reader)
                    other.watch(loop)
                    loop.call_soon(print, "never")
                    loop.call_soon_threadsafe(print, "never")
                    return 3

                print(in_child(child))
                pipe.write()
                await pipe.event.wait()
                print(pipe.got, other.got)
                loop.remove_reader(pipe.reader)

            main_on(main)
            """
        )
        == "3\nb'x' b''\n"
    )


def test_a_loop_that_goes_on_in_both():
    # As a program that turns into a daemon does it.
    assert (
        on_ours(
            """
            async def main(loop):
                pipe = Pipe()
                pipe.watch(loop)
                await asyncio.sleep(0.001)
                sys.stdout.flush()
                task = asyncio.current_task()
                pid = os.fork()
                if pid == 0:
                    asyncio._set_running_loop(loop)  # asyncio took it away
                    if asyncio.current_task() is None:  # and from 3.14 on this
                        asyncio.tasks._enter_task(loop, task)
                    # The pipe is shared; what the kernel tells of it is not.
                    loop.remove_reader(pipe.reader)
                    own = Pipe()
                    own.watch(loop)
                    loop.call_later(0.01, own.write, b"child's")
                    await own.event.wait()
                    assert await loop.run_in_executor(None, len, "four") == 4
                    print(own.got, flush=True)
                    os._exit(0)
                print(os.waitpid(pid, 0)[1])
                pipe.write(b"parent's")
                await pipe.event.wait()
                print(pipe.got)
                loop.remove_reader(pipe.reader)

            main_on(main)
            """
        )
        == 'b"child\'s"\n0\nb"parent\'s"\n'
    )


@pytest.mark.parametrize(
    "enters_again",
    [
        pytest.param(
            False,
            marks=pytest.mark.skipif(
                sys.version_info >= (3, 14),
                reason="CPython's PyOS_AfterFork_Child() clears the thread's running "
                "loop and Task, so that leave_task() at the end of the child's step "
                "fails: its RuntimeError takes the place of the SystemExit, and "
                "asyncio's loop, any, runs on for ever",
            ),
        ),
        True,
    ],
)
def test_a_child_that_leaves_by_sys_exit(enters_again):
    # All of what the child unwinds is its own, and quiet.
    source = f"""
        async def main(loop):
            task = asyncio.current_task()
            async with asyncio.timeout(50):
                pid = os.fork()
                if pid == 0:
                    if {enters_again}:
                        asyncio._set_running_loop(loop)
                        if asyncio.current_task() is None:
                            asyncio.tasks._enter_task(loop, task)
                    sys.exit(3)
                print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

        main_on(main)
        """
    assert on_both(source) == "3\n"


def test_signals_of_a_child_are_not_its_parent_s():
    source = """
        async def main(loop):
            event = asyncio.Event()
            seen = []

            def on_signal():
                seen.append("parent")
                event.set()

            loop.add_signal_handler(signal.SIGUSR1, on_signal)

            def child():
                os.kill(os.getpid(), signal.SIGUSR1)
                own = Loop()
                own.add_signal_handler(signal.SIGUSR1, own.stop)
                os.kill(os.getpid(), signal.SIGUSR1)
                own.run_forever()
                own.close()
                return 5

            print(in_child(child))
            await asyncio.sleep(0.05)
            print(seen)
            os.kill(os.getpid(), signal.SIGUSR1)
            await event.wait()
            print(seen)
            loop.remove_signal_handler(signal.SIGUSR1)

        main_on(main)
        """
    expected = "5\n[]\n['parent']\n"
    assert on_ours(source) == expected
    if sys.version_info >= (3, 12):
        assert on_both(source) == expected


def test_the_parent_s_signals_while_a_child_waits():
    assert (
        on_both(
            """
            async def main(loop):
                event = asyncio.Event()
                loop.add_signal_handler(signal.SIGUSR1, event.set)
                reader, writer = os.pipe()
                pid = os.fork()
                if pid == 0:
                    # A loop beside the parent's, which the child still has.
                    os.close(writer)
                    own = Loop()
                    own.add_reader(reader, own.stop)
                    own.run_forever()
                    own.close()
                    os._exit(0)
                os.close(reader)
                os.kill(os.getpid(), signal.SIGUSR1)
                await event.wait()
                os.close(writer)
                print(os.waitpid(pid, 0)[1])

            main_on(main)
            """
        )
        == "0\n"
    )


def test_multiprocessing():
    assert (
        on_both(
            """
            import concurrent.futures, multiprocessing
            fork = multiprocessing.get_context("fork")

            def work(queue):
                queue.put(asyncio.run(asyncio.sleep(0.01, "from a process")))

            async def main(loop):
                queue = fork.SimpleQueue()
                process = fork.Process(target=work, args=(queue,))
                process.start()
                print(await loop.run_in_executor(None, queue.get))
                await loop.run_in_executor(None, process.join)
                print(process.exitcode)
                with concurrent.futures.ProcessPoolExecutor(2, fork) as pool:
                    jobs = [loop.run_in_executor(pool, abs, -i) for i in range(5)]
                    print(await asyncio.gather(*jobs))
                await loop.shutdown_default_executor()

            main_on(main)
            """
        )
        == "from a process\n0\n[0, 1, 2, 3, 4]\n"
    )


def test_a_subprocess_with_a_preexec_function():
    assert (
        on_both(
            """
            async def main():
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", "import os; print(os.getsid(0) == os.getpid())",
                    stdout=asyncio.subprocess.PIPE, preexec_fn=os.setsid)
                out, _ = await process.communicate()
                print(out, process.returncode)

            # Child watchers need the policy's loop till 3.14.
            class Policy(asyncio.DefaultEventLoopPolicy):
                _loop_factory = Loop

            asyncio.set_event_loop_policy(Policy())
            asyncio.run(main())
            """
        )
        == "b'True\\n' 0\n"
    )


def test_a_child_forks_again():
    assert (
        on_both(
            """
            def grandchild():
                return run_a_loop()

            def child():
                async def main(loop):
                    await use_everything()
                    print(in_child(grandchild))

                main_on(main)
                return 5

            async def main(loop):
                await asyncio.sleep(0)
                print(in_child(child))

            main_on(main)
            """
        )
        == "7\n5\n"
    )


# ---- Trio-flavoured runs ----


def test_a_fork_in_a_run():
    assert (
        on_ours(
            """
            from trio_asyncio_c import trio

            async def child_main():
                assert await trio.to_thread.run_sync(len, "four") == 4
                await trio.sleep(0.01)
                return 7

            def child():
                assert not trio.lowlevel.in_trio_run()
                assert not trio.lowlevel.in_trio_task()
                run_a_loop()
                return trio.run(child_main)

            async def main():
                reader, writer = os.pipe()
                async with trio.open_nursery() as nursery:

                    @nursery.start_soon
                    async def wait():
                        await trio.lowlevel.wait_readable(reader)
                        print(os.read(reader, 10))

                    await trio.to_thread.run_sync(len, "")
                    await trio.sleep(0.01)
                    print(in_child(child))
                    assert trio.lowlevel.in_trio_run()
                    os.write(writer, b"x")

            trio.run(main)
            """
        )
        == "7\nb'x'\n"
    )


WHERE_A_FORK_IS = {
    "trio": "trio.run(fork)",
    "open_loop": "run(fork)",
    "asyncio in open_loop": "run(aio_as_trio(fork))",
    "own runner": "with new_event_loop() as loop: loop.run_until_complete(fork())",
    "trio in own runner": "with new_event_loop() as loop: loop.run_task(fork)",
}

FORK = textwrap.dedent(
    """
    import sniffio
    from trio_asyncio_c import aio_as_trio, new_event_loop, run, trio

    lowlevel = trio.lowlevel

    def is_refused(ask, *args):
        try:
            ask(*args)
        except RuntimeError as error:
            return str(error) == "must be called from async context"
        return False

    def look_around():
        assert not lowlevel.in_trio_run()
        assert not lowlevel.in_trio_task()
        for ask in (
            lowlevel.current_task,
            lowlevel.current_trio_token,
            lowlevel.current_root_task,
            lowlevel.current_statistics,
            lowlevel.current_clock,
            trio.current_time,
        ):
            assert is_refused(ask), ask
        assert is_refused(lowlevel.spawn_system_task, trio.sleep, 0)
        assert asyncio._get_running_loop() is None
        try:
            assert not sniffio.current_async_library()
        except sniffio.AsyncLibraryNotFoundError:
            pass
    """
)


@pytest.mark.parametrize("where", WHERE_A_FORK_IS)
def test_a_child_is_in_no_run(where):
    pytest.importorskip("sniffio")
    assert (
        on_ours(
            FORK
            + textwrap.dedent(
                """
            async def trio_part():
                await trio.sleep(0.001)
                return 7

            def child():
                look_around()
                run_a_loop()
                look_around()
                async def main():
                    assert await aio_as_trio(asyncio.sleep)(0.001, 5) == 5
                    return await trio_part()
                assert run(main) == 7
                look_around()
                with new_event_loop() as loop:
                    assert loop.run_task(trio_part) == 7
                look_around()
                return 7

            async def fork():
                here = sniffio.current_async_library()
                task = lowlevel.current_task()
                print(in_child(child))
                assert lowlevel.current_task() is task
                assert lowlevel.in_trio_run()
                assert sniffio.current_async_library() == here
            """
            )
            + WHERE_A_FORK_IS[where]
        )
        == "7\n"
    )


def test_a_child_that_goes_on_in_the_run_is_in_it_again():
    pytest.importorskip("sniffio")
    assert (
        on_ours(
            FORK
            + textwrap.dedent(
                """
            async def fork():
                task = lowlevel.current_task()
                sys.stdout.flush()
                pid = os.fork()
                if pid == 0:
                    look_around()
                    await trio.sleep(0.001)
                    assert lowlevel.current_task() is task
                    assert asyncio._get_running_loop() is None
                    assert sniffio.current_async_library() == "trio"
                    os._exit(7)
                print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

            trio.run(fork)
            """
            )
        )
        == "7\n"
    )


def test_a_child_unwinds_managers_that_cross():
    assert (
        on_ours(
            """
            from contextlib import asynccontextmanager
            from trio_asyncio_c import aio_as_trio, run, trio

            @asynccontextmanager
            async def manager():
                try:
                    yield
                finally:
                    await asyncio.sleep(0)
                    # asyncio has forgotten which loop runs, and is told again.
                    assert asyncio.get_running_loop() is loop
                    await asyncio.sleep(0.001)
                    print(os.getpid() == parent, flush=True)

            async def main():
                global loop
                loop = asyncio.get_running_loop()
                sys.stdout.flush()
                async with aio_as_trio(manager()):
                    pid = os.fork()
                    if pid == 0:
                        sys.exit(3)
                    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

            parent = os.getpid()
            try:
                run(main)
            except* SystemExit as group:
                os._exit(3)
            """
        )
        == "False\n3\nTrue\n"
    )


@pytest.mark.parametrize("flavour", ["trio", "asyncio"])
def test_a_child_that_goes_on_in_the_loops_block(flavour):
    """Its Tasks, callbacks and Trio tasks have their running loop again."""
    assert (
        on_ours(
            f"""
            from trio_asyncio_c import current_loop, open_loop, run_asyncio, trio

            async def in_trio():
                await trio.sleep(0)
                return asyncio.get_running_loop()

            async def in_asyncio():
                loop = asyncio.get_running_loop()
                await asyncio.sleep(0.001)
                assert asyncio.current_task() is not None
                assert await loop.run_trio(in_trio) is loop
                return loop

            async def main():
                async with open_loop() as loop:
                    await run_asyncio(in_asyncio)
                    sys.stdout.flush()
                    if {flavour!r} == "trio":
                        pid = os.fork()
                    else:
                        said = loop.create_future()
                        loop.call_soon(lambda: said.set_result(os.fork()))
                        pid = await loop.run_future(said)
                    if pid == 0:
                        await trio.sleep(0)
                        assert asyncio.get_running_loop() is loop
                        assert current_loop.get() is loop
                        assert await run_asyncio(in_asyncio) is loop
                        os._exit(7)
                    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

            trio.run(main)
            """
        )
        == "7\n"
    )


def test_a_fork_in_open_loop():
    assert (
        on_ours(
            """
            from trio_asyncio_c import open_loop, trio

            async def main():
                async with open_loop() as loop:
                    pipe = Pipe()
                    pipe.watch(loop)
                    await loop.synchronize()
                    await trio.sleep(0.001)
                    print(in_child(run_a_loop))
                    pipe.write()
                    await loop.run_coroutine(pipe.event.wait())
                    print(pipe.got)
                    loop.remove_reader(pipe.reader)

            trio.run(main)
            """
        )
        == "7\nb'x'\n"
    )


@pytest.mark.parametrize("where", ["main", "child task", "open_loop", "scope"])
def test_a_child_of_a_run_that_leaves_by_sys_exit(where):
    assert (
        on_ours(
            f"""
            from trio_asyncio_c import open_loop, trio

            async def fork():
                pid = os.fork()
                if pid == 0:
                    sys.exit(3)
                print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

            async def main():
                await trio.to_thread.run_sync(len, "")
                if {where == "main"}:
                    await fork()
                elif {where == "child task"}:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(fork)
                elif {where == "open_loop"}:
                    async with open_loop():
                        await fork()
                else:
                    async with trio.open_nursery() as nursery:
                        with trio.move_on_after(50):
                            nursery.start_soon(trio.sleep, 0.01)
                            await fork()

            try:
                trio.run(main)
            except* SystemExit as group:
                error = group
                while isinstance(error, BaseExceptionGroup):
                    [error] = error.exceptions
                code = error.code
            else:
                code = 0
            sys.exit(code)
            """
        )
        == "3\n"
    )


def test_signals_of_a_run_s_child():
    assert (
        on_ours(
            """
            from trio_asyncio_c import trio

            seen = []
            signal.signal(signal.SIGUSR1, lambda *_: seen.append("signal"))

            async def main():
                pid = os.fork()
                if pid == 0:
                    os.kill(os.getpid(), signal.SIGUSR1)
                    os._exit(0 if signal.set_wakeup_fd(-1) == -1 else 1)
                print(os.waitpid(pid, 0)[1], seen)
                parent = os.getpid()
                thread = threading.Timer(0.01, os.kill, (parent, signal.SIGUSR1))
                thread.start()
                while not seen:
                    await trio.sleep(0.01)
                thread.join()
                print(seen)

            trio.run(main)
            """
        )
        == "0 []\n['signal']\n"
    )
