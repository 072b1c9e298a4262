"""Unmodified Trio doing real work on the core: what plain Trio prints, it prints."""

from __future__ import annotations

import pytest


def test_sockets_and_streams(programs):
    output = programs.same(
        """
        from functools import partial

        async def echo(stream):
            async with stream:
                async for data in stream:
                    await stream.send_all(data.upper())

        async def main():
            async with trio.open_nursery() as nursery:
                listeners = await nursery.start(
                    partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))
                address = listeners[0].socket.getsockname()
                for i in range(20):
                    async with await trio.open_tcp_stream(*address) as stream:
                        await stream.send_all(b"hello %d" % i)
                        print(await stream.receive_some(100))
                try:
                    with trio.fail_after(0.01):
                        async with await trio.open_tcp_stream(*address) as stream:
                            await stream.receive_some(1)
                except trio.TooSlowError:
                    print("too slow")
                nursery.cancel_scope.cancel()
            udp = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
            with udp:
                await udp.bind(("127.0.0.1", 0))
                await udp.sendto(b"datagram", udp.getsockname())
                print((await udp.recvfrom(100))[0])

        trio.run(main)
        """
    )
    assert "HELLO 19" in output


def test_tls_over_loopback(programs):
    # Anonymous Diffie-Hellman: a handshake that needs no certificate.
    output = programs.same(
        """
        import ssl

        def context(purpose):
            made = ssl.SSLContext(purpose)
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE
            made.maximum_version = ssl.TLSVersion.TLSv1_2
            made.set_ciphers("AECDH-AES256-SHA:@SECLEVEL=0")
            return made

        async def serve(stream):
            async with trio.SSLStream(
                stream, context(ssl.PROTOCOL_TLS_SERVER), server_side=True
            ) as tls:
                async for data in tls:
                    await tls.send_all(data * 2)

        async def main():
            async with trio.open_nursery() as nursery:
                listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
                nursery.start_soon(trio.serve_listeners, serve, listeners)
                stream = await trio.testing.open_stream_to_socket_listener(listeners[0])
                async with trio.SSLStream(
                    stream, context(ssl.PROTOCOL_TLS_CLIENT)
                ) as tls:
                    await tls.do_handshake()
                    print(tls.version(), tls.cipher()[0])
                    await tls.send_all(b"x" * 50_000)
                    total = 0
                    while total < 100_000:
                        total += len(await tls.receive_some())
                    print(total)
                nursery.cancel_scope.cancel()

        import trio.testing
        trio.run(main)
        """
    )
    assert output.splitlines()[-1] == "100000"


def test_subprocesses(programs):
    output = programs.same(
        """
        import subprocess, sys

        async def main():
            done = await trio.run_process(
                [sys.executable, "-c", "print(input()[::-1])"],
                stdin=b"abc", capture_stdout=True)
            print(done.returncode, done.stdout)
            try:
                await trio.run_process([sys.executable, "-c", "raise SystemExit(3)"])
            except subprocess.CalledProcessError as exc:
                print(exc.returncode)
            with trio.move_on_after(0.2) as scope:
                await trio.run_process(
                    [sys.executable, "-c", "import time; time.sleep(1000)"],
                    check=False)
            print(scope.cancelled_caught)
            async with trio.open_nursery() as nursery:
                process = await nursery.start(
                    lambda task_status: trio.run_process(
                        ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                        task_status=task_status))
                await process.stdin.send_all(b"through the pipe")
                await process.stdin.aclose()
                data = b""
                async for chunk in process.stdout:
                    data += chunk
                print(data)

        trio.run(main)
        """
    )
    assert "through the pipe" in output


def test_signals(programs):
    programs.same(
        """
        import os, signal, threading

        async def main():
            with trio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as signals:
                os.kill(os.getpid(), signal.SIGUSR1)
                print(await anext(signals))
                threading.Thread(
                    target=os.kill, args=(os.getpid(), signal.SIGUSR2)).start()
                print(await anext(signals))
            print(signal.getsignal(signal.SIGUSR1))

        trio.run(main)
        """
    )


def test_interrupts(programs):
    programs.same(
        """
        import os, signal, threading, time
        signal.signal(signal.SIGINT, signal.default_int_handler)

        async def waits():
            kill = lambda: os.kill(os.getpid(), signal.SIGINT)
            await trio.to_thread.run_sync(kill)
            await trio.sleep_forever()

        async def computes():
            threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()
            end = time.monotonic() + 50
            while time.monotonic() < end:
                pass

        for fn in waits, computes:
            try:
                trio.run(fn)
            except KeyboardInterrupt:
                print("interrupted")
        """
    )


def test_threads(programs):
    programs.same(
        """
        import threading

        async def main():
            def work(n):
                trio.from_thread.check_cancelled()
                trio.from_thread.run(trio.sleep, 0)
                return trio.from_thread.run_sync(threading.get_ident) == main_thread, n

            main_thread = threading.get_ident()
            limiter = trio.CapacityLimiter(2)
            results = []

            async def child(n):
                results.append(
                    await trio.to_thread.run_sync(work, n, limiter=limiter))

            async with trio.open_nursery() as nursery:
                for n in range(10):
                    nursery.start_soon(child, n)
            print(sorted(results))
            try:
                await trio.to_thread.run_sync(lambda: 1 / 0)
            except ZeroDivisionError as exc:
                print(exc)
            started, release = threading.Event(), threading.Event()

            def slow():
                started.set()
                release.wait(50)

            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(
                        lambda: trio.to_thread.run_sync(
                            slow, abandon_on_cancel=True))
                    while not started.is_set():
                        await trio.sleep(0.001)
                    scope.cancel()
            print(scope.cancelled_caught)
            release.set()

        trio.run(main)
        """
    )


def test_files_and_paths(programs):
    programs.same(
        """
        async def main():
            path = trio.Path("a file")
            await path.write_text("one\\ntwo\\n")
            async with await trio.open_file(path) as file:
                async for line in file:
                    print(repr(line))
            print(await path.exists())
            await path.unlink()
            print([str(p) for p in await trio.Path(".").glob("a *")])

        trio.run(main)
        """
    )


def test_nurseries_and_what_they_raise(programs):
    programs.same(
        """
        import traceback

        async def fail(n):
            await trio.sleep(0)
            raise KeyError(n)

        async def start(task_status):
            task_status.started("value")
            await trio.sleep_forever()

        async def main():
            try:
                async with trio.open_nursery() as nursery:
                    print(await nursery.start(start))
                    nursery.start_soon(fail, 1)
            except* KeyError as group:
                print(repr(group))
            try:
                async with trio.open_nursery() as outer:
                    async with trio.open_nursery() as inner:
                        inner.start_soon(fail, 2)
            except BaseExceptionGroup as group:
                print(repr(group), group.exceptions[0].exceptions[0].__context__)
            try:
                async with trio.open_nursery() as nursery:
                    raise ValueError("body")
            except* ValueError as group:
                # Frames of the scheduler, whoever's it is, are not the program's.
                for entry in traceback.extract_tb(group.exceptions[0].__traceback__):
                    print(entry.name)
            try:
                async with trio.open_nursery() as nursery:
                    await nursery.start(trio.sleep, 0)
            except* RuntimeError as group:
                print(group.exceptions)
            except* TypeError as group:
                print(group.exceptions)

        trio.run(main)
        """
    )


def test_a_fork_in_a_run(programs):
    options = ("-W", "ignore::DeprecationWarning")
    output = programs.swapped(
        """
        import os

        async def main():
            await trio.to_thread.run_sync(len, "")
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    assert not trio.lowlevel.in_trio_task()
                    trio.run(trio.to_thread.run_sync, len, "")
                    status = 0
                finally:
                    os._exit(status)
            status = (await trio.to_thread.run_sync(os.waitpid, pid, 0))[1]
            await trio.sleep(0.001)
            print(status)

        trio.run(main)
        """,
        *options,
    )
    assert output == "0\n"


def test_a_guest_run(programs):
    output = programs.same(
        """
        import queue

        def run_guest(fn, *args, **options):
            calls = queue.SimpleQueue()
            outcomes = []
            trio.lowlevel.start_guest_run(
                fn, *args, run_sync_soon_threadsafe=calls.put,
                done_callback=outcomes.append, **options)
            while not outcomes:
                calls.get(timeout=40)()
            return outcomes[0]

        async def main(x):
            a, b = trio.socket.socketpair()
            with a, b:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(a.send, b"%d" % x)
                    print(await b.recv(10))
            await trio.sleep(0.01)
            with trio.move_on_after(0.01) as scope:
                await trio.sleep_forever()
            print(scope.cancelled_caught, trio.lowlevel.current_statistics().tasks_living)
            return x

        async def fail():
            raise KeyError("guest")

        print(run_guest(main, 1))
        print(run_guest(fail))
        print(run_guest(trio.sleep, 1000,
                        clock=trio.testing.MockClock(autojump_threshold=0)))
        """.replace("import queue", "import queue, trio.testing")
    )
    assert "KeyError('guest')" in output


def test_an_abandoned_guest_run(programs):
    output = programs.same(
        """
        import collections, gc, sys, warnings

        def begin():
            calls = collections.deque()
            trio.lowlevel.start_guest_run(
                spin, run_sync_soon_threadsafe=calls.append, done_callback=print)
            for _ in range(5):
                calls.popleft()()

        async def spin():
            while True:
                await trio.lowlevel.checkpoint()

        sys.unraisablehook = lambda unraisable: None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            begin()
            for _ in range(4):
                gc.collect()
        print({(w.category, str(w.message)) for w in caught
               if "abandoned" in str(w.message)})
        trio.run(trio.sleep, 0)
        """
    )
    assert "Trio guest run got abandoned" in output


@pytest.mark.parametrize("package", ["trio_asyncio_c.trio", "trio"])
def test_runs_in_a_subinterpreter(programs, package):
    program = f"""
import trio_asyncio_c
trio_asyncio_c.install_trio()
import {package} as package
package.run(package.sleep, 0.001)
print('ran', flush=True)
"""
    output = programs.bare(
        f"""
        import sys
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        # One that shares the GIL: others refuse parts of the standard library that
        # Trio imports.
        if sys.version_info >= (3, 13):
            interpreter = interpreters.create("legacy")
        else:
            interpreter = interpreters.create(isolated=False)
        run = getattr(interpreters, "exec", None) or interpreters.run_string
        error = run(interpreter, {program!r})
        assert error is None, error.errdisplay
        interpreters.destroy(interpreter)
        """,
        *("-W", "ignore"),
    )
    assert output == "ran\n"


def test_an_exit_from_inside_a_nursery(programs):
    programs.same(
        """
        import sys

        async def main():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                sys.exit(7)

        try:
            trio.run(main)
        except* SystemExit as group:
            print([exc.code for exc in group.exceptions])
        """
    )
