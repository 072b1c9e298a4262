"""How an `open_loop` block ends: what is alive then is unwound in order."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import warnings

import pytest

import trio_asyncio_c
from trio_asyncio_c import trio

from ._helpers import open_loop


def test_a_stopped_loop_goes_on_to_unwind_its_tasks():
    steps = []

    async def stubborn():
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            steps.append("unwound")

    async def main():
        async with open_loop() as loop:
            task = loop.create_task(stubborn())
            await loop.synchronize()
            await loop.stop().wait()
        assert task.cancelled()

    with pytest.warns(RuntimeWarning, match="stopped while 1 asyncio tasks"):
        trio.run(main)
    assert steps == ["unwound"]


def test_a_finally_may_use_a_socket_and_a_timer():
    steps = []

    async def clean_up(loop, sock):
        try:
            await asyncio.sleep(1000)
        finally:
            steps.append(await loop.sock_recv(sock, 10))

    async def main():
        a, b = socket.socketpair()
        a.setblocking(False)
        with a, b:
            async with open_loop() as loop:
                loop.create_task(clean_up(loop, a))
                await loop.synchronize()
                loop.call_later(0, lambda: loop.call_later(0.01, b.send, b"late"))

    trio.run(main)
    assert steps == [b"late"]


def test_a_task_queued_just_before_the_end_starts_and_is_cancelled():
    steps = []

    async def callee():
        steps.append("started")
        try:
            await trio.sleep_forever()
        finally:
            steps.append("ended")

    async def main():
        async with open_loop() as loop:
            loop.run_trio_task(callee)

    trio.run(main)
    assert steps == ["started", "ended"]


def test_what_tasks_raise_while_they_unwind_leaves_the_block():
    async def failing():
        try:
            await asyncio.sleep(1000)
        finally:
            raise KeyError("unwinding")

    async def main():
        async with open_loop() as loop:
            loop.create_task(failing())
            await loop.synchronize()

    with pytest.raises(ExceptionGroup) as caught:
        trio.run(main)
    assert [repr(e) for e in caught.value.exceptions] == ["KeyError('unwinding')"]


def test_an_outer_cancel_that_the_body_ignored_is_not_caught():
    async def main():
        with trio.CancelScope() as scope:
            async with open_loop():
                scope.cancel()
        assert not scope.cancelled_caught

    trio.run(main)


def test_the_old_child_watcher_still_tells_of_a_child():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        watcher = trio_asyncio_c.TrioChildWatcher()

    async def main():
        async with open_loop() as loop:
            told = loop.create_future()
            with watcher:
                watcher.attach_loop(loop)
                pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 3"], os.environ)
                watcher.add_child_handler(pid, lambda *args: told.set_result(args))
                assert await loop.run_aio_future(told) == (pid, 3)
            assert not watcher.is_active()

    trio.run(main)


@pytest.mark.parametrize("waits", [True, False])
def test_a_block_whose_loop_was_closed_by_hand_ends_its_trio_tasks(waits):
    steps = []

    async def callee():
        try:
            await trio.sleep_forever()
        finally:
            steps.append("ended")

    async def main():
        async with open_loop() as loop:
            future = loop.run_trio(callee)
            loop.run_trio_task(callee)
            await loop.synchronize()
            stopped = loop.stop()
            if waits:
                await stopped.wait()
                loop.close()
        assert future.cancelled()

    trio.run(main)
    assert steps == ["ended"] * 2


@pytest.mark.parametrize("asked", ["before", "after", "long after"])
def test_waiting_for_a_stop_that_has_an_event_of_its_own(asked):
    async def main():
        async with open_loop() as loop, trio.open_nursery() as nursery:
            own = trio.Event()
            if asked == "before":
                nursery.start_soon(loop.wait_stopped)
                await trio.sleep(0)
            loop.stop(own)
            if asked == "long after":
                await own.wait()
                await trio.sleep(0)
            await loop.wait_stopped()
            assert loop.stop().is_set()

    trio.run(main)


def test_synchronize_with_a_loop_that_runs_nothing_more():
    async def main():
        async with open_loop() as loop:
            ran = []
            loop.call_soon(ran.append, 1)
            await loop.synchronize()
            assert ran == [1]
            await loop.stop().wait()
            with pytest.raises(RuntimeError, match="^Event loop is stopped$"):
                await loop.synchronize()
        with pytest.raises(RuntimeError, match="^Event loop is closed$"):
            await loop.synchronize()

    trio.run(main)


def test_debug_mode_ends_with_the_block():
    """It has the interpreter remember where each coroutine was made."""

    async def main():
        async with open_loop() as loop:
            loop.set_debug(True)
            await loop.synchronize()
            assert sys.get_coroutine_origin_tracking_depth() > 0
        assert sys.get_coroutine_origin_tracking_depth() == 0

    trio.run(main)
