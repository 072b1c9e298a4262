"""What the tests of the C types share."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
from contextlib import contextmanager

from trio_asyncio_c import lowlevel, trio

Value = lowlevel.Value
Error = lowlevel.Error

# AddressSanitizer keeps freed memory for a while, and allocations are not pymalloc's.
SANITIZED = "asan" in os.environ.get("LD_PRELOAD", "")


def collect():
    """Run the collector until nothing more can come of it."""
    for _ in range(4):
        gc.collect()


@contextmanager
def unheard(passes=4):
    """Let what a crashed run leaves behind complain of its fate unheard."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
    try:
        yield
        for _ in range(passes):
            gc.collect()
    finally:
        sys.unraisablehook = hook


def crash(fn, *args, **kwargs):
    """Run `fn(*args)` into a TrioInternalError; the reprs of it and its causes."""
    chain = []
    with unheard():
        try:
            trio.run(fn, *args, **kwargs)
        except trio.TrioInternalError as exc:
            error = exc
            while error is not None:
                chain.append(repr(error))
                error = error.__cause__
            del error
    assert chain, "the run did not crash"
    assert not trio.lowlevel.in_trio_run()
    return chain


def run_or_crash(fn, *args, **kwargs):
    """Run `fn(*args)`; its result, or None if the run ended in TrioInternalError."""
    with unheard(passes=1):
        try:
            return trio.run(fn, *args, **kwargs)
        except trio.TrioInternalError:
            return None
        finally:
            assert not trio.lowlevel.in_trio_run()


async def settle():
    """Wait until every other task is blocked."""
    await trio.testing.wait_all_tasks_blocked()


async def block():
    """Block until cancelled or rescheduled; the value it is rescheduled with."""
    return await trio.lowlevel.wait_task_rescheduled(
        lambda _: trio.lowlevel.Abort.SUCCEEDED
    )


def script(source, *, options=(), timeout=120):
    """Run a program in a new interpreter; what became of it."""
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        errors="backslashreplace",
        timeout=timeout,
        check=False,
    )


def quiet_script(source, *, options=("-X", "dev", "-W", "error"), output="done\n"):
    """Run a program that must end well, say `output`, and complain of nothing."""
    result = script(source, options=options)
    assert result.stderr == ""
    assert result.stdout == output
    assert result.returncode == 0
