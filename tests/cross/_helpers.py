"""What the tests of the crossings share."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
import textwrap

import pytest
from trio_asyncio_c import current_loop, new_event_loop, open_loop, run, testing

__all__ = [
    "OpenedLoop",
    "OwnLoop",
    "both_ways",
    "flatten",
    "open_loop",
    "python",
    "run",
    "run_mock",
]

# What once was a deadlock must not be one of the whole test suite.
TIME_LIMIT_S = 120


def python(program, *options):
    """Run a program in an interpreter of its own; return a `CompletedProcess`."""
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )


def run_mock(fn, *args, **options):
    """Run a Trio-flavoured function with a loop open, on a clock that jumps when
    nothing else can happen."""
    return run(fn, *args, clock=testing.MockClock(autojump_threshold=0), **options)


def flatten(exc):
    """Return the leaves of a possibly nested group."""
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for inner in exc.exceptions for leaf in flatten(inner)]
    return [exc]


class OpenedLoop:
    """An `open_loop` block in a Trio run."""

    @staticmethod
    def run_trio(fn, *args):
        """Run a Trio-flavoured main function, on a clock that jumps."""
        return run_mock(fn, *args)

    @staticmethod
    def run_asyncio(fn, *args):
        """Run an asyncio-flavoured main function, on a clock that jumps."""

        async def main():
            return await current_loop.get().run_asyncio(fn, *args)

        return run_mock(main)


class OwnLoop:
    """A loop that owns its runner, as `asyncio.run` uses it."""

    @staticmethod
    def run_asyncio(fn, *args):
        clock = testing.MockClock(autojump_threshold=0)
        factory = functools.partial(new_event_loop, clock=clock)
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(fn(*args))

    @classmethod
    def run_trio(cls, fn, *args):
        async def main():
            return await asyncio.get_running_loop().run_trio(fn, *args)

        return cls.run_asyncio(main)


both_ways = pytest.mark.parametrize("way", [OpenedLoop, OwnLoop])
"""Runs a test for both ways of opening a loop: `way.run_trio`, `way.run_asyncio`."""
