"""asyncio's call graph, from inside and, by ``python -m asyncio ps``, from another
process: of CPython 3.14 and later.

Each program runs on the standard library's loop as well, which must show the same.
"""

from __future__ import annotations

import asyncio
import io
import re
import subprocess
import sys

import pytest

from ._helpers import as_on_stock

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="the call graph is of CPython 3.14"
)


def without_addresses(text):
    """Replace addresses, and the numbers of threads and of unnamed tasks."""
    text = re.sub(r"0x[0-9a-f]{2,}", "0x", text)
    text = re.sub(r"Task-\d+", "Task-N", text)
    return re.sub(r"(?m)^\d+ +", "", text)


class Subclass(asyncio.Task):
    pass


@pytest.mark.parametrize("kind", [None, Subclass, "eager"])
def test_from_inside(kind):
    def program(loop, seen):
        def look(label):
            seen.append((label, without_addresses(asyncio.format_call_graph() or "")))

        async def leaf():
            look("in a task")
            stream = io.StringIO()
            asyncio.print_call_graph(file=stream, limit=3)
            seen.append(without_addresses(stream.getvalue()))
            loop.call_soon(look, "in a callback")
            await asyncio.sleep(0)
            task = asyncio.current_task()
            loop.call_soon(look_at, task)
            await loop.create_future()

        def look_at(task):
            graph = asyncio.capture_call_graph(task)
            seen.append([entry.frame.f_code.co_name for entry in graph.call_stack])
            seen.append([type(waiter.future) for waiter in graph.awaited_by])
            seen.append(without_addresses(asyncio.format_call_graph(task)))
            task.cancel()

        async def middle():
            await leaf()

        async def main():
            tasks = [asyncio.create_task(middle(), name="only")]
            await asyncio.gather(*tasks, return_exceptions=True)

        if kind == "eager":
            loop.set_task_factory(asyncio.eager_task_factory)
        elif kind is not None:
            loop.set_task_factory(
                lambda loop, coro, **kwargs: kind(coro, loop=loop, **kwargs)
            )
        loop.run_until_complete(loop.create_task(main(), name="main"))

    seen = as_on_stock(program)
    assert "only" in seen[-1]


def test_outside_of_tasks():
    def program(loop, seen):
        seen.append(asyncio.format_call_graph(loop.create_future()) == "")
        loop.call_soon(lambda: seen.append(asyncio.capture_call_graph()))
        loop.call_soon(loop.stop)
        loop.run_forever()
        try:
            asyncio.capture_call_graph()
        except RuntimeError as exc:
            seen.append(str(exc))

    assert as_on_stock(program)


WAITS = """
import asyncio, sys

async def leaf(event):
    await event.wait()

async def middle(event):
    await leaf(event)

async def main():
    event = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(middle(event), name="one")
        group.create_task(middle(event), name="two")
        group.create_task(middle(event), name="three")
        await asyncio.sleep(0)
        # Said once this task waits as well.
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: print("ready", flush=True))
        await asyncio.to_thread(sys.stdin.readline)
        event.set()

if sys.argv[1] == "ours":
    from trio_asyncio_c import EventLoop as factory
else:
    factory = asyncio.SelectorEventLoop
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main())
"""


def looked_at(whose, command):
    """Ask another process what the tasks of a third one wait for."""
    with subprocess.Popen(
        [sys.executable, "-c", WAITS, whose],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        looker = subprocess.run(
            [sys.executable, "-m", "asyncio", command, str(process.pid)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        process.communicate("\n", timeout=120)
    return process.returncode, looker.returncode, looker.stdout, looker.stderr


@pytest.mark.parametrize("command", ["ps", "pstree"])
def test_from_another_process(command):
    stock = looked_at("stock", command)
    if stock[1] != 0:
        pytest.skip("this process may not look into others, or not on this platform")
    ours = looked_at("ours", command)
    assert {"one", "two", "leaf"} <= set(re.findall(r"\w+", ours[2]))
    assert normal(ours) == normal(stock)


def normal(answer):
    # The order is that of a set of addresses, in which the tasks of a loop are.
    done, looked, output, errors = answer
    return done, looked, sorted(without_addresses(output).splitlines()), errors
