"""What the tests of cancel scopes in asyncio Tasks share."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys

import pytest
from trio_asyncio_c import new_event_loop, testing

__all__ = [
    "Eager",
    "InPython",
    "InTask",
    "call_soon",
    "cancel_soon",
    "in_tasks",
    "now",
    "this_task",
    "ways",
]


class InTask:
    """Tasks of asyncio's own, on a clock that jumps when all wait."""

    factory = None

    @classmethod
    def new_loop(cls):
        loop = new_event_loop(clock=testing.MockClock(autojump_threshold=0))
        loop.set_task_factory(cls.factory)
        return loop

    @classmethod
    def run(cls, fn, *args, **kwargs):
        """Run an asyncio-flavoured function in a Task that a Task has made."""

        async def main():
            return await asyncio.create_task(fn(*args, **kwargs))

        with asyncio.Runner(loop_factory=cls.new_loop) as runner:
            return runner.run(main())


class Eager(InTask):
    """Tasks whose first step is made while they are created."""

    factory = staticmethod(getattr(asyncio, "eager_task_factory", None))


class InPython(InTask):
    """Tasks of asyncio's class in Python."""

    @staticmethod
    def factory(loop, coro, **kwargs):
        return asyncio.tasks._PyTask(coro, loop=loop, **kwargs)


# Eager tasks came with CPython 3.12. From 3.14 on asyncio does not see who runs, of
# Tasks in Python.
WAYS = [InTask]
if sys.version_info >= (3, 12):
    WAYS.append(Eager)
if sys.version_info < (3, 14):
    WAYS.append(InPython)
ways = pytest.mark.parametrize("way", WAYS)


def in_tasks(fn):
    """Make an asyncio-flavoured test one that runs in a Task of each way."""

    @ways
    @functools.wraps(fn)
    def test(way, **fixtures):
        way.run(fn, **fixtures)

    own = inspect.signature(fn)
    way = inspect.Parameter("way", inspect.Parameter.KEYWORD_ONLY)
    test.__signature__ = own.replace(parameters=[*own.parameters.values(), way])
    return test


def now():
    """Return the time of the running loop."""
    return asyncio.get_running_loop().time()


def this_task():
    return asyncio.current_task()


def call_soon(fn, *args):
    return asyncio.get_running_loop().call_soon(fn, *args)


def cancel_soon(scope, *args):
    """Cancel a scope in a callback of its own."""
    return call_soon(scope.cancel, *args)
