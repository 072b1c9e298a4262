"""Interpreters that exit while loops are open: as quiet as with the standard library's.

Each program runs in an interpreter of its own, once on each of the two loops.
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap

import pytest

PREAMBLE = """
import asyncio, atexit, gc, os, sys, threading, time
from trio_asyncio_c import EventLoop
Loop = asyncio.SelectorEventLoop if sys.argv[1] == "stock" else EventLoop
up = threading.Event()

def in_daemon(fn):
    threading.Thread(target=fn, daemon=True).start()
    up.wait()
    print("done", flush=True)
"""


def run(source, kind, options=()):
    result = subprocess.run(
        [sys.executable, *options, "-c", PREAMBLE + textwrap.dedent(source), kind],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return result.returncode, result.stdout, result.stderr


PROGRAMS = {
    "never closed": "loop = Loop(); print('done')",
    "ran and never closed": """
        loop = Loop()
        loop.run_until_complete(asyncio.sleep(0))
        print("done")
        """,
    "timers, readers and callbacks": """
        loop = Loop()
        reader, writer = os.pipe()
        loop.call_later(100, print)
        loop.add_reader(reader, print)
        loop.call_soon(print)
        print("done")
        """,
    "timers of another clock": """
        loop = Loop()
        loop.time = lambda: 5
        loop.call_later(100, print)
        loop.call_soon(loop.stop)
        loop.run_forever()
        print("done")
        """,
    "a cycle": """
        loop = Loop()
        loop.itself = loop
        loop.call_later(5, loop.stop)
        print("done")
        """,
    "asleep in a daemon thread": """
        loop = Loop()
        loop.call_soon(up.set)
        in_daemon(loop.run_forever)
        """,
    "busy in a daemon thread": """
        loop = Loop()

        def tick():
            up.set()
            loop.call_soon(tick)

        loop.call_soon(tick)
        in_daemon(loop.run_forever)
        """,
    "a Runner in a daemon thread": """
        async def main():
            up.set()
            loop = asyncio.get_running_loop()
            while True:
                await loop.run_in_executor(None, len, "four")
                await asyncio.sleep(0.0001)

        def work():
            with asyncio.Runner(loop_factory=Loop) as runner:
                runner.run(main())

        def unheard():
            try:
                work()
            except RuntimeError:
                time.sleep(100)  # no new jobs at exit

        in_daemon(unheard)
        """,
    "woken by daemon threads": """
        loop = Loop()

        def wake():
            while True:
                loop.call_soon_threadsafe(up.set)
                time.sleep(0)

        for _ in range(2):
            threading.Thread(target=wake, daemon=True).start()
        in_daemon(loop.run_forever)
        """,
    "sys.exit in a callback": """
        loop = Loop()
        loop.call_soon(sys.exit, 3)
        loop.call_later(5, print)
        print("done", flush=True)
        loop.run_forever()
        """,
    "sys.exit in a task": """
        async def main():
            print("done", flush=True)
            asyncio.create_task(asyncio.sleep(100))
            await asyncio.sleep(0)
            sys.exit(3)

        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(main())
        """,
    "os._exit in a callback": """
        loop = Loop()
        print("done", flush=True)
        loop.call_soon(os._exit, 3)
        loop.run_forever()
        """,
    "run in an exit handler": """
        loop = Loop()

        @atexit.register
        def late():
            print(loop.run_until_complete(asyncio.sleep(0.01, "done")), flush=True)
            loop.close()
        """,
    "a server": """
        loop = Loop()
        server = loop.run_until_complete(
            asyncio.start_server(print, "127.0.0.1", 0))
        print("done")
        """,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_is_printed(name):
    expected = run(PROGRAMS[name], "stock")
    assert run(PROGRAMS[name], "ours") == expected
    assert expected[1:] == ("done\n", "")


def test_a_pending_task_is_complained_of_as_usual():
    source = """
        async def main():
            await asyncio.sleep(100)

        loop = Loop()
        task = loop.create_task(main())
        loop.call_later(0.01, loop.stop)
        loop.run_forever()
        print("done", flush=True)
        """

    def complaint(kind):
        code, output, errors = run(source, kind)
        return code, output, re.sub("0x[0-9a-f]+", "0x", errors)

    expected = complaint("stock")
    assert complaint("ours") == expected
    assert "Task was destroyed but it is pending!" in expected[2]


def test_an_open_loop_inside_of_a_run_in_a_daemon_thread():
    source = """
        from trio_asyncio_c import open_loop, trio

        async def main():
            async with open_loop() as loop:
                loop.call_later(100, print)
                loop.run_trio_task(trio.sleep_forever)
                loop.call_soon(up.set)
                await trio.sleep_forever()

        in_daemon(lambda: trio.run(main))
        """
    assert run(source, "ours") == (0, "done\n", "")


def test_readers_in_debug_mode():
    # asyncio cannot say by then what a cancelled callback was.
    _, output, errors = run(
        PROGRAMS["timers, readers and callbacks"], "ours", ["-Xdev"]
    )
    assert output == "done\n"
    _, _, usual = run(PROGRAMS["timers, readers and callbacks"], "stock", ["-Xdev"])
    assert errors.count("Traceback") == usual.count("Traceback")
