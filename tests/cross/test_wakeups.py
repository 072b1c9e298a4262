"""What a Task that awaits a call into Trio is woken by."""

from __future__ import annotations

import asyncio
import sys

import pytest
from trio_asyncio_c import new_event_loop, trio


class Error(Exception):
    pass


async def give(value):
    await trio.lowlevel.checkpoint()
    return value


async def fail():
    await trio.lowlevel.checkpoint()
    raise Error("failed")


def factories():
    yield None
    yield lambda loop, coro, **kwargs: asyncio.Task(coro, loop=loop, **kwargs)
    yield lambda loop, coro, **kwargs: asyncio.tasks._PyTask(coro, loop=loop, **kwargs)

    class Subclass(asyncio.Task):
        pass

    yield lambda loop, coro, **kwargs: Subclass(coro, loop=loop, **kwargs)
    if sys.version_info >= (3, 12):
        yield asyncio.eager_task_factory


@pytest.fixture(params=range(5 if sys.version_info >= (3, 12) else 4))
def run(request):
    """Run an asyncio-flavoured function, with Tasks of several kinds."""

    def run_it(fn, *args):
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.get_loop().set_task_factory(list(factories())[request.param])
            return runner.run(fn(*args))

    return run_it


@pytest.mark.parametrize("value", [None, 5, Error("a value")])
def test_a_value(run, value):
    async def main():
        loop = asyncio.get_running_loop()
        assert await loop.run_trio(give, value) is value
        assert [await loop.run_trio(give, n) for n in range(3)] == [0, 1, 2]

    run(main)


def test_an_error(run):
    async def main():
        with pytest.raises(Error, match="failed"):
            await asyncio.get_running_loop().run_trio(fail)

    run(main)


def test_a_cancel(run):
    async def main():
        loop = asyncio.get_running_loop()
        task = loop.create_task(wait())
        await asyncio.sleep(0)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task

    async def wait():
        await asyncio.get_running_loop().run_trio(trio.sleep_forever)

    run(main)


def test_a_task_that_was_cancelled_when_the_value_came(run):
    """The cancel is thrown in place of the value, as asyncio does."""

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.run_trio(give, 5)
        future.add_done_callback(lambda future: task.cancel("late"))
        task = loop.create_task(wait(future))
        with pytest.raises(asyncio.CancelledError, match="late"):
            await task
        assert future.result() == 5

    async def wait(future):
        return await future

    run(main)


def test_callbacks_get_the_future_itself(run):
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.run_trio(give, 5)
        seen = []
        future.add_done_callback(seen.append)
        assert await future == 5
        await asyncio.sleep(0)
        assert seen == [future]
        assert await asyncio.gather(loop.run_trio(give, 1), loop.run_trio(give, 2)) == [
            1,
            2,
        ]
        done, pending = await asyncio.wait({loop.run_trio(give, 3)})
        assert not pending and [each.result() for each in done] == [3]

    run(main)


def test_somebody_who_resolves_it_first(run):
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.run_trio(give, "late")
        loop.call_soon(future.set_result, "early")
        assert await future == "early"
        await asyncio.sleep(0)

    run(main)


@pytest.mark.parametrize("error", [False, True])
def test_an_awaitable_that_asks_only_when_it_is_woken(run, error):
    """What waits by a yield of its own learns of an error by that being thrown."""

    class Wait:
        def __init__(self, future):
            self.future = future

        def __await__(self):
            self.future._asyncio_future_blocking = True
            yield self.future
            return "woken"

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.run_trio(fail) if error else loop.run_trio(give, 5)
        if not error:
            assert await Wait(future) == "woken"
            return
        with pytest.raises(Error, match="failed"):
            await Wait(future)

    run(main)
