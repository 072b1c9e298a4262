"""What reaches a loop from the kernel while both flavours run: rules 65 to 68 of the
crossings, for both ways of opening a loop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from trio_asyncio_c import current_loop, to_thread, trio

from ._helpers import both_ways, python


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        yield left, right


async def turns(count=3):
    """Let asyncio poll and run what is due, from Trio code."""
    for _ in range(count):
        await current_loop.get().run_asyncio(asyncio.sleep, 0)


# 65


@both_ways
def test_one_reader_and_writer_an_fd(way, pair):
    left, right = pair
    called = []

    def add(loop, name, callback):
        """Add a reader or writer; the handle, however it is to be had."""
        getattr(loop, f"add_{name}")(left, callback, name)
        return loop._selector.get_key(left).data[name == "writer"]

    async def main():
        loop = current_loop.get()
        for name in "reader", "writer":
            old = add(loop, name, lambda name: called.append("old"))
            new = add(loop, name, called.append)
            assert old.cancelled()
            assert not new.cancelled()
        right.send(b"x")
        while set(called) != {"reader", "writer"}:
            await turns(1)
        assert loop.remove_reader(left)
        assert not loop.remove_reader(left)
        seen = len(called)
        await turns()
        assert "reader" not in called[seen:]
        assert loop.remove_writer(left)

    way.run_trio(main)
    assert "old" not in called


@both_ways
def test_what_a_callback_queued_runs_before_the_fd_is_polled_again(way, pair):
    left, right = pair
    steps = []

    def reader(loop):
        # It does not read: the fd is ready at once again.
        steps.append("reader")
        loop.call_soon(queued, loop)

    def queued(loop):
        steps.append("queued")
        if len(steps) == 10:
            left.recv(10)
            done.append(True)

    async def main():
        loop = current_loop.get()
        loop.add_reader(left, reader, loop)
        right.send(b"x")
        while not done:
            await turns(1)
        loop.remove_reader(left)

    done = []
    way.run_trio(main)
    assert steps[:10] == ["reader", "queued"] * 5


@both_ways
@pytest.mark.parametrize("when", ["in its callback", "before the poll", "in between"])
@pytest.mark.parametrize("kind", ["reader", "writer"])
def test_a_socket_that_is_closed_raises_nothing(way, when, kind, pair, caplog):
    left, right = pair
    called = []

    def callback(loop):
        called.append(kind)
        if when == "in its callback":
            left.close()

    async def main():
        loop = current_loop.get()
        fd = left.fileno()
        if when == "in between":
            left.send(b"x" * 10)
            getattr(loop, f"add_{kind}")(fd, callback, loop)
            await turns(1)
            left.close()
        else:
            right.send(b"x")
            getattr(loop, f"add_{kind}")(fd, callback, loop)
            if when == "before the poll":
                left.close()
        await turns(10)
        if when != "in its callback":
            called.append("as well")
        getattr(loop, f"remove_{kind}")(fd)
        # Its number is somebody else's then.
        new = socket.socket()
        with new:
            await turns()

    way.run_trio(main)
    assert called
    assert caplog.records == []


@both_ways
def test_both_flavours_wait_for_one_socket(way, pair):
    left, right = pair
    got = []

    async def main():
        loop = current_loop.get()
        loop.add_reader(left, lambda: got.append(left.recv(1)))
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def write():
                for _ in range(5):
                    await trio.lowlevel.wait_writable(left)
                    left.send(b"y")
                    await trio.sleep(0)

            for _ in range(5):
                right.send(b"x")
                await trio.lowlevel.wait_readable(right)
                assert right.recv(100)
                await trio.sleep(0)
        while len(got) < 5:
            await turns(1)
        loop.remove_reader(left)

    way.run_trio(main)
    assert got == [b"x"] * 5


# 66


@both_ways
def test_a_signal_runs_a_callback_and_nothing_else(way):
    seen = []

    def handler(name):
        seen.append((name, asyncio.get_running_loop(), asyncio.current_task()))

    async def main():
        loop = current_loop.get()
        before = signal.getsignal(signal.SIGUSR1)
        loop.add_signal_handler(signal.SIGUSR1, handler, "first")
        loop.add_signal_handler(signal.SIGUSR1, handler, "second")  # instead
        os.kill(os.getpid(), signal.SIGUSR1)
        sum(range(1000))  # Python code runs: the signal was taken
        assert seen == []
        while not seen:
            await turns(1)
        assert seen == [("second", loop, None)]
        # Also while all Trio tasks wait.
        done = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, done.set_result, "woke")
        timer = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        assert await loop.run_future(done) == "woke"
        timer.join()
        assert loop.remove_signal_handler(signal.SIGUSR1)
        assert not loop.remove_signal_handler(signal.SIGUSR1)
        assert signal.getsignal(signal.SIGUSR1) == before

    way.run_trio(main)


@both_ways
def test_signals_are_the_main_threads(way):
    async def main():
        loop = current_loop.get()

        def in_thread():
            with pytest.raises(RuntimeError, match="main thread"):
                loop.add_signal_handler(signal.SIGUSR1, int)

        await to_thread.run_sync(in_thread)
        with pytest.raises(RuntimeError, match="cannot be caught"):
            loop.add_signal_handler(signal.SIGKILL, int)
        for wrong in 0, 5000:
            with pytest.raises(ValueError, match="invalid signal number"):
                loop.add_signal_handler(wrong, int)

    way.run_trio(main)


# 67


async def run_child(code, **options):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=subprocess.PIPE, **options
    )
    out, _ = await process.communicate()
    return out.strip(), process.returncode


@both_ways
def test_children_of_both_flavours(way):
    async def in_asyncio():
        return await asyncio.gather(
            run_child("import sys; print('out'); sys.exit(3)"),
            run_child("import os; os.kill(os.getpid(), 9)"),
            run_child("pass"),
        )

    async def main():
        loop = current_loop.get()
        expected = [(b"out", 3), (b"", -signal.SIGKILL), (b"", 0)]
        assert await loop.run_asyncio(in_asyncio) == expected

    way.run_trio(main)


@both_ways
def test_a_cancelled_wait_for_a_child_leaves_it_alone(way):
    async def main():
        loop = current_loop.get()
        process = await loop.run_asyncio(
            asyncio.create_subprocess_exec,
            sys.executable,
            "-c",
            "input()",
            stdin=subprocess.PIPE,
        )
        with trio.move_on_after(0.01) as scope:
            await loop.run_asyncio(process.wait)
        assert scope.cancelled_caught
        assert process.returncode is None
        process.stdin.write(b"\n")
        assert await loop.run_asyncio(process.wait) == 0

    way.run_trio(main)


def test_children_in_another_thread():
    done = python("""
        import asyncio, sys, threading
        import trio_asyncio_c as t
        from trio_asyncio_c import trio

        async def child():
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", "import sys; sys.exit(4)")
            print(await process.wait())

        def opened():
            t.run(t.run_asyncio, child)

        def own():
            with asyncio.Runner(loop_factory=t.new_event_loop) as runner:
                runner.run(child())

        for target in opened, own:
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    """)
    assert done.stdout.split() == ["4", "4"], done.stderr


# 68


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize("where", ["trio", "asyncio", "thread"])
def test_a_fork_below_a_crossing(opened, where):
    done = python(f"""
        import asyncio, os, sys, traceback, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import trio_asyncio_c as t
        from trio_asyncio_c import trio

        async def again():
            return await t.aio_as_trio(asyncio.sleep)(0.001, "child")

        async def asyncio_main():
            return await asyncio.get_running_loop().run_trio(again)

        def in_child():
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                pass
            else:
                return "a running loop"
            if trio.lowlevel.in_trio_run() or trio.lowlevel.in_trio_task():
                return "a run"
            loop = t.new_event_loop()
            assert loop.run_until_complete(asyncio_main()) == "child"
            loop.close()
            with asyncio.Runner(loop_factory=t.new_event_loop) as runner:
                assert runner.run(asyncio_main()) == "child"
            return t.run(again)

        def fork():
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                try:
                    print(in_child())
                except BaseException:
                    traceback.print_exc()
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(7)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        async def in_asyncio():
            await asyncio.sleep(0)
            if {where!r} == "thread":
                return await asyncio.get_running_loop().run_in_executor(None, fork)
            status = fork()
            await asyncio.sleep(0.001)
            return status

        async def in_trio():
            await trio.sleep(0)
            if {where!r} == "trio":
                status = fork()
                await trio.sleep(0.001)
                return status
            return await t.run_asyncio(in_asyncio)

        async def sandwich():
            return await asyncio.get_running_loop().run_trio(in_trio)

        async def main():
            print("parent", await t.run_asyncio(sandwich))

        if {opened}:
            t.run(main)
        else:
            with t.new_event_loop() as loop:
                loop.run_task(main)
    """)
    assert done.stdout.splitlines() == ["child", "parent 7"], done.stderr


@both_ways
def test_the_fd_of_a_transport_is_the_transports(way, pair):
    left, right = pair

    async def main():
        loop = current_loop.get()
        transport, _ = await loop.run_asyncio(
            loop.create_connection, asyncio.Protocol, sock=left
        )
        for method in "add_reader", "add_writer":
            with pytest.raises(RuntimeError, match="is used by transport"):
                getattr(loop, method)(left, int)
        for method in "remove_reader", "remove_writer":
            with pytest.raises(RuntimeError, match="is used by transport"):
                getattr(loop, method)(left)
        transport.close()
        await turns()

    way.run_trio(main)
