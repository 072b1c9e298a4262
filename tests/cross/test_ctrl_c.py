"""Ctrl-C, SystemExit and their like across the boundary: each in a process of its own,
for what is wrong here hangs."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
import asyncio, math, os, signal, sys, threading
from trio_asyncio_c import (
    current_loop, new_event_loop, open_loop, run, run_asyncio, run_future, trio
)

def interrupt():
    signal.raise_signal(signal.SIGINT)

def interrupt_from_a_thread():
    pid, ident = os.getpid(), threading.main_thread().ident
    thread = threading.Thread(target=signal.pthread_kill, args=(ident, signal.SIGINT))
    thread.start()
    return thread

def leaves(exc):
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for inner in exc.exceptions for leaf in leaves(inner)]
    return [type(exc).__name__]

def show(function, *args):
    try:
        print("value", function(*args))
    except BaseException as exc:
        kind = "group" if isinstance(exc, BaseExceptionGroup) else "alone"
        print(kind, *leaves(exc))

def show_own(fn):
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        show(runner.run, fn())
        print("again", runner.run(asyncio.sleep(0, "works")))
"""


def run_python(source, status=0):
    """Run a program and return the lines that it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout.splitlines()


# Ctrl-C, a loop opened in a Trio run


def test_while_the_main_task_waits_for_asyncio_code():
    lines = run_python(
        """
        async def callee():
            asyncio.get_running_loop().call_soon(interrupt_from_a_thread)
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError as exc:
                print("cancelled:", exc)
                await asyncio.sleep(0)
                print("cleaned up")
                raise

        async def main():
            try:
                await run_asyncio(callee)
            except KeyboardInterrupt as exc:
                print(type(exc.__cause__).__name__)
                raise

        show(run, main)
        """
    )
    assert lines[0].startswith("cancelled: KeyboardInterrupt in <Task '")
    assert lines[1:] == ["cleaned up", "CancelledError", "group KeyboardInterrupt"]


def test_down_a_sandwich():
    lines = run_python(
        """
        async def tell(name, fn, *args):
            try:
                await fn(*args)
            except BaseException as exc:
                text = "KeyboardInterrupt in <Task" in str(exc)
                print(name, type(exc).__name__, text)
                raise

        async def inner():
            asyncio.get_running_loop().call_soon(interrupt_from_a_thread)
            await trio.sleep(1000)

        async def middle():
            loop = asyncio.get_running_loop()
            await tell("middle", loop.run_trio, tell, "inner", inner)

        show(run, tell, "outer", run_asyncio, middle)
        """
    )
    assert lines == [
        "inner Cancelled True",
        "middle CancelledError True",
        "outer KeyboardInterrupt False",
        "group KeyboardInterrupt",
    ]


def test_a_callee_that_swallows_it_does_not_lose_it():
    lines = run_python(
        """
        async def callee():
            asyncio.get_running_loop().call_soon(interrupt_from_a_thread)
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                return "swallowed"

        async def main():
            print(await run_asyncio(callee))
            await trio.sleep(1000)

        show(run, main)
        """
    )
    assert lines == ["swallowed", "group KeyboardInterrupt"]


@pytest.mark.parametrize("how", ["interrupt", "interrupt_from_a_thread"])
@pytest.mark.parametrize(
    "when",
    [
        "loop.call_soon(HOW)",
        "loop.call_later(0.001, HOW)",
        "loop.create_task(call(HOW))",
        "loop.run_trio_task(call, HOW)",
    ],
)
def test_while_something_else_runs(how, when):
    lines = run_python(
        f"""
        async def call(fn):
            fn()

        async def main():
            loop = current_loop.get()
            {when.replace("HOW", how)}
            await trio.sleep(1000)

        show(run, main)
        """
    )
    assert lines == ["group KeyboardInterrupt"]


def test_in_a_step_of_the_callee_itself():
    lines = run_python(
        """
        async def callee():
            interrupt()

        show(run, run_asyncio, callee)
        """
    )
    assert lines == ["group KeyboardInterrupt"]


@pytest.mark.parametrize("how", ["interrupt", "interrupt_from_a_thread"])
def test_while_the_block_ends(how):
    lines = run_python(
        f"""
        async def asyncio_task():
            begun.append(asyncio_task)
            try:
                await asyncio.sleep(1000)
            finally:
                asyncio.get_running_loop().call_soon({how})
                await asyncio.sleep(0.01)
                print("asyncio cleaned up")

        async def trio_task():
            begun.append(trio_task)
            try:
                await trio.sleep(1000)
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.02)
                print("trio cleaned up")

        async def main():
            loop = current_loop.get()
            loop.create_task(asyncio_task())
            loop.run_trio_task(trio_task)
            while len(begun) < 2:
                await trio.sleep(0)

        begun = []
        show(run, main)
        """
    )
    # Which of the two is the first, is a matter of how busy the machine is.
    assert sorted(lines[:-1]) == ["asyncio cleaned up", "trio cleaned up"]
    assert lines[-1] == "group KeyboardInterrupt"


@pytest.mark.parametrize("where", ["before", "inside", "after"])
def test_just_around_the_block(where):
    """The main task hears of it at its next checkpoint, which is not in the user's
    code."""
    lines = run_python(
        f"""
        @trio.lowlevel.enable_ki_protection
        async def main():
            where = {where!r}
            if where == "before":
                interrupt()
            async with open_loop() as loop:
                loop.call_soon(print, "callback")
                if where == "inside":
                    interrupt()
            print("left")
            if where == "after":
                interrupt()
            await trio.lowlevel.checkpoint()

        show(trio.run, main)
        """
    )
    expected = {
        "before": ["group KeyboardInterrupt"],
        "inside": ["callback", "group KeyboardInterrupt"],
        "after": ["callback", "left", "alone KeyboardInterrupt"],
    }
    assert lines == expected[where]


def test_twice():
    lines = run_python(
        """
        async def callee():
            loop = asyncio.get_running_loop()
            loop.call_soon(interrupt_from_a_thread)
            try:
                await asyncio.sleep(1000)
            finally:
                loop.call_soon(interrupt_from_a_thread)
                await asyncio.sleep(0.01)
                print("cleaned up")

        show(run, run_asyncio, callee)
        """
    )
    assert lines[0] == "cleaned up"
    assert set(lines[1].split()) == {"group", "KeyboardInterrupt"}


# Ctrl-C, a loop that owns its runner


@pytest.mark.parametrize("how", ["interrupt", "interrupt_from_a_thread"])
def test_asyncio_runner_while_a_trio_callee_waits(how):
    lines = run_python(
        f"""
        async def callee():
            asyncio.get_running_loop().call_soon({how})
            try:
                await trio.sleep(1000)
            except trio.Cancelled as exc:
                print("its asyncio caller was cancelled" in str(exc))
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.001)
                print("cleaned up")
                raise

        async def main():
            try:
                await asyncio.get_running_loop().run_trio(callee)
            except BaseException as exc:
                print(type(exc).__name__)
                raise

        show_own(main)
        """
    )
    assert lines == [
        *("True", "cleaned up", "CancelledError"),
        "alone KeyboardInterrupt",
        "again works",
    ]


def test_asyncio_runner_while_a_trio_callee_runs():
    lines = run_python(
        """
        async def callee():
            interrupt()
            print("not torn apart")
            await trio.lowlevel.checkpoint()

        async def main():
            await asyncio.get_running_loop().run_trio(callee)

        show_own(main)
        """
    )
    assert lines == ["not torn apart", "alone KeyboardInterrupt", "again works"]


def test_run_until_complete_without_a_runner():
    lines = run_python(
        """
        async def callee():
            interrupt()

        async def main(loop):
            try:
                await loop.run_trio(callee)
            except KeyboardInterrupt:
                return "caught"

        loop = new_event_loop()
        show(loop.run_until_complete, main(loop))
        show(loop.run_until_complete, loop.run_trio(callee))
        print(loop.run_until_complete(loop.run_trio(trio.to_thread.run_sync, int)))
        loop.close()
        """
    )
    assert lines == ["value caught", "alone KeyboardInterrupt", "0"]


# SystemExit


SIDES = """
async def leave():
    await asyncio.sleep(0)
    sys.exit(42)

async def trio_leave():
    await trio.sleep(0)
    sys.exit(42)

async def to_asyncio(fn, *args):
    return await asyncio.get_running_loop().run_asyncio(fn, *args)

async def to_trio(fn, *args):
    return await asyncio.get_running_loop().run_trio(fn, *args)
"""


@pytest.mark.parametrize(
    "call",
    [
        "to_asyncio, leave",
        "to_asyncio, to_trio, trio_leave",
        "to_asyncio, to_trio, to_asyncio, leave",
        "to_asyncio, to_trio, to_asyncio, to_trio, trio_leave",
    ],
)
def test_system_exit_leaves_an_open_loop_as_a_group(call):
    assert run_python(f"{SIDES}\nshow(run, {call})") == ["group SystemExit"]


@pytest.mark.parametrize(
    "call",
    [
        "leave()",
        "to_trio(trio_leave)",
        "to_trio(to_asyncio, leave)",
        "to_trio(to_asyncio, to_trio, trio_leave)",
        "to_trio(to_asyncio, to_trio, to_asyncio, leave)",
    ],
)
def test_system_exit_ends_a_loop_of_its_own_with_its_status(call):
    source = f"""
{SIDES}
async def main():
    try:
        await {call}
    finally:
        await to_trio(trio.sleep, 0)
        print("unwound")

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
"""
    assert run_python(source, status=42) == ["unwound"]


@pytest.mark.parametrize(
    "call", ["to_trio(trio_leave)", "to_trio(to_asyncio, leave)", "leave()"]
)
def test_system_exit_that_is_caught_in_a_loop_of_its_own(call):
    source = f"""
{SIDES}
async def main():
    try:
        await {call}
    except SystemExit as exc:
        code = exc.code
    await to_trio(to_asyncio, asyncio.sleep, 0)
    return code

show_own(main)
"""
    assert run_python(source) == ["value 42", "again works"]


@pytest.mark.parametrize("waits", ["{}", "asyncio.gather({})"])
def test_system_exit_of_a_trio_task_that_the_loop_is_run_for(waits):
    source = f"""
{SIDES}
loop = new_event_loop()
asyncio.set_event_loop(loop)
show(loop.run_until_complete, {waits.format("loop.run_trio(trio_leave)")})
show(loop.run_until_complete, {waits.format("loop.run_trio(to_asyncio, leave)")})
print(loop.run_until_complete(loop.run_trio(to_asyncio, asyncio.sleep, 0, "works")))
loop.close()
"""
    assert run_python(source) == ["alone SystemExit", "alone SystemExit", "works"]


def test_system_exit_in_a_callback_while_a_crossing_goes_on():
    lines = run_python(
        """
        async def callee():
            asyncio.get_running_loop().call_soon(sys.exit, 42)
            try:
                await trio.sleep(1000)
            finally:
                print("unwound")

        async def main():
            await asyncio.get_running_loop().run_trio(callee)

        show_own(main)
        async def trio_main():
            await run_asyncio(main)
        show(run, trio_main)
        """
    )
    assert lines == [
        *("alone SystemExit", "again works", "unwound"),
        *("unwound", "group SystemExit"),
    ]


def test_system_exit_while_the_block_ends():
    lines = run_python(
        """
        async def task(begun):
            begun.set()
            try:
                await asyncio.sleep(1000)
            finally:
                sys.exit(42)

        async def main():
            begun = trio.Event()
            current_loop.get().create_task(task(begun))
            await begun.wait()

        show(run, main)
        """
    )
    assert lines == ["group SystemExit"]


def test_system_exit_of_a_callee_that_a_deadline_ends():
    lines = run_python(
        """
        async def callee(scope):
            scope.deadline = -math.inf  # not before it was begun
            try:
                await asyncio.sleep(1000)
            finally:
                sys.exit(42)

        async def main():
            with trio.CancelScope() as scope:
                try:
                    await run_asyncio(callee, scope)
                except SystemExit as exc:
                    print("caught", exc.code)
            await run_asyncio(asyncio.sleep, 0)
            return "on"

        show(run, main)
        """
    )
    assert lines == ["caught 42", "value on"]
