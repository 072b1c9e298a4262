"""Loops in subinterpreters, each with its own module state and, from CPython 3.12 on,
its own GIL.

They run in a process of their own, and one after the other: several at once crash the
standard library's loop as well on 3.12.1.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

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
loop.close()
print("ran", flush=True)
"""


def run(source):
    result = subprocess.run(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
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
