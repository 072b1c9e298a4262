"""Tells what is left of an operation's cost: facts that a profiler does not distort.

Those are the kernel's and the garbage collector's parts of the CPU time, measured
without a profiler, and how many calls of Python functions there are and whose. A
profiler makes short functions several times dearer, so its times give only the order.
"""

import contextlib
import cProfile
import gc
import resource
import sys
import time
from pathlib import Path

OWN_FOLDER = str(Path(__file__).resolve().parents[1])
OUR_PACKAGE = "trio_asyncio_c"
GENERATED = "<attrs generated methods "
# The kernel tells its part in steps of some milliseconds.
SHARES_S = 0.5


def _module_name(filename):
    if filename.startswith(GENERATED):
        return filename.removeprefix(GENERATED).rstrip(">")
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == filename:
            return name
    return Path(filename).stem


def _is_ours(code):
    """Return whether it is a case's function, or one of our package's.

    The files that stand in for some of trio's are in our package.
    """
    return (
        code.co_filename.startswith(OWN_FOLDER)
        or f"/{OUR_PACKAGE}/" in code.co_filename
    )


@contextlib.contextmanager
def _collections_timed():
    """Run the block with a list that gets the CPU times when collections begin and
    end, in turn."""
    times = []

    def note(phase, info):
        times.append(time.process_time())

    gc.callbacks.append(note)
    try:
        yield times
    finally:
        gc.callbacks.remove(note)


async def _shares(function):
    """Return the kernel's and the collector's parts of the process's CPU time."""
    with _collections_timed() as times:
        end = time.perf_counter() + SHARES_S
        before = resource.getrusage(resource.RUSAGE_SELF)
        while time.perf_counter() < end:
            await function()
        after = resource.getrusage(resource.RUSAGE_SELF)
    system = after.ru_stime - before.ru_stime
    total = system + after.ru_utime - before.ru_utime
    collecting = sum(times[1::2]) - sum(times[::2])
    return {"the kernel": system / total, "the collector": collecting / total}


async def _calls(function, count):
    """Return [[package, function, calls an operation], ...], the dearest first.

    Python functions only; a coroutine that goes on is called once more.
    """
    profile = cProfile.Profile()
    profile.enable()
    try:
        await function()
    finally:
        profile.disable()
    entries = [
        entry
        for entry in sorted(profile.getstats(), key=lambda entry: -entry.inlinetime)
        if not isinstance(entry.code, str) and not _is_ours(entry.code)
    ]
    calls = []
    for entry in entries:
        module = _module_name(entry.code.co_filename)
        package = module.partition(".")[0]
        name = f"{module}.{entry.code.co_qualname}"
        calls.append([package, name, entry.callcount / count])
    return calls


async def profiled(function, count):
    """Return what is known of `await function()`, which does `count` operations:
    {"shares": {of what: part of the CPU time}, "calls": as _calls returns}."""
    return {"shares": await _shares(function), "calls": await _calls(function, count)}


def _package_words(package, own_calls):
    count = sum(number for _, number in own_calls)
    names = ", ".join(name.removeprefix(f"{package}.") for name, _ in own_calls[:3])
    return f"Python calls in {package}: {count:.0f} ({names})"


def what_is_left(parts, share_at_least=0.1, packages=2):
    """Return words for what `profiled` returned."""
    words = [
        f"{share:.0%} in {what}"
        for what, share in parts["shares"].items()
        if share >= share_at_least
    ]
    by_package = {}
    for package, name, number in parts["calls"]:
        by_package.setdefault(package, []).append((name, number))
    words += [
        _package_words(package, own_calls)
        for package, own_calls in list(by_package.items())[:packages]
        if sum(number for _, number in own_calls) >= 1
    ]
    return ", ".join(words)
