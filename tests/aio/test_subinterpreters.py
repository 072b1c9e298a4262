"""Loops in subinterpreters, each with its own module state and, from CPython 3.12 on,
its own GIL.

They run in a process of their own, and before 3.14 one after the other: several at
once crash the standard library's loop as well on 3.12 and 3.13.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PREAMBLE = """
import sys

if sys.version_info >= (3, 13):
    import _interpreters as interpreters
    create = lambda: interpreters.create("isolated")

    def run(interpreter, source):
        failure = interpreters.exec(interpreter, source)
        if failure is not None:
            raise RuntimeError(failure.formatted)
else:
    import _xxsubinterpreters as interpreters
    # Isolated ones of 3.11 have no threads.
    create = lambda: interpreters.create(isolated=sys.version_info >= (3, 12))
    run = interpreters.run_string

def in_interpreter(source):
    interpreter = create()
    try:
        run(interpreter, source)
    finally:
        interpreters.destroy(interpreter)
"""

USE_A_LOOP = """
import asyncio
from trio_asyncio_c import EventLoop

async def main():
    loop = asyncio.get_running_loop()
    for _ in range(100):
        await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    assert await loop.run_in_executor(None, len, "four") == 4

loop = EventLoop()
loop.run_until_complete(main())
loop.run_until_complete(loop.shutdown_default_executor())  # 3.11 needs it
loop.close()
print("ran", flush=True)
"""

USE_QUIETLY = USE_A_LOOP.replace('print("ran", flush=True)', "")


def run_program(source):
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run(source):
    """Run a program; what it printed. Where it crashes with asyncio's own loop as
    well, as on CPython 3.12.1, there is nothing to learn from it."""
    stock = source.replace(
        "from trio_asyncio_c import EventLoop",
        "EventLoop = asyncio.SelectorEventLoop",
    )
    if run_program(stock).returncode < 0:
        pytest.skip("this asyncio crashes in subinterpreters")
    result = run_program(source)
    assert result.stderr == ""
    assert result.returncode == 0
    return result.stdout


def test_one_after_the_other():
    source = f"""
for _ in range(3):
    in_interpreter({USE_A_LOOP!r})
"""
    assert run(source) == "ran\n" * 3


def test_after_the_main_interpreter_s():
    source = f"""
exec({USE_A_LOOP!r})
in_interpreter({USE_A_LOOP!r})
exec({USE_A_LOOP!r})
"""
    assert run(source) == "ran\n" * 3


since_3_14 = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="needs what CPython 3.14 has"
)


@since_3_14
def test_several_at_once():
    source = f"""
import threading

start = threading.Barrier(4)

def in_thread():
    start.wait()
    for _ in range(3):
        in_interpreter({USE_QUIETLY!r})

threads = [threading.Thread(target=in_thread) for _ in range(3)]
for thread in threads:
    thread.start()
start.wait()
for _ in range(3):
    exec({USE_QUIETLY!r})
for thread in threads:
    thread.join()
print("done")
"""
    assert run(source) == "done\n"


@since_3_14
def test_an_executor_of_interpreters():
    source = """
import asyncio, math
from concurrent.futures import InterpreterPoolExecutor
from trio_asyncio_c import EventLoop

async def main(pool):
    loop = asyncio.get_running_loop()
    jobs = [loop.run_in_executor(pool, math.factorial, n) for n in range(6)]
    print(await asyncio.gather(*jobs))
    try:
        await loop.run_in_executor(pool, math.factorial, -1)
    except ValueError as exc:
        print(exc)

with InterpreterPoolExecutor(2) as pool:
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.run(main(pool))
"""
    stock = source.replace("EventLoop", "SelectorEventLoop").replace(
        "trio_asyncio_c", "asyncio"
    )
    assert run(source) == run(stock) != ""
