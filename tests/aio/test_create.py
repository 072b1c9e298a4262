"""create_future and create_task: asyncio's classes, and what takes their places."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from unittest import mock

import pytest

from trio_asyncio_c import EventLoop

from ._helpers import run_briefly

var = contextvars.ContextVar("var", default="unset")


async def return_1():
    return 1


def test_a_future_is_asyncios(loop):
    future = loop.create_future()
    assert type(future) is asyncio.Future
    assert future.get_loop() is loop


def test_a_task_is_asyncios(loop):
    task = loop.create_task(return_1())
    assert type(task) is asyncio.Task
    assert task.get_loop() is loop
    assert task.get_name().startswith("Task-")
    assert loop.run_until_complete(task) == 1


def test_name_and_context(loop):
    async def read():
        return var.get()

    context = contextvars.copy_context()
    context.run(var.set, "given")
    named = loop.create_task(read(), name="n")
    placed = loop.create_task(read(), context=context, name=None)
    plain = loop.create_task(read(), context=None)
    assert named.get_name() == "n"
    for task, value in ((named, "unset"), (placed, "given"), (plain, "unset")):
        assert loop.run_until_complete(task) == value


@pytest.mark.parametrize(
    "arguments",
    [
        {"eager_start": True},
        {"eager_start": True, "name": "n", "context": contextvars.copy_context()},
        {"eager_start": False},
        {"eager_start": None, "name": None, "context": None},
        {"name": 7},
        {"name": "n", "nobody": "knows"},
        {"loop": None},
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_arguments_as_asyncios(arguments, debug):
    """Also those that only some versions take."""

    async def main(steps):
        async def work():
            steps.append("begun")
            await asyncio.sleep(0)
            return asyncio.current_task().get_name() in ("n", "7")

        coro = work()
        try:
            task = asyncio.get_running_loop().create_task(coro, **arguments)
        except TypeError as exc:
            coro.close()
            return steps, str(exc)
        steps.append("made")
        return steps, await task, type(task)

    seen = []
    for make in (asyncio.SelectorEventLoop, EventLoop):
        with asyncio.Runner(loop_factory=make, debug=debug) as runner:
            seen.append(runner.run(main([])))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("debug", [False, True])
def test_a_task_factory_gets_all(loop, debug):
    calls = []

    def factory(loop, coro, **kwargs):
        calls.append(kwargs.get("context"))
        return asyncio.Task(coro, loop=loop, **kwargs)

    loop.set_debug(debug)
    loop.set_task_factory(factory)
    assert loop.get_task_factory() is factory
    context = contextvars.copy_context()
    tasks = [
        loop.create_task(return_1()),
        loop.create_task(return_1(), context=context),
    ]
    assert calls == [None, context]
    loop.set_task_factory(None)
    assert loop.get_task_factory() is None
    for task in tasks:
        assert loop.run_until_complete(task) == 1


def test_other_classes_in_asyncios_places(loop):
    class Future(asyncio.Future):
        pass

    class Task(asyncio.Task):
        pass

    with mock.patch("asyncio.futures.Future", Future):
        future = loop.create_future()
    with mock.patch("asyncio.tasks.Task", Task):
        task = loop.create_task(return_1())
    assert type(future) is Future
    assert type(task) is Task
    assert loop.run_until_complete(task) == 1
    assert type(loop.create_future()) is asyncio.Future


def test_no_coroutine(loop):
    stock = asyncio.SelectorEventLoop()
    words = []
    for each in (stock, loop):
        with pytest.raises(TypeError) as caught:
            each.create_task(1)
        words.append(str(caught.value))
    stock.close()
    assert words[0] == words[1]


@pytest.mark.parametrize("debug", [False, True])
def test_a_closed_loop(debug):
    loop = EventLoop()
    loop.set_debug(debug)
    loop.close()
    coro = return_1()
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        loop.create_task(coro)
    coro.close()
    assert loop.create_future().get_loop() is loop


def test_debug_mode_shows_the_line_that_made_the_task(loop):
    loop.set_debug(True)
    task = loop.create_task(return_1())
    assert task._source_traceback[-1].name == (
        "test_debug_mode_shows_the_line_that_made_the_task"
    )
    assert loop.run_until_complete(task) == 1


def test_tasks_of_a_loop_that_nobody_closes_are_collected():
    async def wait():
        await asyncio.get_running_loop().create_future()

    loop = EventLoop()
    task = loop.create_task(wait())
    run_briefly(loop)
    task.cancel()
    run_briefly(loop)
    seen = weakref.ref(loop), weakref.ref(task)
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        del loop, task
        gc.collect()
    assert [ref() for ref in seen] == [None, None]
