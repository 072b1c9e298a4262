"""One program on a loop, and what it must not leave behind."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import traceback
from contextlib import contextmanager

# Below the time after which pytest takes a test for hanging.
LIMIT_S = 50
# How often, and how far apart, a loop is asked whether what ends by itself has ended.
SETTLE_ATTEMPTS = 500
SETTLE_PAUSE_S = 0.01

# In debug mode, of a handshake that a peer has spoilt.
DEBUG_MODES_COMPLAINT = "Error on transport creation for incoming connection"

LOOP = os.environ.get("REAL_LOOP", "trio_asyncio_c:EventLoop")


def loop_class():
    """Return the class under test: ours, unless the environment names another."""
    module, _, name = LOOP.partition(":")
    return getattr(importlib.import_module(module), name)


def descriptors():
    """Return what is open in this process, as {(number, device, inode): name}."""
    found = {}
    for entry in os.listdir("/dev/fd"):
        try:
            status = os.fstat(int(entry))
        except OSError:  # the one that listed the folder
            continue
        try:
            name = os.readlink(f"/dev/fd/{entry}")
        except OSError:
            name = "?"
        found[int(entry), status.st_dev, status.st_ino] = name
    return found


async def settled(what, remaining):
    """Wait until `remaining()` is empty, which must come by itself."""
    for _ in range(SETTLE_ATTEMPTS):
        if not remaining():
            return
        gc.collect()
        await asyncio.sleep(SETTLE_PAUSE_S)
    raise AssertionError(f"{what} left: {remaining()}")


def other_tasks():
    return asyncio.all_tasks() - {asyncio.current_task()}


def _described(context):
    """Return a call of the exception handler as text, which holds no frames alive."""
    exc = context.get("exception")
    lines = [f"{key}: {value!r}" for key, value in context.items()]
    return "\n".join([*lines, *(traceback.format_exception(exc) if exc else [])])


class Watch:
    """What a program leaves behind on a loop, and what the loop complains of.

    Args:
      ignored: called with the name of a descriptor that is left, as /proc tells it;
        whether that is none of the loop's.
      tolerated: texts of complaints that the library brings about on any loop.
    """

    def __init__(self, ignored=lambda name: False, tolerated=()):
        self._complaints = []
        self._ignored = ignored
        self._tolerated = tolerated

    def _hear(self, loop, context):
        said = _described(context)
        tolerated = [*self._tolerated, *[DEBUG_MODES_COMPLAINT] * loop.get_debug()]
        if not any(text in said for text in tolerated):
            self._complaints.append(said)

    def begin(self, loop):
        """Listen to the loop's complaints, and remember what is open."""
        loop.set_exception_handler(self._hear)
        self._before = descriptors()

    def _new_descriptors(self):
        now = descriptors()
        new = {number[0]: now[number] for number in now.keys() - self._before.keys()}
        return {fd: name for fd, name in new.items() if not self._ignored(name)}

    async def settle(self):
        """Wait until no task and no descriptor of the program is left.

        Flavor: asyncio.
        """
        await settled("tasks", other_tasks)
        await settled("descriptors", self._new_descriptors)

    async def program(self, main):
        """Run an asyncio-flavoured main function under watch."""
        self.begin(asyncio.get_running_loop())
        async with asyncio.timeout(LIMIT_S):
            result = await main()
        await self.settle()
        return result

    @contextmanager
    def no_complaints(self):
        """Around all of it: fail after a loop that complained."""
        try:
            yield
            gc.collect()
        finally:
            if self._complaints:
                print("the loop's exception handler was told:")
                print(*self._complaints, sep="\n")
        assert not self._complaints, self._complaints


def run(main, *arguments, **options):
    """Run `main()` on a new loop; it must leave no task, no descriptor and no error.

    Args:
      arguments, options: what `Watch` takes.

    Returns:
      what `main` returned.
    """
    watch = Watch(*arguments, **options)
    with watch.no_complaints():
        with asyncio.Runner(loop_factory=loop_class()) as runner:
            assert type(runner.get_loop()) is loop_class()
            return runner.run(watch.program(main))
