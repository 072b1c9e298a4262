"""Managers that are entered by hand and never left: they are left with the loop."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from trio_asyncio_c import aio_as_trio, current_loop, open_loop, trio, trio_as_aio

from ._both_ways import opened_both_ways


@pytest.fixture
def log():
    return []


@asynccontextmanager
async def asyncio_manager(log):
    try:
        yield
    except BaseException as error:
        log.append(type(error))
        await asyncio.sleep(0)
        log.append("left")
        raise


@asynccontextmanager
async def trio_manager(log):
    try:
        yield
    except BaseException as error:
        log.append(type(error))
        with trio.CancelScope(shield=True):
            await trio.sleep(0)
        log.append("left")
        raise


@pytest.fixture
def warns():
    with pytest.warns(
        ResourceWarning, match=r"_AsyncGeneratorContextManager.* and never left"
    ) as caught:
        yield
    assert len(caught) == 1


@opened_both_ways
@pytest.mark.usefixtures("warns")
def test_by_a_trio_task_that_has_ended(program, log):
    async def owner():
        await aio_as_trio(asyncio_manager(log)).__aenter__()

    async def main():
        await asyncio.get_running_loop().run_trio(owner)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    program.run_asyncio(main)
    assert log == [asyncio.CancelledError, "left"]


@opened_both_ways
@pytest.mark.usefixtures("warns")
def test_by_a_trio_task_that_is_cancelled_by_that(program, log):
    async def owner():
        await aio_as_trio(asyncio_manager(log)).__aenter__()
        try:
            await trio.sleep_forever()
        finally:
            log.append("owner")

    async def main():
        owned = asyncio.get_running_loop().run_trio(owner)
        while not asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        with pytest.raises((RuntimeError, asyncio.CancelledError)):
            await owned

    program.run_asyncio(main)
    assert log == ["owner", asyncio.CancelledError, "left"]


@pytest.mark.usefixtures("warns")
@pytest.mark.parametrize("how", ["ended", "waits"])
def test_by_a_trio_task_when_the_block_ends(how, log):
    async def owner():
        await aio_as_trio(asyncio_manager(log)).__aenter__()
        log.append("entered")
        if how == "waits":
            await trio.sleep_forever()

    async def main():
        async with open_loop() as loop:
            loop.run_trio(owner)
            while not log:
                await trio.sleep(0.001)

    trio.run(main)
    assert log == ["entered", asyncio.CancelledError, "left"]


@pytest.mark.usefixtures("warns")
def test_by_the_task_that_opened_the_loop(log):
    """It leaves the loop's block with the manager's scope open, and hears of that."""

    async def main():
        async with open_loop():
            await aio_as_trio(asyncio_manager(log)).__aenter__()

    with pytest.raises(RuntimeError, match="Cancel scope stack corrupted"):
        trio.run(main)
    assert log == [asyncio.CancelledError, "left"]


@opened_both_ways
@pytest.mark.usefixtures("warns")
@pytest.mark.parametrize("how", ["ended", "waits"])
def test_by_an_asyncio_task(program, how, log):
    async def owner():
        await trio_as_aio(trio_manager(log)).__aenter__()
        log.append("entered")
        if how == "waits":
            await asyncio.sleep(1000)

    async def main():
        task = asyncio.ensure_future(owner())
        while not log:
            await asyncio.sleep(0.001)
        if how == "waits":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    program.run_asyncio(main)
    assert log == ["entered", trio.Cancelled, "left"]


@pytest.mark.usefixtures("warns")
def test_by_an_asyncio_task_when_the_block_ends(log):
    async def owner():
        await trio_as_aio(trio_manager(log)).__aenter__()
        log.append("entered")
        await asyncio.sleep(1000)

    async def main():
        async with open_loop() as loop:
            loop.create_task(owner())
            while not log:
                await trio.sleep(0.001)

    trio.run(main)
    assert log == ["entered", trio.Cancelled, "left"]


def test_an_error_of_one_that_nobody_waits_for(log):
    @asynccontextmanager
    async def failing():
        try:
            yield
        finally:
            raise KeyError("exit")

    async def owner():
        await trio_as_aio(failing()).__aenter__()

    async def main():
        async with open_loop() as loop:
            loop.set_exception_handler(
                lambda loop, context: log.append(repr(context["exception"]))
            )
            await loop.run_asyncio(owner)

    with pytest.warns(ResourceWarning, match="never left"):
        trio.run(main)
    assert log == ["KeyError('exit')"]


@opened_both_ways
def test_one_that_is_left_by_hand_is_not_warned_of(program, log):
    async def main():
        manager = aio_as_trio(asyncio_manager(log))
        await manager.__aenter__()
        await manager.__aexit__(None, None, None)
        assert current_loop.get() is not None

    program.run_trio(main)
    assert log == []
