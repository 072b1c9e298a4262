"""With install_trio(), Trio's events, locks, channels and timeouts are the core's."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("trio")

TIMEOUT_S = 120
NAMES = """
    CapacityLimiter CapacityLimiterStatistics Condition ConditionStatistics Event
    EventStatistics Lock LockStatistics MemoryChannelStatistics MemoryReceiveChannel
    MemorySendChannel Semaphore StrictFIFOLock TooSlowError as_safe_channel fail_after
    fail_at move_on_after move_on_at open_memory_channel sleep sleep_until
""".split()
BEGINNING = """
import trio_asyncio_c
trio_asyncio_c.install_trio()
import trio
"""


def run_swapped(source):
    """Run a program on the swapped Trio; what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BEGINNING + source],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


def test_both_packages_have_the_same_and_it_says_trio():
    said = run_swapped(
        f"""
for name in {NAMES!r}:
    thing = getattr(trio, name)
    same = thing is getattr(trio_asyncio_c.trio, name)
    print(same, thing.__module__, thing.__name__)
"""
    )
    assert said.splitlines() == [f"True trio {name}" for name in NAMES]


def test_ends_of_channels_are_trios_own_channels():
    said = run_swapped(
        """
send, receive = trio.open_memory_channel[int](1)
print(isinstance(send, trio.abc.SendChannel), isinstance(send, trio.abc.ReceiveChannel))
print(isinstance(receive, trio.abc.ReceiveChannel), isinstance(send, trio.abc.AsyncResource))
print(trio.MemorySendChannel[int], trio.MemoryReceiveChannel.__final__)

@trio.as_safe_channel
async def numbers():
    yield 1

async def main():
    async with numbers() as channel:
        print(isinstance(channel, trio.abc.ReceiveChannel), await anext(channel))

trio.run(main)
"""
    )
    assert said == ("True False\nTrue True\ntrio.MemorySendChannel[int] True\nTrue 1\n")


def test_errors_and_reprs_say_trio():
    said = run_swapped(
        """
import trio._sync
try:
    trio.MemorySendChannel()
except TypeError as error:
    print(error)
print(repr(trio.Semaphore(1, max_value=2))[:32])
print(repr(trio.Event())[:12], repr(trio.Lock())[:22])
for cls in (trio.Event, trio.Lock, trio.Semaphore):
    assert cls.__final__

class Gate(trio._sync.AsyncContextManagerMixin):
    async def acquire(self):
        print("in")

    def release(self):
        print("out")

async def main():
    async with Gate():
        pass

trio.run(main)
"""
    )
    assert said == (
        "trio.MemorySendChannel has no public constructor\n"
        "<trio.Semaphore(1, max_value=2) \n"
        "<trio.Event  <unlocked Lock object \n"
        "in\nout\n"
    )


def test_breakers_are_shown_as_trio_shows_them():
    said = run_swapped(
        """
from trio._core._parking_lot import GLOBAL_PARKING_LOT_BREAKER as breakers

async def main():
    lock = trio.Lock()
    task = trio.lowlevel.current_task()
    print(bool(breakers), len(breakers))
    lock.acquire_nowait()
    print(breakers == {task: [lock._lot]}, list(breakers) == [task])
    print(repr(breakers) == repr({task: [lock._lot]}), breakers[task] == [lock._lot])
    lock.release()
    print(dict(breakers))

trio.run(main)
"""
    )
    assert said == "False 0\nTrue True\nTrue True\n{}\n"


def test_the_traceback_of_an_interrupt_names_what_slept_forever():
    said = run_swapped(
        """
import signal, traceback

async def interrupt():
    await trio.testing.wait_all_tasks_blocked()
    signal.raise_signal(signal.SIGINT)

async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(interrupt)
        try:
            await trio.sleep_forever()
        except KeyboardInterrupt as error:
            print(traceback.extract_tb(error.__traceback__)[-1].name)

import trio.testing
trio.lowlevel.enable_ki_protection(interrupt)
trio.run(main)
"""
    )
    assert said == "sleep_forever\n"
