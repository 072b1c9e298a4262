"""One program on a loop, and what it must not leave behind."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import traceback

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
    """What a loop complains of while a program runs on it."""

    def __init__(self, tolerated):
        self.complaints = []
        self._tolerated = tolerated

    def hear(self, loop, context):
        said = _described(context)
        tolerated = [*self._tolerated, *[DEBUG_MODES_COMPLAINT] * loop.get_debug()]
        if not any(text in said for text in tolerated):
            self.complaints.append(said)

    async def program(self, main, ignored):
        loop = asyncio.get_running_loop()
        assert type(loop) is loop_class()
        loop.set_exception_handler(self.hear)
        before = descriptors()

        def new_descriptors():
            now = descriptors()
            new = {number[0]: now[number] for number in now.keys() - before.keys()}
            return {fd: name for fd, name in new.items() if not ignored(name)}

        async with asyncio.timeout(LIMIT_S):
            result = await main()
        await settled("tasks", other_tasks)
        await settled("descriptors", new_descriptors)
        return result


def run(main, ignored=lambda name: False, tolerated=()):
    """Run `main()` on a new loop; it must leave no task, no descriptor and no error.

    Args:
      ignored: called with the name of a descriptor that is left, as /proc tells it;
        whether that is none of the loop's.
      tolerated: texts of complaints that the library brings about on any loop.

    Returns:
      what `main` returned.
    """
    watch = Watch(tolerated)
    try:
        with asyncio.Runner(loop_factory=loop_class()) as runner:
            result = runner.run(watch.program(main, ignored))
        gc.collect()
    finally:
        if watch.complaints:
            print("the loop's exception handler was told:", *watch.complaints, sep="\n")
    assert not watch.complaints, watch.complaints
    return result
